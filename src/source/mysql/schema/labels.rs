//! The labels of `ENUM` and `SET` columns, out of `information_schema.COLUMNS.COLUMN_TYPE`.
//!
//! Both servers print them in single quotes, with a quote doubled and backslash, NUL, newline and carriage return as
//! backslash escapes.

/// The labels of `enum('a','b')` or `set(...)`, in order; `None` when the text is not of that shape.
pub(super) fn parse(column_type: &str) -> Option<Vec<String>> {
    let open = column_type.find('(')?;
    let mut rest = column_type.get(open + 1..)?.chars();
    let mut labels = Vec::new();
    loop {
        if rest.next()? != '\'' {
            return None;
        }
        let (label, after) = quoted(rest)?;
        labels.push(label);
        rest = after;
        match rest.next()? {
            ',' => {}
            ')' => return Some(labels),
            _ => return None,
        }
    }
}

/// The text up to the closing quote, and what follows that.
pub(super) fn quoted(mut rest: std::str::Chars<'_>) -> Option<(String, std::str::Chars<'_>)> {
    let mut text = String::new();
    loop {
        match rest.next()? {
            '\'' if rest.as_str().starts_with('\'') => {
                rest.next();
                text.push('\'');
            }
            '\'' => return Some((text, rest)),
            '\\' => text.push(match rest.next()? {
                '0' => '\0',
                'n' => '\n',
                'r' => '\r',
                escaped => escaped,
            }),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_quotes_commas_and_escapes() {
        assert_eq!(
            parse(r"enum('z','it''s','b\\\\s','n\nl','x,y',')','')").unwrap(),
            ["z", "it's", r"b\\s", "n\nl", "x,y", ")", ""]
        );
        assert_eq!(parse("set('p','q') /* more */").unwrap(), ["p", "q"]);
    }

    #[test]
    fn a_text_of_another_shape_has_no_labels() {
        for text in ["enum", "enum(", "enum(a)", "enum('a'", "enum('a' ,'b')", "enum('a',)", r"enum('a\"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
