//! The index of referrers that clients keep under a fallback tag.
//!
//! Other clients write it too, and anyone may have written the document that is entered in it. Both are copied as
//! text, since their values could take many times their size in memory.
//!
//! Source: distribution-spec, "Referrers Tag Schema".

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
use crate::wire::head::content_type;

/// An index of referrers, with everything that other clients wrote; or none, if there is none yet.
#[derive(Debug, Default)]
pub(crate) struct ReferrersIndex(Option<Manifest>);

impl ReferrersIndex {
    /// Parses a response.
    pub(crate) fn read(bytes: &Bytes, headers: &HeaderMap) -> Result<Self, Misbehaviour> {
        let content_type = content_type(headers)?;
        let evidence = Evidence { content_type, ..Evidence::default() };
        let index = Manifest::read_referrers(bytes.clone(), evidence)?;
        if *index.media_type() != MediaType::OCI_INDEX || index.subject().is_some() {
            let problem = "the tag for it names another document".to_owned();
            return Err(Misbehaviour::List { of: "referrers under the fallback tag", problem });
        }
        Ok(Self(Some(index)))
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
            let problem = "it is not JSON".to_owned();
            return Err(Misbehaviour::List { of: "referrers under the fallback tag", problem });
        }
        text.push('}');
        Ok(text.into())
    }
}

/// Returns the entry of a document, as JSON.
fn entry(digest: &Digest, document: &Manifest) -> String {
    let mut entry = json!({
        "mediaType": document.media_type().as_str(),
        "digest": digest.to_string(),
        "size": document.bytes().len(),
    });
    let config = || document.config().map(|config| config.media_type().clone());
    if let Some(artifact_type) = document.artifact_type().cloned().or_else(config) {
        entry["artifactType"] = artifact_type.as_str().into();
    }
    let mut text = entry.to_string();
    let mut annotations = None;
    let read = each_member(document.bytes(), |name, value| {
        annotations = if name == "annotations" { Some(value) } else { annotations };
    });
    if let Some(annotations) = annotations.filter(|annotations| read.is_ok() && is_map_of_text(annotations)) {
        text.pop();
        text.extend([",\"annotations\":", annotations.get(), "}"]);
    }
    text
}

/// Returns whether a value is an object whose members are text. Others would make the index invalid.
fn is_map_of_text(value: &RawValue) -> bool {
    let mut is_text = true;
    let read = each_member(value.get().as_bytes(), |_, value| is_text &= value.get().starts_with('"'));
    read.is_ok() && is_text
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

    fn read(text: &str) -> ReferrersIndex {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", MediaType::OCI_INDEX.as_str().parse().unwrap());
        ReferrersIndex::read(&Bytes::copy_from_slice(text.as_bytes()), &headers).unwrap()
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
    fn annotations_that_are_not_text_are_not_entered() {
        for annotations in ["[]", "null", r#"{"k":1}"#, r#"{"k":"v","l":{}}"#] {
            let text = format!(r#"{{"annotations":{annotations}}}"#);
            let mut found = None;
            each_member(text.as_bytes(), |_, value| found = Some(value)).unwrap();
            assert!(!is_map_of_text(found.unwrap()), "{annotations}");
        }
    }
}
