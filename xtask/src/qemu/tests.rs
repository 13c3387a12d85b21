//! Promises of a whole run, with a real QEMU and guests of a few bytes of machine code.

mod guest;

use super::*;
use guest::{Guest, PANIC_TEXT};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::fs::{read_dir, read_to_string};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Far longer than any of these guests takes, on a loaded machine too.
const LONG: Duration = Duration::from_secs(60);

/// Says to a test that it runs as the child of itself.
const ROLE: &str = "PID1_TEST_ROLE";

/// A screen that only takes the console.
struct Plain<W>(W);

impl<W: Write> super::Screen for Plain<W> {}

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn boot_guest(guest: &Guest, change: impl FnOnce(&mut Run)) -> (Outcome, String) {
    boot_with_input(guest, None, change)
}

fn boot_with_input(guest: &Guest, input: Option<BorrowedFd<'_>>, change: impl FnOnce(&mut Run)) -> (Outcome, String) {
    let mut run = guest.run(LONG);
    change(&mut run);
    let mut console = Plain(Vec::new());
    let outcome = boot(&run, input, &mut console);
    (outcome, String::from_utf8_lossy(&console.0).into_owned())
}

#[test]
fn the_awaited_text_ends_a_machine_that_goes_on() {
    let guest = Guest::new().say("hello\r\nready\r\n").stay();
    let (outcome, console) = boot_guest(&guest, |run| run.until = Some("hello\nready".to_owned()));
    assert_eq!(outcome.ending, Ending::Found { text: "hello\nready".to_owned() });
    assert_eq!(outcome.exit_status, 0);
    assert!(console.starts_with("hello\r\nready"), "{console}");
    let first_line = outcome.first_line_seconds.expect("a line came");
    assert!(first_line > 0.0 && first_line <= outcome.seconds, "{outcome:?}");
}

#[test]
fn what_takes_the_place_of_an_opened_file_is_not_booted() {
    let (guest, other) = (Guest::new().say("ours\n").stay(), Guest::new().say("theirs\n").stay());
    let (outcome, console) = boot_guest(&guest, |run| {
        run.until = Some("s\n".to_owned());
        std::fs::copy(other.run(LONG).machine.kernel, run.machine.kernel.with_extension("new")).expect("a copy");
        std::fs::rename(run.machine.kernel.with_extension("new"), &run.machine.kernel).expect("it takes its place");
    });
    assert_eq!((outcome.exit_status, console.as_str()), (0, "ours\n"), "{outcome:?}");
}

#[test]
fn the_deadline_ends_a_machine_that_goes_on() {
    let guest = Guest::new().say("hello\n").stay();
    let (outcome, _) = boot_guest(&guest, |run| run.deadline = Some(Duration::from_secs(1)));
    assert_eq!(outcome.exit_status, 124, "{outcome:?}");
    assert_eq!(outcome.last_lines, ["hello"]);
    assert!(outcome.seconds >= 1.0, "{outcome:?}");
}

#[test]
fn the_reported_status_is_ours() {
    let guest = Guest::new().say("hello\n").report("exit 3\r\n").stop();
    let (outcome, console) = boot_guest(&guest, |_| {});
    assert_eq!(outcome.ending, Ending::Exited { status: 3 }, "{outcome:?}");
    assert_eq!(console, "hello\n");
}

#[test]
fn a_reported_end_counts_for_a_machine_that_cannot_stop() {
    let guest = Guest::new().report("signal 11\n").say("hello\n").stay();
    let (outcome, console) = boot_guest(&guest, |_| {});
    assert_eq!(outcome.exit_status, 139, "{outcome:?}");
    assert_eq!(console, "hello\n");
}

#[test]
fn a_panic_is_explained() {
    let guest = Guest::new().say("hello ").say(PANIC_TEXT).stop();
    let (outcome, _) = boot_guest(&guest, |run| run.mode = Mode::Direct);
    assert_eq!(outcome.exit_status, 123);
    let text = outcome.text().expect("a panic is told");
    assert!(text.starts_with("kernel panic: the program exited with status 3 while it was PID 1"), "{text}");
    assert!(text.ends_with("exitcode=0x00000300"), "{text}");
}

#[test]
fn a_panic_counts_when_the_machine_hangs_in_it() {
    let guest = Guest::new().say(PANIC_TEXT).stay();
    let (outcome, _) = boot_guest(&guest, |_| {});
    assert_eq!(outcome.exit_status, 123, "{outcome:?}");
    assert!(outcome.seconds < 30.0, "{outcome:?}");
}

#[test]
fn a_stop_is_an_end_for_a_direct_program_only() {
    let guest = Guest::new().say("hello\n").stop();
    let (outcome, _) = boot_guest(&guest, |run| run.mode = Mode::Direct);
    assert_eq!(outcome.ending, Ending::Stopped, "{outcome:?}");
    let (outcome, _) = boot_guest(&guest, |_| {});
    assert_eq!(outcome.ending, Ending::StoppedWithoutReport { silent: false });
}

#[test]
fn a_reset_is_told_apart() {
    let guest = Guest::new().say("hello\n").reset();
    let reset = Ending::Reset { watchdog: false, why: None, silent: false };
    for mode in [Mode::Direct, Mode::Supervised] {
        let (outcome, _) = boot_guest(&guest, |run| run.mode = mode);
        assert_eq!((&outcome.ending, outcome.exit_status), (&reset, 1), "{outcome:?}");
    }
    let guest = Guest::new().report("said it crashed\nreset it crashed\nexit 3\n").reset();
    let (outcome, _) = boot_guest(&guest, |_| {});
    assert_eq!(outcome.exit_status, 1, "{outcome:?}");
    let text = outcome.text().expect("it is told");
    assert!(text.starts_with("it crashed\nhint: `--reboot` lets the machine start again"), "{text}");
}

#[test]
fn a_watchdog_that_is_not_fed_resets_the_machine() {
    let guest = Guest::new().say("hello\n").start_watchdog().stay();
    let (outcome, _) = boot_guest(&guest, |run| run.machine.devices.watchdog = true);
    let reset = Ending::Reset { watchdog: true, why: None, silent: false };
    assert_eq!((&outcome.ending, outcome.exit_status), (&reset, 1), "{outcome:?}");
}

#[test]
fn a_machine_that_may_restart_does() {
    let guest = Guest::new().say("hello\n").reset();
    let (outcome, console) = boot_guest(&guest, |run| {
        run.machine.restarts = true;
        run.until = Some("hello\nhello\nhello".to_owned());
    });
    assert_eq!(outcome.exit_status, 0, "{outcome:?} {console}");
}

#[test]
fn inits_own_sentence_is_told_first() {
    let guest = Guest::new().report("said it exited with status 3 after 1.2 s\nexit 3\n").stop();
    let (outcome, _) = boot_guest(&guest, |_| {});
    assert_eq!(outcome.exit_status, 3);
    assert_eq!(outcome.text().as_deref(), Some("it exited with status 3 after 1.2 s"), "{outcome:?}");
}

#[test]
fn a_failing_programs_line_is_explained() {
    let guest = Guest::new().say("socket: Function not implemented\r\n").report("exit 1\n").stop();
    let (outcome, _) = boot_guest(&guest, |_| {});
    let text = outcome.text().expect("it is told");
    let expect = "the program exited with status 1\nthe kernel has no CONFIG_NET: `socket: Function not implemented`\nhint: add `[network]`";
    assert!(text.starts_with(expect), "{text}");
}

#[test]
fn a_port_that_was_taken_since_is_told_in_our_words() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let forwards = vec![format!("{port}:80").parse().expect("a forward")];
    let (outcome, _) = boot_guest(&Guest::new().stop(), |run| {
        run.machine.devices.network = Some(Network { forwards, addresses: None });
    });
    let text = outcome.text().expect("it is told");
    assert_eq!(outcome.exit_status, 125);
    let expect =
        format!("failed to run the machine: the host's port 127.0.0.1:{port} was taken in the meantime\nhint: ");
    assert!(text.starts_with(&expect), "{text}");
}

#[test]
fn all_output_comes_through() {
    let guest =
        Guest::new().repeat(3000, Guest::new().say("0123456789abcdef0123456789abcde\n")).report("exit 0\n").stop();
    let (outcome, console) = boot_guest(&guest, |_| {});
    assert_eq!(outcome.exit_status, 0, "{outcome:?}");
    assert_eq!(console, "0123456789abcdef0123456789abcde\n".repeat(3000));
}

#[test]
fn what_is_typed_reaches_the_console() {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    writer.write_all(b"abc").expect("it has room");
    drop(writer);
    let guest = Guest::new().echo(3).report("exit 0\n").stop();
    let (outcome, console) = boot_with_input(&guest, Some(reader.as_fd()), |_| {});
    assert_eq!((outcome.exit_status, console.as_str()), (0, "abc"), "{outcome:?}");
}

#[test]
fn an_input_at_its_end_is_no_end_of_the_run() {
    let null = std::fs::File::open("/dev/null").expect("it opens");
    let guest = Guest::new().say("hello\n").report("exit 4\n").stop();
    let (outcome, _) = boot_with_input(&guest, Some(null.as_fd()), |_| {});
    assert_eq!(outcome.exit_status, 4, "{outcome:?}");
}

/// Notes at each write whether the terminal edits lines.
struct Screen<'a>(BorrowedFd<'a>, Vec<bool>);

impl super::Screen for Screen<'_> {}

impl Write for Screen<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.push(terminal::tests::is_cooked(self.0));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_terminal_is_raw_during_a_run_and_restored_after_it() {
    let (_outside, inside) = terminal::tests::pseudo_terminal();
    let guest = Guest::new().say("hello\n").stop();
    let mut screen = Screen(inside.as_fd(), Vec::new());
    let outcome = boot(&guest.run(LONG), Some(inside.as_fd()), &mut screen);
    assert!(!screen.1.is_empty() && screen.1.iter().all(|cooked| !cooked), "{outcome:?}");
    assert!(terminal::tests::is_cooked(inside.as_fd()));
}

/// A screen that breaks our own code.
struct Broken;

impl super::Screen for Broken {}

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        panic!("a defect of ours")
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_of_ours_restores_the_terminal() {
    let (_outside, inside) = terminal::tests::pseudo_terminal();
    let guest = Guest::new().say("hello\n").stay();
    let run = guest.run(LONG);
    let result = std::panic::catch_unwind(|| boot(&run, Some(inside.as_fd()), &mut Broken));
    assert!(result.is_err() && terminal::tests::is_cooked(inside.as_fd()));
}

#[test]
fn a_qemu_that_fails_is_told_in_its_own_words_after_ours() {
    let (outcome, _) = boot_guest(&Guest::new().stop(), |run| run.machine.extra = vec!["-no-such-option".to_owned()]);
    let text = outcome.text().expect("a failure is told");
    assert_eq!(outcome.exit_status, 125);
    assert!(text.starts_with("failed to run the machine: QEMU exited with status 1\nQEMU said:\n  "), "{text}");
    assert!(text.contains("-no-such-option"), "{text}");
}

#[test]
fn a_missing_qemu_has_a_hint() {
    let (outcome, _) = boot_guest(&Guest::new().stop(), |run| run.machine.qemu = "/no/such/qemu".to_owned());
    let text = outcome.text().expect("a failure is told");
    assert_eq!(outcome.exit_status, 125);
    assert!(text.contains("failed to start `/no/such/qemu`") && text.contains("hint: `cargo xtask doctor`"), "{text}");
}

/// A screen that is gone, as the pipe to `head -1` is.
struct Gone;

impl super::Screen for Gone {}

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_screen_that_is_gone_ends_the_run() {
    let outcome = boot(&Guest::new().say("hello\n").stay().run(LONG), None, &mut Gone);
    assert_eq!(outcome.exit_status, 125);
    assert!(outcome.text().is_some_and(|text| text.contains("failed to print the console")), "{outcome:?}");
}

#[test]
fn the_printed_command_works_in_a_shell() {
    let guest = Guest::new().say("hello\n").report("exit 3\n").stop();
    let command = guest.run(LONG).machine.shell_command();
    let output = Command::new("sh").args(["-c", &command]).stdin(Stdio::null()).output().expect("sh runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n", "{output:?}");
    assert!(output.status.success(), "{output:?}");
}

/// Boots a guest, in a child that runs this same test; the child's side never returns.
/// The parent gets the child once the guest runs, what follows on its console, and the child's QEMU.
fn child_with_machine(
    guest: impl FnOnce(Guest) -> Guest,
    change: impl FnOnce(&mut Run),
) -> (Child, impl Iterator<Item = String>, Pid) {
    if std::env::var_os(ROLE).is_some() {
        let guest = guest(Guest::new().say("ready\n"));
        let mut run = guest.run(LONG);
        change(&mut run);
        let outcome = boot(&run, None, &mut Plain(io::stdout()));
        println!("\n{}", outcome.text().unwrap_or_default());
        std::process::exit(outcome.exit_status.into());
    }
    let name = std::thread::current().name().expect("tests have names").to_owned();
    let mut command = Command::new(std::env::current_exe().expect("it has a path"));
    command.args([&name, "--exact", "--nocapture"]).env(ROLE, "child").stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert!(lines.by_ref().any(|line| line.ends_with("ready")), "the guest starts");
    let qemu = child_of(Pid::from_child(&child)).expect("it runs QEMU");
    (child, lines, qemu)
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it runs");
}

/// Finds a child of this process.
fn child_of(parent: Pid) -> Option<Pid> {
    let names =
        read_dir("/proc").expect("it is mounted").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut numbers = names.filter_map(|name| name.parse::<i32>().ok());
    let wanted = format!("PPid:\t{}", parent.as_raw_nonzero());
    let is_child = |number: &i32| {
        read_to_string(format!("/proc/{number}/status")).is_ok_and(|status| status.lines().any(|line| line == wanted))
    };
    numbers.find(is_child).and_then(Pid::from_raw)
}

fn assert_ends(pid: Pid) {
    // One that cannot be opened is gone already.
    if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
        let timeout = Timespec { tv_sec: 20, tv_nsec: 0 };
        let n_ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)).expect("it can be waited for");
        assert_eq!(n_ended, 1, "QEMU is left behind");
    }
}

#[test]
fn ctrl_c_asks_the_machine_to_stop() {
    let guest = |guest: Guest| guest.hear("stop\n".len()).say("stopping\n").report("exit 3\n").stop();
    let (mut child, mut lines, qemu) = child_with_machine(guest, |_| {});
    send(&child, Signal::INT);
    assert!(lines.any(|line| line == "stopping"), "the guest hears of it");
    let text = "stopped by SIGINT (signal 2); the program exited with status 3";
    assert!(lines.any(|line| line == text), "its end is told");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_ends(qemu);
}

#[test]
fn a_terminating_signal_is_as_good_as_ctrl_c() {
    let (mut child, _lines, qemu) =
        child_with_machine(|guest| guest.hear("stop\n".len()).report("exit 0\n").stop(), |_| {});
    send(&child, Signal::TERM);
    assert_eq!(child.wait().expect("it ends").code(), Some(143));
    assert_ends(qemu);
}

#[test]
fn a_machine_that_does_not_hear_is_asked_again() {
    let guest = |guest: Guest| guest.hear(2 * "stop\n".len()).report("exit 0\n").stop();
    let (mut child, _lines, qemu) = child_with_machine(guest, |_| {});
    send(&child, Signal::INT);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_ends(qemu);
}

#[test]
fn ctrl_c_twice_kills_the_machine() {
    let (mut child, mut lines, qemu) = child_with_machine(|guest| guest.hear(1).say("heard\n").stay(), |_| {});
    send(&child, Signal::INT);
    assert!(lines.any(|line| line == "heard"), "the first one asks");
    send(&child, Signal::INT);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_ends(qemu);
}

#[test]
fn without_init_one_ctrl_c_kills_the_machine() {
    let (mut child, _lines, qemu) = child_with_machine(Guest::stay, |run| run.mode = Mode::Direct);
    send(&child, Signal::INT);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_ends(qemu);
}

#[test]
fn who_hangs_up_does_not_wait() {
    let (mut child, _lines, qemu) = child_with_machine(Guest::stay, |_| {});
    send(&child, Signal::HUP);
    assert_eq!(child.wait().expect("it ends").code(), Some(129));
    assert_ends(qemu);
}

#[test]
fn a_killed_owner_leaves_no_qemu() {
    let (mut child, _lines, qemu) = child_with_machine(Guest::stay, |_| {});
    child.kill().expect("it runs");
    assert_eq!(child.wait().expect("it ends").signal(), Some(9));
    assert_ends(qemu);
}
