//! Build tools see what was declared and nothing else; and what happens where the host cannot close them in.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::support::{Checkout, Ran};

/// Builds hello with a build script, for which a file of the user's is there.
fn with_build_script(script: &str) -> (Checkout, Ran) {
    let copy = Checkout::copy();
    copy.write("apps/hello/build.rs", format!("//! For a test.\nfn main() {{ {script} }}\n"));
    let ran = copy.xtask(&["image"]);
    (copy, ran)
}

#[test]
fn a_step_that_reads_a_file_of_the_users_home_fails() {
    let home = std::env::var("HOME").unwrap();
    let secret = tempfile::NamedTempFile::new_in(home).unwrap();
    let path = secret.path().display();
    let (_copy, ran) = with_build_script(&format!("std::fs::read_to_string(\"{path}\").expect(\"{path}\");"));
    ran.expect(1).says(&["failed to make `program`", "NotFound", "no others of yours"]);
}

#[test]
fn a_program_that_includes_a_file_of_the_users_home_is_not_compiled() {
    let home = std::env::var("HOME").unwrap();
    let secret = tempfile::NamedTempFile::new_in(home).unwrap();
    let copy = Checkout::copy();
    let main = String::from_utf8(copy.read("apps/hello/src/main.rs")).unwrap();
    copy.write("apps/hello/src/main.rs", format!("{main}\nstatic SECRET: &str = include_str!({:?});\n", secret.path()));
    let ran = copy.xtask(&["image"]).expect(1);
    // The file is named as in the checkout.
    ran.says(&["failed to make `program`", "couldn't read", "--> apps/hello/src/main.rs", "no others of yours"]);
}

#[test]
fn a_step_that_reaches_for_the_network_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (_copy, ran) = with_build_script(&format!("std::net::TcpStream::connect(\"{address}\").unwrap();"));
    ran.expect(1).says(&["failed to make `program`", "Connection refused", "a build step has no network"]);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "it got through");
}

#[test]
fn what_a_step_knows_of_the_machine_is_the_same_everywhere() {
    let script = "println!(\"cargo::rustc-env=FOLDER={}\", std::env::var(\"OUT_DIR\").unwrap());";
    let (copy, ran) = with_build_script(script);
    ran.expect(0);
    copy.edit("apps/hello/src/main.rs", "Hello from Rust", "Hello from Rust {}");
    // Not a word of the machine's own paths is in it, so that a program may know where it was built.
    assert!(hermetic(&copy));
}

#[test]
fn a_build_script_cannot_smuggle_a_file_of_the_host_out_by_a_link() {
    // What the host has in /tmp is not what a tool has there.
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::write(folder.path().join("hello"), "of the host").unwrap();
    let script = format!(
        "let out = std::env::var(\"OUT_DIR\").unwrap();
        let image = std::path::Path::new(&out).ancestors().nth(3).unwrap();
        std::fs::rename(image, \"/build/tmp/{0}\").unwrap();
        std::os::unix::fs::symlink(\"/tmp/{0}\", image).unwrap();",
        folder.path().file_name().unwrap().display()
    );
    let (_copy, ran) = with_build_script(&script);
    ran.expect(1).says(&["failed to make `program`", "leads out of the step's folder"]);
}

#[test]
fn what_is_open_in_the_users_shell_is_not_open_for_a_step() {
    let copy = Checkout::copy();
    copy.write(
        "apps/hello/build.rs",
        "//! For a test.\nfn main() { std::fs::read_dir(\"/proc/self/fd/7\").expect_err(\"it is open\"); }\n",
    );
    let xtask = copy.command(&["image"]);
    let mut command = Command::new("sh");
    command.args(["-c", "exec 7</etc; exec \"$@\"", "sh"]).arg(xtask.get_program()).args(xtask.get_args());
    command.current_dir(&copy.root).stdin(Stdio::null());
    command.envs(xtask.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ran::new(command.output().unwrap()).expect(0);
}

fn hermetic(checkout: &Checkout) -> bool {
    let manifest = String::from_utf8(checkout.read("target/image/hello/manifest.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    json["hermetic"].as_bool().unwrap()
}

/// A run of `xtask image` after a line of shell, in a user namespace of its own.
fn in_a_namespace(checkout: &Checkout, before: &str) -> Ran {
    let xtask = checkout.command(&["image"]);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--", "sh", "-c", &format!("{before} && exec \"$@\""), "sh"]);
    command.arg(xtask.get_program()).args(xtask.get_args()).current_dir(&checkout.root).stdin(Stdio::null());
    command.envs(xtask.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ran::new(command.output().unwrap())
}

/// A program that no store has.
fn say_something_new(checkout: &Checkout) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    checkout.edit("apps/hello/src/main.rs", "Hello from Rust", &format!("Hello at {}", now.as_nanos()));
}

#[test]
fn where_namespaces_are_forbidden_the_build_goes_on_and_says_so() {
    let copy = Checkout::copy();
    say_something_new(&copy);
    let ran = in_a_namespace(&copy, "echo 0 > /proc/sys/user/max_user_namespaces").expect(0);
    assert_eq!(ran.started(), ["initramfs", "program"]);
    ran.says(&["warning: THE BUILD IS NOT HERMETIC", "hint: allow namespaces"]);
    assert!(!hermetic(&copy));
    let open = copy.read("target/image/hello/initramfs.cpio");
    // What was made in the open does not count where it can be done better; the bits are the same.
    let closed = copy.xtask(&["image"]).expect(0);
    assert_eq!(closed.started(), ["program"]);
    assert!(hermetic(&copy));
    assert!(copy.read("target/image/hello/initramfs.cpio") == open);
}

#[test]
fn in_a_container_that_masks_proc_tools_are_closed_in_all_the_same() {
    let copy = Checkout::copy();
    say_something_new(&copy);
    let ran = in_a_namespace(&copy, "mount -t tmpfs none /proc/fs").expect(0);
    assert_eq!(ran.started(), ["initramfs", "program"]);
    assert!(!ran.stderr.contains("NOT HERMETIC"), "{}", ran.stderr);
    assert!(hermetic(&copy));
}
