//! Turns a panic of redb into an error of the log.
//!
//! redb trusts the pages of a file that was closed well, and panics at one that is damaged: an index out of bounds, an assertion, a
//! lock that an earlier panic has poisoned. Whoever opens a damaged log is to get an error instead, and no backtrace. So every call into
//! redb is made in here; the writer thread runs in it as a whole.
//!
//! Promises: a panic inside is not printed and does not leave. What it cannot catch: a stack that overflows, memory that the system
//! refuses, a panic while another one unwinds. These end the process.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

use redb::Database;

use crate::error::Error;

thread_local! {
    /// Whether panics of this thread are caught here.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    /// Where the last of them was.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Does `work`; a panic in it is [`Error::Panicked`].
pub(crate) fn guard<T>(action: &'static str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // What `work` has changed is dropped with the panic, or is redb's, which is not used again after an error of this kind.
    match quietly(work) {
        Ok(result) => result,
        Err(panic) => Err(Error::Panicked { action, panic }),
    }
}

/// Does `work`; the text of a panic in it is the error.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(install);
    let before = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    outcome.map_err(|panic| {
        let place = PLACE.take().unwrap_or_default();
        format!("{}{place}", panic_message(panic.as_ref()))
    })
}

/// Panics that are caught here are not printed; all others are, as before.
fn install() {
    let printed = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        // A thread that is going down has no such values any more.
        if GUARDED.try_with(Cell::get).unwrap_or(false) {
            let place = info.location().map(|location| {
                let file = location.file().rsplit_once("/src/").map_or(location.file(), |(_, file)| file);
                format!(" ({file}:{})", location.line())
            });
            PLACE.set(place);
        } else {
            printed(info);
        }
    }));
}

/// What a panic said.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "without a message".to_owned())
}

/// A database that is closed in here: closing writes, and what it finds may be damaged as well.
#[derive(Debug)]
pub(crate) struct Guarded(Option<Database>);

impl Guarded {
    pub(crate) fn new(database: Database) -> Self {
        Self(Some(database))
    }
}

impl Deref for Guarded {
    type Target = Database;

    fn deref(&self) -> &Database {
        self.0.as_ref().expect("it is taken only when it is dropped")
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut Database {
        self.0.as_mut().expect("it is taken only when it is dropped")
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let database = self.0.take();
        if let Err(panic) = quietly(move || drop(database)) {
            tracing::warn!(%panic, "the log's database did not close well");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_message_and_place_and_the_next_call_works() {
        let error = guard::<()>("read", || panic!("page {} is no page", 7)).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("cannot read: the database below the log is damaged"), "{text}");
        assert!(text.contains("page 7 is no page (guard.rs:"), "{text}");
        assert_eq!(guard("read", || Ok(7)).unwrap(), 7);
    }
}
