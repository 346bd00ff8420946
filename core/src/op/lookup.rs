//! Finds out what a reference names, the step that resolve, manifest and walk begin with.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};

use crate::error::{Error, InvalidRequest};
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::op::{Expected, Fetch, Fetched, What};
use crate::types::descriptor::Descriptor;
use crate::types::media_type::{Kind, MediaType};
use crate::types::platform::Platform;
use crate::types::reference::Reference;
use crate::types::reference::tag_or_digest::TagOrDigest;
use crate::walker::node::Ticket;
use crate::walker::select::PlatformSelector;
use crate::wire::head::{announced_digest, content_length, refuse_encoding};
use crate::wire::status::head_may_differ;

/// Finds a reference's descriptor, and its manifest where that is wanted or had on the way.
#[derive(Debug)]
pub(crate) struct Lookup {
    reference: Reference,
    platform: Option<Platform>,
    wants_manifest: bool,
    limits: Limits,
    window: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    /// To be asked for by this method.
    Ask(Method),
    Asked,
    /// Looks through an index, and those that it names, for what fits the platform.
    Select(Box<PlatformSelector>),
    /// What was selected is to be asked for.
    AskSelected(Descriptor),
    AskedSelected(Descriptor),
    Found(Result<Outcome, Error>),
    Ended,
}

/// A descriptor, and its manifest if it was read.
type Outcome = (Descriptor, Option<Manifest>);

impl Lookup {
    pub(crate) fn new(
        reference: &Reference,
        platform: Option<&Platform>,
        wants_manifest: bool,
        limits: &Limits,
        window: usize,
    ) -> Self {
        // HEAD is enough where only the descriptor is wanted, and no index is to be looked into.
        let method = if wants_manifest || platform.is_some() { Method::GET } else { Method::HEAD };
        let unverifiable = reference.digest().filter(|digest| digest.algorithm().is_none());
        let state = match unverifiable {
            Some(digest) => State::Found(Err(Error::new(InvalidRequest::UnknownAlgorithm(digest.clone())))),
            None => State::Ask(method),
        };
        let (reference, platform, limits) = (reference.clone(), platform.cloned(), limits.clone());
        Self { reference, platform, wants_manifest, limits, window, state }
    }

    pub(crate) fn next_fetch(&mut self) -> Option<Fetch> {
        match &mut self.state {
            State::Ask(method) => {
                let method = method.clone();
                self.state = State::Asked;
                let digest = self.reference.digest().cloned();
                // Asked for by its tag where there is one: a cache in between then learns the tag. The
                // digest verifies what comes.
                let name = match (self.reference.tag(), &digest) {
                    (Some(tag), _) => TagOrDigest::Tag(tag.clone()),
                    (None, Some(digest)) => TagOrDigest::Digest(digest.clone()),
                    (None, None) => return None,
                };
                let expected = Expected { digest, ..Expected::default() };
                Some(Fetch { what: What::Manifest { method, name, expected }, ticket: None })
            }
            State::Select(choice) => {
                let wanted = choice.want()?;
                Some(Fetch::described(wanted.descriptor, Some(wanted.ticket)))
            }
            State::AskSelected(descriptor) => {
                let descriptor = descriptor.clone();
                self.state = State::AskedSelected(descriptor.clone());
                Some(Fetch::described(descriptor, None))
            }
            State::Asked | State::AskedSelected(_) | State::Found(_) | State::Ended => None,
        }
    }

    pub(crate) fn settle(&mut self, ticket: Option<Ticket>, outcome: Result<Fetched, Error>) {
        match (&mut self.state, outcome) {
            (State::Asked, Ok(Fetched::Head(headers))) => self.settle_head(&headers),
            (State::Asked, Ok(Fetched::Manifest(digest, manifest))) => {
                let size = manifest.bytes().len() as u64;
                let descriptor = Descriptor::new(manifest.media_type().clone(), digest, size);
                self.settle_root(descriptor, manifest);
            }
            (State::Asked, Err(error)) => {
                let was_head = error.request().is_some_and(|(method, _)| method == Method::HEAD);
                self.state = if was_head && error.status().is_some_and(head_may_differ) {
                    State::Ask(Method::GET)
                } else {
                    State::Found(Err(error))
                };
            }
            (State::Select(choice), outcome) => {
                choice.tree().take(ticket, outcome);
                self.select();
            }
            (State::AskedSelected(descriptor), outcome) => {
                let descriptor = descriptor.clone();
                self.state = State::Found(match outcome {
                    Ok(Fetched::Manifest(_, manifest)) => Ok((descriptor, Some(manifest))),
                    Ok(_) => return,
                    Err(error) => Err(error),
                });
            }
            _ => {}
        }
    }

    /// What was found; once.
    pub(crate) fn take_found(&mut self) -> Option<Result<Outcome, Error>> {
        if !matches!(self.state, State::Found(_)) {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Found(found) => Some(found),
            _ => None,
        }
    }

    /// Uses a HEAD's answer if it says all that was asked; else the manifest is asked for, whose bytes tell.
    fn settle_head(&mut self, headers: &HeaderMap) {
        let asked = self.reference.digest();
        let described = described(headers).filter(|found| asked.is_none_or(|asked| *asked == found.digest));
        self.state = match described {
            Some(descriptor) => State::Found(Ok((descriptor, None))),
            None => State::Ask(Method::GET),
        };
    }

    fn settle_root(&mut self, descriptor: Descriptor, manifest: Manifest) {
        match &self.platform {
            // An image says nothing of its platform but in its config: it is what was asked for.
            Some(platform) if manifest.kind() == Kind::Index => {
                let mut choice = PlatformSelector::new(descriptor, platform, &self.limits, self.window);
                choice.supply_root(manifest);
                self.state = State::Select(Box::new(choice));
                self.select();
            }
            _ => self.state = State::Found(Ok((descriptor, Some(manifest)))),
        }
    }

    fn select(&mut self) {
        let State::Select(choice) = &mut self.state else { return };
        self.state = match choice.next_step() {
            None => return,
            Some(Ok(descriptor)) if self.wants_manifest => State::AskSelected(descriptor),
            Some(Ok(descriptor)) => State::Found(Ok((descriptor, None))),
            Some(Err(error)) => State::Found(Err(error)),
        };
    }
}

/// The descriptor in a HEAD's answer, if it has all that a descriptor needs. Present but empty counts as
/// absent, and so do a type that says nothing and the length of an encoding.
///
/// Source: distribution-spec, end-3.
fn described(headers: &HeaderMap) -> Option<Descriptor> {
    refuse_encoding(headers).ok()?;
    let digest = announced_digest(headers).ok()??;
    let size = content_length(headers).filter(|size| *size > 0)?;
    let media_type: MediaType = headers.get(CONTENT_TYPE)?.to_str().ok()?.parse().ok()?;
    let tells = !media_type.is_generic() && !media_type.is_schema1() && !media_type.is_web_page();
    tells.then(|| Descriptor::new(media_type, digest, size))
}
