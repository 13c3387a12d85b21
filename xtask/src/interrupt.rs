//! Ctrl-C and its like while steps run: the tools are killed, finished things stay, half-made ones are swept by the next run.

use std::io::Read;

use anyhow::{Context, Result};

use crate::qemu::interrupt::{Interrupts, Patience};
use crate::report::Reporter;
use crate::sandbox;

/// Added to the signal's number, as shells do.
pub const SIGNALLED: i32 = 128;

/// Until the returned value is dropped, a signal ends this process with 128 plus its number, and all tools with it.
pub fn end_on_signals() -> Result<Interrupts> {
    on_signals(|signal| {
        let _no_tool_starts = sandbox::kill_all();
        Reporter::new(false).say("interrupted; finished steps are kept, those that ran start over the next time");
        std::process::exit(SIGNALLED + i32::from(signal));
    })
}

/// Until the returned value is dropped, the first signal calls `act` with its number, in a thread of its own.
pub fn on_signals(act: impl FnOnce(u8) + Send + 'static) -> Result<Interrupts> {
    let context = "failed to listen for signals";
    let interrupts = Interrupts::listen(None, Patience::One).context(context)?;
    let mut waiter = interrupts.waiter().context(context)?;
    let wait = move || {
        let mut signal = [0];
        if waiter.read_exact(&mut signal).is_ok() {
            act(signal[0]);
        }
    };
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(wait).context(context)?;
    Ok(interrupts)
}
