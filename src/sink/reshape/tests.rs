//! The lineage of columns, and the way from one shape to the next.

use super::*;

#[test]
fn a_name_that_a_renamed_column_left_is_a_new_column() {
    let renamed = [("w".to_owned(), "v".to_owned())];
    assert_eq!(came_from("v", &renamed), Some("w"));
    assert_eq!(came_from("W", &renamed), None);
    assert_eq!(came_from("x", &renamed), Some("x"));
    let swapped = [("a".to_owned(), "b".to_owned()), ("b".to_owned(), "a".to_owned())];
    assert_eq!((came_from("a", &swapped), came_from("b", &swapped)), (Some("b"), Some("a")));
}
