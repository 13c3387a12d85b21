//! The file systems every program expects, as tables. What cannot be mounted is said in words; the boot goes on.

use std::ffi::CStr;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::console;

/// One line of a mount table. The folder `at` is made with `mode` if it is missing.
pub struct Mount {
    kind: &'static str,
    at: &'static str,
    mode: u32,
    flags: MountFlags,
    options: Option<&'static CStr>,
    /// What does not work without it, for the message. `None` for conveniences, whose absence is only worth a debug line.
    needed_for: Option<&'static str>,
}

const HARMLESS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);
const SCRATCH: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// What init needs to be heard. No `noexec`: SGX and `/dev/zero` are mapped executable by programs with good reason.
pub const EARLY: [Mount; 1] = [Mount {
    kind: "devtmpfs",
    at: "/dev",
    mode: 0o755,
    flags: MountFlags::NOSUID,
    options: None,
    needed_for: Some("devices"),
}];

/// What init needs to read, and nearly every program too.
pub const BASE: [Mount; 2] = [
    Mount {
        kind: "proc",
        at: "/proc",
        mode: 0o555,
        flags: HARMLESS,
        options: None,
        needed_for: Some("the kernel command line"),
    },
    Mount {
        kind: "sysfs",
        at: "/sys",
        mode: 0o555,
        flags: HARMLESS,
        options: None,
        needed_for: Some("the view of devices"),
    },
];

/// Conveniences. Without the kernel's tmpfs, /tmp and /run are plain folders of the root, which is memory as well.
pub const OPTIONAL: [Mount; 4] = [
    Mount {
        kind: "devpts",
        at: "/dev/pts",
        mode: 0o755,
        flags: MountFlags::NOSUID.union(MountFlags::NOEXEC),
        options: Some(c"mode=620,ptmxmode=666"),
        needed_for: None,
    },
    Mount { kind: "tmpfs", at: "/tmp", mode: 0o1777, flags: SCRATCH, options: Some(c"mode=1777"), needed_for: None },
    Mount {
        kind: "tmpfs",
        at: "/run",
        mode: 0o755,
        flags: SCRATCH,
        options: Some(c"mode=755,size=20%"),
        needed_for: None,
    },
    Mount {
        kind: "cgroup2",
        at: "/sys/fs/cgroup",
        mode: 0o555,
        flags: HARMLESS,
        options: Some(c"nsdelegate"),
        needed_for: None,
    },
];

/// Mounts each line of `table`; what is mounted already, by the kernel for instance, counts as done.
pub fn mount(table: &[Mount]) {
    for line in table {
        if let Err(error) = mount_one(line) {
            complain(line, error);
        }
    }
}

fn mount_one(line: &Mount) -> Result<(), Errno> {
    match rustix::fs::mkdir(line.at, Mode::from_raw_mode(line.mode)) {
        // The root may be read-only and the folder there all the same, and sysfs has only folders of its own: then the mount
        // itself will tell.
        Ok(()) | Err(Errno::EXIST | Errno::ROFS | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    match rustix::mount::mount(line.kind, line.at, line.kind, line.flags, line.options) {
        Ok(()) | Err(Errno::BUSY) => Ok(()),
        Err(error) => Err(error),
    }
}

fn complain(line: &Mount, error: Errno) {
    let Mount { kind, at, .. } = line;
    let why = match error {
        Errno::NODEV => "the kernel was built without it".to_owned(),
        _ => std::io::Error::from(error).to_string(),
    };
    match line.needed_for {
        Some(what) => console::warn(&format!("cannot mount {kind} on {at}, needed for {what}: {why}")),
        None => console::debug(&format!("cannot mount {kind} on {at}: {why}")),
    }
}
