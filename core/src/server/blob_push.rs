//! Uploads of blobs: sessions, their chunks, and mounts.
//!
//! Source: distribution-spec, end-4a, end-4b, end-5, end-6 and end-11.

use std::ops::Range;

use http::header::CONTENT_RANGE;
use http::{HeaderMap, StatusCode, request};

use crate::server::effect::{Effect, Reply};
use crate::server::error_response::{Code, ErrorResponse};
use crate::server::incoming::{Incoming, Portion, Purpose};
use crate::server::policy::{Access, User};
use crate::server::response::{created, empty};
use crate::server::state::State;
use crate::server::upload::Hash;
use crate::types::digest::{Algorithm, Digest};
use crate::types::reference::name::Repository;
use crate::types::time::Time;
use crate::types::upload_id::UploadId;
use crate::wire::endpoint::Endpoint;
use crate::wire::head::content_length;

/// What has arrived of a body.
pub(super) struct Received {
    pub(super) bytes: u64,
    pub(super) limit: u64,
    pub(super) is_too_large: bool,
}

/// Mounts a blob. If that is not possible, opens a session.
pub(super) fn mount(
    state: &mut State,
    now: Time,
    head: &request::Parts,
    repository: Repository,
    digest: &Digest,
    from: Option<&Repository>,
) -> Result<Reply, ErrorResponse> {
    let user = head.extensions.get::<User>();
    state.policy.check(Access::Write, &repository, user)?;
    let Some((from, size)) = mountable(state, digest, from, user) else {
        return begin_session(state, now, head, &repository, digest.algorithm());
    };
    let needs_earlier = !state.is_settled(&from);
    let mount = Effect::Mount { from, digest: digest.clone(), size };
    Ok(Reply { needs_earlier, ..store(state, head, repository, digest, size, vec![mount]) })
}

/// Opens a session.
pub(super) fn begin_session(
    state: &mut State,
    now: Time,
    head: &request::Parts,
    repository: &Repository,
    algorithm: Option<Algorithm>,
) -> Result<Reply, ErrorResponse> {
    state.policy.check(Access::Write, repository, head.extensions.get())?;
    let id = open(state, now, repository, algorithm)?;
    let upload = state.uploads.get(repository, &id)?;
    let mut response = empty(StatusCode::ACCEPTED);
    response.headers_mut().extend(upload.headers(&id, &state.policy));
    Ok(Reply::new(&head.method, response))
}

/// Begins an upload in one request.
pub(super) fn begin_whole(
    state: &mut State,
    now: Time,
    head: &request::Parts,
    repository: Repository,
    digest: Digest,
) -> Result<Incoming, ErrorResponse> {
    state.policy.check(Access::Write, &repository, head.extensions.get())?;
    let algorithm = known(&digest)?;
    check_length(&head.headers, 0, state.policy.blob_bytes)?;
    let id = open(state, now, &repository, Some(algorithm))?;
    let begun = receive(state, now, head, repository, id.clone(), Some(digest), true);
    if begun.is_err() {
        // Nobody knows its id.
        state.uploads.remove(&id);
    }
    begun
}

/// Begins a chunk, or with a digest the last request of an upload.
pub(super) fn begin_portion(
    state: &mut State,
    now: Time,
    head: &request::Parts,
    repository: Repository,
    id: UploadId,
    closes: Option<Digest>,
) -> Result<Incoming, ErrorResponse> {
    state.policy.check(Access::Write, &repository, head.extensions.get())?;
    closes.as_ref().map(known).transpose()?;
    receive(state, now, head, repository, id, closes, false)
}

fn receive(
    state: &mut State,
    now: Time,
    head: &request::Parts,
    repository: Repository,
    id: UploadId,
    closes: Option<Digest>,
    is_whole: bool,
) -> Result<Incoming, ErrorResponse> {
    let policy = &state.policy;
    let upload = state.uploads.get_mut(&repository, &id)?;
    upload.check_free()?;
    upload.touched = now;
    let range = chunk_range(&head.headers)?;
    if let Some(range) = range.as_ref().filter(|range| range.start != upload.size) {
        let message =
            format_args!("the next byte of this upload is byte {}, not {}", upload.size, range.start);
        let error = ErrorResponse::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::BlobUploadInvalid, message);
        return Err(error.with_all(upload.headers(&id, policy)));
    }
    check_length(&head.headers, upload.size, policy.blob_bytes)?;
    let expected = range.map(|range| range.end - range.start);
    if let (Some(expected), Some(length)) = (expected, content_length(&head.headers))
        && expected != length
    {
        let message = format_args!("Content-Range has {expected} bytes, but the body has {length}");
        return Err(ErrorResponse::malformed(Code::SizeInvalid, message));
    }
    upload.is_busy = true;
    upload.is_whole = is_whole;
    let start = upload.size;
    let hash = match (closes.as_ref().and_then(Digest::algorithm), upload.hash.take()) {
        (Some(wanted), hash) => hash.filter(|hash| hash.algorithm == wanted).or(Some(Hash::new(wanted))),
        (None, hash) => hash,
    };
    let portion = Portion { upload: id, start, expected, hash, closes };
    let limit = policy.blob_bytes.saturating_sub(start);
    Ok(Incoming::new(head, repository, Purpose::Portion(portion), limit))
}

/// Answers a request whose body is an entire portion of a blob.
pub(super) fn finish(
    state: &mut State,
    now: Time,
    head: &request::Parts,
    repository: Repository,
    portion: Portion,
    body: &Received,
) -> Reply {
    let Portion { upload: id, start, expected, hash, closes } = portion;
    let end = start.saturating_add(body.bytes);
    let upload = match state.uploads.get_mut(&repository, &id) {
        Ok(upload) => upload,
        // It was cancelled, and bytes may have been written since then.
        Err(error) => return refuse(state, head, repository, &id, true, error),
    };
    upload.is_busy = false;
    upload.touched = now;
    let refused = if body.is_too_large {
        Some(too_large(start.saturating_add(body.limit)))
    } else if expected.is_some_and(|expected| expected != body.bytes) {
        let message = format_args!("the body has {} bytes, not those of Content-Range", body.bytes);
        Some(ErrorResponse::malformed(Code::SizeInvalid, message))
    } else {
        None
    };
    if let Some(error) = refused {
        // The bytes do not count, so the hash is of no use.
        let is_whole = upload.is_whole;
        return refuse(state, head, repository, &id, is_whole, error);
    }
    let Some(digest) = closes else {
        upload.size = end;
        upload.hash = hash.filter(|hash| hash.covers == end);
        let mut response = empty(StatusCode::ACCEPTED);
        response.headers_mut().extend(upload.headers(&id, &state.policy));
        return Reply::new(&head.method, response);
    };
    let found = hash.filter(|hash| hash.covers == end).map(Hash::finish);
    if found.as_ref() != Some(&digest) {
        let message = match found {
            Some(found) => format!("the content has the digest {found}, not {digest}"),
            None => "the content was not hashed".to_owned(),
        };
        let error = ErrorResponse::malformed(Code::DigestInvalid, message);
        return refuse(state, head, repository, &id, true, error);
    }
    state.end_upload(&id);
    let commit = Effect::Commit { upload: id, digest: digest.clone(), size: end };
    store(state, head, repository, &digest, end, vec![commit])
}

/// Handles a request whose body is not complete. Its bytes count if they are durable. Returns what else ends.
pub(super) fn interrupted(
    state: &mut State,
    now: Time,
    repository: &Repository,
    portion: Portion,
    received: u64,
    is_durable: bool,
) -> Vec<Effect> {
    let Portion { upload: id, start, hash, .. } = portion;
    // If it was cancelled, bytes may have been written since then.
    let Ok(upload) = state.uploads.get_mut(repository, &id) else { return vec![Effect::EndUpload(id)] };
    upload.is_busy = false;
    upload.touched = now;
    if is_durable {
        upload.size = start.saturating_add(received);
    }
    let size = upload.size;
    upload.hash = hash.filter(|hash| hash.covers == size);
    if !upload.is_whole {
        return Vec::new();
    }
    // Nobody knows its id.
    state.end_upload(&id);
    vec![Effect::EndUpload(id)]
}

/// Answers with an error, and ends the upload if nothing can continue it.
fn refuse(
    state: &mut State,
    head: &request::Parts,
    repository: Repository,
    id: &UploadId,
    ends: bool,
    error: ErrorResponse,
) -> Reply {
    let mut effects = Vec::new();
    if ends {
        state.end_upload(id);
        effects.push(Effect::EndUpload(id.clone()));
    }
    Reply::with(&head.method, repository, effects, error.into_response())
}

/// Adds a blob to a repository.
fn store(
    state: &mut State,
    head: &request::Parts,
    repository: Repository,
    digest: &Digest,
    size: u64,
    effects: Vec<Effect>,
) -> Reply {
    state.set_blob(&repository, digest.clone(), Some(size));
    let response = created(&Endpoint::Blob(repository.clone(), digest.clone()), digest);
    Reply::with(&head.method, repository, effects, response)
}

/// Returns a repository that has the blob, from which the user may read, and the size of the blob.
fn mountable(
    state: &State,
    digest: &Digest,
    from: Option<&Repository>,
    user: Option<&User>,
) -> Option<(Repository, u64)> {
    let source = |from: &Repository| {
        let size = state.blob(from, digest)?;
        state.policy.shows(from, user).then(|| (from.clone(), size))
    };
    match from {
        Some(from) => source(from),
        None => state.repositories.keys().find_map(source),
    }
}

fn open(
    state: &mut State,
    now: Time,
    repository: &Repository,
    algorithm: Option<Algorithm>,
) -> Result<UploadId, ErrorResponse> {
    let algorithm = algorithm.unwrap_or(Algorithm::Sha256);
    state.uploads.begin(now, repository.clone(), algorithm, &state.policy)
}

fn known(digest: &Digest) -> Result<Algorithm, ErrorResponse> {
    digest.algorithm().ok_or_else(|| ErrorResponse::unverifiable(digest))
}

/// Checks the announced length of a body after `start` bytes.
fn check_length(headers: &HeaderMap, start: u64, limit: u64) -> Result<(), ErrorResponse> {
    let length = content_length(headers).unwrap_or_default();
    if start.saturating_add(length) > limit { Err(too_large(limit)) } else { Ok(()) }
}

fn too_large(limit: u64) -> ErrorResponse {
    let message = format_args!("a blob may have at most {limit} bytes");
    ErrorResponse::new(StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid, message)
}

/// Returns the range of a chunk: both ends inclusive and without a unit in the header. Without the header, the chunk is
/// appended.
fn chunk_range(headers: &HeaderMap) -> Result<Option<Range<u64>>, ErrorResponse> {
    let mut lines = headers.get_all(CONTENT_RANGE).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let parsed = line.to_str().ok().filter(|_| lines.next().is_none()).and_then(|text| {
        let (first, last) = text.trim().split_once('-')?;
        let number = |text: &str| -> Option<u64> {
            text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
        };
        let (first, end) = (number(first)?, number(last)?.checked_add(1)?);
        (first < end).then_some(first..end)
    });
    let invalid = || {
        let message = "Content-Range is not the first and the last byte of a chunk, such as `0-1023`";
        ErrorResponse::malformed(Code::BlobUploadInvalid, message)
    };
    parsed.map(Some).ok_or_else(invalid)
}
