//! The end of the machine: signals for who still runs, and reboot(2).

use rustix::process::{Pid, Signal, kill_process_group};
use rustix::system::{RebootCommand, reboot};

use crate::{console, sys};

/// Asks the processes of a group to end; a stopped one takes no TERM before it is continued.
pub fn ask(group: Pid) {
    let _ = kill_process_group(group, Signal::TERM);
    let _ = kill_process_group(group, Signal::CONT);
}

/// Kills the processes of a group.
pub fn kill(group: Pid) {
    let _ = kill_process_group(group, Signal::KILL);
}

/// Everybody but PID 1 itself: kill(2) takes "group 1", which is the process id -1, as all whom the caller may signal.
pub const EVERYBODY: Pid = Pid::INIT;

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
