//! How the program ended: in words for people, and as one line for the host.
//!
//! The line goes to the device that `init.report` names and is read by `xtask qemu`, so that the program's own exit
//! status survives the end of the machine. It is `exit N` (0 to 255) or `signal N`, and a line feed.

use std::fmt;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It exited by itself, with this status.
    Exited(u8),
    /// A signal killed it.
    Killed(u8),
}

/// The program could be found, but Linux could not run it. What shells answer.
pub const CANNOT_RUN: Ending = Ending::Exited(126);

/// There is no such program. What shells answer.
pub const NOT_FOUND: Ending = Ending::Exited(127);

/// `SIGNALS[n - 1]` is the name of signal `n`: as on x86, arm and riscv, see signal(7).
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

impl Ending {
    /// The status a shell would give: the program's own, or 128 and the signal's number.
    pub fn shell_status(self) -> u8 {
        match self {
            Self::Exited(status) => status,
            Self::Killed(signal) => signal.saturating_add(128),
        }
    }

    /// The line for the host, with its line feed.
    pub fn report_line(self) -> String {
        match self {
            Self::Exited(status) => format!("exit {status}\n"),
            Self::Killed(signal) => format!("signal {signal}\n"),
        }
    }

    /// The ending in what the host received, if a whole report line is there. The last one counts.
    pub fn from_report(received: &str) -> Option<Self> {
        let whole_lines = received.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        whole_lines.rev().find_map(|line| match line.trim_end_matches('\r').split_once(' ')? {
            ("exit", status) => status.parse().ok().map(Self::Exited),
            ("signal", signal) => signal.parse().ok().map(Self::Killed),
            _ => None,
        })
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(status) => write!(f, "exited with status {status}"),
            Self::Killed(signal) => match SIGNALS.get(usize::from(signal).wrapping_sub(1)) {
                Some(name) => write!(f, "was killed by signal {signal} (SIG{name})"),
                None => write!(f, "was killed by signal {signal}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_is_told_in_words() {
        for (ending, expect) in [
            (Ending::Exited(0), "exited with status 0"),
            (Ending::Killed(11), "was killed by signal 11 (SIGSEGV)"),
            (Ending::Killed(31), "was killed by signal 31 (SIGSYS)"),
            (Ending::Killed(34), "was killed by signal 34"),
            (Ending::Killed(0), "was killed by signal 0"),
        ] {
            assert_eq!(ending.to_string(), expect);
        }
    }

    #[test]
    fn every_ending_reaches_the_host() {
        for n in 0..=u8::MAX {
            for ending in [Ending::Exited(n), Ending::Killed(n)] {
                assert_eq!(Ending::from_report(&ending.report_line()), Some(ending));
            }
        }
    }

    #[test]
    fn a_torn_or_foreign_report_is_no_ending() {
        for received in ["", "exit 3", "exit 300\n", "exit\n", "exit -1\n", "hello\n", "\0\0exit 1\n"] {
            assert_eq!(Ending::from_report(received), None, "{received:?}");
        }
        assert_eq!(Ending::from_report("noise\nexit 3\r\nsignal"), Some(Ending::Exited(3)));
        assert_eq!(Ending::Killed(9).shell_status(), 137);
    }
}
