//! What SPDX 2.3 asks of a document, and what its readers look for. There is no reader of SPDX among the tools that pid1
//! installs, so that the rules that matter are written down here, by the sections of the specification.

use std::collections::BTreeSet;

use super::*;
use crate::licence;
use crate::manifest::testing;

fn document() -> Value {
    serde_json::from_str(&text(&testing::manifest()).unwrap()).unwrap()
}

fn package<'a>(document: &'a Value, name: &str) -> &'a Value {
    document["packages"].as_array().unwrap().iter().find(|package| package["name"] == name).unwrap()
}

fn is_related(document: &Value, from: &str, how: &str, to: &str) -> bool {
    let id = |name: &str| package(document, name)["SPDXID"].clone();
    let expect = json!({"spdxElementId": id(from), "relationshipType": how, "relatedSpdxElement": id(to)});
    document["relationships"].as_array().unwrap().contains(&expect)
}

/// As the specification's JSON schema writes them; in its other formats they have a hyphen.
const PURPOSES: [&str; 12] = [
    "APPLICATION",
    "ARCHIVE",
    "CONTAINER",
    "DEVICE",
    "FILE",
    "FIRMWARE",
    "FRAMEWORK",
    "INSTALL",
    "LIBRARY",
    "OPERATING_SYSTEM",
    "OTHER",
    "SOURCE",
];

/// Sections 6 (document), 7 (packages) and 11 (relationships).
#[test]
fn the_document_has_what_the_specification_wants() {
    let document = document();
    assert_eq!((&document["spdxVersion"], &document["dataLicense"]), (&json!("SPDX-2.3"), &json!("CC0-1.0")));
    assert!(document["documentNamespace"].as_str().unwrap().starts_with("https://spdx.org/spdxdocs/pid1-x-"));
    let mut ids = BTreeSet::from(["SPDXRef-DOCUMENT"]);
    for package in document["packages"].as_array().unwrap() {
        let id = package["SPDXID"].as_str().unwrap();
        let (prefix, rest) = id.split_at("SPDXRef-".len());
        assert!(prefix == "SPDXRef-" && rest.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)), "{id}");
        assert!(ids.insert(id), "{id} is there twice");
        for field in ["name", "downloadLocation", "copyrightText"] {
            assert!(package[field].is_string(), "{field} of {package}");
        }
        let license = package["licenseDeclared"].as_str().unwrap();
        assert!(license == UNKNOWN || licence::is_valid(license), "{package}");
        let purpose = package["primaryPackagePurpose"].as_str().unwrap();
        assert!(PURPOSES.contains(&purpose), "{purpose}");
        let supplier = package["supplier"].as_str().unwrap();
        assert!(supplier == UNKNOWN || supplier.starts_with("Organization: "), "{package}");
    }
    for relationship in document["relationships"].as_array().unwrap() {
        for end in ["spdxElementId", "relatedSpdxElement"] {
            assert!(ids.contains(relationship[end].as_str().unwrap()), "{relationship}");
        }
    }
}

/// What a scanner of known holes goes by.
#[test]
fn components_have_the_names_of_vulnerability_databases() {
    let document = document();
    let check = |name: &str, expect: &[&str]| {
        let references = package(&document, name)["externalRefs"].as_array().cloned().unwrap_or_default();
        let found: Vec<_> = references.iter().map(|one| one["referenceLocator"].as_str().unwrap()).collect();
        assert_eq!(found, expect, "{name}");
    };
    check("linux", &["cpe:2.3:o:linux:linux_kernel:6.12.107:*:*:*:*:*:*:*", "pkg:generic/linux@6.12.107"]);
    check("musl", &["cpe:2.3:a:musl-libc:musl:1.2.6:*:*:*:*:*:*:*", "pkg:generic/musl@1.2.6"]);
    check("rust-std", &["cpe:2.3:a:rust-lang:rust:1.95.0:*:*:*:*:*:*:*", "pkg:generic/rust-std@1.95.0"]);
    check("Go standard library", &["cpe:2.3:a:golang:go:1.19.8:*:*:*:*:*:*:*", "pkg:golang/stdlib@1.19.8"]);
    check("example.org/A", &["pkg:golang/example.org/a@v1.0.0%2Bincompatible"]);
    check("odd_name", &["pkg:cargo/odd_name@1.0.0%2Bmeta"]);
}

#[test]
fn what_is_linked_is_told_with_what_holds_it_and_the_rest_is_not() {
    let document = document();
    for (from, how, to) in [
        ("x", "CONTAINS", "bzImage"),
        ("bzImage", "GENERATED_FROM", "linux"),
        ("initramfs.cpio.zst", "CONTAINS", "/etc/a file \u{fb33}"),
        ("/init", "GENERATED_FROM", "init"),
        ("/init", "STATIC_LINK", "both"),
        ("/bin/x", "STATIC_LINK", "both"),
        ("/bin/x", "STATIC_LINK", "musl"),
        ("/bin/x", "STATIC_LINK", "rust-std"),
        ("/bin/x", "STATIC_LINK", "Go standard library"),
        ("rust-std", "STATIC_LINK", "of-std"),
    ] {
        assert!(is_related(&document, from, how, to), "{from} {how} {to}");
    }
    let names: Vec<_> = document["packages"].as_array().unwrap().iter().map(|package| &package["name"]).collect();
    for name in ["derive", "wasi", "/etc", "/link"] {
        assert!(!names.contains(&&json!(name)), "{name}");
    }
}

#[test]
fn the_kernels_source_can_be_asked_for() {
    let document = document();
    let linux = package(&document, "linux");
    assert_eq!(linux["downloadLocation"], "https://example.org/linux-6.12.107.tar.xz");
    assert_eq!(linux["licenseDeclared"], "GPL-2.0-only WITH Linux-syscall-note");
    assert_eq!(linux["checksums"][0]["checksumValue"], sha256(b"linux"));
    assert!(linux["sourceInfo"].as_str().unwrap().contains("debian:pool/main/linux_6.12.107+dfsg~1.tar.xz (sha256 "));
}

#[test]
fn another_image_has_another_name_and_the_same_one_the_same() {
    let of = |manifest: &Manifest| text(manifest).unwrap();
    let mut other = testing::manifest();
    assert_eq!(of(&testing::manifest()), of(&other));
    other.hermetic = false;
    let name = |text: &str| serde_json::from_str::<Value>(text).unwrap()["documentNamespace"].clone();
    assert_ne!(name(&of(&testing::manifest())), name(&of(&other)));
}
