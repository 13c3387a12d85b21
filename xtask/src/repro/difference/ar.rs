//! Archives of object files (`.a`, `.rlib`): the member that differs, and what of it.

use object::read::archive::{ArchiveFile, ArchiveMember};

use super::{Difference, of_contents};

const MAGIC: &[u8] = b"!<arch>\n";

/// The first member that differs, if both are archives.
pub fn compare(usual: &[u8], otherwise: &[u8]) -> Option<Difference> {
    let (ours, theirs) = (members(usual)?, members(otherwise)?);
    let n_members = ours.len().max(theirs.len());
    for number in 0..n_members {
        let (one, other) = (ours.get(number), theirs.get(number));
        let names = [one, other].map(|member| member.map_or("the end".to_owned(), Member::name));
        if names[0] != names[1] {
            return Some(Difference::new(format!("member {}", number + 1), &names[0], &names[1]));
        }
        let (Some(one), Some(other)) = (one, other) else { break };
        let found = of_contents(one.data, other.data).or_else(|| of_headers(&one.header, &other.header));
        if let Some(found) = found {
            return Some(found.inside(format!("member {}", names[0])));
        }
    }
    None
}

struct Member<'a> {
    header: ArchiveMember<'a>,
    data: &'a [u8],
}

impl Member<'_> {
    fn name(&self) -> String {
        String::from_utf8_lossy(self.header.name()).into_owned()
    }
}

fn members<'a>(bytes: &'a [u8]) -> Option<Vec<Member<'a>>> {
    let archive = ArchiveFile::parse(bytes.starts_with(MAGIC).then_some(bytes)?).ok()?;
    let member = |header: ArchiveMember<'a>| Some(Member { data: header.data(bytes).ok()?, header });
    archive.members().map(|header| member(header.ok()?)).collect()
}

/// What an archive says of a member: ar(5).
fn of_headers(one: &ArchiveMember<'_>, other: &ArchiveMember<'_>) -> Option<Difference> {
    let fields = |member: &ArchiveMember<'_>| [member.date(), member.uid(), member.gid(), member.mode()];
    let pairs = ["date", "owner", "group", "mode"].into_iter().zip(fields(one)).zip(fields(other));
    let said = |value: Option<u64>| value.map_or("none".to_owned(), |value| value.to_string());
    pairs.into_iter().find(|((_, a), b)| a != b).map(|((name, a), b)| Difference::new(name, said(a), said(b)))
}
