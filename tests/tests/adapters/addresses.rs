//! Servers that lead to others by their addresses.

use std::io::{BufRead as _, BufReader, Write as _};

use http::StatusCode;
use oci_proto::{Config, PlainHttp};
use oci_proto_tests::clients::{adapters_with, settings};

use crate::failures::{answer, serve};

#[test]
fn a_registry_that_is_not_public_may_lead_to_other_addresses() {
    let target =
        answer(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n", b"\r\n", 1).port();
    let mut config = Config::default();
    config.plain_http = PlainHttp::Always;
    let adapters = adapters_with(&settings().config(config).proxy(None).unwrap());
    // 0.0.0.0 reaches this machine, but is not a loopback address.
    for host in ["127.0.0.1", "localhost", "0.0.0.0"] {
        for elsewhere in ["127.0.0.1", "localhost", "0.0.0.0"] {
            let location = format!("http://{elsewhere}:{target}/x");
            let redirect = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            );
            let registry = serve(move |mut stream| {
                let mut lines = BufReader::new(stream.try_clone()?).lines().map_while(Result::ok);
                let _ = lines.find(String::is_empty);
                stream.write_all(redirect.as_bytes())
            });
            let reference = format!("{host}:{}/demo:1", registry.port()).parse().unwrap();
            for adapter in &adapters {
                let error = adapter.resolve(&reference, None).unwrap_err();
                assert_eq!(error.status(), Some(StatusCode::NOT_FOUND), "{adapter:?}: {host}: {error}");
                assert_eq!(error.request().map(|(_, url)| url), Some(&location[..]), "{adapter:?}: {error}");
            }
        }
    }
}
