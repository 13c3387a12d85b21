//! Unpacks a pinned archive into a folder: the same archive gives the same tree, whatever machine it is.
//!
//! Archives are told apart by their first bytes, never by their name: tar, tar.gz, tar.xz, and a Debian package around one of them.
//! A hash says which archive it is, not that it is kind. So an entry that could reach outside the folder is refused by name, and nothing
//! in here follows a link. What comes out is files (0644 or 0755), folders (0755) and symbolic links of the current user; times are
//! left to the engine. This room must never write outside `out`, and never call half an archive a success.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use camino::{Utf8Path, Utf8PathBuf};
use flate2::bufread::MultiGzDecoder;
use globset::{Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use liblzma::bufread::XzDecoder;
use liblzma::stream::MtStreamBuilder;
use object::read::ReadCache;
use object::read::archive::ArchiveFile;
use tar::EntryType;

/// Which part of an archive to take.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// A glob for the folder in the archive that becomes `out`, from the archive's top: `*`, `linux-6.12.107`, `usr/src/*/library`,
    /// `{usr/src/*,*/*/lib/rustlib/src/rust}/library`. `*` stays within one name, `**` does not; the shortest match counts, and it has
    /// to be the only one. Empty: the whole archive.
    pub root: &'a str,
    /// Globs of files, or of folders with all that is in them, relative to the root: `drivers/video/fbdev/nvidia/`,
    /// `backtrace/**/Cargo.toml`. One that matches nothing is no error, since sources of the same thing differ.
    pub leave_out: &'a [String],
    /// Globs of what is taken, likewise; everything, if there are none. What `leave_out` names is not taken all the same.
    pub keep: &'a [String],
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Regular files, hard links among them.
    pub n_files: u64,
    /// Their bytes.
    pub n_bytes: u64,
}

/// Why an archive was not unpacked. What is in `out` by then is of no use to anybody.
#[derive(Debug, thiserror::Error)]
#[error("failed to unpack `{archive}`: {cause}")]
pub struct UnpackError {
    /// The archive.
    pub archive: Utf8PathBuf,
    /// What went wrong.
    pub cause: Cause,
}

/// What can go wrong with an archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// It cannot be opened or read.
    #[error("{0}")]
    Read(io::Error),
    /// Its first bytes are those of no format known here.
    #[error(
        "it is neither a tar archive (plain, gzip or xz) nor a Debian package\nhint: look at it with `file`; a web page saved under its name is the usual reason"
    )]
    UnknownFormat,
    /// A format known by name only.
    #[error(
        "it is compressed with zstd, which is not supported\nhint: pin a source that is compressed with xz or gzip"
    )]
    Zstd,
    /// An `ar` archive that is no Debian package.
    #[error(
        "it is an `ar` archive without a `data.tar` member, so it is no Debian package\nhint: correct its source in vendor/sources.toml"
    )]
    NoData,
    /// It ends too early, or its content contradicts itself.
    #[error("it is damaged: {0}\nhint: delete it, then it is fetched again")]
    Damaged(String),
    /// An entry that an honest source archive has no need for.
    #[error(
        "refused entry `{entry}`: {rule}\nhint: check where the archive came from; if it is to be trusted, leave the entry out"
    )]
    Refused {
        /// Its name in the archive.
        entry: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// The root matches no folder.
    #[error("no folder in it matches the root `{root}`\n  at its top: {top}\nhint: correct the root of this input")]
    NoRoot {
        /// The pattern.
        root: String,
        /// The names at the top level.
        top: String,
    },
    /// The root matches more than one folder.
    #[error("the root `{root}` matches both `{first}` and `{second}`\nhint: make the root more exact")]
    TwoRoots {
        /// The pattern.
        root: String,
        /// The folder found first.
        first: String,
        /// The folder found after it.
        second: String,
    },
    /// A glob that cannot be read.
    #[error("failed to read the pattern `{pattern}`: {cause}\nhint: the syntax is that of the crate globset")]
    Pattern {
        /// The glob.
        pattern: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The folder to write to holds something already.
    #[error("`{0}` is not empty\nhint: unpack into a folder of its own")]
    NotEmpty(Utf8PathBuf),
    /// The disk did not take it.
    #[error("failed to write `{path}`: {cause}\nhint: check the free space and the permissions of the disk it is on")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// Unpacks the selected part of `archive` into `out`, which is made if need be and has to be empty.
///
/// `progress` gets the compressed bytes read so far and all there are. After an error `out` may be half filled: the caller deletes it.
pub fn unpack(
    archive: &Utf8Path,
    selection: &Selection,
    out: &Utf8Path,
    progress: &dyn Fn(u64, u64),
) -> Result<Unpacked, UnpackError> {
    unpack_inner(archive, selection, out, progress).map_err(|cause| UnpackError { archive: archive.to_owned(), cause })
}

fn unpack_inner(
    archive: &Utf8Path,
    selection: &Selection,
    out: &Utf8Path,
    progress: &dyn Fn(u64, u64),
) -> Result<Unpacked, Cause> {
    let filter = Filter::new(selection)?;
    let payload = Payload::find(File::open(archive).map_err(Cause::Read)?)?;
    prepare(out)?;
    let n_read = Arc::new(AtomicU64::new(0));
    let total = payload.length;
    let decoder = payload.decoder(n_read.clone()).map_err(Cause::Read)?;
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(N_CHUNKS_AHEAD);
        scope.spawn(move || pump(decoder, &sender));
        let report = || progress(n_read.load(Ordering::Relaxed), total);
        let mut stream =
            Stream { receiver, chunk: Vec::new(), position: 0, at_end: false, failure: None, report: &report };
        let unpacked = read_entries(&mut stream, filter, out).and_then(|unpacked| stream.finish().map(|()| unpacked));
        // A decoder that failed is the reason of whatever the reader of entries says then.
        stream.failure.take().map_or(unpacked, |failure| Err(Cause::Damaged(failure)))
    })
}

fn prepare(out: &Utf8Path) -> Result<(), Cause> {
    fs::create_dir_all(out).map_err(write_failed(out))?;
    match fs::read_dir(out).map_err(write_failed(out))?.next() {
        Some(_) => Err(Cause::NotEmpty(out.to_owned())),
        None => Ok(()),
    }
}

fn read_entries(stream: &mut Stream, mut filter: Filter, out: &Utf8Path) -> Result<Unpacked, Cause> {
    let mut tree = Tree { out, nodes: HashMap::new(), buffer: vec![0; COPY_SIZE], unpacked: Unpacked::default() };
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        if entry.header().entry_type() == EntryType::XGlobalHeader {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        tree.add(&mut entry, &mut filter).map_err(|fault| fault.of_entry(name))?;
    }
    filter.require_root()?;
    Ok(tree.unpacked)
}

/// What a single entry fails with, before its name is put to it.
enum Fault {
    Rule(&'static str),
    Other(Cause),
}

impl Fault {
    fn of_entry(self, entry: String) -> Cause {
        match self {
            Fault::Rule(rule) => Cause::Refused { entry, rule },
            Fault::Other(cause) => cause,
        }
    }
}

impl From<Cause> for Fault {
    fn from(cause: Cause) -> Self {
        Fault::Other(cause)
    }
}

fn damaged(error: io::Error) -> Cause {
    Cause::Damaged(error.to_string())
}

fn write_failed(path: &Utf8Path) -> impl FnOnce(io::Error) -> Cause {
    let path = path.to_owned();
    |cause| Cause::Write { path, cause }
}

/// Maps names in the archive to paths under `out`.
struct Filter {
    pattern: String,
    root: GlobMatcher,
    /// The one folder that matched.
    found: Option<String>,
    leave_out: GlobSet,
    keep: GlobSet,
    /// Names at the archive's top, for the message when nothing matched.
    top: BTreeSet<String>,
}

/// Names at the top are there to show what the archive is; a flat archive may have thousands.
const N_TOP_NAMES: usize = 12;

impl Filter {
    fn new(selection: &Selection) -> Result<Filter, Cause> {
        let pattern = selection.root.trim_end_matches('/').to_owned();
        let leave_out = glob_set("leave_out", selection.leave_out)?;
        let keep = glob_set("keep", selection.keep)?;
        let found = pattern.is_empty().then(String::new);
        Ok(Filter { root: glob(&pattern)?.compile_matcher(), pattern, found, leave_out, keep, top: BTreeSet::new() })
    }

    /// The path of `name` below the root; `None` if it is not to be unpacked.
    fn place<'n>(&mut self, name: &'n str, is_folder: bool) -> Result<Option<&'n str>, Cause> {
        let path = self.below_root(name, is_folder)?;
        Ok(path.filter(|path| self.is_wanted(path)))
    }

    fn is_wanted(&self, path: &str) -> bool {
        let names = |globs: &GlobSet| folders(path).chain([path]).any(|part| globs.is_match(part));
        (self.keep.is_empty() || names(&self.keep)) && !names(&self.leave_out)
    }

    fn below_root<'n>(&mut self, name: &'n str, is_folder: bool) -> Result<Option<&'n str>, Cause> {
        if let Some(path) = self.found.as_deref().and_then(|root| below(root, name)) {
            return Ok(Some(path));
        }
        if self.top.len() < N_TOP_NAMES && !name.is_empty() {
            self.top.insert(name.split('/').next().unwrap_or_default().to_owned());
        }
        let itself = is_folder.then_some(name);
        let Some(root) = folders(name).chain(itself).find(|folder| self.root.is_match(folder)) else {
            return Ok(None);
        };
        match self.found.replace(root.to_owned()) {
            None => Ok(below(root, name)),
            Some(first) => Err(Cause::TwoRoots { root: self.pattern.clone(), first, second: root.to_owned() }),
        }
    }

    fn require_root(self) -> Result<(), Cause> {
        let Filter { pattern: root, found, top, .. } = self;
        let top = Vec::from_iter(top).join(", ");
        found.map(drop).ok_or(Cause::NoRoot { root, top })
    }
}

fn glob_set(name: &str, patterns: &[String]) -> Result<GlobSet, Cause> {
    let mut globs = GlobSetBuilder::new();
    for pattern in patterns {
        globs.add(glob(pattern)?);
    }
    globs.build().map_err(|error| bad_pattern(name, &error))
}

fn glob(pattern: &str) -> Result<Glob, Cause> {
    let builder =
        GlobBuilder::new(pattern.trim_end_matches('/')).literal_separator(true).backslash_escape(true).build();
    builder.map_err(|error| bad_pattern(pattern, &error))
}

fn bad_pattern(pattern: &str, error: &globset::Error) -> Cause {
    Cause::Pattern { pattern: pattern.to_owned(), cause: error.kind().to_string() }
}

/// The path of `name` in the folder `root`: empty for the folder itself.
fn below<'n>(root: &str, name: &'n str) -> Option<&'n str> {
    let rest = name.strip_prefix(root)?;
    if root.is_empty() || rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// The folders a path leads through, outermost first: `a/b/c` gives `a`, `a/b`.
fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}

/// A path as the archive spells it, without `.` and doubled slashes. Empty for the archive's own top folder.
fn clean(name: &[u8]) -> Result<String, Fault> {
    let name = str::from_utf8(name).map_err(|_| Fault::Rule("its name is not UTF-8"))?;
    if name.starts_with('/') {
        return Err(Fault::Rule("its path is absolute"));
    }
    let parts = Vec::from_iter(name.split('/').filter(|part| !part.is_empty() && *part != "."));
    if parts.contains(&"..") {
        return Err(Fault::Rule("its path has a `..` in it"));
    }
    Ok(parts.join("/"))
}

/// What was put at a path, so that a later entry can be judged without asking the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File,
    Link,
}

/// The tree as unpacked so far. Everything in `out` was made here, so `nodes` knows it all.
struct Tree<'a> {
    out: &'a Utf8Path,
    nodes: HashMap<String, Node>,
    buffer: Vec<u8>,
    unpacked: Unpacked,
}

/// One write takes the whole of nearly every source file.
const COPY_SIZE: usize = 256 * 1024;

impl Tree<'_> {
    fn add(&mut self, entry: &mut tar::Entry<impl Read>, filter: &mut Filter) -> Result<(), Fault> {
        let kind = entry.header().entry_type();
        let name = clean(&entry.path_bytes())?;
        // Before ustar, a folder was an empty file whose name ends with a slash.
        let is_folder = kind.is_dir() || (kind.is_file() && entry.size() == 0 && entry.path_bytes().ends_with(b"/"));
        let Some(path) = filter.place(&name, is_folder)? else {
            return Ok(());
        };
        if is_folder {
            return self.add_folder(path);
        }
        self.make_way(path)?;
        match kind {
            EntryType::Regular | EntryType::Continuous => self.add_file(path, entry),
            EntryType::Symlink => self.add_link(path, &link_target(entry)?),
            EntryType::Link => self.add_copy(path, &link_target(entry)?, filter),
            EntryType::GNUSparse => Err(Fault::Rule("it is a sparse file")),
            EntryType::Char | EntryType::Block => Err(Fault::Rule("it is a device")),
            EntryType::Fifo => Err(Fault::Rule("it is a named pipe")),
            _ => Err(Fault::Rule("it is neither a file nor a folder nor a link")),
        }
    }

    /// Checks that `path` is free, and makes the folders it is in.
    fn make_way(&mut self, path: &str) -> Result<(), Fault> {
        match self.nodes.get(path) {
            _ if path.is_empty() => return Err(Fault::Rule("it would replace the root")),
            Some(_) => return Err(Fault::Rule("an earlier entry has the same path")),
            None => {}
        }
        let parent = path.rfind('/').map_or("", |end| &path[..end]);
        self.add_folder(parent)
    }

    fn add_folder(&mut self, path: &str) -> Result<(), Fault> {
        // A folder that is known has known folders above it.
        if path.is_empty() || self.nodes.get(path) == Some(&Node::Folder) {
            return Ok(());
        }
        for folder in folders(path).chain([path]) {
            match self.nodes.get(folder) {
                Some(Node::Folder) => {}
                Some(Node::Link) => {
                    return Err(Fault::Rule("its path leads through a symbolic link"));
                }
                Some(Node::File) => return Err(Fault::Rule("its path leads through a file")),
                None => self.make_folder(folder)?,
            }
        }
        Ok(())
    }

    fn make_folder(&mut self, path: &str) -> Result<(), Cause> {
        let full = self.out.join(path);
        let made = fs::DirBuilder::new().mode(0o755).create(&full);
        // The umask may have taken bits away.
        made.and_then(|()| fs::set_permissions(&full, Permissions::from_mode(0o755))).map_err(write_failed(&full))?;
        self.nodes.insert(path.to_owned(), Node::Folder);
        Ok(())
    }

    fn add_file(&mut self, path: &str, entry: &mut tar::Entry<impl Read>) -> Result<(), Fault> {
        refuse_sparse(entry)?;
        let is_executable = entry.header().mode().map_err(damaged)? & 0o100 != 0;
        let mode = if is_executable { 0o755 } else { 0o644 };
        let full = self.out.join(path);
        let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&full);
        let mut file = opened.map_err(write_failed(&full))?;
        let n_bytes = entry.size();
        self.copy(entry, &mut file, &full, n_bytes)?;
        file.set_permissions(Permissions::from_mode(mode)).map_err(write_failed(&full))?;
        self.added(path, Node::File, n_bytes);
        Ok(())
    }

    fn copy(&mut self, from: &mut impl Read, to: &mut File, path: &Utf8Path, n_bytes: u64) -> Result<(), Cause> {
        let mut n_left = n_bytes;
        while n_left > 0 {
            let n = from.read(&mut self.buffer).map_err(damaged)?;
            if n == 0 {
                return Err(Cause::Damaged(format!("it ends within `{path}`")));
            }
            to.write_all(&self.buffer[..n]).map_err(write_failed(path))?;
            n_left = n_left.saturating_sub(n as u64);
        }
        Ok(())
    }

    fn add_link(&mut self, path: &str, target: &[u8]) -> Result<(), Fault> {
        let target = str::from_utf8(target).map_err(|_| Fault::Rule("its target is not UTF-8"))?;
        check_target(path, target)?;
        let full = self.out.join(path);
        symlink(target, &full).map_err(write_failed(&full))?;
        self.nodes.insert(path.to_owned(), Node::Link);
        Ok(())
    }

    /// A hard link becomes a file of its own, so that no tool can change two files by writing to one.
    fn add_copy(&mut self, path: &str, target: &[u8], filter: &mut Filter) -> Result<(), Fault> {
        let target = clean(target)?;
        let target =
            filter.place(&target, false)?.ok_or(Fault::Rule("it is a hard link to a file that is left out"))?;
        if self.nodes.get(target) != Some(&Node::File) {
            return Err(Fault::Rule("it is a hard link to what is no earlier file"));
        }
        let full = self.out.join(path);
        let n_bytes = fs::copy(self.out.join(target), &full).map_err(write_failed(&full))?;
        self.added(path, Node::File, n_bytes);
        Ok(())
    }

    fn added(&mut self, path: &str, node: Node, n_bytes: u64) {
        self.nodes.insert(path.to_owned(), node);
        self.unpacked.n_files += 1;
        self.unpacked.n_bytes += n_bytes;
    }
}

fn link_target(entry: &tar::Entry<impl Read>) -> Result<Vec<u8>, Fault> {
    let target = entry.link_name_bytes().filter(|target| !target.is_empty());
    target.map(|target| target.into_owned()).ok_or(Fault::Rule("it is a link without a target"))
}

/// A target may climb at its start only, and no higher than the root. What follows goes down through names, each a folder or a link
/// for which the same holds; so no chain of links leaves the root, in whatever order they are made.
fn check_target(path: &str, target: &str) -> Result<(), Fault> {
    if target.starts_with('/') {
        return Err(Fault::Rule("its target is absolute"));
    }
    let mut parts = target.split('/').filter(|part| !part.is_empty() && *part != ".").peekable();
    let mut n_up = 0;
    while parts.next_if(|part| *part == "..").is_some() {
        n_up += 1;
    }
    if n_up > folders(path).count() {
        return Err(Fault::Rule("its target is outside the root"));
    }
    if parts.any(|part| part == "..") {
        return Err(Fault::Rule("its target has a `..` after a name"));
    }
    Ok(())
}

/// The newer way to store a sparse file hides it in an ordinary one, whose content would then be a list of holes.
fn refuse_sparse(entry: &mut tar::Entry<impl Read>) -> Result<(), Fault> {
    let Some(mut extensions) = entry.pax_extensions().map_err(damaged)? else {
        return Ok(());
    };
    match extensions.any(|extension| extension.is_ok_and(|one| one.key_bytes().starts_with(b"GNU.sparse."))) {
        true => Err(Fault::Rule("it is a sparse file")),
        false => Ok(()),
    }
}

/// Compressed tar data within a file.
struct Payload {
    file: File,
    offset: u64,
    length: u64,
    codec: Codec,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    Plain,
    Gzip,
    Xz,
}

/// As far as the magic of tar, which has five bytes at 257 (POSIX.1-1988, ustar).
const MAGIC_LENGTH: u64 = 262;

impl Payload {
    fn find(mut file: File) -> Result<Payload, Cause> {
        let (mut offset, mut length) = (0, file.metadata().map_err(Cause::Read)?.len());
        let mut magic = read_magic(&mut file, offset, length)?;
        if magic.starts_with(b"!<arch>\n") {
            (offset, length) = debian_data(&file)?;
            magic = read_magic(&mut file, offset, length)?;
        }
        Ok(Payload { codec: codec(&magic)?, file, offset, length })
    }

    fn decoder(mut self, n_read: Arc<AtomicU64>) -> io::Result<Box<dyn Read + Send>> {
        self.file.seek(SeekFrom::Start(self.offset))?;
        let input = BufReader::with_capacity(READ_SIZE, Counted { inner: self.file.take(self.length), n_read });
        Ok(match self.codec {
            Codec::Plain => Box::new(input),
            Codec::Gzip => Box::new(MultiGzDecoder::new(input)),
            Codec::Xz => Box::new(XzStreams { current: Some(xz_decoder(input)?) }),
        })
    }
}

const READ_SIZE: usize = 256 * 1024;

fn read_magic(file: &mut File, offset: u64, length: u64) -> Result<Vec<u8>, Cause> {
    let mut magic = Vec::new();
    file.seek(SeekFrom::Start(offset)).map_err(Cause::Read)?;
    file.take(length.min(MAGIC_LENGTH)).read_to_end(&mut magic).map_err(Cause::Read)?;
    Ok(magic)
}

fn codec(magic: &[u8]) -> Result<Codec, Cause> {
    match magic {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(Codec::Xz),
        [0x1f, 0x8b, ..] => Ok(Codec::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(Cause::Zstd),
        _ if magic.ends_with(b"ustar") => Ok(Codec::Plain),
        _ => Err(Cause::UnknownFormat),
    }
}

/// Offset and length of a Debian package's file tree (deb(5)).
fn debian_data(file: &File) -> Result<(u64, u64), Cause> {
    let cache = ReadCache::new(file);
    let package = ArchiveFile::parse(&cache).map_err(|error| Cause::Damaged(error.to_string()))?;
    for member in package.members() {
        let member = member.map_err(|error| Cause::Damaged(error.to_string()))?;
        if member.name().starts_with(b"data.tar") {
            return Ok(member.file_range());
        }
    }
    Err(Cause::NoData)
}

/// Blocks are decoded apart where the archive has several (each of 24 MiB in what `xz -6 -T` makes); more threads cost memory only.
const N_XZ_THREADS: u32 = 2;
/// In bytes. An archive whose blocks need more is decoded by one thread.
const XZ_MEMORY: u64 = 256 << 20;

fn xz_decoder<R: BufRead>(input: R) -> io::Result<XzDecoder<R>> {
    let stream =
        MtStreamBuilder::new().threads(N_XZ_THREADS).memlimit_threading(XZ_MEMORY).memlimit_stop(u64::MAX).decoder()?;
    Ok(XzDecoder::new_stream(input, stream))
}

/// All streams of an xz file, one after the other: the parallel decoder stops after the first.
struct XzStreams<R: BufRead> {
    current: Option<XzDecoder<R>>,
}

impl<R: BufRead> Read for XzStreams<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.current {
            let n = decoder.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            self.current = match self.current.take() {
                Some(ended) => next_xz_stream(ended.into_inner())?,
                None => None,
            };
        }
        Ok(0)
    }
}

/// Zeros between streams are padding (the .xz file format, 2.2).
fn next_xz_stream<R: BufRead>(mut input: R) -> io::Result<Option<XzDecoder<R>>> {
    loop {
        let ahead = input.fill_buf()?;
        match ahead.iter().take_while(|byte| **byte == 0).count() {
            0 if ahead.is_empty() => return Ok(None),
            0 => return xz_decoder(input).map(Some),
            n_zeros => input.consume(n_zeros),
        }
    }
}

/// Tells the other thread how far the compressed file is read.
struct Counted<R> {
    inner: R,
    n_read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.n_read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// In bytes: large enough that handing over costs nothing, small enough for the cache.
const CHUNK_SIZE: u64 = 512 * 1024;
/// Evens out a writer that has to wait for the disk.
const N_CHUNKS_AHEAD: usize = 16;

/// The decoding thread. It ends with the data, with an error, or when nobody listens any more.
fn pump(mut decoder: Box<dyn Read + Send>, sender: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_SIZE as usize);
        let read = decoder.by_ref().take(CHUNK_SIZE).read_to_end(&mut chunk);
        let is_last = !matches!(read, Ok(n) if n > 0);
        if matches!(read, Ok(0)) || sender.send(read.map(|_| chunk)).is_err() || is_last {
            return;
        }
    }
}

/// The decoded tar data, as the writing thread reads it.
struct Stream<'a> {
    receiver: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    position: usize,
    at_end: bool,
    /// What the decoder failed with.
    failure: Option<String>,
    report: &'a dyn Fn(),
}

impl Stream<'_> {
    /// Reads what is behind the last entry, so that every checksum is checked and nothing hides there.
    fn finish(&mut self) -> Result<(), Cause> {
        if self.at_end {
            return Err(Cause::Damaged("it ends without the mark that ends an archive".to_owned()));
        }
        let mut rest = [0; 4096];
        loop {
            match self.read(&mut rest).map_err(damaged)? {
                0 => return Ok(()),
                n if rest[..n].iter().any(|byte| *byte != 0) => break,
                _ => {}
            }
        }
        Err(Cause::Damaged("there is something behind its end".to_owned()))
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.chunk.len() && !self.at_end {
            (self.position, self.chunk) = (0, Vec::new());
            match self.receiver.recv() {
                Ok(Ok(chunk)) => self.chunk = chunk,
                Ok(Err(error)) => {
                    self.failure = Some(error.to_string());
                    return Err(error);
                }
                Err(_) => self.at_end = true,
            }
            (self.report)();
        }
        let n = (&self.chunk[self.position..]).read(buffer)?;
        self.position += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One entry as it stands in an archive, hostile or not.
    #[derive(Clone, Debug, Default)]
    struct Raw {
        kind: u8,
        name: Vec<u8>,
        link: Vec<u8>,
        mode: u32,
        data: Vec<u8>,
        /// What the header says, if it lies.
        size: Option<u64>,
    }

    impl Raw {
        fn header(&self) -> tar::Header {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(EntryType::new(self.kind));
            header.set_mode(self.mode);
            header.set_size(self.size.unwrap_or(self.data.len() as u64));
            header
        }

        fn bytes(&self) -> Vec<u8> {
            let mut header = self.header();
            let old = header.as_old_mut();
            old.name[..self.name.len()].copy_from_slice(&self.name);
            old.linkname[..self.link.len()].copy_from_slice(&self.link);
            header.set_cksum();
            let mut bytes = [header.as_bytes().as_slice(), &self.data].concat();
            bytes.resize(bytes.len().next_multiple_of(512), 0);
            bytes
        }
    }

    fn raw(kind: u8, name: impl AsRef<[u8]>, link: impl AsRef<[u8]>) -> Raw {
        let (name, link) = (name.as_ref().to_vec(), link.as_ref().to_vec());
        Raw { kind, name, link, mode: 0o600, ..Raw::default() }
    }

    fn file(name: &str, data: &str) -> Raw {
        Raw { data: data.into(), ..raw(b'0', name, "") }
    }

    fn folder(name: &str) -> Raw {
        raw(b'5', name, "")
    }

    fn link(name: &str, target: &str) -> Raw {
        raw(b'2', name, target)
    }

    fn hard_link(name: &str, target: &str) -> Raw {
        raw(b'1', name, target)
    }

    fn tar_of(entries: &[Raw]) -> Vec<u8> {
        let mut bytes: Vec<u8> = entries.iter().flat_map(Raw::bytes).collect();
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn deb(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = b"!<arch>\n".to_vec();
        for (name, data) in members {
            writeln!(bytes, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100644, data.len()).unwrap();
            bytes.extend_from_slice(data);
            bytes.resize(bytes.len().next_multiple_of(2), b'\n');
        }
        bytes
    }

    fn package(data_name: &str, data: &[u8]) -> Vec<u8> {
        deb(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar.xz", &xz(&tar_of(&[file("./control", "x")]))),
            (data_name, data),
        ])
    }

    /// A folder with an archive, a place to unpack to, and a neighbour that nothing may touch.
    struct Desk {
        _guard: tempfile::TempDir,
        path: Utf8PathBuf,
    }

    impl Desk {
        fn new() -> Desk {
            let guard = tempfile::tempdir().unwrap();
            let path = Utf8Path::from_path(guard.path()).unwrap().canonicalize_utf8().unwrap();
            fs::create_dir(path.join("neighbour")).unwrap();
            fs::write(path.join("neighbour/file"), "mine").unwrap();
            Desk { _guard: guard, path }
        }

        fn unpack(&self, archive: &[u8], root: &str, leave_out: &[String]) -> Result<Unpacked, UnpackError> {
            let path = self.path.join("archive");
            fs::write(&path, archive).unwrap();
            unpack(&path, &Selection { root, leave_out, keep: &[] }, &self.path.join("out"), &|_, _| {})
        }

        fn listing(&self) -> Vec<String> {
            let mut lines = Vec::new();
            list(&self.path.join("out"), "", &mut lines);
            lines
        }

        /// The neighbours are as they were, and no link in `out` leads to them.
        fn is_intact(&self) -> bool {
            let mut lines = Vec::new();
            list(&self.path, "", &mut lines);
            lines.retain(|line| !["d 755 out", "f 644 archive="].iter().any(|own| line.contains(own)));
            let out = self.path.join("out");
            let links = lines.iter().filter_map(|line| line.strip_prefix("l ")?.split_once(" -> "));
            let leads_out = |path: &str| self.path.join(path).canonicalize_utf8().is_ok_and(|to| !to.starts_with(&out));
            !links.clone().any(|(path, _)| leads_out(path))
                && Vec::from_iter(lines.iter().filter(|line| !line[2..].contains("out/")))
                    == ["d 755 neighbour", "f 644 neighbour/file=mine"]
        }
    }

    /// `d mode path`, `f mode path=content`, `l path -> target`; sorted.
    fn list(base: &Utf8Path, path: &str, lines: &mut Vec<String>) {
        let mut names: Vec<String> = base
            .join(path)
            .read_dir_utf8()
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().to_owned())
            .collect();
        names.sort();
        for name in names {
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            let full = base.join(&path);
            let metadata = full.symlink_metadata().unwrap();
            let mode = metadata.permissions().mode() & 0o7777;
            if metadata.is_symlink() {
                lines.push(format!("l {path} -> {}", full.read_link_utf8().unwrap()));
            } else if metadata.is_dir() {
                lines.push(format!("d {mode:o} {path}"));
                list(base, &path, lines);
            } else {
                lines.push(format!("f {mode:o} {path}={}", String::from_utf8_lossy(&fs::read(&full).unwrap())));
            }
        }
    }

    #[track_caller]
    fn check(entries: &[Raw], root: &str, leave_out: &[&str], expect: &[&str]) {
        let desk = Desk::new();
        let leave_out = Vec::from_iter(leave_out.iter().map(|pattern| pattern.to_string()));
        desk.unpack(&tar_of(entries), root, &leave_out).unwrap();
        assert_eq!(desk.listing(), expect);
    }

    #[track_caller]
    fn check_error(archive: &[u8], root: &str, expect: &str) {
        let desk = Desk::new();
        let text = desk.unpack(archive, root, &[]).unwrap_err().to_string();
        assert!(text.starts_with(&format!("failed to unpack `{}`: ", desk.path.join("archive"))), "{text}");
        assert!(text.contains(expect), "{text}");
        assert!(text.contains("\nhint: "), "{text}");
        assert!(desk.is_intact());
    }

    /// The last entry is the one to be refused.
    #[track_caller]
    fn check_refused(entries: &[Raw], rule: &str) {
        let name = String::from_utf8_lossy(&entries.last().unwrap().name).into_owned();
        check_error(&tar_of(entries), "", &format!("refused entry `{name}`: {rule}\nhint: "));
    }

    #[test]
    fn modes_are_normalised_and_missing_folders_are_made() {
        let executable = Raw { mode: 0o4711, ..file("a/b/run", "x") };
        let odd = Raw { mode: 0o1077, ..file("a/b/odd", "y") };
        let bare = Raw { mode: 0o000, ..folder("z/") };
        check(
            &[executable, odd, bare, link("a/l", "b"), folder("a/")],
            "",
            &[],
            &["d 755 a", "d 755 a/b", "f 644 a/b/odd=y", "f 755 a/b/run=x", "l a/l -> b", "d 755 z"],
        );
    }

    #[test]
    fn the_root_is_a_glob_over_whole_names() {
        let entries = [
            folder("./"),
            file("./top", "t"),
            file("./src-1/one/f", "1"),
            file("./src-1/library/f", "2"),
            file("./src-1/library/x/library/f", "3"),
        ];
        let library = ["f 644 f=2", "d 755 x", "d 755 x/library", "f 644 x/library/f=3"];
        for root in ["src-1/library", "*/library/", "**/library", "{src-*,usr/*}/library"] {
            check(&entries, root, &[], &library);
        }
        check(&entries, "*/one", &[], &["f 644 f=1"]);
        let archive = tar_of(&entries);
        check_error(
            &archive,
            "src/library",
            "no folder in it matches the root `src/library`\n  at its top: src-1, top\n",
        );
        check_error(&archive, "*/*", "the root `*/*` matches both `src-1/one` and `src-1/library`");
        check_error(&archive, "{", "failed to read the pattern `{`");
        check_error(&tar_of(&[file("a", "")]), "*", "no folder in it matches the root `*`\n  at its top: a\n");
    }

    #[test]
    fn files_and_folders_can_be_left_out() {
        let entries = [
            file("r/a/b/Cargo.toml", ""),
            file("r/a/b/c", ""),
            file("r/gone/x/y", ""),
            file("r/also", ""),
            file("gone/x", ""),
        ];
        let expect = ["d 755 a", "d 755 a/b", "f 644 a/b/c="];
        check(&entries, "r", &["a/**/Cargo.toml", "gone/", "al*", "not/there"], &expect);
        check(&[raw(b'6', "r/pipe", ""), file("r/f", "")], "r", &["pipe"], &["f 644 f="]);
    }

    #[test]
    fn hard_links_become_files_of_their_own() {
        let original = Raw { mode: 0o755, ..file("r/a", "data") };
        let desk = Desk::new();
        let unpacked = desk.unpack(&tar_of(&[original, hard_link("r/d/b", "r/a")]), "*", &[]).unwrap();
        assert_eq!(desk.listing(), ["f 755 a=data", "d 755 d", "f 755 d/b=data"]);
        assert_eq!(unpacked, Unpacked { n_files: 2, n_bytes: 8 });
        fs::write(desk.path.join("out/a"), "changed").unwrap();
        assert!(desk.listing().contains(&"f 755 d/b=data".to_owned()));
    }

    #[test]
    fn what_could_reach_outside_is_refused_by_name() {
        check_refused(&[file("/etc/passwd", "")], "its path is absolute");
        check_refused(&[file("a/../../x", "")], "its path has a `..` in it");
        check_refused(&[link("l", "/etc")], "its target is absolute");
        check_refused(&[link("l", "../neighbour")], "its target is outside the root");
        check_refused(&[link("a/l", "./../../neighbour")], "its target is outside the root");
        check_refused(&[link("a/l", ".."), link("m", "a/l/../neighbour")], "its target has a `..` after a name");
        check_refused(&[folder("d"), link("l", "d"), file("l/x", "")], "its path leads through a symbolic link");
        check_refused(&[folder("d"), link("l", "d"), folder("l/")], "its path leads through a symbolic link");
        check_refused(&[file("a", ""), file("a/b", "")], "its path leads through a file");
        check_refused(&[file("r", ""), hard_link("l", "../neighbour/file")], "its path has a `..` in it");
        check_refused(&[hard_link("l", "/etc/passwd")], "its path is absolute");
    }

    #[test]
    fn what_no_source_needs_is_refused() {
        check_refused(&[raw(b'3', "c", "")], "it is a device");
        check_refused(&[raw(b'4', "b", "")], "it is a device");
        check_refused(&[raw(b'6', "p", "")], "it is a named pipe");
        check_refused(&[raw(b'V', "v", "")], "it is neither a file nor a folder nor a link");
        check_refused(&[file("a", "1"), file("./a", "2")], "an earlier entry has the same path");
        check_refused(&[link("a", "b"), file("a", "2")], "an earlier entry has the same path");
        check_refused(&[folder("a"), link("a", "b")], "an earlier entry has the same path");
        check_refused(&[raw(b'0', b"caf\xe9", "")], "its name is not UTF-8");
        check_refused(&[raw(b'2', "l", b"caf\xe9")], "its target is not UTF-8");
        check_refused(&[link("l", "")], "it is a link without a target");
        check_refused(&[file("./", "x")], "it would replace the root");
        check_refused(&[hard_link("l", "none")], "it is a hard link to what is no earlier file");
        check_refused(&[link("s", "x"), hard_link("l", "s")], "it is a hard link to what is no earlier file");
        let sparse = Raw { data: b"22 GNU.sparse.major=1\n".into(), ..raw(b'x', "pax", "") };
        check_refused(&[sparse, file("s", "0\n")], "it is a sparse file");
    }

    #[test]
    fn a_hard_link_to_what_is_left_out_is_refused() {
        let archive = tar_of(&[file("other/f", ""), hard_link("r/l", "other/f")]);
        check_error(&archive, "r", "refused entry `r/l`: it is a hard link to a file that is left out");
    }

    fn sample() -> Vec<u8> {
        let noise: String = (0..40_000u32).map(|n| char::from(b'a' + (n.wrapping_mul(n) % 251 % 26) as u8)).collect();
        tar_of(&[
            raw(b'g', "pax_global_header", ""),
            file("r/a", &noise),
            folder("r/b/"),
            file("r/b/c", "c"),
            link("r/l", "b"),
        ])
    }

    fn formats(tar: &[u8]) -> Vec<Vec<u8>> {
        let (head, tail) = tar.split_at(20_000);
        vec![
            tar.to_vec(),
            gzip(tar),
            [gzip(head), gzip(tail)].concat(),
            xz(tar),
            [xz(head), vec![0; 8], xz(tail), vec![0; 4]].concat(),
            package("data.tar.xz", &xz(tar)),
            package("data.tar.gz", &gzip(tar)),
            package("data.tar", tar),
        ]
    }

    #[test]
    fn every_format_gives_the_same_tree_and_full_progress() {
        let mut trees = Vec::new();
        for archive in formats(&sample()) {
            let desk = Desk::new();
            let seen = std::cell::RefCell::new(vec![(0, 1)]);
            let path = desk.path.join("archive");
            fs::write(&path, &archive).unwrap();
            let selection = Selection { root: "*", leave_out: &[], keep: &[] };
            let unpacked =
                unpack(&path, &selection, &desk.path.join("out"), &|done, all| seen.borrow_mut().push((done, all)))
                    .unwrap();
            assert_eq!(unpacked, Unpacked { n_files: 2, n_bytes: 40_001 });
            let seen = seen.into_inner();
            assert!(seen.last().is_some_and(|(done, all)| done == all) && seen.is_sorted_by_key(|(done, _)| *done));
            trees.push(desk.listing());
        }
        assert_eq!(trees[0].len(), 4);
        assert!(trees.iter().all(|tree| *tree == trees[0]));
    }

    #[test]
    fn an_archive_cut_anywhere_is_an_error() {
        for (number, archive) in formats(&sample()).into_iter().enumerate() {
            // One block of zeros ends a tar archive, two are the custom.
            let shortest = if matches!(number, 0 | 7) { archive.len() - 1024 } else { archive.len() - 5 };
            for length in (0..shortest).step_by(shortest / 40).chain([shortest]) {
                let desk = Desk::new();
                let result = desk.unpack(&archive[..length], "*", &[]);
                assert!(result.is_err(), "format {number} cut to {length} of {} bytes", archive.len());
            }
        }
    }

    #[test]
    fn what_is_wrong_with_an_archive_is_told() {
        check_error(b"", "", "it is neither a tar archive");
        check_error(b"<html>404</html>", "", "it is neither a tar archive");
        check_error(b"\x28\xb5\x2f\xfd rest", "", "it is compressed with zstd");
        check_error(&package("data.tar.zst", b"\x28\xb5\x2f\xfd"), "", "it is compressed with zstd");
        check_error(&deb(&[("debian-binary", b"2.0\n")]), "", "without a `data.tar` member");
        check_error(&xz(b"no tar in here"), "", "it is damaged: ");
        check_error(&xz(b""), "", "it is damaged: it ends without the mark");
        let mut flipped = xz(&sample());
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        check_error(&flipped, "", "it is damaged: ");
        check_error(&[tar_of(&[]), tar_of(&[file("hidden", "")])].concat(), "", "it is neither a tar archive");
        check_error(
            &[tar_of(&[file("a", "")]), tar_of(&[file("hidden", "")])].concat(),
            "",
            "there is something behind its end",
        );
        check_error(&[xz(&sample()), b"more".to_vec()].concat(), "", "it is damaged: ");
        let lying = Raw { size: Some(5000), ..file("a", "x") };
        check_error(&lying.bytes(), "", "it is damaged: it ends within `");
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let desk = Desk::new();
        fs::create_dir(desk.path.join("out")).unwrap();
        fs::write(desk.path.join("out/old"), "").unwrap();
        let text = desk.unpack(&tar_of(&[file("a", "")]), "", &[]).unwrap_err().to_string();
        assert!(text.contains("/out` is not empty\nhint: "), "{text}");
        assert_eq!(desk.listing(), ["f 644 old="]);
    }

    #[test]
    fn a_missing_archive_is_named() {
        let desk = Desk::new();
        let missing = desk.path.join("missing");
        let error =
            unpack(&missing, &Selection { root: "", leave_out: &[], keep: &[] }, &desk.path.join("out"), &|_, _| {})
                .unwrap_err();
        assert!(error.to_string().starts_with(&format!("failed to unpack `{missing}`: No such file")), "{error}");
    }

    /// Relative paths of short names, and now and then one too long for a plain header.
    fn a_path() -> impl Strategy<Value = String> {
        let name = prop_oneof![8 => "[a-c]{1,2}", 1 => "[é-ö ]{1,60}", 1 => "x{90,110}"];
        prop::collection::vec(name, 1..5).prop_map(|names| names.join("/"))
    }

    fn a_hostile_entry() -> impl Strategy<Value = Raw> {
        let part =
            prop::sample::select(vec!["a", "b", "..", ".", "/", "//", "a/b", "l", "\u{e9}", "neighbour", "file"]);
        let name = prop::collection::vec(part, 0..5).prop_map(|parts| parts.join("/").into_bytes());
        let kind = prop::sample::select(b"0000111222225555\x0034567LKxgSVDA".to_vec());
        let size = prop::option::weighted(0.1, any::<u64>().prop_map(|size| size >> 20));
        (kind, name.clone(), name, any::<u32>(), prop::collection::vec(any::<u8>(), 0..600), size)
            .prop_map(|(kind, name, link, mode, data, size)| Raw { kind, name, link, mode: mode & 0o7777, data, size })
    }

    /// A flawless tree from anything: what would clash with an earlier path is dropped.
    fn tree_of(files: Vec<(String, String, bool)>) -> std::collections::BTreeMap<String, (String, bool)> {
        let mut tree = std::collections::BTreeMap::<String, (String, bool)>::new();
        for (path, data, is_executable) in files {
            let is_folder = tree.keys().any(|known| below(&path, known).is_some());
            if !is_folder && !folders(&path).any(|folder| tree.contains_key(folder)) {
                tree.insert(path, (data, is_executable));
            }
        }
        tree
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn any_tree_survives(files in prop::collection::vec((a_path(), "[a-z\n]{0,2000}", any::<bool>()), 0..20), format in 0..3usize) {
            let tree = tree_of(files);
            let mut builder = tar::Builder::new(Vec::new());
            let mut expect = std::collections::BTreeSet::new();
            builder.append_data(&mut folder("").header(), "top/", io::empty()).unwrap();
            for (path, (data, is_executable)) in &tree {
                let mut header = tar::Header::new_gnu();
                header.set_size(data.len() as u64);
                header.set_mode(if *is_executable { 0o700 } else { 0o666 });
                builder.append_data(&mut header, format!("top/{path}"), data.as_bytes()).unwrap();
                expect.insert(format!("f {} {path}={data}", if *is_executable { 755 } else { 644 }));
                expect.extend(folders(path).map(|folder| format!("d 755 {folder}")));
            }
            let tar = builder.into_inner().unwrap();
            let archive = [tar.clone(), gzip(&tar), xz(&tar)][format].clone();
            let desk = Desk::new();
            let unpacked = desk.unpack(&archive, "*", &[]).unwrap();
            prop_assert_eq!(unpacked.n_files, tree.len() as u64);
            prop_assert_eq!(std::collections::BTreeSet::from_iter(desk.listing()), expect);
        }

        #[test]
        fn hostile_entries_never_reach_outside(entries in prop::collection::vec(a_hostile_entry(), 1..12)) {
            let desk = Desk::new();
            let archive = entries.iter().flat_map(Raw::bytes).chain([0; 1024]);
            // An error is as good as a tree; what counts is the neighbour.
            let _ = desk.unpack(&Vec::from_iter(archive), "", &[]);
            prop_assert!(desk.is_intact());
        }

        #[test]
        fn broken_bytes_never_panic(format in 0..8usize, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), noise in prop::collection::vec(any::<u8>(), 0..900)) {
            let mut archive = formats(&sample())[format].clone();
            for (index, byte) in changes {
                *index.get_mut(&mut archive) = byte;
            }
            for bytes in [archive, noise] {
                let desk = Desk::new();
                let _ = desk.unpack(&bytes, "*", &[]);
                prop_assert!(desk.is_intact());
            }
        }
    }
}
