//! Waits for processes that ended, the program and every orphan alike. Nobody else in init may wait.

use std::time::{Duration, Instant};

use pid1_init::{Ending, ending};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process_group, wait};

use crate::{console, sys};

/// Reaps until the process `pid` ended, and says how.
pub fn until(pid: Pid) -> Ending {
    loop {
        match wait(WaitOptions::UNTRACED) {
            Ok(Some((child, status))) if child == pid => match ending_of(status) {
                Some(ending) => return ending,
                None => resume(pid, status),
            },
            Ok(_) | Err(Errno::INTR) => {}
            // No child is left, though nobody else waits. It cannot happen, and must not become an endless loop.
            Err(error) => {
                console::warn(&format!("the program's end was lost: {error}"));
                return ending::CANNOT_RUN;
            }
        }
    }
}

/// Reaps until no process but PID 1 is left, or `patience` is over. True if none is left.
pub fn all(patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            // Some are alive. Every process descends from PID 1, so the last of them shows up here as its child.
            Ok(None) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return false;
                }
                sys::wait_for_child_signal(left);
            }
            Err(_) => return true,
        }
    }
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
