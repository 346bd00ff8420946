//! Header values of a megabyte.

use http::{HeaderValue, Response};
use oci_proto::{Config, Session};
use oci_proto_tests::transcript::Start;

use super::drive::{drive, with_body};

#[test]
fn a_header_value_of_a_megabyte_does_not_inflate_the_error() {
    const MEGABYTE: usize = 1 << 20;
    let values = [
        "a".repeat(MEGABYTE),
        "9".repeat(MEGABYTE),
        " ,".repeat(MEGABYTE / 2),
        format!("sha256:{}", "0".repeat(MEGABYTE)),
        format!("application/{}", "x".repeat(MEGABYTE)),
        format!("299 - \"{}\"", "w".repeat(MEGABYTE)),
        format!("Bearer realm=\"https://registry.example/{}\"", "r".repeat(MEGABYTE)),
        format!("https://elsewhere.example/{}", "l".repeat(MEGABYTE)),
        "Basic realm=x, ".repeat(MEGABYTE / 15),
    ];
    let names = [
        "content-type",
        "content-length",
        "content-encoding",
        "content-range",
        "docker-content-digest",
        "warning",
        "retry-after",
        "date",
        "location",
        "www-authenticate",
    ];
    for name in names {
        for value in &values {
            for (operation, status) in [
                ("manifest", 200),
                ("resolve", 200),
                ("manifest", 307),
                ("manifest", 400),
                ("manifest", 401),
                ("manifest", 429),
            ] {
                let mut session = Session::new(Config::default(), 1);
                let operation = format!("{operation} registry.example/a/b:1");
                let op = Start::parse(&operation).expect("an operation").begin(&mut session);
                let value = HeaderValue::from_str(value).expect("a value");
                let seen = drive(&mut session, op, |_| {
                    with_body(
                        Response::builder().status(status).header(name, value.clone()),
                        "nonsense".into(),
                    )
                });
                let shown: String = seen.end.chars().take(300).collect();
                assert!(seen.end.starts_with("failed "), "{name} with {status}: {shown}");
                assert!(seen.end.len() < 2000, "{name} with {status}: {} bytes: {shown}", seen.end.len());
                assert!(seen.requests <= 12, "{name} with {status}: {} requests", seen.requests);
            }
        }
    }
}
