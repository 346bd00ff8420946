//! The registries for the clients, each in its own process.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use oci_proto_tests::interop::{DockerRegistry, Program, Settings};
use tempfile::TempDir;

use crate::fallible::Fallible;
use crate::task;

/// Content and registries. Dropping it stops and deletes them.
pub(crate) struct Counterparts {
    pub(crate) ours: OurServer,
    /// Ours, with each response delayed by 20 ms.
    pub(crate) late: OurServer,
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
        let ours = OurServer::start(content.path(), 0)?;
        let late = OurServer::start(content.path(), DELAY)?;
        Ok(Self { ours, late, docker, content })
    }
}

/// Our own server.
pub(crate) struct OurServer {
    child: Child,
    pub(crate) address: String,
}

impl OurServer {
    fn start(content: &Path, delay: u32) -> Fallible<Self> {
        let mut command = this_program()?;
        command.arg("serve").arg(content).arg(delay.to_string());
        // It exits when its stdin closes, at the latest with this process.
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut address)?;
        }
        Ok(Self { child, address: address.trim().to_owned() })
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
