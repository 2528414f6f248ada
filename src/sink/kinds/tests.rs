//! What a configuration says of every kind of sink.

use crate::sink::testing::{plan, problems};

#[test]
fn the_example_file_holds_the_defaults() {
    let text = include_str!("../../../config.example.yaml");
    let example = plan(text);
    // The same with every key that has a default left out.
    let small = plan(
        "
source: { url: 'mysql://replicator@127.0.0.1:3306', server_id: 5400, include: ['shop.*'] }
sinks: [{ name: local, type: sqlite, path: ./replica.db }]
",
    );
    assert_eq!(format!("{example:#?}"), format!("{small:#?}"));
    for key in ["chunk_rows", "parallel", "max_rows_per_second", "mode", "path", "max_size", "table_name", "deletion"] {
        assert!(text.contains(&format!("\n  {key}:")) || text.contains(&format!("    {key}:")), "{key}");
    }
}

#[test]
fn every_key_is_documented() {
    // The program's own lists of keys: it names them when it meets an unknown one.
    let text = "
source: { zz: 1, snapshot: { zz: 1 }, tls: { zz: 1 } }
wal: { zz: 1 }
sinks: [{ type: sqlite, zz: 1 }, { type: clickhouse, zz: 1, tls: { zz: 1 }, batch: { zz: 1 }, ddl: { zz: 1 } }]
tables: [{ zz: 1, batch: { zz: 1 } }]
http: { zz: 1 }
log: { zz: 1 }
zz: 1
";
    let documentation = include_str!("../../../docs/configuration.md");
    let mut keys = 0;
    for problem in problems(text).iter().filter(|problem| problem.contains("unknown key")) {
        let (_, list) = problem.split_once("the keys here are ").unwrap_or_else(|| panic!("{problem}"));
        for key in list.split(", ") {
            let heading = documentation.contains(&format!("\n## {key}\n"));
            let cell = documentation.contains(&format!("`{key}`")) || documentation.contains(&format!(".{key}`"));
            assert!(
                heading || cell || matches!(key, "snapshot" | "batch" | "ddl"),
                "docs/configuration.md has no {key}"
            );
            keys += 1;
        }
    }
    assert!(keys > 60, "only {keys} keys were found");
}

#[test]
fn a_type_that_is_none_is_a_problem_that_names_those_there_are() {
    let with = |sink_type: &str| {
        format!(
            "{{ source: {{ url: 'mysql://u@h', server_id: 1, include: ['a.*'] }}, sinks: [{{ name: a, path: b{sink_type} }}] }}"
        )
    };
    assert_eq!(problems(&with("")), ["sinks[0].type: required; sqlite or clickhouse"]);
    let misspelt = "sinks[0].type: \"sqlight\" is not one of sqlite, clickhouse; did you mean \"sqlite\"?";
    assert_eq!(problems(&with(", type: sqlight")), [misspelt]);
}

#[test]
fn one_file_has_one_sink() {
    let text = "{ source: { url: 'mysql://u@h', server_id: 1, include: ['a.*'] }, \
                sinks: [{ name: a, type: sqlite, path: one.db }, { name: b, type: sqlite, path: ./one.db }] }";
    assert_eq!(problems(text), ["sinks[1].path: \"./one.db\" is also the file of sinks[0]"]);
}
