//! The configuration that `xtask` writes into the image and `init` reads at boot.
//!
//! One `key = value` per line:
//!
//! ```text
//! program = /bin/web
//! arg = --verbose
//! env = RUST_LOG=info
//! restart = always
//! network = dhcp
//! volume = label=data:/data
//! ```
//!
//! `arg`, `env` and `volume` may stand any number of times; arguments keep their order, of all other keys the last line
//! counts, and what is not there has its default. Space around key and value does not count, a line that starts with `#`
//! is a comment. In a value, `\n` `\r` `\t` `\s` (a space) and `\\` stand for what cannot be seen or would be lost. The
//! format has no library behind it, so that it costs the image next to nothing.
//!
//! The kernel command line says the same things in the same words: `init.restart=never`, see [`crate::cmdline`].

mod encode;
mod keys;
mod text;
mod value;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::complaint::Complaint;
pub use encode::{ConfigError, encode};
pub(crate) use keys::changeable;

/// Where the configuration is in the image.
pub const CONFIG_PATH: &str = "/etc/pid1.conf";

/// What the image asks of init.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The program's absolute path in the image. Empty when the file named none.
    pub program: String,
    /// Its arguments, without the program's own name.
    pub args: Vec<String>,
    /// Its environment, beside what init sets for every program.
    pub env: BTreeMap<String, String>,
    /// The machine's name. Without one the program's file name is it, until a DHCP server knows better.
    pub hostname: Option<String>,
    /// What follows the program's end.
    pub supervise: Supervise,
    /// What the program waits for.
    pub start: Start,
    /// How the machine gets its IPv4 address.
    pub network: Network,
    /// Disks, in the order in which they are mounted.
    pub volumes: Vec<Volume>,
    /// How long the supervisor may be silent before the hardware restarts the machine; `None` leaves the watchdog alone.
    pub watchdog: Option<Duration>,
}

/// What follows the program's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supervise {
    /// Whether the program is started again.
    pub restart: Restart,
    /// The wait before the first restart; each further one is twice as long.
    pub delay: Duration,
    /// The longest wait.
    pub delay_max: Duration,
    /// A program that ran this long was well: its next failure counts as the first.
    pub healthy: Duration,
    /// After this many failures in a row the machine is in a crash loop. 0 is never.
    pub limit: u32,
    /// What is done in a crash loop.
    pub on_crash_loop: OnCrashLoop,
    /// How long the program has to end by itself after it was asked to.
    pub stop_timeout: Duration,
}

/// Whether the program is started again after its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Restart {
    /// Its end is the machine's, and its status the machine's.
    #[default]
    Never,
    /// Unless it exits with status 0.
    OnFailure,
    /// Whatever it ended by.
    Always,
}

/// What is done about a program that fails again and again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnCrashLoop {
    /// The machine restarts: a fault outside the program may be gone then.
    #[default]
    Reboot,
    /// The power goes off.
    PowerOff,
    /// The program is started again for ever, after the longest wait.
    KeepTrying,
}

/// What the program waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// Nothing.
    #[default]
    Now,
    /// An IPv4 address.
    Network,
}

/// How the machine gets its IPv4 address. IPv6 is the kernel's own work (SLAAC).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// The link's name, such as `eth0`; without one the first that is no loopback.
    pub interface: Option<String>,
    /// From where.
    pub mode: NetworkMode,
}

/// From where an IPv4 address comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NetworkMode {
    /// There is none; only loopback works.
    #[default]
    Off,
    /// A DHCP server gives it.
    Dhcp,
    /// The image has it.
    Static(StaticAddress),
}

/// An address that never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticAddress {
    /// The machine's address.
    pub address: Ipv4Addr,
    /// The subnet's length in bits, 0 to 32.
    pub prefix: u8,
    /// Who knows the way to everywhere else.
    pub gateway: Option<Ipv4Addr>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
}

/// A disk that is mounted before the program starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The folder in the machine.
    pub path: String,
    /// How the disk is found.
    pub source: Source,
    /// The file system; without one the disk tells.
    pub kind: Option<FileSystem>,
    /// Nothing may be written.
    pub read_only: bool,
    /// The program does not start without it.
    pub required: bool,
}

/// How a disk is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// By its file system's label.
    Label(String),
    /// By its file system's UUID.
    Uuid(String),
    /// By its path in /dev; `/dev/disk/by-id/virtio-NAME` is the virtio disk with the serial number NAME.
    Device(String),
}

/// A file system of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// Linux's own.
    Ext4,
    /// FAT12, FAT16 and FAT32.
    Vfat,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            program: String::new(),
            args: Vec::new(),
            env: BTreeMap::new(),
            hostname: None,
            supervise: Supervise::default(),
            start: Start::default(),
            network: Network::default(),
            volumes: Vec::new(),
            watchdog: Some(Duration::from_secs(30)),
        }
    }
}

impl Default for Supervise {
    /// Ten failures in a row take 51 s, so that a machine that restarts for them is not a machine that only restarts.
    fn default() -> Self {
        Self {
            restart: Restart::default(),
            delay: Duration::from_millis(100),
            delay_max: Duration::from_secs(30),
            healthy: Duration::from_secs(10),
            limit: 10,
            on_crash_loop: OnCrashLoop::default(),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

/// The configuration in `text`, and a complaint for each line that is not understood. The other lines count.
pub fn parse(text: &str) -> (Config, Vec<Complaint>) {
    let mut config = Config::default();
    let mut complaints = Vec::new();
    for (n, line) in text.split('\n').enumerate() {
        let line = line.trim_matches(text::is_space);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Err(problem) = apply(&mut config, line) {
            complaints.push(Complaint { place: format!("{CONFIG_PATH} line {}", n + 1), problem });
        }
    }
    if config.program.is_empty() {
        let problem = "it names no program, expected a line such as `program = /bin/hello`".to_owned();
        complaints.push(Complaint { place: CONFIG_PATH.to_owned(), problem });
    }
    (config, complaints)
}

fn apply(config: &mut Config, line: &str) -> Result<(), String> {
    let (key, value) = line.split_once('=').ok_or_else(|| format!("expected `key = value`, found `{line}`"))?;
    let (key, value) = (key.trim_matches(text::is_space), text::unescape(value.trim_matches(text::is_space))?);
    if key == "program" && !config.program.is_empty() {
        return Err("the program is named twice, the first counts".to_owned());
    }
    config.set(key, &value)
}

impl FileSystem {
    /// What mount(2) calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Vfat => "vfat",
        }
    }
}

#[cfg(test)]
mod tests;
