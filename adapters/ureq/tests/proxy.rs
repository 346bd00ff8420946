//! What goes through a proxy that the environment names, and what does not.

mod registry;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::{env, thread};

use oci_proto::server::Memory;
use oci_proto::{Config, FaultKind, Reference};
use oci_proto_ureq::Client;
use registry::{Play, Registry};

/// A proxy that refuses everything; sends what it was asked over the channel.
fn proxy() -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, asks) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            let _ = asked.send(line.trim_end().to_owned());
            while line != "\r\n" {
                line.clear();
                stream.read_line(&mut line).unwrap();
            }
            let _ = stream.get_mut().write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n");
        }
    });
    (format!("http://{address}"), asks)
}

/// The environment of a process is its own: the client is made in another one, which is this test again.
fn run(test: &str, registry: &Registry, proxy: &str) {
    let status = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--nocapture"])
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .env("ALL_PROXY", proxy)
        .env("OCI_PROTO_TEST_REGISTRY", registry.address().to_string())
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn only_what_leaves_this_machine_goes_through_the_proxy() {
    let (memory, root) = Memory::sample();
    let registry = Registry::start(memory, &[("demo:latest", &root)], |_| Play::Serve);
    let (proxy, asks) = proxy();
    run("with_the_environment_set", &registry, &proxy);
    assert_eq!(asks.try_iter().collect::<Vec<_>>(), ["CONNECT registry.invalid:443 HTTP/1.1"]);
    assert_eq!(registry.connections(), 1);
}

#[test]
#[ignore = "run by the other test, in a process of its own"]
fn with_the_environment_set() {
    // Absent where somebody runs the ignored tests.
    let Ok(registry) = env::var("OCI_PROTO_TEST_REGISTRY") else { return };
    let mut config = Config::default();
    config.limits.tries = 1;
    let client = Client::builder().config(config).build().unwrap();
    let near: Reference = format!("{registry}/demo:latest").parse().unwrap();
    client.resolve(&near, None).unwrap();
    let far = "registry.invalid/demo:latest".parse().unwrap();
    let error = client.resolve(&far, None).unwrap_err();
    assert_eq!(error.fault().unwrap().kind(), FaultKind::Connect, "{error}");
}
