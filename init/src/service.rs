//! Starts the program: in front of the console, with a clean slate of signals and a small environment. It never waits for it;
//! that is `reap`'s work alone.

use std::ffi::{CString, NulError, OsString};
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;

use pid1_init::interpreter::{Interpreter, N_BYTES, interpreter};
use pid1_init::{Config, Ending, ending};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::sys::{self, Program};

/// What every program finds in its environment; the image's own variables come on top.
const ENVIRONMENT: [(&str, &str); 3] = [("HOME", "/"), ("PATH", "/bin:/sbin:/usr/bin:/usr/sbin"), ("TERM", "linux")];

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
    // The image's own variables take the place of these.
    let own = config.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let env = ENVIRONMENT.into_iter().filter(|(name, _)| !config.env.contains_key(*name)).chain(own);
    Ok(Program {
        path: CString::new(config.program.as_str())?,
        args: args.map(|arg| CString::new(arg.into_vec())).collect::<Result<_, _>>()?,
        env: env.map(|(name, value)| CString::new(format!("{name}={value}"))).collect::<Result<_, _>>()?,
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
    match (Errno::from_io_error(error), interpreter(&first_bytes(program))) {
        // Linux cannot find what the file itself asks to be run by.
        (Some(Errno::NOENT), Some(Interpreter::Script(name))) => {
            format!("it is a script, and its interpreter {name} is not in the image")
        }
        (Some(Errno::NOENT), Some(Interpreter::Loader(name))) => {
            format!("interpreter {name} is missing: the program is dynamic; build it static")
        }
        (Some(Errno::ACCESS), _) => "it is not executable (chmod +x)".to_owned(),
        (Some(Errno::NOEXEC), Some(Interpreter::Script(_))) => {
            "it is a script, and the kernel runs none (CONFIG_BINFMT_SCRIPT)".to_owned()
        }
        (Some(Errno::NOEXEC), _) => "it is no program for this machine's processor".to_owned(),
        (Some(Errno::AGAIN | Errno::NOMEM), _) => {
            format!("there are too many processes, or too little memory: {error}")
        }
        _ => error.to_string(),
    }
}

fn first_bytes(program: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = fs::File::open(program).map(|file| file.take(N_BYTES as u64));
    let _ = file.and_then(|mut file| file.read_to_end(&mut bytes));
    bytes
}
