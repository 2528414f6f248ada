//! What the bytes in the log mean: frames, and row images inside them.

pub mod row_image;
