//! What can be said of an image before anything is built: is the program there, can it run on this kernel with what else
//! is in the machine? All problems at once.

use anyhow::{Context, Result, anyhow, bail};
use camino::Utf8Path;

use crate::elf::{self, Program};
use crate::image::{Image, Origin};
use crate::needs::{self, Fragments, Need};
use crate::overlay::Overlay;
use crate::report;

/// As many interpreters of interpreters as the kernel goes through: `bprm_execve` in fs/exec.c.
const MAX_INTERPRETERS: usize = 5;

/// Checks an image whose paths are relative to `root`. `fragments` are all that the checkout has.
pub fn check(image: &Image, root: &Utf8Path, fragments: &Fragments) -> Result<()> {
    let mut problems = Vec::new();
    let volumes: Vec<&str> = image.volumes.iter().map(|volume| volume.path.as_str()).collect();
    let overlay = match Overlay::read(&image.files, root, &image.program_path(), &volumes) {
        Ok(overlay) => overlay,
        Err(problem) => {
            problems.push(problem);
            Overlay::default()
        }
    };
    let mut wanted = needs::ANY.to_vec();
    match check_program(&image.program.origin, root, &overlay) {
        Ok(more) => wanted.extend(more),
        // What is wrong with a `[[file]]` may be why the program lacks something.
        Err(problem) if problems.is_empty() => problems.push(problem),
        Err(_) => {}
    }
    if let Some(text) = needs::lacking(&wanted, image.kernel.base, &image.fragments(), fragments) {
        problems.push(anyhow!("{text}"));
    }
    match problems.len() {
        0 => Ok(()),
        1 => Err(problems.remove(0)),
        _ => bail!("{}", problems.iter().map(report::render).collect::<Vec<_>>().join("\n")),
    }
}

fn check_program(origin: &Origin, root: &Utf8Path, overlay: &Overlay) -> Result<Vec<Need>> {
    match origin {
        Origin::Package(_) => Ok(Vec::new()),
        Origin::Go(folder) if !root.join(folder).is_dir() => bail!(
            "`program.go`: there is no folder `{}`\nhint: a path in a spec is relative to the checkout",
            root.join(folder)
        ),
        Origin::Go(folder) if !root.join(folder).join("go.mod").is_file() => {
            bail!("`program.go`: `{}` has no go.mod\nhint: run `go mod init NAME` there", root.join(folder))
        }
        Origin::Go(_) => Ok(needs::GO.to_vec()),
        Origin::File(path) => check_file(&root.join(path), path.as_str(), overlay),
    }
}

/// Checks a finished program, and says what it needs of the kernel.
fn check_file(path: &Utf8Path, shown: &str, overlay: &Overlay) -> Result<Vec<Need>> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("`program.file`: there is no `{path}`\nhint: a path in a spec is relative to the checkout")
        }
        Err(error) => return Err(error).with_context(|| format!("failed to read the program `{shown}`")),
    };
    if metadata.is_dir() {
        bail!("`program.file`: `{path}` is a folder\nhint: give the program in it");
    }
    let data = std::fs::read(path).with_context(|| format!("failed to read the program `{shown}`"))?;
    let context = || format!("failed to take `{shown}` as the machine's program");
    let needs = require_runnable(&data, overlay, MAX_INTERPRETERS).with_context(context)?;
    // In the image it would be made executable; but who gives a file that is not has probably taken the wrong one.
    if std::os::unix::fs::MetadataExt::mode(&metadata) & 0o111 == 0 {
        return Err(anyhow!("it is not executable\nhint: chmod +x {path}").context(context()));
    }
    Ok(needs)
}

/// Everything that the program needs besides the kernel must be brought by `[[file]]`.
fn require_runnable(data: &[u8], overlay: &Overlay, n_left: usize) -> Result<Vec<Need>> {
    let program = Program::read(data)?;
    let is_go = match &program {
        Program::Static { is_go } => *is_go,
        Program::Dynamic { loader, is_go } => {
            let Some(file) = overlay.resolve(loader) else {
                program.require_alone()?;
                return Ok(Vec::new());
            };
            let data = std::fs::read(file).with_context(|| format!("failed to read `{file}`"))?;
            elf::require_loader(&data).with_context(|| format!("its loader `{loader}` is no loader"))?;
            *is_go
        }
        Program::Script { interpreter, .. } => {
            let Some(file) = overlay.resolve(interpreter) else {
                program.require_alone()?;
                return Ok(Vec::new());
            };
            let Some(n_left) = n_left.checked_sub(1) else {
                bail!("its interpreters are scripts themselves, more of them than the kernel goes through")
            };
            let data = std::fs::read(file).with_context(|| format!("failed to read `{file}`"))?;
            let mut needs = require_runnable(&data, overlay, n_left)
                .with_context(|| format!("its interpreter `{interpreter}` cannot run"))?;
            needs.push(needs::SCRIPT);
            return Ok(needs);
        }
    };
    Ok(if is_go { needs::GO.to_vec() } else { Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Base, ExtraFile, Kernel};
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    struct Bench {
        _keep: tempfile::TempDir,
        root: camino::Utf8PathBuf,
    }

    impl Bench {
        fn new() -> Self {
            let keep = tempfile::tempdir().unwrap();
            let root = camino::Utf8PathBuf::try_from(keep.path().to_owned()).unwrap();
            let bench = Self { _keep: keep, root };
            bench.compile("dynamic", &[]);
            bench.compile("static", &["-static"]);
            bench.script("script", "/bin/sh");
            bench
        }

        fn compile(&self, name: &str, flags: &[&str]) {
            std::fs::write(self.root.join("x.c"), "int main(void) { return 0; }").unwrap();
            let mut gcc = Command::new("gcc");
            let status = gcc.args(flags).arg("-o").args([self.root.join(name), self.root.join("x.c")]).status();
            assert!(status.unwrap().success());
        }

        fn script(&self, name: &str, interpreter: &str) {
            let path = self.root.join(name);
            std::fs::write(&path, format!("#!{interpreter}\n")).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }

        fn check(&self, program: &str, files: &[(&str, &str)], expect: &[&str]) {
            let fragments: Fragments = [
                ("base".to_owned(), "CONFIG_64BIT=y\nCONFIG_BINFMT_ELF=y\n".to_owned()),
                ("script".to_owned(), "CONFIG_BINFMT_SCRIPT=y\n".to_owned()),
            ]
            .into();
            let names = if files.is_empty() { vec!["base".to_owned()] } else { fragments.keys().cloned().collect() };
            let kernel = Kernel { base: Base::Tinyconfig, fragments: names, cmdline: String::new() };
            let mut image = Image::new("x", Origin::File(program.into()), kernel);
            let file = |(source, path): &(&str, &str)| ExtraFile {
                source: (*source).into(),
                path: (*path).to_owned(),
                mode: None,
            };
            image.files = files.iter().map(file).collect();
            let found = check(&image, &self.root, &fragments).err().map(|error| report::render(&error));
            let found = found.unwrap_or_default();
            assert_eq!(found.is_empty(), expect.is_empty(), "{found}");
            assert!(expect.iter().all(|part| found.contains(part)), "{found}");
        }
    }

    #[test]
    fn what_a_program_lacks_a_file_may_bring() {
        let bench = Bench::new();
        bench.check("static", &[], &[]);
        bench.check("dynamic", &[], &["it is dynamic", "CGO_ENABLED=0"]);
        bench.check("dynamic", &[("dynamic", "/lib64/ld-linux-x86-64.so.2")], &[]);
        bench.check("dynamic", &[("script", "/lib64/ld-linux-x86-64.so.2")], &["is no loader", "no ELF file"]);
        bench.check("script", &[], &["it is a script (`#!/bin/sh`)", "no interpreter `/bin/sh`", "[[file]]"]);
        bench.check("script", &[("static", "/bin/sh")], &[]);
        bench.check("script", &[("dynamic", "/bin/sh")], &["its interpreter `/bin/sh` cannot run", "it is dynamic"]);
        bench.check("script", &[("script", "/bin/sh")], &["more of them than the kernel goes through"]);
    }

    #[test]
    fn a_file_that_is_no_executable_is_refused() {
        let bench = Bench::new();
        std::fs::set_permissions(bench.root.join("static"), std::fs::Permissions::from_mode(0o644)).unwrap();
        bench.check("static", &[], &["it is not executable", "hint: chmod +x"]);
        bench.check("absent", &[], &["`program.file`: there is no"]);
        bench.check("", &[], &["is a folder"]);
    }

    #[test]
    fn the_first_cause_is_told_and_the_kernels_lack_beside_it() {
        let bench = Bench::new();
        bench.check("dynamic", &[("absent", "/lib64/ld-linux-x86-64.so.2")], &["`file.source`: there is no"]);
        let kernel = Kernel { base: Base::Tinyconfig, fragments: Vec::new(), cmdline: String::new() };
        let image = Image::new("x", Origin::File("dynamic".into()), kernel);
        let found = report::render(&check(&image, &bench.root, &Fragments::new()).unwrap_err());
        assert!(found.contains("it is dynamic") && found.contains("which needs CONFIG_BINFMT_ELF"), "{found}");
    }
}
