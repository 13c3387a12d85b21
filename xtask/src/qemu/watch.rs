//! What a run has shown so far, and when that is enough to know how it ended. Pure: it is told
//! what came and what time it is, counted from the start of QEMU.

use super::Mode;
use super::ending::Ending;
use super::host_words;
use super::kernel_lines::is_halt;
use super::monitor::Event;
use super::panic::{Sign, Suspicion};
use super::process::QemuExit;
use super::transcript::{Finder, Lines, Tail, last};
use pid1_init::{Ending as ProgramEnding, Report};
use std::time::Duration;

/// How long a machine may take to stop after its init reported, or after a panic fell silent.
/// Both take milliseconds; the rest of the console's output has to come through.
const GRACE: Duration = Duration::from_secs(2);

/// How many lines of the console, of QEMU and of init's sentences are kept for the outcome.
const N_LINES: usize = 20;

/// The signal that the kernel sends to end a program for its memory.
const SIGKILL: u8 = 9;

/// What restarted the machine, as QEMU saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reset {
    ByItself,
    ByWatchdog,
}

/// Watches one run.
pub struct Watch {
    mode: Mode,
    /// Whether a reset of the machine is a restart and no end.
    restarts: bool,
    until: Option<(String, Finder)>,
    deadline: Option<Duration>,
    console: Tail,
    console_lines: Lines,
    qemu: Tail,
    qemu_lines: Lines,
    report_lines: Lines,
    first_line: Option<Duration>,
    monitor_lines: Lines,
    /// The program's end, and by when the machine has to stop.
    report: Option<(ProgramEnding, Duration)>,
    /// Why init restarts the machine, and by when it has to.
    reset_why: Option<(String, Duration)>,
    /// Init's sentences for people.
    said: Vec<String>,
    /// What restarted the machine.
    reset: Option<Reset>,
    /// Whether the machine has said anything since it was started or restarted.
    is_up: bool,
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
            restarts: false,
            until: until.map(|text| (text.to_owned(), Finder::new(text))),
            deadline,
            console: Tail::new(),
            console_lines: Lines::new(),
            qemu: Tail::new(),
            qemu_lines: Lines::new(),
            report_lines: Lines::new(),
            monitor_lines: Lines::new(),
            first_line: None,
            report: None,
            reset_why: None,
            said: Vec::new(),
            reset: None,
            is_up: false,
            suspicion: None,
            halt: None,
        }
    }

    /// Watches a machine that may restart: a reset is no end.
    pub fn with_restarts(mut self, restarts: bool) -> Self {
        self.restarts = restarts;
        self
    }

    /// Bytes came over the console.
    pub fn console(&mut self, now: Duration, bytes: &[u8]) -> Option<Ending> {
        self.console.push(bytes);
        self.is_up = true;
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
    ///
    /// False if no line was init's: a port that is just being opened echoes what it is told.
    pub fn report(&mut self, now: Duration, bytes: &[u8]) -> bool {
        let reports: Vec<Option<Report>> =
            self.report_lines.push(bytes).iter().map(|line| Report::from_line(line)).collect();
        self.is_up |= !reports.is_empty();
        let is_understood = reports.iter().any(Option::is_some);
        for report in reports {
            match report {
                Some(Report::Said(text)) => self.said.push(text),
                Some(Report::Reset(why)) => drop(self.reset_why.get_or_insert((why, now + GRACE))),
                Some(Report::Ended(ending)) => drop(self.report.get_or_insert((ending, now + GRACE))),
                None => {}
            }
        }
        self.said.drain(..self.said.len().saturating_sub(N_LINES));
        is_understood
    }

    /// Bytes came from QEMU's monitor. Tells whether the machine restarts, and why.
    pub fn monitor(&mut self, bytes: &[u8]) -> Option<String> {
        let mut restart = None;
        for line in self.monitor_lines.push(bytes) {
            match Event::from_line(&line) {
                Some(Event::Watchdog) => self.reset = Some(Reset::ByWatchdog),
                Some(Event::Reset) => {
                    self.reset.get_or_insert(Reset::ByItself);
                    match &mut self.report {
                        // The program has ended for good: that the power stays on changes nothing.
                        Some((_, due)) if self.reset_why.is_none() => *due = Duration::ZERO,
                        _ if self.restarts => restart = restart.or(self.restarted()),
                        _ => {}
                    }
                }
                Some(Event::PowerOff) | None => {}
            }
        }
        restart
    }

    /// The machine starts anew, and what it said before is no news of how it will end. Its firmware resets it once more,
    /// and the kernel may have tried several ways: these are no restarts of their own.
    fn restarted(&mut self) -> Option<String> {
        let panic = self.panicked();
        let why = self.settled(QemuExit::Status(0)).reset_words(panic.as_ref());
        let is_news = self.is_up || self.reset == Some(Reset::ByWatchdog);
        (self.report, self.reset_why, self.reset, self.suspicion, self.halt) = (None, None, None, None, None);
        self.is_up = false;
        is_news.then_some(why)
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
        // A machine that restarts is not at its end.
        let report = self.report.filter(|_| !self.will_restart()).map(|(_, due)| due);
        let reset = self.reset_why.as_ref().filter(|_| !self.restarts).map(|(_, due)| *due);
        let panic = self.suspicion.as_ref().map(|(_, due)| *due);
        [report, reset, panic, self.halt].into_iter().flatten().min()
    }

    /// The ending of a machine that does nothing more. The report tells most, then the kernel.
    fn settled(&self, exit: QemuExit) -> Ending {
        match (&self.reset_why, self.report) {
            (Some(_), _) => self.was_reset(Reset::ByItself),
            (None, Some((ending, _))) => self.reported(ending),
            (None, None) => self.panicked().unwrap_or_else(|| self.stopped(exit)),
        }
    }

    fn will_restart(&self) -> bool {
        self.restarts && self.reset_why.is_some()
    }

    fn was_reset(&self, reset: Reset) -> Ending {
        let why = self.reset_why.as_ref().map(|(why, _)| why.clone());
        Ending::Reset { watchdog: reset == Reset::ByWatchdog, why, silent: self.console.is_empty() }
    }

    fn stopped(&self, exit: QemuExit) -> Ending {
        let silent = self.console.is_empty();
        match exit {
            QemuExit::Status(0) if self.reset.is_some() => self.was_reset(self.reset.unwrap_or(Reset::ByItself)),
            QemuExit::Signal(signal) => {
                host_failed(format!("QEMU was killed by {}", super::panic::signal_text(signal)))
            }
            QemuExit::Status(0) if silent || self.mode == Mode::Supervised => Ending::StoppedWithoutReport { silent },
            QemuExit::Status(0) => self.unless_awaited(Ending::Stopped),
            QemuExit::Status(status) => host_words::explain(&self.qemu_lines())
                .unwrap_or_else(|| host_failed(format!("QEMU exited with status {status}"))),
        }
    }

    fn reported(&self, ending: ProgramEnding) -> Ending {
        match ending {
            ProgramEnding::Exited(0) => self.unless_awaited(Ending::Exited { status: 0 }),
            ProgramEnding::Exited(status) => Ending::Exited { status },
            ProgramEnding::Killed(signal) => Ending::Killed { signal, memory: false },
            ProgramEnding::OutOfMemory => Ending::Killed { signal: SIGKILL, memory: true },
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
        last(self.lines(ending), N_LINES)
    }

    /// The console's lines, as far as they were kept and tell about this ending.
    pub fn lines(&self, ending: &Ending) -> Vec<String> {
        let mut lines = self.console.lines();
        if matches!(ending, Ending::Panicked { .. }) {
            Suspicion::cut(&mut lines);
        }
        lines
    }

    /// What init said, in sentences for people; the last ones.
    pub fn said(&self) -> Vec<String> {
        self.said.clone()
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
