//! `cargo xtask doctor`: everything that the host lacks, at once.

use anyhow::Result;

use crate::session::Session;
use crate::{doctor, report, toolbox};

/// Checks for every tool that any verb may run.
pub fn run(session: &Session) -> Result<()> {
    doctor::require(&toolbox::all(), session.policy, &session.reporter)?;
    report::print("all host tools are there\n");
    Ok(())
}
