//! What goes wrong. One server plays all parts: the registry, the token server, and, by another name, an origin
//! elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_proto_tests::interop::{Asked, Reply};
use serde_json::json;

use crate::{IDENTITY, PASSWORD, SIGNATURE, TOKEN};

/// A server that fails those who ask it, and what they are told.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) login: Login,
    pub(crate) answer: fn(&Asked) -> Reply,
    /// What shows that it came to what the scene is about.
    pub(crate) said: &'static [&'static str],
}

/// Where the login comes from.
pub(crate) enum Login {
    Nobody,
    Password,
    Identity,
    /// A file, in which `REGISTRY` stands for the registry.
    File(&'static str),
    /// A credential helper, as a shell script.
    Helper(&'static str),
}

pub(crate) const SCENES: &[Scene] = &[
    Scene {
        name: "a registry refuses a password",
        login: Login::Password,
        answer: |asked| match asked.header("authorization") {
            "" => basic(),
            _ => refuse(403, asked),
        },
        said: &["403 Forbidden", "REDACTED"],
    },
    Scene {
        name: "a registry refuses a password for ever",
        login: Login::Password,
        answer: |asked| {
            let echo = echo(asked).replace('"', "'");
            Reply::new(401, &[("www-authenticate", &format!("Basic realm=\"{echo}\""))], echo.clone())
        },
        said: &["401 Unauthorized", "REDACTED"],
    },
    Scene {
        name: "a token server refuses a password",
        login: Login::Password,
        answer: |asked| if asked.path() == "/token" { refuse(401, asked) } else { bearer(asked) },
        said: &["token server answered 401", "REDACTED"],
    },
    Scene {
        name: "a token server is in trouble",
        login: Login::Password,
        answer: |asked| if asked.path() == "/token" { refuse(503, asked) } else { bearer(asked) },
        said: &["token server answered 503", "REDACTED"],
    },
    Scene {
        name: "a token server refuses an identity token, and then as a password",
        login: Login::Identity,
        answer: |asked| match (asked.path(), asked.header("authorization")) {
            ("/token", "") => refuse(405, asked),
            ("/token", _) => refuse(403, asked),
            _ => bearer(asked),
        },
        said: &["token server answered 403", "REDACTED"],
    },
    Scene {
        name: "a token server wants fewer identity tokens",
        login: Login::Identity,
        answer: |asked| if asked.path() == "/token" { refuse(429, asked) } else { bearer(asked) },
        said: &["token server answered 429", "REDACTED"],
    },
    Scene {
        name: "a token server answers with something else than JSON",
        login: Login::Password,
        answer: |asked| match asked.path() {
            "/token" => Reply::new(200, &[], format!("{TOKEN}, {}", echo(asked))),
            _ => bearer(asked),
        },
        said: &["unusable: it is not"],
    },
    Scene {
        name: "a token cannot be sent",
        login: Login::Password,
        answer: |asked| match asked.path() {
            "/token" => {
                Reply::json(200, &json!({ "token": format!("{TOKEN}\n"), "refresh_token": IDENTITY }))
            }
            _ => bearer(asked),
        },
        said: &["unusable: its token has a character"],
    },
    Scene {
        name: "a token answer has a refresh token alone",
        login: Login::Identity,
        answer: |asked| match asked.path() {
            "/token" => Reply::json(200, &json!({ "token": [TOKEN], "refresh_token": IDENTITY })),
            _ => bearer(asked),
        },
        said: &["unusable: it has no token"],
    },
    Scene {
        name: "a registry refuses a token",
        login: Login::Nobody,
        answer: |asked| match (asked.path(), asked.header("authorization")) {
            ("/token", _) => Reply::json(200, &json!({ "token": TOKEN })),
            (_, "") => bearer(asked),
            _ => refuse(403, asked),
        },
        said: &["403 Forbidden", "REDACTED"],
    },
    Scene {
        name: "a registry refuses every token, and says which",
        login: Login::Password,
        answer: |asked| {
            if asked.path() == "/token" {
                return Reply::json(200, &json!({ "access_token": TOKEN, "expires_in": 300 }));
            }
            let realm = format!("http://{}/token", asked.header("host"));
            let shown = asked.header("authorization");
            let challenge = format!("Bearer realm=\"{realm}\",error_description=\"not {shown}\"");
            Reply::new(401, &[("www-authenticate", &challenge)], echo(asked))
        },
        said: &["401 Unauthorized", "REDACTED"],
    },
    Scene {
        name: "a registry's challenge cannot be read",
        login: Login::Nobody,
        answer: |_| Reply::new(401, &[("www-authenticate", &format!("Bearer realm=\"{TOKEN}"))], ""),
        said: &["WWW-Authenticate header is"],
    },
    Scene {
        name: "a realm has a login in it",
        login: Login::Password,
        answer: |_| {
            let realm = format!("http://somebody:{PASSWORD}@127.0.0.1:1/token?key={SIGNATURE}");
            Reply::new(401, &[("www-authenticate", &format!("Bearer realm=\"{realm}\""))], "")
        },
        said: &["WWW-Authenticate header is"],
    },
    Scene {
        name: "a realm with a key in it is not there",
        login: Login::Password,
        answer: |_| {
            let realm = format!("http://127.0.0.1:1/token?key={SIGNATURE}");
            Reply::new(401, &[("www-authenticate", &format!("Bearer realm=\"{realm}\""))], "")
        },
        said: &["key=REDACTED"],
    },
    Scene {
        name: "an origin elsewhere refuses a signed URL",
        login: Login::Nobody,
        answer: |asked| if is_elsewhere(asked) { refuse(403, asked) } else { elsewhere(asked, "http") },
        said: &["signature=REDACTED", "403 Forbidden", "not REDACTED"],
    },
    Scene {
        name: "an origin elsewhere is in trouble",
        login: Login::Nobody,
        answer: |asked| if is_elsewhere(asked) { refuse(500, asked) } else { elsewhere(asked, "http") },
        said: &["signature=REDACTED", "500 Internal Server Error", "not REDACTED"],
    },
    Scene {
        name: "an origin elsewhere redirects in circles",
        login: Login::Nobody,
        answer: |asked| elsewhere(asked, "http"),
        said: &["signature=REDACTED", "redirected more than"],
    },
    Scene {
        name: "an origin elsewhere does not answer",
        login: Login::Nobody,
        answer: |asked| if is_elsewhere(asked) { Reply::Close } else { elsewhere(asked, "http") },
        said: &["signature=REDACTED"],
    },
    Scene {
        name: "an origin elsewhere does not speak TLS",
        login: Login::Nobody,
        answer: |asked| elsewhere(asked, "https"),
        said: &["signature=REDACTED"],
    },
    Scene {
        name: "an origin elsewhere is not there",
        login: Login::Nobody,
        answer: |_| {
            let location = format!("http://127.0.0.1:1/x?signature={SIGNATURE}");
            Reply::new(307, &[("location", &location)], "")
        },
        said: &["signature=REDACTED"],
    },
    Scene {
        name: "an origin elsewhere has something else",
        login: Login::Nobody,
        answer: |asked| {
            if is_elsewhere(asked) { Reply::new(200, &[], "<html>") } else { elsewhere(asked, "http") }
        },
        said: &["signature=REDACTED"],
    },
    Scene {
        name: "a registry redirects to nowhere",
        login: Login::Nobody,
        answer: |_| {
            Reply::new(307, &[("location", &format!("ftp://cdn.example/x?signature={SIGNATURE}"))], "")
        },
        said: &["Location header is"],
    },
    Scene {
        name: "a helper fails with the login on its lips",
        login: Login::Helper(
            "echo '{\"Username\": \"somebody\", \"Secret\": \"h0rse=b4ttery\"}'
             echo '{\"Secret\": \"h0rse=b4ttery\"}' >&2; exit 1",
        ),
        answer: |_| basic(),
        said: &["docker-credential-test", "not shown"],
    },
    Scene {
        name: "a helper breaks off",
        login: Login::Helper("printf '{\"Username\": \"somebody\", \"Secret\": \"h0rse=b4ttery'"),
        answer: |_| basic(),
        said: &["docker-credential-test", "did not answer in JSON"],
    },
    Scene {
        name: "a helper answers in another form",
        login: Login::Helper(
            "echo '{\"Username\": [\"h0rse=b4ttery\"], \"Secret\": {\"h0rse=b4ttery\": 1}}'",
        ),
        answer: |_| basic(),
        said: &["docker-credential-test", "another form"],
    },
    Scene {
        name: "a helper's login is refused",
        login: Login::Helper("echo '{\"Username\": \"<token>\", \"Secret\": \"1dentity&r3fresh\"}'"),
        answer: |asked| if asked.path() == "/token" { refuse(403, asked) } else { bearer(asked) },
        said: &["token server answered 403", "REDACTED"],
    },
    Scene {
        name: "a file breaks off",
        login: Login::File(
            "{\"auths\": {\"REGISTRY\": {\"username\": \"somebody\", \"password\": \"h0rse=b4ttery",
        ),
        answer: |_| basic(),
        said: &["config.json", "not JSON"],
    },
    Scene {
        name: "a file's login has no form",
        login: Login::File("{\"auths\": {\"REGISTRY\": {\"auth\": \"h0rse=b4ttery\"}}}"),
        answer: |_| basic(),
        said: &["config.json", "auth"],
    },
    Scene {
        name: "a file's token is refused",
        login: Login::File("{\"auths\": {\"REGISTRY\": {\"registrytoken\": \"4ccess.t0ken\"}}}"),
        answer: |asked| {
            if asked.header("authorization").is_empty() { bearer(asked) } else { refuse(403, asked) }
        },
        said: &["403 Forbidden", "REDACTED"],
    },
];

fn basic() -> Reply {
    Reply::new(401, &[("www-authenticate", "Basic realm=\"a test\"")], "")
}

fn bearer(asked: &Asked) -> Reply {
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"a test\"", asked.header("host"));
    Reply::new(401, &[("www-authenticate", &challenge)], "")
}

/// The same server by another name, which is another origin.
fn elsewhere(asked: &Asked, scheme: &str) -> Reply {
    let (_, port) = asked.header("host").rsplit_once(':').expect("a test's server has a port");
    let location = format!("{scheme}://localhost:{port}/x?signature={SIGNATURE}");
    Reply::new(307, &[("location", &location)], "")
}

fn is_elsewhere(asked: &Asked) -> bool {
    asked.header("host").starts_with("localhost")
}

/// Says no, and says again all that it was shown.
fn refuse(status: u16, asked: &Asked) -> Reply {
    let echo = echo(asked);
    let warning = format!("299 - \"{}\"", echo.replace(['"', '\\'], "'"));
    let body = json!({ "errors": [{ "code": echo, "message": echo, "detail": echo }] });
    Reply::new(status, &[("warning", &warning), ("content-type", "application/json")], body.to_string())
}

fn echo(asked: &Asked) -> String {
    let authorization = asked.header("authorization");
    let login = STANDARD.decode(authorization.trim_start_matches("Basic ")).unwrap_or_default();
    let refresh_token = form_urlencoded::parse(&asked.body).find(|(name, _)| name == "refresh_token");
    let signature = form_urlencoded::parse(asked.query().as_bytes()).find(|(name, _)| name == "signature");
    format!(
        "{} not {}{}{}; {authorization}; {}; {}",
        asked.method,
        signature.map_or_else(String::new, |(_, value)| value.into_owned()),
        refresh_token.map_or_else(String::new, |(_, value)| value.into_owned()),
        String::from_utf8_lossy(&login),
        String::from_utf8_lossy(&asked.body),
        asked.target,
    )
}
