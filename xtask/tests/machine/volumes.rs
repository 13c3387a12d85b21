//! Disks: made by `xtask volume`, mounted by init, in order at the end.

use std::process::Command;

use crate::machine::{Machine, compiled};
use crate::support::Checkout;

/// Shows what the volume holds, and adds a line to it.
const NOTE: &str = r#"
#include <stdio.h>
int main(int n, char **args) {
    char line[100];
    FILE *file = fopen("/data/notes", "a+");
    if (!file) { perror("/data/notes"); return 1; }
    while (fgets(line, sizeof line, file)) printf("found %s", line);
    fprintf(file, "%s\n", n > 1 ? args[1] : "");
    return fclose(file) ? 2 : 0;
}
"#;

fn with_volume(checkout: Checkout) -> Machine {
    std::fs::copy(compiled("note", NOTE, &["-static"]), checkout.root.join("note")).unwrap();
    Machine::of(checkout, "file = \"note\"").table("[[volume]]\npath = \"/data\"\nlabel = \"data\"")
}

#[test]
fn a_volume_keeps_what_is_written_and_is_left_in_order() {
    for kind in ["ext4", "vfat"] {
        let checkout = Checkout::copy();
        let disk = checkout.root.join("data.img");
        let disk = disk.to_str().unwrap();
        checkout.xtask(&["volume", disk, "--size", "16M", "--label", "data", "--type", kind]).expect(0);
        let flag = format!("{disk}:data");
        let machine = with_volume(checkout).flag("--volume").flag(&flag).args("first");
        let first = machine.command().output().unwrap();
        assert!(first.status.success(), "{first:?}");
        machine.boot().expect(0).shows(&["found first"]);
    }
}

#[test]
fn ext4_needs_no_repair_after_an_orderly_end() {
    let checkout = Checkout::copy();
    let disk = checkout.root.join("data.img");
    let disk = disk.to_str().unwrap().to_owned();
    checkout.xtask(&["volume", &disk, "--size", "16M", "--label", "data"]).expect(0);
    let machine = with_volume(checkout).flag("--volume").flag(&format!("{disk}:data")).args("note");
    assert!(machine.command().output().unwrap().status.success());
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let checked = Command::new("sh").args(["-c", "exec e2fsck -fn \"$0\"", &disk]).env("PATH", path).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn a_program_does_not_start_without_its_volume() {
    let said = "the program cannot start without its volume /data";
    let ran = with_volume(Checkout::copy()).boot().expect(126).shows(&[said]).says(&[said]);
    assert!(!ran.stdout.contains("found"), "{}", ran.stdout);
}
