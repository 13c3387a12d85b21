//! A checkout, a store and a server of their own; the build that runs there, and what is looked at afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sha2::{Digest, Sha256};
use xtask::artifact;
use xtask::key::{ArtifactId, StepKey};
use xtask::lock::{Pin, Source};
use xtask::steps::unpack::{self, Selection};
use xtask::store::{Access, Store};

use crate::builder::{Order, VARIABLE};
use crate::random::bytes;
use crate::server::Server;

pub struct Bench {
    pub server: Server,
    pub order: Order,
    root: Utf8PathBuf,
    /// Where the store is; another place in some tests.
    pub store_root: Utf8PathBuf,
    _folder: tempfile::TempDir,
}

/// What a build laid out, and what every step of it came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    files: BTreeMap<String, Vec<u8>>,
    steps: BTreeMap<String, (StepKey, ArtifactId)>,
}

impl Outcome {
    /// Fails, with what differs, unless the files are the expected ones, and every step that is known came to the same. What
    /// was damaged and taken away is not made again while what came of it is whole.
    #[track_caller]
    pub fn expect(&self, expected: &Self) {
        let differ = |name: &&String| self.files.get(*name) != expected.files.get(*name);
        let files: Vec<_> = self.files.keys().chain(expected.files.keys()).filter(differ).collect();
        assert_eq!(files, [""; 0], "another result than undisturbed");
        let differs = |step: &&String| self.steps.get(*step) != expected.steps.get(*step);
        let steps: Vec<_> = self.steps.keys().filter(differs).collect();
        assert_eq!(steps, [""; 0], "steps that came to something else than undisturbed");
    }

    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }
}

/// What is laid out of an image.
pub const FILES: [&str; 6] =
    ["bzImage", "initramfs.cpio", "kernel.config", "manifest.json", "provenance.json", "sbom.spdx.json"];

/// A build that ended.
pub struct Ran {
    pub status: Option<i32>,
    pub stderr: String,
}

impl Ran {
    pub fn new(output: Output) -> Self {
        Self { status: output.status.code(), stderr: String::from_utf8_lossy(&output.stderr).into_owned() }
    }

    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{}", self.stderr);
        self
    }

    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is not in stderr:\n{}", self.stderr);
        }
        self
    }
}

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap().to_owned();
        fs::create_dir_all(root.join("checkout/vendor")).unwrap();
        fs::write(root.join("checkout/vendor/sources.toml"), "").unwrap();
        fs::write(root.join("checkout/fire"), "").unwrap();
        let archive = archive();
        let pin = pin(&root, &archive);
        let mut server = Server::start(archive);
        let mut order = Order { pin, ledger: root.join("ledger"), variant: 0 };
        order.pin.sources[0].url = format!("http://{}/source.tar", server.address);
        server.address.clear();
        Self { server, order, store_root: root.join("store"), root, _folder: folder }
    }

    pub fn checkout(&self) -> Utf8PathBuf {
        self.root.join("checkout")
    }

    /// The files of the image.
    pub fn target(&self) -> Utf8PathBuf {
        self.checkout().join("target/image/fire")
    }

    /// A folder of the store.
    pub fn folder(&self, name: &str) -> Utf8PathBuf {
        self.store_root.join("v1").join(name)
    }

    /// The build in a process of its own.
    pub fn command(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "builder::builder", "--nocapture"]);
        command.env(VARIABLE, serde_json::to_string(&self.order).unwrap());
        self.in_here(&mut command);
        command
    }

    /// The real `cargo xtask`, here.
    pub fn xtask(&self, args: &[&str]) -> Ran {
        Ran::new(self.xtask_command(args).output().unwrap())
    }

    /// Likewise, not yet started.
    pub fn xtask_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        self.in_here(command.args(args));
        command
    }

    /// The same for somebody who may not read what its modes forbid, as root may: a user, or root without those powers.
    pub fn powerless(&self, command: &Command) -> Ran {
        let mut powerless = Command::new("setpriv");
        if rustix::process::geteuid().is_root() {
            powerless.args(["--bounding-set", "-dac_override,-dac_read_search"]);
        }
        powerless.arg("--").arg(command.get_program()).args(command.get_args());
        powerless.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.in_here(&mut powerless);
        Ran::new(powerless.output().expect("`setpriv` of util-linux"))
    }

    fn in_here(&self, command: &mut Command) {
        let checkout = self.checkout();
        command.env("PID1_STORE", &self.store_root).env("CARGO_MANIFEST_DIR", checkout.join("xtask"));
        command.current_dir(checkout).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    }

    pub fn build(&self) -> Ran {
        Ran::new(self.command().output().unwrap())
    }

    pub fn start(&self) -> Child {
        // What it says is not read before it is killed, so it must not wait for a reader.
        self.command().stderr(Stdio::null()).spawn().unwrap()
    }

    pub fn store(&self, access: Access) -> Store {
        Store::open(&self.store_root, access).unwrap()
    }

    /// The steps that ran since the last call.
    pub fn take_ledger(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.order.ledger).unwrap_or_default();
        let _ = fs::remove_file(&self.order.ledger);
        text.lines().map(str::to_owned).collect()
    }

    /// What is there now.
    pub fn outcome(&self) -> Outcome {
        let read = |path: Utf8PathBuf| (path.file_name().unwrap().to_owned(), fs::read(&path).unwrap());
        Outcome { files: self.laid_out().into_iter().map(read).collect(), steps: self.recorded() }
    }

    fn laid_out(&self) -> Vec<Utf8PathBuf> {
        let entries = self.target().read_dir_utf8().into_iter().flatten().flatten();
        entries.map(|entry| entry.into_path()).collect()
    }

    /// Every step whose success counts, by name.
    pub fn recorded(&self) -> BTreeMap<String, (StepKey, ArtifactId)> {
        let store = self.store(Access::Shared);
        let traces = store.traces().unwrap().into_iter().filter_map(|key| store.lookup(key));
        traces.map(|trace| (trace.step, (trace.fields.key(), trace.id))).collect()
    }

    /// What must hold at any moment without a build: no lock is stuck, nothing half-made is left, and all that counts is whole.
    #[track_caller]
    pub fn check_store(&self) {
        self.check_store_but_traces();
        let store = self.store(Access::Shared);
        for key in store.traces().unwrap() {
            let trace = store.trace(key).unwrap_or_else(|| panic!("the trace {key} cannot be read"));
            assert!(
                store.object(trace.id).is_some(),
                "{}: success was recorded before the output was there",
                trace.step
            );
        }
    }

    /// The same after a gc that was killed: traces may outlive what they name, and do not count then.
    #[track_caller]
    pub fn check_store_but_traces(&self) {
        // On a crowded machine the children of a killed build may take longer to let go of the lock than `gc` waits.
        let open = || Store::open(&self.store_root, Access::Exclusive);
        let store = (0..10).find_map(|_| open().ok()).unwrap_or_else(|| open().unwrap());
        assert_eq!(names(&self.folder("tmp")), [""; 0], "left in tmp");
        for id in store.objects().unwrap() {
            assert!(store.is_intact(id).unwrap(), "{id} is damaged");
        }
    }

    /// Each laid out file is a whole one.
    #[track_caller]
    pub fn check_target(&self, expected: &Outcome) {
        for path in self.laid_out() {
            let name = path.file_name().unwrap();
            let known = expected.files.get(name);
            assert!(name.ends_with(".new") || known == Some(&fs::read(&path).unwrap()), "{name} is half or wrong");
        }
    }

    /// The lock of the folder with the image's files.
    pub fn lock_target(&self) -> fs::File {
        let folder = fs::File::open(self.target()).unwrap();
        folder.lock_shared().unwrap();
        folder
    }

    /// Each file is what the manifest says.
    #[track_caller]
    pub fn check_manifest(&self) {
        let manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(self.target().join("manifest.json")).unwrap()).unwrap();
        for (name, file) in manifest["files"].as_object().unwrap() {
            let found = sha256(&fs::read(self.target().join(name)).unwrap());
            assert_eq!(file["sha256"], found.as_str(), "{name} is of another image than the manifest");
        }
    }

    /// An empty store and an empty target, as at first.
    pub fn clear(&self) {
        artifact::remove(&self.store_root).unwrap();
        artifact::remove(&self.checkout().join("target")).unwrap();
        self.take_ledger();
    }

    /// Waits until no process of this store lives any more, and kills those that outlive their build by ten seconds: how many.
    pub fn end_stuck_tools(&self) -> usize {
        let (mut n_stuck, patience) = (0, Timespec { tv_sec: 10, tv_nsec: 0 });
        while let Some(pid) = living(self.root.as_str()).first().copied() {
            let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            if poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&patience)).unwrap() == 0 {
                let read = |file: &str| fs::read(format!("/proc/{}/{file}", pid.as_raw_nonzero())).unwrap_or_default();
                let told =
                    ["cmdline", "stat", "wchan"].map(|file| String::from_utf8_lossy(&read(file)).replace('\0', " "));
                eprintln!("outlives its build: {told:?}");
                self.kill_tools();
                n_stuck += 1;
            }
        }
        n_stuck
    }

    /// Kills the build, and all its tools too if `all`; and waits for what dies of itself.
    pub fn kill(&self, mut child: Child, all: bool) {
        child.kill().unwrap();
        child.wait().unwrap();
        if all {
            self.kill_tools();
        }
    }

    fn kill_tools(&self) {
        for pid in living(self.root.as_str()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// All processes that work in the folder `marker`, see it mounted, or were told of it; this one and its children by `fork`
/// aside. A mount namespace of a test sees its own folder.
fn living(marker: &str) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let Some(pid) = pid.filter(|pid| *pid != rustix::process::getpid()) else { continue };
        let told = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let folder = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        if String::from_utf8_lossy(&told).contains(marker) || folder.to_string_lossy().contains(marker) {
            found.push(pid);
        }
    }
    found
}

/// What is in a folder, sorted.
pub fn names(folder: &Utf8Path) -> Vec<String> {
    let entries = folder.read_dir_utf8().into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_owned()).collect();
    names.sort();
    names
}

/// 3 MB in 60 files.
fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for index in 0..60 {
        let content = bytes(index, 50_000);
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(if index % 7 == 0 { 0o755 } else { 0o644 });
        builder.append_data(&mut header, format!("source/part-{}/file-{index}", index % 5), &content[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

fn pin(root: &Utf8Path, archive: &[u8]) -> Pin {
    let (path, tree) = (root.join("source.tar"), root.join("tree"));
    fs::File::create(&path).unwrap().write_all(archive).unwrap();
    let selection = Selection { root: "*", leave_out: &[], keep: &[] };
    unpack::unpack(&path, &selection, &tree, &|_, _| ()).unwrap();
    let id = artifact::hash_path(&tree).unwrap();
    artifact::remove(&tree).unwrap();
    let source = Source { url: String::new(), sha256: sha256(archive) };
    Pin {
        version: "1".to_owned(),
        license: "MIT".to_owned(),
        root: "*".to_owned(),
        keep: Vec::new(),
        leave_out: Vec::new(),
        tree: id,
        sources: vec![source],
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The steps that are in `ran` and were in `before` already.
pub fn repeated<T>(ran: &[String], before: &BTreeMap<String, T>) -> BTreeSet<String> {
    ran.iter().filter(|step| before.contains_key(*step)).cloned().collect()
}
