//! The kernel command line: `init.…` parameters for init, and after `--` the program's arguments.
//!
//! The kernel hands unknown words to PID 1 as arguments or environment, but only some of them, and it stops at a
//! second `--`. So init takes none of that and reads `/proc/cmdline` itself, with the kernel's own rules (`next_arg` in
//! lib/cmdline.c): words are split at white space; a double quote switches that off and on; a quote at the very start
//! of a word or of a value is removed, with the one at its end; there is no escape.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::complaint::{Complaint, unknown};
use crate::config::{self, Config};

const PLACE: &str = "kernel command line";
const PREFIX: &str = "init.";
/// Those that are for this boot alone; besides them there is one for each key of the configuration.
const PARAMETERS: [&str; 3] = ["init.log", "init.off", "init.report"];
const LEVELS: [(&str, LogLevel); 4] =
    [("debug", LogLevel::Debug), ("info", LogLevel::Info), ("warn", LogLevel::Warn), ("quiet", LogLevel::Quiet)];
const OFF: [(&str, Off); 2] = [("poweroff", Off::PowerOff), ("restart", Off::Restart)];

/// How much init says. A level includes all that are more serious.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Every step, for someone looking for a fault.
    Debug,
    /// What the machine's owner wants to know: how the program ended.
    #[default]
    Info,
    /// Only what is wrong.
    Warn,
    /// Nothing but an epitaph.
    Quiet,
}

/// How the machine ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Off {
    /// The power goes off.
    #[default]
    PowerOff,
    /// The machine restarts, which a host can take for the end (`qemu -no-reboot`, Firecracker). For machines that
    /// cannot switch their own power off: there Linux says nothing to PID 1, halts, and waits for ever.
    Restart,
}

/// The kernel prints messages of a severity below this one, where its command line says nothing else
/// (CONFIG_CONSOLE_LOGLEVEL_DEFAULT).
pub const KERNEL_LEVEL: u8 = 7;

/// What the kernel command line changes for this boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overrides {
    /// `init.report=/dev/ttyS1`: the device, there at boot, that is told how the program ended.
    pub report: Option<String>,
    /// `init.log=debug|info|warn|quiet`.
    pub log: LogLevel,
    /// `quiet`, `debug` or `loglevel=N`: below which severity the kernel prints its own messages on the console.
    pub kernel_level: u8,
    /// `init.off=poweroff|restart`.
    pub off: Off,
    /// `init.KEY=VALUE` for any key of the configuration but `program` and `arg`, such as `init.restart=never` or
    /// `init.env=NAME=value`: in order, each one good.
    pub changes: Vec<(String, String)>,
    /// What follows `--`, if anything does: these arguments replace the image's, as with `docker run`.
    pub args: Option<Vec<OsString>>,
}

impl Default for Overrides {
    fn default() -> Self {
        Self {
            report: None,
            log: LogLevel::default(),
            kernel_level: KERNEL_LEVEL,
            off: Off::default(),
            changes: Vec::new(),
            args: None,
        }
    }
}

impl Overrides {
    /// Makes the changes to the image's configuration.
    pub fn change(&self, config: &mut Config) {
        for (key, value) in &self.changes {
            // Each was tried when the line was read.
            let _ = config.set(key, value);
        }
    }
}

/// Reads the bytes of `/proc/cmdline`. A parameter given twice counts as given last, as for the kernel.
pub fn parse(line: &[u8]) -> (Overrides, Vec<Complaint>) {
    let mut overrides = Overrides::default();
    let mut complaints = Vec::new();
    let mut words = Words(line);
    for word in words.by_ref() {
        if unquote(word) == b"--" {
            break;
        }
        let (name, value) = name_and_value(word);
        overrides.kernel_level = kernel_level(&name, value.as_deref()).unwrap_or(overrides.kernel_level);
        if name.starts_with(PREFIX)
            && let Err(problem) = apply(&mut overrides, &name, value.as_deref())
        {
            complaints.push(Complaint { place: PLACE.to_owned(), problem });
        }
    }
    let args: Vec<OsString> = words.map(argument).collect();
    overrides.args = Some(args).filter(|args| !args.is_empty());
    (overrides, complaints)
}

/// `arg` as it must stand on a command line so that [`parse`] and the kernel itself give it back, or `None` if their rules
/// cannot express it (some mixtures of spaces and double quotes, an odd number of double quotes, a NUL).
pub fn quote(arg: &str) -> Option<String> {
    // The kernel thinks in Latin-1, where 0xa0 is a space: a part of `à` in UTF-8.
    let plain = Some(arg.to_owned()).filter(|arg| !arg.as_bytes().contains(&0xa0));
    plain.into_iter().chain([format!("\"{arg}\"")]).find(|quoted| {
        let mut words = Words(quoted.as_bytes());
        let same = words.next().is_some_and(|word| argument(word) == *arg);
        // An open quote would swallow the arguments after this one.
        let is_closed = quoted.matches('"').count() % 2 == 0;
        same && words.next().is_none() && is_closed && !arg.contains('\0')
    })
}

/// The kernel's own words for how much it prints (Documentation/admin-guide/kernel-parameters.txt).
fn kernel_level(name: &str, value: Option<&str>) -> Option<u8> {
    match (name, value) {
        ("quiet", None) => Some(4),
        ("debug", None) => Some(10),
        ("loglevel", Some(level)) => level.parse().ok(),
        _ => None,
    }
}

fn apply(overrides: &mut Overrides, name: &str, value: Option<&str>) -> Result<(), String> {
    match name {
        "init.report" => match value {
            Some(path) if path.starts_with('/') => overrides.report = Some(path.to_owned()),
            _ => {
                return Err(format!("`{name}` expects a path such as /dev/ttyS1, found `{}`", value.unwrap_or("")));
            }
        },
        "init.log" => overrides.log = one_of(&LEVELS, value)?,
        "init.off" => overrides.off = one_of(&OFF, value)?,
        _ => overrides.changes.push(change(name, value)?),
    }
    Ok(())
}

/// A change of the configuration, tried on one that nobody uses.
fn change(name: &str, value: Option<&str>) -> Result<(String, String), String> {
    let key = name.strip_prefix(PREFIX).unwrap_or(name);
    if !config::changeable().any(|known| known == key) {
        let keys: Vec<String> = config::changeable().map(|key| format!("{PREFIX}{key}")).collect();
        let known: Vec<&str> = PARAMETERS.into_iter().chain(keys.iter().map(String::as_str)).collect();
        return Err(unknown("parameter", name, &known));
    }
    let value = value.unwrap_or_default();
    Config::default().set(key, value).map_err(|problem| format!("`{name}`: {problem}"))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn one_of<T: Copy, const N: usize>(known: &[(&str, T); N], value: Option<&str>) -> Result<T, String> {
    let word = value.unwrap_or("");
    match known.iter().find(|(name, _)| *name == word) {
        Some((_, meaning)) => Ok(*meaning),
        None => Err(unknown("value", word, &known.each_ref().map(|(name, _)| *name))),
    }
}

/// The words of a command line, still with their quotes.
struct Words<'a>(&'a [u8]);

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.0.iter().position(|byte| !is_space(*byte))?;
        let (_, line) = self.0.split_at_checked(start)?;
        let mut is_quoted = false;
        let end = line.iter().position(|byte| {
            is_quoted ^= *byte == b'"';
            !is_quoted && is_space(*byte)
        });
        let (word, rest) = line.split_at_checked(end.unwrap_or(line.len()))?;
        self.0 = rest;
        Some(word)
    }
}

/// ASCII white space. The kernel's table holds the byte 0xA0 too, which is in the middle of letters such as `à`; here
/// an argument keeps them.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b'\x0b'
}

/// An argument of the program: without the quotes around it, and around its value in `name="value"`. The kernel does
/// the same to the arguments it hands to PID 1, and it takes one quote only from the end.
fn argument(word: &[u8]) -> OsString {
    let has_quote = word.starts_with(b"\"");
    let inner = word.strip_prefix(b"\"").unwrap_or(word);
    // A word's first byte is never taken for the end of a name.
    let equals = inner.iter().skip(1).position(|byte| *byte == b'=');
    let (name, value) = equals.and_then(|equals| inner.split_at_checked(equals + 2)).unwrap_or((b"", inner));
    let bare = value.strip_prefix(b"\"").filter(|_| !name.is_empty());
    let (value, is_quoted) = (bare.unwrap_or(value), has_quote || bare.is_some());
    let value = value.strip_suffix(b"\"").filter(|_| is_quoted).unwrap_or(value);
    OsString::from_vec([name, value].concat())
}

fn name_and_value(word: &[u8]) -> (String, Option<String>) {
    let text = argument(word).to_string_lossy().into_owned();
    match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text, None),
    }
}

/// Without a quote at the start, and then without one at the end.
fn unquote(word: &[u8]) -> &[u8] {
    match word.strip_prefix(b"\"") {
        Some(inner) => inner.strip_suffix(b"\"").unwrap_or(inner),
        None => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check_args(line: &str, expect: &[&str]) {
        let (overrides, complaints) = parse(line.as_bytes());
        assert_eq!(overrides.args.unwrap_or_default(), expect, "{line}");
        assert_eq!(complaints, [], "{line}");
    }

    #[test]
    fn only_what_follows_the_dashes_is_the_programs() {
        check_args("console=ttyS0 panic=-1 quiet -- a b\n", &["a", "b"]);
        check_args("console=ttyS0 single a=b -x", &[]);
        check_args("quiet --\n", &[]);
        check_args("-- a -- b", &["a", "--", "b"]);
        check_args("\"--\" a", &["a"]);
        check_args("a=\"x -- y\" -- init.log=loud", &["init.log=loud"]);
    }

    #[test]
    fn quotes_are_the_kernels() {
        check_args("-- \"a b\" c", &["a b", "c"]);
        check_args("-- name=\"a b\" \"name=a b\"", &["name=a b", "name=a b"]);
        check_args("-- a\"b c\"d", &["a\"b c\"d"]);
        check_args("-- \"\" x=\"\" y=", &["", "x=", "y="]);
        check_args("-- \"open till the end", &["open till the end"]);
        check_args("-- déjà\u{a0}vu", &["déjà\u{a0}vu"]);
    }

    #[test]
    fn parameters_are_found_and_bad_ones_are_named() {
        let line = b"init.log=warn initrd.x=1 init.report=/dev/ttyS1 init.log=\"debug\" init.off=restart init.report init.lgo=debug \
                     init.log=verbose init.log=inof init.network=dhcp init.program=/x init.restart=maybe init.env=A=\"b";
        let (overrides, complaints) = parse(line);
        let expect = Overrides {
            report: Some("/dev/ttyS1".to_owned()),
            log: LogLevel::Debug,
            kernel_level: KERNEL_LEVEL,
            off: Off::Restart,
            changes: vec![("network".to_owned(), "dhcp".to_owned()), ("env".to_owned(), "A=\"b".to_owned())],
            args: None,
        };
        assert_eq!(overrides, expect);
        let complaints: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        assert_eq!(
            complaints,
            [
                "kernel command line: `init.report` expects a path such as /dev/ttyS1, found ``",
                "kernel command line: unknown parameter `init.lgo`, did you mean `init.log`?",
                "kernel command line: unknown value `verbose`, expected one of: debug, info, warn, quiet",
                "kernel command line: unknown value `inof`, did you mean `info`?",
                "kernel command line: unknown parameter `init.program`, expected one of: init.log, init.off, init.report, \
                 init.env, init.volume, init.hostname, init.restart, init.restart-delay, init.restart-delay-max, \
                 init.restart-healthy, init.restart-limit, init.on-crash-loop, init.stop-timeout, init.start, init.network, \
                 init.interface, init.watchdog",
                "kernel command line: `init.restart`: unknown value `maybe`, expected one of: never, on-failure, always",
            ]
        );
    }

    #[test]
    fn the_kernels_level_is_known() {
        for (line, expect) in [("", 7), ("quiet", 4), ("quiet debug", 10), ("loglevel=3", 3), ("loglevel=x quiet=1", 7)]
        {
            assert_eq!(parse(line.as_bytes()).0.kernel_level, expect, "{line}");
        }
    }

    #[test]
    fn changes_reach_the_configuration() {
        let (overrides, complaints) =
            parse(b"init.restart=always init.env=\"A=b c\" init.restart=never init.volume=/dev/vda:/d");
        assert_eq!(complaints, []);
        let mut config = Config::default();
        config.supervise.restart = config::Restart::OnFailure;
        overrides.change(&mut config);
        assert_eq!(config.supervise.restart, config::Restart::Never);
        assert_eq!(config.env.get("A").map(String::as_str), Some("b c"));
        assert_eq!(config.volumes.len(), 1);
    }

    #[test]
    fn every_white_space_ends_a_word() {
        // A vertical tab once made an endless loop: ASCII's definition of white space has it, Rust's has not.
        check_args("\x0b\t--\x0ba\x0b \x0c\r\n", &["a"]);
    }

    #[test]
    fn what_cannot_be_quoted_is_known() {
        for (arg, expect) in [
            ("a", Some("a")),
            ("", Some("\"\"")),
            ("a b", Some("\"a b\"")),
            ("k=a b", Some("\"k=a b\"")),
            ("a\"b\"c", Some("a\"b\"c")),
            ("{\"a\":\"b\"}", Some("{\"a\":\"b\"}")),
            ("say \"hi there\"", None),
            ("\"a\"", Some("\"\"a\"\"")),
            ("5\"", None),
        ] {
            assert_eq!(quote(arg).as_deref(), expect, "{arg}");
        }
    }

    proptest! {
        #[test]
        fn a_quoted_argument_survives_among_others(args in prop::collection::vec("[ab=\"\\- \u{a0}é\t]{0,6}", 1..5)) {
            let quoted: Vec<(String, String)> =
                args.into_iter().filter_map(|arg| Some((quote(&arg)?, arg))).collect();
            let line = quoted.iter().fold("a=b --".to_owned(), |line, (quoted, _)| line + " " + quoted);
            let (overrides, _) = parse(line.as_bytes());
            let expect: Vec<OsString> = quoted.into_iter().map(|(_, arg)| arg.into()).collect();
            prop_assert_eq!(overrides.args.unwrap_or_default(), expect);
        }

        #[test]
        fn no_input_stops_it(bytes in any::<Vec<u8>>(), text in "(init\\.|log|report|=|\"| |--|x){0,20}") {
            parse(&bytes);
            parse(text.as_bytes());
        }
    }
}
