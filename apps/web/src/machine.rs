//! Reads the machine: the kernel's files, the interfaces' addresses, the clock. Whatever cannot be read is unknown.

use std::collections::BTreeMap;
use std::fs;

use rustix::time::{ClockId, clock_gettime};

use crate::proc;
use crate::status::{Boot, Interface, Kernel, Process, Status};

/// Where init writes down when it and the program started.
const BOOT: &str = "/run/pid1/boot";

/// Everything, as it is now. `listening_seconds` is what [`now`] said when the server could be reached.
pub fn read(listening_seconds: Option<f64>) -> Status {
    let (processes, kernel_threads) = processes();
    Status {
        hostname: line("/proc/sys/kernel/hostname"),
        uptime_seconds: text("/proc/uptime").and_then(|text| proc::uptime(&text)),
        load: text("/proc/loadavg").and_then(|text| proc::load(&text)),
        boot: Boot { listening_seconds, ..proc::boot(&text(BOOT).unwrap_or_default()) },
        memory: proc::memory(&text("/proc/meminfo").unwrap_or_default()),
        interfaces: interfaces(),
        processes,
        kernel_threads,
        kernel: Kernel {
            version: line("/proc/sys/kernel/osrelease"),
            command_line: text("/proc/cmdline").map(|text| proc::without_secrets(&text)),
        },
    }
}

/// Seconds since the kernel's start, on the clock that init uses as well. In milliseconds, which is what a reader can use.
pub fn now() -> f64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec as f64 + f64::from(u32::try_from(time.tv_nsec / 1_000_000).unwrap_or(0)) / 1000.0
}

/// A file's text. What is not UTF-8 in it is shown as such.
fn text(path: &str) -> Option<String> {
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// A file that holds one value.
fn line(path: &str) -> Option<String> {
    text(path).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The names in a folder, in order.
fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn interfaces() -> Vec<Interface> {
    let traffic = proc::traffic(&text("/proc/net/dev").unwrap_or_default());
    let mut addresses = addresses();
    let interface = |name: String| {
        let file = |file: &str| line(&format!("/sys/class/net/{name}/{file}"));
        let (received, sent) = traffic.get(&name).copied().unwrap_or_default();
        Interface {
            link: proc::link(file("operstate").as_deref(), file("carrier").as_deref()),
            mac: file("address"),
            mtu_bytes: file("mtu").and_then(|number| number.parse().ok()),
            addresses: addresses.remove(&name).unwrap_or_default(),
            received,
            sent,
            name,
        }
    };
    names("/sys/class/net").into_iter().map(interface).collect()
}

/// `ADDRESS/PREFIX` of each interface. IPv4 first, as the kernel lists them.
fn addresses() -> BTreeMap<String, Vec<String>> {
    let mut addresses: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for interface in if_addrs::get_if_addrs().unwrap_or_default() {
        let prefix = match &interface.addr {
            if_addrs::IfAddr::V4(address) => address.prefixlen,
            if_addrs::IfAddr::V6(address) => address.prefixlen,
        };
        addresses.entry(interface.name.clone()).or_default().push(format!("{}/{prefix}", interface.ip()));
    }
    addresses
}

/// Every process by its number, and how many threads of the kernel there are.
fn processes() -> (Vec<Process>, usize) {
    let mut processes = Vec::new();
    let mut n_kernel_threads = 0;
    for pid in names("/proc").iter().filter_map(|name| name.parse().ok()) {
        // What ended since it was listed has no file any more.
        let Some(text) = text(&format!("/proc/{pid}/status")) else { continue };
        match proc::process(pid, &text) {
            Some(process) => processes.push(process),
            None => n_kernel_threads += 1,
        }
    }
    processes.sort_by_key(|process| process.pid);
    (processes, n_kernel_threads)
}
