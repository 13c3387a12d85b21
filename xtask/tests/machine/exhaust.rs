//! Programs that take all there is: init survives, says what happened, and goes on.

use crate::machine::misbehaving;

#[test]
fn ten_thousand_orphans_are_reaped_and_none_is_left() {
    misbehaving("orphans 10000").boot().expect(0).shows(&["it: 10000 orphans in ", " later: 0"]);
}

#[test]
fn a_program_that_forks_without_bound_and_ends_is_started_again() {
    misbehaving("bomb then orphans 100").words("init.restart=on-failure").boot().expect(0).shows(&[
        "it: no more processes",
        "exited with status 3 after ",
        "it: 100 orphans in ",
        " later: 0",
    ]);
}

#[test]
fn a_program_that_forks_without_bound_and_lives_can_be_stopped() {
    let stopped = misbehaving("bomb stop")
        .words("init.stop-timeout=1s")
        .boot()
        .expect(128 + 9)
        .shows(&["pid1: stopping the machine: SIGUSR2 to PID 1 asks", "does not end by itself: killing it"]);
    // The signal may overtake it.
    stopped.shows(&["it: no more processes"]);
}

#[test]
fn a_program_that_fills_the_memory_is_killed_for_that_and_started_again() {
    misbehaving("fill then exit 0").words("init.restart=on-failure").boot().expect(0).shows(&[
        "it: filling memory",
        "pid1: the program /bin/own was killed for memory (SIGKILL) after ",
        "; starting it again in 100 ms",
        "exited with status 0 after ",
    ]);
}

#[test]
fn a_program_that_was_killed_for_memory_is_told_from_any_other_that_was_killed() {
    misbehaving("fill").boot().expect(128 + 9).says(&["was killed for memory (SIGKILL)"]);
    let ran = misbehaving("die 9").boot().expect(128 + 9).says(&["was killed by signal 9 (SIGKILL)"]);
    assert!(!ran.stdout.contains("memory"), "{}", ran.stdout);
}

#[test]
fn a_program_that_takes_all_files_is_started_again() {
    misbehaving("files then exit 0").words("init.restart=on-failure").boot().expect(0).shows(&[
        "it: no more files: Too many open files in system",
        "exited with status 3 after ",
        "; starting it again in 100 ms",
        "exited with status 0 after ",
    ]);
}

#[test]
fn a_program_that_fills_tmp_and_run_leaves_room_for_the_next_run() {
    misbehaving("fill-folders then orphans 10").words("init.restart=on-failure").boot().expect(0).shows(&[
        "it: /tmp/full has ",
        "No space left on device",
        "it: /run/full has ",
        "No space left on device",
        "exited with status 3 after ",
        "it: 10 orphans",
    ]);
}

#[test]
fn a_program_that_closes_its_streams_goes_on() {
    let ran = misbehaving("closed").boot().expect(6).shows(&["exited with status 6"]);
    assert!(!ran.stdout.contains("nobody hears this"), "{}", ran.stdout);
}

#[test]
fn a_console_flooded_with_100_mb_stays_whole_and_the_status_arrives() {
    let ran = misbehaving("flood 100").flag("--deadline").flag("1200s").boot().expect(5);
    let n_lines = ran.stdout.lines().filter(|line| line.trim_end().bytes().all(|byte| byte == b'x')).count();
    // The kernel may say something in between.
    assert!(n_lines >= 99_900, "{n_lines}");
    ran.shows(&["it: last line 1", "it: last line 9", "exited with status 5"]);
}
