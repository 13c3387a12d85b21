//! What a built kernel can do: its configuration, read. Pure.

use std::collections::HashSet;

/// The options of a kernel that are built in.
#[derive(Debug, Clone, Default)]
pub struct KernelOptions(HashSet<String>);

impl KernelOptions {
    /// Reads the text of a kernel's `.config`.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(|line| line.strip_suffix("=y")).map(str::to_owned).collect())
    }

    /// Whether `CONFIG_…` is built in. A module would not do: nobody loads one.
    pub fn has(&self, option: &str) -> bool {
        self.0.contains(option)
    }
}

/// The fragment of `kernel-configs/` that brings an option.
pub fn fragment_of(option: &str) -> Option<&'static str> {
    let fragment = match option {
        "CONFIG_SMP" => "smp",
        "CONFIG_NET" | "CONFIG_INET" | "CONFIG_IPV6" | "CONFIG_UNIX" | "CONFIG_PACKET" | "CONFIG_VIRTIO_NET" => "net",
        "CONFIG_VIRTIO_BLK" => "block",
        "CONFIG_VIRTIO_PCI" | "CONFIG_HW_RANDOM_VIRTIO" => "virtio",
        "CONFIG_EXT4_FS" => "ext4",
        "CONFIG_VFAT_FS" => "vfat",
        "CONFIG_I6300ESB_WDT" => "watchdog",
        "CONFIG_CGROUPS" => "cgroups",
        "CONFIG_FUTEX"
        | "CONFIG_EPOLL"
        | "CONFIG_EVENTFD"
        | "CONFIG_TIMERFD"
        | "CONFIG_SIGNALFD"
        | "CONFIG_POSIX_TIMERS"
        | "CONFIG_INOTIFY_USER"
        | "CONFIG_MEMBARRIER"
        | "CONFIG_FILE_LOCKING"
        | "CONFIG_ADVISE_SYSCALLS"
        | "CONFIG_SHMEM"
        | "CONFIG_TMPFS"
        | "CONFIG_PROC_FS"
        | "CONFIG_MULTIUSER" => "base",
        _ => return None,
    };
    Some(fragment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn an_option_is_there_when_it_is_built_in() {
        let options = KernelOptions::parse("CONFIG_SMP=y\n# CONFIG_NET is not set\nCONFIG_FAT=m\nCONFIG_NR_CPUS=64\n");
        let check = |option, expect| assert_eq!(options.has(option), expect, "{option}");
        check("CONFIG_SMP", true);
        check("CONFIG_NET", false);
        check("CONFIG_FAT", false);
        check("CONFIG_NR_CPUS", false);
    }

    #[test]
    fn a_fragment_brings_the_option_it_is_named_for() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-configs");
        for option in ["CONFIG_SMP", "CONFIG_NET", "CONFIG_UNIX", "CONFIG_EPOLL", "CONFIG_HW_RANDOM_VIRTIO"] {
            let fragment = fragment_of(option).expect("it has one");
            let text = std::fs::read_to_string(folder.join(format!("{fragment}.config"))).expect("it is there");
            assert!(KernelOptions::parse(&text).has(option), "{fragment} does not bring {option}");
        }
    }
}
