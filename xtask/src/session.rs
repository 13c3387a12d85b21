//! One run of `cargo xtask`: the checkout, the flags, and what most verbs do first: read a spec, plan it, build it.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use crate::cache::client::Limits;
use crate::cache::place::Place;
use crate::cache::{self, Cache, Say};
use crate::cli::Global;
use crate::doctor::{self, Policy};
use crate::engine::{Engine, Report};
use crate::graph::Graph;
use crate::image::{Image, Known};
use crate::interrupt;
use crate::lock::Lock;
use crate::needs::Fragments;
use crate::packages::{CargoLock, Packages};
use crate::plan::{self, Facts};
use crate::preflight;
use crate::report::{self, Reporter};
use crate::sandbox::Walls;
use crate::schema;
use crate::store::{Access, Store};
use crate::toolbox::{BWRAP, ToolName, Toolbox};
use crate::workspace::{self, Workspace};

/// The image that a verb is about.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// A name of `images/`, or the path of a spec.
    Spec(&'a str),
    /// A program without a spec.
    Program(&'a Utf8Path),
}

impl<'a> Asked<'a> {
    /// A program, if there is one, else a spec.
    pub fn new(spec: &'a str, program: Option<&'a Utf8Path>) -> Self {
        program.map_or(Self::Spec(spec), Self::Program)
    }
}

/// As on the command line.
impl std::fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Spec(spec) => f.write_str(spec),
            Self::Program(file) => write!(f, "--file {file}"),
        }
    }
}

/// What every verb starts from.
#[derive(Clone)]
pub struct Session {
    /// The checkout.
    pub workspace: Workspace,
    /// Where the user is told what goes on.
    pub reporter: Reporter,
    /// Fetch nothing.
    pub offline: bool,
    /// How many jobs run at once; by default as many as there are cores.
    pub jobs: Option<NonZeroUsize>,
    /// A library that every build tool is started with, for `verify`.
    pub preload: Option<Utf8PathBuf>,
    /// What to do about missing host tools.
    pub policy: Policy,
    /// A cache that is shared with others.
    pub cache: Option<Place>,
}

impl Session {
    /// Finds the checkout; touches nothing else.
    pub fn new(global: &Global) -> Result<Self> {
        let cache = global.cache.clone().or_else(|| std::env::var("PID1_CACHE").ok());
        Ok(Self {
            cache: cache.filter(|place| !place.is_empty()).map(|place| Place::parse(&place)).transpose()?,
            workspace: Workspace::find()?,
            reporter: Reporter::new(global.verbose),
            offline: global.offline,
            jobs: global.jobs,
            preload: global.preload.clone(),
            policy: if global.yes { Policy::Install } else { Policy::Tell },
        })
    }

    /// Opens the store; waits for `gc`, and says so.
    pub fn store(&self, access: Access) -> Result<Store> {
        let on_wait = || self.reporter.say("waiting for `cargo xtask gc`, which is cleaning the store");
        Store::open_or_wait(&workspace::store_root()?, access, &on_wait)
    }

    /// Reads what was asked for, checks all that can be checked before anything is built, and plans it.
    pub fn plan(&self, asked: &Asked<'_>) -> Result<Planned> {
        let packages = Packages::read(self.workspace.root())?;
        let (image, source) = self.image(asked, &packages)?;
        preflight::check(&image, self.workspace.root(), &self.fragments()?)?;
        let lock = Lock::read(&self.workspace.sources())?;
        let std_lock = CargoLock::read(&self.workspace.std_lock())?;
        let facts = Facts { root: self.workspace.root(), lock: &lock, std_lock: &std_lock, packages: &packages };
        let graph = plan::plan(&image, &facts).with_context(|| format!("failed to plan the image `{}`", image.name))?;
        Ok(Planned { image, source, lock, std_lock, packages, graph })
    }

    /// What the user asked for, read and checked, and where it is.
    fn image(&self, asked: &Asked<'_>, packages: &Packages) -> Result<(Image, Utf8PathBuf)> {
        match asked {
            Asked::Spec(name) => {
                let fragments = stems(&self.workspace.kernel_configs(), "config")?;
                let path = self.spec_path(name)?;
                let image = Image::read(&path, &Known { fragments, packages: packages.names() })?;
                self.require_own_name(&image, &path)?;
                let path = camino::absolute_utf8(&path).with_context(|| format!("failed to read `{path}`"))?;
                Ok((image, path))
            }
            // A path of the command line is relative to the user's folder, one in a spec to the checkout.
            Asked::Program(file) => {
                let context = || format!("failed to read the program `{file}`");
                file.metadata().with_context(context)?;
                let path = camino::absolute_utf8(file).with_context(context)?;
                Ok((Image::of_program(&path, &self.image_names()?), path))
            }
        }
    }

    /// The texts of all kernel fragments.
    fn fragments(&self) -> Result<Fragments> {
        let folder = self.workspace.kernel_configs();
        let read = |name: String| {
            let path = folder.join(format!("{name}.config"));
            let text = std::fs::read_to_string(&path).with_context(|| format!("failed to read `{path}`"))?;
            Ok((name, text))
        };
        stems(&folder, "config")?.into_iter().map(read).collect()
    }

    /// Two specs of one name would overwrite each other's files in target/image.
    fn require_own_name(&self, image: &Image, path: &Utf8Path) -> Result<()> {
        let name = &image.name;
        let is_ours = path
            .canonicalize_utf8()
            .is_ok_and(|path| path.parent() == self.workspace.images().canonicalize_utf8().ok().as_deref());
        let is_taken = !is_ours && self.image_names()?.contains(name);
        if is_taken {
            bail!(
                "`name` is `{name}` in `{path}`, and images/{name}.toml has that name already\nhint: take another one"
            );
        }
        if is_ours && path.file_stem() != Some(name) {
            bail!("`name` is `{name}` in `{path}`: it must be the file's own\nhint: rename one of the two");
        }
        Ok(())
    }

    fn spec_path(&self, image: &str) -> Result<Utf8PathBuf> {
        if image.contains('/') || image.ends_with(".toml") {
            let path = Utf8PathBuf::from(image);
            return if path.is_file() { Ok(path) } else { bail!("there is no image spec `{image}`") };
        }
        let names = self.image_names()?;
        if names.iter().any(|name| name == image) {
            return Ok(self.workspace.images().join(format!("{image}.toml")));
        }
        bail!(
            "there is no images/{image}.toml{}\nhint: give a name of images/, or the path of a .toml file",
            schema::suggestion(image, &names)
        )
    }

    /// The names of the specs in `images/`.
    pub fn image_names(&self) -> Result<Vec<String>> {
        stems(&self.workspace.images(), "toml")
    }

    /// Makes sure that the host has what the plan's steps run, what closes it in, and `more`.
    pub fn require_tools(&self, planned: &Planned, more: &[ToolName]) -> Result<()> {
        let tools: BTreeSet<ToolName> = planned
            .graph
            .in_order()
            .flat_map(|step| step.recipe.tools())
            .chain([BWRAP])
            .chain(more.iter().copied())
            .collect();
        doctor::require(&tools, self.policy, &self.reporter)
    }

    /// Builds the goals of a plan.
    pub fn build(&self, planned: &Planned, store: &Store, goals: &[&str]) -> Result<Report> {
        let _guard = interrupt::end_on_signals()?;
        if let Some(warning) = Walls::of_this_host().warning() {
            self.reporter.say(&warning);
        }
        let say = |line: &str| self.reporter.say(line);
        // What `verify` makes under a strange library must not be shared, nor be taken from others.
        let place = self.cache.as_ref().filter(|_| self.preload.is_none());
        let detail = |line: &str| self.reporter.detail(line);
        let cache = place.and_then(|place| self.open_cache(place, &say, &detail));
        self.with_engine(&planned.image.name, store, |engine| {
            Engine { cache: cache.as_ref(), ..*engine }.build(&planned.graph, goals)
        })
    }

    /// The shared cache, if it can be used now. If not, the user is told why, and that is all.
    fn open_cache<'a>(&self, place: &'a Place, say: Say<'a>, detail: Say<'a>) -> Option<Cache<'a>> {
        if self.offline && !place.is_folder() {
            say(&format!("cache {place}: not asked, because of --offline"));
            return None;
        }
        match cache::client::compile(self.workspace.root(), self.offline, &self.reporter) {
            Ok(program) => Some(Cache::new(place, program, Limits::default(), say, detail)),
            Err(error) => {
                let cause = report::render(&error);
                say(&format!("cache {place}: {}; going on without it", place.redact(&cause)));
                None
            }
        }
    }

    /// Does something with an engine for the image of this name.
    pub fn with_engine<T>(&self, image: &str, store: &Store, work: impl FnOnce(&Engine<'_>) -> Result<T>) -> Result<T> {
        let toolbox = Toolbox::open(store);
        let engine = Engine {
            workspace: &self.workspace,
            image,
            store,
            toolbox: &toolbox,
            reporter: &self.reporter,
            cores: cores(self.jobs)?,
            walls: Walls::of_this_host(),
            preload: self.preload.as_deref(),
            offline: self.offline,
            cache: None,
        };
        work(&engine)
    }
}

/// The machine's cores, shared by all steps. Made once: a jobserver lives as long as the process.
fn cores(jobs: Option<NonZeroUsize>) -> Result<&'static jobserver::Client> {
    static CORES: OnceLock<std::io::Result<jobserver::Client>> = OnceLock::new();
    let n_jobs = jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, usize::from);
    let cores = CORES.get_or_init(|| jobserver::Client::new(n_jobs));
    cores.as_ref().map_err(|error| anyhow::anyhow!("failed to make a jobserver: {error}"))
}

/// A spec and the steps it takes.
pub struct Planned {
    /// The checked spec.
    pub image: Image,
    /// The spec's file, or the program without a spec; an absolute path.
    pub source: Utf8PathBuf,
    /// The pins.
    pub lock: Lock,
    /// The crates of Rust's standard library.
    pub std_lock: CargoLock,
    /// The workspace's packages.
    pub packages: Packages,
    /// The steps.
    pub graph: Graph,
}

/// The names, without `.extension`, of the files in a folder; sorted.
fn stems(folder: &Utf8Path, extension: &str) -> Result<Vec<String>> {
    let entries = folder.read_dir_utf8().with_context(|| format!("failed to list `{folder}`"))?;
    let paths = entries.flatten().map(|entry| entry.into_path()).filter(|path| path.extension() == Some(extension));
    let mut names: Vec<_> = paths.filter_map(|path| path.file_stem().map(str::to_owned)).collect();
    names.sort();
    Ok(names)
}
