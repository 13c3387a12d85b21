//! `cargo xtask graph`: an image's steps, in order, with what each needs.

use anyhow::Result;

use crate::cli::GraphFormat;
use crate::graph::Graph;
use crate::report;
use crate::session::{Asked, Session};
use crate::store::Access;

/// Prints the graph of an image.
pub fn run(session: &Session, image: &Asked<'_>, format: GraphFormat) -> Result<()> {
    let planned = session.plan(image)?;
    let text = match format {
        GraphFormat::Dot => planned.graph.dot(),
        GraphFormat::Text => text(session, &planned.graph, &planned)?,
    };
    report::print(&text);
    Ok(())
}

fn text(session: &Session, graph: &Graph, planned: &crate::session::Planned) -> Result<String> {
    let store = session.store(Access::Shared)?;
    // Without the host's tools no key can be told; the order can.
    let known = session.with_engine(&planned.image.name, &store, |engine| engine.look(graph)).unwrap_or_default();
    let line = |step: &crate::graph::Step| {
        let state = match known.get(&step.name).map(|fields| store.lookup(fields.key())) {
            Some(Some(trace)) => format!("up to date, {}", trace.id.short()),
            Some(None) => "to do".to_owned(),
            None => "waits for its inputs".to_owned(),
        };
        let inputs: Vec<&str> = step.inputs.iter().map(|(_, input)| input.as_str()).collect();
        let needs = if inputs.is_empty() { String::new() } else { format!("  <- {}", inputs.join(", ")) };
        format!("{:<20} {:<15} {state:<25}{needs}", step.name, step.recipe.name()).trim_end().to_owned() + "\n"
    };
    Ok(graph.in_order().map(line).collect())
}
