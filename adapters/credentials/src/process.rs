//! Runs a program with limits on its time and output.

use std::fmt;
use std::io::{self, Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any login: no registry accepts a header of this size.
const MAX_STDOUT: usize = 64 << 10;
/// Longer than any error message.
const MAX_STDERR: usize = 1 << 20;
/// How long to wait for the rest of stderr after the program has exited: its own child may keep it open.
const GRACE: Duration = Duration::from_secs(1);

/// The exit status and output of a program.
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    /// Empty if the program succeeded.
    pub(crate) stderr: Vec<u8>,
}

/// Why there is no output. Its message continues a sentence about the program.
pub(crate) enum RunError {
    Start(io::Error),
    Wait(io::Error),
    TooSlow(Duration),
    TooMuch,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) if error.kind() == io::ErrorKind::NotFound => {
                write!(f, "is not in PATH; install it, or remove it from the file")
            }
            Self::Start(error) => write!(f, "could not be started: {error}"),
            Self::Wait(error) => write!(f, "could not be waited for: {error}"),
            Self::TooSlow(timeout) => write!(f, "did not exit within {timeout:?}, and was killed"),
            Self::TooMuch => write!(f, "wrote more than {} KiB, and was killed", MAX_STDOUT >> 10),
        }
    }
}

/// Runs a program with a few bytes on stdin. On return it has exited or was killed, and is not a zombie.
///
/// Its own children are not killed: it stays in the process group of its caller, so that it can prompt on the
/// terminal, and Ctrl-C stops it too.
pub(crate) fn run(command: &mut Command, input: &[u8], timeout: Duration) -> Result<Output, RunError> {
    let since = Instant::now();
    let remaining = || timeout.saturating_sub(since.elapsed());
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = Program(command.spawn().map_err(RunError::Start)?);
    let stdout = read_in_thread(program.0.stdout.take(), MAX_STDOUT).map_err(RunError::Start)?;
    let stderr = read_in_thread(program.0.stderr.take(), MAX_STDERR).map_err(RunError::Start)?;
    if let Some(mut stdin) = program.0.stdin.take() {
        // Does not block, since the input fits into the pipe. The program may succeed without reading it.
        let _ = stdin.write_all(input);
    }
    let Ok(stdout) = stdout.recv_timeout(remaining()) else { return Err(RunError::TooSlow(timeout)) };
    if stdout.len() > MAX_STDOUT {
        return Err(RunError::TooMuch);
    }
    // A program that has closed its stdout usually exits at once.
    let mut pause = Duration::from_millis(1);
    let status = loop {
        if let Some(status) = program.0.try_wait().map_err(RunError::Wait)? {
            break status;
        }
        if remaining().is_zero() {
            return Err(RunError::TooSlow(timeout));
        }
        thread::sleep(pause.min(remaining()));
        pause = (pause * 2).min(Duration::from_millis(50));
    };
    let stderr = if status.success() { None } else { stderr.recv_timeout(GRACE).ok() };
    Ok(Output { status, stdout, stderr: stderr.unwrap_or_default() })
}

/// Reads a pipe to its end in a new thread, but at most one byte more than `max`. Then the pipe is closed,
/// and further writes to it fail.
///
/// The thread runs until all write ends of the pipe are closed.
fn read_in_thread(pipe: Option<impl Read + Send + 'static>, max: usize) -> io::Result<Receiver<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().name("credential-helper".to_owned()).spawn(move || {
        let mut output = Vec::new();
        if let Some(pipe) = pipe {
            // After a read error the output is incomplete, which its parser notices.
            let _ = pipe.take(max as u64 + 1).read_to_end(&mut output);
        }
        let _ = sender.send(output);
    })?;
    Ok(receiver)
}

/// Killed and waited for when it goes out of scope, unless it has exited.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // Fails if the program runs as another user. Waiting for it could then take forever.
        if self.0.kill().is_ok() {
            let _ = self.0.wait();
        }
    }
}
