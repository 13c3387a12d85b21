//! The two identities of the store: an artifact is what its bytes are, a step is what goes into it. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps a finished blake3 hash.
            pub fn new(hash: blake3::Hash) -> Self {
                Self(*hash.as_bytes())
            }

            /// The first twelve hex digits: enough for a person to recognize it.
            pub fn short(&self) -> String {
                self.to_string().chars().take(12).collect()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&blake3::Hash::from(self.0).to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match blake3::Hash::from_hex(text) {
                    Ok(hash) if text.bytes().all(|b| !b.is_ascii_uppercase()) => Ok(Self::new(hash)),
                    _ => Err(format!("`{text}` is not a hash: 64 lower-case hexadecimal digits are expected")),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

hash_type! {
    /// What an artifact *is*: blake3 over its content, modes and, for a folder, its names. See [`crate::artifact::hash_path`].
    ArtifactId
}
hash_type! {
    /// What goes *into* a step: blake3 over the canonical bytes of its [`Fields`].
    StepKey
}

/// Names the layout of the canonical bytes; a change of that layout gives every step a new key.
const KEY_DOMAIN: &[u8] = b"pid1 step key 1";

/// Everything that can change a step's output, by name: `recipe`, `input.musl`, `tool.gcc`, `file.apps/hello/src/main.rs`, ...
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fields(BTreeMap<String, String>);

/// How one field differs between two builds of a step.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// The field is new: name and value.
    Added(String, String),
    /// The field is gone: name and old value.
    Removed(String, String),
    /// The field has another value: name, old and new value.
    Changed(String, String, String),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(name, value) => write!(f, "{name} is new: {value}"),
            Self::Removed(name, value) => write!(f, "{name} is gone; it was {value}"),
            Self::Changed(name, old, new) => write!(f, "{name} changed from {old} to {new}"),
        }
    }
}

impl Fields {
    /// Sets one field. A name is set once; a second value for it would hide the first, so the two are joined.
    pub fn set(&mut self, name: impl Into<String>, value: impl fmt::Display) {
        let value = value.to_string();
        self.0
            .entry(name.into())
            .and_modify(|old| {
                old.push('\n');
                old.push_str(&value);
            })
            .or_insert(value);
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The fields in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The key: blake3 over the domain, then every name and value, each after its length as 8 little-endian bytes.
    pub fn key(&self) -> StepKey {
        let mut hasher = blake3::Hasher::new();
        hasher.update(KEY_DOMAIN);
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        StepKey::new(hasher.finalize())
    }

    /// What changed from `old` to `self`, in order of name.
    pub fn changes_since(&self, old: &Fields) -> Vec<Change> {
        let names: std::collections::BTreeSet<&String> = self.0.keys().chain(old.0.keys()).collect();
        let change = |name: &String| match (old.0.get(name), self.0.get(name)) {
            (None, Some(new)) => Some(Change::Added(name.clone(), new.clone())),
            (Some(old), None) => Some(Change::Removed(name.clone(), old.clone())),
            (Some(old), Some(new)) if old != new => Some(Change::Changed(name.clone(), old.clone(), new.clone())),
            _ => None,
        };
        names.into_iter().filter_map(change).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.set(*name, value);
        }
        fields
    }

    #[test]
    fn the_key_is_fixed_for_fixed_fields() {
        let key = fields(&[("recipe", "kernel 1"), ("input.linux", "ab")]).key();
        assert_eq!(key.to_string(), "e8e7a1731964cd0b27400c35b3041572bb7ee3a827e430b1c584239c70f1570b");
    }

    #[test]
    fn the_order_of_setting_does_not_matter() {
        assert_eq!(fields(&[("a", "1"), ("b", "2")]).key(), fields(&[("b", "2"), ("a", "1")]).key());
    }

    #[test]
    fn moving_a_byte_between_name_and_value_changes_the_key() {
        let keys = [fields(&[("ab", "c")]).key(), fields(&[("a", "bc")]).key(), fields(&[("a", "b"), ("c", "")]).key()];
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
    }

    #[test]
    fn changes_are_named() {
        let old = fields(&[("gone", "1"), ("same", "1"), ("new value", "1")]);
        let new = fields(&[("same", "1"), ("new value", "2"), ("added", "1")]);
        assert_eq!(
            new.changes_since(&old),
            [
                Change::Added("added".into(), "1".into()),
                Change::Removed("gone".into(), "1".into()),
                Change::Changed("new value".into(), "1".into(), "2".into()),
            ]
        );
    }

    #[test]
    fn ids_read_back_and_bad_ones_are_refused() {
        let key = fields(&[]).key();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert!("12".parse::<ArtifactId>().is_err());
        assert!(key.to_string().to_uppercase().parse::<StepKey>().is_err());
    }
}
