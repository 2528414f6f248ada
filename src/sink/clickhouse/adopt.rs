//! A table of the database that the sink did not make: how it is, and how it becomes the sink's.
//!
//! A mirror needs an engine that replaces by the sink's own columns, ordered by the key:
//! `ReplacingMergeTree(_version, _is_deleted)`, with soft deletion `ReplacingMergeTree(_version)`. In any other
//! engine a changed row would be two. Rows that are there have versions below 2^56, where replicator's begin: 0 where
//! an INSERT has left the column out.

use super::client::Client;
use super::error::Refused;
use super::layout::{IS_DELETED, Layout, VERSION};
use super::names::{literal, quoted};
use super::owner::maker;
use crate::codec::version::Epoch;
use crate::sink::adopt::{OurColumn, OurTable, TheirColumn, TheirTable, Under};

/// How the comments of all tables begin that any sink of replicator made.
const ANY_SINK: &str = "replicator sink ";

/// The engine of a mirror, as the server shows it.
fn engine_of(layout: &Layout) -> String {
    let marked = if layout.soft.is_some() { String::new() } else { format!(", {IS_DELETED}") };
    format!("ReplacingMergeTree({VERSION}{marked})")
}

/// The table that the sink makes of a layout.
pub(super) fn ours(layout: &Layout, database: &str) -> OurTable {
    let column = |(name, ty): (String, String)| OurColumn { name, kind: ty.clone(), ty, may_refuse_null: true };
    let statement = layout.create_statement(database, &layout.target, "").replacen("IF NOT EXISTS ", "", 1);
    OurTable {
        columns: layout.table_columns().into_iter().map(column).collect(),
        key: layout.key_columns().map(|column| column.name.clone()).collect(),
        statement: statement.strip_suffix(" COMMENT ''").map(str::to_owned).unwrap_or(statement),
    }
}

/// A table as the server lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Listed {
    comment: String,
    engine: String,
    engine_full: String,
    partition_key: String,
    sorting_key: String,
    statement: String,
}

/// What is under a name in the database.
pub(super) async fn under(client: &Client, (database, sink): (&str, &str), layout: &Layout) -> Result<Under, Refused> {
    let target = &layout.target;
    let of = format!("database = {} AND name = {}", literal(database), literal(target));
    let sql = format!(
        "SELECT comment, engine, engine_full, partition_key, sorting_key, create_table_query FROM system.tables WHERE {of}"
    );
    let tables: Vec<(String, String, String, String, String, String)> = client.rows(&sql).await?;
    let Some((comment, engine, engine_full, partition_key, sorting_key, statement)) = tables.into_iter().next() else {
        return Ok(Under::Nothing);
    };
    if maker(sink, &comment).is_some() {
        return Ok(Under::Made);
    }
    let sql = format!(
        "SELECT name, type, default_kind FROM system.columns WHERE database = {} AND table = {} ORDER BY position",
        literal(database),
        literal(target)
    );
    let columns: Vec<(String, String, String)> = client.rows(&sql).await?;
    let mut theirs = TheirTable { columns: columns.into_iter().map(column).collect(), ..TheirTable::default() };
    let listed = Listed { comment, engine, engine_full, partition_key, sorting_key, statement };
    theirs.own = cannot_hold(&listed, layout);
    theirs.key = keys(&listed.sorting_key);
    let has_version = theirs.columns.iter().any(|column| column.name == VERSION && column.ty == "UInt64");
    if theirs.own.is_empty() && has_version {
        let sql = format!("SELECT max({VERSION}) FROM {}.{}", quoted(database), quoted(target));
        let newest: Vec<(u64,)> = client.rows(&sql).await?;
        let newest = newest.first().map_or(0, |(newest,)| *newest);
        if Epoch::of_version(newest).is_some() || newest > i64::MAX.cast_unsigned() {
            theirs.own.push(format!(
                "it has a row of {VERSION} {newest}, which would hide later changes: versions have to be below 2^56"
            ));
        }
    }
    Ok(Under::Theirs(theirs))
}

fn column((name, ty, default_kind): (String, String, String)) -> TheirColumn {
    let is_computed = matches!(default_kind.as_str(), "MATERIALIZED" | "ALIAS" | "EPHEMERAL");
    // A column without a default has that of its type.
    TheirColumn { name, kind: ty.clone(), ty, refuses_null: false, may_be_left_out: true, is_computed }
}

/// What keeps a table from holding a mirror, whatever its columns are.
fn cannot_hold(listed: &Listed, layout: &Layout) -> Vec<String> {
    let Listed { comment, engine, engine_full, partition_key, statement, .. } = listed;
    if comment.starts_with(ANY_SINK) {
        return vec!["another sink of replicator made it".to_owned()];
    }
    if engine.ends_with("View") {
        return vec!["it is a view".to_owned()];
    }
    let mut own = Vec::new();
    let (wanted, bare) = (engine_of(layout), engine_full.replace('`', ""));
    if !bare.starts_with(&wanted) {
        let found = if engine == "ReplacingMergeTree" {
            bare.split_once(" ORDER BY").map_or(bare.as_str(), |(engine, _)| engine).to_owned()
        } else {
            engine.clone()
        };
        own.push(format!("its engine is {found}, and has to be {wanted}: in another one a changed row would be two"));
    }
    if !partition_key.is_empty() {
        own.push(format!(
            "it is partitioned by {partition_key}: versions of one row in two partitions are never merged"
        ));
    }
    if bare.contains(" TTL ") {
        own.push("it has a TTL, which would take rows away that the source has".to_owned());
    } else if unquoted(statement).contains(" TTL ") {
        own.push("a column of it has a TTL, which would take values away that the source has".to_owned());
    }
    own
}

/// A statement without its names in quotes and its strings: comments and defaults are of an operator's own.
fn unquoted(statement: &str) -> String {
    let (mut bare, mut within) = (String::new(), None);
    let mut chars = statement.chars();
    while let Some(c) = chars.next() {
        match (within, c) {
            (Some(_), '\\') => drop(chars.next()),
            (Some(quote), _) if c == quote => within = None,
            (Some(_), _) => {}
            (None, '`' | '\'' | '"') => within = Some(c),
            (None, _) => bare.push(c),
        }
    }
    bare
}

/// The columns of a sorting key, which the server shows with or without the parentheses around it.
fn keys(sorting_key: &str) -> Vec<String> {
    let keys = elements(sorting_key);
    match keys.as_slice() {
        [only] => match only.strip_prefix('(').and_then(|only| only.strip_suffix(')')) {
            Some(inner) => elements(inner),
            None => keys,
        },
        _ => keys,
    }
}

fn elements(list: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let (mut key, mut is_quoted, mut depth) = (String::new(), false, 0_u32);
    let mut chars = list.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if is_quoted => key.extend(chars.next()),
            '`' => is_quoted = !is_quoted,
            ',' if !is_quoted && depth == 0 => keys.push(std::mem::take(&mut key).trim().to_owned()),
            _ => {
                match c {
                    '(' if !is_quoted => depth += 1,
                    ')' if !is_quoted => depth = depth.saturating_sub(1),
                    _ => {}
                }
                key.push(c);
            }
        }
    }
    keys.push(key.trim().to_owned());
    keys.retain(|key| !key.is_empty());
    keys
}

/// Makes a table as durable as one that the sink makes.
pub(super) async fn make_durable(client: &Client, place: &str) -> Result<(), Refused> {
    let sql = format!("ALTER TABLE {place} MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1");
    client.execute(&sql, false).await.map_err(|error| error.of_statement(&sql))
}

/// Lets a table say in its comment whose it is.
pub(super) async fn mark(client: &Client, place: &str, comment: &str) -> Result<(), Refused> {
    let sql = format!("ALTER TABLE {place} MODIFY COMMENT {}", literal(comment));
    client.execute(&sql, false).await.map_err(|error| error.of_statement(&sql))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;
    use crate::sink::adopt::differences;
    use crate::sink::clickhouse::layout::ClickHouse;
    use crate::sink::clickhouse::row_binary::{TYPES, int, key, options, schema, soft, text};
    use crate::sink::columns::NameRule;

    fn layout() -> Layout {
        let table = schema(vec![int("id"), text("k")], key(&[1, 0]));
        Layout::new(&ClickHouse(TYPES), &table, &options(Mode::Mirror), "t".into()).unwrap()
    }

    fn listed(engine_full: &str) -> Listed {
        let engine = engine_full.split(['(', ' ']).next().unwrap().to_owned();
        Listed { engine, engine_full: engine_full.to_owned(), ..Listed::default() }
    }

    #[test]
    fn the_statement_makes_a_mirror_and_names_no_sink() {
        assert_eq!(
            ours(&layout(), "d").statement,
            "CREATE TABLE `d`.`t` (`id` Int32, `k` String, `_version` UInt64, `_is_deleted` UInt8) ENGINE = ReplacingMergeTree(`_version`, \
             `_is_deleted`) ORDER BY (`k`, `id`) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
        );
    }

    #[test]
    fn what_cannot_hold_a_mirror_is_refused_with_the_reason() {
        let cannot = |listed: &Listed| cannot_hold(listed, &layout());
        assert_eq!(
            cannot(&listed("ReplacingMergeTree(_version, _is_deleted) ORDER BY (k, id) SETTINGS x = 8192")),
            [""; 0]
        );
        let named = "CREATE TABLE d.t (`a TTL b` Int32 COMMENT 'it\\'s no TTL of `k`') ENGINE";
        let named =
            Listed { statement: named.into(), ..listed("ReplacingMergeTree(_version, _is_deleted) ORDER BY id") };
        assert_eq!(cannot(&named), [""; 0]);
        for (listed, reason) in [
            (
                listed("MergeTree ORDER BY id"),
                "its engine is MergeTree, and has to be ReplacingMergeTree(_version, _is_deleted)",
            ),
            (listed("ReplacingMergeTree(ver) ORDER BY id"), "its engine is ReplacingMergeTree(ver), and has to be"),
            (
                Listed {
                    partition_key: "toYYYYMM(d)".into(),
                    ..listed("ReplacingMergeTree(_version, _is_deleted) ORDER BY id")
                },
                "it is partitioned by toYYYYMM(d)",
            ),
            (listed("ReplacingMergeTree(_version, _is_deleted) ORDER BY id TTL d + toIntervalDay(1)"), "it has a TTL"),
            (
                Listed {
                    statement: "CREATE TABLE d.t (`id` Int32, `k` String TTL d + toIntervalDay(1)) ENGINE".into(),
                    ..listed("ReplacingMergeTree(_version, _is_deleted) ORDER BY id")
                },
                "a column of it has a TTL",
            ),
            (listed("View"), "it is a view"),
            (
                Listed { comment: "replicator sink b, log 1, epoch 1, made at lsn 2".into(), ..listed("MergeTree") },
                "another sink of replicator made it",
            ),
        ] {
            let found = cannot(&listed);
            assert!(found.len() == 1 && found[0].starts_with(reason), "{found:?}");
        }
        let table = schema(vec![int("id")], key(&[0]));
        let marked = Layout::new(&ClickHouse(TYPES), &table, &soft(), "t".into()).unwrap();
        assert_eq!(cannot_hold(&listed("ReplacingMergeTree(_version) ORDER BY id"), &marked), [""; 0]);
    }

    #[test]
    fn a_sorting_key_is_read_as_the_server_shows_it() {
        assert_eq!(keys("id"), ["id"]);
        assert_eq!(keys("(id)"), ["id"]);
        assert_eq!(keys("(k, id)"), ["k", "id"]);
        assert_eq!(keys("k, `a, b`, `c\\`d`"), ["k", "a, b", "c`d"]);
        assert_eq!(keys("cityHash64(a, b), id"), ["cityHash64(a, b)", "id"]);
        assert_eq!(keys(""), [""; 0]);
    }

    #[test]
    fn columns_and_key_are_compared_as_at_every_sink() {
        let plain = |name: &str, ty: &str| column((name.to_owned(), ty.to_owned(), String::new()));
        let columns = vec![
            plain("id", "Int32"),
            plain("k", "Nullable(String)"),
            plain("_version", "UInt64"),
            plain("note", "String"),
        ];
        let theirs = TheirTable { columns, key: keys("id"), own: Vec::new() };
        assert_eq!(
            differences(&ours(&layout(), "d"), &theirs, NameRule::CaseTells),
            [
                "its column \"k\" is Nullable(String), and has to be String",
                "it has no column \"_is_deleted\" UInt8",
                "its key is (id), and has to be (k, id)",
            ]
        );
    }
}
