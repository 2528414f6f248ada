//! Row images: the log's own row format, and the only place that knows its bits.
//!
//! A row image is what MySQL and MariaDB put into a rows event (`binlog_format=ROW`, `binlog_row_image=FULL`) for one
//! version of one row, without the event's own column bitmaps:
//!
//! | part | bytes | content |
//! |---|---|---|
//! | null bitmap | (columns + 7) / 8 | bit i, lowest first, set: column i is NULL and has no bytes below; bits past the last column mean nothing |
//! | values | - | the columns that are not NULL, in table order, each as its type says |
//!
//! | type | bytes of a value |
//! |---|---|
//! | integers | 1, 2, 3, 4 or 8, little-endian, two's complement |
//! | `FLOAT`, `DOUBLE` | 4, 8, IEEE 754 little-endian |
//! | `DECIMAL` | groups of nine digits in four bytes, see [`Decimal`] |
//! | `YEAR` | 1: 0 is 0000, else 1900 + n |
//! | `DATE` | 3, little-endian: day 5 bits, month 4, year 15 |
//! | `TIME(f)` | 3, big-endian, biased by `0x800000`, and (f + 1) / 2 of fraction |
//! | `DATETIME(f)` | 5, big-endian, biased by `0x80_0000_0000`, and (f + 1) / 2 of fraction |
//! | `TIMESTAMP(f)` | 4, big-endian, unsigned seconds, and (f + 1) / 2 of fraction |
//! | `BIT(n)` | (n + 7) / 8, big-endian |
//! | `CHAR`, `VARCHAR`, `BINARY`, `VARBINARY` | length in 1 byte, or 2 if the column can hold more than 255, and the bytes; `CHAR` without trailing spaces, `BINARY` without trailing zero bytes |
//! | `TEXT`, `BLOB` family | length in 1 to 4 bytes, and the bytes |
//! | `ENUM` | ordinal in 1 byte, or 2 above 255 members |
//! | `SET` | bit mask in 1, 2, 3, 4 or 8 bytes |
//! | MariaDB's `UUID`, `INET6`, `INET4` | as `BINARY` of 16, 16 and 4 bytes |
//! | `JSON`, spatial, `VECTOR` | length in 4 bytes, and the bytes; for `JSON` see [`Json`] |
//!
//! A body is images back to back: one per inserted or deleted row, two per updated row (before, after).
//!
//! Where an event has some columns of a row only, its images are of another form, see [`PartialImages`]; none of these is in the log.
//!
//! [`Plan`] reads: it is compiled once per schema, skips at memory speed, and hands typed values to a [`RowVisitor`] without
//! allocating, or values of six kinds to a [`PlainVisitor`]. [`ImageWriter`] writes the same bytes from values, so that a row
//! read by `SELECT` and the same row read from the binlog are one to everything behind the log.
//!
//! Every byte is treated as hostile: a malformed image is an error that names the column; nothing panics, and no length
//! found in an image sizes an allocation. What is not checked: whether a NULL stands in a column that forbids it (the
//! visitor sees it), and whether a string is longer than its column.

mod address;
mod cell;
mod charset;
#[rustfmt::skip]
mod charset_tables;
mod codes;
mod decimal;
mod error;
mod first_columns;
mod json;
mod key;
mod labels;
mod layout;
mod parse;
mod partial;
mod plain;
mod plan;
mod read;
mod rewrite;
mod shown;
mod temporal;
mod text;
mod visitor;
mod walk;
mod write;

#[cfg(test)]
mod tests;

pub use address::{Inet4, Inet6, Uuid};
pub use decimal::Decimal;
pub use error::{ImageError, PlanError, ReadError, ValueError, WriteError};
pub use json::Json;
pub use labels::{chosen, write_labels};
pub use partial::{Fields, PartialImages, PartialRow, PartialRows, Present, Shape};
pub use plain::{Plain, PlainVisitor, Scratch};
pub use plan::Plan;
pub use shown::{Shown, shown_text};
pub use temporal::{Date, DateTime, Time, Timestamp};
pub use text::Text;
pub use visitor::{Bytes, RowVisitor};
pub use write::{ImageWriter, RowBuilder};
