//! What a statement of the binlog's `QUERY` events means for captured tables.
//!
//! [`parse`] promises an answer for every text: it never fails, never panics, and its work grows linearly with the text.
//! It reads the SQL of MySQL 8.0 to 9.x and MariaDB 10.5 and later, as the servers write it into the binlog.
//!
//! The text is a hint. The exact schema of a row comes with the row, in its `TABLE_MAP`; the text only tells what that
//! metadata cannot: which table is meant, a rename, a drop, a truncate, which columns came, went or changed their
//! name, and which of them have one of the types that the binlog calls `BINARY`. What a column is after the statement is read
//! where the text alone decides it ([`Stated`]). So this is no grammar: a statement is
//! read as far as those facts go, and the rest of it is skipped with its quotes and parentheses balanced. Text the server
//! has accepted is assumed; text it would refuse gives some answer, not an error.
//!
//! A statement falls into one of three: it changes a captured table in a way that is told ([`Statement::AlterTable`] and
//! the like), it cannot matter ([`Statement::Irrelevant`]), or it is not known ([`Statement::Unknown`], [`AlterOps::Unreadable`],
//! [`Statement::Dml`]) and comes with every table it mentions, so that the caller stops only for a table it captures.
//!
//! Names of databases and tables are those that the server knows them by, under its rule for them ([`Names`](crate::model::Names)).
//!
//! Not done here: whether a table is captured, defaults of other columns than added ones, and what triggers or stored
//! functions do.

mod alter;
mod alter_op;
mod classify;
mod columns;
#[cfg(test)]
mod corpus;
mod create;
mod cursor;
mod default;
mod definition;
mod names;
mod stated;
mod statement;
mod tokens;
mod writes;

pub use alter_op::{AlterOp, AlterOps, UnseenChange};
pub use classify::{parse, parse_under};
pub use columns::TypeName;
pub use default::{AddedDefault, Literal};
pub use definition::Definition;
pub use stated::{Place, Stated, StatedTable};
pub use statement::{CreateTable, Statement, XaStep};
pub use tokens::SqlMode;
