//! What an initramfs unpacks to, read from the finished archive itself: what is told is what is in it.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::sha256;
use crate::image::Compress;

/// File types of cpio's mode field, as in stat(2).
const TYPE: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// What is at a path of the machine.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Content {
    /// A folder.
    Folder {
        /// Permissions in octal, as in `0755`.
        mode: String,
    },
    /// A file.
    File {
        /// Permissions in octal, as in `0755`.
        mode: String,
        /// In bytes.
        size: u64,
        /// Lower-case hexadecimal.
        sha256: String,
    },
    /// A symbolic link.
    Symlink {
        /// What it leads to.
        target: String,
    },
    /// A character device.
    Device {
        /// Permissions in octal, as in `0600`.
        mode: String,
        /// The major number.
        major: u32,
        /// The minor number.
        minor: u32,
    },
}

/// Reads an archive.
pub fn read(archive: &[u8], compress: Compress) -> Result<BTreeMap<String, Content>> {
    let unpacked = unpack(archive, compress).context("failed to unpack the initramfs")?;
    let mut rest = unpacked.as_slice();
    let mut contents = BTreeMap::new();
    loop {
        let mut reader = cpio::NewcReader::new(rest).context("failed to read the initramfs")?;
        if reader.entry().is_trailer() {
            return Ok(contents);
        }
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).context("failed to read the initramfs")?;
        let path = format!("/{}", reader.entry().name());
        let content = content(reader.entry(), &bytes).with_context(|| format!("failed to tell what `{path}` is"))?;
        contents.insert(path, content);
        rest = reader.finish().context("failed to read the initramfs")?;
    }
}

fn content(entry: &cpio::newc::Entry, bytes: &[u8]) -> Result<Content> {
    let mode = format!("{:04o}", entry.mode() & !TYPE);
    Ok(match entry.mode() & TYPE {
        FOLDER => Content::Folder { mode },
        REGULAR => Content::File { mode, size: bytes.len() as u64, sha256: sha256(bytes) },
        SYMLINK => Content::Symlink { target: String::from_utf8(bytes.to_owned())? },
        CHARACTER_DEVICE => Content::Device { mode, major: entry.rdev_major(), minor: entry.rdev_minor() },
        other => bail!("its type is {other:o}"),
    })
}

fn unpack(archive: &[u8], compress: Compress) -> Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    match compress {
        Compress::None => unpacked.extend_from_slice(archive),
        Compress::Gzip => drop(flate2::read::GzDecoder::new(archive).read_to_end(&mut unpacked)?),
        Compress::Xz => drop(liblzma::read::XzDecoder::new(archive).read_to_end(&mut unpacked)?),
        Compress::Zstd => zstd::stream::copy_decode(archive, &mut unpacked)?,
    }
    Ok(unpacked)
}
