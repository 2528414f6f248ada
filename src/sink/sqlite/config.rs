//! The keys of a sink with `type: sqlite`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{BatchPlan, Place, Section, SinkKeys, SinkSettings};

/// The word after `type:`.
pub(super) const NAME: &str = "sqlite";

/// What is particular to SQLite.
#[derive(Clone, Debug)]
pub struct SqlitePlan {
    /// The database file.
    pub path: PathBuf,
}

impl SqlitePlan {
    /// How much goes into one transaction unless told otherwise. What there is is committed at once: a small commit costs
    /// one sync of a local disk.
    pub const BATCH: BatchPlan = BatchPlan { max_rows: 100_000, max_bytes: 8 << 20, max_delay: Duration::ZERO };
}

impl SinkSettings for SqlitePlan {
    fn type_name(&self) -> &'static str {
        NAME
    }

    /// Two writers of one file wait for each other, and both would own its tables.
    fn place(&self, _: &str) -> Place {
        let absolute = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        Place {
            key: "path",
            place: absolute.display().to_string(),
            message: format!("\"{}\" is also the file", self.path.display()),
        }
    }
}

pub(super) fn read(section: &Section<'_>, _: &SinkKeys<'_>) -> Option<Arc<dyn SinkSettings>> {
    let path = section.key("path").required("the database file").name()?;
    Some(Arc::new(SqlitePlan { path: PathBuf::from(path) }))
}
