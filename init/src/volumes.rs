//! Volumes: disks that are mounted before the program starts, and unmounted after the last process has ended.
//!
//! No disk is ever repaired or made here. ext4 replays its journal when it is mounted; anything worse is for a person with
//! fsck, and a program without its data must not start as if it had none. So a required volume that is not there is the
//! end of the boot, with a sentence that says why.

use std::fs;
use std::io;
use std::time::Duration;

use pid1_init::LogLevel;
use pid1_init::config::{FileSystem, Source, Volume};
use pid1_init::mount_table;
use pid1_init::superblock::State;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::clock::{self, Moment};
use crate::console::{debug, log, warn};
use crate::disks::{Disk, Disks};
use crate::folders;

/// How long a required disk may take to appear, from the start of [`mount_all`]. Virtio disks are there before init is;
/// USB and NVMe need a second or two.
const PATIENCE: Duration = Duration::from_secs(5);

/// The same for an optional disk, whose absence must not make every boot late.
const OPTIONAL_PATIENCE: Duration = Duration::from_secs(1);

/// Between two looks. Only a disk that is late costs anything.
const STEP: Duration = Duration::from_millis(10);

/// Programs bring no set-user-id files and no devices on a disk; but they do keep programs and libraries there, such as
/// plug-ins and updates of themselves, so no `noexec`.
const FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Volumes that were mounted, and the first required one that was not.
#[derive(Default)]
#[must_use = "volumes have to be unmounted before the power goes off"]
pub struct Mounted {
    places: Vec<Vec<u8>>,
    missing: Option<String>,
}

/// Mounts `volumes` in their order. Every problem is said on the console, but for [`Mounted::missing`], which is the
/// caller's to say.
pub fn mount_all(volumes: &[Volume]) -> Mounted {
    let mut mounted = Mounted::default();
    let mut disks = Disks::default();
    let start = clock::now();
    if !volumes.is_empty() {
        disks.scan();
    }
    for volume in volumes {
        match mount(volume, &mut disks, start) {
            Ok(()) => mounted.places.push(volume.path.clone().into_bytes()),
            Err(why) if volume.required => {
                mounted.miss(format!("the program cannot start without its volume {}: {why}", volume.path));
            }
            // No folder is made either: what a program wrote there would be gone with the power.
            Err(why) => warn(&format!("going on without the volume {}: {why}", volume.path)),
        }
    }
    mounted
}

impl Mounted {
    /// Why the program must not start: the sentence about the first required volume that is not there.
    pub fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    fn miss(&mut self, why: String) {
        match self.missing {
            None => self.missing = Some(why),
            Some(_) => warn(&why),
        }
    }

    /// Unmounts the volumes, and what the program mounted by itself, the last first. To be called when no process is
    /// left; it waits until all is written, however long a disk takes. What is still in use is made read-only, which
    /// leaves it in order as well.
    pub fn unmount(self) {
        let table = fs::read("/proc/self/mounts").map(|table| mount_table::on_disks(&table));
        let places = table.unwrap_or_else(|_| self.places.into_iter().rev().collect());
        for place in &places {
            unmount(place);
        }
    }
}

fn mount(volume: &Volume, disks: &mut Disks, start: Moment) -> Result<(), String> {
    wait_for(volume, disks, start)?;
    let found = disks.find(&volume.source);
    let Some(disk) = found.first() else { return Err(not_found(volume, disks)) };
    if found.len() > 1 {
        let devices: Vec<String> = found.iter().map(|disk| disk.device()).collect();
        let text = format!("several disks have the {}: {}", describe(&volume.source), devices.join(", "));
        warn(&format!("volume {}: {text}; the first counts", volume.path));
    }
    let kind = kind_of(volume, disk)?;
    folders::make(&volume.path).map_err(|error| format!("failed to make the folder: {}", io::Error::from(error)))?;
    let options = match kind {
        // The default is the disk's own, and mkfs writes "continue" there: to go on writing to what is broken.
        FileSystem::Ext4 => c"errors=remount-ro",
        // File names in the encoding of all programs here.
        FileSystem::Vfat => c"errors=remount-ro,utf8",
    };
    let flags = if volume.read_only { FLAGS | MountFlags::RDONLY } else { FLAGS };
    rustix::mount::mount(disk.device(), volume.path.as_str(), kind.name(), flags, options)
        .map_err(|error| why_not_mounted(volume, disk, kind, error))?;
    debug(&format!("mounted {} ({}) on {}", disk.device(), kind.name(), volume.path));
    tell_state(volume, disk, kind);
    Ok(())
}

/// Returns when the disk is there, or when it has had its time.
fn wait_for(volume: &Volume, disks: &mut Disks, start: Moment) -> Result<(), String> {
    if !Disks::can_exist() {
        return Err("the kernel was built without disks: add the fragment `block`".to_owned());
    }
    let patience = if volume.required { PATIENCE } else { OPTIONAL_PATIENCE };
    let mut is_said = false;
    while disks.find(&volume.source).is_empty() && clock::since(start) < patience {
        if !is_said {
            debug(&format!("waiting for the disk of the volume {}", volume.path));
            is_said = true;
        }
        clock::sleep(STEP);
        disks.scan();
    }
    Ok(())
}

fn not_found(volume: &Volume, disks: &Disks) -> String {
    match &volume.source {
        Source::Device(path) => format!("there is no disk {path}; {disks}"),
        source => format!("no disk has the {}; {disks}", describe(source)),
    }
}

fn describe(source: &Source) -> String {
    match source {
        Source::Label(label) => format!("label `{label}`"),
        Source::Uuid(uuid) => format!("UUID {uuid}"),
        Source::Device(path) => format!("name {path}"),
    }
}

fn kind_of(volume: &Volume, disk: &Disk) -> Result<FileSystem, String> {
    let device = disk.device();
    match (volume.kind, disk.superblock.as_ref().map(|found| found.kind)) {
        (Some(asked), Some(found)) if asked != found => {
            Err(format!("{device} is {}, and the image says {}", found.name(), asked.name()))
        }
        (None, None) => Err(format!(
            "{device} holds no file system that is known: make one with `mkfs.ext4`, or mend the one that was there with \
             `e2fsck` or `fsck.vfat`"
        )),
        (Some(kind), _) | (None, Some(kind)) => Ok(kind),
    }
}

/// What an error of mount(2) means.
fn why_not_mounted(volume: &Volume, disk: &Disk, kind: FileSystem, error: Errno) -> String {
    let device = disk.device();
    let kind_name = kind.name();
    let unknown = disk.superblock.as_ref().map_or(0, |found| found.unknown_features);
    match error {
        Errno::NODEV => format!("the kernel was built without {kind_name}: add the fragment `{kind_name}`"),
        Errno::ACCESS | Errno::ROFS if !volume.read_only => {
            format!("{device} is write-protected: say `read-only = true` to mount it all the same")
        }
        Errno::ROFS => {
            format!("{device} is write-protected, and its journal has to be replayed: attach it once writable")
        }
        Errno::INVAL | Errno::OPNOTSUPP if unknown != 0 => {
            format!("{device} has features that this kernel does not know ({unknown:#x}): make it anew without them")
        }
        // What ext4 calls EFSCORRUPTED and EFSBADCRC are the last two.
        Errno::INVAL | Errno::UCLEAN | Errno::BADMSG => {
            format!("{device} holds no {kind_name} that can be used: mend it with `{}`", checker(kind))
        }
        Errno::BUSY => format!("{device} is mounted already, and not in the same way"),
        error => format!("failed to mount {device} as {kind_name}: {}", io::Error::from(error)),
    }
}

fn tell_state(volume: &Volume, disk: &Disk, kind: FileSystem) {
    let path = &volume.path;
    match disk.superblock.as_ref().map(|found| found.state) {
        Some(State::Journal) => {
            log(LogLevel::Info, &format!("the volume {path} was not unmounted in order; its journal was replayed"))
        }
        Some(State::Torn) => {
            warn(&format!("the volume {path} was not unmounted in order: check it with `{}`", checker(kind)));
        }
        Some(State::Errors) => warn(&format!("the volume {path} has errors: mend it with `{}`", checker(kind))),
        Some(State::Clean) | None => {}
    }
}

/// The command that checks and mends a file system, on another machine.
fn checker(kind: FileSystem) -> &'static str {
    match kind {
        FileSystem::Ext4 => "e2fsck -f",
        FileSystem::Vfat => "fsck.vfat",
    }
}

fn unmount(place: &[u8]) {
    let at = String::from_utf8_lossy(place);
    match rustix::mount::unmount(place, UnmountFlags::empty()) {
        Ok(()) => debug(&format!("unmounted {at}")),
        // Nothing is mounted there any more.
        Err(Errno::INVAL | Errno::NOENT) => {}
        Err(error) => match rustix::mount::mount_remount(place, FLAGS | MountFlags::RDONLY, c"") {
            Ok(()) => warn(&format!("{at} cannot be unmounted, it was made read-only instead: {error}")),
            Err(also) => warn(&format!("{at} cannot be unmounted ({error}), nor made read-only: {also}")),
        },
    }
}
