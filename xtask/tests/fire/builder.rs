//! The build that is under fire, in a process of its own: this test binary runs itself again, and [`builder`] does as the
//! environment says. It is `cargo xtask image` but for the plan: some forty steps of all kinds, in one or two seconds.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use clap::Parser;
use serde::{Deserialize, Serialize};
use xtask::cli::Cli;
use xtask::graph::{Graph, Step};
use xtask::image::{Image, Mode};
use xtask::key::Fields;
use xtask::lock::{Lock, Pin};
use xtask::packages::{CargoLock, Packages};
use xtask::plan::{INITRAMFS, KERNEL, PROGRAM};
use xtask::session::{Planned, Session};
use xtask::steps::sources::{Fetch, Unpack};
use xtask::steps::{Job, Recipe, write};
use xtask::toolbox::ToolName;
use xtask::{artifact, report, verbs};

use crate::random::bytes;

/// Holds the [`Order`] as JSON.
pub const VARIABLE: &str = "FIRE_ORDER";

/// What is to be built.
#[derive(Clone, Serialize, Deserialize)]
pub struct Order {
    /// The pinned input.
    pub pin: Pin,
    /// Every step adds its name when its recipe starts.
    pub ledger: Utf8PathBuf,
    /// Two builds with different variants share most steps, but not all.
    pub variant: u32,
}

/// Does nothing, unless it is the process that builds.
#[test]
fn builder() {
    let Ok(order) = std::env::var(VARIABLE) else { return };
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let status = match build(&serde_json::from_str(&order).unwrap()) {
        Ok(()) => 0,
        Err(error) => {
            report::error(&error);
            1
        }
    };
    std::process::exit(status);
}

fn build(order: &Order) -> Result<()> {
    let session = Session::new(&Cli::parse_from(["xtask", "image"]).global)?;
    let lock = Lock::parse(include_str!("../../../vendor/sources.toml"))?;
    let mut image = Image::of_program(Utf8Path::new("fire"), &[]);
    image.kernel.cmdline = "console=ttyS0".to_owned();
    // Without init, whose crates the manifest would ask for.
    image.program.mode = Mode::Direct;
    let std_lock = CargoLock::parse(include_str!("../../../vendor/rust-library.lock"))?;
    let packages = Packages::read(Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("..").as_path())?;
    let (source, graph) = (session.workspace.root().join("fire"), Graph::new(steps(order))?);
    let planned = Planned { image, source, lock, std_lock, packages, graph };
    verbs::image::build(&session, &planned, None)?;
    Ok(())
}

/// What a step makes. All of it depends on the content of every input.
enum Kind {
    /// A file of this many bytes, written by xtask.
    File(usize),
    /// A newc archive with one file of this many bytes, for the manifest lists what is in the machine.
    Archive(usize),
    /// A folder of this many files, made by a shell: subfolders, executables and links among them.
    Folder(usize),
    /// A file that a shell puts together with `cat`.
    Tool,
    /// A symlink that leads nowhere.
    Link,
    /// The finished kernel: a folder with the two files that are laid out, and more.
    Finished,
}

struct Toy {
    name: String,
    kind: Kind,
    variant: u32,
    ledger: Utf8PathBuf,
}

impl Recipe for Toy {
    fn name(&self) -> &'static str {
        "toy 1"
    }

    fn describe(&self, fields: &mut Fields) {
        fields.set("name", &self.name);
        fields.set("variant", self.variant);
    }

    fn tools(&self) -> Vec<ToolName> {
        vec!["sh", "cat"]
    }

    fn run(&self, job: &Job<'_>) -> Result<()> {
        enter(&self.ledger, &self.name)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{} {}", self.name, self.variant).as_bytes());
        for (role, path) in &job.inputs {
            hasher.update(format!("{role} {}", artifact::hash_path(path)?).as_bytes());
        }
        let hash = hasher.finalize();
        let seed = u64::from_le_bytes(hash.as_bytes()[..8].try_into()?);
        let text = hash.to_hex().to_string();
        match self.kind {
            Kind::File(n_bytes) => write(job.out, bytes(seed, n_bytes)),
            Kind::Archive(n_bytes) => write(job.out, archive(&bytes(seed, n_bytes))?),
            Kind::Folder(n_files) => self.folder(job, &text, n_files),
            Kind::Tool => self.tool(job, &text),
            Kind::Link => symlink(&text, job.out).context("failed to make the link"),
            Kind::Finished => {
                self.folder(job, &text, 20)?;
                write(&job.out.join("bzImage"), bytes(seed, 1_000_000))?;
                write(&job.out.join("kernel.config"), text)
            }
        }
    }
}

impl Toy {
    fn folder(&self, job: &Job<'_>, text: &str, n_files: usize) -> Result<()> {
        let folder = job.folder("made")?;
        for name in ["a", "a/b", "empty"] {
            fs::create_dir(folder.join(name))?;
        }
        // Like many a script, it does not look whether it could write.
        let script = format!(
            "i=0; while [ $i -lt {n_files} ]; do echo {text} $i > a/b/$i; echo $i {text} > a/$i; i=$((i + 1)); done"
        );
        job.tool("sh", &folder).args(["-c", &script]).run()?;
        fs::set_permissions(folder.join("a/0"), fs::Permissions::from_mode(0o755))?;
        symlink(text, folder.join("a/link"))?;
        fs::rename(&folder, job.out).context("failed to move the folder")
    }

    fn tool(&self, job: &Job<'_>, text: &str) -> Result<()> {
        let folder = job.folder("made")?;
        write(&folder.join("one"), text)?;
        write(&folder.join("two"), text.repeat(500))?;
        job.tool("sh", &folder).args(["-c", "cat one two one > out && cat out"]).run()?;
        fs::rename(folder.join("out"), job.out).context("failed to move the file")
    }
}

fn archive(content: &[u8]) -> Result<Vec<u8>> {
    let mut entry = cpio::newc::Builder::new("file").mode(0o100_644).write(Vec::new(), u32::try_from(content.len())?);
    entry.write_all(content)?;
    Ok(cpio::newc::trailer(entry.finish()?)?)
}

/// The real recipe, and a line in the ledger.
struct Entered<R> {
    name: &'static str,
    recipe: R,
    ledger: Utf8PathBuf,
}

impl<R: Recipe> Recipe for Entered<R> {
    fn name(&self) -> &'static str {
        self.recipe.name()
    }
    fn describe(&self, fields: &mut Fields) {
        self.recipe.describe(fields);
    }
    fn declared(&self) -> Option<xtask::key::ArtifactId> {
        self.recipe.declared()
    }
    fn network(&self) -> Option<String> {
        self.recipe.network()
    }
    fn run(&self, job: &Job<'_>) -> Result<()> {
        enter(&self.ledger, self.name)?;
        self.recipe.run(job)
    }
}

/// One write, so that no two processes mix their lines.
fn enter(ledger: &Utf8Path, name: &str) -> Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(ledger)?;
    file.write_all(format!("{name}\n").as_bytes()).context("failed to write the ledger")
}

/// Chains, diamonds, a wide middle, a download and a pinned tree; all of it leads to the two goals.
fn steps(order: &Order) -> Vec<Step> {
    let toy = |name: &str, kind: Kind, inputs: &[&str]| {
        // Only what the variant is about, and what follows from it, differs.
        let variant = if name == "chain-3" { order.variant } else { 0 };
        let recipe = Toy { name: name.to_owned(), kind, variant, ledger: order.ledger.clone() };
        step(name, Box::new(recipe), &inputs.iter().map(|input| (*input, *input)).collect::<Vec<_>>())
    };
    let (pin, ledger) = (order.pin.clone(), order.ledger.clone());
    let fetch = Fetch { name: "musl".to_owned(), pin: pin.clone() };
    let mut steps = vec![
        step("fetch-musl", Box::new(Entered { name: "fetch-musl", recipe: fetch, ledger: ledger.clone() }), &[]),
        step(
            "unpack-musl",
            Box::new(Entered { name: "unpack-musl", recipe: Unpack { pin }, ledger }),
            &[("archive", "fetch-musl")],
        ),
        toy("chain-0", Kind::File(10), &[]),
        toy("big", Kind::File(4_000_000), &[]),
        toy("left", Kind::Tool, &["big"]),
        toy("right", Kind::File(2_000_000), &["big"]),
        toy("join", Kind::Folder(10), &["left", "right"]),
        toy("folder-0", Kind::Folder(150), &[]),
        toy("folder-1", Kind::Folder(150), &["folder-0", "unpack-musl"]),
        toy("link", Kind::Link, &["folder-1"]),
    ];
    for index in 1..8 {
        let kind = if index % 2 == 0 { Kind::File(1000) } else { Kind::Tool };
        steps.push(toy(&format!("chain-{index}"), kind, &[&format!("chain-{}", index - 1)]));
    }
    let wide: Vec<String> = (0..12).map(|index| format!("wide-{index}")).collect();
    steps.extend(wide.iter().map(|name| toy(name, Kind::Tool, &["unpack-musl"])));
    let mut gathered: Vec<&str> = wide.iter().map(String::as_str).collect();
    gathered.push("chain-7");
    steps.push(toy(KERNEL, Kind::Finished, &["join", "folder-1"]));
    steps.push(toy("gather", Kind::Folder(5), &gathered));
    steps.push(toy(PROGRAM, Kind::File(1000), &["gather"]));
    steps.push(toy(INITRAMFS, Kind::Archive(500_000), &[PROGRAM, "link"]));
    steps
}

fn step(name: &str, recipe: Box<dyn Recipe>, inputs: &[(&str, &str)]) -> Step {
    let inputs = inputs.iter().map(|(role, input)| ((*role).to_owned(), (*input).to_owned())).collect();
    Step { name: name.to_owned(), recipe, inputs }
}
