//! Where a version of a pin may be had, from where its present version is. Pure: nothing is asked.

use crate::lock::{LINUX, Pin, RUST_LIBRARY};

/// A place to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// As a source of the lock writes it.
    pub url: String,
    /// The hash that the lock has for this URL; for another version there is none.
    pub pinned: Option<String>,
    /// One of several names that the file may have: nobody need hear that it is not there.
    pub is_guess: bool,
}

/// Debian's revisions of a package that a new version first appears with, and its backport to the stable release.
const REVISIONS: [&str; 4] = ["-1", "-2", "-1~bpo13+1", "-2~bpo13+1"];

/// The places for `version` of the pin `name`: those of the pin with the new version in their names.
pub fn candidates(name: &str, pin: &Pin, version: &str) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    for source in &pin.sources {
        if version == pin.version {
            found.push(Candidate { url: source.url.clone(), pinned: Some(source.sha256.clone()), is_guess: false });
            continue;
        }
        let renamed = source.url.replace(&pin.version, version);
        let urls = match name {
            LINUX => vec![renamed.replace(&major_folder(&pin.version), &major_folder(version))],
            RUST_LIBRARY => rust_names(&renamed, version),
            _ => vec![renamed],
        };
        let is_guess = urls.len() > 1;
        for url in urls.into_iter().filter(|url| *url != source.url) {
            if found.iter().all(|known| known.url != url) {
                found.push(Candidate { url, pinned: None, is_guess });
            }
        }
    }
    found
}

/// kernel.org's folder of a major version.
fn major_folder(version: &str) -> String {
    format!("/v{}.x/", version.split('.').next().unwrap_or_default())
}

/// A release's date is in its folder's name, and only those who made it know it; the same file is there without one. Of
/// Debian's binary packages only the revision is unknown.
fn rust_names(url: &str, version: &str) -> Vec<String> {
    if let Some((before, _)) = url.split_once("/dist/") {
        return vec![format!("{before}/dist/rust-src-{version}.tar.xz")];
    }
    match url.split_once("+dfsg1-") {
        Some((before, _)) => REVISIONS.iter().map(|revision| format!("{before}+dfsg1{revision}_all.deb")).collect(),
        None => vec![url.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{Lock, MUSL};

    #[track_caller]
    fn check(name: &str, version: &str, expect: &[&str]) {
        let lock = Lock::parse(include_str!("../../../vendor/sources.toml")).unwrap();
        let found = candidates(name, lock.pin(name).unwrap(), version);
        assert_eq!(found.iter().map(|one| one.url.as_str()).collect::<Vec<_>>(), expect);
        assert!(found.iter().all(|one| one.pinned.is_none()), "a hash of another version");
    }

    #[test]
    fn every_source_is_asked_for_the_new_version() {
        check(
            LINUX,
            "7.1.2",
            &[
                "https://cdn.kernel.org/pub/linux/kernel/v7.x/linux-7.1.2.tar.xz",
                "debian:pool/main/l/linux/linux_7.1.2.orig.tar.xz",
                "debian:pool/updates/main/l/linux-6.12/linux-6.12_7.1.2.orig.tar.xz",
            ],
        );
        check(
            MUSL,
            "1.2.7",
            &["https://musl.libc.org/releases/musl-1.2.7.tar.gz", "debian:pool/main/m/musl/musl_1.2.7.orig.tar.gz"],
        );
        check(
            RUST_LIBRARY,
            "1.96.1",
            &[
                "https://static.rust-lang.org/dist/rust-src-1.96.1.tar.xz",
                "debian:pool/main/r/rustc/rust-src_1.96.1+dfsg1-1_all.deb",
                "debian:pool/main/r/rustc/rust-src_1.96.1+dfsg1-2_all.deb",
                "debian:pool/main/r/rustc/rust-src_1.96.1+dfsg1-1~bpo13+1_all.deb",
                "debian:pool/main/r/rustc/rust-src_1.96.1+dfsg1-2~bpo13+1_all.deb",
                "debian:pool/main/r/rustc/rustc_1.96.1+dfsg1.orig.tar.xz",
            ],
        );
    }

    #[test]
    fn the_present_version_keeps_its_places_and_hashes() {
        let lock = Lock::parse(include_str!("../../../vendor/sources.toml")).unwrap();
        for name in crate::lock::PINS {
            let pin = lock.pin(name).unwrap();
            let found = candidates(name, pin, &pin.version);
            let pairs: Vec<_> = found.into_iter().map(|one| (one.url, one.pinned.unwrap())).collect();
            assert_eq!(pairs, pin.source_pairs());
        }
    }
}
