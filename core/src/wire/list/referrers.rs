//! The referrers of a manifest.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use crate::error::{LimitExceeded, Misbehaviour};
use crate::manifest::evidence::Evidence;
use crate::manifest::{DescriptorRef, Manifest};
use crate::types::descriptor::Descriptor;
use crate::types::digest::{Algorithm, Digest};
use crate::types::media_type::MediaType;
use crate::types::reference::name::Tag;
use crate::wire::head::content_type;
use crate::wire::list::pages::Pages;

/// A manifest whose subject is another one, as a list of referrers describes it.
///
/// Source: distribution-spec, "Listing Referrers".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Referrer {
    /// The manifest. Its artifact type is the one in the list.
    pub descriptor: Descriptor,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
}

impl From<DescriptorRef<'_>> for Referrer {
    fn from(entry: DescriptorRef<'_>) -> Self {
        let owned = |(key, value): (Cow<'_, str>, Cow<'_, str>)| (key.into_owned(), value.into_owned());
        Self { descriptor: entry.to_owned(), annotations: entry.annotations().map(owned).collect() }
    }
}

/// One page of a list of referrers: an image index.
#[derive(Debug)]
pub(crate) struct ReferrersPage {
    index: Manifest,
    is_filtered: bool,
}

impl ReferrersPage {
    /// What errors call the entries.
    pub(crate) const OF: &'static str = "referrers";

    /// Parses a response. As in all documents, an invalid entry makes the index invalid.
    ///
    /// # Errors
    /// Fails if the document is invalid or not an index.
    pub(crate) fn parse(body: Bytes, headers: &HeaderMap) -> Result<Self, Misbehaviour> {
        let evidence = Evidence { content_type: content_type(headers)?, ..Evidence::default() };
        Ok(Self { index: Manifest::read_referrers(body, evidence)?, is_filtered: is_filtered(headers) })
    }

    /// Parses the index under the fallback tag, which the registry has not filtered.
    ///
    /// # Errors
    /// Fails if the document is invalid or not an OCI index, if it is the subject, or if it is itself a referrer.
    pub(crate) fn parse_fallback(
        subject: &Digest,
        body: Bytes,
        headers: &HeaderMap,
    ) -> Result<Self, Misbehaviour> {
        let page = Self { is_filtered: false, ..Self::parse(body, headers)? };
        let algorithm = subject.algorithm().unwrap_or(Algorithm::Sha256);
        let problem = if Digest::of(algorithm, page.index.bytes()) == *subject {
            let tag = fallback_tag(subject);
            format!("the tag {tag} names the subject itself, not an index of its referrers")
        } else if page.index.subject().is_some() {
            "the index under the fallback tag has a subject, so it is itself a referrer".to_owned()
        } else if *page.index.media_type() != MediaType::OCI_INDEX {
            let media_type = page.index.media_type();
            format!("the type of the document under the fallback tag is {media_type}")
        } else {
            return Ok(page);
        };
        Err(Misbehaviour::List { of: Self::OF, problem })
    }

    /// Returns the index, with everything that its authors wrote.
    pub(crate) fn into_index(self) -> Manifest {
        self.index
    }

    /// Returns the referrers that no earlier page has, of the artifact type `wanted`, if any, in document order.
    ///
    /// Only a page that the registry has not filtered is filtered here. All of its entries count as read: a page
    /// that has only other types may well have a next page.
    pub(crate) fn select<'a>(
        &'a self,
        pages: &'a mut Pages,
        wanted: Option<&'a MediaType>,
    ) -> impl Iterator<Item = Result<Referrer, LimitExceeded>> + 'a {
        let wanted = wanted.filter(|_| !self.is_filtered);
        self.index.entries().filter_map(move |entry| {
            let has_type = wanted.is_none_or(|wanted| entry.artifact_type() == Some(wanted));
            match pages.is_new(&entry.digest().to_string()) {
                Ok(is_new) => (is_new && has_type).then(|| Ok(entry.into())),
                Err(exceeded) => Some(Err(exceeded)),
            }
        })
    }
}

const MAX_ALGORITHM_LEN: usize = 32;
const MAX_ENCODED_LEN: usize = 64;

/// Returns the tag of the index of a subject's referrers, on registries that do not list them: `sha256-0123...cdef`.
///
/// Source: distribution-spec, "Referrers Tag Schema".
pub fn fallback_tag(subject: &Digest) -> Tag {
    let text = subject.to_string();
    let (algorithm, encoded) = text.split_once(':').unwrap_or(("", &text));
    let algorithm = algorithm.chars().take(MAX_ALGORITHM_LEN);
    let encoded = encoded.chars().take(MAX_ENCODED_LEN);
    Tag::replacing(algorithm.chain(['-']).chain(encoded))
}

/// Returns whether a tag is that of the index of some subject's referrers, as [`fallback_tag`] makes it from a digest that
/// can be computed.
pub fn is_fallback_tag(tag: &Tag) -> bool {
    let is_hex = |encoded: &str| {
        encoded.len() == MAX_ENCODED_LEN && encoded.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    tag.as_str().split_once('-').is_some_and(|(algorithm, encoded)| {
        is_hex(encoded) && ["sha256", "sha384", "sha512"].contains(&algorithm)
    })
}

/// Returns whether the registry has filtered a list of referrers by artifact type.
///
/// Source: distribution-spec, end-12b.
fn is_filtered(headers: &HeaderMap) -> bool {
    const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
    let values = headers.get_all(FILTERS).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case("artifactType"))
}
