//! Runs `xtask` in this checkout, or in a copy of it that a test may change.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use xtask::workspace::VENDOR_TRACKED;

/// What a run of `xtask` came to.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn new(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        // A signal is no status; no test expects this one.
        Self { status: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Fails the test, with all that was printed, unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, status, "stdout:\n{}\nstderr:\n{}", last_part(&self.stdout), self.stderr);
        self
    }

    /// Fails the test unless stderr holds every one of these.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is not in stderr:\n{}", self.stderr);
        }
        self
    }

    /// Fails the test unless the console showed every one of these, in this order.
    #[track_caller]
    pub fn shows(self, parts: &[&str]) -> Self {
        let mut rest = self.stdout.as_str();
        for part in parts {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => panic!("`{part}` is not, or not in its place, on the console:\n{}", last_part(&self.stdout)),
            }
        }
        self
    }

    /// The steps that ran, sorted.
    pub fn started(&self) -> Vec<&str> {
        let mut steps: Vec<_> = self.stderr.lines().filter_map(|line| line.strip_suffix(": started")).collect();
        steps.sort();
        steps
    }
}

/// As much of a text as a person reads.
fn last_part(text: &str) -> &str {
    let start = text.len().saturating_sub(20_000);
    (start..text.len()).find_map(|start| text.get(start..)).unwrap_or(text)
}

/// A checkout.
pub struct Checkout {
    pub root: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl Checkout {
    /// The one that is tested.
    pub fn this() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
        Self { root, _folder: None }
    }

    /// A copy of all files that belong to the project, at another path.
    pub fn copy() -> Self {
        let this = Self::this();
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("another place");
        copy_folder(&this.root, &root);
        Self { root, _folder: Some(folder) }
    }

    /// A run of `xtask` in this checkout.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(args).current_dir(&self.root).env("CARGO_MANIFEST_DIR", self.root.join("xtask"));
        command.stdin(std::process::Stdio::null());
        command
    }

    pub fn xtask(&self, args: &[&str]) -> Ran {
        Ran::new(self.command(args).output().unwrap())
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        let path = self.root.join(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.root.join(name), content).unwrap();
    }

    /// Replaces text in a file; it must be there.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = String::from_utf8(self.read(name)).unwrap();
        assert!(text.contains(from), "{name} does not hold `{from}`");
        self.write(name, text.replace(from, to));
    }

    /// Writes a spec for a finished program on hello's kernel, and gives the spec's path.
    pub fn spec(&self, name: &str, program: &str) -> String {
        let hello = String::from_utf8(self.read("images/hello.toml")).unwrap();
        let spec =
            hello.replace("name = \"hello\"", &format!("name = \"{name}\"")).replace("package = \"hello\"", program);
        self.write(&format!("images/{name}.toml"), spec);
        name.to_owned()
    }
}

/// Not what cargo made or `vendor` fetched, and not the history: a checkout need not be git's.
fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if from.ends_with("vendor") && !VENDOR_TRACKED.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        match entry.file_type().unwrap().is_dir() {
            true if entry.file_name() == "target" || entry.file_name() == ".git" => {}
            true => copy_folder(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Compiles a C program with the host's gcc, so that no test depends on programs that happen to be there.
pub fn compile(source: &str, flags: &[&str], to: &Path) {
    let code = to.with_extension("c");
    std::fs::write(&code, source).unwrap();
    let status = Command::new("gcc").args(flags).arg("-o").arg(to).arg(&code).status().unwrap();
    assert!(status.success(), "gcc failed");
}
