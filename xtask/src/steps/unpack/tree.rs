//! The tree that comes out: each entry is judged by what was put there before it, then made.
//!
//! This room must never write through a link, never replace what is there, and never ask the disk what it could know.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};

use camino::Utf8Path;
use tar::{Entry, EntryType};

use super::filter::{Filter, folders};
use super::{Cause, Unpacked, damaged, write_failed};

/// What becomes of hard links.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HardLinks {
    /// Files of their own.
    Copied,
    /// An error: a few bytes of an archive would be a whole file, and so would the next few.
    Refused,
}

/// Puts the wanted entries of the tar data `stream` into the empty folder `out`.
pub(super) fn fill(
    out: &Utf8Path,
    stream: impl Read,
    mut filter: Filter,
    hard_links: HardLinks,
) -> Result<Unpacked, Cause> {
    let (buffer, unpacked) = (vec![0; COPY_SIZE], Unpacked::default());
    let mut tree = Tree { out, nodes: HashMap::new(), buffer, unpacked, hard_links };
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        if entry.header().entry_type() != EntryType::XGlobalHeader {
            tree.add(&mut entry, &mut filter).map_err(|fault| fault.of_entry(&entry))?;
        }
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
    fn of_entry(self, entry: &Entry<impl Read>) -> Cause {
        match self {
            Fault::Rule(rule) => {
                let entry = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
                Cause::Refused { entry, rule }
            }
            Fault::Other(cause) => cause,
        }
    }
}

impl From<Cause> for Fault {
    fn from(cause: Cause) -> Self {
        Fault::Other(cause)
    }
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
    hard_links: HardLinks,
}

/// One write takes the whole of nearly every source file.
const COPY_SIZE: usize = 256 * 1024;

impl Tree<'_> {
    fn add(&mut self, entry: &mut Entry<impl Read>, filter: &mut Filter) -> Result<(), Fault> {
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
            EntryType::Link if self.hard_links == HardLinks::Refused => Err(Fault::Rule("it is a hard link")),
            EntryType::Link => self.add_copy(path, &link_target(entry)?, filter),
            EntryType::GNUSparse => Err(Fault::Rule("it is a sparse file")),
            EntryType::Char | EntryType::Block => Err(Fault::Rule("it is a device")),
            EntryType::Fifo => Err(Fault::Rule("it is a named pipe")),
            _ => Err(Fault::Rule("it is neither a file nor a folder nor a link")),
        }
    }

    /// Checks that `path` is free, and makes the folders it is in.
    fn make_way(&mut self, path: &str) -> Result<(), Fault> {
        if path.is_empty() {
            return Err(Fault::Rule("it would replace the root"));
        }
        if self.nodes.contains_key(path) {
            return Err(Fault::Rule("an earlier entry has the same path"));
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
                Some(Node::Link) => return Err(Fault::Rule("its path leads through a symbolic link")),
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

    fn add_file(&mut self, path: &str, entry: &mut Entry<impl Read>) -> Result<(), Fault> {
        refuse_sparse(entry)?;
        let is_executable = entry.header().mode().map_err(damaged)? & 0o100 != 0;
        let mode = if is_executable { 0o755 } else { 0o644 };
        let full = self.out.join(path);
        let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&full);
        let mut file = opened.map_err(write_failed(&full))?;
        let n_bytes = entry.size();
        self.copy(entry, &mut file, &full, n_bytes)?;
        file.set_permissions(Permissions::from_mode(mode)).map_err(write_failed(&full))?;
        self.added_file(path, n_bytes);
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
        self.added_file(path, n_bytes);
        Ok(())
    }

    fn added_file(&mut self, path: &str, n_bytes: u64) {
        self.nodes.insert(path.to_owned(), Node::File);
        self.unpacked.n_files += 1;
        self.unpacked.n_bytes += n_bytes;
    }
}

fn link_target(entry: &Entry<impl Read>) -> Result<Vec<u8>, Fault> {
    let target = entry.link_name_bytes().filter(|target| !target.is_empty());
    target.map(|target| target.into_owned()).ok_or(Fault::Rule("it is a link without a target"))
}

/// A target may climb at its start only, and no higher than the root. What follows goes down through names, each a
/// folder or a link for which the same holds; so no chain of links leaves the root, in whatever order they are made.
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
fn refuse_sparse(entry: &mut Entry<impl Read>) -> Result<(), Fault> {
    let mut extensions = entry.pax_extensions().map_err(damaged)?.into_iter().flatten();
    if extensions.any(|extension| extension.is_ok_and(|one| one.key_bytes().starts_with(b"GNU.sparse."))) {
        return Err(Fault::Rule("it is a sparse file"));
    }
    Ok(())
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
