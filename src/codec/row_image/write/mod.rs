//! Writing row images: the bytes a server would have written for the same values.
//!
//! For rows that were read by `SELECT`, for the defaults of added columns, and for sources that have no binlog. Values are
//! checked against their column, and nothing is clamped, rounded or cut: what does not fit is an error that names the column.

mod builder;
mod packed;
mod text;
mod value;

pub use builder::{ImageWriter, RowBuilder};
