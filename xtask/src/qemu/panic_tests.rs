//! Promises of the panic room: which lines count, and what is told about them.

use super::*;

fn check(line: &str, expect: Option<&str>) {
    let message = Suspicion::from_line(line).map(|suspicion| suspicion.message);
    assert_eq!(message.as_deref(), expect, "{line}");
}

#[test]
fn a_panic_stands_at_the_start_of_a_line() {
    check("Kernel panic - not syncing: x", Some("x"));
    check("[    0.123456] Kernel panic - not syncing: x", Some("x"));
    check("[    0.123456][    T1] Kernel panic - not syncing: x", Some("x"));
    check("it said: Kernel panic - not syncing: x", None);
    check("[note] Kernel panic - not syncing: x", None);
    check("Kernel panic", None);
    check("---[ end Kernel panic - not syncing: x ]---", None);
    check("", None);
}

#[test]
fn a_panic_may_follow_an_unfinished_line() {
    check("done[    0.123456] Kernel panic - not syncing: x", Some("x"));
    check("[1/2] done[   12.5] Kernel panic - not syncing: x", Some("x"));
    check(
        "okKernel panic - not syncing: Attempted to kill init! exitcode=0x00000000",
        Some("Attempted to kill init! exitcode=0x00000000"),
    );
    check("okKernel panic - not syncing: Attempted to kill init! exitcode=0x0", None);
}

fn check_sign(panic: &str, line: &str, expect: Sign) {
    let suspicion = Suspicion::from_line(panic).expect("a panic line");
    assert_eq!(suspicion.sign(line), expect, "{line}");
}

#[test]
fn later_lines_confirm_or_refute() {
    let (plain, stamped) = ("Kernel panic - not syncing: x", "[    0.1] Kernel panic - not syncing: x");
    check_sign(plain, "---[ end Kernel panic - not syncing: x ]---", Sign::Confirmed);
    check_sign(stamped, "[    0.2] ---[ end Kernel panic - not syncing: x ]---", Sign::Confirmed);
    check_sign(plain, "CPU: 0 PID: 1", Sign::None);
    check_sign(stamped, "[    0.2] CPU: 0 PID: 1", Sign::None);
    check_sign(stamped, "", Sign::None);
    check_sign(stamped, "next line of the log", Sign::Refuted);
}

fn check_explain(mode: Mode, lines: &[&str], message: &str, expect: &str, expect_hint: &str) {
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let suspicion = Suspicion { message: message.to_owned(), stamped: false };
    let panic = suspicion.explain(&lines, mode);
    assert_eq!(panic.explanation, expect);
    let hint = panic.hint.unwrap_or_default();
    assert!(hint.contains(expect_hint) && hint.is_empty() == expect_hint.is_empty(), "{hint}");
}

#[test]
fn the_end_of_pid_1_is_told_by_status_and_signal() {
    let check = |mode, message, expect: &str, hint| {
        check_explain(
            mode,
            &[],
            message,
            &format!("{expect} while it was PID 1; the kernel panics when PID 1 exits"),
            hint,
        )
    };
    check(
        Mode::Direct,
        "Attempted to kill init! exitcode=0x00000300",
        "the program exited with status 3",
        "supervised",
    );
    check(
        Mode::Direct,
        "Attempted to kill init! exitcode=0x0000000b",
        "the program was killed by SIGSEGV (signal 11)",
        "supervised",
    );
    check(
        Mode::Direct,
        "Attempted to kill init! exitcode=0x00000086",
        "the program was killed by SIGABRT (signal 6)",
        "supervised",
    );
    check(
        Mode::Direct,
        "Attempted to kill init! exitcode=0x00000022",
        "the program was killed by signal 34",
        "supervised",
    );
    check(
        Mode::Supervised,
        "Attempted to kill init! exitcode=0x0000ff00",
        "our init exited with status 255",
        "defect of init",
    );
}

#[test]
fn a_refused_init_is_told_by_its_error() {
    let message = "No working init found.  Try passing init= option to kernel.";
    let check = |lines: &[&str], expect, hint| check_explain(Mode::Direct, lines, message, expect, hint);
    check(
        &["[    0.3] Failed to execute /init (error -8)"],
        "the kernel could not start `/init`: it is no program for this kernel: made for another architecture, or not an ELF file (error -8)",
        "file PROGRAM",
    );
    check(
        &["Failed to execute /init (error -2)"],
        "the kernel could not start `/init`: it is missing, or the interpreter that it names is, as for a dynamically linked program (error -2)",
        "statically",
    );
    check(
        &["Failed to execute /init (error -13)"],
        "the kernel could not start `/init`: it is not executable (error -13)",
        "chmod",
    );
    check(
        &["Starting init: /bin/sh exists but couldn't execute it (error -99)"],
        "the kernel could not start `/bin/sh`: error -99",
        "",
    );
    check(
        &[],
        "the kernel found no `/init`: the initramfs is missing, was not accepted, or has no `/init` in it",
        "CONFIG_BLK_DEV_INITRD",
    );
    check_explain(
        Mode::Direct,
        &[],
        "Requested init /x failed (error -2).",
        "the kernel could not start `/x`: it is missing, or the interpreter that it names is, as for a dynamically linked program (error -2)",
        "statically",
    );
}

#[test]
fn a_refused_initramfs_is_told_by_its_cause() {
    let message = "VFS: Unable to mount root fs on unknown-block(0,0)";
    let check = |lines: &[&str], expect, hint| check_explain(Mode::Direct, lines, message, expect, hint);
    check(
        &["[    0.1] Initramfs unpacking failed: compression method xz not configured"],
        "the kernel could not unpack the initramfs: compression method xz not configured",
        "CONFIG_RD_XZ",
    );
    check(
        &["Initramfs unpacking failed: invalid magic at start of compressed archive"],
        "the kernel could not unpack the initramfs: invalid magic at start of compressed archive",
        "damaged",
    );
    check(
        &["Initramfs unpacking failed: write error"],
        "the kernel could not unpack the initramfs: it does not fit into the machine's memory",
        "-m MB",
    );
    check(
        &[],
        "the kernel found no `/init`: the initramfs is missing, was not accepted, or has no `/init` in it",
        "CONFIG_BLK_DEV_INITRD",
    );
}

#[test]
fn other_panics() {
    let check = |message, expect, hint| check_explain(Mode::Supervised, &[], message, expect, hint);
    check("System is deadlocked on memory", "the machine ran out of memory", "-m MB");
    check("Too many boot init vars at `x'", "the program has more arguments than the kernel passes on", "32");
    check("Fatal exception", "the kernel panicked: Fatal exception", "");
}

#[test]
fn lines_end_with_the_panic() {
    let mut lines: Vec<String> = ["a", "Kernel panic - not syncing: x", "Call Trace:"].map(String::from).into();
    Suspicion::cut(&mut lines);
    assert_eq!(lines, ["a", "Kernel panic - not syncing: x"]);
    let mut lines = vec!["a".to_owned()];
    Suspicion::cut(&mut lines);
    assert_eq!(lines, ["a"]);
}
