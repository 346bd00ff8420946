//! Runs a program with limits on its time and output, in a process group of its own.

use std::fmt;
use std::io::{self, Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any login: no registry accepts a header of this size.
const MAX_STDOUT: usize = 64 << 10;
/// The time for output after a program has exited, since processes that it has started may keep its stdout open.
const AFTER_EXIT: Duration = Duration::from_secs(1);

/// The exit status and output of a program.
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
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
            Self::Start(error) => write!(f, "could not be started: {error}"),
            Self::Wait(error) => write!(f, "could not be waited for: {error}"),
            Self::TooSlow(timeout) => write!(f, "did not exit within {timeout:?}, and was killed"),
            Self::TooMuch => write!(f, "wrote more than {} KiB, and was killed", MAX_STDOUT >> 10),
        }
    }
}

/// The programs that are running. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes {
    running: Arc<Mutex<Vec<Running>>>,
    /// Set if [`kill`](Self::kill) concerns only programs that were run with the same value.
    owner: Option<Arc<()>>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    owner: Option<Arc<()>>,
}

impl Processes {
    /// Runs a program with a few bytes on stdin. Its stderr is dropped. On return it has exited or was killed
    /// with its whole process group, and is not a zombie. If it has exited, the rest of its group is killed only if
    /// that keeps its stdout open.
    pub(crate) fn run(
        &self,
        command: &mut Command,
        input: &[u8],
        timeout: Duration,
    ) -> Result<Output, RunError> {
        in_own_group(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()));
        let (mut since, mut limit) = (Instant::now(), timeout);
        let (program, stdin, pipe) = self.start(command)?;
        let parts = read_in_thread(pipe, MAX_STDOUT).map_err(RunError::Start)?;
        if let Some(mut stdin) = stdin {
            // Does not block, since the input fits into the pipe. The program may succeed without reading it.
            let _ = stdin.write_all(input);
        }
        let (mut stdout, mut is_open, mut has_exited) = (Vec::new(), true, false);
        let mut pause = Duration::from_millis(1);
        loop {
            if !has_exited && program.has_exited().map_err(RunError::Wait)? {
                (has_exited, since, limit) = (true, Instant::now(), AFTER_EXIT);
            }
            if has_exited && !is_open {
                break;
            }
            let left = limit.saturating_sub(since.elapsed());
            match (left.is_zero(), has_exited) {
                (true, true) => break,
                (true, false) => return Err(RunError::TooSlow(timeout)),
                (false, _) => {}
            }
            pause = (pause * 2).min(Duration::from_millis(50));
            if !is_open {
                thread::sleep(pause.min(left));
                continue;
            }
            match parts.recv_timeout(pause.min(left)) {
                Ok(part) => stdout.extend(part),
                Err(RecvTimeoutError::Timeout) => {}
                // A program that has closed its stdout usually exits at once.
                Err(RecvTimeoutError::Disconnected) => (is_open, pause) = (false, Duration::from_millis(1)),
            }
            if stdout.len() > MAX_STDOUT {
                return Err(RunError::TooMuch);
            }
        }
        let status = program.end(is_open).map_err(RunError::Wait)?;
        Ok(Output { status, stdout })
    }

    /// Returns a value that kills only programs of its own. This one kills those too.
    pub(crate) fn separate(&self) -> Self {
        Self { running: self.running.clone(), owner: Some(Arc::default()) }
    }

    /// Kills the running programs, with their process groups.
    pub(crate) fn kill(&self) {
        let is_own = |running: &Running| match (&self.owner, &running.owner) {
            (None, _) => true,
            (Some(own), Some(owner)) => Arc::ptr_eq(own, owner),
            (Some(_), None) => false,
        };
        for running in self.lock().iter_mut().filter(|running| is_own(running)) {
            kill(&mut running.child);
        }
    }

    /// Starts a program, such that [`kill`](Self::kill) finds it.
    fn start(
        &self,
        command: &mut Command,
    ) -> Result<(Program<'_>, Option<impl io::Write>, Option<impl Read + Send + 'static>), RunError> {
        let mut running = self.lock();
        let mut child = command.spawn().map_err(RunError::Start)?;
        let (id, stdin, stdout) = (child.id(), child.stdin.take(), child.stdout.take());
        running.push(Running { child, owner: self.owner.clone() });
        Ok((Program { id, processes: self }, stdin, stdout))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Killed and waited for when it goes out of scope, unless it has exited.
struct Program<'a> {
    id: u32,
    processes: &'a Processes,
}

impl Program<'_> {
    /// Whether it has exited. It is not waited for, so that no other process receives its id, which is also that of
    /// its group.
    fn has_exited(&self) -> io::Result<bool> {
        let mut all = self.processes.lock();
        let running = all.iter_mut().find(|running| running.child.id() == self.id);
        running.map_or(Ok(false), |running| has_exited(&mut running.child))
    }

    /// Returns the exit status, once it has exited. Kills the rest of its group before if `kill_group`.
    fn end(self, kill_group: bool) -> io::Result<ExitStatus> {
        let mut all = self.processes.lock();
        let at = all.iter().position(|running| running.child.id() == self.id);
        let mut child = all.swap_remove(at.ok_or(io::ErrorKind::NotFound)?).child;
        if kill_group {
            kill(&mut child);
        }
        child.wait()
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        let mut all = self.processes.lock();
        let Some(at) = all.iter().position(|running| running.child.id() == self.id) else { return };
        let mut child = all.swap_remove(at).child;
        // Fails if the program runs as another user. Waiting for it could then take forever.
        if kill(&mut child) {
            drop(all);
            let _ = child.wait();
        }
    }
}

/// Starts a process group, so that its children are killed too. Such a group cannot read from the terminal.
#[cfg(unix)]
fn in_own_group(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    command.process_group(0);
}

#[cfg(not(unix))]
fn in_own_group(_: &mut Command) {}

#[cfg(unix)]
fn has_exited(child: &mut Child) -> io::Result<bool> {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(Pid::from_child(child)), options)?.is_some())
}

#[cfg(not(unix))]
fn has_exited(child: &mut Child) -> io::Result<bool> {
    Ok(child.try_wait()?.is_some())
}

/// Kills a process that was not waited for, and its group. Returns whether that succeeded.
#[cfg(unix)]
fn kill(child: &mut Child) -> bool {
    use rustix::process::{Pid, Signal, kill_process_group};
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // Fails if the program has left its group.
        let _ = kill_process_group(group, Signal::KILL);
    }
    child.kill().is_ok()
}

#[cfg(not(unix))]
fn kill(child: &mut Child) -> bool {
    child.kill().is_ok()
}

/// Reads a pipe to its end in a new thread, but at most one byte more than `max`. Then the pipe is closed,
/// and further writes to it fail. The parts arrive as they are read.
///
/// The thread runs until all write ends of the pipe are closed, or until the receiver is dropped and a part arrives.
fn read_in_thread(pipe: Option<impl Read + Send + 'static>, max: usize) -> io::Result<Receiver<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().name("credential-helper".to_owned()).spawn(move || {
        let Some(pipe) = pipe else { return };
        let mut pipe = pipe.take(max as u64 + 1);
        let mut buffer = [0; 4 << 10];
        loop {
            match pipe.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(read) if read > 0 && sender.send(buffer[..read].to_vec()).is_ok() => {}
                // After a read error the output is incomplete, which its parser notices.
                _ => return,
            }
        }
    })?;
    Ok(receiver)
}
