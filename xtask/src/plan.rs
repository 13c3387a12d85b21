//! Image spec + lock + workspace -> steps. Pure: what it needs to know of the checkout it is given.

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use pid1_init::config::{self, CONFIG_PATH, Config};

use crate::graph::{Graph, Step};
use crate::image::{Image, Mode, Origin};
use crate::lock::{LINUX, Lock, MUSL, RUST_LIBRARY};
use crate::packages::{CargoLock, Packages};
use crate::steps::crates::Crates;
use crate::steps::initramfs::Initramfs;
use crate::steps::kernel::Kernel;
use crate::steps::musl::Musl;
use crate::steps::program::{FileProgram, GoProgram, RustProgram};
use crate::steps::rust_std::RustStd;
use crate::steps::sources::{Fetch, Unpack};
use crate::steps::{FileInput, Recipe};
use crate::workspace::KERNEL_CONFIGS;

/// The step that makes the kernel and its configuration.
pub const KERNEL: &str = "kernel";
/// The step that makes the initramfs.
pub const INITRAMFS: &str = "initramfs";
/// The step that makes the user's program.
pub const PROGRAM: &str = "program";
/// The step that makes PID 1.
const INIT: &str = "init";
/// The step that makes Rust's standard library for musl.
const RUST_STD: &str = "rust-std";
/// The package of [`INIT`].
const INIT_PACKAGE: &str = "init";

/// The libraries that compress an initramfs.
const COMPRESSORS: [&str; 4] = ["flate2", "liblzma-sys", "miniz_oxide", "zstd-sys"];

/// What the plan is made from.
pub struct Facts<'a> {
    /// The checkout's folder; only [`FileInput`] paths are joined to it.
    pub root: &'a Utf8Path,
    /// The pins.
    pub lock: &'a Lock,
    /// The crates of Rust's standard library.
    pub std_lock: &'a CargoLock,
    /// The workspace's packages.
    pub packages: &'a Packages,
}

/// What an image's initramfs and kernel are made by. The goals are [`KERNEL`] and [`INITRAMFS`].
pub fn plan(image: &Image, facts: &Facts<'_>) -> Result<Graph> {
    let mut steps = kernel_steps(image, facts)?;
    let is_supervised = image.program.mode == Mode::Supervised;
    if is_supervised || matches!(image.program.origin, Origin::Package(_)) {
        steps.extend(rust_steps(facts)?);
    }
    if is_supervised {
        steps.extend(package_steps(INIT, INIT_PACKAGE, facts)?);
    }
    steps.extend(program_steps(image, facts)?);
    steps.push(initramfs_step(image, facts)?);
    Ok(Graph::new(steps)?)
}

fn step(name: &str, recipe: impl Recipe + 'static, inputs: &[(&str, &str)]) -> Step {
    let inputs = inputs.iter().map(|(role, step)| ((*role).to_owned(), (*step).to_owned())).collect();
    Step { name: name.to_owned(), recipe: Box::new(recipe), inputs }
}

fn source_steps(pin: &str, facts: &Facts<'_>) -> Result<[Step; 2]> {
    let checked = facts.lock.pin(pin)?;
    let (fetch, unpack) = (format!("fetch-{pin}"), format!("unpack-{pin}"));
    Ok([
        step(&fetch, Fetch { name: pin.to_owned(), pin: checked.clone() }, &[]),
        step(&unpack, Unpack { pin: checked.clone() }, &[("archive", &fetch)]),
    ])
}

fn kernel_steps(image: &Image, facts: &Facts<'_>) -> Result<Vec<Step>> {
    let compression = image.compress.fragment().map(str::to_owned);
    let compression = compression.filter(|fragment| !image.kernel.fragments.contains(fragment));
    let file = |name: &String| {
        let file = format!("{name}.config");
        FileInput { path: facts.root.join(KERNEL_CONFIGS).join(&file), name: file.into() }
    };
    let fragments = image.kernel.fragments.iter().chain(compression.as_ref()).map(file).collect();
    let mut steps = Vec::from(source_steps(LINUX, facts)?);
    steps.push(step(KERNEL, Kernel { base: image.kernel.base, fragments }, &[("source", "unpack-linux")]));
    Ok(steps)
}

fn rust_steps(facts: &Facts<'_>) -> Result<Vec<Step>> {
    let mut steps = Vec::from(source_steps(MUSL, facts)?);
    steps.extend(source_steps(RUST_LIBRARY, facts)?);
    steps.push(step("musl", Musl, &[("source", "unpack-musl")]));
    let crates = Crates {
        purpose: "Rust's standard library".to_owned(),
        crates: facts.std_lock.crates()?,
        project: facts.std_lock.fetch_project()?,
    };
    steps.push(step("crates-rust-std", crates, &[]));
    let version = facts.lock.pin(RUST_LIBRARY)?.version.clone();
    let rust_std = RustStd { version, lock: facts.std_lock.text()? };
    steps.push(step(
        RUST_STD,
        rust_std,
        &[("library", "unpack-rust-library"), ("crates", "crates-rust-std"), ("musl", "musl")],
    ));
    Ok(steps)
}

fn package_steps(name: &str, package: &str, facts: &Facts<'_>) -> Result<Vec<Step>> {
    let cut = facts.packages.cut(package)?;
    let crates_name = format!("crates-{name}");
    let crates =
        Crates { purpose: format!("`{package}`"), crates: cut.crates.clone(), project: cut.fetch_project.clone() };
    let program = RustProgram { sources: RustProgram::sources(&cut, facts.root), cut };
    Ok(vec![step(&crates_name, crates, &[]), step(name, program, &[("crates", &crates_name), ("std", RUST_STD)])])
}

fn program_steps(image: &Image, facts: &Facts<'_>) -> Result<Vec<Step>> {
    let here = |path: &Utf8PathBuf| facts.root.join(path);
    Ok(match &image.program.origin {
        Origin::Package(package) => package_steps(PROGRAM, package, facts)?,
        Origin::File(path) => vec![step(PROGRAM, FileProgram { path: here(path), shown: path.to_string() }, &[])],
        Origin::Go(folder) => vec![step(PROGRAM, GoProgram { folder: here(folder), shown: folder.to_string() }, &[])],
    })
}

fn initramfs_step(image: &Image, facts: &Facts<'_>) -> Result<Step> {
    let compressors = facts.packages.versions(&COMPRESSORS);
    let program = &image.program;
    if program.mode == Mode::Direct {
        let recipe =
            Initramfs { program_path: "/init".to_owned(), config: None, compress: image.compress, compressors };
        return Ok(step(INITRAMFS, recipe, &[("program", PROGRAM)]));
    }
    let program_path = format!("/bin/{}", image.name);
    let config = Config {
        program: program_path.clone(),
        args: program.args.clone(),
        env: program.env.clone(),
        ..Config::default()
    };
    let text = config::encode(&config)
        .map_err(|error| anyhow::anyhow!("{error}"))
        .context("failed to write init's configuration")?;
    let recipe =
        Initramfs { program_path, config: Some((CONFIG_PATH.to_owned(), text)), compress: image.compress, compressors };
    Ok(step(INITRAMFS, recipe, &[("program", PROGRAM), ("init", INIT)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Base, Compress, Kernel as KernelSpec, Program};

    /// The steps of a supervised package, fetching and unpacking aside.
    const SUPERVISED: [&str; 9] = [
        "crates-init",
        "crates-program",
        "crates-rust-std",
        "init",
        "initramfs",
        "kernel",
        "musl",
        "program",
        "rust-std",
    ];

    /// The steps of an image, planned with this project's own pins and packages.
    fn check(origin: Origin, mode: Mode, compress: Compress, expect: &[&str]) -> Graph {
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let lock = Lock::parse(include_str!("../../vendor/sources.toml")).unwrap();
        let std_lock = CargoLock::parse(include_str!("../../vendor/rust-library.lock")).unwrap();
        let packages = Packages::read(root).unwrap();
        let kernel = KernelSpec { base: Base::Tinyconfig, fragments: vec!["base".into()], cmdline: String::new() };
        let program = Program { origin, args: Vec::new(), env: Default::default(), mode };
        let image = Image { name: "x".into(), program, kernel, compress };
        let graph = plan(&image, &Facts { root, lock: &lock, std_lock: &std_lock, packages: &packages }).unwrap();
        let mut names = graph.names();
        names.retain(|name| !name.starts_with("fetch-") && !name.starts_with("unpack-"));
        names.sort();
        assert_eq!(names, expect);
        graph
    }

    #[test]
    fn a_supervised_package_needs_init_and_the_standard_library() {
        check(Origin::Package("hello".into()), Mode::Supervised, Compress::None, &SUPERVISED);
    }

    #[test]
    fn a_go_program_that_is_pid_1_needs_no_rust() {
        check(Origin::Go("apps/hello-go".into()), Mode::Direct, Compress::None, &["initramfs", "kernel", "program"]);
    }

    #[test]
    fn a_compression_brings_the_fragment_that_reads_it() {
        let graph = check(Origin::File("x".into()), Mode::Direct, Compress::Zstd, &["initramfs", "kernel", "program"]);
        let files = graph.get(KERNEL).unwrap().recipe.files();
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["base.config", "initramfs-zstd.config"]);
    }

    #[test]
    fn no_field_of_any_step_holds_the_checkouts_path() {
        let graph = check(Origin::Package("hello".into()), Mode::Supervised, Compress::None, &SUPERVISED);
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for step in graph.in_order() {
            let mut fields = crate::key::Fields::default();
            step.recipe.describe(&mut fields);
            assert!(
                fields.iter().all(|(name, value)| !name.contains(root.as_str()) && !value.contains(root.as_str())),
                "{}",
                step.name
            );
            assert!(step.recipe.files().iter().all(|file| file.name.is_relative()), "{}", step.name);
        }
    }
}
