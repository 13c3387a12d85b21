//! The disks and partitions of the machine, and what their first bytes say about them.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;

use pid1_init::config::Source;
use pid1_init::superblock::{self, Superblock};

use crate::{console, folders};

/// Where the kernel lists disks and partitions.
const LIST: &str = "/sys/class/block";

/// Where other systems make links to disks, named for their serial numbers.
const BY_SERIAL: &str = "/dev/disk/by-id/virtio-";

/// A disk or a partition of one.
pub struct Disk {
    /// The kernel's name, such as `vda` or `vda1`.
    name: String,
    /// What the host calls it.
    serial: Option<String>,
    /// The file system on it, if it is one that is known.
    pub superblock: Option<Superblock>,
}

/// All disks that were found so far, in the order of their names. Each is read once.
#[derive(Default)]
pub struct Disks(Vec<Disk>);

impl Disks {
    /// Adds the disks that were not there the last time.
    pub fn scan(&mut self) {
        for name in folders::names(LIST) {
            // A drive without a medium has no size; it may get one.
            if self.0.iter().any(|disk| disk.name == name) || attribute(&name, "size").is_none_or(|size| size == "0") {
                continue;
            }
            if let Some(disk) = Disk::read(name) {
                let place = self.0.iter().position(|other| other.name > disk.name).unwrap_or(self.0.len());
                self.0.insert(place, disk);
            }
        }
    }

    /// Every disk that `source` means, by name. Only labels and UUIDs can mean several.
    pub fn find(&self, source: &Source) -> Vec<&Disk> {
        self.0.iter().filter(|disk| disk.is(source)).collect()
    }

    /// Whether the kernel knows of disks at all.
    pub fn can_exist() -> bool {
        fs::exists(LIST).unwrap_or(false)
    }
}

impl fmt::Display for Disks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disks: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        match disks.as_slice() {
            [] => write!(f, "the machine has no disk"),
            [disk] => write!(f, "the machine's only disk is {disk}"),
            disks => write!(f, "the machine's disks are {}", disks.join(", ")),
        }
    }
}

impl Disk {
    /// `None` for a disk that is being made: the kernel lists it before it has a device.
    fn read(name: String) -> Option<Self> {
        // A partition has the serial number of its disk; the name under which others know it ends in its own number.
        let serial = attribute(&name, "serial").or_else(|| {
            // A link to the partition's folder, which is in its disk's.
            let link = fs::read_link(format!("{LIST}/{name}")).ok()?.into_os_string().into_string().ok()?;
            let disk = link.rsplit('/').nth(1)?;
            Some(format!("{}-part{}", attribute(disk, "serial")?, attribute(&name, "partition")?))
        });
        let mut disk = Self { name, serial, superblock: None };
        match disk.read_superblock() {
            Ok(superblock) => disk.superblock = superblock,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => console::warn(&format!("cannot read the disk {}: {error}", disk.device())),
        }
        Some(disk)
    }

    fn read_superblock(&self) -> io::Result<Option<Superblock>> {
        let mut file = File::open(self.device())?;
        let mut head = Vec::with_capacity(superblock::HEAD);
        file.by_ref().take(superblock::HEAD.try_into().unwrap_or(0)).read_to_end(&mut head)?;
        let Some(mut found) = superblock::read(&head) else { return Ok(None) };
        if let Some(root) = found.root {
            let mut directory = [0; superblock::ROOT];
            // Past the end of the disk if that is damaged; then the boot sector's label has to do.
            let label = file.read_exact_at(&mut directory, root).ok().and_then(|()| Superblock::root_label(&directory));
            found.label = label.or(found.label);
        }
        Ok(Some(found))
    }

    /// The path of its device.
    pub fn device(&self) -> String {
        // The kernel writes `!` for `/` in the names of some old controllers' disks.
        format!("/dev/{}", self.name.replace('!', "/"))
    }

    fn is(&self, source: &Source) -> bool {
        match source {
            Source::Label(label) => self.superblock.as_ref().is_some_and(|found| found.has_label(label)),
            Source::Uuid(uuid) => self.superblock.as_ref().is_some_and(|found| found.has_uuid(uuid)),
            Source::Device(path) => match path.strip_prefix(BY_SERIAL) {
                Some(serial) => self.serial.as_deref() == Some(serial),
                None => self.device() == *path,
            },
        }
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, serial, superblock } = self;
        let mut facts = vec![superblock.as_ref().map_or("no known file system", |found| found.kind.name()).to_owned()];
        facts
            .extend(superblock.iter().filter_map(|found| found.label.as_ref()).map(|label| format!("label `{label}`")));
        facts.extend(serial.iter().map(|serial| format!("serial `{serial}`")));
        write!(f, "{name} ({})", facts.join(", "))
    }
}

/// A file of the disk's folder in /sys, without the line's end. `None` if it is not there or empty.
fn attribute(name: &str, file: &str) -> Option<String> {
    let text = fs::read_to_string(format!("{LIST}/{name}/{file}")).ok()?;
    Some(text.trim_ascii().to_owned()).filter(|text| !text.is_empty())
}
