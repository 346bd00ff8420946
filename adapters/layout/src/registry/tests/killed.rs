//! What is left if the process is killed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use oci_proto::server::Storage as _;

use super::script::{SCRIPT, Step, expected, look};
use crate::directory::trace::{Fault, Trace};
use crate::registry::tests::{Client, check_all, open, open_traced};

#[test]
fn at_every_moment_a_killed_registry_is_valid_and_has_what_it_acknowledged() {
    let moments = kill_everywhere(Trace::default, 1);
    assert!(moments > 150, "{moments} moments");
}

#[test]
fn a_killed_registry_is_valid_without_links_too() {
    kill_everywhere(Trace::without_links, 3);
}

/// Kills the registry after each so many calls. Returns how often.
fn kill_everywhere(new_trace: fn() -> Trace, every: usize) -> usize {
    let expected = expected();
    let mut last = ControlFlow::Continue(0);
    let mut moments = 0;
    while let ControlFlow::Continue(n) = last {
        let home = tempfile::tempdir().unwrap();
        let trace = new_trace();
        trace.inject(n, Some(Fault::Always));
        let mut uploads = BTreeMap::new();
        let mut done = 0;
        // Even the start may be interrupted.
        if let Ok(mut client) = open_traced(home.path(), &trace) {
            done = SCRIPT.iter().take_while(|step| step.send(&mut client)).count();
            uploads = client.uploads.clone();
            // It writes no more, so that nothing becomes worse.
            if done < SCRIPT.len() {
                let (_, mut storage) = client.registry.into_parts();
                let end = oci_proto::server::Effect::EndUpload("x".parse().unwrap());
                let applied = storage.apply(&[(&"team".parse().unwrap(), &[end])]);
                assert_eq!(applied.is_err(), storage.shared.broken.get().is_some());
            }
        }
        let is_killed = !trace.inject(0, None);
        last = if is_killed { ControlFlow::Continue(n + every) } else { ControlFlow::Break(()) };
        moments += 1;

        check_all(home.path());
        let mut client = Client { uploads, ..open(home.path()) };
        check_all(home.path());
        let seen = look(&mut client);
        let (before, after) = (&expected[done], expected.get(done + 1).unwrap_or(&expected[done]));
        let context = format!("after {n} calls, in {:?}", SCRIPT.get(done));
        assert!([&before.manifests, &after.manifests].contains(&&seen.manifests), "{context}: {seen:#?}");
        for blob in before.blobs.intersection(&after.blobs) {
            assert!(seen.blobs.contains(blob), "{context}: {blob}");
        }
        for upload in before.uploads.intersection(&after.uploads) {
            assert!(seen.uploads.contains(upload), "{context}: upload {upload}");
        }
        // The client continues, and begins the upload again that was interrupted.
        if let Some(name) = SCRIPT.get(done).and_then(|step| step.name())
            && let Some(location) = client.uploads.remove(name)
        {
            client.send("DELETE", &location, "");
        }
        for (n, step) in SCRIPT.iter().enumerate().skip(done) {
            match step {
                Step::Upload(name, _, chunk) if !client.uploads.contains_key(name) && !chunk.is_empty() => {}
                Step::Close(name, ..) if !client.uploads.contains_key(name) => step.push_again(&mut client),
                // The interrupted request may have been carried out.
                _ => assert!(step.send(&mut client) || n == done, "{context}: {step:?}"),
            }
        }
        let seen = look(&mut client);
        assert_eq!(seen.manifests, expected[SCRIPT.len()].manifests, "{context}");
        check_all(home.path());
        let client = client.restart();
        drop(client);
    }
    moments
}
