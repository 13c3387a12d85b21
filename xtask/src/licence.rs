//! Licences as SPDX expressions: what upstream wrote, in the one form that tools agree on. Pure.
//! Source: the SPDX specification 2.3, annex D.

/// What is said where no licence is known, as SPDX wants it: no claim is made.
pub const UNKNOWN: &str = "NOASSERTION";

/// The strict form of a licence expression; also of one in the old form of cargo, `MIT/Apache-2.0`. None, if a name in it
/// is not on SPDX's list: whoever names a text of his own (`LicenseRef-`) has to give it, too, and nobody has it here.
pub fn canonical(text: &str) -> Option<String> {
    let tidied = spdx::Expression::canonicalize(text).ok()?.unwrap_or_else(|| text.to_owned());
    is_valid(&tidied).then_some(tidied)
}

/// Whether this is a licence expression in the strict form, of licences and exceptions on SPDX's list.
pub fn is_valid(text: &str) -> bool {
    let is_listed = |part: &spdx::expression::ExpressionReq| {
        let addition = part.req.addition.as_ref();
        part.req.license.id().is_some() && addition.is_none_or(|addition| addition.id().is_some())
    };
    spdx::Expression::parse(text).is_ok_and(|expression| expression.requirements().all(is_listed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_forms_become_strict_ones_and_unknown_names_none() {
        let check = |text: &str, expect: Option<&str>| assert_eq!(canonical(text).as_deref(), expect, "{text}");
        check("MIT", Some("MIT"));
        check("MIT/Apache-2.0", Some("MIT OR Apache-2.0"));
        check("Unlicense/MIT", Some("Unlicense OR MIT"));
        check("GPL-2.0-only WITH Linux-syscall-note", Some("GPL-2.0-only WITH Linux-syscall-note"));
        check(
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
            Some("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT"),
        );
        check("My own", None);
        check("LicenseRef-Acme", None);
        check("MIT OR LicenseRef-Acme", None);
        check("Apache-2.0 WITH AdditionRef-Acme", None);
        check("MIT OR", None);
        check("", None);
    }
}
