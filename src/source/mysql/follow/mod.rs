//! Which schema a table's rows have, and how that is known.
//!
//! One owner: [`Followed`] is what is known of a table's definition at a place of the stream. A `TABLE_MAP`, a statement and a
//! description of the server go in; what they come to comes out, as values ([`Mapped`], [`Adopted`], [`Altered`], [`Decision`]).
//! Pure: no I/O, no clock, no log. The core of ingest does what they say, with its open group.
//!
//! How something is known ([`Provenance`]):
//!
//! - **`TABLE_MAP`**: exact, and the only schema that rows are decoded with: every rows event has one of its own. What it does not
//!   say is MariaDB's `UUID`, `INET6` and `INET4`, a unique key over prefixes, generated columns, `AUTO_INCREMENT`.
//! - **A description**, taken while the table's metadata lock was held, when the binlog ended at E. It is the definition at E, and at
//!   every place from which to E the stream meets no statement about the table. Statements about other tables do not matter.
//! - **A statement**, whose text is applied to a schema that is known: where columns come from ([`Lineage`]), which types it gives
//!   ([`Typed`]), which value a column has in rows that were there before it. Where the text alone decides all of the definition,
//!   a description that says the same confirms it at once, wherever the stream is.
//!
//! What nobody knows is asked for, and rows wait for it under a [`Pending`] schema id; the stream does not. What nobody can say any more
//! is a read of the table.

mod adopted;
mod known;
mod lineage;
mod mapped;
mod older_rows;
mod pending;
mod predicted;
mod statement;
mod typed;

pub use self::adopted::{Adopted, Adopting, Adoption, Copies};
pub use self::known::{Current, Followed, Provenance, Since, compile};
pub use self::lineage::{Came, ColumnSteps, Lineage};
pub use self::mapped::{Dialect, Mapped};
pub use self::older_rows::Reread;
pub use self::pending::{Completed, Decision, Description, Fate, FateChange, Pending, Shown, Unnamed};
pub use self::statement::Altered;
pub use self::typed::{Described, Touched, Typed};
