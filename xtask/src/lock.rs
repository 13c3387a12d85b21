//! vendor/sources.toml, the lock: every outside input with its version, its hashes and the places where it can be had.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use crate::key::ArtifactId;
use crate::licence;
use crate::schema::{self, Keys};

/// The pins this program builds from, in the order of building.
pub const LINUX: &str = "linux";
/// The C library.
pub const MUSL: &str = "musl";
/// The source of Rust's standard library.
pub const RUST_LIBRARY: &str = "rust-library";

/// All of them.
pub const PINS: [&str; 3] = [LINUX, MUSL, RUST_LIBRARY];

const PIN_KEYS: Keys = Keys {
    plain: &["version", "license", "root", "keep", "leave-out", "tree"],
    tables: &[("source", Keys { plain: &["url", "sha256"], tables: &[] })],
};

const KEYS: Keys = Keys { plain: &[], tables: &[(LINUX, PIN_KEYS), (MUSL, PIN_KEYS), (RUST_LIBRARY, PIN_KEYS)] };

/// The checked lock.
#[derive(Clone, Debug)]
pub struct Lock {
    pins: BTreeMap<String, Pin>,
}

/// One outside input.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pin {
    /// Its version, as upstream writes it.
    pub version: String,
    /// Its licence, as an SPDX expression.
    pub license: String,
    /// The folders inside the archive that lead to what is used, as a glob with one component per folder.
    pub root: String,
    /// What below the root is unpacked, as globs; all of it, if there are none.
    #[serde(default)]
    pub keep: Vec<String>,
    /// Paths below the root that are not unpacked, because some source lacks or changes them.
    #[serde(default)]
    pub leave_out: Vec<String>,
    /// The identity of the unpacked tree; the same for all sources.
    pub tree: ArtifactId,
    /// Where the archive can be had, best first.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

/// One archive that unpacks to a pin's tree.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// `https://...`, or `debian:pool/...` for a path on the mirrors that the host's apt is configured with.
    pub url: String,
    /// The archive's sha256 in lower-case hexadecimal.
    pub sha256: String,
}

impl Lock {
    /// Reads and checks the lock file.
    pub fn read(path: &Utf8Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("failed to read `{path}`"))?;
        Self::parse(&text).with_context(|| format!("failed to read `{path}`"))
    }

    /// Parses and checks the lock's text.
    pub fn parse(text: &str) -> Result<Self> {
        let pins: BTreeMap<String, Pin> = schema::parse(text, &KEYS)?;
        let problems: Vec<String> =
            pins.iter().flat_map(|(name, pin)| pin.problems(name)).chain(missing(&pins)).collect();
        if problems.is_empty() { Ok(Self { pins }) } else { bail!("{}", problems.join("\n  ")) }
    }

    /// A pin by its name, one of this module's constants.
    pub fn pin(&self, name: &str) -> Result<&Pin> {
        self.pins.get(name).with_context(|| format!("vendor/sources.toml lacks the pin `{name}`"))
    }
}

fn missing(pins: &BTreeMap<String, Pin>) -> impl Iterator<Item = String> {
    PINS.into_iter().filter(|name| !pins.contains_key(*name)).map(|name| format!("the table `[{name}]` is missing"))
}

impl Pin {
    /// URL and sha256 of every source.
    pub fn source_pairs(&self) -> Vec<(String, String)> {
        self.sources.iter().map(|source| (source.url.clone(), source.sha256.clone())).collect()
    }

    fn problems(&self, name: &str) -> Vec<String> {
        let mut problems = Vec::new();
        if self.sources.is_empty() {
            problems.push(format!("`{name}` has no [[{name}.source]]"));
        }
        if !licence::is_valid(&self.license) {
            problems.push(format!(
                "`{name}.license` is `{}`; an SPDX expression is expected, as in `MIT OR Apache-2.0`",
                self.license
            ));
        }
        for source in &self.sources {
            let is_hash = source.sha256.len() == 64
                && source.sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if !is_hash {
                problems.push(format!(
                    "`{name}.source.sha256` is `{}`; 64 lower-case hexadecimal digits are expected",
                    source.sha256
                ));
            }
            if !["https://", "http://", "debian:pool/"].iter().any(|scheme| source.url.starts_with(scheme)) {
                problems.push(format!(
                    "`{name}.source.url` is `{}`; https://, http:// or debian:pool/ is expected",
                    source.url
                ));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(source: &str) -> String {
        let pin = |name: &str| {
            format!(
                "[{name}]\nversion = \"1\"\nlicense = \"MIT\"\nroot = \"*\"\ntree = \"{0}\"\n[[{name}.source]]\n{source}\n",
                "a".repeat(64)
            )
        };
        [LINUX, MUSL, RUST_LIBRARY].map(pin).concat()
    }

    fn check(source: &str, expect: &str) {
        let found = Lock::parse(&text(source)).err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(if expect.is_empty() { found.is_empty() } else { found.contains(expect) }, "{found}");
    }

    #[test]
    fn good_and_bad_sources() {
        let hash = "b".repeat(64);
        check(&format!("url = \"https://example.org/x\"\nsha256 = \"{hash}\""), "");
        check(&format!("url = \"debian:pool/main/x\"\nsha256 = \"{hash}\""), "");
        check(
            &format!("url = \"ftp://example.org/x\"\nsha256 = \"{hash}\""),
            "`linux.source.url` is `ftp://example.org/x`",
        );
        check("url = \"https://example.org/x\"\nsha256 = \"12\"", "64 lower-case hexadecimal digits");
        check(
            &format!("ulr = \"https://example.org/x\"\nsha256 = \"{hash}\""),
            "unknown key `linux.source.ulr`; did you mean `url`?",
        );
    }

    #[test]
    fn a_missing_pin_and_a_bad_tree_are_named() {
        let good = format!("url = \"https://example.org/x\"\nsha256 = \"{}\"", "b".repeat(64));
        let without = text(&good).replace("[musl]", "[linux-rt]").replace("[[musl.source]]", "[[linux-rt.source]]");
        assert!(
            Lock::parse(&without).unwrap_err().to_string().contains("unknown key `linux-rt`; did you mean `linux`?")
        );
        let bad_tree = text(&good).replace(&"a".repeat(64), "xyz");
        assert!(format!("{:#}", Lock::parse(&bad_tree).unwrap_err()).contains("`xyz` is not a hash"));
    }

    #[test]
    fn the_projects_own_lock_is_good_and_every_pin_has_a_licence() {
        let lock = Lock::parse(include_str!("../../vendor/sources.toml")).unwrap();
        for name in [LINUX, MUSL, RUST_LIBRARY] {
            assert!(licence::is_valid(&lock.pin(name).unwrap().license), "{name}");
        }
        let wrong = include_str!("../../vendor/sources.toml").replace("\"MIT\"", "\"My own\"");
        assert!(
            Lock::parse(&wrong).unwrap_err().to_string().contains("`musl.license` is `My own`; an SPDX expression")
        );
    }
}
