//! The operations that write or list, with registries of which one request at a time goes wrong. The response repeats
//! all that the server knows, wherever it can.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, StatusCode};
use oci_proto::header::Warning;
use oci_proto::server::{Content as _, Flavour, Memory};
use oci_proto::{Config, Credentials, Descriptor, Error, Evidence, Manifest, Reference, Retry};
use oci_proto_common::{Settings, StreamOptions, TransferOptions, UploadOptions};
use oci_proto_tests::adapter::{Adapter, Make};
use oci_proto_tests::clients::MAKERS;
use oci_proto_tests::interop::{Asked, Host, Reply};
use oci_proto_tests::writable::{Habits, WritableRegistry};
use oci_proto_tokio::credentials::Store;
use serde_json::json;

use crate::planted::{DESTINATION, Planted, SOURCE, USER};
use crate::{Home, silent_about, tell};

/// How the response to one request is wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It has this status, and repeats everything.
    Status(u16),
    /// It redirects to a signed URL elsewhere, where every request is refused.
    Redirect,
    /// There is none.
    Close,
}

const FAULTS: [Fault; 17] = [
    Fault::Status(200),
    Fault::Status(201),
    Fault::Status(202),
    Fault::Status(204),
    Fault::Status(400),
    Fault::Status(401),
    Fault::Status(403),
    Fault::Status(404),
    Fault::Status(405),
    Fault::Status(406),
    Fault::Status(413),
    Fault::Status(415),
    Fault::Status(416),
    Fault::Status(422),
    Fault::Status(500),
    Fault::Redirect,
    Fault::Close,
];

/// More requests than any of these operations sends to one registry.
const MAX_REQUESTS: usize = 40;

/// A repository that requires a token, and signs the URLs of its uploads.
struct Registry {
    name: String,
    planted: Planted,
    /// The secrets of the other registry.
    foreign: Planted,
    model: WritableRegistry,
    /// Whether its uploads are on another origin: the same server under another name.
    is_elsewhere: bool,
    /// The number of the request that goes wrong, from 1, and how.
    fault: (usize, Fault),
    requests: usize,
    /// What it has received that it must not receive.
    leaks: Vec<String>,
}

impl Registry {
    fn answer(&mut self, asked: &Asked) -> Reply {
        let Planted { password, token, .. } = self.planted;
        let is_elsewhere = asked.header("host").starts_with("localhost");
        let login = Credentials::login(USER, password).unwrap();
        let whole = format!("{} {:?} {:?}", asked.target, asked.headers, asked.body);
        self.leaks.extend(self.foreign.all().into_iter().filter(|secret| whole.contains(secret)));
        if is_elsewhere && !asked.header("authorization").is_empty() {
            self.leaks.push(format!("a login at another origin: {whole}"));
        }
        if asked.path() == "/token" {
            let is_known = asked.header("authorization").ends_with(&self.planted.all()[3]);
            assert!(is_known, "{login:?}");
            return Reply::json(200, &json!({ "token": token }));
        }
        if !is_elsewhere && asked.header("authorization") != format!("Bearer {token}") {
            let challenge = format!("Bearer realm=\"http://{}/token\",service=\"x\"", asked.header("host"));
            return Reply::new(401, &[("www-authenticate", &challenge)], "");
        }
        if asked.path().ends_with("/refused") {
            return self.repeat(403, asked);
        }
        self.requests += 1;
        match self.fault {
            (at, _) if at != self.requests => self.respond(asked),
            (_, Fault::Close) => Reply::Close,
            (_, Fault::Status(status)) => self.repeat(status, asked),
            (_, Fault::Redirect) => {
                let location = self.signed(asked, &format!("/v2/{}/refused", self.name), true);
                Reply::new(307, &[("location", &location), ("warning", &self.warning(asked))], "")
            }
        }
    }

    /// A response that repeats all of the request, and all of the secrets, in each header that is read.
    fn repeat(&self, status: u16, asked: &Asked) -> Reply {
        let Planted { token, signature, .. } = self.planted;
        let said = self.said(asked);
        let path = format!("/v2/{}/blobs/uploads/9", self.name);
        let location = self.signed(asked, &path, self.is_elsewhere);
        let link = format!("<{location}>; rel=\"next\"");
        let headers = [
            ("warning", self.warning(asked)),
            ("location", location),
            ("link", link),
            ("range", format!("0-{token}")),
            ("docker-content-digest", format!("sha256:{signature}")),
            ("oci-tag", token.to_owned()),
            ("oci-chunk-min-length", token.to_owned()),
            ("content-type", format!("application/{token}")),
        ];
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let error = json!({ "code": said, "message": said, "detail": said });
        Reply::new(status, &headers, json!({ "errors": [error], "tags": 1 }).to_string())
    }

    fn said(&self, asked: &Asked) -> String {
        let login = self.planted.all().join(" ");
        format!("not {login}; {}; {}", asked.target, asked.header("authorization"))
    }

    fn warning(&self, asked: &Asked) -> String {
        format!("299 - \"{}\"", self.said(asked))
    }

    fn signed(&self, asked: &Asked, path: &str, is_elsewhere: bool) -> String {
        let host = asked.header("host");
        let (_, port) = host.rsplit_once(':').unwrap();
        let host = if is_elsewhere { format!("localhost:{port}") } else { host.to_owned() };
        format!("http://{host}{path}?_state={}", self.planted.signature)
    }

    /// The right response.
    fn respond(&mut self, asked: &Asked) -> Reply {
        if asked.path().ends_with("/tags/list") || asked.path().ends_with("/_catalog") {
            let next = format!("<{}?_state={}>; rel=\"next\"", asked.path(), self.planted.signature);
            let is_last = asked.query().contains("_state");
            let link = if is_last { vec![] } else { vec![("link", next.as_str())] };
            let name = if is_last { "b" } else { "a" };
            return Reply::new(200, &link, format!(r#"{{"tags":["{name}"],"repositories":["{name}"]}}"#));
        }
        let mut request = Request::builder().method(asked.method.clone()).uri(&asked.target);
        *request.headers_mut().unwrap() = asked.headers.clone();
        let response = self.model.respond(&request.body(()).unwrap(), &asked.body);
        let mut headers: HeaderMap = response.headers;
        if let Some(location) = headers.get_mut("location") {
            let path = location.to_str().unwrap().split('?').next().unwrap();
            *location = self.signed(asked, path, self.is_elsewhere).parse().unwrap();
        }
        headers.insert(CONTENT_LENGTH, response.body.len().into());
        if asked.method == "DELETE" {
            return Reply::Answer { status: StatusCode::ACCEPTED, headers, body: Bytes::new(), cut: None };
        }
        Reply::Answer { status: response.status, headers, body: response.body, cut: None }
    }
}

/// What the operations send.
struct Content {
    memory: Memory,
    root: Descriptor,
    blob: Descriptor,
    /// A document with a subject.
    artifact: Manifest,
}

impl Content {
    fn new() -> Self {
        let mut memory = Memory::new();
        let root = memory.add_image(Flavour::OCI, None, &[&b"a layer"[..]]);
        let document = memory.bytes(&root.digest).unwrap();
        let image = Manifest::verified(document.clone(), &root, None).unwrap();
        let blob = image.children().last().unwrap().1.to_owned();
        let artifact = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [],
            "subject": { "mediaType": root.media_type.as_str(), "digest": root.digest.to_string(), "size": root.size },
        });
        let artifact = Manifest::read(artifact.to_string().into(), Evidence::default()).unwrap();
        Self { memory, root, blob, artifact }
    }

    /// A repository, with all content under the tag `1`.
    fn registry(&self, name: &str, planted: Planted, foreign: Planted, is_full: bool) -> Registry {
        let mut habits = Habits::default();
        habits.without_referrers = true;
        let mut model = WritableRegistry::new(habits);
        for (digest, bytes) in self.memory.contents().filter(|_| is_full) {
            let key = (name.to_owned(), digest.clone());
            if *digest == self.root.digest {
                let media_type = self.root.media_type.to_string();
                model.manifests.insert(key, (media_type, bytes.clone()));
                model.tags.push((name.to_owned(), "1".to_owned(), digest.clone()));
            } else {
                model.blobs.insert(key, bytes.clone());
            }
        }
        let (fault, leaks) = ((usize::MAX, Fault::Close), Vec::new());
        let name = name.to_owned();
        Registry { name, planted, foreign, model, is_elsewhere: true, fault, requests: 0, leaks }
    }
}

type Run = fn(&dyn Adapter, &Content, from: &Reference, to: &Reference) -> Result<(), Error>;

/// The operations. All but the last are requests to the destination alone.
const OPERATIONS: [(&str, Run); 12] = [
    ("upload", |adapter, content, _, to| {
        let bytes = content.memory.bytes(&content.blob.digest).unwrap();
        adapter.upload(to, &content.blob, Arc::new(bytes), UploadOptions::default()).map(drop)
    }),
    ("mount", |adapter, content, _, to| {
        let bytes = content.memory.bytes(&content.blob.digest).unwrap();
        let options = UploadOptions::default().mount_from("b".parse().unwrap());
        adapter.upload(to, &content.blob, Arc::new(bytes), options).map(drop)
    }),
    ("stream", |adapter, _, _, to| {
        adapter.upload_stream(to, &mut &b"a few bytes"[..], StreamOptions::default()).map(drop)
    }),
    ("push", |adapter, content, _, to| {
        let memory = Arc::new(content.memory.clone());
        adapter.push(&content.root, to, memory, TransferOptions::default())
    }),
    ("push_manifest", |adapter, content, _, to| {
        adapter.push_manifest(to, &content.artifact, vec!["2".parse().unwrap()]).map(drop)
    }),
    ("tag", |adapter, _, _, to| adapter.tag(to, vec!["2".parse().unwrap()]).map(drop)),
    ("tags", |adapter, _, _, to| adapter.tags(to, NonZeroUsize::new(5), &mut drop).map(drop)),
    ("repositories", |adapter, _, _, to| adapter.repositories(to.registry(), None, &mut drop).map(drop)),
    ("referrers", |adapter, content, _, to| {
        adapter.referrers(&to.at(content.root.digest.clone()), None, &mut drop)
    }),
    ("delete", |adapter, _, _, to| adapter.delete(to, false)),
    ("exists", |adapter, content, _, to| adapter.exists(&to.at(content.blob.digest.clone()), true).map(drop)),
    ("copy", |adapter, _, from, to| adapter.copy(from, to, TransferOptions::default()).map(drop)),
];

/// A server with the repositories of several runs, so that a request that cancels an upload in the background reaches
/// its own.
struct Serving {
    host: Host,
    repositories: Arc<Mutex<Vec<Registry>>>,
}

impl Serving {
    fn start() -> Self {
        let repositories = Arc::new(Mutex::new(Vec::<Registry>::new()));
        let shared = repositories.clone();
        let host = Host::start(move |asked| {
            let mut repositories = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let named =
                repositories.iter().position(|of| asked.path().starts_with(&format!("/v2/{}/", of.name)));
            let last = repositories.len() - 1;
            repositories[named.unwrap_or(last)].answer(asked)
        });
        Self { host, repositories }
    }

    fn add(&self, registry: Registry) -> Reference {
        let reference = format!("{}/{}:1", self.host.address(), registry.name).parse().unwrap();
        self.repositories.lock().expect("the server has not failed").push(registry);
        reference
    }

    /// Fails if a repository received what it must not. Returns whether the last one's fault has occurred.
    #[track_caller]
    fn check(&self, what: &str) -> bool {
        let repositories = self.repositories.lock().expect("the server has not failed");
        for registry in &*repositories {
            assert!(registry.leaks.is_empty(), "{what}, in {}: {:?}", registry.name, registry.leaks);
        }
        let registry = repositories.last().expect("there is one");
        assert!(registry.requests < MAX_REQUESTS, "{what}: {} requests", registry.requests);
        registry.requests >= registry.fault.0
    }
}

/// A client with logins for both registries, all of whose output is collected.
fn client(adapter: Make, from: &Serving, to: &Serving, said: &Arc<Mutex<String>>) -> Box<dyn Adapter> {
    let mut config = Config::default();
    config.limits.max_attempts = 2;
    config.limits.backoff_first = Duration::from_millis(1);
    let mut store = Store::none();
    for (serving, planted) in [(from, SOURCE), (to, DESTINATION)] {
        let login = Credentials::login(USER, planted.password).unwrap();
        store = store.login(serving.host.address().to_string().parse().unwrap(), login);
    }
    let (retries, warnings) = (said.clone(), said.clone());
    let settings = Settings::default().config(config).credentials(store);
    let settings = settings.on_retry(move |retry: &Retry| {
        let mut said = retries.lock().unwrap();
        writeln!(said, "{retry:?}").unwrap();
        tell(&mut said, &retry.error);
    });
    adapter(&settings.on_warning(move |warning: &Warning| {
        writeln!(warnings.lock().unwrap(), "{warning}\n{warning:?}").unwrap();
    }))
}

/// Runs an operation with a fault in each request to one of the registries.
fn sweep((adapter, make): (&str, Make), (name, run): (&str, Run), fault: Fault, of_source: bool) {
    let content = Content::new();
    let (from, to) = (Serving::start(), Serving::start());
    let said = Arc::new(Mutex::new(String::new()));
    let client = client(make, &from, &to, &said);
    for is_elsewhere in [true, false] {
        for at in 1..MAX_REQUESTS {
            let is_there = !matches!(name, "upload" | "stream" | "push" | "copy" | "mount");
            let repository = format!("a{at}{}", if is_elsewhere { "e" } else { "" });
            let mut source = content.registry(&repository, SOURCE, DESTINATION, true);
            let mut destination = content.registry(&repository, DESTINATION, SOURCE, is_there);
            if of_source {
                source.fault = (at, fault);
            } else {
                destination.fault = (at, fault);
            }
            (source.is_elsewhere, destination.is_elsewhere) = (is_elsewhere, is_elsewhere);
            let (source, destination) = (from.add(source), to.add(destination));
            let outcome = run(&*client, &content, &source, &destination);
            let what =
                format!("{adapter}: {name} with {fault:?} in request {at}, of the source: {of_source}");
            let mut said = std::mem::take(&mut *said.lock().unwrap());
            if let Err(error) = &outcome {
                tell(&mut said, error);
            }
            silent_about(&what, &said);
            let has_failed = [from.check(&what), to.check(&what)][usize::from(!of_source)];
            if !has_failed {
                assert!(at > 1, "{what}: no request");
                outcome.unwrap_or_else(|error| panic!("{what}: {error}"));
                break;
            }
            let is_told = matches!(fault, Fault::Status(403)) && outcome.is_err();
            assert!(!is_told || said.contains("REDACTED"), "{what}: {said}");
        }
    }
}

#[test]
fn no_request_that_writes_or_lists_shows_or_sends_a_secret() {
    std::thread::scope(|scope| {
        for make in MAKERS {
            scope.spawn(move || {
                for operation in OPERATIONS {
                    for fault in FAULTS {
                        sweep(make, operation, fault, false);
                        if operation.0 == "copy" {
                            sweep(make, operation, fault, true);
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn no_command_that_writes_or_lists_shows_a_secret() {
    let content = Content::new();
    for (command, fault) in [
        ("tags", Fault::Status(200)),
        ("tags", Fault::Status(403)),
        ("tags", Fault::Redirect),
        ("referrers", Fault::Status(200)),
        ("referrers", Fault::Status(403)),
        ("referrers", Fault::Redirect),
        ("delete", Fault::Status(400)),
        ("delete", Fault::Status(405)),
        ("delete", Fault::Redirect),
        ("tag", Fault::Status(403)),
        ("tag", Fault::Redirect),
        ("artifact", Fault::Status(403)),
        ("artifact", Fault::Redirect),
    ] {
        for at in 1..3 {
            for (adapter, _) in MAKERS {
                let mut registry = content.registry("a", SOURCE, DESTINATION, true);
                registry.fault = (at, fault);
                let serving = Serving::start();
                let reference = serving.add(registry);
                let home = Home::with_password(&reference);
                let name = match command {
                    "tags" => format!("{}/a", reference.registry()),
                    "artifact" => reference.to_string(),
                    _ => reference.at(content.root.digest.clone()).to_string(),
                };
                let options: &[&str] = match command {
                    "tag" => &["2"],
                    "artifact" => &["--artifact-type", "application/x"],
                    _ => &[],
                };
                let output = home.run(adapter, &[&[command, &name], options].concat());
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8_lossy(&said);
                let what = format!("ocip {command}, {adapter}, {fault:?} in request {at}");
                silent_about(&what, &said);
                let has_failed = serving.check(&what);
                assert!(has_failed || at > 1, "{what}: no request");
                assert!(at > 1 || said.contains("REDACTED"), "{what}: {said}");
            }
        }
    }
}
