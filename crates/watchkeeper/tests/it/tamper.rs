//! Whatever somebody changes in a record afterwards is found, and what is named is what they touched. Copies that nobody has
//! touched are never accused.
//!
//! A [`Target`] is a specimen in files, what an attacker can do to it with what they may have beside it (older states, a second
//! history with the same keys, another log, keys that were retired), and how it is verified.
//!
//! What nobody can find is no change here: files that are derived and built anew (`store/`), the record's end that no checkpoint
//! covers yet, a pin that is taken away or was right earlier (the record is as it was), objects of segments that are gone, which a
//! lock may keep and no key opens, and a whole bundle that was right earlier. Nor is what the holder of the log's present key states
//! without contradicting the tree: who took a bundle out and how many records there are, or that a segment's time was over.

mod archived;
mod archives;
mod bundle;
mod bundle_changes;
mod files;
mod log;
mod mutations;
mod objects;
mod world;

use std::collections::BTreeMap;
use std::time::Instant;

use self::archived::Archived;
use self::bundle::Bundles;
use self::files::{Files, touched};
use self::objects::ObjectStore;
use self::world::World;
use crate::faults::{Rng, seed, setting};

/// Changes in the ordinary suite, over all targets. `WATCHKEEPER_TAMPERS` sets another number (`cargo xtask tamper`).
const CHANGES: u64 = 600;

/// Of so many changes of a target one more goes through the binary: starting it takes longer than all the rest.
const BINARY_ONE_IN: u64 = 8;

/// After so many changes an untouched copy is verified.
const UNTOUCHED_EVERY: u64 = 25;

/// What somebody does to the files: `None` where it cannot be done at the place that fell to them; else what is rightly named, too,
/// where that is none of the files.
type Change<'w> = Box<dyn Fn(&mut Rng, &mut Files) -> Option<Vec<String>> + 'w>;

/// What verification says of files: the fault, if there is one, or why it cannot say anything.
type Verify<'w> = Box<dyn Fn(&Files) -> Result<Option<String>, String> + 'w>;

/// What is changed, how, and who is to find it.
struct Target<'w> {
    name: &'static str,
    now: &'w Files,
    changes: Vec<(&'static str, Change<'w>)>,
    verify: Verify<'w>,
    /// What must be named of a file that was touched, at least: where only a file beside it can tell, the part to which it belongs.
    name_of: fn(&str) -> &str,
    /// Files that whoever changes another one writes anew, because they follow from it: to name one of them says nothing.
    is_made_anew: fn(&str) -> bool,
}

/// The share of a target in all changes, in percent.
fn share(percent: u64) -> u64 {
    (setting("WATCHKEEPER_TAMPERS", CHANGES) * percent).div_ceil(100)
}

#[test]
fn every_change_of_a_record_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    World::of_the_library(dir.path()).target("journal and ledger").endures(share(30));
}

#[test]
fn the_binary_finds_every_change_of_a_record() {
    let dir = tempfile::tempdir().unwrap();
    World::of_the_binary(dir.path()).target("journal and ledger, by the binary").endures(share(30) / BINARY_ONE_IN);
}

#[test]
fn every_change_of_a_data_directory_with_an_archive_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let archived = Archived::new(dir.path());
    archived.target("data directory").endures(share(25));
    archived.by_the_binary("data directory, by the binary").endures(share(25) / BINARY_ONE_IN);
}

#[test]
fn every_change_of_an_object_store_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    ObjectStore::new(dir.path()).target("object store").endures(share(20));
}

#[test]
fn every_change_of_a_bundle_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let bundles = Bundles::new(dir.path());
    bundles.target("bundle").endures(share(25));
    bundles.by_the_binary("bundle, by the binary").endures(share(25) / BINARY_ONE_IN);
}

impl Target<'_> {
    fn endures(&self, changes: u64) {
        let began = Instant::now();
        let mut rng = Rng::new(seed());
        let (mut of_kind, mut exactly, mut missed) = (BTreeMap::new(), 0, Vec::new());
        assert_eq!((self.verify)(self.now), Ok(None), "{}: nobody has touched it", self.name);
        for change in 0..changes {
            let (kind, make) = &self.changes[usize::try_from(change).unwrap() % self.changes.len()];
            // Not everything can be done everywhere: then at another place.
            let made = (0..400).find_map(|_| {
                let mut files = self.now.clone();
                let named = make(&mut rng, &mut files)?;
                (files != *self.now).then_some((files, named))
            });
            let (files, named) = made.unwrap_or_else(|| panic!("{}: {kind} could not be done, change {change}", self.name));
            *of_kind.entry(*kind).or_insert(0_u64) += 1;
            let mut touched = touched(self.now, &files);
            if touched.iter().any(|path| !(self.is_made_anew)(path)) {
                touched.retain(|path| !(self.is_made_anew)(path));
            }
            let miss = |what: &str| {
                let touched = touched.iter().take(12).map(String::as_str).collect::<Vec<_>>().join(" ");
                format!("change {change}, {kind} of {touched}: {what}")
            };
            match (self.verify)(&files) {
                Err(error) => missed.push(miss(&format!("cannot be verified: {error}"))),
                Ok(None) => missed.push(miss("not found")),
                Ok(Some(fault)) if touched.iter().any(|path| fault.contains(path.as_str())) => exactly += 1,
                Ok(Some(fault)) if touched.iter().any(|path| fault.contains((self.name_of)(path))) => {}
                Ok(Some(fault)) if named.iter().any(|name| fault.contains(name.as_str())) => {}
                Ok(Some(fault)) => missed.push(miss(&format!("another place is named: {fault}"))),
            }
            if (change + 1) % UNTOUCHED_EVERY == 0 {
                assert_eq!((self.verify)(self.now), Ok(None), "{}: nobody has touched it, after {change}", self.name);
            }
        }
        println!(
            "tamper {}: {changes} changes, seed {}, {} files, {exactly} times the very file was named, {:.3} s a change; {of_kind:?}",
            self.name,
            seed(),
            self.now.len(),
            began.elapsed().as_secs_f64() / changes as f64
        );
        let (name, seed, count) = (self.name, seed(), missed.len());
        assert!(missed.is_empty(), "{name}, seed {seed}: {count} of {changes} changes:\n{}", missed.join("\n"));
    }
}
