//! Who a file asks to be run by: an ELF program its loader, a script what its first line names. From the first bytes of
//! the file, for the message when it is not there.

/// How many bytes of a file are enough: a script's first line and an ELF file's headers are at its start, and linkers
/// put the loader's name right behind the headers.
pub const N_BYTES: usize = 4096;

/// Asks to be run by this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interpreter {
    /// The program is dynamic; this loader puts it together.
    Loader(String),
    /// The file is a script for this program.
    Script(String),
}

/// Program header type of the loader's name, and the sizes of ELF64's headers (ELF-64 Object File Format 1.5).
const PT_INTERP: u32 = 3;
const PROGRAM_HEADER_BYTES: usize = 56;

/// The interpreter in a file that begins with `bytes`, if it has one.
pub fn interpreter(bytes: &[u8]) -> Option<Interpreter> {
    match bytes.strip_prefix(b"#!") {
        Some(line) => script(line).map(Interpreter::Script),
        None => loader(bytes).map(Interpreter::Loader),
    }
}

/// The first word of `#!`'s line, as the kernel's fs/binfmt_script.c finds it.
fn script(line: &[u8]) -> Option<String> {
    let line = line.split(|byte| *byte == b'\n').next()?;
    let word = line.split(|byte| matches!(byte, b' ' | b'\t')).find(|word| !word.is_empty())?;
    Some(String::from_utf8_lossy(word).into_owned())
}

fn loader(bytes: &[u8]) -> Option<String> {
    // 64-bit, little-endian.
    bytes.strip_prefix(b"\x7fELF\x02\x01")?;
    let (start, n_headers) = (usize_at(bytes, 0x20)?, u16_at(bytes, 0x38)?);
    let headers = bytes.get(start..)?.chunks_exact(PROGRAM_HEADER_BYTES).take(n_headers.into());
    let header = headers.into_iter().find(|header| header.first_chunk() == Some(&PT_INTERP.to_le_bytes()))?;
    let (offset, size) = (usize_at(header, 0x08)?, usize_at(header, 0x20)?);
    let name = bytes.get(offset..offset.checked_add(size)?)?;
    Some(String::from_utf8_lossy(name.split(|byte| *byte == 0).next()?).into_owned())
}

fn usize_at(bytes: &[u8], offset: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk()?)).ok()
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(bytes: &[u8], expect: Option<Interpreter>) {
        assert_eq!(interpreter(bytes), expect, "{bytes:?}");
    }

    #[test]
    fn a_script_names_its_interpreter() {
        check(b"#!/bin/sh\necho", Some(Interpreter::Script("/bin/sh".to_owned())));
        check(b"#! \t/usr/bin/env -S a b", Some(Interpreter::Script("/usr/bin/env".to_owned())));
        check(b"#!\n/bin/sh", None);
        check(b"# comment", None);
    }

    #[test]
    fn a_dynamic_program_names_its_loader() -> std::io::Result<()> {
        let own = std::fs::read(std::env::current_exe()?)?;
        let Some(Interpreter::Loader(loader)) = interpreter(own.get(..N_BYTES).unwrap_or_default()) else {
            panic!("this test is a dynamic program");
        };
        assert!(loader.starts_with('/') && loader.contains("ld"), "{loader}");
        Ok(())
    }

    proptest! {
        #[test]
        fn no_input_stops_it(mut bytes in prop::collection::vec(any::<u8>(), 0..300), is_elf in any::<bool>()) {
            if is_elf {
                bytes.splice(..bytes.len().min(6), *b"\x7fELF\x02\x01");
            }
            interpreter(&bytes);
        }
    }
}
