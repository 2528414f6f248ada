//! The `ddl` section of a sink: what is done about changes of definitions.

use super::tree::Section;

/// What is done about changes of definitions, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DdlPolicy {
    /// Columns added.
    pub add: DdlAction,
    /// Columns dropped.
    pub drop: DdlAction,
    /// Columns renamed.
    pub rename: DdlAction,
    /// Types, nullability and key changed.
    pub retype: DdlAction,
    /// Tables emptied.
    pub truncate: DdlAction,
    /// Tables dropped.
    pub drop_table: DdlAction,
}

/// What is done about a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DdlAction {
    /// Done at the target as well.
    Apply,
    /// Not done at the target.
    Ignore,
    /// The table stops.
    Stop,
}

impl DdlPolicy {
    /// Everything is followed.
    pub const APPLY: Self = {
        let apply = DdlAction::Apply;
        Self { add: apply, drop: apply, rename: apply, retype: apply, truncate: apply, drop_table: apply }
    };
}

/// Reads the section; what it leaves out is followed.
pub(super) fn read(section: Section<'_>) -> DdlPolicy {
    let words = [("apply", DdlAction::Apply), ("ignore", DdlAction::Ignore), ("stop", DdlAction::Stop)];
    let action = |name| section.key(name).choice(&words).unwrap_or(DdlAction::Apply);
    let policy = DdlPolicy {
        add: action("add"),
        drop: action("drop"),
        rename: action("rename"),
        retype: action("retype"),
        truncate: action("truncate"),
        drop_table: action("drop_table"),
    };
    section.finish();
    policy
}
