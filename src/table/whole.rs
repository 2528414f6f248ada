//! Reads of a whole table at one position. While such a read goes on, the table's rows wait for it and are not in the log, for any sink,
//! whomever the read is for.

use super::record::{Ask, Reach, Read, Stage, TableRecord};
use crate::codec::frame::Audience;

impl TableRecord {
    /// Rows that waited are not in the log: the read begins again, for every sink, in place of what they have.
    pub(super) fn rows_lost(&mut self, why: String) {
        if !self.is_captured() || self.left_out.is_some() {
            return;
        }
        self.complete = None;
        match self.read.take() {
            None => self.want(Ask::doubt(Reach::Replace, why)),
            Some(read) => {
                self.reads += 1;
                let read = read.for_every_sink();
                self.read = Some(Read { number: self.reads, stage: Stage::Waiting, rows: 0, replaces: false, ..read });
            }
        }
    }

    /// A process starts: rows that waited in the one before it are lost.
    pub(super) fn started_again(&mut self) {
        if let Some(read) = self.read.take_if(|read| read.holds_rows()) {
            self.complete = None;
            self.read = Some(read.for_every_sink());
        }
    }
}

impl Read {
    /// Whether the table's rows may be waiting for it.
    pub fn holds_rows(&self) -> bool {
        self.stage == Stage::Whole
    }

    /// Whom it is for once it begins again: rows that waited for it may be missing everywhere.
    pub(super) fn audience_again(&self) -> Audience {
        if self.holds_rows() { Audience::All } else { self.audience.clone() }
    }

    fn for_every_sink(self) -> Self {
        Self { reach: Reach::Replace, audience: Audience::All, ..self }
    }
}
