//! The only `unsafe` of init: C's entry point, signal sets, and what the child does between fork and exec.
//! Each function here is safe to call.

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, getpid, setpgid};
use rustix::stdio;
use rustix::termios::tcsetpgrp;

/// The last signal of Linux on every architecture but MIPS.
const LAST_SIGNAL: c_int = 64;

/// Where the C library starts init; see `main.rs` for why it is not Rust's own.
// SAFETY: nothing else in this binary is called `main`, and this is the signature the C library expects.
#[unsafe(no_mangle)]
pub extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    crate::run()
}

/// What execve(2) wants to know.
pub struct Program {
    /// The path of the file.
    pub path: CString,
    /// Its arguments, its own name first.
    pub args: Vec<CString>,
    /// Its environment, `NAME=value` each.
    pub env: Vec<CString>,
}

/// Starts `program` as the leader of a process group of its own, the one that the terminal's Ctrl-C reaches, and with
/// every signal at its default and none blocked. An error of execve(2) is this function's error.
///
/// `std::process::Command` would do it, but it opens a Unix socket on the way, and a kernel without networking has none.
pub fn spawn(program: &Program) -> Result<Pid, Errno> {
    let args = null_terminated(&program.args);
    let env = null_terminated(&program.env);
    // The child's end closes on execve; what comes through it before is the number of the error.
    let (failure, child_end) = pipe_with(PipeFlags::CLOEXEC)?;
    // SAFETY: init has one thread, so the child finds no lock held by another. It makes system calls only.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let error = become_program(&program.path, &args, &env);
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
fn become_program(path: &CStr, args: &[*const c_char], env: &[*const c_char]) -> Errno {
    let _ = setpgid(None, None);
    // Where standard input is no terminal, the program runs without one.
    let _ = tcsetpgrp(stdio::stdin(), getpid());
    reset_signals();
    // SAFETY: the path and every string end in NUL, both lists in a null pointer, and all of them outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
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

/// Blocks SIGCHLD, so that [`wait_for_child_signal`] finds it even if it came before the call.
pub fn hold_child_signals() {
    change_mask(libc::SIG_BLOCK, &child_signals());
}

/// Sleeps until a child ended, or for `longest`. May return early.
pub fn wait_for_child_signal(longest: Duration) {
    let longest = libc::timespec {
        // u16 fits every architecture's type; a longer wait only returns earlier.
        tv_sec: u16::try_from(longest.as_secs()).unwrap_or(u16::MAX).into(),
        tv_nsec: longest.subsec_nanos().into(),
    };
    // SAFETY: both pointers are to live, initialized values; a null pointer for the details is allowed.
    unsafe { libc::sigtimedwait(&child_signals(), ptr::null_mut(), &longest) };
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

fn child_signals() -> libc::sigset_t {
    let mut set = no_signals();
    // SAFETY: `set` is a live, initialized set and SIGCHLD a signal.
    unsafe { libc::sigaddset(&mut set, libc::SIGCHLD) };
    set
}
