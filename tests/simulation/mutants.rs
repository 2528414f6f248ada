//! Known faults, one after another (or the one that `REPLICATOR_SIM_MUTANT` names), each of which some history has to find; and none is found where there is none.

use replicator::mutants::{Mutant, set};

use super::histories::{Failed, run};

/// Histories in which a fault has to be found.
const WITHIN: u64 = 20_000;

#[test]
fn every_known_fault_is_found() {
    // A finding by a panic is a finding like others, and not worth a backtrace.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let (mut missed, mut invented) = (Vec::new(), Vec::new());
    let wanted = std::env::var("REPLICATOR_SIM_MUTANT").ok();
    let is_wanted = |mutant: &Mutant| wanted.as_ref().is_none_or(|wanted| *wanted == format!("{mutant:?}"));
    for mutant in Mutant::ALL.into_iter().filter(is_wanted) {
        set(Some(mutant));
        let found = (1..=WITHIN).find_map(|seed| run(seed).err());
        set(None);
        let Some(Failed { seed, finding }) = found else {
            missed.push(mutant);
            continue;
        };
        eprintln!("{mutant:?}: found by history {seed}: {finding}");
        match run(seed) {
            Ok(_) => eprintln!("history {seed} without it: nothing found"),
            Err(failed) => invented.push(failed),
        }
    }
    std::panic::set_hook(hook);
    assert!(missed.is_empty(), "{WITHIN} histories do not find {missed:?}");
    assert!(invented.is_empty(), "found without any fault: {invented:?}");
}
