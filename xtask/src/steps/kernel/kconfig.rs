//! What the kernel's Kconfig files say an option depends on; enough of the language to tell a person what is unmet.
//! Kconfig itself decides; this room only explains. Language: the kernel's Documentation/kbuild/kconfig-language.rst.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use camino::Utf8Path;

/// The conditions under which each option can be set, by the option's name without `CONFIG_`.
#[derive(Default)]
pub struct Kconfig {
    conditions: BTreeMap<String, Vec<String>>,
}

/// The architecture whose files count; those of others define the same options anew.
const ARCHITECTURE: &str = "x86";

/// What lines are inside of: an `if` with its condition, or a menu with those that its header lists.
type Blocks = Vec<Vec<String>>;

/// What a `depends on` line belongs to.
enum Owner {
    Nobody,
    Option(String),
    Menu,
}

impl Kconfig {
    /// Reads the tree's Kconfig files, as they include each other.
    pub fn read(source: &Utf8Path) -> Result<Self> {
        let mut kconfig = Self::default();
        kconfig.read_file(source, "Kconfig", &mut Blocks::new())?;
        Ok(kconfig)
    }

    fn read_file(&mut self, source: &Utf8Path, name: &str, blocks: &mut Blocks) -> Result<()> {
        let path = source.join(name);
        let text = std::fs::read(&path).with_context(|| format!("failed to read `{path}`"))?;
        self.parse(&String::from_utf8_lossy(&text), blocks, &mut |kconfig, included, blocks| {
            let included = included.replace("$(SRCARCH)", ARCHITECTURE);
            // An optional file may be missing, and names with other variables cannot be known here.
            if source.join(&included).is_file() { kconfig.read_file(source, &included, blocks) } else { Ok(()) }
        })
    }

    fn parse(
        &mut self,
        text: &str,
        blocks: &mut Blocks,
        include: &mut dyn FnMut(&mut Self, &str, &mut Blocks) -> Result<()>,
    ) -> Result<()> {
        let mut owner = Owner::Nobody;
        for line in text.lines().map(str::trim) {
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let rest = rest.trim();
            match word {
                "config" | "menuconfig" => {
                    let around = blocks.iter().flatten().cloned();
                    self.conditions.entry(rest.to_owned()).or_default().extend(around);
                    owner = Owner::Option(rest.to_owned());
                }
                "if" => blocks.push(vec![rest.to_owned()]),
                "menu" | "choice" => {
                    blocks.push(Vec::new());
                    owner = Owner::Menu;
                }
                "endif" | "endmenu" | "endchoice" => {
                    blocks.pop();
                    owner = Owner::Nobody;
                }
                "comment" => owner = Owner::Nobody,
                "source" => {
                    owner = Owner::Nobody;
                    include(self, rest.trim_matches('"'), blocks)?;
                }
                "depends" => self.depends(&owner, blocks, rest.trim_start_matches("on").trim()),
                _ => {}
            }
        }
        Ok(())
    }

    fn depends(&mut self, owner: &Owner, blocks: &mut Blocks, condition: &str) {
        let conditions = match owner {
            Owner::Nobody => None,
            Owner::Option(name) => self.conditions.get_mut(name),
            Owner::Menu => blocks.last_mut(),
        };
        if let Some(conditions) = conditions {
            conditions.push(condition.to_owned());
        }
    }

    /// Why `option` did not come out of a configuration whose values are `result`.
    pub fn explain(&self, option: &str, result: &BTreeMap<String, String>) -> String {
        let Some(conditions) = self.conditions.get(option.trim_start_matches("CONFIG_")) else {
            return "this kernel has no such option".to_owned();
        };
        let mut unmet: Vec<String> = Vec::new();
        for name in conditions.iter().flat_map(|condition| symbols(condition)) {
            let full = format!("CONFIG_{name}");
            if super::value_of(result, &full) == "n" && !unmet.contains(&full) {
                unmet.push(full);
            }
        }
        match (conditions.is_empty(), unmet.is_empty()) {
            (true, _) => "another option selects or overrides it".to_owned(),
            (false, true) => format!("it depends on {}", conditions.join(" and ")),
            (false, false) => {
                format!("it depends on {}, and these are off: {}", conditions.join(" and "), unmet.join(", "))
            }
        }
    }
}

/// The options that a condition mentions.
fn symbols(condition: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = condition.split(|c: char| !is_part(c)).filter(|word| !word.is_empty());
    words.filter(|word| word.chars().any(|c| c.is_ascii_uppercase())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, option: &str, on: &[&str], expect: &str) {
        let mut kconfig = Kconfig::default();
        let mut include = |kconfig: &mut Kconfig, name: &str, blocks: &mut Blocks| {
            let text = format!("config FROM_{name}\n\tbool\n");
            kconfig.parse(&text, blocks, &mut |_, _, _| Ok(()))
        };
        kconfig.parse(text, &mut Blocks::new(), &mut include).unwrap();
        let result = on.iter().map(|name| (format!("CONFIG_{name}"), "y".to_owned())).collect();
        assert_eq!(kconfig.explain(&format!("CONFIG_{option}"), &result), expect);
    }

    #[test]
    fn an_option_is_explained_by_what_is_off() {
        let text = "config TMPFS\n\tbool \"x\"\n\tdepends on SHMEM && MMU\n";
        check(text, "TMPFS", &["MMU"], "it depends on SHMEM && MMU, and these are off: CONFIG_SHMEM");
        check(text, "TMPFS", &["MMU", "SHMEM"], "it depends on SHMEM && MMU");
        check(text, "NONE", &[], "this kernel has no such option");
        check("config FREE\n\tbool\n", "FREE", &[], "another option selects or overrides it");
    }

    #[test]
    fn conditions_around_an_option_count_also_across_files() {
        let text = "if BLOCK\nsource \"EXT4\"\nendif\nconfig AFTER\n\tbool\n";
        check(text, "FROM_EXT4", &[], "it depends on BLOCK, and these are off: CONFIG_BLOCK");
        check(text, "AFTER", &[], "another option selects or overrides it");
        let menu = "menu \"m\"\n\tdepends on NET\nconfig INSIDE\n\tbool\nendmenu\n";
        check(menu, "INSIDE", &[], "it depends on NET, and these are off: CONFIG_NET");
    }
}
