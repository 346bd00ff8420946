//! Pushes of manifests.
//!
//! Source: distribution-spec, end-7, its main branch for the parameter `tag`, and its proposal 543 for the parameter `digest`.

use bytes::{Bytes, BytesMut};
use http::{HeaderName, StatusCode, request};

use crate::manifest::Manifest;
use crate::manifest::evidence::Evidence;
use crate::server::effect::{Effect, Reply};
use crate::server::error_response::{Code, ErrorResponse};
use crate::server::holdings::StoredManifest;
use crate::server::incoming::{Incoming, Purpose};
use crate::server::policy::Access;
use crate::server::precondition::{Precondition, evaluate, is_conditional};
use crate::server::response::{created, value};
use crate::server::state::State;
use crate::types::digest::{Algorithm, Digest};
use crate::types::reference::name::{Repository, Tag};
use crate::types::reference::tag_or_digest::TagOrDigest;
use crate::wire::endpoint::Endpoint;
use crate::wire::head::{content_length, content_type};

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");

/// Begins the push of a manifest.
pub(super) fn begin(
    state: &State,
    head: &request::Parts,
    repository: Repository,
    name: TagOrDigest,
    tags: Vec<Tag>,
    stored_as: Option<Digest>,
) -> Result<Incoming, ErrorResponse> {
    state.policy.check(Access::Write, &repository, head.extensions.get())?;
    if tags.len() > Endpoint::MAX_TAGS {
        let message = format_args!("a request may set at most {} tags", Endpoint::MAX_TAGS);
        return Err(ErrorResponse::new(StatusCode::URI_TOO_LONG, Code::TagInvalid, message));
    }
    if matches!(name, TagOrDigest::Tag(_)) && !tags.is_empty() {
        let message = "the parameter `tag` requires a digest in the path";
        return Err(ErrorResponse::malformed(Code::TagInvalid, message));
    }
    let limit = state.policy.manifest_bytes;
    if content_length(&head.headers).is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let digest = match &name {
        TagOrDigest::Digest(digest) => Some(digest.clone()),
        TagOrDigest::Tag(_) => stored_as,
    };
    let purpose = Purpose::Manifest { name, tags, digest, bytes: BytesMut::new() };
    Ok(Incoming::new(head, repository, purpose, limit))
}

/// Stores a manifest, and sets its tags.
pub(super) fn finish(
    state: &mut State,
    head: &request::Parts,
    repository: Repository,
    name: TagOrDigest,
    tags: Vec<Tag>,
    expected: Option<&Digest>,
    bytes: Bytes,
) -> Result<Reply, ErrorResponse> {
    let digest = verified(expected, &bytes)?;
    let invalid = |problem: String| ErrorResponse::malformed(Code::ManifestInvalid, problem);
    let content_type =
        content_type(&head.headers).map_err(|misbehaviour| invalid(misbehaviour.to_string()))?;
    let evidence = Evidence { content_type, ..Evidence::default() };
    let manifest = Manifest::read(bytes, evidence).map_err(|problem| invalid(problem.to_string()))?;
    if state.policy.complete_manifests {
        check_complete(state, &repository, &manifest)?;
    }
    let wanted: Vec<Tag> = match &name {
        TagOrDigest::Tag(tag) => vec![tag.clone()],
        TagOrDigest::Digest(_) => tags,
    };
    check_tags(state, head, &repository, &name, &wanted, &digest)?;

    let mut response = created(&Endpoint::Manifest(repository.clone(), name, Vec::new(), None), &digest);
    if let Some(subject) = manifest.subject() {
        response.headers_mut().insert(SUBJECT, value(subject.digest()));
    }
    let mut effects = Vec::new();
    let stored = StoredManifest::document(&digest, &manifest);
    // What is not durable yet is stored again, so that this answer, too, waits for it.
    let is_settled = state.is_settled(&repository);
    let has_checks = state.policy.complete_manifests || is_conditional(&head.headers);
    let known = state.manifest(&repository, &digest).filter(|_| is_settled);
    if known.is_none_or(|known| known.media_type != stored.media_type || known.bytes.is_none()) {
        state.set_manifest(&repository, digest.clone(), Some(stored));
        effects.push(Effect::PutManifest { digest: digest.clone(), manifest });
    }
    for tag in wanted {
        response.headers_mut().append(TAG, value(&tag));
        if !is_settled || state.tag(&repository, &tag) != Some(&digest) {
            state.set_tag(&repository, tag.clone(), Some(digest.clone()));
            effects.push(Effect::SetTag(tag, digest.clone()));
        }
    }
    let needs_earlier = !is_settled && has_checks;
    Ok(Reply { needs_earlier, ..Reply::with(&head.method, repository, effects, response) })
}

pub(super) fn too_large(limit: u64) -> ErrorResponse {
    let message = format_args!("a manifest may have at most {limit} bytes");
    ErrorResponse::new(StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid, message)
}

/// Returns the digest of a manifest, which is the expected one if there is any.
fn verified(expected: Option<&Digest>, bytes: &[u8]) -> Result<Digest, ErrorResponse> {
    let Some(expected) = expected else { return Ok(Digest::of(Algorithm::Sha256, bytes)) };
    let algorithm = expected.algorithm().ok_or_else(|| ErrorResponse::unverifiable(expected))?;
    let found = Digest::of(algorithm, bytes);
    if found == *expected {
        return Ok(found);
    }
    let message = format_args!("the manifest has the digest {found}, not {expected}");
    Err(ErrorResponse::malformed(Code::DigestInvalid, message))
}

/// Checks that the tags may be set, and the conditions of the request.
fn check_tags(
    state: &State,
    head: &request::Parts,
    repository: &Repository,
    name: &TagOrDigest,
    tags: &[Tag],
    digest: &Digest,
) -> Result<(), ErrorResponse> {
    let immutable = state.policy.has_immutable_tags(repository);
    let moved = tags.iter().find(|tag| state.tag(repository, tag).is_some_and(|of| of != digest));
    if let Some(tag) = moved.filter(|_| immutable) {
        let message = format_args!("the tag `{tag}` exists and is immutable");
        return Err(ErrorResponse::new(StatusCode::CONFLICT, Code::Denied, message));
    }
    let current = match name {
        TagOrDigest::Tag(tag) => state.tag(repository, tag),
        TagOrDigest::Digest(digest) => state.manifest(repository, digest).map(|_| digest),
    };
    match evaluate(&head.headers, current.map(ToString::to_string).as_deref()) {
        Precondition::Met => Ok(()),
        Precondition::NotModified | Precondition::Failed => {
            let message = match current {
                Some(current) => format!("`{name}` names {current}, so the condition of the request fails"),
                None => format!("there is no `{name}`, so the condition of the request fails"),
            };
            Err(ErrorResponse::new(StatusCode::PRECONDITION_FAILED, Code::Denied, message))
        }
    }
}

/// Checks that the repository has everything that a manifest refers to.
fn check_complete(state: &State, repository: &Repository, manifest: &Manifest) -> Result<(), ErrorResponse> {
    for (_, child) in manifest.children() {
        let digest = child.digest();
        if child.media_type().is_nondistributable() || child.size() == 0 {
            continue;
        }
        if state.blob(repository, digest).is_none() && state.manifest(repository, digest).is_none() {
            let message = format_args!("`{repository}` does not have {digest}; push it first");
            return Err(ErrorResponse::not_found(Code::ManifestBlobUnknown, message));
        }
    }
    Ok(())
}
