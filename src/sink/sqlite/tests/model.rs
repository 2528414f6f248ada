//! Random changes, commits and crashes, against a model that a reader can check by eye.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::codec::frame::RowOp;
use crate::config::Mode;
use crate::model::Key;
use crate::sink::sqlite::testing::*;

#[derive(Clone, Debug)]
enum Step {
    /// Inserts the row, or updates it if the source has it.
    Put(u8, u8, Option<u8>),
    /// Moves a row to another key.
    Move(u8, u8, u8),
    Delete(u8, u8),
    Commit,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let small = 0..6_u8;
    prop_oneof![
        6 => (small.clone(), 0..2_u8, proptest::option::of(0..4_u8)).prop_map(|(a, b, v)| Step::Put(a, b, v)),
        2 => (small.clone(), 0..2_u8, small.clone()).prop_map(|(a, b, to)| Step::Move(a, b, to)),
        2 => (small, 0..2_u8).prop_map(|(a, b)| Step::Delete(a, b)),
        1 => Just(Step::Commit),
        1 => Just(Step::Crash),
    ]
}

type Rows = BTreeMap<(u8, u8), Option<u8>>;

/// The row (a, b, v); b is text, so that a key over it has no row number.
fn texts(key: (u8, u8), value: Option<u8>) -> [String; 3] {
    [key.0.to_string(), format!("b{}", key.1), value.map_or("~".to_owned(), |value| value.to_string())]
}

fn apply(steps: &[Step], key: Option<Key>) {
    let mut rig = Rig::new(options(Mode::Mirror));
    let t = rig.create(schema(vec![int("a"), text("b"), int("v")], key));
    rig.commit();
    let (mut rows, mut committed) = (Rows::new(), Rows::new());
    for step in steps {
        let (op, images) = match *step {
            Step::Put(a, b, value) => match rows.insert((a, b), value) {
                None => (RowOp::Insert, vec![texts((a, b), value)]),
                Some(before) => (RowOp::Update, vec![texts((a, b), before), texts((a, b), value)]),
            },
            Step::Move(a, b, to) => match rows.get(&(a, b)).copied() {
                Some(value) if !rows.contains_key(&(to, b)) => {
                    rows.remove(&(a, b));
                    rows.insert((to, b), value);
                    (RowOp::Update, vec![texts((a, b), value), texts((to, b), value)])
                }
                _ => continue,
            },
            Step::Delete(a, b) => match rows.remove(&(a, b)) {
                Some(value) => (RowOp::Delete, vec![texts((a, b), value)]),
                None => continue,
            },
            Step::Commit => {
                rig.commit();
                committed.clone_from(&rows);
                continue;
            }
            Step::Crash => {
                rig.open().unwrap();
                rows.clone_from(&committed);
                continue;
            }
        };
        let images: Vec<Vec<&str>> = images.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
        let images: Vec<&[&str]> = images.iter().map(Vec::as_slice).collect();
        rig.rows(t, op, &images);
    }
    rig.commit();
    let show = |(key, value): (&(u8, u8), &Option<u8>)| {
        format!("{} 'b{}' {}", key.0, key.1, value.map_or("NULL".to_owned(), |value| value.to_string()))
    };
    assert_eq!(rig.read("SELECT * FROM t ORDER BY a, b"), rows.iter().map(show).collect::<Vec<_>>());
    // Every delete and update found its row, and the two sides of the counts agree.
    let counts = rig.counts();
    assert_eq!((counts.unmatched, counts.taken - counts.applied()), (0, 0), "{counts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_mirror_holds_what_the_source_holds_after_any_changes_commits_and_crashes(
        steps in prop::collection::vec(step(), 1..80),
        keyed in any::<bool>(),
    ) {
        apply(&steps, if keyed { key(&[1, 0]) } else { None });
    }
}
