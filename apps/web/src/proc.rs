//! The formats of the kernel's files, read leniently: what is missing or odd is `None`, never a panic. Pure.
//! Source: the kernel's Documentation/filesystems/proc.rst.

use std::collections::BTreeMap;

use crate::status::{Boot, Link, Memory, Process, Traffic};

/// The first number of /proc/uptime: seconds since the kernel's start.
pub fn uptime(text: &str) -> Option<f64> {
    seconds(text.split_whitespace().next()?)
}

/// The first three numbers of /proc/loadavg.
pub fn load(text: &str) -> Option<[f64; 3]> {
    let mut numbers = text.split_whitespace().map(seconds);
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

/// A decimal that is finite and not negative.
fn seconds(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

/// /proc/meminfo.
pub fn memory(text: &str) -> Memory {
    let fields = fields(text);
    let field = |name: &str| kibibytes(fields.get(name)?);
    let [total, free, programs] = ["MemTotal", "MemFree", "AnonPages"].map(field);
    let files = field("Cached").map(|cached| cached.saturating_add(field("Buffers").unwrap_or(0)));
    let rest = |total: u64| Some(total.saturating_sub(free?).saturating_sub(programs?).saturating_sub(files?));
    Memory {
        total_bytes: total,
        available_bytes: field("MemAvailable"),
        free_bytes: free,
        programs_bytes: programs,
        files_bytes: files,
        kernel_bytes: total.and_then(rest),
    }
}

/// Received and sent of each interface, from /proc/net/dev.
pub fn traffic(text: &str) -> BTreeMap<String, (Traffic, Traffic)> {
    // Bytes, packets, errors, dropped, and four more that only some drivers count; first received, then sent.
    const DIRECTION: usize = 8;
    let line = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers.split_whitespace().map_while(|number| number.parse().ok()).collect();
        let direction = |from: usize| match *numbers.get(from..)? {
            [bytes, packets, errors, dropped, ..] => Some(Traffic { bytes, packets, errors, dropped }),
            _ => None,
        };
        Some((name.trim().to_owned(), (direction(0)?, direction(DIRECTION)?)))
    };
    text.lines().filter_map(line).collect()
}

/// `operstate` and `carrier` of /sys/class/net/NAME. An interface that is turned off has no readable carrier; the
/// loopback's `operstate` is `unknown` at all times.
pub fn link(operstate: Option<&str>, carrier: Option<&str>) -> Option<Link> {
    match (operstate.map(str::trim), carrier.map(str::trim)) {
        (_, Some("1")) => Some(Link::Up),
        (_, Some("0")) => Some(Link::NoCarrier),
        (Some(_), None) => Some(Link::Down),
        _ => None,
    }
}

/// /proc/PID/status. `None` as a whole for the kernel's own threads, which have no memory of their own, and for what
/// has ended meanwhile.
pub fn process(pid: u32, text: &str) -> Option<Process> {
    let fields = fields(text);
    let field = |name: &str| fields.get(name).copied();
    // A zombie has no memory any more either; it is a process all the same, somebody's to reap.
    let is_zombie = field("State").is_some_and(|state| state.starts_with('Z'));
    if field("VmSize").is_none() && !is_zombie {
        return None;
    }
    Some(Process {
        pid,
        parent: field("PPid").and_then(|number| number.parse().ok()),
        name: field("Name").unwrap_or("?").to_owned(),
        state: field("State").map(state_word),
        threads: field("Threads").and_then(|number| number.parse().ok()),
        resident_bytes: field("VmRSS").and_then(kibibytes),
    })
}

/// `S (sleeping)` in a word.
fn state_word(state: &str) -> String {
    let inner = state.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    inner.map_or(state, |(word, _)| word).to_owned()
}

/// What init wrote of the boot: lines such as `init 0.412` and `program 0.430`.
pub fn boot(text: &str) -> Boot {
    let value = |wanted: &str| {
        let words = text.lines().filter_map(|line| line.split_once(' '));
        words.filter(|(name, _)| *name == wanted).find_map(|(_, value)| seconds(value.trim()))
    };
    Boot { init_seconds: value("init"), program_seconds: value("program"), listening_seconds: None }
}

/// The kernel command line without the values of `init.env`, for the page is shown to anybody. A value in quotes may hold
/// spaces.
pub fn without_secrets(line: &str) -> String {
    let mut is_quoted = false;
    let mut words = line.trim().split(|c: char| {
        is_quoted ^= c == '"';
        c.is_whitespace() && !is_quoted
    });
    let mut shown = Vec::new();
    for word in &mut words {
        let bare = word.trim_start_matches('"');
        let secret = bare.strip_prefix("init.env=").map(|rest| rest.trim_start_matches('"'));
        shown.push(match secret.map(|rest| rest.split_once('=').map_or(rest, |(key, _)| key)) {
            Some(key) => format!("init.env={key}=…"),
            None => word.to_owned(),
        });
    }
    shown.join(" ")
}

/// Lines of the form `Name:   value`.
fn fields(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name.trim(), value.trim())).collect()
}

/// `1234 kB`, which the kernel means as KiB, in bytes.
fn kibibytes(value: &str) -> Option<u64> {
    value.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
#[path = "proc_tests.rs"]
mod tests;
