//! Which dependencies of a package its features turn on, on the platform of an image. Pure.
//! Source: "The Cargo Book", Features, and Specifying Dependencies.

use std::collections::{BTreeMap, BTreeSet};

use cargo_platform::{Cfg, Platform};
use toml::{Table, Value};

use crate::steps::program::TARGET;

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

/// A package that a manifest asks for, with these features.
#[derive(Debug, PartialEq, Eq)]
pub struct Need {
    /// The package's own name.
    pub package: String,
    /// What of it is turned on.
    pub features: BTreeSet<String>,
    /// Only build scripts use it.
    pub is_build: bool,
}

/// What a package needs when `features` of it are turned on. `workspace` is the root manifest of its workspace.
pub fn needs(manifest: &Table, workspace: &Table, features: &BTreeSet<String>) -> Vec<Need> {
    let on = TurnedOn::by(manifest, features);
    let targets = manifest.get("target").and_then(Value::as_table);
    let ours = targets.into_iter().flatten().filter(|(platform, _)| is_ours(platform));
    let tables = [manifest].into_iter().chain(ours.filter_map(|(_, table)| table.as_table()));
    let mut needs = Vec::new();
    for table in tables {
        for (section, is_build) in [("dependencies", false), ("build-dependencies", true)] {
            for (name, value) in table.get(section).and_then(Value::as_table).into_iter().flatten() {
                if flag(value, "optional").unwrap_or(false) && !on.dependencies.contains(name) {
                    continue;
                }
                let shared = workspace.get("workspace").and_then(|table| table.get("dependencies")?.get(name));
                let shared = shared.filter(|_| flag(value, "workspace") == Some(true));
                let mut features = on.features_of.get(name).cloned().unwrap_or_default();
                features.extend([Some(value), shared].into_iter().flatten().flat_map(asked_features));
                if [Some(value), shared].into_iter().flatten().all(|one| flag(one, "default-features") != Some(false)) {
                    features.insert("default".to_owned());
                }
                let package = [Some(value), shared].into_iter().flatten().find_map(|one| one.get("package")?.as_str());
                needs.push(Need { package: package.unwrap_or(name).to_owned(), features, is_build });
            }
        }
    }
    needs
}

fn flag(value: &Value, name: &str) -> Option<bool> {
    value.get(name).or_else(|| value.get(name.replace('-', "_")))?.as_bool()
}

fn asked_features(value: &Value) -> impl Iterator<Item = String> + '_ {
    let listed = value.get("features").and_then(Value::as_array).into_iter().flatten();
    listed.filter_map(|feature| feature.as_str().map(str::to_owned))
}

/// Optional dependencies that are turned on, by the names that the manifest has for them, and features of dependencies.
#[derive(Default)]
struct TurnedOn {
    dependencies: BTreeSet<String>,
    features_of: BTreeMap<String, BTreeSet<String>>,
}

impl TurnedOn {
    fn by(manifest: &Table, features: &BTreeSet<String>) -> Self {
        let mut on = Self::default();
        let mut seen = BTreeSet::new();
        let mut open: Vec<String> = features.iter().cloned().collect();
        while let Some(feature) = open.pop() {
            if !seen.insert(feature.clone()) {
                continue;
            }
            // An optional dependency that no feature names with `dep:` is a feature of its own name.
            let Some(list) = manifest.get("features").and_then(|table| table.get(&feature)?.as_array()) else {
                on.dependencies.insert(feature);
                continue;
            };
            for word in list.iter().filter_map(Value::as_str) {
                if let Some(name) = word.strip_prefix("dep:") {
                    on.dependencies.insert(name.to_owned());
                } else if let Some((name, feature)) = word.split_once('/') {
                    // With `?` the feature is meant only if something else turns the dependency on.
                    let (name, is_weak) = name.strip_suffix('?').map_or((name, false), |name| (name, true));
                    on.features_of.entry(name.to_owned()).or_default().insert(feature.to_owned());
                    if !is_weak {
                        open.push(name.to_owned());
                        on.dependencies.insert(name.to_owned());
                    }
                } else {
                    open.push(word.to_owned());
                }
            }
        }
        on
    }
}

/// Whether a `[target.'...']` table is for [`TARGET`]. One that cannot be read counts.
fn is_ours(platform: &str) -> bool {
    let cfg: Vec<Cfg> = TARGET_CFG.iter().filter_map(|text| text.parse().ok()).collect();
    platform.parse::<Platform>().map_or(true, |platform| platform.matches(TARGET, &cfg))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
[features]
default = ["std"]
std = ["always/std", "weak?/std"]
full = ["dep:named", "strong/more"]
[dependencies]
always = { version = "1", default-features = false, features = ["own"] }
weak = { version = "1", optional = true }
named = { package = "real-name", version = "1", optional = true }
strong = { version = "1", optional = true }
implicit = { version = "1", optional = true }
shared = { workspace = true, features = ["mine"] }
[target.'cfg(windows)'.dependencies]
windows = "1"
[target.'cfg(windows)'.dependencies.there]
version = "1"
[target.'cfg(unix)'.dependencies.there]
version = "1"
optional = true
[build-dependencies]
helper = "1"
"#;

    #[track_caller]
    fn check(features: &[&str], expect: &[(&str, &[&str])]) {
        let workspace =
            "workspace.dependencies.shared = { version = '1', default-features = false, features = ['theirs'] }";
        let features = features.iter().map(|&feature| feature.to_owned()).collect();
        let found = needs(&toml::from_str(MANIFEST).unwrap(), &toml::from_str(workspace).unwrap(), &features);
        let found: Vec<_> = found
            .iter()
            .map(|need| (need.package.as_str(), need.features.iter().map(String::as_str).collect()))
            .collect();
        let expect: Vec<(&str, Vec<&str>)> = expect.iter().map(|(name, list)| (*name, list.to_vec())).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn features_turn_dependencies_on_as_cargo_does_it() {
        let (shared, helper) = (("shared", &["mine", "theirs"][..]), ("helper", &["default"][..]));
        check(&[], &[("always", &["own"]), shared, helper]);
        check(&["default"], &[("always", &["own", "std"]), shared, helper]);
        check(
            &["full", "implicit"],
            &[
                ("always", &["own"]),
                ("implicit", &["default"]),
                ("real-name", &["default"]),
                shared,
                ("strong", &["default", "more"]),
                helper,
            ],
        );
        check(&["std", "weak"], &[("always", &["own", "std"]), shared, ("weak", &["default", "std"]), helper]);
        check(&["there"], &[("always", &["own"]), shared, helper, ("there", &["default"])]);
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
