//! Why a value cannot be written. Messages name columns, never a value; hints name the setting to change.

use crate::codec::row_image::ValueError;
use crate::error::Failure;

/// A value that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ValueProblem {
    /// Its content is malformed.
    #[error(transparent)]
    Content(#[from] ValueError),
    /// The target's column does not hold it.
    #[error("column \"{column}\" {problem}")]
    Range {
        /// The column, by its name in the source.
        column: String,
        /// What it holds.
        problem: &'static str,
        /// What the operator can do.
        hint: &'static str,
    },
}

impl ValueProblem {
    /// A failure that it is the cause of, with what the operator can do.
    pub(in crate::sink) fn causes(self, failure: Failure) -> Failure {
        match self {
            Self::Range { hint, .. } => failure.hint(hint).caused_by(self),
            Self::Content(error @ ValueError::Text { .. }) => failure
                .hint("set `invalid_text` of the sink or the table to `replace` or `bytes`, or correct the value in the source")
                .caused_by(error),
            Self::Content(error @ ValueError::Json { .. }) => failure
                .hint("correct the value in the source, or leave the column out with `drop`")
                .caused_by(error),
        }
    }
}

impl From<ValueError> for Box<ValueProblem> {
    fn from(error: ValueError) -> Self {
        Self::new(error.into())
    }
}
