//! What a rows event tells of its rows: every column of them, some (`binlog_row_image`), or one that nobody knows.

use std::borrow::Cow;
use std::sync::Arc;

use replicator::codec::frame::RowOp;
use replicator::codec::row_image::{ImageWriter, Present, Shape as Images};
use replicator::model::TableSchema;
use replicator::source::mysql::binlog::Partial;
use replicator::source::mysql::schema::Flavour;

use super::binlog::{Change, Event, Group};
use super::kinds::{Kind, NULL};
use super::rng::Rng;
use super::shape::{Def, Keyed, Made, Shape};
use super::tables::{Layout, Name, Row};

/// What an event tells of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Whole,
    /// A column that its `TABLE_MAP` does not tell, too.
    Extra,
    Partly(Columns, Columns),
}

/// Columns of an image, a bit for each place. Of an image that there is none of, no bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns(u8);

/// `binlog_row_image`.
#[derive(Clone, Copy)]
enum Setting {
    Minimal,
    NoBlob,
    /// Of MariaDB alone.
    FullNoDup,
}

impl Columns {
    const NONE: Self = Self(0);

    fn of(shape: Shape, wanted: impl Fn(usize, &Def) -> bool) -> Self {
        let places = shape.columns().enumerate().filter(|(place, def)| wanted(*place, def));
        Self(places.fold(0, |columns, (place, _)| columns | 1 << place))
    }

    fn has(self, place: usize) -> bool {
        self.0 >> place & 1 == 1
    }

    fn or(self, other: Self) -> Self {
        if self == Self::NONE { other } else { self }
    }
}

impl Told {
    /// Of rows that a session changes whose `binlog_row_image` is not `FULL`.
    pub fn partly(op: RowOp, shape: Shape, changes: &[Change], flavour: Flavour, rng: &mut Rng) -> Self {
        let of_mariadb = usize::from(flavour == Flavour::MariaDb);
        let setting = rng.weighted(&[(3, Setting::Minimal), (1, Setting::NoBlob), (of_mariadb, Setting::FullNoDup)]);
        let (all, given) = (Columns::of(shape, |_, _| true), given(shape, changes, flavour, rng));
        // What finds the row again. A unique key over a prefix does not.
        let found_by = match shape.key {
            Keyed::Primary(..) => Columns::of(shape, |_, def| shape.key.has(def.called)),
            Keyed::Not | Keyed::Prefix(_) => all,
        };
        let is_blob = |place: usize, def: &Def| def.kind == Kind::Text && !found_by.has(place);
        let (before, after) = match setting {
            Setting::Minimal => (found_by, given),
            Setting::NoBlob => (
                Columns::of(shape, |place, def| !is_blob(place, def)),
                Columns::of(shape, |place, def| !is_blob(place, def) || given.has(place)),
            ),
            Setting::FullNoDup if op == RowOp::Update => (all, given),
            Setting::FullNoDup => (all, all),
        };
        let (before, after) = match op {
            RowOp::Insert | RowOp::Snapshot => (Columns::NONE, after),
            RowOp::Update => (before, after),
            RowOp::Delete | RowOp::DeleteByKey => (before, Columns::NONE),
        };
        let is_whole = [before, after].into_iter().all(|columns| columns == Columns::NONE || columns == all);
        if is_whole { Self::Whole } else { Self::Partly(before, after) }
    }
}

/// The columns that a statement gives values to, with those that follow from them.
fn given(shape: Shape, changes: &[Change], flavour: Flavour, rng: &mut Rng) -> Columns {
    // The server has it from a default that the statement does not give.
    let is_left_to_server = rng.percent(20);
    // MariaDB may leave out what a generated column has become.
    let leaves_out_generated = flavour == Flavour::MariaDb && rng.percent(50);
    let omits_null = rng.percent(50);
    let is_given = |place: usize, def: &Def| {
        let is_generated = matches!(def.made, Made::Generated(..));
        let is_changed = |change: &Change| match (change.before, change.after) {
            (Some(before), Some(after)) => before[place] != after[place],
            (None, Some(after)) if def.made == Made::Counted || def.kind == Kind::RowId => {
                !is_left_to_server || after[place] == NULL
            }
            (None, Some(after)) => after[place] != NULL || !def.nullable || !omits_null,
            (_, None) => false,
        };
        !(is_generated && leaves_out_generated) && changes.iter().any(is_changed)
    };
    Columns::of(shape, is_given).or(Columns::of(shape, |_, _| true))
}

/// The rows of an event that has some of their columns only.
pub fn partial(
    layout: &Layout,
    op: RowOp,
    changes: &[Change],
    (before, after): (Columns, Columns),
) -> Partial<'static> {
    let columns = layout.schema.columns.len();
    let present = |of: Columns| (of != Columns::NONE).then(|| Present::from_bitmap(&[of.0], columns));
    let images = Images { before: present(before), after: present(after), may_have_diffs: false };
    let mut bytes = Vec::new();
    for change in changes {
        for (row, of) in [(change.before, before), (change.after, after)] {
            if let Some(row) = row.filter(|_| of != Columns::NONE) {
                write(layout, &row, of, &mut bytes);
            }
        }
    }
    Partial::new(op, Arc::clone(&layout.plan), columns, images, Cow::Owned(bytes)).unwrap()
}

/// Appends the image of some columns of a row.
fn write(layout: &Layout, row: &Row, of: Columns, out: &mut Vec<u8>) {
    let there = || layout.kinds().iter().zip(row).enumerate().filter(|(place, _)| of.has(*place));
    let columns = there().map(|(place, _)| layout.schema.columns[place].clone()).collect();
    let schema = TableSchema { columns, key: None, ..TableSchema::clone(&layout.schema) };
    let writer = ImageWriter::new(&schema).unwrap();
    let mut builder = writer.row(out);
    for (_, (kind, value)) in there() {
        kind.write(*value, &mut builder);
    }
    builder.finish().unwrap();
}

impl Group {
    /// Whether its events have every column of a table's rows, and no other.
    pub fn is_told_whole(&self, of: Name) -> bool {
        self.told(of).all(|(told, ..)| told == Told::Whole)
    }

    /// Whether it may leave a table in doubt.
    pub fn may_doubt(&self, of: Name) -> bool {
        !self.is_told_whole(of) || self.may_have_unseen(of)
    }

    /// Whether these are its row changes of a table as far as its events tell them: those that have some columns only are whole,
    /// keys of rows that are gone, or nothing. `is_left_out`: the table may be left out after what leaves it in doubt;
    /// `is_stopped`: after anything.
    pub fn tells(&self, of: Name, there: &[Change], (is_left_out, is_stopped): (bool, bool)) -> bool {
        let is_kept = |event: &Event, kept: bool| kept || matches!(event, Event::Unseen { .. });
        let events = self.events.iter().zip(&self.kept);
        let events = events.filter(|(event, kept)| self.ending.commits() && is_kept(event, **kept));
        let told: Vec<_> = events.filter_map(|(event, _)| TellsOf::new(event, of)).collect();
        tells(&told, (is_left_out, is_stopped), there)
    }

    fn told(&self, of: Name) -> impl Iterator<Item = RowsOf<'_>> {
        self.events.iter().filter_map(move |event| rows_of(event, of))
    }
}

type RowsOf<'e> = (Told, Shape, &'e [Change]);

fn rows_of(event: &Event, of: Name) -> Option<RowsOf<'_>> {
    match event {
        Event::Rows { name, told, shape, changes, .. } if *name == of => Some((*told, *shape, changes)),
        Event::Rows { .. } | Event::Statement(_) | Event::Unseen { .. } => None,
    }
}

/// What an event says of a table.
enum TellsOf<'e> {
    Rows(RowsOf<'e>),
    /// That it may have changed.
    Doubt,
}

impl<'e> TellsOf<'e> {
    fn new(event: &'e Event, of: Name) -> Option<Self> {
        match event {
            Event::Unseen { name, is_routine, .. } if *is_routine || *name == of => Some(Self::Doubt),
            _ => rows_of(event, of).map(Self::Rows),
        }
    }
}

fn tells(events: &[TellsOf<'_>], (is_left_out, is_doubted): (bool, bool), there: &[Change]) -> bool {
    if is_left_out && is_doubted && there.is_empty() {
        return true;
    }
    let Some((first, rest)) = events.split_first() else { return there.is_empty() };
    let TellsOf::Rows((told, shape, changes)) = first else { return tells(rest, (is_left_out, true), there) };
    let is_doubted = is_doubted || *told != Told::Whole;
    let goes_on =
        |of: &[Change]| there.strip_prefix(of).is_some_and(|there| tells(rest, (is_left_out, is_doubted), there));
    match told {
        Told::Whole => goes_on(changes),
        Told::Extra => is_left_out && goes_on(&[]),
        Told::Partly(..) => goes_on(changes) || goes_on(&gone(*shape, changes)) || goes_on(&[]),
    }
}

/// Rows that are gone, as their keys say it.
fn gone(shape: Shape, changes: &[Change]) -> Vec<Change> {
    let places = shape.key_places();
    let key = |row: &Row| {
        let mut key = [NULL; super::shape::WIDTH];
        for (place, value) in key.iter_mut().enumerate() {
            if place >= shape.columns().count() {
                *value = 0;
            } else if places.contains(&place) {
                *value = row[place];
            }
        }
        key
    };
    let is_gone = |change: &&Change| {
        change.before.is_some_and(|before| change.after.is_none_or(|after| key(&before) != key(&after)))
    };
    let gone = changes.iter().filter(is_gone);
    gone.map(|change| Change { before: change.before.as_ref().map(key), after: None }).collect()
}
