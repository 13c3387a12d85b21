//! Promises of what is refused before a machine is built or booted.

use super::*;
use crate::cli::{Cli, Verb};
use crate::image::{Base, Kernel, Origin};
use clap::Parser;

fn image(mode: Mode, fragments: &[&str]) -> Image {
    let kernel = Kernel {
        base: Base::Tinyconfig,
        fragments: fragments.iter().map(|name| (*name).to_owned()).collect(),
        cmdline: "console=ttyS0 panic=1".to_owned(),
    };
    let mut image = Image::new("hello", Origin::Package("hello".to_owned()), kernel);
    image.program.mode = mode;
    image
}

fn args(words: &[&str]) -> QemuArgs {
    let words = ["cargo xtask", "qemu"].iter().chain(words);
    let Verb::Qemu(args) = Cli::try_parse_from(words).expect("a command line").verb else { panic!("another verb") };
    args
}

fn check_line(mode: Mode, words: &[&str], expect: &str) {
    let line = command_line(&image(mode, &[]), &args(words)).map_err(|error| error.to_string());
    assert_eq!(line.as_deref(), Ok(expect));
}

fn check_refused(mode: Mode, words: &[&str], expect: &[&str]) {
    let error = check(&image(mode, &[]), &args(words)).expect_err("it cannot be").to_string();
    for part in expect {
        assert!(error.contains(part), "`{part}` is not in:\n{error}");
    }
}

#[test]
fn variables_and_volumes_are_words_for_init() {
    check_line(
        Mode::Supervised,
        &["--env", "A=1", "--env", "B=two words", "--volume", "f:data:ro", "--", "x"],
        "console=ttyS0 panic=1 panic=-1 no_timer_check init.report=/dev/ttyS1 \
         init.volume=/dev/disk/by-id/virtio-data:/data:ro init.env=A=1 \"init.env=B=two words\" -- x",
    );
    check_line(Mode::Direct, &["--volume", "f:data", "--", "x"], "console=ttyS0 panic=1 panic=-1 no_timer_check -- x");
}

#[test]
fn a_variable_that_cannot_be_written_is_refused() {
    let error =
        command_line(&image(Mode::Supervised, &[]), &args(&["--env", "A=say \"hi there\""])).expect_err("it cannot be");
    assert!(error.to_string().starts_with("failed to set `A=say "), "{error}");
    assert!(error.to_string().contains("hint: write it into `program.env`"), "{error}");
    assert!(Cli::try_parse_from(["cargo xtask", "qemu", "--env", "A"]).is_err());
    assert!(Cli::try_parse_from(["cargo xtask", "qemu", "--env", "=1"]).is_err());
}

#[test]
fn all_that_cannot_be_is_told_at_once() {
    let words = ["-p", "0:80", "--volume", "/no/such.img:data", "--console", "/tmp"];
    check_refused(
        Mode::Supervised,
        &words,
        &[
            "`-p` needs a network, and the image `hello` has none",
            "hint: add `[network]` with `dhcp = true`",
            "there is no volume `/no/such.img`",
            "`--console /tmp` is a folder",
        ],
    );
}

#[test]
fn without_init_nobody_sets_variables_or_mounts() {
    check_refused(Mode::Direct, &["--env", "A=1"], &["`--env` needs our init", "hint: take `program.mode"]);
    check_refused(Mode::Direct, &["--volume", "f:/data"], &["nobody mounts `/data`"]);
}

#[test]
fn a_transcript_overwrites_no_disk() {
    let disk = tempfile::NamedTempFile::new().expect("a temporary file");
    let path = disk.path().to_str().expect("a path in UTF-8");
    check_refused(
        Mode::Supervised,
        &["--volume", &format!("{path}:data"), "--console", path],
        &["would overwrite a volume"],
    );
    check_refused(Mode::Supervised, &["--console", "/no/such/log.txt"], &["there is no folder `/no/such`"]);
}

#[test]
fn the_kernel_decides_which_devices_there_are() {
    let devices = |config_text: &str, fragments: &[&str], words: &[&str]| {
        let options = KernelOptions::parse(config_text);
        devices(&image(Mode::Supervised, fragments), &args(words), &options).map_err(|error| error.to_string())
    };
    assert_eq!(devices("", &[], &[]), Ok(Devices::default()));
    let all = "CONFIG_VIRTIO_NET=y\nCONFIG_HW_RANDOM_VIRTIO=y\nCONFIG_I6300ESB_WDT=y\n";
    let found = devices(all, &["net"], &["-p", "0:80"]).expect("it has all");
    assert!(found.entropy && found.watchdog, "{found:?}");
    let forwards = found.network.expect("a card").forwards;
    assert!(forwards.len() == 1 && forwards[0].host != 0, "{forwards:?}");
    assert_eq!(devices(all, &["net"], &[]).expect("it has all").network, Some(Network::default()));
    let error = devices("CONFIG_NET=y\n", &["net"], &["--smp", "2", "-p", "0:80"]).expect_err("it lacks both");
    assert!(error.contains("`--smp` needs CONFIG_SMP") && error.contains("add `\"smp\"`"), "{error}");
    assert!(error.contains("`-p` needs CONFIG_VIRTIO_NET") && error.contains("add `\"net\"`"), "{error}");
}
