//! The cache client: a process of its own between `cargo xtask` and a shared cache, so that the storage library and its
//! hundred crates are compiled only by who wants them, and so that it can be killed when a cache hangs.
//!
//! It reads one request a line from stdin and answers on stdout; docs/ARCHITECTURE.md has the words. It judges nothing:
//! what comes back is checked by xtask. It must never print a secret, and never outlive the process that asks.

use std::io::{BufRead, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context, Result, bail};

use crate::bucket::Bucket;
use crate::transfer::Outcome;

mod bucket;
mod transfer;

fn main() -> ExitCode {
    // reqwest is compiled without a default, so that ring serves all of us.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match serve(&requests()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&Outcome::of_error(&error).to_string());
            ExitCode::FAILURE
        }
    }
}

/// The lines of stdin. When there are no more, xtask is gone: then nothing that is under way is of use to anybody.
fn requests() -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    receiver
}

/// The first line is where the cache is; it may hold a password, and is therefore no argument.
fn serve(requests: &Receiver<String>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to start")?;
    let first = requests.recv().context("failed to read where the cache is")?;
    let Some(("open", place)) = first.split_once(' ') else { bail!("the first request is not `open`") };
    let bucket = runtime.block_on(async { Bucket::open(place) })?;
    say("done 0");
    for request in requests {
        let outcome = runtime.block_on(answer(&bucket, &request)).unwrap_or_else(|error| Outcome::of_error(&error));
        say(&outcome.to_string());
    }
    Ok(())
}

async fn answer(bucket: &Bucket, request: &str) -> Result<Outcome> {
    // Names have no blanks, paths may.
    let (verb, rest) = request.split_once(' ').unwrap_or((request, ""));
    let words: Vec<&str> = rest.splitn(if verb == "get" { 3 } else { 2 }, ' ').collect();
    match (verb, &words[..]) {
        ("get", [limit, name, path]) => {
            let limit = limit.parse().context("failed to read the limit of `get`")?;
            transfer::get(bucket, name, Path::new(path), limit, &|n_bytes| say(&format!("at {n_bytes}"))).await
        }
        ("has", [name]) => transfer::has(bucket, name).await,
        ("put", [name, path]) => transfer::put(bucket, name, Path::new(path)).await,
        _ => bail!("there is no such request"),
    }
}

/// One line to xtask. If nobody reads, stdin ends too.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
