//! The power button, and Ctrl-Alt-Del: both ask for an orderly stop.
//!
//! Only input devices that are there at boot are watched.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use pid1_init::input;
use rustix::fs::OFlags;
use rustix::system::{RebootCommand, reboot};

use crate::console::debug;
use crate::folders;
use crate::sys::ioctl;

/// The input devices that have a power button.
pub struct Buttons(Vec<File>);

/// Opens every input device that has a power button. Most virtual machines have one; without any this is empty.
pub fn open() -> Buttons {
    let devices = folders::names("/dev/input").into_iter().filter(|name| name.starts_with("event"));
    let buttons: Vec<File> = devices.filter_map(|name| open_button(&format!("/dev/input/{name}"))).collect();
    debug(&format!("power buttons: {}", buttons.len()));
    Buttons(buttons)
}

fn open_button(path: &str) -> Option<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let device = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let keys = ioctl::keys(&device).ok()?;
    input::has_power_button(&keys).then_some(device)
}

impl Buttons {
    /// What to poll for input.
    pub fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(AsFd::as_fd)
    }

    /// Reads all that came, and says whether a button was pressed. A device that is gone is no longer a source.
    pub fn pressed(&mut self) -> bool {
        let mut is_pressed = false;
        self.0.retain_mut(|device| {
            let (pressed, is_there) = drain(device);
            is_pressed |= pressed;
            is_there
        });
        is_pressed
    }
}

/// Whether the button was pressed, and whether the device is still there.
fn drain(device: &mut File) -> (bool, bool) {
    let mut is_pressed = false;
    // A multiple of an event's size; the kernel hands out whole events.
    let mut events = [0; 16 * input::EVENT];
    loop {
        match device.read(&mut events) {
            Ok(0) => return (is_pressed, false),
            Ok(length) => is_pressed |= input::is_power_pressed(events.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (is_pressed, true),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return (is_pressed, false),
        }
    }
}

/// From here on Ctrl-Alt-Del is a SIGINT for init, and no longer the kernel's immediate restart.
pub fn catch_ctrl_alt_del() {
    if let Err(error) = reboot(RebootCommand::CadOff) {
        debug(&format!("Ctrl-Alt-Del restarts the machine at once: {error}"));
    }
}
