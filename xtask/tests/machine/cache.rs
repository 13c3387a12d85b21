//! What runs again, and what does not.

use std::process::Stdio;

use crate::support::{Checkout, Ran};

/// A copy of this checkout whose hello is built.
fn built() -> Checkout {
    Checkout::this().xtask(&["image"]).expect(0);
    Checkout::copy()
}

/// Has hello say what no other test's program says, so that the store cannot have it.
fn make_unique(checkout: &Checkout) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    checkout.edit("apps/hello/src/main.rs", "Hello from Rust", &format!("Hello from {}", now.as_nanos()));
}

#[test]
fn another_clone_at_another_path_runs_nothing() {
    let copy = built();
    let ran = copy.xtask(&["image"]).expect(0);
    assert_eq!(ran.started(), [""; 0]);
    for name in ["bzImage", "initramfs.cpio", "manifest.json"] {
        let path = format!("target/image/hello/{name}");
        assert!(copy.read(&path) == Checkout::this().read(&path), "{name} differs");
    }
}

#[test]
fn touching_files_runs_nothing() {
    let copy = built();
    for name in ["apps/hello/src/main.rs", "kernel-configs/base.config", "Cargo.lock", "vendor/sources.toml"] {
        let file = std::fs::File::options().append(true).open(copy.root.join(name)).unwrap();
        file.set_modified(std::time::SystemTime::now()).unwrap();
    }
    copy.edit("README.md", "pid1", "pid1 ");
    copy.edit("xtask/Cargo.toml", "publish = false", "publish = false\n# another comment");
    assert_eq!(copy.xtask(&["image"]).expect(0).started(), [""; 0]);
}

#[test]
fn a_changed_program_makes_the_program_and_the_initramfs_and_why_names_the_file() {
    let copy = built();
    copy.xtask(&["image"]).expect(0);
    make_unique(&copy);
    let why = copy.xtask(&["why", "program"]).expect(0).stdout;
    assert!(why.contains("would run") && why.contains("file.apps/hello/src/main.rs changed from"), "{why}");
    let log = copy.xtask(&["log", "kernel"]).expect(0).stdout;
    assert!(log.contains("arch/x86/boot/bzImage"), "{log}");
    let ran = copy.xtask(&["image"]).expect(0);
    assert_eq!(ran.started(), ["initramfs", "program"]);
    assert!(copy.xtask(&["why", "program"]).expect(0).stdout.contains("up to date. Before its last build"));
}

#[test]
fn a_changed_fragment_makes_the_kernel_only() {
    let copy = built();
    copy.edit("kernel-configs/serial.config", "CONFIG_", "# Another comment.\nCONFIG_");
    // The kernel is not built to its end for this: the step that starts is what counts.
    let ran = until_started(&copy, &["image"], "kernel: started");
    assert_eq!(ran.started(), ["kernel"]);
}

/// Runs `xtask` until it says `line`, then interrupts it; everything that it started before and beside is in the result.
fn until_started(checkout: &Checkout, args: &[&str], line: &str) -> Ran {
    use std::io::BufRead;
    let mut child = checkout.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
    let mut stderr = String::new();
    for said in reader.by_ref().map(Result::unwrap) {
        stderr.push_str(&(said.clone() + "\n"));
        if said == line {
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        }
    }
    let status = child.wait().unwrap().code().unwrap();
    assert_eq!(status, 130, "{stderr}");
    Ran { status, stdout: String::new(), stderr }
}

#[test]
fn a_comment_in_the_program_leaves_the_initramfs_alone() {
    let copy = built();
    let now = std::time::SystemTime::now();
    copy.edit("apps/hello/src/main.rs", "fn main() {", &format!("// {now:?}\nfn main() {{"));
    assert_eq!(copy.xtask(&["image"]).expect(0).started(), ["program"]);
}

#[test]
fn two_builds_at_once_make_a_step_once() {
    let copy = built();
    make_unique(&copy);
    let spawn = || copy.command(&["image"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let both = [spawn(), spawn()].map(|child| Ran::new(child.wait_with_output().unwrap()).expect(0));
    let n_programs = both.iter().flat_map(Ran::started).filter(|step| *step == "program").count();
    assert_eq!(n_programs, 1, "{both:?}");
}

#[test]
fn a_damaged_artifact_is_found_and_made_again() {
    let copy = built();
    make_unique(&copy);
    copy.xtask(&["image"]).expect(0);
    let manifest: serde_json::Value = serde_json::from_slice(&copy.read("target/image/hello/manifest.json")).unwrap();
    let id = manifest["steps"]["initramfs"]["id"].as_str().unwrap();
    let cache = std::env::var("PID1_STORE").or_else(|_| std::env::var("XDG_CACHE_HOME").map(|cache| cache + "/pid1"));
    let store = cache.unwrap_or_else(|_| std::env::var("HOME").unwrap() + "/.cache/pid1");
    let object = std::path::Path::new(&store).join("v1/objects").join(id);
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, "damaged").unwrap();
    let ran = copy.xtask(&["image"]).expect(0).says(&["is damaged; making it again"]);
    assert_eq!(ran.started(), ["initramfs"]);
}
