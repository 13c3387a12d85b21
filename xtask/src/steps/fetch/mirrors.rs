//! Where a pinned file can be had: the sources of a lock, with the mirrors of this machine in place of `debian:`.
//!
//! This room reads apt's configuration. It must never download, and never write.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use camino::Utf8Path;

use super::{Candidate, Try};

/// Turns the sources of a lock into candidates: `debian:` ones into one per mirror of this machine. The notes say which
/// could not be.
pub fn expand(sources: &[(String, String)]) -> (Vec<Candidate>, Vec<Try>) {
    let (mut candidates, mut notes) = (Vec::new(), Vec::new());
    for (url, sha256) in sources {
        let urls = match url.split_once(':') {
            Some(("http" | "https", _)) => Ok(vec![url.clone()]),
            Some(("debian", pool_path)) => expand_debian(pool_path),
            _ => Err("it is neither `https://…` nor `http://…` nor `debian:pool/…`".to_owned()),
        };
        match urls {
            Ok(urls) => candidates.extend(urls.into_iter().map(|url| Candidate { url, sha256: sha256.clone() })),
            Err(why) => notes.push(Try { url: url.clone(), why }),
        }
    }
    (candidates, notes)
}

/// The URLs of a pool path on the mirrors this machine itself is configured with, sorted.
pub fn expand_debian(pool_path: &str) -> Result<Vec<String>, String> {
    let listed = Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]).env("LC_ALL", "C").output();
    let listed = listed.map_err(|error| format!("failed to run `apt-get` for the mirrors of this machine: {error}"))?;
    let mut mirrors = http_mirrors(String::from_utf8_lossy(&listed.stdout).lines());
    if mirrors.is_empty() {
        // Before the first `apt-get update`, apt lists nothing of what it is configured with.
        mirrors = configured_mirrors(Utf8Path::new("/etc/apt"));
    }
    if mirrors.is_empty() {
        return Err("apt has no http mirror (looked in `apt-get indextargets` and /etc/apt)".to_owned());
    }
    Ok(Vec::from_iter(mirrors.iter().map(|mirror| format!("{mirror}/{}", pool_path.trim_start_matches('/')))))
}

fn http_mirrors<'a>(uris: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let http = uris.map(str::trim).filter(|uri| uri.starts_with("http://") || uri.starts_with("https://"));
    http.map(|uri| uri.trim_end_matches('/').to_owned()).collect()
}

fn configured_mirrors(apt: &Utf8Path) -> BTreeSet<String> {
    let parts = apt.join("sources.list.d").read_dir_utf8().into_iter().flatten().flatten();
    let mut mirrors = BTreeSet::new();
    for path in parts.map(|entry| entry.into_path()).chain([apt.join("sources.list")]) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        match path.extension() {
            Some("list") => mirrors.extend(http_mirrors(uris_of_list(&text))),
            Some("sources") => mirrors.extend(http_mirrors(uris_of_sources(&text).iter().map(String::as_str))),
            _ => {}
        }
    }
    mirrors
}

/// One-line format of sources.list(5): `deb [ options ] uri suite component…`.
fn uris_of_list(text: &str) -> impl Iterator<Item = &str> {
    let binary = text.lines().filter_map(|line| line.trim().strip_prefix("deb")?.strip_prefix([' ', '\t']));
    binary.filter_map(|rest| match rest.trim_start().strip_prefix('[') {
        Some(options) => options.split_once(']')?.1.split_whitespace().next(),
        None => rest.split_whitespace().next(),
    })
}

/// Stanzas of sources.list(5): fields, whose values go on in lines that start with a blank.
fn uris_of_sources(text: &str) -> Vec<String> {
    let text = Vec::from_iter(text.lines().filter(|line| !line.starts_with('#'))).join("\n");
    let mut uris = Vec::new();
    for stanza in text.split("\n\n") {
        let stanza = stanza.replace("\n ", " ").replace("\n\t", " ");
        let is_binary = words(&stanza, "types").any(|word| word == "deb");
        let is_disabled = words(&stanza, "enabled").any(|word| word == "no");
        if is_binary && !is_disabled {
            uris.extend(words(&stanza, "uris").map(str::to_owned));
        }
    }
    uris
}

/// The words of a field in a stanza with one line for each field.
fn words<'a>(stanza: &'a str, field: &str) -> impl Iterator<Item = &'a str> {
    let fields = stanza.lines().filter_map(|line| line.split_once(':'));
    let values = fields.filter(move |(name, _)| name.trim().eq_ignore_ascii_case(field)).map(|(_, value)| value);
    values.flat_map(str::split_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_list(text: &str, expect: &[&str]) {
        assert_eq!(Vec::from_iter(uris_of_list(text)), expect);
    }

    #[test]
    fn one_line_sources_give_their_uris() {
        check_list(
            "deb http://a/debian stable main\n  deb\t[arch=amd64 signed-by=/k]  https://b/ s c\n",
            &["http://a/debian", "https://b/"],
        );
        check_list("# deb http://a/ s c\ndeb-src http://b/ s c\ndebug http://c/\n\ndeb\ndeb [x http://d/", &[]);
    }

    #[test]
    fn stanzas_give_the_uris_of_enabled_binary_sources() {
        let text = "Types: deb deb-src\n# no: this\nURIs: http://a/debian\n http://b/debian\nSuites: s\n\ntypes: deb\nuris: http://c\nEnabled: no\n\nTypes: deb-src\nURIs: http://d\n";
        assert_eq!(uris_of_sources(text), ["http://a/debian", "http://b/debian"]);
    }

    #[test]
    fn mirrors_are_sorted_once_each_and_http_only() {
        let mirrors = http_mirrors(
            ["http://b/debian/", "cdrom:[x]/", "https://a", "http://b/debian", "mirror+file:/x"].into_iter(),
        );
        assert_eq!(Vec::from_iter(mirrors), ["http://b/debian", "https://a"]);
    }
}
