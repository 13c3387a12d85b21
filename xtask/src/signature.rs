//! Signs and checks finished images, with minisign's keys and in its format, so that its own tool can do the same.
//!
//! One signature covers all: manifest.json is signed, and it holds the hash of every other file. A secret key is only ever
//! written where the user says, never into a checkout or the store, and never over another file.
//! Source: minisign(1), and the format on the page of that tool.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use anyhow::{Context, Result, bail};
use camino::{Utf8Path, Utf8PathBuf};
use minisign::{PublicKey, SecretKey, SignatureBox};
use serde::Deserialize;

use crate::artifact;
use crate::manifest::{FileRecord, MANIFEST, SCHEMA};

mod key;

pub use key::{Pair, new_key, public_key, secret_key};

/// What is said to a person who reads a signature, and is no part of what is signed.
const UNTRUSTED: &str = "signature of a pid1 image; check it with minisign -V, or with cargo xtask sign --verify-key";

/// Where the signature of a manifest is: beside it, as minisign has it.
pub fn path_of(manifest: &Utf8Path) -> Utf8PathBuf {
    format!("{manifest}.minisig").into()
}

/// A manifest whose signature is good.
#[derive(Debug)]
pub struct Signed {
    /// The manifest's bytes, as they were signed.
    pub bytes: Vec<u8>,
    /// What the signer said with it.
    pub comment: String,
}

/// As much of a manifest as a check of files needs.
#[derive(Deserialize)]
struct Listed {
    schema: u32,
    image: String,
    files: BTreeMap<String, FileRecord>,
}

impl Listed {
    fn parse(bytes: &[u8], path: &Utf8Path) -> Result<Self> {
        let context = || format!("failed to read `{path}`");
        let listed: Self = serde_json::from_slice(bytes)
            .map_err(|error| anyhow::anyhow!("{error}\nhint: `cargo xtask image` makes it anew"))
            .with_context(context)?;
        if listed.schema != SCHEMA {
            bail!(
                "failed to read `{path}`: its schema is {}; this checkout knows {SCHEMA}\n\
                 hint: use the checkout that made it, or `cargo xtask image` to make it anew",
                listed.schema
            );
        }
        Ok(listed)
    }
}

/// Checks a manifest's signature, which is beside it, by a public key. What is believed of the manifest must be read from
/// the bytes that come back, not from the file once more.
pub fn check(manifest: &Utf8Path, key: &PublicKey) -> Result<Signed> {
    let path = path_of(manifest);
    let context = || format!("failed to check the signature of `{manifest}`");
    let bytes = std::fs::read(manifest).with_context(|| format!("failed to read `{manifest}`"))?;
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!(
                "`{manifest}` is not signed: there is no `{path}`\nhint: ask whoever published the image for it; an image of your own is signed by `cargo xtask sign --key FILE`"
            )
        }
        text => text.with_context(|| format!("failed to read `{path}`"))?,
    };
    let signature = SignatureBox::from_string(&text)
        .map_err(|error| anyhow::anyhow!("`{path}` is no signature of minisign's: {error}"))
        .with_context(context)?;
    let (ours, theirs) = (key::id(key.keynum()), key::id(signature.keynum()));
    if ours != theirs {
        bail!(
            "failed to check the signature of `{manifest}`: it is made with another key\n  Expected: {ours}\n  Computed: {theirs}\n\
             hint: get the public key of whoever published the image"
        );
    }
    // The last flag would take what minisign before 0.6 wrote.
    minisign::verify(key, &signature, Cursor::new(&bytes), true, false, false)
        .map_err(|error| {
            anyhow::anyhow!(
                "the file was changed after it was signed, or `{path}` is the signature of another one ({error})\n\
                 hint: get the image again from where it was published"
            )
        })
        .with_context(context)?;
    let comment = signature.trusted_comment().map_err(|error| anyhow::anyhow!("{error}")).with_context(context)?;
    Ok(Signed { bytes, comment })
}

/// Checks the signature of the image in `folder`, and every file in it. Gives the number of files, and the signer's words.
/// A name that is given must be the image's: a signature of another image is good, and still not the one that was asked for.
pub fn check_folder(folder: &Utf8Path, key: &PublicKey, name: Option<&str>) -> Result<(usize, String)> {
    let manifest = folder.join(MANIFEST);
    let signed = check(&manifest, key)?;
    let listed = Listed::parse(&signed.bytes, &manifest)?;
    if let Some(name) = name.filter(|name| *name != listed.image) {
        bail!(
            "`{folder}` holds the image `{}`, and `{name}` was asked for\nhint: get `{name}` again, or build it anew",
            listed.image
        );
    }
    check_files(folder, &listed)?;
    Ok((listed.files.len() + 1, signed.comment))
}

/// Signs the image in `folder`, if its files are what its manifest says. Gives the signature's path.
pub fn sign_folder(folder: &Utf8Path, key: &SecretKey) -> Result<Utf8PathBuf> {
    let manifest = folder.join(MANIFEST);
    let bytes = std::fs::read(&manifest)
        .with_context(|| format!("failed to read `{manifest}`\nhint: `cargo xtask image` builds an image first"))?;
    let listed = Listed::parse(&bytes, &manifest)?;
    check_files(folder, &listed)?;
    let path = path_of(&manifest);
    // Signatures differ each time; one that is good already is as good as another.
    let public = PublicKey::from_secret_key(key).map_err(|error| anyhow::anyhow!("failed to use the key: {error}"))?;
    if path.exists() {
        match check(&manifest, &public) {
            Ok(_) => return Ok(path),
            Err(error) => bail!(
                "failed to sign `{manifest}`: there is a signature already, and it is none of this key: {}\n\
                 hint: delete `{path}` first",
                crate::report::render(&error)
            ),
        }
    }
    // Instead of the time, which is minisign's default: what is signed.
    let comment = format!("pid1 image {}, {MANIFEST}, sha256 {}", listed.image, crate::manifest::sha256(&bytes));
    let signature = minisign::sign(Some(&public), key, Cursor::new(&bytes), Some(&comment), Some(UNTRUSTED))
        .map_err(|error| anyhow::anyhow!("failed to sign `{manifest}`: {error}"))?;
    artifact::replace(&path, signature.into_string().as_bytes())?;
    Ok(path)
}

/// Every file that the manifest names is there and is what it says; and there is no other, for a reader would take it for signed.
fn check_files(folder: &Utf8Path, listed: &Listed) -> Result<()> {
    let mut problems = Vec::new();
    for (name, record) in &listed.files {
        if Utf8Path::new(name).file_name() != Some(name) {
            problems.push(format!("`{name}` is no file's name"));
            continue;
        }
        match std::fs::read(folder.join(name)) {
            Err(error) => problems.push(format!("`{name}` cannot be read: {error}")),
            Ok(bytes) if FileRecord::of(&bytes) == *record => {}
            Ok(bytes) => problems.push(format!(
                "`{name}` has other content than {MANIFEST} says\n    Expected: sha256 {}, {} bytes\n    Computed: sha256 {}, {} bytes",
                record.sha256,
                record.size,
                crate::manifest::sha256(&bytes),
                bytes.len()
            )),
        }
    }
    let known: BTreeSet<&str> = listed.files.keys().map(String::as_str).collect();
    let context = || format!("failed to list `{folder}`");
    // Also a name that is no text.
    let entries = std::fs::read_dir(folder).with_context(context)?;
    let name = |entry: std::io::Result<std::fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let mut others = entries.map(name).collect::<std::io::Result<Vec<String>>>().with_context(context)?;
    others.retain(|name| !known.contains(name.as_str()) && name != MANIFEST && *name != path_of(MANIFEST.into()));
    others.sort();
    problems.extend(others.iter().map(|name| format!("`{name}` is there too, and {MANIFEST} does not name it")));
    if problems.is_empty() {
        return Ok(());
    }
    bail!(
        "`{folder}` is not what its {MANIFEST} says:\n  {}\nhint: what was sent to you is damaged or forged, get it again; an image of your own is written anew by `cargo xtask image`",
        problems.join("\n  ")
    )
}

/// Takes the signature in `folder` away, unless it is there for a manifest of these very bytes.
pub fn forget_unless_of(folder: &Utf8Path, bytes: &[u8]) -> Result<()> {
    let manifest = folder.join(MANIFEST);
    match std::fs::read(&manifest) {
        Ok(old) if old == bytes => Ok(()),
        _ => artifact::remove(&path_of(&manifest)),
    }
}

#[cfg(test)]
mod tests;
