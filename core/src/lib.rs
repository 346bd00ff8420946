//! The OCI distribution protocol as a state machine that performs no I/O.
//!
//! This crate is a client for container registries with the network left out. It turns an operation ("resolve
//! this tag", "walk this index", "fetch this blob and verify it") into descriptions of HTTP requests, takes
//! the bytes of the responses, and decides the next step. The caller carries the requests out: with an
//! async runtime, with threads, on a socket in an installer, or from a script in a test. The crate reads no
//! clock, opens no socket, starts no thread, reads no environment and draws no random number, so every
//! behaviour is a function of its inputs.
//!
//! Programs that just want a client use one of the adapters: `oci-proto-tokio` (async) or `oci-proto-ureq`
//! (blocking). They are thin loops around the interface described here.
//!
//! # Driving a session
//!
//! ```text
//!  resolve, walk, pull, check, upload, push, copy, tags, delete, cancel, ...
//!                            |
//!                            v
//!  now -- poll_output --> [Session] <---------------- answer, complete, lost
//!                            |                                    ^
//!     +----------+-----------+-----------+-----------+            |
//!     v          v           v           v           v            |
//!   Send        Ask        Event       Abort       Wait           |
//!     |      (answer it)  (report it)  (stop it)   (sleep)        |
//!     v                                                           |
//!  [Exchange] --split--> [Awaiting] --head--> [Receiving] --finish--> [Completion]
//!                  |                          push, push, ...
//!                  +---> [Sending]
//!                        push, push, ..., finish
//! ```
//!
//! A [`Session`] holds all state that operations share. The contract is one sentence: *poll until
//! [`Wait`](Output::Wait); carry out every [`Send`](Output::Send); answer every [`Ask`](Output::Ask); hand
//! every [`Completion`] back*. An output is one of five:
//!
//! | output | the driver |
//! |---|---|
//! | [`Send`](Output::Send) | carries the [`Exchange`] out and hands its completion to [`Session::complete`] |
//! | [`Ask`](Output::Ask) | finds the answer to the [`Question`] and hands it to [`Session::answer`] |
//! | [`Abort`](Output::Abort) | stops that exchange, which is no longer needed |
//! | [`Event`](Output::Event) | reports it to the caller |
//! | [`Wait`](Output::Wait) | sleeps until a completion or an answer arrives, at most until the given time |
//!
//! An exchange is an owned value. Many are under way at once, on any number of threads or tasks, and the
//! bytes of bodies never pass through the session: [`Receiving::push`] says which part of a chunk belongs in
//! a [`Sink`], and the driver puts it there.
//!
//! The page [`driver`] lists everything that a driver must do and must not do.
//!
//! Here is a complete fetch of a manifest, step by step. The registry is this crate's own [`server`], which
//! is a state machine too, so the example needs no network.
//!
//! ```
//! use oci_proto::server::{Body, Memory, Server};
//! use oci_proto::{Answer, Config, Event, Held, Output, Payload};
//! use oci_proto::{Question, Rest, Session, StoreContent, Time};
//!
//! // A registry with one tree in it, under one tag.
//! let (memory, root) = Memory::sample();
//! let mut server = Server::new();
//! server.add(&"team/app".parse()?, Some(&"1.0".parse()?), &root, &memory)?;
//!
//! // A session, and an operation: fetch the image under this tag that matches the platform best.
//! let mut session = Session::new(Config::default(), 0);
//! let reference = "registry.example/team/app:1.0".parse()?;
//! let operation = session.manifest(&reference, Some(&"linux/arm64".parse()?));
//!
//! let mut requests = Vec::new();
//! let mut image = None;
//! loop {
//!     // The driver's clock, counted from any moment. Nothing waits here, so it stands still.
//!     match session.poll_output(Time::ZERO) {
//!         Output::Send(exchange) => {
//!             // A driver connects to the URL's host and sends the request. A payload would be shown to
//!             // `Sending`, chunk by chunk, before it is sent.
//!             let (request, sending, awaiting) = exchange.split();
//!             assert!(matches!(request.body(), Payload::Empty) && sending.is_none());
//!             requests.push(request.uri().to_string());
//!             let (head, _) = request.into_parts();
//!             let (head, body) = server.respond(&head).into_parts();
//!             // The head of the response comes first ...
//!             let mut receiving = awaiting.head(head.status, head.headers);
//!             // ... and then its body, chunk by chunk, while it is wanted.
//!             if let Body::Bytes(body) = body {
//!                 for chunk in body.chunks(512) {
//!                     if receiving.rest() != Rest::Wanted {
//!                         break;
//!                     }
//!                     // Part of a blob's chunk belongs in its sink. Documents stay in the core.
//!                     let part = receiving.push(chunk)?;
//!                     assert!(part.is_empty());
//!                 }
//!             }
//!             session.complete(Time::ZERO, receiving.finish());
//!         }
//!         Output::Ask(query, question) => {
//!             let answer = match question {
//!                 // Only after a 401, which this registry never sends.
//!                 Question::Credentials(_) => Answer::Credentials(None),
//!                 // Only in operations that send content.
//!                 Question::Document { .. } | Question::Referrers { .. } | Question::Read { .. } => {
//!                     unreachable!()
//!                 }
//!                 // Only in a pull, which skips content that the driver has.
//!                 Question::Held { .. } => Answer::Held(Held::Nothing),
//!                 Question::Store { descriptor, content, .. } => {
//!                     if let StoreContent::Document(manifest) = content {
//!                         image = Some((descriptor, manifest));
//!                     }
//!                     Answer::Stored
//!                 }
//!             };
//!             session.answer(Time::ZERO, query, answer);
//!         }
//!         Output::Event(of, Event::Done) if of == operation => break,
//!         Output::Event(_, Event::Failed(error)) => return Err(error.into()),
//!         // News, such as `Event::Resolved`.
//!         Output::Event(..) => {}
//!         Output::Abort(_) => unreachable!("every exchange is complete when this is called"),
//!         Output::Wait(_) => unreachable!("every question is answered, and no request fails"),
//!     }
//! }
//!
//! // The root by its tag, both indexes in it, and the image.
//! assert_eq!(requests.len(), 4);
//! assert_eq!(requests[0], "https://registry.example/v2/team/app/manifests/1.0");
//! let (descriptor, manifest) = image.expect("`Done` comes after the answer to `Store`");
//! assert_eq!(requests[3], format!("https://registry.example/v2/team/app/manifests/{}", descriptor.digest));
//! assert_eq!(manifest.bytes().len() as u64, descriptor.size);
//! assert!(session.is_idle());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `core/examples` has three example drivers: `embedding.rs` is the smallest, `walk_over_tcp` speaks
//! HTTP/1.1 over `std::net`, and `owned_buffers.rs` passes on bodies in the buffers of a completion-based
//! runtime, without copying them.
//!
//! # Public names
//!
//! - **Session**: [`Session`], its [`Config`], [`Limits`] and [`PlainHttp`]; [`Registries`] with
//!   [`RegistryEntry`], [`Prefix`], [`Namespace`], [`Mirror`] and [`MirrorPulls`]; [`Output`], [`Event`],
//!   [`Retry`] and [`MirrorReport`]; [`Question`], [`Answer`], [`Held`] and [`StoreContent`]; [`Credentials`],
//!   [`CredentialsQuery`] and [`Secret`]; [`TokenAnswer`]; [`Time`]; [`OpId`], [`ExchangeId`] and
//!   [`QueryId`].
//! - **Operations**: the methods of [`Session`], with [`Referrer`], [`PullOptions`],
//!   [`PushOptions`] and [`WalkOptions`].
//! - **One round trip**: [`Exchange`], [`Sending`], [`Awaiting`], [`Receiving`] and [`Completion`];
//!   [`Payload`], [`Source`] and [`Sink`]; [`Rest`] and [`Refused`]; [`Reach`]; [`Fault`] and [`FaultKind`].
//! - **Names and documents**: [`Reference`], [`Registry`], [`Repository`] and [`Tag`]; [`Digest`],
//!   [`Algorithm`] and [`Hasher`]; [`MediaType`] and [`Kind`]; [`Descriptor`], [`DescriptorRef`],
//!   [`Manifest`], [`Part`] and [`Evidence`]; [`Platform`] and [`Rank`]; [`Scope`].
//! - **Trees**: [`Walker`] with [`WalkStep`], [`Node`], [`Found`], [`Wanted`] and [`Ticket`];
//!   [`PlatformSelector`]; [`Checker`] with [`Item`], [`Role`], [`Finding`] and [`Problem`].
//! - **Errors**: [`Error`], [`Cause`] and the types of its variants; `Invalid...`, one for each parse
//!   function; [`VerifyError`].
//! - **Modules**: [`build`] (new manifests and indexes), [`header`] (grammars), [`layout`] (image layouts),
//!   [`server`] (a registry), [`record`] (conversations recorded and replayed), [`driver`].
//!
//! # The pure layer
//!
//! The building blocks of a session are public, and useful on their own. [`Reference`], [`Digest`] (with
//! [`Hasher`]), [`MediaType`], [`Manifest`] (with its [`DescriptorRef`]s), [`Platform`] and the grammars of
//! [`header`] are types that cannot hold an invalid value, each with one parse function. [`Walker`] walks an
//! index without HTTP: it requests each manifest by its descriptor, and takes the bytes from any source. So
//! do [`PlatformSelector`], which finds the image that matches a platform best, and [`Checker`], which finds
//! every problem in a tree. The names and the documents of an image layout are in [`layout`].
//! [`build`] writes image manifests, artifacts and indexes.
//!
//! # Guarantees of a walk
//!
//! Nodes are reported in the depth-first pre-order of the documents, independent of the order of responses.
//! Manifests are requested ahead of that order, up to a window. A digest is fetched once for each media type
//! that descriptors give it; a later occurrence is reported as repeated. A manifest that the registry does not
//! have is reported as missing. [`Limits`] bounds depth, nodes and bytes.
//!
//! # Referrers
//!
//! A signature or a bill of materials names its image as its subject, and nothing in the image refers to it. With
//! [`PullOptions::referrers`] and [`PushOptions::referrers`], everything whose subject is in a tree comes along, and in
//! turn everything whose subject is one of these, each once and within the [`Limits`] of the tree. In a pull and in a copy,
//! the registry lists them, or the index under the fallback tag does; in a push, [`Question::Referrers`] asks the driver.
//! With a platform, the tree is the image that was chosen.
//!
//! A list is a hint. What it names is verified by its digest, and transferred even if its subject is another document; if
//! it does not exist, the operation fails. Referrers are stored before the root, so a root that is in place has all of
//! them. Only one that refers to the root, such as an index of both, follows it.
//!
//! # Logins, redirects, retries
//!
//! The session makes all of these decisions; a driver only looks up logins and sleeps.
//!
//! - **Logins.** A request is sent without credentials until the registry answers 401. Then
//!   [`Question::Credentials`] asks for a login for the repository, and Basic or a token follows. A token is
//!   fetched once for all requests that wait for it, and kept until it expires or is rejected.
//!   [`Limits::tokens`] bounds how many logins and tokens are kept.
//! - **Mirrors.** [`Registries`] names mirrors of registries, and other locations. Content is requested from the mirrors
//!   in order, and from the registry itself last; the operation fails with the error of the registry. A request to a
//!   mirror is tried twice at most. A mirror that has failed, other than by a 404, is passed over for a minute.
//!   [`Event::Mirror`] reports what a mirror did. Lists, also those of the referrers of a tree, and everything that
//!   writes go to the registry itself.
//! - **Redirects** are followed within the rules below, each as a separate exchange.
//! - **Retries.** A transient failure is retried after a delay ([`Event::Retry`] reports it), at least as
//!   long as the server's Retry-After. A 429 or a 503 delays all requests to its server. An interrupted blob
//!   is resumed where it stopped, and verified as a whole. If the server does not send the rest, the whole
//!   blob is requested, once, and the sink still takes only the rest. A request that is not idempotent is retried only
//!   if none of it was sent ([`FaultKind::NotSent`], [`FaultKind::Connect`]) or the server rejected it
//!   without processing it.
//! - **Uploads.** A blob is sent whole, or in chunks if its registry refuses that; what a registry accepts is
//!   remembered for the next blob. After an interruption, the registry says how much it has stored, and the rest
//!   follows. A source is verified before its last chunk is sent. The session cancels the uploads of operations that
//!   fail, in the background.
//!
//! # Permitted destinations
//!
//! | item | may be sent to |
//! |---|---|
//! | a request | the registry's origin, and the targets of its redirects; never redirected from https to http |
//! | a request for content | also the mirrors of the registry in [`Config::registries`]; in this table, each is a registry of its own |
//! | a request over plain http | hosts that [`PlainHttp`] or an entry of [`Config::registries`] allows, if the registry itself is accessed over http; a registry on this machine cannot redirect a client to plain http across a network |
//! | `Authorization` for the registry (Basic, a token) | the registry's origin, and nowhere else |
//! | a login (name and password, refresh token) | the registry's origin, as Basic; the realm in its challenge, over https, or over http if the registry itself is accessed over http |
//! | the request for a layer outside of its registry | the URL in its descriptor, without credentials; https, or http if the registry itself is accessed over http |
//! | an upload | the URL in the Location of the response that began it, or of a later one; https, or http if the server that responded is accessed over http; credentials only to the registry's origin |
//! | the next page of a list (`Link`) | the origin that answered with the page before it; its query is used verbatim |
//! | a token request | the realm; https, or http if the registry itself is accessed over http; redirected only within the realm's origin |
//! | a retry with credentials, after a 401 | the registry's origin; a 401 from another origin is final |
//! | a URL in an error | anywhere, but without the values of its query, except `scope` and `service` of a token request and the digest of an upload |
//!
//! An origin is scheme, host and port (RFC 6454, section 4). [`Config::token_servers`] limits the hosts of realms.
//!
//! # Permitted addresses
//!
//! A public registry must not make a client send requests to services of its own machine or network (server-side request
//! forgery). Therefore each [`Exchange`] has a [`Reach`], the addresses that its driver may connect to:
//!
//! | request | registry | reach |
//! |---|---|---|
//! | to the registry's origin | any | [`Anywhere`](Reach::Anywhere) |
//! | to another origin, which a realm, a redirect, the Location of an upload, a Link or the URL of a layer names | public | [`Public`](Reach::Public); never sent if its host is an address that is not public, `localhost`, or below it |
//! | to another origin | private | [`Anywhere`](Reach::Anywhere) |
//! | over plain http to a loopback host, if the rows above permit it | any | [`ThisMachine`](Reach::ThisMachine) |
//!
//! - Not public are loopback, link-local, private, shared, unspecified, multicast and other special addresses, also as
//!   IPv4 addresses embedded in IPv6 addresses.
//! - A registry is private if its own host is such an address, `localhost` or below it, or if all of its responses came
//!   from such addresses according to [`Awaiting::connected`]. All others are public.
//! - A host such as `127.1`, which only some resolvers take for an address, counts as an address that is not public.
//! - Behind a proxy, which resolves names itself, only hosts that are addresses can be judged, and a registry with a name
//!   counts as public.
//! - [`Config::allow_private_addresses`] treats every registry as private.
//!
//! # Errors
//!
//! An [`Error`] contains the request or the document that failed, if any, and the cause. [`Cause`] classifies
//! errors by the party at fault: an invalid request of the caller, a server's error response, a protocol
//! violation by the registry, a fault that the driver reports, or a limit that was exceeded. No input makes
//! this crate panic; a panic is a bug in it.
//!
//! # Features
//!
//! - `oci-spec` (default): converts a [`Manifest`] to the typed documents of the `oci-spec` crate.
//! - `serde`: serializes [`Digest`], [`MediaType`], [`Platform`], [`Reference`], [`Registry`], [`Repository`] and [`Tag`]
//!   as strings. Deserialization parses as strictly as `FromStr`.
//!
//! # Debug builds
//!
//! Without optimization, content is hashed about forty times as slowly. A program that downloads in debug builds should
//! have the hash function optimized, in the `Cargo.toml` of its workspace:
//!
//! ```toml
//! [profile.dev.package.sha2]
//! opt-level = 3
//! ```

#[doc = include_str!("driver.md")]
pub mod driver {}
pub mod build;
pub mod header;
pub mod layout;
pub mod record;
pub mod server;

mod auth;
mod config;
mod error;
mod limits;
mod manifest;
mod op;
mod registries;
mod session;
mod types;
mod walker;
mod wire;

pub use auth::credentials::{Credentials, CredentialsQuery, InvalidUsername};
pub use config::headers::{RegistryHeaders, ReservedHeader};
pub use config::{Config, PlainHttp};
pub use error::fault::{Fault, FaultKind};
pub use error::{
    Cause, Error, InvalidRequest, LimitExceeded, Misbehaviour, Refusal, RegistryError, Responder,
};
pub use limits::Limits;
pub use manifest::children::Part;
pub use manifest::error::{InvalidManifest, VerifyError};
pub use manifest::evidence::Evidence;
pub use manifest::{DescriptorRef, Manifest};
pub use op::ask::{Held, StoreContent};
pub use op::event::{Event, MirrorReport, Retry, Stored};
pub use op::pull::PullOptions;
pub use op::transfer::options::PushOptions;
pub use registries::entry::{Mirror, MirrorPulls, RegistryEntry};
pub use registries::prefix::{Namespace, Prefix};
pub use registries::{Registries, RouteError};
pub use session::output::{Answer, Output, Question};
pub use session::state::Session;
pub use types::descriptor::Descriptor;
pub use types::digest::{Algorithm, Digest, Hasher, InvalidDigest};
pub use types::id::{ExchangeId, OpId, QueryId};
pub use types::media_type::{InvalidMediaType, Kind, MediaType};
pub use types::platform::rank::Rank;
pub use types::platform::{InvalidPlatform, Platform};
pub use types::reference::Reference;
pub use types::reference::error::InvalidReference;
pub use types::reference::name::{Repository, Tag};
pub use types::reference::registry::{Registry, is_loopback};
pub use types::reference::user_info::without_user_info;
pub use types::scope::Scope;
pub use types::secret::Secret;
pub use types::time::Time;
pub use types::token::{InvalidToken, TokenAnswer};
pub use walker::check::Checker;
pub use walker::descent::{Item, Role};
pub use walker::finding::{Finding, Problem};
pub use walker::node::{Found, Node, Ticket, WalkOptions, WalkStep, Wanted};
pub use walker::select::PlatformSelector;
pub use walker::walk::Walker;
pub use wire::exchange::Exchange;
pub use wire::exchange::awaiting::Awaiting;
pub use wire::exchange::completion::Completion;
pub use wire::exchange::reach::Reach;
pub use wire::exchange::receiving::{Receiving, Refused, Rest};
pub use wire::exchange::sending::Sending;
pub use wire::exchange::sink::Sink;
pub use wire::exchange::summary::RequestSummary;
pub use wire::list::referrers::{Referrer, fallback_tag, is_fallback_tag};
pub use wire::request::{Payload, Source};

/// The example of the README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
