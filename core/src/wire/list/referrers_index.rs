//! Writing lists of referrers: the entry of a document, and the index that clients keep under a fallback tag.
//!
//! Other clients write the index too, and anyone may have written a document that is entered in it. Both are copied as
//! text, since their values could take many times their size in memory.
//!
//! Source: distribution-spec, "Listing Referrers" and "Referrers Tag Schema".

use std::fmt;

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::error::Misbehaviour;
use crate::manifest::Manifest;
use crate::manifest::evidence::Evidence;
use crate::types::digest::Digest;
use crate::types::media_type::MediaType;
use crate::wire::list::referrers::ReferrersPage;

/// The index of a subject's referrers, with everything that other clients wrote; or none, if there is none yet.
#[derive(Debug, Default)]
pub(crate) struct ReferrersIndex(Option<Manifest>);

impl ReferrersIndex {
    /// Parses a response.
    ///
    /// # Errors
    /// Fails if the document is invalid, or not an index of the subject's referrers.
    pub(crate) fn read(subject: &Digest, body: Bytes, headers: &HeaderMap) -> Result<Self, Misbehaviour> {
        Ok(Self(Some(ReferrersPage::parse_fallback(subject, body, headers)?.into_index())))
    }

    /// Returns whether it has an entry for this document.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.0.iter().flat_map(Manifest::entries).any(|entry| entry.digest() == digest)
    }

    /// Returns the index with another entry, for this document.
    pub(crate) fn with(&self, digest: &Digest, document: &Manifest) -> Result<Bytes, Misbehaviour> {
        let entry = entry(digest, document);
        let Some(index) = &self.0 else {
            let media_type = Value::from(MediaType::OCI_INDEX.as_str());
            let text = format!(r#"{{"schemaVersion":2,"mediaType":{media_type},"manifests":[{entry}]}}"#);
            return Ok(text.into());
        };
        let mut text = String::with_capacity(index.bytes().len() + entry.len() + 100);
        let copied = each_member(index.bytes(), |name, value| {
            text.push(if text.is_empty() { '{' } else { ',' });
            text.push_str(&Value::from(name).to_string());
            text.push(':');
            match value.get().strip_suffix(']') {
                _ if name != "manifests" => text.push_str(value.get()),
                Some(entries) => {
                    let separator = if entries.trim_end() == "[" { "" } else { "," };
                    text.extend([entries, separator, entry.as_str(), "]"]);
                }
                // Some write null for no entries.
                None => text.extend(["[", entry.as_str(), "]"]),
            }
        });
        if copied.is_err() {
            let problem = "the index under the fallback tag is not JSON".to_owned();
            return Err(Misbehaviour::List { of: ReferrersPage::OF, problem });
        }
        text.push('}');
        Ok(text.into())
    }
}

/// Returns the entry of a document in a list of referrers, as JSON.
pub(crate) fn entry(digest: &Digest, document: &Manifest) -> String {
    let mut entry = json!({
        "mediaType": document.media_type().as_str(),
        "digest": digest.to_string(),
        "size": document.bytes().len(),
    });
    if let Some(artifact_type) = listed_type(document) {
        entry["artifactType"] = artifact_type.as_str().into();
    }
    let entry = entry.to_string();
    let mut annotations = None;
    let read = each_member(document.bytes(), |name, value| {
        annotations = if name == "annotations" { Some(value) } else { annotations };
    });
    let annotations = annotations.filter(|_| read.is_ok());
    annotations.and_then(|annotations| with_annotations(&entry, annotations)).unwrap_or(entry)
}

/// Returns the artifact type of a document in a list of referrers.
pub(crate) fn listed_type(document: &Manifest) -> Option<&MediaType> {
    document.artifact_type().or_else(|| document.config().map(|config| config.media_type()))
}

/// Returns an entry with these annotations, unless they would make the list invalid: a document may have anything
/// under this name.
fn with_annotations(entry: &str, annotations: &RawValue) -> Option<String> {
    let entry = format!("{},\"annotations\":{}}}", entry.strip_suffix('}')?, annotations.get());
    let list = format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#);
    let list = Manifest::read_referrers(list.into(), Evidence::default()).ok()?;
    let has_annotations = list.entries().any(|entry| entry.annotations().next().is_some());
    has_annotations.then_some(entry)
}

/// Passes each member of an object to `take`, in order, with its name. Its value is text.
fn each_member<'a>(json: &'a [u8], take: impl FnMut(&str, &'a RawValue)) -> serde_json::Result<()> {
    serde_json::Deserializer::from_slice(json).deserialize_map(Members(take))
}

struct Members<F>(F);

impl<'de, F: FnMut(&str, &'de RawValue)> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            (self.0)(&name, map.next_value()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::digest::Algorithm;

    fn document(annotations: &str) -> (Digest, Manifest) {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],
            "artifactType":"a/b","annotations":{annotations}}}"#
        );
        let digest = Digest::of(Algorithm::Sha256, text.as_bytes());
        (digest, Manifest::read(text.into(), Evidence::default()).unwrap())
    }

    fn subject() -> Digest {
        format!("sha256:{}", "0".repeat(64)).parse().unwrap()
    }

    fn read(text: &str) -> ReferrersIndex {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", MediaType::OCI_INDEX.as_str().parse().unwrap());
        ReferrersIndex::read(&subject(), Bytes::copy_from_slice(text.as_bytes()), &headers).unwrap()
    }

    #[test]
    fn an_entry_is_added_to_what_other_clients_wrote() {
        let (digest, document) = document(r#"{ "k": "v" }"#);
        let size = document.bytes().len();
        let entry = format!(
            r#"{{"artifactType":"a/b","digest":"{digest}","mediaType":"application/vnd.oci.image.index.v1+json","size":{size},"annotations":{{ "k": "v" }}}}"#
        );
        let other =
            format!(r#"{{"mediaType":"a/b","size":1,"digest":"sha256:{}","x":[1.0]}}"#, "1".repeat(64));
        for (before, after) in [
            (
                format!(r#"{{"schemaVersion":2, "y":{{ }},"manifests":[{other} ],"z":1e2}}"#),
                format!(r#"{{"schemaVersion":2,"y":{{ }},"manifests":[{other} ,{entry}],"z":1e2}}"#),
            ),
            (
                r#"{"schemaVersion":2,"manifests":[ ]}"#.to_owned(),
                format!(r#"{{"schemaVersion":2,"manifests":[ {entry}]}}"#),
            ),
            (
                r#"{"schemaVersion":2,"manifests":null}"#.to_owned(),
                format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#),
            ),
        ] {
            let index = read(&before);
            assert!(!index.has(&digest));
            let bytes = index.with(&digest, &document).unwrap();
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            assert_eq!(text, after, "{before}");
            assert!(read(&text).has(&digest));
        }
        let first = ReferrersIndex::default().with(&digest, &document).unwrap();
        assert!(read(str::from_utf8(&first).unwrap()).has(&digest));
    }

    #[test]
    fn a_subject_is_not_the_index_of_its_referrers() {
        let (digest, document) = document("{}");
        let error = ReferrersIndex::read(&digest, document.bytes().clone(), &HeaderMap::new()).unwrap_err();
        assert!(error.to_string().contains("names the subject itself"), "{error}");
        assert!(ReferrersIndex::read(&subject(), document.bytes().clone(), &HeaderMap::new()).is_ok());
    }

    #[test]
    fn annotations_that_would_make_the_list_invalid_are_not_entered() {
        for annotations in [
            "[]",
            "null",
            "{}",
            r#"{"k":1}"#,
            r#"{"k":"v","l":{}}"#,
            r#"{"k":"v","k":"w"}"#,
            r#"{"k":"\ud800"}"#,
        ] {
            let (digest, document) = document(annotations);
            let entry = entry(&digest, &document);
            assert!(!entry.contains("annotations"), "{entry}");
            let first = ReferrersIndex::default().with(&digest, &document).unwrap();
            assert!(read(str::from_utf8(&first).unwrap()).has(&digest));
        }
    }
}
