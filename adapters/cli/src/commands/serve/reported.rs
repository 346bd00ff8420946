//! A storage whose errors are printed.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use oci_proto::server::{self, Effect, Storage, Unavailable, UploadId};
use oci_proto::{Digest, Repository};
use oci_proto_layout::RegistryDirectory;

use crate::stderr::print_line;

/// A registry's directory, with a line on stderr for each change that fails. The client is only told that it has.
#[derive(Clone)]
pub(super) struct Reported(pub(super) RegistryDirectory);

impl Reported {
    fn report(&self, done: Result<(), server::Failure>) -> Result<(), server::Failure> {
        if done.is_err() {
            match self.0.last_error() {
                Some(error) => print_line(format_args!("error: could not store: {error}")),
                None => print_line(format_args!("error: could not store what was pushed")),
            }
        }
        done
    }
}

impl Storage for Reported {
    fn write(
        &mut self,
        repository: &Repository,
        upload: &UploadId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), server::Failure> {
        let done = self.0.write(repository, upload, offset, bytes);
        self.report(done)
    }

    fn sync(&mut self, upload: &UploadId) -> Result<(), server::Failure> {
        let done = self.0.sync(upload);
        self.report(done)
    }

    fn read_upload(
        &self,
        upload: &UploadId,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), server::Failure> {
        self.report(self.0.read_upload(upload, range, take))
    }

    fn apply(&mut self, changes: &[(&Repository, &[Effect])]) -> Result<(), server::Failure> {
        let done = self.0.apply(changes);
        // Those of several are tried again in smaller parts.
        if changes.len() == 1 { self.report(done) } else { done }
    }

    // The server reports the errors of reads itself.

    fn read(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Bytes, Unavailable> {
        self.0.read(repository, digest, range)
    }
    fn open(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Option<Box<dyn io::Read + Send>>, Unavailable> {
        self.0.open(repository, digest, range)
    }
}
