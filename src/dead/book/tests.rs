use super::*;
use crate::codec::frame::RowOp;
use crate::model::SchemaId;

fn table(name: &str) -> TableName {
    TableName::new("d", name)
}

fn id(lsn: u64) -> LetterId {
    LetterId { lsn: Lsn::new(lsn), ordinal: 0 }
}

fn letter(name: &str, keys: &[u128]) -> DeadLetter {
    DeadLetter {
        table: table(name),
        schema: SchemaId(1),
        op: RowOp::Insert,
        position: 0,
        commit_micros: 0,
        at_micros: 0,
        reason: "no".into(),
        keys: keys.to_vec(),
        image_bytes: 1,
    }
}

/// A book with letters in the log, all before the place where the target is.
fn book(letters: &[(u64, &str, &[u128])]) -> Book {
    let stored = letters.iter().map(|(lsn, name, keys)| (id(*lsn), letter(name, keys)));
    Book::new(stored.collect(), Lsn::new(100))
}

/// Ends the round, and says what it has added, removed at once, ended, and changed.
fn round(book: &mut Book, end: u64) -> (Vec<u64>, Vec<u64>, Vec<u64>, Vec<(u64, String)>) {
    book.close(Lsn::new(end));
    let due = book.due();
    let outcome = book.acknowledge(Lsn::new(end));
    let lsns = |ids: &[LetterId]| ids.iter().map(|id| id.lsn.raw()).collect::<Vec<_>>();
    let added: Vec<_> = due.added.iter().map(|(id, ..)| *id).collect();
    let changed = outcome.changed.iter().map(|changed| (changed.id.lsn.raw(), changed.table.table.clone()));
    (lsns(&added), lsns(&due.removed), lsns(&outcome.ended), changed.collect())
}

fn none<T>() -> Vec<T> {
    Vec::new()
}

#[test]
fn a_letter_is_stored_with_its_round_and_ends_with_the_round_that_writes_its_row() {
    let mut book = book(&[]);
    book.add(id(101), letter("t", &[1]), vec![9]);
    assert!(book.has_key(&table("t"), 1) && !book.has_key(&table("t"), 2) && !book.has_key(&table("u"), 1));
    assert_eq!(round(&mut book, 101), (vec![101], none(), none(), none()));
    book.written(&table("t"), 2);
    assert_eq!(round(&mut book, 102), (none(), none(), none(), none()));
    book.written(&table("t"), 1);
    assert_eq!(round(&mut book, 103), (none(), none(), vec![101], none()));
    assert!(book.is_empty());
}

#[test]
fn a_letter_whose_row_is_written_in_its_own_round_never_was() {
    let mut book = book(&[]);
    book.add(id(101), letter("t", &[1]), vec![9]);
    book.written(&table("t"), 1);
    assert_eq!(book.waiting_bytes(), 0);
    assert_eq!(round(&mut book, 101), (none(), none(), none(), none()));
}

#[test]
fn a_letter_about_two_rows_lasts_until_both_are_current() {
    let mut book = book(&[(7, "t", &[1, 2])]);
    book.written(&table("t"), 1);
    assert_eq!(round(&mut book, 101), (none(), none(), none(), vec![(7, "t".into())]));
    book.written(&table("t"), 2);
    assert_eq!(round(&mut book, 102), (none(), none(), vec![7], none()));
}

#[test]
fn a_later_letter_about_the_same_row_takes_the_place_of_the_one_before_it() {
    let mut book = book(&[(7, "t", &[1]), (8, "t", &[])]);
    book.add(id(101), letter("t", &[1]), vec![9]);
    assert_eq!(round(&mut book, 101), (vec![101], none(), vec![7], none()));
    assert_eq!(book.sums()[&table("t")].count, 2);
}

#[test]
fn letters_of_a_round_that_comes_again_are_what_it_says_this_time() {
    let stored = [7, 101, 102, 110].map(|lsn| (id(lsn), letter("t", &[lsn.into()])));
    let mut book = Book::new(stored.to_vec(), Lsn::new(100));
    assert!(book.has_key(&table("t"), 7) && !book.has_key(&table("t"), 101));
    assert_eq!(book.sum().count, 4);
    book.add(id(101), letter("t", &[101]), vec![9]);
    assert_eq!(round(&mut book, 105), (vec![101], vec![102], none(), none()));
    // What comes after the round is another one's.
    assert_eq!(round(&mut book, 110), (none(), vec![110], none(), none()));
    assert_eq!(book.sum().count, 2);
}

#[test]
fn what_takes_the_rows_of_a_table_away_or_brings_them_again_ends_letters_of_rows_and_not_of_lines() {
    let changes = [
        TableChange::Truncate { table: table("t") },
        TableChange::Drop { table: table("t") },
        TableChange::ReplaceBegin { table: table("t"), schema: SchemaId(1) },
    ];
    for change in changes {
        let mut book = book(&[(7, "t", &[1]), (8, "t", &[]), (9, "u", &[1])]);
        book.follow(&change, None);
        assert_eq!(round(&mut book, 101), (none(), none(), vec![7], none()), "{change:?}");
        assert!(book.has_key(&table("u"), 1));
    }
    let mut book = book(&[(7, "t", &[1]), (8, "t", &[])]);
    book.follow(&TableChange::ReplaceEnd { table: table("t") }, None);
    assert_eq!(round(&mut book, 101), (none(), none(), none(), none()));
    book.forget(&table("t"));
    assert_eq!(round(&mut book, 102), (none(), none(), vec![7, 8], none()));
}

#[test]
fn letters_follow_their_table_to_its_new_name() {
    let mut book = book(&[(7, "t", &[1]), (9, "u", &[5])]);
    book.add(id(101), letter("t", &[2]), vec![9]);
    book.follow(&TableChange::Rename { from: table("t"), to: table("u"), schema: SchemaId(1) }, None);
    assert!(!book.has(&table("t")) && book.has_key(&table("u"), 1) && !book.has_key(&table("u"), 5));
    book.close(Lsn::new(101));
    assert_eq!(book.due().added[0].1.table, table("u"));
    let outcome = book.acknowledge(Lsn::new(101));
    assert_eq!(outcome.ended, [id(9)]);
    assert_eq!(outcome.changed, [Changed { id: id(7), table: table("u"), keys: vec![1] }]);
}

#[test]
fn a_change_that_is_looked_at_once_more_says_nothing_of_letters_after_it() {
    let mut book = book(&[(7, "t", &[1]), (50, "t", &[2]), (60, "u", &[3])]);
    book.follow(&TableChange::Truncate { table: table("t") }, Some(id(30)));
    assert!(!book.has_key(&table("t"), 1) && book.has_key(&table("t"), 2));
    book.follow(&TableChange::Rename { from: table("u"), to: table("t"), schema: SchemaId(1) }, Some(id(45)));
    assert!(book.has_key(&table("u"), 3), "it is of a later table of the name");
    assert_eq!(round(&mut book, 101), (none(), none(), vec![7], none()));
}

#[test]
fn a_letter_that_comes_again_and_whose_row_is_written_later_in_the_round_is_gone() {
    let stored = [(id(101), letter("t", &[1]))];
    let mut book = Book::new(stored.into_iter().collect(), Lsn::new(100));
    book.add(id(101), letter("t", &[1]), vec![9]);
    book.written(&table("t"), 1);
    assert_eq!(round(&mut book, 102), (none(), none(), vec![101], none()));
    assert!(book.is_empty());
}

#[test]
fn letters_of_rows_that_are_left_out_with_their_table_do_not_count() {
    let mut book = book(&[(7, "t", &[1])]);
    book.add(id(101), letter("t", &[2]), vec![9]);
    book.add(id(102), letter("u", &[2]), vec![9]);
    book.take_back(&table("t"), id(101));
    assert_eq!(round(&mut book, 102), (vec![102], none(), none(), none()));
    assert!(book.has_key(&table("t"), 1) && !book.has_key(&table("t"), 2));
}

#[test]
fn a_letter_that_was_stored_early_ends_with_its_round_where_its_row_is_written_later_in_it() {
    let mut book = book(&[]);
    book.add(id(101), letter("t", &[1]), vec![9]);
    assert_eq!(book.due_early().added.len(), 1);
    assert_eq!(book.waiting_bytes(), 0);
    book.written(&table("t"), 1);
    assert_eq!(round(&mut book, 102), (none(), none(), vec![101], none()));
}

#[test]
fn the_next_round_may_end_letters_of_one_that_is_on_its_way() {
    let mut book = book(&[]);
    book.add(id(101), letter("t", &[1]), vec![9]);
    book.close(Lsn::new(101));
    book.written(&table("t"), 1);
    assert_eq!(book.due().added.len(), 1);
    assert_eq!(book.acknowledge(Lsn::new(101)), Outcome::default());
    assert_eq!(round(&mut book, 102), (none(), none(), vec![101], none()));
}

#[test]
fn a_row_that_is_found_to_be_written_in_a_round_on_its_way_ends_letters_in_it() {
    let mut book = book(&[(7, "t", &[1]), (8, "t", &[1, 2])]);
    book.add(id(101), letter("t", &[3]), vec![9]);
    book.close(Lsn::new(102));
    book.written_before(&table("t"), 1, id(102));
    book.written_before(&table("t"), 3, id(102));
    assert_eq!(book.due().added.len(), 0, "it was never stored");
    let outcome = book.acknowledge(Lsn::new(102));
    assert_eq!(outcome.ended, [id(7)]);
    assert_eq!(outcome.changed, [Changed { id: id(8), table: table("t"), keys: vec![2] }]);
    assert_eq!(round(&mut book, 103), (none(), none(), none(), none()));
}

#[test]
fn letters_of_a_table_that_a_round_on_its_way_leaves_out_are_never_stored() {
    let mut book = book(&[(7, "t", &[1])]);
    book.add(id(101), letter("t", &[2]), vec![9]);
    book.close(Lsn::new(102));
    book.take_back(&table("t"), id(101));
    assert_eq!(book.due().added.len(), 0);
    assert_eq!(book.acknowledge(Lsn::new(102)), Outcome::default());
    assert!(book.has_key(&table("t"), 1) && !book.has_key(&table("t"), 2));
}

#[test]
fn a_letter_that_comes_again_and_is_discarded_meanwhile_is_gone() {
    let stored = [(id(101), letter("t", &[1]))];
    let mut book = Book::new(stored.into_iter().collect(), Lsn::new(100));
    book.add(id(101), letter("t", &[1]), vec![9]);
    book.discard(&BTreeSet::from([id(101)]));
    assert_eq!(book.waiting_bytes(), 0);
    assert_eq!(round(&mut book, 102), (none(), none(), none(), none()));
    assert!(book.is_empty());
}

#[test]
fn a_letter_that_is_discarded_is_not_written_again_by_what_has_changed_it() {
    let mut book = book(&[(7, "t", &[1]), (8, "t", &[2])]);
    book.follow(&TableChange::Rename { from: table("t"), to: table("u"), schema: SchemaId(1) }, None);
    book.discard(&BTreeSet::from([id(7)]));
    assert_eq!(round(&mut book, 101), (none(), none(), none(), vec![(8, "u".into())]));
    assert!(!book.has_key(&table("u"), 1));
}

#[test]
fn letters_of_rows_that_an_earlier_try_of_the_round_has_stored_stay() {
    let stored = [101, 102].map(|lsn| (id(lsn), letter("t", &[lsn.into()])));
    let mut book = Book::new(stored.to_vec(), Lsn::new(100));
    book.keep(id(101), LetterId { ordinal: 5, ..id(101) });
    assert!(book.has_key(&table("t"), 101));
    assert_eq!(round(&mut book, 102), (none(), vec![102], none(), none()));
    assert_eq!(book.sum().count, 1);
}
