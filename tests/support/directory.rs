//! Directories of a test, gone with it unless `REPLICATOR_KEEP` is set: then they stay, to be looked at.

use std::env;

use tempfile::TempDir;

/// A new directory whose name begins with `replicator-` and `what`.
pub fn fresh(what: &str) -> TempDir {
    let keep = env::var_os("REPLICATOR_KEEP").is_some();
    tempfile::Builder::new().prefix(&format!("replicator-{what}.")).disable_cleanup(keep).tempdir().unwrap()
}
