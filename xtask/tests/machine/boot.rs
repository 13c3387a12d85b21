//! Real machines.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::{Checkout, Ran, compile};

/// Far longer than any of these machines takes, on a loaded host too.
const LONG: &str = "240s";

/// Does what its arguments say.
const PROGRAM: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int n, char **args) {
    for (int i = 1; i < n; i++) printf("argument %d is [%s]\n", i, args[i]);
    if (getenv("GREETING")) printf("greeting is [%s]\n", getenv("GREETING"));
    fflush(stdout);
    if (n > 2 && !strcmp(args[1], "exit")) return atoi(args[2]);
    if (n > 2 && !strcmp(args[1], "signal")) { raise(atoi(args[2])); }
    for (int i = 0; n > 2 && !strcmp(args[1], "orphans") && i < atoi(args[2]); i++)
        if (!fork()) { if (!fork()) usleep(100000); _exit(0); }
    if (n > 1 && !strcmp(args[1], "sleep")) for (;;) pause();
    return 0;
}
"#;

fn with_program(mode: &str) -> (Checkout, String) {
    let checkout = Checkout::copy();
    compile(PROGRAM, &["-static"], &checkout.root.join("program"));
    let spec = checkout.spec("own", &format!("file = \"program\"\n{mode}"));
    (checkout, spec)
}

#[test]
fn hello_says_hello() {
    let ran = Checkout::this().xtask(&["qemu", "--until", "Hello from Rust", "--deadline", LONG]).expect(0);
    assert!(ran.stdout.contains("Hello from Rust"), "{}", ran.stdout);
}

#[test]
fn hello_go_says_hello_as_pid_1() {
    Checkout::this().xtask(&["qemu", "hello-go", "--until", "Hello from Go", "--deadline", LONG]).expect(0);
}

#[test]
fn the_programs_status_arguments_and_environment_pass_through() {
    let (checkout, spec) = with_program("args = [\"exit\", \"7\"]\nenv = { GREETING = \"good  day\" }");
    let ran = checkout.xtask(&["qemu", &spec, "--deadline", LONG]).expect(7).says(&["exited with status 7 after"]);
    assert!(ran.stdout.contains("greeting is [good  day]"), "{}", ran.stdout);
    let ran = checkout.xtask(&["qemu", &spec, "--deadline", LONG, "--", "exit", "123", "two words"]).expect(123);
    assert!(ran.stdout.contains("argument 3 is [two words]"), "{}", ran.stdout);
    let ran = checkout.xtask(&["qemu", &spec, "--deadline", LONG, "--json", "--", "signal", "11"]).expect(139);
    let outcome: serde_json::Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(outcome["ending"], serde_json::json!({"how": "killed", "signal": 11}), "{outcome}");
    checkout.xtask(&["qemu", &spec, "--deadline", LONG, "--", "orphans", "200"]).expect(0);
}

#[test]
fn a_program_that_is_pid_1_and_ends_is_a_panic_that_is_explained_first() {
    let (checkout, spec) = with_program("mode = \"direct\"\nargs = [\"exit\", \"3\"]");
    let ran = checkout.xtask(&["qemu", &spec, "--deadline", LONG]).expect(123);
    let explained = ran.stderr.find("exited with status 3").expect("an explanation");
    assert!(explained < ran.stderr.find("last lines").expect("the evidence"), "{}", ran.stderr);
}

#[test]
fn the_deadline_and_the_awaited_text_decide() {
    let (checkout, spec) = with_program("args = [\"sleep\"]");
    checkout
        .xtask(&["qemu", &spec, "--until", "no such text", "--deadline", "20s"])
        .expect(124)
        .says(&["`no such text`", "argument 1"]);
    checkout
        .xtask(&["qemu", &spec, "--until", "no such text", "--deadline", LONG, "--", "exit", "0"])
        .expect(1)
        .says(&["`no such text`"]);
}

#[test]
fn the_dry_run_can_be_pasted() {
    let this = Checkout::this();
    let command = this.xtask(&["qemu", "--dry-run"]).expect(0).stdout;
    // `exec`, so that what is killed below is QEMU itself.
    let script = format!("exec {}", command.trim());
    let mut shell = std::process::Command::new("sh");
    let mut machine = shell.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(machine.stdout.take().unwrap()).lines().map(Result::unwrap);
    let has_booted = lines.into_iter().any(|line| line.contains("Hello from Rust"));
    machine.kill().unwrap();
    machine.wait().unwrap();
    assert!(has_booted, "{script}");
}

#[test]
fn what_was_built_before_boots_if_it_is_whole() {
    let this = Checkout::this();
    let folder = tempfile::tempdir().unwrap();
    let built = folder.path().to_str().unwrap();
    this.xtask(&["image", "--out", built]).expect(0);
    // Nothing is built: there is no store, and none can be made.
    let boot = |image: &str| {
        let mut command = this.command(&["qemu", image, "--built", built, "--until", "Hello from", "--deadline", LONG]);
        Ran::new(command.env("PID1_STORE", "/dev/null/store").output().unwrap())
    };
    boot("hello").expect(0);
    boot("web").expect(1).says(&["holds the image `hello`, not `web`", "cargo xtask qemu hello --built"]);
    std::fs::write(folder.path().join("initramfs.cpio"), "damaged").unwrap();
    std::fs::remove_file(folder.path().join("kernel.config")).unwrap();
    boot("hello").expect(1).says(&["`kernel.config`, `initramfs.cpio` are not what manifest.json says"]);
}

#[test]
fn the_kernel_reads_every_compression() {
    let checkout = Checkout::copy();
    for compress in ["gzip", "zstd", "xz"] {
        let name = checkout.spec(&format!("hello-{compress}"), "package = \"hello\"");
        // One kernel that reads all three, rather than three kernels.
        let path = format!("images/{name}.toml");
        checkout.edit(
            &path,
            "\"hardening\"",
            "\"hardening\", \"initramfs-gzip\", \"initramfs-zstd\", \"initramfs-xz\"",
        );
        checkout.edit(&path, "[kernel]", &format!("[initramfs]\ncompress = \"{compress}\"\n\n[kernel]"));
        checkout.xtask(&["qemu", &name, "--until", "Hello from Rust", "--deadline", LONG]).expect(0);
    }
}
