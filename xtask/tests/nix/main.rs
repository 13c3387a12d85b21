//! Does flake.nix evaluate, and does it agree with what it stands beside: the table of host tools, the pins, the lock files,
//! the toolchain? Nix itself says so, offline: nixpkgs and rust-overlay are replaced by small stand-ins in this folder, which
//! have what the flake uses of them and nothing else. Nothing is built here, and nothing is known of the real nixpkgs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use camino::Utf8Path;
use serde_json::Value;
use xtask::lock::{LINUX, Lock, MUSL, RUST_LIBRARY};
use xtask::packages::{CargoLock, Packages};
use xtask::toolbox::TOOLS;

const SYSTEMS: [&str; 2] = ["x86_64-linux", "aarch64-linux"];

/// What of the checkout the flake reads.
const READ: [&str; 14] = [
    "flake.nix",
    "flake.lock",
    "nix",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
    "apps",
    "cache",
    "images",
    "init",
    "kernel-configs",
    "vendor/sources.toml",
    "vendor/rust-library.lock",
    "xtask",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A copy of the flake, with a Nix store of its own.
struct Flake {
    folder: tempfile::TempDir,
}

impl Flake {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("home")).unwrap();
        for name in READ {
            copy(&root().join(name), &folder.path().join("flake").join(name));
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("flake").join(name)
    }

    /// `nix WORDS...`, without a daemon and without a network.
    fn nix(&self, words: &[&str]) -> Output {
        let nix = |name: &str| self.folder.path().join("nix").join(name);
        let mut command = Command::new("nix");
        command
            .args(["--extra-experimental-features", "nix-command flakes", "--offline"])
            .args(words)
            .current_dir(self.path(""))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.folder.path().join("home"))
            .env("NIX_STORE_DIR", nix("store"))
            .env("NIX_STATE_DIR", nix("state"))
            .env("NIX_LOG_DIR", nix("log"))
            .env("NIX_CONF_DIR", nix("etc"));
        command.output().expect("`nix` must run; `cargo xtask doctor --yes` installs it")
    }

    /// The same, with the stand-ins.
    fn stood_in(&self, words: &[&str]) -> Output {
        let stand_in = |name: &str| format!("path:{}", self.path("xtask/tests/nix").join(name).display());
        let (nixpkgs, overlay) = (stand_in("nixpkgs"), stand_in("rust-overlay"));
        let replace = ["--override-input", "nixpkgs", &nixpkgs, "--override-input", "rust-overlay", &overlay];
        self.nix(&[words, &replace, &["--no-write-lock-file"]].concat())
    }

    /// What `function` makes of an output.
    #[track_caller]
    fn eval(&self, output: &str, function: &str) -> Value {
        json(&self.stood_in(&["eval", "--json", &self.output(output), "--apply", function]))
    }

    fn output(&self, name: &str) -> String {
        format!("path:{}#{name}", self.path("").display())
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    }
}

#[track_caller]
fn json(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A list of strings.
#[track_caller]
fn words(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_output_evaluates() {
    let flake = Flake::new();
    let checked = flake.stood_in(&["flake", "check", "--no-build", &flake.output("")]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));

    let expect = [
        ("packages.x86_64-linux", "default image xtask"),
        ("packages.aarch64-linux", "default xtask"),
        ("apps.x86_64-linux", "qemu"),
        ("apps.aarch64-linux", "qemu"),
        ("devShells.x86_64-linux", "default"),
        ("devShells.aarch64-linux", "default"),
        ("checks.x86_64-linux", "format tests xtask"),
        ("checks.aarch64-linux", "format tests xtask"),
    ];
    for (output, names) in expect {
        let found = flake.eval(output, "builtins.mapAttrs (_: output: output.drvPath or output.program)");
        let found = found.as_object().unwrap();
        assert_eq!(found.keys().cloned().collect::<Vec<_>>().join(" "), names, "{output}");
    }
}

#[test]
fn a_name_that_the_inputs_lack_is_an_error() {
    let flake = Flake::new();
    let tools = flake.path("nix/tools.nix");
    let text = std::fs::read_to_string(&tools).unwrap();
    std::fs::write(&tools, text.replace("  gnumake\n", "  make\n")).unwrap();
    let checked = flake.stood_in(&["flake", "check", "--no-build", &flake.output("")]);
    let errors = String::from_utf8_lossy(&checked.stderr);
    assert!(!checked.status.success() && errors.contains("undefined variable 'make'"), "{errors}");
}

/// Nix takes the lock as it is: with every input of flake.nix in it, under the same address.
#[test]
fn the_lock_file_is_complete() {
    let flake = Flake::new();
    let metadata = json(&flake.nix(&["flake", "metadata", "--no-update-lock-file", "--json", &flake.output("")]));
    let nodes = &metadata["locks"]["nodes"];
    let node = |name: &str| {
        let text = |key: &str| nodes[name]["locked"][key].as_str().unwrap().to_owned();
        [text("owner"), text("repo"), text("rev"), text("narHash")].join(" ")
    };
    assert_eq!(
        node("nixpkgs"),
        "NixOS nixpkgs a4bf06618f0b5ee50f14ed8f0da77d34ecc19160 sha256-AIiMJiqvGrN4HyLEbKAoCSRRYn0rnlW5VbKNIMIYqm4="
    );
    assert_eq!(
        node("rust-overlay"),
        "oxalica rust-overlay fd2ebb9cc4323d0c5a1336138dab5c3c5a5d8bd9 sha256-YT4Fs2k7bi+7YzuLt93EtIRgjpwHK5ZfsQEIh5dEQSk="
    );
    assert_eq!(words(&nodes["rust-overlay"]["inputs"]["nixpkgs"]), ["nixpkgs"], "one nixpkgs for all");
}

/// A package of the table is in the shell itself, or in the flags of its gcc.
#[test]
fn the_shell_has_every_tool_of_the_table() {
    let flake = Flake::new();
    for system in SYSTEMS {
        let shell = format!("devShells.{system}.default");
        let names = words(&flake.eval(&shell, "shell: map (tool: tool.name) shell.nativeBuildInputs"));
        let flags = flake.eval(&shell, "shell: map (tool: tool.text or \"\") shell.nativeBuildInputs").to_string();
        let is_there = |name: &str| names.iter().any(|found| found == name) || flags.contains(&format!("-{name}/"));
        let in_table =
            TOOLS.iter().map(|package| package.names[3]).filter(|name| !["rustup", "glibc.dev"].contains(name));
        let missing: Vec<_> = in_table.chain(["xorriso"]).filter(|name| !is_there(name)).collect();
        assert!(missing.is_empty(), "nix/tools.nix lacks {missing:?} for {system}");
        assert_eq!(names[0], format!("rust-default-{}", channel()), "{system}");
    }
}

/// What rust-toolchain.toml says.
fn channel() -> String {
    let text = std::fs::read_to_string(root().join("rust-toolchain.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    table["toolchain"]["channel"].as_str().unwrap().to_owned()
}

#[test]
fn the_image_gets_every_pin_and_every_crate() {
    let flake = Flake::new();
    let found = flake.eval(
        "packages.x86_64-linux.image.vendor.entries",
        "map (entry: { ${entry.name} = [ entry.path.url entry.path.outputHash ]; })",
    );
    let found: BTreeMap<String, Vec<String>> = found
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|entry| entry.as_object().unwrap())
        .map(|(name, value)| (name.clone(), words(value)))
        .collect();

    let root = Utf8Path::from_path(root()).unwrap();
    let lock = Lock::read(&root.join("vendor/sources.toml")).unwrap();
    for name in [LINUX, MUSL, RUST_LIBRARY] {
        let sources = &lock.pin(name).unwrap().sources;
        let upstream = sources.iter().find(|source| source.url.starts_with("https://")).unwrap();
        let file = upstream.url.rsplit('/').next().unwrap();
        assert_eq!(found[file], [upstream.url.clone(), upstream.sha256.clone()], "{name}");
    }

    let packages = Packages::read(root).unwrap();
    let std_lock = std::fs::read_to_string(root.join("vendor/rust-library.lock")).unwrap();
    let mut crates: BTreeSet<_> = CargoLock::parse(&std_lock).unwrap().crates().unwrap().into_iter().collect();
    for package in ["hello", "init"] {
        crates.extend(packages.cut(package).unwrap().crates);
    }
    for krate in crates {
        let file = format!("crates/{}-{}.crate", krate.name, krate.version);
        assert_eq!(found.get(&file).map(|entry| entry[1].as_str()), Some(krate.sha256.as_str()), "{file}");
    }
}

/// The part of the checkout that the image is built from, without xtask's own source, is enough to plan it.
#[test]
fn the_images_checkout_is_whole() {
    let flake = Flake::new();
    let checkout = flake.eval("packages.x86_64-linux.image.checkout", "toString");
    let checkout = Path::new(checkout.as_str().unwrap());
    assert!(!checkout.join("xtask/src").exists(), "a change of xtask's tests must not rebuild the image");
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.env("CARGO_MANIFEST_DIR", checkout.join("xtask")).env("PID1_STORE", flake.folder.path().join("store"));
    let planned = xtask.arg("graph").output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&planned.stdout), String::from_utf8_lossy(&planned.stderr));
    assert!(planned.status.success() && stdout.contains("initramfs"), "{stdout}{stderr}");
}
