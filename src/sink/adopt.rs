//! Tables at a target that replicator did not make (`adopt: true`): whether one can be taken over.
//!
//! A table is taken over where it is what the sink would make, as far as that matters to the rows: every column of the
//! sink's, of its type, and the same key. Its rows stay as they are: an operator who sets `adopt` says by it that they are
//! the source's rows as of the place where the log begins. The comparison is pure. A target says how a table of its own
//! is, and adds what it alone can say.

use wal::Lsn;

use super::columns::NameRule;
use super::definitions::{Definitions, LayoutOf};
use super::layout::{Dialect, Layout};
use crate::config::{Mode, SinkPlan};
use crate::error::Failure;
use crate::model::{TableName, TableSchema};

/// Differences that are named of a longer list.
const SHOWN: usize = 10;

/// A column of a table that the sink would make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OurColumn {
    /// Its name.
    pub(super) name: String,
    /// Its type, for an operator.
    pub(super) ty: String,
    /// What has to be the same of its type.
    pub(super) kind: String,
    /// Whether it may refuse NULL: the source has none in it.
    pub(super) may_refuse_null: bool,
}

/// A table that the sink would make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OurTable {
    /// Its columns.
    pub(super) columns: Vec<OurColumn>,
    /// The columns of its key; empty: it has none.
    pub(super) key: Vec<String>,
    /// The statement that makes it.
    pub(super) statement: String,
}

/// A column of a table that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TheirColumn {
    /// Its name.
    pub(super) name: String,
    /// Its type, for an operator.
    pub(super) ty: String,
    /// What has to be the same of its type.
    pub(super) kind: String,
    /// It refuses NULL.
    pub(super) refuses_null: bool,
    /// A row may leave it out.
    pub(super) may_be_left_out: bool,
    /// The target computes it: no row may give it.
    pub(super) is_computed: bool,
}

/// A table that is there, and that the sink did not make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TheirTable {
    /// Its columns.
    pub(super) columns: Vec<TheirColumn>,
    /// The columns of its key; empty: it has none.
    pub(super) key: Vec<String>,
    /// What makes it none that rows of the sink can go to, as the target alone can say.
    pub(super) own: Vec<String>,
}

/// What is under a table's name at a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Under {
    /// Nothing.
    Nothing,
    /// What a sink of replicator made.
    Made,
    /// What none did.
    Theirs(TheirTable),
}

/// In what the table that is there is not the one that the sink would make.
pub(super) fn differences(ours: &OurTable, theirs: &TheirTable, rule: NameRule) -> Vec<String> {
    if !theirs.own.is_empty() {
        // What follows would be said of something that is no table for rows.
        return theirs.own.clone();
    }
    let mut found = Vec::new();
    for OurColumn { name, ty, kind, may_refuse_null } in &ours.columns {
        let Some(there) = theirs.columns.iter().find(|column| rule.is_one(&column.name, name)) else {
            found.push(format!("it has no column \"{name}\"{}", of_type(ty)));
            continue;
        };
        if there.is_computed {
            found.push(format!("its column \"{name}\" is computed, and has to be a plain one"));
        } else if there.kind != *kind {
            found.push(format!("its column \"{name}\" is {}, and has to be {}", typed(&there.ty), typed(ty)));
        } else if there.refuses_null && !may_refuse_null {
            found.push(format!("its column \"{name}\" is NOT NULL, and the source may have NULL in it"));
        }
    }
    let is_ours = |name: &str| ours.columns.iter().any(|column| rule.is_one(&column.name, name));
    for there in theirs.columns.iter().filter(|there| !is_ours(&there.name)) {
        if !there.may_be_left_out && !there.is_computed {
            found.push(format!("its column \"{}\" is not the source's, and is NOT NULL without a default", there.name));
        }
    }
    let has = |key: &[String], name: &str| key.iter().any(|column| rule.is_one(column, name));
    let is_key_alike = ours.key.len() == theirs.key.len() && ours.key.iter().all(|name| has(&theirs.key, name));
    if !is_key_alike {
        found.push(match (ours.key.as_slice(), theirs.key.as_slice()) {
            (ours, []) => format!("it has no key, and has to have the key ({})", ours.join(", ")),
            ([], theirs) => format!("its key is ({}), and it has to be without one", theirs.join(", ")),
            (ours, theirs) => format!("its key is ({}), and has to be ({})", theirs.join(", "), ours.join(", ")),
        });
    }
    found
}

fn of_type(ty: &str) -> String {
    if ty.is_empty() { String::new() } else { format!(" {ty}") }
}

fn typed(ty: &str) -> &str {
    if ty.is_empty() { "without a type" } else { ty }
}

/// Why the table under this name cannot be taken over, with the statement that makes one which can.
pub(super) fn refused(name: &TableName, at_target: &str, differences: &[String], ours: &OurTable) -> Failure {
    let more = differences.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let shown: Vec<&str> = differences.iter().take(SHOWN).map(String::as_str).collect();
    Failure::row(format!("\"{at_target}\" cannot be taken over for {name}: {}{more}", shown.join("; ")))
        .hint(format!("change it to what replicator would make, or rename or drop it: {}", ours.statement))
}

/// Why a table is not taken over while every table is read for the sink.
pub(super) fn read_over(name: &TableName, at_target: &str) -> Failure {
    Failure::row(format!(
        "\"{at_target}\" is not taken over for {name}: every table is read from the source for this sink, whose place is not in the log \
         (it is new to a log that was trimmed, or it is to be reset), and the rows would be read over those that are there"
    ))
    .hint(
        "drop or rename the table at the target, and the sink makes it and gets its rows from the source; `adopt: true` is for a log that begins \
         where the rows of the target end: an empty `wal.path`, and `startup_mode: specific`",
    )
}

/// Why no table of this shape is taken over; `None`: one may be.
pub(super) fn never<T>(plan: &SinkPlan, name: &TableName, layout: &Layout<T>) -> Option<Failure> {
    if layout.mode == Mode::History {
        let message = format!(
            "\"{}\" is not taken over for {name}: it is a history, whose lines are replicator's own",
            layout.target
        );
        return Some(Failure::row(message).hint("rename or drop it: a new one is made"));
    }
    let tag = plan.source_tag.as_ref()?;
    let message = format!(
        "\"{}\" is not taken over for {name}: tables that share it by `source_tag` (column \"{}\") are replicator's own",
        layout.target, tag.column
    );
    Some(Failure::row(message).hint("rename or drop it: a new one is made"))
}

/// Takes the table under the layout's name over, with its rows or without them, or says why not.
pub(super) async fn adopt<D: Definitions>(
    target: &mut D,
    lsn: Lsn,
    schema: &TableSchema,
    (layout, keeps_rows): (&LayoutOf<D>, bool),
) -> Result<(), Failure> {
    let name = &schema.name;
    if let Some(refused) = never(target.plan(), name, layout) {
        return Err(refused);
    }
    let at_target = &layout.target;
    let ours = target.our_table(layout, schema);
    let Some(theirs) = target.their_table(layout).await? else {
        return Err(Failure::retry(format!("\"{at_target}\" was changed while it was looked at")));
    };
    let differences = differences(&ours, &theirs, <D::Dialect as Dialect>::COLUMNS);
    if !differences.is_empty() {
        return Err(refused(name, at_target, &differences, &ours));
    }
    let rows = if keeps_rows { "with the rows that it has" } else { "without the rows that it has, which come again" };
    tracing::info!(sink = %target.plan().name, table = %name, "the table \"{at_target}\" is taken over {rows}");
    target.take_in(lsn, name, (layout, keeps_rows)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn our(name: &str, ty: &str) -> OurColumn {
        OurColumn { name: name.into(), ty: ty.into(), kind: ty.into(), may_refuse_null: false }
    }

    fn their(name: &str, ty: &str) -> TheirColumn {
        TheirColumn {
            name: name.into(),
            ty: ty.into(),
            kind: ty.into(),
            refuses_null: false,
            may_be_left_out: true,
            is_computed: false,
        }
    }

    fn ours() -> OurTable {
        let key = vec!["a".to_owned(), "b".to_owned()];
        OurTable { columns: vec![our("a", "INTEGER"), our("b", "TEXT"), our("v", "")], key, statement: "CREATE".into() }
    }

    fn theirs(columns: Vec<TheirColumn>, key: &[&str]) -> TheirTable {
        TheirTable { columns, key: key.iter().map(|name| (*name).to_owned()).collect(), own: Vec::new() }
    }

    #[test]
    fn a_table_that_has_every_column_and_the_key_can_be_taken_over_whatever_their_order() {
        let columns = || vec![their("V", ""), their("b", "TEXT"), their("a", "INTEGER"), their("extra", "TEXT")];
        assert_eq!(differences(&ours(), &theirs(columns(), &["B", "a"]), NameRule::AsciiCaseFolds), [""; 0]);
        let cased = differences(&ours(), &theirs(columns(), &["b", "a"]), NameRule::CaseTells);
        assert_eq!(cased, ["it has no column \"v\""]);
    }

    #[test]
    fn every_difference_is_named() {
        let given = TheirColumn { may_be_left_out: false, ..their("extra", "TEXT") };
        let strict = TheirColumn { refuses_null: true, ..their("v", "") };
        let computed = TheirColumn { is_computed: true, ..their("b", "TEXT") };
        let found = differences(
            &ours(),
            &theirs(vec![their("a", "TEXT"), computed, strict, given], &["a"]),
            NameRule::CaseTells,
        );
        assert_eq!(
            found,
            [
                "its column \"a\" is TEXT, and has to be INTEGER",
                "its column \"b\" is computed, and has to be a plain one",
                "its column \"v\" is NOT NULL, and the source may have NULL in it",
                "its column \"extra\" is not the source's, and is NOT NULL without a default",
                "its key is (a), and has to be (a, b)",
            ]
        );
        let keyless = OurTable { key: Vec::new(), ..ours() };
        let columns = || vec![their("a", "INTEGER"), their("b", "TEXT"), their("v", "")];
        let found = differences(&keyless, &theirs(columns(), &["a"]), NameRule::CaseTells);
        assert_eq!(found, ["its key is (a), and it has to be without one"]);
        let found = differences(&ours(), &theirs(columns(), &[]), NameRule::CaseTells);
        assert_eq!(found, ["it has no key, and has to have the key (a, b)"]);
        let view = TheirTable { own: vec!["it is a view".into()], ..TheirTable::default() };
        assert_eq!(differences(&ours(), &view, NameRule::CaseTells), ["it is a view"]);
    }

    #[test]
    fn a_refusal_names_the_table_and_has_the_statement() {
        let name = TableName::new("shop", "t");
        let many: Vec<String> = (0..12).map(|n| format!("d{n}")).collect();
        let refused = refused(&name, "t", &many, &ours());
        assert!(refused.message.ends_with("d9; and 2 more"), "{}", refused.message);
        assert!(refused.hint.unwrap().ends_with(": CREATE"));
    }
}
