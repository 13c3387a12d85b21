//! Tells the host how the program ended, over the device that the kernel command line names. The line must be out of
//! the machine when this returns, for the power goes off next.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use pid1_init::Ending;
use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr};

use crate::console;

/// Writes the report line to `device`. A failure is said on the console and changes nothing else.
pub fn send(device: &str, ending: Ending) {
    if let Err(error) = open(device).and_then(|file| write(file, ending)) {
        console::warn(&format!("cannot report the program's end to {device}: {error}"));
    }
}

fn open(device: &str) -> io::Result<File> {
    // NOCTTY: the report's line must not become anybody's terminal.
    let flags = i32::try_from(OFlags::NOCTTY.bits()).unwrap_or(0);
    OpenOptions::new().write(true).custom_flags(flags).open(device)
}

fn write(mut file: File, ending: Ending) -> io::Result<()> {
    let terminal = tcgetattr(&file).ok();
    if let Some(mut settings) = terminal.clone() {
        // Raw: no carriage return is to be added to the line feed.
        settings.make_raw();
        tcsetattr(&file, OptionalActions::Now, &settings)?;
    }
    file.write_all(ending.report_line().as_bytes())?;
    match terminal {
        Some(_) => Ok(tcdrain(&file)?),
        None => Ok(()),
    }
}
