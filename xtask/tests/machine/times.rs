//! How long init takes, by a clock that counts instructions: it is the same on every host, however busy that is.

use std::process::Command;

use crate::machine::{Machine, compiled};
use crate::support::{Checkout, Ran};

/// Shows what init writes down of the boot.
const SHOW: &str = r#"
#include <stdio.h>
#include <unistd.h>
int main(void) {
    double init, program;
    FILE *file;
    /* Init writes it as soon as the program has started. */
    while (!(file = fopen("/run/pid1/boot", "r")) || fscanf(file, "init %lf program %lf", &init, &program) != 2) usleep(1000);
    printf("%.0f ms\n", (program - init) * 1000);
    return 0;
}
"#;

/// A processor of four nanoseconds an instruction, which is slow for anything that runs Linux today.
const SLOW: &str = "qemu-system-x86_64 -icount shift=2,sleep=off ";

#[track_caller]
fn check(machine: Machine) {
    let machine = machine.flag("--dry-run");
    let command = Ran::new(machine.command().output().unwrap()).expect(0).stdout;
    let command = command.replacen("qemu-system-x86_64 ", SLOW, 1);
    let ran = Ran::new(Command::new("sh").args(["-c", &command]).output().unwrap()).expect(0);
    let millis = ran.stdout.lines().find_map(|line| line.trim().strip_suffix(" ms")?.parse::<u32>().ok());
    assert!(millis.is_some_and(|millis| millis <= 20), "{}", ran.stdout);
}

fn show() -> Machine {
    let checkout = Checkout::copy();
    std::fs::copy(compiled("show-times", SHOW, &["-static"]), checkout.root.join("show")).unwrap();
    Machine::of(checkout, "file = \"show\"")
}

#[test]
fn the_program_starts_within_20_ms_of_inits_first_instruction() {
    check(show());
    check(show().table("[network]\ndhcp = true"));
}
