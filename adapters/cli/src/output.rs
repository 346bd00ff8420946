//! What a command ends with: the status, and what is said where it failed.

use std::fmt;
use std::io;
use std::process::ExitCode;

use oci_proto::{Cause, Error, InvalidRequest, Reference};

use crate::hint::hint;
use crate::stderr::say;

/// Why a command ends before its work is done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The registry, the network or the content failed it.
    Failed(Message),
    /// It was asked for something that makes no sense.
    Usage(Message),
    /// Whoever read the results went away: not a mistake, and nobody to tell.
    Closed,
}

/// What went wrong, and what to do about it where that is known.
#[derive(Debug)]
pub(crate) struct Message {
    error: String,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn failed(error: impl fmt::Display) -> Self {
        Self::Failed(Message { error: error.to_string(), hint: None })
    }

    pub(crate) fn usage(error: impl fmt::Display) -> Self {
        Self::Usage(Message { error: error.to_string(), hint: None })
    }

    /// What an operation on `name` met.
    pub(crate) fn of(error: &Error, name: &Reference) -> Self {
        let text = match error.request() {
            Some(_) => error.to_string(),
            None => format!("{name}: {error}"),
        };
        let failure = match error.cause() {
            // A digest that a document names is nobody's usage.
            Cause::Request(InvalidRequest::UnknownAlgorithm(_)) if error.document().is_some() => {
                Self::failed(text)
            }
            Cause::Request(InvalidRequest::UnknownAlgorithm(_) | InvalidRequest::BlobWithoutDigest) => {
                Self::usage(text)
            }
            _ => Self::failed(text),
        };
        match hint(error) {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Failed(message) => Self::Failed(Message { hint: Some(hint.into()), ..message }),
            Self::Usage(message) => Self::Usage(Message { hint: Some(hint.into()), ..message }),
            Self::Closed => Self::Closed,
        }
    }

    /// Tells it on stderr, and gives the command's exit status.
    pub(crate) fn report(&self) -> ExitCode {
        let (status, message) = match self {
            Self::Failed(message) => (1, Some(message)),
            Self::Usage(message) => (2, Some(message)),
            // What a shell reports of a process that the pipe's signal ended: 128 + 13.
            Self::Closed => (141, None),
        };
        if let Some(Message { error, hint }) = message {
            say(format_args!("error: {error}"));
            if let Some(hint) = hint {
                say(format_args!("hint: {hint}"));
            }
        }
        ExitCode::from(status)
    }
}

/// Results could not be written.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::failed(format_args!("stdout cannot be written: {error}")),
        }
    }
}

/// So many of something, as people write it.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
