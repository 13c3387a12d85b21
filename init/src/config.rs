//! The configuration that `xtask` writes into the image and `init` reads at boot.
//!
//! One `key = value` per line, in this order:
//!
//! ```text
//! program = /bin/hello
//! arg = --verbose
//! env = RUST_LOG=info
//! ```
//!
//! `arg` and `env` may stand any number of times; arguments keep their order. Space around key and value does not
//! count, a line that starts with `#` is a comment. In a value, `\n` `\r` `\t` `\s` (a space) and `\\` stand for what
//! cannot be seen or would be lost. The format has no library behind it, so that it costs the image next to nothing.

use std::collections::BTreeMap;
use std::fmt;

use crate::complaint::{Complaint, unknown};

/// Where the configuration is in the image.
pub const CONFIG_PATH: &str = "/etc/pid1.conf";

const KEYS: [&str; 3] = ["program", "arg", "env"];

/// What the image asks of init.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// The program's absolute path in the image. Empty when the file named none.
    pub program: String,
    /// Its arguments, without the program's own name.
    pub args: Vec<String>,
    /// Its environment, beside what init sets for every program.
    pub env: BTreeMap<String, String>,
}

/// Why a configuration cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// The program's path does not start with `/`.
    NotAbsolute(String),
    /// A program, argument or variable holds a NUL byte, which no Linux program can be given.
    Nul(String),
    /// A variable's name is empty or holds `=`.
    VariableName(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAbsolute(path) => write!(f, "the program's path in the image must start with `/`: `{path}`"),
            Self::Nul(text) => write!(f, "no argument or variable can hold a NUL byte: {text:?}"),
            Self::VariableName(name) => {
                write!(f, "the name of an environment variable must not be empty or hold `=`: `{name}`")
            }
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
    push_line(&mut text, "program", &config.program)?;
    for arg in &config.args {
        push_line(&mut text, "arg", arg)?;
    }
    for (name, value) in &config.env {
        if name.is_empty() || name.contains('=') {
            return Err(ConfigError::VariableName(name.clone()));
        }
        push_line(&mut text, "env", &format!("{name}={value}"))?;
    }
    Ok(text)
}

/// The configuration in `text`, and a complaint for each line that is not understood. The other lines count.
pub fn parse(text: &str) -> (Config, Vec<Complaint>) {
    let mut config = Config::default();
    let mut complaints = Vec::new();
    for (n, line) in text.split('\n').enumerate() {
        let line = line.trim_matches(is_space);
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
    let (key, value) = (key.trim_matches(is_space), unescape(value.trim_matches(is_space))?);
    match key {
        "program" if !value.starts_with('/') => {
            return Err(format!("the program must start with `/`: `{value}`"));
        }
        "program" if !config.program.is_empty() => {
            return Err("the program is named twice, the first counts".to_owned());
        }
        "program" => config.program = value,
        "arg" => config.args.push(value),
        "env" => match value.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                config.env.insert(name.to_owned(), value.to_owned());
            }
            _ => return Err(format!("expected `env = NAME=value`, found `{value}`")),
        },
        _ => return Err(unknown("key", key, &KEYS)),
    }
    Ok(())
}

fn push_line(text: &mut String, key: &str, value: &str) -> Result<(), ConfigError> {
    if value.contains('\0') {
        return Err(ConfigError::Nul(value.to_owned()));
    }
    text.push_str(key);
    text.push_str(" = ");
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            // Space inside a value is plain; at its ends it would be taken for layout.
            ' ' if i == 0 || i == last => text.push_str("\\s"),
            _ => text.push(c),
        }
    }
    text.push('\n');
    Ok(())
}

fn unescape(value: &str) -> Result<String, String> {
    if value.contains('\0') {
        return Err("a value cannot hold a NUL byte".to_owned());
    }
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('s') => ' ',
                Some('\\') => '\\',
                _ => return Err(r"after `\` expected one of n r t s \".to_owned()),
            },
            plain => plain,
        });
    }
    Ok(text)
}

/// What counts as layout: ASCII only, so that no letter of any script is ever trimmed off a value. A carriage return
/// is among it for files written on Windows.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(program: &str, args: &[&str], env: &[(&str, &str)]) -> Config {
        Config {
            program: program.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    #[test]
    fn a_configuration_reads_like_one() {
        let written = encode(&config("/bin/web", &["-v", " a\nb\\ ", ""], &[("RUST_LOG", "info"), ("A", "=")]));
        assert_eq!(
            written.as_deref(),
            Ok("program = /bin/web\narg = -v\narg = \\sa\\nb\\\\\\s\narg = \nenv = A==\nenv = RUST_LOG=info\n")
        );
    }

    #[test]
    fn what_no_program_can_be_given_is_refused() {
        for (bad, expect) in [
            (config("bin/web", &[], &[]), ConfigError::NotAbsolute("bin/web".to_owned())),
            (config("/b", &["a\0"], &[]), ConfigError::Nul("a\0".to_owned())),
            (config("/b", &[], &[("A=B", "c")]), ConfigError::VariableName("A=B".to_owned())),
            (config("/b", &[], &[("", "c")]), ConfigError::VariableName(String::new())),
        ] {
            assert_eq!(encode(&bad), Err(expect));
        }
    }

    #[test]
    fn a_bad_line_is_a_complaint_and_the_rest_counts() {
        let text = "# by hand\r\n\n  porgram = /bin/a\nprogram=bin/a\nprogram = /bin/b\t\r\nprogram = /bin/c\nwhat\n\
                    arg = a\\x\narg = a b\nenv = A\n env = A=1=2\nrestart = x";
        let (found, complaints) = parse(text);
        assert_eq!(found, config("/bin/b", &["a b"], &[("A", "1=2")]));
        let complaints: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        assert_eq!(
            complaints,
            [
                "/etc/pid1.conf line 3: unknown key `porgram`, did you mean `program`?",
                "/etc/pid1.conf line 4: the program must start with `/`: `bin/a`",
                "/etc/pid1.conf line 6: the program is named twice, the first counts",
                "/etc/pid1.conf line 7: expected `key = value`, found `what`",
                r"/etc/pid1.conf line 8: after `\` expected one of n r t s \",
                "/etc/pid1.conf line 10: expected `env = NAME=value`, found `A`",
                "/etc/pid1.conf line 12: unknown key `restart`, expected one of: program, arg, env",
            ]
        );
    }

    #[test]
    fn an_empty_file_says_what_was_expected() {
        let (found, complaints) = parse("");
        assert_eq!(found, Config::default());
        assert_eq!(complaints.len(), 1);
    }

    /// Strings made of what could go wrong, with anything else in between.
    fn value() -> impl Strategy<Value = String> {
        let awkward = prop::sample::select(vec!['\\', '\n', '\r', '\t', ' ', '=', '#', 'n', 's', '\u{a0}', '\u{85}']);
        let any = any::<char>().prop_filter("NUL", |c| *c != '\0');
        prop::collection::vec(prop_oneof![awkward, any], 0..12).prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            program in value(),
            args in prop::collection::vec(value(), 0..5),
            env in prop::collection::btree_map(
                value().prop_map(|name| format!("N{}", name.replace('=', ""))), value(), 0..5),
        ) {
            let config = Config { program: format!("/{program}"), args, env };
            let text = encode(&config).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(parse(&text), (config, Vec::new()));
        }

        #[test]
        fn no_input_stops_it(text in any::<String>(), lines in prop::collection::vec(value(), 0..9)) {
            parse(&text);
            parse(&lines.join("\n"));
        }
    }
}
