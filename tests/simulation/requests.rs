//! What snapshot readers and the driver say to each other.

use std::rc::Rc;

use replicator::model::FilePos;
use replicator::source::mysql::snapshot::handoff::{Account, Images, Placed, SnapshotMark, WindowId};
use replicator::table::Event;

use super::tables::{Layout, Layouts, Name, Row};

/// Whoever waits for a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Actor(pub u64);

/// What is asked of the driver. Served between groups only, in order.
#[derive(Debug)]
pub enum Request {
    OpenWindow { name: Name, window: WindowId, by: Actor },
    CloseWindow { window: WindowId },
    Place { window: WindowId, layouts: Rc<Layouts>, images: Images, high: FilePos, account: Account, by: Actor },
    Pause { by: Actor },
    Mark { mark: SnapshotMark, by: Actor },
    Happened { name: Name, event: Event, by: Option<Actor> },
    SinkAdded { sink: &'static str },
}

/// What the driver replies.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// The window is open; the stream is after this entry.
    Opened(usize),
    Placed(Placed),
    /// The stream stands still after this entry.
    Paused(usize),
    /// What was said is durable; false: the read is no longer wanted.
    Marked(bool),
    /// The stream was opened again.
    Lost,
}

/// A whole-table read at one place.
#[derive(Debug)]
pub struct ExactRead {
    pub name: Name,
    pub layouts: Rc<Layouts>,
    pub at: FilePos,
    pub pieces: Vec<Vec<Row>>,
    pub number: u32,
    pub by: Actor,
}

/// What a reader says while the stream stands still for it.
#[derive(Debug)]
pub enum Exact {
    Read(ExactRead),
    /// Nothing comes: the stream goes on.
    GivenUp,
}

/// Images of rows.
pub fn images(layout: &Layout, rows: &[Row]) -> Images {
    let mut images = Images::default();
    for row in rows {
        layout.write(row, &mut images.bytes);
        images.rows += 1;
    }
    images
}
