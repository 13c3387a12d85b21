//! FAT12, FAT16 and FAT32: the boot sector, with the BIOS parameter block; and the label in the root directory.

use super::{FileSystem, State, Superblock, bytes_at, u8_at, u16_at, u32_at};

/// `BS_BootSig`: a serial number follows.
const HAS_SERIAL: u8 = 0x28;
/// `BS_BootSig`: a serial number, a label and a type follow.
const HAS_LABEL: u8 = 0x29;
/// What stands in the place of a label that is not there.
const NO_LABEL: &[u8] = b"NO NAME";
/// In the byte that Linux and Windows keep for it: the file system is in use.
const IN_USE: u8 = 1;
/// An entry of a directory.
const ENTRY: usize = 32;
/// Attributes of an entry: the label of the volume, and all those that together mark a part of a long name.
const LABEL: u8 = 0x08;
const LONG_NAME: u8 = 0x0f;
const ATTRIBUTES: u8 = 0x3f;
/// First byte of an entry: nothing follows; it was deleted; it stands for 0xe5.
const END: u8 = 0;
const DELETED: u8 = 0xe5;
const STANDS_FOR_E5: u8 = 0x05;

pub fn read(head: &[u8]) -> Option<Superblock> {
    let sector = u16_at(head, 11)?;
    let cluster = u8_at(head, 13)?;
    let reserved = u16_at(head, 14)?;
    let fats = u8_at(head, 16)?;
    let media = u8_at(head, 21)?;
    let length_16 = u16_at(head, 22)?;
    let length_32 = u32_at(head, 36)?;
    let is_fat = matches!(u8_at(head, 0)?, 0xeb | 0xe9)
        && bytes_at(head, 510)? == [0x55, 0xaa]
        && matches!(sector, 512 | 1024 | 2048 | 4096)
        && cluster.is_power_of_two()
        && reserved > 0
        && fats > 0
        && (media == 0xf0 || media >= 0xf8)
        && (length_16 > 0 || length_32 > 0);
    if !is_fat {
        return None;
    }
    let is_32 = length_16 == 0;
    // What FAT12 and FAT16 have right after the parameter block, FAT32 has behind 28 bytes of its own.
    let extended = if is_32 { 64 } else { 36 };
    let signature = u8_at(head, extended + 2)?;
    let label = bytes_at::<11>(head, extended + 7).filter(|_| signature == HAS_LABEL);
    let serial = u32_at(head, extended + 3).filter(|_| matches!(signature, HAS_SERIAL | HAS_LABEL));
    let length = if is_32 { length_32 } else { length_16.into() };
    let tables = u64::from(reserved) + u64::from(fats) * u64::from(length);
    // FAT32's root directory is a file like any other; the first cluster of files is number 2.
    let first = if is_32 { u64::from(u32_at(head, 44)?.saturating_sub(2)) * u64::from(cluster) } else { 0 };
    Some(Superblock {
        kind: FileSystem::Vfat,
        label: label.as_ref().and_then(|bytes| text(bytes)),
        uuid: serial.map(|number| format!("{:04X}-{:04X}", number >> 16, number & 0xffff)),
        state: if u8_at(head, extended + 1)? & IN_USE == 0 { State::Clean } else { State::Torn },
        unknown_features: 0,
        root: Some((tables + first) * u64::from(sector)),
    })
}

pub fn label_of_root(directory: &[u8]) -> Option<String> {
    let entries = directory.chunks_exact(ENTRY).take_while(|entry| entry.first() != Some(&END));
    let is_label = |entry: &&[u8]| {
        let attributes = u8_at(entry, 11).unwrap_or(0) & ATTRIBUTES;
        attributes & LABEL != 0 && attributes != LONG_NAME && entry.first() != Some(&DELETED)
    };
    let mut name: [u8; 11] = bytes_at(entries.into_iter().find(is_label)?, 0)?;
    if let Some(first) = name.first_mut().filter(|first| **first == STANDS_FOR_E5) {
        *first = DELETED;
    }
    text(&name)
}

/// A label without the space that fills it up. Beyond ASCII its letters depend on the country that the disk is from.
fn text(bytes: &[u8]) -> Option<String> {
    let text = bytes.trim_ascii_end();
    (!text.is_empty() && text != NO_LABEL && text.first() != Some(&0))
        .then(|| String::from_utf8_lossy(text).into_owned())
}
