//! What the configuration says of doubts about a table.

use serde::{Deserialize, Serialize};

/// What is done about a doubt (`source.on_doubt`, `tables[].on_doubt`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDoubt {
    /// What is in doubt is read again.
    #[default]
    Reread,
    /// The table is left out until an operator has it read.
    StopTable,
}

/// What the configuration says of reads that begin by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// What is done about a doubt.
    pub on_doubt: OnDoubt,
    /// The pause between two reads of a table that begin by themselves, in microseconds (`source.reread_pause`).
    pub pause: i64,
}
