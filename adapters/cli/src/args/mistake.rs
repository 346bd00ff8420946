//! Mistakes in arguments, with the command line to type instead.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;

/// A mistake in an argument, and its correction if there is one.
#[derive(Debug)]
pub(crate) struct Mistake {
    error: String,
    hint: Option<String>,
    /// Arguments, each with its replacement, or without one if it is to be omitted.
    corrections: Vec<(OsString, Option<OsString>)>,
}

impl Mistake {
    pub(crate) fn new(error: impl Into<String>) -> Self {
        Self { error: error.into(), hint: None, corrections: Vec::new() }
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Suggests an argument in place of another one.
    pub(crate) fn instead(mut self, argument: impl Into<OsString>, suggested: impl Into<OsString>) -> Self {
        self.corrections.push((argument.into(), Some(suggested.into())));
        self
    }

    /// Suggests to omit an argument.
    pub(crate) fn without(mut self, argument: impl Into<OsString>) -> Self {
        self.corrections.push((argument.into(), None));
        self
    }

    /// Explains this mistake, and corrects another one too.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.corrections.extend(other.corrections);
        self
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The command line to type instead.
    pub(crate) fn line(&self) -> Option<String> {
        if self.corrections.is_empty() {
            return None;
        }
        corrected(&env::args_os().skip(1).collect::<Vec<_>>(), &self.corrections)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

impl Error for Mistake {}

/// The command line with these corrections, quoted for a shell.
fn corrected(arguments: &[OsString], corrections: &[(OsString, Option<OsString>)]) -> Option<String> {
    let mut words: Vec<_> = arguments.iter().map(Some).collect();
    for (argument, suggested) in corrections {
        // An earlier one may be the value of an option.
        let at = arguments.iter().rposition(|word| word == argument)?;
        *words.get_mut(at)? = suggested.as_ref();
    }
    let words: Vec<_> = words.into_iter().flatten().map(|word| word.to_string_lossy()).collect();
    let line = shlex::try_join(words.iter().map(AsRef::as_ref)).ok()?;
    Some(format!("ocip {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_corrected_where_it_is_wrong() {
        let line = |words: &[&str], corrections: &[(&str, Option<&str>)]| {
            let words: Vec<_> = words.iter().map(OsString::from).collect();
            let owned = |(from, to): &(&str, Option<&str>)| (from.into(), to.map(OsString::from));
            corrected(&words, &corrections.iter().map(owned).collect::<Vec<_>>())
        };
        for (words, corrections, expected) in [
            (&["tree", "m1"][..], &[("m1", Some("oci:m1"))][..], Some("ocip tree oci:m1")),
            (&["blob", "-o", "m", "m"], &[("m", Some("oci:m"))], Some("ocip blob -o m oci:m")),
            (&["pull", "a", "b:1"], &[("a", Some("b:1")), ("b:1", Some("a"))], Some("ocip pull b:1 a")),
            (&["tree", "-r", "a b"], &[("-r", None)], Some("ocip tree 'a b'")),
            (&["tree", "-vr", "a"], &[("-r", None)], None),
        ] {
            assert_eq!(line(words, corrections).as_deref(), expected, "{words:?}");
        }
    }
}
