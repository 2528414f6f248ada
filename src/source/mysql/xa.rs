//! The two-phase transactions that are prepared at the source, as `XA RECOVER` lists them.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error, Row};
use tracing::warn;

use super::connect::classify;
use super::server::Flavour;
use crate::error::Failure;
use crate::model::{Xid, hex_digits};

/// The grant that MySQL asks for.
pub const GRANT: &str = "XA_RECOVER_ADMIN";

/// How servers say that the account may not ask: `ER_XAER_RMERR` (MySQL, without the grant), `ER_SPECIFIC_ACCESS_DENIED_ERROR`,
/// `ER_ACCESS_DENIED_ERROR`.
const DENIED: [u16; 3] = [1401, 1227, 1045];

const PURPOSE: &str = "list the source's prepared XA transactions";

/// The prepared transactions; `None` where the account may not ask.
///
/// # Errors
/// A classified [`Failure`].
pub async fn listed(conn: &mut Conn, flavour: Flavour) -> Result<Option<Vec<Xid>>, Failure> {
    let statement = match flavour {
        Flavour::MySql => "XA RECOVER CONVERT XID",
        // FORMAT='SQL' has several spellings; the bytes themselves come as they are.
        Flavour::MariaDb => "XA RECOVER",
    };
    let rows: Vec<Row> = match conn.query(statement).await {
        Ok(rows) => rows,
        Err(Error::Server(error)) if DENIED.contains(&error.code) => return Ok(None),
        Err(error) => return Err(classify(error, PURPOSE)),
    };
    let listed: Vec<Xid> = rows.iter().filter_map(|row| listed_in(row, flavour)).collect();
    if listed.len() < rows.len() {
        warn!("{} prepared XA transactions have names that cannot be read", rows.len() - listed.len());
    }
    Ok(Some(listed))
}

/// Whether a view may lack the rows of a transaction that was committed before: on MariaDB, if there was any.
///
/// # Errors
/// A classified [`Failure`].
pub async fn may_be_unseen(conn: &mut Conn, flavour: Flavour) -> Result<bool, Failure> {
    if flavour != Flavour::MariaDb {
        return Ok(false);
    }
    let counted: Option<(String, u64)> = conn
        .query_first("SHOW GLOBAL STATUS LIKE 'Com_xa_commit'")
        .await
        .map_err(|error| classify(error, "ask whether there were XA transactions"))?;
    Ok(counted.is_none_or(|(_, commits)| commits > 0))
}

/// Format, lengths of the two parts, and both parts.
fn listed_in(row: &Row, flavour: Flavour) -> Option<Xid> {
    // The servers show it with a sign.
    let format = row.get_opt::<u64, _>(0)?.ok().or_else(|| Some(row.get_opt::<i64, _>(0)?.ok()?.cast_unsigned()))?;
    let (gtrid, bqual): (usize, usize) = (row.get_opt(1)?.ok()?, row.get_opt(2)?.ok()?);
    let data: Vec<u8> = row.get_opt(3)?.ok()?;
    let data = match flavour {
        Flavour::MySql => hex_digits(std::str::from_utf8(&data).ok()?.strip_prefix("0x")?)?,
        Flavour::MariaDb => data,
    };
    let xid = Xid::of_parts(format, gtrid, bqual, &data)?;
    Some(if flavour == Flavour::MariaDb { xid.in_mariadb() } else { xid })
}
