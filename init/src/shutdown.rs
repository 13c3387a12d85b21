//! The end of the machine: what still runs is asked to stop, then stopped; then the power goes off.

use std::time::Duration;

use pid1_init::Off;
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::system::{RebootCommand, reboot};

use crate::{console, reap, sys};

/// How long processes have to end by themselves. Half of what container runtimes give at the least, for here the
/// program has ended already and these are its leftovers.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the kernel has to take killed processes away. Only one stuck in a driver needs more, and it never ends.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// Stops what still runs, then the machine.
pub fn in_order(off: Off) -> ! {
    stop_processes();
    console::debug("the machine ends");
    // Nothing is mounted but file systems of the kernel's own, which have nothing to lose.
    rustix::fs::sync();
    end(match off {
        Off::PowerOff => RebootCommand::PowerOff,
        Off::Restart => RebootCommand::Restart,
    })
}

/// Ends the machine by `command`; where that returns, by the next best thing. Says nothing and waits for nobody.
pub fn end(command: RebootCommand) -> ! {
    console::drain();
    for command in [command, RebootCommand::Restart, RebootCommand::Halt] {
        let _ = reboot(command);
    }
    loop {
        sys::pause();
    }
}

fn stop_processes() {
    if reap::all(Duration::ZERO) {
        return;
    }
    signal_all(Signal::TERM);
    // A stopped process takes no TERM before it is continued.
    signal_all(Signal::CONT);
    if reap::all(PATIENCE) {
        return;
    }
    console::info("some processes do not end by themselves: killing them");
    signal_all(Signal::KILL);
    if !reap::all(KILL_PATIENCE) {
        console::warn("some processes cannot be killed");
    }
}

/// Signals every process but PID 1. There is none on a failure, so that is no news.
fn signal_all(signal: Signal) {
    // kill(2) takes "group 1", which is the process id -1, as everybody the caller may signal.
    let _ = kill_process_group(Pid::INIT, signal);
}
