//! What is stored reads as it was written: committed bytes of every record and frame header, a whole log, and a
//! target. What another format wrote is refused by name. `docs/formats.md` says how a format changes.

mod continued; // ingest and snapshots continue from a whole log
mod frames; // the header of every kind of frame
mod records; // every record of the log's state has its committed bytes
mod refusals; // logs of other formats, in every command that opens one
mod released; // the formats that CHANGELOG.md names
pub mod whole; // a small log and a target, as a version wrote them

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

/// Set where fixtures that are missing are to be written.
pub const WRITE: &str = "WRITE_FIXTURES";

/// A file or directory under `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Unpacks a fixture to a file.
pub fn unpack(name: &str, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let from = fixture(name);
    let mut file = GzDecoder::new(File::open(&from).unwrap_or_else(|error| panic!("{}: {error}", from.display())));
    std::io::copy(&mut file, &mut File::create(to).unwrap()).unwrap();
}

/// A text that is committed; where it is missing and [`WRITE`] is set it is written first.
pub fn committed(name: &str, now: &str) -> String {
    let path = fixture(name);
    if !path.exists() && std::env::var_os(WRITE).is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, now).unwrap();
    }
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Bytes as digits, one example in each line: `<name> <digits>`.
pub fn hex_lines(examples: &[(&str, Vec<u8>)]) -> String {
    let line = |(name, bytes): &(&str, Vec<u8>)| {
        let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name} {}\n", digits.concat())
    };
    examples.iter().map(line).collect()
}

/// The examples of such a text.
pub fn examples_of(text: &str) -> Vec<(String, Vec<u8>)> {
    let line = |line: &str| {
        let (name, digits) = line.split_once(' ').unwrap_or_else(|| panic!("no example: {line}"));
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (name.to_owned(), (0..digits.len()).step_by(2).map(byte).collect())
    };
    text.lines().map(line).collect()
}
