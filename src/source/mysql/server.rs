//! What the source says about itself: kind, version, identity, settings that decide what its binlog holds.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use mysql_async::Conn;
use mysql_async::prelude::{FromRow, Queryable};

use super::binlog::Collations;
use super::connect::classify;
use crate::error::Failure;
use crate::model::{Names, ServerIdentity};

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// MySQL, and what calls itself so (Percona Server, Aurora).
    MySql,
    /// MariaDB.
    MariaDb,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
        })
    }
}

/// `@@gtid_mode` of MySQL; MariaDB always has GTIDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GtidMode {
    /// Every transaction has one.
    On,
    /// New ones do, old ones may not.
    OnPermissive,
    /// New ones do not, replicated ones may.
    OffPermissive,
    /// None has.
    Off,
}

impl fmt::Display for GtidMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::On => "ON",
            Self::OnPermissive => "ON_PERMISSIVE",
            Self::OffPermissive => "OFF_PERMISSIVE",
            Self::Off => "OFF",
        })
    }
}

/// The setting that says how names of databases and tables compare.
pub const NAMES: &str = "lower_case_table_names";

/// The setting that says what table maps have beside types.
pub const ROW_METADATA: &str = "binlog_row_metadata";

/// Lowest versions that are supported.
const MIN_MYSQL: (u16, u16, u16) = (8, 0, 0);
const MIN_MARIADB: (u16, u16, u16) = (10, 5, 0);

/// What one short question says of a server: enough to know whether it is a certain one, and how to ask it more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Whose server it is.
    pub flavour: Flavour,
    /// Major, minor, patch.
    pub version: (u16, u16, u16),
    /// `@@version` as the server prints it.
    pub version_text: String,
    /// What positions belong to.
    pub identity: ServerIdentity,
    /// GTIDs.
    pub gtid_mode: GtidMode,
}

impl Known {
    /// Asks the server.
    ///
    /// # Errors
    /// A classified [`Failure`].
    pub async fn ask(connection: &mut Conn) -> Result<Self, Failure> {
        let names = "WHERE Variable_name IN ('version', 'server_uuid', 'server_id', 'gtid_domain_id', 'gtid_mode')";
        Self::of(&global_variables(connection, names).await?)
    }

    fn of(variables: &HashMap<String, String>) -> Result<Self, Failure> {
        let text = |name: &str| variables.get(name).cloned().unwrap_or_default();
        let version_text = text("version");
        let flavour =
            if version_text.to_ascii_lowercase().contains("mariadb") { Flavour::MariaDb } else { Flavour::MySql };
        let version = parse_version(&version_text)
            .ok_or_else(|| Failure::fatal(format!("the source's version \"{version_text}\" is not readable")))?;
        let identity = match flavour {
            Flavour::MySql => ServerIdentity::MySql { server_uuid: text("server_uuid") },
            Flavour::MariaDb => ServerIdentity::MariaDb {
                server_id: number(variables, "server_id")?,
                domain_id: number(variables, "gtid_domain_id")?,
            },
        };
        let gtid_mode = match (flavour, text("gtid_mode").to_ascii_uppercase().as_str()) {
            (Flavour::MariaDb, _) | (Flavour::MySql, "ON") => GtidMode::On,
            (Flavour::MySql, "ON_PERMISSIVE") => GtidMode::OnPermissive,
            (Flavour::MySql, "OFF_PERMISSIVE") => GtidMode::OffPermissive,
            (Flavour::MySql, _) => GtidMode::Off,
        };
        Ok(Self { flavour, version, version_text, identity, gtid_mode })
    }
}

/// The server, as probed.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    /// Whose server it is.
    pub flavour: Flavour,
    /// Major, minor, patch.
    pub version: (u16, u16, u16),
    /// `@@version` as it stands.
    pub version_text: String,
    /// What positions belong to.
    pub identity: ServerIdentity,
    /// `@@server_id`.
    pub server_id: u32,
    /// GTIDs.
    pub gtid_mode: GtidMode,
    /// How it spells and compares names of databases and tables (`lower_case_table_names`).
    pub names: Names,
    /// Character sets by collation id.
    pub collations: Arc<Collations>,
    variables: HashMap<String, String>,
}

impl fmt::Display for ServerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.flavour, self.version_text, self.identity)
    }
}

impl ServerInfo {
    /// Asks the server.
    ///
    /// # Errors
    /// A classified [`Failure`]; fatal for a server that is too old.
    pub async fn probe(connection: &mut Conn) -> Result<Self, Failure> {
        let variables = global_variables(connection, "").await?;
        let Known { flavour, version, version_text, identity, gtid_mode } = Known::of(&variables)?;
        let oldest = if flavour == Flavour::MySql { MIN_MYSQL } else { MIN_MARIADB };
        if version < oldest {
            return Err(Failure::fatal(format!("{flavour} {version_text} is not supported"))
                .hint(format!("replicator reads MySQL 8.0 and MariaDB 10.5 and later; this {flavour} is older")));
        }
        let server_id = number(&variables, "server_id")?;
        let setting = variables.get(NAMES).map(String::as_str).unwrap_or_default();
        let names = Names::of_setting(setting).ok_or_else(|| {
            Failure::fatal(format!("the source's {NAMES} is \"{setting}\", which this version does not know"))
        })?;
        let collations = Arc::new(collations(connection, flavour, version).await?);
        Ok(Self { flavour, version, version_text, identity, server_id, gtid_mode, names, collations, variables })
    }

    /// A global variable as `SHOW GLOBAL VARIABLES` prints it; `None`: the server has none of this name.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Whether a global variable is on, in either spelling.
    pub fn is_on(&self, name: &str) -> bool {
        self.variable(name).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("ON"))
    }

    /// Seconds binlogs are kept; 0: for ever. `None`: the server does not say.
    pub fn binlog_retention_seconds(&self) -> Option<u64> {
        let seconds = self.variable("binlog_expire_logs_seconds").and_then(|value| value.parse::<u64>().ok());
        // The other one counts when this one is 0, in days with a fraction on MariaDB.
        let days = self.variable("expire_logs_days").and_then(|value| value.split('.').next()?.parse::<u64>().ok());
        match (seconds, days) {
            (Some(0) | None, Some(days)) => Some(days * 86_400),
            (seconds, _) => seconds,
        }
    }

    /// Settings without which the binlog does not hold whole rows, each with the statement that sets it.
    pub fn unusable_settings(&self) -> Vec<Setting> {
        let mut wrong = Vec::new();
        let mut want = |name: &'static str, wanted: &'static str, why: &'static str, mend: String| {
            let found = self.variable(name).unwrap_or_default();
            if !found.eq_ignore_ascii_case(wanted) {
                wrong.push(Setting { name, found: found.to_owned(), wanted, why, mend });
            }
        };
        let set = |name: &str, value: &str| self.set(name, value);
        want(
            "log_bin",
            "ON",
            "the server writes no binlog",
            "restart the server with log_bin = binlog in its configuration file".to_owned(),
        );
        want("binlog_format", "ROW", "changes are logged as statements", set("binlog_format", "'ROW'"));
        want(
            "binlog_row_image",
            "FULL",
            "rows are logged without all their columns",
            set("binlog_row_image", "'FULL'"),
        );
        if self.flavour == Flavour::MySql {
            want(
                "binlog_row_value_options",
                "",
                "JSON columns are logged as partial changes",
                set("binlog_row_value_options", "''"),
            );
        }
        wrong
    }

    /// Whether its table maps have the names of the columns.
    pub fn tells_names(&self) -> bool {
        self.variable(ROW_METADATA).is_some_and(|value| value.eq_ignore_ascii_case("FULL"))
    }

    /// The statement that sets a variable now and after a restart.
    pub fn set(&self, name: &str, value: &str) -> String {
        match self.flavour {
            Flavour::MySql => format!("SET PERSIST {name} = {value}"),
            Flavour::MariaDb => format!("SET GLOBAL {name} = {value}, and the same in the server's configuration file"),
        }
    }

    /// Refuses a server whose binlog cannot be copied exactly.
    ///
    /// # Errors
    /// A fatal [`Failure`] naming every setting, with the statements that mend them as the hint.
    pub fn require_usable(&self) -> Result<(), Failure> {
        let wrong = self.unusable_settings();
        if wrong.is_empty() {
            return Ok(());
        }
        let facts: Vec<String> = wrong.iter().map(|s| format!("{} is \"{}\": {}", s.name, s.found, s.why)).collect();
        let mends: Vec<&str> = wrong.iter().map(|s| s.mend.as_str()).collect();
        Err(Failure::fatal(format!("the source's binlog cannot be used: {}", facts.join("; "))).hint(mends.join("; ")))
    }
}

/// A setting that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The variable.
    pub name: &'static str,
    /// Its value.
    pub found: String,
    /// What it must be.
    pub wanted: &'static str,
    /// What is wrong with the value.
    pub why: &'static str,
    /// The statement that sets it.
    pub mend: String,
}

/// Runs a query and takes its rows.
///
/// # Errors
/// A classified [`Failure`] that says what it was for.
pub(super) async fn query<T: FromRow + Send + 'static>(
    connection: &mut Conn,
    sql: &str,
    purpose: &str,
) -> Result<Vec<T>, Failure> {
    connection.query(sql).await.map_err(|error| classify(error, purpose))
}

/// Global variables by their names in lower case; `which` is a condition, or empty.
async fn global_variables(connection: &mut Conn, which: &str) -> Result<HashMap<String, String>, Failure> {
    let sql = format!("SHOW GLOBAL VARIABLES {which}");
    let rows: Vec<(String, String)> = query(connection, &sql, "read the source's settings").await?;
    Ok(rows.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect())
}

fn number(variables: &HashMap<String, String>, name: &str) -> Result<u32, Failure> {
    let value = variables.get(name).map_or("", String::as_str);
    value.parse().map_err(|_| Failure::fatal(format!("the source's {name} is \"{value}\", which is no number")))
}

/// The one value of a query, as text; empty for `NULL` and for no row.
pub(super) async fn text(connection: &mut Conn, sql: &str, purpose: &str) -> Result<String, Failure> {
    let row: Option<Option<String>> = connection.query_first(sql).await.map_err(|error| classify(error, purpose))?;
    Ok(row.flatten().unwrap_or_default())
}

fn parse_version(text: &str) -> Option<(u16, u16, u16)> {
    // Replication-compatible prefix of old MariaDB versions.
    let text = text.strip_prefix("5.5.5-").unwrap_or(text);
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next().and_then(Result::ok).unwrap_or(0)))
}

async fn collations(connection: &mut Conn, flavour: Flavour, version: (u16, u16, u16)) -> Result<Collations, Failure> {
    let purpose = "read the source's collations";
    let list = "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS \
                WHERE ID IS NOT NULL AND CHARACTER_SET_NAME IS NOT NULL";
    let mut pairs: Vec<(u64, String)> = query(connection, list, purpose).await?;
    if flavour == Flavour::MariaDb && version >= (10, 10, 1) {
        // The UCA 14 collations have no id and character set of their own there, only in combination.
        let combined = "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY \
                        WHERE ID IS NOT NULL AND CHARACTER_SET_NAME IS NOT NULL";
        pairs.extend(query::<(u64, String)>(connection, combined, purpose).await?);
    }
    Ok(Collations::new(pairs.iter().map(|(id, name)| (*id, name.as_str()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_their_suffixes() {
        for (text, version) in [
            ("8.0.36-0ubuntu0.22.04.1", Some((8, 0, 36))),
            ("9.7.0", Some((9, 7, 0))),
            ("10.11.6-MariaDB-0+deb12u1-log", Some((10, 11, 6))),
            ("5.5.5-10.6.12-MariaDB", Some((10, 6, 12))),
            ("8.4", Some((8, 4, 0))),
            ("x", None),
        ] {
            assert_eq!(parse_version(text), version, "{text}");
        }
    }

    fn server(flavour: Flavour, variables: &[(&str, &str)]) -> ServerInfo {
        ServerInfo {
            flavour,
            version: (10, 11, 0),
            version_text: String::new(),
            identity: ServerIdentity::MariaDb { server_id: 1, domain_id: 0 },
            server_id: 1,
            gtid_mode: GtidMode::On,
            names: Names::Exact,
            collations: Arc::default(),
            variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    #[test]
    fn settings_that_lose_rows_are_refused_with_the_statements_that_mend_them() {
        let good = [
            ("log_bin", "ON"),
            ("binlog_format", "ROW"),
            ("binlog_row_image", "FULL"),
            ("binlog_row_value_options", ""),
        ];
        server(Flavour::MySql, &good).require_usable().unwrap();
        for (name, bad) in [
            ("log_bin", "OFF"),
            ("binlog_format", "MIXED"),
            ("binlog_row_image", "MINIMAL"),
            ("binlog_row_value_options", "PARTIAL_JSON"),
        ] {
            let mut variables = good;
            for variable in &mut variables {
                if variable.0 == name {
                    variable.1 = bad;
                }
            }
            let failure = server(Flavour::MySql, &variables).require_usable().unwrap_err();
            assert!(failure.message.contains(name) && failure.message.contains(bad), "{}", failure.message);
            assert!(failure.hint.unwrap().contains(name));
        }
    }

    #[test]
    fn retention_is_told_by_whichever_setting_counts() {
        for (variables, seconds) in [
            (&[("binlog_expire_logs_seconds", "3600"), ("expire_logs_days", "0")][..], Some(3600)),
            (&[("binlog_expire_logs_seconds", "0"), ("expire_logs_days", "2.000000")], Some(172_800)),
            (&[("binlog_expire_logs_seconds", "0")], Some(0)),
            (&[], None),
        ] {
            assert_eq!(server(Flavour::MariaDb, variables).binlog_retention_seconds(), seconds, "{variables:?}");
        }
    }
}
