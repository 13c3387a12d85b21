//! Promises of `--volume`: what it says, what is refused, what init is told.

use super::*;
use crate::qemu::process::Process;
use pid1_init::config::FileSystem;
use std::io::Write;
use std::time::{Duration, Instant};

fn parse(text: &str) -> Result<VolumeArg, String> {
    text.parse()
}

fn check_parse(text: &str, expect: Result<(&str, &str, Option<&str>, bool), &str>) {
    let actual = parse(text);
    let actual =
        actual.as_ref().map(|arg| (arg.file.as_str(), arg.serial.as_str(), arg.path.as_deref(), arg.read_only));
    match (actual, expect) {
        (Err(actual), Err(expect)) => assert!(actual.contains(expect), "{text}: {actual}"),
        (actual, expect) => assert_eq!(actual.ok(), expect.ok(), "{text}"),
    }
}

#[test]
fn a_volume_is_a_file_and_a_name() {
    check_parse("data.img:data", Ok(("data.img", "data", None, false)));
    check_parse("/a:b/c.img:data:ro", Ok(("/a:b/c.img", "data", None, true)));
    check_parse("data.img:/srv/my data", Ok(("data.img", "srv-my-data", Some("/srv/my data"), false)));
    check_parse(
        "data.img:/very/long/folder/of/data:ro",
        Ok(("data.img", "-long-folder-of-data", Some("/very/long/folder/of/data"), true)),
    );
    check_parse("data.img", Err("FILE:NAME is expected"));
    check_parse(":data", Err("FILE:NAME is expected"));
    check_parse("data.img:ro", Err("FILE:NAME is expected"));
    check_parse("data.img:", Err("FILE:NAME is expected"));
    check_parse("data.img:my data", Err("must be letters, digits"));
    check_parse("data.img:123456789012345678901", Err("longer than a disk's serial number, 20 bytes"));
    check_parse("data.img:/", Err("where the image is"));
}

fn check_word(text: &str, expect: Option<&str>) {
    let volume = |path: &str, source, read_only| Volume {
        path: path.to_owned(),
        source,
        kind: Some(FileSystem::Ext4),
        read_only,
        required: true,
    };
    let known = [
        volume("/srv", Source::Label("data".to_owned()), false),
        volume("/logs", Source::Device("/dev/disk/by-id/virtio-logs".to_owned()), true),
    ];
    assert_eq!(parse(text).expect("a volume").word(&known).as_deref(), expect, "{text}");
}

#[test]
fn init_is_told_what_the_spec_does_not_say() {
    check_word("f:data", None);
    check_word("f:data:ro", Some("init.volume=label=data:/srv:ro"));
    check_word("f:logs:ro", None);
    check_word("f:logs", None);
    check_word("f:/logs", None);
    check_word("f:other", Some("init.volume=/dev/disk/by-id/virtio-other:/other"));
    check_word("f:other:ro", Some("init.volume=/dev/disk/by-id/virtio-other:/other:ro"));
    check_word("f:/data", Some("init.volume=/dev/disk/by-id/virtio-data:/data"));
    check_word("f:/my data", Some("\"init.volume=/dev/disk/by-id/virtio-my-data:/my data\""));
}

fn file_of(bytes: &[u8], length: u64) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("the disk has room");
    file.as_file().set_len(length).expect("the disk has room");
    file
}

fn check_file(file: &std::path::Path, suffix: &str, expect: &[&str]) {
    let arg = parse(&format!("{}:data{suffix}", file.display())).expect("a volume");
    let found = problems(&[arg]);
    assert_eq!(found.len(), expect.len().min(1), "{found:?}");
    for part in expect {
        assert!(found[0].contains(part), "{found:?}");
    }
}

#[test]
fn what_is_no_raw_disk_is_refused_by_name() {
    check_file(file_of(b"", 1 << 20).path(), "", &[]);
    check_file(file_of(b"", 1000).path(), "", &["has 1000 bytes", "hint: `truncate -s %512 "]);
    check_file(file_of(b"", 0).path(), "", &["is empty", "hint: "]);
    check_file(
        file_of(b"QFI\xfb", 1 << 20).path(),
        "",
        &["is a qcow2 image", "hint: `qemu-img convert -f qcow2 -O raw "],
    );
    check_file(file_of(b"KDMV", 1 << 20).path(), ":ro", &["is a vmdk image"]);
    check_file(
        "/no/such.img".as_ref(),
        "",
        &["there is no volume", "hint: `cargo xtask volume /no/such.img --size 64M --label data`"],
    );
    check_file("/".as_ref(), "", &["is a folder"]);
    check_file("/dev/null".as_ref(), "", &["neither a file nor a block device"]);
}

#[test]
fn one_disk_is_given_once() {
    let file = file_of(b"", 1 << 20);
    let arg = |name: &str| parse(&format!("{}:{name}", file.path().display())).expect("a volume");
    assert_eq!(problems(&[arg("a"), arg("b")]).len(), 1);
    assert_eq!(problems(&[arg("a"), arg("a")]).len(), 2);
}

/// Waits for a lock that another process takes soon.
fn await_lock(file: &std::path::Path) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if is_written(file.metadata().expect("it is there").ino()) {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

#[test]
fn a_disk_of_another_machine_is_in_use() {
    let file = file_of(b"", 1 << 20);
    let path = file.path().to_str().expect("a path in UTF-8");
    let disk =
        parse(&format!("{path}:data")).and_then(|arg| arg.disk().map_err(|error| error.to_string())).expect("a disk");
    let mut argv = [crate::qemu::QEMU, "-nodefaults", "-display", "none", "-S", "-m", "16"].map(str::to_owned).to_vec();
    argv.extend(crate::qemu::Devices { volumes: vec![disk], ..Default::default() }.words());
    let other = Process::spawn(&argv, Vec::new()).expect("QEMU starts");
    assert!(await_lock(file.path()), "QEMU takes the disk");
    check_file(file.path(), "", &["is in use by `qemu-system", "hint: end the other one first"]);
    check_file(file.path(), ":ro", &["is in use by"]);
    drop(other);
    check_file(file.path(), "", &[]);
}
