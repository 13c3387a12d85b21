//! Promises of the watch: which events lead to which ending, without QEMU and without a clock.

use super::*;
use crate::qemu::ending::Ending;

/// One thing that happens in a run, at its second.
enum Event {
    Console(f64, &'static str),
    Report(f64, &'static str),
    Qemu(&'static str),
    Monitor(&'static str),
    Tick(f64),
    End(QemuExit),
}

use Event::{Console, End, Monitor, Qemu, Report as Port, Tick};

const DONE: Event = End(QemuExit::Status(0));
const PANIC: &str = "[    0.5] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000300\r\n";

fn run(mode: Mode, until: Option<&str>, events: &[Event]) -> Option<Ending> {
    let time = Duration::from_secs_f64;
    let mut watch = Watch::new(mode, until, Some(time(60.0)));
    events.iter().find_map(|event| match event {
        Console(now, text) => watch.console(time(*now), text.as_bytes()),
        Port(now, text) => {
            watch.report(time(*now), text.as_bytes());
            None
        }
        Monitor(text) => {
            watch.monitor(text.as_bytes());
            None
        }
        Qemu(text) => watch.qemu(text.as_bytes()),
        Tick(now) => watch.tick(time(*now)),
        End(exit) => Some(watch.ended(time(59.0), *exit)),
    })
}

/// Names an ending and gives its exit status.
fn brief(ending: Option<&Ending>) -> String {
    let Some(ending) = ending else {
        return "goes on".to_owned();
    };
    let data = serde_json::to_value(ending).expect("plain data");
    format!("{} {}", data["how"].as_str().expect("a name"), ending.exit_status())
}

fn check(mode: Mode, until: Option<&str>, events: &[Event], expect: &str) {
    assert_eq!(brief(run(mode, until, events).as_ref()), expect);
}

fn check_supervised(events: &[Event], expect: &str) {
    check(Mode::Supervised, None, events, expect);
}

fn check_direct(events: &[Event], expect: &str) {
    check(Mode::Direct, None, events, expect);
}

#[test]
fn the_report_gives_the_status() {
    check_supervised(&[Console(1.0, "hi\n"), Port(1.1, "exit 3\r\n"), DONE], "exited 3");
    check_supervised(&[Port(1.0, "sig"), Port(1.0, "nal 11\n"), DONE], "killed 139");
    check_supervised(&[Port(1.0, "exit 0\n"), Port(1.1, "exit 7\n"), DONE], "exited 0");
}

const RESET: &str = r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}
"#;
const RESTART: &str = r#"{"event": "RESET", "data": {"guest": true, "reason": "guest-reset"}}
"#;
const WATCHDOG: &str = r#"{"event": "WATCHDOG", "data": {"action": "reset"}}
"#;

#[test]
fn a_program_that_was_killed_for_its_memory_is_told_apart() {
    let memory = run(Mode::Supervised, None, &[Port(1.0, "signal 9 memory\n"), DONE]);
    assert_eq!(memory, Some(Ending::Killed { signal: 9, memory: true }));
    let signal = run(Mode::Supervised, None, &[Port(1.0, "signal 9\n"), DONE]);
    assert_eq!(signal, Some(Ending::Killed { signal: 9, memory: false }));
}

#[test]
fn a_reset_is_no_good_end() {
    let reset =
        |watchdog, why: Option<&str>, silent| Some(Ending::Reset { watchdog, why: why.map(str::to_owned), silent });
    let hi = || Console(1.0, "hi\n");
    assert_eq!(run(Mode::Direct, None, &[Monitor(RESET), DONE]), reset(false, None, true));
    assert_eq!(run(Mode::Direct, None, &[hi(), Monitor(RESET), DONE]), reset(false, None, false));
    assert_eq!(run(Mode::Supervised, None, &[hi(), Monitor(WATCHDOG), Monitor(RESET), DONE]), reset(true, None, false));
    let why = [hi(), Port(1.0, "said it crashed\nreset it crashed\nexit 3\n"), Monitor(RESET), DONE];
    assert_eq!(run(Mode::Supervised, None, &why), reset(false, Some("it crashed"), false));
    check_supervised(&[Console(1.0, PANIC), Monitor(RESET), DONE], "panicked 123");
    check_supervised(&[Port(1.0, "exit 3\n"), Monitor(RESET), DONE], "exited 3");
    check_supervised(&[Port(1.0, "reset it crashed\n"), Tick(3.0)], "reset 1");
}

#[test]
fn a_machine_that_may_restart_goes_on() {
    let mut watch = Watch::new(Mode::Supervised, None, None).with_restarts(true);
    let time = Duration::from_secs;
    watch.console(time(1), PANIC.as_bytes());
    let why = watch.monitor(RESTART.as_bytes()).expect("it restarts");
    assert!(why.starts_with("kernel panic: "), "{why}");
    // The firmware's own.
    assert_eq!(watch.monitor(RESTART.as_bytes()), None);
    watch.report(time(2), b"reset it crashed 10 times\nexit 3\n");
    assert_eq!(watch.tick(time(9)), None);
    assert_eq!(watch.monitor(RESTART.as_bytes()).as_deref(), Some("it crashed 10 times"));
    watch.monitor(WATCHDOG.as_bytes());
    assert_eq!(watch.monitor(RESTART.as_bytes()).as_deref(), Some("its watchdog was not fed"));
    watch.report(time(3), b"exit 4\n");
    assert_eq!(watch.monitor(RESTART.as_bytes()), None);
    assert_eq!(watch.tick(time(3)), Some(Ending::Exited { status: 4 }));
}

#[test]
fn what_init_said_is_kept() {
    let mut watch = Watch::new(Mode::Supervised, None, None);
    watch.report(Duration::ZERO, b"said the program exited with status 3 after 1.2 s\nexit 3\n");
    assert_eq!(watch.said(), ["the program exited with status 3 after 1.2 s"]);
}

#[test]
fn other_lines_are_no_report() {
    for line in ["exit\n", "exit 256\n", "exit -1\n", "signal 0\n", "signal 65\n", "ready now\n", "\n", "exit 3"] {
        check_supervised(&[Console(1.0, "hi\n"), Port(1.0, line), DONE], "stopped_without_report 1");
    }
}

#[test]
fn a_machine_that_reported_has_two_seconds_to_stop() {
    check_supervised(&[Port(1.0, "exit 3\n"), Tick(2.9)], "goes on");
    check_supervised(&[Port(1.0, "exit 3\n"), Tick(3.0)], "exited 3");
}

#[test]
fn a_program_that_is_pid_1_may_just_stop_the_machine() {
    check_direct(&[Console(1.0, "hi\n"), DONE], "stopped 0");
    check_direct(&[DONE], "stopped_without_report 1");
}

#[test]
fn the_awaited_text_ends_the_run() {
    check(Mode::Direct, Some("ready"), &[Console(1.0, "rea"), Console(1.1, "dy")], "found 0");
    check(Mode::Direct, Some("ready"), &[Console(1.0, "not yet\n"), DONE], "not_found 1");
    check(Mode::Supervised, Some("ready"), &[Port(1.0, "exit 0\n"), DONE], "not_found 1");
    check(Mode::Supervised, Some("ready"), &[Port(1.0, "exit 3\n"), DONE], "exited 3");
    check(Mode::Direct, Some("Kernel panic"), &[Console(1.0, PANIC), DONE], "found 0");
}

#[test]
fn a_panic_counts_when_the_machine_stops() {
    check_direct(&[Console(1.0, PANIC)], "goes on");
    check_direct(&[Console(1.0, PANIC), DONE], "panicked 123");
    check_direct(&[Console(1.0, PANIC.trim_end()), DONE], "panicked 123");
    check(Mode::Direct, Some("ready"), &[Console(1.0, PANIC), DONE], "panicked 123");
    check_direct(&[Console(1.0, "hi "), Console(1.1, PANIC), DONE], "panicked 123");
}

#[test]
fn a_panic_counts_when_the_kernel_says_its_last_line() {
    check_direct(
        &[
            Console(1.0, PANIC),
            Console(1.1, "[    0.6] CPU: 0 PID: 1\n[    0.6] ---[ end Kernel panic - not syncing: A ]---\n"),
        ],
        "panicked 123",
    );
}

#[test]
fn a_panic_counts_after_two_seconds_of_silence() {
    check_direct(&[Console(1.0, PANIC), Console(1.5, "[    0.6] CPU: 0\n"), Tick(3.4)], "goes on");
    check_direct(&[Console(1.0, PANIC), Console(1.5, "[    0.6] CPU: 0\n"), Tick(3.5)], "panicked 123");
}

#[test]
fn a_program_may_print_the_text_of_a_panic() {
    check_direct(&[Console(1.0, PANIC), Console(1.1, "that was in my log\n"), Tick(9.0), DONE], "stopped 0");
    check_supervised(&[Console(1.0, PANIC), Port(1.1, "exit 0\n"), DONE], "exited 0");
}

#[test]
fn a_machine_that_halted_has_stopped() {
    let halt = || Console(1.0, "reboot: System halted\r\n");
    check_direct(&[halt(), Tick(2.9)], "goes on");
    check_direct(&[halt(), Tick(3.0)], "stopped 0");
    check_supervised(&[halt(), Tick(3.0)], "stopped_without_report 1");
    check_direct(&[halt(), Console(1.5, "that was in my log\n"), Tick(3.0)], "goes on");
}

#[test]
fn the_deadline_ends_the_run() {
    check_direct(&[Tick(59.9)], "goes on");
    check_direct(&[Tick(60.0)], "deadline 124");
}

#[test]
fn a_failing_qemu_is_no_fault_of_the_guest() {
    check_direct(&[Qemu("qemu: bad option\n"), End(QemuExit::Status(1))], "host_failed 125");
    check_direct(&[Console(1.0, "hi\n"), End(QemuExit::Signal(9))], "host_failed 125");
    check_direct(&[Qemu("qemu: warning: x\n"), Console(1.0, "hi\n"), DONE], "stopped 0");
    check_direct(&[Qemu("KVM internal "), Qemu("error. Suberror: 1\n")], "host_failed 125");
}

#[test]
fn the_next_tick_is_the_earliest_of_all() {
    let mut watch = Watch::new(Mode::Supervised, None, None);
    assert_eq!(watch.next_tick(), None);
    watch.console(Duration::from_secs(5), PANIC.as_bytes());
    assert_eq!(watch.next_tick(), Some(Duration::from_secs(7)));
    watch.report(Duration::from_secs(4), b"exit 0\n");
    assert_eq!(watch.next_tick(), Some(Duration::from_secs(6)));
}

#[test]
fn lines_and_times_are_kept() {
    let mut watch = Watch::new(Mode::Direct, None, None);
    watch.console(Duration::from_millis(100), b"a");
    watch.console(Duration::from_millis(200), b"b\r\nc\n");
    watch.qemu(b"qemu: warning\n");
    assert_eq!(watch.first_line(), Some(Duration::from_millis(200)));
    assert_eq!(watch.last_lines(&Ending::Stopped), ["ab", "c"]);
    assert_eq!(watch.qemu_lines(), ["qemu: warning"]);
}
