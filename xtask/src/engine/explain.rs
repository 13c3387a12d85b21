//! What is said of a step that failed: which, why, what to do, the lines of its log that tell most, and where the rest is.

use std::fs;

use anyhow::anyhow;
use camino::Utf8Path;

use crate::key::StepKey;
use crate::report;
use crate::sandbox::{BUILD, INPUTS, ToolFailed};

/// How many lines of a log are shown with a failure.
const LOG_LINES: usize = 30;

/// What failed, why, what to do, and where to read more. `is_closed`: whether its tools were closed in.
pub fn explain(step: &str, key: StepKey, log: &Utf8Path, is_closed: bool, error: anyhow::Error) -> anyhow::Error {
    let text = format!("failed to make `{step}` (key {})", key.short());
    // A failure of ours explains itself; a tool's reason is in what it printed.
    if !error.chain().any(|cause| cause.is::<ToolFailed>()) {
        return error.context(text);
    }
    let lines = telling_lines(log);
    let shown: String = lines.iter().map(|line| format!("\n  | {line}")).collect();
    let hint = if is_closed { walls_hint(&lines) } else { "" };
    let cause = report::render(&error);
    anyhow!("{cause}\n  from its log:{shown}\n  the whole log: {log}{hint}").context(text)
}

/// The lines of a log that tell most: a compiler's errors from the first one on, else the last lines.
fn telling_lines(log: &Utf8Path) -> Vec<String> {
    let Ok(bytes) = fs::read(log) else { return Vec::new() };
    let text = String::from_utf8_lossy(&bytes);
    // Commands are long, and say nothing that the step's name does not.
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("$ ")).collect();
    let last = lines.len().saturating_sub(LOG_LINES);
    let is_error = |line: &&str| line.starts_with("error") || line.contains(": error: ");
    let first_error = lines.iter().position(is_error).unwrap_or(last);
    lines.into_iter().skip(first_error.min(last)).take(LOG_LINES).map(as_in_the_checkout).collect()
}

/// With the names that files have in the checkout, so that a click on them works. Cargo runs in `/`, and leaves that out.
fn as_in_the_checkout(line: &str) -> String {
    line.replace("/build/files/", "").replace("build/files/", "")
}

/// What a tool prints that asks for more than a step is given.
fn walls_hint(lines: &[String]) -> &'static str {
    let says = |words: &[&str]| lines.iter().any(|line| words.iter().any(|word| line.contains(word)));
    let is_elsewhere = |line: &String| {
        let mut paths = line.split(['"', '`', '\'', ' ', '(']).filter(|word| word.starts_with('/'));
        paths.any(|path| {
            ![BUILD, INPUTS, "/usr", "/toolchain", "/nix/store"].iter().any(|known| path.starts_with(known))
        })
    };
    if says(&[
        "Network is unreachable",
        "Connection refused",
        "name resolution",
        "not resolve host",
        "No route to host",
    ]) {
        return "\nhint: a build step has no network: what it needs belongs into the checkout, or is a pinned crate";
    }
    if says(&["No such file", "couldn't read", "not found", "NotFound"]) && lines.iter().any(is_elsewhere) {
        return "\nhint: a build step sees the package's own files and no others of yours: copy what it reads into the package's folder";
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_more_than_a_step_has_is_told() {
        let check = |line: &str, expect: &str| {
            let hint = walls_hint(&[line.to_owned()]);
            assert!(if expect.is_empty() { hint.is_empty() } else { hint.contains(expect) }, "{line}: {hint}");
        };
        check("error: couldn't read `/home/x/secret`: No such file or directory (os error 2)", "no others of yours");
        check("error: couldn't read `/build/files/apps/x/none`: No such file or directory (os error 2)", "");
        check("connect: Os { code: 111, kind: ConnectionRefused, message: \"Connection refused\" }", "no network");
        check("src/main.rs:1: error: expected `;`", "");
    }
}
