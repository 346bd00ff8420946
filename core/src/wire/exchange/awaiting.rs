//! An exchange that waits for the head of its response.

use core::net::IpAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use crate::error::fault::Fault;
use crate::error::{Cause, LimitExceeded, Misbehaviour};
use crate::types::id::{ExchangeId, OpId};
use crate::wire::exchange::blob::BlobBody;
use crate::wire::exchange::completion::{Completion, Outcome};
use crate::wire::exchange::manifest::ManifestBody;
use crate::wire::exchange::reach::Reach;
use crate::wire::exchange::receiving::{Body, BodyBounds, Collected, Receiving};
use crate::wire::exchange::sending::Sent;
use crate::wire::exchange::sink::Sink;
use crate::wire::exchange::transcript::{Kept, Transcript};
use crate::wire::exchange::want::Want;
use crate::wire::head::{Coding, content_length};
use crate::wire::status::{Class, RequestKind};

/// An exchange whose response has not begun.
#[derive(Debug)]
#[must_use = "the session waits for the exchange's completion"]
pub struct Awaiting {
    pub(crate) id: ExchangeId,
    pub(crate) op: Option<OpId>,
    pub(crate) kind: RequestKind,
    pub(crate) want: Want,
    pub(crate) reach: Reach,
    /// Whether the driver has said that the server's address is not public.
    pub(crate) is_private: bool,
    pub(crate) bounds: BodyBounds,
    pub(crate) sent: Arc<OnceLock<Sent>>,
    /// The content of the transcript, if one is kept.
    pub(crate) kept: Option<Kept>,
}

impl Awaiting {
    /// Returns the id of the exchange.
    pub fn id(&self) -> ExchangeId {
        self.id
    }

    /// Returns the sink for the body of a successful response; see
    /// [`Exchange::sink`](crate::Exchange::sink).
    pub fn sink(&self) -> Option<&Sink> {
        match &self.want {
            Want::Blob(want) if !want.discard => Some(&want.sink),
            _ => None,
        }
    }

    /// Checks the address that the driver is connected to, or about to connect to. Call it before the
    /// request is sent. Skip it behind a proxy that does not reveal the address.
    ///
    /// The session also learns from it whether a registry is private, and may lead to private addresses itself. A
    /// registry whose address is unknown counts as public.
    ///
    /// # Errors
    /// Returns a fault if the address is outside the exchange's [`Reach`]. The driver must close the
    /// connection and pass the fault to [`fail`](Self::fail).
    pub fn connected(&mut self, address: IpAddr) -> Result<(), Fault> {
        self.reach.check(address)?;
        self.is_private = !Reach::Public.admits(address);
        Ok(())
    }

    /// Takes the head of the final response, not of a 1xx one. The head may arrive before the whole payload
    /// is sent; the driver then stops sending.
    pub fn head(self, status: StatusCode, headers: HeaderMap) -> Receiving {
        let settled = |outcome| Ok(Body::Unwanted(outcome));
        let error_bytes = self.bounds.error_bytes;
        let body = match (self.kind.classify(status, &headers), self.want) {
            (
                Class::Content | Class::Done | Class::Session | Class::Accepted | Class::Progress,
                Want::Head,
            ) => settled(Outcome::Head),
            (Class::Content, Want::Body(limit))
                if content_length(&headers).is_some_and(|length| length > limit) =>
            {
                Err(LimitExceeded::ListBytes(limit).into())
            }
            (Class::Content, Want::Body(limit)) => {
                let refused = Coding::of(&headers).refuse();
                refused.map(|()| Body::Content(Collected::new(limit))).map_err(Cause::from)
            }
            (Class::Content, Want::Manifest(want)) => {
                ManifestBody::new(want, &headers).map(|body| Body::Manifest(Box::new(body)))
            }
            (Class::Content, Want::Blob(want)) => BlobBody::whole(want, &headers).map(Body::Blob),
            (Class::Content, Want::Token(limit)) => {
                let refused = Coding::of(&headers).refuse();
                refused.map(|()| Body::Token(Collected::new(limit))).map_err(Cause::from)
            }
            (Class::Part, Want::Blob(want)) if want.start() > 0 => match BlobBody::part(want, &headers) {
                Err(cause @ Cause::Misbehaved(_)) => settled(Outcome::WrongPart(cause)),
                part => part.map(Body::Blob),
            },
            (Class::NothingLeft, Want::Blob(want)) if want.start() > 0 => {
                match BlobBody::nothing_left(want, &headers) {
                    Some(outcome) => settled(outcome),
                    None => Ok(Body::Refusal(Collected::new(error_bytes))),
                }
            }
            (Class::Redirect, _) => settled(Outcome::Refused(Bytes::new())),
            // No range was requested.
            (Class::Part | Class::Meaningless, _) => Err(Misbehaviour::Status(status).into()),
            _ if self.kind.method() == Method::HEAD => settled(Outcome::Refused(Bytes::new())),
            _ => Ok(Body::Refusal(Collected::new(error_bytes))),
        };
        let body = body.unwrap_or_else(|cause| Body::Unwanted(Outcome::Failed(cause)));
        let has_body = self.kind.method() != Method::HEAD;
        let receiving = Receiving::new(self.id, status, headers, body, has_body, self.bounds, self.sent);
        let receiving = receiving.of_server(self.is_private);
        match self.kept {
            Some(kept) => receiving.with_recorder(kept),
            None => receiving,
        }
    }

    /// Ends the exchange: the request could not be sent, or no response arrived.
    pub fn fail(self, fault: Fault) -> Completion {
        let transcript = self.kept.map(|_| Box::new(Transcript::failed(fault.clone())));
        Completion::new(self.id, None, Outcome::Failed(fault.into()), self.sent, transcript)
    }
}
