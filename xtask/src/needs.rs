//! What a program needs of the kernel, where that can be known, and whether the fragments give it. Pure.
//!
//! A threaded program in Rust or C that wants futexes looks like one that does not; a program of Go tells by whom it was made.

use std::collections::BTreeMap;

use crate::image::Base;
use crate::steps::kernel::options;

/// An option without which the program does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The option's name.
    pub option: &'static str,
    /// What of the program needs it.
    pub because: &'static str,
}

/// Every program here is an x86-64 ELF file, or is started by one.
pub const ANY: [Need; 2] = [
    Need { option: "CONFIG_64BIT", because: "the program is a 64-bit one" },
    Need { option: "CONFIG_BINFMT_ELF", because: "the program is an ELF file" },
];

/// What Go's runtime throws without: its locks sleep on futexes, and timers and network wait in epoll, which an eventfd
/// (a pipe before Go 1.21) wakes. Its profiler's timers are no need: without them it profiles nothing and goes on.
pub const GO: [Need; 3] = [
    Need { option: "CONFIG_FUTEX", because: "the program is made by Go" },
    Need { option: "CONFIG_EPOLL", because: "the program is made by Go" },
    Need { option: "CONFIG_EVENTFD", because: "the program is made by Go" },
];

/// The kernel looks at `#!` only with this.
pub const SCRIPT: Need = Need { option: "CONFIG_BINFMT_SCRIPT", because: "the program is a script" };

/// Kernel fragments by name: their texts.
pub type Fragments = BTreeMap<String, String>;

/// All needs that the kernel lacks, with what to do, in one text. Only of a kernel that starts from next to nothing is
/// it known what it lacks.
pub fn lacking(needs: &[Need], base: Base, merged: &[&str], fragments: &Fragments) -> Option<String> {
    if base != Base::Tinyconfig {
        return None;
    }
    let texts = merged.iter().filter_map(|name| fragments.get(*name));
    let set: BTreeMap<String, String> = texts.flat_map(|text| options(text)).collect();
    let is_lacking = |need: &&Need| set.get(need.option).is_none_or(|value| value != "y");
    let lacking: Vec<&Need> = needs.iter().filter(is_lacking).collect();
    let lines: Vec<String> = lacking
        .iter()
        .map(|need| format!("{}, which needs {}, and no fragment sets it", need.because, need.option))
        .collect();
    let mut hints: Vec<String> = lacking.iter().map(|need| hint(need, fragments)).collect();
    hints.sort();
    hints.dedup();
    (!lines.is_empty()).then(|| format!("{}\n{}", lines.join("\n  "), hints.join("\n")))
}

fn hint(need: &Need, fragments: &Fragments) -> String {
    let sets = |text: &String| options(text).iter().any(|(name, value)| name == need.option && value == "y");
    match fragments.iter().find(|(_, text)| sets(text)) {
        Some((name, _)) => format!("hint: add the fragment `{name}` to `kernel.fragments`"),
        None => format!("hint: add a fragment with `{}=y` to `kernel.fragments`", need.option),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(needs: &[Need], base: Base, merged: &[&str], expect: Option<&str>) {
        let fragments = [
            ("base", "CONFIG_64BIT=y\nCONFIG_BINFMT_ELF=y\nCONFIG_FUTEX=y\nCONFIG_EPOLL=y\nCONFIG_EVENTFD=y\n"),
            ("small", "CONFIG_64BIT=y\nCONFIG_BINFMT_ELF=y\nCONFIG_FUTEX=y\n"),
            ("no-epoll", "# CONFIG_EPOLL is not set\n"),
        ];
        let fragments = fragments.map(|(name, text)| (name.to_owned(), text.to_owned())).into_iter().collect();
        assert_eq!(lacking(needs, base, merged, &fragments).as_deref(), expect);
    }

    #[test]
    fn what_is_lacking_is_told_with_the_fragment_that_has_it() {
        check(&GO, Base::Tinyconfig, &["base"], None);
        check(&ANY, Base::Tinyconfig, &["small"], None);
        check(
            &GO,
            Base::Tinyconfig,
            &["small"],
            Some(
                "the program is made by Go, which needs CONFIG_EPOLL, and no fragment sets it\n  \
                 the program is made by Go, which needs CONFIG_EVENTFD, and no fragment sets it\n\
                 hint: add the fragment `base` to `kernel.fragments`",
            ),
        );
        check(
            &[SCRIPT],
            Base::Tinyconfig,
            &["base"],
            Some(
                "the program is a script, which needs CONFIG_BINFMT_SCRIPT, and no fragment sets it\n\
                 hint: add a fragment with `CONFIG_BINFMT_SCRIPT=y` to `kernel.fragments`",
            ),
        );
    }

    #[test]
    fn a_later_fragment_counts_more() {
        check(&[GO[1]], Base::Tinyconfig, &["no-epoll", "base"], None);
        check(
            &[GO[1]],
            Base::Tinyconfig,
            &["base", "no-epoll"],
            Some(
                "the program is made by Go, which needs CONFIG_EPOLL, and no fragment sets it\n\
                 hint: add the fragment `base` to `kernel.fragments`",
            ),
        );
    }

    #[test]
    fn of_a_usual_kernel_nothing_is_said() {
        check(&GO, Base::Defconfig, &[], None);
    }

    #[test]
    fn the_projects_own_base_is_enough_for_go() {
        let base = include_str!("../../kernel-configs/base.config").to_owned();
        let fragments = [("base".to_owned(), base)].into_iter().collect();
        assert_eq!(lacking(&[&ANY[..], &GO].concat(), Base::Tinyconfig, &["base"], &fragments), None);
    }
}
