//! The kernel's command line: which words can be written in it, and how. Pure.
//!
//! Source: the kernel's `lib/cmdline.c` (`next_arg`), `kernel/params.c` (`parse_args`) and `init/main.c` (`set_init_arg`).

use std::fmt;

/// Asks our init to write how the program ended to the machine's second serial port.
pub const REPORT_WORD: &str = "init.report=/dev/ttyS1";

/// Makes a panic restart the machine at once, which ends QEMU: it runs with `-no-reboot`.
pub const PANIC_WORD: &str = "panic=-1";

/// Keeps the kernel from testing the timer's interrupts against the clock, which fails now and then when a busy host
/// leaves the machine too little time: "IO-APIC + timer doesn't work!". QEMU's timer does.
pub const TIMER_WORD: &str = "no_timer_check";

/// Bytes that fit into x86's `COMMAND_LINE_SIZE` of 2048 beside the closing NUL.
/// The kernel cuts off what is longer without a word.
pub const MAX_BYTES: usize = 2047;

/// `CONFIG_INIT_ENV_ARG_LIMIT` of the kernel, which panics ("Too many boot init vars") at one more.
pub const MAX_ARGUMENTS: usize = 32;

/// One thing that a kernel command line cannot say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The argument holds a character that the kernel's syntax has no way to write.
    Character {
        /// The whole argument.
        argument: String,
        /// The character, in words.
        what: &'static str,
    },
    /// The argument is `--`, where the kernel stops reading.
    Dashes,
    /// The kernel's own part holds `--` outside quotes, or its quotes are not in pairs.
    KernelPart {
        /// The whole part.
        part: String,
        /// What is wrong in it, in words.
        what: &'static str,
    },
    /// More arguments than the kernel takes.
    TooMany {
        /// How many there are.
        n_arguments: usize,
    },
    /// More bytes than the kernel takes.
    TooLong {
        /// How many there are.
        n_bytes: usize,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character { argument, what } => {
                write!(f, "the argument `{}` holds {what}", argument.escape_debug())
            }
            Self::Dashes => write!(f, "the argument `--` would end the list: the kernel drops it and what follows"),
            Self::KernelPart { part, what } => write!(f, "the kernel's part `{}` holds {what}", part.escape_debug()),
            Self::TooMany { n_arguments } => {
                write!(f, "{n_arguments} arguments, the kernel takes at most {MAX_ARGUMENTS}")
            }
            Self::TooLong { n_bytes } => {
                write!(f, "{n_bytes} bytes, the kernel takes at most {MAX_BYTES}")
            }
        }
    }
}

/// All that keeps a command line from being written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to write the kernel command line:{}\nhint: write them into the image spec, or into a file in the image",
    lines(problems)
)]
pub struct CommandLineError {
    /// Never empty.
    pub problems: Vec<Problem>,
}

/// Joins the kernel's own words, which are in its syntax already, with the program's arguments,
/// which follow `--` and are quoted here. All problems are reported at once.
///
/// x86's earliest code searches the whole line, so a program's argument such as `nokaslr` acts
/// on the kernel too.
pub fn command_line(kernel: &[&str], arguments: &[String]) -> Result<String, CommandLineError> {
    let mut problems: Vec<Problem> = kernel.iter().filter_map(|part| kernel_problem(part)).collect();
    let mut words: Vec<String> =
        kernel.iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect();
    if !arguments.is_empty() {
        words.push("--".to_owned());
    }
    for argument in arguments {
        match quote_word(argument) {
            Ok(word) => words.push(word),
            Err(problem) => problems.push(problem),
        }
    }
    let line = words.join(" ");
    problems.extend(size_problems(arguments.len(), line.len()));
    if problems.is_empty() { Ok(line) } else { Err(CommandLineError { problems }) }
}

/// Writes one argument in the kernel's syntax: in double quotes where it would be split.
pub fn quote_word(argument: &str) -> Result<String, Problem> {
    let unwritable = |what| Problem::Character { argument: argument.to_owned(), what };
    match argument.chars().find_map(inexpressible) {
        _ if argument == "--" => Err(Problem::Dashes),
        Some(what) => Err(unwritable(what)),
        None => pid1_init::cmdline::quote(argument)
            .ok_or_else(|| unwritable("double quotes in a way that the kernel misreads")),
    }
}

fn inexpressible(character: char) -> Option<&'static str> {
    match character {
        '\n' => Some("a line break"),
        '\0' => Some("a NUL byte"),
        _ => None,
    }
}

fn kernel_problem(part: &str) -> Option<Problem> {
    let problem = |what| Some(Problem::KernelPart { part: part.to_owned(), what });
    if part.matches('"').count() % 2 == 1 {
        return problem("a double quote without its partner");
    }
    if let Some(what) = part.chars().find_map(inexpressible) {
        return problem(what);
    }
    // The even pieces are outside quotes.
    let has_dashes = part.split('"').step_by(2).any(|piece| piece.split_whitespace().any(|word| word == "--"));
    if has_dashes { problem("`--`; the program's arguments are given apart") } else { None }
}

fn size_problems(n_arguments: usize, n_bytes: usize) -> Vec<Problem> {
    let mut problems = Vec::new();
    if n_arguments > MAX_ARGUMENTS {
        problems.push(Problem::TooMany { n_arguments });
    }
    if n_bytes > MAX_BYTES {
        problems.push(Problem::TooLong { n_bytes });
    }
    problems
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn check(kernel: &[&str], arguments: &[&str], expect: Result<&str, &[&str]>) {
        let actual = command_line(kernel, &strings(arguments));
        let actual = actual.map_err(|error| error.problems.iter().map(Problem::to_string).collect::<Vec<_>>());
        assert_eq!(actual, expect.map(str::to_owned).map_err(strings));
    }

    #[test]
    fn arguments_follow_two_dashes() {
        check(&["console=ttyS0", "", PANIC_WORD], &[], Ok("console=ttyS0 panic=-1"));
        check(&["console=ttyS0 "], &["--verbose", "x=1"], Ok("console=ttyS0 -- --verbose x=1"));
        check(&[], &["a"], Ok("-- a"));
    }

    #[test]
    fn what_the_kernel_would_split_is_quoted() {
        check(
            &[],
            &["a b", "k=c d", "", "tab\there", "voilà", "größe"],
            Ok("-- \"a b\" \"k=c d\" \"\" \"tab\there\" \"voilà\" größe"),
        );
    }

    #[test]
    fn double_quotes_are_written_where_they_can_be() {
        check(&[], &["say \"hi\"", "{\"a\":1}"], Ok("-- \"say \"hi\"\" {\"a\":1}"));
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let expect = [
            "the argument `say \\\"hi there\\\"` holds double quotes in a way that the kernel misreads",
            "the argument `a\\nb` holds a line break",
            "the argument `--` would end the list: the kernel drops it and what follows",
        ];
        check(&[], &["say \"hi there\"", "fine", "a\nb", "--"], Err(&expect));
    }

    #[test]
    fn the_kernels_part_is_checked_as_well() {
        check(&["dyndbg=\"file a.c +p\" quiet"], &[], Ok("dyndbg=\"file a.c +p\" quiet"));
        check(&["x=\"a -- b\""], &[], Ok("x=\"a -- b\""));
        check(
            &["quiet -- x"],
            &[],
            Err(&["the kernel's part `quiet -- x` holds `--`; the program's arguments are given apart"]),
        );
        check(&["x=\"a"], &[], Err(&["the kernel's part `x=\\\"a` holds a double quote without its partner"]));
    }

    #[test]
    fn both_limits_hold_to_the_last_one() {
        let fits = "x".repeat(MAX_BYTES);
        check(&[&fits], &[], Ok(&fits));
        check(&[&fits, "y"], &[], Err(&["2049 bytes, the kernel takes at most 2047"]));
        assert!(command_line(&[], &vec!["a".to_owned(); 32]).is_ok());
        check(&[], &["a"; 33], Err(&["33 arguments, the kernel takes at most 32"]));
    }

    #[test]
    fn the_error_names_what_to_do() {
        let error = command_line(&[], &strings(&["--"])).expect_err("`--` cannot be said").to_string();
        assert!(error.starts_with("failed to write the kernel command line:\n  the argument `--`"), "{error}");
        assert!(error.contains("\nhint: "), "{error}");
    }
}
