//! What both adapters do alike.

mod blobs;
mod login;
mod transcripts;
