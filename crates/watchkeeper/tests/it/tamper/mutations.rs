//! What an attacker does to a journal and its ledger. Each mutation says whether it could be done at the place that fell to it.

use super::Change;
use super::files::{Files, any_of, blank_in, cut_in, delete_in, flip_in, lengthen_in, replace, swap_in, swap_pieces};
use super::world::{PIN, World};
use crate::faults::Rng;

type Mutation = fn(&mut Rng, &World, &mut Files) -> bool;

/// The change after which two halves of the record contradict each other, both of them rightly signed or sealed.
const FORKED_LEDGER: &str = "ledger of the fork over this journal";

/// Every kind of change, by name.
const MUTATIONS: [(&str, Mutation); 27] = [
    ("bit flipped", flip),
    ("bits of a small file flipped", flip_small),
    ("file cut", cut),
    ("file made longer", lengthen),
    ("zeros over a part", blank),
    ("file deleted", delete),
    ("foreign file", foreign),
    ("two files swapped", swap_files),
    ("two tiles swapped", swap_tiles),
    ("two hashes of a tile swapped", swap_hashes),
    ("two leaves swapped in every tile", swap_leaves),
    ("two blocks of the journal swapped", swap_blocks),
    ("one record's block written over another's", copy_block),
    ("older file put back", replay),
    ("ledger rolled back", roll_back_ledger),
    ("ledger and pin rolled back", roll_back_ledger_and_pin),
    ("record, ledger and pin rolled back", roll_back_all),
    ("fork in its place", fork),
    (FORKED_LEDGER, fork_ledger),
    ("journal of the fork below this ledger", fork_journal),
    ("side chain in the history", side_chain),
    ("checkpoint of the fork published", fork_checkpoint),
    ("checkpoint of another log", other_checkpoint),
    ("another log in its place", other_log),
    ("history of the retired key", retired_history),
    ("signed by the retired key", retired_signature),
    ("history cut, repeated or reordered", reorder_history),
];

/// Every change that can be done in a world.
pub(super) fn changes(world: &World) -> Vec<(&'static str, Change<'_>)> {
    let is_possible = |name: &str| world.retired.is_some() || !name.contains("retired");
    let change = |(name, mutate): (&'static str, Mutation)| -> (&'static str, Change<'_>) {
        // A whole ledger with right signatures that is not this journal's: the journal is not the one that was sealed.
        let named: &[&str] = if name == FORKED_LEDGER { &["journal, record"] } else { &[] };
        let make = move |rng: &mut Rng, files: &mut Files| {
            mutate(rng, world, files).then(|| named.iter().map(|name| (*name).to_owned()).collect())
        };
        (name, Box::new(make))
    };
    MUTATIONS.into_iter().filter(|(name, _)| is_possible(name)).map(change).collect()
}

/// What must be named at least: where only a file beside it can tell, the part of the record to which the file belongs.
pub(super) fn part_of(path: &str) -> &str {
    ["journal", "ledger/tile", "ledger/checkpoint", "ledger/"].into_iter().find(|part| path.starts_with(part)).unwrap_or(path)
}

/// The length of a block of the journal.
const BLOCK: usize = 4096;

/// The length of a hash in a tile, and of an entry in a bundle of leaves.
const HASH: usize = 32;
const ENTRY: usize = 104;

/// What is evidence. Files that only help to read it are not: whoever changes those makes the record unreadable, and no lie.
fn is_evidence(path: &str) -> bool {
    (path.starts_with("journal/") || path.starts_with("ledger/")) && path != "journal/lock" || path == PIN
}

fn flip(rng: &mut Rng, _: &World, files: &mut Files) -> bool {
    flip_in(rng, files, is_evidence)
}

/// The journal is by far the largest; the small files matter most.
fn flip_small(rng: &mut Rng, _: &World, files: &mut Files) -> bool {
    flip_in(rng, files, |path| is_evidence(path) && !path.starts_with("journal/"))
}

fn cut(rng: &mut Rng, _: &World, files: &mut Files) -> bool {
    cut_in(rng, files, is_evidence)
}

fn lengthen(rng: &mut Rng, _: &World, files: &mut Files) -> bool {
    lengthen_in(rng, files, is_evidence)
}

fn blank(rng: &mut Rng, _: &World, files: &mut Files) -> bool {
    blank_in(rng, files, is_evidence)
}

fn delete(rng: &mut Rng, _: &World, files: &mut Files) -> bool {
    // Without a pin nothing is pinned: that takes the attacker no further, the record is as it was.
    delete_in(rng, files, |path| is_evidence(path) && path != PIN)
}

fn foreign(rng: &mut Rng, world: &World, files: &mut Files) -> bool {
    const NAMES: [&str; 12] = [
        "ledger/notes.txt",
        "ledger/checkpoint.bak",
        "ledger/tile/0/999",
        "ledger/tile/0/x001/000",
        "ledger/tile/0/000~",
        "ledger/tile/entries/005.p/7",
        "ledger/tile/7/000",
        "ledger/tile/9/000",
        "journal/notes.txt",
        "journal/00000000000000099999.wkj",
        "journal/7.wkj",
        "journal/.hidden",
    ];
    let name = NAMES[rng.index(NAMES.len())];
    // What lies there may be anything, a good file of this record included.
    let Some(source) = any_of(rng, &world.now, is_evidence) else { return false };
    files.insert(name.to_owned(), world.now[&source].clone()).is_none()
}

fn swap_files(rng: &mut Rng, _: &World, files: &mut Files) -> bool {
    // The pin is the published checkpoint, byte for byte.
    swap_in(rng, files, is_evidence)
}

fn swap_tiles(rng: &mut Rng, _: &World, files: &mut Files) -> bool {
    swap_in(rng, files, |path| path.starts_with("ledger/tile/"))
}

fn swap_hashes(rng: &mut Rng, _: &World, files: &mut Files) -> bool {
    let Some(path) = any_of(rng, files, |path| path.starts_with("ledger/tile/")) else { return false };
    let length = if path.contains("/entries/") { ENTRY } else { HASH };
    let Some(bytes) = files.get_mut(&path) else { return false };
    let pieces = bytes.len() / length;
    pieces > 1 && swap_pieces(bytes, rng.index(pieces), rng.index(pieces), length)
}

/// Swaps two leaves of a full tile with all that follows from it, as far as no signature is needed.
fn swap_leaves(rng: &mut Rng, _: &World, files: &mut Files) -> bool {
    let (entries, hashes) = ("ledger/tile/entries/000", "ledger/tile/0/000");
    let (a, b) = (rng.index(256), rng.index(256));
    if ![(entries, ENTRY), (hashes, HASH)]
        .iter()
        .all(|(path, length)| files.get_mut(*path).is_some_and(|bytes| swap_pieces(bytes, a, b, *length)))
    {
        return false;
    }
    let (leaves, _) = files[hashes].as_chunks::<HASH>();
    let root = ledger::root_of(leaves.iter().copied());
    let Some(above) = any_of(rng, files, |path| path.starts_with("ledger/tile/1/000")) else { return false };
    files.get_mut(&above).is_some_and(|bytes| {
        bytes[..HASH].copy_from_slice(&root);
        true
    })
}

fn blocks_of_journal<'a>(rng: &mut Rng, files: &'a mut Files) -> Option<&'a mut Vec<u8>> {
    let path = any_of(rng, files, |path| path.ends_with(".wkj"))?;
    files.get_mut(&path).filter(|bytes| bytes.len() > 3 * BLOCK)
}

fn swap_blocks(rng: &mut Rng, _: &World, files: &mut Files) -> bool {
    let Some(bytes) = blocks_of_journal(rng, files) else { return false };
    let count = bytes.len() / BLOCK;
    swap_pieces(bytes, rng.index(count), rng.index(count), BLOCK)
}

fn copy_block(rng: &mut Rng, _: &World, files: &mut Files) -> bool {
    let Some(bytes) = blocks_of_journal(rng, files) else { return false };
    let count = bytes.len() / BLOCK;
    let (from, to) = (rng.index(count) * BLOCK, rng.index(count) * BLOCK);
    bytes.copy_within(from..from + BLOCK, to);
    true
}

fn replay(rng: &mut Rng, world: &World, files: &mut Files) -> bool {
    let older = &world.older[rng.index(world.older.len())];
    // An older pin alone holds, because the history goes on from it; and a partial tile of a smaller tree agrees with the larger.
    let wanted = |path: &str| is_evidence(path) && path != PIN && (world.now.contains_key(path) || !path.contains(".p/"));
    let Some(path) = any_of(rng, older, wanted) else { return false };
    files.insert(path.clone(), older[&path].clone());
    true
}

fn roll_back_ledger(rng: &mut Rng, world: &World, files: &mut Files) -> bool {
    replace(files, &world.older[rng.index(world.older.len())], |path| path.starts_with("ledger/"))
}

fn roll_back_ledger_and_pin(rng: &mut Rng, world: &World, files: &mut Files) -> bool {
    replace(files, &world.older[rng.index(world.older.len())], |path| path.starts_with("ledger/") || path == PIN)
}

fn roll_back_all(rng: &mut Rng, world: &World, files: &mut Files) -> bool {
    replace(files, &world.older[rng.index(world.older.len())], is_evidence)
}

fn fork(_: &mut Rng, world: &World, files: &mut Files) -> bool {
    replace(files, &world.fork, is_evidence)
}

fn fork_ledger(_: &mut Rng, world: &World, files: &mut Files) -> bool {
    replace(files, &world.fork, |path| path.starts_with("ledger/") || path == PIN)
}

fn fork_journal(_: &mut Rng, world: &World, files: &mut Files) -> bool {
    replace(files, &world.fork, |path| path.starts_with("journal/"))
}

/// The checkpoints of a history, each with the empty line behind it.
fn notes(history: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(history).into_owned();
    let origin = text.lines().next().unwrap_or_default().to_owned();
    let mut notes: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        match notes.last_mut() {
            Some(note) if line.trim_end() != origin => note.push_str(line),
            _ => notes.push(line.to_owned()),
        }
    }
    notes.into_iter().map(String::into_bytes).collect()
}

fn size_of(note: &[u8]) -> u64 {
    String::from_utf8_lossy(note).lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or_default()
}

/// Puts a checkpoint where its size belongs, in the place of one of the same size.
fn insert_note(files: &mut Files, note: &[u8]) -> bool {
    let Some(history) = files.get_mut("ledger/checkpoints") else { return false };
    let mut all = notes(history);
    all.retain(|known| size_of(known) != size_of(note));
    let at = all.partition_point(|known| size_of(known) < size_of(note));
    all.insert(at, note.to_vec());
    *history = all.concat();
    true
}

/// One that is not in our history.
fn strange_note(rng: &mut Rng, world: &World, of: &Files) -> Option<Vec<u8>> {
    let ours = notes(&world.now["ledger/checkpoints"]);
    let strange: Vec<_> = notes(&of["ledger/checkpoints"]).into_iter().filter(|note| !ours.contains(note)).collect();
    (!strange.is_empty()).then(|| strange[rng.index(strange.len())].clone())
}

/// Checkpoints that are rightly signed, each larger than the one before, and of two trees.
fn side_chain(rng: &mut Rng, world: &World, files: &mut Files) -> bool {
    strange_note(rng, world, &world.fork).is_some_and(|note| insert_note(files, &note))
}

/// The published one and the newest of the history, so that they agree.
fn publish(files: &mut Files, note: &[u8]) -> bool {
    let Some(history) = files.get_mut("ledger/checkpoints") else { return false };
    let mut all = notes(history);
    all.pop();
    all.push(note.to_vec());
    *history = all.concat();
    let published = note.strip_suffix(b"\n").unwrap_or(note).to_vec();
    files.insert(PIN.to_owned(), published.clone());
    files.insert("ledger/checkpoint".to_owned(), published);
    true
}

fn fork_checkpoint(rng: &mut Rng, world: &World, files: &mut Files) -> bool {
    strange_note(rng, world, &world.fork).is_some_and(|note| publish(files, &note))
}

fn other_checkpoint(rng: &mut Rng, world: &World, files: &mut Files) -> bool {
    let Some(note) = strange_note(rng, world, &world.other) else { return false };
    if rng.below(2) == 0 { insert_note(files, &note) } else { publish(files, &note) }
}

fn other_log(rng: &mut Rng, world: &World, files: &mut Files) -> bool {
    let everything = rng.below(2) == 0;
    replace(files, &world.other, |path| is_evidence(path) && (everything || !path.starts_with("journal/")))
}

fn retired_history(rng: &mut Rng, world: &World, files: &mut Files) -> bool {
    let Some(retired) = &world.retired else { return false };
    match rng.below(3) {
        0 => replace(files, retired, is_evidence),
        1 => strange_note(rng, world, retired).is_some_and(|note| insert_note(files, &note)),
        _ => strange_note(rng, world, retired).is_some_and(|note| publish(files, &note)),
    }
}

/// The right size and root, by a key whose time is over.
fn retired_signature(rng: &mut Rng, world: &World, files: &mut Files) -> bool {
    let Some(note) = &world.retired_signature else { return false };
    if rng.below(2) == 0 {
        return publish(files, &[note, b"\n".as_slice()].concat());
    }
    files.insert("ledger/checkpoint".to_owned(), note.clone());
    true
}

fn reorder_history(rng: &mut Rng, _: &World, files: &mut Files) -> bool {
    let Some(history) = files.get_mut("ledger/checkpoints") else { return false };
    let mut all = notes(history);
    let (a, b) = (rng.index(all.len()), rng.index(all.len()));
    match rng.below(3) {
        0 => all.swap(a, b),
        1 => all.insert(b, all[a].clone()),
        // The newest is missed because it is published; one before it leaves a record that is as good, and says less.
        _ => drop(all.pop()),
    }
    *history = all.concat();
    true
}
