//! Logins that expire, from a function of the program.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oci_proto::server::{Policy, Rule, User, Who};
use oci_proto::{Algorithm, Credentials, Descriptor, Digest, Fault, FaultKind, MediaType, Reference};
use oci_proto_tokio::credentials::Store;
use oci_proto_tokio::server::{Login, Options, SharedRegistry};
use oci_proto_tokio::{Client, Settings, UploadOptions, async_logins};

/// `user:0` and so on, in base64.
const PASSWORDS: [&str; 3] = ["dXNlcjow", "dXNlcjox", "dXNlcjoy"];

fn for_users() -> Policy {
    let mut policy = Policy::open();
    let mut rule = Rule::open();
    (rule.reads, rule.writes) = (Who::AnyUser, Who::AnyUser);
    policy.rules = vec![rule];
    policy
}

#[tokio::test]
async fn a_login_that_has_expired_is_replaced() {
    let valid = Arc::new(AtomicUsize::new(0));
    let current = valid.clone();
    let options = Options::default().authenticate(move |header| {
        let password = PASSWORDS[current.load(Ordering::SeqCst)];
        if header.as_bytes() == format!("Basic {password}").as_bytes() {
            Login::User("user".parse::<User>().unwrap())
        } else {
            Login::Refused
        }
    });
    let registry = SharedRegistry::in_memory(for_users()).unwrap().listen_with(options).await.unwrap();
    let repository: Reference = format!("{}/app", registry.address()).parse().unwrap();

    let asked = Arc::new(Mutex::new(Vec::new()));
    let (asks, newest) = (asked.clone(), valid.clone());
    let logins = async_logins(move |query| {
        asks.lock().unwrap().push(query.is_refused);
        let pausing = tokio::time::sleep(Duration::from_millis(1));
        let password = newest.load(Ordering::SeqCst).to_string();
        async move {
            pausing.await;
            Ok(Some(Credentials::login("user", password)?))
        }
    });
    let store = Store::none().ask("the API", logins);
    let client = Client::with_settings(Settings::default().credentials(store.clone())).unwrap();
    for (number, content) in [b"a", b"b", b"c"].into_iter().enumerate() {
        valid.store(number, Ordering::SeqCst);
        let digest = Digest::of(Algorithm::Sha256, content);
        let blob = Descriptor::new(MediaType::OCTET_STREAM, digest, 1);
        client.upload(&repository, &blob, &content[..], UploadOptions::default()).await.unwrap();
        assert_eq!(client.described_blob_bytes(&repository, &blob, 1).await.unwrap(), &content[..]);
    }
    assert_eq!(*asked.lock().unwrap(), [false, true, true]);
    assert_eq!(store.source(repository.registry()).as_deref(), Some("the API"));
}

#[tokio::test]
async fn a_function_that_fails_or_panics_ends_the_call() {
    let options = Options::default().authenticate(|_| Login::Refused);
    let registry = SharedRegistry::in_memory(for_users()).unwrap().listen_with(options).await.unwrap();
    let image: Reference = format!("{}/app:1", registry.address()).parse().unwrap();
    let fails = async_logins(|_| async { Err("the API is down".into()) });
    let panics = async_logins(|_| async { panic!("intended") });
    let (fails, panics) = (Store::none().ask("the API", fails), Store::none().ask("the API", panics));
    for (store, why) in
        [(fails, "the API: the API is down"), (panics, "the API: the task was dropped, or panicked")]
    {
        let client = Client::with_settings(Settings::default().credentials(store)).unwrap();
        let error = client.resolve(&image, None).await.unwrap_err();
        assert_eq!(error.fault().map(Fault::kind), Some(FaultKind::Credentials), "{error}");
        assert_eq!(error.fault().unwrap().message(), why);
    }
}
