//! Reads that an operator asks for: what cannot be read is refused before the table's record wants it.

use std::sync::Arc;

use mysql_async::prelude::Queryable as _;
use tokio::sync::oneshot;

use super::context::{Context, Retry};
use super::table::{denied, partial};
use crate::error::Failure;
use crate::model::TableName;
use crate::source::mysql::schema::{self, Existence, LeftOutBy, Nature, Relation, query_failure, table_identifier};
use crate::table::{Ask, ByHand, Reach};

/// A table to be read again.
#[derive(Debug)]
pub struct Backfill {
    /// The table, as the operator spells it.
    pub table: TableName,
    /// A condition in the source's SQL that rows must meet; the operator's own text.
    pub condition: Option<String>,
    /// Rows a chunk has at most, in place of `source.snapshot.chunk_rows`.
    pub chunk_rows: Option<u32>,
    /// The sinks' rows are replaced, so that rows that the source no longer has go too. Not with a condition.
    pub replace: bool,
    /// Sent once the read is stored, so that it survives a crash: its number; or why it is refused. A refused one leaves nothing.
    pub reply: oneshot::Sender<Result<Option<u32>, Failure>>,
}

/// Tries a request, and hands it to the ingest loop.
pub(super) async fn ask(context: Arc<Context>, backfill: Backfill) {
    let Backfill { table, condition, chunk_rows, replace, reply } = backfill;
    let table = context.sessions.names().table(table);
    let mut retry = Retry::new();
    let asked = loop {
        let failure = match attempt(&context, &table, condition.as_deref(), (chunk_rows, replace)).await {
            Ok(number) => break Ok(number),
            Err(failure) => failure,
        };
        if let Err(failure) = retry.pause(&table, failure).await {
            break Err(failure);
        }
    };
    // Whoever asked may have gone; the table is read all the same.
    drop(reply.send(asked));
}

fn cannot_be_copied(table: &TableName, by: &LeftOutBy) -> Failure {
    Failure::fatal(format!("table \"{table}\" cannot be copied: {by}"))
}

async fn attempt(
    context: &Context,
    table: &TableName,
    condition: Option<&str>,
    (chunk_rows, replace): (Option<u32>, bool),
) -> Result<Option<u32>, Failure> {
    if !context.sessions.captures(table) {
        return Err(Failure::fatal(format!("the running daemon does not capture table \"{table}\""))
            .hint("restart it after a change of source.include and source.exclude; it reads a table that it captures since by itself"));
    }
    let mut conn = context.sessions.control().await?;
    match schema::existence(&mut conn, table).await? {
        Existence::Exists => {}
        Existence::NoSuchTable => {
            return Err(Failure::fatal(format!("table \"{table}\" does not exist at the source")));
        }
        Existence::Denied { grant } => return Err(denied(table, grant)),
        Existence::Broken { why } => return Err(Existence::broken(table, &why)),
    }
    match schema::relation(&mut conn, table).await? {
        Some(Relation::Table(Nature::Copied)) | None => {}
        Some(Relation::Table(Nature::LeftOut(by))) => {
            return Err(cannot_be_copied(table, &by));
        }
        Some(Relation::NoTable(kind)) => {
            return Err(Failure::fatal(format!("\"{table}\" is a {kind}, and only tables are copied")));
        }
    }
    if let Some(described) = schema::describe(&mut conn, context.sessions.server()?.flavour, table).await? {
        if let Nature::LeftOut(by) = &described.nature {
            return Err(cannot_be_copied(table, by));
        }
        if condition.is_some() && (described.schema.key.is_none() || replace) {
            return Err(partial(table));
        }
    }
    if let Some(condition) = condition {
        let sql = format!("SELECT 1 FROM {} WHERE ({condition}) LIMIT 0", table_identifier(table));
        conn.query_drop(sql).await.map_err(|error| {
            let failure = query_failure(&format!("read table \"{table}\" with the condition"), error);
            Failure { class: crate::error::ErrorClass::Fatal, ..failure }.hint("correct --where")
        })?;
    }
    let reach = match condition {
        Some(condition) => Reach::Part { condition: condition.to_owned() },
        None if replace => Reach::Replace,
        None => Reach::Whole,
    };
    let ask = Ask { chunk_rows, ..Ask::by_hand(reach, "an operator asked for it") };
    // An error of an earlier try is none of this one.
    context.show(table, |entry| entry.error = None);
    Ok(context.ingest.by_hand(table.clone(), ByHand::Read(ask)).await?.read)
}
