//! The one way to run a build tool: inside walls (bubblewrap) in which only its declared inputs and tools are to be seen, at
//! fixed paths, with one folder to write to; a cleared environment, a fixed umask, no standard input; everything printed goes
//! to the step's log. When xtask ends, whatever the reason, the tool and all its children end, too.
//!
//! Where the host forbids walls, the tool runs in the open, with the same environment and a `PATH` of declared tools.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal, setsid, umask};

use self::keeper::Keeper;
use self::walls::{BIN, Mount};
use crate::artifact::EPOCH;
use crate::space;
use crate::toolbox::{self, ToolName};

mod host;
mod keeper;
mod walls;

pub use walls::{BUILD, INPUTS, Walls};

/// Where a tool sees the library that it is started with.
const PRELOAD: &str = "/preload.so";

/// A build tool said that it failed. Why, is in the step's log.
#[derive(Debug, thiserror::Error)]
#[error("`{program}` failed with {status}")]
pub struct ToolFailed {
    /// The tool's name.
    pub program: String,
    /// How it ended.
    pub status: ExitStatus,
    /// It said that the disk is full.
    #[source]
    pub full_disk: Option<Errno>,
}

/// What a sandbox is made of.
pub struct Setting<'a> {
    /// Whether tools can be closed in here.
    pub walls: &'a Walls,
    /// An empty folder, of which the sandbox makes the build folder.
    pub folder: &'a Utf8Path,
    /// The declared tools, and where they are.
    pub tools: &'a [(ToolName, Utf8PathBuf)],
    /// What may be read: role and path.
    pub inputs: &'a BTreeMap<String, Utf8PathBuf>,
    /// A library that every tool is started with, for `verify`.
    pub preload: Option<&'a Utf8Path>,
    /// Where the tools' output goes.
    pub log: File,
    /// Shares the machine's cores among all tools of all running steps.
    pub cores: jobserver::Client,
}

/// What a build tool sees of the machine.
pub struct Sandbox {
    walls: Walls,
    mounts: Vec<Mount>,
    /// Paths of the host, and what they are inside.
    places: Vec<(Utf8PathBuf, Utf8PathBuf)>,
    /// The build folder on the host.
    build: Utf8PathBuf,
    /// The whole `PATH`.
    bin: Utf8PathBuf,
    preload: Option<Utf8PathBuf>,
    log: Mutex<File>,
    cores: jobserver::Client,
}

/// One run of a build tool.
pub struct Tool<'a> {
    sandbox: &'a Sandbox,
    /// As the tool is to see it.
    command: Command,
    is_closed_in: bool,
    shares_cores: bool,
    /// What it says while it succeeds is of no account.
    is_cargo_fetch: bool,
    on_line: &'a dyn Fn(&str),
}

impl Sandbox {
    /// Makes the build folder, and finds out what has to be seen.
    pub fn new(setting: Setting<'_>) -> Result<Self> {
        let Setting { walls, folder, tools, inputs, preload, log, cores } = setting;
        let (build, links) = (folder.join("build"), folder.join("bin"));
        for folder in [&build, &build.join("home"), &build.join("tmp"), &links] {
            fs::create_dir(folder).with_context(|| format!("failed to make the folder `{folder}`"))?;
        }
        let mut places = vec![(build.clone(), BUILD.into())];
        places.extend(inputs.iter().map(|(role, path)| (path.clone(), Utf8Path::new(INPUTS).join(role))));
        let mut mounts = Vec::new();
        if walls.are_closed() {
            mounts.push(Mount::Writable(build.clone(), BUILD.into()));
            // Before the tools, of which one may be at home there.
            mounts.push(Mount::Writable(build.join("tmp"), "/tmp".into()));
            mounts.extend(host::mounts(tools)?);
            for (from, to) in places.iter().skip(1) {
                mounts.push(input(from, to)?);
            }
            mounts.extend(preload.map(|path| Mount::ReadOnly(path.to_owned(), PRELOAD.into())));
        } else {
            for (name, path) in tools {
                symlink(path, links.join(name)).with_context(|| format!("failed to link the tool `{name}`"))?;
            }
        }
        let (bin, preload) = match walls.are_closed() {
            true => (BIN.into(), preload.map(|_| PRELOAD.into())),
            false => (links, preload.map(Utf8Path::to_owned)),
        };
        Ok(Self { walls: walls.clone(), mounts, places, build, bin, preload, log: Mutex::new(log), cores })
    }

    /// The build folder on the host: what is in it is in [`BUILD`] for a tool.
    pub fn build(&self) -> &Utf8Path {
        &self.build
    }

    /// Whether tools see nothing but what was declared.
    pub fn is_closed(&self) -> bool {
        self.walls.are_closed()
    }

    /// Lets tools write to one more file of the host, at `inside`.
    pub fn share(&mut self, file: &Utf8Path, inside: &str) {
        self.places.push((file.to_owned(), inside.into()));
        self.mounts.push(Mount::Writable(file.to_owned(), inside.into()));
    }

    /// What a tool calls a file or folder of the build folder or of the inputs.
    pub fn inside(&self, path: &Utf8Path) -> Utf8PathBuf {
        let find = |(host, inside): &(Utf8PathBuf, Utf8PathBuf)| match path.strip_prefix(host).ok()? {
            rest if rest.as_str().is_empty() => Some(inside.clone()),
            rest => Some(inside.join(rest)),
        };
        match self.is_closed() {
            true => self.places.iter().find_map(find).unwrap_or_else(|| path.to_owned()),
            false => path.to_owned(),
        }
    }

    /// A run of the declared tool `program` in the folder `dir`, a path of the host.
    pub fn tool<'a>(&'a self, program: &str, dir: &Utf8Path) -> Tool<'a> {
        let mut command = Command::new(self.bin.join(program));
        command
            .current_dir(self.inside(dir))
            .env_clear()
            .env("PATH", self.bin.as_str())
            .env("HOME", self.inside(&self.build.join("home")))
            .env("TMPDIR", self.inside(&self.build.join("tmp")))
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
            .envs(self.preload.iter().map(|path| ("LD_PRELOAD", path)));
        let is_closed_in = self.is_closed();
        Tool { sandbox: self, command, is_closed_in, shares_cores: false, is_cargo_fetch: false, on_line: &|_| () }
    }

    /// A run of cargo with the network and the user's own settings for it: to fetch crates, for nothing else.
    pub fn network_cargo<'a>(&'a self, dir: &Utf8Path) -> Result<Tool<'a>> {
        let find = |tool| toolbox::find(tool).map_err(|missing| anyhow!("the host tool `{}` is missing", missing.tool));
        let mut command = Command::new(find("cargo")?);
        command.env("RUSTC", find("rustc")?).current_dir(dir);
        Ok(Tool {
            sandbox: self,
            command,
            is_closed_in: false,
            shares_cores: false,
            is_cargo_fetch: true,
            on_line: &|_| (),
        })
    }

    /// Adds a line to the step's log.
    pub fn note(&self, line: &str) {
        if let Ok(mut log) = self.log.lock() {
            // A log that cannot be written must not fail the build; the disk's being full will, a moment later.
            let _ = writeln!(log, "{line}");
        }
    }
}

/// An artifact that is a link is shown as a link: what it leads to on this host was not declared.
fn input(from: &Utf8Path, to: &Utf8Path) -> Result<Mount> {
    if !from.is_symlink() {
        return Ok(Mount::ReadOnly(from.to_owned(), to.to_owned()));
    }
    let target = from.read_link_utf8().with_context(|| format!("failed to read the link `{from}`"))?;
    Ok(Mount::Link(target, to.to_owned()))
}

impl<'a> Tool<'a> {
    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Calls `on_line` with every line that the tool prints, for progress.
    pub fn on_line(mut self, on_line: &'a dyn Fn(&str)) -> Self {
        self.on_line = on_line;
        self
    }

    /// Lets the tool run jobs of its own on free cores, by GNU make's jobserver protocol.
    pub fn with_cores(mut self) -> Self {
        self.shares_cores = true;
        self
    }

    /// Runs the tool to its end. What it printed is in the log; the error says which command failed and how. A tool that says
    /// that the disk is full has failed whatever its status.
    pub fn run(mut self) -> Result<()> {
        let line = format!("{:?}", self.command);
        self.sandbox.note(&format!("$ {line}"));
        let program = self.command.get_program().to_string_lossy().rsplit('/').next().unwrap_or_default().to_owned();
        let (status, is_full) = self.run_logged().with_context(|| format!("failed to run `{program}`"))?;
        match status.success() {
            true if is_full && !self.is_cargo_fetch => Err(space::full()),
            true => Ok(()),
            false => Err(ToolFailed { program, status, full_disk: is_full.then_some(Errno::NOSPC) }.into()),
        }
    }

    /// How it ended, and whether it said that the disk is full.
    fn run_logged(&mut self) -> Result<(ExitStatus, bool)> {
        let (reader, writer) = io::pipe()?;
        let mut command = self.enclose();
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        if self.shares_cores {
            self.sandbox.cores.configure_make(&mut command);
        }
        keep(&mut command, Keeper::of_this_process()?);
        die_with_parent(&mut command);
        let child = Running::start(&mut command)?;
        // It holds the pipe's writing ends; without them the reader sees the end when the tools are gone.
        drop(command);
        let mut is_full = false;
        for line in BufReader::new(reader).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            self.sandbox.note(&line);
            is_full |= space::is_told(&line);
            (self.on_line)(&line);
        }
        Ok((child.wait()?, is_full))
    }

    /// The command that runs the tool within its walls.
    fn enclose(&mut self) -> Command {
        let walls = &self.sandbox.walls;
        let Some(mut outer) = walls.command(&self.sandbox.mounts).filter(|_| self.is_closed_in) else {
            return std::mem::replace(&mut self.command, Command::new(""));
        };
        // Bubblewrap needs no environment of its own; the tool gets what it is started with.
        outer.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        outer.arg("--chdir").arg(self.command.get_current_dir().unwrap_or(Path::new(BUILD)));
        outer.arg("--").arg(self.command.get_program()).args(self.command.get_args());
        outer
    }
}

/// What a tool creates has the same mode whatever the user's umask is.
const UMASK: u32 = 0o022;

/// Keeps files that xtask was started with from its tools: bubblewrap hands on what is open, and a folder's number opens all
/// that is in it. To be called before anything is opened that is to be handed on.
#[expect(unsafe_code, reason = "files without an owner in Rust are known by their numbers only")]
pub fn keep_open_files_from_tools() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // Collected first: the listing itself has one of the numbers, and closes it at its end.
    for number in numbers.filter(|number| *number > 2).collect::<Vec<_>>() {
        // SAFETY: the number is only handed to fcntl(2), which says so if nothing is open by it.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = rustix::io::fcntl_setfd(file, rustix::io::FdFlags::CLOEXEC);
    }
}

/// Has the kernel kill the process when xtask dies, so that nothing goes on building for nobody; and sets the umask.
#[expect(unsafe_code, reason = "std has no safe way to run code between fork and exec")]
pub fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; prctl(2), getppid(2) and umask(2) are.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            umask(Mode::from_raw_mode(UMASK));
            // The parent may have died before the call took effect.
            if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(io::Error::other("xtask ended")) }
        });
    }
}

/// Gives the process a session of its own, away from the user's terminal, and has the keeper end all of it that outlives xtask.
#[expect(unsafe_code, reason = "std has no safe way to run code between fork and exec")]
fn keep(command: &mut Command, keeper: &'static Keeper) {
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; setsid(2) and write(2) are.
    unsafe {
        command.pre_exec(move || {
            let group = setsid()?;
            keeper.begins(group.as_raw_nonzero().get().unsigned_abs())
        });
    }
}

/// The process groups of all running tools, for [`kill_all`].
static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> io::Result<Self> {
        let mut running = RUNNING.lock().map_err(|_| io::Error::other("a thread panicked"))?;
        let child = command.spawn()?;
        running.insert(child.id());
        Ok(Self(child))
    }

    fn wait(mut self) -> Result<ExitStatus> {
        self.is_ending();
        Ok(self.0.wait()?)
    }

    fn is_ending(&self) {
        if let Ok(keeper) = Keeper::of_this_process() {
            keeper.ends(self.0.id());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(mut running) = RUNNING.lock() {
            running.remove(&self.0.id());
        }
        // Whoever was waited for may have given its number to another process.
        if let Ok(None) = self.0.try_wait() {
            kill_group(self.0.id());
            self.is_ending();
            let _ = self.0.wait();
        }
    }
}

/// Kills every running tool and its children. While the returned guard lives, none starts and none is seen to end, so that
/// nobody takes the kill for a failure.
pub fn kill_all() -> MutexGuard<'static, BTreeSet<u32>> {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running.iter().copied().for_each(kill_group);
    running
}

fn kill_group(id: u32) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

#[cfg(test)]
mod tests;
