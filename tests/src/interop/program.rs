//! Installed programs.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

/// An installed program.
#[derive(Clone, Debug)]
pub struct Program(PathBuf);

impl Program {
    /// Finds a program. `package` is the Debian package that contains it.
    ///
    /// If it is missing, a message is written to stderr, bypassing the harness's capture, and the test is
    /// expected to return without testing anything.
    ///
    /// # Panics
    /// The program is missing, and `CI` is `true` in the environment.
    pub fn find(name: &str, package: &str) -> Option<Self> {
        let folders = env::var_os("PATH").unwrap_or_default();
        if let Some(path) = env::split_paths(&folders).map(|folder| folder.join(name)).find(|p| p.is_file()) {
            return Some(Self(path));
        }
        let advice = format!("{name} is not installed: apt-get install {package}");
        assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "{advice}");
        let thread = thread::current();
        let test = thread.name().unwrap_or("a test");
        // A single write keeps the message in one piece among those of other tests. If stderr is closed,
        // there is nowhere to report that.
        let _ = io::stderr().write_all(format!("\n*** SKIPPED: {test}: {advice} ***\n").as_bytes());
        None
    }

    /// A command with only the search path in its environment and `home` as its home directory, so that the
    /// configuration of the user or the machine does not affect tests.
    pub fn command(&self, home: &Path) -> Command {
        let mut command = Command::new(&self.0);
        command.env_clear().env("HOME", home).env("XDG_RUNTIME_DIR", home).env("TMPDIR", home);
        if let Some(path) = env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
    }
}
