//! `cargo xtask licenses`: what an image is made of, with the licence of each part.

use anyhow::Result;

use crate::manifest::{Manifest, Use};
use crate::report;
use crate::session::{Asked, Session};

/// Builds the image, and prints a table.
pub fn run(session: &Session, image: &Asked<'_>) -> Result<()> {
    let planned = session.plan(image)?;
    session.require_tools(&planned, &[])?;
    let (_, manifest) = super::image::build_and_tell(session, &planned, None)?;
    report::print(&table(&manifest));
    Ok(())
}

/// One line for each part: its name and version, its licence, and what holds it.
fn table(manifest: &Manifest) -> String {
    let mut rows: Vec<[String; 3]> = Vec::new();
    for (name, input) in &manifest.inputs {
        rows.push([format!("{name} {}", input.version), input.license.clone(), "pinned input".to_owned()]);
    }
    let linked = |used: &std::collections::BTreeMap<String, Use>| {
        let steps: Vec<_> =
            used.iter().filter(|(_, role)| **role == Use::Linked).map(|(step, _)| step.as_str()).collect();
        (!steps.is_empty()).then(|| steps.join(", "))
    };
    let packages = manifest.packages.iter().map(|(name, package)| (name, &package.license, &package.used));
    let crates = manifest.crates.iter().map(|(name, krate)| (name, &krate.license, &krate.used));
    for (name, license, used) in packages.chain(crates) {
        rows.extend(linked(used).map(|steps| [name.clone(), license.clone(), steps]));
    }
    let program = &manifest.program;
    if program.kind != "package" {
        rows.push([program.name.clone(), program.license.clone(), "program".to_owned()]);
    }
    if let Some(go) = &program.go {
        rows.push([format!("Go standard library {}", go.version), "BSD-3-Clause".to_owned(), "program".to_owned()]);
        rows.extend(
            go.modules.keys().map(|name| [name.clone(), crate::licence::UNKNOWN.to_owned(), "program".to_owned()]),
        );
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let (first, second) = (width(0), width(1));
    rows.iter().map(|[name, license, steps]| format!("{name:<first$}  {license:<second$}  {steps}\n")).collect()
}
