//! ELF files: the section that differs. Of several, the one that tells most: a longer string moves all that follows it, so
//! that code and tables which only hold its address differ, too.

use object::{Object, ObjectSection};

use super::{Difference, bytes};

const MAGIC: &[u8] = b"\x7fELF";
/// Where what a build wrote down by itself ends up, the likeliest first; other sections follow in the file's order.
const TELLING: [&str; 6] = [".comment", ".rodata", ".data", ".init.data", ".text", ".debug"];
/// A hash over all others: it says nothing.
const BUILD_ID: &str = ".note.gnu.build-id";
/// How many other sections are named.
const N_NAMED: usize = 8;

struct Section<'a> {
    name: String,
    /// In memory; a section that is only zeros has a size and no data.
    size: u64,
    data: &'a [u8],
}

/// The most telling section that differs, if both are ELF files.
pub fn compare(usual: &[u8], otherwise: &[u8]) -> Option<Difference> {
    // A member of an archive begins anywhere, and `object` reads only what begins where memory is handed out.
    let copies = [usual, otherwise].map(|data| if data.starts_with(MAGIC) { data.to_vec() } else { Vec::new() });
    let (ours, theirs) = (sections(&copies[0])?, sections(&copies[1])?);
    let names = |list: &[Section<'_>]| list.iter().map(|section| section.name.clone()).collect::<Vec<_>>();
    if names(&ours) != names(&theirs) {
        let only = |list: &[Section<'_>], other: &[Section<'_>]| {
            let names: Vec<_> = names(list).into_iter().filter(|name| !names(other).contains(name)).collect();
            format!(
                "{} sections, of its own: {}",
                list.len(),
                if names.is_empty() { "none".into() } else { names.join(" ") }
            )
        };
        return Some(Difference::new("section headers", only(&ours, &theirs), only(&theirs, &ours)));
    }
    let pairs = ours.iter().zip(&theirs).enumerate();
    let mut differ: Vec<_> = pairs.filter(|(_, (a, b))| a.data != b.data || a.size != b.size).collect();
    differ.sort_by_key(|(index, (section, _))| (rank(&section.name), *index));
    let Some((_, (one, other))) = differ.first() else {
        return bytes::compare(usual, otherwise).map(|found| found.inside("ELF headers, or between sections"));
    };
    let sizes = || Difference::new("size", one.size.to_string(), other.size.to_string());
    let found = bytes::compare(one.data, other.data).unwrap_or_else(sizes);
    let others: Vec<&str> =
        differ.iter().skip(1).take(N_NAMED).map(|(_, (section, _))| section.name.as_str()).collect();
    let note = if others.is_empty() { String::new() } else { format!("{} differ, too", others.join(" ")) };
    Some(found.inside(format!("section {}", one.name)).noting(note))
}

fn rank(name: &str) -> usize {
    match TELLING.iter().position(|telling| name.starts_with(telling)) {
        Some(rank) => rank,
        None if name == BUILD_ID => TELLING.len() + 1,
        None => TELLING.len(),
    }
}

fn sections<'a>(data: &'a [u8]) -> Option<Vec<Section<'a>>> {
    let file = object::File::parse(data.starts_with(MAGIC).then_some(data)?).ok()?;
    let section = |section: object::Section<'a, '_>| {
        let name = String::from_utf8_lossy(section.name_bytes().ok()?).into_owned();
        Some(Section { name, size: section.size(), data: section.data().ok()? })
    };
    file.sections().map(section).collect::<Option<Vec<_>>>().filter(|sections| !sections.is_empty())
}
