//! Whatever somebody changes in a record afterwards is found, and what is named is what they touched. Copies that nobody has
//! touched are never accused.
//!
//! A target is a [`World`]: the files of a specimen, what an attacker may have beside it (older states, a second history with the
//! same keys, another log), and how it is verified. The [`mutations`] know only files.

mod mutations;
mod world;

use std::collections::BTreeMap;
use std::time::Instant;

use self::mutations::{FORKED_LEDGER, MUTATIONS};
use self::world::{Files, World};
use crate::faults::{Rng, seed, setting};

/// Changes of each target in the ordinary suite. `WATCHKEEPER_TAMPERS` sets another number (`cargo xtask tamper`).
const CHANGES: u64 = 200;

/// Of so many changes one goes through the binary: starting it takes longer than all the rest.
const BINARY_ONE_IN: u64 = 8;

/// After so many changes an untouched copy is verified.
const UNTOUCHED_EVERY: u64 = 25;

#[test]
fn every_change_of_a_record_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::of_the_library(dir.path());
    endures("library", &world, setting("WATCHKEEPER_TAMPERS", CHANGES));
}

#[test]
fn the_binary_finds_every_change_of_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::of_the_binary(dir.path());
    endures("binary", &world, setting("WATCHKEEPER_TAMPERS", CHANGES) / BINARY_ONE_IN);
}

fn endures(target: &str, world: &World, changes: u64) {
    let began = Instant::now();
    let mut rng = Rng::new(seed());
    let (mut of_kind, mut exactly, mut missed) = (BTreeMap::new(), 0, Vec::new());
    assert_eq!(world.verify(), Ok(None), "nobody has touched it");
    let mut change = 0;
    while change < changes {
        let (name, mutate) = MUTATIONS[usize::try_from(change).unwrap() % MUTATIONS.len()];
        let mut files = world.now.clone();
        // Not everything can be done everywhere: then another place, and after some of them another kind.
        let applied = (0..20).any(|_| {
            files.clone_from(&world.now);
            mutate(&mut rng, world, &mut files) && files != world.now
        });
        change += 1;
        if !applied {
            assert!(!world.must_apply(name), "{target}: {name} could not be done");
            continue;
        }
        *of_kind.entry(name).or_insert(0_u64) += 1;
        let touched = touched(&world.now, &files);
        world.write(&files);
        let found = world.verify();
        world.restore(&touched);
        match found {
            Err(error) => missed.push(format!("change {change}, {name} of {touched:?}: cannot be verified: {error}")),
            Ok(None) => missed.push(format!("change {change}, {name} of {touched:?}: not found")),
            Ok(Some(fault)) if touched.iter().any(|path| fault.contains(path.as_str())) => exactly += 1,
            Ok(Some(fault)) if touched.iter().any(|path| fault.contains(kind_of(path))) => {}
            // A whole ledger with right signatures that is not this journal's: the journal is not the one that was sealed.
            Ok(Some(fault)) if name == FORKED_LEDGER && fault.contains("journal, record") => {}
            Ok(Some(fault)) => missed.push(format!("change {change}, {name} of {touched:?}: another place is named: {fault}")),
        }
        if change % UNTOUCHED_EVERY == 0 {
            assert_eq!(world.verify(), Ok(None), "nobody has touched it, after {change} changes");
        }
    }
    let done: u64 = of_kind.values().sum();
    println!(
        "tamper {target}: {done} changes, seed {}, {} files, {exactly} times the very file was named, {:.3} s a change; {of_kind:?}",
        seed(),
        world.now.len(),
        began.elapsed().as_secs_f64() / changes as f64
    );
    assert!(missed.is_empty(), "seed {}: {} of {done} changes:\n{}", seed(), missed.len(), missed.join("\n"));
}

/// The files in which two states differ.
fn touched(before: &Files, after: &Files) -> Vec<String> {
    let all = before.keys().chain(after.keys().filter(|path| !before.contains_key(*path)));
    all.filter(|path| before.get(*path) != after.get(*path)).cloned().collect()
}

/// What must be named at least: where only a file beside it can tell, the part of the record to which the file belongs.
fn kind_of(path: &str) -> &str {
    ["journal", "ledger/tile", "ledger/checkpoint", "ledger/"].into_iter().find(|kind| path.starts_with(kind)).unwrap_or(path)
}
