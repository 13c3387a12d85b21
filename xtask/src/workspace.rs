//! Where things are: the checkout's well-known paths and the store's root. Only this room joins such paths.

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

/// The checkout that `cargo xtask` works on.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: Utf8PathBuf,
}

impl Workspace {
    /// Finds the checkout: the one whose `xtask` cargo runs, else the one around the current folder.
    pub fn find() -> Result<Self> {
        let start = match std::env::var("CARGO_MANIFEST_DIR") {
            Ok(xtask) => Utf8PathBuf::from(xtask),
            Err(_) => Utf8PathBuf::try_from(std::env::current_dir().context("failed to read the current folder")?)?,
        };
        match start.ancestors().find(|folder| folder.join("vendor/sources.toml").is_file()) {
            Some(root) => Ok(Self::at(root)),
            None => bail!(
                "failed to find a pid1 checkout around `{start}`: no folder above it has vendor/sources.toml\n\
                 hint: run `cargo xtask` inside the checkout"
            ),
        }
    }

    /// The checkout at `root`.
    pub fn at(root: &Utf8Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The checkout's top folder.
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// The file that pins every outside input.
    pub fn sources(&self) -> Utf8PathBuf {
        self.root.join("vendor/sources.toml")
    }

    /// The crates of Rust's standard library, as its own lock file pins them.
    pub fn std_lock(&self) -> Utf8PathBuf {
        self.root.join("vendor/rust-library.lock")
    }

    /// The folder for pins and crates that `cargo xtask vendor`, or a person, put there; ignored by git, [`VENDOR_TRACKED`] aside.
    pub fn vendor(&self) -> Utf8PathBuf {
        self.root.join("vendor")
    }

    /// The crates of the whole workspace, unpacked, as cargo itself reads them; below [`Workspace::vendor`].
    pub fn vendored_for_cargo(&self) -> Utf8PathBuf {
        self.root.join(VENDORED_FOR_CARGO)
    }

    /// Settings by which cargo takes its crates from [`Workspace::vendored_for_cargo`].
    pub fn offline_settings(&self) -> Utf8PathBuf {
        self.root.join(OFFLINE_SETTINGS)
    }

    /// The lock file of the whole workspace.
    pub fn cargo_lock(&self) -> Utf8PathBuf {
        self.root.join("Cargo.lock")
    }

    /// The workspace's own manifest.
    pub fn manifest(&self) -> Utf8PathBuf {
        self.root.join("Cargo.toml")
    }

    /// The manifest of the fuzz targets, a workspace of their own.
    pub fn fuzz_manifest(&self) -> Utf8PathBuf {
        self.root.join("fuzz/Cargo.toml")
    }

    /// The file that names the toolchain.
    pub fn toolchain_file(&self) -> Utf8PathBuf {
        self.root.join("rust-toolchain.toml")
    }

    /// The key that kernel.org's checksum files are signed with, as a keyring for gpgv.
    pub fn kernel_keyring(&self) -> Utf8PathBuf {
        self.root.join("vendor/kernel.org-autosigner.gpg")
    }

    /// The build driver's package; cargo names it to the `xtask` that it runs.
    pub fn xtask(&self) -> Utf8PathBuf {
        self.root.join("xtask")
    }

    /// The folder of image specs.
    pub fn images(&self) -> Utf8PathBuf {
        self.root.join("images")
    }

    /// The folder of kernel configuration fragments.
    pub fn kernel_configs(&self) -> Utf8PathBuf {
        self.root.join(KERNEL_CONFIGS)
    }

    /// Where `cargo xtask image` puts the finished files of an image.
    pub fn output(&self, image: &str) -> Utf8PathBuf {
        self.root.join("target/image").join(image)
    }

    /// What this checkout last built of one step of an image, for `why`.
    pub fn last_build(&self, image: &str, step: &str) -> Utf8PathBuf {
        self.root.join("target/pid1/last").join(image).join(format!("{step}.json"))
    }
}

/// The folder of kernel configuration fragments, relative to the checkout.
pub const KERNEL_CONFIGS: &str = "kernel-configs";

/// What git has of the folder `vendor`.
pub const VENDOR_TRACKED: [&str; 3] = ["sources.toml", "rust-library.lock", "kernel.org-autosigner.gpg"];

/// Below the folder `vendor`: the `.crate` files that steps unpack.
pub const VENDORED_CRATES: &str = "crates";

/// Relative to the checkout, as [`OFFLINE_SETTINGS`] names it.
pub const VENDORED_FOR_CARGO: &str = "vendor/cargo";

/// Relative to the checkout, as it is given to cargo.
pub const OFFLINE_SETTINGS: &str = "vendor/offline.toml";

/// What the registry calls a crate's file.
pub fn crate_file(name: &str, version: &str) -> String {
    format!("{name}-{version}.crate")
}

/// A script's first line, with the store's path in it, fits into 256 bytes: execve(2).
const STORE_PATH_BYTES: usize = 150;

/// What kbuild, its scripts and cargo's settings take in a path without quotes.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/._+@~-".contains(c)
}

/// Where `verify --keep` keeps the two sides of an image: beside the store, for they are as large.
pub fn kept_verification(image: &str) -> Result<Utf8PathBuf> {
    Ok(store_root()?.join("verify").join(image))
}

/// The store's folder: `$PID1_STORE`, else `$XDG_CACHE_HOME/pid1`, else `~/.cache/pid1`. It is shared by all checkouts of a user.
pub fn store_root() -> Result<Utf8PathBuf> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty()).map(Utf8PathBuf::from);
    let root = set("PID1_STORE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("pid1")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/pid1")));
    match root {
        Some(root)
            if root.is_absolute() && root.as_str().len() <= STORE_PATH_BYTES && root.as_str().chars().all(is_plain) =>
        {
            Ok(root)
        }
        Some(root) if root.is_absolute() => bail!(
            "failed to open the store `{root}`: make and shell scripts work in it, which want letters, digits and `/._+@~-` only, \
             and at most {STORE_PATH_BYTES} bytes\nhint: set PID1_STORE to such a path"
        ),
        Some(root) => {
            bail!("failed to open the store `{root}`: the path is relative\nhint: set PID1_STORE to an absolute path")
        }
        None => bail!(
            "failed to find a folder for the store: none of PID1_STORE, XDG_CACHE_HOME, HOME is set\nhint: set PID1_STORE to an absolute path"
        ),
    }
}
