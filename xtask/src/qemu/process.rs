//! One QEMU process, which never outlives its owner: it is killed when the owner drops it, and the
//! kernel kills it when this process dies by any means.

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, getppid, pidfd_open, set_parent_process_death_signal};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

/// How a QEMU process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QemuExit {
    /// With this status; 0 means that the guest stopped.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

impl From<ExitStatus> for QemuExit {
    fn from(status: ExitStatus) -> Self {
        match status.signal() {
            Some(signal) => Self::Signal(signal),
            None => Self::Status(status.code().unwrap_or_default()),
        }
    }
}

/// A running QEMU with pipes on its standard streams.
pub struct Process {
    child: Child,
    pidfd: OwnedFd,
}

impl Process {
    /// Starts `argv`. QEMU inherits each of `inherited` under its number; our copies are closed.
    ///
    /// QEMU gets a process group of its own, so a Ctrl-C in the terminal reaches us and not QEMU. It
    /// never holds the terminal: it would make it non-blocking for us as well.
    pub fn spawn(argv: &[String], inherited: Vec<OwnedFd>) -> io::Result<Self> {
        let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        tie_to_us(&mut command, inherited);
        let mut child = command.spawn()?;
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { child, pidfd }),
            Err(error) => {
                end(&mut child);
                Err(error.into())
            }
        }
    }

    /// Takes QEMU's standard streams; only the first call gets them.
    pub fn take_streams(&mut self) -> (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take())
    }

    /// Readable as soon as the process has ended.
    pub fn exit_event(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits for the end of the process and tells how it came.
    pub fn wait(&mut self) -> io::Result<QemuExit> {
        self.child.wait().map(QemuExit::from)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Kills and reaps. Both fail only if the process is gone already, which is what is wanted.
fn end(child: &mut Child) {
    child.kill().ok();
    child.wait().ok();
}

/// Makes the kernel kill the child when the thread that started it ends, and hands descriptors on.
#[expect(unsafe_code, reason = "std has no safe way to run code between fork and exec")]
fn tie_to_us(command: &mut Command, inherited: Vec<OwnedFd>) {
    let parent = getpid();
    let prepare = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // Whoever died before that line sends no signal any more.
        if getppid() != Some(parent) {
            return Err(io::ErrorKind::NotFound.into());
        }
        for descriptor in &inherited {
            fcntl_setfd(descriptor, FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes a few system calls; it neither allocates nor locks.
    unsafe { command.pre_exec(prepare) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn sh(script: &str) -> Process {
        Process::spawn(&["sh".to_owned(), "-c".to_owned(), script.to_owned()], Vec::new()).expect("sh starts")
    }

    fn check(script: &str, expect: QemuExit) {
        assert_eq!(sh(script).wait().expect("sh ends"), expect);
    }

    #[test]
    fn status_and_signal_are_told_apart() {
        check("exit 3", QemuExit::Status(3));
        check("kill -9 $$", QemuExit::Signal(9));
    }

    #[test]
    fn a_dropped_process_is_killed_and_reaped() {
        let mut process = sh("exec sleep 1000");
        let (_input, output, _errors) = process.take_streams();
        drop(process);
        let mut rest = Vec::new();
        output.expect("a pipe").read_to_end(&mut rest).expect("the pipe is closed by the end of the process");
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let error = Process::spawn(&["/no/such/qemu".to_owned()], Vec::new()).err().expect("no such program");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
