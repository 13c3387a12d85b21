//! `cargo xtask pin`: computes the pins of another version and writes them, or shows what would change.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use camino::Utf8PathBuf;

use crate::cli::{PinArgs, PinName};
use crate::lock::{LINUX, Lock, MUSL, Pin, RUST_LIBRARY};
use crate::pin::signed::{self, KERNEL_ORG, Signer};
use crate::pin::{self, Answer, Question, SignedList, diff, edit, library, urls};
use crate::session::Session;
use crate::steps::fetch::{self, Limits};
use crate::steps::rust_std;
use crate::store::Access;
use crate::toolbox::GPGV;
use crate::{artifact, doctor, interrupt, report};

/// Looks, says what holds and what does not, and writes.
pub fn run(session: &Session, args: &PinArgs) -> Result<()> {
    if session.offline {
        anyhow::bail!("failed to pin {} offline: its sources have to be asked", args.version);
    }
    let name = match args.name {
        PinName::Linux => LINUX,
        PinName::Musl => MUSL,
        PinName::Rust => RUST_LIBRARY,
    };
    if name == LINUX {
        doctor::require(&BTreeSet::from([GPGV]), session.policy, &session.reporter)?;
    }
    let _guard = interrupt::end_on_signals()?;
    let lock_path = session.workspace.sources();
    let pin = Lock::read(&lock_path)?.pin(name)?.clone();
    let store = session.store(Access::Shared)?;
    let work = store.temp("pin")?;
    let progress = session.reporter.step(&format!("pin-{name}"));
    let keyring = session.workspace.kernel_keyring();
    let candidates = urls::candidates(name, &pin, &args.version);
    let list = candidates.iter().filter(|_| name == LINUX).find_map(|one| signed::kernel_org_list(&one.url));
    let question = Question {
        pin: &pin,
        version: &args.version,
        candidates,
        signed: list.map(|url| SignedList { url, signer: Signer { keyring: &keyring, fingerprint: KERNEL_ORG } }),
        work: work.path(),
        downloads: &store.downloads(),
        limits: Limits::default(),
        progress: &progress,
    };
    let mut answer = question.answer()?;
    more_to_say(name, &question, &mut answer)?;
    let mut edits = vec![edit_lock(name, session, args, &answer)?];
    let mut by_hand = Vec::new();
    if name == RUST_LIBRARY {
        let (more, said) = edit_rust(session, args, &pin, &answer, &question)?;
        edits.extend(more);
        by_hand = said;
    }
    drop(progress);
    tell(&pin, args, &answer, &by_hand);
    write(session, &edits, args.dry_run)
}

/// A file's path, its text, and its new text.
struct Edit {
    path: Utf8PathBuf,
    old: String,
    new: String,
}

impl Edit {
    fn new(path: Utf8PathBuf, edit: impl FnOnce(&str) -> Result<String>) -> Result<Self> {
        let old = std::fs::read_to_string(&path).with_context(|| format!("failed to read `{path}`"))?;
        let new = edit(&old).with_context(|| format!("failed to edit `{path}`"))?;
        Ok(Self { path, old, new })
    }
}

fn edit_lock(name: &str, session: &Session, args: &PinArgs, answer: &Answer) -> Result<Edit> {
    Edit::new(session.workspace.sources(), |text| {
        let new = edit::edit_pin(text, name, &args.version, answer.tree, &answer.sources)?;
        // What is written can be read again, before it is written.
        Lock::parse(&new)?;
        Ok(new)
    })
}

/// The toolchain, the workspaces and the library's crates.
fn edit_rust(
    session: &Session,
    args: &PinArgs,
    pin: &Pin,
    answer: &Answer,
    question: &Question<'_>,
) -> Result<(Vec<Edit>, Vec<String>)> {
    let (workspace, version) = (&session.workspace, &args.version);
    let theirs = pin::read_from_archive(&answer.archive, pin, "Cargo.lock", question.work)?;
    let mut by_hand = Vec::new();
    let lock = Edit::new(workspace.std_lock(), |text| {
        let (new, said) = library::library_lock(text, &theirs, &rust_std::stubs())?;
        by_hand = said;
        Ok(new)
    })?;
    let edits = vec![
        lock,
        Edit::new(workspace.toolchain_file(), |text| library::toolchain(text, version))?,
        Edit::new(workspace.manifest(), |text| library::rust_version(text, &["workspace", "package"], version))?,
        Edit::new(workspace.fuzz_manifest(), |text| library::rust_version(text, &["package"], version))?,
    ];
    if *version != pin.version {
        by_hand.push(format!("run `rustup toolchain install {version}`, if rustup does not do so by itself"));
        by_hand.push(format!(
            "for Nix, run `nix flake update rust-overlay`, if the locked one does not know {version} yet"
        ));
        by_hand.push(
            "look whether `keep` still names all that std is compiled from, and whether std needs other crates: the step \
             `rust-std` is locked, and fails if so"
                .to_owned(),
        );
    }
    Ok((edits, by_hand))
}

/// What is known of one pin only.
fn more_to_say(name: &str, question: &Question<'_>, answer: &mut Answer) -> Result<()> {
    let upstream: Vec<_> = answer.sources.iter().filter(|source| source.url.starts_with("http")).cloned().collect();
    match name {
        LINUX => {
            answer.unverified.push("the release manager's own signature (linux-*.tar.sign) is not looked at".to_owned())
        }
        MUSL => answer.unverified.push("musl's own signature (musl-*.tar.gz.asc) is not looked at".to_owned()),
        _ => {
            answer.unverified.push("Rust's own signature (rust-src-*.tar.xz.asc) is not looked at".to_owned());
            for source in upstream {
                published_hash(question, &source.url, &source.sha256, answer)?;
            }
        }
    }
    Ok(())
}

/// Rust publishes each file's sha256 beside it. Whoever could change the one could change the other: it shows accidents.
fn published_hash(question: &Question<'_>, url: &str, sha256: &str, answer: &mut Answer) -> Result<()> {
    let (beside, file) = (format!("{url}.sha256"), question.work.join("published"));
    let got = fetch::fetch_unknown(&beside, question.downloads, &file, &|_, _, _| (), &question.limits)?;
    let text = match got {
        Ok(_) => std::fs::read_to_string(&file).with_context(|| format!("failed to read `{file}`"))?,
        Err(failed) => {
            answer.unverified.push(format!("{}: {}", failed.url, failed.why));
            return Ok(());
        }
    };
    match text.split_whitespace().next() {
        Some(found) if found == sha256 => answer.verified.push(format!("{beside}: says the same sha256")),
        Some(found) if found.len() == 64 => {
            anyhow::bail!("failed to pin `{url}`: {beside} says otherwise\n  Expected: {found}\n  Computed: {sha256}")
        }
        _ => answer.unverified.push(format!("{beside}: it holds no sha256")),
    }
    Ok(())
}

fn tell(pin: &Pin, args: &PinArgs, answer: &Answer, by_hand: &[String]) {
    let list = |title: &str, lines: &[String]| {
        let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
        if lines.is_empty() { String::new() } else { format!("{title}:\n{lines}") }
    };
    report::print(&format!("{} -> {}, tree {}\n", pin.version, args.version, answer.tree));
    report::print(&list("verified", &answer.verified));
    report::print(&list("NOT verified", &answer.unverified));
    report::print(&list("to be done by hand", by_hand));
}

fn write(session: &Session, edits: &[Edit], dry_run: bool) -> Result<()> {
    let changed: Vec<&Edit> = edits.iter().filter(|edit| edit.old != edit.new).collect();
    for edit in &changed {
        let path = edit.path.strip_prefix(session.workspace.root()).unwrap_or(&edit.path);
        report::print(&format!(
            "{} {path}:\n{}",
            if dry_run { "would change" } else { "changed" },
            diff::diff(&edit.old, &edit.new)
        ));
        if !dry_run {
            artifact::replace(&edit.path, edit.new.as_bytes())?;
        }
    }
    if changed.is_empty() {
        report::print("no file changes\n");
    } else if !dry_run {
        report::print("look at it with `git diff`, and build: `cargo xtask image`\n");
    }
    Ok(())
}
