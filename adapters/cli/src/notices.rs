//! Notices on stderr, subject to --quiet and --verbose.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use oci_proto::header::Warning;
use oci_proto::{Error, MirrorReport, Retry};
use oci_proto_common::Notice;

use crate::args::CommonArgs;
use crate::stderr::print_line;

impl CommonArgs {
    /// Prints a notice, unless --quiet is given.
    pub(crate) fn note(&self, text: fmt::Arguments<'_>) {
        if !self.quiet {
            print_line(text);
        }
    }

    /// Prints a notice if --verbose is given.
    pub(crate) fn detail(&self, text: fmt::Arguments<'_>) {
        if self.verbose {
            print_line(text);
        }
    }

    /// A hook that prints, for each retry, its number and delay, or its other form, and the failure.
    pub(crate) fn retries(&self) -> impl Fn(&Retry) + Send + Sync + 'static {
        let (verbose, max) = (self.verbose, self.retries);
        move |Retry { error, delay, failed, .. }: &Retry| {
            if verbose && *failed == 0 {
                print_line(format_args!("{}: {}", other_form(error), brief(error)));
            } else if verbose {
                print_line(format_args!("retry {failed} of {max} in {}: {}", seconds(*delay), brief(error)));
            }
        }
    }

    /// A hook that prints which mirrors supplied content, and why others did not. One that lacks content has not failed.
    pub(crate) fn mirrors(&self) -> impl Fn(&MirrorReport) + Send + Sync + 'static {
        let (quiet, verbose) = (self.quiet, self.verbose);
        move |MirrorReport { registry, repository, error, .. }: &MirrorReport| match error {
            None if verbose => print_line(format_args!("content from the mirror {registry}/{repository}")),
            Some(error) if verbose => print_line(format_args!("not from the mirror: {}", brief(error))),
            Some(error) if !quiet && !error.is_not_found() => {
                print_line(format_args!("warning: a mirror failed: {}", brief(error)));
            }
            None | Some(_) => {}
        }
    }

    /// A hook that prints the notices about the environment.
    pub(crate) fn notices(&self) -> impl Fn(&Notice) + Send + Sync + 'static {
        let quiet = self.quiet;
        move |notice: &Notice| {
            if !quiet {
                print_line(format_args!("warning: {notice}"));
            }
        }
    }

    /// A hook that prints each warning of the registries once.
    pub(crate) fn warnings(&self) -> impl Fn(&Warning) + Send + Sync + 'static {
        let (quiet, seen) = (self.quiet, Mutex::new(BTreeSet::new()));
        move |warning: &Warning| {
            let is_new = seen.lock().unwrap_or_else(PoisonError::into_inner).insert(warning.clone());
            if is_new && !quiet {
                print_line(format_args!("warning: {}", warning.text()));
            }
        }
    }
}

/// How a request is repeated that was not accepted as it was.
fn other_form(error: &Error) -> &'static str {
    let sends = error.request().is_some_and(|(method, _)| ["PUT", "PATCH"].contains(&method.as_str()));
    match error.status().map(|status| status.as_u16()) {
        _ if !sends => "fetch the whole blob",
        Some(401) => "log in and send again",
        Some(413) => "send smaller chunks",
        _ => "send chunks of another size",
    }
}

/// The failure with its digest shortened, since the line may be printed many times.
fn brief(error: &Error) -> String {
    /// The name of an algorithm, and enough of a digest to recognize it.
    const ENOUGH: usize = "sha256:".len() + 12;
    let Some((method, url)) = error.request() else { return error.to_string() };
    let url = url.split('?').next().unwrap_or_default();
    let name = url.rsplit('/').next().unwrap_or_default();
    let dots = if name.chars().count() > 2 * ENOUGH { "..." } else { "" };
    let kept = if dots.is_empty() { name } else { name.get(..ENOUGH).unwrap_or_default() };
    let base = url.strip_suffix(name).unwrap_or_default();
    format!("{method} {base}{kept}{dots}: {}", error.cause())
}

fn seconds(duration: Duration) -> String {
    let decimals = usize::from(duration < Duration::from_secs(10));
    format!("{:.decimals$} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_below_10_s_have_a_decimal() {
        for (millis, shown) in
            [(0, "0.0 s"), (149, "0.1 s"), (9_960, "10.0 s"), (10_400, "10 s"), (120_000, "120 s")]
        {
            assert_eq!(seconds(Duration::from_millis(millis)), shown);
        }
    }
}
