//! `cargo xtask steps`, which is not in the help: makes some steps of an image, and says as JSON what they came to. The
//! second side of `verify` is built by it.

use anyhow::{Context, Result};
use camino::Utf8Path;

use crate::cli::StepsArgs;
use crate::plan;
use crate::report;
use crate::repro::second::Account;
use crate::repro::steps;
use crate::session::{Planned, Session};
use crate::store::{Access, Store};
use crate::verbs::why::require_step;

/// Makes the steps, or all that the image needs.
pub fn run(session: &Session, args: &StepsArgs) -> Result<()> {
    let planned = session.plan(&args.image.asked())?;
    session.require_tools(&planned, &[])?;
    let store = session.store(Access::Shared)?;
    let named: Vec<&str> = args.step.iter().map(String::as_str).collect();
    named.iter().try_for_each(|step| require_step(&planned.graph, step))?;
    let goals = if named.is_empty() { plan::goals(&planned.graph) } else { named };
    let built = session.build(&planned, &store, &goals)?;
    let tool = match &args.ask {
        Some(probe) => ask(session, &planned, &store, probe).context("failed to ask a build tool what it sees")?,
        None => String::new(),
    };
    let account = Account {
        checkout: session.workspace.root().to_owned(),
        store: store.root().to_owned(),
        tool,
        steps: steps::of_report(&built),
    };
    report::print(&(serde_json::to_string(&account)? + "\n"));
    Ok(())
}

/// Runs a program as a build tool, and gives what it printed.
fn ask(session: &Session, planned: &Planned, store: &Store, probe: &Utf8Path) -> Result<String> {
    session.with_engine(&planned.image.name, store, |engine| engine.ask(probe))
}
