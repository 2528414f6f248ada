//! Whether the files on disk are still the ones that are open.
//!
//! A process that holds a file open writes into it after its name is gone, and SQLite in WAL mode says nothing of it: the rows would
//! be acknowledged, and lost with the last handle. So the device and the inode that the paths lead to are compared with those of
//! the files as they were opened. An inode is not given out again while a handle holds it. The companions count as well: `-wal` holds
//! rows that are not in the database yet, and without the same `-shm` two processes do not see each other's locks.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Failure, sink_reset};

/// A database file and its companions, as they were when they were opened.
#[derive(Debug)]
pub(super) struct Files {
    sink: String,
    files: Vec<(PathBuf, Inode)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
}

impl Files {
    /// Of a database that has been opened and read, so that its companions exist.
    pub(super) fn of(sink: &str, path: &Path) -> Result<Self, Failure> {
        let real = std::fs::canonicalize(path).map_err(|error| unreadable(path, error))?;
        // The companions are beside the file that a link leads to; the link itself may be turned to another file.
        let paths = [path.to_owned(), with_suffix(&real, "-wal"), with_suffix(&real, "-shm")];
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let inode = inode(&path)?.ok_or_else(|| changed(sink, &path, "removed"))?;
            files.push((path, inode));
        }
        Ok(Self { sink: sink.to_owned(), files })
    }

    /// Compares the files with what their paths lead to.
    ///
    /// # Errors
    /// A fatal failure that names the file.
    pub(super) fn check(&self) -> Result<(), Failure> {
        for (path, opened) in &self.files {
            match inode(path)? {
                None => return Err(changed(&self.sink, path, "removed")),
                Some(current) if current != *opened => {
                    return Err(changed(&self.sink, path, "replaced by another file"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// `None`: the path leads to no file.
fn inode(path: &Path) -> Result<Option<Inode>, Failure> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(Some(Inode { device: found.dev(), number: found.ino() })),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(unreadable(path, error)),
    }
}

fn unreadable(path: &Path, error: std::io::Error) -> Failure {
    Failure::retry(format!("cannot look at the file \"{}\"", path.display())).caused_by(error)
}

fn changed(sink: &str, path: &Path, what: &str) -> Failure {
    let reset = sink_reset(sink);
    Failure::fatal(format!("the file \"{}\" was {what} while it was in use", path.display())).hint(format!(
        "put the file back with its -wal and -shm files and restart the daemon; or move away what is there of the three and run `{reset}`: \
         every table is read again, into a new file"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorClass;
    use crate::sink::sqlite::open;

    fn opened(directory: &Path) -> (PathBuf, rusqlite::Connection, Files) {
        let path = directory.join("replica.db");
        let connection = open::open(&path).unwrap();
        connection.execute_batch("CREATE TABLE t (a)").unwrap();
        let files = Files::of("local", &path).unwrap();
        files.check().unwrap();
        (path, connection, files)
    }

    #[test]
    fn each_of_the_files_is_missed_when_it_is_removed() {
        for name in ["replica.db", "replica.db-wal", "replica.db-shm"] {
            let directory = tempfile::tempdir().unwrap();
            let (_, _connection, files) = opened(directory.path());

            std::fs::remove_file(directory.path().join(name)).unwrap();

            let failure = files.check().unwrap_err();
            assert_eq!(failure.class, ErrorClass::Fatal);
            assert!(failure.message.contains(&format!("{name}\" was removed")), "{}", failure.message);
            assert!(failure.hint.unwrap().contains("`replicator sink reset local`"));
        }
    }

    #[test]
    fn another_file_of_the_same_name_is_not_the_one_that_is_open() {
        let directory = tempfile::tempdir().unwrap();
        let (path, _connection, files) = opened(directory.path());
        let other = directory.path().join("other.db");
        std::fs::copy(&path, &other).unwrap();

        std::fs::rename(&other, &path).unwrap();

        let failure = files.check().unwrap_err();
        assert!(failure.message.contains("replica.db\" was replaced"), "{}", failure.message);
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_another_file() {
        let directory = tempfile::tempdir().unwrap();
        let (path, _connection, _) = opened(directory.path());
        let link = directory.path().join("link.db");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let files = Files::of("local", &link).unwrap();
        files.check().unwrap();

        std::fs::remove_file(&link).unwrap();
        std::fs::copy(&path, directory.path().join("other.db")).unwrap();
        std::os::unix::fs::symlink(directory.path().join("other.db"), &link).unwrap();

        assert!(files.check().unwrap_err().message.contains("link.db\" was replaced"));
    }

    #[test]
    fn writes_and_checkpoints_keep_the_files() {
        let directory = tempfile::tempdir().unwrap();
        let (path, connection, files) = opened(directory.path());
        connection
            .execute_batch("INSERT INTO t VALUES (1); PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES (2)")
            .unwrap();
        // A reader that comes and goes.
        drop(open::open(&path).unwrap());
        files.check().unwrap();
    }
}
