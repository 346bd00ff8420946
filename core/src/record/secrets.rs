//! Replaces secrets with names.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use crate::header::url::MARK;
use crate::wire::redact::{self, Forms};

/// Replaces the secrets of a conversation with names: `SECRET-1`, `SECRET-2` and so on, in order of
/// appearance. A secret always has the same name.
///
/// Use one value per conversation, and pass it the inputs and outputs in order. Secrets are passwords,
/// refresh and access tokens, and the values in the query of a URL that a server supplied, except for the
/// `scope` and `service` of a token request and the digest of an upload. Names are not replaced, so the text of a
/// replay equals the text of the recording.
///
/// Texts from a server or a driver, such as an error message, may repeat a secret. There a secret is
/// replaced once it is known, also escaped for URLs, JSON or HTML, in Base64, in Basic credentials, in another
/// case or cut off. A secret of fewer than four bytes may occur in words by chance, and one that begins with `SECRET-`
/// in names: these are not replaced in such texts. The same holds for the path of a URL that a server supplies, which is
/// shown with the secrets that are known when it arrives, and later always in the same way.
#[derive(Clone, Default)]
pub struct Secrets {
    /// The name of each secret.
    names: BTreeMap<String, String>,
    /// The name of each secret, by every form in which texts may contain it.
    forms: BTreeMap<String, String>,
    /// The same forms, to search for.
    searched: Forms,
    /// How the path of each URL that a server supplied is shown. That is decided when it arrives, since the session of a
    /// replay receives it so: a secret that is learnt later does not change it.
    pub(super) paths: BTreeMap<String, String>,
    /// The highest number in a name.
    last: u64,
}

impl Secrets {
    const PREFIX: &str = "SECRET-";

    /// Creates a value that knows no secrets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the name of a secret, or an empty name for an empty secret.
    pub(super) fn name(&mut self, secret: &str) -> String {
        if secret.is_empty() {
            return String::new();
        }
        if let Some(number) = secret.strip_prefix(Self::PREFIX)
            && let Ok(number) = number.parse::<u64>()
        {
            self.last = self.last.max(number);
            return secret.to_owned();
        }
        if let Some(name) = self.names.get(secret) {
            return name.clone();
        }
        self.last = self.last.saturating_add(1);
        let name = format!("{}{}", Self::PREFIX, self.last);
        self.names.insert(secret.to_owned(), name.clone());
        self.add_form(secret, &name);
        name
    }

    /// Adds a secret, in each form in which texts may contain it.
    pub(super) fn add_form(&mut self, secret: &str, name: &str) {
        let mut forms = Vec::new();
        redact::push_forms(&mut forms, secret);
        let mark = MARK.to_ascii_lowercase();
        let prefix = Self::PREFIX.to_ascii_lowercase();
        forms.retain(|form| *form != mark && !form.starts_with(&prefix) && !name.is_empty());
        for form in forms {
            if let Entry::Vacant(entry) = self.forms.entry(form) {
                self.searched.add(entry.key().clone());
                entry.insert(name.to_owned());
            }
        }
    }

    /// Returns a text from a server or a driver, with names in place of the known secrets. A truncated
    /// secret at the end of the text is replaced too.
    pub fn text(&self, text: &str) -> String {
        self.replace(text, None)
    }

    /// Like [`text`](Self::text), for a text that a session reports: keeps the session's redaction mark.
    pub(super) fn reported(&self, text: &str) -> String {
        self.replace(text, Some(MARK))
    }

    /// Returns a text with the known secrets masked. Its length is kept.
    pub(super) fn masked(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        for (place, _) in self.searched.places(&text.to_ascii_lowercase()) {
            let mask = "x".repeat(place.len());
            masked.replace_range(place, &mask);
        }
        masked
    }

    fn replace(&self, text: &str, kept: Option<&str>) -> String {
        let lower = text.to_ascii_lowercase();
        let marks = kept
            .into_iter()
            .flat_map(|kept| text.match_indices(kept).map(move |(at, _)| (at..at + kept.len(), kept)));
        let found = self.searched.places(&lower).into_iter();
        let found = found.filter_map(|(place, form)| Some((place, self.forms.get(form)?.as_str())));
        redact::replace(text, marks.chain(found).collect())
    }
}

impl fmt::Debug for Secrets {
    /// Shows only the number of secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.names.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_assigned_in_order_and_do_not_change() {
        let mut secrets = Secrets::new();
        assert_eq!(secrets.name("hunter2"), "SECRET-1");
        assert_eq!(secrets.name("x%2Fyz"), "SECRET-2");
        assert_eq!(secrets.name("hunter2"), "SECRET-1");
        assert_eq!(secrets.name(""), "");
        assert_eq!(secrets.name("SECRET-2"), "SECRET-2");
        assert_eq!(secrets.name("SECRET-7"), "SECRET-7");
        assert_eq!(secrets.name("SECRET-x"), "SECRET-8");
        assert_eq!(format!("{secrets:?}"), "Secrets(3)");
    }

    #[test]
    fn no_form_of_a_secret_is_left_in_a_text() {
        let mut secrets = Secrets::new();
        for secret in ["hunter2", "x%2Fyz", "a+b/c", "no", "hunter"] {
            let _ = secrets.name(secret);
        }
        secrets.add_form("dXNlcjpodW50ZXIy", "SECRET-1");
        for (text, shown) in [
            ("no hunter2", "no SECRET-1"),
            ("hunter22, hunter3", "SECRET-12, SECRET-53"),
            ("x/yz is x%2Fyz", "SECRET-2 is SECRET-2"),
            ("a%2Bb/c", "SECRET-3"),
            ("Basic dXNlcjpodW50ZXIy!", "Basic SECRET-1!"),
            ("it was hunt", "it was SECRET-5"),
            ("it was hun", "it was hun"),
            ("hunt it", "hunt it"),
            ("SECRET-1 \u{e9}", "SECRET-1 \u{e9}"),
        ] {
            assert_eq!(secrets.text(text), shown);
        }
    }
}
