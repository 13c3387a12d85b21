//! What an image asks of its kernel: the fragments that its other keys bring, and the words it is booted with. Pure.

use super::Image;
use pid1_init::config::NetworkMode;

/// What every other fragment may turn on again, so that it comes first.
const BASE: &str = "base";
/// A machine whose kernel is beyond help restarts after this time, in seconds: long enough to read why on a screen.
const PANIC: &str = "panic=10";
/// After an oops the kernel's state is unknown; a machine that nobody watches had better start anew.
const OOPS: &str = "oops=panic";

impl Image {
    /// The kernel's fragments, in the order in which they are merged: the spec's own, then what the rest of the spec
    /// needs and did not name. `base` turns off what others turn on, so it is the first.
    pub fn fragments(&self) -> Vec<&str> {
        let named = || self.kernel.fragments.iter().map(String::as_str);
        let mut fragments: Vec<&str> = named().filter(|name| *name == BASE).collect();
        fragments.extend(named().filter(|name| *name != BASE));
        for name in self.needed_fragments() {
            if !fragments.contains(&name) {
                fragments.push(name);
            }
        }
        fragments
    }

    fn needed_fragments(&self) -> Vec<&'static str> {
        let mut needed = Vec::new();
        if self.network.mode != NetworkMode::Off {
            needed.extend(["pci", "virtio", "net"]);
        }
        if !self.volumes.is_empty() {
            needed.extend(["pci", "virtio", "block", "ext4", "vfat"]);
        }
        needed.extend(self.compress.fragment());
        needed
    }

    /// The kernel's own words, for every way to boot the image. What one way adds comes after: the last of two words counts.
    pub fn kernel_words(&self) -> Vec<&str> {
        let cmdline = self.kernel.cmdline.as_str();
        let mut words = vec![cmdline];
        if !has_word(cmdline, "panic=") {
            words.extend([PANIC, OOPS]);
        }
        words.retain(|word| !word.is_empty());
        words
    }

    /// Whether the kernel is told where to print. Without it the machine is silent.
    pub fn has_console(&self) -> bool {
        has_word(&self.kernel.cmdline, "console=")
    }
}

fn has_word(cmdline: &str, start: &str) -> bool {
    cmdline.split_ascii_whitespace().any(|word| word.trim_start_matches('"').starts_with(start))
}
