//! The walls around a build tool: what bubblewrap lets it see. Pure, but for the question whether this host has it.
//!
//! Namespaces of its own for users, processes, the network, System V IPC and the host's name: namespaces(7). Whatever is
//! not mounted here does not exist for the tool. This room must never let in a path of the user's that nobody declared.

use std::process::{Command, Stdio};
use std::sync::LazyLock;

use camino::{Utf8Path, Utf8PathBuf};

use crate::toolbox::{self, BWRAP};

/// The one folder that a tool can write to.
pub const BUILD: &str = "/build";
/// Below it the step's inputs are, by their role.
pub const INPUTS: &str = "/inputs";
/// Where every declared tool is found, and no other.
pub const BIN: &str = "/usr/bin";
/// The user's and the group's number of every tool. It is nobody's in particular.
const USER: &str = "1000";
/// The host's name inside; by "uname -n" it could reach an output.
const HOST_NAME: &str = "pid1";

/// Something that a tool sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// An empty folder in memory.
    Folder(Utf8PathBuf),
    /// A file or folder of the host, and its place inside.
    ReadOnly(Utf8PathBuf, Utf8PathBuf),
    /// The same, to write to.
    Writable(Utf8PathBuf, Utf8PathBuf),
    /// A symbolic link: what it leads to, and its place inside.
    Link(Utf8PathBuf, Utf8PathBuf),
}

impl Mount {
    fn arguments(&self) -> Vec<&str> {
        match self {
            Self::Folder(path) => vec!["--tmpfs", path.as_str()],
            Self::ReadOnly(from, to) => vec!["--ro-bind", from.as_str(), to.as_str()],
            Self::Writable(from, to) => vec!["--bind", from.as_str(), to.as_str()],
            Self::Link(target, at) => vec!["--symlink", target.as_str(), at.as_str()],
        }
    }
}

/// Whether build tools can be closed in on this host.
#[derive(Clone, Debug)]
pub enum Walls {
    /// They can.
    Closed {
        /// Bubblewrap's path.
        bwrap: Utf8PathBuf,
        /// A process file system of its own; a container may forbid that, and then it is the host's.
        has_own_proc: bool,
    },
    /// They cannot, and run in the open.
    Open {
        /// Why, in words.
        why: String,
    },
}

impl Walls {
    /// What this host allows; asked once.
    pub fn of_this_host() -> &'static Self {
        static WALLS: LazyLock<Walls> = LazyLock::new(probe);
        &WALLS
    }

    /// Whether tools see only what they are given.
    pub fn are_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// What the user has to know of it.
    pub fn warning(&self) -> Option<String> {
        let Self::Open { why } = self else { return None };
        Some(format!(
            "warning: THE BUILD IS NOT HERMETIC: its tools see this host's files and its network, for bubblewrap cannot close them in: {why}\n\
             manifest.json says `\"hermetic\":false` of it\n\
             hint: allow namespaces: in a container `--security-opt seccomp=unconfined --security-opt systempaths=unconfined` \
             (docker, podman); on a host `sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0`"
        ))
    }

    /// Bubblewrap, ready but for the folder to start in and the command. None, if tools run in the open.
    pub fn command(&self, mounts: &[Mount]) -> Option<Command> {
        let Self::Closed { bwrap, has_own_proc } = self else { return None };
        let mut command = Command::new(bwrap);
        command.env_clear().args(NAMESPACES).args(process_folder(*has_own_proc));
        command.args(mounts.iter().flat_map(Mount::arguments));
        command.args(READ_ONLY.iter().flat_map(|place| ["--remount-ro", place]));
        Some(command)
    }
}

/// Writable, but for the build folder, is nothing: not the root in memory, nor /dev/shm, nor what root may set in /proc/sys.
const READ_ONLY: [&str; 4] = ["/usr", "/dev", "/proc", "/"];

/// Of its own: users, processes, the network (with nothing in it), System V IPC, the host's name, control groups.
const NAMESPACES: [&str; 15] = [
    "--unshare-user",
    "--unshare-pid",
    "--unshare-net",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
    "--uid",
    USER,
    "--gid",
    USER,
    "--hostname",
    HOST_NAME,
    // Killed with xtask, and all that it started with it: its process 1 is gone.
    "--die-with-parent",
    "--dev",
    "/dev",
];

fn process_folder(has_own_proc: bool) -> &'static [&'static str] {
    if has_own_proc { &["--proc", "/proc"] } else { &["--ro-bind", "/proc", "/proc"] }
}

/// Tries the walls with bubblewrap itself as the tool.
fn probe() -> Walls {
    let bwrap = match toolbox::find(BWRAP) {
        Ok(bwrap) => bwrap,
        Err(_) => return Walls::Open { why: "it is not installed".to_owned() },
    };
    let mut why = String::new();
    for has_own_proc in [true, false] {
        match try_walls(&bwrap, has_own_proc) {
            Ok(()) => return Walls::Closed { bwrap, has_own_proc },
            Err(said) => why = said,
        }
    }
    Walls::Open { why }
}

fn try_walls(bwrap: &Utf8Path, has_own_proc: bool) -> Result<(), String> {
    let mut command = Command::new(bwrap);
    // The host's whole tree, so that bubblewrap finds itself and its libraries inside.
    command.env_clear().args(["--ro-bind", "/", "/"]).args(NAMESPACES).args(process_folder(has_own_proc));
    let output = command.arg("--").arg(bwrap).arg("--version").stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_walls_warn_and_closed_ones_do_not() {
        let open = Walls::Open { why: "No permissions to create new namespace".to_owned() };
        let warning = open.warning().unwrap_or_default();
        assert!(warning.contains("NOT HERMETIC") && warning.contains("No permissions"), "{warning}");
        assert!(open.command(&[]).is_none());
        let closed = Walls::Closed { bwrap: "/usr/bin/bwrap".into(), has_own_proc: true };
        assert_eq!(closed.warning(), None);
    }

    #[test]
    fn the_network_is_closed_and_everything_but_the_build_folder_is_read_only() {
        let closed = Walls::Closed { bwrap: "/usr/bin/bwrap".into(), has_own_proc: true };
        let mounts = [Mount::Writable("/store/tmp/x".into(), BUILD.into())];
        let command = closed.command(&mounts).unwrap();
        let line = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
        assert!(line.contains("--unshare-net") && line.contains("--bind /store/tmp/x /build"), "{line}");
        assert!(line.ends_with("--remount-ro /dev --remount-ro /proc --remount-ro /"), "{line}");
    }
}
