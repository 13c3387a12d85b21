//! `cargo xtask verify`: does the same source give the same bits, elsewhere and otherwise?

use anyhow::{Context, Result};
use camino::Utf8Path;

use crate::cli::VerifyArgs;
use crate::graph::Graph;
use crate::plan;
use crate::repro::difference;
use crate::repro::second::{self, Account, Second, Told};
use crate::repro::steps::{self, Row, Steps};
use crate::repro::tell::{Blame, FileRow, Verdict};
use crate::repro::variations;
use crate::session::{Planned, Session};
use crate::steps::copy;
use crate::store::{Access, Store};
use crate::verbs::image::{self, Finished};
use crate::verbs::published;
use crate::verbs::why::require_step;
use crate::{report, workspace};

/// Where the first side's files are kept, in the folder of the second side.
const USUAL: &str = "as-usual";
/// Where the second side's are.
const OTHERWISE: &str = "otherwise";

/// Builds both sides and compares; status 1 if they differ.
pub fn run(session: &Session, args: &VerifyArgs) -> Result<u8> {
    let asked = args.image.asked();
    let planned = session.plan(&asked)?;
    if let Some(step) = &args.step {
        require_step(&planned.graph, step)?;
        steps::require_comparable(step)?;
    }
    session.require_tools(&planned, &second::TOOLS)?;
    if let Some(manifest) = &args.against {
        return published::run(session, &planned, manifest, args.verify_key.as_deref(), args.json);
    }
    let store = session.store(Access::Shared)?;
    let usual = build_usual(session, &planned, &store, args.step.as_deref())?;
    // From here on a signal is for the second side: it takes its folder along.
    let second = Second::new(session, &store, &asked, &planned.image)?;
    let verdict = verify(session, &planned, &store, &usual, &second, args);
    if args.keep {
        let kept = workspace::kept_verification(&planned.image.name)?;
        second.keep(&kept)?;
        let files = if args.step.is_none() { format!("{USUAL}, {OTHERWISE}, ") } else { String::new() };
        session.reporter.say(&format!(
            "kept in {kept}: {files}the second side's checkout and store; the next --keep of this image replaces it"
        ));
    }
    let verdict = verdict?;
    report::print(&if args.json { verdict.json()? } else { verdict.text() });
    Ok(u8::from(!verdict.is_same()))
}

/// The first side.
struct Usual {
    steps: Steps,
    /// The image, if all of it was asked for.
    finished: Option<Finished>,
}

/// Builds as always. Without a step, the files are laid out where they always are.
fn build_usual(session: &Session, planned: &Planned, store: &Store, step: Option<&str>) -> Result<Usual> {
    let finished = match step {
        Some(_) => None,
        None => Some(image::build(session, planned, None)?),
    };
    let steps = steps::of_report(&session.build(planned, store, &goals(&planned.graph, step))?);
    Ok(Usual { steps, finished })
}

fn goals<'a>(graph: &'a Graph, step: Option<&'a str>) -> Vec<&'a str> {
    step.map_or_else(|| plan::goals(graph), |step| vec![step])
}

/// Builds the second side and compares.
fn verify(
    session: &Session,
    planned: &Planned,
    store: &Store,
    usual: &Usual,
    second: &Second<'_>,
    args: &VerifyArgs,
) -> Result<Verdict> {
    let account = second.build(&planned.graph, &goals(&planned.graph, args.step.as_deref()))?;
    let other_store = Store::open(&second.host.store, Access::Shared)?;
    let variations = vary(session, planned, second, &account, [store, &other_store])?;
    let rows = steps::compare(&planned.graph.names(), &usual.steps, &account.steps);
    let first = steps::first_to_blame(&rows);
    let mut blame =
        first.map(|row| blame_step(row, &usual.steps, &account.steps, [store, &other_store])).transpose()?;
    let mut files = Vec::new();
    if let Some(finished) = &usual.finished {
        let folders = [USUAL, OTHERWISE].map(|name| second.folder(name));
        copy_files(finished, &folders[0])?;
        second.lay_out(&folders[1])?;
        files = compare_files(&folders[0], &folders[1])?;
        if let (None, Some(file)) = (&blame, files.iter().find(|file| !file.is_same)) {
            let paths = folders.map(|folder| folder.join(&file.name));
            let difference = difference::of_artifacts(&paths[0], &paths[1])?;
            blame = Some(Blame { what: format!("the file {}", file.name), notes: Vec::new(), difference });
        }
    }
    Ok(Verdict { image: planned.image.name.clone(), step: args.step.clone(), variations, rows, files, blame })
}

fn vary(
    session: &Session,
    planned: &Planned,
    second: &Second<'_>,
    account: &Account,
    stores: [&Store; 2],
) -> Result<Vec<variations::Variation>> {
    let [usual, otherwise] = second.probe()?;
    let build = |checkout: &Utf8Path, store: &Utf8Path, archives: String| {
        let said = [
            (variations::CHECKOUT, checkout.to_string()),
            (variations::STORE, store.to_string()),
            (variations::ARCHIVES, archives),
        ];
        said.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    };
    let archives = stores.map(|store| second::archives(&planned.graph, store, &account.steps));
    let [ours, theirs] = archives;
    let usual =
        Told { probe: usual, build: build(session.workspace.root(), stores[0].root(), ours), ..Told::default() };
    let otherwise = Told {
        probe: otherwise,
        tool: variations::answers(&account.tool),
        build: build(&account.checkout, &account.store, theirs),
    };
    Ok(variations::table(&second.host, &usual, &otherwise))
}

fn blame_step(row: &Row, usual: &Steps, otherwise: &Steps, stores: [&Store; 2]) -> Result<Blame> {
    let what = format!("the step {}", row.step);
    let (Some(ours), Some(theirs)) = (usual.get(&row.step), otherwise.get(&row.step)) else {
        return Ok(Blame { what, notes: vec!["the second side did not make it".to_owned()], difference: None });
    };
    let mut notes = vec![
        if row.has_same_inputs { "its inputs are the same on both sides" } else { "so are its inputs" }.to_owned(),
    ];
    notes.extend(steps::other_fields(ours, theirs).iter().map(|change| format!("what went in is not: {change}")));
    let difference = match (stores[0].object(ours.id), stores[1].object(theirs.id)) {
        (Some(ours), Some(theirs)) => {
            let difference = difference::of_artifacts(&ours, &theirs)?;
            if difference.is_none() {
                notes.push("no difference was found in the artifacts themselves".to_owned());
            }
            difference
        }
        _ => {
            notes.push("one of the two artifacts is not in its store; only its id is known".to_owned());
            None
        }
    };
    Ok(Blame { what, notes, difference })
}

fn copy_files(finished: &Finished, to: &Utf8Path) -> Result<()> {
    std::fs::create_dir(to).with_context(|| format!("failed to make the folder `{to}`"))?;
    finished.files.keys().try_for_each(|name| copy(&finished.folder.join(name), &to.join(name)))
}

/// The finished files of both sides.
fn compare_files(usual: &Utf8Path, otherwise: &Utf8Path) -> Result<Vec<FileRow>> {
    let names = |folder: &Utf8Path| {
        let entries = folder.read_dir_utf8().with_context(|| format!("failed to list `{folder}`"))?;
        anyhow::Ok(
            entries.flatten().map(|entry| entry.file_name().to_owned()).collect::<std::collections::BTreeSet<_>>(),
        )
    };
    let all: std::collections::BTreeSet<String> = &names(usual)? | &names(otherwise)?;
    let sha256 = |path: &Utf8Path| std::fs::read(path).ok().map(|bytes| crate::manifest::FileRecord::of(&bytes).sha256);
    let row = |name: String| {
        let (ours, theirs) = (sha256(&usual.join(&name)), sha256(&otherwise.join(&name)));
        let is_same = ours.is_some() && ours == theirs;
        FileRow { name, usual: ours, otherwise: theirs, is_same }
    };
    Ok(all.into_iter().map(row).collect())
}
