//! ext2, ext3 and ext4: one superblock of 1024 bytes, 1024 bytes into the disk.

use super::{FileSystem, State, Superblock, bytes_at, u16_at, u32_at};

const START: usize = 1024;
const MAGIC: u16 = 0xef53;
/// The block size is 1024 shifted by this, and at most 64 KiB.
const LARGEST_LOG_BLOCK_SIZE: u32 = 6;
/// `s_state`: unmounted in order.
const VALID: u16 = 1;
/// `s_state`: errors were found.
const ERRORS: u16 = 2;
const COMPAT_HAS_JOURNAL: u32 = 0x4;
/// The journal holds what is not yet in its place.
const INCOMPAT_RECOVER: u32 = 0x4;
/// It is no file system, but the journal of one on another disk.
const INCOMPAT_JOURNAL_DEV: u32 = 0x8;
/// `EXT4_FEATURE_INCOMPAT_SUPP` of Linux 6.12.
const INCOMPAT_KNOWN: u32 = 0x2
    | INCOMPAT_RECOVER
    | 0x10
    | 0x40
    | 0x80
    | 0x100
    | 0x200
    | 0x400
    | 0x2000
    | 0x4000
    | 0x8000
    | 0x1_0000
    | 0x2_0000;

pub fn read(head: &[u8]) -> Option<Superblock> {
    let block = head.get(START..)?;
    let is_ext = u16_at(block, 0x38)? == MAGIC
        && u32_at(block, 0x0)? > 0
        && u32_at(block, 0x18)? <= LARGEST_LOG_BLOCK_SIZE
        && u32_at(block, 0x28)? > 0;
    let (compat, incompat) = (u32_at(block, 0x5c)?, u32_at(block, 0x60)?);
    if !is_ext || incompat & INCOMPAT_JOURNAL_DEV != 0 {
        return None;
    }
    Some(Superblock {
        kind: FileSystem::Ext4,
        label: label(bytes_at(block, 0x78)?),
        uuid: uuid(bytes_at(block, 0x68)?),
        state: state(u16_at(block, 0x3a)?, compat, incompat),
        unknown_features: incompat & !INCOMPAT_KNOWN,
        root: None,
    })
}

fn state(state: u16, compat: u32, incompat: u32) -> State {
    if state & ERRORS != 0 {
        State::Errors
    } else if incompat & INCOMPAT_RECOVER != 0 {
        State::Journal
    } else if state & VALID == 0 && compat & COMPAT_HAS_JOURNAL == 0 {
        State::Torn
    } else {
        State::Clean
    }
}

fn label(bytes: [u8; 16]) -> Option<String> {
    let text = bytes.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned()).filter(|label| !label.is_empty())
}

fn uuid(bytes: [u8; 16]) -> Option<String> {
    // Groups of 4, 2, 2, 2 and 6 bytes.
    const DASH_BEFORE: [usize; 4] = [4, 6, 8, 10];
    if bytes == [0; 16] {
        return None;
    }
    let dash = |i| if DASH_BEFORE.contains(&i) { "-" } else { "" };
    Some(bytes.iter().enumerate().map(|(i, byte)| format!("{}{byte:02x}", dash(i))).collect())
}
