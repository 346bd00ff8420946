//! A proxy, from its URL.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use oci_proto::{Fault, FaultKind, Secret};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::BuildError;

/// A proxy: its protocol, its address and its login.
///
/// It is parsed from a URL with a host and the scheme `http`, `https`, `socks5` or `socks5h`, which is `http` by
/// default. The default port is that of the scheme: 80, 443 or 1080. A user name and a password in the URL are
/// percent-encoded where they contain `@`, `/` or other delimiters. `Debug` and `Display` do not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    protocol: ProxyProtocol,
    /// Host and port. An IPv6 address is in brackets.
    authority: String,
    uri: Uri,
    login: Option<ProxyLogin>,
}

/// How a client and a proxy talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a transport cannot use a protocol that it does not know")]
pub enum ProxyProtocol {
    /// HTTP in plain text.
    Http,
    /// HTTP over TLS.
    Https,
    /// SOCKS 5 (RFC 1928). The proxy resolves names, with `socks5` as with `socks5h`.
    Socks5,
}

/// The user name and the password of a proxy, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyLogin {
    /// The user name.
    pub username: String,
    /// The password, which may be empty.
    pub password: Secret,
}

impl Proxy {
    /// Returns the protocol.
    pub fn protocol(&self) -> ProxyProtocol {
        self.protocol
    }

    /// Returns the URL with the scheme, the host and the port alone.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Returns the login.
    pub fn login(&self) -> Option<&ProxyLogin> {
        self.login.as_ref()
    }

    /// Returns the Proxy-Authorization header with the login (RFC 7617).
    pub fn authorization(&self) -> Option<HeaderValue> {
        let ProxyLogin { username, password } = self.login.as_ref()?;
        let login = STANDARD.encode(format!("{username}:{}", password.reveal()));
        let mut header = HeaderValue::try_from(format!("Basic {login}")).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// Returns the fault of a request that the proxy refused with 407.
    pub fn login_refused(&self) -> Fault {
        let why = match self.login {
            Some(_) => "refused the login in its URL",
            None => "requires a login",
        };
        let message = format_args!("{self} {why} (407 Proxy Authentication Required)");
        Fault::new(FaultKind::Proxy, message)
    }

    /// Returns the URL with the login, in its canonical form.
    pub(crate) fn url(&self) -> Secret {
        let login = self.login.as_ref().map(|ProxyLogin { username, password }| {
            let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
            format!("{}:{}@", encode(username), encode(password.reveal()))
        });
        format!("http://{}{}", login.unwrap_or_default(), self.authority).into()
    }
}

impl FromStr for Proxy {
    type Err = BuildError;

    /// The error does not show the text, since it may contain a password.
    fn from_str(text: &str) -> Result<Self, BuildError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let protocol = match scheme.to_ascii_lowercase().as_str() {
            "http" => ProxyProtocol::Http,
            "https" => ProxyProtocol::Https,
            "socks5" | "socks5h" => ProxyProtocol::Socks5,
            _ => return Err(BuildError::Proxy),
        };
        // A password may contain an unencoded `@`, but a host does not.
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let authority = rest.get(..end).unwrap_or_default();
        let (login, address) =
            authority.rsplit_once('@').map_or((None, authority), |(login, address)| (Some(login), address));
        let (scheme, default_port) = protocol.scheme();
        let address: http::uri::Authority = address.parse().map_err(|_| BuildError::Proxy)?;
        let port = address.port().map(|port| port.as_u16());
        // `Authority` accepts a port that is not a number, and reports no port.
        if address.host().is_empty() || (port.is_none() && address.as_str() != address.host()) {
            return Err(BuildError::Proxy);
        }
        let authority = format!("{}:{}", address.host(), port.unwrap_or(default_port));
        let uri = format!("{scheme}://{authority}").parse().map_err(|_| BuildError::Proxy)?;
        let login = login.filter(|login| !login.is_empty()).map(str::parse).transpose()?;
        Ok(Self { protocol, authority, uri, login })
    }
}

impl ProxyProtocol {
    /// Returns the scheme and its default port.
    fn scheme(self) -> (&'static str, u16) {
        match self {
            Self::Http => ("http", 80),
            Self::Https => ("https", 443),
            Self::Socks5 => ("socks5", 1080),
        }
    }
}

impl FromStr for ProxyLogin {
    type Err = BuildError;

    fn from_str(text: &str) -> Result<Self, BuildError> {
        let (username, password) = text.split_once(':').unwrap_or((text, ""));
        // Like curl, this keeps a `%` that encodes nothing.
        let decode = |text| percent_decode_str(text).decode_utf8().map_err(|_| BuildError::Proxy);
        let username = decode(username)?;
        // Basic authentication cannot represent it (RFC 7617, section 2).
        if username.contains(':') {
            return Err(BuildError::Proxy);
        }
        Ok(Self { username: username.into_owned(), password: decode(password)?.into_owned().into() })
    }
}

impl fmt::Display for Proxy {
    /// Writes the host and the port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.authority)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Proxy> {
        text.parse().ok()
    }

    #[test]
    fn a_proxy_requires_a_known_scheme_and_a_host() {
        for (text, uri) in [
            ("http://a", "http://a:80/"),
            ("a:3128", "http://a:3128/"),
            ("a", "http://a:80/"),
            ("SOCKS5://u:p@a", "socks5://a:1080/"),
            ("socks5h://[::1]:1/", "socks5://[::1]:1/"),
            ("https://[::1]", "https://[::1]:443/"),
            ("HTTP://Me:Pa@ss@a:1/path", "http://a:1/"),
        ] {
            assert_eq!(read(text).map(|proxy| proxy.uri.to_string()).as_deref(), Some(uri), "{text}");
        }
        for text in [
            "",
            "http://",
            "ftp://a:1",
            "http://a:b",
            "http://a:",
            "http://a b",
            "a:70000",
            "http://u:p@",
            "://a",
            "http://user:%ff@a",
            "http://us%3Aer@a",
            "socks4://a:1080",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_login_is_decoded_once_and_not_shown() {
        for (login, username, password) in [
            ("user:s3%40cret", "user", "s3@cret"),
            ("user", "user", ""),
            (":token", "", "token"),
            ("us%20er:a%2525:b", "us er", "a%25:b"),
            ("user:100%", "user", "100%"),
            ("user:a@b", "user", "a@b"),
        ] {
            let proxy = read(&format!("http://{login}@a:1")).unwrap();
            let found = proxy.login().unwrap();
            assert_eq!((found.username.as_str(), found.password.reveal()), (username, password), "{login}");
            assert_eq!(format!("{proxy} {proxy:?}"), "a:1 Proxy(http://a:1/)");
            assert_eq!(read(proxy.url().reveal()).as_ref(), Some(&proxy), "{login}");
        }
        let header = read("http://user:pw@a").unwrap().authorization().unwrap();
        assert_eq!((header.to_str().unwrap(), header.is_sensitive()), ("Basic dXNlcjpwdw==", true));
    }
}
