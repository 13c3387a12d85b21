//! The only `unsafe` of init: C's entry point, signals, and what the child does before it is the program.
//! Each function here is safe to call.

mod allocator;
pub mod ioctl;
#[cfg(feature = "net")]
pub mod packet;

use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, getpid, setpgid};
use rustix::stdio;
use rustix::termios::tcsetpgrp;

/// The last signal of Linux on every architecture but MIPS.
const LAST_SIGNAL: c_int = 64;

/// What the processor sends to who made the mistake; blocked, it would kill all the same.
const FAULTS: [c_int; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGABRT, libc::SIGSYS];

/// Where the C library starts init; see `main.rs` for why it is not Rust's own.
// SAFETY: nothing else in this binary is called `main`, and this is the signature the C library expects.
#[unsafe(no_mangle)]
pub extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    crate::run()
}

/// The time since the kernel's start. It goes on while the machine sleeps, for a lease runs out then, too. Rustix would look for the fast way into the kernel by itself, as the C library has done.
pub fn clock() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes nothing but `time`.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    let nanoseconds = Duration::from_nanos(time.tv_nsec.unsigned_abs());
    Duration::from_secs(time.tv_sec.unsigned_abs()).saturating_add(nanoseconds)
}

/// What execve(2) wants to know.
pub struct Program<'a> {
    /// The path of the file.
    pub path: CString,
    /// Its arguments, its own name first.
    pub args: Vec<CString>,
    /// Its environment, `NAME=value` each.
    pub env: Vec<CString>,
    /// Its standard streams; init's own if there is none.
    pub terminal: Option<BorrowedFd<'a>>,
}

/// What the child needs to become the program, and where it leaves word.
struct Birth<'a> {
    program: &'a Program<'a>,
    args: Vec<*const c_char>,
    env: Vec<*const c_char>,
    /// The error of execve(2).
    error: Option<Errno>,
}

/// Enough for the handful of calls that the child makes; a page or two are touched.
const CHILD_STACK: usize = 64 * 1024;

/// Starts `program` as the leader of a process group of its own, the one that the terminal's Ctrl-C reaches, and with
/// every signal at its default and none blocked. An error of execve(2) is this function's error.
///
/// The child borrows init's memory, and init stands still until it is the program: nothing is copied, and no file is
/// opened to hear of an error, so that this works when the machine has no file left to open.
pub fn spawn(program: &Program<'_>) -> Result<Pid, Errno> {
    let mut birth =
        Birth { program, args: null_terminated(&program.args), env: null_terminated(&program.env), error: None };
    let mut stack = Vec::<u128>::with_capacity(CHILD_STACK / size_of::<u128>());
    // SAFETY: one past the end of the allocation, aligned to 16 bytes as the x86-64 and Arm calling conventions want it.
    let top = unsafe { stack.as_mut_ptr().add(stack.capacity()) };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: init has one thread, which CLONE_VFORK keeps from running until the child has called execve(2) or _exit(2); so
    // nobody else uses `birth` or the stack, and both outlive the call. The child makes system calls only.
    let pid = unsafe { libc::clone(become_program, top.cast(), flags, (&raw mut birth).cast()) };
    let pid = Pid::from_raw(pid).filter(|_| pid > 0).ok_or_else(last_error)?;
    birth.error.map_or(Ok(pid), Err)
}

/// In the child: never returns.
extern "C" fn become_program(birth: *mut c_void) -> c_int {
    // SAFETY: `spawn` handed over a live `Birth` that nobody else uses meanwhile.
    let birth = unsafe { &mut *birth.cast::<Birth<'_>>() };
    if let Some(terminal) = birth.program.terminal {
        let _ = stdio::dup2_stdin(terminal);
        let _ = stdio::dup2_stdout(terminal);
        let _ = stdio::dup2_stderr(terminal);
    }
    crate::oom::expose();
    let _ = setpgid(None, None);
    // Where standard input is no terminal, the program runs without one.
    let _ = tcsetpgrp(stdio::stdin(), getpid());
    reset_signals();
    // SAFETY: the path and every string end in NUL, both lists in a null pointer, and all of them outlive the call.
    unsafe { libc::execve(birth.program.path.as_ptr(), birth.args.as_ptr(), birth.env.as_ptr()) };
    birth.error = Some(last_error());
    // SAFETY: ends the child at once; nothing of the parent that it shares is flushed or run.
    unsafe { libc::_exit(1) }
}

fn null_terminated(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Makes init immune to SIGTTOU, which a terminal sends to who writes to it, or only waits for it, without being in
/// front. Left at its default PID 1 would not stop, but try again for ever.
pub fn ignore_terminal_stops() {
    // SAFETY: SIG_IGN runs no code of ours.
    unsafe { libc::signal(libc::SIGTTOU, libc::SIG_IGN) };
}

/// Blocks every signal that can wait and makes them readable instead: each has a turn in the loop, none interrupts it.
pub fn signals_as_events() -> Result<OwnedFd, Errno> {
    let mut set = all_signals();
    for fault in FAULTS {
        // SAFETY: `set` is a live, initialized set.
        unsafe { libc::sigdelset(&mut set, fault) };
    }
    change_mask(libc::SIG_SETMASK, &set);
    // SAFETY: `set` is a live, initialized set; -1 asks for a new descriptor, which nobody else owns.
    unsafe {
        match libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(last_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// The number of a signal that came, if one did.
pub fn next_signal(signals: &OwnedFd) -> Option<u32> {
    // `struct signalfd_siginfo` begins with the number, ssi_signo (signalfd(2)).
    let mut info = [0; size_of::<libc::signalfd_siginfo>()];
    let n_bytes = rustix::io::read(signals, &mut info).ok()?;
    let number = info.get(..n_bytes)?.first_chunk()?;
    Some(u32::from_ne_bytes(*number))
}

/// Sends a signal by its number. Realtime signals have no name in rustix.
pub fn send_signal(pid: Pid, signal: u32) {
    let Ok(signal) = c_int::try_from(signal) else { return };
    // SAFETY: no memory is involved.
    unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) };
}

/// Sleeps until a signal.
pub fn pause() {
    // SAFETY: no memory is involved.
    unsafe { libc::pause() };
}

fn reset_signals() {
    for signal in 1..=LAST_SIGNAL {
        // SAFETY: SIG_DFL runs no code of ours. The C library refuses numbers it keeps for itself, the kernel KILL and
        // STOP; neither needs a reset.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    change_mask(libc::SIG_SETMASK, &no_signals());
}

fn change_mask(how: c_int, set: &libc::sigset_t) {
    // SAFETY: `set` is a live, initialized set; a null pointer for the old one is allowed.
    unsafe { libc::sigprocmask(how, set, ptr::null_mut()) };
}

fn no_signals() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initializes the whole set, and cannot fail with a valid pointer.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

/// Not by sigfillset: musl leaves out three signals that its threads use, and the third, 34, is other programs' SIGRTMIN.
fn all_signals() -> libc::sigset_t {
    let mut set = no_signals();
    // SAFETY: `set` is live, and a bit for each signal, so that every pattern of bits is a set.
    unsafe { ptr::write_bytes(&raw mut set, 0xff, 1) };
    set
}
