//! What else names Rust's version: the toolchain, the workspaces, and the crates of the standard library. What cannot be
//! computed is said.

use anyhow::{Context, Result};

use super::edit::{edit_package, edit_text};
use crate::packages::{CargoLock, LockedPackage};

/// rust-toolchain.toml with another toolchain.
pub fn toolchain(text: &str, version: &str) -> Result<String> {
    edit_text(text, &["toolchain", "channel"], version).context("failed to edit rust-toolchain.toml")
}

/// A Cargo.toml with another `rust-version` below `table`, which has no patch level.
pub fn rust_version(text: &str, table: &[&str], version: &str) -> Result<String> {
    let short = version.split('.').take(2).collect::<Vec<_>>().join(".");
    let path = [table, &["rust-version"]].concat();
    edit_text(text, &path, &short).context("failed to edit a Cargo.toml")
}

/// vendor/rust-library.lock for a library whose own lock file is `theirs`, and what a person has to do besides.
/// `stubs` are the crates that are empty here: name and version, as the recipe writes them.
pub fn library_lock(ours: &str, theirs: &str, stubs: &[(&str, &str)]) -> Result<(String, Vec<String>)> {
    let (old, new) = (CargoLock::parse(ours)?, CargoLock::parse(theirs)?);
    let (mut text, mut by_hand) = (ours.to_owned(), Vec::new());
    for package in old.packages().iter().filter(|package| package.name != "root") {
        let LockedPackage { name, version, .. } = package;
        let theirs: Vec<_> = new.packages().iter().filter(|one| one.name == *name).collect();
        if theirs.iter().any(|one| one.version == *version && one.checksum == package.checksum) {
            continue;
        }
        let is_stub = stubs.contains(&(name.as_str(), version.as_str()));
        match theirs.as_slice() {
            // The library's own lock file has the stubs from the registry.
            found if is_stub && found.iter().any(|one| one.version == *version) => {}
            [one] if !is_stub => {
                text = edit_package(&text, name, version, &one.version, one.checksum.as_deref())?;
            }
            // Patched away in the library's own workspace, so it does not lock them.
            [] if package.source.is_none() => {}
            [] => by_hand.push(format!("vendor/rust-library.lock: the library locks no `{name}` any more")),
            found => {
                let versions: Vec<_> = found.iter().map(|one| one.version.as_str()).collect();
                let place = if is_stub { "STUBS in xtask/src/steps/rust_std.rs and " } else { "" };
                by_hand.push(format!(
                    "{place}vendor/rust-library.lock: `{name}` is {version}, the library wants {}",
                    versions.join(" and ")
                ));
            }
        }
    }
    Ok((text, by_hand))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = r#"# A comment.
version = 4

[[package]]
name = "cfg-if"
version = "1.0.4"
source = "registry+x"
checksum = "aa"

[[package]]
name = "compiler_builtins"
version = "0.1.160"

[[package]]
name = "wasi"
version = "0.11.1"

[[package]]
name = "root"
version = "0.0.0"
"#;

    #[track_caller]
    fn check(theirs: &[(&str, &str, &str)], expect: &[(&str, &str)], by_hand: &[&str]) {
        let mut text = "version = 4\n".to_owned();
        for (name, version, checksum) in theirs {
            text.push_str(&format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n"));
            if !checksum.is_empty() {
                text.push_str(&format!("source = \"registry+x\"\nchecksum = \"{checksum}\"\n"));
            }
        }
        let expected = expect.iter().fold(OURS.to_owned(), |text, (from, to)| text.replace(from, to));
        let (found, said) = library_lock(OURS, &text, &[("wasi", "0.11.1")]).unwrap();
        assert_eq!((found, said.iter().map(String::as_str).collect::<Vec<_>>()), (expected, by_hand.to_vec()));
    }

    #[test]
    fn crates_are_taken_over_and_the_rest_is_said() {
        let same = [("cfg-if", "1.0.4", "aa"), ("compiler_builtins", "0.1.160", ""), ("wasi", "0.11.1", "cc")];
        check(&same, &[], &[]);
        check(
            &[("cfg-if", "1.0.5", "bb"), ("compiler_builtins", "0.1.161", ""), ("wasi", "0.12.0", "cc")],
            &[("1.0.4", "1.0.5"), ("\"aa\"", "\"bb\""), ("0.1.160", "0.1.161")],
            &[
                "STUBS in xtask/src/steps/rust_std.rs and vendor/rust-library.lock: `wasi` is 0.11.1, the library wants 0.12.0",
            ],
        );
        check(
            &[("compiler_builtins", "0.1.160", ""), ("wasi", "0.11.1", "")],
            &[],
            &["vendor/rust-library.lock: the library locks no `cfg-if` any more"],
        );
    }

    #[test]
    fn a_workspace_names_no_patch_level() {
        let text = "[workspace.package]\nrust-version = \"1.95\" # so new\n";
        let new = rust_version(text, &["workspace", "package"], "1.96.1").unwrap();
        assert_eq!(new, "[workspace.package]\nrust-version = \"1.96\" # so new\n");
    }
}
