//! How a run ended: its exit status, its words for people, its data for programs. Pure.

use super::accel::Accelerator;
use super::diagnose::Diagnosis;
use super::panic::{MORE_MEMORY, Panic, signal_text};
use serde::Serialize;

/// How a machine's run ended. As JSON: an object whose `how` is the variant's name in snake case,
/// with the variant's fields beside it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum Ending {
    /// The text of `--until` came over the console.
    Found {
        /// That text.
        text: String,
    },
    /// Our init reported that the program exited.
    Exited {
        /// With this status.
        status: u8,
    },
    /// Our init reported that a signal killed the program.
    Killed {
        /// Its number.
        signal: u8,
        /// The kernel sent it, because the machine's memory was full.
        #[serde(skip_serializing_if = "is_false")]
        memory: bool,
    },
    /// The program was PID 1 itself and stopped the machine, as such a program does when it is done.
    Stopped,
    /// The machine stopped, and nobody told why.
    StoppedWithoutReport {
        /// Nothing came over the console either.
        silent: bool,
    },
    /// The machine restarted, which is its end here: QEMU was not asked to let it.
    Reset {
        /// Nobody had fed its watchdog.
        watchdog: bool,
        /// What our init said about it, if it was the one.
        why: Option<String>,
        /// Nothing had come over the console.
        silent: bool,
    },
    /// The run ended well, but the text of `--until` never came.
    NotFound {
        /// That text.
        text: String,
    },
    /// The kernel panicked.
    Panicked {
        /// What it said and what that means.
        panic: Panic,
    },
    /// The deadline passed.
    Deadline {
        /// How long it was.
        seconds: f64,
        /// The text of `--until`.
        awaited: Option<String>,
        /// Nothing had come over the console.
        silent: bool,
    },
    /// A signal asked us to stop, as Ctrl-C does.
    Interrupted {
        /// Its number.
        signal: u8,
        /// How the machine ended then; nothing if it was killed.
        then: Option<Box<Ending>>,
        /// It had been asked to stop in order, and took too long.
        too_slow: bool,
    },
    /// QEMU failed, or our side of it.
    HostFailed {
        /// What failed.
        cause: String,
        /// What to do about it, where that is known.
        hint: Option<String>,
    },
}

impl Ending {
    /// The exit status of `cargo xtask qemu`; the table is in the project's documentation.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Found { .. } | Self::Stopped => 0,
            Self::Exited { status } => *status,
            Self::Killed { signal, .. } | Self::Interrupted { signal, .. } => 128u8.saturating_add(*signal),
            Self::StoppedWithoutReport { .. } | Self::Reset { .. } | Self::NotFound { .. } => 1,
            Self::Panicked { .. } => 123,
            Self::Deadline { .. } => 124,
            Self::HostFailed { .. } => 125,
        }
    }

    /// One sentence for people; nothing where all went as it was asked.
    fn sentence(&self) -> Option<String> {
        let sentence = match self {
            Self::Found { .. } | Self::Stopped | Self::Exited { status: 0 } => return None,
            Self::Exited { status } => format!("the program exited with status {status}"),
            Self::Killed { memory: true, .. } => "the program was killed for memory: the machine's was full".to_owned(),
            Self::Killed { signal, .. } => format!("the program was killed by {}", signal_text((*signal).into())),
            Self::StoppedWithoutReport { silent: true } => "the machine stopped before it printed anything".to_owned(),
            Self::StoppedWithoutReport { silent: false } => "the machine stopped without a report from init".to_owned(),
            Self::Reset { watchdog: true, .. } => "the machine was reset: its watchdog was not fed".to_owned(),
            Self::Reset { why: Some(why), .. } => format!("the machine restarted: {why}"),
            Self::Reset { .. } => "the machine was reset, and nobody said why".to_owned(),
            Self::NotFound { text } => format!("the machine ended before `{text}` was seen"),
            Self::Panicked { panic } => format!("kernel panic: {}", panic.explanation),
            Self::Deadline { seconds, awaited, .. } => deadline_sentence(*seconds, awaited.as_deref()),
            Self::Interrupted { signal, then, too_slow } => interrupted(*signal, then.as_deref(), *too_slow),
            Self::HostFailed { cause, .. } => format!("failed to run the machine: {cause}"),
        };
        Some(sentence)
    }

    fn hint(&self) -> Option<&str> {
        match self {
            Self::Panicked { panic } => panic.hint.as_deref(),
            Self::HostFailed { hint, .. } => hint.as_deref(),
            Self::Killed { memory: true, .. } => Some(MORE_MEMORY),
            Self::Interrupted { then: Some(then), .. } => then.hint(),
            _ if self.is_silent() => {
                Some("the kernel's command line needs `console=ttyS0`, and the machine enough memory (`-m MB`)")
            }
            Self::Reset { .. } => Some("`--reboot` lets the machine start again"),
            _ => None,
        }
    }

    /// Whether the machine said nothing at all, and nobody else tells why.
    fn is_silent(&self) -> bool {
        matches!(
            self,
            Self::StoppedWithoutReport { silent: true }
                | Self::Deadline { silent: true, .. }
                | Self::Reset { silent: true, why: None, watchdog: false }
        )
    }

    /// Why a machine restarts that may, for a line on its own.
    pub fn reset_words(&self, panic: Option<&Self>) -> String {
        match (self, panic.and_then(Self::sentence)) {
            (Self::Reset { watchdog: true, .. }, _) => "its watchdog was not fed".to_owned(),
            (Self::Reset { why: Some(why), .. }, _) => why.clone(),
            (_, Some(panic)) => panic,
            _ => "nobody said why".to_owned(),
        }
    }

    /// Whether the program's own lines may tell why it came to this.
    pub fn wants_diagnosis(&self) -> bool {
        match self {
            Self::Found { .. } | Self::Stopped | Self::Exited { status: 0 } | Self::HostFailed { .. } => false,
            Self::Interrupted { .. } => false,
            Self::Reset { watchdog, .. } => !watchdog,
            Self::Exited { .. }
            | Self::Killed { .. }
            | Self::StoppedWithoutReport { .. }
            | Self::NotFound { .. }
            | Self::Panicked { .. }
            | Self::Deadline { .. } => true,
        }
    }

    /// Whether init's last sentence tells the same with more detail.
    fn is_said_by_init(&self) -> bool {
        matches!(self, Self::Exited { .. } | Self::Killed { .. } | Self::Reset { watchdog: false, why: Some(_), .. })
    }

    /// Whether the console's last lines help to understand this ending.
    fn wants_lines(&self) -> bool {
        matches!(
            self,
            Self::Panicked { .. }
                | Self::Deadline { .. }
                | Self::StoppedWithoutReport { .. }
                | Self::Reset { .. }
                | Self::NotFound { .. }
                | Self::HostFailed { .. }
        )
    }
}

fn interrupted(signal: u8, then: Option<&Ending>, too_slow: bool) -> String {
    let signal = signal_text(signal.into());
    match then {
        Some(Ending::Exited { status: 0 }) => format!("stopped by {signal}; the program exited with status 0"),
        Some(then) => match then.sentence() {
            Some(sentence) => format!("stopped by {signal}; {sentence}"),
            None => format!("stopped by {signal}"),
        },
        None if too_slow => format!("stopped by {signal}; the machine took too long to end and was killed"),
        None => format!("interrupted by {signal}"),
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn deadline_sentence(seconds: f64, awaited: Option<&str>) -> String {
    let before = awaited.map_or(String::new(), |text| format!(" before `{text}` was seen"));
    format!("the deadline of {seconds} s passed{before}")
}

/// All there is to tell about a run; what `--json` prints. Fields are only ever added.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// The status to exit with.
    pub exit_status: u8,
    /// From the start of QEMU to the end of the run.
    pub seconds: f64,
    /// From the start of QEMU to the end of the first line on the console.
    pub first_line_seconds: Option<f64>,
    /// What ran the machine's processor.
    pub accelerator: Accelerator,
    /// The QEMU command, as `--dry-run` has it.
    pub command: Vec<String>,
    /// The last lines of the console that are not empty, without control characters.
    pub last_lines: Vec<String>,
    /// The last lines that QEMU itself printed.
    pub qemu_lines: Vec<String>,
    /// What init said, in sentences for people; the last ones.
    pub said: Vec<String>,
    /// What the console tells of the cause, if the program failed and it does.
    pub diagnosis: Option<Diagnosis>,
}

impl Outcome {
    /// A machine that was told where its console is may have nothing to say.
    fn hint(&self) -> Option<&str> {
        let has_console = self.command.iter().any(|word| word.split(' ').any(|word| word == "console=ttyS0"));
        match &self.ending {
            Ending::Deadline { .. } if has_console && self.ending.is_silent() => None,
            ending if has_console && ending.is_silent() => Some(MORE_MEMORY),
            ending => ending.hint(),
        }
    }

    /// The text for people, of several lines: first what happened, then the hint, then the evidence.
    /// Nothing where all went as it was asked.
    pub fn text(&self) -> Option<String> {
        let mut text = self.ending.sentence()?;
        if let Some(said) = self.said.last().filter(|_| self.ending.is_said_by_init()) {
            text.clone_from(said);
        }
        if let Some(Diagnosis { explanation, line, .. }) = &self.diagnosis {
            text.push_str(&format!("\n{explanation}: `{line}`"));
        }
        let hint = self.diagnosis.as_ref().map(|diagnosis| diagnosis.hint.as_str());
        if let Some(hint) = hint.or_else(|| self.hint()) {
            text.push_str(&format!("\nhint: {hint}"));
        }
        if matches!(self.ending, Ending::HostFailed { .. }) {
            push_lines(&mut text, "QEMU said:", &self.qemu_lines);
        }
        if self.ending.wants_lines() {
            push_lines(&mut text, "last lines of the console:", &self.last_lines);
        }
        Some(text)
    }
}

fn push_lines(text: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    text.push_str(&format!("\n{title}"));
    for line in lines {
        text.push_str(&format!("\n  {line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(ending: Ending) -> Outcome {
        Outcome {
            exit_status: ending.exit_status(),
            ending,
            seconds: 1.5,
            first_line_seconds: None,
            accelerator: Accelerator::Tcg,
            command: vec!["qemu".to_owned()],
            last_lines: vec!["one".to_owned(), "two".to_owned()],
            qemu_lines: vec!["qemu: no".to_owned()],
            said: Vec::new(),
            diagnosis: None,
        }
    }

    fn check(ending: Ending, status: u8, text: &str) {
        let outcome = outcome(ending);
        assert_eq!(outcome.exit_status, status);
        assert_eq!(outcome.text().unwrap_or_default(), text);
    }

    #[test]
    fn a_run_as_it_was_asked_needs_no_words() {
        check(Ending::Found { text: "x".to_owned() }, 0, "");
        check(Ending::Stopped, 0, "");
        check(Ending::Exited { status: 0 }, 0, "");
    }

    #[test]
    fn the_programs_status_passes_through() {
        check(Ending::Exited { status: 123 }, 123, "the program exited with status 123");
        check(Ending::Killed { signal: 11, memory: false }, 139, "the program was killed by SIGSEGV (signal 11)");
        let memory = Ending::Killed { signal: 9, memory: true };
        check(
            memory,
            137,
            "the program was killed for memory: the machine's was full\nhint: give it more with `-m MB`",
        );
    }

    #[test]
    fn a_run_that_was_stopped_tells_how_the_machine_ended() {
        let check = |then, too_slow, text: &str| check(Ending::Interrupted { signal: 2, then, too_slow }, 130, text);
        check(None, false, "interrupted by SIGINT (signal 2)");
        check(None, true, "stopped by SIGINT (signal 2); the machine took too long to end and was killed");
        let exited = |status| Some(Box::new(Ending::Exited { status }));
        check(exited(0), false, "stopped by SIGINT (signal 2); the program exited with status 0");
        check(exited(3), false, "stopped by SIGINT (signal 2); the program exited with status 3");
        check(Some(Box::new(Ending::Stopped)), false, "stopped by SIGINT (signal 2)");
    }

    #[test]
    fn inits_own_sentence_has_more_to_tell() {
        let said = "the program /bin/x exited with status 3 after 1.2 s, and restart is never".to_owned();
        let text = |ending| Outcome { said: vec![said.clone()], ..outcome(ending) }.text();
        assert_eq!(text(Ending::Exited { status: 3 }).as_deref(), Some(said.as_str()));
        assert_eq!(text(Ending::Exited { status: 0 }), None);
        let panic = Panic { message: "m".to_owned(), explanation: "why".to_owned(), hint: None };
        assert!(text(Ending::Panicked { panic }).is_some_and(|text| text.starts_with("kernel panic: why\n")));
    }

    #[test]
    fn the_cause_comes_before_the_hint_and_its_hint_is_the_better_one() {
        let diagnosis =
            Diagnosis { explanation: "no EPOLL".to_owned(), hint: "add it".to_owned(), line: "38".to_owned() };
        let panic = Panic { message: "m".to_owned(), explanation: "why".to_owned(), hint: Some("do".to_owned()) };
        let outcome = Outcome { diagnosis: Some(diagnosis), ..outcome(Ending::Panicked { panic }) };
        let text = outcome.text().expect("a panic is told");
        assert!(text.starts_with("kernel panic: why\nno EPOLL: `38`\nhint: add it\nlast lines"), "{text}");
    }

    #[test]
    fn a_reset_is_told_with_its_cause() {
        let reset =
            |watchdog, why: Option<&str>, silent| Ending::Reset { watchdog, why: why.map(str::to_owned), silent };
        let check = |ending, first: &str| {
            let text = outcome(ending).text().expect("a reset is told");
            assert_eq!(text.lines().next(), Some(first), "{text}");
            assert!(text.contains("\nhint: "), "{text}");
        };
        check(reset(true, None, false), "the machine was reset: its watchdog was not fed");
        check(reset(false, Some("it crashed"), false), "the machine restarted: it crashed");
        check(reset(false, None, false), "the machine was reset, and nobody said why");
        check(reset(false, None, true), "the machine was reset, and nobody said why");
    }

    #[test]
    fn what_went_wrong_comes_before_the_evidence() {
        let lines = "\nlast lines of the console:\n  one\n  two";
        let panic = Panic { message: "m".to_owned(), explanation: "why".to_owned(), hint: Some("do".to_owned()) };
        check(Ending::Panicked { panic }, 123, &format!("kernel panic: why\nhint: do{lines}"));
        check(
            Ending::StoppedWithoutReport { silent: false },
            1,
            &format!("the machine stopped without a report from init{lines}"),
        );
        check(Ending::NotFound { text: "up".to_owned() }, 1, &format!("the machine ended before `up` was seen{lines}"));
        let deadline = Ending::Deadline { seconds: 60.0, awaited: Some("up".to_owned()), silent: false };
        check(deadline, 124, &format!("the deadline of 60 s passed before `up` was seen{lines}"));
        let failed = Ending::HostFailed { cause: "why".to_owned(), hint: None };
        check(failed, 125, &format!("failed to run the machine: why\nQEMU said:\n  qemu: no{lines}"));
    }

    #[test]
    fn a_silent_machine_gets_a_hint() {
        let deadline = Ending::Deadline { seconds: 0.5, awaited: None, silent: true };
        let text = outcome(deadline).text().expect("a deadline is told");
        assert!(
            text.starts_with("the deadline of 0.5 s passed\nhint: the kernel's command line needs `console=ttyS0`"),
            "{text}"
        );
    }

    #[test]
    fn a_silent_machine_with_a_console_needs_none() {
        let text = |ending| Outcome { command: vec!["quiet console=ttyS0 x".to_owned()], ..outcome(ending) }.text();
        let deadline = text(Ending::Deadline { seconds: 0.5, awaited: None, silent: true });
        assert!(deadline.is_some_and(|text| !text.contains("hint: ")));
        let stopped = text(Ending::StoppedWithoutReport { silent: true });
        assert!(stopped.is_some_and(|text| text.contains("\nhint: give it more with `-m MB`")));
    }

    #[test]
    fn the_data_has_a_stable_shape() {
        let json = serde_json::to_string(&outcome(Ending::Exited { status: 3 })).expect("it is plain data");
        let expect = r#"{"ending":{"how":"exited","status":3},"exit_status":3,"seconds":1.5,"first_line_seconds":null,"accelerator":"tcg","command":["qemu"],"last_lines":["one","two"],"qemu_lines":["qemu: no"],"said":[],"diagnosis":null}"#;
        assert_eq!(json, expect);
        let json = serde_json::to_string(&Ending::StoppedWithoutReport { silent: true }).expect("it is plain data");
        assert_eq!(json, r#"{"how":"stopped_without_report","silent":true}"#);
    }
}
