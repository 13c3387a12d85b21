//! How a machine is stopped by its user: first asked, then made to. Pure; it is told what came and what time it is.

use super::Mode;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::time::Duration;

/// What init is told on the report channel. It may come several times: a serial port that nobody has opened yet drops it.
pub const REQUEST: &str = "stop\n";

/// How long an init that has heard takes to say so; then it is asked again, and the power button is pressed.
const ANSWER: Duration = Duration::from_secs(1);

/// What an orderly stop may take besides the program's own time: all processes, the disks, the power.
const ORDER: Duration = Duration::from_secs(10);

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Ask init to stop the machine.
    Ask,
    /// Ask again, and press the power button, too.
    Insist,
    /// Kill QEMU.
    Kill {
        /// The machine had its time.
        too_slow: bool,
    },
}

/// The stopping of one machine.
#[derive(Debug)]
pub struct Stop {
    mode: Mode,
    /// How long the machine's program has.
    timeout: Duration,
    asked: Option<Asked>,
}

#[derive(Debug)]
struct Asked {
    signal: u8,
    by: Duration,
    /// None once the machine has said something.
    again: Option<Duration>,
}

impl Stop {
    /// Nobody has asked for it yet.
    pub fn new(mode: Mode, timeout: Duration) -> Self {
        Self { mode, timeout, asked: None }
    }

    /// The signal that asked for it.
    pub fn signal(&self) -> Option<u8> {
        self.asked.as_ref().map(|asked| asked.signal)
    }

    /// A signal came. Who hangs up or quits does not wait, and a program that is PID 1 itself hears no request.
    pub fn on_signal(&mut self, now: Duration, signal: u8) -> Action {
        let is_request = [SIGINT, SIGTERM].contains(&i32::from(signal));
        let is_first = self.asked.is_none();
        let by = now + self.timeout + ORDER;
        self.asked.get_or_insert(Asked { signal, by, again: Some(now + ANSWER) });
        match self.mode {
            Mode::Supervised if is_request && is_first => Action::Ask,
            _ => Action::Kill { too_slow: false },
        }
    }

    /// The machine said something on the report channel: somebody listens there.
    pub fn on_answer(&mut self) {
        if let Some(asked) = &mut self.asked {
            asked.again = None;
        }
    }

    /// When `tick` has something to do.
    pub fn next_tick(&self) -> Option<Duration> {
        let asked = self.asked.as_ref()?;
        Some(asked.again.map_or(asked.by, |again| again.min(asked.by)))
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) -> Option<Action> {
        let asked = self.asked.as_mut()?;
        if asked.by <= now {
            return Some(Action::Kill { too_slow: true });
        }
        let due = asked.again.filter(|again| *again <= now)?;
        asked.again = Some(due.max(now) + ANSWER);
        Some(Action::Insist)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::consts::SIGHUP;

    const INT: i32 = SIGINT;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn stop(mode: Mode) -> Stop {
        Stop::new(mode, seconds(5.0))
    }

    fn signal(stop: &mut Stop, at: f64, signal: i32) -> Action {
        stop.on_signal(seconds(at), u8::try_from(signal).expect("a signal"))
    }

    #[test]
    fn init_is_asked_and_a_second_signal_kills() {
        let mut stop = stop(Mode::Supervised);
        assert_eq!((stop.signal(), stop.next_tick()), (None, None));
        assert_eq!(signal(&mut stop, 3.0, INT), Action::Ask);
        assert_eq!(signal(&mut stop, 3.5, SIGTERM), Action::Kill { too_slow: false });
        assert_eq!(stop.signal().map(i32::from), Some(INT));
    }

    #[test]
    fn who_hangs_up_does_not_wait() {
        assert_eq!(signal(&mut stop(Mode::Supervised), 3.0, SIGHUP), Action::Kill { too_slow: false });
    }

    #[test]
    fn without_init_there_is_nobody_to_ask() {
        assert_eq!(signal(&mut stop(Mode::Direct), 3.0, INT), Action::Kill { too_slow: false });
    }

    #[test]
    fn a_silent_machine_is_asked_every_second() {
        let mut stop = stop(Mode::Supervised);
        signal(&mut stop, 3.0, SIGTERM);
        assert_eq!(stop.tick(seconds(3.9)), None);
        assert_eq!(stop.next_tick(), Some(seconds(4.0)));
        assert_eq!(stop.tick(seconds(4.0)), Some(Action::Insist));
        assert_eq!(stop.tick(seconds(4.1)), None);
        assert_eq!(stop.tick(seconds(5.0)), Some(Action::Insist));
        stop.on_answer();
        assert_eq!(stop.tick(seconds(6.5)), None);
        assert_eq!(stop.next_tick(), Some(seconds(18.0)));
    }

    #[test]
    fn a_machine_that_takes_too_long_is_killed() {
        let mut stop = stop(Mode::Supervised);
        signal(&mut stop, 3.0, INT);
        stop.on_answer();
        assert_eq!(stop.tick(seconds(17.9)), None);
        assert_eq!(stop.tick(seconds(18.0)), Some(Action::Kill { too_slow: true }));
    }
}
