//! Gets the crates that a program needs from the registry, through cargo, and lays them out as a cargo directory source.
//!
//! Cargo knows the user's registry, mirror and credentials; the lock file's hashes decide what is taken.
//! Layout: "The Cargo Book", Source Replacement, Directory Sources.

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use crate::key::Fields;
use crate::packages::Crate;
use crate::steps::unpack::{self, Selection};
use crate::steps::{Job, Recipe, write};

/// Plans a folder of crates.
pub struct Crates {
    /// What they are for, in words.
    pub purpose: String,
    /// The crates.
    pub crates: Vec<Crate>,
    /// A manifest and a lock file from which cargo fetches them all.
    pub project: (String, String),
}

impl Recipe for Crates {
    fn name(&self) -> &'static str {
        "crates 1"
    }

    fn describe(&self, fields: &mut Fields) {
        for Crate { name, version, sha256 } in &self.crates {
            fields.set(format!("crate.{name} {version}"), sha256);
        }
    }

    fn network(&self) -> Option<String> {
        let names: Vec<_> = self.crates.iter().map(|krate| format!("{} {}", krate.name, krate.version)).collect();
        Some(format!("the crates of {}: {}", self.purpose, names.join(", ")))
    }

    fn is_at_hand(&self, _vendor: &Utf8Path) -> bool {
        self.crates.iter().all(|krate| cached(krate).is_some())
    }

    fn run(&self, job: &Job<'_>) -> Result<()> {
        if !self.is_at_hand(&job.vendor) {
            self.fetch(job)?;
        }
        std::fs::create_dir(job.out).with_context(|| format!("failed to make the folder `{}`", job.out))?;
        for (index, krate) in self.crates.iter().enumerate() {
            job.progress.now(&format!("unpacking crate {} of {}", index + 1, self.crates.len()));
            unpack_crate(krate, job.out)?;
        }
        Ok(())
    }
}

impl Crates {
    fn fetch(&self, job: &Job<'_>) -> Result<()> {
        job.progress.now(&format!("fetching {} crates", self.crates.len()));
        let project = job.folder("project")?;
        write(&project.join("Cargo.toml"), &self.project.0)?;
        write(&project.join("Cargo.lock"), &self.project.1)?;
        write(&project.join("lib.rs"), "")?;
        let cargo = job.sandbox.network_cargo(&project)?;
        cargo
            .arg("fetch")
            .run()
            .context("failed to fetch crates\nhint: check the network, or cargo's registry settings")
    }
}

/// The `.crate` file in cargo's cache, if it is there with the right content.
fn cached(krate: &Crate) -> Option<Utf8PathBuf> {
    let home = std::env::var("CARGO_HOME").ok().map(Utf8PathBuf::from);
    let home = home.or_else(|| std::env::var("HOME").ok().map(|home| Utf8PathBuf::from(home).join(".cargo")))?;
    let file = format!("{}-{}.crate", krate.name, krate.version);
    let registries = home.join("registry/cache").read_dir_utf8().ok()?;
    let mut files: Vec<_> = registries.flatten().map(|registry| registry.path().join(&file)).collect();
    files.sort();
    files.into_iter().find(|path| sha256(path).is_ok_and(|found| found == krate.sha256))
}

fn sha256(path: &Utf8Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("failed to read `{path}`"))?;
    Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn unpack_crate(krate: &Crate, out: &Utf8Path) -> Result<()> {
    let Crate { name, version, sha256 } = krate;
    let Some(file) = cached(krate) else {
        bail!(
            "failed to find the crate `{name}` {version} with sha256 {sha256} in cargo's cache, although cargo fetched it"
        );
    };
    let folder = out.join(format!("{name}-{version}"));
    unpack::unpack(&file, &Selection { root: "*", leave_out: &[], keep: &[] }, &folder, &|_, _| ())?;
    write(&folder.join(".cargo-checksum.json"), format!("{{\"files\":{{}},\"package\":\"{sha256}\"}}"))
}
