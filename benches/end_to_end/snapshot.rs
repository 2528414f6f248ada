//! Tables into the durable log, against the server's own client reading the table without storing it.

use std::process::Command;

use serde_json::json;

use crate::binlog::{forget, once, without_tls};
use crate::load;
use crate::measure::{Table, best, run};
use crate::support::programs;
use crate::support::sandbox::DATABASE;
use crate::support::server::{Kind, PASSWORD, USER};

const RUNS: u32 = 3;

pub async fn compare(kind: Kind, table: &mut Table) {
    let mut sandbox = load::sandbox(kind).await;
    load::bulk(&sandbox.server).await;
    sandbox.set("/sinks", json!([]));

    let (mut ours, mut references) = (Vec::new(), Vec::new());
    // In turns: the machine's own speed moves while this runs.
    for _ in 0..RUNS {
        let mut command = Command::new(programs::client(kind));
        command
            .args(["--no-defaults", "--quick", "--host=127.0.0.1"])
            .arg(format!("--port={}", sandbox.server.port()))
            .arg(format!("--user={USER}"))
            .arg(format!("--password={PASSWORD}"))
            .args(without_tls(kind))
            .args(["-e", "SELECT * FROM orders", DATABASE]);
        references.push(run(&mut command, &sandbox.path("reference.log")));
        forget(&sandbox);
        ours.push(once(&sandbox));
    }
    let (ours, reference) = (best(ours.into_iter()), best(references.into_iter()));

    table.ratio(&format!("snapshot to the log, {kind}"), ours.seconds, ("client --quick", reference.seconds), 1.2);
    table.value(&format!("snapshot to the log, {kind}: peak memory"), ours.peak_mb, "MB", 150.0);
}
