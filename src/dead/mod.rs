//! Dead letters: row changes that a sink could not write, kept in the log's state until they are current again.
//!
//! - [`DeadLetter`] is what is stored of one, beside the images of its row.
//! - `book` is what a delivery knows of its sink's letters: by place, and by the keys of rows. Pure.
//! - [`Letters`] is the handle that a sink and its delivery share: the book, and the log that it is of.
//! - [`Hub`] is all sinks' letters together: how many bytes they may have.
//!
//! | step | what is stored | a crash after it |
//! |---|---|---|
//! | 1 | in the log: the letters of a round, without those that an earlier try of it has left | the round comes again, and with it 1 |
//! | 2 | at the target: the round, without these rows, and its cursor | what the round has ended is found in the log's frames |
//! | 3 | in the log: the sink's cursor, and that the letters are gone that the round has ended | |
//!
//! So no row is left out without a letter, and a letter of a round that did not happen does not last.

mod book;
mod hub;
mod letter;
mod letters;

pub use book::{Book, Sum};
pub(crate) use hub::MAKE_ROOM;
pub use hub::{Full, Hub};
pub use letter::{DeadAgain, DeadLetter, DeadRow, LetterId, images_of, keys_of_sink, letters_of, wanted_of};
pub use letters::{Letters, Open};
