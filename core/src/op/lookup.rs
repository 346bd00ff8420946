//! Resolves a reference to its descriptor, the first step of most operations.

use std::sync::Arc;

use http::{HeaderMap, Method};

use crate::config::Config;
use crate::error::{Error, InvalidRequest};
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::op::operation::{Expected, Fetch, FetchKind, Fetched};
use crate::types::descriptor::Descriptor;
use crate::types::media_type::{Kind, MediaType};
use crate::types::platform::Platform;
use crate::types::reference::Reference;
use crate::walker::node::Wanted;
use crate::walker::select::PlatformSelector;
use crate::wire::head::{Coding, announced_digest, content_length, content_type};
use crate::wire::status::get_decides;
use crate::wire::target::Target;

/// Resolves a reference to its descriptor. Also returns the manifest if it is wanted, or if it was read to
/// find the descriptor.
#[derive(Debug)]
pub(crate) struct Lookup {
    target: Arc<Target>,
    reference: Reference,
    platform: Option<Platform>,
    wants_manifest: bool,
    limits: Limits,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The manifest must be requested with this method.
    Request(Method),
    Requested,
    /// Searches the root for the best match for the platform.
    Select(Box<Selection>),
    /// The selected manifest must be requested.
    RequestSelected(Descriptor),
    RequestedSelected(Descriptor),
    Found(Result<Resolved, Error>),
    Ended,
}

#[derive(Debug)]
struct Selection {
    root: Descriptor,
    manifest: Manifest,
    selector: PlatformSelector,
}

/// A descriptor, and its manifest if it was read.
type Resolved = (Descriptor, Option<Manifest>);

impl Lookup {
    pub(crate) fn new(
        target: Arc<Target>,
        reference: &Reference,
        platform: Option<&Platform>,
        wants_manifest: bool,
        config: &Config,
    ) -> Self {
        // HEAD is enough if only the descriptor is wanted and no index must be searched.
        let method = if wants_manifest || platform.is_some() { Method::GET } else { Method::HEAD };
        let unverifiable = reference.digest().filter(|digest| digest.algorithm().is_none());
        let state = match unverifiable {
            Some(digest) => State::Found(Err(Error::new(InvalidRequest::UnknownAlgorithm(digest.clone())))),
            None => State::Request(method),
        };
        let (reference, platform, limits) = (reference.clone(), platform.cloned(), config.limits.clone());
        Self { target, reference, platform, wants_manifest, limits, state }
    }

    /// Returns the repository.
    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    pub(crate) fn next_fetch(&mut self) -> Option<Fetch> {
        match &mut self.state {
            State::Request(method) => {
                let method = method.clone();
                self.state = State::Requested;
                // A tag is preferred, so that a pull-through cache learns it. The digest still verifies
                // the content.
                let name = self.reference.name().clone();
                let expected = Expected { digest: self.reference.digest().cloned(), ..Expected::default() };
                Some(Fetch {
                    target: self.target.clone(),
                    kind: FetchKind::Manifest { method, name, expected },
                    ticket: None,
                    is_search: false,
                })
            }
            State::Select(selection) => {
                let Wanted { descriptor, ticket } = selection.selector.want()?;
                let mut fetch = Fetch::described(&self.target, descriptor.clone(), Some(ticket));
                if descriptor.media_type.kind() == Kind::Other {
                    fetch.kind = FetchKind::Config(Box::new(descriptor));
                }
                Some(Fetch { is_search: true, ..fetch })
            }
            State::RequestSelected(descriptor) => {
                let descriptor = descriptor.clone();
                self.state = State::RequestedSelected(descriptor.clone());
                Some(Fetch::described(&self.target, descriptor, None))
            }
            State::Requested | State::RequestedSelected(_) | State::Found(_) | State::Ended => None,
        }
    }

    pub(crate) fn settle(&mut self, fetch: &Fetch, outcome: Result<Fetched, Error>) {
        match (&mut self.state, outcome) {
            (State::Select(selection), outcome) => {
                let Some(ticket) = fetch.ticket else { return };
                match outcome {
                    Ok(Fetched::Manifest(digest, manifest)) => {
                        selection.selector.supply_manifest(ticket, &digest, manifest);
                    }
                    Ok(Fetched::Head(_) | Fetched::Blob | Fetched::Reply(_)) => {}
                    Err(error) if error.is_not_found() => selection.selector.supply_missing(ticket),
                    Err(error) => selection.selector.supply_error(ticket, error),
                }
                self.select();
            }
            _ if fetch.is_search => {}
            (State::Requested, Ok(Fetched::Head(headers))) => self.settle_head(&headers),
            (State::Requested, Ok(Fetched::Manifest(digest, manifest))) => {
                let size = manifest.bytes().len() as u64;
                let descriptor = Descriptor::new(manifest.media_type().clone(), digest, size);
                self.settle_root(descriptor, manifest);
            }
            (State::Requested, Err(error)) => {
                let was_head = error.request().is_some_and(|(method, _)| method == Method::HEAD);
                self.state = if was_head && get_decides(error.cause()) {
                    State::Request(Method::GET)
                } else {
                    State::Found(Err(error))
                };
            }
            (State::RequestedSelected(descriptor), outcome) => {
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

    /// Takes the result, once.
    pub(crate) fn take_found(&mut self) -> Option<Result<Resolved, Error>> {
        if !matches!(self.state, State::Found(_)) {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Found(found) => Some(found),
            _ => None,
        }
    }

    /// Uses the response to HEAD if it describes the manifest completely. Otherwise the manifest itself is
    /// fetched.
    fn settle_head(&mut self, headers: &HeaderMap) {
        let asked = self.reference.digest();
        let described = described(headers).filter(|found| asked.is_none_or(|asked| *asked == found.digest));
        self.state = match described {
            Some(descriptor) => State::Found(Ok((descriptor, None))),
            None => State::Request(Method::GET),
        };
    }

    fn settle_root(&mut self, root: Descriptor, manifest: Manifest) {
        match &self.platform {
            Some(platform) if manifest.kind() != Kind::Other => {
                let window = self.limits.window();
                let mut selector = PlatformSelector::new(root.clone(), platform, &self.limits, window);
                selector.supply_root(manifest.clone());
                self.state = State::Select(Box::new(Selection { root, manifest, selector }));
                self.select();
            }
            _ => self.state = State::Found(Ok((root, Some(manifest)))),
        }
    }

    fn select(&mut self) {
        let State::Select(selection) = &mut self.state else { return };
        self.state = match selection.selector.next_step() {
            None => return,
            Some(Ok(descriptor)) if descriptor.digest == selection.root.digest => {
                State::Found(Ok((descriptor, Some(selection.manifest.clone()))))
            }
            Some(Ok(descriptor)) if self.wants_manifest => State::RequestSelected(descriptor),
            Some(Ok(descriptor)) => State::Found(Ok((descriptor, None))),
            Some(Err(error)) => State::Found(Err(error)),
        };
    }
}

/// Returns the descriptor in the response to HEAD, if the headers are complete. An empty header counts as
/// absent, and so do a generic media type and the length of an encoded body.
///
/// Source: distribution-spec, end-3.
fn described(headers: &HeaderMap) -> Option<Descriptor> {
    Coding::of(headers).refuse().ok()?;
    let digest = announced_digest(headers).ok()??;
    let size = content_length(headers).filter(|size| *size > 0)?;
    let media_type: MediaType = content_type(headers).ok()??.parse().ok()?;
    let is_usable = !media_type.is_generic() && !media_type.is_schema1() && !media_type.is_web_page();
    is_usable.then(|| Descriptor::new(media_type, digest, size))
}
