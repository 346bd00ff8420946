//! `ocip manifest`.

use std::io::{self, IsTerminal as _, Write};

use crate::args::ManifestArgs;
use crate::content_source::ContentSource;
use crate::output::Failure;

pub(crate) fn run(
    command: &ManifestArgs,
    source: &ContentSource<'_>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let manifest = source.manifest(command.asked.platform.as_ref())?;
    let bytes = manifest.bytes();
    if io::stdout().is_terminal() && !is_plain_text(bytes) {
        return Err(Failure::failed("refusing to write a manifest with control characters to a terminal")
            .with_hint("redirect it to a file or a pipe: ocip manifest REF > FILE"));
    }
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// Whether the bytes are text without control characters other than white space.
fn is_plain_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes)
        .is_ok_and(|text| text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_with_control_characters_is_not_plain() {
        assert!(is_plain_text("{\r\n\t\"name\": \"caf\u{e9}\"\n}".as_bytes()));
        for bytes in [&b"\x1b[2J"[..], b"\x07", b"\x7f", "\u{9b}2J".as_bytes(), b"\xff"] {
            assert!(!is_plain_text(bytes), "{bytes:?}");
        }
    }
}
