//! The one way to run a build tool: a cleared environment, a `PATH` of declared tools only, no standard input, everything
//! printed goes to the step's log. When xtask ends, the tool ends too: with all its children on a signal that xtask can
//! catch, else (SIGKILL) the tool itself, and its children when they next report to it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow};
use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal};

use crate::artifact::EPOCH;
use crate::toolbox;

/// A build tool said that it failed. Why, is in the step's log.
#[derive(Debug, thiserror::Error)]
#[error("`{program}` failed with {status}")]
pub struct ToolFailed {
    /// The tool's name.
    pub program: String,
    /// How it ended.
    pub status: ExitStatus,
}

/// What a build tool sees of the machine.
pub struct Sandbox {
    /// A folder of links to the declared tools; the whole `PATH`.
    pub bin: Utf8PathBuf,
    /// An empty folder for tools that insist on a home.
    pub home: Utf8PathBuf,
    /// Where the tool's output goes.
    pub log: Mutex<File>,
    /// Shares the machine's cores among all tools of all running steps.
    pub cores: jobserver::Client,
}

/// One run of a build tool.
pub struct Tool<'a> {
    sandbox: &'a Sandbox,
    command: std::process::Command,
    on_line: &'a dyn Fn(&str),
}

impl Sandbox {
    /// A run of the declared tool `program` in the folder `dir`.
    pub fn tool<'a>(&'a self, program: &str, dir: &Utf8Path) -> Tool<'a> {
        let mut command = std::process::Command::new(self.bin.join(program));
        command
            .current_dir(dir)
            .env_clear()
            .env("PATH", self.bin.as_str())
            .env("HOME", self.home.as_str())
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
            .stdin(Stdio::null());
        Tool { sandbox: self, command, on_line: &|_| () }
    }

    /// A run of cargo with the network and the user's own settings for it: to fetch crates, for nothing else.
    pub fn network_cargo<'a>(&'a self, dir: &Utf8Path) -> Result<Tool<'a>> {
        let find = |tool| toolbox::find(tool).map_err(|missing| anyhow!("the host tool `{}` is missing", missing.tool));
        let mut command = std::process::Command::new(find("cargo")?);
        command.env("RUSTC", find("rustc")?).current_dir(dir).stdin(Stdio::null());
        Ok(Tool { sandbox: self, command, on_line: &|_| () })
    }

    /// Adds a line to the step's log.
    pub fn note(&self, line: &str) {
        if let Ok(mut log) = self.log.lock() {
            // A log that cannot be written must not fail the build; the disk's being full will, a moment later.
            let _ = writeln!(log, "{line}");
        }
    }
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
        self.sandbox.cores.configure_make(&mut self.command);
        self
    }

    /// Runs the tool to its end. What it printed is in the log; the error says which command failed and how.
    pub fn run(mut self) -> Result<()> {
        let line = format!("{:?}", self.command);
        self.sandbox.note(&format!("$ {line}"));
        let program = self.command.get_program().to_string_lossy().rsplit('/').next().unwrap_or_default().to_owned();
        let status = self.run_logged().with_context(|| format!("failed to run `{program}`"))?;
        if !status.success() {
            return Err(ToolFailed { program, status }.into());
        }
        Ok(())
    }

    fn run_logged(&mut self) -> Result<ExitStatus> {
        let (reader, writer) = io::pipe()?;
        self.command.stdout(writer.try_clone()?).stderr(writer).process_group(0);
        die_with_parent(&mut self.command);
        let mut child = Running::start(&mut self.command)?;
        // The writing ends live on in the command; closed here, so that the reader sees the end when the tools are gone.
        self.command.stdout(Stdio::null()).stderr(Stdio::null());
        for line in BufReader::new(reader).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            self.sandbox.note(&line);
            (self.on_line)(&line);
        }
        Ok(child.0.wait()?)
    }
}

/// Has the kernel kill the process when xtask dies, so that nothing goes on building for nobody.
#[expect(unsafe_code, reason = "std has no safe way to run code between fork and exec")]
pub fn die_with_parent(command: &mut std::process::Command) {
    let parent = rustix::process::getpid();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; prctl(2) and getppid(2) are.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the call took effect.
            if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(io::Error::other("xtask ended")) }
        });
    }
}

/// The process groups of all running tools, for [`kill_all`].
static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

struct Running(Child);

impl Running {
    fn start(command: &mut std::process::Command) -> io::Result<Self> {
        let mut running = RUNNING.lock().map_err(|_| io::Error::other("a thread panicked"))?;
        let child = command.spawn()?;
        running.insert(child.id());
        Ok(Self(child))
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
mod tests {
    use super::*;

    fn sandbox() -> (tempfile::TempDir, Sandbox) {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::try_from(folder.path().to_owned()).unwrap();
        let bin = root.join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink("/bin/sh", bin.join("sh")).unwrap();
        let log = Mutex::new(File::create(root.join("log")).unwrap());
        (folder, Sandbox { bin, home: root.join("home"), log, cores: jobserver::Client::new(1).unwrap() })
    }

    fn run(script: &str) -> (Result<()>, String) {
        let (folder, sandbox) = sandbox();
        let result = sandbox.tool("sh", Utf8Path::new("/")).args(["-c", script]).run();
        (result, std::fs::read_to_string(folder.path().join("log")).unwrap())
    }

    #[test]
    fn the_environment_is_fixed() {
        // Cargo sets CARGO for tests; a leaking environment would show it.
        let (result, log) = run("export -p");
        result.unwrap();
        assert!(
            log.contains("LC_ALL='C'") && log.contains("TZ='UTC'") && log.contains("SOURCE_DATE_EPOCH='315532800'"),
            "{log}"
        );
        assert!(!log.contains("CARGO"), "{log}");
    }

    #[test]
    fn undeclared_tools_are_not_found() {
        let (result, log) = run("ls /");
        assert!(result.is_err());
        assert!(log.contains("ls: not found"), "{log}");
    }

    #[test]
    fn both_streams_reach_the_log_and_the_failure_is_named() {
        let (result, log) = run("echo out; echo err >&2; exit 3");
        assert_eq!(result.unwrap_err().to_string(), "`sh` failed with exit status: 3");
        assert!(log.contains("out\nerr\n"), "{log}");
    }

    #[test]
    fn lines_are_told_as_they_come() {
        let (_keep, sandbox) = sandbox();
        let lines = Mutex::new(Vec::new());
        let on_line = |line: &str| lines.lock().unwrap().push(line.to_owned());
        sandbox.tool("sh", Utf8Path::new("/")).args(["-c", "echo a; echo b"]).on_line(&on_line).run().unwrap();
        assert_eq!(lines.into_inner().unwrap(), ["a", "b"]);
    }

    #[test]
    fn make_gets_the_jobserver() {
        let (folder, sandbox) = sandbox();
        sandbox.tool("sh", Utf8Path::new("/")).args(["-c", "echo $MAKEFLAGS"]).with_cores().run().unwrap();
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(log.contains("--jobserver-auth="), "{log}");
    }
}
