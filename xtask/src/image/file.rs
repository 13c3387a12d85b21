//! `[[file]]`: files and folders of the host that are in the machine, too. Pure.

use camino::Utf8PathBuf;
use pid1_init::config::Volume;

use super::path;
use super::raw::RawFile;

/// A file or folder that is packed beside the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraFile {
    /// Where it comes from; relative to the checkout if it is not absolute.
    pub source: Utf8PathBuf,
    /// Where it is in the machine.
    pub path: String,
    /// Its permissions, or those of all files in it; without them a file is 0755 if it is executable, else 0644.
    pub mode: Option<u32>,
}

/// The bits of a mode that make a program run as somebody else.
pub const SET_ID: u32 = 0o6000;

/// The checked files, in the spec's order. What only the file system knows is checked by [`crate::preflight`].
pub fn check(raw: &[RawFile], program: &str, volumes: &[Volume], problems: &mut Vec<String>) -> Vec<ExtraFile> {
    let mut files: Vec<ExtraFile> = Vec::new();
    for one in raw {
        let mut push = |problem: String| problems.push(format!("`file.path` is `{}`: {problem}", one.path));
        if let Some(problem) = path::problem(&one.path) {
            push(problem);
        } else if let Some(problem) = path::taken(&one.path, program) {
            push(format!("that {problem}; take another path"));
        } else if let Some(volume) = volumes.iter().find(|volume| path::is_in(&one.path, &volume.path)) {
            push(format!(
                "the volume at `{}` is mounted over it: it would be invisible; take another path",
                volume.path
            ));
        }
        if files.iter().any(|other| other.path == one.path) {
            push("another `[[file]]` has the same path; delete one of the two".to_owned());
        }
        if one.source.as_str().is_empty() {
            problems.push(format!("`file.source` of `{}` is empty; write the path of a file or folder", one.path));
        }
        let mode = one.mode.as_ref().and_then(|text| check_mode(text, &one.path, problems));
        files.push(ExtraFile { source: one.source.clone(), path: one.path.clone(), mode });
    }
    files
}

fn check_mode(text: &str, path: &str, problems: &mut Vec<String>) -> Option<u32> {
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = is_octal.then(|| u32::from_str_radix(text, 8).ok()).flatten();
    if mode.is_none() {
        problems.push(format!(
            "`file.mode` of `{path}` is `{text}`; three or four octal digits are expected, as in `0644`"
        ));
    }
    mode
}

#[cfg(test)]
mod tests {
    use super::*;
    use pid1_init::config::Source;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Spec {
        file: Vec<RawFile>,
    }

    fn check_all(lines: &str) -> (Vec<ExtraFile>, Vec<String>) {
        let spec: Spec = toml::from_str(&format!("[[file]]\nsource = \"x\"\n{lines}")).unwrap();
        let source = Source::Label("x".into());
        let volume = Volume { path: "/data".into(), source, kind: None, read_only: false, required: true };
        let mut problems = Vec::new();
        (check(&spec.file, "/bin/web", &[volume], &mut problems), problems)
    }

    #[track_caller]
    fn refuse(lines: &str, expect: &[&str]) {
        let (_, problems) = check_all(lines);
        assert_eq!(problems.len(), expect.len(), "{problems:?}");
        assert!(problems.iter().zip(expect).all(|(problem, part)| problem.contains(part)), "{problems:?}");
    }

    #[test]
    fn a_good_file_is_taken_as_it_is() {
        let (files, problems) = check_all("path = \"/etc/hosts\"\nmode = \"4755\"");
        assert_eq!(problems, [""; 0]);
        assert_eq!(files, [ExtraFile { source: "x".into(), path: "/etc/hosts".into(), mode: Some(0o4755) }]);
        refuse("path = \"/\"", &[]);
    }

    #[test]
    fn a_path_must_be_free_and_visible() {
        let check = |path: &str, expect: &str| refuse(&format!("path = \"{path}\""), &[expect]);
        check("etc/x", "write `/etc/x`");
        check("/etc/../x", "holds `..`");
        check("/init", "is PID 1 itself");
        check("/bin/web", "is the program itself");
        check("/etc/pid1.conf", "init's own configuration");
        check("/tmp/x", "in `/tmp`, over which init mounts");
        check("/data/x", "the volume at `/data`");
        refuse("path = \"/a\"\n[[file]]\nsource = \"y\"\npath = \"/a\"", &["has the same path"]);
    }

    #[test]
    fn a_mode_is_octal() {
        let check = |mode: &str, n_problems| {
            let (_, problems) = check_all(&format!("path = \"/a\"\nmode = \"{mode}\""));
            assert_eq!(problems.len(), n_problems, "{mode}: {problems:?}");
        };
        check("644", 0);
        check("0755", 0);
        check("7777", 0);
        check("0o644", 1);
        check("0688", 1);
        check("rw-r--r--", 1);
        check("00644", 1);
        check("", 1);
    }
}
