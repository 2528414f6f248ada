//! Sources: where changes come from. A source knows no sink, and the log only as what its caller does with what it gives.

pub mod mysql;
