//! Signed lists of checksums, as kernel.org has one for each folder: clearsigned OpenPGP messages (RFC 9580, section 7).
//!
//! The signature is judged by gpgv, which knows no keys but those it is given. Only what it says was signed is read:
//! a clearsigned file may hold other text around that.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use camino::Utf8Path;

use crate::toolbox::{self, GPGV};

/// Who has to have signed.
pub struct Signer<'a> {
    /// The key, as a keyring of gpgv's.
    pub keyring: &'a Utf8Path,
    /// The primary key's fingerprint in upper-case hexadecimal: who may change the keyring file may not change whom we trust.
    pub fingerprint: &'a str,
}

/// "Kernel.org checksum autosigner": it says that a file is what kernel.org's own disks hold, not who made the release.
pub const KERNEL_ORG: &str = "B8868C80BA62A1FFFAF5FDA9632D3A06589DA6B1";

/// The list that has the archive at this URL.
pub fn kernel_org_list(archive_url: &str) -> Option<String> {
    let (folder, _) = archive_url.rsplit_once('/')?;
    folder.ends_with(".x").then(|| format!("{folder}/sha256sums.asc"))
}

impl Signer<'_> {
    /// What was signed in the file `message`, if the signature is good and this signer's. `work` is for gpgv's output.
    pub fn text(&self, message: &Utf8Path, work: &Utf8Path) -> Result<String> {
        let gpgv = toolbox::find(GPGV).map_err(|missing| anyhow!("the host tool `{}` is missing", missing.tool))?;
        let out = work.join("signed-text");
        let mut command = Command::new(gpgv);
        command.env_clear().env("LC_ALL", "C").stdin(Stdio::null());
        command.args(["--homedir", work.as_str(), "--status-fd", "1", "--output", out.as_str()]);
        command.args(["--keyring", self.keyring.as_str(), message.as_str()]);
        let output = command.output().context("failed to run `gpgv`")?;
        let status = String::from_utf8_lossy(&output.stdout).into_owned();
        let (keys, count) = (signing_keys(&status), |word: &str| status.matches(&format!("[GNUPG:] {word}")).count());
        // Of a key that is revoked or expired, gpgv says VALIDSIG as well, and ends with 0; but not GOODSIG.
        let is_one_good_signature = count("NEWSIG") == 1 && count("GOODSIG ") == 1;
        if !output.status.success() || keys != [self.fingerprint] || !is_one_good_signature {
            let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "\n  ");
            bail!("its signature is not a good one of the key {}\n  {said}", self.fingerprint);
        }
        std::fs::read_to_string(&out).with_context(|| format!("failed to read `{out}`"))
    }
}

/// The primary keys of the good signatures: the last word of each VALIDSIG (GnuPG's doc/DETAILS).
fn signing_keys(status: &str) -> Vec<&str> {
    let lines = status.lines().filter_map(|line| line.strip_prefix("[GNUPG:] VALIDSIG "));
    lines.filter_map(|line| line.split_whitespace().last()).collect()
}

/// The sha256 of a file in a list as sha256sum(1) writes it: the hash, two blanks (or a blank and a star), the name.
pub fn listed(text: &str, name: &str) -> Option<String> {
    let line = |line: &str| {
        let (hash, file) = line.split_once(' ')?;
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_hash && file.strip_prefix([' ', '*']) == Some(name)).then(|| hash.to_owned())
    };
    text.lines().find_map(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_gives_the_hash_of_the_whole_name_only() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let text = format!("{a}  linux-6.12.10.tar.xz\n{b} *linux-6.12.1.tar.xz\nshort  x\n");
        assert_eq!(listed(&text, "linux-6.12.1.tar.xz"), Some(b));
        assert_eq!(listed(&text, "linux-6.12.10.tar.xz"), Some(a));
        assert_eq!(listed(&text, "linux-6.12.10.tar"), None);
        assert_eq!(listed(&text, "x"), None);
    }

    #[test]
    fn the_list_is_beside_the_archive() {
        let list = kernel_org_list("https://cdn.kernel.org/pub/linux/kernel/v6.x/linux-6.12.1.tar.xz");
        assert_eq!(list.as_deref(), Some("https://cdn.kernel.org/pub/linux/kernel/v6.x/sha256sums.asc"));
        assert_eq!(kernel_org_list("debian:pool/main/l/linux/linux_6.12.1.orig.tar.xz"), None);
    }
}
