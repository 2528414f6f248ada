//! `ALTER TABLE`, read item by item.
//!
//! An item is an operation with all that follows it up to the next comma outside parentheses. Items that are not understood make
//! the whole statement unreadable: a column that came or went unnoticed would be worse than a question.

use super::alter_op::{AlterOp, AlterOps, UnseenChange};
use super::columns::{self, Attributes, Element};
use super::create;
use super::cursor::Cursor;
use super::definition;
use super::names;
use super::stated;

/// Takes what follows the table's name.
pub(super) fn ops(cursor: &mut Cursor<'_>, default_database: &str, ignore: bool) -> AlterOps {
    cursor.eat_wait();
    let mut parser = Parser { cursor: *cursor, default_database, ops: Vec::new(), ordering: false };
    if parser.list().is_none() {
        return AlterOps::Unreadable;
    }
    let mut ops = parser.ops;
    let keeps_rows = |op: &AlterOp| {
        matches!(
            op,
            AlterOp::AddColumn { .. }
                | AlterOp::DropColumn { .. }
                | AlterOp::RenameColumn { .. }
                | AlterOp::RenameTo(_)
                | AlterOp::RowsChangedUnseen { .. }
        )
    };
    if ignore && !ops.iter().all(keeps_rows) {
        ops.push(AlterOp::RowsChangedUnseen { what: UnseenChange::AlterIgnore, other: None });
    }
    AlterOps::Known(ops)
}

/// Words that start an option of the table, or another part that changes neither rows, nor columns, nor keys. An option
/// that has `=` behind its name needs no entry.
const OPTIONS: &[&str] = &[
    "ALGORITHM",
    "AUTO_INCREMENT",
    "AVG_ROW_LENGTH",
    "CHARACTER",
    "CHARSET",
    "CHECKSUM",
    "COLLATE",
    "COMMENT",
    "COMPRESSION",
    "CONNECTION",
    "DATA",
    "DEFAULT",
    "DELAY_KEY_WRITE",
    "DISABLE",
    "ENABLE",
    "ENCRYPTION",
    "ENGINE",
    "ENGINE_ATTRIBUTE",
    "FORCE",
    "INDEX",
    "INSERT_METHOD",
    "KEY_BLOCK_SIZE",
    "LOCK",
    "MAX_ROWS",
    "MIN_ROWS",
    "NOWAIT",
    "PACK_KEYS",
    "PARTITION",
    "PASSWORD",
    "REMOVE",
    "ROW_FORMAT",
    "SECONDARY_ENGINE",
    "SECONDARY_ENGINE_ATTRIBUTE",
    "SECONDARY_LOAD",
    "SECONDARY_UNLOAD",
    "STATS_AUTO_RECALC",
    "STATS_PERSISTENT",
    "STATS_SAMPLE_PAGES",
    "STORAGE",
    "TABLESPACE",
    "TYPE",
    "UNION",
    "WAIT",
    "WITH",
    "WITHOUT",
];

/// Operations on partitions that leave every row in the table.
const PARTITION_UPKEEP: &[&str] =
    &["ANALYZE", "CHECK", "COALESCE", "OPTIMIZE", "REBUILD", "REORGANIZE", "REPAIR", "UPGRADE"];

struct Parser<'a> {
    cursor: Cursor<'a>,
    default_database: &'a str,
    ops: Vec<AlterOp>,
    /// Whether `ORDER BY` has come, after which an item may be a column to order by.
    ordering: bool,
}

impl Parser<'_> {
    /// Takes all items; `None` when one of them is not understood.
    fn list(&mut self) -> Option<()> {
        if self.cursor.at_end() {
            return Some(());
        }
        loop {
            self.item()?;
            self.cursor.skip_item();
            if !self.cursor.eat_symbol(b',') {
                return self.cursor.at_end().then_some(());
            }
        }
    }

    fn item(&mut self) -> Option<()> {
        if self.cursor.eat("ADD") {
            self.add()
        } else if self.cursor.eat("DROP") {
            self.drop()
        } else if self.cursor.eat("RENAME") {
            self.rename()
        } else if self.cursor.eat("CHANGE") {
            self.change()
        } else if self.cursor.eat("MODIFY") {
            self.modify()
        } else if self.cursor.eat("CONVERT") {
            self.convert()
        } else if self.cursor.eat("EXCHANGE") {
            self.with_other_table(UnseenChange::ExchangePartition, "WITH")
        } else if self.cursor.eat("TRUNCATE") {
            self.unseen(UnseenChange::TruncatePartition)
        } else if self.cursor.eat("DISCARD") {
            self.unseen(UnseenChange::DiscardTablespace)
        } else if self.cursor.eat("IMPORT") {
            self.unseen(UnseenChange::ImportTablespace)
        } else if self.cursor.eat_all(&["ORDER", "BY"]) {
            self.ordering = true;
            self.push(AlterOp::Other)
        } else if self.is_partition_upkeep() {
            self.cursor.skip_all();
            self.push(AlterOp::Other)
        } else {
            self.harmless()
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "the last word of every branch that understood its item")]
    fn push(&mut self, op: AlterOp) -> Option<()> {
        self.ops.push(op);
        Some(())
    }

    fn add(&mut self) -> Option<()> {
        if self.cursor.is("PARTITION") {
            // New partitions are empty, or take over rows of others.
            self.cursor.skip_all();
            return self.push(AlterOp::Other);
        }
        if self.cursor.is_all(&["SYSTEM", "VERSIONING"]) {
            return self.push(AlterOp::SystemVersioningChanged { added: true });
        }
        let column = self.cursor.eat("COLUMN");
        let if_not_exists = self.cursor.eat_if_not_exists();
        if self.cursor.eat_symbol(b'(') {
            loop {
                let element = columns::element(&mut self.cursor)?;
                self.element(element, if_not_exists);
                if self.cursor.eat_symbol(b')') {
                    return Some(());
                }
                if !self.cursor.eat_symbol(b',') {
                    return None;
                }
            }
        }
        let only_columns = column || if_not_exists;
        let element =
            if only_columns { columns::column(&mut self.cursor)? } else { columns::element(&mut self.cursor)? };
        self.element(element, if_not_exists);
        Some(())
    }

    fn element(&mut self, element: Element, if_not_exists: bool) {
        match element {
            Element::Column { name, ty, attributes, default, definition, stated } => {
                let position_given = attributes.position;
                self.ops.push(AlterOp::AddColumn {
                    name,
                    position_given,
                    default,
                    ty,
                    if_not_exists,
                    definition,
                    stated,
                });
                self.keys_of(attributes);
            }
            Element::PrimaryKey(_) => self.ops.push(AlterOp::PrimaryKeyChanged),
            Element::Index { is_plain: false } => self.ops.push(AlterOp::IndexChanged),
            Element::Period => self.ops.push(AlterOp::Period),
            Element::Index { is_plain: true } | Element::Constraint => self.ops.push(AlterOp::Other),
        }
    }

    fn keys_of(&mut self, attributes: Attributes) {
        if attributes.primary {
            self.ops.push(AlterOp::PrimaryKeyChanged);
        }
        if attributes.unique {
            self.ops.push(AlterOp::IndexChanged);
        }
    }

    fn drop(&mut self) -> Option<()> {
        if self.cursor.is("PARTITION") {
            return self.unseen(UnseenChange::DropPartition);
        }
        if self.cursor.is("PRIMARY") {
            return self.push(AlterOp::PrimaryKeyChanged);
        }
        if self.cursor.is_all(&["SYSTEM", "VERSIONING"]) {
            return self.push(AlterOp::SystemVersioningChanged { added: false });
        }
        if columns::is_period(self.cursor) {
            return self.push(AlterOp::Period);
        }
        if self.cursor.is_any(&["FOREIGN", "CHECK"]) {
            return self.push(AlterOp::Other);
        }
        if self.cursor.eat_any(&["INDEX", "KEY", "CONSTRAINT"]) {
            self.cursor.eat_if_exists();
            // The primary key is an index of this name, and can be dropped by it.
            let primary = self.cursor.identifier()?.eq_ignore_ascii_case("PRIMARY");
            return self.push(if primary { AlterOp::PrimaryKeyChanged } else { AlterOp::IndexChanged });
        }
        self.cursor.eat("COLUMN");
        self.cursor.eat_if_exists();
        let name = columns::name(&mut self.cursor)?;
        self.push(AlterOp::DropColumn { name })
    }

    fn rename(&mut self) -> Option<()> {
        if self.cursor.eat("COLUMN") {
            self.cursor.eat_if_exists();
            let from = columns::name(&mut self.cursor)?;
            let to = self.cursor.eat("TO").then(|| columns::name(&mut self.cursor))??;
            return self.push(AlterOp::RenameColumn { from, to });
        }
        if self.cursor.is_any(&["INDEX", "KEY"]) {
            return self.push(AlterOp::Other);
        }
        if !self.cursor.eat_any(&["TO", "AS"]) {
            self.cursor.eat_symbol(b'=');
        }
        let table = names::table(&mut self.cursor, self.default_database)?;
        self.push(AlterOp::RenameTo(table))
    }

    fn change(&mut self) -> Option<()> {
        self.cursor.eat("COLUMN");
        let if_exists = self.cursor.eat_if_exists();
        let from = columns::name(&mut self.cursor)?;
        let to = columns::name(&mut self.cursor)?;
        let ty = columns::type_name(self.cursor);
        let (definition, stated) = (Box::new(definition::of(self.cursor)), stated::of(self.cursor));
        self.ops.push(AlterOp::ChangeColumn { from, to, ty, if_exists, definition, stated });
        let attributes = columns::attributes(&mut self.cursor);
        self.keys_of(attributes);
        Some(())
    }

    fn modify(&mut self) -> Option<()> {
        self.cursor.eat("COLUMN");
        let if_exists = self.cursor.eat_if_exists();
        let name = columns::name(&mut self.cursor)?;
        let ty = columns::type_name(self.cursor);
        let (definition, stated) = (Box::new(definition::of(self.cursor)), stated::of(self.cursor));
        self.ops.push(AlterOp::ModifyColumn { name, ty, if_exists, definition, stated });
        let attributes = columns::attributes(&mut self.cursor);
        self.keys_of(attributes);
        Some(())
    }

    fn convert(&mut self) -> Option<()> {
        if self.cursor.is("PARTITION") {
            return self.with_other_table(UnseenChange::ConvertPartition, "TABLE");
        }
        if self.cursor.eat("TABLE") {
            let other = names::table(&mut self.cursor, self.default_database)?;
            self.cursor.skip_all();
            return self.push(AlterOp::RowsChangedUnseen { what: UnseenChange::ConvertPartition, other: Some(other) });
        }
        self.cursor.is("TO").then(|| self.push(AlterOp::ConvertCharset))?
    }

    /// Behind the verb: the other table stands behind `word`, and for one of the verbs `TABLE`.
    fn with_other_table(&mut self, what: UnseenChange, word: &str) -> Option<()> {
        while !self.cursor.eat(word) {
            self.cursor.take_in_item()?;
        }
        self.cursor.eat("TABLE");
        let other = names::table(&mut self.cursor, self.default_database)?;
        self.push(AlterOp::RowsChangedUnseen { what, other: Some(other) })
    }

    /// An operation on partitions or the tablespace. It stands last, and commas may follow between the partitions' names.
    fn unseen(&mut self, what: UnseenChange) -> Option<()> {
        let known = self.cursor.is_any(&["PARTITION", "TABLESPACE"]);
        self.cursor.skip_all();
        known.then(|| self.push(AlterOp::RowsChangedUnseen { what, other: None }))?
    }

    fn is_partition_upkeep(&self) -> bool {
        PARTITION_UPKEEP.iter().any(|verb| self.cursor.is_all(&[verb, "PARTITION"]))
            || self.cursor.is_all(&["UPGRADE", "PARTITIONING"])
    }

    /// An option of the table, `ALTER COLUMN`, `ALTER INDEX`, or a column to order by.
    fn harmless(&mut self) -> Option<()> {
        if !self.cursor.is("ALTER") && self.options_that_matter() {
            return Some(());
        }
        // `ALTER` sets a default, or whether a column, an index or a check is seen.
        let mut known = self.ordering || self.cursor.is("ALTER") || self.cursor.is_any(OPTIONS);
        if !known {
            // Engines of MariaDB bring options of their own.
            self.cursor.identifier()?;
            known = self.cursor.is_symbol(b'=');
        }
        known.then(|| self.push(AlterOp::Other))?
    }

    /// Options of the item, which have no commas between them, that say where the rows are: whether there are any.
    fn options_that_matter(&mut self) -> bool {
        let mut ahead = self.cursor;
        if !ahead.is_any(OPTIONS) && create::sequence(&mut ahead).is_none() {
            return false;
        }
        let before = self.ops.len();
        ahead = self.cursor;
        loop {
            if let Some(engine) = create::engine(&mut ahead) {
                self.ops.push(AlterOp::Engine(engine));
            } else if let Some(is_sequence) = create::sequence(&mut ahead) {
                self.ops.push(AlterOp::Sequence(is_sequence));
            } else if let Some(union) = create::union(&mut ahead, self.default_database) {
                self.ops.push(AlterOp::Union(union));
            } else if ahead.take_in_item().is_none() {
                return self.ops.len() > before;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_sorted() {
        assert!(OPTIONS.is_sorted());
    }
}
