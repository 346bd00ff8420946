//! `ocip config`.

use std::io::{self, BufWriter, Write};

use serde_json::{Deserializer, Serializer};
use serde_transcode::transcode;

use crate::args::ConfigArgs;
use crate::content_source::ContentSource;
use crate::output::Failure;

pub(crate) fn run(
    command: &ConfigArgs,
    source: &ContentSource<'_>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let config = source.config(command.asked.platform.as_ref())?;
    // Invalid JSON fails before anything is written.
    write_json(&config, true, io::sink()).map_err(|error| {
        Failure::failed(format_args!("the config is not JSON: {error}"))
            .with_hint("`ocip blob` writes its exact bytes; `ocip tree --blobs --full REF` prints its digest")
    })?;
    let mut out = BufWriter::new(out);
    write_json(&config, command.json, &mut out).map_err(io::Error::from)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

/// Writes JSON on one line or indented, and keeps the order of keys. Indented, it can be much larger, so neither form
/// is held in memory.
fn write_json(text: &[u8], on_one_line: bool, to: impl Write) -> Result<(), serde_json::Error> {
    let mut from = Deserializer::from_slice(text);
    if on_one_line {
        transcode(&mut from, &mut Serializer::new(to))?;
    } else {
        transcode(&mut from, &mut Serializer::pretty(to))?;
    }
    from.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &[u8], on_one_line: bool) -> Result<String, serde_json::Error> {
        let mut written = Vec::new();
        write_json(text, on_one_line, &mut written)?;
        Ok(String::from_utf8(written).unwrap())
    }

    #[test]
    fn keys_keep_their_order() {
        let text =
            br#" {"os": "linux", "config": {"Env": ["A=\u0000b"], "a": 1.5}, "n": 18446744073709551615}"#;
        let compact = r#"{"os":"linux","config":{"Env":["A=\u0000b"],"a":1.5},"n":18446744073709551615}"#;
        assert_eq!(json(text, true).unwrap(), compact);
        let pretty = json(text, false).unwrap();
        assert!(pretty.starts_with("{\n  \"os\": \"linux\",\n  \"config\": {\n"), "{pretty}");
        for invalid in [&b""[..], b"{", b"{} {}", b"not JSON"] {
            assert!(json(invalid, true).is_err());
        }
        let deep = "[".repeat(100_000);
        assert!(json(deep.as_bytes(), true).is_err());
    }
}
