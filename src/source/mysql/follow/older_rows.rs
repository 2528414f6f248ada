//! What the rows that are older than a change of a table hold under its new schema, and when that cannot be told from what the sinks hold.
//!
//! Pure: from the two schemas and the way that each column came ([`Lineage`]). Where it gives a reason, the table is read again.

use super::lineage::{Came, Defined, Lineage};
use crate::model::{Column, ColumnDefault, Kept, TableSchema, kept, kept_untouched};
use crate::source::mysql::schema::added_default;

/// Gives each column the value it has in rows that were there before it. Only the statements know it: a description by the
/// server shows its state of now, with other defaults perhaps.
pub(super) fn set_defaults(before: &TableSchema, found: &mut TableSchema, lineage: &Lineage) {
    let defaults: Vec<ColumnDefault> = found
        .columns
        .iter()
        .enumerate()
        .map(|(place, column)| match lineage.came(&column.name) {
            // What a later statement made of the default is not told by the default.
            Some(Came::Added(_)) if matches!(lineage.defined(&column.name), Defined::Again(_)) => {
                ColumnDefault::Unknown
            }
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

/// Gives each column the attributes that it has now, as far as they are known: from the statements that defined it, or from before, where
/// none has. What a description says stays.
pub(super) fn set_attributes(before: Option<&TableSchema>, found: &mut TableSchema, lineage: &Lineage) {
    for column in &mut found.columns {
        let defined = lineage.defined(&column.name);
        let old = match lineage.came(&column.name) {
            Some(Came::From(old)) => before.and_then(|before| column_of(before, old)),
            Some(Came::Added(_)) | None => None,
        };
        if column.attributes.is_none() {
            column.attributes = match defined {
                Defined::Once(definition) | Defined::Again(definition) => Some(definition.attributes.clone()),
                Defined::Untouched => old.and_then(|old| old.attributes.clone()),
            };
        }
        if column.collation.is_none() && defined == Defined::Untouched && !lineage.converts() {
            column.collation = old.filter(|old| old.ty == column.ty).and_then(|old| old.collation);
        }
    }
}

/// Why rows that are there have to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reread {
    /// Why, for an operator.
    pub why: &'static str,
    /// The rows of a copy cannot be told by their keys any more: those that are read take their place.
    pub replaces: bool,
}

/// Whether rows of before the change cannot be derived from what the sinks hold.
pub(super) fn reread(before: &TableSchema, after: &TableSchema, lineage: &Lineage) -> Option<Reread> {
    if lineage.doubtful() {
        let why = "its columns changed their names in a way that cannot be followed";
        return Some(Reread { why, replaces: true });
    }
    let mut found: Option<Reread> = None;
    for place in 0..after.columns.len() {
        let identifies = after.key.as_ref().is_none_or(|key| key.columns.iter().any(|key| usize::from(*key) == place));
        let Some(why) = changed(before, (after, place), lineage) else { continue };
        let reread = found.get_or_insert(Reread { why, replaces: false });
        reread.replaces |= identifies;
    }
    let key = after.key.iter().flat_map(|key| &key.columns);
    let is_computed = key.filter_map(|place| after.columns.get(usize::from(*place))).any(may_be_generated);
    // What a column of the key is computed from may be what has changed.
    found.map(|reread| Reread { replaces: reread.replaces || is_computed, ..reread })
}

/// Why the column at a place of `after` may have other values than those that the sinks hold, if it may.
fn changed(before: &TableSchema, (after, place): (&TableSchema, usize), lineage: &Lineage) -> Option<&'static str> {
    let column = after.columns.get(place)?;
    match lineage.came(&column.name) {
        Some(Came::From(old)) => {
            let old = column_of(before, old)?;
            let defined = lineage.defined(&column.name);
            let kept = match defined {
                Defined::Untouched => kept_untouched(old, column),
                Defined::Once(_) => kept(old, column),
                Defined::Again(_) => return Some("a column was defined more than once"),
            };
            match kept {
                Kept::Same => converted(old, (after, place), defined == Defined::Untouched && !lineage.converts()),
                Kept::Convert(_) | Kept::Unknown if old.nullable && !column.nullable => {
                    Some("a column became NOT NULL")
                }
                Kept::Convert(_) | Kept::Unknown if old.ty == column.ty => Some(match old.attributes {
                    Some(_) => "a column changed its definition",
                    None => "a column was defined, and it is not known what it was before",
                }),
                Kept::Convert(_) | Kept::Unknown => Some("a column changed its type"),
            }
        }
        Some(Came::Added(_)) if column_of(before, &column.name).is_some() => {
            Some("a column went and another one of its name came")
        }
        Some(Came::Added(_)) | None => match column.default {
            ColumnDefault::Unknown => Some("a column was added whose value in older rows is not a constant"),
            ColumnDefault::Null | ColumnDefault::Value(_) => None,
        },
    }
}

/// Why it matters that a text may have another collation, if it may and does: a key is another one then, and a generated column may
/// have other values.
fn converted(old: &Column, (after, place): (&TableSchema, usize), is_untouched: bool) -> Option<&'static str> {
    let column = after.columns.get(place)?;
    let is_same = match (old.collation, column.collation) {
        (Some(old), Some(new)) => old == new,
        _ => is_untouched,
    };
    if is_same || column.ty.charset().is_none() {
        return None;
    }
    let is_key = after.key.iter().flat_map(|key| &key.columns).any(|key| usize::from(*key) == place);
    let mut others = after.columns.iter().enumerate().filter(|(other, _)| *other != place);
    (is_key || others.any(|(_, other)| may_be_generated(other))).then_some("a column may have changed its collation")
}

/// Whether the columns of the key are those that they were.
pub(super) fn has_same_key(before: &TableSchema, after: &TableSchema, lineage: &Lineage) -> bool {
    let names = |schema: &TableSchema| -> Option<Vec<String>> {
        let name = |place: &u16| Some(schema.columns.get(usize::from(*place))?.name.clone());
        schema.key.as_ref()?.columns.iter().map(name).collect()
    };
    let came = |name: &String| match lineage.came(name)? {
        Came::From(old) => column_of(before, old).map(|old| old.name.clone()),
        Came::Added(_) => None,
    };
    names(before) == names(after).and_then(|names| names.iter().map(came).collect())
}

fn may_be_generated(column: &Column) -> bool {
    column.attributes.as_ref().is_none_or(|attributes| attributes.generated.is_some())
}

#[cfg(test)]
mod tests {
    use super::super::lineage::ColumnSteps;
    use super::*;
    use crate::model::{Attributes, Column, ColumnType, IntWidth, Key, KeyKind, TableName};
    use crate::source::mysql::ddl::{self, AlterOps, SqlMode, Statement};

    fn schema(columns: &[(&str, ColumnType, ColumnDefault)]) -> TableSchema {
        let columns = columns
            .iter()
            .map(|(name, ty, default)| Column {
                name: (*name).into(),
                ty: ty.clone(),
                nullable: true,
                default: default.clone(),
                attributes: Some(Attributes::default()),
                collation: None,
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
        for column in &mut found.columns {
            column.attributes = None;
        }
        set_attributes(Some(before), &mut found, &lineage);
        let reason = reread(before, &found, &lineage).map(|reread| reread.why);
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
            (&["ADD b INT DEFAULT 5", "ADD b INT DEFAULT 5"], int_value(5)),
        ] {
            assert_eq!(after(&before, &later, alters), (None, vec![ColumnDefault::Null, expected]), "{alters:?}");
        }
    }

    #[test]
    fn a_table_is_read_again_when_the_value_in_older_rows_is_not_told() {
        let (before, found) = (names(&["a"]), names(&["a", "b"]));
        for alters in [
            &["ADD b INT DEFAULT (a + 1)"][..],
            &["ADD b INT DEFAULT 5", "MODIFY b INT"],
            &["ADD b INT DEFAULT 1.5"],
            &[],
            &["COMMENT = 'x'"],
        ] {
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

    /// Whether the table is read again after the statements, and whether in place of what the sinks have.
    fn judged(before: &TableSchema, found: &TableSchema, alters: &[&str]) -> Option<(&'static str, bool)> {
        let (lineage, mut found) = (lineage(before, alters), found.clone());
        set_defaults(before, &mut found, &lineage);
        for column in &mut found.columns {
            column.attributes = None;
        }
        set_attributes(Some(before), &mut found, &lineage);
        reread(before, &found, &lineage).map(|reread| (reread.why, reread.replaces))
    }

    fn keyed(mut schema: TableSchema) -> TableSchema {
        schema.key = Some(Key { kind: KeyKind::Primary, columns: vec![0] });
        schema
    }

    #[test]
    fn what_the_image_does_not_show_is_judged_by_the_statement() {
        let schema = keyed(names(&["k", "a"]));
        let definition = "a column changed its definition";
        for (alters, expected) in [
            (&["MODIFY a INT AS (k + 1) STORED"][..], Some((definition, false))),
            (&["MODIFY a INT AUTO_INCREMENT, ADD UNIQUE (a)"], Some((definition, false))),
            (&["MODIFY k INT AUTO_INCREMENT"], Some((definition, true))),
            (&["MODIFY a INT COMMENT 'x' AFTER k", "MODIFY k INT DEFAULT 5"], None),
            (
                &["MODIFY a INT DEFAULT 5", "MODIFY a INT DEFAULT 6"],
                Some(("a column was defined more than once", false)),
            ),
            (&["MODIFY a INT DEFAULT 5", "MODIFY a INT DEFAULT 5"], None),
            (&["ALTER a SET DEFAULT 5", "ADD KEY (a)", "ENGINE = InnoDB", "COMMENT = 'x'"], None),
            (&["DROP a, ADD a INT DEFAULT 5"], Some(("a column went and another one of its name came", false))),
        ] {
            assert_eq!(judged(&schema, &schema, alters), expected, "{alters:?}");
        }
        let keyless = names(&["k", "a"]);
        let generated = judged(&keyless, &keyless, &["MODIFY a INT AS (k + 1) STORED"]);
        assert_eq!(generated, Some((definition, true)), "a row without a key is found by all its values");
    }

    #[test]
    fn a_column_whose_attributes_are_not_known_is_read_again_only_when_it_is_defined() {
        let mut schema = keyed(names(&["k", "a"]));
        schema.columns[1].attributes = None;
        assert_eq!(judged(&schema, &schema, &["ADD KEY (a)", "MODIFY k INT COMMENT 'x'"]), None);
        let unknown = "a column was defined, and it is not known what it was before";
        assert_eq!(judged(&schema, &schema, &["MODIFY a INT"]), Some((unknown, false)));
    }

    #[test]
    fn a_generated_key_is_read_again_with_what_it_is_computed_from() {
        let mut schema = keyed(names(&["k", "a"]));
        schema.columns[0].attributes = Some(Attributes { generated: Some("a * 2".into()), ..Attributes::default() });
        let mut narrow = schema.clone();
        narrow.columns[1].ty = ColumnType::Int { width: IntWidth::W1, unsigned: false };
        assert_eq!(judged(&schema, &narrow, &["MODIFY a TINYINT"]), Some(("a column changed its type", true)));
    }

    #[test]
    fn a_collation_matters_to_keys_and_to_generated_columns() {
        let text = |collation| {
            let charset = crate::model::Charset::new("utf8mb4");
            let mut schema = keyed(schema(&[
                ("k", ColumnType::VarChar { max_bytes: 40, charset }, ColumnDefault::Unknown),
                ("a", int(), ColumnDefault::Null),
            ]));
            schema.columns[0].collation = collation;
            schema
        };
        let changed = Some(("a column may have changed its collation", true));
        for (before, after, alters, expected) in [
            (Some(45), Some(45), &["MODIFY k VARCHAR(10)"][..], None),
            (Some(45), Some(46), &["MODIFY k VARCHAR(10) COLLATE utf8mb4_bin"], changed),
            (None, Some(45), &["MODIFY k VARCHAR(10)"], changed),
            (None, Some(45), &["MODIFY a INT COMMENT 'x'"], None),
            (None, None, &["CONVERT TO CHARACTER SET utf8mb4"], changed),
            (Some(45), Some(45), &["CONVERT TO CHARACTER SET utf8mb4"], None),
        ] {
            assert_eq!(judged(&text(before), &text(after), alters), expected, "{before:?} to {after:?}, {alters:?}");
            let mut keyed_by_number = [text(before), text(after)];
            for schema in &mut keyed_by_number {
                schema.key = Some(Key { kind: KeyKind::Primary, columns: vec![1] });
            }
            let [before, after] = keyed_by_number;
            assert_eq!(judged(&before, &after, alters), None, "{alters:?}");
        }
    }
}
