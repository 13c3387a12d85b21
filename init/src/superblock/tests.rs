//! Disks that were made by mkfs.ext4, mke2fs and mkfs.vfat, reduced to the fields that count; and any other bytes.

use super::*;
use proptest::prelude::*;

/// `put(&mut disk, 0x438, &[0x53, 0xef])`
fn put(disk: &mut [u8], at: usize, bytes: &[u8]) {
    disk[at..at + bytes.len()].copy_from_slice(bytes);
}

fn ext4() -> Vec<u8> {
    let mut disk = vec![0; HEAD];
    put(&mut disk, 0x400, &1024_u32.to_le_bytes());
    put(&mut disk, 0x428, &1024_u32.to_le_bytes());
    put(&mut disk, 0x438, &[0x53, 0xef, 1, 0]);
    put(&mut disk, 0x45c, &0x3c_u32.to_le_bytes());
    put(&mut disk, 0x460, &0x2c2_u32.to_le_bytes());
    put(
        &mut disk,
        0x468,
        &[0x1b, 0x4e, 0x28, 0xba, 0x2f, 0xa1, 0x11, 0xd2, 0x88, 0x3f, 0, 0x16, 0xd3, 0xcc, 0xa4, 0x27],
    );
    put(&mut disk, 0x478, b"data");
    disk
}

fn fat(length_16: u16, at: usize) -> Vec<u8> {
    let mut disk = vec![0; HEAD];
    put(&mut disk, 0, &[0xeb, 0x3c, 0x90]);
    put(&mut disk, 3, b"mkfs.fat");
    put(&mut disk, 11, &[0, 2, 4, 4, 0, 2, 0, 2, 0, 0, 0xf8]);
    put(&mut disk, 22, &length_16.to_le_bytes());
    put(&mut disk, at + 2, &[0x29, 0xd2, 0x11, 0xa1, 0x2f]);
    put(&mut disk, at + 7, b"DATA       FAT");
    put(&mut disk, 510, &[0x55, 0xaa]);
    disk
}

fn fat16() -> Vec<u8> {
    fat(64, 36)
}

fn fat32() -> Vec<u8> {
    let mut disk = fat(0, 64);
    put(&mut disk, 14, &[32]);
    put(&mut disk, 36, &1000_u32.to_le_bytes());
    put(&mut disk, 44, &[3, 0, 0, 0]);
    disk
}

/// What becomes of `disk` with `bytes` at `at`.
fn changed(mut disk: Vec<u8>, at: usize, bytes: &[u8]) -> Option<Superblock> {
    put(&mut disk, at, bytes);
    read(&disk)
}

#[test]
fn ext4_is_told_by_its_superblock() {
    let expect = Superblock {
        kind: FileSystem::Ext4,
        label: Some("data".to_owned()),
        uuid: Some("1b4e28ba-2fa1-11d2-883f-0016d3cca427".to_owned()),
        state: State::Clean,
        unknown_features: 0,
        root: None,
    };
    assert_eq!(read(&ext4()), Some(expect));
    let label = |bytes| changed(ext4(), 0x478, bytes).and_then(|found| found.label);
    assert_eq!(label(b"sixteen-letters!").as_deref(), Some("sixteen-letters!"));
    assert_eq!(label("dé\0old".as_bytes()).as_deref(), Some("dé"));
    assert_eq!(label(&[0; 16]), None);
    assert_eq!(changed(ext4(), 0x468, &[0; 16]).and_then(|found| found.uuid), None);
}

#[test]
fn ext2_and_ext3_are_ext4_and_a_lone_journal_is_not() {
    for (compat, incompat) in [(0x38_u8, 0x02_u8), (0x3c, 0x02), (0x3c, 0x42)] {
        let mut disk = ext4();
        put(&mut disk, 0x45c, &[compat, 0, 0, 0, incompat, 0, 0, 0]);
        assert_eq!(read(&disk).map(|found| (found.kind, found.unknown_features)), Some((FileSystem::Ext4, 0)));
    }
    assert_eq!(changed(ext4(), 0x460, &[0x08, 0, 0, 0]), None);
    assert_eq!(changed(ext4(), 0x460, &[0x43, 0, 0x80, 0]).map(|found| found.unknown_features), Some(0x80_0001));
}

#[test]
fn ext4_says_how_it_was_left() {
    for (state, compat, incompat, expect) in [
        (1, 0x3c, 0xc2, State::Clean),
        (1, 0x3c, 0xc6, State::Journal),
        (0, 0x3c, 0xc2, State::Clean),
        (0, 0x38, 0x02, State::Torn),
        (1, 0x38, 0x02, State::Clean),
        (3, 0x3c, 0xc6, State::Errors),
    ] {
        let mut disk = ext4();
        put(&mut disk, 0x43a, &[state]);
        put(&mut disk, 0x45c, &[compat, 0, 0, 0, incompat]);
        assert_eq!(read(&disk).map(|found| found.state), Some(expect), "{state} {compat:#x} {incompat:#x}");
    }
}

#[test]
fn fat_is_told_by_its_boot_sector() {
    let expect = Superblock {
        kind: FileSystem::Vfat,
        label: Some("DATA".to_owned()),
        uuid: Some("2FA1-11D2".to_owned()),
        state: State::Clean,
        unknown_features: 0,
        root: Some((4 + 2 * 64) * 512),
    };
    assert_eq!(read(&fat16()), Some(expect.clone()));
    assert_eq!(read(&fat32()), Some(Superblock { root: Some((32 + 2 * 1000 + 4) * 512), ..expect }));
    assert_eq!(changed(fat16(), 43, b"NO NAME    ").and_then(|found| found.label), None);
    assert_eq!(changed(fat32(), 65, &[1]).map(|found| found.state), Some(State::Torn));
    assert_eq!(changed(fat16(), 37, &[1]).map(|found| found.state), Some(State::Torn));
    let serial_alone = changed(fat16(), 38, &[0x28]).map(|found| (found.label, found.uuid));
    assert_eq!(serial_alone, Some((None, Some("2FA1-11D2".to_owned()))));
    assert_eq!(changed(fat16(), 38, &[0]).map(|found| (found.label, found.uuid)), Some((None, None)));
}

#[test]
fn what_only_looks_like_fat_is_none() {
    // The first sector of a partitioned disk, NTFS, exFAT; then what Linux refuses.
    for (at, bytes) in [(11, &[0; 53][..]), (14, &[0, 0, 0]), (11, &[0; 11])] {
        assert_eq!(changed(fat16(), at, bytes), None, "{at} {bytes:?}");
    }
    for (at, byte) in [(0, 0x33), (510, 0), (11, 1), (12, 3), (13, 3), (13, 0), (16, 0), (21, 0xf1)] {
        assert_eq!(changed(fat16(), at, &[byte]), None, "{at} {byte:#x}");
    }
    assert_eq!(changed(fat32(), 36, &[0; 4]), None);
}

#[test]
fn a_fat_over_an_old_ext4_is_a_fat() {
    let mut disk = ext4();
    put(&mut disk, 0, &fat16()[..512]);
    assert_eq!(read(&disk).map(|found| found.kind), Some(FileSystem::Vfat));
}

#[test]
fn the_root_directory_knows_the_label_that_windows_wrote() {
    let entry = |name: &[u8; 11], attributes: u8| {
        let mut entry = vec![0; 32];
        put(&mut entry, 0, name);
        entry[11] = attributes;
        entry
    };
    let long = entry(b"Ad.a.t.a...", 0x0f);
    let deleted = entry(b"\xe5OLD       ", 0x08);
    let label = entry(b"My Disk    ", 0x28);
    let file = entry(b"README  TXT", 0x20);
    let end = entry(&[0; 11], 0);
    for (entries, expect) in [
        (vec![&label], Some("My Disk")),
        (vec![&long, &file, &deleted, &label, &file], Some("My Disk")),
        (vec![&file, &end, &label], None),
        (vec![&file], None),
        (vec![], None),
    ] {
        let directory: Vec<u8> = entries.into_iter().flatten().copied().collect();
        assert_eq!(Superblock::root_label(&directory).as_deref(), expect);
    }
}

#[test]
fn a_disk_is_found_by_what_people_write() -> Result<(), &'static str> {
    let ext4 = read(&ext4()).ok_or("no ext4")?;
    assert!(ext4.has_label("data") && !ext4.has_label("DATA") && !ext4.has_label(""));
    assert!(ext4.has_uuid("1B4E28BA-2FA1-11D2-883F-0016D3CCA427") && !ext4.has_uuid(""));
    let fat = read(&fat16()).ok_or("no FAT")?;
    assert!(fat.has_label("data") && fat.has_uuid("2fa1-11d2") && !fat.has_uuid("2fa111d2"));
    Ok(())
}

proptest! {
    #[test]
    fn no_disk_stops_it(mut disk in prop::collection::vec(any::<u8>(), 0..2 * HEAD), is_fat: bool, is_ext: bool) {
        // With what is asked for first, so that the rest is reached.
        if is_fat && disk.len() >= 512 {
            put(&mut disk, 0, &fat32()[..11]);
            put(&mut disk, 510, &[0x55, 0xaa]);
        }
        if is_ext && disk.len() >= 0x440 {
            put(&mut disk, 0x438, &[0x53, 0xef]);
            put(&mut disk, 0x418, &[2, 0, 0, 0]);
        }
        read(&disk);
        Superblock::root_label(&disk);
    }

    #[test]
    fn a_known_disk_with_a_few_wrong_bytes_is_still_read(
        is_fat: bool, wrong in prop::collection::vec((0..HEAD, any::<u8>()), 0..20), length in 0..=HEAD,
    ) {
        let mut disk = if is_fat { fat32() } else { ext4() };
        for (at, byte) in wrong {
            disk[at] = byte;
        }
        read(&disk[..length]);
    }
}
