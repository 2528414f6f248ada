//! Which tables are captured, as the configuration says: it may say otherwise at each start.

use std::cell::RefCell;
use std::collections::HashMap;

use globset::{Glob, GlobSet, GlobSetBuilder};
use replicator::config::TableFilter;

use super::tables::{DATABASE, Name};

/// What `source.include` and `source.exclude` come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Captured {
    /// A bit for each name that is excluded.
    excluded: u32,
    /// Whether every table is named, so that one that is not listed is looked for.
    pub is_named: bool,
}

thread_local! {
    static FILTERS: RefCell<HashMap<Captured, TableFilter>> = RefCell::new(HashMap::new());
}

impl Captured {
    /// Every table of the database.
    pub fn all(is_named: bool) -> Self {
        Self { excluded: 0, is_named }
    }

    /// No table.
    pub fn nothing() -> Self {
        Self { excluded: Name::capturable().fold(0, |excluded, name| excluded | name.bit()), is_named: false }
    }

    pub fn captures(self, name: Name) -> bool {
        name.may_be_captured() && self.excluded & name.bit() == 0
    }

    pub fn names(self) -> impl Iterator<Item = Name> {
        Name::capturable().filter(move |name| self.captures(*name))
    }

    /// Excludes a table, or no longer.
    #[must_use]
    pub fn with_other(self, name: Name) -> Self {
        Self { excluded: self.excluded ^ name.bit(), ..self }
    }

    pub fn filter(self) -> TableFilter {
        FILTERS.with_borrow_mut(|filters| filters.entry(self).or_insert_with(|| self.compiled()).clone())
    }

    fn compiled(self) -> TableFilter {
        let named = || Name::capturable().map(Name::table);
        let include =
            if self.is_named { set(named().map(|table| table.to_string())) } else { set([format!("{DATABASE}.*")]) };
        let is_excluded = |name: &Name| !self.captures(*name);
        let exclude = set(Name::capturable().filter(is_excluded).map(|name| name.to_string()));
        let filter = TableFilter::new(include, exclude);
        if self.is_named { filter.naming(named().collect()) } else { filter }
    }
}

fn set(globs: impl IntoIterator<Item = String>) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(Glob::new(&glob).unwrap());
    }
    set.build().unwrap()
}
