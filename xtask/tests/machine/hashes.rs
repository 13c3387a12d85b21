//! The published hashes: docs/hashes.json says what comes out, and by which toolchain.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::Checkout;

const FILE: &str = "docs/hashes.json";
/// The images whose hashes are published.
const IMAGES: [&str; 2] = ["hello", "web"];
/// What boots. The other files tell of it, and of the toolchain.
const FILES: [&str; 3] = ["bzImage", "initramfs.cpio", "kernel.config"];

/// What the file should say, by this machine.
fn computed(this: &Checkout) -> Value {
    let mut images = BTreeMap::new();
    let mut toolchain = BTreeMap::new();
    for image in IMAGES {
        this.xtask(&["image", image]).expect(0);
        let manifest = this.read(&format!("target/image/{image}/manifest.json"));
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let files: BTreeMap<_, _> = FILES.iter().map(|file| (*file, manifest["files"][file].clone())).collect();
        images.insert(image, json!({ "files": files }));
        toolchain.extend(manifest["tools"].as_object().unwrap().clone());
    }
    json!({ "images": images, "toolchain": toolchain })
}

/// `UPDATE_EXPECT=1 cargo xtask test published` writes the file anew, after a change that is meant to change what comes out.
#[test]
fn the_published_hashes_are_what_this_machine_builds() {
    let this = Checkout::this();
    let computed = computed(&this);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        return this.write(FILE, serde_json::to_string_pretty(&computed).unwrap() + "\n");
    }
    let expected: Value = serde_json::from_slice(&this.read(FILE)).unwrap();
    let other_tools: Vec<String> = expected["toolchain"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, identity)| computed["toolchain"][name] != **identity)
        .map(|(name, identity)| {
            format!("\n  {name}\n    Expected: {identity}\n    Here:     {}", computed["toolchain"][name])
        })
        .collect();
    assert!(
        computed["images"] == expected["images"],
        "{FILE} does not hold what comes out:\nExpected: {:#}\nComputed: {:#}\n{} tools are other ones than it was made with:{}\n\
         hint: if the change is meant, run `UPDATE_EXPECT=1 cargo xtask test published`",
        expected["images"],
        computed["images"],
        other_tools.len(),
        other_tools.concat()
    );
}
