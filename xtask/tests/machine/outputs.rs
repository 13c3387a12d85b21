//! What `image` puts out, looked at by tools that are not ours.

use std::process::Command;

use crate::support::Checkout;

fn built() -> Checkout {
    let this = Checkout::this();
    this.xtask(&["image"]).expect(0);
    this
}

const INITRAMFS: &str = "target/image/hello/initramfs.cpio";
const NAMES: [&str; 8] = ["bin", "bin/hello", "dev", "dev/console", "etc", "etc/pid1.conf", "init", ""];

#[test]
fn gnu_cpio_and_bsdtar_read_the_initramfs() {
    let this = built();
    for command in [format!("cpio --quiet -it < {INITRAMFS}"), format!("bsdtar -tf {INITRAMFS}")] {
        let output = Command::new("sh").args(["-c", &command]).current_dir(&this.root).output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let names: Vec<_> = text.split('\n').map(|name| name.trim_end_matches('/')).collect();
        assert_eq!(names, NAMES, "{command}");
    }
}

#[test]
fn init_and_the_program_are_static() {
    let this = built();
    let folder = tempfile::tempdir().unwrap();
    let archive = this.root.join(INITRAMFS);
    let script = format!("cpio --quiet -id init bin/hello < '{}' && file init bin/hello", archive.display());
    let output = Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let is_static = |line: &str| line.contains("statically linked") || line.contains("static-pie linked");
    assert_eq!(text.lines().filter(|line| is_static(line)).count(), 2, "{text}{:?}", String::from_utf8(output.stderr));
}

#[test]
fn no_path_of_this_machine_is_in_any_output() {
    let this = built();
    this.xtask(&["image", "hello-go"]).expect(0);
    let home = std::env::var("HOME").unwrap();
    let hosts =
        [home.clone() + "/", this.root.display().to_string() + "/", "/v1/objects/".to_owned(), "/.cargo/".to_owned()];
    for image in ["hello", "hello-go"] {
        for entry in std::fs::read_dir(this.root.join("target/image").join(image)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            for host in &hosts {
                let is_there = bytes.windows(host.len()).any(|window| window == host.as_bytes());
                assert!(!is_there, "{} holds `{host}`", path.display());
            }
        }
    }
}

#[test]
fn the_machine_is_small() {
    let this = built();
    let size = |name: &str| this.read(&format!("target/image/hello/{name}")).len();
    assert!(size("bzImage") <= 1_200_000, "bzImage: {}", size("bzImage"));
    assert!(size("initramfs.cpio") <= 200_000, "initramfs: {}", size("initramfs.cpio"));
}

/// Every machine carries init, so no change may make it large unseen. This is the larger one of the two.
#[test]
fn init_with_a_network_is_small() {
    let this = Checkout::this();
    this.xtask(&["image", "web"]).expect(0);
    let folder = tempfile::tempdir().unwrap();
    let script = format!("cpio --quiet -id init < '{}'", this.root.join("target/image/web/initramfs.cpio").display());
    assert!(Command::new("sh").args(["-c", &script]).current_dir(folder.path()).status().unwrap().success());
    let size = std::fs::metadata(folder.path().join("init")).unwrap().len();
    assert!(size < 200_000, "init: {size}");
}

#[test]
fn the_manifest_tells_every_input_tool_step_and_file() {
    let this = built();
    let manifest: serde_json::Value = serde_json::from_slice(&this.read("target/image/hello/manifest.json")).unwrap();
    for input in ["linux", "musl", "rust-library"] {
        assert!(manifest["inputs"][input]["sources"][0]["sha256"].is_string(), "{input} in {manifest:#}");
    }
    for (table, name) in
        [("tools", "gcc"), ("tools", "rustc"), ("steps", "kernel"), ("steps", "initramfs"), ("files", "bzImage")]
    {
        assert!(!manifest[table][name].is_null(), "{table}.{name} in {manifest:#}");
    }
    assert!(manifest["crates"].as_object().unwrap().keys().any(|name| name.starts_with("rustix ")), "{manifest:#}");
}

#[test]
fn mitigations_and_hardening_are_on() {
    let config = String::from_utf8(built().read("target/image/hello/kernel.config")).unwrap();
    for option in
        ["CONFIG_CPU_MITIGATIONS", "CONFIG_RANDOMIZE_BASE", "CONFIG_STACKPROTECTOR_STRONG", "CONFIG_STRICT_KERNEL_RWX"]
    {
        assert!(config.contains(&format!("\n{option}=y\n")), "{option}");
    }
}
