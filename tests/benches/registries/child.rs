//! Child processes: one task of one client, or a server.
//!
//! The arguments are [`WORD`](crate::task::WORD), the task, and its parameters. A client prints its figures
//! on stdout.

mod blobs;
mod clients;
mod manifests;
mod pull;
mod push;
mod walk;

use std::path::Path;
use std::time::Duration;

use oci_proto_tokio::layout::Layout;

use crate::fallible::Fallible;
use crate::task::{self, Place};
use crate::{content, core_alone, distant, serve, sink};

pub(crate) fn main(words: &[String]) -> Fallible<()> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["fill", folder] => return content::fill(folder.as_ref(), None),
        ["fill", folder, registry] => return content::fill(folder.as_ref(), Some(registry)),
        ["serve", folder, delay] => {
            return serve::serve(folder.as_ref(), Duration::from_millis(delay.parse()?));
        }
        ["distant", folder, offer, notes] => return distant::serve(folder.as_ref(), offer, notes.as_ref()),
        ["registry", folder] => return serve::registry(folder.as_ref()),
        ["sink", delay] => return sink::serve(Duration::from_millis(delay.parse()?)),
        ["core", what, length] => return core_alone::play(what, length == "twice"),
        _ => {}
    }
    let [task, client, registry, folder, ref more @ ..] = words[..] else {
        return Err(format!("no such task: {words:?}").into());
    };
    let place = Place { registry: registry.to_owned(), content: Layout::open(folder)? };
    match (task, more) {
        ("manifests", []) => manifests::run(client, &place)?,
        ("walk", []) => walk::run(client, &place)?,
        ("blobs", [tag]) => blobs::one_by_one(client, &place, tag)?,
        ("blobs-at-once", [tag]) => blobs::at_once(client, &place, tag)?,
        ("push", [tag]) => push::push(client, &place, tag, None)?,
        ("push", [tag, repository]) => push::push(client, &place, tag, Some(repository))?,
        ("copy", [tag, destination]) => push::copy(client, &place, tag, destination)?,
        ("pull", [tag, out]) => pull::run(client, &place, tag, Path::new(out))?,
        ("pull", [tag, out, notes]) => pull::trusting(client, &place, tag, Path::new(out), Path::new(notes))?,
        _ => return Err(format!("no such task: {words:?}").into()),
    }
    say_peak()
}

/// Prints the peak memory of this process. The system's figure for a child that has exited would include
/// memory of its parent.
#[expect(clippy::print_stdout, reason = "read by the parent")]
fn say_peak() -> Fallible<()> {
    println!("peak {}", task::peak("self")?);
    Ok(())
}
