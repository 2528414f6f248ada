//! Which tables a status is asked about.

use globset::GlobMatcher;

use super::{Status, TableStatus};
use crate::config::glob_in_lower_case;
use crate::model::Names;
use crate::table::State;

/// The tables to show; the others are taken out of the document. Sinks and the verdict stay as they are.
#[derive(Clone, Debug, Default)]
pub struct TableSelection {
    /// Their names match one of these; all names without any.
    pub names: Vec<GlobMatcher>,
    /// They are in one of these states at a sink, or as far as source and log go; any state without any.
    pub states: Vec<State>,
}

impl TableSelection {
    /// Whether every table is shown.
    pub fn is_all(&self) -> bool {
        self.names.is_empty() && self.states.is_empty()
    }

    /// Takes the other tables out.
    pub fn apply(&self, status: &mut Status) {
        if self.is_all() {
            return;
        }
        let selection = self.under(status.source.names);
        status.tables.retain(|table| selection.has(table));
        let kept: std::collections::HashSet<&str> = status.tables.iter().map(|table| table.table.as_str()).collect();
        status.snapshot.tables.retain(|read| kept.contains(read.table.as_str()));
    }

    /// For a source with this rule for names.
    fn under(&self, names: Names) -> Self {
        match names {
            Names::Exact => self.clone(),
            Names::Folded => {
                let in_lower_case = |glob: &GlobMatcher| glob_in_lower_case(glob.glob()).compile_matcher();
                Self { names: self.names.iter().map(in_lower_case).collect(), states: self.states.clone() }
            }
        }
    }

    fn has(&self, table: &TableStatus) -> bool {
        let is_named = self.names.is_empty() || self.names.iter().any(|glob| glob.is_match(&table.table));
        let mut states = table.states().chain([&table.stated]).filter_map(|stated| stated.state);
        is_named && (self.states.is_empty() || states.any(|state| self.states.contains(&state)))
    }
}
