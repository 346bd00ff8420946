//! The workloads and their targets.

mod server;

use std::cell::Cell;
use std::path::Path;
use std::process::Command;
use std::thread;

use oci_proto_tests::interop::Program;
use tempfile::TempDir;

use crate::content::{CHILDREN, INDEX, LARGE, PLATFORMS, REPOSITORY, SMALL, TEN_GIB, TEN_MIB};
use crate::core_alone;
use crate::counterpart::{Counterparts, DELAY, DistantServer, this_program};
use crate::fallible::Fallible;
use crate::report::{Report, mebibytes};
use crate::run::{Client, Round, Rounds};

/// The names of the workloads.
const WORDS: [&str; 11] = [
    "core",
    "manifests",
    "walk",
    "blobs",
    "pull",
    "distant",
    "push",
    "copy",
    "memory",
    "server",
    "server-memory",
];

/// Rounds with our server, and with docker-registry, which is slower.
const ROUNDS: usize = 5;
const DOCKER_ROUNDS: usize = 3;
/// Rounds of manifests, which are fast but vary by more than the difference to be measured.
const MANIFEST_ROUNDS: usize = 9;

const ADAPTERS: [&str; 2] = ["tokio", "ureq"];

pub(crate) fn run(words: &[String]) -> Fallible<()> {
    if let Some(word) = words.iter().find(|word| !WORDS.contains(&word.as_str())) {
        return Err(format!("no workload {word}: there are {}", WORDS.join(", ")).into());
    }
    let asked = |word: &str| words.is_empty() || words.iter().any(|asked| asked == word);
    let report = Report::default();
    let cores = thread::available_parallelism()?;
    println!("{cores} cores. Figures are medians; a ratio is the median of the rounds' ratios.");
    if asked("core") {
        core(&report)?;
    }
    if WORDS[1..].iter().any(|word| asked(word)) {
        let counterparts = Counterparts::start()?;
        let bench = Bench { report: &report, counterparts: &counterparts };
        if asked("manifests") {
            bench.manifests()?;
        }
        if asked("walk") {
            bench.walk()?;
        }
        if asked("blobs") {
            bench.blobs()?;
        }
        if asked("pull") {
            bench.pull()?;
        }
        if asked("distant") {
            bench.distant()?;
        }
        if asked("push") {
            bench.push()?;
        }
        if asked("copy") {
            bench.copy()?;
        }
        if asked("memory") {
            bench.memory()?;
        }
        if asked("server") {
            bench.server()?;
        }
        if asked("server-memory") {
            bench.server_memory()?;
        }
    }
    report.end();
    Ok(())
}

fn core(report: &Report) -> Fallible<()> {
    println!("\nThe core alone, in instructions");
    let Some(hashing) = core_alone::instructions("hashing")? else {
        println!("*** SKIPPED: valgrind is not installed: apt-get install valgrind ***");
        return Ok(());
    };
    for (word, what) in [("manifests", "a manifest exchange"), ("walk", "a walked descriptor")] {
        let count = core_alone::instructions(word)?.unwrap_or_default();
        // On valgrind's processor, which lacks the instructions for hashing that others have.
        report.figure(what, count.saturating_sub(hashing), format_args!("+ {hashing} of hashing"), None);
    }
    Ok(())
}

struct Bench<'a> {
    report: &'a Report,
    counterparts: &'a Counterparts,
}

/// A registry to read from.
struct Registry {
    name: &'static str,
    address: String,
    rounds: usize,
}

impl Bench<'_> {
    fn registries(&self) -> Vec<Registry> {
        let ours = &self.counterparts.ours.address;
        let mut all = vec![Registry { name: "our server", address: ours.clone(), rounds: ROUNDS }];
        all.extend(self.counterparts.docker.as_ref().map(|docker| Registry {
            name: "docker-registry",
            address: docker.address().to_string(),
            rounds: DOCKER_ROUNDS,
        }));
        all
    }

    fn manifests(&self) -> Fallible<()> {
        for Registry { name, address, .. } in &self.registries() {
            let clients = ["tokio", "hyper alone", "ureq", "ureq alone", "oci-client"];
            let clients = clients.map(|client| self.client("manifests", client, address, &[]));
            let done = Rounds::of(&clients, MANIFEST_ROUNDS)?;
            Report::rounds(&format!("{} manifests one after another, {name}", 2 * CHILDREN), &done);
            for (ours, floor) in [("tokio", "hyper alone"), ("ureq", "ureq alone")] {
                self.report.ratio(&format!("wall of {ours} : {floor}"), &done, 1.05, |round| {
                    round.wall(ours) / round.wall(floor)
                });
                // The client fails otherwise.
                self.report.figure(&format!("requests of {ours} for a manifest"), 1, "exactly 1", Some(true));
            }
        }
        Ok(())
    }

    fn walk(&self) -> Fallible<()> {
        for Registry { name, address, rounds } in &self.registries() {
            let clients = ["tokio", "ureq", "oci-client"];
            let clients = clients.map(|client| self.client("walk", client, address, &[]));
            let done = Rounds::of(&clients, *rounds)?;
            Report::rounds(&format!("An index of {CHILDREN} images walked, {name}"), &done);
            println!("    (oci-client has no walk: it fetches the same manifests one after another)");
        }
        let address = &self.counterparts.late.address;
        let clients = ADAPTERS.map(|client| self.client("walk", client, address, &[]));
        let done = Rounds::of(&clients, DOCKER_ROUNDS)?;
        Report::rounds(&format!("The same, {DELAY} ms added to each answer, our server"), &done);
        let in_flight = oci_proto::Limits::default().in_flight_per_origin;
        let waves = f64::from(u32::try_from(CHILDREN.div_ceil(in_flight))?);
        let least = waves * f64::from(DELAY) / 1e3;
        for ours in ADAPTERS {
            let what = format!("wall of {ours} : {CHILDREN} / {in_flight} in flight x {DELAY} ms");
            self.report.ratio(&what, &done, 1.2, |round| round.wall(ours) / least);
        }
        Ok(())
    }

    fn blobs(&self) -> Fallible<()> {
        for Registry { name, address, rounds } in &self.registries() {
            let clients = ["tokio", "hyper alone", "ureq", "ureq alone", "sha2 alone"];
            let clients = clients.map(|client| self.client("blobs", client, address, &[LARGE]));
            let done = Rounds::of(&clients, *rounds)?;
            Report::rounds(&format!("3 layers of 300 MiB to nowhere, one after another, {name}"), &done);
            for (ours, floor) in [("tokio", "hyper alone"), ("ureq", "ureq alone")] {
                self.report.ratio(&format!("CPU of {ours} : {floor} + sha2 alone"), &done, 1.15, |round| {
                    round.cpu(ours) / (round.cpu(floor) + round.cpu("sha2 alone"))
                });
            }

            let clients = ["tokio", "ureq", "oci-client", "oci-client, tasks"];
            let clients = clients.map(|client| self.client("blobs-at-once", client, address, &[LARGE]));
            let done = Rounds::of(&clients, *rounds)?;
            Report::rounds(&format!("3 layers of 300 MiB to nowhere, all at once, {name}"), &done);
            for ours in ADAPTERS {
                for theirs in ["oci-client", "oci-client, tasks"] {
                    self.report.ratio(&format!("wall of {ours} : {theirs}"), &done, 0.6, |round| {
                        round.wall(ours) / round.wall(theirs)
                    });
                }
            }
        }
        Ok(())
    }

    fn pull(&self) -> Fallible<()> {
        let out = TempDir::with_prefix("registries-out-")?;
        let folder = out.path().join("layout");
        let skopeo = Program::find("skopeo", "skopeo");
        for (tag, what) in [(SMALL, "60 layers of 100 KiB"), (LARGE, "3 layers of 300 MiB")] {
            for Registry { name, address, rounds } in &self.registries() {
                let words = [tag, folder.to_str().ok_or("temporary folders have UTF-8 names")?];
                let mut clients: Vec<Client> = ["tokio", "ureq", "oci-client", "oci-client, tasks"]
                    .map(|client| self.client("pull", client, address, &words))
                    .into();
                for (name, form) in [("skopeo to oci:", "oci"), ("skopeo to dir:", "dir")] {
                    let Some(skopeo) = skopeo.clone() else { continue };
                    let (home, to) = (out.path().to_owned(), format!("{form}:{}", folder.display()));
                    let from = format!("docker://{address}/{REPOSITORY}:{tag}");
                    let command = Box::new(move || Ok(copy(&skopeo, &home, &from, &to)));
                    clients.push(Client { name, command, leaves: None });
                }
                for client in &mut clients {
                    client.leaves = Some(folder.clone());
                }
                let done = Rounds::of(&clients, *rounds)?;
                Report::rounds(&format!("An image of {what} to disk, {name}"), &done);
                for ours in ADAPTERS {
                    self.report.ratio(&format!("wall of {ours} : the fastest peer"), &done, 0.9, |round| {
                        round.wall(ours) / fastest(round, &done.names()[ADAPTERS.len()..])
                    });
                }
            }
        }
        Ok(())
    }

    /// Pulls over TLS with round trips of 40 ms: with HTTP/2, with HTTP/1.1, and with the client that speaks only that.
    fn distant(&self) -> Fallible<()> {
        let content = self.counterparts.content.path();
        let modern = DistantServer::start(content, "h2,http/1.1")?;
        let old = DistantServer::start(content, "http/1.1")?;
        let home = TempDir::with_prefix("registries-pulled-")?;
        let folder = home.path().join("out");
        let out = folder.display().to_string();
        let clients =
            [("tokio, HTTP/2", "tokio", &modern), ("tokio, HTTP/1.1", "tokio", &old), ("ureq", "ureq", &old)];
        let before = [modern.connections()?, old.connections()?];
        let pulls = clients.map(|(name, client, distant)| {
            let notes = distant.notes.path().display().to_string();
            let pull = self.client("pull", client, &distant.server.address, &[PLATFORMS, &out, &notes]);
            Client { name, leaves: Some(folder.clone()), ..pull }
        });
        let done = Rounds::of(&pulls, ROUNDS)?;
        Report::rounds("An index of 8 platforms to disk, over TLS with round trips of 40 ms", &done);
        self.report.ratio("wall of tokio, HTTP/2 : HTTP/1.1", &done, 0.8, |round| {
            round.wall("tokio, HTTP/2") / round.wall("tokio, HTTP/1.1")
        });
        let rounds = u32::try_from(ROUNDS)?;
        let opened = (modern.connections()? - before[0]) / rounds;
        self.report.figure("connections of tokio with HTTP/2", opened, "exactly 1", Some(opened == 1));
        let opened = (old.connections()? - before[1]) / rounds;
        let most = 2 * u32::try_from(oci_proto::Limits::default().in_flight_per_origin)?;
        let what = "connections of tokio and ureq with HTTP/1.1";
        self.report.figure(what, opened, format_args!("at most {most}"), Some(opened <= most));
        Ok(())
    }

    /// Registries to write to.
    fn destinations(&self) -> Vec<Registry> {
        let sink = self.counterparts.sink.address.clone();
        let mut all = vec![Registry { name: "a registry that keeps nothing", address: sink, rounds: ROUNDS }];
        all.extend(self.counterparts.docker.as_ref().map(|docker| Registry {
            name: "docker-registry",
            address: docker.address().to_string(),
            rounds: DOCKER_ROUNDS,
        }));
        all
    }

    fn push(&self) -> Fallible<()> {
        let home = TempDir::with_prefix("registries-home-")?;
        let skopeo = Program::find("skopeo", "skopeo");
        let content = self.counterparts.content.path().display().to_string();
        for (tag, what) in [(SMALL, "60 layers of 100 KiB"), (LARGE, "3 layers of 300 MiB")] {
            for Registry { name, address, rounds } in &self.destinations() {
                let mut clients: Vec<Client> =
                    ["tokio", "ureq", "hyper alone", "hyper and sha2", "oci-client"]
                        .map(|client| self.client("push", client, address, &[tag]))
                        .into();
                if let Some(skopeo) = skopeo.clone() {
                    let (home, from) = (home.path().to_owned(), format!("oci:{content}:{tag}"));
                    let to = format!("docker://{address}/skopeo");
                    let number = Cell::new(0);
                    let command = Box::new(move || {
                        number.set(number.get() + 1);
                        Ok(copy_to(&skopeo, &home, &from, &format!("{to}-{tag}-{}:1", number.get())))
                    });
                    clients.push(Client { name: "skopeo", command, leaves: None });
                }
                let done = Rounds::of(&clients, *rounds)?;
                Report::rounds(&format!("An image of {what} pushed, {name}"), &done);
                for ours in ADAPTERS {
                    self.report.ratio(&format!("wall of {ours} : hyper and sha2"), &done, 1.0, |round| {
                        round.wall(ours) / round.wall("hyper and sha2")
                    });
                }
            }
        }
        let address = &self.counterparts.late_sink.address;
        let clients = ADAPTERS.map(|client| self.client("push", client, address, &[INDEX]));
        let done = Rounds::of(&clients, DOCKER_ROUNDS)?;
        Report::rounds(
            &format!("An index of {CHILDREN} images pushed, {DELAY} ms added to each answer"),
            &done,
        );
        let in_flight = oci_proto::Limits::default().in_flight_per_origin;
        // A HEAD and a PUT each.
        let waves = f64::from(u32::try_from((2 * CHILDREN).div_ceil(in_flight))?);
        let least = waves * f64::from(DELAY) / 1e3;
        for ours in ADAPTERS {
            let what = format!("wall of {ours} : 2 x {CHILDREN} / {in_flight} in flight x {DELAY} ms");
            self.report.ratio(&what, &done, 1.2, |round| round.wall(ours) / least);
        }
        Ok(())
    }

    fn copy(&self) -> Fallible<()> {
        let (from, to) = (&self.counterparts.ours.address, &self.counterparts.sink.address);
        for (tag, what) in [(SMALL, "60 layers of 100 KiB"), (LARGE, "3 layers of 300 MiB")] {
            let copies = ADAPTERS.map(|client| self.client("copy", client, from, &[tag, to]));
            let pushes = [("tokio", "tokio, push"), ("ureq", "ureq, push")]
                .map(|(client, name)| Client { name, ..self.client("push", client, to, &[tag]) });
            let pulls = [("tokio", "tokio, blobs"), ("ureq", "ureq, blobs")]
                .map(|(client, name)| Client { name, ..self.client("blobs-at-once", client, from, &[tag]) });
            let clients: Vec<Client> = copies.into_iter().chain(pushes).chain(pulls).collect();
            let done = Rounds::of(&clients, ROUNDS)?;
            Report::rounds(&format!("An image of {what} copied, from our server to nowhere"), &done);
            for ours in ADAPTERS {
                let (push, blobs) = (format!("{ours}, push"), format!("{ours}, blobs"));
                self.report.ratio(&format!("wall of {ours} : the slower side alone"), &done, 1.15, |round| {
                    round.wall(ours) / round.wall(&push).max(round.wall(&blobs))
                });
            }
        }
        self.memory_of("copy", &[to])
    }

    fn memory(&self) -> Fallible<()> {
        self.memory_of("blobs", &[])
    }

    /// Compares the memory for a large blob with that for a small one.
    fn memory_of(&self, task: &str, more: &[&str]) -> Fallible<()> {
        let address = &self.counterparts.ours.address;
        let of = |tag: &str, rounds| {
            let words: Vec<&str> = [tag].iter().chain(more).copied().collect();
            let clients = ADAPTERS.map(|client| self.client(task, client, address, &words));
            Rounds::of(&clients, rounds)
        };
        let (small, large) = (of(TEN_MIB, DOCKER_ROUNDS)?, of(TEN_GIB, 1)?);
        Report::rounds(&format!("{task}: a blob of 10 MiB to nowhere, our server"), &small);
        Report::rounds(&format!("{task}: a blob of 10 GiB to nowhere, our server"), &large);
        for (ours, most) in [("tokio", 24), ("ureq", 16)] {
            #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
            let peak = |rounds: &Rounds| rounds.median(|round| round.run(ours).peak as f64);
            let (small, large) = (peak(&small), peak(&large));
            let more = large - small;
            let what = format!("memory of {ours}, {task}: 10 GiB more than 10 MiB by");
            self.report.figure(&what, mebibytes(more), "at most 1 MiB", Some(more <= f64::from(1 << 20)));
            let what = format!("memory of {ours}, {task}: in all");
            let is_little = large < f64::from(most << 20);
            self.report.figure(&what, mebibytes(large), format_args!("under {most} MiB"), Some(is_little));
        }
        Ok(())
    }

    fn client(&self, task: &str, name: &'static str, registry: &str, more: &[&str]) -> Client {
        let content = self.counterparts.content.path().to_owned();
        let words = [task, name, registry].map(str::to_owned);
        let more: Vec<String> = more.iter().map(|&word| word.to_owned()).collect();
        let command = move || {
            let mut command = this_program()?;
            command.args(&words).arg(&content).args(&more);
            Ok(command)
        };
        Client { name, command: Box::new(command), leaves: None }
    }
}

/// The shortest wall time of these clients.
fn fastest(round: Round<'_>, names: &[&str]) -> f64 {
    names.iter().map(|name| round.wall(name)).fold(f64::INFINITY, f64::min)
}

fn copy_to(skopeo: &Program, home: &Path, from: &str, to: &str) -> Command {
    let mut command = skopeo.command(home);
    command
        .args(["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", "--preserve-digests"])
        .args([from, to]);
    command
}

fn copy(skopeo: &Program, home: &Path, from: &str, to: &str) -> Command {
    let mut command = skopeo.command(home);
    command
        .args(["copy", "--quiet", "--insecure-policy", "--src-tls-verify=false", "--preserve-digests"])
        .args([from, to]);
    command
}
