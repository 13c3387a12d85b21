//! Which crates of a program's lock file are really in it. A lock file is for all platforms, and for what runs at build
//! time only; a program for one platform holds less. Pure: the crates' manifests are handed to it.
//!
//! Over-approximated where features decide: an optional dependency counts as soon as the lock file has it, be it for
//! another package of the workspace or for another platform.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use camino::Utf8PathBuf;
use cargo_platform::{Cfg, Platform};
use serde::Serialize;
use toml::{Table, Value};

use crate::packages::{CargoLock, Cut, LockedPackage};
use crate::steps::program::TARGET;

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

/// What `rustc --print cfg` says of [`TARGET`], as far as manifests ask for it.
const TARGET_CFG: [&str; 15] = [
    "unix",
    "target_abi=\"\"",
    "target_arch=\"x86_64\"",
    "target_endian=\"little\"",
    "target_env=\"musl\"",
    "target_family=\"unix\"",
    "target_feature=\"crt-static\"",
    "target_has_atomic=\"8\"",
    "target_has_atomic=\"16\"",
    "target_has_atomic=\"32\"",
    "target_has_atomic=\"64\"",
    "target_has_atomic=\"ptr\"",
    "target_os=\"linux\"",
    "target_pointer_width=\"64\"",
    "target_vendor=\"unknown\"",
];

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
    let mut found: BTreeMap<Name, Use> = BTreeMap::new();
    let start = lock.member(&cut.package).with_context(|| format!("the lock file lacks `{}`", cut.package))?;
    let mut open = vec![(start, Use::Linked)];
    while let Some((package, role)) = open.pop() {
        let own = manifest(package)?;
        let role = if is_macro(&own) { Use::Build } else { role };
        if found.get(&name(package)).is_some_and(|known| *known >= role) {
            continue;
        }
        found.insert(name(package), role);
        for need in needs(&own, &root) {
            let is_it = |dependency: &&String| dependency.split(' ').next() == Some(need.package.as_str());
            let role = if need.is_build { Use::Build } else { role };
            // What the lock file leaves out is an option that nobody took.
            open.extend(
                package.dependencies.iter().filter(is_it).filter_map(|dependency| Some((lock.find(dependency)?, role))),
            );
        }
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

/// A package that a manifest asks for on this platform.
struct Need {
    package: String,
    is_build: bool,
}

fn needs(manifest: &Table, workspace: &Table) -> Vec<Need> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let ours = targets.into_iter().flatten().filter(|(platform, _)| is_ours(platform));
    let tables = [manifest].into_iter().chain(ours.filter_map(|(_, table)| table.as_table()));
    let mut needs = Vec::new();
    for table in tables {
        for (section, is_build) in [("dependencies", false), ("build-dependencies", true)] {
            let entries = table.get(section).and_then(Value::as_table).into_iter().flatten();
            needs.extend(entries.map(|(name, value)| Need { package: package_name(name, value, workspace), is_build }));
        }
    }
    needs
}

/// Whether a `[target.'...']` table is for [`TARGET`]. One that cannot be read counts.
fn is_ours(platform: &str) -> bool {
    let cfg: Vec<Cfg> = TARGET_CFG.iter().filter_map(|text| text.parse().ok()).collect();
    platform.parse::<Platform>().map_or(true, |platform| platform.matches(TARGET, &cfg))
}

/// The package behind a dependency's name, which `package = "..."` may change, here or in the workspace's table.
fn package_name(name: &str, value: &Value, workspace: &Table) -> String {
    let renamed = |value: &Value| value.get("package").and_then(Value::as_str).map(str::to_owned);
    let inherited = || workspace.get("workspace")?.get("dependencies")?.get(name).and_then(renamed);
    renamed(value).or_else(inherited).unwrap_or_else(|| name.to_owned())
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

    #[test]
    fn platforms_are_told_apart() {
        let check = |platform: &str, expect: bool| assert_eq!(is_ours(platform), expect, "{platform}");
        check("cfg(unix)", true);
        check("cfg(windows)", false);
        check("cfg(all(target_os = \"linux\", not(target_env = \"gnu\")))", true);
        check("cfg(any(target_os = \"wasi\", target_arch = \"wasm32\"))", false);
        check("cfg(some_flag_of_a_crate)", false);
        check("x86_64-unknown-linux-musl", true);
        check("x86_64-pc-windows-msvc", false);
        check("what is this(", true);
    }

    /// The list above is written down, for what goes into a manifest must not depend on a tool that no key knows.
    #[test]
    fn the_compiler_says_the_same_of_the_target() {
        let output = std::process::Command::new("rustc").args(["--print", "cfg", "--target", TARGET]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        for line in TARGET_CFG {
            assert!(said.lines().any(|said| said == line), "{line} in {said}");
        }
    }
}
