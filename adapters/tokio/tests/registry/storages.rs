//! Storages that fail, hang, or have much to do at once.

use std::time::{Duration, Instant};

use oci_proto::server::{Failure, Policy, Server};
use oci_proto::{Algorithm, Digest, Time};
use oci_proto_layout::{RegistryDirectory, RegistryOptions};
use oci_proto_tokio::server::{Options, SharedRegistry};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::{Faults, Faulty, Http, INDEX, Sent, with_query};

const LONG: Duration = Duration::from_secs(20);

fn index(n: usize) -> String {
    format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[],\"annotations\":{{\"n\":\"{n}\"}}}}"
    )
}

async fn until(what: impl Fn() -> bool) {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < LONG);
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_failure_is_told_and_leaves_nothing_behind() {
    let storage = Faulty::default();
    let registry = storage.registry(Policy::open()).listen().await.unwrap();
    let mut http = Http::connect(registry.address()).await;
    let content = vec![7; 300_000];
    let digest = Digest::of(Algorithm::Sha256, &content);
    let blob = format!("/v2/repo/blobs/{digest}");
    for (failure, status) in [(Failure::Full, 507), (Failure::Storage, 500)] {
        type Fault = fn(&mut Faults, Option<Failure>);
        let faults: [(Fault, bool); 3] = [
            (|faults, failure| faults.write = failure, false),
            (|faults, failure| faults.sync = failure, false),
            (|faults, failure| faults.apply = failure, true),
        ];
        for (fault, also_manifests) in faults {
            let at = http.begin("repo").await;
            storage.set(|faults| fault(faults, Some(failure)));
            http.push("repo", &content).await.is(status);
            let put = with_query(&at, &format!("digest={digest}"));
            http.ask("PUT", &put, &[], Sent::Whole(&content)).await.is(status);
            http.get(&blob).await.is(404);
            if also_manifests {
                let target = "/v2/repo/manifests/1";
                http.ask("PUT", target, &[], Sent::Chunked(&[index(1).as_bytes()])).await.is(status);
                http.get(target).await.is(404);
            }

            // When space is available again, the session continues where it stopped.
            storage.set(|faults| fault(faults, None));
            let status = http.get(&at).await.is(204);
            let have = if also_manifests { content.len() } else { 0 };
            if have == 0 {
                assert_eq!(status.header("range"), "0-0");
                http.ask("PUT", &put, &[], Sent::Whole(&content)).await.is(201);
            } else {
                http.ask("DELETE", &at, &[], Sent::Nothing).await.is(204);
                http.push("repo", &content).await.is(201);
            }
            assert!(http.get(&blob).await.is(200).body == content);
            http.ask("DELETE", &blob, &[], Sent::Nothing).await.is(202);
        }
    }
}

#[tokio::test]
async fn an_empty_blob_that_the_storage_lacks_is_missing() {
    let empty = Digest::of(Algorithm::Sha256, b"");
    for opened in [None, Some((0, 0))] {
        let storage = Faulty::default();
        storage.set(|faults| faults.opened = opened);
        let mut server = Server::with_policy(Policy::open(), 7);
        server.add_blob(&"repo".parse().unwrap(), empty.clone(), 0);
        let registry = SharedRegistry::new(server, storage.clone()).unwrap().listen().await.unwrap();
        let mut http = Http::connect(registry.address()).await;
        let target = format!("/v2/repo/blobs/{empty}");
        http.get(&target).await.is(404);
        http.push("repo", b"").await.is(201);
        assert_eq!(http.get(&target).await.is(200).body, b"");
    }
}

#[tokio::test]
async fn an_upload_that_cannot_be_removed_keeps_no_other() {
    let mut policy = Policy::open();
    policy.upload_lifetime = Duration::from_millis(1);
    let mut server = Server::with_policy(policy, 7);
    for id in ["a", "b", "c"] {
        server.restore_upload(Time::ZERO, "repo".parse().unwrap(), id.parse().unwrap(), 1);
    }
    let storage = Faulty::default();
    storage.set(|faults| faults.apply_once = Some(Failure::Storage));
    let registry = SharedRegistry::new(server, storage.clone()).unwrap();
    until(|| storage.see(|faults| faults.applied.len() == 4)).await;
    assert_eq!(storage.see(|faults| faults.applied.clone()), [3, 1, 1, 1]);
    registry.close().await;
}

#[tokio::test]
async fn a_registry_survives_a_storage_that_panics() {
    let storage = Faulty::default();
    let registry = storage.registry(Policy::open()).listen().await.unwrap();
    storage.set(|faults| faults.panics = true);
    Http::connect(registry.address()).await.push("repo", b"content").await.is(500);
    storage.set(|faults| faults.panics = false);
    Http::connect(registry.address()).await.push("repo", b"content").await.is(201);
}

#[tokio::test]
async fn reads_and_bodies_go_on_while_a_storage_hangs() {
    let storage = Faulty::default();
    let registry = storage.registry(Policy::open()).listen().await.unwrap();
    let mut http = Http::connect(registry.address()).await;
    let location = http.push("repo", b"content").await.is(201).header("location").to_owned();
    let manifest = "/v2/repo/manifests/1";
    http.ask("PUT", manifest, &[], Sent::Chunked(&[index(1).as_bytes()])).await.is(201);
    let at = http.begin("repo").await;

    storage.set(|faults| faults.holds = true);
    let address = registry.address();
    let pushing = tokio::spawn(async move {
        let mut http = Http::connect(address).await;
        http.ask("PUT", manifest, &[], Sent::Chunked(&[index(2).as_bytes()])).await
    });
    let applied = storage.see(|faults| faults.applied.len());
    until(|| storage.see(|faults| faults.applied.len() > applied)).await;

    let reading = async {
        for target in [&*location, manifest, "/v2/repo/tags/list", "/v2/", &*at] {
            for method in ["GET", "HEAD"] {
                let answer = http.ask(method, target, &[], Sent::Nothing).await;
                assert!([200, 204].contains(&answer.status), "{answer:?}");
            }
        }
        // What is not durable is not visible.
        assert_eq!(http.get(manifest).await.body, index(1).as_bytes());
        // Bytes arrive, although their response has to wait.
        http.write_head("PATCH", &at, &["Content-Length: 500000", "Expect: 100-continue"]).await;
        let mut interim = [0; 25];
        tokio::io::AsyncReadExt::read_exact(&mut http.stream, &mut interim).await.unwrap();
        http.stream.write_all(&vec![7; 500_000]).await.unwrap();
        http.stream.flush().await.unwrap();
    };
    timeout(LONG, reading).await.expect("nothing waits for the storage");
    assert!(!pushing.is_finished());
    storage.set(|faults| faults.holds = false);
    pushing.await.unwrap().is(201);
    http.read("PATCH").await.is(202);
    assert_eq!(http.get(manifest).await.body, index(2).as_bytes());
}

#[tokio::test]
async fn requests_that_wait_are_made_durable_together() {
    let storage = Faulty::default();
    let registry = storage.registry(Policy::open()).listen().await.unwrap();
    for failure in [None, Some(Failure::Full)] {
        storage.set(|faults| (faults.holds, faults.applied, faults.apply) = (true, Vec::new(), failure));
        let mut clients = JoinSet::new();
        for n in 0..21 {
            let address = registry.address();
            clients.spawn(async move {
                let mut http = Http::connect(address).await;
                let target = format!("/v2/repo/manifests/{n}");
                let body = index(n + 100);
                http.ask("PUT", &target, &[], Sent::Whole(body.as_bytes())).await.status
            });
        }
        until(|| storage.see(|faults| !faults.applied.is_empty())).await;
        // The others have arrived by then, most likely.
        sleep(Duration::from_millis(300)).await;
        storage.set(|faults| faults.holds = false);
        let statuses = timeout(LONG, clients.join_all()).await.unwrap();
        let expected = if failure.is_some() { 507 } else { 201 };
        assert!(statuses.iter().all(|status| *status == expected), "{statuses:?}");
        if failure.is_none() {
            let applied = storage.see(|faults| faults.applied.clone());
            assert_eq!(applied.iter().sum::<usize>(), 21);
            assert!(applied.len() < 21, "{applied:?}");
        }
        let mut http = Http::connect(registry.address()).await;
        for n in 0..21 {
            http.get(&format!("/v2/repo/manifests/{n}")).await.is(if failure.is_some() { 404 } else { 200 });
            let target = format!("/v2/repo/manifests/{n}");
            storage.set(|faults| faults.apply = None);
            http.ask("DELETE", &target, &[], Sent::Nothing).await;
        }
        for n in 0..21 {
            let digest = Digest::of(Algorithm::Sha256, index(n + 100).as_bytes());
            http.ask("DELETE", &format!("/v2/repo/manifests/{digest}"), &[], Sent::Nothing).await;
        }
    }
}

#[tokio::test]
async fn a_request_that_fails_fails_no_other_in_its_batch() {
    let storage = Faulty::default();
    let registry = storage.registry(Policy::open()).listen().await.unwrap();
    storage.set(|faults| {
        (faults.holds, faults.refused) = (true, Some(("5".parse().unwrap(), Failure::Full)));
    });
    let mut clients = JoinSet::new();
    for n in 0..21 {
        let address = registry.address();
        clients.spawn(async move {
            let mut http = Http::connect(address).await;
            let target = format!("/v2/repo/manifests/{n}");
            (n, http.ask("PUT", &target, &[], Sent::Whole(index(n).as_bytes())).await.status)
        });
    }
    until(|| storage.see(|faults| !faults.applied.is_empty())).await;
    // The others have arrived by then, most likely.
    sleep(Duration::from_millis(300)).await;
    storage.set(|faults| faults.holds = false);
    let statuses = timeout(LONG, clients.join_all()).await.unwrap();
    assert!(storage.see(|faults| faults.applied.iter().any(|replies| *replies > 1)));
    let mut http = Http::connect(registry.address()).await;
    for (n, status) in statuses {
        assert_eq!(status, if n == 5 { 507 } else { 201 }, "{n}");
        http.get(&format!("/v2/repo/manifests/{n}")).await.is(if n == 5 { 404 } else { 200 });
    }
}

#[tokio::test]
async fn a_failure_affects_no_request_that_came_later() {
    let storage = Faulty::default();
    let registry = storage.registry(Policy::open()).listen().await.unwrap();
    let address = registry.address();
    let mut http = Http::connect(address).await;
    let old = http.push("repo", b"old").await.is(201).header("location").to_owned();
    storage.set(|faults| {
        (faults.holds, faults.applied, faults.apply_once) = (true, Vec::new(), Some(Failure::Full));
    });
    let failing = tokio::spawn(async move { Http::connect(address).await.push("repo", b"new").await });
    until(|| storage.see(|faults| !faults.applied.is_empty())).await;
    // A mount and a deletion, which have effects at once, and a session.
    let digest = Digest::of(Algorithm::Sha256, b"old");
    let mount = format!("/v2/other/blobs/uploads/?mount={digest}&from=repo");
    let mut later = Vec::new();
    for (method, target) in [("POST", &*mount), ("DELETE", &old), ("POST", "/v2/a/blobs/uploads/")] {
        let target = target.to_owned();
        later.push(tokio::spawn(async move {
            Http::connect(address).await.ask(method, &target, &[], Sent::Nothing).await.status
        }));
        // One after another.
        sleep(Duration::from_millis(100)).await;
    }
    assert!(later.iter().all(|request| !request.is_finished()));
    storage.set(|faults| faults.holds = false);
    failing.await.unwrap().is(507);
    for (request, status) in later.into_iter().zip([201, 202, 202]) {
        assert_eq!(timeout(LONG, request).await.unwrap().unwrap(), status);
    }
    http.get(&format!("/v2/other/blobs/{digest}")).await.is(200);
    http.get(&old).await.is(404);
    http.get(&format!("/v2/repo/blobs/{}", Digest::of(Algorithm::Sha256, b"new"))).await.is(404);
}

#[tokio::test]
async fn the_directory_of_a_registry_that_was_closed_can_be_opened_again() {
    let home = tempfile::tempdir().unwrap();
    for n in 0..20_usize {
        let (storage, contents) =
            RegistryDirectory::open(home.path(), RegistryOptions::default()).expect("it is not locked");
        let mut server = Server::with_policy(Policy::open(), 0);
        contents.load_into(&mut server, Time::ZERO);
        let registry = SharedRegistry::new(server, storage).unwrap();
        let listening = registry.listen().await.unwrap();
        Http::connect(listening.address()).await.push("repo", &n.to_le_bytes()).await.is(201);
        listening.stop().await.unwrap();
        timeout(LONG, registry.close()).await.expect("nothing else keeps it open");
    }
}

/// Many uploads at once, in a storage that hangs for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_uploads_occupy_few_threads() {
    const CLIENTS: usize = 1000;
    raise_open_files();
    let storage = Faulty::default();
    let options = Options::default().connections(2 * CLIENTS + 10);
    let registry = storage.registry(Policy::open()).listen_with(options).await.unwrap();
    let address = registry.address();
    Http::connect(address).await.push("repo", b"content").await.is(201);
    storage.set(|faults| (faults.holds_writes, faults.writing) = (true, (0, 0)));
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        // One after another, for which the system has room.
        let mut http = Http::connect(address).await;
        clients.spawn(async move {
            let content: Vec<u8> = n.to_le_bytes().repeat(12_000);
            let location = http.push("repo", &content).await.is(201).header("location").to_owned();
            http.get(&location).await.is(200).body == content
        });
    }
    until(|| storage.see(|faults| faults.writing.0 == 32)).await;
    let digest = Digest::of(Algorithm::Sha256, b"content");
    let mut http = Http::connect(address).await;
    timeout(LONG, http.get(&format!("/v2/repo/blobs/{digest}"))).await.expect("reads go on").is(200);
    storage.set(|faults| faults.holds_writes = false);
    let all = timeout(3 * LONG, clients.join_all()).await.unwrap();
    assert!(all.iter().all(|is_same| *is_same));
    assert!(storage.see(|faults| faults.writing.1) <= 32);
}

/// Each of the clients has a socket on both sides.
fn raise_open_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = current.unwrap_or(u64::MAX).max(maximum.unwrap_or(4096).min(4096));
        setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }).unwrap();
    }
}

/// Clients that send a byte and wait occupy no thread.
#[tokio::test]
async fn stalled_uploads_keep_no_other_from_writing() {
    let storage = Faulty::default();
    let registry = storage.registry(Policy::open()).listen().await.unwrap();
    let mut stalled = Vec::new();
    for _ in 0..200 {
        let mut http = Http::connect(registry.address()).await;
        let at = http.begin("repo").await;
        http.write_head("PATCH", &at, &["Content-Length: 1000000"]).await;
        http.stream.write_all(&vec![7; 70_000]).await.unwrap();
        http.stream.flush().await.unwrap();
        stalled.push(http);
    }
    let mut http = Http::connect(registry.address()).await;
    timeout(LONG, http.push("repo", &vec![7; 1_000_000])).await.expect("it is not kept").is(201);
}

#[tokio::test]
async fn a_blob_is_opened_once_for_each_response_and_closed_after_it() {
    let storage = Faulty::default();
    let registry = storage.registry(Policy::open()).listen().await.unwrap();
    let mut http = Http::connect(registry.address()).await;
    let content: Vec<u8> = (0..=250).cycle().take(700_000).collect();
    http.push("repo", &content).await.is(201);
    let blob = format!("/v2/repo/blobs/{}", Digest::of(Algorithm::Sha256, &content));
    for opened in [None, Some((0, 0))] {
        storage.set(|faults| (faults.opened, faults.reads) = (opened, 0));
        assert!(http.get(&blob).await.is(200).body == content);
        let part = http.ask("GET", &blob, &["Range: bytes=3-600000"], Sent::Nothing).await.is(206);
        assert!(part.body == content[3..=600_000]);
        http.ask("HEAD", &blob, &[], Sent::Nothing).await.is(200);
        let reads = storage.see(|faults| faults.reads);
        assert_eq!(reads > 0, opened.is_none());
    }
    until(|| storage.see(|faults| faults.opened) == Some((3, 0))).await;

    // A client that is gone closes its blob, too.
    http.write_head("GET", &blob, &[]).await;
    http.stream.flush().await.unwrap();
    until(|| storage.see(|faults| faults.opened.is_some_and(|(opened, _)| opened == 4))).await;
    drop(http);
    until(|| storage.see(|faults| faults.opened) == Some((4, 0))).await;
}
