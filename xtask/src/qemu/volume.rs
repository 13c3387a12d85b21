//! Disk files that are given to the machine: what `--volume` says, whether QEMU could open the file, and what init is told.

use super::cmdline::quote_word;
use super::devices::Disk;
use super::holder;
use camino::{Utf8Path, Utf8PathBuf};
use pid1_init::config::{Source, Volume};
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::str::FromStr;

/// A virtio disk's serial number has room for so many bytes (`VIRTIO_BLK_ID_BYTES`).
const SERIAL_BYTES: usize = 20;

/// A virtio disk's sector, in bytes; what is behind the last whole one could not be reached.
const SECTOR_BYTES: u64 = 512;

/// Where a virtio disk is found in the machine, before its serial number.
const BY_ID: &str = "/dev/disk/by-id/virtio-";

/// How the formats begin that are no raw disks, and how they are called.
const FORMATS: [(&[u8], &str); 5] = [
    (b"QFI\xfb", "qcow2"),
    (b"KDMV", "vmdk"),
    (b"conectix", "vpc"),
    (b"vhdxfile", "vhdx"),
    (b"<<< Oracle VM VirtualBox", "vdi"),
];

/// What `--volume FILE:NAME[:ro]` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeArg {
    /// The disk's file.
    pub file: Utf8PathBuf,
    /// The disk's serial number in the machine.
    pub serial: String,
    /// The folder it is mounted at, if NAME is one.
    pub path: Option<String>,
    /// Whether the machine cannot write to it.
    pub read_only: bool,
}

impl FromStr for VolumeArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (text, read_only) = text.strip_suffix(":ro").map_or((text, false), |text| (text, true));
        let (file, name) = text.rsplit_once(':').filter(|(file, name)| !file.is_empty() && !name.is_empty()).ok_or(
            "FILE:NAME is expected, as in data.img:data; `:ro` after it keeps the machine from writing".to_owned(),
        )?;
        let path = name.starts_with('/').then(|| name.to_owned());
        let serial = match &path {
            Some(path) => serial_of(path)?,
            None => plain(name)?.to_owned(),
        };
        Ok(Self { file: file.into(), serial, path, read_only })
    }
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "._-".contains(character)
}

fn plain(name: &str) -> Result<&str, String> {
    match name {
        _ if !name.chars().all(is_plain) => Err(format!(
            "the name `{name}` must be letters, digits and `.`, `_`, `-`; or a folder in the machine, such as /data"
        )),
        _ if name.len() > SERIAL_BYTES => {
            Err(format!("the name `{name}` is longer than a disk's serial number, {SERIAL_BYTES} bytes"))
        }
        _ => Ok(name),
    }
}

/// The serial number of a disk that is named by where it is mounted: the path's end, as far as it fits.
fn serial_of(path: &str) -> Result<String, String> {
    let text: String = path.trim_matches('/').chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
    if text.is_empty() {
        return Err("a disk cannot be mounted at `/`, where the image is".to_owned());
    }
    Ok(text[text.len().saturating_sub(SERIAL_BYTES)..].to_owned())
}

impl VolumeArg {
    /// The disk for QEMU, which may run in another folder.
    pub fn disk(&self) -> io::Result<Disk> {
        let file = Utf8PathBuf::try_from(std::path::absolute(&self.file)?).map_err(io::Error::other)?;
        let is_device = std::fs::metadata(&self.file).is_ok_and(|metadata| metadata.file_type().is_block_device());
        Ok(Disk { file, is_device, serial: self.serial.clone(), read_only: self.read_only })
    }

    /// What init is told to mount, if the image's own volumes do not say it, in the kernel's syntax.
    pub fn word(&self, known: &[Volume]) -> Option<String> {
        let device = format!("{BY_ID}{}", self.serial);
        let is_ours = |source: &Source| match source {
            Source::Device(path) => *path == device,
            Source::Label(label) => *label == self.serial,
            Source::Uuid(_) => false,
        };
        let known = known.iter().find(|volume| is_ours(&volume.source));
        let known = known.filter(|volume| self.path.as_ref().is_none_or(|path| volume.path == *path));
        let (source, path) = match known {
            Some(volume) if volume.read_only || !self.read_only => return None,
            Some(Volume { source: Source::Label(label), path, .. }) => (format!("label={label}"), path.clone()),
            Some(volume) => (device, volume.path.clone()),
            None => (device, self.path.clone().unwrap_or_else(|| format!("/{}", self.serial))),
        };
        let read_only = if self.read_only { ":ro" } else { "" };
        quote_word(&format!("init.volume={source}:{path}{read_only}")).ok()
    }
}

/// Everything that keeps QEMU from opening these disks, each in words and with its hint.
pub fn problems(volumes: &[VolumeArg]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut seen: Vec<(u64, u64)> = Vec::new();
    for (index, volume) in volumes.iter().enumerate() {
        if volumes[..index].iter().any(|earlier| earlier.serial == volume.serial) {
            problems.push(format!("two volumes are named `{}`", volume.serial));
        }
        match check(volume) {
            Ok(metadata) if seen.contains(&(metadata.dev(), metadata.ino())) => {
                problems.push(format!("the volume `{}` is given twice", volume.file));
            }
            Ok(metadata) => seen.push((metadata.dev(), metadata.ino())),
            Err(problem) => problems.push(problem),
        }
    }
    problems
}

fn check(volume: &VolumeArg) -> Result<Metadata, String> {
    let VolumeArg { file: path, serial, read_only, .. } = volume;
    let mut file = OpenOptions::new().read(true).write(!read_only).open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!(
            "there is no volume `{path}`\nhint: `cargo xtask volume {path} --size 64M --label {}` makes one",
            label(serial)
        ),
        ErrorKind::IsADirectory => format!("the volume `{path}` is a folder, and a disk is a file"),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem if !read_only => {
            format!("the volume `{path}` cannot be written: {error}\nhint: `:ro` at the end gives it to the machine for reading only")
        }
        _ => format!("the volume `{path}` cannot be opened: {error}"),
    })?;
    let metadata = file.metadata().map_err(|error| format!("the volume `{path}` cannot be opened: {error}"))?;
    check_kind(path, &mut file, &metadata)?;
    if let Some(who) = user(&file, &metadata, *read_only) {
        return Err(format!(
            "the volume `{path}` is in use by {who}: two machines on one disk would destroy its file system\nhint: end the other one first, or give both of them the disk with `:ro`"
        ));
    }
    Ok(metadata)
}

/// A FAT label, the shorter one, has eleven bytes.
fn label(serial: &str) -> &str {
    serial.get(..11).unwrap_or(serial)
}

fn check_kind(path: &Utf8Path, file: &mut File, metadata: &Metadata) -> Result<(), String> {
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Err(format!("the volume `{path}` is a folder, and a disk is a file"));
    }
    if kind.is_block_device() {
        return Ok(());
    }
    if !kind.is_file() {
        return Err(format!("the volume `{path}` is neither a file nor a block device"));
    }
    let mut start = Vec::new();
    file.take(64).read_to_end(&mut start).map_err(|error| format!("the volume `{path}` cannot be read: {error}"))?;
    if let Some((_, format)) = FORMATS.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(format!(
            "the volume `{path}` is a {format} image, and a volume is a raw disk\nhint: `qemu-img convert -f {format} -O raw {path} {path}.raw` makes one of it"
        ));
    }
    match metadata.len() {
        0 => Err(format!(
            "the volume `{path}` is empty\nhint: delete it, and make one with `cargo xtask volume {path} --size 64M`"
        )),
        length if length % SECTOR_BYTES != 0 => Err(format!(
            "the volume `{path}` has {length} bytes, and a disk has a multiple of {SECTOR_BYTES}\nhint: `truncate -s %{SECTOR_BYTES} {path}` makes it longer"
        )),
        _ => Ok(()),
    }
}

/// Another machine that has the disk in a way that excludes ours, as far as can be seen; QEMU itself looks closer.
fn user(file: &File, metadata: &Metadata, read_only: bool) -> Option<String> {
    let holder = || holder::of_file(metadata).map(|holder| holder.to_string());
    if read_only {
        return holder().filter(|_| is_written(metadata.ino()));
    }
    match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        // It is given back when the file is closed.
        Err(Errno::AGAIN | Errno::ACCESS) => Some(holder().unwrap_or_else(|| "another process".to_owned())),
        // A file system without locks has none that is taken.
        Ok(()) | Err(_) => None,
    }
}

/// Whether a QEMU writes to a file with this inode. It locks byte 101 of what it writes (`block/file-posix.c`), which
/// /proc/locks tells (proc(5)).
fn is_written(inode: u64) -> bool {
    const WRITES: u64 = 101;
    let file_end = format!(":{inode}");
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    locks.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
        let is_ours = fields.get(1) == Some(&"OFDLCK") && fields.get(5).is_some_and(|file| file.ends_with(&file_end));
        is_ours && number(6).zip(number(7)).is_some_and(|(first, last)| (first..=last).contains(&WRITES))
    })
}

#[cfg(test)]
#[path = "volume_tests.rs"]
mod tests;
