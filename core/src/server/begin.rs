//! The start and the end of every request.

use http::{Method, StatusCode, request};

use crate::server::effect::{Failure, Reply};
use crate::server::error_response::{Code, ErrorResponse};
use crate::server::incoming::{Incoming, Purpose};
use crate::server::policy::User;
use crate::server::response::check_head;
use crate::server::state::State;
use crate::server::{blob_push, delete, manifest_push, respond};
use crate::types::time::Time;
use crate::wire::endpoint::{Begin, Endpoint};

/// The start of the answer to a request.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "the body of a request matters, or it does not")]
pub enum Begun {
    /// The answer. The body of the request, if it has one, does not matter.
    Reply(Reply),
    /// The answer depends on the body.
    Receive(Incoming),
}

/// Begins the answer to a request.
pub(super) fn begin(state: &mut State, now: Time, head: &request::Parts) -> Begun {
    if respond::is_read(&head.method) {
        return Begun::Reply(Reply::new(&head.method, respond::respond(state, head)));
    }
    let request = state.begin_request();
    match dispatch(state, now, head) {
        Ok(Begun::Reply(reply)) => Begun::Reply(complete(state, request, reply)),
        Ok(begun) => begun,
        Err(error) => Begun::Reply(complete(state, request, Reply::refusal(&head.method, error))),
    }
}

/// Adds to a reply what all have.
fn complete(state: &State, request: u64, mut reply: Reply) -> Reply {
    state.policy.warn(&mut reply.response);
    Reply { request, ..reply }
}

/// Returns whether the start of a request with this method can have effects: one that has no body that matters.
pub(super) fn has_effects(method: &Method) -> bool {
    *method == Method::POST || *method == Method::DELETE
}

/// Answers a request whose body is complete.
pub(super) fn finish(state: &mut State, now: Time, incoming: Incoming) -> Reply {
    let Incoming { head, repository, purpose, received, limit, is_too_large } = incoming;
    let request = state.begin_request();
    let answered = match purpose {
        Purpose::Portion(portion) => {
            let body = blob_push::Received { bytes: received, limit, is_too_large };
            let needs_earlier = state.release_ended(&portion.upload);
            let reply = blob_push::finish(state, now, &head, repository, portion, &body);
            Ok(Reply { needs_earlier, ..reply })
        }
        Purpose::Manifest { .. } if is_too_large => Err(manifest_push::too_large(limit)),
        Purpose::Manifest { name, tags, digest, bytes } => {
            manifest_push::finish(state, &head, repository, name, tags, digest.as_ref(), bytes.freeze())
        }
    };
    let reply = answered.unwrap_or_else(|error| Reply::refusal(&head.method, error));
    complete(state, request, reply)
}

/// Answers a request whose body is not complete, or could not be written.
pub(super) fn interrupted(
    state: &mut State,
    now: Time,
    incoming: Incoming,
    failure: Option<Failure>,
) -> Reply {
    let Incoming { head, repository, purpose, received, .. } = incoming;
    let request = state.begin_request();
    let (mut effects, mut needs_earlier) = (Vec::new(), false);
    if let Purpose::Portion(portion) = purpose {
        needs_earlier = state.release_ended(&portion.upload);
        let is_durable = failure.is_none();
        effects = blob_push::interrupted(state, now, &repository, portion, received, is_durable);
    }
    let incomplete = || {
        let message = "the body of the request is not complete";
        ErrorResponse::malformed(Code::SizeInvalid, message).into_response()
    };
    let response = failure.map_or_else(incomplete, Failure::response);
    let reply = Reply::with(&head.method, repository, effects, response);
    complete(state, request, Reply { needs_earlier, ..reply })
}

fn dispatch(state: &mut State, now: Time, head: &request::Parts) -> Result<Begun, ErrorResponse> {
    check_head(head)?;
    let user = head.extensions.get::<User>();
    match (Endpoint::parse(&head.uri)?, &head.method) {
        (Endpoint::Uploads(repository, Begin::Whole(digest)), &Method::POST) => {
            blob_push::begin_whole(state, now, head, repository, digest).map(Begun::Receive)
        }
        (Endpoint::Uploads(repository, Begin::Mount(digest, from)), &Method::POST) => {
            blob_push::mount(state, now, head, repository, &digest, from.as_ref()).map(Begun::Reply)
        }
        (Endpoint::Uploads(repository, Begin::Session(algorithm)), &Method::POST) => {
            blob_push::begin_session(state, now, head, &repository, algorithm).map(Begun::Reply)
        }
        (Endpoint::Upload(repository, id, _), &Method::PATCH) => {
            blob_push::begin_portion(state, now, head, repository, id, None).map(Begun::Receive)
        }
        (Endpoint::Upload(repository, id, Some(digest)), &Method::PUT) => {
            blob_push::begin_portion(state, now, head, repository, id, Some(digest)).map(Begun::Receive)
        }
        (Endpoint::Upload(_, _, None), &Method::PUT) => {
            let message = "the request that closes an upload has its digest as the parameter `digest`";
            Err(ErrorResponse::malformed(Code::DigestInvalid, message))
        }
        (Endpoint::Upload(repository, id, _), &Method::DELETE) => {
            delete::upload(state, user, repository, &id).map(Begun::Reply)
        }
        (Endpoint::Manifest(repository, name, tags, digest), &Method::PUT) => {
            manifest_push::begin(state, head, repository, name, tags, digest).map(Begun::Receive)
        }
        (Endpoint::Manifest(repository, name, ..), &Method::DELETE) => {
            delete::manifest(state, user, repository, name).map(Begun::Reply)
        }
        (Endpoint::Blob(repository, digest), &Method::DELETE) => {
            delete::blob(state, user, repository, digest).map(Begun::Reply)
        }
        (endpoint, method) => {
            let message = format_args!("{method} does nothing here");
            let error = ErrorResponse::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, message);
            Err(error.allowing(allowed(&endpoint)))
        }
    }
}

/// Returns the methods that an endpoint supports.
fn allowed(endpoint: &Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Version | Endpoint::Tags(..) | Endpoint::Referrers(..) | Endpoint::Catalog(_) => {
            "GET, HEAD"
        }
        Endpoint::Blob(..) => "GET, HEAD, DELETE",
        Endpoint::Manifest(..) => "GET, HEAD, PUT, DELETE",
        Endpoint::Uploads(..) => "POST",
        Endpoint::Upload(..) => "GET, HEAD, PATCH, PUT, DELETE",
    }
}
