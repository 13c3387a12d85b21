//! Gets the crates that a program needs from vendor/, or from the registry through cargo, and lays them out as a cargo
//! directory source.
//!
//! Cargo knows the user's registry, mirror and credentials; the lock file's hashes decide what is taken.
//! Layout: "The Cargo Book", Source Replacement, Directory Sources.

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use crate::key::Fields;
use crate::packages::Crate;
use crate::steps::unpack::{self, Selection};
use crate::steps::{Job, Recipe, copy, write};
use crate::workspace::{VENDORED_CRATES, crate_file};

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

    fn is_at_hand(&self, vendor: &Utf8Path) -> bool {
        self.crates.iter().all(|krate| find(krate, vendor).is_some())
    }

    fn run(&self, job: &Job<'_>) -> Result<()> {
        self.each(job, |krate, file| {
            unpack_crate(krate, file, &job.out.join(format!("{}-{}", krate.name, krate.version)))
        })
    }
}

/// Plans a folder of the same crates as they come, for vendor/: their `.crate` files.
pub struct CrateFiles(pub Crates);

impl Recipe for CrateFiles {
    fn name(&self) -> &'static str {
        "crate-files 1"
    }

    fn describe(&self, fields: &mut Fields) {
        self.0.describe(fields);
    }

    fn network(&self) -> Option<String> {
        self.0.network()
    }

    fn is_at_hand(&self, vendor: &Utf8Path) -> bool {
        self.0.is_at_hand(vendor)
    }

    fn run(&self, job: &Job<'_>) -> Result<()> {
        self.0.each(job, |krate, file| copy(file, &job.out.join(crate_file(&krate.name, &krate.version))))
    }
}

impl Crates {
    /// Does something with every crate's `.crate` file, checked, for an output that is a folder.
    fn each(&self, job: &Job<'_>, work: impl Fn(&Crate, &Utf8Path) -> Result<()>) -> Result<()> {
        if !self.is_at_hand(&job.vendor) {
            self.fetch(job)?;
        }
        std::fs::create_dir(job.out).with_context(|| format!("failed to make the folder `{}`", job.out))?;
        for (index, krate) in self.crates.iter().enumerate() {
            job.progress.now(&format!("crate {} of {}", index + 1, self.crates.len()));
            let Crate { name, version, sha256 } = krate;
            let Some(file) = find(krate, &job.vendor) else {
                bail!(
                    "failed to find the crate `{name}` {version} with sha256 {sha256} in cargo's cache, although cargo fetched it"
                );
            };
            work(krate, &file)?;
        }
        Ok(())
    }

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

/// The `.crate` file in vendor/ or in cargo's cache, if it is there with the right content.
fn find(krate: &Crate, vendor: &Utf8Path) -> Option<Utf8PathBuf> {
    let vendored = vendor.join(VENDORED_CRATES).join(crate_file(&krate.name, &krate.version));
    [vendored].into_iter().chain(cached(krate)).find(|path| is_crate(krate, path))
}

/// Whether a file is this crate's `.crate` file.
pub fn is_crate(krate: &Crate, path: &Utf8Path) -> bool {
    sha256(path).is_ok_and(|found| found == krate.sha256)
}

/// Where cargo's cache may have it: a folder for each registry.
fn cached(krate: &Crate) -> Vec<Utf8PathBuf> {
    let home = std::env::var("CARGO_HOME").ok().map(Utf8PathBuf::from);
    let home = home.or_else(|| std::env::var("HOME").ok().map(|home| Utf8PathBuf::from(home).join(".cargo")));
    let file = crate_file(&krate.name, &krate.version);
    let registries = home.and_then(|home| home.join("registry/cache").read_dir_utf8().ok());
    let mut files: Vec<_> =
        registries.into_iter().flatten().flatten().map(|registry| registry.path().join(&file)).collect();
    files.sort();
    files
}

fn sha256(path: &Utf8Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("failed to read `{path}`"))?;
    Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Unpacks a `.crate` file as one package of a directory source. The mark of completeness is written last.
pub fn unpack_crate(krate: &Crate, file: &Utf8Path, folder: &Utf8Path) -> Result<()> {
    unpack::unpack(file, &Selection { root: "*", leave_out: &[], keep: &[] }, folder, &|_, _| ())?;
    write(&folder.join(CHECKSUM_FILE), checksum_text(krate))
}

/// The file by which cargo knows a package of a directory source.
pub const CHECKSUM_FILE: &str = ".cargo-checksum.json";

/// What that file says of a crate.
pub fn checksum_text(krate: &Crate) -> String {
    format!("{{\"files\":{{}},\"package\":\"{}\"}}", krate.sha256)
}
