//! Runs clients in turn, in rounds, so that a slow phase of the machine affects all of them.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wait4::Wait4 as _;

use crate::fallible::Fallible;

/// The cost of one run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Run {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    /// The peak memory in bytes.
    pub(crate) peak: u64,
}

/// A measured client.
pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) command: Box<dyn Fn() -> Fallible<Command>>,
    /// The output directory of a run, which is deleted before the next.
    pub(crate) leaves: Option<PathBuf>,
}

/// The runs of several clients.
pub(crate) struct Rounds {
    names: Vec<&'static str>,
    /// One run of each client.
    rounds: Vec<Vec<Run>>,
}

/// One run of each client, by name.
#[derive(Clone, Copy)]
pub(crate) struct Round<'a> {
    names: &'a [&'static str],
    runs: &'a [Run],
}

impl Rounds {
    /// Runs each client once per round.
    pub(crate) fn of(clients: &[Client], rounds: usize) -> Fallible<Self> {
        let names = clients.iter().map(|client| client.name).collect();
        let rounds =
            (0..rounds).map(|_| clients.iter().map(Client::run).collect()).collect::<Fallible<_>>()?;
        Ok(Self { names, rounds })
    }

    pub(crate) fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// The number of rounds.
    pub(crate) fn count(&self) -> usize {
        self.rounds.len()
    }

    /// The median of a figure over the rounds.
    pub(crate) fn median(&self, figure: impl Fn(Round<'_>) -> f64) -> f64 {
        let round = |runs| Round { names: &self.names, runs };
        let mut figures: Vec<f64> = self.rounds.iter().map(|runs| figure(round(runs))).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    }
}

impl Round<'_> {
    /// The cost of a client. A client that does not take part costs nothing.
    pub(crate) fn run(&self, name: &str) -> Run {
        let place = self.names.iter().position(|known| *known == name);
        place.map(|place| self.runs[place]).unwrap_or_default()
    }

    pub(crate) fn wall(&self, name: &str) -> f64 {
        self.run(name).wall.as_secs_f64()
    }

    pub(crate) fn cpu(&self, name: &str) -> f64 {
        self.run(name).cpu.as_secs_f64()
    }
}

impl Client {
    fn run(&self) -> Fallible<Run> {
        let mut command = (self.command)()?;
        let start = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut said = String::new();
        if let Some(stdout) = &mut child.stdout {
            stdout.read_to_string(&mut said)?;
        }
        let ended = child.wait4()?;
        let wall = start.elapsed();
        if let Some(folder) = &self.leaves {
            fs::remove_dir_all(folder)?;
        }
        if !ended.status.success() {
            return Err(format!("{}: {}", self.name, ended.status).into());
        }
        let usage = ended.rusage;
        let mut run = Run { wall, cpu: usage.utime + usage.stime, peak: usage.maxrss };
        // Figures reported by the client itself are more precise: they exclude its start, and memory of its
        // parent.
        for line in said.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["took", wall, cpu] => {
                    run.wall = Duration::from_nanos(wall.parse()?);
                    run.cpu = Duration::from_nanos(cpu.parse()?);
                }
                ["peak", bytes] => run.peak = bytes.parse()?,
                _ => {}
            }
        }
        Ok(run)
    }
}
