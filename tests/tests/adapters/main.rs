//! What both adapters do alike.

mod blobs;
mod environment;
mod hints;
mod login;
mod notices;
mod pull;
mod settings;
mod transcripts;
mod trouble;
