//! Matching: one pass of a shared literal index over a layer, then only the regexes whose literals are there.
//!
//! The cost of a layer is one Aho-Corasick pass, one look at each pattern's literals (bit tests), and for patterns that
//! pass, a regex over the neighbourhood of their first literals. All of it is linear in the text.

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError, MatchKind};
use regex_automata::Input;

use super::{Reads, Signature};

/// Bytes around a literal in which its pattern is looked for. Patterns are sentences or less.
const NEAR_BYTES: usize = 400;
/// Places of one literal that are remembered; of a literal that is everywhere, the whole layer is searched.
const PLACES_MAX: usize = 256;
/// Matches of one pattern that are kept of a layer.
const MATCHES_MAX: usize = 4;

/// Words that, turned by ROT13 or reversed, give reason to turn the text back.
const TELLING_WORDS: [&str; 12] = [
    "ignore",
    "instructions",
    "previous",
    "system",
    "prompt",
    "reveal",
    "password",
    "forget",
    "pretend",
    "assistant",
    "disregard",
    "please",
];
/// Telling words it takes.
const TELLING_WORDS_MIN: u32 = 2;

/// A match of a pattern in a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) signature: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A transformation that the text gives reason to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trigger {
    Rot13,
    Reversed,
}

/// The literal index of one view, and the patterns behind it.
#[derive(Debug)]
pub(crate) struct Index {
    literals: AhoCorasick,
    atoms: usize,
    patterns: Vec<Gated>,
    /// Atoms that are telling words turned, by transformation.
    triggers: Vec<(Trigger, Vec<usize>)>,
}

#[derive(Debug)]
struct Gated {
    signature: usize,
    pattern: usize,
    groups: Vec<Vec<usize>>,
}

impl Index {
    pub(crate) fn new(signatures: &[Signature], reads: Reads) -> Result<Self, BuildError> {
        let mut atoms = Atoms::default();
        let mut patterns = Vec::new();
        for (signature, of) in signatures.iter().enumerate() {
            for (pattern, of) in of.patterns.iter().enumerate().filter(|(_, of)| of.reads == reads) {
                let groups = of.atoms.iter().map(|group| group.iter().map(|atom| atoms.index(atom)).collect()).collect();
                patterns.push(Gated { signature, pattern, groups });
            }
        }
        let mut triggers = Vec::new();
        if reads == Reads::Text {
            let rot13 = |word: &str| crate::view::rot13(word).0;
            let reversed = |word: &str| crate::view::reversed(word).0;
            triggers.push((Trigger::Rot13, TELLING_WORDS.map(|word| atoms.index(&rot13(word))).to_vec()));
            triggers.push((Trigger::Reversed, TELLING_WORDS.map(|word| atoms.index(&reversed(word))).to_vec()));
            // One over the other: what is seen once the text is turned back gives reason to reverse it.
            triggers.push((Trigger::Rot13, TELLING_WORDS.map(|word| atoms.index(&rot13(&reversed(word)))).to_vec()));
        }
        let literals = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::DFA))
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(reads == Reads::Raw)
            .build(&atoms.list)?;
        Ok(Self { literals, atoms: atoms.list.len(), patterns, triggers })
    }

    /// Every match in a layer of text.
    pub(crate) fn find(
        &self,
        signatures: &[Signature],
        text: &str,
        only: &dyn Fn(&Signature) -> bool,
    ) -> (Vec<Found>, Vec<Trigger>) {
        let seen = self.places(text);
        let mut found = Vec::new();
        for gated in &self.patterns {
            if !gated.groups.iter().all(|group| group.iter().any(|&atom| !seen[atom].is_empty())) {
                continue;
            }
            let signature = &signatures[gated.signature];
            if only(signature) {
                search(signature, gated, text, &seen, &mut found);
            }
        }
        let triggers = self
            .triggers
            .iter()
            .filter(|(_, words)| words.iter().map(|&word| u32::from(!seen[word].is_empty())).sum::<u32>() >= TELLING_WORDS_MIN);
        (found, triggers.map(|(trigger, _)| *trigger).collect())
    }

    /// Where each atom ends.
    fn places(&self, text: &str) -> Vec<Vec<u32>> {
        let mut places = vec![Vec::new(); self.atoms];
        for literal in self.literals.find_overlapping_iter(text) {
            let of: &mut Vec<u32> = &mut places[literal.pattern().as_usize()];
            if of.len() <= PLACES_MAX {
                of.push(u32::try_from(literal.end()).unwrap_or(u32::MAX));
            }
        }
        places
    }
}

#[derive(Default)]
struct Atoms {
    list: Vec<String>,
    by_text: BTreeMap<String, usize>,
}

impl Atoms {
    fn index(&mut self, atom: &str) -> usize {
        *self.by_text.entry(atom.to_owned()).or_insert_with(|| {
            self.list.push(atom.to_owned());
            self.list.len() - 1
        })
    }
}

fn search(signature: &Signature, gated: &Gated, text: &str, seen: &[Vec<u32>], found: &mut Vec<Found>) {
    let pattern = &signature.patterns[gated.pattern];
    let Some(regex) = pattern.regex.get() else { return };
    let mut matches = 0;
    for (start, end) in neighbourhoods(&gated.groups[0], text, seen) {
        for at in regex.find_iter(Input::new(text).range(start..end)) {
            let near = Input::new(text).range(near_start(text, at.start())..near_end(text, at.end()));
            let excused = pattern.unless.as_ref().and_then(super::LazyRegex::get).is_some_and(|unless| unless.is_match(near));
            if at.is_empty() || excused {
                continue;
            }
            found.push(Found { signature: gated.signature, start: at.start(), end: at.end() });
            matches += 1;
            if matches == MATCHES_MAX {
                return;
            }
        }
    }
}

/// The stretches of text around the atoms of a group, in order and apart from each other.
fn neighbourhoods(group: &[usize], text: &str, seen: &[Vec<u32>]) -> Vec<(usize, usize)> {
    if group.iter().any(|&atom| seen[atom].len() > PLACES_MAX) {
        return vec![(0, text.len())];
    }
    let mut places: Vec<usize> = group.iter().flat_map(|&atom| &seen[atom]).map(|&place| place as usize).collect();
    places.sort_unstable();
    let mut merged: Vec<(usize, usize)> = Vec::new();
    for place in places {
        let (start, end) = (near_start(text, place), near_end(text, place));
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = end,
            _ => merged.push((start, end)),
        }
    }
    merged
}

fn near_start(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at.saturating_sub(NEAR_BYTES))
}

fn near_end(text: &str, at: usize) -> usize {
    text.floor_char_boundary((at + NEAR_BYTES).min(text.len()))
}
