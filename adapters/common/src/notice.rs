//! Notices about a client's environment.

use std::fmt;

/// A problem in the environment of a client that does not prevent it from working.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Notice {
    /// `NO_PROXY` has invalid entries, which are ignored: hosts that may have to be reached directly.
    NoProxy {
        /// The name of the variable, in upper or lower case.
        variable: String,
        /// The entries, without passwords.
        entries: Vec<String>,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The number of entries that are shown.
        const MOST: usize = 10;
        let Self::NoProxy { variable, entries } = self;
        write!(f, "{variable} has entries that are ignored: ")?;
        for (number, entry) in entries.iter().take(MOST).enumerate() {
            write!(f, "{}{entry:?}", if number > 0 { ", " } else { "" })?;
        }
        if entries.len() > MOST {
            write!(f, " and {} more", entries.len() - MOST)?;
        }
        f.write_str("; an entry is *, a host name, a domain, an address, or a network such as 192.0.2.0/24")
    }
}
