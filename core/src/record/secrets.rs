//! Replaces secrets with names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;

use crate::wire::percent;
use crate::wire::redact::MARK;

/// Replaces the secrets of a conversation with names: `SECRET-1`, `SECRET-2` and so on, in order of
/// appearance. A secret always has the same name.
///
/// Use one value per conversation, and pass it the inputs and outputs in order. Secrets are passwords,
/// refresh and access tokens, and the values of a URL's query, except for `scope` and `service`. Names are
/// not replaced, so the text of a replay equals the text of the recording.
///
/// Texts from a server or a driver, such as an error message, may repeat a secret. There a secret is
/// replaced once it is known, also in its percent-encoded form and in Basic credentials. A secret of fewer
/// than four bytes may occur in words by chance, and is not replaced in such texts.
#[derive(Clone, Default)]
pub struct Secrets {
    /// The name of each secret.
    names: BTreeMap<String, String>,
    /// The name of each secret, by every form in which texts may contain it.
    forms: BTreeMap<String, String>,
    /// The lengths of those forms, in bytes.
    lengths: BTreeSet<usize>,
    /// The highest number in a name.
    last: u64,
}

impl Secrets {
    const PREFIX: &str = "SECRET-";

    /// The length in bytes of the shortest form that is replaced in texts, as in a session's redaction.
    const MIN_LEN: usize = 4;

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
        if let Some(decoded) = percent::decode(secret) {
            self.add_form(&decoded, &name);
        }
        let mut encoded = String::new();
        percent::push_pair(&mut encoded, "", secret);
        self.add_form(encoded.trim_start_matches('='), &name);
        name
    }

    /// Adds a form in which texts may contain a secret.
    pub(super) fn add_form(&mut self, form: &str, name: &str) {
        let is_mark = form == MARK || form.starts_with(Self::PREFIX);
        if form.len() >= Self::MIN_LEN && !name.is_empty() && !is_mark {
            self.lengths.insert(form.len());
            self.forms.entry(form.to_owned()).or_insert_with(|| name.to_owned());
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

    fn replace(&self, text: &str, kept: Option<&str>) -> String {
        let mut replaced = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some(kept) = kept
                && let Some(after) = rest.strip_prefix(kept)
            {
                replaced.push_str(kept);
                rest = after;
                continue;
            }
            let found = self.lengths.iter().rev().find_map(|length| {
                let form = rest.get(..*length)?;
                self.forms.get(form).map(|name| (*length, name))
            });
            let found = found.or_else(|| self.truncated(rest).map(|name| (rest.len(), name)));
            let Some((length, name)) = found else {
                replaced.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            };
            replaced.push_str(name);
            rest = &rest[length..];
        }
        replaced
    }

    /// Returns the name of a secret that starts with this text.
    fn truncated(&self, text: &str) -> Option<&String> {
        if text.len() < Self::MIN_LEN {
            return None;
        }
        let (form, name) = self.forms.range::<str, _>((Bound::Included(text), Bound::Unbounded)).next()?;
        form.starts_with(text).then_some(name)
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
