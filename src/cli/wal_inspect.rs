//! `replicator wal inspect`.

use std::path::Path;

use anyhow::Context;
use comfy_table::Table;

use super::args::InspectArgs;
use super::log_access::{self, LogAccess};
use super::output::{Output, bytes, count, table};
use crate::control::Request;
use crate::inspect::{self, FrameItem, Item, Query, RowItem};

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
        LogAccess::Direct(reader) => {
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
            Item::Log { id, first_lsn, durable_lsn, bytes: held, disk_bytes } => {
                let range = if first_lsn > durable_lsn {
                    format!("empty after lsn {durable_lsn}")
                } else {
                    format!("lsn {first_lsn} to {durable_lsn}, {}", bytes(*held))
                };
                self.line(&format!("log {id}: {range}, {} on disk", bytes(*disk_bytes)))
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
                let applied: Vec<_> =
                    table.applied.iter().map(|(sink, rows)| format!("{sink}: {}", count(*rows))).collect();
                let numbers = [table.read, table.appended, table.filtered].map(count);
                let cells = [table.table.clone()].into_iter().chain(numbers).chain([applied.join(", ")]);
                self.row(Section::Tables, cells.collect())
            }
            Item::Schema(schema) => self.row(
                Section::Schemas,
                vec![schema.id.to_string(), schema.table.clone(), schema.key.join(", "), schema.columns.join(", ")],
            ),
            Item::Frame(frame) => self.frame(frame),
            Item::Row(row) => self.line(&row_line(row)?),
        }
    }

    fn frame(&mut self, frame: &FrameItem) -> anyhow::Result<bool> {
        if self.rows {
            // Rows stand between frames, so frames are lines and no table.
            return self.line(&format!(
                "lsn {}  {}  {}  {}{}",
                frame.lsn,
                frame.committed,
                frame.gtid,
                content(frame),
                if frame.ends_transaction { "" } else { "  (goes on)" }
            ));
        }
        self.row(
            Section::Frames,
            vec![
                frame.lsn.to_string(),
                frame.committed.clone(),
                frame.gtid.clone(),
                format!("{}:{}", frame.file_number, frame.pos),
                bytes(frame.bytes),
                content(frame),
                if frame.ends_transaction { String::new() } else { "goes on".to_owned() },
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
        Section::Tables => table(&["table", "rows read", "appended", "filtered", "applied"], &[1, 2, 3]),
        Section::Schemas => table(&["schema", "table", "key", "columns"], &[0]),
        Section::Frames => table(&["lsn", "committed", "gtid", "binlog", "bytes", "content", ""], &[0, 4]),
    }
}

fn content(frame: &FrameItem) -> String {
    if let Some(change) = &frame.change {
        return [change.what.as_str(), &change.table, &change.detail].join(" ").trim_end().to_owned();
    }
    let sections = frame.sections.iter();
    let words: Vec<_> = sections
        .map(|section| format!("{} {} {} rows", section.op, section.table, count(section.rows.into())))
        .collect();
    words.join(", ")
}

fn row_line(row: &RowItem) -> anyhow::Result<String> {
    let values = |values: &Option<serde_json::Map<String, serde_json::Value>>| match values {
        Some(values) => serde_json::to_string(values).context("cannot write JSON"),
        None => Ok(String::new()),
    };
    let arrow = if row.before.is_some() && row.after.is_some() { " -> " } else { "" };
    Ok(format!("  {}  {} {}  {}{arrow}{}", row.ordinal, row.op, row.table, values(&row.before)?, values(&row.after)?))
}
