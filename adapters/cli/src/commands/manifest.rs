//! `ocip manifest`.

use std::io::{self, IsTerminal as _, Write};

use crate::args::Manifest;
use crate::output::Failure;
use crate::source::Source;

pub(crate) fn run(command: &Manifest, source: &Source<'_>, out: &mut impl Write) -> Result<(), Failure> {
    let manifest = source.manifest(command.asked.platform.as_ref())?;
    let bytes = manifest.bytes();
    if io::stdout().is_terminal() && !is_plain_text(bytes) {
        return Err(Failure::failed("the manifest holds control characters, which a terminal may obey")
            .with_hint("send it to a file or another command: ocip manifest REF > FILE"));
    }
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// Whether a terminal shows the bytes as they are.
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
