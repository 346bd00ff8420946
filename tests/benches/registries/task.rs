//! A task of a child process: its arguments, its input, and its cost.

use std::fs;
use std::time::{Duration, Instant};

use oci_proto_tokio::layout::Layout;
use rustix::time::{ClockId, clock_gettime};

use crate::fallible::Fallible;

/// Marks a child process with a task.
pub(crate) const WORD: &str = "--child";

/// The registry and the content that a client reads.
pub(crate) struct Place {
    /// The registry, as a host and a port.
    pub(crate) registry: String,
    /// All content of the registry.
    pub(crate) content: Layout,
}

/// Measures the relevant part of a task.
pub(crate) struct Meter {
    start: Instant,
    spent: Duration,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), spent: spent() }
    }

    /// Prints the cost since the start.
    #[expect(clippy::print_stdout, reason = "read by the parent")]
    pub(crate) fn stop(self) {
        let (wall, cpu) = (self.start.elapsed(), spent().saturating_sub(self.spent));
        println!("took {} {}", wall.as_nanos(), cpu.as_nanos());
    }
}

/// The processor time of this process, on all its threads.
pub(crate) fn spent() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

/// The peak memory of a process in bytes.
pub(crate) fn peak(process: &str) -> Fallible<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
    let kib: u64 = peak.ok_or("the system reports no peak memory")?.trim().parse()?;
    Ok(kib << 10)
}
