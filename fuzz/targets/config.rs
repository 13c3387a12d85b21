//! Any configuration can be read; what was understood of it can be written, and is read back the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pid1_init::config;

fuzz_target!(|bytes: &[u8]| {
    let (read, _) = config::parse(&String::from_utf8_lossy(bytes));
    // What names no program cannot be written.
    let Ok(text) = config::encode(&read) else {
        assert!(read.program.is_empty());
        return;
    };
    let (again, complaints) = config::parse(&text);
    assert_eq!((again, complaints), (read, Vec::new()), "{text}");
});
