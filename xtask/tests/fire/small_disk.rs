//! A disk of a test's own: a tmpfs in a mount namespace. The test runs itself again in there.

use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};

/// Set for the test that runs on its disk: the disk's folder.
const VARIABLE: &str = "FIRE_DISK";

/// Runs `body` with a tmpfs that was mounted with `options`, by running the test `name` of this binary again.
#[track_caller]
pub fn on_disk(name: &str, options: &str, body: impl FnOnce(&Utf8Path)) {
    if let Ok(disk) = std::env::var(VARIABLE) {
        return body(Utf8Path::new(&disk));
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = Utf8PathBuf::try_from(folder.path().to_owned()).unwrap();
    let exe = std::env::current_exe().unwrap();
    let script = format!(
        "mount -t tmpfs -o {options} none {disk} && exec '{}' --exact {name} --nocapture",
        exe.to_str().unwrap()
    );
    let status = in_namespace(&script).env(VARIABLE, &disk).env("TMPDIR", &disk).status().unwrap();
    assert!(
        status.success(),
        "{name} failed on a disk of its own ({status}). It needs `unshare` and `mount` of util-linux, and a host that allows \
         mount namespaces: for a user who is not root, user namespaces (sysctl kernel.unprivileged_userns_clone=1)"
    );
}

/// A shell that may mount.
pub fn in_namespace(script: &str) -> Command {
    let mut command = Command::new("unshare");
    // root needs no user namespace to mount, and some hosts forbid those.
    let user: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    command.args(user).args(["--mount", "sh", "-c", script]);
    command
}

/// Mounts another one, within [`on_disk`].
pub fn mount(place: &Utf8Path, options: &str) {
    let mut command = Command::new("mount");
    let status = command.args(["-t", "tmpfs", "-o", options, "none", place.as_str()]).status().unwrap();
    assert!(status.success(), "{status}");
}
