//! The registries for the clients, each in its own process.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use oci_proto_tests::interop::{DockerRegistry, Program, Settings};
use tempfile::TempDir;

use crate::distant;
use crate::fallible::Fallible;
use crate::task::{self, peak};

/// Content and registries. Dropping it stops and deletes them.
pub(crate) struct Counterparts {
    pub(crate) ours: OurServer,
    /// Ours, with each response delayed by 20 ms.
    pub(crate) late: OurServer,
    /// A registry that takes everything and keeps nothing.
    pub(crate) sink: OurServer,
    /// The same, with each response delayed by 20 ms.
    pub(crate) late_sink: OurServer,
    /// None if it is not installed.
    pub(crate) docker: Option<DockerRegistry>,
    pub(crate) content: TempDir,
}

/// The delay in milliseconds.
pub(crate) const DELAY: u32 = 20;

impl Counterparts {
    pub(crate) fn start() -> Fallible<Self> {
        let content = TempDir::with_prefix("registries-content-")?;
        let program = Program::find("docker-registry", "docker-registry");
        let docker = program.map(|program| DockerRegistry::start(&program, &Settings::new()));
        let mut fill = this_program()?;
        fill.arg("fill").arg(content.path());
        if let Some(docker) = &docker {
            fill.arg(docker.address().to_string());
        }
        let filled = fill.status()?;
        if !filled.success() {
            return Err(format!("the content could not be created: {filled}").into());
        }
        let serve = |delay: u32| {
            let mut command = this_program()?;
            command.arg("serve").arg(content.path()).arg(delay.to_string());
            OurServer::start(command)
        };
        let take = |delay: u32| {
            let mut command = this_program()?;
            command.arg("sink").arg(delay.to_string());
            OurServer::start(command)
        };
        let (ours, late, sink, late_sink) = (serve(0)?, serve(DELAY)?, take(0)?, take(DELAY)?);
        Ok(Self { ours, late, sink, late_sink, docker, content })
    }
}

/// Our server with TLS, 40 ms away, and what it notes.
pub(crate) struct DistantServer {
    pub(crate) server: OurServer,
    pub(crate) notes: TempDir,
}

impl DistantServer {
    /// Serves a layout with the protocols of `offer`, separated by commas.
    pub(crate) fn start(content: &Path, offer: &str) -> Fallible<Self> {
        let notes = TempDir::with_prefix("registries-notes-")?;
        let mut command = this_program()?;
        command.arg("distant").arg(content).arg(offer).arg(notes.path());
        Ok(Self { server: OurServer::start(command)?, notes })
    }

    /// The number of connections so far.
    pub(crate) fn connections(&self) -> Fallible<u32> {
        Ok(fs::read_to_string(self.notes.path().join(distant::CONNECTIONS))?.parse()?)
    }
}

/// Our own server.
pub(crate) struct OurServer {
    child: Child,
    pub(crate) address: String,
}

impl OurServer {
    fn start(mut command: Command) -> Fallible<Self> {
        // It exits when its stdin closes, at the latest with this process.
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut address)?;
        }
        Ok(Self { child, address: address.trim().to_owned() })
    }
}

/// A registry that takes pushes, in its own process, with an empty directory. Dropping it stops it and deletes that.
pub(crate) enum EmptyRegistry {
    Ours { server: OurServer, _folder: TempDir },
    Docker(DockerRegistry),
}

impl EmptyRegistry {
    pub(crate) fn ours() -> Fallible<Self> {
        let folder = TempDir::with_prefix("registries-served-")?;
        let mut command = this_program()?;
        command.arg("registry").arg(folder.path());
        Ok(Self::Ours { server: OurServer::start(command)?, _folder: folder })
    }

    pub(crate) fn docker() -> Fallible<Self> {
        let program = Program::find("docker-registry", "docker-registry");
        let program = program.ok_or("docker-registry is not installed")?;
        Ok(Self::Docker(DockerRegistry::start(&program, &Settings::new())))
    }

    pub(crate) fn address(&self) -> String {
        match self {
            Self::Ours { server, .. } => server.address.clone(),
            Self::Docker(registry) => registry.address().to_string(),
        }
    }

    /// The peak memory of the process in bytes.
    pub(crate) fn peak(&self) -> Fallible<u64> {
        let process = match self {
            Self::Ours { server, .. } => server.child.id(),
            Self::Docker(registry) => registry.process(),
        };
        peak(&process.to_string())
    }
}

impl Drop for OurServer {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that runs this program as its own child.
pub(crate) fn this_program() -> Fallible<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(task::WORD);
    Ok(command)
}
