//! Shell quoting, so that a printed command can be pasted. Pure; it never runs a shell.

/// Quotes one word for a POSIX shell: the shell reads the result back as exactly `word`.
pub fn quote(word: &str) -> String {
    if is_plain(word) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// One command as shell text. Each option starts a line of its own and keeps its values beside it.
pub fn command(argv: &[String]) -> String {
    let mut text = String::new();
    for (index, word) in argv.iter().enumerate() {
        if index > 0 {
            text.push_str(if word.starts_with('-') { " \\\n  " } else { " " });
        }
        text.push_str(&if index == 0 { quote_program(word) } else { quote(word) });
    }
    text
}

/// The first word of a command: with a `=` in it, an unquoted one would be an assignment.
fn quote_program(word: &str) -> String {
    if is_plain(word) && word.contains('=') { format!("'{word}'") } else { quote(word) }
}

/// Whether a shell takes the word as it stands. `=` at the start is not: zsh expands it.
fn is_plain(word: &str) -> bool {
    !word.is_empty()
        && !word.starts_with('=')
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn check(input: &str, expect: &str) {
        assert_eq!(quote(input), expect);
    }

    #[test]
    fn only_what_needs_quotes_gets_them() {
        check("-m", "-m");
        check("pc,accel=tcg", "pc,accel=tcg");
        check("", "''");
        check("a b", "'a b'");
        check("it's", r"'it'\''s'");
        check("=ls", "'=ls'");
        check("~", "'~'");
        check("grün", "'grün'");
    }

    #[test]
    fn a_program_with_an_equals_sign_is_no_assignment() {
        assert_eq!(command(&["a=b/qemu".into(), "c=d".into()]), "'a=b/qemu' c=d");
    }

    #[test]
    fn each_option_starts_a_line() {
        let argv = ["qemu", "-m", "128", "-nodefaults", "-append", "a b"].map(String::from);
        assert_eq!(command(&argv), "qemu \\\n  -m 128 \\\n  -nodefaults \\\n  -append 'a b'");
    }

    #[test]
    fn sh_reads_back_what_was_quoted() {
        let words = [
            "-x",
            "",
            "a b",
            "it's",
            "\"$HOME\" `id` \\",
            "*?[a]~#!{1,2}",
            "two\nlines",
            "\t;|&<>()",
            "é ü",
            "--",
            "a=b",
            "'",
        ];
        let argv: Vec<String> = ["printf", r"%s\0"].iter().chain(&words).map(|word| (*word).to_owned()).collect();
        let output = Command::new("sh").arg("-c").arg(command(&argv)).output().expect("sh runs");
        let expect: String = words.iter().map(|word| format!("{word}\0")).collect();
        assert_eq!(String::from_utf8_lossy(&output.stdout), expect);
    }
}
