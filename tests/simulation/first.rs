//! What is there at the start of a history.

use std::rc::Rc;

use replicator::source::mysql::schema::Flavour;

use super::habits::Habits;
use super::rng::Rng;
use super::server::{State, Table};
use super::shape::{Keyed, Shape};
use super::tables::{Name, add};

/// Tables and rows that are there at the start.
pub fn first_state(flavour: Flavour, habits: &Habits, rng: &mut Rng) -> State {
    let mut state = State::default();
    let often = rng.weighted(&[(2, 25), (1, 60)]);
    let first = *rng.pick(&Name::capturable().collect::<Vec<_>>()).unwrap();
    for (place, name) in Name::all().enumerate() {
        if name == first || rng.percent(often) {
            let mut shape = Shape::any(flavour, rng);
            while name == first && habits.keyed && !matches!(shape.key, Keyed::Primary(..)) {
                shape = Shape::any(flavour, rng);
            }
            let number = usize::MAX - place;
            state.tables.insert(name, Table { shape, rows: Rc::default(), version: 0, reshaped: 0, number });
            let rows = state.rows(name);
            for key in 0..habits.keys {
                if rng.percent(50) {
                    let key = i32::try_from(key).unwrap();
                    let mut other = || -i32::try_from(rng.between(1, 3)).unwrap();
                    let row = shape.row(|def| if shape.place(def.called) == 0 { key } else { other() });
                    add(rows, row);
                }
            }
        }
    }
    state
}
