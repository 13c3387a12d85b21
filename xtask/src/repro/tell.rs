//! What a verification came to, for people and as data.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde::Serialize;

use super::difference::Difference;
use super::steps::Row;
use super::variations::Variation;

/// A finished file on both sides.
#[derive(Serialize)]
pub struct FileRow {
    /// Its name.
    pub name: String,
    /// Its sha256 on the first side, if it is there.
    pub usual: Option<String>,
    /// Its sha256 on the second side, if it is there.
    pub otherwise: Option<String>,
    /// Whether that is one and the same.
    pub is_same: bool,
}

/// What differs first.
#[derive(Serialize)]
pub struct Blame {
    /// A step or a file.
    pub what: String,
    /// What else is known, in words.
    pub notes: Vec<String>,
    /// Where the two artifacts differ.
    pub difference: Option<Difference>,
}

/// All that a verification found out.
#[derive(Serialize)]
pub struct Verdict {
    /// The image.
    pub image: String,
    /// The only step that was asked for.
    pub step: Option<String>,
    /// What was otherwise.
    pub variations: Vec<Variation>,
    /// The steps.
    #[serde(rename = "steps")]
    pub rows: Vec<Row>,
    /// The finished files.
    pub files: Vec<FileRow>,
    /// What differs first; nothing, if all is the same.
    #[serde(rename = "first_difference")]
    pub blame: Option<Blame>,
}

impl Verdict {
    /// Whether both sides are one and the same.
    pub fn is_same(&self) -> bool {
        // To have compared nothing is not to be the same.
        self.blame.is_none()
            && !self.rows.is_empty()
            && self.rows.iter().all(|row| row.is_same)
            && self.files.iter().all(|file| file.is_same)
    }

    fn n_in_force(&self) -> usize {
        self.variations.iter().filter(|variation| variation.is_in_force).count()
    }

    /// All of it as JSON; `same` and `variations_in_force` sum it up.
    pub fn json(&self) -> Result<String> {
        let mut value = serde_json::to_value(self).context("failed to write the result")?;
        if let Some(object) = value.as_object_mut() {
            object.insert("same".to_owned(), self.is_same().into());
            object.insert("variations_in_force".to_owned(), self.n_in_force().into());
        }
        Ok(serde_json::to_string_pretty(&value).context("failed to write the result")? + "\n")
    }

    /// All of it for people.
    pub fn text(&self) -> String {
        let mut text = self.variations_text();
        text.push_str(&self.steps_text());
        if let Some(blame) = &self.blame {
            text.push_str(&blame.text());
        }
        text + &self.sentence()
    }

    fn variations_text(&self) -> String {
        let mut lines = vec![["what varies", "as usual", "otherwise"].map(str::to_owned)];
        let row = |one: &Variation| [one.name.to_owned(), one.usual.clone(), one.otherwise.clone()];
        lines.extend(self.variations.iter().filter(|one| one.is_in_force).map(row));
        let mut text = table(&lines);
        for variation in self.variations.iter().filter(|one| !one.is_in_force) {
            let _ = writeln!(text, "not in force: {}: {}", variation.name, variation.why_not);
        }
        text + "\n"
    }

    fn steps_text(&self) -> String {
        let verdict = |is_same: bool| if is_same { "same" } else { "DIFFERENT" };
        let short = |hash: Option<&str>| hash.map_or("none".to_owned(), |hash| hash.chars().take(12).collect());
        let cell = |is_same: bool, usual: String, otherwise: String| {
            if is_same { usual } else { format!("{usual} {otherwise}") }
        };
        let mut lines = vec![["step", "artifact", ""].map(str::to_owned)];
        lines.extend(self.rows.iter().map(|row| {
            let otherwise = row.otherwise.map_or("none".to_owned(), |id| id.short());
            [row.step.clone(), cell(row.is_same, row.usual.short(), otherwise), verdict(row.is_same).to_owned()]
        }));
        let mut text = table(&lines) + "\n";
        if !self.files.is_empty() {
            let mut lines = vec![["file", "sha256", ""].map(str::to_owned)];
            lines.extend(self.files.iter().map(|file| {
                let cell = cell(file.is_same, short(file.usual.as_deref()), short(file.otherwise.as_deref()));
                [file.name.clone(), cell, verdict(file.is_same).to_owned()]
            }));
            text.push_str(&(table(&lines) + "\n"));
        }
        text
    }

    fn sentence(&self) -> String {
        let what = match &self.step {
            Some(step) => format!("{step} of {}", self.image),
            None => self.image.clone(),
        };
        let (n_steps, n_in_force, n_all) = (self.rows.len(), self.n_in_force(), self.variations.len());
        let variations = format!("{n_in_force} of {n_all} variations in force");
        if self.is_same() {
            return format!("{what}: {n_steps} of {n_steps} artifacts are the same, with {variations}\n");
        }
        let n_differ = self.rows.iter().filter(|row| !row.is_same).count();
        format!("{what}: {n_differ} of {n_steps} artifacts differ, with {variations}\n")
    }
}

impl Blame {
    fn text(&self) -> String {
        let mut text = format!("the first that differs: {}\n", self.what);
        for note in &self.notes {
            let _ = writeln!(text, "  {note}");
        }
        if let Some(found) = &self.difference {
            let _ = writeln!(text, "  {}", found.place.join(", "));
            let _ = writeln!(text, "    as usual:  {}\n    otherwise: {}", found.usual, found.otherwise);
            if !found.note.is_empty() {
                let _ = writeln!(text, "    ({})", found.note);
            }
        }
        text + "\n"
    }
}

/// Columns of the width that they need.
fn table(lines: &[[String; 3]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths = [width(0), width(1)];
    let line = |[one, two, three]: &[String; 3]| {
        format!("{one:<first$}  {two:<second$}  {three}", first = widths[0], second = widths[1]).trim_end().to_owned()
            + "\n"
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::ArtifactId;
    use crate::repro::difference::of_contents;

    fn verdict(usual: &str, otherwise: &str) -> Verdict {
        let id = |text: &str| ArtifactId::new(blake3::hash(text.as_bytes()));
        let variation = |name, why_not: &str| Variation {
            name,
            usual: "0".to_owned(),
            otherwise: "4001".to_owned(),
            how: "a user namespace",
            is_in_force: why_not.is_empty(),
            why_not: why_not.to_owned(),
        };
        let is_same = usual == otherwise;
        let row = Row {
            step: "program".to_owned(),
            usual: id(usual),
            otherwise: Some(id(otherwise)),
            is_same,
            has_same_inputs: true,
        };
        let difference = of_contents(usual.as_bytes(), otherwise.as_bytes());
        let notes = vec!["its inputs are the same on both sides".to_owned()];
        let blame = Blame { what: "the step program".to_owned(), notes, difference };
        Verdict {
            image: "hello".to_owned(),
            step: None,
            variations: vec![variation("user", ""), variation("group", "no such thing here")],
            rows: vec![row],
            files: Vec::new(),
            blame: (!is_same).then_some(blame),
        }
    }

    #[test]
    fn a_difference_is_told_with_both_values() {
        let expect = "\
what varies  as usual  otherwise
user         0         4001
not in force: group: no such thing here

step     artifact
program  3349830c8568 c4d9dea6ff86  DIFFERENT

the first that differs: the step program
  its inputs are the same on both sides
  line 1
    as usual:  \"day 1\"
    otherwise: \"day 2\"

hello: 1 of 1 artifacts differ, with 1 of 2 variations in force
";
        assert_eq!(verdict("day 1", "day 2").text(), expect);
    }

    #[test]
    fn that_all_is_the_same_is_one_sentence_and_data() {
        let same = verdict("day 1", "day 1");
        assert!(same.text().ends_with("hello: 1 of 1 artifacts are the same, with 1 of 2 variations in force\n"));
        let data: serde_json::Value = serde_json::from_str(&same.json().unwrap()).unwrap();
        assert_eq!((&data["same"], &data["variations_in_force"]), (&true.into(), &1.into()));
    }
}
