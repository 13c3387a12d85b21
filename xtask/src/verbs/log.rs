//! `cargo xtask log STEP`: what the step's tools printed.

use anyhow::{Context, Result, bail};

use crate::cli::StepArgs;
use crate::report;
use crate::session::Session;
use crate::store::Access;
use crate::verbs::why::require_step;

/// Prints the log of the step as it would be built now, else of its last build.
pub fn run(session: &Session, args: &StepArgs) -> Result<()> {
    let planned = session.plan(&args.asked())?;
    require_step(&planned.graph, &args.step)?;
    let store = session.store(Access::Shared)?;
    let now = session.with_engine(&planned.image.name, &store, |engine| engine.look(&planned.graph))?;
    let last = crate::engine::last_build(&session.workspace.last_build(&planned.image.name, &args.step)).newest;
    let keys = now.get(&args.step).into_iter().chain(&last).map(|fields| fields.key());
    let Some(path) = keys.map(|key| store.log(key)).find(|path| path.is_file()) else {
        bail!(
            "`{}` of {} has no log: it was never made on this machine\nhint: run `cargo xtask image {}`",
            args.step,
            planned.image.name,
            args.asked()
        );
    };
    let text = std::fs::read(&path).with_context(|| format!("failed to read `{path}`"))?;
    session.reporter.detail(path.as_str());
    if text.is_empty() {
        session.reporter.say(&format!("`{}` of {} ran no tool, and printed nothing", args.step, planned.image.name));
    }
    report::print(&String::from_utf8_lossy(&text));
    Ok(())
}
