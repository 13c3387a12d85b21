//! The end of a PID 1 that has a fault of its own: one line that says so, then a restart. It must never unwind into
//! nothing, for the kernel answers the death of PID 1 with a panic and often with a silent, hanging machine.

use std::panic::{self, PanicHookInfo};

use rustix::system::RebootCommand;

use crate::{console, shutdown};

/// From here on a panic ends in [`last_words`].
pub fn install() {
    panic::set_hook(Box::new(last_words));
}

fn last_words(info: &PanicHookInfo<'_>) {
    let why = info.payload_as_str().unwrap_or("no reason given");
    match info.location() {
        Some(place) => console::epitaph(&format!("init failed, restarting the machine: {why} ({place})")),
        None => console::epitaph(&format!("init failed, restarting the machine: {why}")),
    }
    shutdown::end(RebootCommand::Restart)
}
