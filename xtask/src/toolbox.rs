//! The host's tools: where they are, and who they are. A tool's identity is its version text and the hash of its files,
//! never its path, so that two machines with the same tools agree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

mod table;

use crate::store::Store;
use crate::{artifact, seal};
use table::Kind;
pub use table::{BINUTILS, BWRAP, COREUTILS, GCC, GPGV, MKE2FS, MKFS_VFAT, Package, QEMU, RUST, TOOLS, ToolName};

/// Who a tool is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The first line of what `--version` prints; empty for tools that have no such option.
    pub version: String,
    /// blake3 over the tool's file and the files that do its work, such as gcc's `cc1`.
    pub blake3: String,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} blake3:{}", self.version, self.blake3)
    }
}

/// A tool of this host.
#[derive(Clone, Debug)]
pub struct HostTool {
    /// Where it is.
    pub path: Utf8PathBuf,
    /// Who it is.
    pub identity: Identity,
}

/// A tool that this host lacks.
#[derive(Clone, Copy)]
pub struct Missing {
    /// The tool's name.
    pub tool: ToolName,
    /// The package it comes in.
    pub package: &'static Package,
}

/// Finds a tool's path, or says that it is missing. Looks at the file system only.
pub fn find(tool: ToolName) -> Result<Utf8PathBuf, Missing> {
    let Some(package) = TOOLS.iter().find(|package| package.has(tool)) else {
        unreachable!("a recipe declares the tool `{tool}`, which toolbox::TOOLS lacks");
    };
    let found = match package.kind {
        Kind::Command => on_path(tool),
        Kind::Rust => toolchain_bin().map(|bin| bin.join(tool)).filter(|path| path.is_file()),
        Kind::Library(file) => on_path("gcc").and_then(|gcc| library_file(&gcc, file)),
    };
    found.ok_or(Missing { tool, package })
}

/// Whether the name is that of a library, which is no command.
pub fn is_library(tool: ToolName) -> bool {
    TOOLS.iter().any(|package| matches!(package.kind, Kind::Library(_)) && package.has(tool))
}

/// All tools in the table.
pub fn all() -> BTreeSet<ToolName> {
    TOOLS.iter().flat_map(|package| package.tools).copied().collect()
}

/// All missing tools of `names`.
pub fn missing(names: &BTreeSet<ToolName>) -> Vec<Missing> {
    names.iter().filter_map(|name| find(name).err()).collect()
}

/// Whether a command is on the user's `PATH`.
pub fn is_on_path(command: &str) -> bool {
    on_path(command).is_some()
}

/// Where Debian has mke2fs and its like, and what a user's `PATH` lacks there.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

fn on_path(command: &str) -> Option<Utf8PathBuf> {
    let path = std::env::var("PATH").ok()?;
    path.split(':')
        .filter(|folder| !folder.is_empty())
        .chain(SYSTEM_FOLDERS)
        .map(|folder| Utf8Path::new(folder).join(command))
        .find(|path| is_executable(path))
}

fn is_executable(path: &Utf8Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The real toolchain's `bin`, past rustup's proxies: the folder of the cargo that runs xtask.
fn toolchain_bin() -> Option<Utf8PathBuf> {
    // Nix links a toolchain together from several packages, and cargo's own has no rustc.
    let is_whole = |bin: &&Utf8Path| bin.join("../lib").is_dir() && bin.join("rustc").is_file();
    let real = |cargo: Utf8PathBuf| cargo.parent().filter(is_whole).map(Utf8Path::to_owned);
    if let Some(bin) = std::env::var("CARGO").ok().map(Utf8PathBuf::from).and_then(real) {
        return Some(bin);
    }
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
    let sysroot = String::from_utf8(output.stdout).ok()?;
    Some(Utf8PathBuf::from(sysroot.trim()).join("bin")).filter(|bin| bin.is_dir())
}

/// gcc prints the full path of a library it would link, and the bare name of one that it does not know.
fn library_file(gcc: &Utf8Path, file: &str) -> Option<Utf8PathBuf> {
    let answer = output_line(gcc, &[&format!("-print-file-name={file}")])?;
    Some(Utf8PathBuf::from(answer)).filter(|path| path.is_absolute() && path.exists())
}

fn output_line(program: &Utf8Path, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        // As in the sandbox: a user's GOROOT or GCC_EXEC_PREFIX must not lead to another tool than the one that will run.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/")
        .env("LC_ALL", "C")
        .env("GOTOOLCHAIN", "local")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

/// What `stat` says of a file; when it is unchanged, so is the content, unless the file was changed twice within one tick of
/// the clock: see [`Remembered::is_settled`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    path: Utf8PathBuf,
    /// None, if there is no such file.
    numbers: Option<[i64; 5]>,
}

impl Stamp {
    fn of(path: &Utf8Path) -> Self {
        Self { path: path.to_owned(), numbers: fs::metadata(path).ok().map(|metadata| Self::numbers(&metadata)) }
    }

    fn is_true(&self) -> bool {
        Self::of(&self.path) == *self
    }

    fn numbers(metadata: &fs::Metadata) -> [i64; 5] {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let changed = metadata.ctime().wrapping_mul(1_000_000_000).wrapping_add(metadata.ctime_nsec());
        let modified = metadata.mtime().wrapping_mul(1_000_000_000).wrapping_add(metadata.mtime_nsec());
        [number(metadata.dev()), number(metadata.ino()), number(metadata.size()), modified, changed]
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Remembered {
    stamps: Vec<Stamp>,
    identity: Identity,
}

impl Remembered {
    /// Whether every file was last changed well before `now`. One that was changed a moment ago may be changed again with the
    /// same stamp, and one that was changed in the future says that the clock jumped back: it may show that moment once more.
    fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(0));
        self.stamps.iter().all(|stamp| stamp.numbers.is_none_or(|[.., changed]| changed < now - SETTLED))
    }
}

/// In nanoseconds: longer than a tick of any file system's clock, FAT's two seconds included.
const SETTLED: i64 = 3_000_000_000;

/// Goes up when [`recognize`] looks at other files or asks other questions: what was remembered before does not count then.
const RECOGNITION: u32 = 3;

/// The tools of this host as far as they were asked for, with a memory in the store: a compiler of 150 MB is hashed once.
pub struct Toolbox {
    remembered: Mutex<BTreeMap<String, Remembered>>,
}

impl Toolbox {
    /// Opens the memory. An unreadable one is an empty one.
    pub fn open(store: &Store) -> Self {
        Self { remembered: Mutex::new(seal::read(&store.tools()).unwrap_or_default()) }
    }

    /// Who the tool `name` is. Missing tools were reported before.
    pub fn get(&self, store: &Store, name: ToolName) -> Result<HostTool> {
        let path = find(name).map_err(|missing| {
            anyhow!("the host tool `{}` is missing\nhint: run `cargo xtask doctor --yes`", missing.tool)
        })?;
        // By what the name leads to now: switching an alternative (`gcc` from gcc-12 to gcc-13) changes no file's stamp.
        let real = path.canonicalize_utf8().with_context(|| format!("failed to find the host tool `{path}`"))?;
        let memory_key = format!("{RECOGNITION} {name} {real}");
        let mut remembered = self.remembered.lock().map_err(|_| anyhow!("a thread panicked"))?;
        if let Some(known) = remembered.get(&memory_key)
            && known.stamps.iter().all(Stamp::is_true)
        {
            return Ok(HostTool { path, identity: known.identity.clone() });
        }
        let known = recognize(name, &path).with_context(|| format!("failed to identify the host tool `{path}`"))?;
        let identity = known.identity.clone();
        let is_settled = known.is_settled(SystemTime::now());
        remembered.insert(memory_key, known);
        if is_settled {
            remembered.retain(|_, known| known.is_settled(SystemTime::now()));
            // It only saves time. A disk that is too full for it fails what has to be written, with its own words.
            let _ = seal::seal(&*remembered).and_then(|text| store.replace_file(&store.tools(), text.as_bytes()));
        }
        Ok(HostTool { path, identity })
    }
}

/// The stamps are taken before the content is read and once more after it, so that they never belong to another content: a
/// package manager may be at work.
fn recognize(name: ToolName, path: &Utf8Path) -> Result<Remembered> {
    for _ in 0..N_LOOKS {
        let mut files = vec![path.canonicalize_utf8()?];
        files.extend(workers(name, path));
        let stamps: Vec<_> = files.iter().map(|file| Stamp::of(file)).collect();
        files.retain(|file| file.exists());
        let identity = identify(name, path, &files)?;
        if stamps.iter().all(Stamp::is_true) {
            return Ok(Remembered { stamps, identity });
        }
    }
    bail!("it changes while it is read\nhint: wait until the installation of packages has ended")
}

/// How often a tool that changes meanwhile is looked at.
const N_LOOKS: u32 = 3;

fn identify(name: ToolName, path: &Utf8Path, files: &[Utf8PathBuf]) -> Result<Identity> {
    let mut hasher = blake3::Hasher::new();
    for file in files {
        hasher.update(&artifact::content_hash(file)?);
    }
    let version = match name {
        "go" => output_line(path, &["version"]),
        // A shell's --version starts an interactive shell in dash; `libc` and its like are no commands.
        "sh" | "libc" | "libelf" | "libcrypto" | "awk" => None,
        _ => output_line(path, &["--version"]),
    };
    // GNU sed says how it was called; where a tool is does not matter.
    let version = version.unwrap_or_default().replace(path.as_str(), name);
    Ok(Identity { version, blake3: hasher.finalize().to_hex().to_string() })
}

/// What of gcc does the work, or comes with it into an output.
const GCC_WORKERS: [&str; 8] = [
    "-print-prog-name=cc1",
    "-print-prog-name=collect2",
    "-print-file-name=crtbegin.o",
    "-print-file-name=crtbeginT.o",
    "-print-file-name=crtbeginS.o",
    "-print-file-name=crtend.o",
    "-print-file-name=crtendS.o",
    "-print-file-name=libgcc.a",
];
/// Beside libgcc.a: the kernel's configuration asks whether it is there. Another package brings it, perhaps later.
const GCC_PLUGINS: &str = "plugin/include/plugin-version.h";

/// The files that do the work behind a driver command, and those that would if they were there.
fn workers(name: ToolName, path: &Utf8Path) -> Vec<Utf8PathBuf> {
    let is_file = |file: &Utf8PathBuf| file.is_absolute() && file.is_file();
    match name {
        "gcc" | "cc" => {
            let ask = |question: &&str| output_line(path, &[question]).map(Utf8PathBuf::from);
            let mut files: Vec<_> = GCC_WORKERS.iter().filter_map(ask).filter(is_file).collect();
            let libgcc = files.iter().find(|file| file.file_name() == Some("libgcc.a"));
            files.extend(libgcc.map(|libgcc| libgcc.with_file_name(GCC_PLUGINS)));
            files
        }
        "go" => {
            let folder = output_line(path, &["env", "GOTOOLDIR"]).map(Utf8PathBuf::from).unwrap_or_default();
            ["asm", "compile", "link"].iter().map(|tool| folder.join(tool)).filter(is_file).collect()
        }
        "rustc" => rust_workers(path),
        _ if BINUTILS.contains(&name) => binutils_libraries(path),
        _ => Vec::new(),
    }
}

/// The compiler proper and LLVM, which rustc loads from `../lib`, and the linker that comes with it.
fn rust_workers(rustc: &Utf8Path) -> Vec<Utf8PathBuf> {
    let Some(lib) = rustc.parent().map(|bin| bin.join("../lib")) else { return Vec::new() };
    let below = |folder: &Utf8Path| -> Vec<Utf8PathBuf> {
        let entries = folder.read_dir_utf8().into_iter().flatten().flatten();
        entries.map(|entry| entry.into_path()).collect()
    };
    let hosts = below(&lib.join("rustlib")).into_iter().map(|host| host.join("bin/rust-lld"));
    let mut files: Vec<_> = below(&lib).into_iter().chain(hosts).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// The libraries in which the assembler and the linker do their work.
fn binutils_libraries(tool: &Utf8Path) -> Vec<Utf8PathBuf> {
    let Ok(output) = Command::new("ldd").arg(tool).env("LC_ALL", "C").stdin(Stdio::null()).output() else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_ours = |word: &&str| ["libbfd", "libopcodes", "libctf", "libsframe"].iter().any(|name| word.contains(name));
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    words.filter(is_ours).map(Utf8PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Access;

    #[test]
    fn every_tool_is_in_the_table_once() {
        let mut names: Vec<_> = TOOLS.iter().flat_map(|package| package.tools).collect();
        let n_names = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), n_names);
    }

    #[test]
    fn a_tools_identity_is_remembered_and_does_not_depend_on_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Utf8Path::from_path(folder.path()).unwrap(), Access::Shared).unwrap();
        let first = Toolbox::open(&store).get(&store, "rustc").unwrap();
        let second = Toolbox::open(&store).get(&store, "rustc").unwrap();
        assert_eq!(first.identity, second.identity);
        assert!(first.identity.version.starts_with("rustc 1."), "{:?}", first.identity);
        assert!(!first.identity.to_string().contains('/'));
        let sed = find("sed").ok().unwrap();
        let elsewhere = Utf8Path::from_path(folder.path()).unwrap().join("sed");
        std::os::unix::fs::symlink(sed.canonicalize_utf8().unwrap(), &elsewhere).unwrap();
        let (here, there) = (recognize("sed", &sed).unwrap(), recognize("sed", &elsewhere).unwrap());
        assert_eq!(here.identity, there.identity);
        assert!(here.identity.version.starts_with("sed "), "{:?}", here.identity);
    }

    #[test]
    fn a_part_of_a_compiler_that_appears_later_makes_another_tool() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        fs::write(root.join("libgcc.a"), "").unwrap();
        let gcc = root.join("gcc");
        fs::write(&gcc, format!("#!/bin/sh\ncase $1 in *libgcc.a) echo {root}/libgcc.a ;; *) echo none ;; esac\n"))
            .unwrap();
        fs::set_permissions(&gcc, fs::Permissions::from_mode(0o755)).unwrap();
        let before = recognize("gcc", &gcc).unwrap();
        assert!(before.stamps.iter().all(Stamp::is_true));
        let header = root.join(GCC_PLUGINS);
        fs::create_dir_all(header.parent().unwrap()).unwrap();
        fs::write(header, "x").unwrap();
        assert!(!before.stamps.iter().all(Stamp::is_true));
        assert_ne!(recognize("gcc", &gcc).unwrap().identity, before.identity);
    }

    #[test]
    fn what_changed_a_moment_ago_or_in_the_future_is_not_remembered() {
        let now = UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        let check = |seconds: i64, expect| {
            let stamp = Stamp { path: "x".into(), numbers: Some([0, 0, 0, 0, seconds * 1_000_000_000]) };
            let identity = Identity { version: String::new(), blake3: String::new() };
            assert_eq!(Remembered { stamps: vec![stamp], identity }.is_settled(now), expect, "{seconds}");
        };
        check(999_990, true);
        check(0, true);
        check(999_998, false);
        check(1_000_000, false);
        check(2_000_000, false);
    }
}
