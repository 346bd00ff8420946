//! The words and options of a line: flags, values, platforms, descriptors, options of operations.

use std::fmt::{Display, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::op::transfer::options::PushOptions;
use crate::record::lines::{Words, word};
use crate::types::descriptor::Descriptor;
use crate::types::platform::Platform;

/// A line that [`Words`] reads.
#[derive(Default)]
pub(super) struct Line(String);

impl Line {
    pub(super) fn new(first: &str) -> Self {
        Self(first.to_owned())
    }

    pub(super) fn on(&mut self, operation: &str, name: &impl Display) -> &mut Self {
        self.add(format_args!("{operation} {name}"))
    }

    pub(super) fn flag(&mut self, name: &str, is_set: bool) -> &mut Self {
        if is_set { self.add(name) } else { self }
    }

    pub(super) fn option(&mut self, name: &str, value: Option<&impl Display>) -> &mut Self {
        match value {
            Some(value) => self.add(format_args!("{name}={}", word(&value.to_string()))),
            None => self,
        }
    }

    pub(super) fn all(&mut self, name: &str, values: &[impl Display]) -> &mut Self {
        values.iter().fold(self, |line, value| line.option(name, Some(value)))
    }

    pub(super) fn platform(&mut self, platform: Option<&Platform>) -> &mut Self {
        self.option("platform", platform)
    }

    pub(super) fn descriptor(&mut self, descriptor: &Descriptor) -> &mut Self {
        let Descriptor { media_type, digest, size, platform, artifact_type, data } = descriptor;
        self.option("type", Some(media_type))
            .option("digest", Some(digest))
            .option("size", Some(size))
            .option("of-platform", platform.as_ref())
            .option("artifact-type", artifact_type.as_ref())
            .option("data", data.as_ref().map(|data| STANDARD.encode(data)).as_ref())
    }

    pub(super) fn push_options(&mut self, options: &PushOptions) -> &mut Self {
        let PushOptions { platform, foreign, tags, mount, verify, referrers } = options;
        self.platform(platform.as_ref())
            .flag("nondistributable", *foreign)
            .all("tag", tags)
            .option("mount", mount.as_ref())
            .flag("verify", *verify)
            .flag("referrers", *referrers)
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn add(&mut self, text: impl Display) -> &mut Self {
        let space = if self.0.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{space}{text}");
        self
    }
}

pub(super) fn platform(words: &mut Words<'_>) -> Result<Option<Platform>, String> {
    verbatim(words, "platform")
}

/// Reads a platform as it was written: [`FromStr`](std::str::FromStr) would normalize it.
fn verbatim(words: &mut Words<'_>, name: &str) -> Result<Option<Platform>, String> {
    let text = words.text(name)?;
    text.map(|text| Platform::verbatim(&text)).transpose().map_err(|error| error.to_string())
}

pub(super) fn descriptor(words: &mut Words<'_>) -> Result<Descriptor, String> {
    let mut descriptor =
        Descriptor::new(words.required("type")?, words.required("digest")?, words.required("size")?);
    descriptor.platform = verbatim(words, "of-platform")?;
    descriptor.artifact_type = words.option("artifact-type")?;
    let data = words.text("data")?.map(|text| STANDARD.decode(text)).transpose();
    descriptor.data = data.map_err(|error| format!("`data` is not Base64: {error}"))?.map(Into::into);
    Ok(descriptor)
}

pub(super) fn push_options(words: &mut Words<'_>) -> Result<PushOptions, String> {
    Ok(PushOptions {
        platform: platform(words)?,
        foreign: words.has("nondistributable"),
        tags: words.all("tag")?,
        mount: words.option("mount")?,
        verify: words.has("verify"),
        referrers: words.has("referrers"),
    })
}
