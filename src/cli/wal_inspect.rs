//! `replicator wal inspect`.

use std::path::Path;

use anyhow::Context;
use comfy_table::Table;

use super::args::InspectArgs;
use super::log_access::{self, LogAccess};
use super::output::{Output, bytes, count, table};
use crate::control::Request;
use crate::inspect::{self, CheckItem, FrameItem, Item, Query, RowItem, SchemaItem};
use crate::telemetry::{SinkRowsStatus, TableStatus};

/// Frames of one table on the screen: its columns are measured over these, and memory stays small.
const PAGE: usize = 500;

pub(super) fn run(config: &Path, arguments: &InspectArgs) -> anyhow::Result<()> {
    let query = Query {
        from: arguments.from,
        to: arguments.to,
        table: arguments.table.as_ref().map(|table| (table.database.clone(), table.table.clone())),
        rows: arguments.rows,
    };
    let mut printer = Printer { output: Output::new(), json: arguments.json, rows: arguments.rows, page: None };
    // The first error of the printer ends the walk; it is kept here because the walk only knows "enough".
    let mut printed: anyhow::Result<()> = Ok(());
    match log_access::open(config, arguments.path.as_ref())? {
        LogAccess::Unreadable(why) => return Err(log_access::unreadable(&why)),
        LogAccess::Stopped(path) => {
            let reader = log_access::open_stopped(&path)?;
            inspect::inspect(&reader, &query, &mut |item| go_on(printer.item(item), &mut printed))?;
        }
        LogAccess::Daemon(client) => client.ask(&Request::Inspect { query }, |item| {
            let item = serde_json::from_value(item).context("the daemon sent an item that this version does not know");
            go_on(item.and_then(|item| printer.item(&item)), &mut printed)
        })?,
    }
    printed?;
    printer.end_page().map(drop)
}

fn go_on(result: anyhow::Result<bool>, first_error: &mut anyhow::Result<()>) -> bool {
    match result {
        Ok(more) => more,
        Err(error) => {
            *first_error = Err(error);
            false
        }
    }
}

/// Which table the page under way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Cursors,
    Tables,
    Schemas,
    Frames,
}

struct Printer {
    output: Output,
    json: bool,
    rows: bool,
    page: Option<(Section, Table, usize)>,
}

impl Printer {
    /// False when no more is wanted.
    fn item(&mut self, item: &Item) -> anyhow::Result<bool> {
        if self.json {
            return self.output.json(item);
        }
        match item {
            Item::Log { id, format, first_lsn, durable_lsn, bytes: held, disk_bytes } => {
                let range = if first_lsn > durable_lsn {
                    format!("empty after lsn {durable_lsn}")
                } else {
                    format!("lsn {first_lsn} to {durable_lsn}, {}", bytes(*held))
                };
                let format = format.map_or(String::new(), |format| format!(" of format {format}"));
                self.line(&format!("log {id}{format}: {range}, {} on disk", bytes(*disk_bytes)))
            }
            Item::Position { server, at } => self.line(&format!("position {at} of {server}")),
            Item::Cursor { name, lsn, backlog_bytes, backlog_transactions, detached } => self.row(
                Section::Cursors,
                vec![
                    name.clone(),
                    count(*lsn),
                    bytes(*backlog_bytes),
                    count(*backlog_transactions),
                    if *detached { "detached".to_owned() } else { String::new() },
                ],
            ),
            Item::Table(table) => {
                let applied = table.applied.iter().map(|(sink, rows)| format!("{sink}: {}", count(*rows)));
                let numbers = [table.read, table.appended, table.filtered, table.left_out].map(count);
                let cells = [table.table.clone()].into_iter().chain(numbers);
                let cells = cells.chain([applied.collect::<Vec<_>>().join(", "), counts(table)]);
                self.row(Section::Tables, cells.collect())
            }
            Item::Schema(schema) => self.row(
                Section::Schemas,
                vec![
                    schema.id.to_string(),
                    schema.table.clone(),
                    schema.key.join(", "),
                    schema.columns.join(", "),
                    standing(schema),
                ],
            ),
            Item::Frame(frame) => self.frame(frame),
            Item::Row(row) => self.line(&row_line(row)?),
        }
    }

    fn frame(&mut self, frame: &FrameItem) -> anyhow::Result<bool> {
        if self.rows {
            // Rows come between frames, so frames are lines and no table.
            return self.line(&frame_line(frame)?);
        }
        self.row(
            Section::Frames,
            vec![
                frame.lsn.to_string(),
                frame.committed.clone(),
                frame.gtid.clone(),
                place(frame),
                frame.position.to_string(),
                bytes(frame.bytes),
                content(frame)?,
                if frame.ends_transaction { String::new() } else { "continues".to_owned() },
            ],
        )
    }

    fn line(&mut self, text: &str) -> anyhow::Result<bool> {
        Ok(self.end_page()? && self.output.line(text)?)
    }

    fn row(&mut self, section: Section, cells: Vec<String>) -> anyhow::Result<bool> {
        let fits = matches!(&self.page, Some((open, _, rows)) if *open == section && *rows < PAGE);
        if !fits && !self.end_page()? {
            return Ok(false);
        }
        let (_, page, rows) = self.page.get_or_insert_with(|| (section, heading(section), 0));
        page.add_row(cells);
        *rows += 1;
        Ok(true)
    }

    fn end_page(&mut self) -> anyhow::Result<bool> {
        match self.page.take() {
            Some((_, page, _)) => Ok(self.output.line("")? && self.output.line(&page.to_string())?),
            None => Ok(true),
        }
    }
}

fn heading(section: Section) -> Table {
    match section {
        Section::Cursors => table(&["cursor", "lsn", "backlog", "transactions", ""], &[1, 2, 3]),
        Section::Tables => {
            table(&["table", "rows read", "appended", "filtered", "left out", "applied", "at sinks"], &[1, 2, 3, 4])
        }
        Section::Schemas => table(&["schema", "table", "key", "columns", "state"], &[0]),
        Section::Frames => {
            table(&["lsn", "committed", "gtid", "source", "position", "bytes", "content", ""], &[0, 4, 5])
        }
    }
}

/// What the sinks count of a table, where it is not 0.
fn counts(table: &TableStatus) -> String {
    let of_sink = |(sink, rows): (&String, &SinkRowsStatus)| {
        let skipped = table.skipped.get(sink).copied().unwrap_or_default();
        let named = [
            ("delivered", rows.delivered),
            ("taken", rows.taken),
            ("acknowledged", rows.acknowledged),
            ("of these as sent", rows.sent),
            ("netted", rows.netted),
            ("split", rows.split),
            ("unmatched", rows.unmatched),
            ("skipped", skipped),
            ("left out", rows.left_out),
            ("not theirs", rows.not_theirs),
            ("before it", rows.before),
            ("recovered", rows.recovered),
        ];
        let shown = named.iter().filter(|(_, rows)| *rows > 0).map(|(name, rows)| format!("{} {name}", count(*rows)));
        let doubt = rows.doubt.iter().map(|why| format!("in doubt: {why}"));
        let words: Vec<String> = shown.chain(doubt).collect();
        (!words.is_empty()).then(|| format!("{sink}: {}", words.join(", ")))
    };
    table.sinks.iter().filter_map(of_sink).collect::<Vec<_>>().join("; ")
}

/// How a schema is known, in words.
fn standing(schema: &SchemaItem) -> String {
    let before = schema.before.map_or(String::new(), |before| format!(", after schema {before}"));
    let asked = match schema.asked.as_slice() {
        [] => String::new(),
        asked => format!(", asked for {}", asked.join(", ")),
    };
    let reason = schema.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
    format!("{}{asked}{before}{reason}", schema.state.replace('_', " "))
}

/// The frame in a line of its own, with all that its row of the table has.
fn frame_line(frame: &FrameItem) -> anyhow::Result<String> {
    Ok(format!(
        "lsn {}  {}  {}  {}  position {}  {}  {}{}",
        frame.lsn,
        frame.committed,
        frame.gtid,
        place(frame),
        frame.position,
        bytes(frame.bytes),
        content(frame)?,
        if frame.ends_transaction { "" } else { "  (continues)" }
    ))
}

/// Where the frame comes from: the kind of its source, and the place there.
fn place(frame: &FrameItem) -> String {
    format!("{} {}:{}", frame.source, frame.file_number, frame.pos)
}

fn content(frame: &FrameItem) -> anyhow::Result<String> {
    let words = if let Some(change) = &frame.change {
        [change.what.as_str(), &change.table, &change.detail].join(" ").trim_end().to_owned()
    } else if let Some(check) = &frame.check {
        check_words(check)?
    } else {
        let sections = frame.sections.iter();
        let words: Vec<_> = sections
            .map(|section| format!("{} {} {} rows", section.op, section.table, count(section.rows.into())))
            .collect();
        words.join(", ")
    };
    Ok(match &frame.audience {
        Some(sinks) => format!("{words} (only for {})", sinks.join(", ")),
        None => words,
    })
}

fn check_words(check: &CheckItem) -> anyhow::Result<String> {
    let bound = |is_open: bool, key: &Option<serde_json::Map<_, _>>, open: &str| match key {
        _ if is_open => Ok(open.to_owned()),
        Some(key) => serde_json::to_string(key).context("cannot write JSON"),
        None => Ok("a key".to_owned()),
    };
    let after = bound(check.from_first, &check.after, "the first")?;
    let upto = bound(check.to_last, &check.upto, "the last")?;
    let from = if check.from_first { "from" } else { "after" };
    let left_out = match check.left_out {
        0 => String::new(),
        keys => format!(", {} keys left out{}", count(keys), hashes(check)),
    };
    Ok(format!("check {} {} rows, keys {from} {after} to {upto}{left_out}", check.table, count(check.rows.into())))
}

fn hashes(check: &CheckItem) -> String {
    if check.left_out_hashes.is_empty() { String::new() } else { format!(" ({})", check.left_out_hashes.join(", ")) }
}

fn row_line(row: &RowItem) -> anyhow::Result<String> {
    let values = |values: &Option<serde_json::Map<String, serde_json::Value>>| match values {
        Some(values) => serde_json::to_string(values).context("cannot write JSON"),
        None => Ok(String::new()),
    };
    let arrow = if row.before.is_some() && row.after.is_some() { " -> " } else { "" };
    let (before, after) = (values(&row.before)?, values(&row.after)?);
    Ok(format!("  {}  version {}  {} {}  {before}{arrow}{after}", row.ordinal, row.version, row.op, row.table))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn frame(more: &serde_json::Value) -> FrameItem {
        let mut item = json!({
            "lsn": 1, "position": 0, "source": "mysql", "committed": "", "gtid": "", "file_number": 1, "pos": 4,
            "ends_transaction": true, "bytes": 9,
        });
        item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(item).unwrap()
    }

    #[test]
    fn a_frame_says_what_it_is_and_for_whom() {
        let change = json!({"what": "gap", "table": "d.t", "detail": "it was renamed"});
        let check = json!({
            "table": "d.t", "schema": 1, "rows": 2000, "bytes": 9, "from_first": false, "to_last": true, "left_out": 1,
        });
        let mut with_keys = check.clone();
        with_keys
            .as_object_mut()
            .unwrap()
            .extend(json!({"after": {"id": 2}, "left_out_hashes": ["ff"]}).as_object().unwrap().clone());
        let section = json!({"table": "d.t", "schema": 1, "op": "insert", "rows": 3, "bytes": 9});
        for (item, text) in [
            (json!({"change": change}), "gap d.t it was renamed"),
            (json!({"sections": [section], "audience": ["a", "b"]}), "insert d.t 3 rows (only for a, b)"),
            (json!({"check": check}), "check d.t 2,000 rows, keys after a key to the last, 1 keys left out"),
            (
                json!({"check": with_keys}),
                "check d.t 2,000 rows, keys after {\"id\":2} to the last, 1 keys left out (ff)",
            ),
        ] {
            assert_eq!(content(&frame(&item)).unwrap(), text);
        }
    }

    #[test]
    fn a_schema_says_how_it_is_known() {
        let schema = |more: serde_json::Value| {
            let mut item = json!({"id": 2, "table": "d.t", "columns": [], "key": []});
            item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            standing(&serde_json::from_value(item).unwrap())
        };
        assert_eq!(schema(json!({"state": "known"})), "known");
        let pending = json!({"state": "pending", "asked": ["a", "b"], "before": 1});
        assert_eq!(schema(pending), "pending, asked for a, b, after schema 1");
        assert_eq!(schema(json!({"state": "left_out", "reason": "no answer"})), "left out: no answer");
    }

    #[test]
    fn a_table_shows_the_counts_of_its_sinks_that_are_not_0() {
        let mut table = TableStatus::default();
        assert_eq!(counts(&table), "");
        table.sinks.insert("quiet".into(), SinkRowsStatus::default());
        let rows =
            SinkRowsStatus { delivered: 2, taken: 1, doubt: Some("2 and 1".into()), ..SinkRowsStatus::default() };
        table.sinks.insert("s".into(), rows);
        let sent = SinkRowsStatus { acknowledged: 5, sent: 4, ..SinkRowsStatus::default() };
        table.sinks.insert("t".into(), sent);
        table.skipped.insert("s".into(), 3);
        assert_eq!(
            counts(&table),
            "s: 2 delivered, 1 taken, 3 skipped, in doubt: 2 and 1; t: 5 acknowledged, 4 of these as sent"
        );
    }
}
