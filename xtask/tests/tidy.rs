//! The repository's rules. A rule that fails names the file, the line and what to do.

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(!files.is_empty(), "{folder} holds no .{extension}");
    files
}

fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// A file's code without its tests, by line.
fn code(path: &Path) -> Vec<(usize, String)> {
    code_of(&std::fs::read_to_string(path).unwrap())
}

/// Tests are a module at the end; before it only declarations (`mod tests;`, `use`) are for them alone.
fn code_of(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let opens_tests =
        |pair: &[&str]| pair[0].trim() == "#[cfg(test)]" && pair[1].contains("mod ") && pair[1].trim().ends_with('{');
    let end = lines.windows(2).position(opens_tests).unwrap_or(lines.len());
    let code = lines[..end].iter().enumerate().map(|(index, line)| (index + 1, (*line).to_owned()));
    code.filter(|(_, line)| !line.trim_start().starts_with("//")).collect()
}

#[test]
fn what_is_for_tests_alone_hides_nothing_behind_it() {
    let text = "#[cfg(test)]\nmod tests;\n// no code\nfn a() {}\n#[cfg(test)]\nmod tests {\nfn b() {}\n}\n";
    let found: Vec<_> = code_of(text).into_iter().map(|(number, _)| number).collect();
    assert_eq!(found, [1, 2, 4]);
}

fn is_test(path: &Path) -> bool {
    let path = short(path);
    path.contains("/tests") || path.ends_with("tests.rs")
}

/// Lines below `folder` that hold one of `words`, outside tests and outside the files where that belongs.
#[track_caller]
fn only_in(folder: &str, words: &[&str], rooms: &[&str], rule: &str) {
    let mut found = Vec::new();
    for path in files(folder, "rs").into_iter().filter(|path| !is_test(path)) {
        if rooms.iter().any(|room| short(&path).starts_with(room)) {
            continue;
        }
        for (number, line) in code(&path) {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{number}: {}", short(&path), line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

#[test]
fn every_module_says_what_it_is_for() {
    for folder in ["xtask/src", "xtask/tests", "cache/src", "init/src", "apps"] {
        for path in files(folder, "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("//!"), "{} must start with `//!` and say what it is for", short(&path));
        }
    }
}

#[test]
fn init_never_panics_by_carelessness() {
    let words = [".unwrap()", ".expect(", "panic!(", "unreachable!(", "todo!(", "assert!(", "assert_eq!("];
    only_in("init/src", &words, &[], "PID 1 must not die; handle the case");
}

#[test]
fn unsafe_has_its_rooms() {
    only_in("init/src", &["unsafe"], &["init/src/sys.rs", "init/src/sys/"], "`unsafe` belongs into sys");
    let rooms = ["xtask/src/sandbox.rs", "xtask/src/qemu/process.rs"];
    only_in("xtask/src", &["unsafe {", "unsafe fn"], &rooms, "`unsafe` belongs where processes are started");
}

#[test]
fn only_report_prints() {
    let words = ["println!(", "eprintln!(", "print!(", "io::stdout()", "io::stderr()", "dbg!("];
    let rooms = ["xtask/src/report.rs", "xtask/src/verbs/qemu.rs", "xtask/src/doctor.rs"];
    only_in("xtask/src", &words, &rooms, "only report.rs prints; the console of a machine and a package manager aside");
}

#[test]
fn planning_is_pure() {
    let words =
        ["std::fs", "std::env", "std::time", "SystemTime", "Instant", "std::process", "std::net", "read_to_string"];
    for file in ["plan.rs", "graph.rs", "key.rs"] {
        let path = root().join("xtask/src").join(file);
        for (number, line) in code(&path) {
            assert!(!words.iter().any(|word| line.contains(word)), "{file}:{number} must be pure: {line}");
        }
    }
}

#[test]
fn only_fetch_touches_the_network() {
    // A shared cache is asked by a process of its own, which can be killed: the package in cache/, and no room of xtask.
    let words = ["ureq", "TcpStream", "UdpSocket", "object_store", "reqwest"];
    let rooms = ["xtask/src/steps/fetch", "xtask/src/qemu/forward.rs"];
    only_in("xtask/src", &words, &rooms, "only fetch touches the network; qemu tries whether a port is free");
}

#[test]
fn processes_are_spawned_where_the_architecture_says() {
    let rooms = [
        "xtask/src/sandbox.rs",
        "xtask/src/sandbox/keeper.rs",
        "xtask/src/sandbox/walls.rs",
        "xtask/src/pin/signed.rs",
        "xtask/src/toolbox.rs",
        "xtask/src/doctor.rs",
        "xtask/src/cache/client.rs",
        "xtask/src/qemu/",
        "xtask/src/steps/fetch",
        "xtask/src/verbs/test.rs",
        // Not build tools: the second side's own `xtask`, and what prepares it.
        "xtask/src/repro/host.rs",
        "xtask/src/repro/second.rs",
    ];
    only_in("xtask/src", &["Command::new("], &rooms, "build tools are run by sandbox.rs");
}

#[test]
fn every_kernel_option_has_its_reason() {
    for path in files("kernel-configs", "config") {
        let text = std::fs::read_to_string(&path).unwrap();
        let is_option = |line: &str| {
            line.starts_with("CONFIG_") || (line.starts_with("# CONFIG_") && line.ends_with(" is not set"))
        };
        let paragraphs = text.split("\n\n").filter(|paragraph| paragraph.lines().any(is_option));
        for paragraph in paragraphs {
            let first = paragraph.lines().find(|line| !line.is_empty()).unwrap_or_default();
            assert!(!is_option(first), "{}: say above `{first}` why it is wanted", short(&path));
        }
    }
}

#[test]
fn the_readme_names_every_verb() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for verb in [
        "image",
        "verify",
        "qemu",
        "volume",
        "vendor",
        "pin",
        "why",
        "log",
        "graph",
        "gc",
        "licenses",
        "sign",
        "store verify",
        "doctor",
        "test",
    ] {
        assert!(readme.contains(&format!("cargo xtask {verb}")), "README.md does not name `cargo xtask {verb}`");
    }
}
