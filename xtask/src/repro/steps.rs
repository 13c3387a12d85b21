//! What the steps of both sides came to, and which of them is to blame. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use anyhow::{Result, bail};

use crate::engine::Report;
use crate::key::{ArtifactId, Change, Fields};

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// What came out.
    pub id: ArtifactId,
    /// What went in, by name.
    pub fields: Fields,
}

/// All steps of one side, by name.
pub type Steps = BTreeMap<String, Made>;

/// The steps of a build in this process.
pub fn of_report(report: &Report) -> Steps {
    let made = |built: &crate::engine::Built| Made { id: built.id, fields: built.fields.clone() };
    report.built.iter().map(|(name, built)| (name.clone(), made(built))).collect()
}

/// One step on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The step's name.
    pub step: String,
    /// What it came to on the first side.
    pub usual: ArtifactId,
    /// What it came to on the second side.
    pub otherwise: Option<ArtifactId>,
    /// Whether that is one and the same.
    pub is_same: bool,
    /// Whether what went in was the same artifacts.
    pub has_same_inputs: bool,
}

/// Fails for a step that is not compared: an archive may come from one source or another.
pub fn require_comparable(step: &str) -> Result<()> {
    match step.strip_prefix(FETCH) {
        Some(pin) => bail!("`{step}` is not compared: each source has its own archive\nhint: --step unpack-{pin}"),
        None => Ok(()),
    }
}

/// The names of the steps that fetch archives begin with this.
const FETCH: &str = "fetch-";

/// Compares the steps in the order of the graph. Which archive a pinned tree came out of may differ: the tree is compared.
pub fn compare(order: &[&str], usual: &Steps, otherwise: &Steps) -> Vec<Row> {
    let row = |name: &&str| {
        let ours = usual.get(*name).filter(|_| !name.starts_with(FETCH))?;
        let theirs = otherwise.get(*name);
        Some(Row {
            step: (*name).to_owned(),
            usual: ours.id,
            otherwise: theirs.map(|made| made.id),
            is_same: theirs.is_some_and(|made| made.id == ours.id),
            has_same_inputs: theirs.is_some_and(|made| inputs(ours) == inputs(made)),
        })
    };
    order.iter().filter_map(row).collect()
}

fn inputs(made: &Made) -> Vec<(&str, &str)> {
    // A pinned tree's archive is no input of its key; see [`crate::engine`].
    made.fields.iter().filter(|(name, _)| name.starts_with("input.")).collect()
}

/// The first step that made two things of the same inputs. What follows it differs because of it.
pub fn first_to_blame(rows: &[Row]) -> Option<&Row> {
    let differ = || rows.iter().filter(|row| !row.is_same);
    differ().find(|row| row.has_same_inputs).or_else(|| differ().next())
}

/// What went into a step on one side only, or otherwise, besides other steps' artifacts: nothing, in a good build.
pub fn other_fields(usual: &Made, otherwise: &Made) -> Vec<Change> {
    let is_input = |change: &Change| match change {
        Change::Added(name, _) | Change::Removed(name, _) | Change::Changed(name, ..) => name.starts_with("input."),
    };
    otherwise.fields.changes_since(&usual.fields).into_iter().filter(|change| !is_input(change)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ArtifactId {
        ArtifactId::new(blake3::hash(text.as_bytes()))
    }

    fn steps(list: &[(&str, &str, &[&str])]) -> Steps {
        let made = |(name, content, inputs): &(&str, &str, &[&str])| {
            let mut fields = Fields::default();
            inputs.iter().enumerate().for_each(|(role, input)| fields.set(format!("input.{role}"), id(input)));
            ((*name).to_owned(), Made { id: id(content), fields })
        };
        list.iter().map(made).collect()
    }

    #[test]
    fn the_first_step_with_the_same_inputs_is_to_blame() {
        let usual = steps(&[("std", "s", &[]), ("program", "p", &["s"]), ("initramfs", "i", &["p"])]);
        let otherwise = steps(&[("std", "s", &[]), ("program", "p2", &["s"]), ("initramfs", "i2", &["p2"])]);
        let rows = compare(&["std", "program", "initramfs"], &usual, &otherwise);
        let told: Vec<_> = rows.iter().map(|row| (row.is_same, row.has_same_inputs)).collect();
        assert_eq!(told, [(true, true), (false, true), (false, false)]);
        assert_eq!(first_to_blame(&rows).unwrap().step, "program");
        assert_eq!(first_to_blame(&compare(&["std", "program"], &usual, &usual)), None);
    }

    #[test]
    fn archives_may_differ_and_missing_steps_do() {
        let usual = steps(&[("fetch-linux", "a", &[]), ("unpack-linux", "t", &[])]);
        let rows = compare(&["fetch-linux", "unpack-linux"], &usual, &steps(&[("fetch-linux", "b", &[])]));
        assert_eq!(
            rows.iter().map(|row| (row.step.as_str(), row.is_same)).collect::<Vec<_>>(),
            [("unpack-linux", false)]
        );
    }
}
