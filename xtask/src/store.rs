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
//! v1/repair                locked while a damaged artifact is taken away
//! v1/full                  grows whenever somebody finds the disk full
//! ```
//! Traces, roots and tools.json are sealed ([`crate::seal`]): a record that is not as it was written is no record.
//! Nothing counts until it is complete: made in `tmp`, synced, then renamed. A crash leaves only what the next run sweeps away.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use self::full::TimesFull;
use self::temp::open_lock;
use crate::key::{ArtifactId, Fields, StepKey};
use crate::{artifact, seal, space};

pub use self::temp::Temp;

mod full;
mod temp;

/// The layout of the store; a change of it starts an empty one beside the old.
const FORMAT: &str = "v1";

/// How long [`Access::Exclusive`] is tried for. A build that was killed is gone at once, but a child that it had just forked has
/// the store's lock, too, until it has become another program.
const PATIENCE: Duration = Duration::from_secs(1);

/// An open store. Every holder keeps a shared lock on it; `gc` needs the only one.
pub struct Store {
    root: Utf8PathBuf,
    _lock: File,
    times_full: TimesFull,
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
    /// Whether a shared cache gave it, and nobody here made it.
    #[serde(default)]
    pub elsewhere: bool,
}

fn is_hermetic() -> bool {
    true
}

/// The right to make a step; given back when dropped, and by the kernel when the process dies.
pub struct Claim {
    _file: File,
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
    /// With [`Access::Exclusive`] it fails, after a second, while another process uses the store.
    pub fn open(root: &Utf8Path, access: Access) -> Result<Self> {
        Self::open_or_wait(root, access, &|| ())
    }

    /// As [`Store::open`]; `on_wait` is called once if another process has the store for itself and has to be waited for.
    pub fn open_or_wait(root: &Utf8Path, access: Access, on_wait: &dyn Fn()) -> Result<Self> {
        let root = root.join(FORMAT);
        require_owner(&root)?;
        let lock = make_folders(&root).map_err(|error| not_opened(&root, error))?;
        match lock_store(&lock, access, on_wait) {
            Ok(true) => {}
            Ok(false) => bail!(
                "failed to lock the store `{root}`: a build is using it\nhint: try again when that build has ended"
            ),
            Err(error) => return Err(not_opened(&root, error)),
        }
        let times_full = TimesFull::new(root.join("full"));
        let store = Self { root, _lock: lock, times_full };
        match access {
            Access::Shared => temp::sweep(&store.tmp()),
            Access::Exclusive => temp::sweep_all(&store.tmp()),
        }
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

    /// Whether an artifact is there and its content is what its id says. Its modes and times, which the id does not tell,
    /// are put right if need be, before it is hashed if it has lost its read bits. What may not be read is not therefore damaged.
    pub fn is_intact(&self, id: ArtifactId) -> Result<bool> {
        let path = self.object_path(id);
        let mut hash = artifact::hash_path(&path);
        if hash.as_ref().is_err_and(artifact::is_unreadable) {
            hash = artifact::normalise(&path).and_then(|()| artifact::hash_path(&path));
        }
        match hash {
            Ok(found) if found == id => {
                // It has its content all the same.
                let _ = artifact::normalise(&path);
                Ok(true)
            }
            Ok(_) => Ok(false),
            Err(error) if artifact::is_damage(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes a damaged artifact away, so that it is made anew when asked for. One process at a time does so, and looks
    /// once more: another one may have mended it meanwhile. False, if it is whole.
    pub fn discard_damaged(&self, id: ArtifactId) -> Result<bool> {
        let context = || format!("failed to take the damaged artifact `{id}` out of the store");
        let _one_at_a_time =
            open_lock(&self.root.join("repair")).and_then(|lock| lock.lock().map(|()| lock)).with_context(context)?;
        if self.is_intact(id)? {
            return Ok(false);
        }
        self.discard(id)?;
        Ok(true)
    }

    /// Takes an artifact away. It needs no room on the disk: a full one must not keep `gc` from its work.
    pub fn discard(&self, id: ArtifactId) -> Result<()> {
        let (object, aside) = (self.object_path(id), self.tmp().join(format!("discard-{id}")));
        // Nobody has a lock on this one, so any sweep may end what a kill interrupts.
        let _ = artifact::remove(&aside);
        match artifact::rename(&object, &aside) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                artifact::remove(&object)
            }
            Err(error) => Err(error).with_context(|| format!("failed to take the artifact `{id}` out of the store")),
            Ok(()) => {
                let _ = artifact::remove(&aside);
                Ok(())
            }
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
        sync_folder(&self.object_path(id)).with_context(context)?;
        Ok(id)
    }

    /// The success recorded for a key, if its artifact is still there.
    pub fn lookup(&self, key: StepKey) -> Option<Trace> {
        let trace = self.trace(key)?;
        self.object(trace.id).map(|_| trace)
    }

    /// The success recorded for a key, whether or not its artifact is still there. An unreadable record is no record.
    pub fn trace(&self, key: StepKey) -> Option<Trace> {
        let trace: Trace = seal::read_old(&self.trace_path(key))?;
        (trace.fields.key() == key).then_some(trace)
    }

    fn trace_path(&self, key: StepKey) -> Utf8PathBuf {
        self.root.join("traces").join(format!("{key}.json"))
    }

    /// Records a success. Only after [`Store::commit`].
    pub fn record(&self, trace: &Trace) -> Result<()> {
        self.replace_file(&self.trace_path(trace.fields.key()), seal::seal(trace)?.as_bytes())
    }

    /// Writes a whole file so that a reader sees the old or the new one, never a half.
    pub fn replace_file(&self, path: &Utf8Path, bytes: &[u8]) -> Result<()> {
        let temp = self.temp("write")?;
        let new = temp.path().join("file");
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            sync_folder(path)
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
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim();
                on_wait(if holder.is_empty() { "another process" } else { holder });
                file.lock().with_context(context)?;
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(context),
        }
        file.rewind().and_then(|()| file.set_len(0)).with_context(context)?;
        // Only for the message above; a full disk is no reason to give the claim back.
        let _ = write!(file, "process {}", std::process::id());
        Ok(Claim { _file: file })
    }

    /// A new folder in `tmp`, locked by this process as long as the value lives.
    pub fn temp(&self, purpose: &str) -> Result<Temp> {
        Temp::new(&self.tmp(), purpose)
    }

    fn tmp(&self) -> Utf8PathBuf {
        self.root.join("tmp")
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

    /// Lets all who use the store know that its disk is full. To be called before room is made on it.
    pub fn met_full_disk(&self) {
        self.times_full.add();
    }

    /// Likewise, if by its kind this is the error of a full disk. Its text may hold words of strangers.
    pub fn note_full_disk(&self, error: &anyhow::Error) {
        if space::is_full_by_kind(error) {
            self.met_full_disk();
        }
    }

    /// Changes whenever anybody says that they met a full disk.
    pub fn n_times_full(&self) -> u64 {
        self.times_full.get()
    }

    /// Says of an error that the store's disk is full, if that is its cause.
    pub fn explain_full(&self, error: anyhow::Error) -> anyhow::Error {
        if space::is_full(&error) { space::explain(error, "the store", &self.root, FULL_HINT) } else { error }
    }
}

/// What to do about a full disk.
pub const FULL_HINT: &str = "free some space, run `cargo xtask gc`, or name another folder in PID1_STORE";

/// Another user's store is not touched: what this one put there, its owner could neither lock nor delete.
fn require_owner(root: &Utf8Path) -> Result<()> {
    let Ok(metadata) = fs::metadata(root) else { return Ok(()) };
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == user {
        return Ok(());
    }
    bail!(
        "failed to open the store `{root}`: it belongs to the user {owner}, and this is the user {user}\nhint: name a folder of your own in PID1_STORE"
    )
}

fn make_folders(root: &Utf8Path) -> io::Result<File> {
    for folder in ["objects", "traces", "logs", "claims", "roots", "tmp", "downloads"] {
        fs::create_dir_all(root.join(folder))?;
    }
    open_lock(&root.join("lock"))
}

/// False, if others use a store that is wanted for this process alone.
fn lock_store(lock: &File, access: Access, on_wait: &dyn Fn()) -> io::Result<bool> {
    let started = Instant::now();
    loop {
        match if access == Access::Shared { lock.try_lock_shared() } else { lock.try_lock() } {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if access == Access::Shared => {
                on_wait();
                return lock.lock_shared().map(|()| true);
            }
            Err(TryLockError::WouldBlock) if started.elapsed() > PATIENCE => return Ok(false),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn not_opened(root: &Utf8Path, error: io::Error) -> anyhow::Error {
    let error = anyhow::Error::from(error);
    if space::is_full(&error) {
        let nearest = root.ancestors().find(|folder| folder.is_dir()).unwrap_or(root);
        return space::explain(error, "the store", nearest, FULL_HINT)
            .context(format!("failed to open the store `{root}`"));
    }
    error.context(format!(
        "failed to open the store `{root}`\nhint: make the folder writable, or name another one in PID1_STORE"
    ))
}

/// Puts the name of a file that was just renamed on the disk.
fn sync_folder(path: &Utf8Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

/// Puts an artifact's bytes on the disk. For a folder the whole file system is synced: one call instead of one for each of
/// 86,000 files. A symlink has no bytes to be synced by themselves.
fn sync(path: &Utf8Path) -> Result<()> {
    let context = || format!("failed to sync `{path}`");
    let kind = fs::symlink_metadata(path).with_context(context)?.file_type();
    let opened = if kind.is_symlink() { path.parent().unwrap_or(path) } else { path };
    let file = File::open(opened).with_context(context)?;
    if kind.is_file() { file.sync_all().with_context(context) } else { rustix::fs::syncfs(&file).with_context(context) }
}

#[cfg(test)]
mod tests;
