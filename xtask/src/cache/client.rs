//! The process that talks to the cache, and the patience that xtask has with it.
//!
//! It is compiled and started only when a cache is asked for. Whatever it does, it can be killed, and is. One request a
//! line goes in, and comes back as `at N` (bytes so far, any number of times), then `done N`, `missing`, `large`, `denied CAUSE`,
//! `full CAUSE` or `failed CAUSE`. This room must never wait without a limit.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};

use super::place::Place;
use crate::report::Reporter;

/// The package of the client, and its program.
const PACKAGE: &str = "pid1-cache";
/// When cargo takes longer than this, it compiles, and the user is told what is being waited for.
const COMPILES: Duration = Duration::from_secs(2);

/// How long a cache is waited for, and how much is taken from it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Without a word from the cache. A far one answers in a tenth of a second.
    pub silence: Duration,
    /// Before the rate counts: name, connection, TLS, and the first bytes.
    pub start: Duration,
    /// In bytes a second, on the average since the start. With less, building is as quick as waiting.
    pub rate: u64,
    /// For what is still to be uploaded when the build is done.
    pub finish: Duration,
    /// In bytes, as unpacked, of one artifact.
    pub size: u64,
    /// In bytes, as compressed, of one artifact.
    pub packed: u64,
    /// In bytes, of one trace.
    pub trace: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(10),
            start: Duration::from_secs(10),
            rate: 100_000,
            finish: Duration::from_secs(60),
            // The largest artifacts that steps compute, programs with much debug information, have a tenth.
            size: 1 << 30,
            packed: 512 << 20,
            // With a thousand files in its key it has a hundred thousand.
            trace: 4 << 20,
        }
    }
}

impl Limits {
    /// Until when so many bytes must have been moved.
    fn due(&self, n_bytes: u64) -> Duration {
        self.start + Duration::from_secs(n_bytes / self.rate.max(1))
    }
}

/// What the cache said to a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done, with this many bytes.
    Done(u64),
    /// There is no such thing.
    Missing,
    /// It is larger than was asked for.
    TooLarge,
    /// It is not allowed.
    Denied(String),
    /// There is no room on the disk that was written to: ours for `get`, that of a cache in a folder for `put`.
    Full(String),
    /// The cache is of no use: unreachable, silent, slow or broken.
    Failed(String),
}

/// Compiles the client, as cargo would for `cargo run`, and says where it is.
pub fn compile(checkout: &Utf8Path, offline: bool, reporter: &Reporter) -> Result<Utf8PathBuf> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "--package", PACKAGE, "--message-format", "json-render-diagnostics"]);
    command.args(offline.then_some("--offline")).current_dir(checkout).stdin(Stdio::null());
    // What `cargo run` tells xtask about its own package: build scripts that look at it, such as ring's, would run anew, and
    // for the next `cargo xtask` once more.
    let is_about_us = |name: &&std::ffi::OsString| {
        name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    };
    std::env::vars_os().map(|(name, _)| name).filter(|name| is_about_us(&name)).for_each(|name| {
        command.env_remove(name);
    });
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("failed to run cargo")?;
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let messages = stdout.recv_timeout(COMPILES).or_else(|_| {
        reporter.say("cache: compiling its client, once");
        stdout.recv()
    });
    let (messages, errors) = (messages.unwrap_or_default(), stderr.recv().unwrap_or_default());
    if !child.wait().context("failed to wait for cargo")?.success() {
        let errors: Vec<&str> = errors.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = errors.iter().rposition(|line| line.starts_with("error")).unwrap_or(0);
        bail!("failed to compile its client: {}", errors.get(last..).unwrap_or_default().join(" "));
    }
    let is_client = |message: &serde_json::Value| message["target"]["name"] == PACKAGE;
    let mut messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let path = messages
        .find_map(|message| message["executable"].as_str().filter(|_| is_client(&message)).map(Utf8PathBuf::from));
    path.context("failed to compile its client: cargo made no program")
}

/// Reads a stream to its end, in a thread of its own.
fn collect(stream: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read until it broke is worth as much.
        let _ = stream.map(|mut stream| stream.read_to_end(&mut bytes));
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// A running client. It ends when this is dropped, and by itself when xtask is gone: its stdin ends then.
pub struct Client {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    limits: Limits,
}

impl Client {
    /// Starts the client. Nothing is asked of the cache yet, save whether a folder is there.
    pub fn start(program: &Utf8Path, place: &Place, limits: Limits) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("failed to start `{program}`: {error}");
        let mut command = Command::new(program);
        // Not in xtask's process group, for Ctrl-C is xtask's to handle.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else { return Err("its client has no pipes".to_owned()) };
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut client = Self { child, stdin, lines, limits };
        match client.ask(&format!("open {}", place.address()), None, &|| false) {
            Reply::Done(_) => Ok(client),
            Reply::Missing | Reply::TooLarge => Err("it does not exist".to_owned()),
            Reply::Denied(cause) | Reply::Full(cause) | Reply::Failed(cause) => Err(cause),
        }
    }

    /// Asks, and waits for the answer as long as the limits allow. `uploaded` is the size of what goes to the cache, in
    /// bytes: until it is there the cache has nothing to say. `is_over` ends the wait early.
    pub fn ask(&mut self, request: &str, uploaded: Option<u64>, is_over: &dyn Fn() -> bool) -> Reply {
        if writeln!(self.stdin, "{request}").is_err() {
            return Reply::Failed("its client ended".to_owned());
        }
        let (start, mut heard, mut n_bytes) = (Instant::now(), Instant::now(), uploaded.unwrap_or(0));
        loop {
            let due = start + self.limits.due(n_bytes);
            let limit = if uploaded.is_some() { due } else { due.min(heard + self.limits.silence) };
            let left = limit.saturating_duration_since(Instant::now());
            let line = match self.lines.recv_timeout(left.min(LOOK_UP)) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => return Reply::Failed("its client ended".to_owned()),
                Err(RecvTimeoutError::Timeout) if is_over() => return Reply::Failed("the time was up".to_owned()),
                Err(RecvTimeoutError::Timeout) if left <= LOOK_UP => {
                    return Reply::Failed(self.too_late(heard, n_bytes));
                }
                Err(RecvTimeoutError::Timeout) => continue,
            };
            heard = Instant::now();
            match parse(&line) {
                Progress::At(n) if n > n_bytes => n_bytes = n,
                Progress::At(_) => {}
                Progress::End(reply) => return reply,
            }
        }
    }

    fn too_late(&self, heard: Instant, n_bytes: u64) -> String {
        if n_bytes == 0 || heard.elapsed() >= self.limits.silence {
            format!("no answer for {:.1} s", heard.elapsed().as_secs_f64())
        } else {
            format!("slower than {} a second", crate::report::size(self.limits.rate))
        }
    }
}

/// How often a wait looks whether it is over.
const LOOK_UP: Duration = Duration::from_millis(200);

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

enum Progress {
    At(u64),
    End(Reply),
}

fn parse(line: &str) -> Progress {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = || rest.to_owned();
    Progress::End(match (word, rest().parse()) {
        ("at", Ok(n_bytes)) => return Progress::At(n_bytes),
        ("done", Ok(n_bytes)) => Reply::Done(n_bytes),
        ("missing", _) => Reply::Missing,
        ("large", _) => Reply::TooLarge,
        ("denied", _) => Reply::Denied(rest()),
        ("full", _) => Reply::Full(rest()),
        ("failed", _) => Reply::Failed(rest()),
        _ => Reply::Failed("its client answered nonsense".to_owned()),
    })
}
