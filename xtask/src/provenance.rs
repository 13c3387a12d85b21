//! provenance.json: how an image came about, as an in-toto statement with SLSA's predicate. It is made of the manifest alone.
//! Sources: in-toto attestation framework, Statement v1; SLSA v1.0, Provenance. docs/manifest.md says what its fields mean.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::manifest::{InputRecord, Manifest, StepRecord, canonical_text};

/// The file's name beside the image.
pub const FILE: &str = "provenance.json";

/// Names this way of building, version 1. The project has no address of its own that it could promise to keep, so the name
/// is a UUID (version 8: the first bytes of sha256 over `pid1 image build 1`), which nobody else has.
const BUILD_TYPE: &str = "urn:uuid:78879736-d043-8d81-987e-98867b5ef7e3";
/// Whoever ran it, on whatever machine: nothing else of it can reach the output. Who vouches for it is who signs.
const BUILDER: &str = "urn:uuid:78879736-d043-8d81-987e-98867b5ef7e3#any-machine";
/// The name of an artifact's id among digests: blake3 over its kind, executable bit and content. See docs/manifest.md.
const ARTIFACT_ID: &str = "pid1ArtifactId";

/// The statement's text. There is no time in it, neither of start nor of end, for the same image has the same statement.
pub fn text(manifest: &Manifest) -> Result<String> {
    let subject = |(name, file): (&String, &crate::manifest::FileRecord)| json!({"name": name, "digest": {"sha256": file.sha256}});
    let steps: Map<String, Value> = manifest
        .steps
        .iter()
        .map(|(name, step)| (name.clone(), json!({"recipe": step.recipe, "key": step.key, "id": step.id})))
        .collect();
    canonical_text(&json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": manifest.files.iter().map(subject).collect::<Vec<_>>(),
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"image": manifest.image},
                "internalParameters": {"hermetic": manifest.hermetic, "steps": steps},
                "resolvedDependencies": dependencies(manifest),
            },
            "runDetails": {"builder": {"id": BUILDER}},
        },
    }))
}

fn dependencies(manifest: &Manifest) -> Vec<Value> {
    let archives = manifest.inputs.iter().flat_map(|(name, input)| archives(name, input));
    let crates = manifest.crates.iter().map(|(name, krate)| {
        let uri = format!("pkg:cargo/{}", name.replacen(' ', "@", 1).replace('+', "%2B"));
        json!({"name": name, "uri": uri, "digest": {"sha256": krate.sha256}, "annotations": {"used": krate.used}})
    });
    let tools = manifest.tools.iter().map(|(name, identity)| {
        let (version, hash) = identity.rsplit_once(" blake3:").unwrap_or((identity, ""));
        json!({"name": name, "digest": {"blake3": hash}, "annotations": {"kind": "tool", "version": version}})
    });
    archives.chain(crates).chain(files(&manifest.steps)).chain(tools).collect()
}

/// Every archive of a pin: any one of those that unpack to one tree was used.
fn archives<'a>(name: &'a str, input: &'a InputRecord) -> impl Iterator<Item = Value> + 'a {
    let annotations = json!({"version": input.version, "license": input.license, "unpacksTo": input.tree});
    input.sources.iter().map(move |source| {
        json!({"name": name, "uri": source.url, "digest": {"sha256": source.sha256}, "annotations": annotations})
    })
}

/// The files that the steps read of the checkout, or of the user.
fn files(steps: &BTreeMap<String, StepRecord>) -> impl Iterator<Item = Value> + '_ {
    steps.iter().flat_map(|(step, record)| {
        record.files.iter().map(move |(name, id)| {
            json!({"name": name, "digest": {ARTIFACT_ID: id}, "annotations": {"kind": "file", "step": step}})
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::testing;

    #[test]
    fn it_is_a_statement_about_the_files_by_their_hashes() {
        let manifest = testing::manifest();
        let statement: Value = serde_json::from_str(&text(&manifest).unwrap()).unwrap();
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
        let subject = statement["subject"].as_array().unwrap();
        assert_eq!(subject.len(), manifest.files.len());
        assert!(subject.iter().all(|file| {
            file["digest"]["sha256"].as_str() == file["name"].as_str().map(|name| manifest.files[name].sha256.as_str())
        }));
        let definition = &statement["predicate"]["buildDefinition"];
        assert!(definition["buildType"].as_str().unwrap().starts_with("urn:uuid:"));
        assert_eq!(definition["externalParameters"]["image"], "x");
        assert_eq!(definition["internalParameters"]["hermetic"], true);
        assert!(statement["predicate"]["runDetails"]["metadata"].is_null(), "no time");
    }

    /// The in-toto attestation framework wants one of these of every resource; SLSA wants a digest where one is known.
    #[test]
    fn every_dependency_has_a_digest_and_what_is_to_be_had_its_address() {
        let statement: Value = serde_json::from_str(&text(&testing::manifest()).unwrap()).unwrap();
        let found = statement["predicate"]["buildDefinition"]["resolvedDependencies"].as_array().unwrap().clone();
        for dependency in &found {
            let (name, digest) = dependency["digest"].as_object().unwrap().iter().next().unwrap();
            assert!(digest.as_str().unwrap().bytes().all(|byte| byte.is_ascii_hexdigit()), "{dependency}");
            assert_eq!(digest.as_str().unwrap().len(), 64, "{name} of {dependency}");
        }
        let uris: Vec<_> = found.iter().filter_map(|dependency| dependency["uri"].as_str()).collect();
        for uri in
            ["https://example.org/linux-6.12.107.tar.xz", "pkg:cargo/odd_name@1.0.0%2Bmeta", "pkg:cargo/derive@1.0.0"]
        {
            assert!(uris.contains(&uri), "{uri} in {uris:?}");
        }
        let named = |name: &str| found.iter().find(|dependency| dependency["name"] == name).unwrap().clone();
        assert_eq!(named("base.config")["digest"][ARTIFACT_ID], "e".repeat(64));
        assert_eq!(named("gcc")["annotations"]["version"], "gcc 12");
    }
}
