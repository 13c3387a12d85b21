//! The flags of `pin`.

use clap::{Args, ValueEnum};

/// A version to pin.
#[derive(Args)]
pub struct PinArgs {
    /// What
    #[arg(value_enum)]
    pub name: PinName,

    /// The version, as upstream writes it
    #[arg(value_parser = version)]
    pub version: String,

    /// Only show what would be changed
    #[arg(long)]
    pub dry_run: bool,
}

/// What is pinned.
#[derive(Clone, Copy, ValueEnum)]
pub enum PinName {
    /// The kernel
    Linux,
    /// The C library
    Musl,
    /// The standard library's source, and with it the toolchain
    Rust,
}

/// It becomes a part of URLs.
fn version(text: &str) -> Result<String, String> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let n_parts = text.split('.').count();
    let is_one = (2..=3).contains(&n_parts) && text.split('.').all(is_number);
    is_one.then(|| text.to_owned()).ok_or_else(|| "two or three numbers are expected, as in 6.12.107".to_owned())
}
