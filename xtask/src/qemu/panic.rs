//! Kernel panics: which console lines count as one, and what they mean to a user. Pure.
//!
//! Source of the texts: the kernel's `kernel/panic.c`, `kernel/exit.c`, `init/main.c`,
//! `init/do_mounts.c` and `init/initramfs.c`, 6.12.

use super::Mode;
use super::kernel_lines::without_stamp;
use serde::Serialize;
use signal_hook::low_level::signal_name;

const PREFIX: &str = "Kernel panic - not syncing: ";
const END_PREFIX: &str = "---[ end Kernel panic - not syncing";
const KILLED_INIT: &str = "Attempted to kill init! exitcode=0x";

/// A kernel panic, explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Panic {
    /// What the kernel said after `Kernel panic - not syncing: `.
    pub message: String,
    /// The same in the user's terms, one sentence.
    pub explanation: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
}

/// A line that looks like a panic. It is one once the machine stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspicion {
    message: String,
    /// Whether the line had a time stamp; then all of the kernel's lines have one.
    stamped: bool,
}

/// What a line says about a suspected panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Nothing.
    None,
    /// The kernel's last line after a panic: it is certain.
    Confirmed,
    /// Somebody else still runs: the "panic" was only printed by a program.
    Refuted,
}

impl Suspicion {
    /// Whether this line looks like a panic.
    ///
    /// It counts at the start of a line, and after a time stamp: a program may end without a line
    /// break. Without time stamps, only the most common panic is recognised behind other text.
    pub fn from_line(line: &str) -> Option<Self> {
        let (stamped, text) = without_stamp(line);
        let at_start = text.strip_prefix(PREFIX).map(|message| (stamped, message));
        let (stamped, message) = at_start.or_else(|| behind_text(line))?;
        Some(Self { message: message.to_owned(), stamped })
    }

    /// Cuts off what follows the panic: a call trace of bare addresses, which pushes out what led to it.
    pub fn cut(lines: &mut Vec<String>) {
        let panic = lines.iter().rposition(|line| Self::from_line(line).is_some());
        lines.truncate(panic.map_or(lines.len(), |index| index + 1));
    }

    /// What a later line says about it.
    pub fn sign(&self, line: &str) -> Sign {
        let (stamped, text) = without_stamp(line);
        match () {
            () if text.starts_with(END_PREFIX) => Sign::Confirmed,
            () if self.stamped && !stamped && !text.is_empty() => Sign::Refuted,
            () => Sign::None,
        }
    }

    /// Explains the panic by its message and the console's lines before it.
    pub fn explain(&self, lines: &[String], mode: Mode) -> Panic {
        let (explanation, hint) = explain(&self.message, lines, mode);
        Panic { message: self.message.clone(), explanation, hint: hint.map(str::to_owned) }
    }
}

/// A panic behind a program's unfinished line.
fn behind_text(line: &str) -> Option<(bool, &str)> {
    let start = line.find(PREFIX)?;
    let (before, message) = (line.get(..start)?, line.get(start + PREFIX.len()..)?);
    let stamped = before.match_indices('[').any(|(at, _)| without_stamp(&before[at..]) == (true, ""));
    (stamped || exit_code(message).is_some()).then_some((stamped, message))
}

/// The wait status in "Attempted to kill init! exitcode=0x00000300".
fn exit_code(message: &str) -> Option<i32> {
    let digits = message.strip_prefix(KILLED_INIT)?;
    i32::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 8)
}

type Explanation = (String, Option<&'static str>);

fn explain(message: &str, lines: &[String], mode: Mode) -> Explanation {
    let unpacking = lines.iter().find_map(|line| after(line, "Initramfs unpacking failed: "));
    if let Some(status) = exit_code(message) {
        return init_ended(status, mode);
    }
    if message.starts_with("System is deadlocked on memory") || message.starts_with("Out of memory") {
        return ("the machine ran out of memory".to_owned(), Some(MORE_MEMORY));
    }
    if message.starts_with("Too many boot init vars") {
        return (
            "the program has more arguments than the kernel passes on".to_owned(),
            Some("the kernel takes at most 32, its own unknown words among them"),
        );
    }
    if let Some(cause) = unpacking {
        return initramfs_refused(cause);
    }
    if message.starts_with("VFS: Unable to mount root fs") {
        return no_init();
    }
    if message.starts_with("No working init found") || message.starts_with("Requested init") {
        return init_refused(message, lines);
    }
    (format!("the kernel panicked: {message}"), None)
}

/// What helps a machine that is too small.
pub const MORE_MEMORY: &str = "give it more with `-m MB`";
const INITRAMFS_OPTIONS: &str =
    "the kernel needs CONFIG_BLK_DEV_INITRD, and CONFIG_RD_GZIP, CONFIG_RD_XZ ... for the compression of the initramfs";

/// PID 1 ended. The status is `wait`'s: the low seven bits are the signal, the second byte is the exit status.
fn init_ended(status: i32, mode: Mode) -> Explanation {
    let (who, hint) = match mode {
        Mode::Direct => (
            "the program",
            "`mode = \"supervised\"` in the image spec puts our init before it, which passes the status on",
        ),
        Mode::Supervised => ("our init", "this is a defect of init; its last lines may say more"),
    };
    let fate = match status & 0x7f {
        0 => format!("exited with status {}", (status >> 8) & 0xff),
        signal => format!("was killed by {}", signal_text(signal)),
    };
    (format!("{who} {fate} while it was PID 1; the kernel panics when PID 1 exits"), Some(hint))
}

/// A signal by name and number.
pub fn signal_text(signal: i32) -> String {
    signal_name(signal).map_or_else(|| format!("signal {signal}"), |name| format!("{name} (signal {signal})"))
}

fn initramfs_refused(cause: &str) -> Explanation {
    let hint = match cause {
        "write error" => MORE_MEMORY,
        _ if cause.contains("not configured") => INITRAMFS_OPTIONS,
        _ => "the initramfs is damaged, or its compression is none that the kernel knows (CONFIG_RD_*)",
    };
    let why = if cause == "write error" { "it does not fit into the machine's memory" } else { cause };
    (format!("the kernel could not unpack the initramfs: {why}"), Some(hint))
}

/// The kernel's next step depends on its options: it looks for a root file system, or gives up.
fn no_init() -> Explanation {
    (
        "the kernel found no `/init`: the initramfs is missing, was not accepted, or has no `/init` in it".to_owned(),
        Some(INITRAMFS_OPTIONS),
    )
}

/// The kernel could not start `/init`; an earlier line, or the panic itself, has the path and the error.
fn init_refused(message: &str, lines: &[String]) -> Explanation {
    let found = lines.iter().find_map(|line| refused_program(line, "Failed to execute ", " (error "));
    let found = found.or_else(|| refused_program(message, "Requested init ", " failed (error "));
    let found = found.or_else(|| {
        lines
            .iter()
            .find_map(|line| refused_program(line, "Starting init: ", " exists but couldn't execute it (error "))
    });
    let Some((path, error)) = found else {
        return no_init();
    };
    let (why, hint) = refusal(error);
    (format!("the kernel could not start `{path}`: {why}"), hint)
}

/// Why `execve` refused a program, by its error number.
fn refusal(error: i32) -> (String, Option<&'static str>) {
    let (why, hint) = match error {
        -2 => (
            "it is missing, or the interpreter that it names is, as for a dynamically linked program",
            "link the program statically",
        ),
        -8 => (
            "it is no program for this kernel: made for another architecture, or not an ELF file",
            "`file PROGRAM` tells what it is; a script needs CONFIG_BINFMT_SCRIPT and its interpreter",
        ),
        -12 => ("there is too little memory for it", MORE_MEMORY),
        // The unpacker still has it open for writing (ETXTBSY).
        -26 => ("the initramfs ends in the middle of it", "build the initramfs again"),
        -13 => ("it is not executable", "`chmod +x` it"),
        _ => return (format!("error {error}"), None),
    };
    (format!("{why} (error {error})"), Some(hint))
}

fn refused_program<'a>(line: &'a str, before: &str, between: &str) -> Option<(&'a str, i32)> {
    let (path, rest) = after(line, before)?.split_once(between)?;
    Some((path, rest.split(')').next()?.parse().ok()?))
}

fn after<'a>(line: &'a str, before: &str) -> Option<&'a str> {
    without_stamp(line).1.strip_prefix(before)
}

#[cfg(test)]
#[path = "panic_tests.rs"]
mod tests;
