//! What `check` says about the server before anything runs. It changes nothing there.
//!
//! The first thing that fails hides what comes after it: without a user there are no privileges to look at.

use std::collections::{BTreeMap, BTreeSet};

use tokio::runtime::Handle;
use wal::{LogId, Lsn};

use super::client::Client;
use super::cursor::{Cursor, Found};
use super::definitions::type_settings;
use super::error::{NOT_LET_IN, Refused};
use super::layout::ClickHouse;
use super::names::{CURSORS, STOPPED, TABLES, literal, quoted};
use super::registry::Table;
use super::{ClickHousePlan, adopt, beside, cursor, open, registry};
use crate::codec::version::Epoch;
use crate::config::{Mode, SinkPlan, TlsMode, is_loopback, sink_password_variable};
use crate::error::{Failure, sink_reset};
use crate::model::{CheckItem, TableName};
use crate::sink::TargetState;
use crate::sink::adopt::Under;
use crate::sink::checking::{Against, Checked, LaidOut, Seen, lay_out, under_names};
use crate::sink::definitions::FREE_ROOM;
use crate::sink::registry::{SET_BACK, Tables, at_next_start, not_readable, unfit};
use crate::sink::stops::way_back;

/// The oldest release whose settings and types are known to be those of the newest one tested: `Time64` needs no setting
/// since 25.12.
const OLDEST: (u32, u32) = (25, 12);
/// Below so many free bytes an operator should look: a rebuild and a merge write a table once more.
const FEW_BYTES: u64 = 5 << 30;
/// What the sink does to the database, as privileges.
const PRIVILEGES: [&str; 6] = ["SELECT", "INSERT", "ALTER COLUMN", "CREATE TABLE", "DROP TABLE", "TRUNCATE"];
/// What `create_views` needs besides.
const VIEW_PRIVILEGES: [&str; 2] = ["CREATE VIEW", "DROP VIEW"];
/// What `adopt` needs besides.
const ADOPT_PRIVILEGES: [&str; 2] = ["ALTER SETTINGS", "ALTER MODIFY COMMENT"];
const UNKNOWN_DATABASE: u32 = 81;
/// Where nothing more is known.
const NO_ANSWER: &str =
    "check that ClickHouse runs, and that the port in the sink's url is that of its HTTP interface: 8123 by default";
/// A port without TLS answers a TLS greeting with an error, or waits for more of it and then hangs up: it depends on the greeting's bytes.
const NO_TLS_ANSWER: &str = "check that ClickHouse runs, and that the port in the sink's url is one where the server speaks TLS: 8443 by default";
const ACCESS_DENIED: u32 = 497;

/// Checks the server, its version, the user's privileges and settings, the disks, and what the database holds of this sink.
pub(super) async fn preflight(plan: &SinkPlan, against: Against<'_>) -> Result<Checked, Failure> {
    let clickhouse = plan.settings::<ClickHousePlan>()?;
    let check = Check { plan, clickhouse };
    let (laid_out, said) = lay_out(&ClickHouse(clickhouse.types), plan, against.tables);
    let only = |item| Ok(Checked { items: [vec![item], said.clone()].concat(), state: None });
    let client = match Client::new(clickhouse, Handle::current()) {
        Ok(client) => client,
        Err(failure) => return only(check.failed("server", failure)),
    };
    if let Err(refused) = client.execute("SELECT 1 FORMAT Null", false).await {
        return only(check.unreachable(refused));
    }
    let mut items = vec![check.version(&client).await, check.tls()];
    let privileges = check.privileges(&client).await;
    items.extend([privileges, check.settings(&client).await, check.disks(&client).await]);
    items.push(check.target(&client).await);
    items.extend(said);
    let state = match check.look_at_tables(&client, &laid_out, against.log).await {
        Ok((seen, state)) => {
            let is_read = against.reads_all && state == Some(TargetState::Fresh);
            items.extend(under_names::<ClickHouse>(plan, &seen, is_read));
            state
        }
        Err(failure) => {
            items.push(check.failed("names at the target", failure));
            None
        }
    };
    Ok(Checked { items, state })
}

struct Check<'p> {
    plan: &'p SinkPlan,
    clickhouse: &'p ClickHousePlan,
}

impl Check<'_> {
    fn named(&self, what: &str) -> String {
        format!("sink {}: {what}", self.plan.name)
    }

    fn failed(&self, what: &str, failure: Failure) -> CheckItem {
        let mend = failure.hint.clone();
        CheckItem::fail(self.named(what), Failure { hint: None, ..failure }.chain(), mend)
    }

    fn no_answer(&self) -> &'static str {
        if self.clickhouse.url.starts_with("https:") { NO_TLS_ANSWER } else { NO_ANSWER }
    }

    fn unreachable(&self, refused: Refused) -> CheckItem {
        let mend = match refused.code {
            Some(UNKNOWN_DATABASE) => Some(format!("CREATE DATABASE {}", quoted(&self.clickhouse.database))),
            Some(code) if NOT_LET_IN.contains(&code) => Some(format!(
                "set the password in {} or in the file of `password_file`, or another `user`",
                sink_password_variable(&self.plan.name)
            )),
            _ => None,
        };
        let answered = refused.code.is_some();
        let what = format!(
            "use database \"{}\" at {} as \"{}\"",
            self.clickhouse.database, self.clickhouse.url, self.clickhouse.user
        );
        let mut item = self.failed("server", refused.failure(&what));
        item.mend = mend.or(item.mend).or_else(|| (!answered).then(|| self.no_answer().to_owned()));
        item
    }

    async fn version(&self, client: &Client) -> CheckItem {
        let name = self.named("version");
        let version = match client.rows::<(String,)>("SELECT version()").await {
            Ok(rows) => rows.into_iter().next().map(|(version,)| version).unwrap_or_default(),
            Err(refused) => return self.failed("version", refused.failure("ask for the version")),
        };
        let detail = format!("ClickHouse {version} at {}", self.clickhouse.url);
        match release(&version) {
            Some(release) if release >= OLDEST => CheckItem::ok(name, detail),
            _ => {
                let mend = format!("use {}.{} or newer, with which this sink is tested", OLDEST.0, OLDEST.1);
                CheckItem::warn(name, detail, Some(mend))
            }
        }
    }

    /// Whether somebody on the way can read or be the server. The connection is there, so what the mode checks is as it should be.
    fn tls(&self) -> CheckItem {
        let name = self.named("TLS");
        let verify = "set its tls.mode to verify_identity, with tls.ca_file";
        match self.clickhouse.tls.mode {
            TlsMode::VerifyIdentity => CheckItem::ok(name, "on, certificate and host verified"),
            TlsMode::VerifyCa => CheckItem::ok(name, "on, certificate verified, its host name not"),
            TlsMode::Required => {
                CheckItem::warn(name, "on, but the server's certificate is not verified", Some(verify.to_owned()))
            }
            TlsMode::Disabled if self.is_near() => CheckItem::ok(name, "off, on this machine only"),
            TlsMode::Disabled => CheckItem::warn(
                name,
                "off: rows and the password cross the network in clear text",
                Some(format!("write https in its url, and {verify}")),
            ),
        }
    }

    fn is_near(&self) -> bool {
        let url = url::Url::parse(&self.clickhouse.url);
        let host = url.ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        is_loopback(host.trim_matches(['[', ']']))
    }

    async fn privileges(&self, client: &Client) -> CheckItem {
        let place = format!("{}.*", quoted(&self.clickhouse.database));
        let views: &[&str] = if self.clickhouse.create_views { &VIEW_PRIVILEGES } else { &[] };
        let shares: &[&str] = if self.plan.source_tag.is_some() { &["ALTER DELETE"] } else { &[] };
        let adopts: &[&str] = if self.plan.adopt { &ADOPT_PRIVILEGES } else { &[] };
        let wanted =
            PRIVILEGES.iter().chain(views).chain(shares).chain(adopts).map(|privilege| (*privilege, place.as_str()));
        // A server may be set to let everybody use every engine; then this one is there without a grant.
        let wanted = wanted.chain([("TABLE ENGINE", "ReplacingMergeTree")]);
        let mut missing = Vec::new();
        for (privilege, on) in wanted {
            match granted(client, privilege, on).await {
                Ok(true) => {}
                Ok(false) => missing.push((privilege, on)),
                Err(refused) => {
                    return self.failed("privileges", refused.failure(&format!("ask for the privilege {privilege}")));
                }
            }
        }
        if missing.is_empty() {
            let detail = format!("\"{}\" has what it needs on {place}", self.clickhouse.user);
            return CheckItem::ok(self.named("privileges"), detail);
        }
        let lacks: Vec<_> = missing.iter().map(|(privilege, on)| format!("{privilege} on {on}")).collect();
        let user = quoted(&self.clickhouse.user);
        let grants: Vec<_> =
            missing.iter().map(|(privilege, on)| format!("GRANT {privilege} ON {on} TO {user}")).collect();
        let detail = format!("\"{}\" lacks {}", self.clickhouse.user, lacks.join(", "));
        CheckItem::fail(self.named("privileges"), detail, Some(grants.join("; ")))
    }

    /// What the user's profile makes of a request, with the settings that go with every one.
    async fn settings(&self, client: &Client) -> CheckItem {
        let sql = "SELECT toString(getSetting('readonly')), toString(getSetting('async_insert')), \
                   toUInt64(getSetting('max_insert_block_size')), toFloat64(getSetting('max_execution_time'))";
        let (readonly, async_insert, block, seconds) = match client.rows::<(String, String, u64, f64)>(sql).await {
            Ok(rows) => match rows.into_iter().next() {
                Some(row) => row,
                None => return self.failed("settings", Failure::fatal("the server does not tell its settings")),
            },
            Err(refused) => return self.failed("settings", refused.failure("ask for the settings")),
        };
        let name = self.named("settings");
        let mend = |what: &str| Some(format!("give \"{}\" a settings profile {what}", self.clickhouse.user));
        if readonly != "0" {
            return CheckItem::fail(
                name,
                format!("the user's profile has readonly = {readonly}"),
                mend("with readonly = 0"),
            );
        }
        if !matches!(async_insert.as_str(), "0" | "false") {
            let detail = format!("the user's profile holds async_insert at {async_insert}");
            return CheckItem::fail(name, detail, mend("that lets async_insert be 0"));
        }
        if block < u64::from(self.plan.batch.max_rows) {
            let detail =
                format!("the user's profile holds max_insert_block_size at {block}, an insert would be several parts");
            return CheckItem::fail(name, detail, mend("that lets max_insert_block_size be 16777216"));
        }
        if seconds > 0.0 && seconds < self.clickhouse.timeout.as_secs_f64() {
            let detail = format!(
                "the server ends whatever takes {seconds} s (max_execution_time), a large change of a table among it"
            );
            return CheckItem::warn(name, detail, mend("with max_execution_time = 0"));
        }
        CheckItem::ok(name, "the user's profile lets the sink write as it must")
    }

    async fn disks(&self, client: &Client) -> CheckItem {
        let name = self.named("disk");
        let sql = "SELECT name, unreserved_space, is_read_only FROM system.disks ORDER BY name";
        let disks = match client.rows::<(String, u64, u8)>(sql).await {
            Ok(disks) => disks,
            Err(refused) if refused.code == Some(ACCESS_DENIED) => {
                let mend = format!("GRANT SELECT ON system.disks TO {}", quoted(&self.clickhouse.user));
                return CheckItem::warn(
                    name,
                    "the free space is not known, the user may not read system.disks",
                    Some(mend),
                );
            }
            Err(refused) => return self.failed("disk", refused.failure("ask for the disks")),
        };
        let all: Vec<String> =
            disks.iter().map(|(disk, free, _)| format!("{} free on \"{disk}\"", bytesize::ByteSize(*free))).collect();
        let detail = all.join(", ");
        if let Some((disk, _, _)) = disks.iter().find(|(_, _, read_only)| *read_only != 0) {
            return CheckItem::warn(
                name,
                format!("disk \"{disk}\" is read-only; {detail}"),
                Some("make it writable".into()),
            );
        }
        if disks.iter().any(|(_, free, _)| *free < FEW_BYTES) {
            let mend =
                "the copy needs room for its rows, and as much again while a table is merged or rebuilt".to_owned();
            return CheckItem::warn(name, detail, Some(mend));
        }
        CheckItem::ok(name, detail)
    }

    /// What the database holds of this sink, and whether the configuration still fits it.
    async fn target(&self, client: &Client) -> CheckItem {
        match self.look_into(client).await {
            Ok((detail, None)) => CheckItem::ok(self.named("target"), detail),
            Ok((detail, mend)) => CheckItem::warn(self.named("target"), detail, mend),
            Err(failure) => self.failed("target", failure),
        }
    }

    async fn look_into(&self, client: &Client) -> Result<(String, Option<String>), Failure> {
        let shown = &self.clickhouse.database;
        cursor::check_format(client, shown).await?;
        let sql = format!(
            "SELECT name FROM system.tables WHERE database = {} AND name IN ({}, {}, {})",
            literal(shown),
            literal(CURSORS),
            literal(TABLES),
            literal(STOPPED)
        );
        let own: Vec<(String,)> = client.rows(&sql).await.map_err(|error| error.failure("read the list of tables"))?;
        if own.len() < 3 {
            return Ok((
                format!("\"{shown}\" holds nothing of this sink yet, tables that are in it stay as they are"),
                None,
            ));
        }
        let (tables, unreadable) = registry::load(client, &self.plan.name).await?;
        let found = cursor::read(client, &self.plan.name).await?;
        let is_lost = match found {
            Found::Unreadable => Some("the sink's cursor in it is not readable"),
            Found::Nothing if !tables.is_empty() => Some("it has tables of the sink, but no cursor"),
            Found::Nothing | Found::Cursor(_) => None,
        };
        if let Some(why) = is_lost {
            let reset = sink_reset(&self.plan.name);
            return Err(Failure::fatal(format!("database \"{shown}\": {why}"))
                .hint(format!("restore it, or run `{reset}`: every table is read again, in place of what is there")));
        }
        let cursor = found.cursor();
        let epoch = cursor.map_or(Epoch::FIRST, |cursor| cursor.owner.epoch);
        let stops = registry::load_stops(client, &self.plan.name, epoch)
            .await
            .map_err(|error| error.failure("read the sink's stopped tables"))?;
        let stopped = stops.all();
        let unfit = unfit::<ClickHouse>(&tables, self.plan, &type_settings(self.clickhouse));
        let (again, kept) = at_next_start(&tables, unfit);
        let changes = registry::load_changes(client, &self.plan.name, epoch)
            .await
            .map_err(|error| error.failure("read how far the tables' changes have come"))?;
        let altered = open::altered_of(client, shown, &tables, |table| changes.is_unfinished(table)).await?;
        let unreadable = unreadable.iter().map(|table| (table.clone(), not_readable(table)));
        let stops_next = (unreadable.chain(altered).chain(kept)).find(|(table, _)| !stops.has(table));
        if let Some((table, why)) = stops_next {
            return Err(
                Failure::row(format!("{table} will be stopped at the next start: {why}")).hint(way_back(&table))
            );
        }
        let detail = match cursor {
            Some(Cursor { owner, applied, .. }) if applied > Lsn::ZERO => {
                format!("\"{shown}\" holds {} tables up to lsn {applied} of log {}", tables.len(), owner.log)
            }
            _ => format!("\"{shown}\" holds nothing of this sink yet"),
        };
        if let Some(again) = again {
            return Ok((format!("{detail}; {again}"), Some(SET_BACK.to_owned())));
        }
        match stopped.first_key_value() {
            None => match self.lack(client, &tables).await {
                Ok(None) => Ok((detail, None)),
                Ok(Some(lack)) => Ok((format!("{detail}; {lack}"), Some(FREE_ROOM.to_owned()))),
                Err(refused) => {
                    let user = quoted(&self.clickhouse.user);
                    let grant = |table: &str| format!("GRANT SELECT ON system.{table} TO {user}");
                    let grants = ["parts", "disks", "storage_policies"].map(grant).join("; ");
                    Ok((
                        format!("{detail}; whether a replace has room for a second copy is not known: {refused}"),
                        Some(grants),
                    ))
                }
            },
            Some((table, why)) => {
                let detail = format!("{detail}, {} of them stopped; {table}: {}", stopped.len(), why.reason);
                Ok((detail, Some("see `replicator status`".to_owned())))
            }
        }
    }
}

impl Check<'_> {
    /// What is under the names of tables that the sink has not made yet, and what the database says to a log.
    async fn look_at_tables(
        &self,
        client: &Client,
        tables: &[LaidOut<String>],
        log: Option<LogId>,
    ) -> Result<(Vec<Seen>, Option<TargetState>), Failure> {
        let (database, sink) = (self.clickhouse.database.as_str(), self.plan.name.as_str());
        let registered = self.registered(client).await?;
        let known = registered.as_ref().map(|(tables, _)| tables);
        let sql = format!("SELECT name FROM system.tables WHERE database = {}", literal(database));
        let there: Vec<(String,)> =
            client.rows(&sql).await.map_err(|error| error.failure("read the list of tables"))?;
        let there: BTreeSet<String> = there.into_iter().map(|(name,)| name).collect();
        let mut seen = Vec::new();
        for table in tables.iter().filter(|table| known.is_none_or(|known| !known.contains_key(&table.schema.name))) {
            // Of many tables, hardly any is there.
            let under = if there.contains(&table.layout.target) {
                adopt::under(client, (database, sink), &table.layout).await
            } else {
                Ok(Under::Nothing)
            };
            let under = under.map_err(|error| error.failure("read the definition of a table"))?;
            seen.push(table.seen(self.plan, adopt::ours(&table.layout, database), under));
        }
        let Some((tables, unreadable)) = registered else { return Ok((seen, Some(TargetState::Fresh))) };
        let found = cursor::read(client, sink).await?;
        // A cursor of no round counts as none to whichever log comes.
        let log = log.unwrap_or(LogId::new(0));
        Ok((seen, Some(cursor::state(found, log, !tables.is_empty() || !unreadable.is_empty()))))
    }

    /// The sink's tables; `None`: the database has none of the sinks' own.
    async fn registered(&self, client: &Client) -> Result<Option<(Tables<String>, Vec<TableName>)>, Failure> {
        let sql = format!(
            "SELECT count() FROM system.tables WHERE database = {} AND name IN ({}, {})",
            literal(&self.clickhouse.database),
            literal(CURSORS),
            literal(TABLES)
        );
        let own: Vec<(u64,)> = client.rows(&sql).await.map_err(|error| error.failure("read the list of tables"))?;
        if own.first().is_none_or(|(own,)| *own < 2) {
            return Ok(None);
        }
        cursor::check_format(client, &self.clickhouse.database).await?;
        registry::load(client, &self.plan.name).await.map(Some)
    }

    /// What a replace of the largest table lacks.
    async fn lack(&self, client: &Client, tables: &BTreeMap<TableName, Table>) -> Result<Option<String>, Refused> {
        let database = &self.clickhouse.database;
        let mirrors: Vec<&str> = (tables.values().map(Table::seen).filter(|layout| layout.mode == Mode::Mirror))
            .map(|layout| layout.target.as_str())
            .collect();
        let Some(largest) = beside::largest(client, database, &mirrors).await? else { return Ok(None) };
        let room = beside::room(client, database, &largest).await?;
        Ok(room.and_then(|room| room.lack(&largest, &format!("database \"{database}\""))))
    }
}

/// Whether the user of the connection has a privilege.
async fn granted(client: &Client, privilege: &str, on: &str) -> Result<bool, Refused> {
    let rows: Vec<(u8,)> = client.rows(&format!("CHECK GRANT {privilege} ON {on}")).await?;
    Ok(rows.first().is_some_and(|(granted,)| *granted == 1))
}

/// Year and month of `26.9.2.1`.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_compare_as_numbers() {
        assert_eq!(release("26.9.2.1"), Some((26, 9)));
        assert!(release("25.3.1.1").unwrap() < OLDEST && release("25.12.1.1").unwrap() >= OLDEST);
        assert_eq!(release("next"), None);
    }
}
