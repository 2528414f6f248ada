//! Known faults, one after another, each of which some history has to find.

use replicator::mutants::{Mutant, set};

use super::histories::{Failed, run};

/// Histories in which a fault has to be found.
const WITHIN: u64 = 20_000;

#[test]
fn every_known_fault_is_found() {
    // Findings by a panic are findings like others, and not worth a backtrace each.
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        set(Some(mutant));
        match (1..=WITHIN).find_map(|seed| run(seed).err()) {
            Some(Failed { seed, finding }) => eprintln!("{mutant:?}: found by history {seed}: {finding}"),
            None => missed.push(mutant),
        }
    }
    set(None);
    drop(std::panic::take_hook());
    assert!(missed.is_empty(), "{WITHIN} histories do not find {missed:?}");
}
