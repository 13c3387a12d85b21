//! `cargo xtask vendor`: puts everything that is built from into the ignored part of vendor/, for work without network.
//!
//! Everything is made by ordinary steps (so it is fetched as for a build, and from the store when it has it), and copied
//! out under its own name when its hash is right. A file gets its name when it is whole: a killed run is gone on with.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail};
use camino::Utf8Path;

use crate::artifact;
use crate::engine::Engine;
use crate::graph::Graph;
use crate::interrupt;
use crate::lock::{Lock, PINS};
use crate::packages::{CargoLock, Crate};
use crate::plan;
use crate::report;
use crate::session::Session;
use crate::steps::crates::{CHECKSUM_FILE, checksum_text, is_crate, unpack_crate};
use crate::steps::{fetch, write};
use crate::store::Access;
use crate::workspace::{OFFLINE_SETTINGS, VENDOR_TRACKED, VENDORED_CRATES, VENDORED_FOR_CARGO, crate_file};

/// The step with the crates of Cargo.lock: those of every program, and of xtask itself.
const WORKSPACE_CRATES: &str = "crate-files-workspace";
/// The step with the crates of vendor/rust-library.lock.
const STD_CRATES: &str = "crate-files-rust-std";

/// What is said of a pin that the store did not have.
const FETCHED: &str = "fetched";

/// What cargo is told, so that it takes its crates from vendor/. A relative folder counts from the checkout: cargo takes
/// it for one beside the folder that the file is in.
const SETTINGS: &str = r#"# Written by `cargo xtask vendor`; cargo reads it when it is told to:
#   cargo --config vendor/offline.toml xtask image --offline
[source.crates-io]
replace-with = "vendor"

[source.vendor]
directory = "vendor/cargo"

# Where crates come from is part of what cargo compiles; in one folder each way would undo the other's work.
[build]
target-dir = "target/offline"
"#;

/// Fills vendor/, and says of everything where it came from.
pub fn run(session: &Session, prune: bool) -> Result<()> {
    let _guard = interrupt::end_on_signals()?;
    let lock = Lock::read(&session.workspace.sources())?;
    let (cargo_lock, std_lock) =
        (CargoLock::read(&session.workspace.cargo_lock())?, CargoLock::read(&session.workspace.std_lock())?);
    let crates =
        [(WORKSPACE_CRATES, "this workspace", &cargo_lock), (STD_CRATES, "Rust's standard library", &std_lock)];
    let graph = plan::plan_fetches(&lock, &crates)?;
    let store = session.store(Access::Shared)?;
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    session.with_engine("vendor", &store, |engine| {
        let vendor = Vendor { engine, graph: &graph, folder: session.workspace.vendor() };
        let pins = PINS.iter().map(|name| vendor.pin(name, &lock));
        let crates = crates.iter().map(|(step, purpose, lock)| vendor.crates(step, purpose, &lock.crates()?));
        for row in pins.chain(crates) {
            match row {
                Ok(row) => rows.push(row),
                Err(error) => problems.push(report::render(&error)),
            }
        }
        if problems.is_empty() {
            rows.push(unpack_for_cargo(session, &vendor, &cargo_lock.crates()?)?);
        }
        Ok(())
    })?;
    report::print(&table(&rows));
    if !problems.is_empty() {
        bail!("failed to vendor everything:\n{}", problems.join("\n"));
    }
    let expected = [lock_names(&lock)?, crate_names(&[&cargo_lock, &std_lock])?].concat();
    strangers(session, &expected.into_iter().collect(), prune)?;
    report::print(&format!(
        "Nothing more is fetched from here on. Where cargo itself has no crates yet, on another machine:\n  \
         cargo --config {OFFLINE_SETTINGS} xtask image --offline\n"
    ));
    Ok(())
}

/// One line of the answer.
struct Row {
    what: String,
    n_bytes: u64,
    from: String,
}

fn table(rows: &[Row]) -> String {
    let line = |row: &Row| format!("  {:>9}  {:<42}  {}\n", report::size(row.n_bytes), row.what, row.from);
    let total: u64 = rows.iter().map(|row| row.n_bytes).sum();
    format!("{}  {:>9}  in vendor/\n", rows.iter().map(line).collect::<String>(), report::size(total))
}

struct Vendor<'a> {
    engine: &'a Engine<'a>,
    graph: &'a Graph,
    folder: camino::Utf8PathBuf,
}

impl Vendor<'_> {
    fn pin(&self, name: &str, lock: &Lock) -> Result<Row> {
        let pin = lock.pin(name)?;
        let sources = pin.source_pairs();
        let row = |path: &Utf8Path, from: &str| {
            let n_bytes = artifact::size(path)?;
            let file = path.file_name().unwrap_or_default();
            Ok(Row { what: format!("{name} {}: {file}", pin.version), n_bytes, from: from.to_owned() })
        };
        if let Some(path) = fetch::find_local(&self.folder, &sources) {
            return row(&path, "was there");
        }
        // Somebody put it there to be used; it is not ours to overwrite.
        if let Some(wrong) = fetch::find_wrong(&self.folder, &sources) {
            return Err(wrong.into());
        }
        let (object, from) = self.make(&plan::fetch_step(name))?;
        let sha256 = fetch::sha256(&object)?;
        let url = sources.iter().find(|(_, expected)| *expected == sha256).map(|(url, _)| url);
        let url = url.with_context(|| format!("the store's archive of `{name}` has another hash than its sources"))?;
        let path = self.folder.join(fetch::file_name(url));
        fetch::copy_checked(&object, &sources, &path)?;
        row(&path, from)
    }

    fn crates(&self, step: &str, purpose: &str, crates: &[Crate]) -> Result<Row> {
        let folder = self.folder.join(VENDORED_CRATES);
        make_folder(&folder)?;
        let path = |krate: &Crate| folder.join(crate_file(&krate.name, &krate.version));
        let missing: Vec<&Crate> = crates.iter().filter(|krate| !is_crate(krate, &path(krate))).collect();
        let mut from = "were there".to_owned();
        if !missing.is_empty() {
            let (object, how) = self.make(step)?;
            for krate in &missing {
                let pair = (path(krate).into_string(), krate.sha256.clone());
                fetch::copy_checked(&object.join(crate_file(&krate.name, &krate.version)), &[pair], &path(krate))?;
            }
            // Cargo may have had them in its cache.
            let how = if how == FETCHED { "through cargo" } else { how };
            from = format!("{} {how}", missing.len());
        }
        let sizes = crates.iter().map(|krate| artifact::size(&path(krate))).collect::<Result<Vec<_>>>()?;
        Ok(Row { what: format!("{} crates of {purpose}", crates.len()), n_bytes: sizes.iter().sum(), from })
    }

    /// Makes a step's output, and says whether the store had it.
    fn make(&self, step: &str) -> Result<(camino::Utf8PathBuf, &'static str)> {
        let store = self.engine.store;
        let is_there =
            self.engine.look(self.graph)?.get(step).is_some_and(|fields| store.lookup(fields.key()).is_some());
        let report = self.engine.build(self.graph, &[step])?;
        let id = report.built.get(step).with_context(|| format!("the step `{step}` was not made"))?.id;
        let object = store
            .object(id)
            .with_context(|| format!("the artifact {id} has vanished from the store\nhint: run the command again"))?;
        Ok((object, if is_there { "copied from the store" } else { FETCHED }))
    }
}

/// Lays the workspace's crates out for cargo itself, which compiles xtask before xtask can do anything.
fn unpack_for_cargo(session: &Session, vendor: &Vendor<'_>, crates: &[Crate]) -> Result<Row> {
    let folder = session.workspace.vendored_for_cargo();
    make_folder(&folder)?;
    let mut n_new = 0;
    for krate in crates {
        let name = format!("{}-{}", krate.name, krate.version);
        let place = folder.join(&name);
        if fs::read_to_string(place.join(CHECKSUM_FILE)).is_ok_and(|text| text == checksum_text(krate)) {
            continue;
        }
        // Cargo does not look into folders whose name begins with a dot.
        let partial = folder.join(format!(".{name}.{}", std::process::id()));
        artifact::remove(&partial)?;
        unpack_crate(
            krate,
            &vendor.folder.join(VENDORED_CRATES).join(crate_file(&krate.name, &krate.version)),
            &partial,
        )?;
        artifact::remove(&place)?;
        fs::rename(&partial, &place).with_context(|| format!("failed to move `{partial}` to `{place}`"))?;
        n_new += 1;
    }
    let settings = session.workspace.offline_settings();
    if fs::read_to_string(&settings).ok().as_deref() != Some(SETTINGS) {
        write(&settings, SETTINGS)?;
    }
    let from = if n_new == 0 { "were there".to_owned() } else { format!("{n_new} unpacked") };
    Ok(Row { what: "the same for cargo itself".to_owned(), n_bytes: artifact::size(&folder)?, from })
}

fn make_folder(folder: &Utf8Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("failed to make the folder `{folder}`"))
}

/// The files in vendor/ that a pin may have, by their names or their hashes.
fn lock_names(lock: &Lock) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for name in PINS {
        for (url, sha256) in lock.pin(name)?.source_pairs() {
            names.extend([format!("vendor/{}", fetch::file_name(&url)), format!("vendor/{sha256}")]);
        }
    }
    Ok(names)
}

fn crate_names(locks: &[&CargoLock]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for lock in locks {
        for Crate { name, version, .. } in lock.crates()? {
            names.push(format!("vendor/{VENDORED_CRATES}/{}", crate_file(&name, &version)));
            names.push(format!("{VENDORED_FOR_CARGO}/{name}-{version}"));
        }
    }
    Ok(names)
}

/// Lists, or deletes, what lies in vendor/ and no pin and no lock names.
fn strangers(session: &Session, expected: &BTreeSet<String>, prune: bool) -> Result<()> {
    let own: Vec<String> = VENDOR_TRACKED.iter().map(|name| format!("vendor/{name}")).collect();
    let folders = ["vendor".to_owned(), format!("vendor/{VENDORED_CRATES}"), VENDORED_FOR_CARGO.to_owned()];
    let is_ours = |name: &String| {
        expected.contains(name) || own.contains(name) || folders.contains(name) || name == OFFLINE_SETTINGS
    };
    let mut found = Vec::new();
    for folder in &folders {
        let path = session.workspace.root().join(folder);
        let entries = path.read_dir_utf8().with_context(|| format!("failed to list `{path}`"))?;
        found.extend(entries.flatten().map(|entry| format!("{folder}/{}", entry.file_name())));
    }
    found.retain(|name| !is_ours(name));
    found.sort();
    for name in &found {
        if prune {
            artifact::remove(&session.workspace.root().join(name))?;
        }
        report::print(&format!("  {} {name}: nothing pins it\n", if prune { "deleted" } else { "left alone" }));
    }
    if !prune && !found.is_empty() {
        report::print("`cargo xtask vendor --prune` deletes what nothing pins\n");
    }
    Ok(())
}
