//! The outcome of a command: its exit status and error message.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use oci_proto::layout::{INDEX, MARKER, NoRoot};
use oci_proto::{Cause, Error, InvalidRequest, Kind, Reference};
use oci_proto_common::ImageConfigError;
use oci_proto_layout::{InvalidArchive, Layout, LayoutError, LayoutErrorKind};

use crate::args::layout_name::LayoutName;
use crate::args::mistake::Mistake;
use crate::concern::Concern;
use crate::hint::{OTHER_PLATFORM, hint, of_any, of_login};
use crate::stderr::{print_line, print_whole};

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A registry, network or content error.
    Failed(Message),
    /// A usage error.
    Usage(Message),
    /// The reader of stdout closed it. Nothing is printed, since the reader has what it wants.
    Closed,
}

/// An error message, and a hint or a command line to type instead, if there is one.
#[derive(Debug)]
pub(crate) struct Message {
    error: String,
    hint: Option<String>,
    instead: Option<String>,
    concern: Concern,
}

impl Message {
    fn new(error: impl fmt::Display) -> Self {
        Self { error: error.to_string(), hint: None, instead: None, concern: Concern::Everything }
    }
}

impl Failure {
    pub(crate) fn failed(error: impl fmt::Display) -> Self {
        Self::Failed(Message::new(error))
    }

    pub(crate) fn usage(error: impl fmt::Display) -> Self {
        Self::Usage(Message::new(error))
    }

    /// Converts the error of an operation on `name`.
    pub(crate) fn of(error: &Error, name: &Reference) -> Self {
        let text = match error.request() {
            Some(_) => error.to_string(),
            None => format!("{name}: {error}"),
        };
        let failure = match error.cause() {
            // A digest in a document is not the user's.
            Cause::Request(InvalidRequest::UnknownAlgorithm(_)) if error.document().is_some() => {
                Self::failed(text)
            }
            Cause::Request(
                InvalidRequest::UnknownAlgorithm(_)
                | InvalidRequest::BlobWithoutDigest
                | InvalidRequest::OtherDigest { .. },
            ) => Self::usage(text),
            _ => Self::failed(text),
        };
        let failure = failure.concerning(Concern::of(error));
        match hint(error, name) {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }

    /// Converts an error of checking a login.
    pub(crate) fn of_login(error: &Error) -> Self {
        let failure = Self::failed(error);
        match of_login(error).or_else(|| of_any(error)) {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }

    /// Converts an error of looking for the config of an image.
    pub(crate) fn of_config(error: &ImageConfigError) -> Self {
        let failure = Self::failed(error);
        match error {
            ImageConfigError::NotAnImage { media_type, .. } if media_type.kind() == Kind::Index => {
                failure.with_hint("select an image with --platform; `ocip tree REF` lists them")
            }
            _ => failure,
        }
    }

    /// Converts an error of a layout.
    pub(crate) fn of_layout(error: &LayoutError) -> Self {
        let failure = Self::failed(error).concerning(Concern::of_layout(error));
        let layout = if is_in_archive(error) { "oci-archive:FILE" } else { "oci:DIR" };
        match error.kind() {
            LayoutErrorKind::Root(NoRoot::Several(_) | NoRoot::Unknown(_)) => {
                failure.with_hint(format!("select one of these with {layout}:TAG or {layout}@DIGEST"))
            }
            LayoutErrorKind::Root(NoRoot::Ambiguous { .. }) => {
                failure.with_hint(format!("select one of these with {layout}:NAME or {layout}@DIGEST"))
            }
            LayoutErrorKind::TooLarge(_) if error.path().ends_with(INDEX) => {
                failure.with_hint("remove roots from it, or move some of them to another layout")
            }
            LayoutErrorKind::ManyDocuments { .. } => {
                failure.with_hint("omit --referrers, or move some roots to another layout")
            }
            LayoutErrorKind::Missing if error.path().ends_with(MARKER) => {
                let place = if is_in_archive(error) { "an archive" } else { "a directory" };
                failure.with_hint(format!("{place} without this file is not an image layout; check the path"))
            }
            LayoutErrorKind::Size { .. }
            | LayoutErrorKind::Content(_)
            | LayoutErrorKind::NotAFile(_)
            | LayoutErrorKind::NotADirectory(_) => failure
                .with_hint(format!("the layout is damaged; run `ocip check {layout}` to list all problems")),
            LayoutErrorKind::NotALayout(found) if found.contains("file") => {
                failure.with_hint("an OCI archive is named oci-archive:FILE")
            }
            LayoutErrorKind::Archive(InvalidArchive::NotTar) => {
                failure.with_hint("an OCI archive is an uncompressed tar file; a directory is named oci:DIR")
            }
            LayoutErrorKind::Archive(InvalidArchive::Header { .. } | InvalidArchive::TooMany(_)) => failure
                .with_hint("write the archive again, for example with `ocip copy REF oci-archive:FILE`"),
            LayoutErrorKind::Exists => failure
                .with_hint("nothing is added to an archive; a directory, oci:DIR, may have several roots"),
            LayoutErrorKind::Incomplete(_) => {
                failure.with_hint("run the command again; the archive was not written")
            }
            LayoutErrorKind::Walk(error)
                if matches!(error.cause(), Cause::Request(InvalidRequest::NoPlatform { .. })) =>
            {
                failure.with_hint(OTHER_PLATFORM)
            }
            LayoutErrorKind::Walk(error) => match error.hint() {
                Some(hint) => failure.with_hint(hint),
                None => failure,
            },
            _ => failure,
        }
    }

    /// Converts an error of writing a layout.
    pub(crate) fn of_writing(error: &LayoutError) -> Self {
        let concern = Concern::of_writing(error);
        let failure = Self::of_layout(error).concerning(concern);
        let path = error.path();
        match error.kind() {
            // A directory that does not exist is created.
            LayoutErrorKind::Missing
                if concern == Concern::Everything && !path.ends_with(MARKER) && !path.ends_with(INDEX) =>
            {
                Self::failed(format_args!("{}: the directory cannot be created", path.display()))
                    .with_hint("choose another path")
            }
            // Without it the directory is not a layout, or has no roots.
            LayoutErrorKind::NotAFile(_) if path.ends_with(MARKER) || path.ends_with(INDEX) => {
                failure.with_hint(format!("replace {} with a regular file", path.display()))
            }
            LayoutErrorKind::NotALayout(found) if found.contains("file") => failure.with_hint(
                "choose another directory, or write an archive with `ocip copy REF oci-archive:FILE`",
            ),
            // The next pull writes it again.
            LayoutErrorKind::NotAFile(_) | LayoutErrorKind::NotADirectory(_)
                if path.ancestors().skip(1).any(Layout::is_at) =>
            {
                failure.with_hint(format!("remove {}", path.display()))
            }
            LayoutErrorKind::NotAFile(_) | LayoutErrorKind::NotADirectory(_) => {
                failure.with_hint("choose another path")
            }
            _ => failure,
        }
    }

    /// Converts an error of creating an archive.
    pub(crate) fn of_archive(error: &LayoutError) -> Self {
        match error.kind() {
            LayoutErrorKind::Missing => {
                Self::of_layout(error).with_hint("create the directory first, or choose another path")
            }
            _ => Self::of_writing(error),
        }
    }

    /// Converts an error of opening this layout.
    pub(crate) fn of_opening(error: &LayoutError, name: &LayoutName) -> Self {
        let failure = Self::of_layout(error);
        let path = name.path();
        match error.kind() {
            LayoutErrorKind::Missing if error.path() == path => failure.with_hint(match name {
                LayoutName::Directory(_) => "check the path; `ocip pull REF DIR` creates an image layout",
                LayoutName::Archive(_) => {
                    "check the path; `ocip copy REF oci-archive:FILE` creates an archive"
                }
            }),
            LayoutErrorKind::NotAFile(_) if error.path() == path && path.is_dir() => {
                failure.with_hint("an image layout in a directory is named oci:DIR")
            }
            _ => failure,
        }
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Failed(message) => Self::Failed(Message { hint: Some(hint.into()), ..message }),
            Self::Usage(message) => Self::Usage(Message { hint: Some(hint.into()), ..message }),
            Self::Closed => Self::Closed,
        }
    }

    pub(crate) fn concerning(self, concern: Concern) -> Self {
        match self {
            Self::Failed(message) => Self::Failed(Message { concern, ..message }),
            Self::Usage(message) => Self::Usage(Message { concern, ..message }),
            Self::Closed => Self::Closed,
        }
    }

    /// What the failure of one of several copies concerns.
    pub(crate) fn concern(&self) -> Concern {
        match self {
            Self::Failed(message) | Self::Usage(message) => message.concern,
            Self::Closed => Concern::Everything,
        }
    }

    /// Says which of several tags could not be copied.
    pub(crate) fn of_tag(self, tag: &str) -> Self {
        let named = |message: Message| Message { error: format!("tag {tag}: {}", message.error), ..message };
        match self {
            Self::Failed(message) => Self::Failed(named(message)),
            Self::Usage(message) => Self::Usage(named(message)),
            Self::Closed => Self::Closed,
        }
    }

    /// Prints the error to stderr, and returns the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        let (status, message) = match self {
            Self::Failed(message) => (1, Some(message)),
            Self::Usage(message) => (2, Some(message)),
            Self::Closed => (1, None),
        };
        if let Some(Message { error, hint, instead, .. }) = message {
            print_line(format_args!("error: {error}"));
            if let Some(hint) = hint {
                print_line(format_args!("hint: {hint}"));
            }
            if let Some(line) = instead {
                print_whole(format_args!("hint: did you mean: {line}"));
            }
        }
        ExitCode::from(status)
    }
}

impl From<&Mistake> for Failure {
    fn from(mistake: &Mistake) -> Self {
        let hint = mistake.hint().map(str::to_owned);
        Self::Usage(Message { hint, instead: mistake.line(), ..Message::new(mistake) })
    }
}

/// An error of writing the results.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::failed(format_args!("could not write to stdout: {error}")),
        }
    }
}

/// Whether the error is of an archive, or of a file in one.
fn is_in_archive(error: &LayoutError) -> bool {
    let of_root = matches!(error.kind(), LayoutErrorKind::Root(_)) && !error.path().ends_with(INDEX);
    let inner = usize::from(!of_root);
    error.path().ancestors().skip(inner).any(Path::is_file)
}

/// A number with its noun, singular or plural.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
