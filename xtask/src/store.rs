//! The store: finished artifacts by content, and apart from them the table of which step made which artifact.
//!
//! ```text
//! v1/objects/ID            the artifacts, read-only
//! v1/traces/KEY.json       a step's key -> its artifact, and everything that went into the key
//! v1/logs/KEY.log          what the step's tools printed
//! v1/claims/KEY            locked while a process makes that step
//! v1/roots/*.json          what each checkout's images need; `gc` keeps it
//! v1/tmp/*                 half-made things, each locked by its maker
//! v1/downloads/*           partial downloads, named by the hash they must have
//! v1/tools.json            hashes of host tools, by what `stat` says of them
//! ```
//! Nothing counts until it is complete: made in `tmp`, synced, then renamed. A crash leaves only what the next run sweeps away.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::artifact;
use crate::key::{ArtifactId, Fields, StepKey};

/// The layout of the store; a change of it starts an empty one beside the old.
const FORMAT: &str = "v1";

/// An open store. Every holder keeps a shared lock on it; `gc` needs the only one.
pub struct Store {
    root: Utf8PathBuf,
    _lock: File,
}

/// One success: this key gave this artifact.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trace {
    /// The step's name in its graph.
    pub step: String,
    /// What it made.
    pub id: ArtifactId,
    /// Everything that went into the key.
    pub fields: Fields,
    /// How long it took, in seconds. Information for people; no artifact reads it.
    pub seconds: f64,
    /// Whether the tools that made it saw only what is in `fields`. Records from before there were walls are of steps
    /// without tools, or of recipes that have another name since.
    #[serde(default = "is_hermetic")]
    pub hermetic: bool,
}

fn is_hermetic() -> bool {
    true
}

/// The right to make a step; given back when dropped, and by the kernel when the process dies.
pub struct Claim {
    _file: File,
}

/// A folder for half-made things; removed when dropped, or swept later if its process was killed.
pub struct Temp {
    path: Utf8PathBuf,
    _lock: File,
}

impl Temp {
    /// The folder.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = artifact::remove(&self.path);
        let _ = fs::remove_file(lock_of(&self.path));
    }
}

fn lock_of(temp: &Utf8Path) -> Utf8PathBuf {
    temp.with_extension("lock")
}

/// Whether [`Store::open`] shares the store with other builds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Builds and looks beside others.
    Shared,
    /// Nobody else: for deleting.
    Exclusive,
}

impl Store {
    /// Opens the store below `root`, making it if need be, and sweeps what killed builds left in `tmp`.
    /// With [`Access::Exclusive`] it fails at once while another process uses the store.
    pub fn open(root: &Utf8Path, access: Access) -> Result<Self> {
        let root = root.join(FORMAT);
        let hint = || {
            format!(
                "failed to open the store `{root}`\nhint: make the folder writable, or name another one in PID1_STORE"
            )
        };
        for folder in ["objects", "traces", "logs", "claims", "roots", "tmp", "downloads"] {
            fs::create_dir_all(root.join(folder)).with_context(hint)?;
        }
        let lock = open_lock(&root.join("lock")).with_context(hint)?;
        match access {
            Access::Shared => lock.lock_shared().with_context(hint)?,
            Access::Exclusive => {
                if let Err(TryLockError::WouldBlock) = lock.try_lock() {
                    bail!(
                        "failed to lock the store `{root}`: a build is using it\nhint: try again when that build has ended"
                    );
                }
            }
        }
        let store = Self { root, _lock: lock };
        store.sweep_temps();
        Ok(store)
    }

    /// The store's folder, with the format's version.
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// Where an artifact is, if the store has it. Its content is not looked at; see [`Store::is_intact`].
    pub fn object(&self, id: ArtifactId) -> Option<Utf8PathBuf> {
        let path = self.object_path(id);
        path.symlink_metadata().is_ok().then_some(path)
    }

    fn object_path(&self, id: ArtifactId) -> Utf8PathBuf {
        self.root.join("objects").join(id.to_string())
    }

    /// Whether an artifact is there and its content is what its id says. What cannot be read is not therefore damaged.
    pub fn is_intact(&self, id: ArtifactId) -> Result<bool> {
        is_what_it_says(&self.object_path(id), id)
    }

    /// Takes a damaged artifact away, so that it is made anew when asked for. It is looked at once more when it is out of
    /// the others' reach: another process may have mended it meanwhile. False, if it is whole and was put back.
    pub fn discard_damaged(&self, id: ArtifactId) -> Result<bool> {
        let (aside, place) = (self.temp("discard")?, self.object_path(id));
        let object = aside.path().join("object");
        match artifact::rename(&place, &object) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
            renamed => renamed.with_context(|| format!("failed to take the artifact `{id}` out of the store"))?,
        }
        if !is_what_it_says(&object, id)? {
            return Ok(true);
        }
        // If it does not fit back, another process has put the same there.
        let _ = artifact::rename(&object, &place);
        Ok(false)
    }

    /// Takes an unneeded artifact away.
    pub fn discard(&self, id: ArtifactId) -> Result<()> {
        let aside = self.temp("discard")?;
        match artifact::rename(&self.object_path(id), &aside.path().join("object")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("failed to take the artifact `{id}` out of the store"))
            }
            _ => Ok(()),
        }
    }

    /// Takes the finished file or folder at `path` into the store: normalised, hashed, synced, renamed.
    pub fn commit(&self, path: &Utf8Path) -> Result<ArtifactId> {
        artifact::normalise(path)?;
        let id = artifact::hash_path(path)?;
        if self.object(id).is_some() && (self.is_intact(id)? || !self.discard_damaged(id)?) {
            artifact::remove(path)?;
            return Ok(id);
        }
        sync(path)?;
        let context = || format!("failed to move `{path}` into the store");
        match artifact::rename(path, &self.object_path(id)) {
            // Another process finished the same artifact in between; the two are the same by content.
            Err(_) if self.object(id).is_some() => artifact::remove(path)?,
            renamed => renamed.with_context(context)?,
        }
        File::open(self.root.join("objects")).and_then(|folder| folder.sync_all()).with_context(context)?;
        Ok(id)
    }

    /// The success recorded for a key, if its artifact is still there.
    pub fn lookup(&self, key: StepKey) -> Option<Trace> {
        let trace = self.trace(key)?;
        self.object(trace.id).map(|_| trace)
    }

    /// The success recorded for a key, whether or not its artifact is still there. An unreadable record is no record.
    pub fn trace(&self, key: StepKey) -> Option<Trace> {
        let text = fs::read_to_string(self.trace_path(key)).ok()?;
        let trace: Trace = serde_json::from_str(&text).ok()?;
        (trace.fields.key() == key).then_some(trace)
    }

    fn trace_path(&self, key: StepKey) -> Utf8PathBuf {
        self.root.join("traces").join(format!("{key}.json"))
    }

    /// Records a success. Only after [`Store::commit`].
    pub fn record(&self, trace: &Trace) -> Result<()> {
        let text = serde_json::to_string_pretty(trace).context("failed to write a trace")?;
        self.replace_file(&self.trace_path(trace.fields.key()), text.as_bytes())
    }

    /// Writes a whole file so that a reader sees the old or the new one, never a half.
    pub fn replace_file(&self, path: &Utf8Path, bytes: &[u8]) -> Result<()> {
        let temp = self.temp("write")?;
        let new = temp.path().join("file");
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, path)
        };
        write().with_context(|| format!("failed to write `{path}`"))
    }

    /// Where the tools of the step with this key print.
    pub fn log(&self, key: StepKey) -> Utf8PathBuf {
        self.root.join("logs").join(format!("{key}.log"))
    }

    /// Where partial downloads are kept between runs.
    pub fn downloads(&self) -> Utf8PathBuf {
        self.root.join("downloads")
    }

    /// Deletes partial downloads.
    pub fn clear_downloads(&self) -> Result<()> {
        let folder = self.downloads();
        artifact::remove(&folder)?;
        fs::create_dir_all(&folder).with_context(|| format!("failed to make the folder `{folder}`"))
    }

    /// Claims a step for this process. `on_wait` is called once, with what the holder says of itself, if another process has it.
    pub fn claim(&self, key: StepKey, step: &str, on_wait: &dyn Fn(&str)) -> Result<Claim> {
        let path = self.root.join("claims").join(key.to_string());
        let context = || format!("failed to claim the step `{step}` by `{path}`");
        let mut file = open_lock(&path).with_context(context)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = holder.trim();
            on_wait(if holder.is_empty() { "another process" } else { holder });
            file.lock().with_context(context)?;
        }
        file.rewind().and_then(|()| file.set_len(0)).with_context(context)?;
        // Only for the message above; a full disk is no reason to give the claim back.
        let _ = write!(file, "process {}", std::process::id());
        Ok(Claim { _file: file })
    }

    /// A new folder in `tmp`, locked by this process as long as the value lives.
    pub fn temp(&self, purpose: &str) -> Result<Temp> {
        static N_TEMPS: AtomicU64 = AtomicU64::new(0);
        let name = format!("{purpose}-{}-{}", std::process::id(), N_TEMPS.fetch_add(1, Ordering::Relaxed));
        let path = self.root.join("tmp").join(name);
        let context = || format!("failed to make the folder `{path}`");
        let lock = lock_existing(&lock_of(&path)).with_context(context)?;
        artifact::remove(&path)?;
        fs::create_dir(&path).with_context(context)?;
        Ok(Temp { path, _lock: lock })
    }

    /// Removes what is in `tmp` and belongs to no living process.
    fn sweep_temps(&self) {
        let Ok(entries) = self.root.join("tmp").read_dir_utf8() else { return };
        for path in entries.flatten().map(|entry| entry.into_path()) {
            let lock_path = lock_of(&path);
            let Ok(lock) = open_lock(&lock_path) else { continue };
            if lock.try_lock().is_ok() {
                // Tools of a build that was killed may live on for a moment and write there; then the next sweep has it.
                if artifact::remove(&lock_path.with_extension("")).is_ok() {
                    let _ = fs::remove_file(&lock_path);
                }
            }
        }
    }

    /// The ids of all artifacts.
    pub fn objects(&self) -> Result<Vec<ArtifactId>> {
        self.names("objects")
    }

    /// The keys of all recorded successes.
    pub fn traces(&self) -> Result<Vec<StepKey>> {
        self.names("traces")
    }

    /// What in `folder` is named by a hash, sorted. Other names are none of ours.
    fn names<T: std::str::FromStr + Ord>(&self, folder: &str) -> Result<Vec<T>> {
        let folder = self.root.join(folder);
        let entries = folder.read_dir_utf8().with_context(|| format!("failed to list `{folder}`"))?;
        let mut names: Vec<T> =
            entries.flatten().filter_map(|entry| entry.path().file_stem().and_then(|stem| stem.parse().ok())).collect();
        names.sort();
        Ok(names)
    }

    /// The keys of all steps that have a log or a claim, also of those that failed.
    pub fn attempts(&self) -> Result<Vec<StepKey>> {
        Ok([self.names("logs")?, self.names("claims")?].concat())
    }

    /// Forgets a recorded success and its log.
    pub fn forget(&self, key: StepKey) {
        for path in [self.trace_path(key), self.log(key), self.root.join("claims").join(key.to_string())] {
            let _ = fs::remove_file(path);
        }
    }

    /// The folder of what the checkouts' images need.
    pub fn roots(&self) -> Utf8PathBuf {
        self.root.join("roots")
    }

    /// The file that remembers hashes of host tools.
    pub fn tools(&self) -> Utf8PathBuf {
        self.root.join("tools.json")
    }

    /// Bytes that are still free where the store is.
    pub fn free_bytes(&self) -> Option<u64> {
        rustix::fs::statvfs(self.root.as_std_path()).ok().map(|stat| stat.f_bavail * stat.f_frsize)
    }
}

fn is_what_it_says(path: &Utf8Path, id: ArtifactId) -> Result<bool> {
    let is_missing = |error: &anyhow::Error| {
        error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
            .any(|error| error.kind() == std::io::ErrorKind::NotFound)
    };
    match artifact::hash_path(path) {
        Ok(found) => Ok(found == id),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn open_lock(path: &Utf8Path) -> std::io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

/// Opens and locks a file, and makes sure that the locked file is still the one that has the name: a sweep may just have removed it.
fn lock_existing(path: &Utf8Path) -> std::io::Result<File> {
    loop {
        let file = open_lock(path)?;
        file.lock()?;
        if fs::metadata(path).is_ok_and(|named| file.metadata().is_ok_and(|ours| named.ino() == ours.ino())) {
            return Ok(file);
        }
    }
}

/// Puts an artifact's bytes on the disk. For a folder the whole file system is synced: one call instead of one for each of 86,000 files.
fn sync(path: &Utf8Path) -> Result<()> {
    let context = || format!("failed to sync `{path}`");
    let file = File::open(path).with_context(context)?;
    if path.is_dir() { rustix::fs::syncfs(&file).with_context(context) } else { file.sync_all().with_context(context) }
}

#[cfg(test)]
mod tests;
