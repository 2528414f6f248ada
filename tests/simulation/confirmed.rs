//! A description that the server gives far ahead of the stream: it holds at once where it shows what the statements up to there have
//! made of the table, and nowhere before its place otherwise.

use replicator::source::mysql::schema::Flavour;

use super::kinds::Kind;
use super::script::{Script, column};
use super::shape::{K, V};

const CREATE: &str = "CREATE TABLE {} (`k` INT NOT NULL PRIMARY KEY, `v` VARBINARY(300))";

#[test]
fn a_description_that_shows_what_the_statements_have_made_is_adopted_before_its_place() {
    for flavour in [Flavour::MySql, Flavour::MariaDb] {
        let mut script = Script::new(flavour);
        let (k, v) = (column(K, Kind::Int), column(V, Kind::Text));
        script.write(CREATE, &[k, v]);
        script.write_others();
        script.read_to(1);
        script.answer();
        assert_eq!(script.schemas(), [["k", "v"]], "{flavour:?}: the stream is 100 entries before the description");

        let altered = script.server.end() + 1;
        script.write("ALTER TABLE {} MODIFY `v` BIGINT FIRST", &[column(V, Kind::Big), k]);
        script.write_others();
        script.read_to(altered);
        script.answer();
        let expected = [["k", "v"], ["v", "k"]];
        assert_eq!(script.schemas(), expected, "{flavour:?}");

        // At its place it says nothing else.
        script.read_to(script.server.end());
        assert_eq!(script.schemas(), expected, "{flavour:?}");
    }
}

#[test]
fn a_description_of_a_later_state_waits_and_is_dropped() {
    for flavour in [Flavour::MySql, Flavour::MariaDb] {
        let mut script = Script::new(flavour);
        let (k, v) = (column(K, Kind::Int), column(V, Kind::Text));
        script.write(CREATE, &[k, v]);
        script.write_others();
        script.write("ALTER TABLE {} MODIFY `v` BIGINT", &[k, column(V, Kind::Big)]);
        script.read_to(1);
        script.answer();
        assert!(script.schemas().is_empty(), "{flavour:?}: the type of `v` is a later one");

        script.read_to(script.server.end());
        assert!(script.schemas().is_empty(), "{flavour:?}: a statement came before the place of the description");
        script.answer();
        assert_eq!(script.schemas(), [["k", "v"]], "{flavour:?}");
    }
}
