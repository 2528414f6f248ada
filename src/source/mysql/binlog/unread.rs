//! Why rows of a captured table are not given out.

use std::sync::Arc;

/// Why rows of a captured table are not given out. It is the table's matter alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// A column cannot be read, whatever the rows are: the table is left out until it has another definition. Why, with the remedy.
    Columns(Arc<str>),
    /// These rows are not what their `TABLE_MAP` says, or it does not say enough, so that nobody knows what they are: the table is read
    /// again. Why.
    Rows(Arc<str>),
}
