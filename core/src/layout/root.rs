//! Selects a root of a layout.

use std::fmt;

use crate::layout::index::{Entry, Index};
use crate::layout::ref_name::RefName;
use crate::types::digest::{Digest, excerpt};

/// Selects a root of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a new way to select a root affects every caller")]
pub enum Root {
    /// The only root.
    Only,
    /// The root with this name: its [`ref_name`](Entry::ref_name) or [`image_name`](Entry::image_name).
    Named(RefName),
    /// The root with this digest.
    Digest(Digest),
}

impl Root {
    /// Returns whether an entry of a layout's index matches. [`Only`](Self::Only) matches every entry.
    pub fn is_named_by(&self, entry: &Entry) -> bool {
        match self {
            Self::Only => true,
            Self::Named(name) => [entry.ref_name(), entry.image_name()].contains(&Some(name.as_str())),
            Self::Digest(digest) => entry.descriptor().digest == *digest,
        }
    }
}

impl Index {
    /// Returns the first entry of a root.
    ///
    /// Several entries with one name count as one root if their digests are equal. A name is first compared
    /// with [`ref_name`](Entry::ref_name), and then with [`image_name`](Entry::image_name).
    ///
    /// # Errors
    /// Fails if no root matches, or if several do.
    pub fn find(&self, root: &Root) -> Result<&Entry, NoRoot> {
        let by_ref_name = |entry: &&Entry| match root {
            Root::Named(name) => entry.ref_name() == Some(name.as_str()),
            Root::Only | Root::Digest(_) => root.is_named_by(entry),
        };
        let mut matching: Vec<_> = self.entries().iter().filter(by_ref_name).collect();
        if matching.is_empty() {
            matching = self.entries().iter().filter(|entry| root.is_named_by(entry)).collect();
        }
        let Some(first) = matching.first().copied() else {
            return Err(match root {
                Root::Only => NoRoot::Empty,
                Root::Named(_) | Root::Digest(_) => NoRoot::Unknown(self.shown()),
            });
        };
        if matching.iter().all(|other| other.descriptor().digest == first.descriptor().digest) {
            return Ok(first);
        }
        Err(match root {
            Root::Named(name) => NoRoot::Ambiguous {
                name: name.clone(),
                roots: distinct(matching.iter().map(|entry| match entry.image_name() {
                    Some(full) if full != name.as_str() => excerpt(full),
                    _ => entry.descriptor().digest.to_string(),
                })),
            },
            Root::Only | Root::Digest(_) => NoRoot::Several(self.shown()),
        })
    }

    /// Returns the names of the first few entries, or their digests, escaped for an error message.
    fn shown(&self) -> Vec<String> {
        distinct(self.entries().iter().zip(self.names()).map(|(entry, name)| match name {
            Some(name) => excerpt(name),
            None => entry.descriptor().digest.to_string(),
        }))
    }
}

/// The maximum number of roots that an error lists.
const MAX_SHOWN: usize = 16;

fn distinct<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut few = Vec::new();
    for one in all {
        if few.len() == MAX_SHOWN {
            break;
        }
        if !few.contains(&one) {
            few.push(one);
        }
    }
    few
}

/// The error returned when a layout has no matching root. Lists contain the first few roots; excerpts
/// are bounded and escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoRoot {
    /// The layout has no roots.
    #[error("the layout is empty: its index.json has no entries")]
    Empty,
    /// The layout has several roots, and the selection names none.
    #[error("the layout has several roots; name one of: {}", Listed(.0))]
    Several(Vec<String>),
    /// The layout has no root of this name or digest.
    #[error("the layout has no such root; available: {}", Listed(.0))]
    Unknown(Vec<String>),
    /// Several roots have the name.
    #[error("the layout gives the name `{name}` to several roots; select one of: {}", Listed(.roots))]
    Ambiguous {
        /// The name.
        name: RefName,
        /// The roots' full names, or their digests.
        roots: Vec<String>,
    },
}

struct Listed<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (n, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
