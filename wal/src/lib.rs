//! A durable log of frames with named cursors.
