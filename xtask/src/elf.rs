//! Pre-flight of the program: can this file run on the image's kernel, with nothing else in the machine?

use anyhow::{Context, Result, bail};
use camino::Utf8Path;
use object::elf;
use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectKind};

/// How to build a static program, for the languages that people come with.
const HOW_TO_BUILD_STATIC: &str = "hint: build it static. Rust: --target x86_64-unknown-linux-musl; Go: CGO_ENABLED=0 go build; \
     C: gcc -static, or musl-gcc -static; Zig: -target x86_64-linux-musl";

/// Checks that `path` is a static program for x86-64. `name` is what the user calls it.
pub fn check(path: &Utf8Path, name: &str) -> Result<()> {
    let data = std::fs::read(path).with_context(|| format!("failed to read the program `{name}`"))?;
    check_bytes(&data).with_context(|| format!("failed to take `{name}` as the machine's program"))
}

fn check_bytes(data: &[u8]) -> Result<()> {
    if data.starts_with(b"#!") {
        let line = String::from_utf8_lossy(data.split(|byte| *byte == b'\n').next().unwrap_or_default()).into_owned();
        bail!(
            "it is a script (`{line}`), and the image holds no interpreter\nhint: give the interpreter as the program, if it is static"
        );
    }
    if !data.starts_with(&elf::ELFMAG) {
        bail!("it is no ELF file\nhint: give a static Linux program for x86-64");
    }
    if data.get(4) != Some(&elf::ELFCLASS64) {
        bail!("it is a 32-bit program; the kernel runs 64-bit ones only\nhint: build it for x86-64");
    }
    let file = ElfFile64::<Endianness>::parse(data).context("its ELF headers are damaged")?;
    let header = file.elf_header();
    let endian = file.endian();
    let machine = header.e_machine(endian);
    if machine != elf::EM_X86_64 {
        bail!(
            "it is built for {}; the image's architecture is x86-64\nhint: build it for x86-64",
            machine_name(machine)
        );
    }
    if let Some(loader) = interpreter(&file)? {
        bail!("it is dynamic: it wants the loader `{loader}`, which the image does not have\n{HOW_TO_BUILD_STATIC}");
    }
    let dynamic = Dynamic::read(&file)?;
    if dynamic.needs_libraries {
        bail!("it is dynamic: it wants shared libraries, which the image does not have\n{HOW_TO_BUILD_STATIC}");
    }
    match file.kind() {
        ObjectKind::Executable => Ok(()),
        ObjectKind::Dynamic if dynamic.is_program => Ok(()),
        _ => bail!("it is an ELF file, but no program: a library or an object file\nhint: give the linked executable"),
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

    fn check(data: &[u8], expect: &str) {
        let found = check_bytes(data).err().map(|error| format!("{error:#}")).unwrap_or_default();
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
}
