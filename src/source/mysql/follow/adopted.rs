//! What it means that a table has another schema from here on: where its columns come from, what they hold in the rows that are there,
//! and whether these have to be read again.

use super::known::{Current, Followed, Provenance, Since};
use super::older_rows::{renames, reread_reason, set_defaults};
use crate::model::{ColumnDefault, TableSchema};

/// How a schema is adopted.
#[derive(Clone, Copy, Debug)]
pub struct Adopting {
    /// The id of the current schema waits for an answer: its rows may yet be left out, so that what is known needs an id of its own.
    pub is_pending: bool,
    /// The server is asked for more of it, so that it needs an id of its own.
    pub asks: bool,
    /// Every row of the copies comes again after it.
    pub is_replaced: bool,
}

/// What adopting a schema comes to.
#[derive(Debug)]
pub enum Adopted {
    /// The table has it already: what statements did has come to nothing. What is known now, if that is anything else.
    AsKnown(Option<Followed>),
    /// The table changes.
    Changes(Box<Adoption>),
}

/// How a table changes.
#[derive(Debug)]
pub struct Adoption {
    /// Its schema, each column with what it holds in rows that were there before it.
    pub schema: TableSchema,
    /// Columns that have another name than before: (old, new).
    pub renamed: Vec<(String, String)>,
    /// Why the rows that are there have to be read again.
    pub reread: Option<&'static str>,
}

impl Followed {
    /// What it means that the table's schema is `found` from here on.
    pub fn adopt(&self, mut found: TableSchema, how: Adopting) -> Adopted {
        let Some(Current { schema: before, .. }) = &self.current else {
            // No existing rows: no default is ever needed.
            for column in &mut found.columns {
                column.default = ColumnDefault::Unknown;
            }
            return Adopted::Changes(Box::new(Adoption { schema: found, renamed: Vec::new(), reread: None }));
        };
        let lineage = self.lineage();
        set_defaults(before, &mut found, &lineage);
        let renamed = renames(before, &found, &lineage);
        let reread = match (how.is_replaced, self.since.unreadable) {
            (true, _) => None,
            (false, true) => Some("a DDL statement of it could not be read"),
            (false, false) => reread_reason(before, &found, &lineage),
        };
        let same = before.same_image(&found) && before.key == found.key && renamed.is_empty();
        if same && !how.is_pending && !how.asks && reread.is_none() {
            return Adopted::AsKnown(self.settled());
        }
        Adopted::Changes(Box::new(Adoption { schema: found, renamed, reread }))
    }

    /// What the statements came to is the schema that the table has already. `None`: nothing was known otherwise.
    fn settled(&self) -> Option<Self> {
        let typed = self.typed.settled();
        let Since { steps, unsettled, left_out, .. } = &self.since;
        if steps.is_empty() && !unsettled && !left_out && self.typed == typed {
            return None;
        }
        let since = Since { steps: Vec::new(), unsettled: false, left_out: false, ..self.since.clone() };
        Some(Self { current: self.current.clone(), since, typed })
    }

    /// The table has a schema. `asked_for`: its columns whose type is not known from it.
    pub fn has(&mut self, current: Current, provenance: Provenance, asked_for: Vec<String>) {
        self.current = Some(current);
        self.since = Since { provenance, key_unknown: self.since.key_unknown, ..Since::default() };
        self.typed = self.typed.settled();
        self.typed.guess(asked_for);
    }
}
