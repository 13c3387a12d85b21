//! A manifest of everything that there can be, for tests of what is made of one.

use std::collections::BTreeMap;

use super::*;

fn map<T>(entries: impl IntoIterator<Item = (&'static str, T)>) -> BTreeMap<String, T> {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn input(name: &str, version: &str, license: &str) -> InputRecord {
    let source = |url: String| Source { url, sha256: sha256(name.as_bytes()) };
    let sources = vec![
        source(format!("https://example.org/{name}-{version}.tar.xz")),
        source(format!("debian:pool/main/{name}_{version}+dfsg~1.tar.xz")),
    ];
    InputRecord { version: version.to_owned(), license: license.to_owned(), tree: "a".repeat(64), sources }
}

fn krate(license: &str, used: &[(&'static str, Use)]) -> CrateRecord {
    CrateRecord { sha256: sha256(license.as_bytes()), license: license.to_owned(), used: map(used.to_vec()) }
}

fn package(path: &str, step: &'static str) -> PackageRecord {
    PackageRecord { path: path.to_owned(), license: "MIT OR Apache-2.0".to_owned(), used: map([(step, Use::Linked)]) }
}

/// An image of init and a Rust program, with a file of the user's, whose program is also said to be Go's.
pub fn manifest() -> Manifest {
    let file = |text: &str| Content::File {
        mode: "0755".to_owned(),
        size: text.len() as u64,
        sha256: sha256(text.as_bytes()),
    };
    let step = StepRecord {
        recipe: "kernel 1".to_owned(),
        key: "b".repeat(64),
        id: "c".repeat(64),
        inputs: map([("source", "d".repeat(64))]),
        files: map([("base.config", "e".repeat(64))]),
    };
    Manifest {
        schema: SCHEMA,
        image: "x".to_owned(),
        hermetic: true,
        files: map([("bzImage", FileRecord::of(b"kernel")), ("initramfs.cpio.zst", FileRecord::of(b"archive"))]),
        contents: map([
            ("/init", file("init")),
            ("/bin/x", file("program")),
            ("/etc", Content::Folder { mode: "0755".to_owned() }),
            ("/etc/a file \u{fb33}", file("text")),
            ("/link", Content::Symlink { target: "bin/x".to_owned() }),
            ("/dev/console", Content::Device { mode: "0600".to_owned(), major: 5, minor: 1 }),
        ]),
        program: ProgramRecord {
            kind: "package",
            name: "x".to_owned(),
            path: "/bin/x".to_owned(),
            license: "MIT OR Apache-2.0".to_owned(),
            go: Some(GoBuild {
                version: "1.19.8".to_owned(),
                module: None,
                modules: map([("example.org/A v1.0.0+incompatible", "h1:a=".to_owned())]),
            }),
        },
        inputs: map([
            ("linux", input("linux", "6.12.107", "GPL-2.0-only WITH Linux-syscall-note")),
            ("musl", input("musl", "1.2.6", "MIT")),
            ("rust-library", input("rust-library", "1.95.0", "MIT OR Apache-2.0")),
        ]),
        packages: map([("init 0.1.0", package("init", "init")), ("x 0.1.0", package("apps/x", "program"))]),
        crates: map([
            ("both 1.0.0", krate("MIT", &[("init", Use::Linked), ("program", Use::Linked)])),
            ("derive 1.0.0", krate("MIT", &[("program", Use::Build)])),
            ("of-std 1.0.0", krate("Apache-2.0", &[("rust-std", Use::Linked)])),
            ("odd_name 1.0.0+meta", krate("NOASSERTION", &[("program", Use::Linked)])),
            ("wasi 0.1.0", krate("MIT", &[("program", Use::Unused)])),
        ]),
        tools: map([
            ("gcc", format!("gcc 12 blake3:{}", "f".repeat(64))),
            ("sh", format!(" blake3:{}", "0".repeat(64))),
        ]),
        steps: map([("init", StepRecord { files: BTreeMap::new(), ..step.clone() }), ("kernel", step)]),
    }
}
