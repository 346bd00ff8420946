//! Running a program with bounds on its time and on what it says.

use std::fmt;
use std::io::{self, Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// More than any login: a registry would not take a header of this size.
const MOST_STDOUT: usize = 64 << 10;
/// More than anybody reads.
const MOST_STDERR: usize = 1 << 20;
/// How long to wait for the rest of stderr when the program has ended: a child of its own may keep that open.
const GRACE: Duration = Duration::from_secs(1);

/// How a program ended, and what it said.
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    /// Read only where the program failed.
    pub(crate) stderr: Vec<u8>,
}

/// Why there is no output. Shown, it says what became of the program.
pub(crate) enum Trouble {
    Start(io::Error),
    Wait(io::Error),
    TooSlow(Duration),
    TooMuch,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) if error.kind() == io::ErrorKind::NotFound => {
                write!(f, "is not in PATH; install it, or take it out of the file")
            }
            Self::Start(error) => write!(f, "cannot be started: {error}"),
            Self::Wait(error) => write!(f, "cannot be waited for: {error}"),
            Self::TooSlow(timeout) => write!(f, "did not end within {timeout:?}, and was stopped"),
            Self::TooMuch => write!(f, "wrote more than {} KiB, and was stopped", MOST_STDOUT >> 10),
        }
    }
}

/// Runs a program, and gives it a few bytes to read. Whatever comes, it does not run on and is no zombie.
///
/// Processes that it has started itself are out of reach: it is in the process group of its caller, so that it
/// may ask at the terminal, and so that Ctrl-C ends it too.
pub(crate) fn run(command: &mut Command, input: &[u8], timeout: Duration) -> Result<Output, Trouble> {
    let since = Instant::now();
    let left = || timeout.saturating_sub(since.elapsed());
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = Program(command.spawn().map_err(Trouble::Start)?);
    let stdout = listen(program.0.stdout.take(), MOST_STDOUT).map_err(Trouble::Start)?;
    let stderr = listen(program.0.stderr.take(), MOST_STDERR).map_err(Trouble::Start)?;
    if let Some(mut stdin) = program.0.stdin.take() {
        // Does not block, since it fits into the pipe. A program that does not read it may answer all the same.
        let _ = stdin.write_all(input);
    }
    let Ok(stdout) = stdout.recv_timeout(left()) else { return Err(Trouble::TooSlow(timeout)) };
    if stdout.len() > MOST_STDOUT {
        return Err(Trouble::TooMuch);
    }
    // A program that closes its stdout has next to nothing left to do.
    let mut pause = Duration::from_millis(1);
    let status = loop {
        if let Some(status) = program.0.try_wait().map_err(Trouble::Wait)? {
            break status;
        }
        if left().is_zero() {
            return Err(Trouble::TooSlow(timeout));
        }
        thread::sleep(pause.min(left()));
        pause = (pause * 2).min(Duration::from_millis(50));
    };
    let stderr = if status.success() { None } else { stderr.recv_timeout(GRACE).ok() };
    Ok(Output { status, stdout, stderr: stderr.unwrap_or_default() })
}

/// Reads to the end on a thread of its own, but at most a byte more than `most`: who writes more then meets a
/// closed pipe.
///
/// The thread lasts until nobody has the other end any more.
fn listen(pipe: Option<impl Read + Send + 'static>, most: usize) -> io::Result<Receiver<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().name("credential-helper".to_owned()).spawn(move || {
        let mut said = Vec::new();
        if let Some(pipe) = pipe {
            // What could not be read is missing in what was said, and found out there.
            let _ = pipe.take(most as u64 + 1).read_to_end(&mut said);
        }
        let _ = sender.send(said);
    })?;
    Ok(receiver)
}

/// Stopped and waited for when it goes out of scope, if it has not ended by then.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // Fails for a program that has become another user's: to wait for that might take for ever.
        if self.0.kill().is_ok() {
            let _ = self.0.wait();
        }
    }
}
