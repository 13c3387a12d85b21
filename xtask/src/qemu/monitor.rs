//! QEMU's monitor: what is said to it, and which of its events tell about a run. Pure.
//!
//! Source: QEMU's QMP specification and `qapi/run-state.json`, 7.2.

use serde::Deserialize;

/// The first words: QEMU tells no events before the first, and lets the machine run at the second.
pub const START: &str = "{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"cont\"}\n";

/// Presses the machine's power button.
pub const POWER_BUTTON: &str = "{\"execute\":\"system_powerdown\"}\n";

/// What became of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It switched its power off.
    PowerOff,
    /// It was reset: by itself, by its watchdog, by a fault that no processor survives. QEMU ends if it was told so.
    Reset,
    /// The watchdog was not fed. The reset follows.
    Watchdog,
}

#[derive(Deserialize)]
struct Line {
    event: String,
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
struct Data {
    #[serde(default)]
    reason: String,
}

impl Event {
    /// Reads one line. Greetings, answers and other events are not for us.
    pub fn from_line(line: &str) -> Option<Self> {
        let line: Line = serde_json::from_str(line).ok()?;
        match (line.event.as_str(), line.data.reason.as_str()) {
            ("SHUTDOWN", "guest-shutdown") => Some(Self::PowerOff),
            ("SHUTDOWN" | "RESET", "guest-reset") => Some(Self::Reset),
            ("WATCHDOG", _) => Some(Self::Watchdog),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: Option<Event>) {
        assert_eq!(Event::from_line(line), expect, "{line}");
    }

    #[test]
    fn a_few_events_are_for_us() {
        let stamp = r#""timestamp": {"seconds": 1, "microseconds": 2}"#;
        let event = |name: &str, data: &str| format!(r#"{{{stamp}, "event": "{name}", "data": {data}}}"#);
        check(&event("SHUTDOWN", r#"{"guest": true, "reason": "guest-shutdown"}"#), Some(Event::PowerOff));
        check(&event("SHUTDOWN", r#"{"guest": true, "reason": "guest-reset"}"#), Some(Event::Reset));
        check(&event("RESET", r#"{"guest": true, "reason": "guest-reset"}"#), Some(Event::Reset));
        check(&event("WATCHDOG", r#"{"action": "reset"}"#), Some(Event::Watchdog));
        check(&event("SHUTDOWN", r#"{"guest": false, "reason": "host-signal"}"#), None);
        check(&event("RTC_CHANGE", r#"{"offset": 0}"#), None);
        check(&format!(r#"{{{stamp}, "event": "RESUME"}}"#), None);
        check(r#"{"return": {}}"#, None);
        check(r#"{"QMP": {"version": {}, "capabilities": ["oob"]}}"#, None);
        check("", None);
        check("{", None);
    }
}
