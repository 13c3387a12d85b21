//! The kernel's initramfs archives (cpio, `newc`): the member that differs, in content or in its header.
//! Layout: Documentation/driver-api/early-userspace/buffer-format.rst.

use super::{Difference, of_contents};

const MAGICS: [&[u8]; 2] = [b"070701", b"070702"];
/// The header's fields after the magic, each eight hexadecimal digits.
const FIELDS: [&str; 13] = [
    "inode number",
    "mode",
    "owner",
    "group",
    "number of links",
    "time",
    "size",
    "device major",
    "device minor",
    "special device major",
    "special device minor",
    "length of the name",
    "checksum",
];
const DIGITS: usize = 8;
const HEADER: usize = 6 + FIELDS.len() * DIGITS;
const SIZE: usize = 6;
const NAME_LENGTH: usize = 11;
const TRAILER: &str = "TRAILER!!!";

struct Member<'a> {
    name: String,
    fields: [u32; FIELDS.len()],
    data: &'a [u8],
}

/// The first member that differs, if both are newc archives.
pub fn compare(usual: &[u8], otherwise: &[u8]) -> Option<Difference> {
    let (ours, theirs) = (members(usual)?, members(otherwise)?);
    let name = |member: Option<&Member<'_>>| member.map_or("the end".to_owned(), |member| member.name.clone());
    for number in 0..ours.len().max(theirs.len()) {
        let (one, other) = (ours.get(number), theirs.get(number));
        if name(one) != name(other) {
            return Some(Difference::new(format!("member {}", number + 1), name(one), name(other)));
        }
        let (Some(one), Some(other)) = (one, other) else { break };
        if let Some(found) = of_contents(one.data, other.data).or_else(|| of_headers(one, other)) {
            return Some(found.inside(format!("member {}", one.name)));
        }
    }
    None
}

fn of_headers(one: &Member<'_>, other: &Member<'_>) -> Option<Difference> {
    let index = one.fields.iter().zip(&other.fields).position(|(a, b)| a != b)?;
    // Modes are read in octal.
    let said = |value: u32| if FIELDS[index] == "mode" { format!("{value:#o}") } else { value.to_string() };
    Some(Difference::new(FIELDS[index], said(one.fields[index]), said(other.fields[index])))
}

/// All members up to the trailer. Nothing, if it is no such archive.
fn members(mut bytes: &[u8]) -> Option<Vec<Member<'_>>> {
    let mut members = Vec::new();
    loop {
        let (member, rest) = first(bytes)?;
        if member.name == TRAILER {
            return Some(members);
        }
        members.push(member);
        bytes = rest;
    }
}

/// The first member, and what follows it.
fn first(bytes: &[u8]) -> Option<(Member<'_>, &[u8])> {
    let header = bytes.get(..HEADER).filter(|header| MAGICS.iter().any(|magic| header.starts_with(magic)))?;
    let mut fields = [0; FIELDS.len()];
    for (field, digits) in fields.iter_mut().zip(header.get(6..)?.chunks(DIGITS)) {
        *field = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    let name_end = HEADER + usize::try_from(fields[NAME_LENGTH]).ok()?;
    let name = bytes.get(HEADER..name_end)?.strip_suffix(b"\0")?;
    let start = name_end.next_multiple_of(4);
    let end = start + usize::try_from(fields[SIZE]).ok()?;
    let member = Member { name: String::from_utf8_lossy(name).into_owned(), fields, data: bytes.get(start..end)? };
    Some((member, bytes.get(end.next_multiple_of(4)..).unwrap_or_default()))
}
