//! The store's own records (traces, roots, the tools' memory): JSON whose last member is the hash of all that comes before it.
//!
//! A flipped bit, a cut end or a hole makes such a record unreadable; it never becomes another record. This is for accidents
//! only: who can write into the store can write a seal, too.

use anyhow::{Context, Result};
use camino::Utf8Path;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Between a record's members and the 64 hex digits of its hash.
const SEAL: &str = "\n  \"blake3\": \"";
/// After them.
const END: &str = "\"\n}";

/// The sealed text of a record, which must be a struct or a map.
pub fn seal(record: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(record).context("failed to write a record of the store")?;
    let members = text.strip_suffix('}').unwrap_or(&text).trim_end();
    let comma = if members == "{" { "" } else { "," };
    let members = format!("{members}{comma}");
    let hash = blake3::hash(members.as_bytes()).to_hex();
    Ok(format!("{members}{SEAL}{hash}{END}"))
}

/// The record in a sealed text; nothing, unless every byte is as it was written.
pub fn unseal<T: DeserializeOwned>(text: &str) -> Option<T> {
    let (members, hash) = text.strip_suffix(END)?.rsplit_once(SEAL)?;
    if blake3::hash(members.as_bytes()).to_hex().as_str() != hash {
        return None;
    }
    let members = members.strip_suffix(',').unwrap_or(members);
    serde_json::from_str(&format!("{members}}}")).ok()
}

/// The record in a file; nothing, if there is no such file or no whole record in it.
pub fn read<T: DeserializeOwned>(path: &Utf8Path) -> Option<T> {
    unseal(&std::fs::read_to_string(path).ok()?)
}

/// As [`read`]; a record from before there were seals counts, too. What one flipped bit makes of a seal is never taken for
/// that, unless all else is whole.
pub fn read_old<T: DeserializeOwned>(path: &Utf8Path) -> Option<T> {
    unseal_old(&std::fs::read_to_string(path).ok()?)
}

fn unseal_old<T: DeserializeOwned>(text: &str) -> Option<T> {
    let is_old = || !text.contains("\"blake3\"");
    unseal(text).or_else(|| is_old().then(|| serde_json::from_str(text).ok()).flatten())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Record {
        seconds: f64,
        fields: BTreeMap<String, String>,
    }

    fn record() -> Record {
        let fields = [("a".to_owned(), "x\n  \"blake3\": \"".to_owned())].into();
        Record { seconds: 0.1, fields }
    }

    #[test]
    fn a_sealed_record_reads_back_and_is_json() {
        let text = seal(&record()).unwrap();
        assert_eq!(unseal(&text), Some(record()));
        assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["blake3"].is_string());
        let empty = BTreeMap::<String, String>::new();
        assert_eq!(unseal(&seal(&empty).unwrap()), Some(empty));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let whole = seal(&record()).unwrap();
        for index in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone().into_bytes();
                bytes[index] ^= 1 << bit;
                let text = String::from_utf8(bytes).unwrap_or_default();
                assert_eq!(unseal::<Record>(&text), None, "{text}");
                assert!(unseal_old::<Record>(&text).is_none_or(|found| found == record()), "{text}");
            }
            assert_eq!(unseal::<Record>(&whole[..index]), None);
            assert_eq!(unseal_old::<Record>(&whole[..index]), None);
        }
    }

    #[test]
    fn a_record_from_before_there_were_seals_counts_where_it_may() {
        let text = serde_json::to_string(&record()).unwrap().replace("blake3", "other");
        assert!(unseal_old::<Record>(&text).is_some() && unseal::<Record>(&text).is_none());
    }
}
