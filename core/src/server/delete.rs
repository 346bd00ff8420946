//! Deletions, and the cancellation of uploads.
//!
//! Source: distribution-spec, end-9 and end-10, and its main branch for end-14.

use http::{Method, StatusCode};

use crate::server::effect::{Effect, Reply};
use crate::server::error_response::{Code, ErrorResponse};
use crate::server::policy::{Access, User};
use crate::server::response::empty;
use crate::server::state::State;
use crate::types::digest::Digest;
use crate::types::reference::name::Repository;
use crate::types::reference::tag_or_digest::TagOrDigest;
use crate::types::upload_id::UploadId;

/// Deletes a tag, or a manifest with all its tags.
pub(super) fn manifest(
    state: &mut State,
    user: Option<&User>,
    repository: Repository,
    name: TagOrDigest,
) -> Result<Reply, ErrorResponse> {
    state.policy.check(Access::Delete, &repository, user)?;
    let unknown = |what: String| {
        let message = format_args!("no {what} in `{repository}`");
        ErrorResponse::not_found(Code::ManifestUnknown, message)
    };
    let tags = match &name {
        TagOrDigest::Tag(tag) if state.tag(&repository, tag).is_none() => {
            return Err(unknown(format!("manifest tagged `{tag}`")));
        }
        TagOrDigest::Digest(digest) if state.manifest(&repository, digest).is_none() => {
            return Err(unknown(format!("manifest {digest}")));
        }
        TagOrDigest::Tag(tag) => vec![tag.clone()],
        TagOrDigest::Digest(digest) => state.tags_of(&repository, digest),
    };
    if let Some(tag) = tags.first().filter(|_| state.policy.has_immutable_tags(&repository)) {
        let message = format_args!("the tag `{tag}` is immutable");
        return Err(ErrorResponse::new(StatusCode::CONFLICT, Code::Denied, message));
    }
    let needs_earlier = !state.is_settled(&repository);
    let mut effects = Vec::new();
    for tag in tags {
        state.set_tag(&repository, tag.clone(), None);
        effects.push(Effect::RemoveTag(tag));
    }
    if let TagOrDigest::Digest(digest) = name {
        state.set_manifest(&repository, digest.clone(), None);
        effects.push(Effect::RemoveManifest(digest));
    }
    Ok(Reply { needs_earlier, ..answer(repository, StatusCode::ACCEPTED, effects) })
}

/// Deletes a blob.
pub(super) fn blob(
    state: &mut State,
    user: Option<&User>,
    repository: Repository,
    digest: Digest,
) -> Result<Reply, ErrorResponse> {
    state.policy.check(Access::Delete, &repository, user)?;
    if state.blob(&repository, &digest).is_none() {
        let message = format_args!("no blob {digest} in `{repository}`");
        return Err(ErrorResponse::not_found(Code::BlobUnknown, message));
    }
    let needs_earlier = !state.is_settled(&repository);
    state.set_blob(&repository, digest.clone(), None);
    Ok(Reply { needs_earlier, ..answer(repository, StatusCode::ACCEPTED, vec![Effect::RemoveBlob(digest)]) })
}

/// Cancels an upload. A request of it that is in progress fails.
pub(super) fn upload(
    state: &mut State,
    user: Option<&User>,
    repository: Repository,
    id: &UploadId,
) -> Result<Reply, ErrorResponse> {
    state.policy.check(Access::Write, &repository, user)?;
    state.uploads.get(&repository, id)?;
    state.end_upload(id);
    Ok(answer(repository, StatusCode::NO_CONTENT, vec![Effect::EndUpload(id.clone())]))
}

fn answer(repository: Repository, status: StatusCode, effects: Vec<Effect>) -> Reply {
    Reply::with(&Method::DELETE, repository, effects, empty(status))
}
