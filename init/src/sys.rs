//! The only `unsafe` of init: C's entry point, signals, and what the child does between fork and exec.
//! Each function here is safe to call.

mod allocator;
pub mod ioctl;
pub mod packet;

use std::ffi::{CString, c_char, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
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

/// Starts `program` as the leader of a process group of its own, the one that the terminal's Ctrl-C reaches, and with
/// every signal at its default and none blocked. An error of execve(2) is this function's error.
///
/// `std::process::Command` would do it, but it opens a Unix socket on the way, and a kernel without networking has none.
pub fn spawn(program: &Program<'_>) -> Result<Pid, Errno> {
    let args = null_terminated(&program.args);
    let env = null_terminated(&program.env);
    // The child's end closes on execve; what comes through it before is the number of the error.
    let (failure, child_end) = pipe_with(PipeFlags::CLOEXEC)?;
    // SAFETY: init has one thread, so the child finds no lock held by another. It makes system calls only.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let error = become_program(program, &args, &env);
        let _ = rustix::io::write(&child_end, &error.raw_os_error().to_ne_bytes());
        // SAFETY: ends the child at once; nothing of the parent that it shares is flushed or run.
        unsafe { libc::_exit(1) };
    }
    drop(child_end);
    let pid = Pid::from_raw(pid).filter(|_| pid > 0).ok_or_else(last_error)?;
    let mut number = [0; 4];
    match rustix::io::retry_on_intr(|| rustix::io::read(&failure, &mut number)) {
        Ok(4) => Err(Errno::from_raw_os_error(i32::from_ne_bytes(number))),
        _ => Ok(pid),
    }
}

/// In the child: returns only if it failed.
fn become_program(program: &Program<'_>, args: &[*const c_char], env: &[*const c_char]) -> Errno {
    if let Some(terminal) = program.terminal {
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
    unsafe { libc::execve(program.path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    last_error()
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

fn all_signals() -> libc::sigset_t {
    let mut set = no_signals();
    // SAFETY: `set` is a live set; sigfillset cannot fail with a valid pointer.
    unsafe { libc::sigfillset(&mut set) };
    set
}
