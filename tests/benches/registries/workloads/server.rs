//! The registry that takes pushes, compared with docker-registry.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use oci_proto_tests::interop::Program;
use tempfile::TempDir;

use crate::content::{LARGE, REPOSITORY, SMALL, TEN_GIB, TEN_MIB};
use crate::counterpart::{EmptyRegistry, this_program};
use crate::fallible::Fallible;
use crate::report::{Report, mebibytes};
use crate::run::{Client, Rounds};
use crate::workloads::{Bench, DOCKER_ROUNDS, copy, copy_to};

const PUSH_OURS: &str = "push, our server";
const PULL_OURS: &str = "pull, our server";
const PUSH_DOCKER: &str = "push, docker-registry";
const PULL_DOCKER: &str = "pull, docker-registry";

/// A registry that is new for each push, and serves the pull after it.
#[derive(Clone)]
struct Turns {
    start: fn() -> Fallible<EmptyRegistry>,
    current: Rc<RefCell<Option<EmptyRegistry>>>,
    /// The peak memory of those that have ended, in bytes.
    peaks: Rc<RefCell<Vec<u64>>>,
}

impl Turns {
    fn new(start: fn() -> Fallible<EmptyRegistry>) -> Self {
        Self { start, current: Rc::default(), peaks: Rc::default() }
    }

    /// Starts a new registry, and returns its address.
    fn begin(&self) -> Fallible<String> {
        self.end()?;
        let registry = (self.start)()?;
        let address = registry.address();
        self.current.replace(Some(registry));
        Ok(address)
    }

    fn end(&self) -> Fallible<()> {
        if let Some(registry) = self.current.take() {
            self.peaks.borrow_mut().push(registry.peak()?);
        }
        Ok(())
    }

    fn address(&self) -> Fallible<String> {
        Ok(self.current.borrow().as_ref().ok_or("nothing was pushed")?.address())
    }

    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    fn median_peak(&self) -> Fallible<f64> {
        self.end()?;
        let mut peaks = self.peaks.borrow_mut();
        peaks.sort_unstable();
        Ok(*peaks.get(peaks.len() / 2).ok_or("nothing was pushed")? as f64)
    }
}

impl Bench<'_> {
    pub(super) fn server(&self) -> Fallible<()> {
        if self.counterparts.docker.is_none() {
            return Ok(());
        }
        let home = TempDir::with_prefix("registries-out-")?;
        let skopeo = Program::find("skopeo", "skopeo");
        for (tag, what) in [(SMALL, "60 layers of 100 KiB"), (LARGE, "3 layers of 300 MiB")] {
            let (ours, docker) = (Turns::new(EmptyRegistry::ours), Turns::new(EmptyRegistry::docker));
            let clients = [(PUSH_OURS, PULL_OURS, &ours), (PUSH_DOCKER, PULL_DOCKER, &docker)]
                .map(|(push, pull, turns)| self.our_client((push, pull), turns, tag, home.path()));
            self.compare(&format!("An image of {what}, our client"), &clients, &ours, &docker)?;

            let Some(skopeo) = &skopeo else { continue };
            let (ours, docker) = (Turns::new(EmptyRegistry::ours), Turns::new(EmptyRegistry::docker));
            let clients = [(PUSH_OURS, PULL_OURS, &ours), (PUSH_DOCKER, PULL_DOCKER, &docker)]
                .map(|(push, pull, turns)| self.skopeo((push, pull), skopeo, turns, tag, home.path()));
            self.compare(&format!("An image of {what}, skopeo"), &clients, &ours, &docker)?;
        }
        Ok(())
    }

    fn compare(&self, title: &str, clients: &[[Client; 2]; 2], ours: &Turns, docker: &Turns) -> Fallible<()> {
        let done = Rounds::of(clients.as_flattened(), DOCKER_ROUNDS)?;
        Report::rounds(title, &done);
        for (what, ours, docker) in [("push", PUSH_OURS, PUSH_DOCKER), ("pull", PULL_OURS, PULL_DOCKER)] {
            let what = format!("wall of a {what}, our server : docker-registry");
            self.report.ratio(&what, &done, 0.8, |round| round.wall(ours) / round.wall(docker));
        }
        let (ours, docker) = (ours.median_peak()?, docker.median_peak()?);
        let what = format!("memory of our server : {} of docker's", mebibytes(docker));
        let third = docker / 3.0;
        let target = format!("at most {}", mebibytes(third));
        self.report.figure(&what, mebibytes(ours), target, Some(ours <= third));
        Ok(())
    }

    fn our_client(
        &self,
        (push, pull): (&'static str, &'static str),
        turns: &Turns,
        tag: &'static str,
        home: &Path,
    ) -> [Client; 2] {
        let out = home.join("layout");
        let (begun, content) = (turns.clone(), self.counterparts.content.path().to_owned());
        let pushing = move || {
            let mut command = this_program()?;
            command.args(["push", "tokio"]).arg(begun.begin()?).arg(&content).args([tag, REPOSITORY]);
            Ok(command)
        };
        let (turns, content, to) = (turns.clone(), self.counterparts.content.path().to_owned(), out.clone());
        let pulling = move || {
            let mut command = this_program()?;
            command.args(["pull", "tokio"]).arg(turns.address()?).arg(&content).arg(tag).arg(&to);
            Ok(command)
        };
        [
            Client { name: push, command: Box::new(pushing), leaves: None },
            Client { name: pull, command: Box::new(pulling), leaves: Some(out) },
        ]
    }

    fn skopeo(
        &self,
        (push, pull): (&'static str, &'static str),
        skopeo: &Program,
        turns: &Turns,
        tag: &'static str,
        home: &Path,
    ) -> [Client; 2] {
        let out = home.join("layout");
        let from = format!("oci:{}:{tag}", self.counterparts.content.path().display());
        let (program, begun, place) = (skopeo.clone(), turns.clone(), home.to_owned());
        let pushing = move || {
            let to = format!("docker://{}/{REPOSITORY}:{tag}", begun.begin()?);
            Ok(copy_to(&program, &place, &from, &to))
        };
        let (program, turns, place, to) =
            (skopeo.clone(), turns.clone(), home.to_owned(), format!("oci:{}", out.display()));
        let pulling = move || {
            let from = format!("docker://{}/{REPOSITORY}:{tag}", turns.address()?);
            Ok(copy(&program, &place, &from, &to))
        };
        [
            Client { name: push, command: Box::new(pushing), leaves: None },
            Client { name: pull, command: Box::new(pulling), leaves: Some(out) },
        ]
    }

    /// The peak memory of our server while a large blob is pushed to it and pulled from it, compared with a small one.
    pub(super) fn server_memory(&self) -> Fallible<()> {
        let of = |tag: &'static str| {
            let registry = EmptyRegistry::ours()?;
            let address = registry.address();
            let push = self.client("push", "tokio", &address, &[tag, REPOSITORY]);
            let pull = self.client("blobs", "tokio", &address, &[tag]);
            let clients = [Client { name: PUSH_OURS, ..push }, Client { name: PULL_OURS, ..pull }];
            let done = Rounds::of(&clients, 1)?;
            Report::rounds(&format!("A blob of {tag} pushed and pulled"), &done);
            registry.peak()
        };
        let (small, large) = (of(TEN_MIB)?, of(TEN_GIB)?);
        #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
        let (small, large) = (small as f64, large as f64);
        let more = large - small;
        let what = "memory of our server: 10 GiB more than 10 MiB by";
        self.report.figure(what, mebibytes(more), "at most 1 MiB", Some(more <= f64::from(1 << 20)));
        self.report.figure("memory of our server: in all", mebibytes(large), "", None);
        Ok(())
    }
}
