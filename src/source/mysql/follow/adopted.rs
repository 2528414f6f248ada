//! What it means that a table has another schema from here on: where its columns come from, what they hold in the rows that are there,
//! and whether these have to be read again.

use super::known::{Current, Followed, Provenance, Since};
use super::older_rows::{Reread, has_same_key, renames, reread, set_attributes, set_defaults};
use crate::model::{ColumnDefault, TableSchema};

/// How a schema is adopted.
#[derive(Clone, Copy, Debug)]
pub struct Adopting {
    /// The id of the current schema waits for an answer: its rows may yet be left out, so that what is known needs an id of its own.
    pub is_pending: bool,
    /// The server is asked for more of it, so that it needs an id of its own.
    pub asks: bool,
    /// What the copies have.
    pub copies: Copies,
}

/// What the copies have of a table that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// Its rows, as far as they came.
    Standing,
    /// Rows that a read is to bring otherwise.
    Doubted,
    /// What the stream brought since they were emptied: every row comes again.
    Emptied,
    /// Nothing that counts: every row comes again after the change, in place of what they have.
    Replaced,
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
    /// Whether the rows that are there have to be read again.
    pub reread: Option<Reread>,
    /// The rows of a copy cannot be told by their keys any more.
    pub lost: bool,
}

impl Followed {
    /// What it means that the table's schema is `found` from here on.
    pub fn adopt(&self, mut found: TableSchema, how: Adopting) -> Adopted {
        let lineage = self.lineage();
        let before = self.current.as_ref().map(|current| &*current.schema);
        if !self.since.unreadable {
            set_attributes(before, &mut found, &lineage);
        }
        let Some(before) = before else {
            // No existing rows: no default is ever needed.
            for column in &mut found.columns {
                column.default = ColumnDefault::Unknown;
            }
            return Adopted::Changes(Box::new(Adoption {
                schema: found,
                renamed: Vec::new(),
                reread: None,
                lost: false,
            }));
        };
        set_defaults(before, &mut found, &lineage);
        let renamed = renames(before, &found, &lineage);
        let judged = if !self.has_names() {
            Some(Reread { why: "rows of it wait for the names of its columns", replaces: true })
        } else if self.since.unreadable {
            Some(Reread { why: "a DDL statement of it could not be read", replaces: true })
        } else {
            reread(before, &found, &lineage).or_else(|| {
                // Another key of rows that a copy may have otherwise may be the same for two of them.
                let moved = how.copies == Copies::Doubted && !has_same_key(before, &found, &lineage);
                moved.then_some(Reread { why: "its key changed while it was to be read again", replaces: true })
            })
        };
        let lost = judged.is_some_and(|reread| reread.replaces);
        let reread = judged.filter(|reread| match how.copies {
            Copies::Standing | Copies::Doubted => true,
            Copies::Emptied => reread.replaces,
            Copies::Replaced => false,
        });
        let same = before.same_image(&found) && before.key == found.key && renamed.is_empty();
        if same && !how.is_pending && !how.asks && reread.is_none() {
            return Adopted::AsKnown(self.settled(&found));
        }
        Adopted::Changes(Box::new(Adoption { schema: found, renamed, reread, lost }))
    }

    /// What the statements came to is the schema that the table has already, of which `found` may say more. `None`: nothing was known
    /// otherwise.
    fn settled(&self, found: &TableSchema) -> Option<Self> {
        let current = self.current.as_ref().map(|current| current.learn(found));
        let learns =
            current.as_ref().map(|current| &current.schema) != self.current.as_ref().map(|current| &current.schema);
        let typed = self.typed.settled();
        let Since { steps, unsettled, left_out, .. } = &self.since;
        if steps.is_empty() && !unsettled && !left_out && !learns && self.typed == typed {
            return None;
        }
        let since = Since { steps: Vec::new(), unsettled: false, left_out: false, ..self.since.clone() };
        Some(Self { current, since, typed, predicted: None })
    }

    /// The table has a schema. `asked_for`: its columns whose type is not known from it.
    pub fn has(&mut self, current: Current, provenance: Provenance, asked_for: Vec<String>) {
        self.current = Some(current);
        self.predicted = None;
        self.since = Since { provenance, key_unknown: self.since.key_unknown, ..Since::default() };
        self.typed = self.typed.settled();
        self.typed.guess(asked_for);
    }
}
