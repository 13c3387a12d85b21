//! Comparison with a manifest that someone else published. Pure.
//!
//! When two builds differ, most often something else went in: another version of an input, a crate, a compiler. That is
//! said before the steps that differ because of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::manifest::{MANIFEST, SCHEMA};
use crate::{provenance, sbom};

/// What of a manifest is compared.
#[derive(Clone, Debug, Deserialize)]
pub struct Published {
    image: String,
    files: BTreeMap<String, File>,
    inputs: BTreeMap<String, Input>,
    crates: BTreeMap<String, Crate>,
    tools: BTreeMap<String, String>,
    steps: BTreeMap<String, Step>,
}

#[derive(Clone, Debug, Deserialize)]
struct File {
    size: u64,
    sha256: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Input {
    version: String,
    tree: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Crate {
    sha256: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Step {
    recipe: String,
    id: String,
}

/// As many hashes as fit on a page: docs/hashes.json.
#[derive(Deserialize)]
struct Page {
    images: BTreeMap<String, Files>,
    toolchain: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Files {
    files: BTreeMap<String, File>,
}

/// One thing that is not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Other {
    /// What: a file's name, a tool's, a step's.
    pub name: String,
    /// What was published.
    pub published: String,
    /// What is here.
    pub here: String,
}

/// All that is not the same, by kind.
#[derive(Debug, Serialize)]
pub struct Comparison {
    image: String,
    /// Steps that a cache gave, and nobody here made.
    elsewhere: Vec<String>,
    n_files: usize,
    n_steps: usize,
    inputs: Vec<Other>,
    crates: Vec<Other>,
    recipes: Vec<Other>,
    tools: Vec<Other>,
    steps: Vec<Other>,
    files: Vec<Other>,
}

impl Published {
    /// Reads the manifest of `image`, or a page of hashes with that image on it. What is not in it is not compared.
    pub fn parse(text: &str, image: &str) -> Result<Self> {
        let value: serde_json::Value =
            serde_json::from_str(text).context("it is no JSON\nhint: give the manifest.json of a built image")?;
        if value.get("images").is_some() {
            let page: Page = serde_json::from_value(value).context("its hashes cannot be read\nhint: get it again")?;
            return page.of(image)?.with_files();
        }
        match value.get("schema").and_then(serde_json::Value::as_u64) {
            Some(schema) if schema == u64::from(SCHEMA) => {}
            Some(schema) => bail!(
                "its schema is {schema}, and this checkout compares schema {SCHEMA}\n\
                 hint: use the checkout that the manifest was published with"
            ),
            None => {
                bail!("it has no `schema`, so it is no manifest of pid1\nhint: give the manifest.json of a built image")
            }
        }
        let published: Self = serde_json::from_value(value)
            .context("it is not complete\nhint: it may have been cut or edited; get it again")?;
        published.require_image(image)?;
        published.with_files()
    }

    /// Whoever names no file has published nothing to compare with.
    fn with_files(self) -> Result<Self> {
        if self.files.keys().all(|name| EVIDENCE.contains(&name.as_str())) {
            bail!("it names no file of the image `{}`\nhint: it may have been cut or edited; get it again", self.image);
        }
        Ok(self)
    }

    fn require_image(&self, image: &str) -> Result<()> {
        if self.image == image {
            return Ok(());
        }
        bail!(
            "it is of the image `{}`, and `{image}` was asked for\nhint: cargo xtask verify {} --against ...",
            self.image,
            self.image
        )
    }
}

impl Page {
    fn of(mut self, image: &str) -> Result<Published> {
        let names = self.images.keys().cloned().collect::<Vec<_>>().join(", ");
        let Some(Files { files }) = self.images.remove(image) else {
            bail!("it holds no hashes of the image `{image}`, only of {names}\nhint: ask for one of these")
        };
        Ok(Published {
            image: image.to_owned(),
            files,
            inputs: BTreeMap::new(),
            crates: BTreeMap::new(),
            tools: self.toolchain,
            steps: BTreeMap::new(),
        })
    }
}

/// What tells of the other files, and of the toolchain; all that it says is compared anyway.
const EVIDENCE: [&str; 3] = [MANIFEST, provenance::FILE, sbom::FILE];

/// Compares what was published with what is here, of which the steps `elsewhere` were not made here.
pub fn compare(published: &Published, here: &Published, elsewhere: Vec<String>) -> Comparison {
    let said = |list: &BTreeMap<String, Step>, what: fn(&Step) -> String| -> BTreeMap<String, String> {
        list.iter().map(|(name, step)| (name.clone(), what(step))).collect()
    };
    let inputs = |manifest: &Published| -> BTreeMap<String, String> {
        let text = |input: &Input| format!("{} (tree {})", input.version, input.tree);
        manifest.inputs.iter().map(|(name, input)| (name.clone(), text(input))).collect()
    };
    let files = |manifest: &Published| -> BTreeMap<String, String> {
        let is_output = |name: &&String| !EVIDENCE.contains(&name.as_str());
        let text = |file: &File| format!("{} bytes, sha256 {}", file.size, file.sha256);
        let names = manifest.files.keys().filter(is_output);
        names.filter_map(|name| Some((name.clone(), text(manifest.files.get(name)?)))).collect()
    };
    let crates = |manifest: &Published| -> BTreeMap<String, String> {
        manifest.crates.iter().map(|(name, found)| (name.clone(), format!("sha256 {}", found.sha256))).collect()
    };
    let recipe: fn(&Step) -> String = |step| step.recipe.clone();
    let id: fn(&Step) -> String = |step| step.id.clone();
    Comparison {
        image: here.image.clone(),
        elsewhere,
        n_files: files(published).len(),
        n_steps: published.steps.len(),
        inputs: others(&inputs(published), &inputs(here)),
        crates: others(&crates(published), &crates(here)),
        recipes: others(&said(&published.steps, recipe), &said(&here.steps, recipe)),
        tools: others(&published.tools, &here.tools),
        steps: others(&said(&published.steps, id), &said(&here.steps, id)),
        files: others(&files(published), &files(here)),
    }
}

/// What differs; nothing, if nothing of the kind was published.
fn others(published: &BTreeMap<String, String>, here: &BTreeMap<String, String>) -> Vec<Other> {
    if published.is_empty() {
        return Vec::new();
    }
    let names: BTreeSet<&String> = published.keys().chain(here.keys()).collect();
    let value = |list: &BTreeMap<String, String>, name: &String| list.get(name).cloned().unwrap_or("none".to_owned());
    let other = |name: &String| {
        let (theirs, ours) = (value(published, name), value(here, name));
        (theirs != ours).then(|| Other { name: name.clone(), published: theirs, here: ours })
    };
    names.into_iter().filter_map(other).collect()
}

impl Comparison {
    /// Whether the files and all steps are the same.
    pub fn is_same(&self) -> bool {
        self.steps.is_empty() && self.files.is_empty()
    }

    /// All of it as JSON.
    pub fn json(&self) -> Result<String> {
        let mut value = serde_json::to_value(self).context("failed to write the result")?;
        if let Some(object) = value.as_object_mut() {
            object.insert("same".to_owned(), self.is_same().into());
        }
        Ok(serde_json::to_string_pretty(&value).context("failed to write the result")? + "\n")
    }

    /// All of it for people: the causes, then what came of them.
    pub fn text(&self) -> String {
        let causes = [
            ("other inputs", &self.inputs),
            ("other crates", &self.crates),
            ("other recipes", &self.recipes),
            ("other host tools", &self.tools),
        ];
        let effects = [("steps that differ", &self.steps), ("files that differ", &self.files)];
        let mut text = String::new();
        for (title, list) in causes.into_iter().chain(effects).filter(|(_, list)| !list.is_empty()) {
            let _ = writeln!(text, "{title}:");
            for Other { name, published, here } in list {
                let _ = writeln!(text, "  {name}\n    published: {published}\n    here:      {here}");
            }
        }
        if self.is_same() {
            let steps = if self.n_steps > 0 { format!(" and {} steps", self.n_steps) } else { String::new() };
            let besides = if text.is_empty() { "" } else { ", although what is listed above is not" };
            let _ = writeln!(text, "{}: all {} files{} are those published{besides}", self.image, self.n_files, steps);
            if !self.elsewhere.is_empty() {
                let _ = writeln!(
                    text,
                    "NOT made here, but taken from a cache in an earlier build: {}\n\
                     hint: `cargo xtask verify {}` makes all of it anew, and compares",
                    self.elsewhere.join(", "),
                    self.image
                );
            }
            return text;
        }
        let has_cause = causes.iter().any(|(_, list)| !list.is_empty());
        let why = if has_cause {
            "what is listed first may explain it"
        } else {
            "yet nothing that went in differs; either what was published is damaged, or one of the builds is not \
             reproducible: `cargo xtask verify` tells"
        };
        let _ = writeln!(text, "{}: this build is not the published one; {why}", self.image);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{ "schema": 1, "image": "hello",
        "files": { "bzImage": { "size": 4, "sha256": "aa" } },
        "inputs": { "linux": { "version": "6.12", "license": "GPL-2.0-only", "tree": "cc", "sources": [] } },
        "crates": { "libc 0.2": { "sha256": "dd", "license": "MIT", "used": {} } },
        "tools": { "gcc": "gcc 12 blake3:ee" },
        "steps": { "kernel": { "recipe": "kernel 1", "key": "ff", "id": "11", "inputs": {} } } }"#;

    fn parse(text: &str) -> Result<Published> {
        Published::parse(&text.replace("\"schema\": 1", &format!("\"schema\": {SCHEMA}")), "hello")
    }

    fn changed(changes: &[(&str, &str)]) -> Comparison {
        let text = changes.iter().fold(TEXT.to_owned(), |text, (from, to)| text.replace(from, to));
        compare(&parse(TEXT).unwrap(), &parse(&text).unwrap(), Vec::new())
    }

    #[test]
    fn the_same_manifest_is_the_same() {
        let same = changed(&[]);
        assert!(same.is_same());
        assert_eq!(same.text(), "hello: all 1 files and 1 steps are those published\n");
    }

    #[test]
    fn what_a_cache_gave_is_told() {
        let ours = parse(TEXT).unwrap();
        let text = compare(&ours, &ours, vec!["kernel".to_owned()]).text();
        assert!(text.contains("NOT made here") && text.contains("in an earlier build: kernel\n"), "{text}");
    }

    #[test]
    fn the_cause_comes_before_the_effect() {
        let text =
            changed(&[("gcc 12 blake3:ee", "gcc 13 blake3:ef"), ("\"11\"", "\"12\""), ("\"aa\"", "\"ab\"")]).text();
        let told =
            ["other host tools:", "published: gcc 12", "here:      gcc 13", "steps that differ:", "files that differ:"];
        let places: Vec<_> =
            told.iter().map(|part| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"))).collect();
        assert!(places.is_sorted(), "{text}");
        assert!(text.ends_with("what is listed first may explain it\n"), "{text}");
    }

    #[test]
    fn every_digit_of_an_id_counts() {
        let id = |last: &str| format!("\"{}{last}\"", "0".repeat(63));
        let [ours, theirs] = ["1", "2"].map(|last| parse(&TEXT.replace("\"11\"", &id(last))).unwrap());
        assert!(!compare(&ours, &theirs, Vec::new()).is_same());
    }

    #[test]
    fn a_difference_without_a_cause_is_called_that() {
        let comparison = changed(&[("\"11\"", "\"12\"")]);
        assert!(!comparison.is_same());
        assert!(comparison.text().contains("nothing that went in differs"), "{}", comparison.text());
    }

    #[test]
    fn another_compiler_that_makes_the_same_is_told_and_no_difference() {
        let comparison = changed(&[("gcc 12", "gcc 13")]);
        assert!(comparison.is_same());
        assert!(comparison.text().ends_with("although what is listed above is not\n"), "{}", comparison.text());
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let check = |text: &str, expect: &str| {
            let error = crate::report::render(&Published::parse(text, "web").unwrap_err());
            assert!(error.contains(expect), "{error}");
        };
        check("<html>", "it is no JSON");
        check("[]", "it has no `schema`");
        check("{ \"schema\": 4711 }", "its schema is 4711, and this checkout compares schema");
        check(&format!("{{ \"schema\": {SCHEMA}, \"image\": \"hello\" }}"), "it is not complete");
        check(
            &TEXT.replace("\"schema\": 1", &format!("\"schema\": {SCHEMA}")),
            "it is of the image `hello`, and `web` was asked for",
        );
        check("{ \"images\": { \"hello\": { \"files\": {} } }, \"toolchain\": {} }", "no hashes of the image `web`");
        check(
            "{ \"images\": { \"web\": { \"files\": {} } }, \"toolchain\": {} }",
            "it names no file of the image `web`",
        );
    }

    #[test]
    fn a_page_of_hashes_is_compared_by_its_files() {
        let page = |hash: &str| {
            let file = format!("{{ \"bzImage\": {{ \"size\": 4, \"sha256\": \"{hash}\" }} }}");
            let text = format!(
                "{{ \"images\": {{ \"hello\": {{ \"files\": {file} }} }}, \"toolchain\": {{ \"gcc\": \"gcc 13\" }} }}"
            );
            compare(&parse(&text).unwrap(), &parse(TEXT).unwrap(), Vec::new())
        };
        assert!(page("aa").is_same());
        assert!(
            page("aa")
                .text()
                .ends_with("hello: all 1 files are those published, although what is listed above is not\n")
        );
        assert!(!page("ab").is_same());
        assert!(page("ab").text().contains("other host tools:\n  gcc\n    published: gcc 13"), "{}", page("ab").text());
    }
}
