//! Programs that have to be installed.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

/// A program that is installed.
#[derive(Clone, Debug)]
pub struct Program(PathBuf);

impl Program {
    /// Finds a program. `package` is what Debian calls the package that has it.
    ///
    /// Where it is missing, stderr says so, past what the test harness captures: the test that asked
    /// returns, and shows nothing.
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
        // One write, so that other tests' words do not fall into it. There is no other place to tell that
        // stderr is gone.
        let _ = io::stderr().write_all(format!("\n*** SKIPPED: {test}: {advice} ***\n").as_bytes());
        None
    }

    /// A command with nothing in its environment but the search path, and `home` as its home: what the
    /// user or the machine has configured must not decide a test.
    pub fn command(&self, home: &Path) -> Command {
        let mut command = Command::new(&self.0);
        command.env_clear().env("HOME", home).env("XDG_RUNTIME_DIR", home).env("TMPDIR", home);
        if let Some(path) = env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
    }
}
