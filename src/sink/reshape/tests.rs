//! The lineage of columns, and the way from one shape to the next, under a made-up dialect.

use std::sync::Arc;

use super::*;
use crate::config::{SinkPlan, TableOptions};
use crate::error::Failure;
use crate::model::{Charset, ColumnDefault, ColumnType, IntWidth, TableName};
use crate::sink::layout::Place;
use crate::sink::registry::StoredOptions;
use crate::sink::sqlite::SqlitePlan;
use crate::sink::testing::{key, options, schema};

/// Types are words, every known conversion is in place, and names fold.
struct Words;

impl Dialect for Words {
    type Type = String;

    const COLUMNS: NameRule = NameRule::AsciiCaseFolds;
    const TABLES: NameRule = NameRule::CaseTells;
    const RENAMES_KEYS: bool = true;
    const MIRRORS_KEYLESS: bool = true;

    fn type_of(&self, _table: &TableName, column: &Column, _place: Place) -> Result<String, Failure> {
        Ok(match &column.ty {
            ColumnType::Int { .. } => "int",
            ColumnType::Double => "double",
            _ => "text",
        }
        .to_owned())
    }

    fn is_reserved(&self, _target: &str) -> bool {
        false
    }

    fn check(&self, _table: &TableName, _layout: &Layout<String>) -> Result<(), Failure> {
        Ok(())
    }

    fn column_names(&self, layout: &Layout<String>) -> Vec<String> {
        layout.columns.iter().map(|column| column.name.clone()).collect()
    }

    fn retype(&self, _mode: Mode, (old, from): (&Column, &String), (new, to): (&Column, &String)) -> Retype {
        match kept_types(&old.ty, &new.ty) {
            _ if from == to => Retype::Nothing,
            Kept::Same | Kept::Convert(_) => Retype::InPlace,
            Kept::Unknown => Retype::Rewrite,
        }
    }
}

fn column(name: &str, ty: ColumnType) -> Column {
    let default = ColumnDefault::Unknown;
    Column { name: name.into(), ty, nullable: true, default, attributes: None, collation: None }
}

fn int(name: &str) -> Column {
    column(name, ColumnType::Int { width: IntWidth::W4, unsigned: false })
}

fn double(name: &str) -> Column {
    column(name, ColumnType::Double)
}

fn text(name: &str) -> Column {
    column(name, ColumnType::VarChar { max_bytes: 200, charset: Charset::new("utf8mb4") })
}

fn table(schema: TableSchema, options: TableOptions) -> Table<String> {
    let layout = Layout::new(&Words, &schema, &options, "t".into()).unwrap();
    let settings = Arc::new(SqlitePlan { path: "t.db".into() });
    let plan = SinkPlan::new("s", options.clone(), SqlitePlan::BATCH, settings);
    let options = StoredOptions::of(&plan, std::collections::BTreeMap::new(), options);
    Table::new(schema, options, layout)
}

/// What becomes of a table of `options` when its schema becomes `new`.
fn way(
    old: &[Column],
    new: &[Column],
    renamed: &[(&str, &str)],
    change: impl Fn(&mut TableOptions, &mut DdlPolicy, &mut bool),
) -> Result<(Layout<String>, Way), Forbidden> {
    let (mut options, mut policy, mut lost) = (options(Mode::Mirror), DdlPolicy::APPLY, false);
    change(&mut options, &mut policy, &mut lost);
    let old = table(schema(old.to_vec(), key(&[0])), options.clone());
    let new = schema(new.to_vec(), key(&[0]));
    let wanted = Layout::new(&Words, &new, &options, "t".into()).unwrap();
    let renamed: Vec<_> = renamed.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    reshape(&Words, &old, (&new, &wanted), Follows { renamed: &renamed, lost }, policy)
}

fn as_is(_: &mut TableOptions, _: &mut DdlPolicy, _: &mut bool) {}

#[test]
fn a_name_that_a_renamed_column_left_is_a_new_column() {
    let renamed = [("w".to_owned(), "v".to_owned())];
    assert_eq!(came_from("v", &renamed), Some("w"));
    assert_eq!(came_from("W", &renamed), None);
    assert_eq!(came_from("x", &renamed), Some("x"));
    let swapped = [("a".to_owned(), "b".to_owned()), ("b".to_owned(), "a".to_owned())];
    assert_eq!((came_from("a", &swapped), came_from("b", &swapped)), (Some("b"), Some("a")));
}

#[test]
fn columns_are_added_before_others_are_dropped() {
    let (_, way) = way(&[int("id"), text("a")], &[int("id"), text("b")], &[], as_is).unwrap();
    assert_eq!(way, Way::Alter(vec![Step::Add { column: 1 }, Step::Drop { name: "a".into() }]));
}

#[test]
fn names_that_cross_take_a_new_table_and_in_a_changelog_new_columns() {
    let (old, new) = ([int("id"), text("a"), text("b")], [int("id"), text("b"), text("a")]);
    let swapped = [("a", "b"), ("b", "a")];
    let (_, mirrored) = way(&old, &new, &swapped, as_is).unwrap();
    let kept = |place| Origin::Kept { place, kept: Kept::Same };
    assert_eq!(mirrored, Way::Rebuild { origins: vec![kept(0), kept(1), kept(2)], is_filled: true });
    let (_, logged) = way(&old, &new, &swapped, |options, _, _| options.mode = Mode::History).unwrap();
    assert_eq!(logged, Way::Alter(vec![Step::SetAside { column: 1 }, Step::SetAside { column: 2 }]));
    // A name that only changes its case crosses with nothing.
    let (_, cased) = way(&old, &[int("id"), text("A"), text("b")], &[("a", "A")], as_is).unwrap();
    assert_eq!(cased, Way::Alter(vec![Step::Rename { from: "a".into(), to: "A".into() }]));
}

#[test]
fn values_that_a_read_brings_are_not_copied_and_unknown_keys_leave_the_table_empty() {
    let new = [int("id"), double("a")];
    let (_, plain) = way(&[int("id"), text("a")], &new, &[], as_is).unwrap();
    let origins = |kept| vec![Origin::Kept { place: 0, kept }, Origin::Kept { place: 1, kept: Kept::Unknown }];
    assert_eq!(plain, Way::Rebuild { origins: origins(Kept::Same), is_filled: true });
    let (_, lost) = way(&[int("id"), text("a")], &new, &[], |_, _, lost| *lost = true).unwrap();
    assert_eq!(lost, Way::Rebuild { origins: origins(Kept::Same), is_filled: false });
    let (_, key) = way(&[text("id"), text("a")], &new, &[], as_is).unwrap();
    assert_eq!(key, Way::Rebuild { origins: origins(Kept::Unknown), is_filled: false });
}

#[test]
fn a_type_that_ddl_ignores_keeps_its_values_as_they_are() {
    let ignore = |_: &mut TableOptions, policy: &mut DdlPolicy, _: &mut bool| policy.retype = DdlAction::Ignore;
    let (layout, way) = way(&[int("id"), text("a")], &[int("id"), double("a")], &[], ignore).unwrap();
    assert_eq!((layout.columns[1].ty.as_str(), way), ("text", Way::Alter(Vec::new())));
}

#[test]
fn a_column_that_drop_leaves_out_does_not_come_in_under_a_new_name() {
    let hidden = |options: &mut TableOptions, _: &mut DdlPolicy, _: &mut bool| options.drop = vec!["Secret".into()];
    let new = [int("id"), text("open")];
    let failed = way(&[int("id"), text("secret")], &new, &[("secret", "open")], hidden).unwrap_err();
    assert!(failed.why.contains("add \"open\" to `drop`"), "{}", failed.why);
}

#[test]
fn a_column_that_ddl_leaves_at_the_target_is_not_written_any_more() {
    let ignore = |_: &mut TableOptions, policy: &mut DdlPolicy, _: &mut bool| policy.drop = DdlAction::Ignore;
    let (layout, way) = way(&[int("id"), text("a")], &[int("id")], &[], ignore).unwrap();
    assert_eq!((layout.columns.len(), way), (1, Way::Alter(Vec::new())));
}
