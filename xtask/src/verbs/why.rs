//! `cargo xtask why STEP`: which of its inputs changed.

use anyhow::{Result, bail};

use crate::cli::StepArgs;
use crate::engine::{LastBuild, last_build};
use crate::graph::Graph;
use crate::key::{Change, Fields};
use crate::session::Session;
use crate::store::Access;
use crate::{report, schema};

/// Says why the step would run now, or why it ran last.
pub fn run(session: &Session, args: &StepArgs) -> Result<()> {
    let planned = session.plan(&args.asked())?;
    require_step(&planned.graph, &args.step)?;
    let store = session.store(Access::Shared)?;
    let now = session.with_engine(&planned.image.name, &store, |engine| engine.look(&planned.graph))?;
    let last = last_build(&session.workspace.last_build(&planned.image.name, &args.step));
    let is_there = now.get(&args.step).is_some_and(|fields| store.lookup(fields.key()).is_some());
    let is_missing = |input: &String| now.get(input).is_none_or(|fields| store.lookup(fields.key()).is_none());
    let inputs = planned.graph.get(&args.step).into_iter().flat_map(|step| &step.inputs);
    let waiting: Vec<String> = inputs.map(|(_, input)| input.clone()).filter(is_missing).collect();
    let step = format!("{} of {}", args.step, planned.image.name);
    report::print(&explain(&step, now.get(&args.step), is_there, &last, &waiting));
    Ok(())
}

/// Fails with the nearest name if the graph has no such step.
pub fn require_step(graph: &Graph, step: &str) -> Result<()> {
    match graph.get(step) {
        Some(_) => Ok(()),
        None => bail!("there is no step `{step}`{}", schema::suggestion(step, &graph.names())),
    }
}

fn explain(step: &str, now: Option<&Fields>, is_there: bool, last: &LastBuild, waiting: &[String]) -> String {
    let Some(now) = now else {
        return format!("{step}: cannot tell yet; first these must be made: {}\n", waiting.join(", "));
    };
    match (&last.newest, &last.before) {
        (None, _) if is_there => format!("{step}: up to date; the store had it before this checkout asked\n"),
        (None, _) => format!("{step}: would run; this checkout never built it\n"),
        (Some(newest), _) if newest != now => {
            let verb = if is_there {
                "up to date, and would not run: the store has it. Since the last build"
            } else {
                "would run. Since the last build"
            };
            format!("{step}: {verb}\n{}", changes(now, newest))
        }
        (Some(_), _) if !is_there => format!("{step}: would run; no input changed, but the store lost its artifact\n"),
        (Some(_), None) => format!("{step}: up to date; this checkout has seen no other version of it\n"),
        (Some(newest), Some(before)) => {
            format!("{step}: up to date. Before its last build\n{}", changes(newest, before))
        }
    }
}

fn changes(new: &Fields, old: &Fields) -> String {
    let short = |value: &str| {
        value
            .split_whitespace()
            .map(|word| if word.len() >= 64 { word.chars().take(12).collect() } else { word.to_owned() })
            .collect::<Vec<_>>()
            .join(" ")
    };
    let line = |change: Change| match change {
        Change::Added(name, value) => format!("  {name} is new: {}\n", short(&value)),
        Change::Removed(name, value) => format!("  {name} is gone; it was {}\n", short(&value)),
        Change::Changed(name, old, new) => format!("  {name} changed from {} to {}\n", short(&old), short(&new)),
    };
    new.changes_since(old).into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: &str) -> Fields {
        let mut fields = Fields::default();
        fields.set("file.apps/hello/src/main.rs", value);
        fields
    }

    #[test]
    fn the_changed_file_is_named() {
        let last = LastBuild { newest: Some(fields("aa")), before: None };
        let text = explain("program", Some(&fields("bb")), false, &last, &[]);
        assert_eq!(
            text,
            "program: would run. Since the last build\n  file.apps/hello/src/main.rs changed from aa to bb\n"
        );
    }

    #[test]
    fn an_unchanged_step_tells_of_its_last_build() {
        let last = LastBuild { newest: Some(fields("bb")), before: Some(fields("aa")) };
        let text = explain("program", Some(&fields("bb")), true, &last, &[]);
        assert!(text.starts_with("program: up to date. Before its last build\n  file."), "{text}");
    }
}
