//! Values and labels in every character set that a server has, and vectors beside them.

use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, Server};

/// Characters of which each set has some: two of them become labels and values.
const CHARACTERS: &str = "\u{e9}\u{c5}\u{f6}\u{10d}\u{142}\u{434}\u{3bb}\u{5d0}\u{627}\u{e01}\u{561}\u{10d0}\u{6f22}\u{65e5}\u{d55c}\u{20ac}";

/// The server's character sets, and those of [`CHARACTERS`] that each has.
async fn charsets(server: &Server) -> Vec<(String, Vec<char>)> {
    let names: Vec<String> = server
        .query("SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS WHERE CHARACTER_SET_NAME <> 'binary' ORDER BY 1")
        .await;
    let mut charsets = Vec::new();
    for name in names {
        let comes_back: Vec<String> = CHARACTERS
            .chars()
            .map(|c| format!("HEX(CONVERT(CONVERT('{c}' USING {name}) USING utf8mb4)) = HEX('{c}')"))
            .collect();
        let sql = format!("SELECT CONCAT({})", comes_back.join(", "));
        let has: String = server.query_one(sql).await;
        let characters = CHARACTERS.chars().zip(has.chars()).filter(|(_, has)| *has == '1').map(|(c, _)| c).take(2);
        charsets.push((name, characters.collect()));
    }
    charsets
}

/// A table of a character set, beside others in the bytes of the row.
fn table(kind: Kind, charset: &str, labels: &[String]) -> String {
    let labels = labels.iter().map(|label| format!("'{label}'")).collect::<Vec<_>>().join(", ");
    let vector = if kind == Kind::MySql { "w VECTOR(3), x VECTOR(2) DEFAULT NULL," } else { "" };
    format!(
        "CREATE TABLE t_{charset} (id INT PRIMARY KEY, {vector} e ENUM({labels}) CHARACTER SET {charset}, l VARCHAR(9) CHARACTER SET latin1,
         s SET({labels}) CHARACTER SET {charset}, b BLOB, c CHAR(9) CHARACTER SET {charset}, g GEOMETRY DEFAULT NULL,
         v VARCHAR(9) CHARACTER SET {charset}, t TEXT CHARACTER SET {charset}, u ENUM('\u{e9}') CHARACTER SET utf8mb4, n BIGINT UNSIGNED)"
    )
}

fn rows(kind: Kind, charset: &str, labels: &[String], first: usize) -> String {
    let vector = if kind == Kind::MySql { "STRING_TO_VECTOR('[1, -2, 0.5]'), NULL," } else { "" };
    let rows: Vec<String> = labels
        .iter()
        .enumerate()
        .map(|(at, label)| {
            let id = first + at;
            format!("({id}, {vector} '{label}', '\u{e9}', '{label}', x'ff{id:02}', '{label}', NULL, '{label}', '{label}{label}', '\u{e9}', {id})")
        })
        .collect();
    format!("INSERT INTO t_{charset} VALUES {}", rows.join(", "))
}

both_servers! {
    async fn labels_and_values_of_every_character_set_are_the_text_that_the_server_shows(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        let charsets = charsets(&sandbox.server).await;
        assert!(charsets.len() >= 38, "{charsets:?}");
        let sets: Vec<(&str, Vec<String>)> = charsets
            .iter()
            .map(|(charset, characters)| {
                assert!(!characters.is_empty() || charset == "ascii", "{charset} has none of the characters");
                let of_the_set = characters.iter().map(char::to_string);
                // Of ASCII's characters, `swe7` has others in their place.
                (charset.as_str(), of_the_set.chain(["plain".to_owned()]).collect())
            })
            .collect();
        let all = |statement: &dyn Fn(&str, &[String]) -> String| {
            let statements: Vec<String> = sets.iter().map(|(charset, labels)| statement(charset, labels)).collect();
            format!("USE {DATABASE}; SET NAMES utf8mb4; {}", statements.join("; "))
        };
        let write = |first: usize| all(&|charset, labels| rows(kind, charset, labels, first));
        let bytes = match kind {
            Kind::MySql => "ENUM('plain', '\u{e9}') CHARACTER SET binary",
            // What is no UTF-8 is shown as question marks.
            Kind::MariaDb => "ENUM('plain', '\u{e9}', x'e9e8') CHARACTER SET binary",
        };
        sandbox.server.exec(all(&|charset, labels| table(kind, charset, labels))).await;
        sandbox.server.exec(format!("CREATE TABLE {DATABASE}.bytes (id INT PRIMARY KEY, e {bytes})")).await;
        sandbox.server.exec(write(1)).await;
        sandbox.run_once();
        // Rows that the stream has while nobody reads, and while it is read.
        sandbox.server.exec(write(10)).await;
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.bytes VALUES (1, 1)")).await;
        sandbox.run_once();
        let mut daemon = sandbox.start();
        sandbox.server.exec(write(20)).await;
        sandbox
            .server
            .exec(all(&|charset, labels| format!("UPDATE t_{charset} SET e = '{}', c = '{}' WHERE id = 1", labels[labels.len() - 1], labels[0])))
            .await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        let expected: usize = sets.iter().map(|(_, labels)| 3 * labels.len()).sum();
        assert_eq!(sandbox.assert_mirrored().await.rows, expected + 1);
    }
}
