//! Moves whole things: from the cache into a file, from a file into the cache.
//!
//! A file that could not be filled is left as it is: xtask knows by the answer, and deletes it.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use object_store::{Error, ObjectStoreExt};

use crate::bucket::Bucket;

/// What a request came to, and how it is said.
pub enum Outcome {
    /// It is done: so many bytes were moved, or are there.
    Done(u64),
    /// The cache has no such thing.
    Missing,
    /// It is larger than was asked for.
    TooLarge,
    /// The cache answered, and does not allow it.
    Denied(String),
    /// There is no room on the disk that was written to: ours for `get`, that of a cache in a folder for `put`.
    Full(String),
    /// It could not be asked, or did not answer as it should.
    Failed(String),
}

impl Outcome {
    /// Tells a refusal from a failure.
    pub fn of_error(error: &anyhow::Error) -> Self {
        let cause = error.chain().map(ToString::to_string).reduce(|text, cause| match text.contains(&cause) {
            true => text,
            false => format!("{text}: {cause}"),
        });
        // Of a request that failed the library tells first how long and how often it tried; xtask says what was asked.
        let cause = cause.unwrap_or_default();
        let cause = cause
            .rsplit_once("retry_timeout: ")
            .and_then(|(_, rest)| rest.split_once(" - "))
            .map_or(cause.as_str(), |(_, rest)| rest)
            .to_owned();
        let kind = error.chain().find_map(|cause| cause.downcast_ref()).map(io::Error::kind);
        if let Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) = kind {
            return Self::Full(cause);
        }
        match error.chain().find_map(|cause| cause.downcast_ref()) {
            Some(Error::NotFound { .. }) => Self::Missing,
            Some(Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => Self::Denied(cause),
            _ => Self::Failed(cause),
        }
    }
}

/// One line, whatever the cause holds.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        match self {
            Self::Done(n_bytes) => write!(f, "done {n_bytes}"),
            Self::Missing => write!(f, "missing"),
            Self::TooLarge => write!(f, "large"),
            Self::Denied(cause) => write!(f, "denied {}", line(cause)),
            Self::Full(cause) => write!(f, "full {}", line(cause)),
            Self::Failed(cause) => write!(f, "failed {}", line(cause)),
        }
    }
}

/// Writes what the cache has under `name` to `path`: at most `limit` bytes. `progress` gets the bytes so far.
pub async fn get(bucket: &Bucket, name: &str, path: &Path, limit: u64, progress: &dyn Fn(u64)) -> Result<Outcome> {
    let found = bucket.store.get(&bucket.name(name)).await?;
    if found.meta.size > limit {
        return Ok(Outcome::TooLarge);
    }
    let mut file = File::create(path).context("failed to write a file for it")?;
    let (mut chunks, mut n_bytes) = (found.into_stream(), 0);
    while let Some(chunk) = chunks.try_next().await? {
        n_bytes += chunk.len() as u64;
        if n_bytes > limit {
            return Ok(Outcome::TooLarge);
        }
        file.write_all(&chunk).context("failed to write a file for it")?;
        progress(n_bytes);
    }
    Ok(Outcome::Done(n_bytes))
}

/// Whether the cache has something under `name`, by its own word.
pub async fn has(bucket: &Bucket, name: &str) -> Result<Outcome> {
    Ok(Outcome::Done(bucket.store.head(&bucket.name(name)).await?.size))
}

/// Puts the file at `path` under `name`, over what is there. Readers see the old or the new one: so do all stores of the
/// library.
pub async fn put(bucket: &Bucket, name: &str, path: &Path) -> Result<Outcome> {
    let bytes = std::fs::read(path).context("failed to read a file for the cache")?;
    let n_bytes = bytes.len() as u64;
    bucket.store.put(&bucket.name(name), bytes.into()).await?;
    Ok(Outcome::Done(n_bytes))
}
