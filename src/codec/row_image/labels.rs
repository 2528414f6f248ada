//! Labels of a `SET`.

/// The labels that a value has, in the order of the type.
pub fn chosen(mask: u64, members: &[String]) -> impl Iterator<Item = &str> + Clone {
    members.iter().enumerate().filter(move |(bit, _)| mask >> bit & 1 == 1).map(|(_, label)| label.as_str())
}

/// Appends the labels that a value has as the server prints them, with commas between. Behind an empty label at the start there is
/// none.
pub fn write_labels(mask: u64, members: &[String], out: &mut Vec<u8>) {
    let start = out.len();
    for label in chosen(mask, members) {
        if out.len() > start {
            out.push(b',');
        }
        out.extend_from_slice(label.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_commas_between_and_none_behind_an_empty_one_at_the_start() {
        let written = |mask, members: &[&str]| {
            let members: Vec<_> = members.iter().map(|label| (*label).to_owned()).collect();
            let mut out = b"x".to_vec();
            write_labels(mask, &members, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(0, &["a", "b"]), "x");
        assert_eq!(written(0b101, &["a", "b", "c"]), "xa,c");
        assert_eq!(written(0b11, &["", "a"]), "xa");
        assert_eq!(written(0b11, &["a", ""]), "xa,");
        let wide: Vec<_> = (0..64).map(|n| n.to_string()).collect();
        assert_eq!(chosen(1 << 63 | 1, &wide).collect::<Vec<_>>(), ["0", "63"]);
    }
}
