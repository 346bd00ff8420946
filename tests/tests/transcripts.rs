//! Replays every transcript, with bodies whole, in chunks, and byte by byte.

use std::path::PathBuf;

use oci_proto_tests::transcript::Transcript;

#[test]
fn session_follows_every_transcript() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/transcripts");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut failures = Vec::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).unwrap();
        if let Err(problem) = replay(&text) {
            failures.push(format!("{}: {problem}", path.file_name().unwrap().to_string_lossy()));
        }
    }
    let count = paths.len();
    assert!(failures.is_empty(), "{} of {count} transcripts:\n{}", failures.len(), failures.join("\n"));
    assert!(count > 0, "no transcripts found");
}

fn replay(text: &str) -> Result<(), String> {
    if !text.starts_with("# ") {
        return Err("the first line must say what the transcript shows".to_owned());
    }
    let transcript = Transcript::parse(text)?;
    for (chunk, how) in [(usize::MAX, "whole"), (7, "in chunks of 7 bytes"), (1, "byte by byte")] {
        transcript.replay(chunk).map_err(|problem| format!("bodies {how}: {problem}"))?;
    }
    Ok(())
}
