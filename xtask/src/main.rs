//! `cargo xtask`: parse, dispatch, exit status.

use std::process::ExitCode;

use clap::Parser;
use xtask::cache::place::BadPlace;
use xtask::cli::{Cli, StoreVerb, Verb};
use xtask::session::Session;
use xtask::{report, sandbox, verbs};

/// The command line is wrong; clap's own status for that.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    // A user's umask must not decide the modes of what is built.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    sandbox::keep_open_files_from_tools();
    let cli = Cli::parse();
    match run(&cli) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            report::error(&error);
            if error.is::<BadPlace>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<u8> {
    let session = Session::new(&cli.global)?;
    match &cli.verb {
        Verb::Image { image, out, json } => verbs::image::run(&session, &image.asked(), out.as_deref(), *json)?,
        Verb::Qemu(args) => return verbs::qemu::run(&session, args),
        Verb::Verify(args) => return verbs::verify::run(&session, args),
        Verb::Steps(args) => verbs::steps::run(&session, args)?,
        Verb::Volume(args) => return verbs::volume::run(&session, args),
        Verb::Test { filter } => return verbs::test::run(&session, filter.as_deref()),
        Verb::Doctor => verbs::doctor::run(&session)?,
        Verb::Why(args) => verbs::why::run(&session, args)?,
        Verb::Log(args) => verbs::log::run(&session, args)?,
        Verb::Graph { image, format } => verbs::graph::run(&session, &image.asked(), *format)?,
        Verb::Gc { dry_run } => verbs::gc::run(&session, *dry_run)?,
        Verb::Pin(args) => verbs::pin::run(&session, args)?,
        Verb::Vendor { prune } => verbs::vendor::run(&session, *prune)?,
        Verb::Licenses { image } => verbs::licenses::run(&session, &image.asked())?,
        Verb::Sign(args) => verbs::sign::run(&session, args)?,
        Verb::Store(StoreVerb::Verify) => return verbs::store::verify(&session),
    }
    Ok(0)
}
