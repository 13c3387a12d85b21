//! Takes the processes that ended, the program and every orphan alike. Nobody else in init may wait.

use pid1_init::Ending;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process_group, wait};

/// How many are taken in one turn: a machine in which processes die without end must still do its other work.
const MOST_AT_ONCE: usize = 1000;

/// What one turn found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The program ended, and nothing after it was looked at yet.
    Program(Ending),
    /// Some may be left to take.
    More,
    /// The others live.
    Living,
    /// No process is left but PID 1: every process descends from it, so the last ones are its children.
    Nobody,
}

/// Takes all that have ended, up to the program's end.
pub fn turn(program: Option<Pid>) -> Found {
    for _ in 0..MOST_AT_ONCE {
        match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            Ok(Some((pid, status))) => match ending_of(status) {
                Some(ending) if Some(pid) == program => return Found::Program(ending),
                Some(_) => {}
                None => resume(pid, status),
            },
            Ok(None) => return Found::Living,
            Err(Errno::INTR) => {}
            Err(_) => return Found::Nobody,
        }
    }
    Found::More
}

/// A program stopped by Ctrl-Z goes on: no shell is there that could continue it.
fn resume(pid: Pid, status: WaitStatus) {
    if status.stopping_signal() == Some(Signal::TSTP.as_raw()) {
        let _ = kill_process_group(pid, Signal::CONT);
    }
}

/// How a process ended, or `None` if it only stopped.
fn ending_of(status: WaitStatus) -> Option<Ending> {
    let exited = status.exit_status().map(|code| Ending::Exited(low_byte(code)));
    exited.or_else(|| status.terminating_signal().map(|signal| Ending::Killed(low_byte(signal))))
}

/// Exit statuses and signal numbers are bytes; the kernel only hands them over in a wider type.
fn low_byte(code: i32) -> u8 {
    let [low, ..] = code.to_le_bytes();
    low
}
