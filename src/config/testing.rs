//! Types of sinks that are made up for the tests of the configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{BatchPlan, Password, Place, Section, SinkKeys, SinkSettings, SinkType, ZeroDates};

pub(super) const TYPES: [&SinkType; 2] = [
    &SinkType {
        name: "file",
        batch: BatchPlan { max_rows: 1000, max_bytes: 8 << 20, max_delay: Duration::ZERO },
        zero_dates: ZeroDates::Keep,
        read: read_file,
    },
    &SinkType {
        name: "memory",
        batch: BatchPlan { max_rows: 5000, max_bytes: 64 << 20, max_delay: Duration::from_secs(1) },
        zero_dates: ZeroDates::Null,
        read: read_memory,
    },
];

#[derive(Debug)]
struct File(PathBuf);

impl SinkSettings for File {
    fn type_name(&self) -> &'static str {
        "file"
    }

    fn place(&self, _: &str) -> Place {
        let message = format!("\"{}\" is also the file", self.0.display());
        Place { key: "path", place: std::path::absolute(&self.0).unwrap().display().to_string(), message }
    }
}

fn read_file(section: &Section<'_>, _: &SinkKeys<'_>) -> Option<Arc<dyn SinkSettings>> {
    let path = section.key("path").required("the database file").name()?;
    Some(Arc::new(File(path.into())))
}

#[derive(Debug)]
pub(super) struct Memory {
    pub(super) room: u32,
    pub(super) password: Password,
    prefix: String,
}

impl SinkSettings for Memory {
    fn type_name(&self) -> &'static str {
        "memory"
    }

    fn table_name(&self, template: &str) -> String {
        format!("{}{template}", self.prefix)
    }

    fn place(&self, _: &str) -> Place {
        Place { key: "room", place: self.room.to_string(), message: "is also the room".to_owned() }
    }
}

fn read_memory(section: &Section<'_>, keys: &SinkKeys<'_>) -> Option<Arc<dyn SinkSettings>> {
    let room = section.key("room").required("its number").integer(1..=9);
    let prefix = section.key("prefix").text().unwrap_or_default().to_owned();
    let password = keys.password(&section.key("password_file"));
    Some(Arc::new(Memory { room: room?, password: password?, prefix }))
}
