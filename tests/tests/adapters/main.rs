//! What both adapters do alike.

mod blobs;
mod transcripts;
