//! Out of memory: the kernel then kills a process. It must be the program, and its owner must be told.
//!
//! Init's own allocations wait for that; see `sys/allocator.rs`. Limits on open files stay as the kernel set them (1024, which
//! a program may raise to 4096 by itself): Go does so, and others may hold that more than 1024 are not selectable.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use pid1_init::memory;
use rustix::fs::{Mode, OFlags};

use crate::console::debug;

const SCORE: &str = "/proc/self/oom_score_adj";

/// Whether there is a score to inherit; the first program starts before that.
static IS_PROTECTED: AtomicBool = AtomicBool::new(false);

/// Takes init out of the kernel's choice. The kernel never kills PID 1; the score is for what init starts besides the
/// program, and for people who read it.
pub fn protect() {
    IS_PROTECTED.store(true, Ordering::Relaxed);
    if let Err(error) = fs::write(SCORE, "-1000") {
        debug(&format!("cannot set {SCORE}: {error}"));
    }
}

/// In the child, between fork and exec: the program inherits init's score, and has to be the kernel's choice again.
/// Makes system calls only.
pub fn expose() {
    if IS_PROTECTED.load(Ordering::Relaxed)
        && let Ok(file) = rustix::fs::open(SCORE, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
    {
        let _ = rustix::io::write(file, b"0");
    }
}

/// How many processes the kernel killed for memory since the boot. If it is more after a program's death by SIGKILL than
/// it was at its start, memory is why. `None` if the kernel does not count.
pub fn kills() -> Option<u64> {
    memory::oom_kills(&fs::read_to_string("/proc/vmstat").ok()?)
}
