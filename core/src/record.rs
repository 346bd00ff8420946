//! Recording and replay of conversations, without their secrets.
//!
//! The outputs of a session depend only on its configuration, its seed and its inputs. A recorder sits
//! between a driver and a session. It writes the configuration, the seed, each input with its `now`, and
//! each output as text. A player creates a session [for replay](crate::Session::for_replay) with the same
//! configuration and seed, feeds it the inputs, and compares the text of its outputs.
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
//! short may end at another place. Documents and blobs are not changed, since they would no longer match their
//! digests.
//!
//! # Omitted bytes
//!
//! Documents are recorded whole, since a session parses them. The bytes of blobs are recorded only with
//! [`Keep::Everything`]. Without them, a session for replay accepts a blob by the digest that was computed
//! during the recording. In any other session such an exchange fails, so that no unverified content is
//! reported as verified. The same holds for payloads that are read from a source: the transcript has the number of bytes
//! that were sent.
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
pub(crate) mod secrets;

pub use crate::record::secrets::Secrets;
pub use crate::wire::exchange::transcript::{Keep, RecordedBody, Transcript};
