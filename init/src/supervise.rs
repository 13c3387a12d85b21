//! What follows what: the program's start, its end, the wait before the next start, the machine's orderly stop.
//!
//! A pure state machine. It is told events and the time, and answers with actions; it waits for nothing and starts
//! nothing, so every promise here is tested without a machine.

use std::time::Duration;

use crate::Ending;
use crate::cmdline::LogLevel;
use crate::config::{OnCrashLoop, Restart, Supervise};
use crate::time::millis;

/// How long the program's leftovers have to end by themselves once it has ended.
const LEFTOVERS_PATIENCE: Duration = Duration::from_secs(2);

/// How long the kernel has to take killed processes away. Only one stuck in a driver needs more, and it never ends.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// When it is said what the start waits for, the first time and then again.
const WAIT_NEWS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// All that the program waits for is there.
    Ready,
    /// What the program cannot do without is missing for good: told in a sentence.
    Impossible(String),
    /// [`Action::Start`] was done.
    Started,
    /// [`Action::Start`] failed: with what a shell would have answered, and the reason as a sentence.
    NotStarted(Ending, String),
    /// The program ended.
    Ended(Ending),
    /// No process is left but PID 1.
    Alone,
    /// The machine is asked to stop: how it is to end, and who asks.
    Stop(Goal, String),
    /// Time has passed.
    Tick,
}

/// How the machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The power goes off.
    PowerOff,
    /// It starts again.
    Reboot,
}

/// Something is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start the program.
    Start,
    /// Ask the program's process group to end.
    AskProgram,
    /// Kill the program's process group.
    KillProgram,
    /// Ask every process to end.
    AskAll,
    /// Kill every process.
    KillAll,
    /// Log a line.
    Log(LogLevel, String),
    /// Log what the start waits for.
    LogWait,
    /// Show the last lines of the program's output.
    ShowLastLines,
    /// End the machine.
    End(End),
}

/// The machine's end, and what is told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// How the machine ends.
    pub goal: Goal,
    /// How the program ended, if it ever ran or should have.
    pub ending: Option<Ending>,
    /// Why the machine ends, as a sentence.
    pub why: String,
}

/// The state machine.
pub struct Supervisor {
    program: String,
    rules: Supervise,
    state: State,
    /// Unhealthy ends in a row.
    n_failures: u32,
    /// How the program ended last.
    ending: Option<Ending>,
}

enum State {
    /// Something is missing; how often that was said, and when it is said next.
    Waiting { n_said: usize, until: Duration },
    /// [`Action::Start`] is being done.
    Starting,
    /// The program runs since then.
    Running { since: Duration },
    /// The program starts again then; and once that time is over, as soon as nobody of the last run is left, but then at
    /// the latest.
    Resting { until: Duration, is_over: bool },
    /// The machine stops.
    Stopping { stage: Stage, until: Duration, goal: Goal, why: String },
    /// The last action was given.
    Over,
}

/// Who is waited for while the machine stops.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The program, which was asked to end.
    Program,
    /// What it left behind, which was asked to end.
    Leftovers,
    /// Everybody: all were killed.
    Killed,
}

impl Supervisor {
    /// Of the program with this path in the machine. It starts with [`Event::Ready`].
    pub fn new(program: &str, rules: Supervise, now: Duration) -> Self {
        let state = State::Waiting { n_said: 0, until: now + WAIT_NEWS[0] };
        Self { program: program.to_owned(), rules, state, n_failures: 0, ending: None }
    }

    /// When [`Event::Tick`] is due.
    pub fn deadline(&self) -> Option<Duration> {
        match self.state {
            State::Waiting { until, .. } | State::Resting { until, .. } | State::Stopping { until, .. } => Some(until),
            State::Starting | State::Running { .. } | State::Over => None,
        }
    }

    /// Whether the machine is on its way to its end.
    pub fn is_stopping(&self) -> bool {
        matches!(self.state, State::Stopping { .. } | State::Over)
    }

    /// What is to be done now that `event` has happened, in order.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        match event {
            Event::Ready if matches!(self.state, State::Waiting { .. }) => self.start(),
            Event::Impossible(why) if !self.is_stopping() => self.impossible(now, why),
            Event::Started if matches!(self.state, State::Starting) => {
                self.state = State::Running { since: now };
                Vec::new()
            }
            Event::NotStarted(ending, why) => self.ended(now, ending, &why),
            Event::Ended(ending) => self.program_ended(now, ending),
            Event::Stop(goal, who) if !self.is_stopping() => self.stop(now, goal, who),
            Event::Alone => self.alone(),
            Event::Tick if self.deadline().is_some_and(|until| until <= now) => self.tick(now),
            _ => Vec::new(),
        }
    }

    fn start(&mut self) -> Vec<Action> {
        self.state = State::Starting;
        vec![Action::Start]
    }

    fn impossible(&mut self, now: Duration, why: String) -> Vec<Action> {
        let goal = match self.rules.restart {
            Restart::Never => Goal::PowerOff,
            _ => self.crash_loop_goal().unwrap_or(Goal::Reboot),
        };
        self.ending = Some(crate::ending::CANNOT_RUN);
        let mut actions = vec![Action::Log(LogLevel::Warn, why.clone())];
        actions.extend(self.stop_leftovers(now, goal, why));
        actions
    }

    fn program_ended(&mut self, now: Duration, ending: Ending) -> Vec<Action> {
        let State::Running { since } = self.state else { return self.ended(now, ending, "") };
        let age = now.saturating_sub(since);
        if age >= self.rules.healthy {
            self.n_failures = 0;
        }
        let what = format!("the program {} {ending} after {}", self.program, seconds(age));
        self.ended(now, ending, &what)
    }

    /// The program ended, or did not start. `what` says so.
    fn ended(&mut self, now: Duration, ending: Ending, what: &str) -> Vec<Action> {
        match &mut self.state {
            State::Starting | State::Running { .. } => {}
            // The program's end is what this stage waits for.
            State::Stopping { stage: Stage::Program, goal, why, .. } => {
                let (goal, why) = (*goal, why.clone());
                self.ending = Some(ending);
                let mut actions = vec![Action::Log(LogLevel::Info, format!("the program {} {ending}", self.program))];
                actions.extend(self.stop_leftovers(now, goal, why));
                return actions;
            }
            State::Stopping { .. } => {
                self.ending = Some(ending);
                return Vec::new();
            }
            State::Waiting { .. } | State::Resting { .. } | State::Over => return Vec::new(),
        }
        self.ending = Some(ending);
        let is_good = ending == Ending::Exited(0);
        let mut actions = Vec::new();
        if !is_good {
            actions.push(Action::ShowLastLines);
        }
        match self.rules.restart {
            Restart::Never => actions.extend(self.last_end(now, what, "restart is never", is_good)),
            Restart::OnFailure if is_good => {
                actions.extend(self.last_end(now, what, "restart is on-failure", is_good));
            }
            _ => actions.extend(self.again(now, what)),
        }
        actions
    }

    /// The program is not started again, for the reason `rule`.
    fn last_end(&mut self, now: Duration, what: &str, rule: &str, is_good: bool) -> Vec<Action> {
        let why = format!("{what}, and {rule}");
        let level = if is_good { LogLevel::Info } else { LogLevel::Warn };
        let mut actions = vec![Action::Log(level, why.clone())];
        actions.extend(self.stop_leftovers(now, Goal::PowerOff, why));
        actions
    }

    /// The program is started again, after a wait, unless it did not live often enough.
    fn again(&mut self, now: Duration, what: &str) -> Vec<Action> {
        self.n_failures = self.n_failures.saturating_add(1);
        let is_loop = self.rules.limit > 0 && self.n_failures >= self.rules.limit;
        if let Some(goal) = self.crash_loop_goal().filter(|_| is_loop) {
            let end = match goal {
                Goal::PowerOff => "the power goes off",
                Goal::Reboot => "the machine restarts",
            };
            let why = format!("{what}; that was failure {} in a row: {end}", self.n_failures);
            let mut actions = vec![Action::Log(LogLevel::Warn, why.clone())];
            actions.extend(self.stop_leftovers(now, goal, why));
            return actions;
        }
        let delay = self.delay();
        let of_limit = match self.rules.limit {
            0 => String::new(),
            _ if is_loop => ", for ever".to_owned(),
            limit => format!(" of {limit}"),
        };
        let text = format!("{what}; starting it again in {} (failure {}{of_limit})", seconds(delay), self.n_failures);
        // The next run finds the machine as the first one did: no port is taken, and there is room for processes.
        self.state = match delay.is_zero() {
            true => State::Resting { until: now + KILL_PATIENCE, is_over: true },
            false => State::Resting { until: now + delay, is_over: false },
        };
        vec![Action::KillAll, Action::Log(LogLevel::Warn, text)]
    }

    fn crash_loop_goal(&self) -> Option<Goal> {
        match self.rules.on_crash_loop {
            OnCrashLoop::Reboot => Some(Goal::Reboot),
            OnCrashLoop::PowerOff => Some(Goal::PowerOff),
            OnCrashLoop::KeepTrying => None,
        }
    }

    /// The wait before the next start: doubled by each failure, up to the longest.
    fn delay(&self) -> Duration {
        let doublings = self.n_failures.saturating_sub(1).min(31);
        self.rules.delay.saturating_mul(1 << doublings).min(self.rules.delay_max.max(self.rules.delay))
    }

    fn stop(&mut self, now: Duration, goal: Goal, who: String) -> Vec<Action> {
        let mut actions = vec![Action::Log(LogLevel::Info, format!("stopping the machine: {who}"))];
        match self.state {
            State::Starting | State::Running { .. } => {
                let until = now + self.rules.stop_timeout;
                self.state = State::Stopping { stage: Stage::Program, until, goal, why: who };
                actions.push(Action::AskProgram);
            }
            _ => actions.extend(self.stop_leftovers(now, goal, who)),
        }
        actions
    }

    fn stop_leftovers(&mut self, now: Duration, goal: Goal, why: String) -> Vec<Action> {
        self.state = State::Stopping { stage: Stage::Leftovers, until: now + LEFTOVERS_PATIENCE, goal, why };
        vec![Action::AskAll]
    }

    fn alone(&mut self) -> Vec<Action> {
        match &self.state {
            State::Stopping { stage: Stage::Leftovers | Stage::Killed, .. } => self.end(),
            State::Resting { is_over: true, .. } => self.start(),
            _ => Vec::new(),
        }
    }

    fn end(&mut self) -> Vec<Action> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Stopping { goal, why, .. } => vec![Action::End(End { goal, ending: self.ending, why })],
            _ => Vec::new(),
        }
    }

    fn tick(&mut self, now: Duration) -> Vec<Action> {
        let log = |level, text: &str| Action::Log(level, text.to_owned());
        match &mut self.state {
            State::Waiting { n_said, until } => {
                *n_said += 1;
                *until = now + WAIT_NEWS.get(*n_said).copied().unwrap_or(WAIT_NEWS[1]);
                vec![Action::LogWait]
            }
            State::Resting { is_over, until } if !*is_over => {
                *is_over = true;
                *until = now + KILL_PATIENCE;
                Vec::new()
            }
            State::Resting { .. } => {
                let mut actions = vec![log(LogLevel::Warn, "some processes of the last run cannot be killed")];
                actions.extend(self.start());
                actions
            }
            State::Stopping { stage, until, .. } => match stage {
                Stage::Program => {
                    *until = now + KILL_PATIENCE;
                    *stage = Stage::Killed;
                    let text = format!("the program {} does not end by itself: killing it", self.program);
                    vec![log(LogLevel::Warn, &text), Action::KillProgram, Action::KillAll]
                }
                Stage::Leftovers => {
                    *until = now + KILL_PATIENCE;
                    *stage = Stage::Killed;
                    vec![log(LogLevel::Info, "some processes do not end by themselves: killing them"), Action::KillAll]
                }
                Stage::Killed => {
                    let mut actions = vec![log(LogLevel::Warn, "some processes cannot be killed")];
                    actions.extend(self.end());
                    actions
                }
            },
            State::Starting | State::Running { .. } | State::Over => Vec::new(),
        }
    }
}

/// A time as people say it. Without floating point, whose formatting would be a tenth of init.
fn seconds(time: Duration) -> String {
    match millis(time) {
        millis @ ..1000 => format!("{millis} ms"),
        millis @ ..100_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        millis => format!("{} s", millis / 1000),
    }
}

#[cfg(test)]
mod tests;
