//! `cargo xtask test`: every test of the workspace, with the host tools they need.

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::session::Session;
use crate::{doctor, toolbox};

/// Runs the tests; the status is cargo's own.
pub fn run(session: &Session, filter: Option<&str>) -> Result<u8> {
    doctor::require(&toolbox::all(), session.policy, &session.reporter)?;
    let shell = Shell::new().context("failed to start")?;
    shell.change_dir(session.workspace.root());
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = cmd!(shell, "{cargo} test --workspace --locked --no-fail-fast -- {filter...}").ignore_status();
    let status = std::process::Command::from(output).status().context("failed to run `cargo test`")?;
    Ok(u8::from(!status.success()))
}
