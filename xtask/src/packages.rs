//! The cargo workspace as the plan sees it: members, what they need of each other, and which crates of Cargo.lock they reach.
//!
//! A program is built from a workspace cut down to itself, so that a change elsewhere (a new dependency of `xtask`) cannot
//! rebuild it. The cut leaves out dev-dependencies: no image holds them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use toml::{Table, Value};

pub use self::cargo_lock::{CargoLock, Crate, LockedPackage};

mod cargo_lock;

/// The workspace's manifests and lock file.
#[derive(Clone, Debug)]
pub struct Packages {
    root: Table,
    members: BTreeMap<String, Member>,
    lock: CargoLock,
}

/// A workspace member.
#[derive(Clone, Debug)]
struct Member {
    /// Its folder, relative to the workspace.
    folder: Utf8PathBuf,
    manifest: Table,
}

/// A workspace cut down to one package and what it reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The package that is built.
    pub package: String,
    /// The root manifest.
    pub root_manifest: String,
    /// Folder and manifest of every member.
    pub members: Vec<(Utf8PathBuf, String)>,
    /// Cargo.lock.
    pub lock: String,
    /// The registry crates of that lock.
    pub crates: Vec<Crate>,
    /// What [`CargoLock::fetch_project`] makes of it.
    pub fetch_project: (String, String),
}

impl Packages {
    /// Reads the workspace at `root`.
    pub fn read(root: &Utf8Path) -> Result<Self> {
        let lock = CargoLock::read(&root.join("Cargo.lock"))?;
        let manifest = read_manifest(&root.join("Cargo.toml"))?;
        let mut members = BTreeMap::new();
        for folder in member_folders(root, &manifest)? {
            let member = read_manifest(&root.join(&folder).join("Cargo.toml"))?;
            let name = member.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
            let name = name.with_context(|| format!("`{folder}/Cargo.toml` has no package.name"))?.to_owned();
            members.insert(name, Member { folder, manifest: member });
        }
        Ok(Self { root: manifest, members, lock })
    }

    /// The members' names.
    pub fn names(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    /// The versions of these crates in the lock file.
    pub fn versions(&self, crates: &[&str]) -> String {
        let of_interest = self.lock.packages.iter().filter(|package| crates.contains(&package.name.as_str()));
        of_interest.map(|package| format!("{} {}", package.name, package.version)).collect::<Vec<_>>().join(", ")
    }

    /// Cuts the workspace down to `package`.
    pub fn cut(&self, package: &str) -> Result<Cut> {
        let folders = self.reached_members(package)?;
        let lock = self.cut_lock(&folders)?;
        let members = folders
            .values()
            .map(|member| Ok((member.folder.clone(), without_dev(&member.manifest)?)))
            .collect::<Result<_>>()?;
        Ok(Cut {
            package: package.to_owned(),
            root_manifest: self.cut_root(&folders)?,
            members,
            crates: lock.crates()?,
            fetch_project: lock.fetch_project()?,
            lock: lock.text()?,
        })
    }

    /// The package and all members that it reaches by path, by name.
    fn reached_members(&self, package: &str) -> Result<BTreeMap<&str, &Member>> {
        let mut reached = BTreeMap::new();
        let mut open = vec![package.to_owned()];
        while let Some(name) = open.pop() {
            let (name, member) =
                self.members.get_key_value(&name).ok_or_else(|| anyhow!("there is no workspace package `{name}`"))?;
            if reached.insert(name.as_str(), member).is_none() {
                open.extend(self.dependency_names(member).into_iter().filter(|name| self.members.contains_key(name)));
            }
        }
        Ok(reached)
    }

    /// The package names of a member's dependencies, those for development aside.
    fn dependency_names(&self, member: &Member) -> BTreeSet<String> {
        let targets = member.manifest.get("target").and_then(Value::as_table);
        let tables = [&member.manifest]
            .into_iter()
            .chain(targets.into_iter().flat_map(|table| table.values()).filter_map(Value::as_table));
        let sections =
            tables.flat_map(|table| ["dependencies", "build-dependencies"].map(|section| table.get(section)));
        sections
            .flatten()
            .filter_map(Value::as_table)
            .flatten()
            .map(|(name, value)| self.package_name(name, value))
            .collect()
    }

    /// The package behind a dependency's name: itself, unless `package = "..."` says otherwise, here or in the workspace's table.
    fn package_name(&self, name: &str, value: &Value) -> String {
        let renamed = |value: &Value| value.get("package").and_then(Value::as_str).map(str::to_owned);
        let inherited = || self.root.get("workspace")?.get("dependencies")?.get(name).and_then(renamed);
        renamed(value).or_else(inherited).unwrap_or_else(|| name.to_owned())
    }

    fn cut_root(&self, members: &BTreeMap<&str, &Member>) -> Result<String> {
        let mut root = self.root.clone();
        let folders = members.values().map(|member| Value::String(member.folder.to_string())).collect();
        if let Some(workspace) = root.get_mut("workspace").and_then(Value::as_table_mut) {
            workspace.insert("members".to_owned(), Value::Array(folders));
            workspace.remove("default-members");
        }
        // How xtask is compiled is nothing to an image's program.
        if let Some(profiles) = root.get_mut("profile").and_then(Value::as_table_mut) {
            profiles.retain(|name, _| name != "dev" && name != "test");
            for packages in profiles.iter_mut().filter_map(|(_, profile)| profile.get_mut("package")?.as_table_mut()) {
                packages.retain(|name, _| members.contains_key(name) || !self.members.contains_key(name));
            }
        }
        toml::to_string(&root).context("failed to write a manifest")
    }

    fn cut_lock(&self, members: &BTreeMap<&str, &Member>) -> Result<CargoLock> {
        let mut packages: BTreeMap<(String, String), LockedPackage> = BTreeMap::new();
        let mut open = Vec::new();
        for (name, member) in members {
            let mut locked = self
                .lock
                .member(name)
                .with_context(|| format!("Cargo.lock lacks `{name}`\nhint: run `cargo check` once"))?
                .clone();
            let wanted = self.dependency_names(member);
            locked
                .dependencies
                .retain(|dependency| dependency.split(' ').next().is_some_and(|name| wanted.contains(name)));
            open.push(locked);
        }
        while let Some(package) = open.pop() {
            let key = (package.name.clone(), package.version.clone());
            if packages.contains_key(&key) {
                continue;
            }
            for dependency in &package.dependencies {
                let found = self.lock.find(dependency).with_context(|| format!("Cargo.lock lacks `{dependency}`"))?;
                // Members were put in first, with their dependencies for development left out.
                if found.source.is_some() {
                    open.push(found.clone());
                }
            }
            packages.insert(key, package);
        }
        Ok(CargoLock { version: 4, packages: packages.into_values().collect() })
    }
}

fn read_manifest(path: &Utf8Path) -> Result<Table> {
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read `{path}`"))?;
    toml::from_str(&text).with_context(|| format!("failed to read `{path}`"))
}

/// The folders that `workspace.members` names; a last component `*` stands for every folder with a manifest.
fn member_folders(root: &Utf8Path, manifest: &Table) -> Result<Vec<Utf8PathBuf>> {
    let members = manifest.get("workspace").and_then(|workspace| workspace.get("members")).and_then(Value::as_array);
    let mut folders = Vec::new();
    for member in members.context("`Cargo.toml` has no workspace.members")?.iter().filter_map(Value::as_str) {
        match member.strip_suffix("/*") {
            None => folders.push(Utf8PathBuf::from(member)),
            Some(parent) => {
                let entries =
                    root.join(parent).read_dir_utf8().with_context(|| format!("failed to list `{parent}`"))?;
                let names = entries.flatten().map(|entry| Utf8Path::new(parent).join(entry.file_name()));
                folders.extend(names.filter(|folder| root.join(folder).join("Cargo.toml").is_file()));
            }
        }
    }
    folders.sort();
    Ok(folders)
}

fn without_dev(manifest: &Table) -> Result<String> {
    let mut manifest = manifest.clone();
    for section in ["dev-dependencies", "test", "bench", "example"] {
        manifest.remove(section);
    }
    if let Some(targets) = manifest.get_mut("target").and_then(Value::as_table_mut) {
        for (_, target) in targets.iter_mut() {
            target.as_table_mut().map(|table| table.remove("dev-dependencies"));
        }
    }
    toml::to_string(&manifest).context("failed to write a manifest")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
version = 4
[[package]]
name = "app"
version = "0.1.0"
dependencies = ["dep 1.0.0", "lib", "only-for-tests"]
[[package]]
name = "dep"
version = "1.0.0"
source = "registry+x"
checksum = "aa"
[[package]]
name = "dep"
version = "2.0.0"
source = "registry+x"
checksum = "bb"
[[package]]
name = "lib"
version = "0.1.0"
[[package]]
name = "only-for-tests"
version = "1.0.0"
source = "registry+x"
checksum = "cc"
dependencies = ["dep 2.0.0"]
[[package]]
name = "other"
version = "0.1.0"
dependencies = ["dep 2.0.0"]
"#;

    fn packages(other: &str) -> Packages {
        let member =
            |folder: &str, text: &str| Member { folder: folder.into(), manifest: toml::from_str(text).unwrap() };
        let app = "package.name = 'app'\ndependencies = { dep = '1', short = { package = 'lib', path = '../lib' } }\ndev-dependencies = { only-for-tests = '1' }";
        let members = [
            ("app", member("apps/app", app)),
            ("lib", member("lib", "package.name = 'lib'")),
            ("other", member("other", other)),
        ];
        Packages {
            root: toml::from_str("[workspace]\nmembers = ['apps/*', 'lib', 'other']\n[profile.image]\nlto = 'fat'")
                .unwrap(),
            members: members.into_iter().map(|(name, member)| (name.to_owned(), member)).collect(),
            lock: CargoLock::parse(LOCK).unwrap(),
        }
    }

    #[test]
    fn a_cut_holds_what_the_package_reaches_and_nothing_for_development() {
        let cut = packages("package.name = 'other'").cut("app").unwrap();
        assert_eq!(cut.crates, [Crate { name: "dep".into(), version: "1.0.0".into(), sha256: "aa".into() }]);
        let folders: Vec<_> = cut.members.iter().map(|(folder, _)| folder.as_str()).collect();
        assert_eq!(folders, ["apps/app", "lib"]);
        assert!(!cut.lock.contains("only-for-tests") && !cut.members[0].1.contains("only-for-tests"));
        assert!(cut.root_manifest.contains("lto"));
    }

    #[test]
    fn another_members_change_does_not_show() {
        let before = packages("package.name = 'other'").cut("app").unwrap();
        let after = packages("package.name = 'other'\ndependencies = { dep = '2' }").cut("app").unwrap();
        assert_eq!(before, after);
    }

    #[test]
    fn only_members_that_are_there_keep_profiles_of_their_own() {
        let profile = |app: &str| {
            let mut packages = packages("package.name = 'other'");
            packages.root = toml::from_str(&format!(
                "[workspace]\nmembers = []\n[profile.image.package]\napp.opt-level = '{app}'\ndep.opt-level = 3"
            ))
            .unwrap();
            packages
        };
        assert!(profile("z").cut("app").unwrap().root_manifest.contains("\"z\""));
        assert_eq!(profile("z").cut("lib").unwrap(), profile("s").cut("lib").unwrap());
        assert!(profile("z").cut("lib").unwrap().root_manifest.contains("dep"));
    }
}
