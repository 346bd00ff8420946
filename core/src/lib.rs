//! The OCI distribution protocol as a state machine that performs no I/O.
//!
//! This crate is a client for container registries with the network left out. It turns a question
//! ("what does this tag name?", "what is in this index, all the way down?", "give me this blob,
//! verified") into descriptions of HTTP requests, takes the bytes of the responses, and says what comes
//! next. Who carries the requests out, and how, is yours: an async runtime, threads, a socket in an
//! installer, a script in a test. Nothing in here reads a clock, opens a socket, starts a thread, looks
//! at the environment or draws a random number, so that every behaviour is a function of its inputs.
//!
//! If all you want is a client, take one of the adapters: `oci-proto-tokio` (async) or `oci-proto-ureq`
//! (blocking). They are thin loops around what is described here.
//!
//! # Driving a session
//!
//! ```text
//!        resolve, manifest, walk, blob, pull, check, cancel, ...
//!                               |
//!                               v
//!   now --- poll_output --> [Session] <------------------ credentials, complete
//!                               |                                        ^
//!      +----------+-------------+-----------+------------+               |
//!      v          v             v           v            v               |
//!    Send     Credentials     Event       Abort        Wait              |
//!      |    (look one up) (to the caller)            (sleep)             |
//!      v                                                                 |
//!   [Exchange] --split--> [Awaiting] --head--> [Receiving] --finish--> [Completion]
//!                                              push, push, ...
//! ```
//!
//! A [`Session`] holds everything that operations share. The contract is one sentence: *poll until
//! [`Wait`](Output::Wait), carry out every [`Send`](Output::Send), hand every [`Completion`] back*; and where a
//! registry wants to know who asks, answer [`Credentials`](Output::Credentials). An
//! [`Exchange`] is an owned value, so that many are under way at once, on as many threads or tasks as you
//! like, and the bytes of bodies never pass through the session.
//!
//! Here is a whole walk, step by step. The registry is this crate's own [`server`], which is a state
//! machine too, so that nothing but function calls happens.
//!
//! ```
//! use oci_proto::server::{Body, Memory, Server};
//! use oci_proto::{Config, Event, Output, Session, Time, WalkOptions};
//!
//! // A registry with one tree in it, under one tag.
//! let (memory, root) = Memory::sample();
//! let mut server = Server::new();
//! server.add(&"team/app".parse()?, Some(&"1.0".parse()?), &root, &memory)?;
//!
//! // A session, and the question: what is under this tag?
//! let mut session = Session::new(Config::default(), 0);
//! let reference = "registry.example/team/app:1.0".parse()?;
//! let walk = session.walk(&reference, WalkOptions::default());
//!
//! let mut requests = Vec::new();
//! let mut nodes = Vec::new();
//! loop {
//!     // The driver's clock, counted from any moment that it likes. Nothing waits here, so it stands.
//!     match session.poll_output(Time::ZERO) {
//!         Output::Send(exchange) => {
//!             // A driver sends the request, by whatever means it has ...
//!             let (request, awaiting) = exchange.split();
//!             requests.push(request.uri().to_string());
//!             let (head, _payload) = request.into_parts();
//!             let (head, body) = server.respond(&head).into_parts();
//!             // ... shows the head of the response to the exchange ...
//!             let mut receiving = awaiting.head(&head);
//!             // ... and then its body, chunk by chunk, as far as it is wanted.
//!             if let Body::Bytes(body) = body {
//!                 for chunk in body.chunks(512) {
//!                     if receiving.push(chunk).is_err() {
//!                         break;
//!                     }
//!                 }
//!             }
//!             session.complete(Time::ZERO, receiving.finish());
//!         }
//!         Output::Event(op, Event::Resolved(descriptor)) => {
//!             assert_eq!(op, walk);
//!             assert_eq!(descriptor.digest, root.digest);
//!         }
//!         Output::Event(_, Event::Node(node)) => nodes.push((node.depth, node.kind)),
//!         Output::Event(_, Event::Done) => break,
//!         Output::Event(_, Event::Failed(error)) => return Err(error.into()),
//!         other => unreachable!("nothing else happens in this walk: {other:?}"),
//!     }
//! }
//!
//! // The tag was asked for first; then each distinct manifest once.
//! assert_eq!(requests[0], "https://registry.example/v2/team/app/manifests/1.0");
//! let mut distinct = requests.clone();
//! distinct.sort();
//! distinct.dedup();
//! assert_eq!(distinct.len(), requests.len());
//! // The nodes come in the order of the documents.
//! assert_eq!(nodes[0], (0, oci_proto::Kind::Index));
//! assert_eq!(nodes[1], (1, oci_proto::Kind::Index));
//! assert_eq!(nodes[2], (2, oci_proto::Kind::Image));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A driver that does the same over a TCP socket, in 150 lines, is `examples/walk_over_tcp.rs`.
//!
//! # The pure layer
//!
//! What the session is made of is public, and useful alone. Each is a type that cannot hold an invalid
//! value, made by one parse function: [`Reference`], [`Digest`] (and [`Hasher`]), [`MediaType`],
//! [`Manifest`] with its [`DescriptorRef`]s, [`Platform`], and the grammars of [`header`]. The walk of an
//! index, [`Walker`], knows no HTTP: it says which manifest it wants and takes its bytes from anywhere. So do
//! [`PlatformSelector`], which finds what fits a platform, and [`Checker`], which finds everything that is wrong. The names
//! and the documents of an image layout are in [`layout`].
//!
//! # What a walk promises
//!
//! Nodes come in the depth-first pre-order of the documents, whatever the order of responses, with
//! requests ahead of it up to a window. Each digest is fetched at most once; where it comes again it is
//! reported as repeated. A manifest that the registry does not have is reported as missing. Depth,
//! nodes and bytes have budgets: see [`Limits`].
//!
//! # Logins, redirects, retries
//!
//! All of that is decided in here; a driver looks logins up and sleeps. A request goes without credentials until
//! the registry answers 401: then [`Output::Credentials`] asks for a login, once for each repository, and Basic
//! or a token follows. A token is fetched once for all that wait for it, and kept while it lasts. Redirects are
//! followed. What fails for no lasting reason is tried again after a while ([`Event::Retry`] says so), as long as
//! the server asks for if it does, and a 429 or a 503 slows down every request to its server. A blob that breaks
//! off goes on where it stopped, under one digest.
//!
//! # What may go where
//!
//! | what | may go to |
//! |---|---|
//! | a request | the registry's origin, and wherever it redirects to; from https never to http |
//! | plain http | from plain http alone, and to hosts that [`PlainHttp`] allows: who speaks it on this machine does not over a network |
//! | `Authorization` for the registry (Basic, a token) | the registry's origin, and nowhere else |
//! | a login (name and password, refresh token) | the registry's origin as Basic; the realm that it names, over a channel no weaker than its own |
//! | the request for a layer outside of its registry | where its descriptor says; https, or http where the registry is spoken to by http; without credentials |
//! | a token request | the realm; https, or http where the registry itself is spoken to by http; redirected within the realm's origin alone |
//! | the answer to a 401 | the registry's origin: a 401 from elsewhere is final |
//! | a URL in an error | anywhere, without the values of its query |
//!
//!
//! An origin is scheme, host and port (RFC 6454, section 4).
//!
//! # Errors
//!
//! [`Error`] says what was asked of whom and what came back; [`Cause`] sorts by blame: what the caller
//! asked, what the registry answered, how it misbehaved, what the transport did, which limit was met.
//! No input makes this crate panic; a panic is a defect of it.
//!
//! # Features
//!
//! - `oci-spec` (default): typed documents of the `oci-spec` crate, on request, from a [`Manifest`].

pub mod header;
pub mod layout;
pub mod server;

mod auth;
mod config;
mod error;
mod limits;
mod manifest;
mod op;
mod proxy;
mod session;
mod types;
mod walker;
mod wire;

pub use auth::credentials::{Credentials, CredentialsQuery, InvalidUsername};
pub use auth::scope::Scope;
pub use config::{Config, PlainHttp};
pub use error::fault::{Fault, FaultKind};
pub use error::{
    Cause, Error, InvalidRequest, LimitExceeded, Misbehaviour, Refusal, RegistryError, Responder,
};
pub use limits::Limits;
pub use manifest::error::InvalidManifest;
pub use manifest::evidence::Evidence;
pub use manifest::{DescriptorRef, Manifest};
pub use op::event::{Event, Held, Retry};
pub use op::pull::PullOptions;
pub use proxy::{is_proxy_url, unusable_proxy_variable};
pub use session::Session;
pub use session::output::Output;
pub use types::descriptor::Descriptor;
pub use types::digest::{Algorithm, Digest, Hasher, InvalidDigest};
pub use types::id::ExchangeId;
pub use types::id::{OpId, QueryId};
pub use types::media_type::{InvalidMediaType, Kind, MediaType};
pub use types::platform::rank::Rank;
pub use types::platform::{InvalidPlatform, Platform};
pub use types::reference::name::{Repository, Tag};
pub use types::reference::registry::{Registry, is_loopback};
pub use types::reference::{InvalidReference, Reference, without_user_info};
pub use types::secret::Secret;
pub use types::time::Time;
pub use types::token::{InvalidToken, TokenAnswer};
pub use walker::check::{Checker, Item, Role};
pub use walker::finding::{Finding, Problem};
pub use walker::node::{Found, Node, Ticket, WalkOptions, WalkStep, Wanted};
pub use walker::select::PlatformSelector;
pub use walker::walk::Walker;
pub use wire::exchange::{Awaiting, Completion, Exchange, Receiving, Refused, Sink};
pub use wire::request::Payload;
