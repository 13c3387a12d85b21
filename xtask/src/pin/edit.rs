//! Writes new values into TOML that people wrote: comments, order and layout stay, and what does not change is not touched.

use anyhow::{Context, Result, anyhow};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Value};

use crate::key::ArtifactId;
use crate::lock::Source;

/// The text of vendor/sources.toml with a pin's new values.
pub fn edit_pin(text: &str, name: &str, version: &str, tree: ArtifactId, sources: &[Source]) -> Result<String> {
    let mut document: DocumentMut = text.parse().context("failed to read the lock")?;
    let pin = document.get_mut(name).with_context(|| format!("the lock has no `[{name}]`"))?;
    let old = pin.get("version").and_then(Item::as_str).unwrap_or_default().to_owned();
    set(pin, "version", version)?;
    set(pin, "tree", &tree.to_string())?;
    let list = pin.get_mut("source").and_then(Item::as_array_of_tables_mut);
    edit_sources(list.with_context(|| format!("the lock has no `[[{name}.source]]`"))?, &old, version, sources)?;
    Ok(document.to_string())
}

/// Each source takes the place of the one that it is a version of, with the comments there; new ones come after.
fn edit_sources(list: &mut ArrayOfTables, old: &str, version: &str, sources: &[Source]) -> Result<()> {
    let mut rest: Vec<&Source> = sources.iter().collect();
    let template = list.iter().last().cloned();
    let mut is_gone = Vec::new();
    for table in list.iter_mut() {
        let place = place(table.get("url").and_then(Item::as_str).unwrap_or_default(), old);
        match rest.iter().position(|source| self::place(&source.url, version) == place) {
            Some(index) => {
                let source = rest.remove(index);
                let mut item = Item::Table(std::mem::take(table));
                set(&mut item, "url", &source.url)?;
                set(&mut item, "sha256", &source.sha256)?;
                *table = item.into_table().map_err(|_| anyhow!("a source is no table"))?;
                is_gone.push(false);
            }
            None => is_gone.push(true),
        }
    }
    for index in (0..is_gone.len()).rev().filter(|index| is_gone.get(*index) == Some(&true)) {
        list.remove(index);
    }
    for source in rest {
        let mut item = Item::Table(template.clone().context("the pin has no source to go by")?);
        set(&mut item, "url", &source.url)?;
        set(&mut item, "sha256", &source.sha256)?;
        let mut table = item.into_table().map_err(|_| anyhow!("a source is no table"))?;
        table.decor_mut().set_prefix("\n");
        // Tables are written in the order of their places in the text that they were read from.
        table.set_position(None);
        list.push(table);
    }
    Ok(())
}

/// What two versions' URLs of one source have in common: the host, and the file's name before the version.
fn place(url: &str, version: &str) -> (String, String) {
    let host = match url.split_once("://") {
        Some((_, rest)) => rest.split('/').next().unwrap_or_default(),
        None => url.split(':').next().unwrap_or_default(),
    };
    let file = url.rsplit('/').next().unwrap_or_default();
    (host.to_owned(), file.split(version).next().unwrap_or_default().to_owned())
}

/// Sets a text in a table, with the comment behind it left alone.
fn set(table: &mut Item, key: &str, value: &str) -> Result<()> {
    let item = table.get_mut(key).with_context(|| format!("there is no `{key}`"))?;
    if item.as_str() == Some(value) {
        return Ok(());
    }
    let old = item.as_value_mut().with_context(|| format!("`{key}` is no text"))?;
    let decor = old.decor().clone();
    *old = Value::from(value);
    *old.decor_mut() = decor;
    Ok(())
}

/// The text of a TOML file with one text in it changed, as in `["workspace", "package", "rust-version"]`.
pub fn edit_text(text: &str, path: &[&str], value: &str) -> Result<String> {
    let mut document: DocumentMut = text.parse()?;
    let (key, tables) = path.split_last().context("an empty path")?;
    let mut item = document.as_item_mut();
    for table in tables {
        item = item.get_mut(table).with_context(|| format!("there is no `{table}`"))?;
    }
    set(item, key, value)?;
    Ok(document.to_string())
}

/// The text of a lock file of cargo's with a package's version and checksum changed.
pub fn edit_package(text: &str, name: &str, old: &str, version: &str, checksum: Option<&str>) -> Result<String> {
    let mut document: DocumentMut = text.parse()?;
    let packages = document.get_mut("package").and_then(Item::as_array_of_tables_mut).context("no packages")?;
    for table in packages.iter_mut() {
        let is = |key: &str, value: &str| table.get(key).and_then(Item::as_str) == Some(value);
        if is("name", name) && is("version", old) {
            let mut item = Item::Table(std::mem::take(table));
            set(&mut item, "version", version)?;
            if let Some(checksum) = checksum {
                set(&mut item, "checksum", checksum)?;
            }
            *table = item.into_table().map_err(|_| anyhow!("a package is no table"))?;
        }
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{LINUX, Lock, PINS, RUST_LIBRARY};
    use crate::pin::diff::diff;

    const TEXT: &str = include_str!("../../../vendor/sources.toml");

    #[test]
    fn the_same_values_leave_the_same_bytes() {
        let lock = Lock::parse(TEXT).unwrap();
        for name in PINS {
            let pin = lock.pin(name).unwrap();
            assert_eq!(edit_pin(TEXT, name, &pin.version, pin.tree, &pin.sources).unwrap(), TEXT);
        }
    }

    #[test]
    fn only_the_changed_lines_change_and_a_source_that_is_gone_is_gone() {
        let lock = Lock::parse(TEXT).unwrap();
        let hash = "b".repeat(64);
        let url = "debian:pool/main/l/linux/linux_6.12.200.orig.tar.xz".to_owned();
        let sources = [Source { url, sha256: hash.clone() }];
        let new = edit_pin(TEXT, LINUX, "6.12.200", lock.pin(LINUX).unwrap().tree, &sources).unwrap();
        let changed: Vec<String> =
            diff(TEXT, &new).lines().filter(|line| !line.starts_with(' ')).map(str::to_owned).collect();
        assert_eq!(changed.iter().filter(|line| line.starts_with('+')).count(), 3, "{changed:#?}");
        assert!(changed.contains(&"+version = \"6.12.200\"".to_owned()), "{changed:#?}");
        assert!(changed.contains(&format!("+sha256 = \"{hash}\"")), "{changed:#?}");
        assert_eq!(Lock::parse(&new).unwrap().pin(LINUX).unwrap().sources, sources);
        assert!(new.contains("# Debian takes these out of its archive; no image needs them."));
    }

    #[test]
    fn comments_behind_values_and_new_sources_have_their_places() {
        let text = TEXT.replace("version = \"1.95.0\"", "version = \"1.95.0\" # the compiler's");
        let pin = Lock::parse(&text).unwrap().pin(RUST_LIBRARY).unwrap().clone();
        let source = |url: &str| Source { url: url.to_owned(), sha256: "c".repeat(64) };
        let sources = [
            source("https://static.rust-lang.org/dist/rust-src-1.96.0.tar.xz"),
            source("debian:pool/main/r/rustc/rust-src_1.96.0+dfsg1-1_all.deb"),
            source("debian:pool/main/r/rustc/rust-src_1.96.0+dfsg1-2_all.deb"),
        ];
        let new = edit_pin(&text, RUST_LIBRARY, "1.96.0", pin.tree, &sources).unwrap();
        assert!(new.contains("version = \"1.96.0\" # the compiler's"), "{new}");
        let found = Lock::parse(&new).unwrap().pin(RUST_LIBRARY).unwrap().sources.clone();
        assert_eq!(found, sources);
        assert!(
            new.contains(
                "\"\n\n[[rust-library.source]]\nurl = \"debian:pool/main/r/rustc/rust-src_1.96.0+dfsg1-2_all.deb\"\n"
            ),
            "{new}"
        );
    }
}
