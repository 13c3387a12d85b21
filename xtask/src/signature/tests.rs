//! Keys without a password, in a folder of three files. What needs minisign's own tool is in xtask/tests/machine/evidence.rs.

use super::*;

struct Fixture {
    folder: tempfile::TempDir,
    key: SecretKey,
    public: PublicKey,
}

impl Fixture {
    fn new() -> Self {
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let fixture = Self { folder: tempfile::tempdir().unwrap(), key: pair.sk, public: pair.pk };
        fixture.write("bzImage", "kernel");
        fixture.write(MANIFEST, &manifest("kernel"));
        fixture
    }

    fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.folder.path()).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn sign(&self) {
        sign_folder(self.path(), &self.key).unwrap();
    }

    #[track_caller]
    fn is_refused(&self, expect: &[&str]) {
        let error = crate::report::render(&check_folder(self.path(), &self.public, None).unwrap_err());
        assert!(expect.iter().all(|part| error.contains(part)), "{error}");
    }
}

fn manifest(kernel: &str) -> String {
    let files = BTreeMap::from([("bzImage", FileRecord::of(kernel.as_bytes()))]);
    serde_json::json!({"schema": SCHEMA, "image": "x", "files": files}).to_string()
}

#[test]
fn what_was_signed_is_good_and_says_what_it_is() {
    let fixture = Fixture::new();
    fixture.sign();
    let (n_files, comment) = check_folder(fixture.path(), &fixture.public, None).unwrap();
    let hash = crate::manifest::sha256(manifest("kernel").as_bytes());
    assert_eq!((n_files, comment), (2, format!("pid1 image x, manifest.json, sha256 {hash}")));
}

#[test]
fn a_signed_image_in_the_place_of_another_is_refused() {
    let fixture = Fixture::new();
    sign_folder(fixture.path(), &fixture.key).unwrap();
    check_folder(fixture.path(), &fixture.public, Some("x")).unwrap();
    let error = check_folder(fixture.path(), &fixture.public, Some("y")).unwrap_err().to_string();
    assert!(error.contains("holds the image `x`, and `y` was asked for"), "{error}");
}

#[test]
fn an_unsigned_image_is_refused() {
    Fixture::new().is_refused(&["manifest.json` is not signed", "hint: ask whoever published"]);
}

#[test]
fn another_key_is_refused_and_both_are_named() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    sign_folder(fixture.path(), &other.key).unwrap();
    let ids = [&fixture.public, &other.public].map(|key| key::id(key.keynum()));
    fixture.is_refused(&["made with another key", &format!("Expected: {}", ids[0]), &format!("Computed: {}", ids[1])]);
}

#[test]
fn a_changed_manifest_is_refused() {
    let fixture = Fixture::new();
    fixture.sign();
    fixture.write("bzImage", "other");
    fixture.write(MANIFEST, &manifest("other"));
    fixture.is_refused(&["the file was changed after it was signed"]);
}

#[test]
fn a_signature_of_another_file_is_refused() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    other.write("bzImage", "other");
    other.write(MANIFEST, &manifest("other"));
    let signed = sign_folder(other.path(), &fixture.key).unwrap();
    std::fs::copy(signed, path_of(&fixture.path().join(MANIFEST))).unwrap();
    fixture.is_refused(&["is the signature of another one"]);
}

#[test]
fn a_changed_comment_is_refused() {
    let fixture = Fixture::new();
    fixture.sign();
    let path = path_of(&fixture.path().join(MANIFEST));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("pid1 image x", "pid1 image y")).unwrap();
    fixture.is_refused(&["failed to check the signature"]);
}

#[test]
fn changed_missing_and_further_files_are_told_together() {
    let fixture = Fixture::new();
    fixture.sign();
    fixture.write("bzImage", "tampered");
    fixture.write("another", "");
    let no_text: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"evil\xff");
    std::fs::write(fixture.folder.path().join(no_text), "").unwrap();
    let others = ["`another` is there too", "`evil\u{fffd}` is there too"];
    fixture.is_refused(&[&["`bzImage` has other content", "Expected: sha256"][..], &others].concat());
    std::fs::remove_file(fixture.path().join("bzImage")).unwrap();
    fixture.is_refused(&["`bzImage` cannot be read"]);
}

#[test]
fn nothing_is_signed_that_is_not_what_the_manifest_says() {
    let fixture = Fixture::new();
    fixture.write("bzImage", "tampered");
    assert!(sign_folder(fixture.path(), &fixture.key).unwrap_err().to_string().contains("has other content"));
    assert!(!path_of(&fixture.path().join(MANIFEST)).exists());
}

#[test]
fn a_signature_of_another_key_is_not_written_over() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    fixture.sign();
    fixture.sign();
    assert!(sign_folder(fixture.path(), &other.key).unwrap_err().to_string().contains("there is a signature already"));
    check_folder(fixture.path(), &fixture.public, None).unwrap();
}

#[test]
fn a_new_manifest_takes_the_old_ones_signature_away() {
    let fixture = Fixture::new();
    fixture.sign();
    forget_unless_of(fixture.path(), manifest("kernel").as_bytes()).unwrap();
    assert!(path_of(&fixture.path().join(MANIFEST)).exists());
    forget_unless_of(fixture.path(), manifest("other").as_bytes()).unwrap();
    assert!(!path_of(&fixture.path().join(MANIFEST)).exists());
}

#[test]
fn a_secret_key_has_no_place_in_the_checkout() {
    let fixture = Fixture::new();
    let path = fixture.path().join("my.key");
    let error = new_key(&path, &[("the checkout", fixture.path())]).unwrap_err().to_string();
    assert!(error.contains("it is in the checkout") && !path.exists(), "{error}");
}

#[test]
fn no_key_is_overwritten() {
    let fixture = Fixture::new();
    fixture.write("my.pub", "precious");
    let error = new_key(&fixture.path().join("my.key"), &[]).unwrap_err().to_string();
    assert!(error.contains("my.pub` is there already") && !fixture.path().join("my.key").exists(), "{error}");
}

#[test]
fn what_is_no_key_is_told_before_a_password_is_asked_for() {
    let fixture = Fixture::new();
    let error = secret_key(&fixture.path().join("bzImage")).unwrap_err().to_string();
    assert!(error.contains("none of minisign's"), "{error}");
    assert!(public_key("RWnonsense").unwrap_err().to_string().contains("failed to read the public key `RWnonsense`"));
}

#[test]
fn a_key_without_a_password_may_lack_its_checksum_and_a_damaged_one_signs_nothing() {
    use ct_codecs::{Base64, Decoder, Encoder};
    let fixture = Fixture::new();
    let text = fixture.key.to_box(None).unwrap().into_string();
    let bytes = Base64::decode_to_vec(text.lines().nth(1).unwrap(), None).unwrap();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        fixture.write("bzImage.key", &format!("untrusted comment: x\n{}\n", Base64::encode_to_string(bytes).unwrap()));
        let key = secret_key(&fixture.path().join("bzImage.key")).unwrap();
        std::fs::remove_file(fixture.path().join("bzImage.key")).unwrap();
        sign_folder(fixture.path(), &key)
    };
    // The key is 64 bytes, the checksum the 32 after them, at the end.
    let end = bytes.len();
    with(&|bytes| bytes[end - 32..].fill(0)).unwrap();
    check_folder(fixture.path(), &fixture.public, None).unwrap();
    std::fs::remove_file(path_of(&fixture.path().join(MANIFEST))).unwrap();
    assert!(with(&|bytes| bytes[end - 90] ^= 1).unwrap_err().to_string().contains("failed to sign"));
}
