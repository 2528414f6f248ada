//! What the rows of before a change of a table hold under its new schema, and when that cannot be told from what the sinks hold.
//!
//! Pure: from the two schemas and the way that each column came ([`Lineage`]). Where it gives a reason, the table is read again.

use super::lineage::{Came, Lineage};
use crate::model::{Column, ColumnDefault, TableSchema, keeps_values};
use crate::source::mysql::schema::added_default;

/// Gives each column the value it has in rows that were there before it. Only the statements know it: a description by the
/// server shows its state of now, with other defaults perhaps.
pub(super) fn set_defaults(before: &TableSchema, found: &mut TableSchema, lineage: &Lineage) {
    let defaults: Vec<ColumnDefault> = found
        .columns
        .iter()
        .enumerate()
        .map(|(place, column)| match lineage.came(&column.name) {
            Some(Came::Added(default)) => added_default(found, place, default),
            Some(Came::From(old)) => match column_of(before, old) {
                Some(old) if old.ty == column.ty => old.default.clone(),
                _ => ColumnDefault::Unknown,
            },
            None => ColumnDefault::Unknown,
        })
        .collect();
    for (column, default) in found.columns.iter_mut().zip(defaults) {
        column.default = default;
    }
}

fn column_of<'s>(schema: &'s TableSchema, name: &str) -> Option<&'s Column> {
    schema.columns.get(schema.column_index(name)?)
}

/// Columns with another name than before: (old, new).
pub(super) fn renames(before: &TableSchema, after: &TableSchema, lineage: &Lineage) -> Vec<(String, String)> {
    after
        .columns
        .iter()
        .filter_map(|column| match lineage.came(&column.name)? {
            Came::From(old) => {
                let old = column_of(before, old)?;
                (old.name != column.name).then(|| (old.name.clone(), column.name.clone()))
            }
            Came::Added(_) => None,
        })
        .collect()
}

/// Why rows of before the change cannot be derived at a sink, if they cannot.
pub(super) fn reread_reason(before: &TableSchema, after: &TableSchema, lineage: &Lineage) -> Option<&'static str> {
    if lineage.doubtful() {
        return Some("its columns changed their names in a way that cannot be followed");
    }
    for column in &after.columns {
        match lineage.came(&column.name) {
            Some(Came::From(old)) => {
                let Some(old) = column_of(before, old) else { continue };
                if !keeps_values(&old.ty, &column.ty) {
                    return Some("a column changed its type");
                }
                if old.nullable && !column.nullable {
                    return Some("a column became NOT NULL");
                }
            }
            Some(Came::Added(_)) if column_of(before, &column.name).is_some() => {
                return Some("a column went and another one of its name came");
            }
            Some(Came::Added(_)) | None if column.default == ColumnDefault::Unknown => {
                return Some("a column was added whose value in older rows is not a constant");
            }
            Some(Came::Added(_)) | None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::lineage::ColumnSteps;
    use super::*;
    use crate::model::{Column, ColumnType, IntWidth, TableName};
    use crate::source::mysql::ddl::{self, AlterOps, SqlMode, Statement};

    fn schema(columns: &[(&str, ColumnType, ColumnDefault)]) -> TableSchema {
        let columns = columns
            .iter()
            .map(|(name, ty, default)| Column {
                name: (*name).into(),
                ty: ty.clone(),
                nullable: true,
                default: default.clone(),
            })
            .collect();
        TableSchema { name: TableName::new("d", "t"), columns, key: None }
    }

    fn int() -> ColumnType {
        ColumnType::Int { width: IntWidth::W4, unsigned: false }
    }

    fn lineage(before: &TableSchema, alters: &[&str]) -> Lineage {
        let steps: Vec<ColumnSteps> = alters
            .iter()
            .map(|sql| match ddl::parse(&format!("ALTER TABLE t {sql}"), "d", SqlMode::default()) {
                Statement::AlterTable { ops: AlterOps::Known(ops), .. } => ColumnSteps::of(&ops),
                other => panic!("{sql}: {other:?}"),
            })
            .collect();
        Lineage::follow(before.columns.iter().map(|column| column.name.as_str()), &steps)
    }

    /// The reason to read the table again after the statements, and the schema with its defaults.
    fn after(before: &TableSchema, found: &TableSchema, alters: &[&str]) -> (Option<&'static str>, Vec<ColumnDefault>) {
        let (lineage, mut found) = (lineage(before, alters), found.clone());
        set_defaults(before, &mut found, &lineage);
        let reason = reread_reason(before, &found, &lineage);
        (reason, found.columns.into_iter().map(|column| column.default).collect())
    }

    fn names(columns: &[&str]) -> TableSchema {
        let columns: Vec<_> = columns.iter().map(|name| (*name, int(), ColumnDefault::Null)).collect();
        schema(&columns)
    }

    fn int_value(value: u8) -> ColumnDefault {
        ColumnDefault::Value(vec![value, 0, 0, 0])
    }

    #[test]
    fn renames_of_several_statements_become_one_step() {
        let (before, found) = (names(&["a", "x"]), names(&["c", "x"]));
        let alters = ["RENAME COLUMN a TO b", "CHANGE b c INT", "RENAME COLUMN gone TO never"];
        let expected = vec![("a".to_owned(), "c".to_owned())];
        assert_eq!(renames(&before, &found, &lineage(&before, &alters)), expected);
    }

    #[test]
    fn the_default_of_an_added_column_is_the_statements_and_never_the_descriptions() {
        let before = names(&["a"]);
        let later = schema(&[("a", int(), int_value(9)), ("b", int(), int_value(9))]);
        for (alters, expected) in [
            (&["ADD b INT DEFAULT 5"][..], int_value(5)),
            (&["ADD b INT"], ColumnDefault::Null),
            (&["ADD b INT DEFAULT NULL"], ColumnDefault::Null),
            (&["ADD c INT DEFAULT 5", "RENAME COLUMN c TO b"], int_value(5)),
            (&["ADD b INT DEFAULT 5", "ALTER b SET DEFAULT 6"], int_value(5)),
            (&["ADD b INT DEFAULT 5", "DROP b", "ADD b INT DEFAULT 6"], int_value(6)),
        ] {
            assert_eq!(after(&before, &later, alters), (None, vec![ColumnDefault::Null, expected]), "{alters:?}");
        }
    }

    #[test]
    fn a_table_is_read_again_when_the_value_in_older_rows_is_not_told() {
        let (before, found) = (names(&["a"]), names(&["a", "b"]));
        for alters in [&["ADD b INT DEFAULT (a + 1)"][..], &["ADD b INT DEFAULT 1.5"], &[], &["COMMENT = 'x'"]] {
            let (reason, defaults) = after(&before, &found, alters);
            assert_eq!(reason, Some("a column was added whose value in older rows is not a constant"), "{alters:?}");
            assert_eq!(defaults, [ColumnDefault::Null, ColumnDefault::Unknown], "{alters:?}");
        }
    }

    #[test]
    fn a_table_is_read_again_when_another_column_has_an_old_ones_name() {
        let before = names(&["a", "b"]);
        let reason = Some("a column went and another one of its name came");
        for alters in [&["DROP b, ADD b INT DEFAULT 5"][..], &["DROP b", "ADD b INT DEFAULT 5"]] {
            assert_eq!(after(&before, &names(&["a", "b"]), alters).0, reason, "{alters:?}");
        }
        let alters = ["RENAME COLUMN b TO c, ADD b INT DEFAULT 5"];
        assert_eq!(after(&before, &names(&["a", "c", "b"]), &alters).0, reason);
        let swapped = after(&before, &names(&["a", "b"]), &["RENAME COLUMN a TO b, RENAME COLUMN b TO a"]).0;
        assert_eq!(swapped, Some("its columns changed their names in a way that cannot be followed"));
    }

    #[test]
    fn columns_that_came_and_went_under_names_of_their_own_need_no_reading() {
        let (before, found) = (names(&["a", "b"]), names(&["a", "c"]));
        assert_eq!(after(&before, &found, &["DROP b", "ADD c INT DEFAULT 5"]).0, None);
        assert_eq!(after(&before, &found, &["RENAME COLUMN b TO c"]).0, None);
        assert!(after(&before, &found, &[]).0.is_some(), "without the statement it is not known which it was");
    }

    #[test]
    fn a_table_is_read_again_when_a_type_changes_what_is_stored() {
        let before = names(&["a"]);
        let wider = schema(&[("a", ColumnType::Int { width: IntWidth::W8, unsigned: false }, ColumnDefault::Null)]);
        assert_eq!(after(&before, &wider, &["MODIFY a BIGINT"]), (None, vec![ColumnDefault::Unknown]));
        assert_eq!(after(&wider, &before, &["MODIFY a INT"]).0, Some("a column changed its type"));
        let renamed = schema(&[("b", int(), ColumnDefault::Null)]);
        assert_eq!(after(&wider, &renamed, &["CHANGE a b INT"]).0, Some("a column changed its type"));
    }
}
