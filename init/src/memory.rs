//! What the kernel's counters say about memory.

/// How many processes were killed for want of memory since the boot, in the text of `/proc/vmstat`. `None` if the kernel
/// does not count them.
pub fn oom_kills(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim_ascii().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_for_memory_are_found_among_the_counters() {
        for (text, expect) in [
            ("nr_free_pages 30\noom_kill 3\npgfault 7\n", Some(3)),
            ("oom_kill 0", Some(0)),
            ("oom_killer 3\n", None),
            ("oom_kill x\n", None),
            ("", None),
        ] {
            assert_eq!(oom_kills(text), expect, "{text}");
        }
    }
}
