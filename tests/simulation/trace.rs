//! What happened in a history, line by line. Off while histories are only run; a history that fails is run again with it.

use std::cell::RefCell;

thread_local! {
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Starts to keep lines in this thread.
pub fn begin() {
    LINES.set(Some(Vec::new()));
}

/// Stops, and returns the lines.
pub fn end() -> Vec<String> {
    LINES.take().unwrap_or_default()
}

/// Adds a line.
pub fn note(line: impl FnOnce() -> String) {
    LINES.with_borrow_mut(|lines| {
        if let Some(lines) = lines {
            lines.push(line());
        }
    });
}
