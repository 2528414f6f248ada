//! What the bytes in the log mean: frames, schemas, and row images inside frames.

pub mod catalog;
pub mod frame;
pub mod row_image;
pub mod state;
pub mod stored;
pub mod version;
