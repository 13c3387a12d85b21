//! An artifact as one file: a tar archive, compressed with zstd, with nothing in it but names, executable bits and content.
//!
//! What comes out of a cache was written by anybody. It is unpacked by the rooms that unpack pinned sources, which refuse
//! what could reach outside the folder, and never into more bytes than it is told: what is in it is not compressed again, and
//! no file of it is there twice.

use std::fs::File;
use std::io::{self, Read, Write};

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use tar::{Builder, EntryType, Header};

use crate::artifact::{self, EXECUTABLE, FOLDER, SYMLINK};
use crate::steps::unpack::{self, Cause};

/// What the artifact is called in the archive.
const TOP: &str = "artifact";
/// zstd's own default: a kernel takes a hundredth of a second.
const LEVEL: i32 = 3;
/// As a power of two: what `zstd` itself unpacks without being told otherwise. A larger window is memory for nothing.
const WINDOW: u32 = 27;

/// Writes the artifact at `from` to the file `to`, and says how many bytes that has before compression. The same artifact
/// gives the same bytes.
pub fn pack(from: &Utf8Path, to: &Utf8Path) -> Result<u64> {
    let context = || format!("failed to pack `{from}`");
    let encoder = zstd::Encoder::new(File::create(to).with_context(context)?, LEVEL).with_context(context)?;
    let mut archive = Builder::new(Counted { encoder, n_bytes: 0 });
    let top = Utf8Path::new(TOP);
    append(&mut archive, from, top).with_context(context)?;
    if artifact::kind(from)? == FOLDER {
        for entry in artifact::entries(from)? {
            append(&mut archive, &from.join(&entry.path), &top.join(&entry.path)).with_context(context)?;
        }
    }
    let Counted { encoder, n_bytes } = archive.into_inner().with_context(context)?;
    let mut file = encoder.finish().with_context(context)?;
    file.flush().with_context(context)?;
    Ok(n_bytes)
}

/// Counts what is compressed.
struct Counted<W> {
    encoder: W,
    n_bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.encoder.write(bytes)?;
        self.n_bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
    }
}

fn append(archive: &mut Builder<impl Write>, from: &Utf8Path, name: &Utf8Path) -> Result<()> {
    let kind = artifact::kind(from)?;
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    header.set_mode(if matches!(kind, FOLDER | EXECUTABLE) { 0o755 } else { 0o644 });
    header.set_size(0);
    match kind {
        FOLDER => {
            header.set_entry_type(EntryType::Directory);
            archive.append_data(&mut header, name, io::empty())?;
        }
        SYMLINK => {
            header.set_entry_type(EntryType::Symlink);
            archive.append_link(&mut header, name, from.read_link_utf8()?)?;
        }
        _ => {
            let file = File::open(from)?;
            header.set_size(file.metadata()?.len());
            archive.append_data(&mut header, name, file)?;
        }
    }
    Ok(())
}

/// Unpacks what [`pack`] made into the empty folder `folder`, and says where the artifact is then. `max_size` is in bytes,
/// for the archive as it is before compression.
pub fn unpack(packed: &Utf8Path, folder: &Utf8Path, max_size: u64) -> Result<Utf8PathBuf> {
    let (plain, tree) = (folder.join("tar"), folder.join("tree"));
    inflate(packed, &plain, max_size)?;
    // What it says of itself is of the temporary file; the cause is what counts, and whether it is the disk of the store.
    unpack::unpack_plain(&plain, &tree).map_err(|error| match error.cause {
        Cause::Write { path, cause } => anyhow::Error::from(cause).context(format!("failed to write `{path}`")),
        cause => cause.into(),
    })?;
    artifact::remove(&plain)?;
    let names: Vec<_> = tree.read_dir_utf8()?.flatten().map(|entry| entry.file_name().to_owned()).collect();
    // What is a link as a whole would be followed by whoever reads it.
    if names != [TOP] || tree.join(TOP).is_symlink() {
        bail!("it does not hold one file or folder `{TOP}`");
    }
    Ok(tree.join(TOP))
}

fn inflate(packed: &Utf8Path, to: &Utf8Path, max_size: u64) -> Result<()> {
    let mut decoder = zstd::Decoder::new(File::open(packed)?)?;
    decoder.window_log_max(WINDOW)?;
    let n_bytes = io::copy(&mut decoder.take(max_size + 1), &mut File::create(to)?).context("it is damaged")?;
    if n_bytes > max_size {
        bail!("it unpacks to more than {max_size} bytes");
    }
    Ok(())
}
