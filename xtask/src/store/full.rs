//! That the store's disk was full, told to all who use the store.
//!
//! Few tools look whether they could write. Who does look, and sees that the disk is full, often makes room a moment later: then
//! the others cannot see it any more. So it is counted: in this process, and in a file for the other ones. The file is empty
//! and grows by a hole, which takes no room.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use camino::Utf8PathBuf;

use super::temp::open_lock;

/// How often the disk was found full.
pub(super) struct TimesFull {
    file: Utf8PathBuf,
    n_here: AtomicU64,
}

impl TimesFull {
    /// Makes the file while there is room for it, if there is.
    pub(super) fn new(file: Utf8PathBuf) -> Self {
        let _ = open_lock(&file);
        Self { file, n_here: AtomicU64::new(0) }
    }

    /// Once more. Where the file cannot be had, other processes do not learn of it.
    pub(super) fn add(&self) {
        self.n_here.fetch_add(1, Ordering::SeqCst);
        let grow = || {
            let file = open_lock(&self.file)?;
            file.lock()?;
            file.set_len(file.metadata()?.len() + 1)
        };
        let _ = grow();
    }

    /// To be compared with what it was before: never with what others say.
    pub(super) fn get(&self) -> u64 {
        let in_file = fs::metadata(&self.file).map_or(0, |metadata| metadata.len());
        in_file.wrapping_add(self.n_here.load(Ordering::SeqCst))
    }
}
