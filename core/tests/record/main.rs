//! Conversations are recorded at the boundary of a session, written as text, read back, and replayed with
//! equal outputs: by a recorder and a player that use only the public API, and by those of the session.

mod conversation;
mod player;
mod recorder;
mod recording;
mod registry;
mod replay;
mod verification;
mod written;
