//! What is done for every request: its login, its log entry, and the rest of its body.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use oci_proto::server::Server;

use crate::server::access::Entry;
use crate::server::body::ResponseBody;
use crate::server::content::in_memory;
use crate::server::login::Login;
use crate::server::options::Options;
use crate::server::request_body::RequestBody;

/// Answers a request with `respond`, unless its host or its login is wrong.
pub(super) async fn answer<B, F>(
    options: &Options,
    peer: Option<SocketAddr>,
    request: Request<B>,
    respond: impl FnOnce(Parts, RequestBody<B>) -> F,
) -> Response<ResponseBody>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    F: Future<Output = (Response<ResponseBody>, RequestBody<B>)>,
{
    let (mut head, body) = request.into_parts();
    let received = Arc::default();
    let body = RequestBody::new(&head, body, Arc::clone(&received));
    let mut log = options.access_hook().map(|hook| Entry::begin(hook, peer, &head, received));
    let refused = options.is_local.then(|| Server::refuse_foreign(&head)).flatten();
    let login = match (options.login_hook(), head.headers.get(AUTHORIZATION)) {
        (Some(hook), Some(header)) => hook.check(header).await,
        _ => Login::Nobody,
    };
    let (mut response, body) = if let Some(response) = refused {
        (response.map(in_memory), body)
    } else if login == Login::Refused {
        (Server::wrong_login(&head.method).map(in_memory), body)
    } else {
        if let Login::User(user) = login {
            if let Some(log) = &mut log {
                log.user(&user);
            }
            head.extensions.insert(user);
        }
        respond(head, body).await
    };
    if let Some(log) = &mut log {
        log.status(response.status());
    }
    body.finish(&mut response);
    response.body_mut().log(log);
    response
}
