//! Puts a manifest together from what is known of a built image.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use camino::Utf8PathBuf;
use toml::{Table, Value};

use super::usage::{self, Member, Name, Use};
use super::{
    CrateRecord, FileRecord, GoBuild, InputRecord, Manifest, PackageRecord, ProgramRecord, SCHEMA, StepRecord, contents,
};
use crate::engine::{Built, Report};
use crate::image::{Mode, Origin};
use crate::licence;
use crate::lock::{LINUX, MUSL, RUST_LIBRARY, Source};
use crate::packages::{CargoLock, Cut};
use crate::plan::{INIT, INIT_PACKAGE, INITRAMFS, PROGRAM, RUST_STD};
use crate::session::Planned;
use crate::store::Store;

/// The manifest of an image whose steps are all in the store, and what in it is not as it should be, in words. The goals of
/// the build must have included the steps whose names begin with `crates-`: the crates' own manifests are read.
pub fn gather(
    planned: &Planned,
    store: &Store,
    report: &Report,
    files: BTreeMap<String, FileRecord>,
) -> Result<(Manifest, Vec<String>)> {
    let mut built = Gathered { planned, store, report, packages: BTreeMap::new(), crates: BTreeMap::new() };
    built.components()?;
    let archive = built.read(INITRAMFS)?;
    let manifest = Manifest {
        schema: SCHEMA,
        image: planned.image.name.clone(),
        hermetic: report.built.values().all(|built| built.hermetic),
        files,
        contents: contents::read(&archive, planned.image.compress)?,
        program: built.program()?,
        inputs: built.inputs()?,
        tools: built.prefixed("tool."),
        steps: built.steps(),
        packages: built.packages,
        crates: built.crates,
    };
    let warnings = warnings(&manifest);
    Ok((manifest, warnings))
}

fn warnings(manifest: &Manifest) -> Vec<String> {
    let crates = manifest.crates.iter().map(|(name, krate)| (name, &krate.license, &krate.used));
    let packages = manifest.packages.iter().map(|(name, package)| (name, &package.license, &package.used));
    crates
        .chain(packages)
        .filter(|(_, license, used)| *license == licence::UNKNOWN && used.values().any(|role| *role == Use::Linked))
        .map(|(name, ..)| {
            format!("warning: `{name}` is in the image, and its Cargo.toml names no licence of SPDX's list")
        })
        .collect()
}

struct Gathered<'a> {
    planned: &'a Planned,
    store: &'a Store,
    report: &'a Report,
    packages: BTreeMap<String, PackageRecord>,
    crates: BTreeMap<String, CrateRecord>,
}

impl Gathered<'_> {
    fn built(&self, step: &str) -> Result<&Built> {
        self.report.built.get(step).with_context(|| format!("the step `{step}` was not made"))
    }

    fn object(&self, step: &str) -> Result<Utf8PathBuf> {
        let id = self.built(step)?.id;
        self.store
            .object(id)
            .with_context(|| format!("the artifact {id} has vanished from the store\nhint: run the command again"))
    }

    fn read(&self, step: &str) -> Result<Vec<u8>> {
        let path = self.object(step)?;
        std::fs::read(&path).with_context(|| format!("failed to read `{path}`"))
    }

    /// The fields of all steps whose names begin with `prefix`, without it.
    fn prefixed(&self, prefix: &str) -> BTreeMap<String, String> {
        self.report.built.values().flat_map(|built| prefixed(built, prefix)).collect()
    }

    fn inputs(&self) -> Result<BTreeMap<String, InputRecord>> {
        let is_used = |name: &&str| self.report.built.contains_key(&format!("unpack-{name}"));
        let record = |name: &str| {
            let pin = self.planned.lock.pin(name)?;
            let record = InputRecord {
                version: pin.version.clone(),
                license: pin.license.clone(),
                tree: pin.tree.to_string(),
                sources: by_place(&pin.sources),
            };
            Ok((name.to_owned(), record))
        };
        [LINUX, MUSL, RUST_LIBRARY].into_iter().filter(is_used).map(record).collect()
    }

    fn steps(&self) -> BTreeMap<String, StepRecord> {
        let record = |(name, built): (&String, &Built)| {
            let recipe = self.planned.graph.get(name)?.recipe.name().to_owned();
            let (key, id) = (built.key.to_string(), built.id.to_string());
            let (inputs, files) = (prefixed(built, "input.").collect(), prefixed(built, "file.").collect());
            Some((name.clone(), StepRecord { recipe, key, id, inputs, files }))
        };
        // Whether a pin had to be fetched depends on what the store held; the pin is told under inputs anyway.
        self.report.built.iter().filter(|(name, _)| !name.starts_with("fetch-")).filter_map(record).collect()
    }

    fn program(&self) -> Result<ProgramRecord> {
        let image = &self.planned.image;
        let go = GoBuild::read(&self.read(PROGRAM)?);
        let module = go.as_ref().and_then(|go| go.module.clone());
        let (kind, name) = match &image.program.origin {
            Origin::Package(package) => ("package", package.clone()),
            Origin::Go(_) => ("go", module.unwrap_or_else(|| image.name.clone())),
            Origin::File(_) => ("file", image.name.clone()),
        };
        let is_own = |(id, _): &(&String, &PackageRecord)| kind == "package" && id.split(' ').next() == Some(&name);
        let own = self.packages.iter().find(is_own);
        let license = own.map_or_else(|| licence::UNKNOWN.to_owned(), |(_, package)| package.license.clone());
        Ok(ProgramRecord { kind, name, path: image.program_path(), license, go })
    }

    /// The packages and crates of everything that is compiled from Rust.
    fn components(&mut self) -> Result<()> {
        let image = &self.planned.image;
        if image.program.mode == Mode::Supervised {
            self.compiled(INIT, &self.planned.packages.cut(INIT_PACKAGE)?)?;
        }
        if let Origin::Package(package) = &image.program.origin {
            self.compiled(PROGRAM, &self.planned.packages.cut(package)?)?;
        }
        if self.report.built.contains_key(RUST_STD) {
            let folder = self.object(&format!("crates-{RUST_STD}"))?;
            // The library's own lock file has no crate for another platform: those are stubs.
            for krate in self.planned.std_lock.crates()? {
                let name = (krate.name, krate.version);
                self.add_crate(RUST_STD, &name, &krate.sha256, Use::Linked, &crate_manifest(&folder, &name)?);
            }
        }
        Ok(())
    }

    fn compiled(&mut self, step: &str, cut: &Cut) -> Result<()> {
        let folder = self.object(&format!("crates-{step}"))?;
        let uses = usage::uses(cut, &|name| crate_manifest(&folder, name))?;
        for krate in &cut.crates {
            let name = (krate.name.clone(), krate.version.clone());
            let role = uses.get(&name).copied().unwrap_or(Use::Unused);
            self.add_crate(step, &name, &krate.sha256, role, &crate_manifest(&folder, &name)?);
        }
        let root: Table = toml::from_str(&cut.root_manifest)?;
        let lock = CargoLock::parse(&cut.lock)?;
        for Member { folder, name, manifest } in usage::members(cut)? {
            let version = lock.member(&name).map(|package| package.version.clone()).unwrap_or_default();
            let record = self.packages.entry(format!("{name} {version}")).or_insert_with(|| PackageRecord {
                path: folder.to_string(),
                license: license(&manifest, &root),
                used: BTreeMap::new(),
            });
            let role = uses.get(&(name, version)).copied().unwrap_or(Use::Unused);
            record.used.insert(step.to_owned(), role);
        }
        Ok(())
    }

    fn add_crate(&mut self, step: &str, (name, version): &Name, sha256: &str, role: Use, manifest: &Table) {
        let record = self.crates.entry(format!("{name} {version}")).or_insert_with(|| CrateRecord {
            sha256: sha256.to_owned(),
            license: license(manifest, &Table::new()),
            used: BTreeMap::new(),
        });
        record.used.insert(step.to_owned(), role);
    }
}

fn prefixed<'a>(built: &'a Built, prefix: &'a str) -> impl Iterator<Item = (String, String)> + 'a {
    let field = move |(name, value): (&str, &str)| Some((name.strip_prefix(prefix)?.to_owned(), value.to_owned()));
    built.fields.iter().filter_map(field)
}

fn crate_manifest(folder: &Utf8PathBuf, (name, version): &Name) -> Result<Table> {
    let path = folder.join(format!("{name}-{version}/Cargo.toml"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("failed to read `{path}`"))?;
    toml::from_str(&text).with_context(|| format!("failed to read `{path}`"))
}

/// The licence that a manifest names, or the workspace for it.
fn license(manifest: &Table, root: &Table) -> String {
    let own = manifest.get("package").and_then(|package| package.get("license"));
    let inherited = || root.get("workspace")?.get("package")?.get("license");
    let named = own.filter(|license| license.is_str()).or_else(|| own.and_then(|_| inherited()));
    named.and_then(Value::as_str).and_then(licence::canonical).unwrap_or_else(|| licence::UNKNOWN.to_owned())
}

/// In the order of their places: which one is tried first changes nothing.
fn by_place(sources: &[Source]) -> Vec<Source> {
    let mut sources = sources.to_vec();
    sources.sort_by(|a, b| a.url.cmp(&b.url));
    sources
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::testing;

    #[test]
    fn a_licence_is_the_manifests_own_or_the_workspaces() {
        let root = toml::from_str("workspace.package.license = 'MIT/Apache-2.0'").unwrap();
        let check =
            |manifest: &str, expect: &str| assert_eq!(license(&toml::from_str(manifest).unwrap(), &root), expect);
        check("package.license = 'Zlib'", "Zlib");
        check("package.license.workspace = true", "MIT OR Apache-2.0");
        check("package.license-file = 'LICENSE'", licence::UNKNOWN);
        check("package.license = 'my own'", licence::UNKNOWN);
    }

    #[test]
    fn a_linked_crate_without_a_licence_is_warned_about_and_others_are_not() {
        let mut manifest = testing::manifest();
        for name in ["derive 1.0.0", "wasi 0.1.0"] {
            manifest.crates.get_mut(name).unwrap().license = licence::UNKNOWN.to_owned();
        }
        let found = warnings(&manifest);
        assert!(found.len() == 1 && found[0].contains("`odd_name 1.0.0+meta` is in the image"), "{found:?}");
    }
}
