//! Boot times, for programs that want to show them: `/run/pid1/boot` has a line `NAME SECONDS` for each milestone, counted
//! from the start of the kernel.

use std::fs;
use std::io;

use crate::clock::Moment;
use crate::{console, folders};

const FOLDER: &str = "/run/pid1";
const FILE: &str = "/run/pid1/boot";

/// Writes down when init and the program started.
pub fn write(init: Moment, program: Moment) {
    let line = |name, time: Moment| format!("{name} {}.{:03}\n", time.as_secs(), time.subsec_millis());
    let text = line("init", init) + &line("program", program);
    let written = folders::make(FOLDER).map_err(io::Error::from).and_then(|()| fs::write(FILE, text));
    if let Err(error) = written {
        console::debug(&format!("cannot write {FILE}: {error}"));
    }
}
