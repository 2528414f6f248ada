//! What the bytes in the log mean: frames, schemas, and row images inside frames; and the calendar.

pub mod catalog;
pub mod civil;
pub mod frame;
pub mod row_image;
pub mod state;
pub mod stored;
pub mod version;
