//! What an attacker does to an archive: its manifest, and the store of its objects, which is the same in a directory and in a bucket.

use super::Change;
use super::files::{Files, any_of, blank_in, cut_in, delete_in, flip_in, lengthen_in, replace, swap_in};
use crate::faults::Rng;

/// The manifest, and the copies of its generations.
pub(super) const MANIFEST: &str = "archive/manifest";
const COPIES: &str = "archive/objects/manifest/";
const SEGMENTS: &str = "archive/objects/segments/";

/// What an attacker has of an archive.
#[derive(Clone, Copy)]
pub(super) struct Collected<'w> {
    pub(super) now: &'w Files,
    /// What it was before, oldest first.
    pub(super) older: &'w [Files],
    /// Goes on from an older state with other records, signed with the key that the log has now.
    pub(super) fork: &'w Files,
    /// The archive of another log.
    pub(super) other: &'w Files,
}

/// The manifest and the objects.
pub(super) fn is_archive(path: &str) -> bool {
    path == MANIFEST || path.starts_with("archive/objects/")
}

/// How verification names a file: objects by what they are called in the store.
pub(super) fn name_of(path: &str) -> &str {
    path.strip_prefix("archive/objects/").unwrap_or(path)
}

/// Every change of an archive that takes no key.
pub(super) fn changes(collected: Collected<'_>) -> Vec<(&'static str, Change<'_>)> {
    type Make = fn(&mut Rng, Collected<'_>, &mut Files) -> bool;
    let kinds: [(&'static str, Make); 19] = [
        ("bit flipped in the archive", |rng, _, files| flip_in(rng, files, is_archive)),
        ("bit flipped in a manifest", |rng, _, files| flip_in(rng, files, |path| path.contains("manifest"))),
        ("file of the archive cut", |rng, _, files| cut_in(rng, files, is_archive)),
        ("file of the archive made longer", |rng, _, files| lengthen_in(rng, files, is_archive)),
        ("zeros over a part of the archive", |rng, _, files| blank_in(rng, files, is_archive)),
        ("file of the archive deleted", |rng, _, files| delete_in(rng, files, is_archive)),
        ("two files of the archive swapped", |rng, _, files| swap_in(rng, files, is_archive)),
        ("two segments swapped", |rng, _, files| swap_in(rng, files, |path| path.starts_with(SEGMENTS))),
        ("foreign object", foreign),
        ("segment of another log in the place of one", segment_of_another_log),
        ("lines of the manifest dropped, doubled or reordered", edit_lines),
        ("number in the manifest changed", edit_number),
        ("generations of the manifest dropped, doubled or reordered", edit_generations),
        ("manifest rolled back", roll_back_manifest),
        ("manifest and its copies rolled back", roll_back_manifests),
        ("archive rolled back", roll_back),
        ("older file put back in the archive", put_back),
        ("archive of a fork", |_, collected, files| replace(files, collected.fork, is_archive)),
        ("archive of another log", other_log),
    ];
    let change = |(name, make): (&'static str, Make)| -> (&'static str, Change<'_>) {
        (name, Box::new(move |rng: &mut Rng, files: &mut Files| make(rng, collected, files).then(Vec::new)))
    };
    kinds.into_iter().map(change).collect()
}

fn foreign(rng: &mut Rng, collected: Collected<'_>, files: &mut Files) -> bool {
    let names = [
        format!("{SEGMENTS}{}.parquet.age", "ab".repeat(32)),
        format!("{SEGMENTS}readme.txt"),
        format!("{COPIES}{:020}", 9_999),
        format!("{COPIES}1"),
        "archive/objects/x".to_owned(),
        "archive/objects/more/x".to_owned(),
    ];
    // What lies there may be anything, a good object of this archive included.
    let Some(source) = any_of(rng, collected.now, is_archive) else { return false };
    files.insert(names[rng.index(names.len())].clone(), collected.now[&source].clone()).is_none()
}

fn segment_of_another_log(rng: &mut Rng, collected: Collected<'_>, files: &mut Files) -> bool {
    let is_segment = |path: &str| path.starts_with(SEGMENTS);
    let (Some(theirs), Some(ours)) = (any_of(rng, collected.other, is_segment), any_of(rng, files, is_segment)) else {
        return false;
    };
    // Under its own name, or under that of one of ours.
    let name = if rng.below(2) == 0 { theirs.clone() } else { ours };
    files.insert(name, collected.other[&theirs].clone());
    true
}

/// The generations of a manifest: the text of each and its signatures.
fn generations(manifest: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(manifest).into_owned();
    let parts: Vec<&str> = text.split_terminator("\n\n").collect();
    parts.chunks_exact(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
}

/// Writes the manifest, and where the attacker thinks of it its copies.
fn write(rng: &mut Rng, files: &mut Files, generations: &[(String, String)]) -> bool {
    let all = generations.iter().map(|(text, signatures)| format!("{text}\n\n{signatures}\n\n"));
    files.insert(MANIFEST.to_owned(), all.collect::<String>().into_bytes());
    if rng.below(2) == 0 {
        files.retain(|path, _| !path.starts_with(COPIES));
        for ((text, signatures), number) in generations.iter().zip(1..) {
            files.insert(format!("{COPIES}{number:020}"), format!("{text}\n\n{signatures}\n").into_bytes());
        }
    }
    true
}

fn edit_lines(rng: &mut Rng, _: Collected<'_>, files: &mut Files) -> bool {
    let mut all = generations(&files[MANIFEST]);
    let place = rng.index(all.len());
    let mut lines: Vec<String> = all[place].0.lines().map(str::to_owned).collect();
    let (a, b) = (rng.index(lines.len()), rng.index(lines.len()));
    match rng.below(3) {
        0 => lines.swap(a, b),
        1 => lines.insert(b, lines[a].clone()),
        _ => drop(lines.remove(a)),
    }
    all[place].0 = lines.join("\n");
    write(rng, files, &all)
}

fn edit_number(rng: &mut Rng, _: Collected<'_>, files: &mut Files) -> bool {
    let mut all = generations(&files[MANIFEST]);
    let place = rng.index(all.len());
    let mut text = all[place].0.clone().into_bytes();
    let digits: Vec<usize> = (0..text.len()).filter(|at| text[*at].is_ascii_digit()).collect();
    let at = digits[rng.index(digits.len())];
    text[at] = b'0' + (text[at] - b'0' + 1 + u8::try_from(rng.below(9)).unwrap()) % 10;
    all[place].0 = String::from_utf8(text).unwrap();
    write(rng, files, &all)
}

fn edit_generations(rng: &mut Rng, _: Collected<'_>, files: &mut Files) -> bool {
    let mut all = generations(&files[MANIFEST]);
    let (a, b) = (rng.index(all.len()), rng.index(all.len()));
    match rng.below(3) {
        0 => all.swap(a, b),
        1 => all.insert(b, all[a].clone()),
        _ => drop(all.remove(a)),
    }
    write(rng, files, &all)
}

fn roll_back_manifest(rng: &mut Rng, collected: Collected<'_>, files: &mut Files) -> bool {
    replace(files, &collected.older[rng.index(collected.older.len())], |path| path == MANIFEST)
}

fn roll_back_manifests(rng: &mut Rng, collected: Collected<'_>, files: &mut Files) -> bool {
    let older = &collected.older[rng.index(collected.older.len())];
    replace(files, older, |path| path == MANIFEST || path.starts_with(COPIES))
}

fn roll_back(rng: &mut Rng, collected: Collected<'_>, files: &mut Files) -> bool {
    replace(files, &collected.older[rng.index(collected.older.len())], is_archive)
}

/// An older file in the place of one that is there: one that is gone would be an object that a lock may have kept.
fn put_back(rng: &mut Rng, collected: Collected<'_>, files: &mut Files) -> bool {
    let older = &collected.older[rng.index(collected.older.len())];
    let Some(from) = any_of(rng, older, is_archive) else { return false };
    let into = if collected.now.contains_key(&from) {
        Some(from.clone())
    } else {
        any_of(rng, files, |path| path.starts_with(SEGMENTS))
    };
    into.is_some_and(|into| {
        files.insert(into, older[&from].clone());
        true
    })
}

fn other_log(rng: &mut Rng, collected: Collected<'_>, files: &mut Files) -> bool {
    let everything = rng.below(2) == 0;
    replace(files, collected.other, |path| if everything { is_archive(path) } else { path == MANIFEST })
}

/// Everything that is another way in another state: what somebody does who forges consistently.
pub(super) fn all_of<'w>(states: &'w [(Files, Vec<String>)]) -> Change<'w> {
    Box::new(move |rng: &mut Rng, files: &mut Files| {
        let (state, named) = &states[rng.index(states.len())];
        files.clone_from(state);
        Some(named.clone())
    })
}
