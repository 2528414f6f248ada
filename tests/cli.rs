//! The program as a shell meets it: help, exit codes, what goes to stdout and what to stderr. No database server.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use replicator::codec::stored::{self, LOG_FORMAT, LogFormat};
use replicator::control::{BackfillTaken, ControlServer, Daemon};
use replicator::telemetry::{Live, Reporter, SinkLive, SinkPhase};
use tempfile::TempDir;
use wal::{GroupEnd, Lsn, Options, Wal};

use crate::support::daemon::run_to_end;

/// Nothing here waits for anything but itself.
const LIMIT: Duration = Duration::from_mins(1);

pub(crate) struct Shell {
    directory: TempDir,
}

impl Shell {
    /// A directory with a configuration whose server does not exist.
    pub(crate) fn new() -> Self {
        let shell = Self { directory: tempfile::tempdir().unwrap() };
        shell.write(
            "replicator.yaml",
            "source: { url: 'mysql://nobody@127.0.0.1:1', server_id: 1, include: ['shop.*'] }\n\
             wal: { path: ./log, max_size: 64MiB }\n\
             sinks: [{ name: local, type: sqlite, path: ./replica.db }]\n\
             http: { listen: none }\n",
        );
        shell
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The exit code, stdout and stderr of `replicator ARGUMENTS`, run in the directory.
    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_replicator"));
        command.args(arguments).current_dir(self.directory.path());
        command.env_remove("REPLICATOR_SOURCE_PASSWORD").env_remove("REPLICATOR_LOG");
        let Output { status, stdout, stderr } = run_to_end(&mut command, LIMIT);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (status.code().expect("it exits by itself"), text(stdout), text(stderr))
    }
}

/// A log as a stopped daemon leaves it, with one frame that is no frame of ours.
pub(crate) async fn make_log(directory: &Path, payload: &[u8]) -> Wal {
    let (wal, mut appender) = Wal::open(directory, Options::new(64 << 20)).unwrap();
    wal.create_cursor("local", Lsn::ZERO).await.unwrap();
    appender.put_state(stored::FORMAT.key(), Some(&stored::encode(&LogFormat(LOG_FORMAT)).unwrap()));
    appender.append(&[payload], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();
    wal
}

#[test]
fn help_teaches_every_verb_with_examples() {
    let shell = Shell::new();
    let (code, help, errors) = shell.run(&["--help"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    for word in
        ["start", "check", "status", "backfill", "resync", "wal", "--config", "Exit codes: 0 done, 1 failed, 2 usage"]
    {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
    let verbs: [&[&str]; 16] = [
        &["start"],
        &["check"],
        &["status"],
        &["backfill"],
        &["resync"],
        &["table", "list"],
        &["table", "show"],
        &["table", "skip"],
        &["table", "resume"],
        &["sink", "list"],
        &["sink", "pause"],
        &["sink", "resume"],
        &["wal", "inspect"],
        &["wal", "verify"],
        &["wal", "drop-cursor"],
        &[],
    ];
    for verb in verbs {
        let (code, help, _) = shell.run(&[verb, &["--help"]].concat());
        assert_eq!(code, 0, "{verb:?}");
        assert!(help.contains("Examples:"), "{verb:?} shows no example:\n{help}");
    }
    let (code, version, _) = shell.run(&["--version"]);
    assert_eq!((code, version), (0, format!("replicator {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn wrong_usage_exits_2_and_says_what_is_wrong() {
    let shell = Shell::new();
    shell.write("empty.yaml", "[]");
    shell.write("wrong.yaml", "- { database: shop, tabel: users }");
    let cases: [(&[&str], &str); 18] = [
        (&[], "Usage: replicator"),
        (&["dance"], "dance"),
        (&["start", "--fast"], "--fast"),
        (&["start", "--log-format", "xml"], "xml"),
        (&["start", "--log-level", "loud"], "\"loud\" is not a log level"),
        (&["backfill"], "--table"),
        (&["backfill", "--database", "shop"], "--table"),
        (&["backfill", "--tables", "empty.yaml", "--table", "x"], "cannot be used with"),
        (&["backfill", "--tables", "empty.yaml", "--replace"], "cannot be used with"),
        (&["backfill", "--database", "a", "--table", "b", "--where", "1", "--replace"], "cannot be used with"),
        (&["backfill", "--tables", "empty.yaml"], "it is empty"),
        (&["backfill", "--tables", "wrong.yaml"], "tabel"),
        (&["backfill", "--database", "crm", "--table", "users"], "\"crm.users\" is not copied"),
        (&["backfill", "--table", "crm.users"], "\"crm.users\" is not copied"),
        (&["backfill", "--table", "users"], "DATABASE.TABLE"),
        (&["resync", "--table", "crm.users"], "\"crm.users\" is not copied"),
        (&["resync", "--sink", "elsewhere"], "no sink \"elsewhere\" is configured"),
        (&["wal", "inspect", "--table", "users"], "DATABASE.TABLE"),
    ];
    for (arguments, said) in cases {
        let (code, stdout, stderr) = shell.run(arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {said} is not in\n{stderr}");
    }
}

#[test]
fn a_wrong_configuration_exits_2_with_every_problem_and_changes_nothing() {
    let shell = Shell::new();
    shell.write(
        "bad.yaml",
        "source: { url: 'mysql://u:secret@h', server_id: 0 }\nsinks: [{ mode: mirorr }]\nwall: {}\n",
    );
    let verbs: [&[&str]; 4] = [&["start"], &["check"], &["status"], &["wal", "inspect"]];
    for verb in verbs {
        let (code, stdout, stderr) = shell.run(&[verb, &["--config", "bad.yaml"]].concat());
        assert_eq!((code, stdout.as_str()), (2, ""), "{verb:?}: {stderr}");
        for said in [
            "error: the configuration \"bad.yaml\" has 7 problems",
            "source.url: must not hold a password",
            "source.server_id: must be a whole number",
            "source.include: required",
            "sinks[0].name: required",
            "sinks[0].type: required",
            "sinks[0].mode: \"mirorr\" is not one of mirror, history; did you mean \"mirror\"?",
            "wall: unknown key; did you mean \"wal\"?",
        ] {
            assert!(stderr.contains(said), "{verb:?}: {said} is not in\n{stderr}");
        }
        assert!(!stderr.contains("secret"), "{stderr}");
    }
    let (code, _, stderr) = shell.run(&["start", "--config", "none.yaml"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("cannot read the configuration \"none.yaml\""), "{stderr}");
    let looked = std::fs::canonicalize(shell.directory.path()).unwrap().join("none.yaml");
    let hint = format!(
        "hint: there is no file \"{}\"; name the configuration with --config FILE, or begin one with a copy of config.example.yaml",
        looked.display()
    );
    assert!(stderr.contains(&hint), "{stderr}");
    let left: Vec<_> =
        std::fs::read_dir(shell.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn status_and_inspect_without_a_log_fail_and_make_none() {
    let shell = Shell::new();
    let verbs: [&[&str]; 4] =
        [&["status"], &["wal", "inspect"], &["wal", "verify"], &["wal", "inspect", "--path", "elsewhere"]];
    for verb in verbs {
        let (code, stdout, stderr) = shell.run(verb);
        assert_eq!((code, stdout.as_str()), (1, ""), "{verb:?}");
        assert!(stderr.contains("there is no log in"), "{verb:?}: {stderr}");
    }
    assert!(!shell.path("log").exists());
}

#[tokio::test]
async fn status_of_a_stopped_daemon_shows_its_log_and_exits_1() {
    let shell = Shell::new();
    make_log(&shell.path("log"), b"frame").await.shutdown().await.unwrap();
    let (code, text, stderr) = shell.run(&["status"]);
    assert_eq!((code, stderr.as_str()), (1, "error: no daemon is running on the log in \"./log\"\n"));
    let begin = "replicator is not running; this is what its log says\nhealth   failed\n         daemon: not_running";
    assert!(text.starts_with(begin), "{text}");
    let (code, json, _) = shell.run(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(code, 1);
    assert_eq!((&status["running"], &status["wal"]["durable_lsn"]), (&false.into(), &1.into()));
    assert_eq!(
        (&status["sinks"][0]["name"], &status["sinks"][0]["backlog_transactions"]),
        (&"local".into(), &1.into())
    );
}

#[tokio::test]
async fn verify_exits_1_when_it_finds_something() {
    let shell = Shell::new();
    make_log(&shell.path("log"), b"no frame").await.shutdown().await.unwrap();
    let (code, text, stderr) = shell.run(&["wal", "verify"]);
    assert_eq!((code, stderr.as_str()), (1, "error: the log is damaged in 1 place\n"));
    assert!(text.starts_with("the frame at lsn 1: frame has format 110, this version reads 2\n"), "{text}");
    let (code, json, _) = shell.run(&["wal", "verify", "--json", "--path", "log"]);
    let verdict: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &verdict["frames"], verdict["findings"].as_array().unwrap().len()), (1, &1.into(), 1));
}

#[tokio::test]
async fn a_cursor_is_dropped_only_when_its_sink_is_gone_from_the_configuration() {
    let shell = Shell::new();
    let wal = make_log(&shell.path("log"), b"frame").await;
    wal.create_cursor("old", Lsn::ZERO).await.unwrap();
    wal.shutdown().await.unwrap();
    let (code, _, stderr) = shell.run(&["wal", "drop-cursor", "local"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("hint: take the sink out of the configuration"), "{stderr}");
    let (code, stdout, stderr) = shell.run(&["wal", "drop-cursor", "old"]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "cursor \"old\" dropped\n", ""));
    let (code, _, stderr) = shell.run(&["wal", "drop-cursor", "old"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("cannot drop cursor \"old\""), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_ask_a_running_daemon_and_a_second_start_is_refused() {
    let shell = Shell::new();
    let directory = shell.path("log");
    let wal = make_log(&directory, b"frame").await;
    let live = std::sync::Arc::new(Live::default());
    let sink = std::sync::Arc::new(SinkLive::new("local", "sqlite"));
    sink.phase(SinkPhase::Retrying, Some("disk slow".into()));
    live.add_sink(sink);
    let (backfills, mut queue) = tokio::sync::mpsc::channel(1);
    let reporter = Reporter::new(live, wal.clone(), &directory);
    let stop = tokio_util::sync::CancellationToken::new();
    let server = ControlServer::bind(&directory).unwrap();
    let server = tokio::spawn(server.serve(
        Daemon {
            reporter,
            dead: replicator::dead::Hub::new(wal.clone(), u64::MAX),
            wal: wal.clone(),
            backfills,
            sinks: tokio::sync::mpsc::channel(1).0,
            tables: tokio::sync::mpsc::channel(1).0,
            resyncs: tokio::sync::mpsc::channel(1).0,
        },
        stop.clone(),
    ));
    let taken = tokio::spawn(async move {
        let request = queue.recv().await.unwrap();
        let queued = vec![request.jobs[0].name()];
        request.reply.send(Ok(BackfillTaken { queued, reads: Vec::new() })).unwrap();
        request.jobs
    });

    let (shell, answers) = tokio::task::spawn_blocking(move || {
        let answers = [
            shell.run(&["status"]),
            shell.run(&["wal", "inspect", "--json"]),
            shell.run(&["backfill", "--table", "shop.users", "--where", "id > 5"]),
            shell.run(&["start"]),
        ];
        (shell, answers)
    })
    .await
    .unwrap();
    drop(shell);

    let [status, inspect, backfill, start] = answers;
    assert_eq!(status.0, 0, "{}", status.2);
    assert!(status.1.contains(" running as process ") && status.1.contains(": disk slow\n"), "{}", status.1);
    // The frame is none, and the daemon says so; what came before it is shown.
    assert_eq!(inspect.0, 1);
    assert!(
        inspect.1.starts_with("{\"kind\":\"log\",") && inspect.2.contains("frame 1 of the log is damaged"),
        "{inspect:?}"
    );
    assert_eq!((backfill.0, backfill.2.as_str()), (0, ""));
    assert!(backfill.1.starts_with("shop.users waits for a free place"), "{}", backfill.1);
    let jobs = taken.await.unwrap();
    assert_eq!(
        (jobs.len(), jobs[0].name().to_string(), jobs[0].condition.as_deref()),
        (1, "shop.users".into(), Some("id > 5"))
    );
    assert_eq!(start.0, 1);
    assert!(start.2.contains(&format!("in use by process {}", std::process::id())), "{}", start.2);
    stop.cancel();
    server.await.unwrap();
    wal.shutdown().await.unwrap();
}

#[test]
fn check_names_what_fails_and_exits_1() {
    let shell = Shell::new();
    let (code, json, stderr) = shell.run(&["check", "--json"]);
    let items: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(code, 1, "{stderr}");
    let failed: Vec<_> = items.iter().filter(|item| item["status"] == "fail").collect();
    assert_eq!(failed.len(), 1, "only the server is missing: {json}");
    assert_eq!(stderr, "error: 1 check failed\n");
    let (code, text, _) = shell.run(&["check"]);
    assert_eq!(code, 1);
    assert!(text.contains("\nok    log ") && text.contains("FAIL  "), "{text}");
    assert!(!shell.path("log").exists(), "a check changes nothing");
}

#[test]
fn a_pipe_that_closes_early_is_no_failure() {
    let shell = Shell::new();
    let mut command = std::process::Command::new("sh");
    let program = env!("CARGO_BIN_EXE_replicator");
    command.current_dir(shell.directory.path());
    command.args(["-c", &format!("{{ {program} --config none.yaml wal inspect --help; echo code $? >&2; }} | true")]);
    let output = run_to_end(&mut command, LIMIT);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("panicked"), "{stderr}");
}
