//! The keys of a sink with `type: clickhouse`.

use std::sync::Arc;
use std::time::Duration;

use super::url::HttpUrl;
use crate::config::{
    BatchPlan, Password, Place, Section, SinkKeys, SinkSettings, TlsMode, TlsPlan, duration_between, read_tls,
};

/// The word after `type:`.
pub(super) const NAME: &str = "clickhouse";

/// Rows and bytes of a batch that are worth an insert of their own at full speed; the daemon holds them until they are
/// acknowledged. A server merges the parts of one insert a second and table without effort.
pub(super) const BATCH: BatchPlan =
    BatchPlan { max_rows: 500_000, max_bytes: 64 << 20, max_delay: Duration::from_secs(1) };
/// A request that takes longer is not worth waiting for.
const MAX_TIMEOUT: Duration = Duration::from_hours(1);
/// A large insert into a busy server may take minutes; a server that is gone says nothing at all.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(5);

/// Merges of too many parts and a query that takes all memory are over by then; what lasts longer needs somebody.
const DEFAULT_STOP_REFUSED: Duration = Duration::from_mins(10);
/// A weekend: nothing of the sink is applied for as long.
const MAX_STOP_REFUSED: Duration = Duration::from_hours(72);

/// What is particular to ClickHouse.
#[derive(Clone, Debug)]
pub struct ClickHousePlan {
    /// `http://host:port/` or `https://host:port/`.
    pub url: String,
    /// Database of every table; it must exist.
    pub database: String,
    /// What stands before every name of a table.
    pub table_prefix: String,
    /// User.
    pub user: String,
    /// Password; may be empty.
    pub password: Password,
    /// Checks of the server's certificate; [`TlsMode::Disabled`] with `http`.
    pub tls: TlsPlan,
    /// Compression of what is sent.
    pub compression: Compression,
    /// Settings of the server that go with every query.
    pub settings: Vec<(String, String)>,
    /// Whether each mirror gets a view `<table>_current` that hides superseded and deleted rows.
    pub create_views: bool,
    /// Choices among column types.
    pub types: ClickHouseTypes,
    /// How long one request may take.
    pub timeout: Duration,
    /// How long the server may refuse one table for the moment before that table stops.
    pub stop_refused_after: Duration,
}

/// Compression of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// None: fastest where the network is not the limit.
    None,
    /// LZ4.
    Lz4,
}

/// Choices among column types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClickHouseTypes {
    /// `JSON` columns.
    pub json: JsonType,
    /// `SET` columns.
    pub sets: SetType,
}

/// The type of `JSON` columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonType {
    /// `String`: the text, exact.
    String,
    /// `JSON`: takes only objects, and changes numbers and nulls in them.
    Json,
}

/// The type of `SET` columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetType {
    /// `String`: members with commas between them.
    String,
    /// `Array(String)`.
    Array,
}

impl SinkSettings for ClickHousePlan {
    fn type_name(&self) -> &'static str {
        NAME
    }

    fn table_name(&self, template: &str) -> String {
        format!("{}{template}", self.table_prefix)
    }

    fn password(&self) -> Option<&Password> {
        Some(&self.password)
    }

    fn place(&self, table_name: &str) -> Place {
        Place {
            key: "database",
            place: format!("{} {} {table_name}", self.url, self.database),
            message: "and the table names are also those".to_owned(),
        }
    }
}

pub(super) fn read(section: &Section<'_>, keys: &SinkKeys<'_>) -> Option<Arc<dyn SinkSettings>> {
    let prefix_key = section.key("table_prefix");
    let table_prefix = prefix_key.text().unwrap_or_default().to_owned();
    if table_prefix.contains(['{', '}']) {
        prefix_key.problem("takes no placeholders; they go into table_name");
    }
    let url_key = section.key("url").required("the server's HTTP interface, such as http://127.0.0.1:8123");
    let url = url_key.parsed(HttpUrl::parse);
    let database = section.key("database").required("the database to write to").name().map(str::to_owned);
    let user = section.key("user").name().unwrap_or("default").to_owned();
    let password = keys.password(&section.key("password_file"));
    let tls = read_tls(section.key("tls").section(), url.as_ref().is_some_and(|url| !url.is_https));
    if let (Some(url), Some(tls)) = (&url, &tls) {
        match (url.is_https, tls.mode) {
            (false, TlsMode::Disabled) => {}
            (true, TlsMode::Disabled) => {
                url_key.problem("is https, and tls.mode is disabled; write http, or another mode");
            }
            (false, _) => url_key.problem("is http, which has no TLS; write https, or tls: { mode: disabled }"),
            (true, _) => {}
        }
    }
    let words = [("none", Compression::None), ("lz4", Compression::Lz4)];
    // On this machine the network is no limit, and compressing costs more than it saves.
    let near = url.as_ref().is_none_or(HttpUrl::is_loopback);
    let compression = section.key("compression").choice(&words);
    let compression = compression.unwrap_or(if near { Compression::None } else { Compression::Lz4 });
    let settings_key = section.key("settings");
    let settings = settings_key.scalars();
    for (name, _) in &settings {
        if let Some(why) = owned_setting(name) {
            settings_key.problem(format!("must not set \"{name}\": {why}"));
        }
    }
    let create_views = section.key("create_views").boolean().unwrap_or(false);
    let types = ClickHouseTypes {
        json: section
            .key("json")
            .choice(&[("string", JsonType::String), ("json", JsonType::Json)])
            .unwrap_or(JsonType::String),
        sets: section
            .key("sets")
            .choice(&[("string", SetType::String), ("array", SetType::Array)])
            .unwrap_or(SetType::String),
    };
    let timeout = duration_between(&section.key("timeout"), DEFAULT_TIMEOUT, Duration::from_secs(1), MAX_TIMEOUT);
    let stop_refused_after = duration_between(
        &section.key("stop_refused_after"),
        DEFAULT_STOP_REFUSED,
        Duration::from_secs(1),
        MAX_STOP_REFUSED,
    );
    Some(Arc::new(ClickHousePlan {
        url: url?.text,
        database: database?,
        table_prefix,
        user,
        password: password?,
        tls: tls?,
        compression,
        settings,
        create_views,
        types,
        timeout,
        stop_refused_after,
    }))
}

/// Settings on which exactly-once rests.
fn owned_setting(name: &str) -> Option<&'static str> {
    Some(match name {
        "async_insert" | "wait_for_async_insert" => {
            "rows are sent in batches, and each is acknowledged when it is stored"
        }
        "insert_deduplicate" | "deduplicate_insert" | "insert_deduplication_token" => {
            "row versions make a repeated insert harmless, and the server's own deduplication drops other data in silence"
        }
        "input_format_skip_unknown_fields" => "a column that the table does not have must be an error",
        "input_format_with_names_use_header"
        | "input_format_with_types_use_header"
        | "input_format_parallel_parsing"
        | "input_format_binary_read_json_as_string"
        | "output_format_json_quote_64bit_integers" => "it says how rows are read and written",
        "alter_sync" | "mutations_sync" => "a change of a definition must be done before the rows that follow it",
        "max_insert_block_size" | "min_insert_block_size_rows" | "min_insert_block_size_bytes" => {
            "an insert is one block, so that it is stored as a whole or not at all"
        }
        "fsync_after_insert" | "fsync_part_directory" => "the log is trimmed once rows are on the server's disk",
        "database" | "user" | "password" | "query" | "default_format" => "it has a key of its own",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
