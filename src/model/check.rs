//! One finding of `replicator check`, made by whoever knows the thing checked and shown by the command line.

use serde::Serialize;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// It works, and something about it is worth knowing.
    Warn,
    /// `start` would fail, or lose something.
    Fail,
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckItem {
    /// What was checked, in two or three words.
    pub name: String,
    /// How it came out.
    pub status: CheckStatus,
    /// What was found.
    pub detail: String,
    /// The statement or the setting that mends it.
    pub mend: Option<String>,
    /// The tables that it is about, where the detail names only the first of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
}

impl CheckItem {
    /// As it should be.
    pub fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), status: CheckStatus::Ok, detail: detail.into(), mend: None, tables: Vec::new() }
    }

    /// Works, with something to know.
    pub fn warn(name: impl Into<String>, detail: impl Into<String>, mend: Option<String>) -> Self {
        Self { name: name.into(), status: CheckStatus::Warn, detail: detail.into(), mend, tables: Vec::new() }
    }

    /// Would not work.
    pub fn fail(name: impl Into<String>, detail: impl Into<String>, mend: Option<String>) -> Self {
        Self { name: name.into(), status: CheckStatus::Fail, detail: detail.into(), mend, tables: Vec::new() }
    }

    /// About these tables.
    #[must_use]
    pub fn about(mut self, tables: Vec<String>) -> Self {
        self.tables = tables;
        self
    }
}
