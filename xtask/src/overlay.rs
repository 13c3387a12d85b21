//! What `[[file]]` brings into the machine: a tree of files, folders and symlinks, read from the host. It is read twice:
//! from the sources, to tell what is wrong before anything is built, and from the step's copies, to be packed.

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use pid1_init::config::CONFIG_PATH;

use crate::artifact::{self, EXECUTABLE, FOLDER, SYMLINK};
use crate::image::path::{self, MOUNTED};
use crate::image::{ExtraFile, SET_ID};

/// What is at a path of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Folder,
    /// A file, with its permissions.
    File {
        /// Where its content is on the host.
        from: Utf8PathBuf,
        /// Permissions as in stat(2), without the type.
        mode: u32,
    },
    /// A symlink and its target.
    Link(String),
}

/// All that `[[file]]` brings, by path in the machine.
#[derive(Debug, Default)]
pub struct Overlay {
    nodes: BTreeMap<String, Node>,
}

/// As many symlinks as the kernel follows for one path: `MAXSYMLINKS`.
const MAX_LINKS: usize = 40;

impl Overlay {
    /// Reads the sources of `files`, which are relative to `root`, for the machine whose program is at `program`.
    /// `volumes` are the paths that disks will be mounted over.
    pub fn read(files: &[ExtraFile], root: &Utf8Path, program: &str, volumes: &[&str]) -> Result<Self> {
        let mut overlay = Self::default();
        let mut problems = Vec::new();
        for file in files {
            match read_one(file, root) {
                Ok(nodes) => overlay.add(nodes, program, volumes, &mut problems),
                Err(problem) => problems.push(crate::report::render(&problem)),
            }
        }
        overlay.check_parents(program, &mut problems);
        if problems.is_empty() { Ok(overlay) } else { bail!("{}", problems.join("\n  ")) }
    }

    /// Everything, sorted by path.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// The host's file behind a path of the machine, past symlinks.
    pub fn resolve(&self, path: &str) -> Option<&Utf8Path> {
        let mut open: VecDeque<&str> = path.split('/').collect();
        let mut folder = String::new();
        let mut n_links = 0;
        while let Some(part) = open.pop_front() {
            match part {
                "" | "." => continue,
                ".." => folder.truncate(folder.rfind('/').unwrap_or(0)),
                _ => {
                    let here = format!("{folder}/{part}");
                    match self.nodes.get(&here) {
                        Some(Node::File { from, .. }) => return open.is_empty().then_some(from),
                        Some(Node::Link(_)) if n_links == MAX_LINKS => return None,
                        Some(Node::Link(target)) => {
                            n_links += 1;
                            if target.starts_with('/') {
                                folder.clear();
                            }
                            target.rsplit('/').for_each(|part| open.push_front(part));
                        }
                        Some(Node::Folder) | None => folder = here,
                    }
                }
            }
        }
        None
    }

    fn add(&mut self, nodes: Vec<(String, Node)>, program: &str, volumes: &[&str], problems: &mut Vec<String>) {
        for (path, node) in nodes {
            let is_folder = node == Node::Folder;
            // The folders that init mounts over are in the archive or not: nobody can tell.
            if is_folder && MOUNTED.contains(&path.as_str()) {
                continue;
            }
            if let Some(problem) = path::taken(&path, program) {
                problems.push(format!("`file`: `{path}` {problem}; take it out of the source"));
            }
            if let Some(volume) = volumes.iter().find(|volume| !is_folder && path::is_in(&path, volume)) {
                problems.push(format!(
                    "`file`: `{path}` would be invisible, for a volume is mounted at `{volume}`; take another path"
                ));
            }
            match self.nodes.get(&path) {
                Some(Node::Folder) if is_folder => {}
                Some(_) => problems.push(format!("`file`: two of them bring `{path}`; take it out of one")),
                None => drop(self.nodes.insert(path, node)),
            }
        }
    }

    /// A path leads through folders only; a symlink among them would have to be followed while the archive is written.
    fn check_parents(&self, program: &str, problems: &mut Vec<String>) {
        for path in self.nodes.keys().map(String::as_str).chain([program, CONFIG_PATH]) {
            for parent in Utf8Path::new(path).ancestors().skip(1) {
                let what = match self.nodes.get(parent.as_str()) {
                    None | Some(Node::Folder) => continue,
                    Some(Node::File { .. }) => "a file",
                    Some(Node::Link(_)) => "a symlink",
                };
                problems.push(format!("`file`: `{parent}` is {what}, and `{path}` shall be in it; rename one of them"));
            }
        }
    }
}

/// What one `[[file]]` brings: itself, or all that is in its folder.
fn read_one(file: &ExtraFile, root: &Utf8Path) -> Result<Vec<(String, Node)>> {
    let source = root.join(&file.source);
    let metadata = match std::fs::metadata(&source) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("`file.source`: there is no `{source}`\nhint: a path in a spec is relative to the checkout")
        }
        Err(error) => return Err(error).with_context(|| format!("`file.source`: failed to read `{source}`")),
    };
    let own = file.path.as_str();
    if metadata.is_file() && own == "/" {
        bail!("`file.path` is `/`, and `{}` is a file; name the file in the machine, too", file.source);
    }
    // The path that the user names may be a link; those in the folder stay links.
    let real = source.canonicalize_utf8().with_context(|| format!("failed to read `{source}`"))?;
    if metadata.is_file() {
        let is_executable = std::os::unix::fs::MetadataExt::mode(&metadata) & 0o100 != 0;
        let mode = file.mode.unwrap_or(default_mode(is_executable));
        return Ok(vec![(own.to_owned(), Node::File { from: real, mode })]);
    }
    if file.mode.is_some_and(|mode| mode & SET_ID != 0) {
        bail!(
            "`file.mode` of `{own}` makes every file of a folder run as its owner; name each such program in a `[[file]]` of its own"
        );
    }
    let entries = artifact::entries(&real).with_context(|| format!("failed to take `{}`", file.source))?;
    let base = own.trim_end_matches('/');
    let top = (!base.is_empty()).then(|| (base.to_owned(), Node::Folder));
    let below = entries.into_iter().map(|entry| {
        let from = real.join(&entry.path);
        let node = match entry.kind {
            FOLDER => Node::Folder,
            SYMLINK => Node::Link(
                from.read_link_utf8().with_context(|| format!("failed to read the link `{from}`"))?.into_string(),
            ),
            kind => Node::File { from, mode: file.mode.unwrap_or(default_mode(kind == EXECUTABLE)) },
        };
        Ok((format!("{base}/{}", entry.path), node))
    });
    top.map(Ok).into_iter().chain(below).collect()
}

fn default_mode(is_executable: bool) -> u32 {
    if is_executable { 0o755 } else { 0o644 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A folder with what people bring: a program, a hidden file, an empty folder, links.
    fn scratch() -> (tempfile::TempDir, Utf8PathBuf) {
        let keep = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::try_from(keep.path().canonicalize().unwrap()).unwrap();
        for folder in ["site/empty", "site/bin", "usr/lib"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in ["hosts", "site/.hidden", "site/bin/tool", "usr/lib/ld.so.2"] {
            std::fs::write(root.join(file), file).unwrap();
        }
        std::fs::set_permissions(root.join("site/bin/tool"), std::fs::Permissions::from_mode(0o700)).unwrap();
        symlink("/absent", root.join("site/dangling")).unwrap();
        symlink("ld.so.2", root.join("usr/lib/ld.so")).unwrap();
        symlink("usr/lib", root.join("lib64")).unwrap();
        (keep, root)
    }

    fn file(source: &str, path: &str) -> ExtraFile {
        ExtraFile { source: source.into(), path: path.into(), mode: None }
    }

    fn read(root: &Utf8Path, files: &[ExtraFile]) -> Result<Overlay> {
        Overlay::read(files, root, "/bin/web", &["/data"])
    }

    #[track_caller]
    fn refuse(root: &Utf8Path, files: &[ExtraFile], expect: &[&str]) {
        let found = read(root, files).unwrap_err().to_string();
        assert!(expect.iter().all(|part| found.contains(part)), "{found}");
    }

    #[test]
    fn a_folder_brings_all_that_is_in_it() {
        let (_keep, root) = scratch();
        let overlay = read(&root, &[file("site", "/srv"), file("hosts", "/etc/hosts")]).unwrap();
        let mode = |mode, from: &str| Node::File { from: root.join(from), mode };
        let expect = [
            ("/etc/hosts", mode(0o644, "hosts")),
            ("/srv", Node::Folder),
            ("/srv/.hidden", mode(0o644, "site/.hidden")),
            ("/srv/bin", Node::Folder),
            ("/srv/bin/tool", mode(0o755, "site/bin/tool")),
            ("/srv/dangling", Node::Link("/absent".into())),
            ("/srv/empty", Node::Folder),
        ];
        assert!(overlay.nodes().eq(expect.iter().map(|(path, node)| (*path, node))), "{overlay:?}");
    }

    #[test]
    fn a_mode_counts_for_files_and_gives_no_folder_to_its_owner() {
        let (_keep, root) = scratch();
        let with_mode = |source: &str, mode| ExtraFile { mode: Some(mode), ..file(source, "/x") };
        let overlay = read(&root, &[with_mode("site", 0o600)]).unwrap();
        let modes =
            overlay.nodes().filter_map(|(_, node)| if let Node::File { mode, .. } = node { Some(*mode) } else { None });
        assert_eq!(modes.collect::<Vec<_>>(), [0o600, 0o600]);
        assert!(read(&root, &[with_mode("hosts", 0o4755)]).is_ok());
        refuse(&root, &[with_mode("site", 0o4755)], &["makes every file of a folder run as its owner"]);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let (_keep, root) = scratch();
        let files = [file("absent", "/a"), file("hosts", "/"), file("hosts", "/data/x"), file("hosts", "/srv")];
        let expect =
            ["there is no `", "hint: a path in a spec", "`hosts` is a file; name", "volume is mounted at `/data`"];
        refuse(&root, &files, &expect);
        refuse(&root, &[file("hosts", "/srv"), file("site", "/srv")], &["two of them bring `/srv`"]);
        refuse(&root, &[file("site", "/etc/pid1.conf")], &["init's own configuration"]);
        refuse(&root, &[file("hosts", "/bin")], &["`/bin` is a file, and `/bin/web` shall be in it"]);
        refuse(&root, &[file("lib64", "/lib"), file("hosts", "/lib/ld.so/x")], &["`/lib/ld.so` is a symlink"]);
    }

    #[test]
    fn a_root_may_have_the_folders_that_are_mounted_over_but_nothing_in_them() {
        let (_keep, root) = scratch();
        std::fs::create_dir_all(root.join("site/tmp")).unwrap();
        assert!(read(&root, &[file("site", "/")]).unwrap().nodes().all(|(path, _)| path != "/tmp"));
        std::fs::write(root.join("site/tmp/x"), "").unwrap();
        refuse(&root, &[file("site", "/")], &["`/tmp/x` is in `/tmp`, over which init mounts"]);
    }

    #[test]
    fn links_are_followed_as_in_the_machine() {
        let (_keep, root) = scratch();
        symlink("loop", root.join("loop")).unwrap();
        let mut overlay = read(&root, &[file("usr", "/usr")]).unwrap();
        for (path, target) in [("/lib64", "usr/lib"), ("/abs", "/lib64/../lib/ld.so"), ("/loop", "loop")] {
            overlay.nodes.insert(path.to_owned(), Node::Link(target.to_owned()));
        }
        let check = |path: &str, expect: Option<&str>| {
            assert_eq!(overlay.resolve(path), expect.map(|path| root.join(path)).as_deref(), "{path}");
        };
        check("/usr/lib/ld.so.2", Some("usr/lib/ld.so.2"));
        check("/lib64/ld.so", Some("usr/lib/ld.so.2"));
        check("/abs", Some("usr/lib/ld.so.2"));
        check("/loop", None);
        check("/usr/lib", None);
        check("/usr/lib/ld.so.2/x", None);
        check("/../../lib64/./ld.so.2", Some("usr/lib/ld.so.2"));
    }
}
