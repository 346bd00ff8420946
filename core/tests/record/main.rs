//! Conversations are recorded at the boundary of a session, written as text, read back, and replayed with
//! equal outputs. The recorder and the player use only the public API.

mod conversation;
mod player;
mod recorder;
mod recording;
mod registry;
mod replay;
mod verification;
