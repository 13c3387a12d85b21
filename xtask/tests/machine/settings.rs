//! What the kernel command line and the configuration say to init; and that what is wrong there stops nothing.

use crate::machine::misbehaving;

#[test]
fn bad_words_on_the_kernel_command_line_are_complaints_and_stop_nothing() {
    let words = "init.lgo=x init.restart=sometimes init.stop-timeout=soon init.report=nowhere init.volume=data";
    misbehaving("exit 3").words(words).boot().expect(3).shows(&[
        "kernel command line: unknown parameter `init.lgo`, did you mean `init.log`?",
        "kernel command line: `init.restart`: unknown value `sometimes`",
        "kernel command line: `init.stop-timeout`",
        "kernel command line: `init.report` expects a path",
        "exited with status 3",
    ]);
}

#[test]
fn a_quiet_init_says_nothing() {
    let ran = misbehaving("talk 1 3").words("init.log=quiet").boot().expect(3).shows(&["it: line 1"]);
    assert!(!ran.stdout.contains("pid1:"), "{}", ran.stdout);
}

#[test]
fn init_tells_every_step_when_it_is_asked_to() {
    misbehaving("exit 0").words("init.log=debug").boot().expect(0).shows(&[
        "pid1: started /bin/own as process ",
        "ms after init",
        "pid1: the machine ends",
    ]);
}
