//! The kernel's own lines on the console: their time stamps, and its word that the machine halted. Pure.

/// What the kernel says before it stops the processor for ever, where it cannot switch the power
/// off or was not asked to (`kernel_halt` and `kernel_power_off` in `kernel/reboot.c`).
const HALTED: [&str; 2] = ["reboot: System halted", "reboot: Power off not available: System halted instead"];

/// Whether this line says that the machine has halted.
pub fn is_halt(line: &str) -> bool {
    HALTED.contains(&without_stamp(line).1)
}

/// Takes `[    0.123456] ` off a line, and the `[    T1] ` of CONFIG_PRINTK_CALLER; tells whether there was a time.
pub fn without_stamp(line: &str) -> (bool, &str) {
    let is_time = |inside: &str| inside.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let Some(text) = cut_brackets(line, is_time) else {
        return (false, line);
    };
    let is_caller = |inside: &str| inside.starts_with(['T', 'C']);
    (true, cut_brackets(text.trim_start(), is_caller).unwrap_or(text).trim_start())
}

fn cut_brackets(text: &str, accept: impl Fn(&str) -> bool) -> Option<&str> {
    let (inside, rest) = text.strip_prefix('[')?.split_once(']')?;
    let inside = inside.trim_start();
    (!inside.is_empty() && accept(inside)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: (bool, &str)) {
        assert_eq!(without_stamp(line), expect);
    }

    #[test]
    fn a_stamp_is_a_time_in_brackets() {
        check("[    0.123456] text", (true, "text"));
        check("[12345.123456] text", (true, "text"));
        check("[    0.123456][    T1] text", (true, "text"));
        check("[    0.123456] [note] text", (true, "[note] text"));
        check("[note] text", (false, "[note] text"));
        check("[] text", (false, "[] text"));
        check("text", (false, "text"));
        check("", (false, ""));
    }

    #[test]
    fn a_halt_is_told_by_a_whole_line() {
        assert!(is_halt("reboot: System halted"));
        assert!(is_halt("[    1.5] reboot: Power off not available: System halted instead"));
        assert!(!is_halt("it said reboot: System halted"));
        assert!(!is_halt("reboot: Restarting system"));
    }
}
