//! Values that are never shown, and passwords that may change while the daemon runs.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Failure;

/// A secret: it prints nothing of itself and cannot be serialised.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A password of an account. One of a file is read again whenever a connection is made, so that it can be changed under a running daemon.
/// Clones are one password: what is learned of it by one of them, all know.
#[derive(Clone, Default)]
pub struct Password(Held);

#[derive(Clone)]
enum Held {
    Fixed(Secret),
    File(Arc<OfFile>),
}

struct OfFile {
    path: Mutex<PathBuf>,
    /// A server has accepted what was in it.
    is_accepted: AtomicBool,
}

impl Default for Held {
    fn default() -> Self {
        Self::Fixed(Secret::default())
    }
}

impl Password {
    /// One that stays as it is.
    pub fn fixed(value: impl Into<String>) -> Self {
        Self(Held::Fixed(Secret::new(value)))
    }

    /// What the file has, whenever it is asked for.
    pub fn of_file(path: impl Into<PathBuf>) -> Self {
        Self(Held::File(Arc::new(OfFile { path: Mutex::new(path.into()), is_accepted: AtomicBool::new(false) })))
    }

    /// The password as it is now. It is empty if there is none.
    ///
    /// # Errors
    /// Worth a retry, when the file cannot be read or holds none: it may be in the middle of being written.
    pub fn read(&self) -> Result<Secret, Failure> {
        let file = match &self.0 {
            Held::Fixed(secret) => return Ok(secret.clone()),
            Held::File(file) => file.path(),
        };
        read_secret(&file).map_err(|error| {
            Failure::retry(format!("cannot read the password file \"{}\"", file.display()))
                .caused_by(error)
                .hint("password_file has to hold the account's password; it is read again at each try")
        })
    }

    /// A server has accepted it.
    pub fn accepted(&self) {
        if let Held::File(file) = &self.0 {
            file.is_accepted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a server that denies it may accept the next one: it is of a file, and one that was in it was accepted. Where none ever was,
    /// the account or the file is the wrong one.
    pub fn may_change(&self) -> bool {
        matches!(&self.0, Held::File(file) if file.is_accepted.load(Ordering::Relaxed))
    }

    /// Reads the file that another one names from here on, if both are of files; else says that it does not.
    pub fn follow(&self, other: &Self) -> bool {
        let (Held::File(file), Held::File(other)) = (&self.0, &other.0) else { return false };
        let path = other.path();
        *file.path.lock().unwrap_or_else(PoisonError::into_inner) = path;
        true
    }
}

impl OfFile {
    fn path(&self) -> PathBuf {
        self.path.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// What a file has, less the newline with which editors and `echo` end it.
pub(super) fn read_secret(file: &Path) -> io::Result<Secret> {
    let text = fs::read_to_string(file)?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if text.is_empty() {
        return Err(io::Error::new(ErrorKind::InvalidData, "it holds no password"));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_of_a_file_is_what_the_file_has_now_and_one_that_is_missing_may_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        fs::write(&file, "one\n").unwrap();
        let password = Password::of_file(&file);
        let same = password.clone();
        assert_eq!(password.read().unwrap().reveal(), "one");
        assert!(!password.may_change(), "no server has accepted it");
        same.accepted();
        assert!(password.may_change());
        fs::write(&file, "two\r\n").unwrap();
        assert_eq!(same.read().unwrap().reveal(), "two");
        for gone in [true, false] {
            if gone {
                fs::remove_file(&file).unwrap();
            } else {
                fs::write(&file, "\n").unwrap();
            }
            let failure = password.read().unwrap_err();
            assert_eq!(failure.class, crate::error::ErrorClass::Retry, "{}", failure.chain());
        }
        fs::write(directory.path().join("other"), "three").unwrap();
        assert!(password.follow(&Password::of_file(directory.path().join("other"))));
        assert_eq!(same.read().unwrap().reveal(), "three");
        assert!(!password.follow(&Password::fixed("four")) && !Password::fixed("five").follow(&password));
    }
}
