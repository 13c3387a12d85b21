//! `cargo xtask image`: builds an image and lays its files out.

use std::collections::BTreeMap;
use std::fs::File;

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use crate::engine::Report;
use crate::image::{Compress, Image};
use crate::manifest::{self, FileRecord, MANIFEST, Manifest};
use crate::plan::{self, INITRAMFS, KERNEL};
use crate::qemu::Opened;
use crate::session::{Asked, Planned, Session};
use crate::steps::kernel::{BZIMAGE, CONFIG};
use crate::store::{Access, Store};
use crate::{artifact, provenance, report, roots, sbom, signature};

/// What to do where the finished files cannot be put.
const ELSEWHERE: &str = "hint: `cargo xtask image --out FOLDER` puts the files elsewhere";

/// A built image. Another one may take its place in the folder at any time: what is opened here stays what it is.
pub struct Finished {
    /// The folder with its files.
    pub folder: Utf8PathBuf,
    /// The files, by name.
    pub files: BTreeMap<String, FileRecord>,
    /// The initramfs's name among them.
    pub initramfs: String,
    /// The kernel and the initramfs, opened.
    pub opened: Opened,
    /// The text of the kernel's configuration.
    pub config: String,
}

impl Finished {
    /// For the holder of the folder's lock.
    fn new(folder: Utf8PathBuf, files: BTreeMap<String, FileRecord>, initramfs: String) -> Result<Self> {
        let open = |name: &str| {
            let path = folder.join(name);
            File::open(&path).with_context(|| format!("failed to read `{path}`"))
        };
        let opened = Opened { kernel: open(BZIMAGE)?, initramfs: Some(open(&initramfs)?) };
        let config = std::io::read_to_string(open(CONFIG)?).with_context(|| format!("failed to read `{CONFIG}`"))?;
        Ok(Self { folder, files, initramfs, opened, config })
    }
}

/// The lock of a folder of finished files, which the kernel gives back: two images of one name must not mix there. It is the
/// folder's own, so that no file for it lies among those of the image.
fn lock(folder: &Utf8Path) -> Result<File> {
    let locked = File::open(folder).and_then(|file| file.lock().map(|()| file));
    locked.with_context(|| format!("failed to lock the folder `{folder}`"))
}

/// Builds and prints a table of sizes.
pub fn run(session: &Session, image: &Asked<'_>, out: Option<&Utf8Path>, json: bool) -> Result<()> {
    let planned = session.plan(image)?;
    session.require_tools(&planned, &[])?;
    let finished = build(session, &planned, out)?;
    let text = if json { serde_json::to_string_pretty(&finished.files)? + "\n" } else { table(&finished) };
    report::print(&text);
    Ok(())
}

/// Builds the image and puts its files into `out`, or where the workspace keeps them.
pub fn build(session: &Session, planned: &Planned, out: Option<&Utf8Path>) -> Result<Finished> {
    build_and_tell(session, planned, out).map(|(finished, _)| finished)
}

/// The same, and what the image is made of.
pub fn build_and_tell(session: &Session, planned: &Planned, out: Option<&Utf8Path>) -> Result<(Finished, Manifest)> {
    if !planned.image.has_console() {
        session.reporter.say(&format!(
            "warning: `kernel.cmdline` of `{}` names no console, so that the machine is silent\n\
             hint: add `console=ttyS0` to it, and the fragment `serial`",
            planned.image.name
        ));
    }
    let store = session.store(Access::Shared)?;
    let report = session.build(planned, &store, &plan::goals(&planned.graph))?;
    roots::register(&store, &session.workspace, &planned.image.name, &planned.source, &report)?;
    let folder = out.map_or_else(|| session.workspace.output(&planned.image.name), Utf8Path::to_owned);
    lay_out(session, planned, &store, &report, folder)
}

/// What of a manifest is needed to boot.
#[derive(Deserialize)]
struct Published {
    image: String,
    files: BTreeMap<String, FileRecord>,
}

/// The image that was put into `folder` before, if it is `image` and its files are those of its manifest.
pub fn open(image: &Image, folder: &Utf8Path) -> Result<Finished> {
    let path = folder.join(MANIFEST);
    let context = || format!("failed to read `{path}`");
    let _lock = folder.is_dir().then(|| lock(folder)).transpose()?;
    let text = std::fs::read_to_string(&path).with_context(context)?;
    let published: Published = serde_json::from_str(&text).with_context(context)?;
    if published.image != image.name {
        bail!(
            "`{folder}` holds the image `{}`, not `{}`\nhint: name it: cargo xtask qemu {} --built {folder}",
            published.image,
            image.name,
            published.image
        );
    }
    let initramfs = initramfs_name(image.compress);
    let mut wrong = Vec::new();
    for name in [BZIMAGE, CONFIG, &initramfs] {
        let found = std::fs::read(folder.join(name)).map(|bytes| FileRecord::of(&bytes)).ok();
        if found.is_none() || found.as_ref() != published.files.get(name) {
            wrong.push(format!("`{name}`"));
        }
    }
    if !wrong.is_empty() {
        bail!("in `{folder}` {} are not what {MANIFEST} says\nhint: build the image anew", wrong.join(", "));
    }
    Finished::new(folder.to_owned(), published.files, initramfs)
}

fn lay_out(
    session: &Session,
    planned: &Planned,
    store: &Store,
    report: &Report,
    folder: Utf8PathBuf,
) -> Result<(Finished, Manifest)> {
    std::fs::create_dir_all(&folder).with_context(|| format!("failed to make the folder `{folder}`\n{ELSEWHERE}"))?;
    let _lock = lock(&folder).context(ELSEWHERE)?;
    let kernel = object(store, report, KERNEL)?;
    let initramfs = initramfs_name(planned.image.compress);
    let sources = [
        (BZIMAGE, kernel.join(BZIMAGE)),
        (CONFIG, kernel.join(CONFIG)),
        (&initramfs, object(store, report, INITRAMFS)?),
    ];
    let mut files = BTreeMap::new();
    for (name, source) in sources {
        let bytes = std::fs::read(&source).with_context(|| format!("failed to read `{source}`"))?;
        put(&folder, name, &bytes)?;
        files.insert(name.to_owned(), FileRecord::of(&bytes));
    }
    remove_other_initramfs(&folder, &initramfs)?;
    let (manifest, warnings) = manifest::gather(planned, store, report, files)?;
    warnings.iter().for_each(|warning| session.reporter.say(warning));
    let (manifest, files) = write_evidence(manifest, &folder)?;
    Ok((Finished::new(folder, files, initramfs)?, manifest))
}

/// Writes what the manifest proves, then the manifest with all their hashes. A signature of other bits is taken away.
fn write_evidence(mut manifest: Manifest, folder: &Utf8Path) -> Result<(Manifest, BTreeMap<String, FileRecord>)> {
    for (name, text) in [(provenance::FILE, provenance::text(&manifest)?), (sbom::FILE, sbom::text(&manifest)?)] {
        put(folder, name, text.as_bytes())?;
        manifest.files.insert(name.to_owned(), FileRecord::of(text.as_bytes()));
    }
    let text = manifest.text()?;
    signature::forget_unless_of(folder, text.as_bytes())?;
    put(folder, MANIFEST, text.as_bytes())?;
    let mut files = manifest.files.clone();
    files.insert(MANIFEST.to_owned(), FileRecord::of(text.as_bytes()));
    Ok((manifest, files))
}

fn put(folder: &Utf8Path, name: &str, bytes: &[u8]) -> Result<()> {
    artifact::replace(&folder.join(name), bytes).context(ELSEWHERE)
}

fn object(store: &Store, report: &Report, step: &str) -> Result<Utf8PathBuf> {
    let id = report.built.get(step).with_context(|| format!("the step `{step}` was not made"))?.id;
    store
        .object(id)
        .with_context(|| format!("the artifact {id} has vanished from the store\nhint: run the command again"))
}

/// A spec that changed its compression must not leave a stale archive beside the new one.
fn remove_other_initramfs(folder: &Utf8Path, kept: &str) -> Result<()> {
    for compress in [Compress::None, Compress::Gzip, Compress::Zstd, Compress::Xz] {
        let name = initramfs_name(compress);
        if name != kept {
            artifact::remove(&folder.join(name))?;
        }
    }
    Ok(())
}

fn initramfs_name(compress: Compress) -> String {
    format!("initramfs.cpio{}", compress.suffix())
}

fn table(finished: &Finished) -> String {
    let row = |(name, file): (&String, &FileRecord)| {
        format!("  {:>9}  {:<18} sha256 {}\n", report::size(file.size), name, file.sha256)
    };
    format!("{}\n{}", finished.folder, finished.files.iter().map(row).collect::<String>())
}
