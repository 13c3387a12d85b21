//! A lock file of cargo's: which crates it pins, and a project that fetches just those.

use anyhow::{Context, Result, bail};
use camino::Utf8Path;
use serde::{Deserialize, Serialize};

/// What Cargo.lock says, as far as it matters here. Source: "The Cargo Book", Cargo.toml vs Cargo.lock; version 4 of the format.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct CargoLock {
    pub(super) version: u32,
    #[serde(rename = "package", default)]
    pub(super) packages: Vec<LockedPackage>,
}

/// One package of a lock file.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct LockedPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it comes from; a package of the workspace has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The sha256 of its `.crate` file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// What it needs, on any platform: see [`CargoLock::find`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<String>,
}

impl LockedPackage {
    /// Whether it is a package of the workspace itself.
    pub fn is_member(&self) -> bool {
        self.source.is_none()
    }
}

/// A crate from the registry, as a lock file pins it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The sha256 of its `.crate` file.
    pub sha256: String,
}

impl CargoLock {
    /// Reads a lock file.
    pub fn read(path: &Utf8Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("failed to read `{path}`"))?;
        Self::parse(&text).with_context(|| format!("failed to read `{path}`"))
    }

    /// Parses a lock file.
    pub fn parse(text: &str) -> Result<Self> {
        let lock: Self = toml::from_str(text)?;
        if lock.version != 4 {
            bail!(
                "the lock file's format is version {}; 4 is expected\nhint: run `cargo generate-lockfile` with the pinned toolchain",
                lock.version
            );
        }
        Ok(lock)
    }

    /// All packages.
    pub fn packages(&self) -> &[LockedPackage] {
        &self.packages
    }

    /// Every crate that comes from the registry. One from elsewhere has no checksum, and is refused.
    pub fn crates(&self) -> Result<Vec<Crate>> {
        let is_foreign = |package: &&LockedPackage| package.source.is_some() && package.checksum.is_none();
        let foreign: Vec<_> =
            self.packages.iter().filter(is_foreign).map(|package| format!("`{}`", package.name)).collect();
        if !foreign.is_empty() {
            bail!(
                "failed to pin {}: a git dependency has no checksum\nhint: use a released version, or a path in the workspace",
                foreign.join(", ")
            );
        }
        let pinned = |package: &LockedPackage| {
            let LockedPackage { name, version, checksum, .. } = package.clone();
            checksum.map(|sha256| Crate { name, version, sha256 })
        };
        Ok(self.packages.iter().filter_map(pinned).collect())
    }

    /// The lock file's text, without comments.
    pub fn text(&self) -> Result<String> {
        toml::to_string(self).context("failed to write a lock file")
    }

    /// A manifest and a lock file of a project that depends on exactly these crates, for `cargo fetch`.
    /// Without their default features, so that no crate is asked for that the lock file does not have.
    pub fn fetch_project(&self) -> Result<(String, String)> {
        let registry: Vec<LockedPackage> =
            self.packages.iter().filter(|package| package.source.is_some()).cloned().collect();
        let mut manifest = "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n[dependencies]\n".to_owned();
        for (index, LockedPackage { name, version, .. }) in registry.iter().enumerate() {
            manifest.push_str(&format!(
                "crate-{index} = {{ package = \"{name}\", version = \"={version}\", default-features = false }}\n"
            ));
        }
        let own = LockedPackage {
            name: "fetch".to_owned(),
            version: "0.0.0".to_owned(),
            source: None,
            checksum: None,
            dependencies: registry.iter().map(|package| format!("{} {}", package.name, package.version)).collect(),
        };
        let lock = Self { version: self.version, packages: registry.into_iter().chain([own]).collect() };
        Ok((manifest, lock.text()?))
    }

    /// The package that a dependency string means: `name`, `name version` or `name version (source)`.
    pub fn find(&self, dependency: &str) -> Option<&LockedPackage> {
        let mut words = dependency.splitn(3, ' ');
        let (name, version) = (words.next()?, words.next());
        self.packages
            .iter()
            .find(|package| package.name == name && version.is_none_or(|version| package.version == version))
    }

    /// A package of the workspace itself.
    pub fn member(&self, name: &str) -> Option<&LockedPackage> {
        self.packages.iter().find(|package| package.name == name && package.source.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_git_dependency_is_refused_by_name() {
        let lock = "version = 4\n[[package]]\nname = 'dep'\nversion = '1.0.0'\nsource = 'git+x'";
        let error = CargoLock::parse(lock).unwrap().crates().unwrap_err().to_string();
        assert!(error.contains("`dep`") && error.contains("no checksum"), "{error}");
    }
}
