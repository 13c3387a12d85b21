//! `cargo xtask image`: builds an image and lays its files out.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::engine::Report;
use crate::lock::{LINUX, MUSL, RUST_LIBRARY};
use crate::manifest::{FileRecord, Manifest};
use crate::plan::{INITRAMFS, KERNEL};
use crate::session::{Planned, Session};
use crate::steps::kernel::{BZIMAGE, CONFIG};
use crate::store::{Access, Store};
use crate::{report, roots};

/// The name of the manifest among the finished files.
const MANIFEST: &str = "manifest.json";

/// A built image.
pub struct Finished {
    /// The folder with its files.
    pub folder: Utf8PathBuf,
    /// The files, by name.
    pub files: BTreeMap<String, FileRecord>,
    /// The initramfs's name among them.
    pub initramfs: String,
}

/// Builds and prints a table of sizes.
pub fn run(session: &Session, image: &str, out: Option<&Utf8Path>) -> Result<()> {
    let planned = session.plan(image)?;
    session.require_tools(&planned, &[])?;
    let finished = build(session, &planned, out)?;
    let text = if session.json { serde_json::to_string_pretty(&finished.files)? + "\n" } else { table(&finished) };
    report::print(&text);
    Ok(())
}

/// Builds the image and puts its files into `out`, or where the workspace keeps them.
pub fn build(session: &Session, planned: &Planned, out: Option<&Utf8Path>) -> Result<Finished> {
    let store = session.store(Access::Shared)?;
    let report = session.build(planned, &store, &[KERNEL, INITRAMFS])?;
    roots::register(&store, &session.workspace, &planned.image.name, &report)?;
    let folder = out.map_or_else(|| session.workspace.output(&planned.image.name), Utf8Path::to_owned);
    lay_out(planned, &store, &report, folder)
}

fn lay_out(planned: &Planned, store: &Store, report: &Report, folder: Utf8PathBuf) -> Result<Finished> {
    std::fs::create_dir_all(&folder).with_context(|| format!("failed to make the folder `{folder}`"))?;
    let kernel = object(store, report, KERNEL)?;
    let initramfs = format!("initramfs.cpio{}", planned.image.compress.suffix());
    let sources = [
        (BZIMAGE, kernel.join(BZIMAGE)),
        (CONFIG, kernel.join(CONFIG)),
        (&initramfs, object(store, report, INITRAMFS)?),
    ];
    let mut files = BTreeMap::new();
    for (name, source) in sources {
        replace(&source, &folder.join(name))?;
        files.insert(name.to_owned(), FileRecord::of(&folder.join(name))?);
    }
    remove_other_initramfs(&folder, &initramfs)?;
    let pins = [LINUX, MUSL, RUST_LIBRARY].map(|name| Ok((name, planned.lock.pin(name)?)));
    let pins = pins.into_iter().collect::<Result<Vec<_>>>()?;
    let manifest = Manifest::new(&planned.image, &planned.graph, report, &pins, files).text()?;
    let path = folder.join(MANIFEST);
    std::fs::write(&path, &manifest).with_context(|| format!("failed to write `{path}`"))?;
    let mut files = BTreeMap::new();
    for name in [BZIMAGE, CONFIG, &initramfs, MANIFEST] {
        files.insert(name.to_owned(), FileRecord::of(&folder.join(name))?);
    }
    Ok(Finished { folder, files, initramfs })
}

fn object(store: &Store, report: &Report, step: &str) -> Result<Utf8PathBuf> {
    let id = report.built.get(step).with_context(|| format!("the step `{step}` was not made"))?.id;
    store.object(id).with_context(|| format!("the artifact {id} has vanished from the store"))
}

/// Copies beside the target and renames: a machine that runs from the old file keeps it, and two builds at once do not mix.
fn replace(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    let new = Utf8PathBuf::from(format!("{to}.{}.new", std::process::id()));
    let context = || format!("failed to write `{to}`");
    let _ = std::fs::remove_file(&new);
    std::fs::copy(from, &new).with_context(context)?;
    std::fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o644)).with_context(context)?;
    std::fs::rename(&new, to).with_context(context)
}

/// A spec that changed its compression must not leave a stale archive beside the new one.
fn remove_other_initramfs(folder: &Utf8Path, kept: &str) -> Result<()> {
    let entries = folder.read_dir_utf8().with_context(|| format!("failed to list `{folder}`"))?;
    for path in entries.flatten().map(|entry| entry.into_path()) {
        if path.file_name().is_some_and(|name| name.starts_with("initramfs.cpio") && name != kept) {
            std::fs::remove_file(&path).with_context(|| format!("failed to delete `{path}`"))?;
        }
    }
    Ok(())
}

fn table(finished: &Finished) -> String {
    let row = |(name, file): (&String, &FileRecord)| {
        format!("  {:>9}  {:<18} sha256 {}\n", report::size(file.size), name, file.sha256)
    };
    format!("{}\n{}", finished.folder, finished.files.iter().map(row).collect::<String>())
}
