//! Text for people: escaped for HTML, numbers in words.

use std::fmt::{self, Display, Formatter, Write};

/// Writes itself so that HTML shows it as it is, in an element or in a quoted attribute.
pub struct Escaped<T>(pub T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(Escaper(out), "{}", self.0)
    }
}

struct Escaper<'a, 'b>(&'a mut Formatter<'b>);

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.write_str("&amp;")?,
                '<' => self.0.write_str("&lt;")?,
                '>' => self.0.write_str("&gt;")?,
                '"' => self.0.write_str("&quot;")?,
                '\'' => self.0.write_str("&#39;")?,
                // HTML has no way to write these down.
                c if c.is_control() && c != '\n' && c != '\t' => self.0.write_char('\u{fffd}')?,
                c => self.0.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// What is shown of a value that could not be read.
const UNKNOWN: &str = "unknown";

/// A value, or that it is unknown.
pub fn known<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())
}

/// A size as people say it: three digits at least, the unit by 1024.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be written as 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 100.0 { 1 } else { 0 };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A time since something, in its two largest units.
pub fn duration(seconds: f64) -> String {
    let whole = seconds as u64;
    let (days, hours, minutes) = (whole / 86400, whole / 3600 % 24, whole / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{whole} s"),
        (0, 0, _) => format!("{minutes} min {} s", whole % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (1, _, _) => format!("1 day {hours} h"),
        _ => format!("{days} days {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup() {
        let check = |input: &str, expect: &str| assert_eq!(Escaped(input).to_string(), expect);
        check("a < b && c > \"d\" 'e'", "a &lt; b &amp;&amp; c &gt; &quot;d&quot; &#39;e&#39;");
        check("one\ntwo\u{0}\u{1b}[0m", "one\ntwo\u{fffd}\u{fffd}[0m");
    }

    #[test]
    fn sizes_have_a_unit_that_fits() {
        let check = |bytes: u64, expect: &str| assert_eq!(size(bytes), expect);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1536, "1.5 KiB");
        check(24_000_000, "22.9 MiB");
        check(200 << 20, "200 MiB");
        check((1 << 30) - 1, "1.0 GiB");
        check(u64::MAX, "16777216 TiB");
    }

    #[test]
    fn durations_have_two_units() {
        let check = |seconds: f64, expect: &str| assert_eq!(duration(seconds), expect);
        check(0.9, "0 s");
        check(93.25, "1 min 33 s");
        check(7260.0, "2 h 1 min");
        check(90_000.0, "1 day 1 h");
        check(900_000.0, "10 days 10 h");
    }
}
