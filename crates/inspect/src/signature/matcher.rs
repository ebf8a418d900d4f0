//! Matching: one pass of a shared literal index over a layer, then only the regexes whose literals are there.
//!
//! The cost of a layer is one Aho-Corasick pass, a look at the patterns that share a literal with the text, and for those that have all
//! their literals there, a regex over the neighbourhood of the first ones. Nothing is done for a signature that has no literal in the
//! text, however many there are. Patterns without literals are few ([`super::load`] sees to it) and are asked together. All of it is
//! linear in the text.

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError, MatchKind};
use regex_automata::Input;

use super::lazy::LazySet;
use super::{Pattern, Signature};
use crate::format::PatternView;

/// Bytes around a match in which its `unless` is looked for.
const UNLESS_BYTES: usize = 400;
/// Places of one literal that are remembered; of a literal that is everywhere, the whole layer is searched.
const PLACES_MAX: usize = 256;
/// Matches of one pattern that are kept of a layer.
const MATCHES_MAX: usize = 4;
/// Bytes of literals up to which the index is a DFA: the fastest, and it takes about 250 bytes for each of these. Beyond it is an NFA
/// that lies in one piece, which is small whatever there is.
const DFA_BYTES_MAX: usize = 16 * 1024;

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
const TELLING_WORDS_MIN: usize = 2;

/// A match of a pattern in a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) signature: usize,
    pub(crate) pattern: usize,
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
    /// Patterns that an atom in the text is reason to look at, by atom: those of whose first group it is.
    patterns_of: Vec<Vec<u32>>,
    patterns: Vec<Gated>,
    /// Patterns without atoms, and what tells which of them match.
    ungated: (Vec<Gated>, LazySet),
    /// Atoms that are telling words turned, by transformation.
    triggers: Vec<(Trigger, Vec<u32>)>,
}

#[derive(Debug)]
struct Gated {
    signature: usize,
    pattern: usize,
    groups: Vec<Vec<u32>>,
}

/// What an index notes while it reads a layer. It is kept for all layers of a text, so that a layer costs what it holds and not what
/// there is.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// By atom: where its places are in `places`, from 1; 0 for one that was not seen.
    slots: Vec<u32>,
    /// Atoms that were seen, in the order of `places`.
    seen: Vec<u32>,
    /// Where they end.
    places: Vec<Vec<u32>>,
    /// Patterns that were looked at, and what that took.
    looked_at: Vec<bool>,
    candidates: Vec<u32>,
}

impl Index {
    /// The index of a view: `Raw` or `Text`.
    pub(crate) fn new(signatures: &[Signature], view: PatternView) -> Result<Self, BuildError> {
        let mut atoms = Atoms::default();
        let (mut patterns, mut ungated, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        for (signature, of) in signatures.iter().enumerate() {
            for (pattern, of) in of.patterns.iter().enumerate().filter(|(_, of)| of.view == view || of.view == PatternView::Both)
            {
                let groups: Vec<Vec<u32>> =
                    of.atoms.iter().map(|group| group.iter().map(|atom| atoms.index(atom)).collect()).collect();
                let gated = Gated { signature, pattern, groups };
                if of.atoms.is_empty() {
                    sources.push(of.regex.source().to_owned());
                    ungated.push(gated);
                } else {
                    patterns.push(gated);
                }
            }
        }
        let mut triggers = Vec::new();
        if view == PatternView::Text {
            let rot13 = |word: &str| crate::view::rot13(word).0;
            let reversed = |word: &str| crate::view::reversed(word).0;
            triggers.push((Trigger::Rot13, TELLING_WORDS.map(|word| atoms.index(&rot13(word))).to_vec()));
            triggers.push((Trigger::Reversed, TELLING_WORDS.map(|word| atoms.index(&reversed(word))).to_vec()));
            // One over the other: what is seen once the text is turned back gives reason to reverse it.
            triggers.push((Trigger::Rot13, TELLING_WORDS.map(|word| atoms.index(&rot13(&reversed(word)))).to_vec()));
        }
        let bytes: usize = atoms.list.iter().map(String::len).sum();
        let kind = if bytes <= DFA_BYTES_MAX { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
        let literals = AhoCorasick::builder()
            .kind(Some(kind))
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(view == PatternView::Raw)
            .build(&atoms.list)?;
        let mut patterns_of = vec![Vec::new(); atoms.list.len()];
        for (number, gated) in (0_u32..).zip(&patterns) {
            gated.groups.iter().take(1).flatten().for_each(|&atom| patterns_of[atom as usize].push(number));
        }
        Ok(Self { literals, patterns_of, patterns, ungated: (ungated, LazySet::new(sources)), triggers })
    }

    /// Bytes of the literal index.
    pub(crate) fn bytes(&self) -> usize {
        self.literals.memory_usage()
    }

    /// How many patterns there are, and how many of them have no atoms.
    pub(crate) fn pattern_counts(&self) -> (usize, usize) {
        (self.patterns.len() + self.ungated.0.len(), self.ungated.0.len())
    }

    /// Every match in a layer of text, of the patterns that `only` takes.
    pub(crate) fn find(
        &self,
        signatures: &[Signature],
        text: &str,
        scratch: &mut Scratch,
        only: &dyn Fn(usize, &Pattern) -> bool,
    ) -> (Vec<Found>, Vec<Trigger>) {
        scratch.read(self, text);
        let mut found = Vec::new();
        let mut search = |gated: &Gated, scratch: &Scratch| {
            let pattern = &signatures[gated.signature].patterns[gated.pattern];
            if only(gated.signature, pattern) {
                search(pattern, gated, text, scratch, &mut found);
            }
        };
        for &number in &scratch.candidates {
            search(&self.patterns[number as usize], scratch);
        }
        for number in self.ungated.1.matching(text) {
            search(&self.ungated.0[number], scratch);
        }
        let is_called_for = |words: &[u32]| words.iter().filter(|&&word| scratch.has(word)).count() >= TELLING_WORDS_MIN;
        let triggers = self.triggers.iter().filter(|(_, words)| is_called_for(words)).map(|(trigger, _)| *trigger).collect();
        (found, triggers)
    }
}

impl Scratch {
    /// Notes where the atoms of an index stand in a text, and which patterns have all theirs there.
    fn read(&mut self, index: &Index, text: &str) {
        for atom in self.seen.drain(..) {
            self.slots[atom as usize] = 0;
        }
        self.slots.resize(index.patterns_of.len(), 0);
        self.looked_at.resize(index.patterns.len(), false);
        for literal in index.literals.find_overlapping_iter(text) {
            let atom = literal.pattern().as_usize();
            if self.slots[atom] == 0 {
                self.seen.push(literal.pattern().as_u32());
                let slot = self.seen.len();
                if self.places.len() < slot {
                    self.places.push(Vec::new());
                }
                self.places[slot - 1].clear();
                self.slots[atom] = u32::try_from(slot).unwrap_or(u32::MAX);
            }
            let places = &mut self.places[self.slots[atom] as usize - 1];
            if places.len() <= PLACES_MAX {
                places.push(u32::try_from(literal.end()).unwrap_or(u32::MAX));
            }
        }
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        for &atom in &self.seen {
            for &number in &index.patterns_of[atom as usize] {
                if !std::mem::replace(&mut self.looked_at[number as usize], true) {
                    candidates.push(number);
                }
            }
        }
        candidates.iter().for_each(|&number| self.looked_at[number as usize] = false);
        let has_all =
            |number: &u32| index.patterns[*number as usize].groups.iter().all(|group| group.iter().any(|&atom| self.has(atom)));
        candidates.retain(has_all);
        candidates.sort_unstable();
        self.candidates = candidates;
    }

    fn has(&self, atom: u32) -> bool {
        self.slots[atom as usize] != 0
    }

    /// Where an atom ends.
    fn places(&self, atom: u32) -> &[u32] {
        match self.slots[atom as usize] {
            0 => &[],
            slot => &self.places[slot as usize - 1],
        }
    }
}

#[derive(Default)]
struct Atoms {
    list: Vec<String>,
    by_text: BTreeMap<String, u32>,
}

impl Atoms {
    fn index(&mut self, atom: &str) -> u32 {
        *self.by_text.entry(atom.to_owned()).or_insert_with(|| {
            self.list.push(atom.to_owned());
            u32::try_from(self.list.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

fn search(pattern: &Pattern, gated: &Gated, text: &str, scratch: &Scratch, found: &mut Vec<Found>) {
    let Some(regex) = pattern.regex.get() else { return };
    let mut matches = 0;
    for (start, end) in neighbourhoods(pattern, gated, text, scratch) {
        for at in regex.find_iter(Input::new(text).range(start..end)) {
            let near = Input::new(text).range(before(text, at.start(), UNLESS_BYTES)..behind(text, at.end(), UNLESS_BYTES));
            let excused = pattern.unless.as_ref().and_then(super::LazyRegex::get).is_some_and(|unless| unless.is_match(near));
            if at.is_empty() || excused {
                continue;
            }
            found.push(Found { signature: gated.signature, pattern: gated.pattern, start: at.start(), end: at.end() });
            matches += 1;
            if matches == MATCHES_MAX {
                return;
            }
        }
    }
}

/// The stretches of text around the atoms of the first group, in order and apart from each other.
fn neighbourhoods(pattern: &Pattern, gated: &Gated, text: &str, scratch: &Scratch) -> Vec<(usize, usize)> {
    let (Some(near), Some(group)) = (pattern.near, gated.groups.first()) else { return vec![(0, text.len())] };
    if group.iter().any(|&atom| scratch.places(atom).len() > PLACES_MAX) {
        return vec![(0, text.len())];
    }
    let mut places: Vec<usize> = group.iter().flat_map(|&atom| scratch.places(atom)).map(|&place| place as usize).collect();
    places.sort_unstable();
    let mut merged: Vec<(usize, usize)> = Vec::new();
    for place in places {
        let (start, end) = (before(text, place, near), behind(text, place, near));
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = end,
            _ => merged.push((start, end)),
        }
    }
    merged
}

fn before(text: &str, at: usize, bytes: usize) -> usize {
    text.floor_char_boundary(at.saturating_sub(bytes))
}

fn behind(text: &str, at: usize, bytes: usize) -> usize {
    text.floor_char_boundary((at + bytes).min(text.len()))
}
