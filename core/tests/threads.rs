//! Every public type is `Send` and `Sync`.
#![expect(clippy::disallowed_methods, reason = "the test reads which types are public")]

use std::collections::BTreeSet;
use std::fs;

use oci_proto::build::*;
use oci_proto::header::*;
use oci_proto::layout::*;
use oci_proto::record::*;
use oci_proto::server::*;
use oci_proto::*;

/// Compiles only if each type is `Send` and `Sync`. Returns their names.
macro_rules! send_and_sync {
    ($($type:ty),* $(,)?) => {{
        fn check<T: Send + Sync>() {}
        $(check::<$type>();)*
        [$(stringify!($type)),*].map(|name| name.split('<').next().unwrap_or(name))
    }};
}

#[test]
fn every_public_type_is_send_and_sync() {
    let checked = send_and_sync![
        // The session and its exchanges.
        Answer,
        Awaiting,
        Completion,
        Config,
        Credentials,
        CredentialsQuery,
        Event,
        Exchange,
        ExchangeId,
        Fault,
        FaultKind,
        InvalidToken,
        InvalidUsername,
        Limits,
        Mirror,
        MirrorPulls,
        MirrorReport,
        Namespace,
        OpId,
        Output,
        Held,
        Payload,
        PlainHttp,
        Prefix,
        PullOptions,
        QueryId,
        Question,
        Reach,
        RegistryHeaders,
        RequestSummary,
        ReservedHeader,
        Receiving,
        Refused,
        Registries,
        RegistryEntry,
        Rest,
        Retry,
        RouteError,
        Scope,
        Secret,
        Sending,
        Session,
        Sink,
        Source,
        StoreContent,
        Stored,
        Time,
        TokenAnswer,
        // Recordings.
        Keep,
        Player,
        RecordedBody,
        ReplayError,
        Replayed,
        Secrets,
        Transcript,
        // Errors.
        Cause,
        Error,
        LimitExceeded,
        InvalidRequest,
        Misbehaviour,
        Refusal,
        RegistryError,
        Responder,
        // The pure layer.
        Algorithm,
        Descriptor,
        DescriptorRef<'static>,
        Digest,
        Evidence,
        Hasher,
        InvalidDigest,
        InvalidManifest,
        InvalidMediaType,
        InvalidPlatform,
        InvalidReference,
        Kind,
        Manifest,
        MediaType,
        Part,
        Platform,
        Rank,
        Reference,
        Referrer,
        Registry,
        Repository,
        Tag,
        VerifyError,
        // Uploads.
        PushOptions,
        Stored,
        // New documents.
        Annotations,
        BuildError,
        Child,
        Document,
        InvalidAnnotation,
        // Walks and checks.
        Checker,
        PlatformSelector,
        Finding,
        Found,
        Item,
        Node,
        Problem,
        Role,
        WalkStep,
        Ticket,
        Walker,
        WalkOptions,
        Wanted,
        // Layouts.
        Entry,
        Index,
        InvalidMarker,
        InvalidRefName,
        NoRoot,
        RefName,
        Root,
        // Headers.
        ByteRange,
        Challenge,
        ContentRange,
        HttpDate,
        InvalidHeader,
        Link,
        RetryAfter,
        Selected,
        Warning,
        // The server.
        AddError,
        AddProblem,
        Begun,
        Body,
        BodyTooLarge,
        Effect,
        EmbeddedRegistry,
        Failure,
        Flavour,
        Incoming,
        InvalidUploadId,
        InvalidUser,
        Memory,
        MemoryStorage,
        Policy,
        Reply,
        Rule,
        Server,
        Unavailable,
        UploadId,
        User,
        Who,
    ];
    let traits = ["Content", "Storage"];
    let checked: BTreeSet<String> = checked.into_iter().chain(traits).map(str::to_owned).collect();
    let missed: Vec<_> = public_types().difference(&checked).cloned().collect();
    assert!(missed.is_empty(), "public types that this test does not check: {missed:?}");
}

/// Returns the types that the crate's root and its public modules define or export.
fn public_types() -> BTreeSet<String> {
    let source = |path: &str| {
        let path = format!("{}/src/{path}", env!("CARGO_MANIFEST_DIR"));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let root = source("lib.rs");
    let modules = root.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let mut texts: Vec<String> = modules.map(|name| source(&format!("{name}.rs"))).collect();
    texts.push(root);

    let mut types = BTreeSet::new();
    for text in &texts {
        for item in text.split("\npub ").skip(1) {
            let mut words =
                item.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
            match words.next() {
                Some("struct" | "enum") => types.extend(words.next().map(str::to_owned)),
                Some("use") => {
                    let end = item.find(';').unwrap_or(item.len());
                    let names = item[..end].split(|c: char| !c.is_alphanumeric() && c != '_');
                    types.extend(names.filter(|name| is_type(name)).map(str::to_owned));
                }
                _ => {}
            }
        }
    }
    types
}

/// Functions and modules start with a lowercase letter; constants contain none.
fn is_type(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.contains(|c: char| c.is_ascii_lowercase())
}
