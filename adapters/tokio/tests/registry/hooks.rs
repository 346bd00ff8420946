//! Logins, the access log, time, and the end of a registry.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use oci_proto::server::{Policy, Rule, User, Who};
use oci_proto_tokio::server::{AccessRecord, LocalRegistry, Login, Options};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::support::{Faulty, Http, INDEX, Sent, start, start_with};

const LONG: Duration = Duration::from_secs(20);
const TARGET: &str = "/v2/team/app/manifests/1";

fn index() -> String {
    format!("{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[]}}")
}

async fn push(http: &mut Http, login: Option<&str>) -> u16 {
    let header = login.map(|login| format!("Authorization: {login}"));
    let headers: Vec<&str> = header.as_deref().into_iter().collect();
    http.ask("PUT", TARGET, &headers, Sent::Chunked(&[index().as_bytes()])).await.status
}

/// Everyone may read, and Ann may push.
fn policy() -> Policy {
    let mut rule = Rule::open();
    rule.writes = Who::Users(["ann".parse().unwrap()].into());
    let mut policy = Policy::open();
    policy.rules = vec![rule];
    policy
}

fn login(header: &http::HeaderValue) -> Login {
    match header.as_bytes() {
        b"ann" => Login::User("ann".parse().unwrap()),
        b"bob" => Login::User("bob".parse().unwrap()),
        b"nobody" => Login::Nobody,
        b"slow" => {
            thread::sleep(Duration::from_secs(1));
            Login::Refused
        }
        b"panic" => panic!("the check of a login panics"),
        _ => Login::Refused,
    }
}

#[tokio::test]
async fn logins_decide_who_may_push() {
    let registry = start_with(policy(), Options::default().authenticate(login)).await;
    let mut http = Http::connect(registry.address()).await;
    for (login, status) in [
        (None, 401),
        (Some("nobody"), 401),
        (Some("mallory"), 401),
        (Some("panic"), 401),
        (Some("bob"), 403),
        (Some("ann"), 201),
    ] {
        assert_eq!(push(&mut http, login).await, status, "{login:?}");
    }
    http.get(TARGET).await.is(200);
    let refused = http.ask("GET", TARGET, &["Authorization: mallory"], Sent::Nothing).await.is(401);
    assert!(refused.header("www-authenticate").starts_with("Basic "));
    http.ask("HEAD", TARGET, &["Authorization: mallory"], Sent::Nothing).await.is(401);

    // Without a hook, nobody has a login.
    let registry = start_with(policy(), Options::default()).await;
    assert_eq!(push(&mut Http::connect(registry.address()).await, Some("ann")).await, 401);
}

#[tokio::test]
async fn a_refused_login_is_seen_by_a_client_that_sends_a_large_body() {
    let registry = start_with(policy(), Options::default().authenticate(login)).await;
    let body = vec![7; 20 << 20];
    for login in ["Authorization: mallory", "Authorization: nobody"] {
        let mut http = Http::connect(registry.address()).await;
        http.ask("PUT", TARGET, &[login], Sent::Whole(&body)).await.is(401);
    }
}

#[tokio::test]
async fn other_requests_are_answered_while_a_login_is_checked() {
    let registry = start_with(policy(), Options::default().authenticate(login)).await;
    let address = registry.address();
    let slow = tokio::spawn(async move { push(&mut Http::connect(address).await, Some("slow")).await });
    let mut http = Http::connect(address).await;
    let began = Instant::now();
    for _ in 0..20 {
        sleep(Duration::from_millis(10)).await;
        http.get("/v2/").await.is(200);
    }
    assert!(!slow.is_finished(), "{:?}", began.elapsed());
    assert_eq!(slow.await.unwrap(), 401);
}

#[tokio::test]
async fn each_request_is_logged_once() {
    let records: Arc<Mutex<Vec<AccessRecord>>> = Arc::default();
    let shared = records.clone();
    let options = Options::default()
        .authenticate(login)
        .on_access(move |record| shared.lock().unwrap().push(record.clone()));
    let registry = start_with(policy(), options).await;
    let mut http = Http::connect(registry.address()).await;
    assert_eq!(push(&mut http, Some("ann")).await, 201);
    http.get(&format!("{TARGET}?token=secret&tag=a")).await.is(200);
    http.ask("HEAD", TARGET, &[], Sent::Nothing).await.is(200);
    assert_eq!(push(&mut http, None).await, 401);
    // A client that leaves before its response.
    let mut gone = Http::connect(registry.address()).await;
    gone.write_head("GET", TARGET, &["Authorization: slow"]).await;
    drop(gone);

    let began = Instant::now();
    while records.lock().unwrap().len() < 5 {
        assert!(began.elapsed() < LONG);
        sleep(Duration::from_millis(5)).await;
    }
    let records = records.lock().unwrap();
    let size = index().len() as u64;
    let seen: Vec<_> = records
        .iter()
        .map(|record| {
            let user = record.user.as_ref().map(User::as_str);
            let status = record.status.map(|status| status.as_u16());
            (user, record.method.as_str(), &*record.target, status, record.received)
        })
        .collect();
    let with_query = format!("{TARGET}?token=...&tag=a");
    assert_eq!(
        seen[..4],
        [
            (Some("ann"), "PUT", TARGET, Some(201), size),
            (None, "GET", &*with_query, Some(200), 0),
            (None, "HEAD", TARGET, Some(200), 0),
            (None, "PUT", TARGET, Some(401), 0),
        ]
    );
    assert_eq!((records[1].sent, records[2].sent), (size, 0));
    assert_eq!(seen[4].1, "GET");
    assert!(records.iter().all(|record| record.peer.unwrap().ip().is_loopback()));
    let line = records[0].to_string();
    assert!(line.starts_with("127.0.0.1 - ann ["), "{line}");
    assert!(line.contains(&format!(" +0000] \"PUT {TARGET} HTTP/1.1\" 201 0 {size} 0.")), "{line}");
    assert!(records.iter().all(|record| record.time.elapsed().unwrap() < 2 * LONG));
}

#[tokio::test]
async fn an_upload_expires() {
    let mut policy = Policy::open();
    policy.upload_lifetime = Duration::from_millis(100);
    policy.uploads = 1;
    let registry = start_with(policy, Options::default()).await;
    let mut http = Http::connect(registry.address()).await;
    let at = http.begin("repo").await;
    http.ask("POST", "/v2/repo/blobs/uploads/", &[], Sent::Whole(b"")).await.is(429);
    let began = Instant::now();
    while http.get(&at).await.status != 404 {
        assert!(began.elapsed() < LONG);
        sleep(Duration::from_millis(50)).await;
    }
    http.begin("repo").await;
}

/// Pushes while the storage holds. Returns the status of the response, if there is one.
async fn push_while_held(storage: &Faulty, registry: &LocalRegistry) -> tokio::task::JoinHandle<Option<u16>> {
    storage.set(|faults| faults.holds = true);
    let mut http = Http::connect(registry.address()).await;
    let body = index();
    let length = format!("Content-Length: {}", body.len());
    let pushing = tokio::spawn(async move {
        http.write_head("PUT", TARGET, &[&length]).await;
        tokio::io::AsyncWriteExt::write_all(&mut http.stream, body.as_bytes()).await.unwrap();
        tokio::io::AsyncWriteExt::flush(&mut http.stream).await.unwrap();
        http.try_read("PUT").await.ok().map(|answer| answer.status)
    });
    let began = Instant::now();
    while storage.see(|faults| faults.applied.is_empty()) {
        assert!(began.elapsed() < LONG);
        sleep(Duration::from_millis(5)).await;
    }
    pushing
}

#[tokio::test]
async fn shutdown_waits_for_what_is_being_stored() {
    let storage = Faulty::default();
    let shared = storage.registry(Policy::open());
    let registry = shared.listen().await.unwrap();
    let pushing = push_while_held(&storage, &registry).await;
    let release = async {
        sleep(Duration::from_millis(300)).await;
        storage.set(|faults| faults.holds = false);
    };
    let (stopped, ()) = tokio::join!(registry.stop(), release);
    stopped.unwrap();
    assert_eq!(pushing.await.unwrap(), Some(201));
    // The registry itself is still there.
    let registry = shared.listen().await.unwrap();
    Http::connect(registry.address()).await.get(TARGET).await.is(200);
}

#[tokio::test]
async fn shutdown_ends_although_the_storage_hangs() {
    let storage = Faulty::default();
    let registry = storage.registry(Policy::open()).listen().await.unwrap();
    let pushing = push_while_held(&storage, &registry).await;
    let began = Instant::now();
    timeout(LONG, registry.stop()).await.expect("it ends").unwrap();
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert_eq!(pushing.await.unwrap(), None);
    storage.set(|faults| faults.holds = false);
}

#[tokio::test]
async fn a_dropped_registry_closes_its_port_and_its_connections() {
    let registry = start().await;
    let address = registry.address();
    let mut http = Http::connect(address).await;
    http.get("/v2/").await.is(200);
    drop(registry);
    timeout(LONG, http.closed()).await.expect("the connection is closed");
    assert!(TcpStream::connect(address).await.is_err());
}
