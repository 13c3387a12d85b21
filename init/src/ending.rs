//! How the program ended, in words for people; and what init tells its host, line by line.
//!
//! The lines go to the device that `init.report` names and are read by `xtask qemu`, so that the program's own exit
//! status survives the end of the machine. [`Report`] has them all; each ends in a line feed. In the other direction there
//! is one line, `stop`: the machine is to stop in order and switch its power off. It may come more than once.

use std::fmt;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It exited by itself, with this status.
    Exited(u8),
    /// A signal killed it.
    Killed(u8),
    /// The kernel killed it, by SIGKILL, because the machine's memory was full.
    OutOfMemory,
}

/// One line from init to its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// `said TEXT`: a sentence for people. There may be any number of them.
    Said(String),
    /// `exit N` (0 to 255), `signal N` (1 to 64), or `signal 9 memory`: the program has ended for good, and the machine ends
    /// next.
    Ended(Ending),
    /// `reset WHY`: init restarts the machine on purpose.
    Reset(String),
}

/// The program could be found, but Linux could not run it. What shells answer.
pub const CANNOT_RUN: Ending = Ending::Exited(126);

/// There is no such program. What shells answer.
pub const NOT_FOUND: Ending = Ending::Exited(127);

/// The number of SIGKILL, which is the same everywhere.
const SIGKILL: u8 = 9;

/// The highest signal (`_NSIG`).
const LAST_SIGNAL: u8 = 64;

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
            Self::OutOfMemory => SIGKILL.saturating_add(128),
        }
    }
}

impl Report {
    /// The line for the host, with its line feed. Text is made to fit into one line.
    pub fn line(&self) -> String {
        match self {
            Self::Said(text) => format!("said {}\n", one_line(text)),
            Self::Ended(Ending::Exited(status)) => format!("exit {status}\n"),
            Self::Ended(Ending::Killed(signal)) => format!("signal {signal}\n"),
            Self::Ended(Ending::OutOfMemory) => format!("signal {SIGKILL} memory\n"),
            Self::Reset(why) => format!("reset {}\n", one_line(why)),
        }
    }

    /// Reads a whole line, with or without what ends it. Other lines are none.
    pub fn from_line(line: &str) -> Option<Self> {
        let signal = |number: &str| number.parse().ok().filter(|number| (1..=LAST_SIGNAL).contains(number));
        match line.trim_end_matches(['\r', '\n']).split_once(' ')? {
            ("said", text) => Some(Self::Said(text.to_owned())),
            ("reset", why) => Some(Self::Reset(why.to_owned())),
            ("exit", status) => status.parse().ok().map(|status| Self::Ended(Ending::Exited(status))),
            ("signal", "9 memory") => Some(Self::Ended(Ending::OutOfMemory)),
            ("signal", number) => signal(number).map(|number| Self::Ended(Ending::Killed(number))),
            _ => None,
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(status) => write!(f, "exited with status {status}"),
            Self::Killed(signal) => match SIGNALS.get(usize::from(signal).wrapping_sub(1)) {
                Some(name) => write!(f, "was killed by signal {signal} (SIG{name})"),
                None => write!(f, "was killed by signal {signal}"),
            },
            Self::OutOfMemory => f.write_str("was killed for memory (SIGKILL)"),
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

    fn check(report: &Report, line: &str) {
        assert_eq!(report.line(), line);
        assert_eq!(Report::from_line(line).as_ref(), Some(report));
        assert_eq!(Report::from_line(&line.replace('\n', "\r\n")).as_ref(), Some(report));
    }

    #[test]
    fn every_report_reaches_the_host() {
        for n in 0..=u8::MAX {
            check(&Report::Ended(Ending::Exited(n)), &format!("exit {n}\n"));
        }
        for n in 1..=LAST_SIGNAL {
            check(&Report::Ended(Ending::Killed(n)), &format!("signal {n}\n"));
        }
        check(&Report::Ended(Ending::OutOfMemory), "signal 9 memory\n");
        check(&Report::Said("the program exited with status 3".to_owned()), "said the program exited with status 3\n");
        check(&Report::Reset("it crashed 10 times".to_owned()), "reset it crashed 10 times\n");
    }

    #[test]
    fn a_text_stays_in_its_line() {
        assert_eq!(Report::Said("a\nexit 0\r".to_owned()).line(), "said a exit 0 \n");
    }

    #[test]
    fn a_foreign_line_is_no_report() {
        for line in [
            "",
            "exit",
            "exit 300",
            "exit -1",
            "exit 3 4",
            "hello",
            "\0\0exit 1",
            "signal 0",
            "signal 65",
            "signal 11 memory",
        ] {
            assert_eq!(Report::from_line(line), None, "{line:?}");
        }
        assert_eq!(Ending::Killed(9).shell_status(), 137);
        assert_eq!(Ending::OutOfMemory.shell_status(), 137);
    }
}
