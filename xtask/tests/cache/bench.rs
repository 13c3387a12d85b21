//! Checkouts with stores of their own that share a cache, and a graph whose steps count their runs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use xtask::cache::Cache;
use xtask::cache::client::{self, Limits};
use xtask::cache::place::Place;
use xtask::engine::{Built, Engine};
use xtask::graph::{Graph, Step};
use xtask::key::Fields;
use xtask::report::Reporter;
use xtask::sandbox::Walls;
use xtask::steps::{Job, Recipe};
use xtask::store::{Access, Store};
use xtask::toolbox::Toolbox;
use xtask::workspace::Workspace;

/// The client, compiled as `cargo xtask --cache` does it.
pub static CLIENT: LazyLock<Utf8PathBuf> = LazyLock::new(|| {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    client::compile(root, false, &Reporter::new(false)).unwrap()
});

/// Generous, so that a busy machine fails no test; those about time say their own.
pub const LIMITS: Limits = Limits {
    silence: Duration::from_secs(60),
    start: Duration::from_secs(60),
    rate: 1_000,
    finish: Duration::from_secs(60),
    size: 16 << 20,
    packed: 16 << 20,
    trace: 1 << 20,
};

/// Makes a folder with a file, a program and a link from its text and its input.
#[derive(Clone)]
pub struct Toy {
    name: &'static str,
    text: &'static str,
    is_download: bool,
    pub n_runs: Arc<AtomicU32>,
}

impl Recipe for Toy {
    fn name(&self) -> &'static str {
        "toy 1"
    }
    fn describe(&self, fields: &mut Fields) {
        fields.set("text", self.text);
    }
    fn network(&self) -> Option<String> {
        self.is_download.then(|| "a toy".to_owned())
    }
    fn is_at_hand(&self, _vendor: &Utf8Path) -> bool {
        true
    }
    fn run(&self, job: &Job<'_>) -> Result<()> {
        self.n_runs.fetch_add(1, Ordering::SeqCst);
        fs::create_dir_all(job.out.join("bin/empty"))?;
        let mut text = self.text.repeat(1000);
        for path in job.inputs.values() {
            text.push_str(&fs::read_to_string(path.join("text"))?);
        }
        fs::write(job.out.join("text"), text)?;
        fs::write(job.out.join("bin/run"), "#!")?;
        fs::set_permissions(job.out.join("bin/run"), fs::Permissions::from_mode(0o755))?;
        Ok(std::os::unix::fs::symlink("../text", job.out.join("bin/link"))?)
    }
}

/// One checkout.
pub struct Bench {
    folder: tempfile::TempDir,
    pub store: Store,
    pub limits: Limits,
    pub client: Utf8PathBuf,
    pub offline: bool,
    pub toys: [Toy; 3],
    said: Mutex<Vec<String>>,
    details: Mutex<Vec<String>>,
}

impl Bench {
    /// With an empty store.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let store = Store::open(&root.join("store"), Access::Shared).unwrap();
        let toy = |name, text, is_download| Toy { name, text, is_download, n_runs: Arc::default() };
        let toys = [toy("crates", "c", true), toy("library", "l", false), toy("program", "p", false)];
        Self {
            folder,
            store,
            limits: LIMITS,
            client: CLIENT.clone(),
            offline: false,
            toys,
            said: Mutex::default(),
            details: Mutex::default(),
        }
    }

    pub fn root(&self) -> &Utf8Path {
        Utf8Path::from_path(self.folder.path()).unwrap()
    }

    fn graph(&self) -> Graph {
        let [crates, library, program] = &self.toys;
        let step = |toy: &Toy, inputs: &[&Toy]| Step {
            name: toy.name.to_owned(),
            recipe: Box::new(toy.clone()),
            inputs: inputs.iter().map(|input| (input.name.to_owned(), input.name.to_owned())).collect(),
        };
        Graph::new(vec![step(crates, &[]), step(library, &[crates]), step(program, &[library])]).unwrap()
    }

    /// Builds the program with a cache, and says what every step came to.
    pub fn build(&self, cache: &str) -> BTreeMap<String, Built> {
        let place = Place::parse(cache).unwrap();
        let say = |line: &str| self.said.lock().unwrap().push(line.to_owned());
        let detail = |line: &str| self.details.lock().unwrap().push(line.to_owned());
        self.run(Some(&Cache::new(&place, self.client.clone(), self.limits, &say, &detail)))
    }

    pub fn build_alone(&self) -> BTreeMap<String, Built> {
        self.run(None)
    }

    fn run(&self, cache: Option<&Cache<'_>>) -> BTreeMap<String, Built> {
        let engine = Engine {
            workspace: &Workspace::at(self.root()),
            image: "test",
            store: &self.store,
            toolbox: &Toolbox::open(&self.store),
            reporter: &Reporter::new(false),
            cores: &jobserver::Client::new(2).unwrap(),
            walls: Walls::of_this_host(),
            preload: None,
            offline: self.offline,
            cache,
        };
        let built = engine.build(&self.graph(), &["program"]).unwrap().built;
        let id = built["program"].id;
        // Whatever the cache did: this is what is served, and it is whole.
        assert!(self.store.is_intact(id).unwrap());
        let text = fs::read_to_string(self.store.object(id).unwrap().join("text")).unwrap();
        assert_eq!(text, ["p", "l", "c"].map(|text| text.repeat(1000)).concat());
        assert_eq!(self.left_in_tmp(), [""; 0]);
        built
    }

    /// How often the steps ran: crates, library, program.
    pub fn runs(&self) -> [u32; 3] {
        [0, 1, 2].map(|index| self.toys[index].n_runs.load(Ordering::SeqCst))
    }

    /// What the user was told of the cache.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    /// What only `-v` would have shown of it.
    pub fn details(&self) -> Vec<String> {
        self.details.lock().unwrap().clone()
    }

    fn left_in_tmp(&self) -> Vec<String> {
        let entries = self.store.root().join("tmp").read_dir_utf8().unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_owned()).collect()
    }
}

/// How often the steps ran in the checkout that makes everything, and in one that takes it from the cache.
pub const ALL: [u32; 3] = [1, 1, 1];
pub const NONE: [u32; 3] = [0, 0, 0];
