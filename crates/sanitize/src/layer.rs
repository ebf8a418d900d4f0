//! One text at all its depths: as it stands, as decoded, and as what its encoded runs hold.

use std::ops::Range;

use crate::find::{self, Hint, Match};
use crate::view::View;
use crate::{Action, Sanitizer, SensitiveType, encoded};

/// How many encodings may lie over one another: base64 of percent-encoded text is two.
const DEPTH_MAX: u32 = 2;
/// How often what is left of a text is looked at again after something was taken out of it. Text that still changes
/// after that was made for it, and goes as a whole.
const ROUNDS_MAX: u32 = 6;
/// Most bytes of a key that say what its value is, half of them from its beginning and half from its end: there may be as many values
/// as the key is long, in a list.
const CONTEXT_BYTES_MAX: usize = 1024;
/// Where something was taken out, so much of what is left is looked at again: words reach no further, and what does (a table, a long run)
/// is told apart.
const EDGE_BYTES: usize = 256;
/// So far behind that a place between two words is looked for, where no value stands.
const EDGE_SEARCH_BYTES: usize = 256;
/// Most values of one encoded run that are named in its place.
const VALUES_PER_RUN_MAX: usize = 8;

/// Everything sensitive in the text, in order and without overlap, such that what is left holds nothing more.
pub(crate) fn find_all(by: &Sanitizer, text: &str, hint: Hint<'_>) -> Vec<Match> {
    let mut found = Vec::new();
    let mut pieces: Vec<(Range<usize>, u32)> = segments(by, text).map(|segment| (segment, 0)).collect();
    while let Some((piece, round)) = pieces.pop() {
        let Some(part) = text.get(piece.clone()) else { continue };
        if round > 0 && is_quiet(by, part, hint) {
            continue;
        }
        let matches = segment(by, part, hint, DEPTH_MAX);
        if matches.is_empty() {
            continue;
        }
        if round == ROUNDS_MAX {
            if let Some(mut first) = matches.into_iter().next() {
                part.clone_into(&mut first.value.normal);
                first.value.feature.clear();
                found.push(Match { start: piece.start, end: piece.end, ..first });
            }
            continue;
        }
        let mut from = piece.start;
        for mut one in matches {
            one.start += piece.start;
            one.end += piece.start;
            if from < one.start {
                pieces.push((from..one.start, round + 1));
            }
            from = one.end;
            found.push(one);
        }
        if from < piece.end {
            pieces.push((from..piece.end, round + 1));
        }
    }
    found.sort_unstable_by_key(|one| one.start);
    found
}

/// Whether what is left of a text that was looked at holds nothing new: nothing at its edges, where other text stood, and nothing that
/// reaches further. False where this does not tell.
fn is_quiet(by: &Sanitizer, part: &str, hint: Hint<'_>) -> bool {
    if part.len() < 2 * (EDGE_BYTES + EDGE_SEARCH_BYTES) || hint.key.is_some() || !by.policy.custom.is_empty() {
        return false;
    }
    let bytes = part.as_bytes();
    // between two words of small letters no value goes on
    let is_gap =
        |at: usize| bytes[at] == b' ' && bytes[at - 2..at].iter().chain(&bytes[at + 1..at + 3]).all(u8::is_ascii_lowercase);
    let behind = (EDGE_BYTES..EDGE_BYTES + EDGE_SEARCH_BYTES).find(|at| is_gap(*at));
    let ahead = (bytes.len() - EDGE_BYTES - EDGE_SEARCH_BYTES..bytes.len() - EDGE_BYTES).rev().find(|at| is_gap(*at));
    let (Some(first), Some(last)) = (behind.and_then(|at| part.get(..at)), ahead.and_then(|at| part.get(at..))) else {
        return false;
    };
    !find::has_fields(part)
        && View::of(part).is_none()
        && segment(by, first, hint, DEPTH_MAX).is_empty()
        && segment(by, last, hint, DEPTH_MAX).is_empty()
}

/// What a key says of its value: the key without what was found in it and without the tokens that it holds, so that a
/// key gives the same context before and after it was sanitised.
pub(crate) fn context(by: &Sanitizer, text: &str, found: &[Match]) -> String {
    let mut context = String::with_capacity(text.len());
    let mut from = 0;
    for one in found {
        push_without_tokens(by, text.get(from..one.start).unwrap_or_default(), &mut context);
        // one space for each token that comes in its place, and for each space between them
        context.extend(std::iter::repeat_n(' ', 1 + 2 * one.more.len()));
        from = one.end;
    }
    push_without_tokens(by, text.get(from..).unwrap_or_default(), &mut context);
    // tokens side by side leave one space or two, which must not move what a bounded window holds
    let mut before = '.';
    context.retain(|c| {
        let is_kept = c != ' ' || before != ' ';
        before = c;
        is_kept
    });
    if context.len() > CONTEXT_BYTES_MAX {
        let tail = context.ceil_char_boundary(context.len() - CONTEXT_BYTES_MAX / 2);
        context.replace_range(context.floor_char_boundary(CONTEXT_BYTES_MAX / 2)..tail, " ");
    }
    context
}

fn push_without_tokens(by: &Sanitizer, text: &str, out: &mut String) {
    let mut from = 0;
    for segment in segments(by, text) {
        if segment.start > from {
            out.push(' ');
        }
        from = segment.end;
        out.push_str(text.get(segment).unwrap_or_default());
    }
    if from < text.len() {
        out.push(' ');
    }
}

/// The parts of the text between the tokens that are already in it.
fn segments<'a>(by: &'a Sanitizer, text: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
    let bytes = text.as_bytes();
    let mut from = 0;
    let mut marks = memchr::memchr_iter(b'<', bytes);
    std::iter::from_fn(move || {
        for mark in marks.by_ref() {
            if mark >= from
                && let Some(len) = bytes.get(mark..).and_then(|rest| by.token_len(rest))
            {
                let segment = from..mark;
                from = mark + len;
                if !segment.is_empty() {
                    return Some(segment);
                }
            }
        }
        let rest = from..bytes.len();
        from = bytes.len();
        (!rest.is_empty()).then_some(rest)
    })
}

/// What one segment holds, in order and without overlap.
fn segment(by: &Sanitizer, text: &str, hint: Hint<'_>, depth: u32) -> Vec<Match> {
    let mut found = Vec::new();
    let has_other_reading = find::pass(text, hint, &mut found);
    by.policy.custom.find(text, hint, &mut found);
    // What is kept hides nothing that is not.
    found.retain(|one| by.policy.action(&one.value.kind) != Action::Keep);
    if depth > 0 {
        if has_other_reading && let Some(view) = View::of(text) {
            for part in segments(by, &view.text) {
                let Some(inner) = view.text.get(part.clone()) else { continue };
                for mut one in segment(by, inner, hint, depth - 1) {
                    let raw = view.raw_range(&(one.start + part.start..one.end + part.start));
                    (one.start, one.end) = (raw.start, raw.end);
                    found.push(one);
                }
            }
        }
        encoded::for_each(text, |run, decoded| {
            let mut values = Vec::new();
            for part in segments(by, decoded) {
                let Some(inner) = decoded.get(part) else { continue };
                for one in segment(by, inner, hint, depth - 1) {
                    values.push(one.value);
                    values.extend(one.more);
                }
            }
            values.sort_by(|a, b| a.kind.cmp(&b.kind));
            values.dedup();
            values.truncate(VALUES_PER_RUN_MAX);
            let mut values = values.into_iter();
            if let Some(value) = values.next() {
                found.push(Match { start: run.start, end: run.end, value, quoted: false, more: values.collect() });
            }
        });
    }
    without_overlap(text, found)
}

/// Settles overlaps: two secrets become one over the whole stretch; otherwise the more specific type stays, and what
/// the other one covered beyond it is looked at again.
fn without_overlap(text: &str, mut found: Vec<Match>) -> Vec<Match> {
    if found.len() < 2 {
        return found;
    }
    found.sort_by(|a, b| (a.start, &a.value.kind).cmp(&(b.start, &b.value.kind)));
    yield_to_builtin(&mut found);
    let mut settled: Vec<Match> = Vec::with_capacity(found.len());
    for one in found {
        let Some(last) = settled.last_mut().filter(|last| one.start < last.end) else {
            settled.push(one);
            continue;
        };
        if last.value.kind.is_secret() && one.value.kind.is_secret() {
            merge(text, last, one);
        } else if one.value.kind < last.value.kind || (one.value.kind == last.value.kind && one.end > last.end) {
            // `last` began before `one`, and nothing before it reaches this far: replacing it cannot uncover an overlap
            *last = one;
        }
    }
    settled
}

/// Takes out values of the operator's types that are a part of something longer of a built-in type, and those that share a
/// character with a card verification value, of which not even a hash may be kept. `found` is sorted by where it begins.
fn yield_to_builtin(found: &mut Vec<Match>) {
    if !found.iter().any(|one| one.value.kind.is_custom()) {
        return;
    }
    let builtin: Vec<(Range<usize>, bool)> = found
        .iter()
        .filter(|one| !one.value.kind.is_custom())
        .map(|one| (one.start..one.end, one.value.kind == SensitiveType::Cvv))
        .collect();
    // How far those reach that begin no later than this one: all of them, and the card verification values.
    let (mut all, mut verification) = (0, 0);
    let reach: Vec<(usize, usize)> = builtin
        .iter()
        .map(|(range, is_verification)| {
            all = all.max(range.end);
            verification = if *is_verification { verification.max(range.end) } else { verification };
            (all, verification)
        })
        .collect();
    found.retain(|one| {
        let before = |at: usize| builtin.partition_point(|(range, _)| range.start < at);
        let reach = |count: usize| count.checked_sub(1).and_then(|last| reach.get(last)).copied().unwrap_or_default();
        let first = before(one.start);
        let is_part = reach(first).0 >= one.end || reach(before(one.start + 1)).0 > one.end;
        let is_verification = reach(before(one.end)).1 > one.start;
        !one.value.kind.is_custom() || !(is_part || is_verification)
    });
}

fn merge(text: &str, last: &mut Match, one: Match) {
    let (start, end) = (last.start.min(one.start), last.end.max(one.end));
    let better = if one.value.kind < last.value.kind { one } else { std::mem::replace(last, one) };
    let covers = better.start == start && better.end == end;
    *last = Match { start, end, ..better };
    // A private key's text is its value; any other secret keeps its own, if that is what the stretch consists of.
    if !covers && last.value.kind != SensitiveType::Authorization {
        text.get(start..end).unwrap_or_default().clone_into(&mut last.value.normal);
    }
}
