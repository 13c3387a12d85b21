//! The second side: its folder, its builds, and its end.
//!
//! Whatever ends this process in order takes the folder along; what a kill leaves is in the store's `tmp`, where the next
//! run sweeps it away.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use super::checkout;
use super::host::{Clock, Host};
use super::steps::Steps;
use super::variations::{self, Answers};
use crate::graph::Graph;
use crate::image::{Image, Origin};
use crate::interrupt;
use crate::qemu::interrupt::Interrupts;
use crate::report::Reporter;
use crate::session::{Asked, Session};
use crate::store::{Store, Temp};
use crate::workspace::Workspace;
use crate::{artifact, toolbox};

/// What a side says of itself.
#[derive(Default)]
pub struct Told {
    /// The probe, started as the build is.
    pub probe: Answers,
    /// The probe, started as a build tool.
    pub tool: Answers,
    /// The build.
    pub build: Answers,
}

/// What a build of some steps says, as `cargo xtask steps` prints it.
#[derive(Serialize, Deserialize)]
pub struct Account {
    /// The checkout's path.
    pub checkout: Utf8PathBuf,
    /// The store's path.
    pub store: Utf8PathBuf,
    /// What the probe said as a build tool, if it was asked.
    pub tool: String,
    /// What was made.
    pub steps: Steps,
}

/// The second side.
pub struct Second<'a> {
    session: &'a Session,
    /// How programs are started there.
    pub host: Host,
    /// The copy of the checkout.
    pub checkout: Workspace,
    /// A copy of this program: cargo may replace the file that we were started from meanwhile.
    program: Utf8PathBuf,
    /// The image, as it is asked for there.
    image: Vec<String>,
    temp: Temp,
    child: Arc<Mutex<Option<Pid>>>,
    _guard: Interrupts,
}

/// What runs here, also when it has lost its name: proc_pid_exe(5).
const THIS_PROGRAM: &str = "/proc/self/exe";
/// How often a folder is emptied in which tools of a killed build may still write for a moment.
const N_SWEEPS: u32 = 20;

impl<'a> Second<'a> {
    /// Prepares the side below the store's `tmp`: on its disk there is room for a build.
    pub fn new(session: &'a Session, store: &Store, asked: &Asked<'_>, image: &Image) -> Result<Self> {
        let temp = store.temp("verify")?;
        let child = Arc::new(Mutex::new(None));
        let guard = end_on_signals(Arc::clone(&child), temp.path().to_owned())?;
        let host = Host::new(temp.path())?;
        // Of another length than most checkouts' paths: a string's length moves what follows it.
        let to = temp.path().join("the-checkout-of-somebody-else");
        let root = session.workspace.root();
        let checkout = checkout::copy(&session.workspace, &to, store.root(), &named(asked, image, root)?)?;
        for file in ["alpha", "beta", "gamma", "delta"] {
            std::fs::write(host.order().join(file), "").context("failed to prepare the second side")?;
        }
        let program = temp.path().join("xtask");
        std::fs::copy(THIS_PROGRAM, &program).context("failed to copy this program to the second side")?;
        let image = image_there(asked, root, checkout.root())?;
        Ok(Self { session, host, checkout, program, image, temp, child, _guard: guard })
    }

    /// Makes steps and what they need, from nothing. What is to be fetched is fetched first, by the true clock.
    pub fn build(&self, graph: &Graph, goals: &[&str]) -> Result<Account> {
        let network: Vec<&str> = needed(graph, goals)
            .into_iter()
            .filter(|name| graph.get(name).is_some_and(|step| step.recipe.network().is_some()))
            .collect();
        if !network.is_empty() {
            self.xtask("steps", Clock::True, &steps_args(&network))?;
        }
        let mut args = steps_args(goals);
        args.extend(["--ask".to_owned(), self.host.probe.to_string()]);
        let text = self.xtask("steps", Clock::Ahead, &args)?;
        serde_json::from_str(&text).context("failed to read what the second side printed")
    }

    /// Lays the image's files out in `folder`.
    pub fn lay_out(&self, folder: &Utf8Path) -> Result<()> {
        self.xtask("image", Clock::Ahead, &["--out".to_owned(), folder.to_string()]).map(drop)
    }

    /// What the probe says on the first side, and on the second.
    pub fn probe(&self) -> Result<[Answers; 2]> {
        let file = |workspace: &Workspace| workspace.std_lock();
        let mut usual = Command::new(&self.host.probe);
        let mut otherwise = self.host.command(&self.host.probe, Clock::Ahead)?;
        usual.args([self.host.order(), file(&self.session.workspace)]);
        otherwise.args([self.host.order(), file(&self.checkout)]);
        Ok([variations::ask(&mut usual), variations::ask(&mut otherwise)])
    }

    /// A folder of the second side.
    pub fn folder(&self, name: &str) -> Utf8PathBuf {
        self.temp.path().join(name)
    }

    /// Moves all of the second side to `to`, instead of deleting it.
    pub fn keep(self, to: &Utf8Path) -> Result<()> {
        let context = || format!("failed to move `{}` to `{to}`", self.temp.path());
        artifact::remove(to)?;
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).with_context(context)?;
        }
        std::fs::rename(self.temp.path(), to).with_context(context)
    }

    /// Runs this same `xtask` on the second side, and gives what it printed. What it says goes to this one's user.
    fn xtask(&self, verb: &str, clock: Clock, args: &[String]) -> Result<String> {
        let mut command = self.host.command(&self.program, clock)?;
        command.arg(verb).args(&self.image).args(args).args(self.flags(clock));
        command.env("CARGO_MANIFEST_DIR", self.checkout.xtask());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        let mut child = {
            // While the lock is held no signal is answered, so that none finds a child that nobody knows.
            let mut known = self.child.lock().unwrap_or_else(PoisonError::into_inner);
            let child = command.spawn().context("failed to start the build of the second side")?;
            *known = Some(Pid::from_child(&child));
            child
        };
        let mut text = String::new();
        if let Some(stdout) = &mut child.stdout {
            stdout.read_to_string(&mut text).context("failed to read what the second side printed")?;
        }
        let status = child.wait().context("failed to wait for the build of the second side")?;
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if !status.success() {
            bail!("failed to build the second side ({status}); it said why above\nhint: --keep keeps its logs");
        }
        Ok(text)
    }

    fn flags(&self, clock: Clock) -> Vec<String> {
        // One more than here: neither as many as the host has, nor as many as the tools are told.
        let n_jobs = std::thread::available_parallelism().map_or(1, usize::from) + 1;
        let mut flags = vec!["--jobs".to_owned(), n_jobs.to_string()];
        if self.session.offline {
            flags.push("--offline".to_owned());
        }
        if clock == Clock::Ahead {
            flags.extend(["--preload".to_owned(), self.host.library.to_string()]);
        }
        flags
    }
}

fn steps_args(names: &[&str]) -> Vec<String> {
    names.iter().flat_map(|name| ["--step".to_owned(), (*name).to_owned()]).collect()
}

/// The steps that `goals` are made of, themselves included.
fn needed<'a>(graph: &'a Graph, goals: &[&'a str]) -> BTreeSet<&'a str> {
    let (mut seen, mut open) = (BTreeSet::new(), goals.to_vec());
    while let Some(name) = open.pop() {
        if seen.insert(name) {
            open.extend(graph.get(name).into_iter().flat_map(|step| &step.inputs).map(|(_, input)| input.as_str()));
        }
    }
    seen
}

/// Every path that the image is asked for by, or made of.
fn named(asked: &Asked<'_>, image: &Image, root: &Utf8Path) -> Result<Vec<Utf8PathBuf>> {
    let asked = path_of(asked).map(absolute).transpose()?;
    let program = match &image.program.origin {
        Origin::File(path) | Origin::Go(path) => Some(path),
        Origin::Package(_) => None,
    };
    let parts = program.into_iter().chain(image.files.iter().map(|file| &file.source));
    Ok(asked.into_iter().chain(parts.map(|path| root.join(path))).collect())
}

/// The path by which an image is asked for, if it is not asked for by its name.
fn path_of<'a>(asked: &'a Asked<'_>) -> Option<&'a Utf8Path> {
    match asked {
        Asked::Spec(name) if !name.contains('/') && !name.ends_with(".toml") => None,
        Asked::Spec(path) => Some(Utf8Path::new(path)),
        Asked::Program(file) => Some(file),
    }
}

fn absolute(path: &Utf8Path) -> Result<Utf8PathBuf> {
    camino::absolute_utf8(path).with_context(|| format!("failed to read `{path}`"))
}

/// The arguments that ask for the same image in the copy.
fn image_there(asked: &Asked<'_>, root: &Utf8Path, copy: &Utf8Path) -> Result<Vec<String>> {
    let there = |path: Utf8PathBuf| path.strip_prefix(root).map_or_else(|_| path.clone(), |inside| copy.join(inside));
    let path = path_of(asked).map(absolute).transpose()?.map(there);
    Ok(match (asked, path) {
        (Asked::Spec(name), None) => vec![(*name).to_owned()],
        (Asked::Spec(_), Some(path)) => vec![path.to_string()],
        (Asked::Program(_), path) => [Some("--file".into()), path].into_iter().flatten().map(String::from).collect(),
    })
}

/// Ends the side's build and takes its folder away before this process ends.
fn end_on_signals(child: Arc<Mutex<Option<Pid>>>, folder: Utf8PathBuf) -> Result<Interrupts> {
    interrupt::on_signals(move |signal| {
        // Held to the end, so that nobody takes the killed build for one that failed.
        let child = child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = *child {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        Reporter::new(false).say("interrupted; the second side is being deleted");
        for _ in 0..N_SWEEPS {
            if artifact::remove(&folder).is_ok() {
                break;
            }
        }
        std::process::exit(interrupt::SIGNALLED + i32::from(signal));
    })
}

/// Which archives a side fetched: for each pin the first digits of the archive's sha256, as the step's log says.
pub fn archives(graph: &Graph, store: &Store, steps: &Steps) -> String {
    let archive = |name: &str| {
        let log = std::fs::read_to_string(store.log(steps.get(name)?.fields.key())).ok()?;
        let (_, hash) = log.lines().last()?.rsplit_once(", sha256 ")?;
        Some(format!("{} {}", name.strip_prefix("fetch-")?, hash.chars().take(12).collect::<String>()))
    };
    let names = graph.names().into_iter().filter(|name| name.starts_with("fetch-"));
    names.filter_map(archive).collect::<Vec<_>>().join(", ")
}

/// The tools that a verification needs besides those of the steps.
pub const TOOLS: [toolbox::ToolName; 2] = ["gcc", toolbox::BWRAP];
