//! Image spec + lock + workspace -> steps. Pure: what it needs to know of the checkout it is given.

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use pid1_init::config::{self, CONFIG_PATH};

use crate::graph::{Graph, Step};
use crate::image::{Base, ExtraFile, Image, Mode, Origin};
use crate::lock::{LINUX, Lock, MUSL, PINS, RUST_LIBRARY};
use crate::packages::{CargoLock, Packages};
use crate::steps::crates::{CrateFiles, Crates};
use crate::steps::initramfs::{Initramfs, Packed};
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
pub const INIT: &str = "init";
/// The step that makes Rust's standard library for musl.
pub const RUST_STD: &str = "rust-std";
/// The package of [`INIT`].
pub const INIT_PACKAGE: &str = "init";

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

/// What an image is made by; see [`goals`].
pub fn plan(image: &Image, facts: &Facts<'_>) -> Result<Graph> {
    let mut steps = kernel_steps(image, facts)?;
    let is_supervised = image.program.mode == Mode::Supervised;
    if is_supervised || matches!(image.program.origin, Origin::Package(_)) {
        steps.extend(rust_steps(facts)?);
    }
    if is_supervised {
        steps.extend(package_steps(INIT, INIT_PACKAGE, !has_network(image), facts)?);
    }
    steps.extend(program_steps(image, facts)?);
    steps.push(initramfs_step(image, facts)?);
    Ok(Graph::new(steps)?)
}

/// All that can be fetched: every pin's archive, and the crates of several lock files, each with a step's name and what it
/// is for. Every step is a goal.
pub fn plan_fetches(lock: &Lock, crates: &[(&str, &str, &CargoLock)]) -> Result<Graph> {
    let pin = |name: &&str| {
        Ok(step(&fetch_step(name), Fetch { name: (*name).to_owned(), pin: lock.pin(name)?.clone() }, &[]))
    };
    let mut steps = PINS.iter().map(pin).collect::<Result<Vec<_>>>()?;
    for (name, purpose, lock) in crates {
        let crates = Crates { purpose: (*purpose).to_owned(), crates: lock.crates()?, project: lock.fetch_project()? };
        steps.push(step(name, CrateFiles(crates), &[]));
    }
    Ok(Graph::new(steps)?)
}

/// The step that fetches a pin's archive.
pub fn fetch_step(pin: &str) -> String {
    format!("fetch-{pin}")
}

/// What an image is made by: what boots, and what the manifest tells of: the program, and the crates for their licences.
pub fn goals(graph: &Graph) -> Vec<&str> {
    let crates = graph.names().into_iter().filter(|name| name.starts_with(CRATES));
    [KERNEL, INITRAMFS, PROGRAM].into_iter().chain(crates).collect()
}

/// The names of the steps that get crates begin with this.
const CRATES: &str = "crates-";

fn step(name: &str, recipe: impl Recipe + 'static, inputs: &[(&str, &str)]) -> Step {
    let inputs = inputs.iter().map(|(role, step)| ((*role).to_owned(), (*step).to_owned())).collect();
    Step { name: name.to_owned(), recipe: Box::new(recipe), inputs }
}

fn source_steps(pin: &str, facts: &Facts<'_>) -> Result<[Step; 2]> {
    let checked = facts.lock.pin(pin)?;
    let (fetch, unpack) = (fetch_step(pin), format!("unpack-{pin}"));
    Ok([
        step(&fetch, Fetch { name: pin.to_owned(), pin: checked.clone() }, &[]),
        step(&unpack, Unpack { pin: checked.clone() }, &[("archive", &fetch)]),
    ])
}

fn kernel_steps(image: &Image, facts: &Facts<'_>) -> Result<Vec<Step>> {
    let file = |name: &str| {
        let file = format!("{name}.config");
        FileInput { path: facts.root.join(KERNEL_CONFIGS).join(&file), name: file.into() }
    };
    let fragments = image.fragments().into_iter().map(file).collect();
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

/// Whether the machine may have a network: without one in the kernel, init needs none either.
fn has_network(image: &Image) -> bool {
    image.kernel.base == Base::Defconfig || image.fragments().contains(&"net")
}

fn package_steps(name: &str, package: &str, is_plain: bool, facts: &Facts<'_>) -> Result<Vec<Step>> {
    let cut = facts.packages.cut(package)?;
    let crates_name = format!("crates-{name}");
    let crates =
        Crates { purpose: format!("`{package}`"), crates: cut.crates.clone(), project: cut.fetch_project.clone() };
    let program = RustProgram { sources: RustProgram::sources(&cut, facts.root), cut, is_plain };
    Ok(vec![step(&crates_name, crates, &[]), step(name, program, &[("crates", &crates_name), ("std", RUST_STD)])])
}

fn program_steps(image: &Image, facts: &Facts<'_>) -> Result<Vec<Step>> {
    let here = |path: &Utf8PathBuf| facts.root.join(path);
    Ok(match &image.program.origin {
        Origin::Package(package) => package_steps(PROGRAM, package, false, facts)?,
        Origin::File(path) => {
            let is_alone = image.files.is_empty();
            vec![step(PROGRAM, FileProgram { path: here(path), shown: path.to_string(), is_alone }, &[])]
        }
        Origin::Go(folder) => vec![step(PROGRAM, GoProgram { folder: here(folder), shown: folder.to_string() }, &[])],
    })
}

fn initramfs_step(image: &Image, facts: &Facts<'_>) -> Result<Step> {
    let compressors = facts.packages.versions(&COMPRESSORS);
    let compress = image.compress;
    let packed = |(index, file): (usize, &ExtraFile)| Packed {
        // Numbered, for what one brings may lie in what another one does.
        input: FileInput {
            name: format!("files/{index}{}", file.path.trim_end_matches('/')).into(),
            path: facts.root.join(&file.source),
        },
        path: file.path.clone(),
        mode: file.mode,
    };
    let files = image.files.iter().enumerate().map(packed).collect();
    let program_path = image.program_path();
    if image.program.mode == Mode::Direct {
        let recipe = Initramfs { program_path, config: None, files, compress, compressors };
        return Ok(step(INITRAMFS, recipe, &[("program", PROGRAM)]));
    }
    let text = config::encode(&image.config())
        .map_err(|error| anyhow::anyhow!("{error}"))
        .context("failed to write init's configuration")?;
    let recipe = Initramfs { program_path, config: Some((CONFIG_PATH.to_owned(), text)), files, compress, compressors };
    Ok(step(INITRAMFS, recipe, &[("program", PROGRAM), ("init", INIT)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Compress, Kernel as KernelSpec};

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

    /// The steps of an image with what is usual, planned with this project's own pins and packages.
    fn check(origin: Origin, mode: Mode, compress: Compress, expect: &[&str]) -> Graph {
        let kernel = KernelSpec { base: Base::Tinyconfig, fragments: vec!["base".into()], cmdline: String::new() };
        let mut image = Image { compress, ..Image::new("x", origin, kernel) };
        image.program.mode = mode;
        check_image(&image, expect)
    }

    fn check_image(image: &Image, expect: &[&str]) -> Graph {
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let lock = Lock::parse(include_str!("../../vendor/sources.toml")).unwrap();
        let std_lock = CargoLock::parse(include_str!("../../vendor/rust-library.lock")).unwrap();
        let packages = Packages::read(root).unwrap();
        let graph = plan(image, &Facts { root, lock: &lock, std_lock: &std_lock, packages: &packages }).unwrap();
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
    fn what_the_spec_asks_of_init_is_in_the_initramfs() {
        let kernel = KernelSpec { base: Base::Tinyconfig, fragments: vec!["base".into()], cmdline: String::new() };
        let mut image = Image::new("x", Origin::Package("hello".into()), kernel);
        let configuration = |image: &Image| {
            let mut fields = crate::key::Fields::default();
            check_image(image, &SUPERVISED).get(INITRAMFS).unwrap().recipe.describe(&mut fields);
            fields.iter().find(|(name, _)| *name == "init configuration").unwrap().1.to_owned()
        };
        assert_eq!(configuration(&image), "/etc/pid1.conf\nprogram = /bin/x\n");
        image.hostname = Some("www".into());
        image.program.start = config::Start::Network;
        image.network.mode = config::NetworkMode::Dhcp;
        image.supervise.restart = config::Restart::Always;
        image.watchdog = None;
        let source = config::Source::Label("data".into());
        let volume = config::Volume { path: "/data".into(), source, kind: None, read_only: true, required: true };
        image.volumes.push(volume);
        assert_eq!(
            configuration(&image),
            "/etc/pid1.conf\nprogram = /bin/x\nhostname = www\nrestart = always\nstart = network\nnetwork = dhcp\n\
             watchdog = 0s\nvolume = label=data:/data:ro\n"
        );
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
