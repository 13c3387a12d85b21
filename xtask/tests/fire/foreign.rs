//! A store that may not be written, and one that belongs to somebody else. Both are refused before anything is done.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use crate::bench::{Bench, Ran, names};
use crate::small_disk::in_namespace;

/// Also a store that has everything: to open one is to lock it, and to sweep what killed builds left.
#[test]
fn a_read_only_store_is_refused_with_a_way_out() {
    let bench = Bench::new();
    bench.build().expect(0);
    bench.take_ledger();
    let (store, exe) = (&bench.store_root, std::env::current_exe().unwrap());
    let script = format!(
        "mount --bind {store} {store} && mount -o remount,bind,ro {store} && \
         exec '{}' --exact builder::builder --nocapture",
        exe.to_str().unwrap()
    );
    let mut inside = in_namespace(&script);
    let build = bench.command();
    inside.envs(build.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(bench.checkout());
    let ran = Ran::new(inside.output().unwrap()).expect(1);
    ran.says(&["failed to open the store", "Read-only file system", "hint: make the folder writable", "PID1_STORE"]);
    assert_eq!(bench.take_ledger(), [""; 0]);
    bench.check_store();
}

#[test]
fn a_store_of_another_user_is_refused_and_not_touched() {
    let bench = Bench::new();
    let (v1, elsewhere) = (bench.store_root.join("v1"), bench.store_root.join("elsewhere"));
    fs::create_dir_all(&bench.store_root).unwrap();
    if rustix::process::geteuid().is_root() {
        fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::chown(&elsewhere, Some(65534), None).unwrap();
        symlink(&elsewhere, &v1).unwrap();
    } else {
        // root's, as on every machine.
        symlink("/usr", &v1).unwrap();
    }
    let owner = fs::metadata(&v1).unwrap().uid();
    let before = names(&v1);
    let ran = bench.build().expect(1);
    ran.says(&[
        "failed to open the store",
        &format!("belongs to the user {owner}"),
        "hint: name a folder of your own in PID1_STORE",
    ]);
    for verb in [&["gc"][..], &["store", "verify"]] {
        bench.xtask(verb).expect(1).says(&["belongs to the user"]);
    }
    assert_eq!(names(&v1), before);
    assert_eq!(bench.take_ledger(), [""; 0]);
}

/// A file where the store's folder should be; a folder in which nothing may be made.
#[test]
fn a_store_that_cannot_be_made_is_named() {
    let mut bench = Bench::new();
    fs::write(&bench.store_root, "in the way").unwrap();
    bench.build().expect(1).says(&["failed to open the store", "Not a directory", "hint: "]);
    bench.store_root = "/proc/pid1-store".into();
    bench.build().expect(1).says(&["failed to open the store `/proc/pid1-store/v1`", "hint: "]);
    assert_eq!(bench.take_ledger(), [""; 0]);
}
