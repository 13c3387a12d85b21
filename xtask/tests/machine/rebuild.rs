//! From nothing to the same bits, at another path, with a kill in the middle of every step.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Checkout, Ran};

#[test]
fn a_build_that_is_killed_in_every_step_ends_in_the_same_bits() {
    let this = Checkout::this();
    this.xtask(&["image"]).expect(0);
    let (copy, store) = (Checkout::copy(), tempfile::tempdir().unwrap());
    let steps: BTreeSet<String> = graph(&this).into_iter().collect();
    let mut killed = BTreeSet::new();
    // Ctrl-C and SIGKILL take turns. Every step is killed once, and made when it is asked for the second time.
    for round in 0..2 * steps.len() {
        let signal = if round % 2 == 0 { Signal::INT } else { Signal::KILL };
        match kill_next(&copy, store.path(), &killed, signal) {
            Some(step) => assert!(killed.insert(step)),
            None => break,
        }
        let verified = run(&copy, store.path(), &["store", "verify"]).expect(0);
        assert!(verified.stdout.contains(" 0 damaged"), "{}", verified.stdout);
    }
    // What takes a blink may be done before the signal arrives.
    let escaped: Vec<_> = steps.difference(&killed).filter(|step| !step.starts_with("crates-")).collect();
    assert!(escaped.is_empty(), "not killed: {escaped:?}");
    let rerun = run(&copy, store.path(), &["image"]).expect(0);
    assert_eq!(rerun.started(), [""; 0]);
    for name in ["bzImage", "initramfs.cpio", "kernel.config", "manifest.json", "provenance.json", "sbom.spdx.json"] {
        let path = format!("target/image/hello/{name}");
        assert!(copy.read(&path) == this.read(&path), "{name} differs from the one built at another path");
    }
    nothing_is_left(store.path());
    gc_keeps_what_is_needed(&copy, store.path());
}

fn run(checkout: &Checkout, store: &Path, args: &[&str]) -> Ran {
    Ran::new(in_store(checkout, store, args).output().unwrap())
}

fn in_store(checkout: &Checkout, store: &Path, args: &[&str]) -> Command {
    let mut command = checkout.command(args);
    command.env("PID1_STORE", store);
    command
}

fn graph(checkout: &Checkout) -> Vec<String> {
    let text = checkout.xtask(&["graph"]).expect(0).stdout;
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Builds until a step starts that was not killed yet, and kills the build there. Nothing, if it came to its end.
fn kill_next(checkout: &Checkout, store: &Path, killed: &BTreeSet<String>, signal: Signal) -> Option<String> {
    let mut child = in_store(checkout, store, &["image"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let mut victim = None;
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap) {
        let step = line.strip_suffix(": started").filter(|step| !killed.contains(*step));
        if let (Some(step), None) = (step, &victim) {
            kill_process(pid, signal).unwrap();
            victim = Some(step.to_owned());
        }
    }
    let status = child.wait().unwrap();
    if victim.is_none() {
        assert!(status.success(), "{status}");
    }
    victim
}

/// After a kill, tools of the dead build may live for a moment; what they leave is swept by the next run.
fn nothing_is_left(store: &Path) {
    let left: Vec<_> = std::fs::read_dir(store.join("v1/tmp")).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn gc_keeps_what_is_needed(checkout: &Checkout, store: &Path) {
    let told = run(checkout, store, &["gc", "--dry-run"]).expect(0).stdout;
    let done = run(checkout, store, &["gc"]).expect(0).stdout;
    assert_eq!(told.replace("would delete", "deleted"), done);
    assert_eq!(run(checkout, store, &["image"]).expect(0).started(), [""; 0]);
    // The archives are not needed any more; the trees are.
    assert!(done.starts_with("deleted 3 artifacts"), "{done}");
}
