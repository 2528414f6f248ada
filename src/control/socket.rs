//! Where the socket is.
//!
//! A socket's path may have 107 bytes. A longer one is reached through `/proc/self/fd`, the open directory of the log
//! standing in for its path, so that the socket always lies beside the log, where its permissions guard it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Name of the socket in the directory of the log.
pub const SOCKET_FILE: &str = "control.sock";

/// `sun_path` of `sockaddr_un`, less its final zero.
const LONGEST: usize = 107;

/// A path to bind or connect to.
#[derive(Debug)]
pub(super) struct SocketPath {
    path: PathBuf,
    /// Keeps the directory of a short path open.
    _directory: Option<File>,
}

impl SocketPath {
    /// Of the log in `directory`.
    pub(super) fn of_log(directory: &Path) -> io::Result<Self> {
        let path = directory.join(SOCKET_FILE);
        if path.as_os_str().as_bytes().len() <= LONGEST {
            return Ok(Self { path, _directory: None });
        }
        let directory = File::open(directory)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(SOCKET_FILE);
        Ok(Self { path, _directory: Some(directory) })
    }

    pub(super) fn as_path(&self) -> &Path {
        &self.path
    }
}
