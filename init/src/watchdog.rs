//! The watchdog: hardware that restarts the machine when init no longer says that it is alive. And the kernel's own part:
//! after a panic it restarts, and a fault inside of it is a panic.
//!
//! Init feeds it from the supervisor's loop and from nowhere else, so that a loop that stands still is noticed. Two pieces of
//! work hold the loop up for good reason, mounting (a journal is replayed) and unmounting (all that was written goes to the
//! disk); for their time the watchdog is made patient, and still brings the machine back should a dead disk hold init for
//! ever. It is stopped last, when only the power has to go off.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::time::Duration;

use crate::clock::{self, Moment};
use crate::console::{debug, warn};
use crate::sys::ioctl;

const DEVICE: &str = "/dev/watchdog";

/// For work that init cannot interrupt. A disk that takes longer is taken for dead.
const PATIENCE: Duration = Duration::from_secs(180);

/// The feeds that fit into one timeout. Two may come late or get lost.
const FEEDS: u32 = 3;

/// An open watchdog. It bites, too, if this is dropped and not disarmed.
pub struct Watchdog {
    device: File,
    /// What the image asked for.
    timeout: Duration,
    /// What the hardware has been set to.
    current: Duration,
    fed: Moment,
    is_failing: bool,
}

/// Starts the watchdog, at first a patient one. `None` if the machine has none.
pub fn open(timeout: Duration) -> Option<Watchdog> {
    let device = match OpenOptions::new().write(true).open(DEVICE) {
        Ok(device) => device,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            debug("the machine has no watchdog, or the kernel no driver for it (fragment `watchdog`)");
            return None;
        }
        Err(error) => {
            warn(&format!("cannot open {DEVICE}, nothing restarts a machine that hangs: {error}"));
            return None;
        }
    };
    let mut watchdog = Watchdog { device, timeout, current: timeout, fed: clock::now(), is_failing: false };
    watchdog.relax();
    Some(watchdog)
}

impl Watchdog {
    /// When [`feed`](Self::feed) has to be called at the latest.
    pub fn deadline(&self) -> Moment {
        self.fed + self.current / FEEDS
    }

    /// Says that init is alive. Costs nothing if called before the [`deadline`](Self::deadline).
    pub fn feed(&mut self) {
        if clock::now() >= self.deadline() {
            self.feed_now();
        }
    }

    /// Before work that may take minutes: mounting and unmounting.
    pub fn relax(&mut self) {
        self.set_timeout(self.timeout.max(PATIENCE), debug);
    }

    /// After it: the image's own timeout counts again.
    pub fn tighten(&mut self) {
        self.set_timeout(self.timeout, warn);
    }

    /// Stops it, for the power goes off. One that cannot be stopped stays patient; that is time enough.
    pub fn disarm(mut self) {
        if let Err(error) = ioctl::stop_watchdog(&self.device) {
            self.feed_now();
            let seconds = self.current.as_secs();
            debug(&format!("the watchdog cannot be stopped ({error}): it restarts the machine in {seconds} s"));
        }
        // The magic letter: closing the device is meant.
        let _ = self.device.write_all(b"V");
    }

    fn feed_now(&mut self) {
        // Anything but the letter V.
        let fed = self.device.write_all(b"\0");
        self.fed = clock::now();
        if let Err(error) = &fed
            && !self.is_failing
        {
            warn(&format!("cannot feed the watchdog: {error}"));
        }
        self.is_failing = fed.is_err();
    }

    fn set_timeout(&mut self, timeout: Duration, complain: fn(&str)) {
        let seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
        let set = ioctl::set_watchdog_timeout(&self.device, i32::try_from(seconds).unwrap_or(i32::MAX));
        let set = set.or_else(|error| {
            complain(&format!("the watchdog does not take a timeout of {seconds} s: {error}"));
            ioctl::watchdog_timeout(&self.device)
        });
        // Hardware may have a fixed timeout and not say which; it is never less than a second.
        let seconds = set.unwrap_or(1).max(1);
        self.current = Duration::from_secs(seconds.unsigned_abs().into());
        self.feed_now();
        debug(&format!("the watchdog waits {seconds} s"));
    }
}

/// Makes the kernel restart after a panic, and panic after a fault of its own. What the kernel command line says of a
/// restart (`panic=`) wins.
pub fn restart_after_panic() {
    // Seconds in which somebody may read the panic.
    const PAUSE: &str = "10";
    for (setting, value) in [("panic", PAUSE), ("panic_on_oops", "1")] {
        let path = format!("/proc/sys/kernel/{setting}");
        let set = match fs::read_to_string(&path) {
            Ok(text) if text.trim_ascii() == "0" => fs::write(&path, value),
            other => other.map(|_| ()),
        };
        if let Err(error) = set {
            debug(&format!("cannot set {path}: {error}"));
        }
    }
}
