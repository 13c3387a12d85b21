//! The keys of a configuration, and what setting each one means.

use std::time::Duration;

use super::value::Value;
use super::{Config, Volume};
use crate::complaint::unknown;

/// Sets a key to the meaning of a text.
pub(super) type Set = fn(&mut Config, &str) -> Result<(), String>;

/// Keys that hold one value: how it is set, and how it is told.
pub(super) struct Key {
    /// Its name.
    pub name: &'static str,
    /// How it is set.
    pub set: Set,
    /// How it is told. None where the value is the default, or is none.
    pub get: fn(&Config) -> Option<String>,
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
pub(super) const KEYS: [Key; 12] = [
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
