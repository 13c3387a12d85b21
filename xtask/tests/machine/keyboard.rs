//! What is typed on the console reaches the program, as on any terminal.

use crate::machine::misbehaving;

#[test]
fn what_is_typed_reaches_the_program_and_is_echoed() {
    let mut machine = misbehaving("listen").start();
    machine.wait_for("it: say something");
    machine.type_in("good morning\r");
    // The terminal's echo comes first.
    machine.wait_for("good morning");
    machine.wait_for("it: heard good morning");
    machine.type_in("a typo\u{7f}\u{7f}\u{7f}\u{7f}test\r");
    machine.wait_for("it: heard a test");
    machine.type_in("\u{4}");
    machine.end().expect(8);
}

#[test]
fn ctrl_c_interrupts_the_program_and_not_init() {
    let mut machine = misbehaving("listen").start();
    machine.wait_for("it: say something");
    machine.type_in("\u{3}");
    machine.wait_for("it: interrupted");
    machine.end().expect(7);
}
