//! Whole specs: what is taken, and what is said of what is not.

use pid1_init::config::{NetworkMode, OnCrashLoop, Restart};

use super::*;

const GOOD: &str = r#"
name = "hello"
arch = "x86_64"
[program]
package = "hello"
[kernel]
base = "tinyconfig"
fragments = ["base", "serial"]
cmdline = "console=ttyS0"
"#;

const FRAGMENTS: [&str; 8] = ["base", "serial", "pci", "virtio", "net", "block", "ext4", "vfat"];

fn parse(text: &str) -> Result<Image> {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Image::parse(text, &Known { fragments: list(&FRAGMENTS), packages: list(&["hello", "web"]) })
}

fn check(change: (&str, &str), expect: &str) {
    check_in(GOOD, change, expect);
}

#[track_caller]
fn check_in(good: &str, change: (&str, &str), expect: &str) {
    let text = good.replace(change.0, change.1);
    assert_ne!(text, good, "the change {change:?} does not apply");
    let found = format!("{:#}", parse(&text).unwrap_err());
    assert!(found.contains(expect), "{found}");
}

#[test]
fn a_good_spec_has_defaults() {
    let image = parse(GOOD).unwrap();
    assert_eq!((image.program.mode, image.compress), (Mode::Supervised, Compress::None));
    let origin = Origin::Package("hello".to_owned());
    assert_eq!(image, Image::new("hello", origin, image.kernel.clone()));
}

#[test]
fn bad_specs_name_the_key_the_rule_and_the_nearest_name() {
    check(("fragments", "fragmnets"), "line 8: unknown key `kernel.fragmnets`; did you mean `fragments`?");
    check(("\"serial\"", "\"seriel\""), "there is no kernel-configs/seriel.config; did you mean `serial`?");
    check(("\"serial\"", "\"base\""), "names `base` twice");
    check(("package = \"hello\"", "package = \"helo\""), "no workspace package `helo`; did you mean `hello`?");
    check(("package = \"hello\"", ""), "exactly one of `package`, `file` and `go`");
    check(("package = \"hello\"", "package = \"hello\"\nfile = \"x\""), "exactly one of");
    check(("x86_64", "riscv64"), "`arch` is `riscv64`");
    check(("name = \"hello\"", "name = \"../x\""), "`name` is `../x`");
    check(("tinyconfig", "allnoconfig"), "unknown variant `allnoconfig`");
    check(("console=ttyS0", "a -- b"), "`program.args`");
    check(
        ("[kernel]", "mode = \"direct\"\nenv = { A = \"1\" }\n[kernel]"),
        "without init nobody sets it; delete `env`, or change the mode",
    );
}

#[test]
fn all_problems_are_told_at_once() {
    let text = GOOD.replace("x86_64", "mips").replace("\"serial\"", "\"net2\"");
    let found = parse(&text).unwrap_err().to_string();
    assert!(found.contains("mips") && found.contains("net2"), "{found}");
}

const FULL: &str = r#"
name = "hello"
hostname = "www.example"
[program]
package = "hello"
restart = "always"
start = "network"
[supervise]
delay = "50ms"
delay-max = "1m"
healthy = "30s"
limit = 3
on-crash-loop = "keep-trying"
stop-timeout = "0s"
watchdog = "0s"
[kernel]
base = "tinyconfig"
[network]
dhcp = true
[[volume]]
path = "/data"
label = "data"
[[file]]
source = "hosts"
path = "/etc/hosts"
"#;

#[test]
fn every_key_reaches_the_image() {
    let image = parse(FULL).unwrap();
    let supervise = Supervise {
        restart: Restart::Always,
        delay: Duration::from_millis(50),
        delay_max: Duration::from_secs(60),
        healthy: Duration::from_secs(30),
        limit: 3,
        on_crash_loop: OnCrashLoop::KeepTrying,
        stop_timeout: Duration::ZERO,
    };
    assert_eq!(image.supervise, supervise);
    assert_eq!(
        (image.hostname.as_deref(), image.watchdog, image.program.start),
        (Some("www.example"), None, Start::Network)
    );
    assert_eq!((image.network.mode, image.volumes.len(), image.files.len()), (NetworkMode::Dhcp, 1, 1));
}

#[test]
fn words_of_init_are_refused_in_inits_words() {
    let check = |change: (&str, &str), expect: &str| check_in(FULL, change, expect);
    check(("\"always\"", "\"allways\""), "`program.restart`: unknown value `allways`, did you mean `always`?");
    check(("\"50ms\"", "\"50\""), "`supervise.delay`: expected a time such as 500ms, 5s, 2m or 1h, found `50`");
    check(("\"50ms\"", "\"2m\""), "longer than `delay-max`");
    check(("watchdog = \"0s\"", "watchdog = \"500ms\""), "hardware counts whole seconds, 2s or more");
    check(("limit", "limti"), "unknown key `supervise.limti`; did you mean `limit`?");
    check(("label = ", "lable = "), "unknown key `volume.lable`; did you mean `label`?");
    check(("[network]\ndhcp = true", ""), "the program would wait for ever");
    for name in ["", "-a", "a-", "a..b", "a b", "a_b", &"a".repeat(64), &["a"; 33].join(".")] {
        check(("www.example", name), "`hostname` is `");
    }
}

#[test]
fn without_init_nobody_does_what_init_does() {
    let text = FULL.replace("restart =", "mode = \"direct\"\nrestart =");
    let found = parse(&text).unwrap_err().to_string();
    for key in ["hostname", "program.restart", "program.start", "supervise", "network", "volume"] {
        assert!(found.contains(&format!("`{key}` needs `program.mode = \"supervised\"`")), "{key}: {found}");
    }
    assert!(!found.contains("`file`"), "{found}");
}

#[test]
fn what_the_spec_needs_of_the_kernel_it_brings() {
    let check = |spec: &str, named: &str, expect: &[&str]| {
        let fragments = format!("base = \"tinyconfig\"\nfragments = [{named}]");
        let image = parse(&spec.replace("base = \"tinyconfig\"", &fragments)).unwrap();
        assert_eq!(image.fragments(), expect);
    };
    let volume = "[[volume]]\npath = \"/data\"\nlabel = \"data\"\n";
    let network = "[network]\ndhcp = true\n";
    let plain = FULL.replace(volume, "").replace(network, "").replace("start = \"network\"\n", "");
    check(&plain, "\"serial\"", &["serial"]);
    check(&plain, "\"serial\", \"base\", \"net\"", &["base", "serial", "net"]);
    check(&(plain.clone() + network), "\"base\", \"serial\"", &["base", "serial", "pci", "virtio", "net"]);
    check(&(plain + volume), "\"vfat\", \"pci\"", &["vfat", "pci", "virtio", "block", "ext4"]);
    check(FULL, "\"base\"", &["base", "pci", "virtio", "net", "block", "ext4", "vfat"]);
    let text = FULL.replace("dhcp = true", "dhcp = true\n[initramfs]\ncompress = \"xz\"");
    let found = parse(&text).unwrap_err().to_string();
    assert!(found.contains("there is no kernel-configs/initramfs-xz.config"), "{found}");
}

#[test]
fn a_dead_machine_comes_back_unless_the_spec_says_otherwise() {
    let check = |cmdline: &str, expect: &[&str]| {
        let image = parse(&GOOD.replace("console=ttyS0", cmdline)).unwrap();
        assert_eq!(image.kernel_words(), expect);
    };
    check("console=ttyS0 quiet", &["console=ttyS0 quiet", "panic=10", "oops=panic"]);
    check("", &["panic=10", "oops=panic"]);
    check("quiet panic=-1", &["quiet panic=-1"]);
    check("x.panic=1", &["x.panic=1", "panic=10", "oops=panic"]);
    assert!(parse(GOOD).unwrap().has_console());
    assert!(!parse(&GOOD.replace("console=ttyS0", "quiet netconsole=x")).unwrap().has_console());
}
