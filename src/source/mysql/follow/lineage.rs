//! Where each column of a table comes from when its schema changes: an older column, perhaps under another name, or a
//! statement that added it.
//!
//! One schema change in the log may stand for several statements: those whose own result could not be seen because the
//! server was already further. Their steps are kept in order ([`ColumnSteps`], stored with the table's record) and followed
//! from the names of the last schema in the log to those of the next one.
//!
//! A statement may have been noted twice (read again after a crash). That changes nothing, or makes the lineage
//! [doubtful](Lineage::doubtful); the table is then read again. A lineage is never silently wrong about a column that
//! statements have told.

use serde::{Deserialize, Serialize};

pub(super) use crate::model::same_column as same;
use crate::source::mysql::ddl::{AddedDefault, AlterOp, Definition};

/// What one statement does to the columns of a table. Old names are those before the statement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnSteps {
    dropped: Vec<String>,
    /// (old, new).
    renamed: Vec<(String, String)>,
    added: Vec<(String, AddedDefault)>,
    /// Columns that it defines, by their old names; those that it adds, by their new ones.
    defined: Vec<(String, Definition)>,
    /// Texts may have another collation.
    converts: bool,
}

impl ColumnSteps {
    /// What `CREATE TABLE` says of the columns that it lists.
    pub fn created(definitions: &[(String, Definition)]) -> Self {
        Self { defined: definitions.to_vec(), ..Self::default() }
    }

    /// What the operations of one statement do.
    pub fn of(ops: &[AlterOp]) -> Self {
        let mut steps = Self::default();
        for op in ops {
            if let AlterOp::AddColumn { name, definition, .. }
            | AlterOp::ModifyColumn { name, definition, .. }
            | AlterOp::ChangeColumn { from: name, definition, .. } = op
            {
                steps.defined.push((name.clone(), Definition::clone(definition)));
            }
            steps.converts |= matches!(op, AlterOp::ConvertCharset);
            match op {
                AlterOp::AddColumn { name, default, .. } => steps.added.push((name.clone(), default.clone())),
                AlterOp::DropColumn { name } => steps.dropped.push(name.clone()),
                AlterOp::RenameColumn { from, to } | AlterOp::ChangeColumn { from, to, .. } if from != to => {
                    steps.renamed.push((from.clone(), to.clone()));
                }
                // It keeps its name, or none is named.
                _ => {}
            }
        }
        steps
    }

    /// Whether it does nothing to them.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether columns come, go or change their names in it.
    pub fn moves_columns(&self) -> bool {
        !(self.dropped.is_empty() && self.renamed.is_empty() && self.added.is_empty())
    }

    /// Whether columns take each other's names: noted twice, such a statement is not the same as noted once.
    fn swaps(&self) -> bool {
        self.renamed
            .iter()
            .any(|(old, to)| !same(old, to) && self.renamed.iter().any(|(from, _)| same(from, to) && !same(from, old)))
    }
}

/// What became of the columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    columns: Vec<(String, Came)>,
    /// What statements have said of columns, by their current names, in order.
    defined: Vec<(String, Definition)>,
    converts: bool,
    doubtful: bool,
}

/// What statements have said of the definition of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defined<'l> {
    /// Nothing: it is what it was.
    Untouched,
    /// This.
    Once(&'l Definition),
    /// Several things, of which this was the last.
    Again(&'l Definition),
}

/// Where a column comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// A column of the older schema, by its name there.
    From(String),
    /// A statement added it.
    Added(AddedDefault),
}

impl Lineage {
    /// Follows the statements' steps from the columns `before`.
    pub fn follow<'a>(
        before: impl IntoIterator<Item = &'a str>,
        statements: impl IntoIterator<Item = &'a ColumnSteps>,
    ) -> Self {
        let columns = before.into_iter().map(|name| (name.to_owned(), Came::From(name.to_owned()))).collect();
        let mut lineage = Self { columns, defined: Vec::new(), converts: false, doubtful: false };
        for steps in statements {
            lineage.step(steps);
        }
        lineage
    }

    fn step(&mut self, steps: &ColumnSteps) {
        let is_added = |name: &str| steps.added.iter().any(|(added, _)| same(added, name));
        let is_gone = |name: &str| steps.dropped.iter().any(|dropped| same(dropped, name));
        self.converts |= steps.converts;
        // What is added under the name of a column that goes has the definition, and that one has none any more.
        let changed = steps.defined.iter().filter(|(name, _)| !is_added(name));
        self.defined.extend(changed.cloned());
        self.defined.retain(|(name, _)| !is_gone(name));
        for (name, _) in &mut self.defined {
            if let Some((_, to)) = steps.renamed.iter().find(|(from, _)| same(from, name)) {
                name.clone_from(to);
            }
        }
        self.columns.retain(|(name, _)| !is_gone(name));
        for (name, _) in &mut self.columns {
            if let Some((_, to)) = steps.renamed.iter().find(|(from, _)| same(from, name)) {
                name.clone_from(to);
            }
        }
        for (name, default) in &steps.added {
            // One that is there was meant with IF NOT EXISTS, or the statement is read for the second time.
            if self.came(name).is_none() {
                self.columns.push((name.clone(), Came::Added(default.clone())));
                self.defined.extend(steps.defined.iter().filter(|(defined, _)| same(defined, name)).cloned());
            }
        }
        self.doubtful |= steps.swaps() || self.has_twins();
    }

    fn has_twins(&self) -> bool {
        self.columns
            .iter()
            .enumerate()
            .any(|(at, (name, _))| self.columns.iter().skip(at + 1).any(|(other, _)| same(name, other)))
    }

    /// Where the column of this name comes from; `None` when there is no such column as far as the statements tell.
    pub fn came(&self, name: &str) -> Option<&Came> {
        self.columns.iter().find(|(there, _)| same(there, name)).map(|(_, came)| came)
    }

    /// What statements have said of the definition of the column of this name.
    pub fn defined(&self, name: &str) -> Defined<'_> {
        let mut said = self.defined.iter().filter(|(there, _)| same(there, name)).map(|(_, definition)| definition);
        let Some(first) = said.next() else { return Defined::Untouched };
        let mut last = first;
        let mut is_same = true;
        for definition in said {
            // A statement may have been read twice.
            is_same &= definition == last;
            last = definition;
        }
        if is_same { Defined::Once(last) } else { Defined::Again(last) }
    }

    /// Whether texts may have got another collation without a word about their column.
    pub fn converts(&self) -> bool {
        self.converts
    }

    /// The columns' names; their order means nothing.
    pub fn names(&self) -> Vec<String> {
        self.columns.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Whether the statements contradict each other, so that a column may be taken for another one.
    pub fn doubtful(&self) -> bool {
        self.doubtful
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::mysql::ddl::{self, AlterOps, Literal, SqlMode, Statement};

    fn steps(sql: &str) -> ColumnSteps {
        match ddl::parse(&format!("ALTER TABLE t {sql}"), "d", SqlMode::default()) {
            Statement::AlterTable { ops: AlterOps::Known(ops), .. } => ColumnSteps::of(&ops),
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// `name<old` for a column that was there, `name=literal` for one that was added.
    fn followed(before: &[&str], statements: &[&str]) -> (String, bool) {
        let statements: Vec<ColumnSteps> = statements.iter().map(|sql| steps(sql)).collect();
        let lineage = Lineage::follow(before.iter().copied(), &statements);
        let shown: Vec<String> = lineage
            .columns
            .iter()
            .map(|(name, came)| match came {
                Came::From(old) => format!("{name}<{old}"),
                Came::Added(AddedDefault::Literal(Literal::Number(number))) => format!("{name}={number}"),
                Came::Added(other) => format!("{name}={other:?}"),
            })
            .collect();
        (shown.join(" "), lineage.doubtful())
    }

    fn certain(before: &[&str], statements: &[&str]) -> String {
        let (shown, doubtful) = followed(before, statements);
        assert!(!doubtful, "{statements:?}");
        shown
    }

    #[test]
    fn a_column_is_followed_through_its_names() {
        assert_eq!(certain(&["a", "x"], &["RENAME COLUMN a TO b", "CHANGE B c INT"]), "c<a x<x");
        assert_eq!(certain(&["a"], &["RENAME COLUMN gone TO never"]), "a<a");
        assert_eq!(certain(&["id"], &["CHANGE ID Id BIGINT"]), "Id<id");
    }

    #[test]
    fn an_added_column_keeps_its_default_under_later_names() {
        assert_eq!(certain(&["a"], &["ADD b INT DEFAULT 5", "RENAME COLUMN b TO c"]), "a<a c=5");
        assert_eq!(certain(&["a"], &["ADD (b INT DEFAULT 5, c INT)"]), "a<a b=5 c=Absent");
    }

    #[test]
    fn a_column_that_was_dropped_again_is_forgotten() {
        assert_eq!(certain(&["a"], &["ADD b INT DEFAULT 5", "DROP COLUMN b"]), "a<a");
        assert_eq!(certain(&["a"], &["ADD b INT DEFAULT 5", "DROP B", "ADD b INT DEFAULT 6"]), "a<a b=6");
    }

    #[test]
    fn a_column_dropped_and_added_again_is_a_new_one() {
        assert_eq!(certain(&["a", "b"], &["DROP b", "ADD b INT DEFAULT 6"]), "a<a b=6");
        assert_eq!(certain(&["a", "b"], &["DROP b, ADD b INT DEFAULT 6"]), "a<a b=6");
        assert_eq!(certain(&["a", "b"], &["RENAME COLUMN b TO c, ADD b INT DEFAULT 6"]), "a<a c<b b=6");
    }

    #[test]
    fn adding_a_column_that_is_there_changes_nothing() {
        assert_eq!(certain(&["a"], &["ADD COLUMN IF NOT EXISTS A INT DEFAULT 5"]), "a<a");
        assert_eq!(certain(&[], &["ADD b INT DEFAULT 5", "ADD COLUMN IF NOT EXISTS b INT DEFAULT 6"]), "b=5");
    }

    #[test]
    fn a_statement_noted_twice_is_the_same_as_once_or_doubtful() {
        for sql in
            ["RENAME COLUMN a TO c", "ADD d INT DEFAULT 5", "DROP a", "DROP a, ADD a INT DEFAULT 5", "CHANGE b B INT"]
        {
            assert_eq!(certain(&["a", "b"], &[sql, sql]), certain(&["a", "b"], &[sql]), "{sql}");
        }
        assert_eq!(certain(&["a"], &["RENAME COLUMN a TO b", "RENAME COLUMN b TO c"]), "c<a");
        for statements in [
            &["RENAME COLUMN a TO b, RENAME COLUMN b TO a"][..],
            &["RENAME COLUMN a TO c", "ADD a INT", "RENAME COLUMN a TO c", "ADD a INT"],
        ] {
            assert!(followed(&["a", "b"], statements).1, "{statements:?}");
        }
    }
}
