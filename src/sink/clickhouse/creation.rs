//! Tables that are made side by side, many between two commits: what a first snapshot is of.
//!
//! The definition of a table that is not there is no barrier. Nothing of the table was stored before it, and its own rows come
//! after it, so the round goes on: the server works on the CREATE while rows are encoded and the previous round is stored. Three rules keep it exact:
//!
//! - no INSERT of a table begins before its CREATE is answered, and a table that the server refuses is stopped before anything of it is sent;
//! - the lines of all tables of a round are written in one INSERT, before those of their rows end, so that the cursor never passes a change
//!   whose line is not there;
//! - a crash before that leaves tables without a line. The change comes again, and a table whose comment says that this change made it is
//!   the one; a crash after it leaves a line that says that the change is done. Both are as they were with one table at a time.
//!
//! Every other change ends what is under way before it begins.

use std::collections::HashSet;

use tokio::task::JoinSet;
use wal::Lsn;

use super::client::Client;
use super::error::Refused;
use super::layout::Layout;
use super::owner::{maker, under_name};
use super::registry::{self, Table};
use super::target::Target;
use super::version::LineVersion;
use crate::codec::frame::TableChange;
use crate::error::Failure;
use crate::model::{TableName, TableSchema};
use crate::sink::follow::{self, Lookup};
use crate::sink::refusals;
use crate::sink::rules::shown_schema;
use crate::sink::stops;

/// Tables that are being made.
#[derive(Default)]
pub(super) struct Creations {
    running: JoinSet<Made>,
    /// Those whose answer is not known yet.
    unanswered: HashSet<TableName>,
    /// Answered, and not registered yet.
    answered: Vec<Made>,
}

/// A table that was made, or refused.
struct Made {
    table: TableName,
    lsn: Lsn,
    done: Result<Answer, Failure>,
}

/// What the server answered to the making of a table.
enum Answer {
    /// It is there.
    Made,
    /// Its name is that of another table or view, with this comment.
    Taken(String),
}

impl Creations {
    /// Whether rows of the table have to wait.
    pub(super) fn holds_back(&mut self, table: &TableName) -> bool {
        if self.unanswered.is_empty() {
            return false;
        }
        while let Some(Ok(made)) = self.running.try_join_next() {
            self.answer(made);
        }
        // One that was refused stops at the end of the round, before anything of it is sent.
        self.unanswered.contains(table)
    }

    fn answer(&mut self, made: Made) {
        if matches!(made.done, Ok(Answer::Made)) {
            self.unanswered.remove(&made.table);
        }
        self.answered.push(made);
    }
}

impl Target {
    /// Whether a change at `lsn` does nothing but make a table.
    pub(super) fn creates(&self, lsn: Lsn, change: &TableChange) -> bool {
        let TableChange::Schema { table, .. } = change else { return false };
        let is_new = !self.followed.tables.contains_key(table) && !self.followed.stops.has(table);
        // Tables that share a target are made one after the other; one that may be taken over is looked at before.
        let is_alone = self.plan.source_tag.is_none() && !self.plan.adopt;
        is_new && is_alone && lsn > self.followed.changes.stored_before(table)
    }

    /// Begins to make the table of such a change. Its rows may come at once.
    pub(super) fn begin_creation(
        &mut self,
        lsn: Lsn,
        change: &TableChange,
        lookup: &mut Lookup<'_>,
    ) -> Result<(), Failure> {
        let TableChange::Schema { to, .. } = change else { return Ok(()) };
        let schema = shown_schema(&self.plan, lookup(*to)?);
        stops::is_at_source(self, &schema.name);
        match self.laid_out(&schema) {
            Ok(table) => {
                self.spawn_creation(lsn, table);
                Ok(())
            }
            Err(failure) => stops::contain(self, &schema.name, Err(failure)),
        }
    }

    /// The table for a schema, where there is none.
    fn laid_out(&self, schema: &TableSchema) -> Result<Table, Failure> {
        let name = &schema.name;
        let target = self.plan.target_name(name);
        let layout = Layout::new(&self.dialect, schema, &follow::options_of(self, schema), target)?;
        follow::may_hold(self, name, &layout.target)?;
        follow::warn_of_rule(self, schema);
        Ok(Table::new(schema.clone(), follow::stored_options(self, schema), layout))
    }

    fn spawn_creation(&mut self, lsn: Lsn, table: Table) {
        let name = table.schema.name.clone();
        let comment = self.made(lsn);
        let target = table.layout.target.clone();
        let request = Request {
            client: self.client.clone(),
            // A table that is there is an answer: most are not, and are not looked for.
            sql: table.layout.create_statement(&self.clickhouse.database, &target, &comment).replacen(
                "IF NOT EXISTS ",
                "",
                1,
            ),
            database: self.clickhouse.database.clone(),
            comment,
            what: format!("create the table \"{target}\" of {name}"),
            target,
        };
        let of = name.clone();
        let answer = async move { Made { table: of, lsn, done: request.run().await } };
        self.creations.running.spawn_on(answer, self.client.runtime());
        self.creations.unanswered.insert(name.clone());
        self.followed.tables.insert(name, table);
    }

    fn is_answered(&self, table: &TableName) -> bool {
        self.creations.answered.iter().any(|made| made.table == *table)
    }

    /// Waits for the tables that are being made, and writes their lines.
    pub(super) async fn end_creations(&mut self) -> Result<(), Failure> {
        while let Some(made) = self.creations.running.join_next().await {
            let made = made.map_err(|error| Refused::interrupted(&error).failure("create a table"))?;
            self.creations.answer(made);
        }
        let unanswered = std::mem::take(&mut self.creations.unanswered);
        if let Some(table) = unanswered.into_iter().find(|table| !self.is_answered(table)) {
            return Err(Failure::retry(format!("the creation of the table of {table} was interrupted")));
        }
        let mut done = Vec::new();
        for Made { table, lsn, done: answer } in std::mem::take(&mut self.creations.answered) {
            let layout = self.followed.tables.get(&table).map(|registered| registered.layout.clone());
            let answer = match (answer, layout) {
                (Ok(Answer::Made), Some(layout)) => self.make_view(&layout).await,
                (Ok(Answer::Made), None) => Ok(()),
                (Ok(Answer::Taken(comment)), layout) => {
                    let target = layout.map_or_else(|| self.plan.target_name(&table), |layout| layout.target);
                    Err(follow::taken(self, &table, &target, maker(&self.plan.name, &comment).map(str::to_owned)))
                }
                (Err(failure), _) => Err(failure),
            };
            match answer {
                Ok(()) => done.push((table, lsn)),
                Err(failure) => {
                    self.followed.tables.remove(&table);
                    stops::judge(self, &table, Err(failure)).await?;
                }
            }
        }
        let lines: Vec<(LineVersion, &Table)> = (done.iter())
            .filter_map(|(table, lsn)| Some((self.version(*lsn), self.followed.tables.get(table)?)))
            .collect();
        if lines.is_empty() {
            return Ok(());
        }
        registry::save_all(&self.client, &self.plan.name, &lines)
            .await
            .map_err(|error| error.failure("register tables"))?;
        for (table, lsn) in done {
            self.followed.changes.note_done(&table, lsn);
            refusals::accepted(self, &table).await?;
        }
        Ok(())
    }
}

/// The making of a table.
struct Request {
    client: Client,
    sql: String,
    database: String,
    target: String,
    comment: String,
    what: String,
}

impl Request {
    async fn run(self) -> Result<Answer, Failure> {
        /// `TABLE_ALREADY_EXISTS`.
        const IS_THERE: Option<u32> = Some(57);
        let done = async {
            let _turn = self.client.turn().await?;
            match self.client.execute(&self.sql, false).await {
                Ok(()) => Ok(Answer::Made),
                // By this change before a crash, or by somebody else.
                Err(refused) if refused.code == IS_THERE => {
                    let (comment, _) =
                        under_name(&self.client, &self.database, &self.target).await?.unwrap_or_default();
                    Ok(if comment == self.comment { Answer::Made } else { Answer::Taken(comment) })
                }
                Err(refused) => Err(refused),
            }
        };
        done.await.map_err(|error| Refused::failure(error, &self.what))
    }
}
