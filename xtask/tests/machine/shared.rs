//! A whole image out of a shared cache: nothing is compiled, and it is the same.

use crate::support::{Checkout, Ran};

#[test]
fn an_empty_store_takes_an_image_from_a_cache_and_it_is_the_same() {
    let (this, cache, store) = (Checkout::this(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let cache = cache.path().to_str().unwrap();
    this.xtask(&["image", "--cache", cache]).expect(0);
    let files = ["bzImage", "initramfs.cpio", "kernel.config", "manifest.json", "provenance.json", "sbom.spdx.json"];
    let read = || files.map(|name| this.read(&format!("target/image/hello/{name}")));
    let expected = read();
    let mut again = this.command(&["image", "--cache", cache]);
    let ran = Ran::new(again.env("PID1_STORE", store.path()).output().unwrap()).expect(0);
    // Crates are fetched for their licences; the rest comes as it was made.
    assert!(ran.started().iter().all(|step| step.starts_with("crates-")), "{}", ran.stderr);
    ran.says(&["kernel: from the cache", "initramfs: from the cache", "program: from the cache"]);
    assert!(read() == expected);
    let mut verify = this.command(&["verify", "--against", "docs/hashes.json", "--cache", cache]);
    let ran = Ran::new(verify.env("PID1_STORE", store.path()).output().unwrap()).expect(0);
    assert!(
        ran.stdout.contains("NOT made here, but taken from a cache in an earlier build: init, initramfs, kernel"),
        "{}",
        ran.stdout
    );
}
