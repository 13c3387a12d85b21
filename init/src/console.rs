//! Standard streams and the log. Writing to either must never fail, block the boot or panic: a machine without a
//! console still runs its program.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU8, Ordering};

use pid1_init::LogLevel;
use rustix::fs::{Mode, OFlags};
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::stdio;
use rustix::termios::{Action, tcdrain, tcflow};

use crate::sys;

/// Where standard streams lead when the kernel could not open them, best first. The last always opens, neither reads
/// nor writes, and keeps files opened later from becoming somebody's standard output.
const STREAMS: [(&str, OFlags); 3] =
    [("/dev/console", OFlags::RDWR), ("/dev/null", OFlags::RDWR), ("/", OFlags::RDONLY)];

/// <3> is the kernel's facility "daemon", 7 its level "debug": kept in the kernel's log, yet not printed a second time
/// on the console, where this log has been already (Documentation/ABI/testing/dev-kmsg).
const KMSG_PREFIX: &str = "<31>";

static LEVEL: AtomicU8 = AtomicU8::new(LogLevel::Info as u8);

/// Gives PID 1, and so every program it starts, three open standard streams and, if the console is one, a terminal.
///
/// The terminal belongs to PID 1's session, with the program as the group in front. A program that led its own session
/// would take the terminal down with it: Linux then throws away what a serial port has yet to send, and the last words
/// of a program are the ones that matter.
pub fn open() {
    open_streams();
    sys::ignore_terminal_stops();
    let _ = setsid();
    let _ = ioctl_tiocsctty(stdio::stdin());
}

fn open_streams() {
    let is_closed = |stream: BorrowedFd<'_>| rustix::io::fcntl_getfd(stream).is_err();
    if ![stdio::stdin(), stdio::stdout(), stdio::stderr()].into_iter().any(is_closed) {
        return;
    }
    let file =
        STREAMS.iter().find_map(|(path, flags)| rustix::fs::open(*path, *flags | OFlags::NOCTTY, Mode::empty()).ok());
    let Some(file) = file else { return };
    let _ = stdio::dup2_stdin(&file);
    let _ = stdio::dup2_stdout(&file);
    let _ = stdio::dup2_stderr(&file);
    // The file may itself be one of the three.
    if file.as_raw_fd() <= 2 {
        std::mem::forget(file);
    }
}

/// From here on only lines of this level and above are written.
pub fn set_level(level: LogLevel) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// For someone looking for a fault.
pub fn debug(text: &str) {
    log(LogLevel::Debug, text);
}

/// For the machine's owner.
pub fn info(text: &str) {
    log(LogLevel::Info, text);
}

/// Something is wrong.
pub fn warn(text: &str) {
    log(LogLevel::Warn, text);
}

/// Init's own end. Written whatever the level.
pub fn epitaph(text: &str) {
    log(LogLevel::Quiet, text);
}

/// One bare line on standard error.
pub fn say(text: &str) {
    // One write, so that lines of the program cannot end up inside this one.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Waits until what was written has left the machine: what a serial port still holds at power-off is lost.
pub fn drain() {
    // Somebody may have pressed Ctrl-S and gone; that must not keep the machine alive.
    // Linux lets only who stopped the output start it again, so stop it first.
    let _ = tcflow(io::stderr().as_fd(), Action::OOff);
    let _ = tcflow(io::stderr().as_fd(), Action::OOn);
    let _ = tcdrain(io::stderr().as_fd());
}

fn log(level: LogLevel, text: &str) {
    if (level as u8) < LEVEL.load(Ordering::Relaxed) {
        return;
    }
    say(&format!("pid1: {text}"));
    if let Ok(mut kmsg) = OpenOptions::new().write(true).open("/dev/kmsg") {
        let _ = kmsg.write_all(format!("{KMSG_PREFIX}pid1: {text}\n").as_bytes());
    }
}
