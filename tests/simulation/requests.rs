//! What snapshot readers and the driver say to each other.

use std::rc::Rc;

use replicator::model::FilePos;
use replicator::source::mysql::snapshot::handoff::{Account, Images, Placed, SnapshotMark, WindowId};
use replicator::table::{ByHand, Event};

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
    Divert { name: Name, number: u32, by: Actor },
    PlaceWhole(Box<ExactRead>),
    EndDiversion { name: Name, number: u32 },
    Mark { mark: SnapshotMark, by: Actor },
    Happened { name: Name, event: Event, by: Option<Actor> },
    ByHand { name: Name, by_hand: ByHand },
    SinkAdded { sink: &'static str },
}

/// What the driver replies.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// The window is open; the stream is after this entry.
    Opened(usize),
    Placed(Placed),
    /// The table's rows wait from after this entry on.
    Diverted(usize),
    /// They cannot wait now.
    Busy,
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
