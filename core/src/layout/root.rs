//! Which of a layout's roots is meant.

use std::fmt;

use crate::layout::index::{Entry, Index};
use crate::layout::ref_name::RefName;
use crate::types::digest::{Digest, excerpt};

/// Which of a layout's roots is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "another way to name a root is a question to every caller")]
pub enum Root {
    /// The only one that there is.
    Only,
    /// The one with this name.
    Named(RefName),
    /// The one with this digest.
    Digest(Digest),
}

impl Root {
    /// Whether an entry of a layout's index names it. Every entry names the only root.
    pub fn is_named_by(&self, entry: &Entry) -> bool {
        match self {
            Self::Only => true,
            Self::Named(name) => entry.ref_name() == Some(name.as_str()),
            Self::Digest(digest) => entry.descriptor().digest == *digest,
        }
    }
}

impl Index {
    /// The entry of a root: the first one of those that name it.
    ///
    /// Several entries with one name are one root where their digests are equal.
    ///
    /// # Errors
    /// There is no such root, or there are several.
    pub fn find(&self, root: &Root) -> Result<&Entry, NoRoot> {
        let mut meant = self.entries().iter().filter(|entry| root.is_named_by(entry));
        let Some(first) = meant.next() else {
            return Err(match root {
                Root::Only => NoRoot::Empty,
                Root::Named(_) | Root::Digest(_) => NoRoot::Unknown(self.shown()),
            });
        };
        if meant.all(|other| other.descriptor().digest == first.descriptor().digest) {
            return Ok(first);
        }
        Err(match root {
            Root::Named(name) => NoRoot::Ambiguous {
                name: name.clone(),
                digests: distinct(
                    self.entries()
                        .iter()
                        .filter(|entry| root.is_named_by(entry))
                        .map(|entry| entry.descriptor().digest.clone()),
                ),
            },
            Root::Only | Root::Digest(_) => NoRoot::Several(self.shown()),
        })
    }

    /// The names of the entries, else their digests, fit to be shown; the first few.
    fn shown(&self) -> Vec<String> {
        distinct(self.entries().iter().map(|entry| match entry.ref_name() {
            Some(name) => excerpt(name),
            None => entry.descriptor().digest.to_string(),
        }))
    }
}

/// How many roots an error lists.
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

/// Why a layout has no root that is meant. Lists have the first few; what they show is bounded and escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoRoot {
    /// It has none at all.
    #[error("the layout is empty: its index.json names nothing")]
    Empty,
    /// It has several, and none was named.
    #[error("the layout has several roots, and one has to be named: {}", Listed(.0))]
    Several(Vec<String>),
    /// It has none of this name or digest.
    #[error("the layout has no such root; it has: {}", Listed(.0))]
    Unknown(Vec<String>),
    /// It gives one name to several roots.
    #[error("the layout gives the name `{name}` to several roots, of which one can be named by its digest: {}", Listed(.digests))]
    Ambiguous {
        /// The name.
        name: RefName,
        /// The roots.
        digests: Vec<Digest>,
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
