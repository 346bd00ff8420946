//! Upload sessions.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::{LOCATION, RANGE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::server::error_response::{Code, ErrorResponse};
use crate::server::policy::Policy;
use crate::server::response::value;
use crate::types::digest::{Algorithm, Digest, Hasher};
use crate::types::reference::name::Repository;
use crate::types::time::Time;
use crate::types::upload_id::UploadId;
use crate::wire::endpoint::Endpoint;

/// The open upload sessions of a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Uploads {
    open: BTreeMap<UploadId, Upload>,
    /// What the ids are derived from, besides their number.
    seed: u64,
    begun: u64,
}

/// An upload session.
#[derive(Clone, Debug)]
pub(super) struct Upload {
    pub(super) repository: Repository,
    /// The number of bytes that were acknowledged. What the storage has beyond them is overwritten.
    pub(super) size: u64,
    /// The hash of these bytes, unless they must be hashed again.
    pub(super) hash: Option<Hash>,
    /// The time of its last request.
    pub(super) touched: Time,
    /// Whether a request is in progress.
    pub(super) is_busy: bool,
    /// Whether the request that began it has also closed it, so that nobody knows its id.
    pub(super) is_whole: bool,
}

/// The hash of the first bytes of an upload.
#[derive(Clone, Debug)]
pub(super) struct Hash {
    pub(super) algorithm: Algorithm,
    hasher: Hasher,
    /// The number of bytes.
    pub(super) covers: u64,
}

impl Hash {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, hasher: Hasher::new(algorithm), covers: 0 }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.covers = self.covers.saturating_add(bytes.len() as u64);
    }

    pub(super) fn finish(self) -> Digest {
        self.hasher.finish()
    }
}

impl Uploads {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Opens a session. A digest of another algorithm may close it all the same.
    pub(super) fn begin(
        &mut self,
        now: Time,
        repository: Repository,
        algorithm: Algorithm,
        policy: &Policy,
    ) -> Result<UploadId, ErrorResponse> {
        if self.open.len() >= policy.uploads {
            let message = "too many uploads are in progress; try again later";
            return Err(later(message));
        }
        let id = self.next_id();
        let hash = Some(Hash::new(algorithm));
        self.open.insert(
            id.clone(),
            Upload { repository, size: 0, hash, touched: now, is_busy: false, is_whole: false },
        );
        Ok(id)
    }

    /// Opens a session that the storage has kept over a restart.
    pub(super) fn restore(&mut self, now: Time, repository: Repository, id: UploadId, size: u64) {
        self.open.insert(
            id,
            Upload { repository, size, hash: None, touched: now, is_busy: false, is_whole: false },
        );
    }

    /// Returns a session of a repository.
    pub(super) fn get_mut(
        &mut self,
        repository: &Repository,
        id: &UploadId,
    ) -> Result<&mut Upload, ErrorResponse> {
        let found = self.open.get_mut(id).filter(|upload| upload.repository == *repository);
        found.ok_or_else(|| unknown(repository, id))
    }

    /// Returns a session of a repository.
    pub(super) fn get(&self, repository: &Repository, id: &UploadId) -> Result<&Upload, ErrorResponse> {
        let found = self.open.get(id).filter(|upload| upload.repository == *repository);
        found.ok_or_else(|| unknown(repository, id))
    }

    /// Ends a session.
    pub(super) fn remove(&mut self, id: &UploadId) -> Option<Upload> {
        self.open.remove(id)
    }

    /// Opens a session again that was ended.
    pub(super) fn put_back(&mut self, id: UploadId, upload: Upload) {
        self.open.insert(id, upload);
    }

    /// Ends the sessions whose last request was this long ago, or that nobody can continue.
    pub(super) fn expire(&mut self, now: Time, lifetime: Duration) -> Vec<(Repository, UploadId)> {
        let mut expired = Vec::new();
        self.open.retain(|id, upload| {
            let is_old = now.saturating_since(upload.touched) >= lifetime;
            let is_over = !upload.is_busy && (is_old || upload.is_whole);
            if is_over {
                expired.push((upload.repository.clone(), id.clone()));
            }
            !is_over
        });
        expired
    }

    /// Returns an id that cannot be guessed without the seed.
    fn next_id(&mut self) -> UploadId {
        loop {
            self.begun += 1;
            let source = [self.seed.to_be_bytes(), self.begun.to_be_bytes()].concat();
            let digest = Digest::of(Algorithm::Sha256, &source).encoded();
            let id = digest.get(..32).and_then(|text| text.parse().ok());
            let id: UploadId = id.expect("the digest has 64 hexadecimal digits");
            if !self.open.contains_key(&id) {
                return id;
            }
        }
    }
}

impl Upload {
    /// Returns an error if another request of the session is in progress.
    pub(super) fn check_free(&self) -> Result<(), ErrorResponse> {
        let message = "another request of this upload is in progress";
        if self.is_busy { Err(later(message)) } else { Ok(()) }
    }

    /// Returns the headers that say where the session goes on.
    pub(super) fn headers(&self, id: &UploadId, policy: &Policy) -> HeaderMap {
        const UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
        const MIN_CHUNK: HeaderName = HeaderName::from_static("oci-chunk-min-length");
        let endpoint = Endpoint::Upload(self.repository.clone(), id.clone(), None);
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, value(endpoint.path_and_query()));
        // Docker's client does not accept a range that ends before it starts.
        headers.insert(RANGE, value(format_args!("0-{}", self.size.saturating_sub(1))));
        headers.insert(UUID, value(id));
        if let Some(least) = policy.min_chunk {
            headers.insert(MIN_CHUNK, value(least));
        }
        headers
    }
}

fn unknown(repository: &Repository, id: &UploadId) -> ErrorResponse {
    let message = format_args!("no upload {id} in `{repository}`: it has ended or expired; begin another");
    ErrorResponse::not_found(Code::BlobUploadUnknown, message)
}

fn later(message: &str) -> ErrorResponse {
    ErrorResponse::new(StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests, message)
        .with(RETRY_AFTER, HeaderValue::from_static("1"))
}
