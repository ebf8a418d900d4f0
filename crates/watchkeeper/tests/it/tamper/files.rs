//! Files in memory, and what anybody can do to them who knows nothing of what they say.

use std::collections::BTreeMap;
use std::path::Path;

use crate::faults::Rng;

/// Files by their path below a directory.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// Most bytes that one change blanks: a block of the journal.
const BLANK_BYTES_MAX: usize = 4096;

/// A file that is not empty.
pub(super) fn any_of(rng: &mut Rng, files: &Files, wanted: impl Fn(&str) -> bool) -> Option<String> {
    let paths: Vec<&String> =
        files.iter().filter(|(path, bytes)| wanted(path) && !bytes.is_empty()).map(|(path, _)| path).collect();
    (!paths.is_empty()).then(|| paths[rng.index(paths.len())].clone())
}

fn any_mut<'f>(rng: &mut Rng, files: &'f mut Files, wanted: impl Fn(&str) -> bool) -> Option<&'f mut Vec<u8>> {
    let path = any_of(rng, files, wanted)?;
    files.get_mut(&path)
}

pub(super) fn flip_in(rng: &mut Rng, files: &mut Files, wanted: impl Fn(&str) -> bool) -> bool {
    let Some(bytes) = any_mut(rng, files, wanted) else { return false };
    let at = rng.index(bytes.len());
    bytes[at] ^= 1 << rng.below(8);
    true
}

pub(super) fn cut_in(rng: &mut Rng, files: &mut Files, wanted: impl Fn(&str) -> bool) -> bool {
    let Some(bytes) = any_mut(rng, files, wanted) else { return false };
    bytes.truncate(rng.index(bytes.len()));
    true
}

/// Bytes behind the end, none of them a zero: zeros behind a history are what a torn write leaves, and no change.
pub(super) fn lengthen_in(rng: &mut Rng, files: &mut Files, wanted: impl Fn(&str) -> bool) -> bool {
    let Some(bytes) = any_mut(rng, files, wanted) else { return false };
    bytes.extend((0..1 + rng.below(64)).map(|_| 1 + u8::try_from(rng.below(255)).unwrap()));
    true
}

pub(super) fn blank_in(rng: &mut Rng, files: &mut Files, wanted: impl Fn(&str) -> bool) -> bool {
    let Some(bytes) = any_mut(rng, files, wanted) else { return false };
    let from = rng.index(bytes.len());
    let to = (from + 1 + rng.index(BLANK_BYTES_MAX)).min(bytes.len());
    bytes[from..to].fill(0);
    true
}

pub(super) fn delete_in(rng: &mut Rng, files: &mut Files, wanted: impl Fn(&str) -> bool) -> bool {
    any_of(rng, files, wanted).and_then(|path| files.remove(&path)).is_some()
}

pub(super) fn swap_in(rng: &mut Rng, files: &mut Files, wanted: impl Fn(&str) -> bool) -> bool {
    let (Some(a), Some(b)) = (any_of(rng, files, &wanted), any_of(rng, files, &wanted)) else { return false };
    swap(files, &a, &b)
}

/// Swaps what lies in two files.
pub(super) fn swap(files: &mut Files, a: &str, b: &str) -> bool {
    let (Some(of_a), Some(of_b)) = (files.get(a).cloned(), files.get(b).cloned()) else { return false };
    files.insert(a.to_owned(), of_b);
    files.insert(b.to_owned(), of_a);
    true
}

/// Swaps two pieces of equal length in a file.
pub(super) fn swap_pieces(bytes: &mut [u8], a: usize, b: usize, length: usize) -> bool {
    let (a, b) = (a.min(b) * length, a.max(b) * length);
    if a == b || b + length > bytes.len() {
        return false;
    }
    let (left, right) = bytes.split_at_mut(b);
    left[a..a + length].swap_with_slice(&mut right[..length]);
    true
}

/// Puts all files of a part in the place of those that are there.
pub(super) fn replace(files: &mut Files, by: &Files, part: impl Fn(&str) -> bool) -> bool {
    files.retain(|path, _| !part(path));
    files.extend(by.iter().filter(|(path, _)| part(path)).map(|(path, bytes)| (path.clone(), bytes.clone())));
    true
}

/// The files in which two states differ.
pub(super) fn touched(before: &Files, after: &Files) -> Vec<String> {
    let all = before.keys().chain(after.keys().filter(|path| !before.contains_key(*path)));
    all.filter(|path| before.get(*path) != after.get(*path)).cloned().collect()
}

/// Reads everything below `path`, named by its place below `root`.
pub(super) fn collect(root: &Path, path: &Path, files: &mut Files) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            collect(root, &entry.unwrap().path(), files);
        }
    } else if path.exists() {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        files.insert(name, std::fs::read(path).unwrap());
    }
}

pub(super) fn put(dir: &Path, path: &str, bytes: &[u8]) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Objects may be read alone.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
        _ => std::fs::write(path, bytes).unwrap(),
    }
}

pub(super) fn copy(from: &Path, to: &Path) {
    let mut files = Files::new();
    collect(from, from, &mut files);
    files.iter().for_each(|(path, bytes)| put(to, path, bytes));
}

/// Looks at a directory as it is with a change, and puts back what it was.
pub(super) fn with_change<T>(dir: &Path, now: &Files, changed: &Files, look: impl FnOnce() -> T) -> T {
    let touched = touched(now, changed);
    for path in &touched {
        match changed.get(path) {
            Some(bytes) => put(dir, path, bytes),
            None => std::fs::remove_file(dir.join(path)).unwrap(),
        }
    }
    let seen = look();
    for path in &touched {
        match now.get(path) {
            Some(bytes) => put(dir, path, bytes),
            None => {
                std::fs::remove_file(dir.join(path)).unwrap();
                // A directory that the change has made goes, too; one that is not empty stays.
                let mut dir = dir.join(path);
                while dir.pop() && std::fs::remove_dir(&dir).is_ok() {}
            }
        }
    }
    seen
}
