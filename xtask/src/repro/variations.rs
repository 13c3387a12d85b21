//! What is otherwise on the second side: a table, and for each row whether it was seen there.
//!
//! A program is asked on both sides, or the build itself; only where the two answers differ is a variation in force.

use std::collections::BTreeMap;

use serde::Serialize;

use super::host::{Host, answer};
use super::second::Told;

/// What one thing is on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variation {
    /// What varies.
    pub name: &'static str,
    /// What it is on the first side.
    pub usual: String,
    /// What it is on the second side.
    pub otherwise: String,
    /// How it is varied, for whoever wants to do the same by hand.
    pub how: &'static str,
    /// Seen to differ.
    pub is_in_force: bool,
    /// If it is not in force: why not.
    pub why_not: String,
}

/// Who tells what it is on each side.
enum Asked {
    /// The probe, which is started as the build is: by the name of its answer.
    Probe(&'static str),
    /// The probe, and on the second side the probe as a build tool in the sandbox: what the sandbox would else absorb.
    Tool(&'static str),
    /// The build itself: by the name of its answer.
    Build(&'static str),
}

/// A row of the table: what varies, who is asked, how it is varied.
const TABLE: [(&str, Asked, &str); 18] = [
    ("checkout's path", Asked::Build(CHECKOUT), "a copy of the checkout"),
    ("store's path", Asked::Build(STORE), "PID1_STORE"),
    ("user", Asked::Probe("user"), "a user namespace"),
    ("group", Asked::Probe("group"), "a user namespace"),
    ("umask", Asked::Probe("umask"), "umask(2)"),
    ("host name", Asked::Probe("host"), "a UTS namespace"),
    ("time zone", Asked::Probe("zone"), "TZ"),
    ("locale", Asked::Probe("locale"), "LC_ALL and LANG"),
    ("clock", Asked::Tool("clock"), "otherwise.c, in every build tool"),
    ("cores", Asked::Tool("cores"), "otherwise.c, in every build tool; another --jobs"),
    ("order of folders", Asked::Tool("order"), "otherwise.c, in every build tool"),
    ("kernel's release", Asked::Tool("release"), "otherwise.c, in every build tool"),
    ("environment", Asked::Probe("variables"), "200 variables of noise, CFLAGS, RUSTFLAGS, KBUILD_* and others"),
    ("home folder", Asked::Probe("home"), "HOME"),
    ("address space", Asked::Probe("address-space"), "setarch -R"),
    ("archives", Asked::Build(ARCHIVES), "each pin's last source is asked first"),
    ("current folder", Asked::Probe("folder"), "another one"),
    ("times of files", Asked::Probe("file"), "the copy's files are from 2001"),
];

/// Of archives: what was built takes none, or the store has forgotten which its trees came from.
const UNTOLD: &str = "one of the sides does not say";

/// Names of the build's answers.
pub const CHECKOUT: &str = "checkout";
/// Where the store is.
pub const STORE: &str = "store";
/// Which archives were fetched.
pub const ARCHIVES: &str = "archives";

/// Answers by name.
pub type Answers = BTreeMap<String, String>;

/// The probe's answers.
pub fn answers(text: &str) -> Answers {
    let line = |line: &str| line.split_once('\t').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    text.lines().filter_map(line).collect()
}

/// The whole table, with what each side said.
pub fn table(host: &Host, usual: &Told, otherwise: &Told) -> Vec<Variation> {
    TABLE.iter().map(|(name, asked, how)| variation(name, asked, how, host, usual, otherwise)).collect()
}

fn variation(
    name: &'static str,
    asked: &Asked,
    how: &'static str,
    host: &Host,
    usual: &Told,
    otherwise: &Told,
) -> Variation {
    let said = |answers: &Answers, name: &str| answers.get(name).cloned().unwrap_or_default();
    let (ours, theirs) = match asked {
        Asked::Probe(name) => (said(&usual.probe, name), said(&otherwise.probe, name)),
        Asked::Tool(name) => (said(&usual.probe, name), said(&otherwise.tool, name)),
        Asked::Build(name) => (said(&usual.build, name), said(&otherwise.build, name)),
    };
    let why_not = match (ours.is_empty() || theirs.is_empty(), ours == theirs, &host.bubblewrap) {
        (true, ..) => UNTOLD.to_owned(),
        (_, true, Err(why)) if how.contains("namespace") => format!("it takes {how}, and this host gives none: {why}"),
        (_, true, _) => format!("the answer was `{ours}` on both sides, in spite of: {how}"),
        _ => String::new(),
    };
    Variation { name, usual: ours, otherwise: theirs, how, is_in_force: why_not.is_empty(), why_not }
}

/// What the probe says when it is started by this command.
pub fn ask(command: &mut std::process::Command) -> Answers {
    answers(&answer(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variation_counts_only_where_the_answers_differ() {
        let told = |text: &str| Told { probe: answers(text), tool: answers(text), build: Answers::new() };
        let host = Host::for_tests(Err("forbidden".to_owned()));
        let table =
            table(&host, &told("user\t0\numask\t0022\nclock\t2026\n"), &told("user\t0\numask\t0027\nclock\t2036\n"));
        let found = |name| table.iter().find(|variation| variation.name == name).unwrap();
        assert_eq!(found("user").why_not, "it takes a user namespace, and this host gives none: forbidden");
        assert!(found("umask").is_in_force && found("clock").is_in_force);
        assert_eq!(found("home folder").why_not, UNTOLD);
    }
}
