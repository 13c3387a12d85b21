//! What the first bytes of a disk say about its file system: which one it is, its label, its UUID, and whether it was
//! unmounted in order.
//!
//! Only file systems that a volume can have are known: what Linux's ext4 mounts (ext2 and ext3 too), and FAT. Sources: the
//! kernel's Documentation/filesystems/ext4/super.rst, and for FAT Microsoft's "FAT32 File System Specification" of 2000,
//! with the tests that Linux itself makes (fs/fat/inode.c) before it mounts one. All numbers on these disks are little-endian.

mod ext;
mod fat;

use crate::config::FileSystem;

/// How many bytes from the start of a disk [`read`] wants to see. Fewer are no error: what is not there is not found.
pub const HEAD: usize = 2048;

/// How many bytes [`Superblock::root_label`] wants to see.
pub const ROOT: usize = 512;

/// A file system that was recognized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Which one it is.
    pub kind: FileSystem,
    /// Its name, if it has one. On FAT [`root_label`](Self::root_label) knows better.
    pub label: Option<String>,
    /// As other tools write it: `1b4e28ba-2fa1-11d2-883f-0016d3cca427`, or on FAT `2FA1-11D2`.
    pub uuid: Option<String>,
    /// How it was left.
    pub state: State,
    /// Features, as a bit mask, without which Linux 6.12's ext4 refuses to mount it. 0 if it knows them all.
    pub unknown_features: u32,
    /// On FAT, where the root directory starts, in bytes from the start of the disk.
    pub root: Option<u64>,
}

/// How a file system was left by who used it last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// In order.
    Clean,
    /// In the middle of its work; mounting it replays its journal, and nothing is lost.
    Journal,
    /// In the middle of its work, and it has no journal.
    Torn,
    /// With errors that were found and not repaired.
    Errors,
}

impl Superblock {
    /// The label in the first bytes of a FAT's root directory, where Windows and macOS write it, and only there.
    pub fn root_label(directory: &[u8]) -> Option<String> {
        fat::label_of_root(directory)
    }

    /// Whether this is the file system that is looked for by `label`. FAT has capital letters only.
    pub fn has_label(&self, label: &str) -> bool {
        self.label.as_deref().is_some_and(|own| match self.kind {
            FileSystem::Ext4 => own == label,
            FileSystem::Vfat => own.eq_ignore_ascii_case(label),
        })
    }

    /// Whether this is the file system that is looked for by `uuid`, in capital letters or small ones.
    pub fn has_uuid(&self, uuid: &str) -> bool {
        self.uuid.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(uuid))
    }
}

/// The file system of a disk that starts with `head`, if it is one that can be mounted.
///
/// FAT comes first: it is recognized by far more than the two bytes that make an ext4, and those two bytes are at a place
/// where a FAT has data.
pub fn read(head: &[u8]) -> Option<Superblock> {
    fat::read(head).or_else(|| ext::read(head))
}

fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests;
