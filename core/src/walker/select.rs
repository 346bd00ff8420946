//! Platform selection over an index and its nested indexes, or of a single image, without I/O.

use bytes::Bytes;

use crate::error::{Error, InvalidRequest, LimitExceeded, Misbehaviour};
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::manifest::children::Part;
use crate::manifest::verify::Expectation;
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::media_type::Kind;
use crate::types::platform::Platform;
use crate::types::platform::rank::Rank;
use crate::walker::node::{Found, Ticket, WalkStep, Wanted};
use crate::walker::walk::Walker;

/// Selects the image that matches a platform best, from an index and its nested indexes, or from a single image.
///
/// It is driven like a [`Walker`]: [`want`](Self::want) returns a document to fetch,
/// [`supply`](Self::supply) accepts it, and [`next_step`](Self::next_step) returns the selection once
/// all documents are known. Exact matches rank before compatible ones, and equal matches in document
/// order. An image without a platform is the last resort. Artifacts are never selected.
///
/// The documents are indexes. If the root is an image, they are its manifest and its config, which states the
/// platform; an image whose config states none is selected.
///
/// Source: image-spec, image-index.md, "platform", and config.md.
#[derive(Debug)]
pub struct PlatformSelector {
    asked: Platform,
    root: Root,
    best: Option<(Rank, Descriptor)>,
    offered: Vec<Platform>,
}

#[derive(Debug)]
enum Root {
    Index(Box<Walker>),
    Image(Box<SingleImage>),
}

/// A root that is an image.
#[derive(Debug)]
struct SingleImage {
    root: Descriptor,
    next: Next,
    /// Whether the next document is requested.
    is_requested: bool,
    /// The maximum size of a config.
    max_bytes: u64,
}

/// The next step at a root that is an image.
#[derive(Debug)]
enum Next {
    /// The root's manifest must be fetched.
    Manifest,
    /// The config must be fetched.
    Config(Descriptor),
    /// The platform is known, if there is one.
    Done(Result<Option<Platform>, Error>),
}

impl PlatformSelector {
    /// The maximum number of platforms that an error lists.
    const MAX_OFFERED: usize = 32;

    /// Creates a selector over the index or image `root`. At most `window` indexes are requested at any
    /// time.
    pub fn new(root: Descriptor, platform: &Platform, limits: &Limits, window: usize) -> Self {
        let root = if root.media_type.kind() == Kind::Image && root.platform.is_none() {
            let max_bytes = limits.manifest_bytes;
            Root::Image(Box::new(SingleImage { root, next: Next::Manifest, is_requested: false, max_bytes }))
        } else {
            Root::Index(Box::new(Walker::of_indexes(root, limits, window)))
        };
        Self { asked: platform.clone(), root, best: None, offered: Vec::new() }
    }

    /// Returns the next document to fetch; see [`Walker::want`]. A config is fetched like a blob.
    pub fn want(&mut self) -> Option<Wanted> {
        match &mut self.root {
            Root::Index(walker) => walker.want(),
            Root::Image(image) => image.want(),
        }
    }

    /// Supplies a document; see [`Walker::supply`]. The content type of a config is ignored.
    pub fn supply(&mut self, ticket: Ticket, bytes: Bytes, content_type: Option<&str>) {
        match &mut self.root {
            Root::Index(walker) => walker.supply(ticket, bytes, content_type),
            Root::Image(image) => image.settle(ticket, |image| image.read(bytes, content_type)),
        }
    }

    /// Reports that a document does not exist. The images of a missing index cannot be selected.
    pub fn supply_missing(&mut self, ticket: Ticket) {
        match &mut self.root {
            Root::Index(walker) => walker.supply_missing(ticket),
            Root::Image(image) => image.settle(ticket, |image| {
                let missing = image.wanted().map(|(_, wanted)| wanted.digest.clone());
                let missing = missing.unwrap_or_else(|| image.root.digest.clone());
                Next::Done(Err(Error::new(Misbehaviour::Missing(missing))))
            }),
        }
    }

    /// Reports that fetching a document failed. The selection fails.
    pub fn supply_error(&mut self, ticket: Ticket, error: Error) {
        match &mut self.root {
            Root::Index(walker) => walker.supply_error(ticket, error),
            Root::Image(image) => image.settle(ticket, |_| Next::Done(Err(error))),
        }
    }

    /// Supplies a document that is already verified.
    pub(crate) fn supply_manifest(&mut self, ticket: Ticket, digest: &Digest, manifest: Manifest) {
        match &mut self.root {
            Root::Index(walker) => walker.supply_manifest(ticket, digest, manifest),
            Root::Image(_) => self.supply(ticket, manifest.bytes().clone(), None),
        }
    }

    /// Supplies the root's manifest, already verified, before anything is requested.
    pub(crate) fn supply_root(&mut self, manifest: Manifest) {
        match &mut self.root {
            Root::Index(walker) => walker.supply_root(manifest),
            Root::Image(image) => image.next = Next::after_manifest(&manifest, image.max_bytes),
        }
    }

    /// Advances the selection. Returns `None` until all documents are known, then the selected image.
    ///
    /// # Errors
    /// Fails if a document cannot be fetched, if a limit is exceeded, or if no image matches the platform.
    pub fn next_step(&mut self) -> Option<Result<Descriptor, Error>> {
        loop {
            let walker = match &mut self.root {
                Root::Index(walker) => walker,
                Root::Image(image) => {
                    let Next::Done(platform) = &image.next else { return None };
                    let (root, platform) = (image.root.clone(), platform.clone());
                    match platform {
                        Ok(platform) => self.consider(platform.as_ref(), root),
                        Err(error) => return Some(Err(error)),
                    }
                    break;
                }
            };
            match walker.next_step() {
                Ok(WalkStep::Node(node)) => {
                    // One image may be listed for several platforms.
                    if matches!(node.found, Found::Leaf | Found::Repeated) && node.kind == Kind::Image {
                        let platform = node.descriptor.platform.clone();
                        self.consider(platform.as_ref(), node.descriptor);
                    }
                }
                Ok(WalkStep::Blocked) => return None,
                Ok(WalkStep::Finished) => break,
                Err(error) => return Some(Err(error)),
            }
        }
        let no_platform =
            || InvalidRequest::NoPlatform { asked: self.asked.clone(), offered: self.offered.clone() };
        let chosen = self.best.as_ref().map(|(_, descriptor)| descriptor.clone());
        Some(chosen.ok_or_else(|| Error::new(no_platform())))
    }

    fn consider(&mut self, platform: Option<&Platform>, descriptor: Descriptor) {
        let rank = match platform {
            Some(platform) => {
                let is_new = !platform.is_unknown() && !self.offered.contains(platform);
                if is_new && self.offered.len() < Self::MAX_OFFERED {
                    self.offered.push(platform.clone());
                }
                self.asked.rank(platform)
            }
            // An artifact beside the images is never selected by platform.
            None if descriptor.artifact_type.is_some() => None,
            None => Some(Rank::LAST_RESORT),
        };
        if let Some(rank) = rank
            && self.best.as_ref().is_none_or(|(best, _)| rank < *best)
        {
            self.best = Some((rank, descriptor));
        }
    }
}

impl SingleImage {
    fn want(&mut self) -> Option<Wanted> {
        if std::mem::replace(&mut self.is_requested, true) {
            return None;
        }
        let (ticket, descriptor) = self.wanted()?;
        Some(Wanted { ticket, descriptor: descriptor.clone() })
    }

    /// Returns the next document, and its ticket.
    fn wanted(&self) -> Option<(Ticket, &Descriptor)> {
        match &self.next {
            Next::Manifest => Some((Ticket(0), &self.root)),
            Next::Config(config) => Some((Ticket(1), config)),
            Next::Done(_) => None,
        }
    }

    /// Moves on if the ticket is that of the requested document.
    fn settle(&mut self, ticket: Ticket, next: impl FnOnce(&Self) -> Next) {
        if self.is_requested && self.wanted().is_some_and(|(wanted, _)| wanted == ticket) {
            self.next = next(self);
            self.is_requested = false;
        }
    }

    /// Reads the requested document.
    fn read(&self, bytes: Bytes, content_type: Option<&str>) -> Next {
        let (document, next) = match &self.next {
            Next::Config(config) => {
                let verified = Expectation::from(config).verify(&bytes);
                (config, verified.map(|()| Next::Done(Ok(Platform::of_config(&bytes)))))
            }
            Next::Manifest | Next::Done(_) => {
                let manifest = Manifest::verified(bytes, &self.root, content_type);
                (&self.root, manifest.map(|manifest| Next::after_manifest(&manifest, self.max_bytes)))
            }
        };
        next.unwrap_or_else(|cause| Next::Done(Err(Error::of_document(&document.digest, cause))))
    }
}

impl Next {
    /// Wants the config of an image, if it can state a platform.
    fn after_manifest(manifest: &Manifest, max_bytes: u64) -> Self {
        let config = manifest.children().find(|(part, _)| *part == Part::Config).map(|(_, config)| config);
        let Some(config) = config.filter(|config| config.media_type().is_image_config()) else {
            return Self::Done(Ok(None));
        };
        let config = config.to_owned();
        if config.size > max_bytes {
            let exceeded = LimitExceeded::ConfigBytes(max_bytes);
            return Self::Done(Err(Error::of_document(&config.digest, exceeded)));
        }
        match config.embedded() {
            Some(data) => Self::Done(Ok(Platform::of_config(&data))),
            None => Self::Config(config),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Cause;
    use crate::types::digest::Algorithm;
    use crate::types::media_type::MediaType;

    #[test]
    fn a_config_over_the_limit_is_named() {
        let config = Digest::of(Algorithm::Sha256, b"config");
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","layers":[],
                "config":{{"mediaType":"{}","digest":"{config}","size":9000000}}}}"#,
            MediaType::OCI_MANIFEST,
            "application/vnd.oci.image.config.v1+json",
        );
        let digest = Digest::of(Algorithm::Sha256, manifest.as_bytes());
        let root = Descriptor::new(MediaType::OCI_MANIFEST, digest, manifest.len() as u64);
        let platform = "linux/amd64".parse().unwrap();
        let mut selector = PlatformSelector::new(root, &platform, &Limits::default(), 1);
        let wanted = selector.want().unwrap();
        selector.supply(wanted.ticket, manifest.into(), None);
        let error = selector.next_step().unwrap().unwrap_err();
        assert!(matches!(error.cause(), Cause::Limit(LimitExceeded::ConfigBytes(_))), "{error:?}");
        assert_eq!(error.to_string(), format!("{config}: the config exceeds the limit of 8388608 bytes"));
    }
}
