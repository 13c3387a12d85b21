//! Starts the program: in front of the console, with a clean slate of signals and a small environment. It never waits for it;
//! that is `reap`'s work alone.

use std::collections::BTreeMap;
use std::ffi::{CString, NulError, OsString};
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;

use pid1_init::{Config, Ending, ending};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::sys::{self, Program};

/// What every program finds in its environment; the image's own variables come on top.
const ENVIRONMENT: [(&str, &str); 3] = [("PATH", "/bin:/sbin:/usr/bin:/usr/sbin"), ("HOME", "/"), ("TERM", "linux")];

/// Why the program could not be started.
pub struct Failure {
    program: String,
    why: String,
    /// What a shell would have answered.
    pub ending: Ending,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot start {}: {}", self.program, self.why)
    }
}

/// Starts the image's program, with `args` in the place of the image's if there are some.
pub fn start(config: &Config, args: Option<&[OsString]>, terminal: Option<BorrowedFd<'_>>) -> Result<Pid, Failure> {
    let program = describe(config, args, terminal);
    let started = program.map_err(io::Error::from).and_then(|program| Ok(sys::spawn(&program)?));
    started.map_err(|error| explain(&config.program, &error))
}

fn describe<'a>(
    config: &Config,
    args: Option<&[OsString]>,
    terminal: Option<BorrowedFd<'a>>,
) -> Result<Program<'a>, NulError> {
    let args = args.map_or_else(|| config.args.iter().map(OsString::from).collect(), <[OsString]>::to_vec);
    let args = [OsString::from(&config.program)].into_iter().chain(args);
    // A map, so that the image's own variables take the place of these.
    let mut env = BTreeMap::from(ENVIRONMENT);
    env.extend(config.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    Ok(Program {
        path: CString::new(config.program.as_str())?,
        args: args.map(|arg| CString::new(arg.into_vec())).collect::<Result<_, _>>()?,
        env: env.iter().map(|(name, value)| CString::new(format!("{name}={value}"))).collect::<Result<_, _>>()?,
        terminal,
    })
}

fn explain(program: &str, error: &io::Error) -> Failure {
    let (why, ending) = match fs::metadata(program) {
        Err(missing) => (format!("it is not in the image: {missing}"), ending::NOT_FOUND),
        Ok(file) if !file.is_file() => ("it is not a file".to_owned(), ending::CANNOT_RUN),
        Ok(_) => (why_not_run(program, error), ending::CANNOT_RUN),
    };
    Failure { program: program.to_owned(), why, ending }
}

/// What an error of execve(2) means for a file that is there.
fn why_not_run(program: &str, error: &io::Error) -> String {
    let why = match (Errno::from_io_error(error), is_script(program)) {
        // Linux cannot find what the file itself asks to be run by.
        (Some(Errno::NOENT), true) => "it is a script, and the interpreter of its first line is not in the image",
        (Some(Errno::NOENT), false) => "it is dynamically linked, and its loader is not in the image: build it static",
        (Some(Errno::ACCESS), _) => "it is not executable (chmod +x)",
        (Some(Errno::NOEXEC), true) => "it is a script, and the kernel runs none (CONFIG_BINFMT_SCRIPT)",
        (Some(Errno::NOEXEC), false) => "it is no program for this machine's processor",
        _ => return error.to_string(),
    };
    why.to_owned()
}

fn is_script(program: &str) -> bool {
    let mut start = [0; 2];
    fs::File::open(program).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"#!"
}
