//! The flags of `verify`, and of the verb that it runs on its second side.

use camino::Utf8PathBuf;
use clap::Args;

use super::ImageArg;

const VERIFY_HELP: &str = "\
The image is built as always, and again from nothing: in a copy of the checkout, with an
empty store, as another user on another host, years later, and so on; what varies is listed.
If an artifact differs, the status is 1, and the first step that made two things of the same
inputs is named, with the place where they differ. It takes the time of a first build, and
3 GB on the store's disk.";

/// What to build again, and what to compare it with.
#[derive(Args)]
#[command(after_help = VERIFY_HELP)]
pub struct VerifyArgs {
    #[command(flatten)]
    /// Which image.
    pub image: ImageArg,

    /// Only this step and what it needs, as `cargo xtask graph` names it: `--step program` builds no kernel
    #[arg(long, value_name = "STEP", conflicts_with = "against")]
    pub step: Option<String>,

    /// Keep both sides' files, and the second side's store and logs
    #[arg(long, conflicts_with = "against")]
    pub keep: bool,

    /// Build once, without a cache, and compare with the manifest.json that someone else published
    #[arg(long, value_name = "FILE")]
    pub against: Option<Utf8PathBuf>,

    /// Believe the manifest of --against only if FILE.minisig beside it is its signature by this public key: a file, or
    /// the key itself
    #[arg(long, value_name = "FILE|KEY", requires = "against")]
    pub verify_key: Option<String>,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Steps to make.
#[derive(Args)]
pub struct StepsArgs {
    #[command(flatten)]
    /// Which image.
    pub image: ImageArg,

    /// A step; repeatable
    #[arg(long, value_name = "STEP")]
    pub step: Vec<String>,

    /// A program that is run as a build tool; what it prints is told
    #[arg(long, value_name = "FILE")]
    pub ask: Option<Utf8PathBuf>,
}
