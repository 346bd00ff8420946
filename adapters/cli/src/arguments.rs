//! The secrets of the command line: passwords and queries in pasted URLs, which no message shows.

use std::env;
use std::sync::LazyLock;

use oci_proto::record::Secrets;
use oci_proto::{Credentials, without_user_info};

/// Each argument that may hold a secret, and what is shown in its place.
static REPLACED: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    env::args_os().skip(1).filter_map(|argument| replaced(&argument.to_string_lossy())).collect()
});

/// The words of these arguments that are not shown, to find them in excerpts.
static SECRETS: LazyLock<Secrets> = LazyLock::new(|| secrets(&REPLACED));

/// Returns a text without the secrets of the command line.
pub(crate) fn without_secrets(text: &str) -> String {
    let text = REPLACED.iter().fold(text.to_owned(), |text, (argument, shown)| text.replace(argument, shown));
    SECRETS.text(&text)
}

/// Returns an argument without the name of its option, and its replacement, if it may hold a secret.
fn replaced(argument: &str) -> Option<(String, String)> {
    let value = match argument.split_once('=') {
        Some((name, value)) if name.starts_with("--") && !name.contains(['?', '@']) => value,
        _ => argument,
    };
    let shown = without_user_info(value);
    (shown != value).then(|| (value.to_owned(), shown))
}

fn secrets(replaced: &[(String, String)]) -> Secrets {
    let mut secrets = Secrets::new();
    for (argument, shown) in replaced {
        let words =
            |text: &str| text.split(|c: char| "/:@?&;=#".contains(c)).map(str::to_owned).collect::<Vec<_>>();
        let public = words(shown);
        for word in words(argument).into_iter().filter(|word| !public.contains(word)) {
            let _ = secrets.credentials(&Credentials::Bearer(word.into()));
        }
    }
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_queries_of_arguments_are_recognized() {
        for (argument, shown) in [
            ("https://me:pw@h/x?token=abc", Some("https://***@h/x?***")),
            ("--ca-file=https://h/?token=abc", Some("https://h/?***")),
            ("me:pw@h", Some("***@h")),
            ("me:pw@h:443", Some("***@h:443")),
            ("alpine:3@sha256:0123", None),
            ("--platform=linux/amd64", None),
            ("--", None),
        ] {
            assert_eq!(replaced(argument).map(|(_, shown)| shown).as_deref(), shown, "{argument}");
        }
    }

    #[test]
    fn a_secret_is_found_in_an_excerpt() {
        let secrets = secrets(&[("https://me:s3cret@h/x?token=t0ken".into(), "https://***@h/x?***".into())]);
        assert_eq!(secrets.text("`x s3cr...`, t0ken"), "`x SECRET-2...`, SECRET-4");
    }
}
