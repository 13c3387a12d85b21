//! Memory for init. std answers a failed allocation with abort(), and the kernel the end of PID 1 with a panic; so here a
//! failure is waited out, for the kernel is killing somebody for memory just then, and only one that stays ends the
//! machine, in words.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use rustix::system::RebootCommand;

use crate::{clock, shutdown};

#[global_allocator]
static ALLOCATOR: Patient = Patient;

/// How often and how far apart a failed allocation is tried again: ten seconds in all, within which the kernel has
/// killed several processes, and which is less than a watchdog waits.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Written with nothing but system calls: there is no memory for more.
const EPITAPH: &[u8] = b"pid1: init failed, restarting the machine: no memory is left\n";

/// The system's allocator, tried again while it fails.
struct Patient;

// SAFETY: every call goes to the system's allocator as it came, and what that gave is handed on; the one exception never
// returns.
unsafe impl GlobalAlloc for Patient {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the rules of this same function.
        patiently(|| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the rules of this same function.
        patiently(|| unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the rules of this same function, and a failed call leaves the block as it is.
        patiently(|| unsafe { System.realloc(block, layout, size) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the rules of this same function.
        unsafe { System.dealloc(block, layout) }
    }
}

fn patiently(allocate: impl Fn() -> *mut u8) -> *mut u8 {
    for _ in 0..TRIES {
        let block = allocate();
        if !block.is_null() {
            return block;
        }
        clock::sleep(PAUSE);
    }
    give_up()
}

fn give_up() -> ! {
    let _ = rustix::io::write(rustix::stdio::stderr(), EPITAPH);
    // A path this short is handed to the kernel from the stack.
    if let Ok(mut kmsg) = OpenOptions::new().write(true).open("/dev/kmsg") {
        let _ = kmsg.write_all(EPITAPH);
    }
    shutdown::end(RebootCommand::Restart)
}
