//! manifest.json: what is in an image and what it was made of. No clock, no path and no name of this machine is in it, so
//! that the same image has the same manifest everywhere.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::engine::Report;
use crate::graph::Graph;
use crate::image::Image;
use crate::lock::{Pin, Source};

/// The layout of the manifest.
const SCHEMA: u32 = 1;

/// The whole manifest; maps are sorted, so its text is canonical.
#[derive(Serialize)]
pub struct Manifest<'a> {
    schema: u32,
    image: &'a str,
    /// Whether all that was run to build it saw nothing but what is listed here.
    hermetic: bool,
    /// The finished files by name.
    files: &'a BTreeMap<String, FileRecord>,
    /// The pinned inputs by name.
    inputs: BTreeMap<String, InputRecord<'a>>,
    /// The registry crates, by `name version`, with the sha256 of their `.crate` files.
    crates: BTreeMap<String, String>,
    /// The host's tools by name.
    tools: BTreeMap<String, String>,
    /// Every step with its key and the id of what it made.
    steps: BTreeMap<String, StepRecord>,
}

/// A finished file.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct FileRecord {
    /// In bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

#[derive(Serialize)]
struct InputRecord<'a> {
    version: &'a str,
    license: &'a str,
    tree: String,
    sources: &'a [Source],
}

#[derive(Serialize)]
struct StepRecord {
    recipe: String,
    key: String,
    id: String,
    inputs: BTreeMap<String, String>,
}

impl FileRecord {
    /// Measures a finished file.
    pub fn of(bytes: &[u8]) -> Self {
        let sha256 = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { size: bytes.len() as u64, sha256 }
    }
}

impl<'a> Manifest<'a> {
    /// Puts together what is known of a built image. Only what the built steps used is told.
    pub fn new(
        image: &'a Image,
        graph: &Graph,
        report: &Report,
        pins: &[(&str, &'a Pin)],
        files: &'a BTreeMap<String, FileRecord>,
    ) -> Self {
        let fields = || report.built.values().flat_map(|built| built.fields.iter());
        let prefixed = |prefix: &'static str| {
            fields().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value.to_owned())))
        };
        let is_used = |name: &str| report.built.contains_key(&format!("unpack-{name}"));
        let inputs = pins.iter().filter(|(name, _)| is_used(name)).map(|(name, pin)| {
            let record = InputRecord {
                version: &pin.version,
                license: &pin.license,
                tree: pin.tree.to_string(),
                sources: &pin.sources,
            };
            ((*name).to_owned(), record)
        });
        let steps = graph.in_order().filter_map(|step| {
            // Whether a pin had to be fetched depends on what the store held; the pin is told under inputs anyway.
            let built = report.built.get(&step.name).filter(|_| !step.name.starts_with("fetch-"))?;
            let field = |prefix: &str| {
                built
                    .fields
                    .iter()
                    .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value.to_owned())))
                    .collect()
            };
            let record = StepRecord {
                recipe: step.recipe.name().to_owned(),
                key: built.key.to_string(),
                id: built.id.to_string(),
                inputs: field("input."),
            };
            Some((step.name.clone(), record))
        });
        Self {
            schema: SCHEMA,
            image: &image.name,
            hermetic: report.built.values().all(|built| built.hermetic),
            files,
            inputs: inputs.collect(),
            crates: prefixed("crate.").collect(),
            tools: prefixed("tool.").collect(),
            steps: steps.collect(),
        }
    }

    /// The manifest's text.
    pub fn text(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self).context("failed to write the manifest")? + "\n")
    }
}
