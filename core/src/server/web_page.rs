//! Requests of web pages in a browser on the machine of the server.
//!
//! A page can send requests to any address, and to its own host name, which may resolve to any address, too (DNS
//! rebinding). The browser says so: with the headers Host, Origin and Sec-Fetch-Site.

use core::net::IpAddr;

use http::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use http::uri::Authority;
use http::{Method, StatusCode, request};

use crate::server::error_response::{Code, ErrorResponse};
use crate::types::reference::registry::is_loopback;

/// The relation of a page to the server.
///
/// Source: Fetch Metadata, section 2.3.
const FETCH_SITE: &str = "sec-fetch-site";

/// Refuses a request for a host name that is not local, and one that writes and is sent by a page of another origin.
///
/// The names below `localhost` are local: RFC 6761, section 6.3. An IP address is not a name that resolves to another
/// one, so any is accepted. Clients other than browsers send neither Origin nor Sec-Fetch-Site.
pub(super) fn check(head: &request::Parts) -> Result<(), ErrorResponse> {
    let host = head.headers.get(HOST).map(|host| Authority::try_from(host.as_bytes()).ok());
    let hosts = host.iter().map(Option::as_ref).chain(head.uri.authority().map(Some));
    for host in hosts {
        // An invalid one is refused later, with the reason.
        if host.is_some_and(|host| !is_local(host.host())) {
            let message =
                "this registry is served on the local machine only, under localhost or an IP address";
            return Err(ErrorResponse::new(StatusCode::MISDIRECTED_REQUEST, Code::Denied, message));
        }
    }
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&head.method);
    if !reads && is_of_another_origin(&head.headers) {
        let message = "web pages of other origins may not write to this registry";
        return Err(ErrorResponse::new(StatusCode::FORBIDDEN, Code::Denied, message));
    }
    Ok(())
}

fn is_local(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    is_loopback(host.strip_suffix('.').unwrap_or(host)) || address.parse::<IpAddr>().is_ok()
}

fn is_of_another_origin(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get(FETCH_SITE) {
        // `none` is a request of the user.
        return site != "same-origin" && site != "none";
    }
    let host = headers.get(HOST).map_or(&[][..], HeaderValue::as_bytes);
    headers.get(ORIGIN).is_some_and(|origin| {
        let origin = origin.as_bytes();
        let of_host =
            |scheme: &[u8]| origin.strip_prefix(scheme).is_some_and(|of| of.eq_ignore_ascii_case(host));
        !of_host(b"http://") && !of_host(b"https://")
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn status(method: &str, target: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        check(&head).err().map(|error| error.into_response().status().as_u16())
    }

    #[test]
    fn only_local_names_and_addresses_are_hosts() {
        for host in [
            "localhost",
            "LOCALHOST:5000",
            "localhost.:5000",
            "registry.localhost",
            "127.0.0.1:5000",
            "[::1]:5000",
            "10.0.2.2",
            "",
        ] {
            assert_eq!(status("GET", "/v2/", &[("host", host)]), None, "{host}");
        }
        assert_eq!(status("GET", "/v2/", &[]), None);
        for host in ["evil.example:5000", "localhost.evil.example", "notlocalhost", "127.0.0.1.evil.example"]
        {
            for method in ["GET", "HEAD", "PUT"] {
                assert_eq!(status(method, "/v2/", &[("host", host)]), Some(421), "{host}");
            }
            let target = format!("http://{host}/v2/");
            assert_eq!(status("GET", &target, &[("host", "localhost")]), Some(421), "{host}");
        }
    }

    #[test]
    fn a_page_of_another_origin_may_not_write() {
        let host = ("host", "localhost:5000");
        for (headers, refused) in [
            (&[][..], false),
            (&[("sec-fetch-site", "same-origin"), ("origin", "http://localhost:5000")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("origin", "http://localhost:5000")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://localhost:5000")], true),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("origin", "http://localhost:8080")], true),
            (&[("origin", "https://evil.example")], true),
            (&[("origin", "null")], true),
        ] {
            let headers: Vec<_> = [&[host], headers].concat();
            for method in ["POST", "PUT", "PATCH", "DELETE"] {
                let expected = refused.then_some(403);
                assert_eq!(status(method, "/v2/app/blobs/uploads/", &headers), expected, "{headers:?}");
            }
            assert_eq!(status("GET", "/v2/", &headers), None, "{headers:?}");
        }
    }
}
