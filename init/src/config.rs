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

mod text;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::complaint::{Complaint, unknown};
use value::{Value, flag};

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

/// Why a configuration cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// The program's path does not start with `/`.
    NotAbsolute(String),
    /// A value holds a NUL byte, which no Linux program can be given.
    Nul(String),
    /// A variable's name is empty or holds `=`.
    VariableName(String),
    /// A value that this key cannot hold.
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAbsolute(path) => write!(f, "the program's path in the image must start with `/`: `{path}`"),
            Self::Nul(text) => write!(f, "no argument or variable can hold a NUL byte: {text:?}"),
            Self::VariableName(name) => {
                write!(f, "the name of an environment variable must not be empty or hold `=`: `{name}`")
            }
            Self::Value { key, problem } => write!(f, "`{key}`: {problem}"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Sets a key to the meaning of a text.
type Set = fn(&mut Config, &str) -> Result<(), String>;

/// Keys that hold one value: how it is set, and how it is told.
struct Key {
    name: &'static str,
    set: Set,
    /// None where the value is the default, or is none.
    get: fn(&Config) -> Option<String>,
}

/// `Key` for a field that is a [`Value`].
macro_rules! key {
    ($name:literal, $($field:ident).+) => {
        Key {
            name: $name,
            set: |config, text| put(&mut config.$($field).+, text),
            get: |config| (config.$($field).+ != Config::default().$($field).+).then(|| config.$($field).+.write()),
        }
    };
}

/// Every key but `program`, `arg`, `env` and `volume`, in the order in which they are written.
const KEYS: [Key; 12] = [
    key!("hostname", hostname),
    key!("restart", supervise.restart),
    key!("restart-delay", supervise.delay),
    key!("restart-delay-max", supervise.delay_max),
    key!("restart-healthy", supervise.healthy),
    key!("restart-limit", supervise.limit),
    key!("on-crash-loop", supervise.on_crash_loop),
    key!("stop-timeout", supervise.stop_timeout),
    key!("start", start),
    key!("network", network.mode),
    key!("interface", network.interface),
    Key {
        name: "watchdog",
        set: |config, text| {
            Duration::read(text).map(|time| config.watchdog = Some(time).filter(|time| !time.is_zero()))
        },
        get: |config| {
            (config.watchdog != Config::default().watchdog).then(|| config.watchdog.unwrap_or_default().write())
        },
    },
];

/// The names of [`KEYS`] and how they are set. Init uses this table alone, so that it need not hold what writes values.
const SETTERS: [(&str, Set); KEYS.len()] = {
    let mut setters = [(KEYS[0].name, KEYS[0].set); KEYS.len()];
    let mut i = 1;
    while i < KEYS.len() {
        setters[i] = (KEYS[i].name, KEYS[i].set);
        i += 1;
    }
    setters
};

fn put<T: Value>(place: &mut T, text: &str) -> Result<(), String> {
    *place = T::read(text)?;
    Ok(())
}

/// The keys that the kernel command line may set, as `init.KEY=VALUE`.
pub(crate) fn changeable() -> impl Iterator<Item = &'static str> {
    ["env", "volume"].into_iter().chain(SETTERS.iter().map(|(name, _)| *name))
}

impl Config {
    /// Sets one key to the meaning of `value`. `arg`, `env` and `volume` are added to those that are there; a variable or a
    /// volume takes the place of one with the same name or path.
    ///
    /// # Errors
    /// What was expected of the value, in words, or that there is no such key.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "program" if !value.starts_with('/') => return Err(format!("the program must start with `/`: `{value}`")),
            "program" => self.program = value.to_owned(),
            "arg" => self.args.push(value.to_owned()),
            "env" => match value.split_once('=') {
                Some((name, value)) if !name.is_empty() => {
                    self.env.insert(name.to_owned(), value.to_owned());
                }
                _ => return Err(format!("expected NAME=value, found `{value}`")),
            },
            "volume" => {
                let volume = Volume::read(value)?;
                self.volumes.retain(|other| other.path != volume.path);
                self.volumes.push(volume);
            }
            _ => match SETTERS.iter().find(|(name, _)| *name == key) {
                Some((_, set)) => set(self, value)?,
                None => return Err(unknown("key", key, &all_keys())),
            },
        }
        Ok(())
    }
}

fn all_keys() -> Vec<&'static str> {
    ["program", "arg"].into_iter().chain(changeable()).collect()
}

/// The text of `config`: the same configuration always gives the same bytes, and [`parse`] gives it back exactly.
pub fn encode(config: &Config) -> Result<String, ConfigError> {
    if !config.program.starts_with('/') {
        return Err(ConfigError::NotAbsolute(config.program.clone()));
    }
    let mut text = String::new();
    text::push_line(&mut text, "program", &config.program)?;
    for arg in &config.args {
        text::push_line(&mut text, "arg", arg)?;
    }
    for (name, value) in &config.env {
        if name.is_empty() || name.contains('=') {
            return Err(ConfigError::VariableName(name.clone()));
        }
        text::push_line(&mut text, "env", &format!("{name}={value}"))?;
    }
    for key in &KEYS {
        if let Some(value) = (key.get)(config) {
            require_same(key, config, &value)?;
            text::push_line(&mut text, key.name, &value)?;
        }
    }
    for volume in &config.volumes {
        let value = volume.write();
        let same = Volume::read(&value).map_err(|problem| ConfigError::Value { key: "volume", problem })?;
        if same != *volume {
            let problem = format!("no `:` and no empty part can be written: `{value}`");
            return Err(ConfigError::Value { key: "volume", problem });
        }
        text::push_line(&mut text, "volume", &value)?;
    }
    Ok(text)
}

/// A value that would be read as another one, or as none, must not be written.
fn require_same(key: &Key, config: &Config, value: &str) -> Result<(), ConfigError> {
    let mut read = Config::default();
    (key.set)(&mut read, value).map_err(|problem| ConfigError::Value { key: key.name, problem })?;
    match (key.get)(&read) == (key.get)(config) {
        true => Ok(()),
        false => Err(ConfigError::Value { key: key.name, problem: format!("cannot hold `{value}`") }),
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

impl Value for Volume {
    /// `SOURCE:PATH[:OPTION,...]`, where SOURCE is `label=X`, `uuid=X` or a path in /dev, and an option is one of `ro`,
    /// `optional`, `ext4` and `vfat`.
    fn read(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let (source, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (options, rest) = (parts.next().unwrap_or_default(), parts.next());
        let source = match source.split_once('=') {
            Some(("label", label)) if !label.is_empty() => Source::Label(label.to_owned()),
            Some(("uuid", uuid)) if !uuid.is_empty() => Source::Uuid(uuid.to_owned()),
            _ if source.starts_with("/dev/") => Source::Device(source.to_owned()),
            _ => {
                return Err(format!("expected label=X, uuid=X or a path in /dev before the first `:`, found `{text}`"));
            }
        };
        if !path.starts_with('/') || path.len() < 2 || rest.is_some() {
            return Err(format!("expected SOURCE:/PATH or SOURCE:/PATH:OPTIONS, found `{text}`"));
        }
        let mut volume = Self { path: path.to_owned(), source, kind: None, read_only: false, required: true };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            volume.set_option(option)?;
        }
        Ok(volume)
    }

    fn write(&self) -> String {
        let source = match &self.source {
            Source::Label(label) => format!("label={label}"),
            Source::Uuid(uuid) => format!("uuid={uuid}"),
            Source::Device(path) => path.clone(),
        };
        let kind = self.kind.map(FileSystem::name);
        let options = [flag(self.read_only, "ro"), flag(!self.required, "optional"), kind];
        let options = options.into_iter().flatten().collect::<Vec<_>>().join(",");
        let colon = if options.is_empty() { "" } else { ":" };
        format!("{source}:{}{colon}{options}", self.path)
    }
}

impl Volume {
    fn set_option(&mut self, option: &str) -> Result<(), String> {
        match option {
            "ro" => self.read_only = true,
            "optional" => self.required = false,
            "ext4" => self.kind = Some(FileSystem::Ext4),
            "vfat" => self.kind = Some(FileSystem::Vfat),
            _ => return Err(unknown("option", option, &["ro", "optional", "ext4", "vfat"])),
        }
        Ok(())
    }
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
