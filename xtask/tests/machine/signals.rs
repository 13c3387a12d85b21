//! Signals to PID 1: which end the machine, which are the program's, which do nothing.

use crate::machine::misbehaving;

#[test]
fn usr1_usr2_and_pwr_switch_the_power_off_in_order() {
    for (signal, name) in [(10, "SIGUSR1"), (12, "SIGUSR2"), (30, "SIGPWR")] {
        misbehaving(&format!("tell {signal}")).boot().expect(9).shows(&[
            &format!("pid1: stopping the machine: {name} to PID 1 asks"),
            "it: asked to end",
            "pid1: the program /bin/own exited with status 9",
        ]);
    }
}

#[test]
fn term_and_int_restart_the_machine_in_order() {
    for (signal, name) in [(15, "SIGTERM"), (2, "SIGINT")] {
        // A machine that restarts has come to no end: that is status 1.
        misbehaving(&format!("tell {signal}")).boot().expect(1).shows(&[
            &format!("pid1: stopping the machine: {name} to PID 1 asks"),
            "it: asked to end",
            "pid1: the program /bin/own exited with status 9",
        ]);
    }
}

#[test]
fn hup_winch_and_realtime_signals_are_passed_on_to_the_program() {
    let args = "echo 1 3 14 28 34 64";
    misbehaving(args).boot().expect(0).shows(&["it: 1 came back", "it: 28 came back", "it: 64 came back"]);
}

#[test]
fn no_signal_kills_or_stops_pid_1() {
    // KILL, STOP, and all that the processor sends to who made a mistake; TTIN, TTOU, TSTP, PIPE, CHLD.
    let args = "at-pid-1 9 19 11 7 4 8 5 6 31 20 21 22 13 17 then exit 0";
    misbehaving(args)
        .words("init.restart=always init.restart-limit=2 init.on-crash-loop=poweroff")
        .boot()
        .expect(0)
        .shows(&["exited with status 0 after ", "(failure 1 of 2)", "exited with status 0 after "]);
}

#[test]
fn a_program_that_ignores_term_is_killed_when_its_time_is_over() {
    let stopped = misbehaving("stubborn").words("init.stop-timeout=1s").boot().expect(128 + 9).shows(&[
        "pid1: stopping the machine: SIGUSR2 to PID 1 asks",
        "pid1: the program /bin/own does not end by itself: killing it",
    ]);
    // A signal may overtake what was written before it: the kernel passes a terminal's bytes on when it finds the time.
    stopped.shows(&["it: deaf"]);
}

#[test]
fn the_hosts_term_stops_the_machine_in_order() {
    let mut machine = misbehaving("tell 0").words("init.log=debug").start();
    machine.wait_for("ms after init");
    machine.terminate();
    let ran = machine.end().expect(143).says(&["stopping the machine"]);
    ran.shows(&["pid1: stopping the machine: ", "pid1: the program /bin/own ", "pid1: the machine ends"]);
}
