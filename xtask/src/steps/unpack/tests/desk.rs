//! A folder to unpack in, and what is to be seen there afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};

use crate::steps::unpack::{Selection, UnpackError, Unpacked, unpack};

/// A folder with an archive, a place to unpack to, and a neighbour that nothing may touch.
pub(super) struct Desk {
    _guard: tempfile::TempDir,
    pub(super) path: Utf8PathBuf,
}

impl Desk {
    pub(super) fn new() -> Desk {
        let guard = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(guard.path()).unwrap().canonicalize_utf8().unwrap();
        fs::create_dir(path.join("neighbour")).unwrap();
        fs::write(path.join("neighbour/file"), "mine").unwrap();
        Desk { _guard: guard, path }
    }

    /// All that is below the root.
    pub(super) fn unpack(&self, archive: &[u8], root: &str) -> Result<Unpacked, UnpackError> {
        self.unpack_part(archive, &Selection { root, leave_out: &[], keep: &[] })
    }

    pub(super) fn unpack_part(&self, archive: &[u8], selection: &Selection) -> Result<Unpacked, UnpackError> {
        let path = self.path.join("archive");
        fs::write(&path, archive).unwrap();
        unpack(&path, selection, &self.path.join("out"), &|_, _| {})
    }

    pub(super) fn listing(&self) -> Vec<String> {
        let mut lines = Vec::new();
        list(&self.path.join("out"), "", &mut lines);
        lines
    }

    /// The neighbours are as they were, and no link in `out` leads to them.
    pub(super) fn is_intact(&self) -> bool {
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
