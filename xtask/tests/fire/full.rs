//! A disk that is full at every step: it grows a little each time a build has failed on it.

use std::collections::BTreeMap;
use std::fs;

use camino::Utf8Path;
use xtask::key::{ArtifactId, StepKey};

use crate::bench::{Bench, Outcome, Ran, names, repeated};
use crate::small_disk::{in_namespace, mount, on_disk};

/// Builds until it succeeds, on a disk that `grow` makes larger before each try. Whatever fails says why; nothing that counts is
/// half, no success is lost, and none is repeated. The number of failures.
fn build_until_it_fits(bench: &Bench, expected: &Outcome, grow: &dyn Fn(usize)) -> usize {
    let mut recorded: BTreeMap<String, (StepKey, ArtifactId)> = BTreeMap::new();
    for n_tries in 0..500 {
        grow(n_tries);
        let ran = bench.build();
        if ran.status == Some(0) {
            assert_eq!(repeated(&bench.take_ledger(), &recorded), [].into());
            bench.outcome().expect(expected);
            bench.check_store();
            return n_tries;
        }
        says_that_it_is_full(ran);
        // A store that could not even be made has nothing to look at.
        if !bench.folder("lock").exists() {
            continue;
        }
        bench.check_store();
        bench.check_target(expected);
        let now = bench.recorded();
        assert!(recorded.iter().all(|(step, made)| now.get(step) == Some(made)), "a success was forgotten");
        assert_eq!(repeated(&bench.take_ledger(), &recorded), [].into());
        recorded = now;
    }
    panic!("it never fits");
}

#[track_caller]
fn says_that_it_is_full(ran: Ran) {
    ran.expect(1).says(&["error: ", "is full", "hint: free some space"]);
}

fn expected() -> (Bench, Outcome) {
    let bench = Bench::new();
    bench.build().expect(0);
    let expected = bench.outcome();
    bench.clear();
    (bench, expected)
}

#[test]
fn a_store_whose_disk_is_full_at_every_step_says_so_and_finishes_when_there_is_room() {
    on_disk(
        "full::a_store_whose_disk_is_full_at_every_step_says_so_and_finishes_when_there_is_room",
        "size=1g",
        |disk| {
            let (mut bench, expected) = expected();
            let small = disk.join("small");
            fs::create_dir(&small).unwrap();
            mount(&small, "size=4k");
            bench.store_root = small.join("store");
            let grow = |n_tries: usize| remount(&small, &format!("size={}k", 4 + 400 * n_tries));
            let n_full = build_until_it_fits(&bench, &expected, &grow);
            println!("full disk: {n_full} failures, each 400 kB later");
            assert!(n_full > 20, "{n_full}");
        },
    );
}

#[test]
fn a_disk_that_takes_no_more_files_is_full_too() {
    on_disk("full::a_disk_that_takes_no_more_files_is_full_too", "size=1g", |disk| {
        let (mut bench, expected) = expected();
        let small = disk.join("small");
        fs::create_dir(&small).unwrap();
        mount(&small, "size=500m,nr_inodes=3");
        bench.store_root = small.join("store");
        let grow = |n_tries: usize| remount(&small, &format!("nr_inodes={}", 3 + 30 * n_tries));
        let n_full = build_until_it_fits(&bench, &expected, &grow);
        println!("no more files: {n_full} failures, each 30 files later");
        assert!(n_full > 15, "{n_full}");
    });
}

#[test]
fn a_checkout_whose_disk_is_full_says_so_and_runs_no_step_again() {
    on_disk("full::a_checkout_whose_disk_is_full_says_so_and_runs_no_step_again", "size=1g", |disk| {
        let (bench, expected) = expected();
        fs::create_dir_all(bench.checkout().join("target")).unwrap();
        mount(&bench.checkout().join("target"), "size=4k");
        let grow = |n_tries: usize| remount(&bench.checkout().join("target"), &format!("size={}k", 4 + 100 * n_tries));
        let n_full = build_until_it_fits(&bench, &expected, &grow);
        println!("full checkout: {n_full} failures, each 100 kB later");
        assert!(n_full > 5, "{n_full}");
        assert_eq!(names(&bench.target()), crate::bench::FILES);
        let _ = disk;
    });
}

/// The hint names `gc`, so it must work just then.
#[test]
fn gc_works_on_a_full_disk_and_so_does_a_build_that_has_nothing_to_do() {
    on_disk("full::gc_works_on_a_full_disk_and_so_does_a_build_that_has_nothing_to_do", "size=1g", |disk| {
        let (mut bench, expected) = expected();
        let small = disk.join("small");
        fs::create_dir(&small).unwrap();
        mount(&small, "size=200m,nr_inodes=5000");
        bench.store_root = small.join("store");
        bench.build().expect(0);
        bench.take_ledger();
        bench.order.variant = 1;
        bench.build().expect(0);
        let n_objects = names(&bench.folder("objects")).len();
        fill(&small);
        bench.build().expect(0);
        bench.xtask(&["gc"]).expect(0);
        assert!(names(&bench.folder("objects")).len() < n_objects, "nothing was deleted");
        bench.order.variant = 0;
        remount(&small, "size=400m,nr_inodes=9000");
        bench.build().expect(0);
        assert!(bench.outcome().files() == expected.files());
    });
}

#[test]
fn a_build_that_has_nothing_to_do_works_on_a_full_disk_of_the_checkout() {
    on_disk("full::a_build_that_has_nothing_to_do_works_on_a_full_disk_of_the_checkout", "size=1g", |_| {
        let bench = Bench::new();
        fs::create_dir_all(bench.checkout().join("target")).unwrap();
        mount(&bench.checkout().join("target"), "size=20m,nr_inodes=500");
        bench.build().expect(0);
        let outcome = bench.outcome();
        fill(&bench.checkout().join("target"));
        bench.build().expect(0);
        bench.outcome().expect(&outcome);
    });
}

/// Leaves no byte and no file.
fn fill(disk: &Utf8Path) {
    let full = |error: std::io::Error| assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    let mut file = fs::File::create(disk.join("filler")).unwrap();
    std::io::copy(&mut std::io::repeat(1), &mut file).map_err(full).unwrap_err();
    let error = (0..).find_map(|index| fs::File::create(disk.join(format!("filler-{index}"))).err()).unwrap();
    full(error);
}

/// Changes the limits of the disk.
fn remount(disk: &Utf8Path, options: &str) {
    let options = format!("remount,{options}");
    let status = std::process::Command::new("mount").args(["-o", &options, disk.as_str()]).status().unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn a_target_that_may_not_be_written_is_named() {
    let (bench, expected) = expected();
    fs::create_dir_all(bench.checkout().join("target")).unwrap();
    let (target, mut build) = (bench.checkout().join("target"), bench.command());
    let exe = std::env::current_exe().unwrap();
    let script = format!(
        "mount --bind {target} {target} && mount -o remount,bind,ro {target} && \
         exec '{}' --exact builder::builder --nocapture",
        exe.to_str().unwrap()
    );
    let mut inside = in_namespace(&script);
    inside.envs(build.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(bench.checkout());
    let ran = Ran::new(inside.output().unwrap()).expect(1);
    ran.says(&["failed to make the folder", "target/image/fire", "Read-only file system", "hint: "]);
    bench.take_ledger();
    assert!(build.status().unwrap().success());
    assert_eq!(bench.take_ledger(), [""; 0]);
    bench.outcome().expect(&expected);
}
