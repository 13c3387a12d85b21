//! Disk files with an empty file system, for `[[volume]]` and `qemu --volume`. Nothing in them is random or of the clock:
//! the same arguments give the same file, bit for bit.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use camino::{Utf8Path, Utf8PathBuf};
use pid1_init::config::FileSystem;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::artifact::EPOCH;
use crate::image::volume::{label_problem, normal_uuid};
use crate::interrupt;
use crate::sandbox::{Sandbox, Setting, ToolFailed, Walls};
use crate::steps::write;
use crate::store::Store;
use crate::toolbox::{self, MKE2FS, MKFS_VFAT, ToolName};

/// Smaller ones have no place for the journal, without which a power cut costs data.
const MIN_EXT4: u64 = 8 << 20;
/// Smaller ones hold hardly more than the file system's own tables.
const MIN_VFAT: u64 = 1 << 20;
/// What ext4 can address with 32 bits in blocks of 4 KiB; it could be more, but not for anyone here.
const MAX_EXT4: u64 = 16 << 40;
/// FAT counts sectors of 512 bytes in 32 bits.
const MAX_VFAT: u64 = 1 << 40;
/// Sizes are whole multiples of this many bytes: a page, and a block of ext4.
const BLOCK: u64 = 4096;
/// Goes up when the same arguments give another file.
const DOMAIN: &str = "pid1 volume 1";

/// mke2fs's settings, so that those of the host do not count. Features are those that every kernel since 3.18 has.
const MKE2FS_CONF: &str = "\
[defaults]
	base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
	default_mntopts = acl,user_xattr
	enable_periodic_fsck = 0
	blocksize = 4096
	inode_size = 256
	inode_ratio = 16384
[fs_types]
	ext4 = {
		features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
	}
	volume = {
	}
";

/// A file system that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    size: u64,
    kind: FileSystem,
    label: Option<String>,
    uuid: String,
}

impl Disk {
    /// A disk of `size` bytes. Without a UUID it gets one that the other arguments determine.
    pub fn new(size: u64, kind: FileSystem, label: Option<&str>, uuid: Option<&str>) -> Result<Self> {
        let mut problems = Vec::new();
        let (min, max) = match kind {
            FileSystem::Ext4 => (MIN_EXT4, MAX_EXT4),
            FileSystem::Vfat => (MIN_VFAT, MAX_VFAT),
        };
        if !(min..=max).contains(&size) || !size.is_multiple_of(BLOCK) {
            problems.push(format!(
                "--size is {}; {} to {}, in whole {}, are what {} can have here",
                size_text(size),
                size_text(min),
                size_text(max),
                size_text(BLOCK),
                kind.name()
            ));
        }
        if let Some(problem) = label.and_then(|label| label_problem(label, Some(kind))) {
            problems.push(format!("--label {problem}"));
        }
        let uuid = match uuid {
            Some(uuid) => normal_uuid(uuid, Some(kind)).unwrap_or_else(|problem| {
                problems.push(format!("--uuid {problem}"));
                String::new()
            }),
            None => derived_uuid(size, kind, label),
        };
        if problems.is_empty() {
            Ok(Self { size, kind, label: label.map(str::to_owned), uuid })
        } else {
            bail!("failed to plan the volume: {}", problems.join("\n  "))
        }
    }

    /// The host tool that makes it.
    pub fn tool(&self) -> ToolName {
        match self.kind {
            FileSystem::Ext4 => MKE2FS,
            FileSystem::Vfat => MKFS_VFAT,
        }
    }

    fn args(&self) -> Vec<String> {
        let mut args: Vec<&str> = match self.kind {
            // All of the disk is for the machine's one user; nothing is kept back for root.
            FileSystem::Ext4 => vec!["-q", "-t", "ext4", "-T", "volume", "-m", "0", "-U", &self.uuid],
            FileSystem::Vfat => vec!["--invariant"],
        };
        let (seed, id) = (format!("hash_seed={},root_owner=0:0", self.uuid), self.uuid.replace('-', ""));
        args.extend(match self.kind {
            FileSystem::Ext4 => ["-E", &seed],
            FileSystem::Vfat => ["-i", &id],
        });
        if let Some(label) = &self.label {
            args.extend([if self.kind == FileSystem::Ext4 { "-L" } else { "-n" }, label]);
        }
        args.into_iter().map(str::to_owned).collect()
    }
}

/// For people, and for the spec's author.
impl std::fmt::Display for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}, ", size_text(self.size), self.kind.name())?;
        if let Some(label) = &self.label {
            write!(f, "label = \"{label}\", ")?;
        }
        write!(f, "uuid = \"{}\"", self.uuid)
    }
}

/// The powers of 1024 behind the letters that a size may end in.
const UNITS: [(char, u64); 4] = [('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30), ('T', 1 << 40)];

/// A size such as `64M`, in bytes.
pub fn size(text: &str) -> Result<u64, String> {
    let read = |(unit, bytes): &(char, u64)| {
        let number = text.strip_suffix(*unit)?;
        // `parse` takes a sign, too.
        let number = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse::<u64>().ok())??;
        number.checked_mul(*bytes).filter(|size| *size > 0)
    };
    UNITS
        .iter()
        .find_map(read)
        .ok_or_else(|| "a whole number with K, M, G or T (powers of 1024) is expected, as in 64M or 1G".to_owned())
}

fn size_text(size: u64) -> String {
    let unit = UNITS.iter().rev().find(|(_, bytes)| size.is_multiple_of(*bytes) && size > 0);
    unit.map_or_else(|| format!("{size} bytes"), |(unit, bytes)| format!("{}{unit}", size / bytes))
}

/// A UUID of version 8 (RFC 9562: the maker's own), or FAT's 32 bits.
fn derived_uuid(size: u64, kind: FileSystem, label: Option<&str>) -> String {
    let text = format!("{DOMAIN}\0{size}\0{}\0{}", kind.name(), label.unwrap_or_default());
    let hex = blake3::hash(text.as_bytes()).to_hex();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    match kind {
        FileSystem::Ext4 => {
            format!("{}-{}-8{}-8{}-{}", part(0, 8), part(8, 12), part(12, 15), part(15, 18), part(18, 30))
        }
        FileSystem::Vfat => format!("{}-{}", part(0, 4), part(4, 8)).to_uppercase(),
    }
}

/// What a signal leaves behind: nothing.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; no file was made")]
pub struct Interrupted;

/// Makes `disk` at `path`, where nothing may be yet. It appears there when it is complete; a failure leaves nothing.
pub fn make(disk: &Disk, path: &Utf8Path, store: &Store) -> Result<()> {
    static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);
    let context = || format!("failed to make the volume `{path}`");
    let _guard = interrupt::on_signals(|_| {
        IS_INTERRUPTED.store(true, Ordering::SeqCst);
        drop(crate::sandbox::kill_all());
    })?;
    let half = Half::new(path, disk.size).with_context(context)?;
    let made = format(disk, &half.path, store).and_then(|()| {
        half.file.sync_all()?;
        if IS_INTERRUPTED.load(Ordering::SeqCst) { Err(Interrupted.into()) } else { half.appear(path) }
    });
    if IS_INTERRUPTED.load(Ordering::SeqCst) && made.is_err() {
        return Err(Interrupted.into());
    }
    made.with_context(context)
}

/// A file that is not complete, beside its place. It is gone with this value.
struct Half {
    path: Utf8PathBuf,
    file: File,
}

impl Half {
    /// A file of `size` bytes, all of it a hole.
    fn new(place: &Utf8Path, size: u64) -> Result<Self> {
        if place.symlink_metadata().is_ok() {
            bail!("{}", taken(place));
        }
        let name = place.file_name().context("the path names no file")?;
        let path = place.with_file_name(format!(".{name}.{}.new", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        let half = Self { path, file };
        half.file.set_len(size)?;
        Ok(half)
    }

    /// Gives it its name, unless somebody else has taken that meanwhile.
    fn appear(&self, place: &Utf8Path) -> Result<()> {
        let (from, to) = (self.path.as_std_path(), place.as_std_path());
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // A file system that does not know the flag; a hard link refuses just as well.
            Err(Errno::INVAL | Errno::NOSYS) => fs::hard_link(from, to),
            other => other.map_err(Into::into),
        }
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => anyhow!("{}", taken(place)),
            _ => error.into(),
        })
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        // Nothing is there any more when it has its own name.
        let _ = fs::remove_file(&self.path);
    }
}

fn taken(place: &Utf8Path) -> String {
    format!("there is something already, and nothing is overwritten\nhint: name another file, or delete `{place}`")
}

fn format(disk: &Disk, file: &Utf8Path, store: &Store) -> Result<()> {
    let temp = store.temp("volume")?;
    let absolute = camino::absolute_utf8(file)?;
    let mut sandbox = sandbox(disk.tool(), temp.path())?;
    sandbox.share(&absolute, "/build/disk");
    let settings = sandbox.build().join("mke2fs.conf");
    write(&settings, MKE2FS_CONF)?;
    let tool = sandbox.tool(disk.tool(), sandbox.build()).args(disk.args()).arg(sandbox.inside(&absolute));
    let tool = tool.env("MKE2FS_CONFIG", sandbox.inside(&settings)).env("E2FSPROGS_FAKE_TIME", EPOCH.to_string());
    tool.run().map_err(|error| match error.is::<ToolFailed>() {
        true => error.context(format!("from its log:{}", said(&temp.path().join("log")))),
        false => error,
    })
}

/// A sandbox with one tool.
fn sandbox(tool: ToolName, folder: &Utf8Path) -> Result<Sandbox> {
    let path = toolbox::find(tool).map_err(|missing| anyhow!("the host tool `{}` is missing", missing.tool))?;
    let log = folder.join("log");
    Sandbox::new(Setting {
        walls: Walls::of_this_host(),
        folder,
        tools: &[(tool, path)],
        inputs: &BTreeMap::new(),
        preload: None,
        log: File::create(&log).with_context(|| format!("failed to write the log `{log}`"))?,
        cores: jobserver::Client::new(1).context("failed to make a jobserver")?,
    })
}

/// All that the tool said; neither of them says much.
fn said(log: &Utf8Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter(|line| !line.starts_with("$ ") && !line.trim().is_empty());
    lines.map(|line| format!("\n  | {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Access;

    #[test]
    fn sizes_are_powers_of_1024() {
        let check = |text: &str, expect: Option<u64>| assert_eq!(size(text).ok(), expect, "{text}");
        check("64M", Some(64 << 20));
        check("1G", Some(1 << 30));
        check("512K", Some(512 << 10));
        check("0M", None);
        check("64", None);
        check("64MB", None);
        check("1.5G", None);
        check("+1G", None);
        check("-1G", None);
        check("M", None);
        check("99999999999999T", None);
        assert_eq!(
            (size_text(64 << 20), size_text(1 << 40), size_text(5)),
            ("64M".into(), "1T".into(), "5 bytes".into())
        );
    }

    #[test]
    fn the_other_arguments_determine_the_uuid() {
        let uuid = |size, kind, label| Disk::new(size, kind, label, None).unwrap().uuid;
        let data = uuid(64 << 20, FileSystem::Ext4, Some("data"));
        assert_eq!(normal_uuid(&data, Some(FileSystem::Ext4)).as_deref(), Ok(data.as_str()));
        assert_eq!((data.get(14..15), data.get(19..20)), (Some("8"), Some("8")), "{data}");
        assert_eq!(data, uuid(64 << 20, FileSystem::Ext4, Some("data")));
        assert_ne!(data, uuid(65 << 20, FileSystem::Ext4, Some("data")));
        assert_ne!(data, uuid(64 << 20, FileSystem::Ext4, Some("logs")));
        let fat = uuid(64 << 20, FileSystem::Vfat, None);
        assert_eq!(normal_uuid(&fat, Some(FileSystem::Vfat)).as_deref(), Ok(fat.as_str()));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let error = Disk::new(4 << 20, FileSystem::Ext4, Some(""), Some("12AB-34CD")).unwrap_err().to_string();
        for part in ["--size is 4M; 8M to 16T, in whole 4K", "--label is empty", "--uuid is `12AB-34CD`; ext4's"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(Disk::new((8 << 20) + 512, FileSystem::Ext4, None, None).is_err());
        assert!(Disk::new(1 << 20, FileSystem::Vfat, Some("data"), Some("12ab-34cd")).is_ok());
    }

    #[test]
    fn a_volume_is_made_once_the_same_every_time_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::try_from(folder.path().to_owned()).unwrap();
        let store = Store::open(&root.join("store"), Access::Shared).unwrap();
        for (kind, magic) in [(FileSystem::Ext4, (1080, [0x53, 0xef])), (FileSystem::Vfat, (510, [0x55, 0xaa]))] {
            let disk = Disk::new(16 << 20, kind, Some("data"), None).unwrap();
            let (one, two) = (root.join(format!("{}-1", kind.name())), root.join(format!("{}-2", kind.name())));
            make(&disk, &one, &store).unwrap();
            make(&disk, &two, &store).unwrap();
            let bytes = fs::read(&one).unwrap();
            assert_eq!((bytes.len(), &bytes[magic.0..magic.0 + 2]), (16 << 20, &magic.1[..]));
            assert!(bytes == fs::read(&two).unwrap(), "{kind:?}: two volumes of the same arguments differ");
            fs::write(&one, "mine").unwrap();
            let error = crate::report::render(&make(&disk, &one, &store).unwrap_err());
            assert!(error.contains("nothing is overwritten\nhint: name another"), "{error}");
            assert_eq!(fs::read(&one).unwrap(), b"mine");
        }
        assert!(make(&Disk::new(8 << 20, FileSystem::Ext4, None, None).unwrap(), &root.join("no/x"), &store).is_err());
        let left: Vec<_> = root.read_dir_utf8().unwrap().flatten().map(|entry| entry.file_name().to_owned()).collect();
        assert_eq!(left.len(), 5, "{left:?}");
    }

    #[test]
    fn a_failing_tool_leaves_nothing_and_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::try_from(folder.path().to_owned()).unwrap();
        let store = Store::open(&root.join("store"), Access::Shared).unwrap();
        // Smaller than `new` allows.
        let small = Disk { size: 4096, ..Disk::new(8 << 20, FileSystem::Ext4, None, None).unwrap() };
        let error = crate::report::render(&make(&small, &root.join("x"), &store).unwrap_err());
        assert!(error.contains("failed to make the volume `") && error.contains("`mke2fs` failed"), "{error}");
        assert!(error.contains("\n  | "), "{error}");
        assert_eq!(root.read_dir_utf8().unwrap().count(), 1);
    }
}
