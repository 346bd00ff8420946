//! The texts of an error that a server or a driver supplied.

use crate::error::fault::Fault;
use crate::error::{Cause, Context, Error, InvalidRequest, Misbehaviour};

/// The origin of a text in an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextKind {
    /// A message of a server or a driver.
    Message,
    /// A text that quotes a part of a response, or a URL or a digest that a response contained.
    Excerpt,
}

impl Error {
    /// Rewrites the texts that a server or a driver supplied. `change` receives one text at a time.
    pub(crate) fn map_texts(mut self, mut change: impl FnMut(TextKind, &str) -> String) -> Self {
        match &mut self.0.context {
            Some(Context::Request { url, own, .. }) => {
                let (kept, supplied) = url.split_at_checked(*own).unwrap_or(("", url));
                // Apart from the rest, a query is no URL in a text: a token request shows what it asks for.
                let (path, query) = supplied.split_at(supplied.find('?').unwrap_or(supplied.len()));
                let mut excerpt = |text: &str| {
                    if text.is_empty() { String::new() } else { change(TextKind::Excerpt, text) }
                };
                *url = format!("{kept}{}{}", excerpt(path), excerpt(query));
            }
            Some(Context::Document(digest)) => {
                *digest = digest.map_text(&mut |text| change(TextKind::Excerpt, text));
            }
            None => {}
        }
        let mut excerpt = |text: &str| change(TextKind::Excerpt, text);
        match &mut self.0.cause {
            Cause::Request(request) => request.map_texts(&mut excerpt),
            Cause::Misbehaved(misbehaviour) => misbehaviour.map_texts(&mut excerpt),
            Cause::Answered(refusal) => {
                for error in &mut refusal.errors {
                    error.code = change(TextKind::Message, &error.code);
                    error.message = change(TextKind::Message, &error.message);
                }
            }
            Cause::Transport(fault) => {
                *fault = Fault::new(fault.kind(), change(TextKind::Message, fault.message()));
            }
            Cause::Limit(_) => {}
        }
        self
    }
}

impl InvalidRequest {
    fn map_texts(&mut self, change: &mut impl FnMut(&str) -> String) {
        match self {
            Self::UnknownAlgorithm(digest) | Self::RootType(digest) => *digest = digest.map_text(change),
            // The caller supplied the requested platform.
            Self::NoPlatform { offered, asked: _ } => {
                for platform in offered {
                    *platform = platform.map_texts(change);
                }
            }
            // The caller supplied one of them, and the other is that of content.
            Self::OtherDigest { .. } | Self::BlobWithoutDigest | Self::Route(_) => {}
        }
    }
}

impl Misbehaviour {
    fn map_texts(&mut self, change: &mut impl FnMut(&str) -> String) {
        match self {
            Self::WrongDigest { expected, computed } => {
                *expected = expected.map_text(change);
                *computed = computed.map_text(change);
            }
            Self::Contradiction { digest, .. } | Self::Missing(digest) | Self::MissingReferrer(digest) => {
                *digest = digest.map_text(change);
            }
            Self::Manifest(invalid) => invalid.map_texts(change),
            Self::Header { problem: text, .. }
            | Self::List { problem: text, .. }
            | Self::PrivateAddress { host: text, .. }
            | Self::ContentEncoding(text) => *text = change(text),
            Self::WrongSize { .. }
            | Self::TooLong { .. }
            | Self::TooShort { .. }
            | Self::Grammar(_)
            | Self::Url { .. }
            | Self::Token(_)
            | Self::Status(_)
            | Self::Early { .. }
            | Self::NotStored(_)
            | Self::StreamLost { .. }
            | Self::Unexpected => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_of_responses_are_rewritten() {
        for (misbehaviour, shown) in [
            (
                Misbehaviour::List { of: "tags", problem: "invalid type: string \"s3cret\"".into() },
                "the list of tags is unusable: invalid type: string \"X\"",
            ),
            (
                Misbehaviour::Header { name: "Link", problem: "it leads to https://s3cret/".into() },
                "the Link header is unusable: it leads to https://X/",
            ),
        ] {
            let rewritten = Error::new(misbehaviour).map_texts(|kind, text| {
                assert_eq!(kind, TextKind::Excerpt);
                text.replace("s3cret", "X")
            });
            assert_eq!(rewritten.to_string(), shown);
        }
    }
}
