//! `cargo xtask verify`: what depends on the host is caught and named, what does not is the same everywhere.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Checkout, Ran};

/// So many of the 18 variations every host has to give.
const N_IN_FORCE: u64 = 12;

/// A build script that writes down what it must not: the day.
const BUILD_SCRIPT: &str = r#"//! Writes the day down.
fn main() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    println!("cargo:rustc-env=BUILT=built on day {}", now.as_secs() / 86_400);
}
"#;

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
}

/// The store that the tests use, as the README has it.
fn store() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || set("XDG_CACHE_HOME").unwrap_or_else(|| set("HOME").unwrap().join(".cache"));
    set("PID1_STORE").unwrap_or_else(|| cache().join("pid1"))
}

/// What `verify` has in the store's `tmp`.
fn half_made() -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(store().join("v1/tmp")).unwrap().flatten().map(|entry| entry.path());
    entries.filter(|path| path.is_dir() && path.file_name().unwrap().to_string_lossy().starts_with("verify-")).collect()
}

/// What remains of a run is a folder with its process's number in its name.
fn left_by(process: u32) -> Vec<PathBuf> {
    half_made().into_iter().filter(|path| path.to_string_lossy().contains(&format!("verify-{process}-"))).collect()
}

#[test]
fn a_program_that_depends_on_the_host_is_caught_and_named() {
    let copy = Checkout::copy();
    copy.write("apps/hello/build.rs", BUILD_SCRIPT);
    copy.edit("apps/hello/src/main.rs", "\"Hello from Rust\"", "\"Hello from Rust, {}\", env!(\"BUILT\")");
    let ran = copy.xtask(&["verify", "hello", "--step", "program"]).expect(1);
    let told = |part: &str| assert!(ran.stdout.contains(part), "`{part}` is not in:\n{}\n{}", ran.stdout, ran.stderr);
    told("rust-std");
    told("DIFFERENT");
    told("the first that differs: the step program");
    told("its inputs are the same on both sides");
    told("section .rodata, offset 0x");
    told("program of hello: 1 of 7 artifacts differ");
    let days: Vec<u64> = ran.stdout.lines().filter_map(day).collect();
    assert!(days.len() == 2 && days[0] < days[1], "{days:?}:\n{}", ran.stdout);
}

/// The day in a line such as `    as usual:  30 31 ...  "Hello from Rust, built on day 20000"`.
fn day(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("built on day ")?;
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

#[test]
fn a_good_program_is_the_same_with_most_variations_in_force_and_without_network() {
    let this = Checkout::this();
    let ran = this.xtask(&["verify", "hello-go", "--step", "program", "--json", "--offline"]).expect(0);
    let verdict = json(&ran);
    assert_eq!(verdict["same"], true, "{verdict:#}");
    assert!(verdict["variations_in_force"].as_u64().unwrap() >= N_IN_FORCE, "{verdict:#}");
    let steps = verdict["steps"].as_array().unwrap();
    assert_eq!(steps.iter().map(|row| &row["step"]).collect::<Vec<_>>(), ["program"]);
    // Nothing was served by the first side's store.
    assert!(ran.started().contains(&"program"), "{}", ran.stderr);
    verdict["variations"].as_array().unwrap().iter().for_each(check_variation);
}

/// What is in force was seen to differ, and what is not says why.
fn check_variation(variation: &Value) {
    let is_in_force = variation["is_in_force"] == true;
    assert_eq!(is_in_force, variation["why_not"] == "", "{variation:#}");
    assert!(!is_in_force || variation["usual"] != variation["otherwise"], "{variation:#}");
}

#[test]
fn offline_all_that_is_missing_is_named_and_nothing_is_left() {
    let this = Checkout::this();
    this.xtask(&["steps", "hello", "--step", "musl"]).expect(0);
    let child = this.command(&["verify", "hello", "--step", "musl", "--offline"]);
    let (process, ran) = run(child);
    ran.expect(1).says(&["failed to build offline", "musl 1.2.6", "failed to build the second side"]);
    assert_eq!(left_by(process), [""; 0].map(PathBuf::from));
}

fn run(mut command: Command) -> (u32, Ran) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    (child.id(), Ran::new(child.wait_with_output().unwrap()))
}

#[test]
fn a_verification_that_is_ended_leaves_nothing_behind() {
    let this = Checkout::this();
    this.xtask(&["steps", "hello", "--step", "musl"]).expect(0);
    let mut command = this.command(&["verify", "hello", "--step", "musl"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut was_interrupted = false;
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap) {
        if line == "musl: started" {
            assert_eq!(left_by(child.id()).len(), 1);
            kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
            was_interrupted = true;
        }
    }
    assert!(was_interrupted);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(left_by(child.id()), [""; 0].map(PathBuf::from));
}

#[test]
fn what_someone_else_published_is_compared_and_the_cause_is_named_first() {
    let this = Checkout::this();
    this.xtask(&["image"]).expect(0);
    let folder = tempfile::tempdir().unwrap();
    let manifest = String::from_utf8(this.read("target/image/hello/manifest.json")).unwrap();
    let against = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        this.xtask(&["verify", "hello", "--against", path.to_str().unwrap()])
    };
    let same = against("same.json", &manifest).expect(0);
    assert!(same.stdout.starts_with("hello: all "), "{}", same.stdout);
    let mut value: Value = serde_json::from_str(&manifest).unwrap();
    value["tools"]["gcc"] = "gcc (Elsewhere) 99.1 blake3:00".into();
    value["steps"]["kernel"]["id"] = "0".repeat(64).into();
    value["files"]["bzImage"]["sha256"] = "0".repeat(64).into();
    let other = against("other.json", &value.to_string()).expect(1);
    let order =
        ["other host tools:", "gcc (Elsewhere) 99.1", "steps that differ:", "kernel", "files that differ:", "bzImage"];
    other.shows(&order).shows(&["what is listed first may explain it"]);
    value["schema"] = 4711.into();
    against("future.json", &value.to_string()).expect(1).says(&["its schema is 4711"]);
    against("broken.json", &manifest[..manifest.len() / 2])
        .expect(1)
        .says(&["future.json".replace("future", "broken").as_str(), "it is no JSON"]);
    value["schema"] = serde_json::from_str::<Value>(&manifest).unwrap()["schema"].clone();
    value["image"] = "web".into();
    against("web.json", &value.to_string()).expect(1).says(&["it is of the image `web`, and `hello` was asked for"]);
}

/// The whole of it, kernel and all: minutes.
#[test]
fn hello_is_the_same_elsewhere_and_otherwise_and_diffoscope_agrees() {
    let copy = Checkout::copy();
    // A name of its own, for what a user has kept of `hello` is not ours to replace.
    let name = copy.spec("hello-twice", "package = \"hello\"");
    let verdict = json(&copy.xtask(&["verify", &name, "--keep", "--json"]).expect(0));
    let kept = store().join("verify").join(&name);
    assert_eq!(verdict["same"], true, "{verdict:#}");
    assert!(verdict["variations_in_force"].as_u64().unwrap() >= N_IN_FORCE, "{verdict:#}");
    assert!(verdict["files"].as_array().unwrap().len() >= 4, "{verdict:#}");
    diffoscope_finds_nothing(&kept.join("as-usual"), &kept.join("otherwise"));
    assert!(Command::new("chmod").args(["-R", "u+w"]).arg(&kept).status().unwrap().success());
    std::fs::remove_dir_all(&kept).unwrap();
}

fn diffoscope_finds_nothing(usual: &Path, otherwise: &Path) {
    // What a folder's files have beside their content (times, owners) is no part of an image.
    let mut diffoscope = Command::new("diffoscope");
    diffoscope.args(["--exclude-directory-metadata=yes", "--text", "-"]).args([usual, otherwise]);
    let output = diffoscope.output().expect("diffoscope: `cargo xtask doctor --yes` installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
