//! minisign's keys: reading them, asking for the password, and making new ones.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result, anyhow, bail};
use camino::{Utf8Path, Utf8PathBuf};
use ct_codecs::{Base64, Decoder};
use minisign::{KeyPair, PublicKey, PublicKeyBox, SecretKey, SecretKeyBox};

/// Where a key's password is taken from when there is no one to ask.
const PASSWORD: &str = "MINISIGN_PASSWORD";
/// What the second line of every secret key begins with: the names of the algorithms, in base64. The first one needs a password.
const ENCRYPTED: &str = "RWRTY0Iy";
const PLAIN: &str = "RWQAAEIy";

/// A new pair of keys.
#[derive(Debug)]
pub struct Pair {
    /// The file with the secret one.
    pub secret: Utf8PathBuf,
    /// The file with the public one.
    pub public: Utf8PathBuf,
    /// The public one as it may be given instead of its file.
    pub text: String,
}

/// A key's number as minisign prints it.
pub fn id(number: &[u8]) -> String {
    let digits: String = number.iter().rev().map(|byte| format!("{byte:02X}")).collect();
    format!("key {digits}")
}

/// A public key: the path of its file, or the key itself as minisign -G prints it.
pub fn public_key(given: &str) -> Result<PublicKey> {
    match std::fs::read_to_string(given) {
        Ok(text) => PublicKeyBox::from_string(&text).and_then(PublicKeyBox::into_public_key).map_err(|error| {
            anyhow!("failed to read the public key `{given}`: {error}\nhint: minisign's are in *.pub")
        }),
        Err(error) => PublicKey::from_base64(given).map_err(|_| {
            anyhow!(
                "failed to read the public key `{given}`: {error}\nhint: give a file of minisign's, or the key itself"
            )
        }),
    }
}

/// The secret key in a file. Asks for its password if it has one.
pub fn secret_key(path: &Utf8Path) -> Result<SecretKey> {
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read the secret key `{path}`"))?;
    let key = text.lines().nth(1).unwrap_or_default().to_owned();
    let read = if key.starts_with(ENCRYPTED) {
        SecretKeyBox::from(text).into_secret_key(Some(password(&format!("Password of `{path}`: "))?))
    } else if key.starts_with(PLAIN) {
        // minisign itself writes no checksum into a key without a password, and looks for none. What is damaged in it shows
        // all the same: a signature is checked as soon as it is made.
        Base64::decode_to_vec(&key, None).map_err(Into::into).and_then(|bytes| SecretKey::from_bytes(&bytes))
    } else {
        bail!(
            "failed to read the secret key `{path}`: it is none of minisign's\nhint: `cargo xtask sign --new-key FILE` makes one"
        );
    };
    read.map_err(|error| anyhow!("failed to read the secret key `{path}`: {error}"))
}

fn password(prompt: &str) -> Result<String> {
    match std::env::var(PASSWORD) {
        Ok(password) => Ok(password),
        Err(_) => rpassword::prompt_password(prompt)
            .with_context(|| format!("failed to ask for a password\nhint: set {PASSWORD} where there is no terminal")),
    }
}

/// Makes a pair of keys: `path`, and beside it the public one. `forbidden` are folders that a secret has no business in.
pub fn new_key(path: &Utf8Path, forbidden: &[(&str, &Utf8Path)]) -> Result<Pair> {
    let secret = camino::absolute_utf8(path).with_context(|| format!("failed to make the key `{path}`"))?;
    let public = match secret.extension() {
        Some("key") => secret.with_extension("pub"),
        _ => format!("{secret}.pub").into(),
    };
    require_place(&secret, &public, forbidden)?;
    let password = match std::env::var(PASSWORD) {
        Ok(password) => password,
        Err(_) => {
            let first = password("Password of the new key (empty: none): ")?;
            if password("The same once more: ")? != first {
                bail!("failed to make the key `{secret}`: the two passwords differ");
            }
            first
        }
    };
    let failed = |error| anyhow!("failed to make the key `{secret}`: {error}");
    let pair = if password.is_empty() {
        KeyPair::generate_unencrypted_keypair()
    } else {
        KeyPair::generate_encrypted_keypair(Some(password))
    };
    let pair = pair.map_err(failed)?;
    let comment = format!("minisign secret {}", id(pair.pk.keynum()));
    let texts = (pair.sk.to_box(Some(&comment)).map_err(failed)?, pair.pk.to_box().map_err(failed)?);
    write_new(&secret, 0o600, &texts.0.into_string())?;
    if let Err(error) = write_new(&public, 0o644, &texts.1.into_string()) {
        let _ = std::fs::remove_file(&secret);
        return Err(error);
    }
    Ok(Pair { secret, public, text: pair.pk.to_base64() })
}

fn require_place(secret: &Utf8Path, public: &Utf8Path, forbidden: &[(&str, &Utf8Path)]) -> Result<()> {
    let folder = secret.parent().unwrap_or(Utf8Path::new("/"));
    let folder = folder
        .canonicalize_utf8()
        .with_context(|| format!("failed to make the key `{secret}`: no folder `{folder}`"))?;
    for (what, root) in forbidden {
        if folder.starts_with(root.canonicalize_utf8().unwrap_or_else(|_| (*root).to_owned())) {
            bail!(
                "failed to make the key `{secret}`: it is in {what}, and a secret there is soon published, or deleted\n\
                 hint: a place for it is your home folder, as in ~/.minisign/pid1.key"
            );
        }
    }
    let taken: Vec<_> = [secret, public].into_iter().filter(|path| path.symlink_metadata().is_ok()).collect();
    if !taken.is_empty() {
        let names: Vec<_> = taken.iter().map(|path| format!("`{path}`")).collect();
        bail!("failed to make a key: {} is there already, and no key is ever overwritten", names.join(" and "));
    }
    Ok(())
}

/// Writes a file that must not exist.
fn write_new(path: &Utf8Path, mode: u32, text: &str) -> Result<()> {
    let write = |mut file: File| {
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        // Half a key would be in the way of the next one.
        written.inspect_err(|_| drop(std::fs::remove_file(path)))
    };
    let opened = File::options().write(true).create_new(true).mode(mode).open(path);
    opened.and_then(write).with_context(|| format!("failed to write `{path}`"))
}
