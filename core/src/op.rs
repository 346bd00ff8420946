//! The operations, one file each. An operation decides what to fetch next, and interprets the result.
//!
//! A new operation needs a file here, a method of [`Session`](crate::Session) that starts it, and a line
//! below.

pub(crate) mod ask;
pub(crate) mod blob_upload;
pub(crate) mod deliver;
pub(crate) mod event;
pub(crate) mod habits;
pub(crate) mod location;
pub(crate) mod lookup;
pub(crate) mod manifest_upload;
pub(crate) mod operation;
pub(crate) mod order;
pub(crate) mod paging;
pub(crate) mod rooted;

pub(crate) mod access;
pub(crate) mod blob;
pub(crate) mod check;
pub(crate) mod delete;
pub(crate) mod exists;
pub(crate) mod names;
pub(crate) mod pull;
pub(crate) mod put_manifest;
pub(crate) mod referrers;
pub(crate) mod resolve;
pub(crate) mod transfer;
pub(crate) mod tree_referrers;
pub(crate) mod upload;
pub(crate) mod walk;
