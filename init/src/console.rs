//! Standard streams and the log. Writing to either must never fail, block the machine or panic: a machine without a
//! console, or with one that nobody reads, still runs its program.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use pid1_init::{LogLevel, cmdline};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::stdio;
use rustix::termios::{Action, OptionalActions, tcdrain, tcflow, tcgetattr, tcsetattr};

use crate::clock;
use crate::sys::ioctl;

/// Where standard streams lead when the kernel could not open them, best first. The last always opens, neither reads
/// nor writes, and keeps files opened later from becoming somebody's standard output.
const STREAMS: [(&str, OFlags); 3] =
    [("/dev/console", OFlags::RDWR), ("/dev/null", OFlags::RDWR), ("/", OFlags::RDONLY)];

/// How much a console that takes nothing may hold up; what comes then is lost. As much as a kernel log.
const MOST_PENDING: usize = 128 * 1024;

/// How long the console has to take what is left when the machine ends.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at how much a terminal has sent.
const STEP: Duration = Duration::from_millis(2);

/// The kernel's facility "daemon" (Documentation/ABI/testing/dev-kmsg).
const DAEMON: u8 = 3 << 3;
/// The kernel's severity "debug", which no console prints by default.
const KERN_DEBUG: u8 = 7;

static LEVEL: AtomicU8 = AtomicU8::new(LogLevel::Info as u8);
static KERNEL_LEVEL: AtomicU8 = AtomicU8::new(cmdline::KERNEL_LEVEL);
static OUTPUT: Mutex<Output> = Mutex::new(Output { device: None, pending: Vec::new(), is_raw: false });
static KMSG: OnceLock<OwnedFd> = OnceLock::new();

/// The console, and what it has yet to take.
struct Output {
    /// Without one, lines go to standard error.
    device: Option<OwnedFd>,
    pending: Vec<u8>,
    /// The terminal adds no carriage return to a line feed.
    is_raw: bool,
}

/// Gives PID 1 three open standard streams, and the log a console that does not block.
pub fn open() {
    open_streams();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if let Ok(mut output) = OUTPUT.try_lock() {
        output.device = rustix::fs::open("/dev/console", flags, Mode::empty()).ok();
    }
    // Kept open, so that the log goes on when a program has taken every file that there can be.
    if let Ok(kmsg) = rustix::fs::open("/dev/kmsg", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
        let _ = KMSG.set(kmsg);
    }
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

/// The console's device, for reading; none if there is no console. It lives as long as init.
pub fn device() -> Option<OwnedFd> {
    OUTPUT.try_lock().ok().and_then(|output| output.device.as_ref()?.try_clone().ok())
}

/// Hands everything through as it is: the program's own terminal is in front of this one and does a terminal's work.
pub fn make_raw() {
    let Ok(mut output) = OUTPUT.try_lock() else { return };
    let Some(device) = &output.device else { return };
    let Ok(mut settings) = tcgetattr(device) else { return };
    settings.make_raw();
    output.is_raw = tcsetattr(device, OptionalActions::Now, &settings).is_ok();
}

/// Lets the kernel's log take all of init's lines: by itself it takes ten in five seconds from each who has it open, and the
/// last lines of a program that failed are more. What the kernel command line says (`printk.devkmsg=`) wins.
pub fn unlimit_log() {
    // Without the line feed the kernel does not know the word.
    let _ = fs::write("/proc/sys/kernel/printk_devkmsg", "on\n");
}

/// From here on only lines of this level and above are written. The kernel by itself prints messages whose severity is
/// below `kernel_level`.
pub fn set_level(level: LogLevel, kernel_level: u8) {
    LEVEL.store(level as u8, Ordering::Relaxed);
    KERNEL_LEVEL.store(kernel_level, Ordering::Relaxed);
}

/// For someone looking for a fault.
pub fn debug(text: &str) {
    log(LogLevel::Debug, text);
}

/// Something is wrong.
pub fn warn(text: &str) {
    log(LogLevel::Warn, text);
}

/// Init's own end. Written whatever the level.
pub fn epitaph(text: &str) {
    log(LogLevel::Quiet, text);
}

/// A line of this level.
pub fn log(level: LogLevel, text: &str) {
    if (level as u8) < LEVEL.load(Ordering::Relaxed) {
        return;
    }
    let severity = match level {
        LogLevel::Debug => KERN_DEBUG,
        LogLevel::Info => 6,
        LogLevel::Warn => 4,
        LogLevel::Quiet => 2,
    };
    say(&format!("pid1: {text}"));
    // What the kernel would print on the console has been there already.
    let is_printed = severity < KERNEL_LEVEL.load(Ordering::Relaxed);
    let severity = if is_printed { KERN_DEBUG } else { severity };
    if let Some(kmsg) = KMSG.get() {
        let _ = rustix::io::write(kmsg, format!("<{}>pid1: {text}\n", DAEMON | severity).as_bytes());
    }
}

/// One bare line on the console.
pub fn say(text: &str) {
    let Ok(mut output) = OUTPUT.try_lock() else { return };
    if output.device.is_none() {
        // One write, so that lines of others cannot end up inside this one.
        let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
        return;
    }
    let end = if output.is_raw { "\r\n" } else { "\n" };
    output.take(format!("{text}{end}").as_bytes());
    output.flush();
}

/// Bytes of the program for the console, as they are.
pub fn pass(bytes: &[u8]) {
    let Ok(mut output) = OUTPUT.try_lock() else { return };
    output.take(bytes);
    output.flush();
}

/// Whether the console has yet to take something; then it should be polled for writing, and [`flush`] called.
pub fn is_behind() -> bool {
    OUTPUT.try_lock().is_ok_and(|output| !output.pending.is_empty())
}

/// Hands over what the console takes.
pub fn flush() {
    if let Ok(mut output) = OUTPUT.try_lock() {
        output.flush();
    }
}

impl Output {
    fn take(&mut self, bytes: &[u8]) {
        if self.pending.len() + bytes.len() <= MOST_PENDING {
            self.pending.extend(bytes);
        }
    }

    fn flush(&mut self) {
        let Some(device) = &self.device else {
            self.pending.clear();
            return;
        };
        while !self.pending.is_empty() {
            match rustix::io::write(device, &self.pending) {
                Ok(n_bytes) => drop(self.pending.drain(..n_bytes.min(self.pending.len()))),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // It is gone, or never was one.
                Err(_) => self.pending.clear(),
            }
        }
    }
}

/// Waits until what was written has left the machine: what a serial port still holds at power-off is lost.
pub fn drain() {
    // Somebody may have pressed Ctrl-S and gone; that must not keep the machine alive.
    // Linux lets only who stopped the output start it again, so stop it first.
    let _ = tcflow(io::stderr().as_fd(), Action::OOff);
    let _ = tcflow(io::stderr().as_fd(), Action::OOn);
    drain_pending(DRAIN_PATIENCE);
    wait_sent(io::stderr().as_fd(), DRAIN_PATIENCE);
}

/// Waits until a terminal has sent what it was given, but no longer than this: tcdrain(3) alone would wait for ever for a
/// reader that never comes.
pub fn wait_sent(terminal: BorrowedFd<'_>, patience: Duration) {
    let deadline = clock::now() + patience;
    while ioctl::unsent(terminal).is_ok_and(|n_bytes| n_bytes > 0) {
        if clock::now() >= deadline {
            return;
        }
        clock::sleep(STEP);
    }
    // What the port's own memory holds takes some milliseconds, and the kernel does not wait for longer.
    let _ = tcdrain(terminal);
}

/// Waits until the console has taken what is pending, or this time is over.
pub fn drain_pending(patience: Duration) {
    let deadline = clock::now() + patience;
    while is_behind() {
        let left = clock::until(deadline);
        let Ok(output) = OUTPUT.try_lock() else { return };
        let Some(device) = &output.device else { return };
        let timeout = Timespec::try_from(left).ok();
        let ready = poll(&mut [PollFd::new(device, PollFlags::OUT)], timeout.as_ref());
        drop(output);
        if left.is_zero() || ready.is_err_and(|error| error != Errno::INTR) {
            return;
        }
        flush();
    }
}
