//! A registry with a token server and a CDN, some of whose responses fail. It is called directly, without a
//! network.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_RANGE, HOST, LINK, LOCATION, RANGE, RETRY_AFTER, WARNING, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, request};
use oci_proto::server::{Body, Memory, Server};
use oci_proto::{Credentials, Descriptor, Digest, Evidence, Exchange, Manifest, Payload};

pub(crate) const PASSWORD: &str = "hunter2/&secret";
pub(crate) const REFRESH_TOKEN: &str = "refresh+me/7";
pub(crate) const ACCESS_TOKEN: &str = "access.token-1";
pub(crate) const OTHER_TOKEN: &str = "rotated-refresh-token";
pub(crate) const SIGNATURE: &str = "sig%2Fnature%3d";
pub(crate) const CLIENT: &str = "client-secret";

/// Where trees are sent. It requires no login.
pub(crate) const DESTINATION: &str = "mirror.example/team/copy:2.0";

/// The secrets that must not appear in a recording, in all forms that servers see.
pub(crate) fn secrets() -> Vec<String> {
    let mut secrets: Vec<String> =
        [PASSWORD, REFRESH_TOKEN, ACCESS_TOKEN, OTHER_TOKEN, SIGNATURE, "sig/nature=", CLIENT]
            .map(str::to_owned)
            .into();
    secrets.extend([basic("user", PASSWORD), basic("<token>", REFRESH_TOKEN)]);
    secrets.extend(["hunter2%2F%26secret".into(), "refresh%2Bme/7".into(), "session-cookie".into()]);
    secrets
}

pub(crate) fn basic(username: &str, password: &str) -> String {
    STANDARD.encode(format!("{username}:{password}"))
}

/// The authentication that the registry requires.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scheme {
    Nothing,
    Basic,
    Token,
    /// A token server that does not accept a refresh token by POST.
    TokenByGet,
}

impl Scheme {
    pub(crate) const ALL: [Self; 4] = [Self::Nothing, Self::Basic, Self::Token, Self::TokenByGet];
}

pub(crate) struct Registry {
    server: Server,
    contents: BTreeMap<Digest, Bytes>,
    scheme: Scheme,
    /// The password of its user, and the refresh token.
    login: [&'static str; 2],
    /// The body of its responses with 404, instead of one that repeats all secrets.
    refusal: Option<String>,
    /// The number of requests for each path of the CDN.
    asked: BTreeMap<String, u32>,
    /// What the mirror has, by digest or tag.
    stored: BTreeMap<String, Bytes>,
    /// Whether its clients know the signature.
    has_opened: bool,
}

/// A response, and the number of bytes after which the connection breaks.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) breaks_after: Option<usize>,
}

impl Registry {
    pub(crate) fn new(scheme: Scheme) -> Self {
        let (memory, root) = Memory::sample();
        let mut server = Server::new();
        let repository = "team/app".parse().expect("a repository");
        let tag = "1.0".parse().expect("a tag");
        server.add(&repository, Some(&tag), &root, &memory).expect("the sample is complete");
        let contents = memory.contents().map(|(digest, bytes)| (digest.clone(), bytes.clone())).collect();
        Self {
            server,
            contents,
            scheme,
            login: [PASSWORD, REFRESH_TOKEN],
            refusal: None,
            asked: BTreeMap::new(),
            stored: BTreeMap::new(),
            has_opened: false,
        }
    }

    /// A registry whose user has this password and refresh token.
    pub(crate) fn with_login(scheme: Scheme, secret: &'static str) -> Self {
        Self { login: [secret, secret], ..Self::new(scheme) }
    }

    /// The registry with this body in its responses with 404.
    pub(crate) fn refusing_with(self, body: String) -> Self {
        Self { refusal: Some(body), ..self }
    }

    /// The documents whose subject is this one.
    pub(crate) fn referrers(&self, subject: &Digest) -> Vec<Descriptor> {
        let refers = |(digest, bytes): (&Digest, &Bytes)| {
            let manifest = Manifest::read(bytes.clone(), Evidence::default()).ok()?;
            let is_one = manifest.subject().is_some_and(|of| of.digest() == subject);
            let media_type = manifest.media_type().clone();
            is_one.then(|| Descriptor::new(media_type, digest.clone(), bytes.len() as u64))
        };
        self.contents.iter().filter_map(refers).collect()
    }

    pub(crate) fn content(&self, digest: &Digest) -> &Bytes {
        &self.contents[digest]
    }

    pub(crate) fn login(&self) -> Option<Credentials> {
        match self.scheme {
            Scheme::Nothing => None,
            Scheme::Basic => Some(Credentials::login("user", self.login[0]).expect("no colon")),
            Scheme::Token | Scheme::TokenByGet => Some(Credentials::Identity(self.login[1].into())),
        }
    }

    /// The secrets that the registry shares with its clients.
    fn known(&self) -> Vec<&'static str> {
        let [password, refresh_token] = self.login;
        match self.scheme {
            Scheme::Nothing => vec![],
            Scheme::Basic => vec![password],
            Scheme::Token | Scheme::TokenByGet => vec![CLIENT, refresh_token, ACCESS_TOKEN, OTHER_TOKEN],
        }
    }

    pub(crate) fn answer(&mut self, exchange: &Exchange) -> Reply {
        let request = exchange.request();
        match request.uri().host() {
            Some("registry.example") => self.registry(request),
            Some("auth.example") => self.token(request),
            Some("cdn.example") => self.cdn(request),
            Some("mirror.example") => self.mirror(request),
            other => panic!("{other:?}"),
        }
    }

    /// Returns content of the tree.
    pub(crate) fn find(&self, digest: &Digest) -> Option<&Bytes> {
        self.contents.get(digest)
    }

    /// Takes all content, at signed URLs, and repeats them.
    fn mirror(&mut self, request: &Request<Payload>) -> Reply {
        let (method, path) = (request.method().as_str(), request.uri().path());
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut reply = match method {
            "POST" => {
                let mut reply = Reply::new(202, "");
                self.has_opened = true;
                reply.set(WARNING, &format!("299 - \"opened {SIGNATURE}\""));
                reply.set(LOCATION, &format!("/u/{}?_state={SIGNATURE}", self.stored.len()));
                return reply;
            }
            "PUT" => {
                let query = request.uri().query().unwrap_or_default();
                let name = query.split_once("digest=").map_or(name, |(_, digest)| digest.to_owned());
                let document = match request.body() {
                    Payload::Bytes(bytes) => bytes.clone(),
                    _ => Bytes::new(),
                };
                self.stored.insert(name, document);
                Reply::new(201, "")
            }
            _ => self.stored.get(&name).map_or(Reply::new(404, ""), |bytes| Reply::new(200, bytes.clone())),
        };
        if self.has_opened {
            reply.set(WARNING, &format!("299 - \"{method} with {SIGNATURE}\""));
        }
        reply
    }

    fn registry(&mut self, request: &Request<Payload>) -> Reply {
        let path = request.uri().path();
        let shown = request.headers().get(AUTHORIZATION).map_or("", |value| value.to_str().unwrap());
        let wanted = match self.scheme {
            Scheme::Nothing => String::new(),
            Scheme::Basic => format!("Basic {}", basic("user", self.login[0])),
            Scheme::Token | Scheme::TokenByGet => format!("Bearer {ACCESS_TOKEN}"),
        };
        if shown != wanted {
            let body = format!(r#"{{"errors":[{{"code":"UNAUTHORIZED","message":"not with `{shown}`"}}]}}"#);
            let mut reply = Reply::new(401, body);
            let challenge = match self.scheme {
                Scheme::Basic => r#"Basic realm="Registry", Negotiate client-secret"#.to_owned(),
                _ => format!(r#"Bearer realm="https://auth.example/token?client={CLIENT}",service="reg""#),
            };
            reply.set(WWW_AUTHENTICATE, &challenge);
            return reply;
        }
        if path.ends_with("/tags/list") {
            let is_first = request.uri().query().is_none();
            let mut reply =
                Reply::new(200, format!(r#"{{"tags":["{}"]}}"#, if is_first { "1.0" } else { "2.0" }));
            reply.set(WARNING, &format!("299 - \"{SIGNATURE} and {wanted}\""));
            if is_first {
                reply.set(LINK, &format!("<{path}?next={SIGNATURE}>; rel=\"next\""));
            }
            return reply;
        }
        if path.contains("/blobs/uploads/") {
            return self.upload(request);
        }
        if *request.method() == Method::HEAD && path.contains("/blobs/") {
            return Reply::new(404, "");
        }
        if path.contains("/blobs/") {
            let mut reply = Reply::new(307, "");
            let at = format!("https://cdn.example{path}?sig={SIGNATURE}&expires=300&scope=x#{CLIENT}");
            reply.set(LOCATION, &at);
            return reply;
        }
        let mut reply = self.serve(request);
        if reply.status == StatusCode::NOT_FOUND {
            let echo = format!("no `{path}` for {shown}, or {}", self.known().join(" or "));
            let body = self
                .refusal
                .clone()
                .unwrap_or_else(|| format!(r#"{{"errors":[{{"code":"NAME_UNKNOWN","message":"{echo}"}}]}}"#));
            return Reply::new(404, body);
        }
        reply.set(WARNING, &format!("299 - \"the end of `{wanted}` is near\", 299 - \"slow\""));
        reply.set(http::header::SET_COOKIE, "session=session-cookie");
        reply
    }

    /// Takes uploads in chunks only, and breaks off the first one after 5 bytes.
    fn upload(&mut self, request: &Request<Payload>) -> Reply {
        let asked = self.asked.entry(request.method().to_string()).or_default();
        *asked += 1;
        let is_chunk = request.headers().contains_key(CONTENT_RANGE);
        let mut reply = match (request.method().as_str(), *asked) {
            ("POST", _) if request.uri().query().is_some_and(|query| query.contains("mount=")) => {
                return Reply::new(403, "");
            }
            ("POST", _) => {
                let mut reply = Reply::new(202, "");
                reply.set(http::HeaderName::from_static("oci-chunk-min-length"), "12");
                reply
            }
            ("PATCH", 1) => Reply::new(503, format!("try {} again", request.uri())),
            ("PATCH", _) => Reply::new(202, ""),
            ("GET", _) => {
                let mut reply = Reply::new(204, "");
                reply.set(RANGE, "0-4");
                reply
            }
            ("PUT", _) if is_chunk => return Reply::new(201, ""),
            ("PUT", _) => return Reply::new(415, ""),
            (other, _) => panic!("{other}"),
        };
        reply.set(LOCATION, &format!("/v2/team/app/blobs/uploads/1?_state={SIGNATURE}"));
        reply
    }

    fn token(&mut self, request: &Request<Payload>) -> Reply {
        let is_post = request.method() == Method::POST;
        if is_post && self.scheme == Scheme::TokenByGet {
            return Reply::new(404, "");
        }
        let shown = match request.body() {
            Payload::Bytes(form) => String::from_utf8_lossy(form).into_owned(),
            _ => request.headers()[AUTHORIZATION].to_str().unwrap().to_owned(),
        };
        let basic = basic("<token>", self.login[1]);
        assert!(shown.contains(if is_post { "refresh_token=" } else { &basic }), "{shown}");
        Reply::new(
            200,
            format!(
                r#"{{"access_token":"{ACCESS_TOKEN}","expires_in":300,"refresh_token":"{OTHER_TOKEN}","x":"{CLIENT}"}}"#
            ),
        )
    }

    /// Answers the first request for a blob with 429 or with a truncated body, alternately.
    fn cdn(&mut self, request: &Request<Payload>) -> Reply {
        assert_eq!(request.uri().query().unwrap().split('&').next(), Some(&*format!("sig={SIGNATURE}")));
        let turn = self.asked.len() % 3;
        let asked = self.asked.entry(request.uri().path().to_owned()).or_default();
        *asked += 1;
        let is_first = *asked == 1;
        let mut reply = self.serve(request);
        match (turn, is_first) {
            (0, true) => reply.breaks_after = Some(reply.body.len() / 2),
            (1, true) => {
                reply = Reply::new(429, format!("too much of {}, sig/nature= too\n", request.uri()));
                reply.set(RETRY_AFTER, "2");
            }
            _ => {}
        }
        reply
    }

    fn serve(&self, request: &Request<Payload>) -> Reply {
        let (head, ()) = {
            let mut parts = Request::new(());
            *parts.method_mut() = request.method().clone();
            *parts.uri_mut() = request.uri().path().parse().unwrap();
            parts.headers_mut().insert(HOST, request.uri().authority().unwrap().as_str().parse().unwrap());
            if let Some(range) = request.headers().get(RANGE) {
                parts.headers_mut().insert(RANGE, range.clone());
            }
            parts.into_parts()
        };
        let head: request::Parts = head;
        let (head, body) = self.server.respond(&head).into_parts();
        let body = match body {
            Body::Empty => Bytes::new(),
            Body::Bytes(bytes) => bytes,
            Body::Blob { digest, range } => {
                let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                self.contents[&digest].slice(range)
            }
        };
        assert_eq!(head.status == StatusCode::PARTIAL_CONTENT, head.headers.contains_key(CONTENT_RANGE));
        Reply { status: head.status, headers: head.headers, body, breaks_after: None }
    }
}

impl Reply {
    fn new(status: u16, body: impl Into<Bytes>) -> Self {
        let status = StatusCode::from_u16(status).expect("a status");
        Self { status, headers: HeaderMap::new(), body: body.into(), breaks_after: None }
    }

    fn set(&mut self, name: http::HeaderName, value: &str) {
        self.headers.insert(name, HeaderValue::from_str(value).expect("a valid header value"));
    }
}
