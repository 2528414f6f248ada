//! Privileges of the account, from what the server says was granted to it and its active roles.

use mysql_async::Conn;

use super::failed;
use crate::config::SourcePlan;
use crate::error::Failure;
use crate::model::CheckItem;
use crate::source::mysql::account::Account;
use crate::source::mysql::schema;
use crate::source::mysql::server::{self, Flavour, ServerInfo};
use crate::source::mysql::xa;

/// One `GRANT` as the server prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Grant {
    privileges: Vec<String>,
    /// Database pattern; `*` for all.
    database: String,
}

/// The account's grants that matter here: those on everything and those on whole databases.
#[derive(Clone, Debug, Default)]
pub(super) struct Grants {
    grants: Vec<Grant>,
}

impl Grants {
    fn parse(lines: &[String]) -> Self {
        Self { grants: lines.iter().filter_map(|line| parse_line(line)).collect() }
    }

    fn has_global(&self, names: &[&str]) -> bool {
        self.grants.iter().any(|grant| grant.database == "*" && grant.gives(names))
    }

    /// Whether a privilege is there on every table of a database.
    fn has_on(&self, database: &str, names: &[&str]) -> bool {
        self.grants
            .iter()
            .any(|grant| (grant.database == "*" || matches_like(&grant.database, database)) && grant.gives(names))
    }
}

impl Grant {
    fn gives(&self, names: &[&str]) -> bool {
        self.privileges.iter().any(|held| held == "ALL PRIVILEGES" || names.contains(&held.as_str()))
    }
}

/// `GRANT a, b ON scope TO ...`; `None` for roles, proxies, and grants on single tables or routines.
fn parse_line(line: &str) -> Option<Grant> {
    let (privileges, rest) = line.strip_prefix("GRANT ")?.split_once(" ON ")?;
    let scope = rest.strip_suffix(" WITH GRANT OPTION").unwrap_or(rest);
    let scope = scope.split(" TO ").next()?.trim();
    let database = scope.strip_suffix(".*")?;
    let database = match database.strip_prefix('`').and_then(|name| name.strip_suffix('`')) {
        Some(quoted) => quoted.replace("``", "`"),
        None => database.to_owned(),
    };
    let privileges = privileges.split(',').map(|name| name.trim().to_ascii_uppercase()).collect();
    Some(Grant { privileges, database })
}

/// The server's `LIKE` for database names in grants: `%`, `_`, and `\` in front of either.
fn matches_like(pattern: &str, name: &str) -> bool {
    let mut pattern = pattern.chars();
    let mut name = name.chars();
    loop {
        match pattern.next() {
            None => return name.next().is_none(),
            Some('%') => {
                let rest = pattern.as_str();
                return (0..=name.as_str().len())
                    .filter_map(|at| name.as_str().get(at..))
                    .any(|tail| matches_like(rest, tail));
            }
            Some('_') => {
                if name.next().is_none() {
                    return false;
                }
            }
            Some(c) => {
                let wanted = if c == '\\' { pattern.next().unwrap_or('\\') } else { c };
                if name.next() != Some(wanted) {
                    return false;
                }
            }
        }
    }
}

async fn read(connection: &mut Conn) -> Result<Grants, Failure> {
    let lines: Vec<String> = server::query(connection, "SHOW GRANTS", "read the grants of the account").await?;
    Ok(Grants::parse(&lines))
}

/// Which account the server took the login for.
pub(super) fn account(account: &Account, source: &SourcePlan) -> CheckItem {
    let name = "source account";
    let (held, user) = (account.name(), &source.user);
    if account.is_anonymous() {
        let detail = format!("logged in as {held}, an anonymous account, and not as an account of \"{user}\"");
        return CheckItem::fail(name, detail, Some(account.take_login_back()));
    }
    if account.is_another() {
        let detail = format!("logged in as {held}, and not as an account of \"{user}\": its privileges count");
        let mend = format!("let \"{user}\" log in as an account of its own, with the privileges of docs/privileges.md");
        return CheckItem::warn(name, detail, Some(mend));
    }
    CheckItem::ok(name, held)
}

pub(super) async fn checks(
    connection: &mut Conn,
    server: &ServerInfo,
    source: &SourcePlan,
    account: &Account,
) -> Vec<CheckItem> {
    let grants = match read(connection).await {
        Ok(read) => read,
        Err(failure) => return vec![failed("privileges", &failure)],
    };
    let mut items = Vec::new();
    let monitor: (&str, &[&str]) = match server.flavour {
        Flavour::MySql => ("REPLICATION CLIENT", &["REPLICATION CLIENT"]),
        Flavour::MariaDb => ("BINLOG MONITOR", &["BINLOG MONITOR", "REPLICATION CLIENT"]),
    };
    for (name, names) in [("REPLICATION SLAVE", &["REPLICATION SLAVE"][..]), monitor] {
        let held = account.name();
        items.push(if grants.has_global(names) {
            CheckItem::ok(format!("privilege {name}"), format!("{held} has it"))
        } else {
            CheckItem::fail(
                format!("privilege {name}"),
                format!("{held} lacks it; the binlog cannot be read without"),
                Some(account.grant(name, "*.*")),
            )
        });
    }
    if server.flavour == Flavour::MySql && !grants.has_global(&[xa::GRANT]) {
        let held = account.name();
        items.push(CheckItem::warn(
            format!("privilege {}", xa::GRANT),
            format!(
                "{held} lacks it: which XA transactions are prepared cannot be seen, so reads of tables do not wait for those from before \
                 the log begins, and one that ends without a word in the binlog stays in the log"
            ),
            Some(format!("if the source has XA transactions, {}", account.grant(xa::GRANT, "*.*"))),
        ));
    }
    items.extend(lock_tables(connection, server, source, &grants, account).await);
    items
}

/// MySQL pins a read to a position by locking a table for a moment: without GTIDs for every table, with them for tables without a
/// usable key. MariaDB never needs it.
async fn lock_tables(
    connection: &mut Conn,
    server: &ServerInfo,
    source: &SourcePlan,
    grants: &Grants,
    account: &Account,
) -> Option<CheckItem> {
    if server.flavour == Flavour::MariaDb {
        return None;
    }
    let name = "privilege LOCK TABLES";
    let listing = match schema::list(connection, &source.filter).await {
        Ok(listing) => listing,
        Err(failure) => return Some(failed(name, &failure)),
    };
    let mut databases: Vec<&str> = listing.copied().map(|table| table.database.as_str()).collect();
    databases.dedup();
    databases.retain(|database| !grants.has_on(database, &["LOCK TABLES"]));
    let first = databases.first()?;
    let list = databases.join("\", \"");
    let mend = Some(account.grant("LOCK TABLES", &format!("{}.*", schema::identifier(first))));
    let account = account.name();
    Some(if server.gtid_mode == crate::source::mysql::server::GtidMode::On {
        CheckItem::warn(
            name,
            format!("{account} lacks it on \"{list}\": tables without a usable key cannot be read by the snapshot"),
            mend,
        )
    } else {
        CheckItem::fail(
            name,
            format!("{account} lacks it on \"{list}\", and without GTIDs the snapshot needs it"),
            mend,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(lines: &[&str]) -> Grants {
        Grants::parse(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn grants_are_read_as_both_servers_print_them() {
        let mysql = grants(&[
            "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `replicator`@`%`",
            "GRANT BACKUP_ADMIN ON *.* TO `replicator`@`%`",
            "GRANT SELECT, LOCK TABLES ON `shop\\_%`.* TO `replicator`@`%` WITH GRANT OPTION",
            "GRANT SELECT ON `other`.`t` TO `replicator`@`%`",
            "GRANT `role`@`%` TO `replicator`@`%`",
        ]);
        assert!(mysql.has_global(&["REPLICATION SLAVE"]) && mysql.has_global(&["REPLICATION CLIENT"]));
        assert!(!mysql.has_global(&["SELECT"]));
        assert!(mysql.has_on("shop_eu", &["LOCK TABLES"]));
        assert!(!mysql.has_on("shopXeu", &["LOCK TABLES"]));
        assert!(!mysql.has_on("other", &["SELECT"]));
        let mariadb = grants(&[
            "GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` IDENTIFIED BY PASSWORD '*X' WITH GRANT OPTION",
        ]);
        assert!(mariadb.has_global(&["BINLOG MONITOR"]) && mariadb.has_on("any", &["LOCK TABLES"]));
    }

    #[test]
    fn database_patterns_match_as_the_server_matches_them() {
        for (pattern, name, matches) in [
            ("shop", "shop", true),
            ("shop", "shop2", false),
            ("sh%", "shop", true),
            ("%op", "shop", true),
            ("s_op", "shop", true),
            ("s\\_op", "shop", false),
            ("s\\_op", "s_op", true),
            ("%", "", true),
            ("%\u{e9}%", "caf\u{e9}s", true),
        ] {
            assert_eq!(matches_like(pattern, name), matches, "{pattern} on {name}");
        }
    }
}
