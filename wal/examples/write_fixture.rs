//! Writes a log of the current format for `tests/format.rs`: `cargo run -p replicator-wal --example write_fixture -- NAME`.
//!
//! NAME is that of the new file in `tests/fixtures`, as `v3.redb.gz`. One that exists is not written over: a fixture is what
//! an earlier version has left. Prints the identity of the log, which the test of the fixture expects.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use wal::{GroupEnd, LogId, Lsn, Options, Wal};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let name =
        std::env::args().nth(1).ok_or("usage: write_fixture NAME, the name of the new file in tests/fixtures")?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let directory = tempfile::tempdir()?;
    let id = tokio::runtime::Builder::new_current_thread().build()?.block_on(fill(directory.path()))?;
    let to = File::create_new(&path).map_err(|error| format!("create {}: {error}", path.display()))?;
    let mut encoder = GzEncoder::new(to, Compression::best());
    std::io::copy(&mut File::open(directory.path().join("log.redb"))?, &mut encoder)?;
    encoder.finish()?;
    Ok(writeln!(std::io::stdout(), "wrote {}, a log with the id {id}", path.display())?)
}

/// Everything that a log can hold: groups of one frame, of several, of an empty one and of one that lies in pieces, a group that was never
/// finished, state put with a group and with a cursor, a cursor with a token and a detached one.
async fn fill(directory: &Path) -> Outcome<LogId> {
    let (wal, mut appender) = Wal::open(directory, Options::new(64 << 20))?;
    wal.create_cursor("local", Lsn::ZERO).await?;
    wal.create_cursor("gone", Lsn::ZERO).await?;
    appender.append(&[b"one"], GroupEnd::Ends)?;
    appender.put_state(b"position", Some(b"after one"));
    appender.flush_durable().await?;
    appender.append(&[b"two, "], GroupEnd::More)?;
    appender.append(&[b"and more of it"], GroupEnd::Ends)?;
    appender.append(&[b""], GroupEnd::Ends)?;
    appender.put_state(b"position", Some(b"after two"));
    appender.flush_durable().await?;
    appender.append(&[&vec![7; 300_000]], GroupEnd::Ends)?;
    appender.flush_durable().await?;
    appender.append(&[b"never finished"], GroupEnd::More)?;
    appender.flush_durable().await?;
    let state = vec![(b"sink".to_vec(), Some(b"local".to_vec()))];
    wal.ack("local", Lsn::new(3), b"token", state).await?;
    wal.detach_cursor("gone").await?;
    wal.shutdown().await?;
    Ok(wal.id())
}
