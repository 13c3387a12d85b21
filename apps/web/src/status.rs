//! What is known of the machine. Its JSON is the shape that `/status.json` promises, written down in this package's README:
//! names hold their unit, what cannot be known is `null`, fields are added and never renamed.

use serde::Serialize;

/// The machine, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    pub hostname: Option<String>,
    /// Since the kernel's start.
    pub uptime_seconds: Option<f64>,
    /// Processes that ran or waited for the disk, in the mean of the last 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    pub boot: Boot,
    pub memory: Memory,
    pub interfaces: Vec<Interface>,
    pub processes: Vec<Process>,
    /// How many of the kernel's own threads run beside the processes.
    pub kernel_threads: usize,
    pub kernel: Kernel,
}

/// When what happened, since the kernel's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Boot {
    /// init's first instruction.
    pub init_seconds: Option<f64>,
    /// init started this program.
    pub program_seconds: Option<f64>,
    /// This program could be reached.
    pub listening_seconds: Option<f64>,
}

/// Memory. Programs, files, kernel and free add up to the total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// All that the kernel hands out; its own image is not in it.
    pub total_bytes: Option<u64>,
    /// What a program could get without anything being swapped or killed.
    pub available_bytes: Option<u64>,
    pub free_bytes: Option<u64>,
    /// What programs allocated.
    pub programs_bytes: Option<u64>,
    /// Contents of files: the image itself, /tmp, /run, and what was read from disks.
    pub files_bytes: Option<u64>,
    /// The rest: the kernel's own tables.
    pub kernel_bytes: Option<u64>,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Interface {
    pub name: String,
    pub link: Option<Link>,
    pub mac: Option<String>,
    pub mtu_bytes: Option<u64>,
    /// Each with the length of its prefix: `10.0.2.15/24`, `fe80::1/64`.
    pub addresses: Vec<String>,
    pub received: Traffic,
    pub sent: Traffic,
}

/// Can anything pass?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    Up,
    /// Turned on, but nothing is connected.
    NoCarrier,
    /// Turned off.
    Down,
}

/// What passed an interface in one direction since it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    pub bytes: u64,
    pub packets: u64,
    pub errors: u64,
    pub dropped: u64,
}

/// A process that is not the kernel's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Process {
    pub pid: u32,
    pub parent: Option<u32>,
    pub name: String,
    /// In a word: `running`, `sleeping`.
    pub state: Option<String>,
    pub threads: Option<u32>,
    /// What it holds in memory; pages that it shares with others count for each.
    pub resident_bytes: Option<u64>,
}

/// The kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kernel {
    pub version: Option<String>,
    /// Values of `init.env` are left out: they may be secrets.
    pub command_line: Option<String>,
}

/// A machine for the tests of the rooms that write it out.
#[cfg(test)]
pub fn example() -> Status {
    Status {
        hostname: Some("web".into()),
        uptime_seconds: Some(93.25),
        load: Some([0.08, 0.02, 0.0]),
        boot: Boot { init_seconds: Some(0.412), program_seconds: Some(0.42), listening_seconds: Some(0.431) },
        memory: Memory {
            total_bytes: Some(24_000_000),
            available_bytes: Some(16_000_000),
            free_bytes: Some(15_000_000),
            programs_bytes: Some(1_000_000),
            files_bytes: Some(2_000_000),
            kernel_bytes: Some(6_000_000),
        },
        interfaces: vec![Interface {
            name: "eth0".into(),
            link: Some(Link::Up),
            mac: Some("52:54:00:12:34:56".into()),
            mtu_bytes: Some(1500),
            addresses: vec!["10.0.2.15/24".into(), "fec0::5054:ff:fe12:3456/64".into()],
            received: Traffic { bytes: 4096, packets: 30, errors: 0, dropped: 0 },
            sent: Traffic { bytes: 90210, packets: 64, errors: 0, dropped: 0 },
        }],
        processes: vec![Process {
            pid: 1,
            parent: Some(0),
            name: "init".into(),
            state: Some("sleeping".into()),
            threads: Some(1),
            resident_bytes: Some(81_920),
        }],
        kernel_threads: 24,
        kernel: Kernel { version: Some("6.12.107".into()), command_line: Some("console=ttyS0 quiet".into()) },
    }
}
