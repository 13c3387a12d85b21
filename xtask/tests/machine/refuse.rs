//! Bad input: what is said, and that nothing is changed.

use std::path::Path;
use std::process::Command;

use crate::support::{Checkout, Ran, compile};

#[test]
fn an_unknown_image_step_verb_or_flag_gets_the_nearest_name() {
    let this = Checkout::this();
    this.xtask(&["image", "helo"]).expect(1).says(&["there is no images/helo.toml; did you mean `hello`?"]);
    this.xtask(&["image", "no/such.toml"]).expect(1).says(&["there is no image spec `no/such.toml`"]);
    this.xtask(&["why", "kernl"]).expect(1).says(&["there is no step `kernl`; did you mean `kernel`?"]);
    this.xtask(&["imgae"]).expect(2).says(&["'image'"]);
    this.xtask(&["qemu", "--untl", "x"]).expect(2).says(&["--until"]);
    this.xtask(&["qemu", "--deadline", "soon"]).expect(2).says(&["500ms"]);
    this.xtask(&["qemu", "--until", ""]).expect(2).says(&["--until"]);
}

#[test]
fn a_spec_with_several_mistakes_is_told_all_of_them() {
    let copy = Checkout::copy();
    copy.edit("images/hello.toml", "fragments", "fragmnets");
    copy.edit("images/hello.toml", "package", "pakage");
    let ran = copy.xtask(&["image"]).expect(1);
    ran.says(&[
        "unknown key `program.pakage`; did you mean `package`?",
        "unknown key `kernel.fragmnets`; did you mean `fragments`?",
    ]);
}

#[test]
fn an_unknown_fragment_and_a_bad_lock_are_named() {
    let copy = Checkout::copy();
    copy.edit("images/hello.toml", "\"serial\"", "\"seriel\"");
    copy.xtask(&["image"]).expect(1).says(&["kernel-configs/seriel.config; did you mean `serial`?"]);
    copy.edit("images/hello.toml", "\"seriel\"", "\"serial\"");
    copy.edit("vendor/sources.toml", "version = \"6.12.107\"", "verison = \"6.12.107\"");
    copy.xtask(&["image"])
        .expect(1)
        .says(&["vendor/sources.toml", "unknown key `linux.verison`; did you mean `version`?"]);
}

#[test]
fn a_program_that_cannot_run_alone_is_refused_before_anything_boots() {
    let copy = Checkout::copy();
    let refused = |file: &str, expect: &[&str]| {
        let spec = copy.spec("own", &format!("file = \"{file}\""));
        copy.xtask(&["image", &spec]).expect(1).says(expect);
    };
    compile("int main(void) { return 0; }", &[], &copy.root.join("dynamic"));
    refused("dynamic", &["it is dynamic: it wants the loader `/lib64/", "CGO_ENABLED=0"]);
    compile("int main(void) { return 0; }", &["-static"], &copy.root.join("foreign"));
    let mut program = copy.read("foreign");
    program[18] = 0xb7; // e_machine: EM_AARCH64
    copy.write("foreign", program);
    refused("foreign", &["it is built for AArch64"]);
    copy.write("script", "#!/bin/sh\necho\n");
    refused("script", &["it is a script (`#!/bin/sh`)"]);
    refused("absent", &["`program.file`: there is no `"]);
}

#[test]
fn a_lost_kernel_option_is_told_with_what_it_depends_on() {
    let copy = Checkout::copy();
    copy.write("kernel-configs/lost.config", "CONFIG_EXT4_FS=y\nCONFIG_NO_SUCH_OPTION=y\nCONFIG_SYSFS=y\n");
    copy.edit("images/hello.toml", "\"hardening\"", "\"hardening\", \"lost\"");
    copy.xtask(&["image"]).expect(1).says(&[
        "2 of the fragments' options are not in the kernel's configuration",
        "CONFIG_EXT4_FS: lost.config asks for `y`, the result is `n`; it depends on",
        "CONFIG_BLOCK",
        "CONFIG_NO_SUCH_OPTION: lost.config asks for `y`, the result is `n`; this kernel has no such option",
    ]);
}

#[test]
fn missing_host_tools_are_listed_at_once_with_the_command() {
    let this = Checkout::this();
    let folder = tempfile::tempdir().unwrap();
    let gcc = Command::new("sh").args(["-c", "command -v gcc"]).output().unwrap().stdout;
    std::os::unix::fs::symlink(String::from_utf8(gcc).unwrap().trim(), folder.path().join("gcc")).unwrap();
    // A package manager that must not be run: nothing is installed without being asked for.
    compile("int main(void) { return 1; }", &[], &folder.path().join("apt-get"));
    let mut command = this.command(&["qemu"]);
    command.env("PATH", folder.path()).env("PID1_STORE", folder.path().join("store"));
    let ran = Ran::new(command.output().unwrap()).expect(1);
    ran.says(&["host tools are missing", "flex ", "bison ", "qemu-system-x86_64", "apt-get install", "flex", "--yes"]);
    assert!(!folder.path().join("store").exists());
}

fn with_store(copy: &Checkout, args: &[&str], store: &Path) -> Ran {
    Ran::new(copy.command(args).env("PID1_STORE", store).env("CARGO_HOME", store.join("no-crates")).output().unwrap())
}

#[test]
fn offline_lists_all_that_is_missing_and_fetches_nothing() {
    let (copy, store) = (Checkout::copy(), tempfile::tempdir().unwrap());
    let ran = with_store(&copy, &["image", "--offline"], store.path()).expect(1);
    assert_eq!(ran.started(), [""; 0]);
    ran.says(&[
        "linux 6.12.107, one of:",
        "musl 1.2.6, one of:",
        "rust-library 1.95.0, one of:",
        "the crates of `init`: ",
    ]);
}

#[test]
fn a_wrong_hash_is_told_with_both_and_nothing_is_stored() {
    let (copy, store) = (Checkout::copy(), tempfile::tempdir().unwrap());
    let right = "d585fd3b613c66151fc3249e8ed44f77020cb5e6c1e635a616d3f9f82460512a";
    let wrong = "0".repeat(64);
    copy.edit("vendor/sources.toml", right, &wrong);
    // Without its other inputs, so that only musl is fetched: the tree is asked for by a key of its own.
    let ran = with_store(&copy, &["image"], store.path()).expect(1);
    ran.says(&["fetch-musl", &format!("Expected: {wrong}"), &format!("Computed: {right}"), "pool/main/m/musl/"]);
    let traces = std::fs::read_dir(store.path().join("v1/traces")).unwrap().flatten();
    assert!(traces.into_iter().all(|trace| !std::fs::read_to_string(trace.path()).unwrap().contains("musl")));
}

#[test]
fn a_full_disk_is_called_a_full_disk() {
    let (copy, store) = (Checkout::copy(), tempfile::tempdir().unwrap());
    // Room for one archive and not for another; then for the archives and not for what is in them.
    for size in ["30m", "320m"] {
        let xtask = env!("CARGO_BIN_EXE_xtask");
        let script = format!(
            "mount -t tmpfs -o size={size} none \"$PID1_STORE\" && '{xtask}' image; status=$?; ls \"$PID1_STORE/v1/tmp\"; exit $status"
        );
        let mut command = Command::new("unshare");
        // root needs no user namespace to mount, and some hosts forbid those.
        let user: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
        command.args(user).args(["--mount", "sh", "-c", &script]).current_dir(&copy.root);
        command.env("PID1_STORE", store.path()).env("CARGO_MANIFEST_DIR", copy.root.join("xtask"));
        let ran = Ran::new(command.output().unwrap()).expect(1).says(&["disk", "is full", "PID1_STORE"]);
        assert_eq!(ran.stdout, "", "half-made things are left");
    }
}
