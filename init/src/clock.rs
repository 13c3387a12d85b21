//! The time that only goes on. Not the standard library's `Instant`: its way to report a clock that does not work, which
//! Linux has not, is 6 kB of init.

use std::time::Duration;

use rustix::event::{Timespec, poll};

use crate::sys;

/// A point in time, counted from the kernel's start.
pub type Moment = Duration;

/// This moment.
pub fn now() -> Moment {
    sys::clock()
}

/// How long ago that was.
pub fn since(moment: Moment) -> Duration {
    now().saturating_sub(moment)
}

/// How long it is until then.
pub fn until(moment: Moment) -> Duration {
    moment.saturating_sub(now())
}

/// Waits for so long, or for less if a signal comes.
pub fn sleep(time: Duration) {
    let _ = poll(&mut [], Timespec::try_from(time).ok().as_ref());
}
