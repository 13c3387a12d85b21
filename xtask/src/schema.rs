//! What image specs and the lock share in reading TOML: unknown keys are refused, all at once, each with its line and the nearest name.

use anyhow::{Result, bail};
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

/// A table's keys, and for those that are tables again (or lists of tables), theirs.
pub struct Keys {
    /// Plain keys; below one of them anything goes.
    pub plain: &'static [&'static str],
    /// Keys of tables, with what these may hold.
    pub tables: &'static [(&'static str, Keys)],
}

impl Keys {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.plain.iter().copied().chain(self.tables.iter().map(|(name, _)| *name))
    }
}

/// Parses TOML text whose keys are `keys` into `T`.
pub fn parse<T: DeserializeOwned>(text: &str, keys: &Keys) -> Result<T> {
    let table = DeTable::parse(text)?;
    let mut problems = Vec::new();
    check(table.get_ref(), keys, "", text, &mut problems);
    if !problems.is_empty() {
        problems.sort();
        bail!("{}", problems.into_iter().map(|(_, problem)| problem).collect::<Vec<_>>().join("\n  "));
    }
    Ok(toml::from_str(text)?)
}

fn check(table: &DeTable<'_>, keys: &Keys, prefix: &str, text: &str, problems: &mut Vec<(usize, String)>) {
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let nested = keys.tables.iter().find(|(table, _)| *table == name).map(|(_, keys)| keys);
        match (nested, value.get_ref()) {
            (Some(keys), DeValue::Table(inner)) => check(inner, keys, &format!("{prefix}{name}."), text, problems),
            (Some(keys), DeValue::Array(list)) => {
                for inner in list.iter().filter_map(|value| value.get_ref().as_table()) {
                    check(inner, keys, &format!("{prefix}{name}."), text, problems);
                }
            }
            (Some(_), _) => {}
            (None, _) if keys.plain.contains(&name) => {}
            (None, _) => {
                let line = text.get(..key.span().start).unwrap_or_default().matches('\n').count() + 1;
                let names: Vec<_> = keys.names().collect();
                problems.push((line, format!("line {line}: unknown key `{prefix}{name}`{}", suggestion(name, &names))));
            }
        }
    }
}

/// `; did you mean X?` for the nearest of `names`, else the list of them.
pub fn suggestion<S: AsRef<str>>(name: &str, names: &[S]) -> String {
    let distance = |known: &S| strsim::damerau_levenshtein(name, known.as_ref());
    match names.iter().min_by_key(|known| distance(known)) {
        Some(nearest) if distance(nearest) <= 1 + name.len() / 3 => format!("; did you mean `{}`?", nearest.as_ref()),
        Some(_) => format!(
            "; known are {}",
            names.iter().map(|known| format!("`{}`", known.as_ref())).collect::<Vec<_>>().join(", ")
        ),
        None => "; there are none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Keys =
        Keys { plain: &["name"], tables: &[("kernel", Keys { plain: &["base", "fragments"], tables: &[] })] };

    fn problems(text: &str) -> String {
        parse::<toml::Table>(text, &KEYS).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn all_unknown_keys_are_named_with_line_and_nearest_name() {
        let found = problems("nam = 1\n[kernel]\nbase = 1\nfragmets = []\n");
        assert_eq!(
            found,
            "line 1: unknown key `nam`; did you mean `name`?\n  line 4: unknown key `kernel.fragmets`; did you mean `fragments`?"
        );
    }

    #[test]
    fn a_key_like_no_other_gets_the_list() {
        assert_eq!(problems("wholly_else = 1"), "line 1: unknown key `wholly_else`; known are `name`, `kernel`");
    }

    #[test]
    fn known_keys_pass_and_bad_toml_is_shown() {
        assert_eq!(problems("name = 1\nkernel = { base = 2 }"), "");
        assert!(problems("name = ").contains("line 1"), "{}", problems("name = "));
    }
}
