//! How a program ends is said in words on the console, and reaches the host as its exit status.

use crate::machine::{Machine, compiled, misbehave, misbehaving};
use crate::support::Ran;

/// Signals whose default is not the end of the process.
const HARMLESS: [u8; 8] = [17, 18, 19, 20, 21, 22, 23, 28];

/// The lines in which init says how the program ended and what follows.
fn endings(ran: &Ran) -> Vec<&str> {
    let lines = ran.stdout.lines().filter_map(|line| line.trim_end().strip_prefix("pid1: the program /bin/own "));
    lines.filter_map(|line| line.split_once(" after ")).map(|(ending, _)| ending).collect()
}

#[test]
fn every_status_and_every_deadly_signal_is_said_once_and_in_order() {
    let words = "init.restart=always init.restart-delay=0s init.restart-limit=0";
    let ran = misbehaving("every-end").words(words).boot().expect(128 + 15).shows(&["it: there is no other end"]);
    let statuses = (0..=255).map(|status| format!("exited with status {status}"));
    let signals = (1..=64).filter(|signal| !HARMLESS.contains(signal)).map(|signal| match signal {
        9 => "was killed by signal 9 (SIGKILL)".to_owned(),
        11 => "was killed by signal 11 (SIGSEGV)".to_owned(),
        64 => "was killed by signal 64".to_owned(),
        _ => format!("was killed by signal {signal}"),
    });
    let expect: Vec<String> = statuses.chain(signals).collect();
    let found = endings(&ran);
    assert_eq!(found.len(), expect.len(), "{found:?}");
    for (found, expect) in found.iter().zip(&expect) {
        assert!(found.starts_with(expect), "{found} instead of {expect}");
    }
}

#[test]
fn every_kind_of_status_reaches_the_host_exactly() {
    let machine = misbehaving("");
    // Those that `qemu` and shells give a meaning of their own are among them.
    let exits = [0, 1, 77, 124, 125, 126, 127, 128, 255].map(|status| (format!("exit {status}"), status));
    let deaths = [9, 15].map(|signal| (format!("die {signal}"), 128 + signal));
    for (args, status) in exits.into_iter().chain(deaths) {
        let mut command = machine.command();
        let ran = Ran::new(command.args(args.split(' ')).output().unwrap());
        assert_eq!(ran.status, status, "{args}: {}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn a_program_that_fails_has_its_last_lines_shown() {
    let ran = misbehaving("talk 15 3").boot().expect(3).shows(&[
        "it: line 15",
        "pid1: the last lines of the program:",
        "pid1: | it: line 6",
        "pid1: | it: line 15",
        "pid1: the program /bin/own exited with status 3 after ",
        ", and restart is never",
    ]);
    assert!(!ran.stdout.contains("| it: line 5"), "{}", ran.stdout);
}

#[test]
fn a_program_that_ends_well_is_not_repeated() {
    let ran = misbehaving("talk 3 0").boot().expect(0).shows(&["it: line 3", "exited with status 0 after "]);
    assert!(!ran.stdout.contains("last lines"), "{}", ran.stdout);
}

/// A program that is replaced while it runs: what was checked before the boot is not what is started again.
fn replaced(by: &str) -> Machine {
    let words = "init.restart=on-failure init.restart-limit=2 init.on-crash-loop=poweroff";
    misbehaving(&format!("replace {by}")).words(words)
}

fn replaced_by_file(content: impl AsRef<[u8]>) -> Ran {
    let file = "[[file]]\nsource = \"other\"\npath = \"/other\"\nmode = \"0755\"";
    let machine = replaced("/other").table(file);
    machine.checkout.write("other", content);
    machine.boot()
}

#[test]
fn a_program_that_cannot_be_started_is_explained() {
    let says = |ran: Ran, status, why: &str| {
        ran.expect(status).shows(&["pid1: cannot start /bin/own: ", why, "failure 2 in a row: the power goes off"]);
    };
    says(replaced("nothing").boot(), 127, "it is not in the image");
    says(replaced("folder").boot(), 126, "it is not a file");
    says(replaced("mode").boot(), 126, "it is not executable (chmod +x)");
    says(replaced_by_file("#!/bin/no-such-shell\n"), 126, "its interpreter /bin/no-such-shell is not in the image");
    let dynamic = compiled("dynamic", "int main(void) { return 0; }", &[]);
    says(replaced_by_file(std::fs::read(dynamic).unwrap()), 126, "is missing: the program is dynamic; build it static");
    let mut foreign = std::fs::read(misbehave()).unwrap();
    foreign[18] = 0xb7; // e_machine: EM_AARCH64
    says(replaced_by_file(foreign), 126, "it is no program for this machine's processor");
}
