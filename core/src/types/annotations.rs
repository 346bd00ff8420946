//! Annotations of documents and descriptors.

use std::collections::BTreeMap;

use crate::types::digest::excerpt;

/// Annotations: texts under unique keys, sorted by key.
///
/// No key is empty. A value may be. Keys should be in reverse domain notation, such as
/// `com.example.build`; those that begin with `org.opencontainers` are reserved for the specifications.
///
/// Source: image-spec, annotations.md, "Rules".
///
/// ```
/// use oci_proto::build::Annotations;
///
/// let mut annotations = Annotations::new();
/// annotations.insert("org.opencontainers.image.version", "1.0")?;
/// annotations.insert("com.example.reviewed", "")?;
/// let keys: Vec<&str> = annotations.iter().map(|(key, _)| key).collect();
/// assert_eq!(keys, ["com.example.reviewed", "org.opencontainers.image.version"]);
/// assert!(annotations.insert("com.example.reviewed", "yes").is_err());
/// # Ok::<(), oci_proto::build::InvalidAnnotation>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations(BTreeMap<String, String>);

impl Annotations {
    /// Creates a value without annotations.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Creates a value with one annotation. The key is a constant, and not empty.
    pub(crate) fn single(key: &'static str, value: &str) -> Self {
        debug_assert!(!key.is_empty(), "a key of this crate");
        Self(BTreeMap::from([(key.to_owned(), value.to_owned())]))
    }

    /// Adds an annotation.
    ///
    /// # Errors
    /// Fails if the key is empty, or has an annotation already. The value is then unchanged.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), InvalidAnnotation> {
        if key.is_empty() {
            return Err(InvalidAnnotation::EmptyKey { value: excerpt(value) });
        }
        if self.0.contains_key(key) {
            return Err(InvalidAnnotation::Duplicate { key: excerpt(key) });
        }
        self.0.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// Returns the annotations as pairs of key and value, sorted by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Returns whether there are no annotations.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The error returned when an annotation cannot be added. Excerpts are bounded and escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAnnotation {
    /// The key is empty.
    #[error("the annotation with the value `{value}` has an empty key; name it, as in `com.example.key`")]
    EmptyKey {
        /// An excerpt of the value.
        value: String,
    },
    /// Another annotation has the same key.
    #[error("the annotation `{key}` is given twice; keys must be unique")]
    Duplicate {
        /// An excerpt of the key.
        key: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_annotation_changes_nothing() {
        let mut annotations = Annotations::new();
        assert!(annotations.is_empty());
        annotations.insert("a", "1").unwrap();
        for (key, message) in [
            ("", "the annotation with the value `2` has an empty key; name it, as in `com.example.key`"),
            ("a", "the annotation `a` is given twice; keys must be unique"),
        ] {
            assert_eq!(annotations.insert(key, "2").unwrap_err().to_string(), message);
            assert_eq!(annotations, Annotations::single("a", "1"));
        }
    }
}
