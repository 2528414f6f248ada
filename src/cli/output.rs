//! What goes to stdout.

use std::io::{self, ErrorKind, StdoutLock, Write};

use anyhow::Context;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};

/// Stdout. A reader that has had enough (`| head`) ends the output, not the program.
pub(super) struct Output {
    stdout: StdoutLock<'static>,
    closed: bool,
}

impl Output {
    pub(super) fn new() -> Self {
        Self { stdout: io::stdout().lock(), closed: false }
    }

    /// A line. False once nobody reads any more.
    pub(super) fn line(&mut self, text: &str) -> anyhow::Result<bool> {
        if self.closed {
            return Ok(false);
        }
        let written = self.stdout.write_all(text.as_bytes()).and_then(|()| self.stdout.write_all(b"\n"));
        match written {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(false)
            }
            Err(error) => Err(error).context("cannot write to stdout"),
        }
    }

    /// An object as one line of JSON.
    pub(super) fn json(&mut self, value: &impl serde::Serialize) -> anyhow::Result<bool> {
        let text = serde_json::to_string(value).context("cannot write JSON")?;
        self.line(&text)
    }

    /// An object as JSON for people and programs.
    pub(super) fn document(&mut self, value: &impl serde::Serialize) -> anyhow::Result<bool> {
        let text = serde_json::to_string_pretty(value).context("cannot write JSON")?;
        self.line(&text)
    }
}

/// An empty table with headings; the columns in `right` hold numbers.
pub(super) fn table(headings: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().copied());
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Bytes for people: three digits and a binary unit.
pub(super) fn bytes(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

/// A whole number in groups of three.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Seconds for people.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        short if short < 1.0 => format!("{:.0} ms", short * 1000.0),
        short if short < 60.0 => format!("{short:.1} s"),
        long => {
            let whole = std::time::Duration::try_from_secs_f64(long.floor()).unwrap_or(std::time::Duration::MAX);
            humantime::format_duration(whole).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_people_read_them() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0123, 1.25, 59.9, 3661.7].map(duration), ["12 ms", "1.2 s", "59.9 s", "1h 1m 1s"]);
        assert_eq!([0, 1536, 20 << 30].map(bytes), ["0 B", "1.5 KiB", "20.0 GiB"]);
    }

    #[test]
    fn a_table_keeps_its_headings_and_cells() {
        let mut table = table(&["name", "rows"], &[1]);
        table.add_row(["users", "5"]);
        let text = table.to_string();
        assert!(text.contains("name") && text.contains("users") && text.contains("    5"), "{text}");
    }
}
