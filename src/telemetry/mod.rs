//! What the daemon tells about itself: live state for `status`, metrics, logs.

mod live;

pub use live::{Live, SinkLive, SinkPhase, SourceLive, SourcePhase, TableLive, now_micros};
