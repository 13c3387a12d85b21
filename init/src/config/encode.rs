//! Writing a configuration: on the host, where the image is made. Init never does.

use std::fmt;

use super::keys::{KEYS, Key};
use super::value::Value;
use super::{Config, Volume, text};

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
