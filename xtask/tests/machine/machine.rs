//! Machines that run `misbehave`, a program that does what its arguments say; or any other program.
//!
//! They share the kernels of `images/hello.toml` and, with a network, of `images/web.toml`, so that none is built for them.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Checkout, Ran, compile};

/// Far longer than any of these machines takes, on a loaded host too.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// The kernel of `images/hello.toml`.
const FRAGMENTS: &str = r#""base", "serial", "pci", "acpi", "hardening""#;
/// What `images/web.toml` has besides.
const NETWORK_FRAGMENTS: &str = r#", "virtio", "net""#;

const MISBEHAVE: &str = include_str!("programs/misbehave.c");

/// The program, compiled once.
pub fn misbehave() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| compiled("misbehave", MISBEHAVE, &["-static", "-O1"])).clone()
}

/// A C program in cargo's folder for what tests make.
pub fn compiled(name: &str, source: &str, flags: &[&str]) -> PathBuf {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    compile(source, flags, &folder.path().join(name));
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::rename(folder.path().join(name), &program).unwrap();
    program
}

/// A machine that is about to be booted.
pub struct Machine {
    pub checkout: Checkout,
    program: String,
    program_keys: Vec<String>,
    tables: Vec<String>,
    kernel_words: Vec<String>,
    flags: Vec<String>,
    args: Vec<String>,
}

/// One that runs `misbehave` with these arguments.
pub fn misbehaving(args: &str) -> Machine {
    let checkout = Checkout::copy();
    std::fs::copy(misbehave(), checkout.root.join("misbehave")).unwrap();
    Machine::of(checkout, "file = \"misbehave\"").args(args)
}

impl Machine {
    /// Of this program: a line of a spec's `[program]`.
    pub fn of(checkout: Checkout, program: &str) -> Self {
        let (program_keys, tables, kernel_words) = (Vec::new(), Vec::new(), Vec::new());
        let (flags, args) = (Vec::new(), Vec::new());
        Self { checkout, program: program.to_owned(), program_keys, tables, kernel_words, flags, args }
    }

    /// More arguments for the program, split at spaces.
    pub fn args(mut self, args: &str) -> Self {
        self.args.extend(args.split_whitespace().map(str::to_owned));
        self
    }

    /// A line of `[program]`.
    pub fn program(mut self, line: &str) -> Self {
        self.program_keys.push(line.to_owned());
        self
    }

    /// A table of the spec, whole.
    pub fn table(mut self, text: &str) -> Self {
        self.tables.push(text.to_owned());
        self
    }

    /// Words for the kernel command line.
    pub fn words(mut self, words: &str) -> Self {
        self.kernel_words.push(words.to_owned());
        self
    }

    /// A flag of `xtask qemu`.
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Writes the spec, and gives the command that boots it.
    pub fn command(&self) -> Command {
        self.checkout.write("images/own.toml", self.spec());
        let deadline = format!("{}s", PATIENCE.as_secs());
        let mut args = vec!["qemu", "own"];
        // A second deadline would be an error of usage.
        if !self.flags.iter().any(|flag| flag == "--deadline") {
            args.extend(["--deadline", &deadline]);
        }
        args.extend(self.flags.iter().map(String::as_str));
        args.push("--");
        args.extend(self.args.iter().map(String::as_str));
        self.checkout.command(&args)
    }

    fn spec(&self) -> String {
        let (program, program_keys, tables) = (&self.program, self.program_keys.join("\n"), self.tables.join("\n"));
        let network = if tables.contains("[network]") { NETWORK_FRAGMENTS } else { "" };
        let words = self.kernel_words.join(" ");
        format!(
            "name = \"own\"\n[program]\n{program}\n{program_keys}\n{tables}\n[kernel]\nbase = \"tinyconfig\"\n\
             fragments = [{FRAGMENTS}{network}]\ncmdline = \"console=ttyS0 quiet {words}\"\n"
        )
    }

    /// Boots it, and waits for its end.
    pub fn boot(self) -> Ran {
        Ran::new(self.command().output().unwrap())
    }

    /// Boots it, to talk with it.
    pub fn start(self) -> Running {
        let mut command = self.command();
        build_and_start(self.checkout, &mut command)
    }
}

/// Starts `xtask qemu`, when all that it boots is there: a kernel takes longer than any machine is waited for.
pub fn build_and_start(checkout: Checkout, command: &mut Command) -> Running {
    let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let (verb, flags) = args.split_first().expect("a verb");
    let mut build = checkout.command(&[]);
    Ran::new(build.arg(verb).arg("--dry-run").args(flags).output().unwrap()).expect(0);
    start(checkout, command)
}

/// Starts a command of `checkout`, to talk with the machine that it boots.
pub fn start(checkout: Checkout, command: &mut Command) -> Running {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("xtask");
    let keyboard = child.stdin.take();
    let console = Stream::new(child.stdout.take().expect("a pipe"));
    let messages = Stream::new(child.stderr.take().expect("a pipe"));
    Running { _checkout: checkout, child, keyboard, console, messages }
}

/// What comes through a pipe, as it comes.
pub struct Stream {
    pieces: Receiver<String>,
    /// What came and was not awaited yet.
    seen: String,
}

impl Stream {
    /// Of this pipe.
    pub fn new(mut pipe: impl Read + Send + 'static) -> Self {
        let (sender, pieces) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n_bytes @ 1..) = pipe.read(&mut bytes) {
                if sender.send(String::from_utf8_lossy(&bytes[..n_bytes]).into_owned()).is_err() {
                    break;
                }
            }
        });
        Self { pieces, seen: String::new() }
    }

    /// Waits until this comes, after what was awaited before; gives all up to it, or nothing if it never came.
    pub fn wait_for(&mut self, text: &str) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return Some(std::mem::replace(&mut self.seen, rest));
            }
            let more = self.pieces.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
            self.seen.push_str(&more);
        }
    }

    /// All that comes, up to its end.
    fn rest(&mut self) -> String {
        std::mem::take(&mut self.seen) + &self.pieces.iter().collect::<String>()
    }
}

/// A machine that runs. It is stopped when the test ends.
pub struct Running {
    _checkout: Checkout,
    child: Child,
    keyboard: Option<ChildStdin>,
    console: Stream,
    messages: Stream,
}

impl Running {
    /// Waits until the console shows this, after what was awaited before; gives all up to it.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        self.console.wait_for(text).unwrap_or_else(|| self.fail(text))
    }

    /// Waits until `xtask` itself says this; gives all up to it.
    #[track_caller]
    pub fn wait_to_hear(&mut self, text: &str) -> String {
        self.messages.wait_for(text).unwrap_or_else(|| self.fail(text))
    }

    #[track_caller]
    fn fail(&mut self, text: &str) -> ! {
        self.stop();
        panic!("`{text}` never came; the console:\n{}\nstderr:\n{}", self.console.rest(), self.messages.rest());
    }

    /// Types on the machine's console.
    pub fn type_in(&mut self, text: &str) {
        let keyboard = self.keyboard.as_mut().expect("it is open");
        keyboard.write_all(text.as_bytes()).unwrap();
        keyboard.flush().unwrap();
    }

    /// Sends `xtask` a SIGTERM.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        let (stdout, stderr) = (self.console.rest(), self.messages.rest());
        let status = self.child.wait().unwrap().code().unwrap_or(-1);
        Ran { status, stdout, stderr }
    }

    fn stop(&mut self) {
        // Not when it was waited for: its process id may be another's by now.
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}
