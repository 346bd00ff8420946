//! The scenarios. One server plays all roles: registry, token server, and, under another name, the origin of
//! redirects.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_proto_tests::interop::{Asked, Reply};
use serde_json::json;

use crate::planted::{IDENTITY, PASSWORD, SIGNATURE, TOKEN};

/// A scenario: a failing server, and part of the error.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) login: Login,
    pub(crate) answer: fn(&Asked) -> Reply,
    /// Part of the output, which shows that the scenario reached its failure.
    pub(crate) said: &'static [&'static str],
}

/// The source of the credentials.
pub(crate) enum Login {
    Nobody,
    Password,
    Identity,
    /// A credentials file, in which `REGISTRY` stands for the registry.
    File(&'static str),
    /// A credential helper, as a shell script.
    Helper(&'static str),
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a registry refuses a password",
        login: Login::Password,
        answer: |asked| match asked.header("authorization") {
            "" => basic(),
            _ => refuse(403, asked),
        },
        said: &["403 Forbidden", "REDACTED"],
    },
    Scenario {
        name: "a registry always refuses a password",
        login: Login::Password,
        answer: |asked| {
            let echo = echo(asked).replace('"', "'");
            Reply::new(401, &[("www-authenticate", &format!("Basic realm=\"{echo}\""))], echo.clone())
        },
        said: &["401 Unauthorized", "REDACTED"],
    },
    Scenario {
        name: "a token server refuses a password",
        login: Login::Password,
        answer: |asked| if asked.path() == "/token" { refuse(401, asked) } else { bearer(asked) },
        said: &["token server answered 401", "REDACTED"],
    },
    Scenario {
        name: "a token server fails",
        login: Login::Password,
        answer: |asked| if asked.path() == "/token" { refuse(503, asked) } else { bearer(asked) },
        said: &["token server answered 503", "REDACTED"],
    },
    Scenario {
        name: "a token server refuses an identity token and a password",
        login: Login::Identity,
        answer: |asked| match (asked.path(), asked.header("authorization")) {
            ("/token", "") => refuse(405, asked),
            ("/token", _) => refuse(403, asked),
            _ => bearer(asked),
        },
        said: &["token server answered 403", "REDACTED"],
    },
    Scenario {
        name: "a token server throttles identity tokens",
        login: Login::Identity,
        answer: |asked| if asked.path() == "/token" { refuse(429, asked) } else { bearer(asked) },
        said: &["token server answered 429", "REDACTED"],
    },
    Scenario {
        name: "a token response is not JSON",
        login: Login::Password,
        answer: |asked| match asked.path() {
            "/token" => Reply::new(200, &[], format!("{TOKEN}, {}", echo(asked))),
            _ => bearer(asked),
        },
        said: &["unusable: it is not"],
    },
    Scenario {
        name: "a token is invalid in a header",
        login: Login::Password,
        answer: |asked| match asked.path() {
            "/token" => {
                Reply::json(200, &json!({ "token": format!("{TOKEN}\n"), "refresh_token": IDENTITY }))
            }
            _ => bearer(asked),
        },
        said: &["unusable: its token has a character"],
    },
    Scenario {
        name: "a token response has only a refresh token",
        login: Login::Identity,
        answer: |asked| match asked.path() {
            "/token" => Reply::json(200, &json!({ "token": [TOKEN], "refresh_token": IDENTITY })),
            _ => bearer(asked),
        },
        said: &["unusable: it has no token"],
    },
    Scenario {
        name: "a registry refuses a token",
        login: Login::Nobody,
        answer: |asked| match (asked.path(), asked.header("authorization")) {
            ("/token", _) => Reply::json(200, &json!({ "token": TOKEN })),
            (_, "") => bearer(asked),
            _ => refuse(403, asked),
        },
        said: &["403 Forbidden", "REDACTED"],
    },
    Scenario {
        name: "a registry refuses every token, and echoes it",
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
    Scenario {
        name: "a challenge does not parse",
        login: Login::Nobody,
        answer: |_| Reply::new(401, &[("www-authenticate", &format!("Bearer realm=\"{TOKEN}"))], ""),
        said: &["invalid WWW-Authenticate header"],
    },
    Scenario {
        name: "a realm contains credentials",
        login: Login::Password,
        answer: |_| {
            let realm = format!("http://somebody:{PASSWORD}@127.0.0.1:1/token?key={SIGNATURE}");
            Reply::new(401, &[("www-authenticate", &format!("Bearer realm=\"{realm}\""))], "")
        },
        said: &["WWW-Authenticate header is unusable"],
    },
    Scenario {
        name: "a realm with a key in its URL is missing",
        login: Login::Password,
        answer: |_| {
            let realm = format!("http://127.0.0.1:1/token?key={SIGNATURE}");
            Reply::new(401, &[("www-authenticate", &format!("Bearer realm=\"{realm}\""))], "")
        },
        said: &["key=REDACTED"],
    },
    Scenario {
        name: "a redirect target refuses a signed URL",
        login: Login::Nobody,
        answer: |asked| if is_elsewhere(asked) { refuse(403, asked) } else { elsewhere(asked, "http") },
        said: &["signature=REDACTED", "403 Forbidden", "not REDACTED"],
    },
    Scenario {
        name: "a redirect target fails",
        login: Login::Nobody,
        answer: |asked| if is_elsewhere(asked) { refuse(500, asked) } else { elsewhere(asked, "http") },
        said: &["signature=REDACTED", "500 Internal Server Error", "not REDACTED"],
    },
    Scenario {
        name: "a redirect target redirects in a loop",
        login: Login::Nobody,
        answer: |asked| elsewhere(asked, "http"),
        said: &["signature=REDACTED", "redirected more than"],
    },
    Scenario {
        name: "a redirect target does not respond",
        login: Login::Nobody,
        answer: |asked| if is_elsewhere(asked) { Reply::Close } else { elsewhere(asked, "http") },
        said: &["signature=REDACTED"],
    },
    Scenario {
        name: "a redirect target does not speak TLS",
        login: Login::Nobody,
        answer: |asked| elsewhere(asked, "https"),
        said: &["signature=REDACTED"],
    },
    Scenario {
        name: "a redirect target is unreachable",
        login: Login::Nobody,
        answer: |_| {
            let location = format!("http://127.0.0.1:1/x?signature={SIGNATURE}");
            Reply::new(307, &[("location", &location)], "")
        },
        said: &["signature=REDACTED"],
    },
    Scenario {
        name: "a redirect target serves other content",
        login: Login::Nobody,
        answer: |asked| {
            if is_elsewhere(asked) { Reply::new(200, &[], "<html>") } else { elsewhere(asked, "http") }
        },
        said: &["signature=REDACTED"],
    },
    Scenario {
        name: "a registry redirects to an unsupported scheme",
        login: Login::Nobody,
        answer: |_| {
            Reply::new(307, &[("location", &format!("ftp://cdn.example/x?signature={SIGNATURE}"))], "")
        },
        said: &["invalid Location header"],
    },
    Scenario {
        name: "a registry announces the password as a digest",
        login: Login::Password,
        answer: |asked| repeated(asked, 200, &[("docker-content-digest", PASSWORD)]),
        said: &[],
    },
    Scenario {
        name: "a registry redirects to a path with the password",
        login: Login::Password,
        answer: |asked| {
            if is_elsewhere(asked) {
                return Reply::new(404, &[], "");
            }
            let (_, port) = asked.header("host").rsplit_once(':').expect("the test server has a port");
            repeated(asked, 307, &[("location", &format!("http://localhost:{port}/{PASSWORD}"))])
        },
        said: &["404 Not Found", "/REDACTED"],
    },
    Scenario {
        name: "a redirect target has the password as its service",
        login: Login::Nobody,
        answer: |asked| {
            if is_elsewhere(asked) {
                return refuse(403, asked);
            }
            let (_, port) = asked.header("host").rsplit_once(':').expect("the test server has a port");
            let location = format!("http://localhost:{port}/x?a=b;service={TOKEN}&scope={SIGNATURE}");
            Reply::new(307, &[("location", &location)], "")
        },
        said: &["403 Forbidden", "a=REDACTED;service=REDACTED&scope=REDACTED"],
    },
    Scenario {
        name: "a helper fails and prints the credentials",
        login: Login::Helper(
            "echo '{\"Username\": \"somebody\", \"Secret\": \"h0rse=b4ttery\"}'
             echo '{\"Secret\": \"h0rse=b4ttery\"}' >&2; exit 1",
        ),
        answer: |_| basic(),
        said: &["docker-credential-test", "to see why"],
    },
    Scenario {
        name: "a helper fails and prints the password",
        login: Login::Helper("echo somebody:h0rse=b4ttery; echo h0rse=b4ttery >&2; exit 1"),
        answer: |_| basic(),
        said: &["docker-credential-test", "to see why"],
    },
    Scenario {
        name: "a helper is interrupted",
        login: Login::Helper("printf '{\"Username\": \"somebody\", \"Secret\": \"h0rse=b4ttery'"),
        answer: |_| basic(),
        said: &["docker-credential-test", "did not return JSON"],
    },
    Scenario {
        name: "a helper has an unknown output format",
        login: Login::Helper(
            "echo '{\"Username\": [\"h0rse=b4ttery\"], \"Secret\": {\"h0rse=b4ttery\": 1}}'",
        ),
        answer: |_| basic(),
        said: &["docker-credential-test", "returned an invalid answer"],
    },
    Scenario {
        name: "credentials of a helper are refused",
        login: Login::Helper("echo '{\"Username\": \"<token>\", \"Secret\": \"1dentity&r3fresh\"}'"),
        answer: |asked| if asked.path() == "/token" { refuse(403, asked) } else { bearer(asked) },
        said: &["token server answered 403", "REDACTED"],
    },
    Scenario {
        name: "a credentials file is truncated",
        login: Login::File(
            "{\"auths\": {\"REGISTRY\": {\"username\": \"somebody\", \"password\": \"h0rse=b4ttery",
        ),
        answer: |_| basic(),
        said: &["config.json", "not JSON"],
    },
    Scenario {
        name: "an entry of a credentials file is malformed",
        login: Login::File("{\"auths\": {\"REGISTRY\": {\"auth\": \"h0rse=b4ttery\"}}}"),
        answer: |_| basic(),
        said: &["config.json", "auth"],
    },
    Scenario {
        name: "a token of a credentials file is refused",
        login: Login::File("{\"auths\": {\"REGISTRY\": {\"registrytoken\": \"4ccess.t0ken\"}}}"),
        answer: |asked| {
            if asked.header("authorization").is_empty() { bearer(asked) } else { refuse(403, asked) }
        },
        said: &["403 Forbidden", "REDACTED"],
    },
];

/// Answers a request with a login, with content that nobody asked for.
fn repeated(asked: &Asked, status: u16, headers: &[(&str, &str)]) -> Reply {
    match asked.header("authorization") {
        "" => basic(),
        _ => Reply::new(status, headers, "[]"),
    }
}

fn basic() -> Reply {
    Reply::new(401, &[("www-authenticate", "Basic realm=\"a test\"")], "")
}

fn bearer(asked: &Asked) -> Reply {
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"a test\"", asked.header("host"));
    Reply::new(401, &[("www-authenticate", &challenge)], "")
}

/// The same server under another name, which is another origin.
fn elsewhere(asked: &Asked, scheme: &str) -> Reply {
    let (_, port) = asked.header("host").rsplit_once(':').expect("the test server has a port");
    let location = format!("{scheme}://localhost:{port}/x?signature={SIGNATURE}");
    Reply::new(307, &[("location", &location)], "")
}

fn is_elsewhere(asked: &Asked) -> bool {
    asked.header("host").starts_with("localhost")
}

/// Refuses, and echoes the request.
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
