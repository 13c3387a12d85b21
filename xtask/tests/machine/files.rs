//! Programs without a spec, and what a spec packs beside its program.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use crate::support::{Checkout, compile};

/// Far longer than any of these machines takes, on a loaded host too.
const LONG: &str = "240s";

/// Says what is at the paths that are its arguments.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <sys/stat.h>
int main(int n, char **args) {
    struct stat found;
    for (int i = 1; i < n; i++) printf("[%s is %o]\n", args[i], lstat(args[i], &found) ? 0 : found.st_mode);
    return 0;
}
"#;

#[test]
fn files_and_folders_are_in_the_machine_as_they_are_on_the_host() {
    let copy = Checkout::copy();
    compile(PROGRAM, &["-static"], &copy.root.join("program"));
    std::fs::create_dir_all(copy.root.join("site/empty")).unwrap();
    copy.write("site/.hidden", "");
    copy.write("site/run", "");
    std::fs::set_permissions(copy.root.join("site/run"), std::fs::Permissions::from_mode(0o700)).unwrap();
    symlink("run", copy.root.join("site/link")).unwrap();
    let spec = copy.spec("own", "file = \"program\"");
    copy.edit("images/own.toml", "[kernel]", "[[file]]\nsource = \"site\"\npath = \"/srv\"\n[kernel]");
    let key = "[[file]]\nsource = \"site/run\"\npath = \"/etc/key\"\nmode = \"0600\"\n[kernel]";
    copy.edit("images/own.toml", "[kernel]", key);
    let names = ["/srv/.hidden", "/srv/run", "/srv/link", "/srv/empty", "/etc/key"];
    let ran = copy.xtask(&[&["qemu", &spec, "--deadline", LONG, "--"], &names[..]].concat()).expect(0);
    for (name, mode) in names.iter().zip(["100644", "100755", "120777", "40755", "100600"]) {
        assert!(ran.stdout.contains(&format!("[{name} is {mode}]")), "{name}: {}", ran.stdout);
    }
    copy.write("site/.hidden", "other");
    let why = copy.xtask(&["why", "initramfs", "--image", &spec]).expect(0);
    assert!(why.stdout.contains("file.files/0/srv/.hidden changed"), "{}", why.stdout);
    copy.write("site/own.conf", "");
    copy.edit("images/own.toml", "\"/etc/key\"", "\"/srv/own.conf\"");
    copy.xtask(&["image", &spec]).expect(1).says(&["two of them bring `/srv/own.conf`"]);
}

#[test]
fn a_dynamic_program_runs_with_the_loader_and_libraries_that_it_is_given() {
    let copy = Checkout::copy();
    compile(PROGRAM, &[], &copy.root.join("program"));
    let spec = copy.spec("own", "file = \"program\"");
    copy.xtask(&["image", &spec]).expect(1).says(&["it is dynamic: it wants the loader `/lib64/"]);
    for (library, path) in [("ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2"), ("libc.so.6", "/lib/libc.so.6")] {
        let gcc = Command::new("gcc").arg(format!("-print-file-name={library}")).output().unwrap().stdout;
        let source = String::from_utf8(gcc).unwrap();
        let file = format!("[[file]]\nsource = \"{}\"\npath = \"{path}\"\n[kernel]", source.trim());
        copy.edit("images/own.toml", "[kernel]", &file);
    }
    let ran = copy.xtask(&["qemu", &spec, "--deadline", LONG, "--", "/proc"]).expect(0);
    assert!(ran.stdout.contains("[/proc is 40555]"), "{}", ran.stdout);
}

#[test]
fn a_program_without_a_spec_is_taken_by_its_path() {
    let (copy, here) = (Checkout::copy(), tempfile::tempdir().unwrap());
    compile(PROGRAM, &["-static"], &here.path().join("hello"));
    let run = |args: &[&str]| {
        let mut command = copy.command(args);
        crate::support::Ran::new(command.current_dir(here.path()).output().unwrap())
    };
    // The same kernel whatever the program, and never in the place of images/hello.toml's.
    let ran = run(&["why", "program", "--file", "./hello"]).expect(0);
    assert!(ran.stdout.starts_with("program of hello-file: "), "{}", ran.stdout);
    run(&["qemu", "hello", "--file", "./hello"]).expect(2).says(&["--file"]);
    run(&["qemu", "--file", "absent"]).expect(1).says(&["failed to read the program `absent`"]);
    run(&["qemu", "--file", "hello.c"]).expect(1).says(&["it is no ELF file"]);
    std::fs::set_permissions(here.path().join("hello"), std::fs::Permissions::from_mode(0o644)).unwrap();
    run(&["qemu", "--file", "hello"]).expect(1).says(&["it is not executable", "hint: chmod +x "]);
}

#[test]
fn a_kernel_that_lacks_what_the_program_needs_is_refused_before_it_is_built() {
    let copy = Checkout::copy();
    copy.edit("kernel-configs/base.config", "CONFIG_EPOLL=y", "# CONFIG_EPOLL is not set");
    copy.xtask(&["image", "hello-go"])
        .expect(1)
        .says(&["made by Go, which needs CONFIG_EPOLL, and no fragment sets it"]);
    copy.edit("images/hello.toml", "\"base\", ", "");
    copy.xtask(&["image"]).expect(1).says(&[
        "CONFIG_64BIT",
        "CONFIG_BINFMT_ELF",
        "hint: add the fragment `base` to `kernel.fragments`",
    ]);
}
