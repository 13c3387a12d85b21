//! Eight builds at once, in processes of their own, on one store.

use std::collections::BTreeMap;
use std::fs;
use std::process::Child;

use crate::bench::Bench;
use crate::random::Random;

const N_BUILDS: usize = 8;

fn start_all(bench: &mut Bench) -> Vec<Child> {
    let start = |index: usize| {
        bench.order.variant = index as u32 % 2;
        bench.start()
    };
    (0..N_BUILDS).map(start).collect()
}

fn finish(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn count(ran: Vec<String>) -> BTreeMap<String, usize> {
    ran.into_iter().fold(BTreeMap::new(), |mut counts, step| {
        *counts.entry(step).or_default() += 1;
        counts
    })
}

/// What follows from the variant is made twice, once for each of the two; all else once.
fn most(step: &str) -> usize {
    let of_the_variant = ["chain-3", "chain-4", "chain-5", "chain-6", "chain-7", "gather", "program", "initramfs"];
    if of_the_variant.contains(&step) { 2 } else { 1 }
}

/// The outcome of each variant, alone.
fn expected(bench: &mut Bench) -> [crate::bench::Outcome; 2] {
    [0, 1].map(|variant| {
        bench.order.variant = variant;
        bench.build().expect(0);
        let outcome = bench.outcome();
        bench.clear();
        outcome
    })
}

fn check(bench: &mut Bench, expected: &[crate::bench::Outcome; 2]) {
    bench.check_store();
    for (variant, expected) in expected.iter().enumerate() {
        bench.order.variant = variant as u32;
        bench.build().expect(0);
        assert!(bench.outcome().files() == expected.files(), "another result than alone");
    }
    assert_eq!(bench.take_ledger(), [""; 0]);
}

#[test]
fn eight_builds_at_once_make_each_step_once() {
    let mut bench = Bench::new();
    let expected = expected(&mut bench);
    start_all(&mut bench).into_iter().for_each(finish);
    for (step, n_runs) in count(bench.take_ledger()) {
        assert_eq!(n_runs, most(&step), "{step}");
    }
    check(&mut bench, &expected);
}

/// The others go on with what the killed one had begun, and make nothing more than that again.
#[test]
fn one_of_eight_that_is_killed_costs_the_others_only_what_it_had_begun() {
    let (mut bench, mut random) = (Bench::new(), Random::new());
    let expected = expected(&mut bench);
    for _ in 0..5 {
        let mut children = start_all(&mut bench);
        let victim = children.swap_remove(random.below(N_BUILDS));
        std::thread::sleep(std::time::Duration::from_millis(random.below(1000) as u64));
        bench.kill(victim, false);
        children.into_iter().for_each(finish);
        let counts = count(bench.take_ledger());
        let n_again: usize = counts.iter().map(|(step, n_runs)| n_runs.saturating_sub(most(step))).sum();
        let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
        assert!(n_again <= n_cores + 1, "{n_again} steps were made again: {counts:?}");
        bench.end_stuck_tools();
        check(&mut bench, &expected);
        bench.clear();
    }
}

/// As of two programs whose files have one name. Whoever has the folder's lock finds one image in it, or the other one.
#[test]
fn two_images_of_one_name_never_mix_their_files() {
    let mut bench = Bench::new();
    check_after_building(&mut bench);
    let mut n_looks = 0;
    for _ in 0..5 {
        let mut children = start_all(&mut bench);
        while !children.is_empty() {
            let _lock = bench.lock_target();
            bench.check_manifest();
            n_looks += 1;
            children.retain_mut(|child| {
                let ended = child.try_wait().unwrap();
                assert!(ended.is_none_or(|status| status.success()));
                ended.is_none()
            });
        }
    }
    println!("looked {n_looks} times beside {} builds", 5 * N_BUILDS);
}

/// All of them find the damage; one takes it away, one makes it again, and none loses what is whole.
#[test]
fn eight_builds_that_find_the_same_damage_mend_it_once() {
    let mut bench = Bench::new();
    let expected = expected(&mut bench);
    check_after_building(&mut bench);
    for name in ["kernel", "folder-1", "big", "initramfs"] {
        let (_, id) = bench.recorded()[name];
        let object = bench.folder("objects").join(id.to_string());
        crate::flips::damage_any(&object);
        // Its readers have to run again, so that it is read.
        for reader in ["kernel", "left", "right", "join", "link", "initramfs"] {
            if let Some((key, _)) = bench.recorded().get(reader) {
                fs::remove_file(bench.folder("traces").join(format!("{key}.json"))).unwrap();
            }
        }
        start_all(&mut bench).into_iter().for_each(finish);
        let counts = count(bench.take_ledger());
        assert!(counts.iter().all(|(step, n_runs)| *n_runs <= most(step)), "{counts:?}");
        assert_eq!(counts.get(name).copied().unwrap_or(0).min(1), 1, "{name} was not made again: {counts:?}");
        check(&mut bench, &expected);
    }
}

fn check_after_building(bench: &mut Bench) {
    for variant in [0, 1] {
        bench.order.variant = variant;
        bench.build().expect(0);
    }
    bench.take_ledger();
}
