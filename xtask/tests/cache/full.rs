//! Full disks: who meets one on the way to a cache or from it tells those who build beside, if it is their disk.

use std::fs::{self, File};

use camino::Utf8Path;
use xtask::cache::Cache;
use xtask::cache::place::Place;

use crate::bench::{Bench, CLIENT, LIMITS};
use crate::server::Server;
use crate::small_disk::{mount, on_disk};

/// In bytes.
const PAGE: u64 = 4096;

/// Leaves so many pages of the disk.
fn fill(disk: &Utf8Path, n_left: u64) {
    let mut file = File::create(disk.join("filler")).unwrap();
    let error = std::io::copy(&mut std::io::repeat(1), &mut file).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    file.set_len(file.metadata().unwrap().len() - n_left * PAGE).unwrap();
}

#[test]
fn an_upload_that_finds_no_room_says_so_to_those_who_build() {
    on_disk("full::an_upload_that_finds_no_room_says_so_to_those_who_build", "size=20m", |disk| {
        let (mut n_not_packed, mut n_not_put) = (0, 0);
        for n_left in 0..24 {
            let bench = Bench::new();
            let cache = bench.root().join("cache");
            fs::create_dir(&cache).unwrap();
            bench.build_alone();
            fill(disk, n_left);
            bench.build(cache.as_str());
            let said = bench.said();
            assert_eq!(bench.store.n_times_full() > 0, said.contains("No space left on device"), "{n_left}: {said}");
            n_not_packed += u32::from(said.contains("failed to pack"));
            n_not_put += u32::from(said.ends_with("; going on without it"));
            fs::remove_file(disk.join("filler")).unwrap();
        }
        assert!(n_not_packed > 0 && n_not_put > 0, "{n_not_packed} {n_not_put}");
    });
}

#[test]
fn a_download_that_finds_no_room_says_so_to_those_who_build() {
    on_disk("full::a_download_that_finds_no_room_says_so_to_those_who_build", "size=20m", |disk| {
        let (one, other, server) = (Bench::new(), Bench::new(), Server::honest());
        let made = one.build(&server.url());
        let place = Place::parse(&server.url()).unwrap();
        let cache = || Cache::new(&place, CLIENT.clone(), LIMITS, &|_| (), &|_| ());
        let trace = cache().trace(&other.store, &made["program"].fields).unwrap();
        let folder = other.root().join("taken");
        fs::create_dir(&folder).unwrap();
        // None for what comes, and then none for what it unpacks to.
        for n_left in [0, 1] {
            fill(disk, n_left);
            let before = other.store.n_times_full();
            assert!(cache().artifact(&other.store, &trace, &folder).is_none());
            assert!(other.store.n_times_full() > before, "{n_left}");
        }
    });
}

#[test]
fn a_cache_whose_own_disk_is_full_is_nobody_elses_trouble() {
    let build = |cache: &Utf8Path| {
        let bench = Bench::new();
        bench.build(cache.as_str());
        (bench.store.n_times_full(), bench.said())
    };
    on_disk("full::a_cache_whose_own_disk_is_full_is_nobody_elses_trouble", "size=20m", |disk| {
        let small = disk.join("small");
        fs::create_dir(&small).unwrap();
        mount(&small, "size=4k");
        fs::create_dir(small.join("cache")).unwrap();
        fill(&small, 0);
        let (n_times_full, said) = build(&small.join("cache"));
        assert!(said.contains("No space left on device"), "{said}");
        assert_eq!(n_times_full, 0);
    });
}
