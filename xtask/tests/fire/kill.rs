//! SIGKILL at 200 random moments of a build.

use std::time::{Duration, Instant};

use crate::bench::{Bench, names, repeated};
use crate::random::Random;
use crate::small_disk::on_disk;

const N_KILLS: usize = 200;

/// After each kill: no lock is stuck, all that counts is whole, no success is forgotten, and no step runs that had succeeded. In
/// the end: the same bits as undisturbed, and nothing is left over. When a build comes to its end before its kill, the next one
/// starts from an empty store.
#[test]
fn two_hundred_kills_lose_nothing_and_change_nothing() {
    on_disk("kill::two_hundred_kills_lose_nothing_and_change_nothing", "size=1g", |_| kill_and_kill());
}

fn kill_and_kill() {
    let (bench, mut random) = (Bench::new(), Random::new());
    let started = Instant::now();
    bench.build().expect(0);
    let (whole, expected) = (started.elapsed(), bench.outcome());
    let n_steps = bench.take_ledger().len();
    bench.clear();
    let (mut n_kills, mut n_whole, mut n_runs, mut n_lost, mut n_outlived) = (0, 0, 0, 0, 0);
    let mut recorded = bench.recorded();
    while n_kills < N_KILLS {
        let mut child = bench.start();
        // A moment of the whole build, or, as often, of the beginning of what is left of it.
        let part = if random.below(2) == 0 { 1.0 } else { 0.25 };
        std::thread::sleep(whole.mul_f64(random.fraction() * part));
        let ended = child.try_wait().unwrap();
        match ended {
            Some(status) => assert!(status.success(), "{status}"),
            None => {
                bench.kill(child, random.below(2) == 0);
                n_kills += 1;
            }
        }
        n_outlived += bench.end_stuck_tools();
        bench.check_store();
        bench.check_target(&expected);
        let (ran, now) = (bench.take_ledger(), bench.recorded());
        assert_eq!(repeated(&ran, &recorded), [].into(), "made although they were there");
        assert!(recorded.iter().all(|(step, made)| now.get(step) == Some(made)), "a success was forgotten");
        n_runs += ran.len();
        n_lost += ran.iter().filter(|step| !now.contains_key(*step)).count();
        recorded = now;
        if ended.is_some() {
            bench.outcome().expect(&expected);
            n_whole += 1;
            bench.clear();
            recorded.clear();
        }
    }
    bench.build().expect(0);
    bench.outcome().expect(&expected);
    let ran = bench.take_ledger();
    assert_eq!(repeated(&ran, &recorded), [].into());
    check_nothing_is_left(&bench);
    // Without the keeper of the sandbox there was one within the first hundred kills, each time. With it one was seen in several
    // hundred, on a crowded machine.
    assert!(n_outlived <= 1, "{n_outlived} tools outlived their build");
    println!(
        "{N_KILLS} kills in {n_whole} whole builds of {n_steps} steps and {:.2} s; {} runs of steps, {n_lost} of them cut short; \
         {} downloads went on where they were cut; {n_outlived} tools outlived their build by ten seconds; {:.0} s in all, seed {}",
        whole.as_secs_f64(),
        n_runs + ran.len(),
        bench.server.n_resumed.load(std::sync::atomic::Ordering::SeqCst),
        started.elapsed().as_secs_f64(),
        random.seed,
    );
}

/// Locks of downloads stay, for to remove a lock is to let two processes hold it; they are empty.
fn check_nothing_is_left(bench: &Bench) {
    bench.check_store();
    let downloads = names(&bench.folder("downloads"));
    assert!(downloads.iter().all(|name| name.ends_with(".lock")), "{downloads:?}");
    let laid_out = names(&bench.target());
    assert_eq!(laid_out, crate::bench::FILES);
    let started = Instant::now();
    bench.build().expect(0);
    assert_eq!(bench.take_ledger(), [""; 0]);
    assert!(started.elapsed() < Duration::from_secs(60));
}
