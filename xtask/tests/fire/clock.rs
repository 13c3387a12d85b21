//! A clock that jumps: nothing in the store is decided by a time. Files from the future and from 1970, and tools that change while
//! their time does not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use camino::Utf8Path;
use xtask::artifact;

use crate::bench::Bench;

fn set_time(path: &Utf8Path, time: SystemTime) {
    // An opened link would be what it leads to.
    if !path.is_symlink() {
        fs::File::open(path).unwrap().set_modified(time).unwrap();
    }
}

fn date_all(folder: &Utf8Path, time: SystemTime) {
    for entry in artifact::entries(folder).unwrap() {
        set_time(&folder.join(&entry.path), time);
    }
}

fn moments() -> [SystemTime; 3] {
    [
        UNIX_EPOCH,
        SystemTime::now() + Duration::from_secs(20 * 365 * 86_400),
        SystemTime::now() - Duration::from_secs(86_400),
    ]
}

/// As after a clock that was years ahead, or that began at 1970, when all of this was made.
#[test]
fn a_store_and_a_checkout_from_another_time_are_as_good() {
    let bench = Bench::new();
    bench.build().expect(0);
    let expected = bench.outcome();
    bench.take_ledger();
    for time in moments() {
        date_all(&bench.store_root, time);
        date_all(&bench.checkout(), time);
        bench.build().expect(0);
        assert_eq!(bench.take_ledger(), [""; 0]);
        bench.outcome().expect(&expected);
        bench.xtask(&["store", "verify"]).expect(0);
        bench.xtask(&["gc"]).expect(0);
        bench.build().expect(0);
        assert_eq!(bench.take_ledger(), [""; 0]);
    }
}

/// A half-made thing is swept, and a part is gone on with, whatever their time is.
#[test]
fn what_a_killed_build_left_in_another_time_is_swept() {
    let bench = Bench::new();
    for time in moments() {
        let mut child = bench.start();
        while crate::bench::names(&bench.folder("tmp")).is_empty() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        bench.kill(child, true);
        bench.end_stuck_tools();
        date_all(&bench.folder("tmp"), time);
        bench.check_store();
        bench.clear();
    }
}

/// A tool that is replaced by another one of the same size, in the same file, and then dated back, is another tool.
#[test]
fn a_tool_that_changes_without_its_time_is_another_tool() {
    let bench = Bench::new();
    // Not in /tmp, which a build tool sees empty.
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let bin = Utf8Path::from_path(folder.path()).unwrap();
    let tool = bin.join("cat");
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let real = Command::new("sh").args(["-c", "command -v cat"]).output().unwrap();
    let real = fs::read(String::from_utf8(real.stdout).unwrap().trim()).unwrap();
    let build = || {
        let output = bench.command().env("PATH", &path).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        bench.take_ledger().len()
    };
    for time in moments() {
        // What follows the program's own content counts as content, too.
        for tail in ["one", "two"] {
            fs::write(&tool, [&real, tail.as_bytes(), format!("{time:?}").as_bytes()].concat()).unwrap();
            fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
            set_time(&tool, time);
            assert!(build() > 0, "the tool with {tail} was taken for the one before");
            assert_eq!(build(), 0);
        }
    }
}
