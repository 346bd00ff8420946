//! Logins from asynchronous code.

use std::sync::mpsc;

use oci_proto::{Credentials, CredentialsQuery};
use tokio::runtime::Handle;

use crate::fault::BoxError;

/// Turns an asynchronous function that finds logins into one for [`Store::ask`](oci_proto_credentials::Store::ask).
/// It runs on the current runtime, in a task of its own.
///
/// ```no_run
/// # async fn fetch_password() -> std::io::Result<String> { Ok("secret".to_owned()) }
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use oci_proto_tokio::credentials::Store;
/// use oci_proto_tokio::oci_proto::Credentials;
/// use oci_proto_tokio::{Client, Settings, async_logins};
///
/// // Asked for each repository, and again when the registry refuses a login, for example because it has expired.
/// let logins = Store::none().ask("the cloud's API", async_logins(|query| async move {
///     if !query.registry.as_str().ends_with(".cloud.example") {
///         return Ok(None);
///     }
///     Ok(Some(Credentials::login("token", fetch_password().await?)?))
/// }));
/// let client = Client::with_settings(Settings::default().credentials(logins))?;
/// # Ok(())
/// # }
/// ```
///
/// The thread of the look-up waits for the function, without a limit: give the requests in it a timeout. Do not call
/// [`Store::look_up`](oci_proto_credentials::Store::look_up) itself on a thread of the runtime, which it would block.
///
/// # Panics
/// Panics outside a runtime.
pub fn async_logins<F>(
    ask: impl Fn(CredentialsQuery) -> F + Send + Sync + 'static,
) -> impl Fn(&CredentialsQuery) -> Result<Option<Credentials>, BoxError> + Send + Sync + 'static
where
    F: Future<Output = Result<Option<Credentials>, BoxError>> + Send + 'static,
{
    let runtime = Handle::current();
    move |query| {
        let (tell, told) = mpsc::channel();
        let asking = {
            // The function may use the runtime before its future is polled.
            let _within = runtime.enter();
            ask(query.clone())
        };
        runtime.spawn(async move {
            // Nobody waits for a look-up that was abandoned.
            let _ = tell.send(asking.await);
        });
        told.recv().map_err(|_| BoxError::from("the task was dropped, or panicked"))?
    }
}
