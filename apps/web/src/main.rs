//! A status page of the machine it runs on, as a page and as data. An example of a small server that is a whole machine.
//!
//! The way of the data: `options` say where to listen; `server` takes connections; `answers` maps a request to a response;
//! `machine` reads the kernel's files with the parsers of `proc` into a `status`, which `page` and serde write out.

mod answers;
mod html;
mod machine;
mod options;
mod page;
mod proc;
mod server;
mod status;

use std::process::ExitCode;

use options::Asked;

fn main() -> ExitCode {
    let args = std::env::args().skip(1);
    let asked = match options::parse(args, std::env::var("PORT").ok()) {
        Ok(asked) => asked,
        Err(complaint) => {
            complain(&complaint);
            return ExitCode::from(2);
        }
    };
    match asked {
        Asked::Help => {
            say(options::HELP);
            ExitCode::SUCCESS
        }
        Asked::Listen(address) => match server::run(address) {
            Ok(()) => ExitCode::SUCCESS,
            Err(complaint) => {
                complain(&complaint);
                ExitCode::FAILURE
            }
        },
    }
}

/// Writes a line to stdout. A closed stdout must not stop the server, as `println!` would.
fn say(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Writes a line to stderr.
fn complain(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "web: {line}");
}
