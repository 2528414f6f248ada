//! Columns of a copy that the sink does not write: what `ddl` left there when the source gave them up, and what an operator added. A table that is
//! made again keeps them.

use wal::Lsn;

use super::columns::NameRule;
use super::layout::until;
use super::reshape::Origin;

/// A column of the target alone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftColumn {
    /// Its name.
    pub(super) name: String,
    /// From here on, because a column that is written may have its name.
    pub(super) new_name: String,
    /// Type and default, as SQL.
    pub(super) definition: String,
}

/// What a table's columns were and are.
pub(super) struct Before<'b> {
    /// The names of what was written, those of the sink's own included.
    pub(super) written: &'b [String],
    /// The names of the source's columns, in their order.
    pub(super) columns: &'b [&'b str],
    /// Where the columns come from that are written from here on.
    pub(super) origins: &'b [Origin],
    /// Whether a column that the source has dropped stays.
    pub(super) keeps_dropped: bool,
}

/// Of the columns that are `found` at the target, each with its definition: those that are written neither from the change at `lsn` on nor dropped.
/// `written` are the names that are written from there on.
pub(super) fn left(
    lsn: Lsn,
    rule: NameRule,
    before: &Before<'_>,
    written: &[String],
    found: Vec<(String, String)>,
) -> Vec<LeftColumn> {
    let is_kept =
        |at: usize| before.origins.iter().any(|origin| matches!(origin, Origin::Kept { place, .. } if *place == at));
    let dropped = before.columns.iter().enumerate().filter(|(place, _)| !is_kept(*place)).map(|(_, name)| *name);
    let stays: Vec<&str> = if before.keeps_dropped { dropped.collect() } else { Vec::new() };
    let is_one_of = |names: &[String], name: &str| names.iter().any(|other| rule.is_one(other, name));
    let is_gone = |name: &str| is_one_of(before.written, name) && !stays.iter().any(|other| rule.is_one(other, name));
    let left = |(name, definition): (String, String)| {
        let new_name = if is_one_of(written, &name) { until(&name, lsn) } else { name.clone() };
        LeftColumn { name, new_name, definition }
    };
    found.into_iter().filter(|(name, _)| !is_gone(name)).map(left).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kept;

    fn left_of(rule: NameRule, keeps_dropped: bool, written: &[&str], found: &[&str]) -> Vec<(String, String)> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let before = Before {
            written: &names(&["id", "gone", "_version"]),
            columns: &["id", "gone"],
            origins: &[Origin::Kept { place: 0, kept: Kept::Same }, Origin::Added],
            keeps_dropped,
        };
        let found = found.iter().map(|name| ((*name).to_owned(), "INT".to_owned())).collect();
        let left = left(Lsn::new(7), rule, &before, &names(written), found);
        left.into_iter().map(|left| (left.name, left.new_name)).collect()
    }

    fn pair(name: &str, new_name: &str) -> (String, String) {
        (name.to_owned(), new_name.to_owned())
    }

    #[test]
    fn columns_of_the_operator_stay_and_those_of_the_sink_do_not() {
        let found = ["id", "gone", "_version", "note"];
        let written = ["id", "new", "_version"];
        assert_eq!(left_of(NameRule::CaseTells, false, &written, &found), [pair("note", "note")]);
        let kept = [pair("gone", "gone"), pair("note", "note")];
        assert_eq!(left_of(NameRule::CaseTells, true, &written, &found), kept);
    }

    #[test]
    fn a_column_that_stays_makes_room_for_a_new_one_of_its_name() {
        let until = until("GONE", Lsn::new(7));
        assert_eq!(left_of(NameRule::AsciiCaseFolds, true, &["id", "gone"], &["id", "GONE"]), [pair("GONE", &until)]);
        assert_eq!(left_of(NameRule::CaseTells, true, &["id", "gone"], &["GONE"]), [pair("GONE", "GONE")]);
    }
}
