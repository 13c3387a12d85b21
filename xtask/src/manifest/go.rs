//! What Go's linker wrote into a program: the compiler's version, and every module that is linked in.
//! Source: Go's package debug/buildinfo; the layout is that of Go 1.18 and later.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::elf;

/// How a Go program says that it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GoBuild {
    /// The version of the compiler and of the standard library, as in `1.19.8`.
    pub version: String,
    /// The program's own module, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The other modules that are linked in, by `path version`, with Go's own hash of them; empty where Go has none.
    pub modules: BTreeMap<String, String>,
}

const SECTION: &str = ".go.buildinfo";
const MAGIC: &[u8] = b"\xff Go buildinf:";
/// The header's flags are in this byte; the bit says that the texts follow the header.
const FLAGS: (usize, u8) = (15, 2);
/// The length of the header.
const HEADER: usize = 32;
/// The list of modules lies between two marks of this length.
const MARK: usize = 16;

impl GoBuild {
    /// Reads it from a program; nothing, if Go did not make it, or one before 1.18.
    pub fn read(program: &[u8]) -> Option<Self> {
        Self::parse(elf::section(program, SECTION)?)
    }

    fn parse(section: &[u8]) -> Option<Self> {
        if !section.starts_with(MAGIC) || section.get(FLAGS.0)? & FLAGS.1 == 0 {
            return None;
        }
        let (version, rest) = text(section.get(HEADER..)?)?;
        let (list, _) = text(rest)?;
        let version = std::str::from_utf8(version).ok()?;
        let list = list.get(MARK..list.len().saturating_sub(MARK)).unwrap_or_default();
        let mut build = Self {
            version: version.strip_prefix("go").unwrap_or(version).to_owned(),
            module: None,
            modules: BTreeMap::new(),
        };
        build.read_modules(std::str::from_utf8(list).ok()?);
        Some(build)
    }

    /// Lines of `mod`, `dep` or `=>` (what stands in for the line before), path, version and hash, with tabs between.
    fn read_modules(&mut self, list: &str) {
        let mut replaced = String::new();
        for line in list.lines() {
            let mut words = line.split('\t');
            let (kind, path) = (words.next(), words.next().unwrap_or_default());
            let (version, hash) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let name = format!("{path} {version}").trim_end().to_owned();
            match kind {
                Some("mod") => self.module = Some(path.to_owned()),
                Some("dep") => {
                    replaced.clone_from(&name);
                    self.modules.insert(name, hash.to_owned());
                }
                Some("=>") => {
                    self.modules.remove(&replaced);
                    self.modules.insert(name, hash.to_owned());
                }
                _ => {}
            }
        }
    }
}

/// A text after its length, which is a base-128 varint with the low digits first; and what follows.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0_usize;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let rest = bytes.get(index + 1..)?;
            return Some((rest.get(..length)?, rest.get(length..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn section(version: &str, modules: &str) -> Vec<u8> {
        let mut bytes = [MAGIC, &[8, 2], &[0; HEADER - 16]].concat();
        for text in [version.to_owned(), format!("{0}{modules}{0}", "m".repeat(MARK))] {
            bytes.extend([0x80 | (text.len() & 0x7f) as u8, (text.len() >> 7) as u8]);
            bytes.extend(text.as_bytes());
        }
        bytes
    }

    #[test]
    fn the_modules_are_those_that_are_linked() {
        let list = "path\texample.org/x\nmod\texample.org/x\t(devel)\t\ndep\texample.org/a\tv1.0.0\th1:a=\n\
                    dep\texample.org/b\tv2.0.0\n=>\texample.org/fork\tv2.0.1\th1:b=\nbuild\t-compiler=gc\n";
        let found = GoBuild::parse(&section("go1.19.8", list)).unwrap();
        let modules = [("example.org/a v1.0.0", "h1:a="), ("example.org/fork v2.0.1", "h1:b=")];
        let modules = modules.map(|(name, hash)| (name.to_owned(), hash.to_owned())).into();
        assert_eq!(found, GoBuild { version: "1.19.8".to_owned(), module: Some("example.org/x".to_owned()), modules });
    }

    proptest! {
        #[test]
        fn no_bytes_stop_it(data in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = GoBuild::parse(&data);
            let _ = GoBuild::parse(&[MAGIC, &[8, 2], &[0; 16], &data].concat());
        }
    }
}
