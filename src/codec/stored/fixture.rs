//! The committed bytes of the stored records: one file for each record and version,
//! `tests/fixtures/stored/<record>.v<version>.hex`.
//!
//! A file has one line for each example, `<name> <hexadecimal digits>`. The examples themselves are in the tests
//! beside each record: [`check`] holds them against the file. `docs/formats.md` says how a record changes.
//!
//! A file is written once, by the test that finds none, with `WRITE_FIXTURES=1` in its environment; it is never
//! written over.

use std::fmt::{Debug, Write as _};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{Record, decode, encode};

/// Holds the examples of a record against the committed bytes of its version, and those of every earlier version, which
/// read as the examples of the same names.
pub(crate) fn check<T: Record + PartialEq + Debug>(examples: &[(&str, T)]) {
    let entry = T::ENTRY;
    for version in 1..entry.version {
        earlier(version, &lines(&path::<T>(version)), examples);
    }
    let path = path::<T>(entry.version);
    if !path.exists() && std::env::var_os("WRITE_FIXTURES").is_some() {
        write(&path, examples);
    }
    let committed = lines(&path);
    let names = |names: Vec<&str>| names.join(", ");
    assert_eq!(
        names(committed.iter().map(|(name, _)| name.as_str()).collect()),
        names(examples.iter().map(|(name, _)| *name).collect()),
        "examples in {}",
        path.display()
    );
    for ((name, bytes), (_, example)) in committed.iter().zip(examples) {
        let changed = format!("{}, {name}: its shape changed, so it needs a new version (docs/formats.md)", entry.what);
        match decode::<T>(bytes) {
            Ok(read) => assert_eq!(&read, example, "{changed}"),
            Err(failure) => panic!("{changed}: {}", failure.chain()),
        }
        assert_eq!(&encode(example).unwrap(), bytes, "{changed}");
        refuses::<T>(name, bytes);
    }
}

/// The committed bytes of an earlier version read as the examples of the same names.
pub(super) fn earlier<T: Record + PartialEq + Debug>(
    version: u8,
    committed: &[(String, Vec<u8>)],
    examples: &[(&str, T)],
) {
    for (name, bytes) in committed {
        let what = format!("version {version} of {}, {name}", T::ENTRY.what);
        let example = examples.iter().find(|(example, _)| example == name);
        let (_, example) = example.unwrap_or_else(|| panic!("{what}: no example says what it reads as"));
        match decode::<T>(bytes) {
            Ok(read) => assert_eq!(&read, example, "{what}: it reads as something else"),
            Err(failure) => panic!("{what}: {}", failure.chain()),
        }
    }
}

/// What is not one whole record of this version is not read.
fn refuses<T: Record + Debug>(name: &str, bytes: &[u8]) {
    let what = T::ENTRY.what;
    let longer = [bytes, &[0]].concat();
    let failure = decode::<T>(&longer).unwrap_err();
    assert!(failure.message.contains("is damaged"), "{what}, {name}, with a byte left over: {failure}");
    for cut in 0..bytes.len() {
        assert!(decode::<T>(&bytes[..cut]).is_err(), "{what}, {name}, cut at {cut}");
    }
    for version in [0, T::ENTRY.version + 1, u8::MAX] {
        let other = [&[version], &bytes[1..]].concat();
        let failure = decode::<T>(&other).unwrap_err();
        assert!(failure.message.contains(&format!("has version {version}")), "{what}, {name}: {failure}");
    }
}

fn path<T: Record>(version: u8) -> PathBuf {
    let record = T::ENTRY.prefix.trim_end_matches('/').replace('/', "-");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stored");
    directory.join(format!("{record}.v{version}.hex"))
}

/// The lines of a file: names and bytes.
fn lines(path: &Path) -> Vec<(String, Vec<u8>)> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let line = |line: &str| {
        let (name, digits) = line.split_once(' ').unwrap_or_else(|| panic!("{}: {line}", path.display()));
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (name.to_owned(), (0..digits.len()).step_by(2).map(byte).collect())
    };
    text.lines().map(line).collect()
}

fn write<T: Record>(path: &Path, examples: &[(&str, T)]) {
    let mut text = String::new();
    for (name, example) in examples {
        let digits: Vec<_> = encode(example).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{name} {}", digits.concat()).unwrap();
    }
    fs::File::create_new(path).unwrap().write_all(text.as_bytes()).unwrap();
}
