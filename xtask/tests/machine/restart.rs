//! What follows the program's end: rest, restart, the crash loop's end, and nothing of the last run is left.

use crate::machine::misbehaving;

#[test]
fn a_crash_loop_restarts_the_machine_after_longer_and_longer_waits() {
    let ran = misbehaving("die 11").program("restart = \"on-failure\"").table("[supervise]\nlimit = 4").boot();
    ran.expect(1).shows(&[
        "was killed by signal 11 (SIGSEGV) after ",
        "; starting it again in 100 ms (failure 1 of 4)",
        "; starting it again in 200 ms (failure 2 of 4)",
        "; starting it again in 400 ms (failure 3 of 4)",
        "; that was failure 4 in a row: the machine restarts",
    ]);
}

#[test]
fn a_crash_loop_can_switch_the_power_off_instead() {
    let words = "init.restart=always init.restart-delay=10ms init.restart-limit=3 init.on-crash-loop=poweroff";
    misbehaving("exit 4").words(words).boot().expect(4).shows(&["failure 3 in a row: the power goes off"]);
}

#[test]
fn a_crash_loop_can_go_on_for_ever() {
    let words = "init.restart=always init.restart-delay=10ms init.restart-delay-max=30ms init.restart-limit=3 \
                 init.on-crash-loop=keep-trying";
    let until = "again in 30 ms (failure 7, for ever)";
    misbehaving("exit 4").words(words).flag("--until").flag(until).boot().expect(0);
}

#[test]
fn a_program_that_was_well_for_a_while_starts_counting_anew() {
    let words = "init.restart=on-failure init.restart-healthy=300ms init.restart-limit=3 init.restart-delay=10ms";
    let args = "exit 1 then exit 1 then sleep 400 1 then die 11 then exit 0";
    misbehaving(args).words(words).boot().expect(0).shows(&[
        "(failure 1 of 3)",
        "(failure 2 of 3)",
        "(failure 1 of 3)",
        "(failure 2 of 3)",
        "exited with status 0 after ",
        "and restart is on-failure",
    ]);
}

#[test]
fn a_restart_finds_nobody_of_the_last_run() {
    // The second run counts who is there.
    let args = "leave-behind 1 then orphans 0";
    let words = "init.restart=on-failure init.restart-limit=2 init.on-crash-loop=poweroff";
    misbehaving(args).words(words).boot().expect(0).shows(&[
        "exited with status 1 after ",
        "it: 0 orphans in ",
        " later: 0",
    ]);
}

#[test]
fn leftovers_that_ignore_term_do_not_keep_the_machine() {
    let ran = misbehaving("leave-behind 3").boot().expect(3);
    ran.shows(&["exited with status 3 after ", "some processes do not end by themselves: killing them"]);
}
