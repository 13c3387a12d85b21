//! manifest.json: what is in an image and what it was made of. No clock, no path and no name of this machine is in it, so
//! that the same image has the same manifest everywhere. docs/manifest.md says what it means, docs/manifest.schema.json
//! how it looks; what is written beside it as evidence is made of it alone.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::lock::Source;

mod canonical;
mod contents;
mod features;
mod gather;
mod go;
#[cfg(test)]
pub mod testing;
mod usage;

pub use canonical::text as canonical_text;
pub use contents::Content;
pub use gather::gather;
pub use go::GoBuild;
pub use usage::Use;

/// The manifest's name among the finished files.
pub const MANIFEST: &str = "manifest.json";
/// The layout of the manifest.
pub const SCHEMA: u32 = 2;

/// The whole manifest. Maps are by name.
#[derive(Serialize)]
pub struct Manifest {
    /// The layout: [`SCHEMA`].
    pub schema: u32,
    /// The image's name.
    pub image: String,
    /// Whether every step was shut off from the rest of the machine that it ran on.
    pub hermetic: bool,
    /// The finished files.
    pub files: BTreeMap<String, FileRecord>,
    /// What the initramfs unpacks to, by path in the machine.
    pub contents: BTreeMap<String, Content>,
    /// The program that the machine is for.
    pub program: ProgramRecord,
    /// The pinned inputs.
    pub inputs: BTreeMap<String, InputRecord>,
    /// The checkout's own packages, by `name version`.
    pub packages: BTreeMap<String, PackageRecord>,
    /// The registry crates, by `name version`.
    pub crates: BTreeMap<String, CrateRecord>,
    /// The host's tools.
    pub tools: BTreeMap<String, String>,
    /// Every step.
    pub steps: BTreeMap<String, StepRecord>,
}

/// A finished file.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct FileRecord {
    /// In bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// The program that the machine is for.
#[derive(Clone, Serialize)]
pub struct ProgramRecord {
    /// `package`, `go` or `file`: where it comes from.
    pub kind: &'static str,
    /// The package's, the Go module's or the image's name.
    pub name: String,
    /// Its path in the machine.
    pub path: String,
    /// An SPDX expression, or `NOASSERTION`.
    pub license: String,
    /// What Go's linker wrote into it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub go: Option<GoBuild>,
}

/// A pinned input.
#[derive(Serialize)]
pub struct InputRecord {
    /// As upstream writes it.
    pub version: String,
    /// An SPDX expression.
    pub license: String,
    /// The identity of the unpacked tree.
    pub tree: String,
    /// The archives that unpack to it, in the order of their places.
    pub sources: Vec<Source>,
}

/// A package of the checkout.
#[derive(Serialize)]
pub struct PackageRecord {
    /// Its folder in the checkout.
    pub path: String,
    /// An SPDX expression, or `NOASSERTION`.
    pub license: String,
    /// What it is to the steps that compile it.
    pub used: BTreeMap<String, Use>,
}

/// A crate of the registry.
#[derive(Serialize)]
pub struct CrateRecord {
    /// Of its `.crate` file.
    pub sha256: String,
    /// An SPDX expression, or `NOASSERTION`.
    pub license: String,
    /// What it is to the steps whose lock files name it.
    pub used: BTreeMap<String, Use>,
}

/// A step.
#[derive(Clone, Serialize)]
pub struct StepRecord {
    /// The kind of step and its version.
    pub recipe: String,
    /// Everything that went in, as one hash.
    pub key: String,
    /// What came out.
    pub id: String,
    /// The steps' outputs that it read, by role.
    pub inputs: BTreeMap<String, String>,
    /// The files of the checkout, or of the user, that it read.
    pub files: BTreeMap<String, String>,
}

impl FileRecord {
    /// Measures a finished file.
    pub fn of(bytes: &[u8]) -> Self {
        Self { size: bytes.len() as u64, sha256: sha256(bytes) }
    }
}

/// The sha256 of some bytes, in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Manifest {
    /// The manifest's text: canonical JSON.
    pub fn text(&self) -> Result<String> {
        canonical_text(self)
    }
}
