//! Which crates of a program's lock file are really in it. A lock file is for all platforms, and for what runs at build
//! time only; a program for one platform holds less. Pure: the crates' manifests are handed to it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use camino::Utf8PathBuf;
use serde::Serialize;
use toml::{Table, Value};

use super::features;
use crate::packages::{CargoLock, Cut, LockedPackage};

/// What a crate is to a program. Later ones count more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// Named by the lock file for other platforms only; not compiled.
    Unused,
    /// Runs while the program is compiled: a procedural macro, or part of a build script.
    Build,
    /// Compiled and linked into the program.
    Linked,
}

/// A package's name and version.
pub type Name = (String, String);

/// What a package of the workspace's cut is to its program, and every crate of its lock.
pub fn uses(cut: &Cut, manifest_of: &dyn Fn(&Name) -> Result<Table>) -> Result<BTreeMap<Name, Use>> {
    let lock = CargoLock::parse(&cut.lock)?;
    let root: Table = toml::from_str(&cut.root_manifest)?;
    let members = members(cut)?;
    let manifest = |package: &LockedPackage| {
        let own = members.iter().find(|member| package.is_member() && member.name == package.name);
        own.map_or_else(|| manifest_of(&name(package)), |member| Ok(member.manifest.clone()))
    };
    let start = lock.member(&cut.package).with_context(|| format!("the lock file lacks `{}`", cut.package))?;
    // What is compiled for the machine and what runs here have features of their own: cargo's second resolver.
    let mut features: BTreeMap<(Name, Use), BTreeSet<String>> = BTreeMap::new();
    let mut open = vec![(start, Use::Linked, BTreeSet::from(["default".to_owned()]))];
    while let Some((package, role, wanted)) = open.pop() {
        let own = manifest(package)?;
        let role = if is_macro(&own) { Use::Build } else { role };
        let is_new = !features.contains_key(&(name(package), role));
        let known = features.entry((name(package), role)).or_default();
        if !is_new && wanted.is_subset(known) {
            continue;
        }
        known.extend(wanted);
        for need in features::needs(&own, &root, known) {
            let is_it = |dependency: &&String| dependency.split(' ').next() == Some(need.package.as_str());
            let role = if need.is_build { Use::Build } else { role };
            let locked = package.dependencies.iter().filter(is_it).filter_map(|dependency| lock.find(dependency));
            open.extend(locked.map(|dependency| (dependency, role, need.features.clone())));
        }
    }
    let mut found: BTreeMap<Name, Use> = BTreeMap::new();
    for (name, role) in features.into_keys() {
        let known = found.entry(name).or_insert(role);
        *known = role.max(*known);
    }
    for krate in &cut.crates {
        found.entry((krate.name.clone(), krate.version.clone())).or_insert(Use::Unused);
    }
    Ok(found)
}

fn name(package: &LockedPackage) -> Name {
    (package.name.clone(), package.version.clone())
}

/// A package of the workspace's cut.
pub struct Member {
    /// Its folder, relative to the checkout.
    pub folder: Utf8PathBuf,
    /// Its name.
    pub name: String,
    /// Its Cargo.toml.
    pub manifest: Table,
}

/// The packages of a cut.
pub fn members(cut: &Cut) -> Result<Vec<Member>> {
    let read = |(folder, text): &(Utf8PathBuf, String)| {
        let manifest: Table = toml::from_str(text)?;
        let name = manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
        Ok(Member { folder: folder.clone(), name: name.unwrap_or_default().to_owned(), manifest })
    };
    cut.members.iter().map(read).collect()
}

fn is_macro(manifest: &Table) -> bool {
    let lib = manifest.get("lib");
    ["proc-macro", "proc_macro"]
        .iter()
        .any(|key| lib.and_then(|lib| lib.get(*key)).and_then(Value::as_bool) == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::Crate;

    const LOCK: &str = r#"
version = 4
[[package]]
name = "app"
version = "1.0.0"
dependencies = ["derive", "linked", "windows-only"]
[[package]]
name = "derive"
version = "2.0.0"
source = "registry"
checksum = "a"
dependencies = ["both", "quote"]
[[package]]
name = "linked"
version = "3.0.0"
source = "registry"
checksum = "b"
dependencies = ["both", "build-helper"]
[[package]]
name = "both"
version = "1.0.0"
source = "registry"
checksum = "c"
[[package]]
name = "quote"
version = "1.0.0"
source = "registry"
checksum = "d"
[[package]]
name = "build-helper"
version = "1.0.0"
source = "registry"
checksum = "e"
[[package]]
name = "windows-only"
version = "1.0.0"
source = "registry"
checksum = "f"
"#;

    fn manifest_of(name: &Name) -> Result<Table> {
        let text = match name.0.as_str() {
            "derive" => "lib.proc-macro = true\ndependencies = { quote = '1', both = '1' }",
            "linked" => {
                "dependencies = { renamed = { package = 'both', version = '1' } }\nbuild-dependencies.build-helper = '1'"
            }
            _ => "",
        };
        Ok(toml::from_str(text)?)
    }

    #[test]
    fn only_what_is_compiled_for_the_machine_is_linked() {
        let crates = CargoLock::parse(LOCK).unwrap().crates().unwrap();
        let own = "package.name = 'app'\ndependencies = { derive = '2', linked = '3', not-taken = '1' }\n\
                   target.'cfg(windows)'.dependencies.windows-only = '1'";
        let cut = Cut {
            package: "app".into(),
            root_manifest: String::new(),
            members: vec![("app".into(), own.into())],
            lock: LOCK.into(),
            crates: crates.iter().map(Crate::clone).collect(),
            fetch_project: Default::default(),
        };
        let found = uses(&cut, &manifest_of).unwrap();
        let found: Vec<_> = found.iter().map(|((name, _), role)| (name.as_str(), *role)).collect();
        let expect = [
            ("app", Use::Linked),
            ("both", Use::Linked),
            ("build-helper", Use::Build),
            ("derive", Use::Build),
            ("linked", Use::Linked),
            ("quote", Use::Build),
            ("windows-only", Use::Unused),
        ];
        assert_eq!(found, expect);
    }
}
