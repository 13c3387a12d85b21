//! Promises of `pin`: nothing is believed that was neither computed nor signed, and what could not be checked is said.
//! The signer is a key that the tests make with gpg; the server stands for upstream and for a mirror.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};

use camino::Utf8Path;
use xtask::lock::{Pin, Source};
use xtask::pin::signed::{KERNEL_ORG, Signer};
use xtask::pin::urls::Candidate;
use xtask::pin::{Answer, Question, SignedList};
use xtask::report::Reporter;

use crate::desk::{LIMITS, sha256};
use crate::server::{Server, status, whole};

/// Where upstream and Debian have the files on the test's server.
const UPSTREAM: &str = "kernel/v6.x/linux-6.1.2.tar.xz";
const DEBIAN: &str = "pool/linux_6.1.2.orig.tar.xz";
const LIST: &str = "kernel/v6.x/sha256sums.asc";

/// A key while it is used.
struct Key {
    home: tempfile::TempDir,
}

impl Key {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let key = Self { home };
        key.gpg(&["--passphrase", "", "--quick-generate-key", "test", "ed25519", "sign", "never"], "");
        key
    }

    fn gpg(&self, args: &[&str], input: &str) -> Vec<u8> {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.home.path());
        command.args(["--batch", "--quiet", "--pinentry-mode", "loopback"]).args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "gpg {args:?}");
        output.stdout
    }

    fn sign(&self, text: &str) -> String {
        String::from_utf8(self.gpg(&["--clearsign"], text)).unwrap()
    }

    /// With the certificate that gpg writes beside each new key; a colon in it keeps people from using it by accident.
    fn revoke(&self) {
        let path = self.home.path().join("openpgp-revocs.d").join(format!("{}.rev", self.public().fingerprint));
        let certificate = std::fs::read_to_string(path).unwrap().replace(":-----BEGIN", "-----BEGIN");
        self.gpg(&["--import"], &certificate);
    }

    fn public(&self) -> Public {
        let fingerprints = fingerprints(&self.gpg(&["--with-colons", "--list-keys"], ""));
        Public { keyring: self.gpg(&["--export"], ""), fingerprint: fingerprints[0].clone() }
    }
}

impl Drop for Key {
    /// gpg started an agent for this home.
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "all"]).status();
    }
}

/// What the world knows of a key.
struct Public {
    keyring: Vec<u8>,
    fingerprint: String,
}

/// GnuPG's doc/DETAILS: the tenth field of each line `fpr`.
fn fingerprints(listing: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(listing).into_owned();
    let lines = text.lines().filter(|line| line.starts_with("fpr:"));
    lines.map(|line| line.split(':').nth(9).unwrap().to_owned()).collect()
}

/// What two keys gave, which are gone by then.
struct Signed {
    /// The signer's.
    key: Public,
    /// The same after its end.
    revoked: Public,
    other: Public,
    /// With upstream's archive.
    list: String,
    /// Without it.
    short_list: String,
}

fn signed() -> &'static Signed {
    static SIGNED: LazyLock<Signed> = LazyLock::new(|| {
        let (key, other) = (Key::new(), Key::new());
        let list = format!("{}  linux-6.1.2.tar.xz\n{}  other\n", sha256(&upstream()), "0".repeat(64));
        let (list, short_list) = (key.sign(&list), key.sign("of nothing here\n"));
        let public = key.public();
        key.revoke();
        Signed { key: public, revoked: key.public(), other: other.public(), list, short_list }
    });
    &SIGNED
}

/// With a file that is left out.
fn upstream() -> Vec<u8> {
    archive("linux-6.1.2", &[&FILES[..], &[("drivers/left/out.c", "x")]].concat())
}

/// A plain tar archive of files below one folder.
fn archive(top: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("{top}/{path}"), text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

const FILES: [(&str, &str); 2] = [("Makefile", "all:\n"), ("init/main.c", "int main;\n")];

/// What is on the server, and what the pin says so far.
struct Stage {
    files: BTreeMap<&'static str, Vec<u8>>,
    pinned: Option<String>,
}

impl Stage {
    /// Upstream's archive, Debian's with another top and without what is left out, and a signed list.
    fn new() -> Self {
        let list = signed().list.clone().into_bytes();
        let files = [(UPSTREAM, upstream()), (DEBIAN, archive("linux", &FILES)), (LIST, list)];
        Self { files: files.into(), pinned: None }
    }

    fn with(mut self, name: &'static str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(name, content.into());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.files.remove(name);
        self
    }

    /// Asks with the keyring of one key and the fingerprint of another.
    fn ask(self, keyring: &Public, fingerprint: &str) -> (anyhow::Result<Answer>, Server) {
        let files = Arc::new(Mutex::new(self.files));
        let server =
            Server::start(move |_, request| match files.lock().unwrap().get(request.path.trim_start_matches('/')) {
                Some(content) => whole(content),
                None => status("404 Not Found"),
            });
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap();
        let (work, downloads) = (path.join("work"), path.join("downloads"));
        std::fs::create_dir(&work).unwrap();
        let keyring_path = path.join("keyring.gpg");
        std::fs::write(&keyring_path, &keyring.keyring).unwrap();
        let version = if self.pinned.is_some() { "6.1.2" } else { "6.1.1" };
        let pin = Pin {
            version: version.to_owned(),
            license: "MIT".to_owned(),
            root: "*".to_owned(),
            keep: Vec::new(),
            leave_out: vec!["drivers/left/".to_owned()],
            tree: "a".repeat(64).parse().unwrap(),
            sources: Vec::new(),
        };
        let candidate = |name: &str| Candidate { url: server.url(name), pinned: self.pinned.clone(), is_guess: false };
        let question = Question {
            pin: &pin,
            version: "6.1.2",
            candidates: [UPSTREAM, DEBIAN].map(candidate).into(),
            signed: Some(SignedList { url: server.url(LIST), signer: Signer { keyring: &keyring_path, fingerprint } }),
            work: &work,
            downloads: &downloads,
            limits: LIMITS,
            progress: &Reporter::new(false).step("pin"),
        };
        (question.answer(), server)
    }

    #[track_caller]
    fn answer(self) -> (Answer, Server) {
        let key = &signed().key;
        let (answer, server) = self.ask(key, &key.fingerprint);
        (answer.unwrap(), server)
    }

    #[track_caller]
    fn check_refused(self, keyring: &Public, fingerprint: &str, expect: &[&str]) {
        let text = format!("{:#}", self.ask(keyring, fingerprint).0.map(|answer| answer.sources).unwrap_err());
        for part in expect {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
    }
}

#[track_caller]
fn check_says(lines: &[String], expect: &str) {
    assert!(lines.iter().any(|line| line.contains(expect)), "`{expect}` is not in: {lines:#?}");
}

const NO_GOOD: &str = "its signature is not a good one of the key";

#[test]
fn two_layouts_are_one_tree_and_the_signed_hash_is_compared() {
    let (answer, server) = Stage::new().answer();
    let urls: Vec<_> = answer.sources.iter().map(|source| source.url.clone()).collect();
    assert_eq!(urls, [server.url(UPSTREAM), server.url(DEBIAN)]);
    check_says(&answer.verified, "all 2 archives unpack to the tree");
    check_says(&answer.verified, &format!("{}: the signed list has this hash", server.url(UPSTREAM)));
    check_says(&answer.verified, &format!("signed by {}", signed().key.fingerprint));
    assert_eq!(answer.unverified, [""; 0]);
}

#[test]
fn a_list_that_another_key_signed_is_refused() {
    let Signed { key, other, .. } = signed();
    Stage::new().check_refused(other, &other.fingerprint, &[NO_GOOD, &other.fingerprint]);
    // Who changes the keyring, and signs with the key that is in it now, is not believed either.
    Stage::new().check_refused(key, &other.fingerprint, &[NO_GOOD]);
}

#[test]
fn a_list_of_a_key_that_was_revoked_is_refused() {
    let revoked = &signed().revoked;
    Stage::new().check_refused(revoked, &revoked.fingerprint, &[NO_GOOD]);
}

#[test]
fn a_list_that_was_changed_or_is_not_signed_is_refused() {
    let key = &signed().key;
    let text = String::from_utf8(Stage::new().files[LIST].clone()).unwrap();
    let changed = text.replacen("000000", "000001", 1);
    assert_ne!(changed, text);
    Stage::new().with(LIST, changed).check_refused(key, &key.fingerprint, &[NO_GOOD]);
    Stage::new().with(LIST, "plain text\n").check_refused(key, &key.fingerprint, &[NO_GOOD]);
}

#[test]
fn what_stands_around_the_signed_text_is_not_read() {
    let list = &signed().short_list;
    let stage = Stage::new().without(UPSTREAM).with(LIST, format!("{}  linux-6.1.2.tar.xz\n{list}", "1".repeat(64)));
    let (answer, server) = stage.answer();
    assert_eq!(answer.sources.iter().map(|source| source.url.clone()).collect::<Vec<_>>(), [server.url(DEBIAN)]);
    check_says(&answer.unverified, "sha256sums.asc: names no archive of 6.1.2");
}

#[test]
fn an_archive_that_is_not_the_listed_one_is_refused() {
    let key = &signed().key;
    let stage = Stage::new().with(UPSTREAM, archive("linux-6.1.2", &[("Makefile", "evil:\n")]));
    stage.check_refused(key, &key.fingerprint, &["the signed list has another hash\n    Expected: "]);
}

#[test]
fn archives_that_differ_are_refused_and_the_paths_named() {
    let key = &signed().key;
    let stage = Stage::new().with(DEBIAN, archive("linux", &[("Makefile", "all:\n"), ("new", "")]));
    let expect = ["unpack to different trees", "init: only in the first", "new: only in the second", "`leave-out`"];
    stage.check_refused(key, &key.fingerprint, &expect);
}

#[test]
fn an_archive_out_of_reach_is_left_out_unless_its_hash_is_signed() {
    let (answer, server) = Stage::new().without(UPSTREAM).answer();
    let expected = sha256(&Stage::new().files[UPSTREAM]);
    assert_eq!(answer.sources[0], Source { url: server.url(UPSTREAM), sha256: expected });
    check_says(&answer.unverified, "http status 404 Not Found; its hash is the signed list's");
    let (answer, server) = Stage::new().without(UPSTREAM).without(LIST).answer();
    assert_eq!(answer.sources.iter().map(|source| source.url.clone()).collect::<Vec<_>>(), [server.url(DEBIAN)]);
    check_says(&answer.unverified, "404 Not Found; left out, for nobody says its hash");
    check_says(&answer.unverified, "the signed list of checksums: ");
    check_says(&answer.unverified, "was compared with no other");
}

#[test]
fn a_hash_of_the_same_version_stays_when_it_cannot_be_checked_and_must_hold_when_it_can() {
    let key = &signed().key;
    let upstream = sha256(&Stage::new().files[UPSTREAM]);
    let same = || Stage { pinned: Some(upstream.clone()), ..Stage::new() };
    let (answer, server) = same().without(DEBIAN).answer();
    assert_eq!(answer.sources[1], Source { url: server.url(DEBIAN), sha256: upstream.clone() });
    check_says(&answer.unverified, "its hash stays, for the version is the same");
    same().check_refused(key, &key.fingerprint, &["the pin of this very version has another hash"]);
    // Upstream is out of reach, but its list says that the pin is wrong.
    let wrong = Stage { pinned: Some("1".repeat(64)), ..Stage::new() }.without(UPSTREAM);
    wrong.check_refused(key, &key.fingerprint, &["the signed list has another hash than the pin"]);
}

#[test]
fn nothing_in_reach_is_an_error_with_every_place() {
    let key = &signed().key;
    let stage = Stage::new().without(UPSTREAM).without(DEBIAN).without(LIST);
    stage.check_refused(key, &key.fingerprint, &["none of its sources could be reached", UPSTREAM, DEBIAN, "404"]);
}

#[test]
fn the_pinned_key_is_kernel_orgs() {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let keyring = root.join("vendor/kernel.org-autosigner.gpg");
    let listing = Key::new().gpg(&["--with-colons", "--show-keys", keyring.as_str()], "");
    assert_eq!(fingerprints(&listing), [KERNEL_ORG]);
}
