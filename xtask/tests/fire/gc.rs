//! `gc` beside builds, and killed itself.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use xtask::store::Access;

use crate::bench::{Bench, names};
use crate::flips::{DAMAGES, open_up};
use crate::random::Random;

#[test]
fn a_build_that_starts_while_gc_runs_says_that_it_waits_and_then_builds() {
    let bench = Bench::new();
    let gc = bench.store(Access::Exclusive);
    let mut child = bench.command().stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let waits = "waiting for `cargo xtask gc`, which is cleaning the store";
    assert!(lines.any(|line| line == waits), "it does not say that it waits");
    assert_eq!(bench.take_ledger(), [""; 0]);
    drop(gc);
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
}

/// gc either cleans or says that a build is going on. Builds never fail, and what a build has made is made once.
#[test]
fn gc_in_a_circle_beside_builds_loses_nothing() {
    let bench = Bench::new();
    bench.build().expect(0);
    let expected = bench.outcome();
    bench.take_ledger();
    let is_over = AtomicBool::new(false);
    let (n_cleaned, n_refused) = std::thread::scope(|scope| {
        let gc = scope.spawn(|| {
            let mut counts = (0, 0);
            while !is_over.load(Ordering::Relaxed) {
                let ran = bench.xtask(&["gc"]);
                match ran.status {
                    Some(0) => counts.0 += 1,
                    _ => {
                        ran.expect(1).says(&["a build is using it", "hint: try again"]);
                        counts.1 += 1;
                    }
                }
            }
            counts
        });
        let builders: Vec<_> =
            (0..2).map(|_| scope.spawn(|| (0..15).for_each(|_| drop(bench.build().expect(0))))).collect();
        let results: Vec<_> = builders.into_iter().map(|builder| builder.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok), "a build failed beside gc");
        gc.join().unwrap()
    });
    assert_eq!(bench.take_ledger(), [""; 0], "gc took what was needed");
    bench.outcome().expect(&expected);
    assert!(n_cleaned > 0, "gc never got to clean; it was refused {n_refused} times");
    println!("30 builds beside gc, which cleaned {n_cleaned} times and was refused {n_refused} times");
}

#[test]
fn gc_says_which_image_has_ended_and_deletes_what_it_needed() {
    let bench = Bench::new();
    bench.build().expect(0);
    let program = bench.checkout().join("fire");
    let n_objects = || names(&bench.folder("objects")).len();
    let n_before = n_objects();
    fs::rename(&program, program.with_extension("old")).unwrap();
    let ended = format!("nobody needs the image `fire` of `{}`: `{program}` is gone", bench.checkout());
    bench.xtask(&["gc", "--dry-run"]).expect(0).says(&[&ended]);
    assert_eq!((n_objects(), names(&bench.folder("roots")).len()), (n_before, 1));
    bench.xtask(&["gc"]).expect(0).says(&[&ended]);
    assert_eq!((n_objects(), names(&bench.folder("roots")).len()), (0, 0));
}

/// Whatever has become of what nobody needs, it goes, and so does all that comes after it.
#[test]
fn gc_deletes_what_is_damaged_in_any_way() {
    let mut bench = Bench::new();
    bench.build().expect(0);
    let (needed, folder) = (names(&bench.folder("objects")), bench.folder("objects"));
    for (index, (_, damage)) in DAMAGES.into_iter().enumerate() {
        bench.order.variant = index as u32 + 1;
        let before = names(&folder);
        bench.build().expect(0);
        let is_gathered = |name: &&String| !before.contains(name) && folder.join(name).join("a/1").exists();
        let unneeded = folder.join(names(&folder).iter().find(is_gathered).unwrap());
        open_up(&unneeded);
        damage(&unneeded);
    }
    bench.order.variant = 0;
    bench.build().expect(0);
    fs::write(bench.folder("downloads").join("x.part"), "x").unwrap();
    bench.xtask(&["gc"]).expect(0);
    // The archive is not needed, for its tree is there.
    assert!(names(&folder).iter().all(|name| needed.contains(name)));
    assert_eq!([names(&bench.folder("downloads")), names(&bench.folder("tmp"))], [[""; 0]; 2]);
}

/// Also in its midst it has deleted only what nobody needs.
#[test]
fn a_gc_that_is_killed_has_deleted_nothing_that_is_needed() {
    let (mut bench, mut random) = (Bench::new(), Random::new());
    bench.build().expect(0);
    bench.take_ledger();
    let needed = bench.outcome();
    for round in 0..15 {
        // Another variant leaves something to delete, when the first one is the newest again.
        bench.order.variant = round + 1;
        bench.build().expect(0);
        bench.order.variant = 0;
        bench.build().expect(0);
        bench.take_ledger();
        let mut gc = Command::new(env!("CARGO_BIN_EXE_xtask"));
        gc.arg("gc").env("PID1_STORE", &bench.store_root).env("CARGO_MANIFEST_DIR", bench.checkout().join("xtask"));
        let mut child = gc.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random.below(40) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        bench.check_store_but_traces();
        bench.build().expect(0);
        assert!(bench.take_ledger().is_empty(), "gc took what was needed");
    }
    bench.xtask(&["gc"]).expect(0);
    assert!(bench.outcome().files() == needed.files());
    assert_eq!(names(&bench.folder("tmp")), [""; 0]);
}
