//! sbom.spdx.json: what an image is put together from, with versions, licences and hashes, as SPDX 2.3 in JSON, for those
//! who look for known holes or have licences to keep. It is made of the manifest alone.
//! Source: the SPDX specification 2.3; purl; NIST IR 7695 for the names that vulnerability databases use (CPE).

use anyhow::Result;
use serde_json::{Value, json};

use crate::licence::UNKNOWN;
use crate::lock::{LINUX, MUSL, RUST_LIBRARY};
use crate::manifest::{Content, GoBuild, InputRecord, Manifest, Use, canonical_text, sha256};
use crate::plan::{INIT, INIT_PACKAGE, PROGRAM, RUST_STD};
use crate::steps::kernel::BZIMAGE;

/// The file's name beside the image.
pub const FILE: &str = "sbom.spdx.json";

/// SPDX wants a time. It is that of all of pid1's files, not this machine's: the same image has the same SBOM.
const CREATED: &str = "1980-01-01T00:00:00Z";
/// Where init is, in a machine that has it.
const INIT_PATH: &str = "/init";

/// The document's text.
pub fn text(manifest: &Manifest) -> Result<String> {
    let mut document = Document { manifest, packages: Vec::new(), relationships: Vec::new() };
    document.relate("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE);
    document.image();
    document.inputs();
    document.contents();
    document.compiled();
    if let Some(go) = &manifest.program.go {
        document.go(go);
    }
    let name = &manifest.image;
    // Every other manifest gives another name, as SPDX wants it, and the same one the same.
    let unique = sha256(manifest.text()?.as_bytes());
    canonical_text(&json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        // The form that SPDX suggests to those who have no address of their own; nothing is to be found there.
        "documentNamespace": format!("https://spdx.org/spdxdocs/pid1-{name}-{unique}"),
        "creationInfo": {"created": CREATED, "creators": [concat!("Tool: pid1-", env!("CARGO_PKG_VERSION"))]},
        "packages": document.packages,
        "relationships": document.relationships,
    }))
}

const IMAGE: &str = "SPDXRef-Image";

struct Document<'a> {
    manifest: &'a Manifest,
    packages: Vec<Value>,
    relationships: Vec<Value>,
}

/// What is not known of most packages.
struct Package<'a> {
    id: &'a str,
    name: &'a str,
    version: Option<&'a str>,
    purpose: &'a str,
    license: &'a str,
    sha256: Option<&'a str>,
    supplier: Option<&'a str>,
    download: Option<&'a str>,
    /// Where it came from, in words.
    source_info: Option<String>,
    cpe: Option<String>,
    purl: Option<String>,
}

impl Default for Package<'_> {
    fn default() -> Self {
        let (version, sha256, supplier, download, source_info, cpe, purl) = Default::default();
        let (id, name, purpose, license) = ("", "", "LIBRARY", UNKNOWN);
        Self { id, name, version, purpose, license, sha256, supplier, download, source_info, cpe, purl }
    }
}

impl Package<'_> {
    fn json(&self) -> Value {
        let reference = |category: &str, kind: &str, locator: &String| json!({"referenceCategory": category, "referenceType": kind, "referenceLocator": locator});
        let references: Vec<Value> = [
            self.cpe.as_ref().map(|cpe| reference("SECURITY", "cpe23Type", cpe)),
            self.purl.as_ref().map(|purl| reference("PACKAGE-MANAGER", "purl", purl)),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut package = json!({
            "SPDXID": self.id,
            "name": self.name,
            "primaryPackagePurpose": self.purpose,
            "filesAnalyzed": false,
            "downloadLocation": self.download.unwrap_or(UNKNOWN),
            "supplier": self.supplier.unwrap_or(UNKNOWN),
            "licenseDeclared": self.license,
            // Nobody has looked into the sources for this document.
            "licenseConcluded": UNKNOWN,
            "copyrightText": UNKNOWN,
        });
        let mut set = |name: &str, value: Option<Value>| value.map(|value| package[name] = value);
        set("versionInfo", self.version.map(Value::from));
        set("checksums", self.sha256.map(|sha256| json!([{"algorithm": "SHA256", "checksumValue": sha256}])));
        set("sourceInfo", self.source_info.clone().map(Value::from));
        set("externalRefs", (!references.is_empty()).then_some(Value::Array(references)));
        package
    }
}

impl<'a> Document<'a> {
    fn add(&mut self, package: &Package<'_>) {
        self.packages.push(package.json());
    }

    fn relate(&mut self, from: &str, how: &str, to: &str) {
        self.relationships.push(json!({"spdxElementId": from, "relationshipType": how, "relatedSpdxElement": to}));
    }

    /// The image and its files.
    fn image(&mut self) {
        self.add(&Package { id: IMAGE, name: &self.manifest.image, purpose: "OPERATING_SYSTEM", ..Package::default() });
        let linux = self.manifest.inputs.get(LINUX).map_or(UNKNOWN, |input| input.license.as_str());
        for (name, file) in &self.manifest.files {
            let id = file_id(name);
            let license = if name == BZIMAGE { linux } else { UNKNOWN };
            self.add(&Package {
                id: &id,
                name,
                purpose: "FILE",
                license,
                sha256: Some(&file.sha256),
                ..Package::default()
            });
            self.relate(IMAGE, "CONTAINS", &id);
        }
    }

    /// Every pinned input.
    fn inputs(&mut self) {
        for (name, input) in &self.manifest.inputs {
            let id = input_id(name);
            let known = Upstream::of(name);
            let source = input.sources.iter().find(|source| source.url.starts_with("http")).or(input.sources.first());
            self.add(&Package {
                id: &id,
                name: known.name,
                version: Some(&input.version),
                purpose: "SOURCE",
                license: &input.license,
                sha256: source.map(|source| source.sha256.as_str()),
                supplier: Some(known.supplier),
                download: source.map(|source| source.url.as_str()).filter(|url| url.starts_with("http")),
                source_info: Some(source_info(input)),
                cpe: Some(cpe(known.cpe, &input.version)),
                purl: Some(purl("generic", known.name, &input.version)),
            });
        }
        if self.manifest.inputs.contains_key(LINUX) {
            self.relate(&file_id(BZIMAGE), "GENERATED_FROM", &input_id(LINUX));
        }
    }

    /// The licence of a file in the machine, if it is one of our own or the program.
    fn license_of(&self, path: &str) -> &'a str {
        let manifest = self.manifest;
        let init = || manifest.packages.iter().find(|(id, _)| id.split(' ').next() == Some(INIT_PACKAGE));
        match path {
            _ if path == manifest.program.path => &manifest.program.license,
            INIT_PATH => init().map_or(UNKNOWN, |(_, package)| &package.license),
            _ => UNKNOWN,
        }
    }

    /// Every file of the machine, by itself.
    fn contents(&mut self) {
        let archive = self.manifest.files.keys().find(|name| name.starts_with("initramfs")).map(|name| file_id(name));
        for (path, content) in &self.manifest.contents {
            let Content::File { sha256, .. } = content else { continue };
            let id = content_id(path);
            let license = self.license_of(path);
            self.add(&Package {
                id: &id,
                name: path,
                purpose: "FILE",
                license,
                sha256: Some(sha256),
                ..Package::default()
            });
            if let Some(archive) = &archive {
                self.relate(archive, "CONTAINS", &id);
            }
        }
    }

    /// Every package and crate that is compiled into init and the program, and the libraries beneath them.
    fn compiled(&mut self) {
        let program = content_id(&self.manifest.program.path);
        let steps = [(INIT, content_id(INIT_PATH)), (PROGRAM, program), (RUST_STD, input_id(RUST_LIBRARY))];
        for (id, package) in &self.manifest.packages {
            let (name, version) = id.split_once(' ').unwrap_or((id, ""));
            let own = spdx_id("Package", id);
            let (version, license) = (Some(version), package.license.as_str());
            self.add(&Package { id: &own, name, version, license, purpose: "SOURCE", ..Package::default() });
            for (step, whole) in steps.iter().filter(|(step, _)| package.used.get(*step) == Some(&Use::Linked)) {
                self.relate(whole, "GENERATED_FROM", &own);
                // What is Rust is linked with Rust's library, and that with musl.
                if *step != RUST_STD && package.used.contains_key(*step) {
                    self.relate(whole, "STATIC_LINK", &input_id(RUST_LIBRARY));
                    self.relate(whole, "STATIC_LINK", &input_id(MUSL));
                }
            }
        }
        for (id, krate) in &self.manifest.crates {
            let users: Vec<_> = steps.iter().filter(|(step, _)| krate.used.get(*step) == Some(&Use::Linked)).collect();
            if users.is_empty() {
                continue;
            }
            let (name, version) = id.split_once(' ').unwrap_or((id, ""));
            let own = spdx_id("Crate", id);
            let (license, sha256) = (krate.license.as_str(), Some(krate.sha256.as_str()));
            let purl = Some(purl("cargo", name, version));
            self.add(&Package { id: &own, name, version: Some(version), license, sha256, purl, ..Package::default() });
            users.iter().for_each(|(_, whole)| self.relate(whole, "STATIC_LINK", &own));
        }
        self.relationships.sort_by_key(ToString::to_string);
        self.relationships.dedup();
    }

    /// Go's standard library, and the modules that are linked with it.
    fn go(&mut self, go: &GoBuild) {
        let program = content_id(&self.manifest.program.path);
        let version = go.version.split(' ').next().unwrap_or_default();
        let (id, name) = ("SPDXRef-Go", "Go standard library");
        self.add(&Package {
            id,
            name,
            version: Some(version),
            license: "BSD-3-Clause",
            supplier: Some("Organization: The Go Authors"),
            cpe: Some(cpe("golang:go", version)),
            purl: Some(purl("golang", "stdlib", version)),
            ..Package::default()
        });
        self.relate(&program, "STATIC_LINK", id);
        for module in go.modules.keys() {
            let (name, version) = module.split_once(' ').unwrap_or((module, ""));
            let own = spdx_id("Go", module);
            let purl = Some(purl("golang", name, version));
            self.add(&Package { id: &own, name, version: Some(version), purl, ..Package::default() });
            self.relate(&program, "STATIC_LINK", &own);
        }
    }
}

/// What others call a pinned input.
struct Upstream {
    name: &'static str,
    supplier: &'static str,
    /// Vendor and product in vulnerability databases.
    cpe: &'static str,
}

impl Upstream {
    fn of(input: &str) -> Self {
        let (name, supplier, cpe) = match input {
            LINUX => ("linux", "Organization: The Linux Kernel Organization", "o:linux:linux_kernel"),
            MUSL => ("musl", "Organization: musl libc", "a:musl-libc:musl"),
            _ => ("rust-std", "Organization: The Rust Project", "a:rust-lang:rust"),
        };
        Self { name, supplier, cpe }
    }
}

/// Where the complete source is to be had, from each of its places: what the GPL asks of those who pass a kernel on.
fn source_info(input: &InputRecord) -> String {
    let sources = input.sources.iter().map(|source| format!("{} (sha256 {})", source.url, source.sha256));
    format!("Built from one of these archives: {}", sources.collect::<Vec<_>>().join(", "))
}

fn cpe(product: &str, version: &str) -> String {
    let part = if product.matches(':').count() == 2 { "" } else { "a:" };
    let quoted: String = version
        .chars()
        .flat_map(|c| {
            let is_plain = c.is_ascii_alphanumeric() || "._-".contains(c);
            (!is_plain).then_some('\\').into_iter().chain([c])
        })
        .collect();
    format!("cpe:2.3:{part}{product}:{quoted}:*:*:*:*:*:*:*")
}

/// Source: the purl specification; Go's names are in lower case there, and a version's `+` would be read as a space.
fn purl(kind: &str, name: &str, version: &str) -> String {
    let name = if kind == "golang" { name.to_lowercase() } else { name.to_owned() };
    format!("pkg:{kind}/{name}@{}", version.replace('%', "%25").replace('+', "%2B"))
}

fn file_id(name: &str) -> String {
    spdx_id("File", name)
}

fn input_id(name: &str) -> String {
    spdx_id("Input", name)
}

/// A path may hold what SPDX's names may not, so that it is named by its hash.
fn content_id(path: &str) -> String {
    spdx_id("Content", sha256(path.as_bytes()).get(..16).unwrap_or_default())
}

/// Source: SPDX 2.3, section 7.2: letters, digits, `.` and `-`.
fn spdx_id(kind: &str, name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    format!("SPDXRef-{kind}-{}", name.chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests;
