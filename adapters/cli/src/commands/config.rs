//! `ocip config`.

use std::io::Write;

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
    let text = json(&config, command.json).map_err(|error| {
        Failure::failed(format_args!("the config is not JSON: {error}"))
            .with_hint("`ocip blob` writes its exact bytes; `ocip tree --blobs --full REF` prints its digest")
    })?;
    out.write_all(&text)?;
    writeln!(out)?;
    Ok(())
}

/// Formats JSON anew, with its keys in their order.
fn json(text: &[u8], on_one_line: bool) -> Result<Vec<u8>, serde_json::Error> {
    let mut from = Deserializer::from_slice(text);
    let mut formatted = Vec::new();
    if on_one_line {
        transcode(&mut from, &mut Serializer::new(&mut formatted))?;
    } else {
        transcode(&mut from, &mut Serializer::pretty(&mut formatted))?;
    }
    from.end()?;
    Ok(formatted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_order() {
        let text =
            br#" {"os": "linux", "config": {"Env": ["A=\u0000b"], "a": 1.5}, "n": 18446744073709551615}"#;
        let compact = r#"{"os":"linux","config":{"Env":["A=\u0000b"],"a":1.5},"n":18446744073709551615}"#;
        assert_eq!(String::from_utf8(json(text, true).unwrap()).unwrap(), compact);
        let pretty = String::from_utf8(json(text, false).unwrap()).unwrap();
        assert!(pretty.starts_with("{\n  \"os\": \"linux\",\n  \"config\": {\n"), "{pretty}");
        for invalid in [&b""[..], b"{", b"{} {}", b"not JSON"] {
            assert!(json(invalid, false).is_err());
        }
        let deep = "[".repeat(100_000);
        assert!(json(deep.as_bytes(), false).is_err());
    }
}
