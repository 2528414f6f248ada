//! A log and the rule for names of the server that it goes on with.
//!
//! Names in a log are spelled by the rule of the server it was read from ([`Names`]). A server with another rule (a replica after a failover,
//! a MariaDB that was started with another `lower_case_table_names`) means other tables by them, or the same ones:
//!
//! - As written, then in lower case: the log goes on where every table that it knows has a name in lower case.
//! - In lower case, then as written: it does not. In the part of the binlog that is still to be read, a statement about `Orders` is about
//!   `orders` before the change and about another table after it, and nothing in the binlog tells which. At a new position
//!   ([`current`](super::start::current)) no such part is left, and the names in lower case are those of the server.
//!
//! Names in a log never change. So where a name is another one under the new rule, a new position is of no help.

use super::server::{NAMES, ServerInfo};
use super::start::RESYNC;
use crate::error::{Failure, Unusable};
use crate::model::{Names, TableName};

/// Refuses a server under whose rule the log's names mean other tables. `known`: the tables that the log knows.
///
/// # Errors
/// Fatal, with the setting, a table, and the ways out.
pub fn require_same_names<'t>(
    before: Names,
    server: &ServerInfo,
    known: impl IntoIterator<Item = &'t TableName>,
) -> Result<(), Failure> {
    let setting = server.variable(NAMES).unwrap_or_default();
    goes_on(before, server.names, known).map_err(|why| {
        let failure = Failure::fatal(format!("the source has {NAMES}={setting}, and the log has names {before}: {why}"));
        match before {
            Names::Folded => failure
                .unusable(Unusable::Otherwise)
                .hint(format!("start the server with {NAMES}=1; or, {RESYNC}")),
            Names::Exact => failure.hint(format!(
                "start the server with {NAMES}=0; or, as the names in a log never change, begin a new one: give wal.path a new directory and \
                 every sink a new target"
            )),
        }
    })
}

fn goes_on<'t>(before: Names, now: Names, known: impl IntoIterator<Item = &'t TableName>) -> Result<(), String> {
    match (before, now) {
        (Names::Exact, Names::Exact) | (Names::Folded, Names::Folded) => Ok(()),
        (Names::Exact, Names::Folded) => {
            let changed = known.into_iter().map(|table| (table, now.table(table.clone())));
            match changed.into_iter().find(|(table, folded)| *table != folded) {
                Some((table, folded)) => Err(format!("table \"{table}\" of the log is \"{folded}\" there")),
                None => Ok(()),
            }
        }
        (Names::Folded, Names::Exact) => {
            Err("a statement that spells a table in another way is about that table in the log, and about another one there".to_owned())
        }
    }
}

/// Refuses, in a running daemon, a server whose rule is not the one that the daemon was started with.
///
/// # Errors
/// Fatal: a start judges by the tables that the log knows.
pub fn require_started_with(started: Names, server: &ServerInfo) -> Result<(), Failure> {
    if started == server.names {
        return Ok(());
    }
    let setting = server.variable(NAMES).unwrap_or_default();
    Err(Failure::fatal(format!(
        "the source has {NAMES}={setting} now, and the daemon was started with a source whose names are {started}"
    ))
    .hint("start the daemon again: it goes on if every table that it copies has the same name under both settings"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_under_another_rule_only_where_no_name_becomes_another() {
        let (small, large) = (TableName::new("shop", "orders"), TableName::new("shop", "Orders"));
        for names in [Names::Exact, Names::Folded] {
            assert_eq!(goes_on(names, names, [&small, &large]), Ok(()));
        }
        assert_eq!(goes_on(Names::Exact, Names::Folded, [&small]), Ok(()));
        let refused = goes_on(Names::Exact, Names::Folded, [&small, &large]).unwrap_err();
        assert_eq!(refused, "table \"shop.Orders\" of the log is \"shop.orders\" there");
        assert!(goes_on(Names::Folded, Names::Exact, [&small]).is_err());
    }
}
