//! What a run has shown so far, and when that is enough to know how it ended. Pure: it is told
//! what came and what time it is, counted from the start of QEMU.

use super::Mode;
use super::ending::Ending;
use super::kernel_lines::is_halt;
use super::panic::{Sign, Suspicion};
use super::process::QemuExit;
use super::transcript::{Finder, Lines, Tail, last};
use std::time::Duration;

/// How long a machine may take to stop after its init reported, or after a panic fell silent.
/// Both take milliseconds; the rest of the console's output has to come through.
const GRACE: Duration = Duration::from_secs(2);

/// How many lines of the console and of QEMU are kept for the outcome.
const N_LINES: usize = 20;

/// What init reports on the second serial port when the program has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    Exit(u8),
    Signal(u8),
}

impl Report {
    /// Reads `exit 3` or `signal 11`; other lines are not for us.
    fn from_line(line: &str) -> Option<Self> {
        match line.trim().split_once(' ')? {
            ("exit", status) => Some(Self::Exit(status.parse().ok()?)),
            ("signal", signal) => signal.parse().ok().filter(|number| (1..=64).contains(number)).map(Self::Signal),
            _ => None,
        }
    }
}

/// Watches one run.
pub struct Watch {
    mode: Mode,
    until: Option<(String, Finder)>,
    deadline: Option<Duration>,
    console: Tail,
    console_lines: Lines,
    qemu: Tail,
    qemu_lines: Lines,
    report_lines: Lines,
    first_line: Option<Duration>,
    /// The program's end, and by when the machine has to stop.
    report: Option<(Report, Duration)>,
    /// What looks like a panic, and when it has been silent for long enough to be one.
    suspicion: Option<(Suspicion, Duration)>,
    /// When a machine that said it halted has been silent for long enough.
    halt: Option<Duration>,
}

impl Watch {
    /// Watches for `until` up to the deadline; without a deadline, for ever.
    pub fn new(mode: Mode, until: Option<&str>, deadline: Option<Duration>) -> Self {
        Self {
            mode,
            until: until.map(|text| (text.to_owned(), Finder::new(text))),
            deadline,
            console: Tail::new(),
            console_lines: Lines::new(),
            qemu: Tail::new(),
            qemu_lines: Lines::new(),
            report_lines: Lines::new(),
            first_line: None,
            report: None,
            suspicion: None,
            halt: None,
        }
    }

    /// Bytes came over the console.
    pub fn console(&mut self, now: Duration, bytes: &[u8]) -> Option<Ending> {
        self.console.push(bytes);
        if bytes.contains(&b'\n') {
            self.first_line.get_or_insert(now);
        }
        if let Some((text, finder)) = &mut self.until
            && finder.push(bytes)
        {
            return Some(Ending::Found { text: text.clone() });
        }
        if let Some((_, due)) = &mut self.suspicion {
            *due = now + GRACE;
        }
        let lines = self.console_lines.push(bytes);
        lines.iter().find_map(|line| self.console_line(now, line))
    }

    fn console_line(&mut self, now: Duration, line: &str) -> Option<Ending> {
        // The kernel says nothing after it halted.
        self.halt = is_halt(line).then(|| now + GRACE);
        match self.suspicion.as_ref().map(|(suspicion, _)| suspicion.sign(line)) {
            Some(Sign::Confirmed) => return self.panicked(),
            Some(Sign::None) => {}
            Some(Sign::Refuted) | None => {
                self.suspicion = Suspicion::from_line(line).map(|suspicion| (suspicion, now + GRACE));
            }
        }
        None
    }

    /// Bytes came over the report port. The machine may go on for a moment: its console has to run dry.
    pub fn report(&mut self, now: Duration, bytes: &[u8]) {
        for line in self.report_lines.push(bytes) {
            if let Some(report) = Report::from_line(&line) {
                self.report.get_or_insert((report, now + GRACE));
            }
        }
    }

    /// QEMU itself printed something. After a failure of KVM it waits for ever, stopped.
    pub fn qemu(&mut self, bytes: &[u8]) -> Option<Ending> {
        self.qemu.push(bytes);
        let lines = self.qemu_lines.push(bytes);
        let failed = lines
            .iter()
            .find(|line| line.starts_with("KVM internal error") || line.starts_with("error: kvm run failed"))?;
        Some(Ending::HostFailed { cause: format!("KVM failed: {failed}"), hint: Some("use --accel tcg".to_owned()) })
    }

    /// Until when `tick` has nothing to say.
    pub fn next_tick(&self) -> Option<Duration> {
        [self.deadline, self.settled_at()].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) -> Option<Ending> {
        if self.settled_at().is_some_and(|due| due <= now) {
            return Some(self.settled(QemuExit::Status(0)));
        }
        let deadline = self.deadline.filter(|due| *due <= now)?;
        Some(Ending::Deadline {
            seconds: deadline.as_secs_f64(),
            awaited: self.awaited(),
            silent: self.console.is_empty(),
        })
    }

    /// QEMU has ended, and all that it printed has been told.
    pub fn ended(&mut self, now: Duration, exit: QemuExit) -> Ending {
        let last_line = self.console_lines.finish();
        self.console_line(now, &last_line).unwrap_or_else(|| self.settled(exit))
    }

    /// When a machine that has come to its end but goes on has done so for long enough.
    fn settled_at(&self) -> Option<Duration> {
        let report = self.report.map(|(_, due)| due);
        let panic = self.suspicion.as_ref().map(|(_, due)| *due);
        [report, panic, self.halt].into_iter().flatten().min()
    }

    /// The ending of a machine that does nothing more. The report tells most, then the kernel.
    fn settled(&self, exit: QemuExit) -> Ending {
        match self.report {
            Some((report, _)) => self.reported(report),
            None => self.panicked().unwrap_or_else(|| self.stopped(exit)),
        }
    }

    fn stopped(&self, exit: QemuExit) -> Ending {
        let silent = self.console.is_empty();
        match exit {
            QemuExit::Signal(signal) => {
                host_failed(format!("QEMU was killed by {}", super::panic::signal_text(signal)))
            }
            QemuExit::Status(0) if silent || self.mode == Mode::Supervised => Ending::StoppedWithoutReport { silent },
            QemuExit::Status(0) => self.unless_awaited(Ending::Stopped),
            QemuExit::Status(status) => host_failed(format!("QEMU exited with status {status}")),
        }
    }

    fn reported(&self, report: Report) -> Ending {
        match report {
            Report::Exit(0) => self.unless_awaited(Ending::Exited { status: 0 }),
            Report::Exit(status) => Ending::Exited { status },
            Report::Signal(signal) => Ending::Killed { signal },
        }
    }

    fn panicked(&self) -> Option<Ending> {
        let (suspicion, _) = self.suspicion.as_ref()?;
        Some(Ending::Panicked { panic: suspicion.explain(&self.console.lines(), self.mode) })
    }

    /// A good ending is none while the awaited text has not come.
    fn unless_awaited(&self, ending: Ending) -> Ending {
        self.awaited().map_or(ending, |text| Ending::NotFound { text })
    }

    fn awaited(&self) -> Option<String> {
        self.until.as_ref().map(|(text, _)| text.clone())
    }

    /// When the first line of the console was complete.
    pub fn first_line(&self) -> Option<Duration> {
        self.first_line
    }

    /// The console's last lines that tell about this ending.
    pub fn last_lines(&self, ending: &Ending) -> Vec<String> {
        let mut lines = self.console.lines();
        if matches!(ending, Ending::Panicked { .. }) {
            Suspicion::cut(&mut lines);
        }
        last(lines, N_LINES)
    }

    /// The last lines that QEMU itself printed.
    pub fn qemu_lines(&self) -> Vec<String> {
        self.qemu.last_lines(N_LINES)
    }
}

fn host_failed(cause: String) -> Ending {
    Ending::HostFailed { cause, hint: None }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
