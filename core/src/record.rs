//! Recording and replay of conversations, without their secrets.
//!
//! The outputs of a session depend only on its configuration, its seed and its inputs. A session that is created by
//! [`Session::recorded`](crate::Session::recorded) writes all of them as text, and a [`Player`] replays that text in
//! another session, without a network, and finds the first output that differs.
//!
//! # The text
//!
//! A recording has a step for each call of the session: a line, with details indented by two spaces below it. The
//! number in brackets is that of an operation, an exchange or a question.
//!
//! ```text
//! recording 1 by oci-proto VERSION   the version of the format; below: the seed and the configuration
//! # a comment
//! start [OP] OPERATION REFERENCE     an operation begins, with its options, such as `platform=linux/arm64`; below: the
//!                                    document that it pushes
//! at SECONDS s                       the time of the following steps, since the driver's epoch
//! > [N] for operation OP: METHOD URL a request is sent, also `for all`; below: its headers, its `payload`, `form` or
//!                                    `source`, its `sink`, and its `reach`
//! ? [Q] for ...                      a question is asked
//! = [OP] EVENT                       an event is reported
//! abort [N]                          a request is aborted
//! wait [until SECONDS s]             the session waits
//! < [N] STATUS                       a response; below: headers, `private` if its server's address is not public, `sent
//!                                    BYTES` of the request's payload, `wrong-source DIGEST` if its source had that digest
//!                                    instead of the expected one, its end if that is a fault (`cut KIND MESSAGE`), and
//!                                    the body, if it was wanted: `error`, `token` or `document` with its text, `blob
//!                                    BYTES DIGEST-SO-FAR`, or the same with `base64` and the bytes
//! fault [N] KIND MESSAGE             a request failed without a response; below: `sent` and `wrong-source`, as for one
//! lost [N] KIND MESSAGE              the driver lost a request
//! login [Q] none                     an answer: `none`, `as USER PASSWORD`, `identity TOKEN` or `bearer TOKEN`
//! held [Q] HELD                      an answer: `nothing`, `whole`, `part BYTES DIGEST-SO-FAR` or `document`
//! stored [Q]                         an answer; so are `supply`, with a document, `referrers`, with a line for each,
//!                                    `read`, with the bytes of a stream (`read [Q] last` with the last ones), and
//!                                    `failed KIND MESSAGE`
//! deadline [OP] SECONDS s            a control of an operation; so are `pause`, `resume`, `cancel` and
//!                                    `fail KIND MESSAGE`
//! abandon                            all requests in flight are forgotten
//! ```
//!
//! The lines of a body begin with `|`: text has a line for each of its lines, and bytes are in Base64. In text,
//! a backslash, control characters and bytes that are not UTF-8 are escaped as `\\`, `\u{HEX}` and `\xHEX`.
//!
//! # Other recorders
//!
//! A recorder with a format of its own sits between a driver and a session, and a player of its own creates the session
//! [for replay](crate::Session::for_replay). These are the parts:
//!
//! | call of the session | recorded as |
//! |---|---|
//! | the start of an operation, a deadline, a cancellation | its arguments |
//! | [`poll_output`](crate::Session::poll_output) | its output: [`Secrets::describe`] |
//! | [`answer`](crate::Session::answer) | the [`Answer`](crate::Answer), with [`Secrets::credentials`]; for [`Held::Part`](crate::Held::Part) the digest so far, from which [`Hasher::assumed`](crate::Hasher::assumed) creates the hasher; for [`Answer::Document`](crate::Answer::Document) and [`Answer::Read`](crate::Answer::Read) the bytes, which the session parses or hashes |
//! | [`complete`](crate::Session::complete) | the exchange's [`Transcript`], with [`Secrets::transcript`]; [`Transcript::play`] plays it to the new session's exchange |
//! | [`lost`](crate::Session::lost), [`fail`](crate::Session::fail), [`Answer::Failed`](crate::Answer::Failed) | the [`Fault`](crate::Fault), with [`Secrets::fault`] |
//!
//! # Secrets
//!
//! [`Secrets`] replaces each secret with a name, `SECRET-1`, `SECRET-2` and so on, in inputs and outputs. A
//! session that receives the names behaves like the recorded one; only a message of a server that is cut
//! short may end at another place, and one that holds a secret before it is known, and is reported afterwards, differs.
//! Documents and blobs are not changed, since they would no longer match their digests. Names of registries and
//! repositories, and user names, are no secrets.
//!
//! # Omitted bytes
//!
//! Documents are recorded whole, since a session parses them. The bytes of blobs are recorded only with
//! [`Keep::Everything`]. Without them, a session for replay accepts a blob by the digest that was computed
//! during the recording. In any other session such an exchange fails, so that no unverified content is
//! reported as verified. The same holds for payloads that are read from a source: the transcript has the number of bytes
//! that were sent. The bytes of a stream of unknown size are recorded, since a session hashes them.
//!
//! ```
//! use oci_proto::record::{Keep, Secrets, Transcript};
//! use oci_proto::server::{Body, Memory, Server};
//! use oci_proto::{Config, Event, Output, Session, Time};
//!
//! let (memory, root) = Memory::sample();
//! let mut server = Server::new();
//! server.add(&"team/app".parse()?, Some(&"1.0".parse()?), &root, &memory)?;
//! let reference = "registry.example/team/app:1.0".parse()?;
//!
//! // Record the outputs as text, and the transcript of each exchange.
//! let (mut texts, mut transcripts) = (Vec::new(), Vec::new());
//! let mut secrets = Secrets::new();
//! let mut session = Session::new(Config::default(), 7);
//! session.resolve(&reference, None);
//! loop {
//!     let output = session.poll_output(Time::ZERO);
//!     texts.push(secrets.describe(&output));
//!     match output {
//!         Output::Send(mut exchange) => {
//!             exchange.keep_transcript(Keep::Documents);
//!             let (request, _, awaiting) = exchange.split();
//!             let (head, _) = request.into_parts();
//!             let (head, body) = server.respond(&head).into_parts();
//!             let mut receiving = awaiting.head(head.status, head.headers);
//!             if let Body::Bytes(body) = body {
//!                 receiving.push(&body)?;
//!             }
//!             let mut completion = receiving.finish();
//!             if let Some(transcript) = completion.take_transcript() {
//!                 transcripts.push(secrets.transcript(&transcript));
//!             }
//!             session.complete(Time::ZERO, completion);
//!         }
//!         Output::Event(_, Event::Done) => break,
//!         _ => {}
//!     }
//! }
//! assert!(texts[0].starts_with("send 0 for operation 0: HEAD https://registry.example/v2/team/app/"));
//!
//! // Replay them without a registry.
//! let mut secrets = Secrets::new();
//! let mut session = Session::for_replay(Config::default(), 7);
//! session.resolve(&reference, None);
//! let mut transcripts = transcripts.iter();
//! for text in texts {
//!     let output = session.poll_output(Time::ZERO);
//!     assert_eq!(secrets.describe(&output), text);
//!     if let Output::Send(exchange) = output {
//!         let transcript = transcripts.next().ok_or("this request was not recorded")?;
//!         session.complete(Time::ZERO, transcript.play(exchange));
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod describe;
pub(crate) mod inputs;
pub(crate) mod play;
pub(crate) mod player;
pub(crate) mod secrets;

mod lines;
mod options;
mod recorder;
mod response;
mod settings;
mod start;
mod unusable;
mod urls;

pub use crate::record::player::{Player, ReplayError, Replayed};
pub use crate::record::secrets::Secrets;
pub use crate::wire::exchange::transcript::{Keep, RecordedBody, Transcript};
