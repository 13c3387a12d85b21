//! Packs init, the program and init's configuration into a newc archive that the kernel unpacks at boot.
//!
//! Everything that two builds could differ in is fixed: the order is by name, times are zero, inode numbers count from one.
//! Format: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use anyhow::{Context, Result};
use camino::Utf8Path;
use cpio::newc::Builder;

use crate::image::{Compress, ExtraFile};
use crate::key::Fields;
use crate::overlay::{Node, Overlay};
use crate::steps::{FileInput, Job, Recipe};

/// The archive is padded to a multiple of this many bytes, as cpio(1) does; old loaders read in such blocks.
const BLOCK: u64 = 512;
/// File types of cpio's mode field, as in stat(2).
const TYPE: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
/// Major and minor number of /dev/console: the kernel's Documentation/admin-guide/devices.txt.
const CONSOLE: (u32, u32) = (5, 1);
/// zstd's highest ordinary level; the kernel's decoder takes its 8 MB window.
const ZSTD_LEVEL: i32 = 19;
/// The kernel's xz decoder knows CRC32 and no larger check; the dictionary costs it as much memory.
const XZ_DICTIONARY: u32 = 1 << 20;

/// Plans the archive: its inputs are `program` and, unless the program is PID 1 itself, `init`.
pub struct Initramfs {
    /// The program's path in the machine.
    pub program_path: String,
    /// Where init finds its configuration, and what it says; none when the program is PID 1 itself.
    pub config: Option<(String, String)>,
    /// What is packed beside them.
    pub files: Vec<Packed>,
    /// How the archive is compressed.
    pub compress: Compress,
    /// The versions of the libraries that compress; another one may give other bytes.
    pub compressors: String,
}

/// A file or folder of the user's.
pub struct Packed {
    /// Where it comes from.
    pub input: FileInput,
    /// Its path in the machine.
    pub path: String,
    /// Its mode, if that is not for its executable bit to say.
    pub mode: Option<u32>,
}

impl Recipe for Initramfs {
    fn name(&self) -> &'static str {
        "initramfs 2"
    }

    fn describe(&self, fields: &mut Fields) {
        fields.set("program path", &self.program_path);
        if let Some((path, text)) = &self.config {
            fields.set("init configuration", format!("{path}\n{text}"));
        }
        for file in &self.files {
            let mode = file.mode.map_or_else(|| "by its executable bit".to_owned(), |mode| format!("{mode:04o}"));
            fields.set(format!("mode.{}", file.input.name), mode);
        }
        fields.set("compress", format!("{:?}", self.compress));
        if self.compress != Compress::None {
            fields.set("compressors", &self.compressors);
        }
    }

    fn trees(&self) -> Vec<FileInput> {
        self.files.iter().map(|file| file.input.clone()).collect()
    }

    fn run(&self, job: &Job<'_>) -> Result<()> {
        let read = |path: &Utf8Path| std::fs::read(path).with_context(|| format!("failed to read `{path}`"));
        let mut entries = vec![Entry::folder("dev"), Entry::console()];
        entries.push(Entry::executable(&self.program_path, read(job.input("program")?)?));
        if let Some((path, text)) = &self.config {
            entries.push(Entry::executable("init", read(job.input("init")?)?));
            entries.push(Entry::file(path, text.clone().into_bytes()));
        }
        entries.extend(self.overlay(job)?);
        let file = File::create(job.out).with_context(|| format!("failed to write `{}`", job.out))?;
        write_compressed(BufWriter::new(file), with_parents(entries), self.compress)
            .context("failed to write the archive")
    }
}

impl Initramfs {
    /// The user's files, from the step's copies of them.
    fn overlay(&self, job: &Job<'_>) -> Result<Vec<Entry>> {
        let file = |packed: &Packed| ExtraFile {
            source: packed.input.name.clone(),
            path: packed.path.clone(),
            mode: packed.mode,
        };
        let files: Vec<ExtraFile> = self.files.iter().map(file).collect();
        let overlay = Overlay::read(&files, job.files, &self.program_path, &[])?;
        overlay.nodes().map(|(path, node)| Entry::of(path, node)).collect()
    }
}

/// One name in the archive.
struct Entry {
    name: String,
    mode: u32,
    device: (u32, u32),
    content: Vec<u8>,
}

impl Entry {
    fn folder(name: &str) -> Self {
        Self { name: name.to_owned(), mode: FOLDER | 0o755, device: (0, 0), content: Vec::new() }
    }

    fn file(path: &str, content: Vec<u8>) -> Self {
        Self { name: path.trim_start_matches('/').to_owned(), mode: REGULAR | 0o644, device: (0, 0), content }
    }

    fn of(path: &str, node: &Node) -> Result<Self> {
        Ok(match node {
            Node::Folder => Self::folder(path.trim_start_matches('/')),
            Node::Link(target) => Self { mode: SYMLINK | 0o777, ..Self::file(path, target.clone().into_bytes()) },
            Node::File { from, mode } => {
                let content = std::fs::read(from).with_context(|| format!("failed to read `{from}`"))?;
                Self { mode: REGULAR | mode, ..Self::file(path, content) }
            }
        })
    }

    fn executable(path: &str, content: Vec<u8>) -> Self {
        Self { mode: REGULAR | 0o755, ..Self::file(path, content) }
    }

    /// The kernel opens /dev/console as PID 1's standard streams before anything is mounted.
    fn console() -> Self {
        Self { name: "dev/console".to_owned(), mode: CHARACTER_DEVICE | 0o600, device: CONSOLE, content: Vec::new() }
    }
}

/// Adds the folders that the entries lie in, and sorts all by name; a folder sorts before what it holds.
fn with_parents(mut entries: Vec<Entry>) -> Vec<Entry> {
    let ancestors = |entry: &Entry| -> Vec<String> {
        let parents = Utf8Path::new(&entry.name).ancestors().skip(1);
        parents.filter(|folder| !folder.as_str().is_empty()).map(ToString::to_string).collect()
    };
    let parents: Vec<_> = entries.iter().flat_map(ancestors).collect();
    entries.extend(parents.iter().map(|name| Entry::folder(name)));
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries.dedup_by(|a, b| a.name == b.name);
    entries
}

fn write_compressed(file: impl Write, entries: Vec<Entry>, compress: Compress) -> io::Result<()> {
    match compress {
        Compress::None => write_archive(file, entries)?.flush(),
        // The default header holds no time and no name.
        Compress::Gzip => {
            write_archive(flate2::write::GzEncoder::new(file, flate2::Compression::best()), entries)?.finish()?.flush()
        }
        Compress::Zstd => write_archive(zstd::Encoder::new(file, ZSTD_LEVEL)?, entries)?.finish()?.flush(),
        Compress::Xz => {
            write_archive(liblzma::write::XzEncoder::new_stream(file, xz_stream()?), entries)?.finish()?.flush()
        }
    }
}

fn xz_stream() -> io::Result<liblzma::stream::Stream> {
    use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
    let mut options = LzmaOptions::new_preset(9)?;
    options.dict_size(XZ_DICTIONARY);
    let mut filters = Filters::new();
    filters.lzma2(&options);
    Ok(Stream::new_stream_encoder(&filters, Check::Crc32)?)
}

/// Counts what went through, so that the archive can be padded.
struct Counter<W> {
    inner: W,
    n_bytes: u64,
}

impl<W: Write> Write for Counter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n_bytes = self.inner.write(bytes)?;
        self.n_bytes += n_bytes as u64;
        Ok(n_bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn write_archive<W: Write>(writer: W, entries: Vec<Entry>) -> io::Result<W> {
    let mut counter = Counter { inner: writer, n_bytes: 0 };
    for (index, entry) in entries.into_iter().enumerate() {
        let inode = u32::try_from(index + 1).map_err(io::Error::other)?;
        counter = write_entry(counter, entry, inode)?;
    }
    let mut counter = cpio::newc::trailer(counter)?;
    let n_padding = counter.n_bytes.next_multiple_of(BLOCK) - counter.n_bytes;
    io::copy(&mut io::Read::take(io::repeat(0), n_padding), &mut counter)?;
    Ok(counter.inner)
}

fn write_entry<W: Write>(writer: W, entry: Entry, inode: u32) -> io::Result<W> {
    let size = u32::try_from(entry.content.len())
        .map_err(|_| io::Error::other(format!("`{}` is larger than 4 GB, newc's limit", entry.name)))?;
    let is_folder = entry.mode & TYPE == FOLDER;
    let builder = Builder::new(&entry.name)
        .ino(inode)
        .mode(entry.mode)
        .nlink(if is_folder { 2 } else { 1 })
        .rdev_major(entry.device.0)
        .rdev_minor(entry.device.1);
    let mut writer = builder.write(writer, size);
    // `finish` accepts a short entry and writes a corrupt archive; `write_all` of exactly `size` bytes rules that out.
    writer.write_all(&entry.content)?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(compress: Compress) -> Vec<u8> {
        let mut bytes = Vec::new();
        let entries = vec![
            Entry::executable("/init", b"I".to_vec()),
            Entry::file("/etc/a/b", b"text".to_vec()),
            Entry::console(),
        ];
        write_compressed(&mut bytes, with_parents(entries), compress).unwrap();
        bytes
    }

    fn names(mut bytes: &[u8]) -> Vec<(String, u32, u32, u32)> {
        let mut names = Vec::new();
        loop {
            let reader = cpio::NewcReader::new(bytes).unwrap();
            let entry = reader.entry();
            if entry.is_trailer() {
                return names;
            }
            names.push((entry.name().to_owned(), entry.mode(), entry.ino(), entry.mtime()));
            bytes = reader.finish().unwrap();
        }
    }

    #[test]
    fn the_archive_is_sorted_numbered_and_timeless() {
        let found = names(&archive(Compress::None));
        let expect = [
            ("dev", FOLDER | 0o755),
            ("dev/console", CHARACTER_DEVICE | 0o600),
            ("etc", FOLDER | 0o755),
            ("etc/a", FOLDER | 0o755),
            ("etc/a/b", REGULAR | 0o644),
            ("init", REGULAR | 0o755),
        ];
        let expect: Vec<_> =
            expect.iter().zip(1..).map(|((name, mode), inode)| ((*name).to_owned(), *mode, inode, 0)).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn what_the_user_brings_keeps_its_kind_and_mode() {
        let folder = tempfile::tempdir().unwrap();
        let source = camino::Utf8PathBuf::try_from(folder.path().to_owned()).unwrap();
        std::fs::create_dir_all(source.join("empty")).unwrap();
        std::fs::write(source.join("secret"), "s").unwrap();
        std::os::unix::fs::symlink("secret", source.join("link")).unwrap();
        let file = ExtraFile { source, path: "/srv".to_owned(), mode: Some(0o600) };
        let overlay = Overlay::read(&[file], Utf8Path::new("/"), "/bin/x", &[]).unwrap();
        let entries = overlay.nodes().map(|(path, node)| Entry::of(path, node)).collect::<Result<_>>().unwrap();
        let bytes = write_archive(Vec::new(), with_parents(entries)).unwrap();
        let found: Vec<_> = names(&bytes).into_iter().map(|(name, mode, ..)| (name, mode)).collect();
        let expect = [
            ("srv", FOLDER | 0o755),
            ("srv/empty", FOLDER | 0o755),
            ("srv/link", SYMLINK | 0o777),
            ("srv/secret", REGULAR | 0o600),
        ];
        assert_eq!(found, expect.map(|(name, mode)| (name.to_owned(), mode)));
    }

    #[test]
    fn the_archive_is_padded_to_blocks() {
        assert_eq!(archive(Compress::None).len() as u64 % BLOCK, 0);
    }

    #[test]
    fn compressed_archives_hold_the_same_bytes() {
        use std::io::Read;
        let plain = archive(Compress::None);
        let unpack = |mut reader: Box<dyn Read>| {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(unpack(Box::new(flate2::read::GzDecoder::new(io::Cursor::new(archive(Compress::Gzip))))), plain);
        assert_eq!(unpack(Box::new(liblzma::read::XzDecoder::new(io::Cursor::new(archive(Compress::Xz))))), plain);
        assert_eq!(zstd::decode_all(io::Cursor::new(archive(Compress::Zstd))).unwrap(), plain);
    }
}
