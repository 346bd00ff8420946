//! What runs in a process of its own: one task of one client, or a server.
//!
//! The arguments are [`WORD`], what to do, and what that takes. A client says on stdout what it took.

mod blobs;
mod clients;
mod manifests;
mod pull;
mod walk;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use oci_proto_tokio::layout::Layout;
use rustix::time::{ClockId, clock_gettime};

use crate::{Fallible, content, core_alone, serve};

/// Says that this is such a process.
pub(crate) const WORD: &str = "--child";

/// Where a client finds what, and what it has to find there.
pub(crate) struct Place {
    /// The registry, as a host and a port.
    pub(crate) registry: String,
    /// All that the registry holds.
    pub(crate) content: Layout,
}

pub(crate) fn main(words: &[String]) -> Fallible<()> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["fill", folder] => return content::fill(folder.as_ref(), None),
        ["fill", folder, registry] => return content::fill(folder.as_ref(), Some(registry)),
        ["serve", folder, delay] => {
            return serve::serve(folder.as_ref(), Duration::from_millis(delay.parse()?));
        }
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
        ("pull", [tag, out]) => pull::run(client, &place, tag, Path::new(out))?,
        _ => return Err(format!("no such task: {words:?}").into()),
    }
    say_peak()
}

/// Measures the part of a task that counts.
pub(crate) struct Meter {
    start: Instant,
    spent: Duration,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), spent: spent() }
    }

    /// Says what it took since the start.
    #[expect(clippy::print_stdout, reason = "the parent reads it")]
    pub(crate) fn stop(self) {
        let (wall, cpu) = (self.start.elapsed(), spent().saturating_sub(self.spent));
        println!("took {} {}", wall.as_nanos(), cpu.as_nanos());
    }
}

/// The processor's time that this process has spent, on all its threads.
pub(crate) fn spent() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

/// Says how much memory this process had at most: the system's figure for a child that has ended counts what its
/// parent had before.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn say_peak() -> Fallible<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
    let kib: u64 = peak.ok_or("the system does not say how much memory there was")?.trim().parse()?;
    println!("peak {}", kib << 10);
    Ok(())
}
