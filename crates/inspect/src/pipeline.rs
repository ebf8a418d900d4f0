//! One inspection: windows of the text, layers of each window, matches and structural checks of each layer, one score.
//!
//! Sketch of the cost: a handful of linear passes (normalise, two literal indexes, a search for encodings, one each for
//! invisible characters, markup, leetspeak and spaced letters), 20 µs per KB together, and a bit test for each pattern.
//! Regexes run only where their literals stand.

use std::borrow::Cow;
use std::collections::VecDeque;

use event::{Channel, Finding, RuleId, Verdict};

use crate::canary::CANARY_RULE_PREFIX;
use crate::leak::Prompt;
use crate::mention::Subject;
use crate::signature::{Found, Signature, Trigger};
use crate::structure::{self, Check, Hit};
use crate::view::{self, Decoder, Layers, ViewKind};
use crate::{FINDINGS_MAX, Inspector, Report, TEXT_BYTES_MAX, score};

/// Findings of one window that are kept before the strongest are chosen.
const CANDIDATES_MAX: usize = 1_024;

/// Least score of a finding under a disguise for the disguise itself to be reported.
const DISGUISE_SCORE_MIN: f32 = 0.3;

/// A finding whose place is still in bytes.
struct Candidate<'i> {
    family: &'i str,
    start: usize,
    end: usize,
    finding: Finding,
}

pub(crate) fn run(inspector: &Inspector, text: &str, channel: Channel, context: Option<&str>) -> Report {
    let prompt = context.filter(|_| channel == Channel::Assistant).and_then(Prompt::new);
    let mut candidates = Vec::new();
    let mut unscanned = 0;
    let mut scanned_to = 0;
    for window in windows(text) {
        unscanned += window.start - scanned_to;
        scanned_to = window.end;
        let mut scan = Scan { inspector, channel, prompt: prompt.as_ref(), offset: window.start, candidates: Vec::new() };
        unscanned += scan.window(&text[window]);
        candidates.append(&mut scan.candidates);
    }
    let score = score::combine(candidates.iter().map(|candidate| (candidate.family, &candidate.finding)));
    let unscanned = unscanned.min(text.len());
    Report {
        score,
        verdict: Verdict::of_score(score),
        findings: placed(text, candidates),
        scanned_bytes: (text.len() - unscanned) as u64,
        unscanned_bytes: unscanned as u64,
    }
}

/// The parts of a text that are scanned.
pub(crate) fn windows(text: &str) -> Vec<std::ops::Range<usize>> {
    if text.len() <= TEXT_BYTES_MAX {
        return std::iter::once(0..text.len()).collect();
    }
    let half = TEXT_BYTES_MAX / 2;
    let head = text.floor_char_boundary(half);
    let tail = text.floor_char_boundary(text.len() - half);
    vec![0..head, tail..text.len()]
}

/// The strongest findings, by place, with offsets in code points.
fn placed(text: &str, mut candidates: Vec<Candidate<'_>>) -> Vec<Finding> {
    candidates.sort_by(|a, b| b.finding.score.total_cmp(&a.finding.score));
    candidates.truncate(FINDINGS_MAX);
    let mut places: Vec<usize> = candidates.iter().flat_map(|candidate| [candidate.start, candidate.end]).collect();
    places.sort_unstable();
    places.dedup();
    let mut points = Vec::with_capacity(places.len());
    let (mut from, mut count) = (0, 0_usize);
    for &place in &places {
        count += text[from..place].chars().count();
        from = place;
        points.push(u32::try_from(count).unwrap_or(u32::MAX));
    }
    let point = |at: usize| places.binary_search(&at).ok().map_or(0, |index| points[index]);
    let mut findings: Vec<Finding> = candidates
        .into_iter()
        .map(|candidate| Finding { start: point(candidate.start), end: point(candidate.end), ..candidate.finding })
        .collect();
    findings.sort_by(|a, b| (a.start, a.end, &a.rule).cmp(&(b.start, b.end, &b.rule)));
    findings
}

/// The scan of one window.
struct Scan<'i, 't> {
    inspector: &'i Inspector,
    channel: Channel,
    /// What output must not repeat.
    prompt: Option<&'t Prompt>,
    /// Where the window starts in the text, in bytes.
    offset: usize,
    candidates: Vec<Candidate<'i>>,
}

impl<'i> Scan<'i, '_> {
    /// Scans a window; returns the bytes of it that could not be decoded for a limit.
    fn window(&mut self, text: &str) -> usize {
        let mut layers = Layers::new(text);
        let mut decoder = Decoder::default();
        let mut subject = None;
        let mut contents = VecDeque::from([0]);
        while let Some(content) = contents.pop_front() {
            let normalised = self.content(&mut layers, content, &mut subject);
            if content == 0 {
                self.structure(&layers, normalised);
            }
            let decoded = decoder.decode(&layers.get(content).text, layers.get(content).depth);
            for (kind, text, spans) in decoded {
                contents.push_back(layers.push(content, kind, text, spans));
            }
        }
        decoder.undecoded_bytes
    }

    /// Scans a content layer and the layers made from it; returns its normalised layer.
    fn content(&mut self, layers: &mut Layers<'_>, content: usize, subject: &mut Option<Subject>) -> usize {
        let inspector = self.inspector;
        let (plain, spans) = view::normalise(&layers.get(content).text);
        let normalised = layers.push(content, ViewKind::Normalised, plain, spans);
        let channel = self.channel;
        let applies = move |signature: &Signature| signature.score(channel).is_some();

        let (found, _) = inspector.raw.find(&inspector.signatures, &layers.get(content).text, &applies);
        self.keep(layers, content, &found, subject);
        let (found, triggers) = inspector.text.find(&inspector.signatures, &layers.get(normalised).text, &applies);
        self.keep(layers, normalised, &found, subject);
        self.canaries(layers, normalised);

        let mut disguises = Vec::new();
        let text = &*layers.get(normalised).text;
        for trigger in triggers {
            disguises.push(match trigger {
                Trigger::Rot13 => (normalised, ViewKind::Rot13, view::rot13(text)),
                Trigger::Reversed => (normalised, ViewKind::Reversed, view::reversed(text)),
            });
        }
        disguises.extend(view::homoglyphs(text).map(|made| (normalised, ViewKind::Homoglyphs, made)));
        disguises.extend(view::leetspeak(text).map(|made| (normalised, ViewKind::Leetspeak, made)));
        let spaced = view::spaced_letters(&layers.get(content).text);
        disguises.extend(spaced.map(|made| (content, ViewKind::SpacedLetters, made)));
        for (parent, kind, (text, spans)) in disguises {
            let mut layer = layers.push(parent, kind, text, spans);
            if kind == ViewKind::SpacedLetters {
                let (plain, spans) = view::normalise(&layers.get(layer).text);
                layer = layers.push(layer, ViewKind::Normalised, plain, spans);
            }
            let (found, _) = inspector.text.find(&inspector.signatures, &layers.get(layer).text, &applies);
            self.keep(layers, layer, &found, subject);
            self.canaries(layers, layer);
        }
        normalised
    }

    /// Looks for canaries in a layer. Where they were put (system prompts, tools, documents) they belong.
    fn canaries(&mut self, layers: &Layers<'_>, layer: usize) {
        let canaries = &self.inspector.canaries;
        if canaries.is_empty() || !matches!(self.channel, Channel::Assistant | Channel::User) {
            return;
        }
        for (owner, place) in canaries.find(&layers.get(layer).text) {
            let (start, end) = layers.to_window(layer, place.start, place.end);
            let check = Check::CANARY;
            let finding = Finding {
                risk: check.risk,
                technique: check.technique(),
                rule: RuleId::new(&format!("{CANARY_RULE_PREFIX}{}", canaries.label(owner))),
                score: check.score,
                start: 0,
                end: 0,
                view: layers.disguise(layer).map(|kind| Cow::Borrowed(kind.name())),
            };
            self.push(check.family, start, end, finding);
        }
    }

    fn keep(&mut self, layers: &Layers<'_>, layer: usize, found: &[Found], subject: &mut Option<Subject>) {
        let inspector = self.inspector;
        for at in found {
            let signature = &inspector.signatures[at.signature];
            let Some(mut score) = signature.score(self.channel) else { continue };
            let (start, end) = layers.to_window(layer, at.start, at.end);
            let disguise = layers.disguise(layer);
            if disguise.is_some_and(ViewKind::is_disguise) {
                score = score::disguised(score);
            } else {
                // Layer 1 is the normalised window: what the whole text is about decides.
                let about = subject.get_or_insert_with(|| Subject::of(&layers.get(1).text));
                if about.is_mention(self.channel, &layers.get(layer).text, at.start) {
                    score *= signature.mention;
                }
            }
            let view = disguise.map(ViewKind::name).or_else(|| {
                let seen = layers.get(0).text.get(start..end).unwrap_or_default();
                let matched = layers.get(layer).text.get(at.start..at.end).unwrap_or_default();
                (!reads_the_same(seen, matched)).then_some(ViewKind::Normalised.name())
            });
            let technique = Some(signature.technique(self.channel));
            let finding = |risk, technique, rule, score, view: Option<&'static str>| Finding {
                risk,
                technique,
                rule,
                score,
                start: 0,
                end: 0,
                view: view.map(Cow::Borrowed),
            };
            let found = finding(signature.risk, technique, signature.id.clone(), score, view);
            let new = self.push(&signature.family, start, end, found);
            if let Some(kind) = disguise.filter(|kind| new && kind.is_disguise() && score >= DISGUISE_SCORE_MIN) {
                let check = Check::ENCODED_PAYLOAD;
                let rule = RuleId::new(check.id);
                self.push(check.family, start, end, finding(check.risk, check.technique(), rule, check.score, Some(kind.name())));
            }
        }
    }

    fn structure(&mut self, layers: &Layers<'_>, normalised: usize) {
        let mut hits = Vec::new();
        let raw = &*layers.get(0).text;
        structure::invisible(raw, &mut hits);
        structure::markup(raw, self.channel, &mut hits);
        let mut leaked_under = None;
        if let Some(leak) = self.prompt.and_then(|prompt| prompt.overlap_of_window(raw)) {
            leaked_under = leak.view;
            hits.push(Hit { check: Check::PROMPT_LEAK, score: leak.score(), start: leak.range.start, end: leak.range.end });
        }
        let mut of_normalised = Vec::new();
        structure::density(&layers.get(normalised).text, self.channel, &mut of_normalised);
        for hit in &mut of_normalised {
            (hit.start, hit.end) = layers.to_window(normalised, hit.start, hit.end);
        }
        hits.append(&mut of_normalised);
        for Hit { check, score, start, end } in hits {
            let finding = Finding {
                risk: check.risk,
                technique: check.technique(),
                rule: RuleId::new(check.id),
                score,
                start: 0,
                end: 0,
                view: leaked_under.filter(|_| check == Check::PROMPT_LEAK).map(Cow::Borrowed),
            };
            self.push(check.family, start, end, finding);
        }
    }

    /// Keeps a finding unless its rule was found there already, as in another view of the same words. Tells whether it did.
    fn push(&mut self, family: &'i str, start: usize, end: usize, finding: Finding) -> bool {
        let (start, end) = (start + self.offset, end + self.offset);
        let known = |kept: &Candidate<'_>| kept.finding.rule == finding.rule && kept.start < end && start < kept.end;
        if self.candidates.len() >= CANDIDATES_MAX || self.candidates.iter().any(known) {
            return false;
        }
        self.candidates.push(Candidate { family, start, end, finding });
        true
    }
}

/// Whether a match shows the words as they stand, but for case and white space.
fn reads_the_same(seen: &str, matched: &str) -> bool {
    seen.eq_ignore_ascii_case(matched)
        || seen.split_whitespace().zip(matched.split_whitespace()).all(|(seen, matched)| seen.eq_ignore_ascii_case(matched))
            && seen.split_whitespace().count() == matched.split_whitespace().count()
}
