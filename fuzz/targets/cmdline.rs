//! Any kernel command line can be read, and what `quote` writes is read back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pid1_init::cmdline;

fuzz_target!(|bytes: &[u8]| {
    let (_, complaints) = cmdline::parse(bytes);
    assert!(complaints.iter().all(|complaint| !complaint.problem.is_empty()));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let args: Vec<&str> = text.split('\n').filter(|arg| cmdline::quote(arg).is_some()).collect();
    let quoted =
        args.iter().filter_map(|arg| cmdline::quote(arg)).fold("a=b --".to_owned(), |line, arg| line + " " + &arg);
    let (overrides, _) = cmdline::parse(quoted.as_bytes());
    assert_eq!(overrides.args.unwrap_or_default(), args);
});
