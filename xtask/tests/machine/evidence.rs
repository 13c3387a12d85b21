//! The manifest, what is made of it, and signatures, looked at by tools that are not ours.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Checkout, Ran};

fn run(program: &str, args: &[&str], folder: &Path) -> Ran {
    Ran::new(Command::new(program).args(args).current_dir(folder).stdin(Stdio::null()).output().unwrap())
}

/// An image of this checkout in a folder of its own, which a test may change.
struct Built {
    this: Checkout,
    folder: tempfile::TempDir,
}

impl Built {
    fn new(image: &str) -> Self {
        let (this, folder) = (Checkout::this(), tempfile::tempdir().unwrap());
        let image = match image.ends_with(".toml") {
            false => image.to_owned(),
            // A name of its own, on hello's kernel, which every test has.
            true => {
                let spec = String::from_utf8(this.read("images/hello.toml")).unwrap();
                let path = folder.path().join(image);
                std::fs::write(
                    &path,
                    spec.replace("= \"hello\"", "= \"web\"").replace("name = \"web\"", "name = \"w\""),
                )
                .unwrap();
                path.to_str().unwrap().to_owned()
            }
        };
        let built = Self { this, folder };
        built.this.xtask(&["image", &image, "--out", built.image().to_str().unwrap()]).expect(0);
        built
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.image().join(name)).unwrap()).unwrap()
    }

    fn sign(&self, args: &[&str]) -> Ran {
        let mut command = self.this.command(&["sign", self.image().to_str().unwrap()]);
        Ran::new(
            command.args(args).current_dir(self.folder.path()).env("MINISIGN_PASSWORD", "secret").output().unwrap(),
        )
    }
}

#[test]
fn manifests_keep_to_their_schema_and_others_do_not() {
    for image in ["hello", "hello-go", "w.toml"] {
        let built = Built::new(image);
        let schema = built.this.root.join("docs/manifest.schema.json").display().to_string();
        let check = |text: &[u8]| {
            let path = built.folder.path().join("checked.json");
            std::fs::write(&path, text).unwrap();
            run("jsonschema", &["-i", path.to_str().unwrap(), &schema], built.folder.path())
        };
        let text = std::fs::read(built.image().join("manifest.json")).unwrap();
        check(&text).expect(0);
        let wrong = |pointer: &str, value: Value| {
            let mut manifest = built.json("manifest.json");
            *manifest.pointer_mut(pointer).unwrap() = value;
            check(manifest.to_string().as_bytes()).expect(1);
        };
        wrong("/hermetic", "yes".into());
        wrong("/files/bzImage/sha256", "ABC".into());
        wrong("/steps/kernel/id", Value::Null);
        wrong("/program/kind", "script".into());
    }
}

/// RFC 8785 for what has neither fractions nor names beyond U+FFFF is this in Python.
#[test]
fn another_writer_of_canonical_json_writes_the_same() {
    let built = Built::new("hello");
    let script = "import json,sys; text=open(sys.argv[1],newline='').read(); \
                  assert json.dumps(json.loads(text),sort_keys=True,separators=(',',':'),ensure_ascii=False)==text";
    for name in ["manifest.json", "provenance.json", "sbom.spdx.json"] {
        run("python3", &["-c", script, name], &built.image()).expect(0);
    }
}

/// Nothing of it is for other platforms, for build time only, or for features that nobody turned on.
#[test]
fn the_crates_are_those_that_cargo_says_are_linked() {
    let built = Built::new("w.toml");
    let manifest = built.json("manifest.json");
    for (step, package) in [("init", "init"), ("program", "web")] {
        let args = ["tree", "--offline", "--locked", "-p", package, "--target", "x86_64-unknown-linux-musl"];
        let format = ["-e", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"];
        let tree = run("cargo", &[&args[..], &format[..]].concat(), &built.this.root).expect(0).stdout;
        let mut names: Vec<_> = tree.lines().map(|line| line.replacen(" v", " ", 1)).collect();
        names.retain(|name| !name.contains(" (/"));
        let expect: BTreeSet<_> = names.iter().map(|name| name.trim_end_matches(" (*)")).collect();
        let crates = manifest["crates"].as_object().unwrap();
        let ours = crates.iter().filter(|(_, krate)| krate["used"][step] == "linked").map(|(name, _)| name.as_str());
        assert_eq!(ours.collect::<BTreeSet<_>>(), expect, "{step}");
        assert!(expect.len() > 3, "{expect:?}");
    }
    for (name, krate) in manifest["crates"].as_object().unwrap() {
        assert_ne!(krate["license"], "NOASSERTION", "{name}");
    }
    let packages = built.json("sbom.spdx.json")["packages"].as_array().unwrap().clone();
    for name in ["linux", "musl", "rust-std", "init", "web", "tokio", "rustix", "hashbrown", "/init", "/bin/w"] {
        let found = packages.iter().find(|package| package["name"] == name);
        assert!(found.is_some_and(|package| package["licenseDeclared"] != "NOASSERTION" || name == "/init"), "{name}");
    }
}

#[test]
fn what_go_linked_in_is_told() {
    let built = Built::new("hello-go");
    let program = built.json("manifest.json")["program"].clone();
    assert_eq!((&program["kind"], &program["go"]["module"]), (&"go".into(), &"hello-go".into()));
    let sbom = built.json("sbom.spdx.json").to_string();
    let version = program["go"]["version"].as_str().unwrap();
    assert!(sbom.contains(&format!("cpe:2.3:a:golang:go:{version}:")) && !sbom.contains("rust-std"), "{sbom}");
}

#[test]
fn the_contents_are_those_that_cpio_unpacks() {
    let built = Built::new("hello");
    let folder = built.folder.path().join("unpacked");
    std::fs::create_dir(&folder).unwrap();
    run("sh", &["-c", "cpio --quiet -id < ../image/initramfs.cpio"], &folder).expect(0);
    let contents = built.json("manifest.json")["contents"].clone();
    for path in ["/init", "/bin/hello", "/etc/pid1.conf"] {
        let said = run("sha256sum", &[&path[1..]], &folder).expect(0).stdout;
        assert_eq!(said.split(' ').next(), contents[path]["sha256"].as_str(), "{path}");
    }
}

#[test]
fn licenses_lists_every_part() {
    let table = Checkout::this().xtask(&["licenses", "hello-go"]).expect(0).stdout;
    assert!(table.contains("linux ") && table.contains("GPL-2.0-only WITH Linux-syscall-note"), "{table}");
    assert!(table.contains("Go standard library") && table.contains("BSD-3-Clause"), "{table}");
}

#[test]
fn minisign_reads_our_signature_and_we_read_its() {
    let built = Built::new("hello");
    let folder = built.folder.path();
    built.sign(&["--new-key", "ours.key"]).expect(0);
    assert_eq!(
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(folder.join("ours.key")).unwrap()) & 0o7777,
        0o600
    );
    built.sign(&["--key", "ours.key"]).expect(0);
    let verified = run("minisign", &["-V", "-p", "ours.pub", "-m", "image/manifest.json"], folder).expect(0);
    assert!(
        verified.stdout.contains("Trusted comment: pid1 image hello, manifest.json, sha256 "),
        "{}",
        verified.stdout
    );
    assert!(built.sign(&["--verify-key", "ours.pub"]).expect(0).stdout.contains("6 files are as signed"));

    // Our key in its hands, with its password on stdin; then its own key in ours.
    let signature = built.image().join("manifest.json.minisig");
    std::fs::remove_file(&signature).unwrap();
    run("sh", &["-c", "echo secret | minisign -S -s ours.key -m image/manifest.json"], folder).expect(0);
    built.sign(&["--verify-key", "ours.pub"]).expect(0);
    std::fs::remove_file(&signature).unwrap();
    run("minisign", &["-G", "-W", "-p", "theirs.pub", "-s", "theirs.key"], folder).expect(0);
    run("minisign", &["-S", "-s", "theirs.key", "-m", "image/manifest.json"], folder).expect(0);
    let key = std::fs::read_to_string(folder.join("theirs.pub")).unwrap();
    built.sign(&["--verify-key", key.lines().nth(1).unwrap()]).expect(0);
    built.sign(&["--verify-key", "ours.pub"]).expect(1).says(&["it is made with another key"]);
    built.sign(&["--key", "theirs.key"]).expect(0);
}

#[test]
fn a_changed_file_is_refused_and_named() {
    let built = Built::new("hello");
    Ran::new(
        built
            .this
            .command(&["sign", "--new-key"])
            .arg(built.folder.path().join("x.key"))
            .env("MINISIGN_PASSWORD", "")
            .output()
            .unwrap(),
    )
    .expect(0);
    built.sign(&["--key", "x.key"]).expect(0);
    let path = built.image().join("sbom.spdx.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("GPL-2.0-only", "MIT")).unwrap();
    built
        .sign(&["--verify-key", "x.pub"])
        .expect(1)
        .says(&["`sbom.spdx.json` has other content than manifest.json says"]);
    // Made anew, it is what was signed: the same bits.
    built.this.xtask(&["image", "hello", "--out", built.image().to_str().unwrap()]).expect(0);
    built.sign(&["--verify-key", "x.pub"]).expect(0);
    built.this.xtask(&["sign", "--new-key", "xtask/x.key"]).expect(1).says(&["it is in the checkout"]);
}
