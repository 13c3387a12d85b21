//! What of the host a build tool needs to run at all: its own program, and the folders of libraries and headers. Nothing of
//! the user's, and no program that was not declared: `/usr/bin` inside holds the declared tools alone.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};

use super::walls::{BIN, Mount};
use crate::toolbox::{self, ToolName};

/// Where distributions keep programs. Those that were declared are mounted one by one.
const BIN_FOLDERS: [&str; 6] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];
/// What of /usr is not programs: libraries, what compilers run, headers, and what Perl and bison read.
const USR_FOLDERS: [&str; 8] = ["lib", "lib32", "lib64", "libx32", "libexec", "include", "share", "x86_64-linux-gnu"];
/// At the top: links into /usr on most hosts, folders on others.
const TOP_FOLDERS: [&str; 4] = ["lib", "lib32", "lib64", "libx32"];
/// All of Nix's programs and libraries, each at a path that is a hash of how it was made.
const NIX_STORE: &str = "/nix/store";
/// The Rust toolchain's place inside; in the user's home outside.
const RUST_TOOLCHAIN: &str = "/toolchain";

/// The folders that every tool sees, and the declared tools.
pub fn mounts(tools: &[(ToolName, Utf8PathBuf)]) -> Result<Vec<Mount>> {
    let mut mounts = system_folders()?;
    mounts.push(Mount::Link("usr/bin".into(), "/bin".into()));
    let mut prefixes = BTreeSet::new();
    for (name, path) in tools.iter().filter(|(name, _)| !toolbox::is_library(name)) {
        let place = Utf8Path::new(BIN).join(name);
        let real = real_path(name, path).with_context(|| format!("failed to find the host tool `{path}`"))?;
        mounts.push(match home_of(name, &real) {
            Home::System => Mount::ReadOnly(real, place),
            Home::Visible => Mount::Link(real, place),
            Home::Prefix(prefix) => {
                prefixes.insert((prefix.clone(), prefix));
                Mount::Link(real, place)
            }
            Home::Toolchain(prefix) => {
                let inside = Utf8Path::new(RUST_TOOLCHAIN).join("bin").join(name);
                prefixes.insert((prefix, RUST_TOOLCHAIN.into()));
                Mount::Link(inside, place)
            }
        });
    }
    mounts.extend(prefixes.into_iter().map(|(from, to)| Mount::ReadOnly(from, to)));
    Ok(mounts)
}

/// Where a tool really is. A toolchain is one folder, which Nix puts together of links into several: the links stay.
fn real_path(name: ToolName, path: &Utf8Path) -> std::io::Result<Utf8PathBuf> {
    match path.parent().filter(|_| toolbox::RUST.contains(&name)) {
        Some(bin) => Ok(bin.canonicalize_utf8()?.join(name)),
        None => path.canonicalize_utf8(),
    }
}

fn system_folders() -> Result<Vec<Mount>> {
    let mut mounts = vec![Mount::Folder("/usr".into())];
    let exists = |path: &Utf8PathBuf| path.is_dir();
    let usr = USR_FOLDERS.iter().map(|name| Utf8Path::new("/usr").join(name)).filter(exists);
    mounts.extend(usr.map(|path| Mount::ReadOnly(path.clone(), path)));
    for path in TOP_FOLDERS.iter().map(|name| Utf8Path::new("/").join(name)).filter(exists) {
        mounts.push(if path.is_symlink() {
            Mount::Link(path.read_link_utf8().with_context(|| format!("failed to read the link `{path}`"))?, path)
        } else {
            Mount::ReadOnly(path.clone(), path)
        });
    }
    let nix = Some(Utf8PathBuf::from(NIX_STORE)).filter(exists);
    mounts.extend(nix.map(|path| Mount::ReadOnly(path.clone(), path)));
    Ok(mounts)
}

/// Where a tool is at home.
enum Home {
    /// Among the system's programs.
    System,
    /// In a folder that is seen anyway.
    Visible,
    /// In a tree of its own, such as /usr/local/go, which it knows by its path.
    Prefix(Utf8PathBuf),
    /// In the Rust toolchain, which works wherever it is.
    Toolchain(Utf8PathBuf),
}

fn home_of(name: ToolName, real: &Utf8Path) -> Home {
    let folder = real.parent().unwrap_or(real);
    if toolbox::RUST.contains(&name) {
        return Home::Toolchain(folder.parent().unwrap_or(folder).to_owned());
    }
    if BIN_FOLDERS.contains(&folder.as_str()) {
        return Home::System;
    }
    let visible = USR_FOLDERS.iter().map(|name| Utf8Path::new("/usr").join(name));
    if visible.chain([NIX_STORE.into()]).any(|visible| real.starts_with(visible)) {
        return Home::Visible;
    }
    match folder.parent().filter(|prefix| folder.ends_with("bin") && is_own_tree(prefix)) {
        Some(prefix) => Home::Prefix(prefix.to_owned()),
        // Of a program somewhere in the user's home only itself is shown.
        None => Home::System,
    }
}

/// Whether a folder is a tool's own, and not one that has the user's other things, too.
fn is_own_tree(prefix: &Utf8Path) -> bool {
    let home = std::env::var("HOME").ok().and_then(|home| Utf8PathBuf::from(home).canonicalize_utf8().ok());
    let Some(home) = home else { return false };
    let is_a_home = prefix == "/root" || prefix.parent().is_some_and(|parent| parent.ends_with("home"));
    !is_a_home && !home.starts_with(prefix) && !prefix.ends_with(".local") && prefix != "/usr/local" && prefix != "/opt"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toolchain_is_one_folder_though_its_commands_are_links() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap().canonicalize_utf8().unwrap();
        for bin in ["whole/bin", "cargo/bin"] {
            std::fs::create_dir_all(root.join(bin)).unwrap();
        }
        for file in ["whole/bin/rustc", "cargo/bin/cargo"] {
            std::fs::write(root.join(file), "").unwrap();
        }
        std::os::unix::fs::symlink(root.join("cargo/bin/cargo"), root.join("whole/bin/cargo")).unwrap();
        for tool in ["rustc", "cargo"] {
            let path = root.join("whole/bin").join(tool);
            assert_eq!(real_path(tool, &path).unwrap(), path);
        }
        assert_eq!(real_path("go", &root.join("whole/bin/cargo")).unwrap(), root.join("cargo/bin/cargo"));
    }

    #[test]
    fn a_tool_is_shown_with_no_more_than_its_own_tree() {
        let check = |name, real: &str, expect: &str| {
            let found = match home_of(name, Utf8Path::new(real)) {
                Home::System => "alone".to_owned(),
                Home::Visible => "visible".to_owned(),
                Home::Prefix(prefix) | Home::Toolchain(prefix) => prefix.to_string(),
            };
            assert_eq!(found, expect, "{real}");
        };
        let home = std::env::var("HOME").unwrap();
        check("make", "/usr/bin/make", "alone");
        check("go", "/usr/lib/go-1.19/bin/go", "visible");
        check("go", "/usr/local/go/bin/go", "/usr/local/go");
        check("make", "/usr/local/bin/make", "alone");
        check("make", "/opt/bin/make", "alone");
        check("make", "/home/x/bin/make", "alone");
        check("make", "/data/home/x/bin/make", "alone");
        check("make", "/nix/store/x-make-4/bin/make", "visible");
        check("rustc", "/home/x/.rustup/toolchains/t/bin/rustc", "/home/x/.rustup/toolchains/t");
        check("flex", &format!("{home}/bin/flex"), "alone");
        check("flex", &format!("{home}/.local/bin/flex"), "alone");
        check("flex", &format!("{home}/opt/flex/bin/flex"), &format!("{home}/opt/flex"));
    }
}
