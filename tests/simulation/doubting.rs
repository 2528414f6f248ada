//! What the configuration says of doubts.

use std::time::Duration;

use replicator::config::DoubtPlan;
use replicator::model::OnDoubt;

use super::rng::Rng;
use super::tables::Name;

/// `source.on_doubt`, `tables[].on_doubt` and the pause between two reads, which is short: a history lasts for seconds.
pub fn doubts(rng: &mut Rng) -> DoubtPlan {
    let pause = rng.weighted(&[(4, 0), (1, 50), (1, 1_000), (1, 100_000)]);
    let on_doubt = rng.weighted(&[(7, OnDoubt::Reread), (1, OnDoubt::StopTable)]);
    let other = if on_doubt == OnDoubt::Reread { OnDoubt::StopTable } else { OnDoubt::Reread };
    let is_other = rng.weighted(&[(4, 0), (1, 20)]);
    let tables = Name::capturable().filter(|_| rng.percent(is_other)).map(|name| (name.table(), other)).collect();
    DoubtPlan { on_doubt, tables, reread_pause: Duration::from_millis(pause), ..DoubtPlan::default() }
}
