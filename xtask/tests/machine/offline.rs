//! After `vendor` everything is built in a network namespace that has no interface which is up; and every source of a pin
//! that can be reached gives the tree that the pin declares.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::support::{Checkout, Ran};

/// A store that has nothing but a finished kernel: the kernel alone takes as long as all the rest ten times over.
fn store_with_a_kernel(this: &Checkout) -> tempfile::TempDir {
    this.xtask(&["image"]).expect(0);
    let manifest: serde_json::Value = serde_json::from_slice(&this.read("target/image/hello/manifest.json")).unwrap();
    let kernel = |field: &str| manifest["steps"]["kernel"][field].as_str().unwrap().to_owned();
    let store = tempfile::tempdir().unwrap();
    let from = xtask::workspace::store_root().unwrap().join("v1");
    for name in [format!("objects/{}", kernel("id")), format!("traces/{}.json", kernel("key"))] {
        let to = store.path().join("v1").join(&name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        let status = Command::new("cp").arg("-a").arg(from.join(&name)).arg(&to).status().unwrap();
        assert!(status.success(), "{name}");
    }
    store
}

/// Runs a command where no network interface is up, not even loopback, and cargo has never fetched anything.
fn without_network(command: &mut Command, checkout: &Checkout, home: &Path) -> Ran {
    let mut walled = Command::new("unshare");
    // root needs no user namespace for a network, and some hosts forbid those.
    let user: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    walled.args(user).arg("--net").arg(command.get_program()).args(command.get_args());
    walled.current_dir(&checkout.root).env("CARGO_HOME", home);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => walled.env(name, value),
            None => walled.env_remove(name),
        };
    }
    Ran::new(walled.output().unwrap())
}

#[test]
fn after_vendor_an_image_is_built_without_network() {
    let this = Checkout::this();
    let store = store_with_a_kernel(&this);
    let copy = Checkout::copy();
    copy.xtask(&["vendor"]).expect(0);
    let again = copy.xtask(&["vendor"]).expect(0);
    assert!(
        again.started().is_empty() && !again.stdout.contains("copied") && !again.stdout.contains("through"),
        "{again:?}"
    );

    let home = tempfile::tempdir().unwrap();
    // Cargo finds every crate of xtask itself there; that they compile is no question of where they are from.
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["--config", "vendor/offline.toml", "fetch", "--locked", "--offline"]);
    without_network(&mut cargo, &copy, home.path()).expect(0);

    let offline = |args: &[&str]| {
        let mut command = copy.command(args);
        without_network(command.env("PID1_STORE", store.path()), &copy, home.path()).expect(0)
    };
    // Nobody needs the kernel's source while the kernel is there; it is vendored, too.
    assert!(offline(&["steps", "--step", "unpack-linux", "--offline"]).started().contains(&"unpack-linux"));
    let ran = offline(&["image", "--offline"]);
    let started = ran.started();
    for step in ["musl", "rust-std", "init", "program", "initramfs"] {
        assert!(started.contains(&step), "{step} was not made anew: {started:?}");
    }
    for name in ["bzImage", "initramfs.cpio", "manifest.json"] {
        let path = format!("target/image/hello/{name}");
        assert!(copy.read(&path) == this.read(&path), "{name} differs from the one built with network");
    }
}

#[test]
fn what_somebody_put_into_vendor_is_told_and_left_alone() {
    let copy = Checkout::copy();
    copy.xtask(&["vendor"]).expect(0);
    copy.write("vendor/crates/old-1.0.0.crate", "old");
    let told = copy.xtask(&["vendor"]).expect(0).stdout;
    assert!(told.contains("left alone vendor/crates/old-1.0.0.crate: nothing pins it"), "{told}");
    assert_eq!(copy.read("vendor/crates/old-1.0.0.crate"), b"old");
    let told = copy.xtask(&["vendor", "--prune"]).expect(0).stdout;
    assert!(told.contains("deleted vendor/crates/old-1.0.0.crate"), "{told}");
    assert!(!copy.root.join("vendor/crates/old-1.0.0.crate").exists());

    // A wrong file under a right name was put there to be used. What is cut or changed of ours is made again.
    copy.write("vendor/musl-1.2.6.tar.gz", "not musl");
    let anyhow = std::fs::read_dir(copy.root.join("vendor/crates")).unwrap().map(|entry| entry.unwrap().path());
    let anyhow = anyhow.into_iter().find(|path| path.to_string_lossy().contains("/anyhow-")).unwrap();
    std::fs::write(&anyhow, "cut").unwrap();
    let ran = copy.xtask(&["vendor"]).expect(1);
    assert!(ran.stdout.contains("  1 copied from the store"), "{}", ran.stdout);
    ran.says(&["failed to use", "musl-1.2.6.tar.gz`: wrong hash", "Expected: ", "hint: delete it"]);
    assert_eq!(copy.read("vendor/musl-1.2.6.tar.gz"), b"not musl");
    assert_ne!(std::fs::read(anyhow).unwrap(), b"cut");
}

/// Asks every source of a pin anew. `pin` of the present version fails where one that can be reached gives other bytes or
/// another tree, and says which could not be reached.
#[track_caller]
fn check_sources(name: &str, version: &str) {
    let copy = Checkout::copy();
    let before = copy.read("vendor/sources.toml");
    let told = copy.xtask(&["pin", name, version]).expect(0).stdout;
    assert!(told.contains("the tree is the pinned one") && told.contains("no file changes"), "{told}");
    assert!(copy.read("vendor/sources.toml") == before);
    for line in told.lines().filter(|line| line.contains("its hash stays")) {
        // Past the test harness, which shows only what failing tests print.
        let _ = writeln!(std::io::stderr(), "NOT TESTED: {}", line.trim());
    }
}

#[test]
fn the_sources_of_the_kernel_are_one_tree() {
    check_sources("linux", "6.12.107");
}

#[test]
fn the_sources_of_the_c_library_are_one_tree() {
    check_sources("musl", "1.2.6");
}

#[test]
fn the_sources_of_the_standard_library_are_one_tree() {
    check_sources("rust", "1.95.0");
}
