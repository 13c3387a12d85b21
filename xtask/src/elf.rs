//! Pre-flight of the program: can this file run on the image's kernel, with nothing else in the machine?

use anyhow::{Context, Result, bail};
use camino::Utf8Path;
use object::elf;
use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectKind, ObjectSection};

/// How to build a static program, for the languages that people come with.
const HOW_TO_BUILD_STATIC: &str = "hint: build it static. Rust: --target x86_64-unknown-linux-musl; Go: CGO_ENABLED=0 go build; \
     C: gcc -static, or musl-gcc -static; Zig: -target x86_64-linux-musl";

/// Sections that Go's linker writes into every program; stripping leaves them.
const GO_SECTIONS: [&str; 2] = [".go.buildinfo", ".note.go.buildid"];

/// What a file is that shall run on an x86-64 kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// It needs nothing but the kernel.
    Static {
        /// Go's compiler made it.
        is_go: bool,
    },
    /// It needs a loader, which puts it together with its libraries.
    Dynamic {
        /// The loader's path in the machine.
        loader: String,
        /// Go's compiler made it.
        is_go: bool,
    },
    /// It needs an interpreter.
    Script {
        /// The interpreter's path in the machine.
        interpreter: String,
        /// The script's first line.
        line: String,
    },
}

impl Program {
    /// Finds out what `data` is, or why no x86-64 kernel would run it.
    pub fn read(data: &[u8]) -> Result<Self> {
        if data.starts_with(b"#!") {
            return script(data);
        }
        let file = parse(data)?;
        let dynamic = Dynamic::read(&file)?;
        let is_go = GO_SECTIONS.iter().any(|name| file.section_by_name(name).is_some());
        if let Some(loader) = interpreter(&file)? {
            return Ok(Self::Dynamic { loader, is_go });
        }
        if dynamic.needs_libraries {
            bail!("it is dynamic: it wants shared libraries, which the image does not have\n{HOW_TO_BUILD_STATIC}");
        }
        match file.kind() {
            ObjectKind::Executable => Ok(Self::Static { is_go }),
            ObjectKind::Dynamic if dynamic.is_program => Ok(Self::Static { is_go }),
            _ => {
                bail!(
                    "it is an ELF file, but no program: a library or an object file\nhint: give the linked executable"
                )
            }
        }
    }

    /// Fails unless it runs with nothing else in the machine.
    pub fn require_alone(&self) -> Result<()> {
        match self {
            Self::Static { .. } => Ok(()),
            Self::Dynamic { loader, .. } => bail!(
                "it is dynamic: it wants the loader `{loader}`, which the image does not have\n{HOW_TO_BUILD_STATIC}"
            ),
            Self::Script { interpreter, line } => bail!(
                "it is a script (`{line}`), and the image has no interpreter `{interpreter}`\n\
                 hint: bring a static one with `[[file]]` in a spec, or give the interpreter as the program"
            ),
        }
    }
}

/// Checks that `path` is a static program for x86-64. `name` is what the user calls it.
pub fn check(path: &Utf8Path, name: &str) -> Result<()> {
    let data = std::fs::read(path).with_context(|| format!("failed to read the program `{name}`"))?;
    let checked = Program::read(&data).and_then(|program| program.require_alone());
    checked.with_context(|| format!("failed to take `{name}` as the machine's program"))
}

/// Fails unless `data` can be a program's loader: it is no program itself.
pub fn require_loader(data: &[u8]) -> Result<()> {
    parse(data).map(drop)
}

/// What a section of a program holds, if it has one of that name.
pub fn section<'a>(data: &'a [u8], name: &str) -> Option<&'a [u8]> {
    ElfFile64::<Endianness>::parse(data).ok()?.section_by_name(name)?.data().ok()
}

/// The ELF file in `data`, if it is for the kernels that are built here.
fn parse(data: &[u8]) -> Result<ElfFile64<'_>> {
    if !data.starts_with(&elf::ELFMAG) {
        bail!("it is no ELF file\nhint: give a static Linux program for x86-64");
    }
    if data.get(4) != Some(&elf::ELFCLASS64) {
        bail!("it is a 32-bit program; the kernel runs 64-bit ones only\nhint: build it for x86-64");
    }
    let file = ElfFile64::<Endianness>::parse(data).context("its ELF headers are damaged")?;
    let machine = file.elf_header().e_machine(file.endian());
    if machine != elf::EM_X86_64 {
        bail!(
            "it is built for {}; the image's architecture is x86-64\nhint: build it for x86-64",
            machine_name(machine)
        );
    }
    Ok(file)
}

/// Reads the first line as the kernel does: fs/binfmt_script.c.
fn script(data: &[u8]) -> Result<Program> {
    let line = String::from_utf8_lossy(data.split(|byte| *byte == b'\n').next().unwrap_or_default()).into_owned();
    let words = line.trim_start_matches("#!").trim_start_matches([' ', '\t']);
    match words.split([' ', '\t', '\0']).next() {
        Some(interpreter) if !interpreter.is_empty() => {
            Ok(Program::Script { interpreter: interpreter.to_owned(), line })
        }
        _ => bail!("it is a script (`{line}`) that names no interpreter\nhint: write one behind `#!`"),
    }
}

fn interpreter(file: &ElfFile64<'_>) -> Result<Option<String>> {
    let segments = file.elf_program_headers();
    for segment in segments {
        if let Some(path) =
            segment.interpreter(file.endian(), file.data()).context("its program headers are damaged")?
        {
            return Ok(Some(String::from_utf8_lossy(path).into_owned()));
        }
    }
    Ok(None)
}

/// What the dynamic section says. A static program may have one, to move itself to a random address.
#[derive(Default)]
struct Dynamic {
    needs_libraries: bool,
    /// A static-pie is a shared object with DF_1_PIE and without a loader; a library lacks the flag.
    is_program: bool,
}

impl Dynamic {
    fn read(file: &ElfFile64<'_>) -> Result<Self> {
        let endian = file.endian();
        let mut found = Self::default();
        for segment in file.elf_program_headers() {
            let entries =
                segment.dynamic(endian, file.data()).context("its dynamic section is damaged")?.unwrap_or_default();
            for entry in entries {
                let (tag, value) = (entry.d_tag(endian), entry.d_val(endian));
                found.needs_libraries |= tag == u64::from(elf::DT_NEEDED);
                found.is_program |= tag == u64::from(elf::DT_FLAGS_1) && value & u64::from(elf::DF_1_PIE) != 0;
            }
        }
        Ok(found)
    }
}

fn machine_name(machine: u16) -> String {
    match machine {
        elf::EM_AARCH64 => "AArch64".to_owned(),
        elf::EM_ARM => "32-bit Arm".to_owned(),
        elf::EM_386 => "32-bit x86".to_owned(),
        elf::EM_RISCV => "RISC-V".to_owned(),
        elf::EM_PPC64 => "64-bit PowerPC".to_owned(),
        elf::EM_S390 => "S/390".to_owned(),
        other => format!("machine {other} of the ELF specification"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(data: &[u8], expect: &str) {
        let found = Program::read(data)
            .and_then(|program| program.require_alone())
            .err()
            .map(|error| format!("{error:#}"))
            .unwrap_or_default();
        assert!(found.contains(expect) && found.is_empty() == expect.is_empty(), "{found}");
    }

    /// This test's own binary: dynamic, for the host.
    fn own() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn a_dynamic_program_names_its_loader_and_the_way_out() {
        check(&own(), "it is dynamic: it wants the loader `/lib");
        check(&own(), "CGO_ENABLED=0");
    }

    #[test]
    fn another_architecture_is_named() {
        let mut data = own();
        data[18..20].copy_from_slice(&elf::EM_AARCH64.to_le_bytes());
        check(&data, "it is built for AArch64");
        data[4] = elf::ELFCLASS32;
        check(&data, "32-bit program");
    }

    #[test]
    fn what_is_no_program_is_refused() {
        check(b"#!/bin/sh\necho\n", "it is a script (`#!/bin/sh`)");
        check(b"", "no ELF file");
        check(b"\x7fELF", "32-bit");
        check(&own()[..60], "damaged");
    }

    #[test]
    fn a_script_is_read_as_the_kernel_reads_it() {
        let check = |data: &[u8], expect: Option<&str>| {
            let found = match Program::read(data) {
                Ok(Program::Script { interpreter, .. }) => Some(interpreter),
                _ => None,
            };
            assert_eq!(found.as_deref(), expect);
        };
        check(b"#!/bin/sh\necho", Some("/bin/sh"));
        check(b"#! \t/usr/bin/env python3 -x\n", Some("/usr/bin/env"));
        check(b"#!/bin/sh", Some("/bin/sh"));
        check(b"#!\n", None);
        check(b"#!  ", None);
    }

    #[test]
    fn go_is_known_by_its_sections() {
        let mut data = own();
        assert!(matches!(Program::read(&data), Ok(Program::Dynamic { is_go: false, .. })));
        // A section of the same length in the table of names.
        let from = b".eh_frame_hdr\0";
        let at = data.windows(from.len()).rposition(|window| window == from).unwrap();
        data[at..at + from.len()].copy_from_slice(b".go.buildinfo\0");
        assert!(matches!(Program::read(&data), Ok(Program::Dynamic { is_go: true, .. })));
    }

    /// The headers of a real program and the tables that they point to; its code is never read.
    fn small() -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let (source, program) = (folder.path().join("x.c"), folder.path().join("x"));
        std::fs::write(&source, "void _start(void) {}").unwrap();
        let mut gcc = std::process::Command::new("gcc");
        let status = gcc.args(["-nostdlib", "-static-pie", "-o"]).arg(&program).arg(&source).status().unwrap();
        assert!(status.success());
        std::fs::read(program).unwrap()
    }

    static SMALL: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(small);

    proptest! {
        #[test]
        fn no_damage_stops_it(
            length in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..9),
            // Most of what is read is in the first 1000 bytes.
            early in prop::collection::vec((0_usize..1000, any::<u8>()), 0..9),
            is_cut in any::<bool>(),
        ) {
            let mut data = SMALL.clone();
            for (at, byte) in changes {
                let at = at.index(data.len());
                data[at] = byte;
            }
            for (at, byte) in early {
                data[at] = byte;
            }
            if is_cut {
                data.truncate(length.index(data.len()));
            }
            if let Ok(program) = Program::read(&data) {
                let _ = program.require_alone();
            }
            let _ = require_loader(&data);
        }

        #[test]
        fn no_bytes_stop_it(data in prop::collection::vec(any::<u8>(), 0..200), start in prop::sample::select(vec!["#!", "\x7fELF", ""])) {
            let _ = Program::read(&[start.as_bytes(), &data].concat());
        }
    }
}
