//! Builds musl, the C library that every static Rust program links: `libc.a` and the start files, no shared library.

use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};

use crate::key::Fields;
use crate::steps::{Job, Recipe, copy, write};
use crate::toolbox::{BINUTILS, COREUTILS, ToolName};

/// Plans musl; its one input is the source tree, `source`. The output holds the files of [`OUTPUT`].
pub struct Musl;

/// What of musl's build a program is linked with.
pub const OUTPUT: [&str; 6] = ["libc.a", "crt1.o", "rcrt1.o", "Scrt1.o", "crti.o", "crtn.o"];

/// Position independent, because Rust's programs for musl are: their addresses are random at every start.
const CONFIGURATION: [&str; 6] =
    ["--target=x86_64-linux-musl", "--disable-shared", "--disable-wrapper", "CC=gcc", "AR=ar", "CFLAGS=-fPIE"];

const TOOLS: [ToolName; 6] = ["gcc", "make", "sed", "grep", "awk", "sh"];

impl Recipe for Musl {
    fn name(&self) -> &'static str {
        "musl 2"
    }

    fn describe(&self, fields: &mut Fields) {
        fields.set("configuration", CONFIGURATION.join(" "));
    }

    fn tools(&self) -> Vec<ToolName> {
        [&TOOLS[..], BINUTILS, COREUTILS].concat()
    }

    fn run(&self, job: &Job<'_>) -> Result<()> {
        let build = job.folder("build")?;
        let source = job.input("source")?;
        // make copies this header over a read-only original and appends to the copy; an existing file keeps its own mode.
        let header = job.folder("build/obj/include/bits")?.join("syscall.h");
        write(&header, "")?;
        std::fs::set_permissions(&header, std::fs::Permissions::from_mode(0o644))
            .with_context(|| format!("failed to set the mode of `{header}`"))?;
        std::fs::File::options()
            .write(true)
            .open(&header)
            .and_then(|file| file.set_modified(std::time::UNIX_EPOCH))
            .with_context(|| format!("failed to set the time of `{header}`"))?;
        job.progress.now("configuring");
        job.tool("sh", &build)
            .arg(job.inside(&source.join("configure")))
            .args(CONFIGURATION)
            .arg("RANLIB=ranlib")
            .run()
            .context("failed to configure musl")?;
        job.progress.now("compiling");
        let libraries = OUTPUT.map(|file| format!("lib/{file}"));
        job.tool("make", &build).args(libraries).with_cores().run().context("failed to compile musl")?;
        std::fs::create_dir(job.out).with_context(|| format!("failed to make the folder `{}`", job.out))?;
        OUTPUT.iter().try_for_each(|file| copy(&job.made(&build.join("lib").join(file))?, &job.out.join(file)))
    }
}
