//! Replays every transcript, with bodies whole, in pieces, and byte by byte.

use oci_proto_tests::transcript::Transcript;

#[test]
fn every_transcript_is_what_the_session_does() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/transcripts");
    let mut failures = Vec::new();
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        for chunk in [usize::MAX, 7, 1] {
            let outcome = Transcript::parse(&text).and_then(|transcript| transcript.replay(chunk));
            if let Err(problem) = outcome {
                failures.push(format!("{name}, chunks of {chunk}: {problem}"));
                break;
            }
        }
        replayed += 1;
    }
    assert!(failures.is_empty(), "{} of {replayed} transcripts:\n{}", failures.len(), failures.join("\n"));
    assert!(replayed > 0, "no transcript was found");
}
