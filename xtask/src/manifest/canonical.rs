//! Canonical JSON: one text for one value, so that anyone can compute a manifest's bytes, and their hash, from its data.
//! Source: RFC 8785 (JCS).

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

/// Integers beyond this are not exact everywhere: RFC 8785, section 3.2.2.3, and RFC 7493, section 2.2.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// The canonical text of a value: one line, without a line feed at its end.
pub fn text(value: &impl Serialize) -> Result<String> {
    let value = serde_json::to_value(value).context("failed to write JSON")?;
    let mut text = String::new();
    write(&value, &mut text)?;
    Ok(text)
}

fn write(value: &Value, text: &mut String) -> Result<()> {
    match value {
        // Numbers are integers here: how a fraction is written is most of the standard, and nothing needs one.
        Value::Number(number) => match number.as_u64().filter(|number| *number <= MAX_INTEGER) {
            Some(number) => text.push_str(&number.to_string()),
            None => bail!("failed to write canonical JSON: {number} is no integer from 0 to {MAX_INTEGER}"),
        },
        // serde_json escapes what section 3.2.2.2 escapes, in the same way, and nothing else.
        Value::Null | Value::Bool(_) | Value::String(_) => text.push_str(&value.to_string()),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                write(item, text)?;
            }
            text.push(']');
        }
        Value::Object(map) => {
            // Section 3.2.3: by UTF-16 code units, which is not the order of UTF-8 beyond U+FFFF.
            let mut members: Vec<_> = map.iter().collect();
            members.sort_by_cached_key(|(name, _)| name.encode_utf16().collect::<Vec<_>>());
            text.push('{');
            for (index, (name, member)) in members.into_iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                text.push_str(&Value::String(name.clone()).to_string());
                text.push(':');
                write(member, text)?;
            }
            text.push('}');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The names of RFC 8785, section 3.2.3, in the order that it gives.
    #[test]
    fn names_are_in_the_standards_order() {
        let value = json!({
            "\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew Letter Dalet With Dagesh", "1": "One",
            "\u{1f600}": "Emoji: Grinning Face", "\u{80}": "Control", "\u{f6}": "Latin Small Letter O With Diaeresis",
        });
        let written = text(&value).unwrap();
        let order = ["Carriage Return", "One", "Control", "Latin Small", "Euro Sign", "Emoji", "Hebrew"];
        let places: Vec<_> = order.iter().map(|word| written.find(word).unwrap()).collect();
        assert!(places.is_sorted(), "{written}");
    }

    /// Section 3.2.2.2: short escapes where there are some, lower-case hexadecimal digits, all else as it is.
    #[test]
    fn texts_are_escaped_as_the_standard_says() {
        assert_eq!(
            text(&"\u{20ac}$\u{f}\nA'B\"\\\\\"/\u{7f}").unwrap(),
            "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\u{7f}\""
        );
        assert_eq!(text(&"\u{8}\t\u{c}\r").unwrap(), r#""\b\t\f\r""#);
    }

    #[test]
    fn there_is_no_white_space() {
        assert_eq!(
            text(&json!({"b": [1, true, null, {}], "a": {"d": 2, "c": []}})).unwrap(),
            r#"{"a":{"c":[],"d":2},"b":[1,true,null,{}]}"#
        );
    }

    #[test]
    fn a_number_that_is_not_exact_everywhere_is_refused() {
        assert_eq!(text(&MAX_INTEGER).unwrap(), "9007199254740991");
        for value in [json!(MAX_INTEGER + 1), json!(0.5), json!(-1)] {
            assert!(text(&value).unwrap_err().to_string().contains("is no integer"), "{value}");
        }
    }
}
