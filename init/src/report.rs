//! The line to the host that the kernel command line names: init says there how the program ended, and the host may ask
//! it to stop. What is said must be out of the machine when [`Channel::send`] returns, for the power goes off next.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use pid1_init::Report;
use pid1_init::supervise::{End, Goal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::clock::{self, Moment};
use crate::console;

/// What the host says to stop the machine in order.
const STOP: &[u8] = b"stop\n";
/// How long the host may take the report. It is some hundred bytes.
const PATIENCE: Duration = Duration::from_secs(2);

/// An open line to the host.
pub struct Channel {
    device: OwnedFd,
    /// The end of what the host said: one byte less than what it could say.
    heard: Vec<u8>,
    /// The host has nothing more to say.
    is_deaf: bool,
}

impl Channel {
    /// Opens `device`, which must be there at boot. A failure is said on the console and changes nothing else.
    pub fn open(device: &str) -> Option<Self> {
        // NOCTTY: the host's line must not become anybody's terminal.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::open(device, flags, Mode::empty()) {
            Ok(device) => {
                // Raw: no carriage return is to be added to a line feed, and nothing echoed.
                if let Ok(mut settings) = tcgetattr(&device) {
                    settings.make_raw();
                    let _ = tcsetattr(&device, OptionalActions::Now, &settings);
                }
                Some(Self { device, heard: Vec::new(), is_deaf: false })
            }
            Err(error) => {
                console::warn(&format!("cannot report to {device}: {}", std::io::Error::from(error)));
                None
            }
        }
    }

    /// What to poll for reading.
    pub fn source(&self) -> Option<BorrowedFd<'_>> {
        (!self.is_deaf).then(|| self.device.as_fd())
    }

    /// Whether the host has asked to stop since the last call.
    pub fn is_asked_to_stop(&mut self) -> bool {
        let mut bytes = [0; 256];
        let n_bytes = match rustix::io::read(&self.device, &mut bytes) {
            Ok(n_bytes @ 1..) => n_bytes,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            // A line that hung up would be readable for ever.
            Ok(_) | Err(_) => {
                self.is_deaf = true;
                0
            }
        };
        self.heard.extend(bytes.get(..n_bytes).unwrap_or_default());
        let is_asked = self.heard.windows(STOP.len()).any(|window| window == STOP);
        let n_known = if is_asked { self.heard.len() } else { self.heard.len().saturating_sub(STOP.len() - 1) };
        self.heard.drain(..n_known);
        is_asked
    }

    /// Tells the host how all ended.
    pub fn send(&self, end: &End) {
        let mut text = Report::Said(end.why.clone()).line();
        if end.goal == Goal::Reboot {
            text.push_str(&Report::Reset(end.why.clone()).line());
        }
        if let Some(ending) = end.ending {
            text.push_str(&Report::Ended(ending).line());
        }
        if let Err(error) = self.write(text.as_bytes()) {
            console::warn(&format!("cannot report the program's end: {}", std::io::Error::from(error)));
        }
        console::wait_sent(self.device.as_fd(), PATIENCE);
    }

    fn write(&self, mut bytes: &[u8]) -> Result<(), Errno> {
        let deadline = clock::now() + PATIENCE;
        while !bytes.is_empty() {
            match rustix::io::write(&self.device, bytes) {
                Ok(n_bytes) => bytes = bytes.get(n_bytes..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait(deadline)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn wait(&self, deadline: Moment) -> Result<(), Errno> {
        let left = clock::until(deadline);
        let timeout = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::new(&self.device, PollFlags::OUT)], Some(&timeout)) {
            Ok(0) => Err(Errno::TIMEDOUT),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
