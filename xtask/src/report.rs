//! The only room that prints. Progress goes to stderr: a live line per running step on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where nothing is live, a running step says this often that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often a live line is drawn anew.
const TICK: Duration = Duration::from_millis(200);

/// Everything that is said to the user while work goes on.
#[derive(Clone)]
pub struct Reporter {
    bars: Option<MultiProgress>,
    /// Say also what needed no work.
    verbose: bool,
}

impl Reporter {
    /// For the standard streams of this process.
    pub fn new(verbose: bool) -> Self {
        let is_live = std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let bars = is_live.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self { bars, verbose }
    }

    /// A line on stderr that does not tear the live lines.
    pub fn say(&self, line: &str) {
        // A closed stderr must not stop a build.
        let write = || drop(writeln!(std::io::stderr(), "{line}"));
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// A line that only `-v` shows.
    pub fn detail(&self, line: &str) {
        if self.verbose {
            self.say(line);
        }
    }

    /// Starts the line of a running step.
    pub fn step(&self, name: &str) -> StepProgress {
        let bar = self.bars.as_ref().map(|bars| {
            let style = ProgressStyle::with_template("{spinner} {prefix:.bold} {wide_msg} {elapsed}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = bars.add(ProgressBar::new_spinner().with_style(style).with_prefix(name.to_owned()));
            bar.enable_steady_tick(TICK);
            bar
        });
        if bar.is_none() {
            self.say(&format!("{name}: started"));
        }
        let now = Instant::now();
        StepProgress { name: name.to_owned(), bar, started: now, said: Mutex::new(now) }
    }
}

/// The line of one running step: what, how far, how long.
pub struct StepProgress {
    name: String,
    bar: Option<ProgressBar>,
    started: Instant,
    said: Mutex<Instant>,
}

impl StepProgress {
    /// What the step is doing now, and how far it is, in its own unit.
    pub fn now(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => self.heartbeat(what),
        }
    }

    /// Something that the user should know although the step goes on.
    pub fn warn(&self, text: &str) {
        let line = format!("{}: {text}", self.name);
        match &self.bar {
            Some(bar) => bar.suspend(|| drop(writeln!(std::io::stderr(), "{line}"))),
            None => drop(writeln!(std::io::stderr(), "{line}")),
        }
    }

    /// Bytes done of bytes in all, if that is known.
    pub fn bytes(&self, what: &str, done: u64, total: Option<u64>) {
        self.now(&match total.filter(|total| *total > 0) {
            Some(total) => {
                format!("{what} {:.0} of {:.0} MB, {} %", megabytes(done), megabytes(total), done * 100 / total)
            }
            None => format!("{what} {:.1} MB", megabytes(done)),
        });
    }

    fn heartbeat(&self, what: &str) {
        let Ok(mut said) = self.said.lock() else { return };
        if said.elapsed() >= HEARTBEAT {
            *said = Instant::now();
            let _ = writeln!(std::io::stderr(), "{}: {what}, {:.0} s", self.name, self.seconds());
        }
    }

    /// Seconds since the step started.
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

impl Drop for StepProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// A size as people read it, in decimal units.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} MB", megabytes(bytes)),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// Data, for stdout. A reader that has gone away (`| head`) is no error.
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// A whole error with its causes, for stderr.
pub fn error(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "error: {}", render(error));
}

/// The causes in one sentence, each once, and all their hints at the end.
pub fn render(error: &anyhow::Error) -> String {
    let mut text = String::new();
    let mut hints = Vec::new();
    for cause in error.chain().map(ToString::to_string) {
        let (hint, body): (Vec<&str>, Vec<&str>) = cause.lines().partition(|line| line.starts_with("hint: "));
        hints.extend(hint.into_iter().map(str::to_owned));
        let body = body.join("\n");
        if !text.contains(&body) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&body);
        }
    }
    hints.dedup();
    [vec![text], hints].concat().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        let check = |bytes, expect: &str| assert_eq!(size(bytes), expect);
        check(999, "999 B");
        check(61_440, "61.4 kB");
        check(1_018_880, "1.02 MB");
        check(1_600_000_000, "1.60 GB");
    }

    #[test]
    fn an_error_is_one_sentence_with_its_hints_last() {
        let error = anyhow::anyhow!("no space left\nhint: free some").context("failed to write `x`");
        assert_eq!(render(&error), "failed to write `x`: no space left\nhint: free some");
    }
}
