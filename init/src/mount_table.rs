//! The kernel's table of what is mounted, as `/proc/self/mounts` shows it: which of it must be unmounted before the power
//! goes off.

/// Where something is mounted that lies on a disk, or below such a place: the volumes, and what the program itself
/// mounted. In the order in which it can be unmounted.
pub fn on_disks(table: &[u8]) -> Vec<Vec<u8>> {
    let mut places: Vec<Vec<u8>> = Vec::new();
    for line in table.split(|byte| *byte == b'\n') {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(source), Some(place)) = (words.next(), words.next()) else { continue };
        let place = unescape(place);
        if source.starts_with(b"/dev/") || places.iter().any(|above| is_below(&place, above)) {
            places.push(place);
        }
    }
    places.reverse();
    places
}

/// Whether a path is another one, or below it.
fn is_below(path: &[u8], above: &[u8]) -> bool {
    path.strip_prefix(above).is_some_and(|rest| above == b"/" || rest.is_empty() || rest.starts_with(b"/"))
}

/// The kernel writes white space, `\` and `#` as `\` and three octal digits.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.first_chunk().filter(|_| *first == b'\\').and_then(octal);
        bytes.push(digits.unwrap_or(*first));
        rest = after.get(if digits.is_some() { 3 } else { 0 }..).unwrap_or_default();
    }
    bytes
}

fn octal(digits: &[u8; 3]) -> Option<u8> {
    u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_lies_on_disks_is_unmounted_from_the_last_to_the_first() {
        let table = b"rootfs / rootfs rw 0 0\ndevtmpfs /dev devtmpfs rw 0 0\nproc /proc proc rw 0 0\n\
            /dev/vda /data ext4 rw 0 0\n/dev/vdb /my\\040disk vfat ro 0 0\ntmpfs /data/tmp tmpfs rw 0 0\n\
            tmpfs /database tmpfs rw 0 0\n/dev/vda /srv ext4 rw 0 0\n";
        let expect = ["/srv", "/data/tmp", "/my disk", "/data"];
        assert_eq!(on_disks(table), expect.map(|place| place.as_bytes().to_vec()));
    }

    #[test]
    fn all_is_below_a_root_on_a_disk() {
        let table = b"/dev/vda / ext4 rw 0 0\nproc /proc proc rw 0 0\n";
        assert_eq!(on_disks(table), [b"/proc".to_vec(), b"/".to_vec()]);
    }

    #[test]
    fn an_escape_that_is_none_stays() {
        for (word, expect) in [("a\\134b", "a\\b"), ("\\04", "\\04"), ("\\899", "\\899"), ("\\777", "\\777"), ("", "")]
        {
            assert_eq!(unescape(word.as_bytes()), expect.as_bytes(), "{word}");
        }
    }

    proptest! {
        #[test]
        fn no_table_stops_it(table in prop::collection::vec(prop_oneof![Just(b' '), Just(b'\\'), Just(b'\n'), any::<u8>()], 0..99)) {
            on_disks(&table);
            on_disks(&[b"/dev/vda ", &table[..]].concat());
        }
    }
}
