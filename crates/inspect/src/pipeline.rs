//! One inspection: windows of the text, layers of each window, matches and structural checks of each layer, one score.
//!
//! Sketch of the cost: a handful of linear passes (normalise, two literal indexes, a search for encodings, one each for
//! invisible characters, markup, leetspeak and spaced letters), 20 µs per KB together. Regexes run only where their literals stand.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use event::{Channel, Finding, RuleId, Verdict};

use crate::canary::CANARY_RULE_PREFIX;
use crate::classifier::{Model, Origin, signature_features};
use crate::leak::Prompt;
use crate::mention::Subject;
use crate::signature::{Found, Pattern, Patterns, Scratch, Trigger};
use crate::structure::{self, Check, Hit};
use crate::view::{self, Decoder, Layers, ViewKind};
use crate::{FINDINGS_MAX, Inspector, Report, TEXT_BYTES_MAX, score};

/// Longest part of a text that is scanned in one piece, in bytes: bounds memory, since the layers of one window are held at
/// a time.
const WINDOW_BYTES: usize = 1024 * 1024;

/// Bytes that a window has in common with the one before it. What a signature matches is a tenth of that, and of an
/// encoded run this much says enough for a match.
const OVERLAP_BYTES: usize = 16 * 1024;

/// Findings of one window that are kept before the strongest are chosen.
const CANDIDATES_MAX: usize = 1_024;

/// Disguises that are taken off one over another, such as digits for letters in text that is reversed.
const DISGUISES_MAX: u8 = 2;

/// Bytes of all second disguises of one window: hostile text may show traces of all of them.
const SECOND_DISGUISES_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Least score of a finding under a disguise for the disguise itself to be reported.
const DISGUISE_SCORE_MIN: f32 = 0.3;

/// A finding whose place is still in bytes.
struct Candidate<'i> {
    family: &'i str,
    start: usize,
    end: usize,
    finding: Finding,
}

/// Inspects a text; of one longer than `bytes_max` its first and its last half of that.
pub(crate) fn run(inspector: &Inspector, text: &str, channel: Channel, context: Option<&str>, bytes_max: usize) -> Report {
    let prompt = context.filter(|_| channel == Channel::Assistant).and_then(Prompt::new);
    let mut candidates = Vec::new();
    let mut unscanned = 0;
    let mut scanned_to = 0;
    let mut score = 0.0_f32;
    let mut scan = Scan { model: inspector.model.as_ref(), ..Scan::new(inspector, channel, prompt.as_ref(), None) };
    for window in windows(text, bytes_max) {
        unscanned += window.start.saturating_sub(scanned_to);
        scanned_to = window.end;
        scan.begin(window.start);
        unscanned += scan.window(&text[window]);
        // Evidence adds up within a window only: weak signs that are a megabyte apart are signs of a long text.
        score = score.max(scan.score);
        for found in std::mem::take(&mut scan.candidates) {
            // Windows overlap: what both show is one finding.
            let known = |kept: &Candidate<'_>| kept.finding.rule == found.finding.rule && kept.overlaps(&found);
            if found.start >= scan.offset + OVERLAP_BYTES || !candidates.iter().any(known) {
                candidates.push(found);
            }
        }
        candidates.sort_by(|a, b| b.finding.score.total_cmp(&a.finding.score));
        candidates.truncate(FINDINGS_MAX);
    }
    let unscanned = unscanned.min(text.len());
    Report {
        score,
        verdict: Verdict::of_score(score),
        findings: placed(text, candidates),
        scanned_bytes: (text.len() - unscanned) as u64,
        unscanned_bytes: unscanned as u64,
    }
}

/// The numbers of the signatures that are found in a text, or whether the one that is asked for is.
pub(crate) fn matching(inspector: &Inspector, text: &str, channel: Channel, only: Option<usize>) -> BTreeSet<usize> {
    let mut scan = Scan::new(inspector, channel, None, only);
    for window in windows(text, TEXT_BYTES_MAX) {
        scan.begin(window.start);
        scan.window(&text[window]);
    }
    scan.matched
}

/// The texts that the classifier reads of a text: its normalised view, and every view made from it.
pub(crate) fn readings(inspector: &Inspector, text: &str, channel: Channel) -> Vec<String> {
    let mut scan = Scan { kept: Some(Vec::new()), ..Scan::new(inspector, channel, None, None) };
    for window in windows(text, TEXT_BYTES_MAX) {
        scan.begin(window.start);
        scan.window(&text[window]);
    }
    scan.kept.unwrap_or_default()
}

/// The parts of a text that are scanned, in order: each goes on within the one before it, but for what is left out.
pub(crate) fn windows(text: &str, bytes_max: usize) -> Vec<Range<usize>> {
    let parts: Vec<Range<usize>> = if text.len() <= bytes_max {
        std::iter::once(0..text.len()).collect()
    } else {
        let half = bytes_max / 2;
        vec![0..text.floor_char_boundary(half), text.floor_char_boundary(text.len() - half)..text.len()]
    };
    let mut windows = Vec::new();
    for part in parts {
        let mut start = part.start;
        loop {
            let end = text.floor_char_boundary((start + WINDOW_BYTES).min(part.end));
            windows.push(start..end);
            if end >= part.end {
                break;
            }
            start = text.floor_char_boundary(end - OVERLAP_BYTES);
        }
    }
    windows
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

impl Candidate<'_> {
    fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// The scan of one text, window by window.
struct Scan<'i, 't> {
    inspector: &'i Inspector,
    channel: Channel,
    /// What output must not repeat.
    prompt: Option<&'t Prompt>,
    /// The one signature that is looked for; all of them where there is none.
    only: Option<usize>,
    /// Where the window starts in the text, in bytes.
    offset: usize,
    candidates: Vec<Candidate<'i>>,
    /// Bytes that layers may still have which take a second disguise off.
    second_bytes_left: usize,
    /// The layers of the window that were read as text.
    readings: Vec<usize>,
    /// What was read, where that is asked for.
    kept: Option<Vec<String>>,
    /// The classifier, where its opinion is asked for.
    model: Option<&'i Model>,
    /// Of the window that was scanned last.
    score: f32,
    /// The signatures that were found.
    matched: BTreeSet<usize>,
    of_raw: Scratch,
    of_text: Scratch,
}

/// What matched of a signature whose condition asks for more than one pattern.
#[derive(Default)]
struct Held {
    patterns: Patterns,
    /// By layer.
    found: Vec<(usize, Found)>,
}

impl<'i, 't> Scan<'i, 't> {
    fn new(inspector: &'i Inspector, channel: Channel, prompt: Option<&'t Prompt>, only: Option<usize>) -> Self {
        Self {
            inspector,
            channel,
            prompt,
            only,
            offset: 0,
            candidates: Vec::new(),
            second_bytes_left: SECOND_DISGUISES_BYTES_MAX,
            readings: Vec::new(),
            kept: None,
            model: None,
            score: 0.0,
            matched: BTreeSet::new(),
            of_raw: Scratch::default(),
            of_text: Scratch::default(),
        }
    }

    /// Makes ready for the window that starts at `offset`.
    fn begin(&mut self, offset: usize) {
        self.offset = offset;
        self.candidates.clear();
        self.second_bytes_left = SECOND_DISGUISES_BYTES_MAX;
        self.readings.clear();
    }

    /// Scans a window; returns the bytes of it that could not be decoded for a limit.
    fn window(&mut self, text: &str) -> usize {
        let mut layers = Layers::new(text);
        let mut decoder = Decoder::default();
        let mut subject = None;
        let mut contents = VecDeque::from([0]);
        while let Some(content) = contents.pop_front() {
            let (normalised, spaced) = self.content(&mut layers, content, &mut subject);
            if content == 0 {
                self.structure(&layers, normalised);
            }
            let depth = layers.get(content).depth;
            let hidden = decoder.hidden(&layers.get(content).text, depth);
            // Encodings are read as they stand, or where characters in between would hide them, without those.
            let visible = match view::folded(&layers.get(content).text) {
                Some((text, spans)) => layers.push(content, ViewKind::Normalised, text, spans),
                None => content,
            };
            let mut decoded: Vec<_> = hidden.into_iter().map(|decoded| (content, decoded)).collect();
            for from in std::iter::once(visible).chain(spaced) {
                decoded.extend(decoder.decode(&layers.get(from).text, depth).into_iter().map(|decoded| (from, decoded)));
            }
            for (from, (kind, text, spans)) in decoded {
                contents.push_back(layers.push(from, kind, text, spans));
            }
        }
        self.score = score::combine(self.candidates.iter().map(|candidate| (candidate.family, &candidate.finding)));
        if let Some(kept) = &mut self.kept {
            kept.extend(self.readings.iter().map(|layer| layers.get(*layer).text.to_string()));
        }
        self.classify(&layers);
        decoder.undecoded_bytes
    }

    /// Asks the classifier about every text of the window. Its opinion includes what signatures found, so that it does not add to their
    /// score: the greater counts.
    fn classify(&mut self, layers: &Layers<'_>) {
        let (Some(model), Some(origin)) = (self.model, Origin::of(self.channel)) else { return };
        let features = signature_features(self.candidates.iter().map(|candidate| candidate.finding.rule.as_str()), self.score);
        let texts = std::mem::take(&mut self.readings);
        let of = |layer: &usize| {
            let classified = model.classify(&layers.get(*layer).text, origin, features.iter().map(String::as_str))?;
            Some((*layer, classified))
        };
        let best = texts.iter().filter_map(of).max_by(|a, b| a.1.score.total_cmp(&b.1.score));
        let Some((layer, classified)) = best else { return };
        self.score = self.score.max(classified.score);
        if classified.score >= Verdict::WARN_SCORE_MIN {
            let check = Check::classifier(origin);
            let (start, end) = layers.to_window(layer, classified.start, classified.end);
            let finding = Finding {
                risk: check.risk,
                technique: check.technique(),
                rule: RuleId::new(check.id),
                score: classified.score,
                start: 0,
                end: 0,
                view: layers.disguise(layer).map(|kind| Cow::Borrowed(kind.name())),
            };
            self.push(check.family, start, end, finding);
        }
    }

    /// Scans a content layer and the layers made from it; returns its normalised layer, and the one in which letters that
    /// stood apart are together.
    fn content(&mut self, layers: &mut Layers<'_>, content: usize, subject: &mut Option<Subject>) -> (usize, Option<usize>) {
        let inspector = self.inspector;
        let (plain, spans) = view::normalise(&layers.get(content).text);
        let normalised = layers.push(content, ViewKind::Normalised, plain, spans);
        let (channel, only, signatures) = (self.channel, self.only, &inspector.signatures);
        let applies = move |number: usize, pattern: &Pattern| {
            only.is_none_or(|only| only == number) && signatures[number].score(channel).is_some() && pattern.reads(channel)
        };
        let mut held = BTreeMap::new();

        let (found, _) = inspector.raw.find(signatures, &layers.get(content).text, &mut self.of_raw, &applies);
        self.take(layers, content, &found, &mut held, subject);

        let spaced = view::spaced_letters(&layers.get(content).text)
            .map(|(text, spans)| layers.push(content, ViewKind::SpacedLetters, text, spans));
        // The texts that are read: the normalised one, and those that disguises are taken off of, with their number.
        let mut texts = VecDeque::from([(normalised, 0)]);
        if let Some(spaced) = spaced {
            let (plain, spans) = view::normalise(&layers.get(spaced).text);
            texts.push_back((layers.push(spaced, ViewKind::Normalised, plain, spans), 1));
        }
        while let Some((layer, disguises)) = texts.pop_front() {
            self.readings.push(layer);
            let (found, triggers) = inspector.text.find(signatures, &layers.get(layer).text, &mut self.of_text, &applies);
            self.take(layers, layer, &found, &mut held, subject);
            self.canaries(layers, layer);
            if disguises == DISGUISES_MAX {
                continue;
            }
            let text = &*layers.get(layer).text;
            let mut made: Vec<_> = [
                (ViewKind::Homoglyphs, view::homoglyphs(text)),
                (ViewKind::UpsideDown, view::upside_down(text)),
                (ViewKind::Leetspeak, view::leetspeak(text)),
            ]
            .into_iter()
            .filter_map(|(kind, made)| made.map(|(text, spans)| (kind, text, spans)))
            .collect();
            for trigger in triggers {
                let (kind, (text, spans)) = match trigger {
                    Trigger::Rot13 => (ViewKind::Rot13, view::rot13(text)),
                    Trigger::Reversed => (ViewKind::Reversed, view::reversed(text)),
                };
                if made.iter().all(|(known, ..)| *known != kind) {
                    made.push((kind, text, spans));
                }
            }
            for (kind, text, spans) in made {
                if disguises > 0 {
                    if layers.get(layer).kind == kind || text.len() > self.second_bytes_left {
                        continue;
                    }
                    self.second_bytes_left -= text.len();
                }
                texts.push_back((layers.push(layer, kind, text, spans), disguises + 1));
            }
        }
        for (number, Held { patterns, found }) in held {
            let Some(condition) = signatures[number].condition.as_ref().filter(|condition| condition.holds(patterns)) else {
                continue;
            };
            let evidence = condition.evidence();
            for (layer, at) in found.into_iter().filter(|(_, at)| evidence >> at.pattern & 1 == 1) {
                self.keep(layers, layer, at, subject);
            }
        }
        (normalised, spaced)
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

    /// Keeps what was found in a layer, as far as one pattern is enough; what waits for others is held until the content was read whole.
    fn take(
        &mut self,
        layers: &Layers<'_>,
        layer: usize,
        found: &[Found],
        held: &mut BTreeMap<usize, Held>,
        subject: &mut Option<Subject>,
    ) {
        for at in found {
            if self.inspector.signatures[at.signature].condition.is_none() {
                self.keep(layers, layer, *at, subject);
                continue;
            }
            let held = held.entry(at.signature).or_default();
            held.patterns |= 1 << at.pattern;
            held.found.push((layer, *at));
        }
    }

    fn keep(&mut self, layers: &Layers<'_>, layer: usize, at: Found, subject: &mut Option<Subject>) {
        let inspector = self.inspector;
        self.matched.insert(at.signature);
        let signature = &inspector.signatures[at.signature];
        let Some(mut score) = signature.score(self.channel) else { return };
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
        let found = Candidate { family, start: start + self.offset, end: end + self.offset, finding };
        let known = |kept: &Candidate<'_>| kept.finding.rule == found.finding.rule && kept.overlaps(&found);
        if self.candidates.len() >= CANDIDATES_MAX || self.candidates.iter().any(known) {
            return false;
        }
        self.candidates.push(found);
        true
    }
}

/// Whether a match shows the words as they stand, but for case and white space.
fn reads_the_same(seen: &str, matched: &str) -> bool {
    seen.eq_ignore_ascii_case(matched)
        || seen.split_whitespace().zip(matched.split_whitespace()).all(|(seen, matched)| seen.eq_ignore_ascii_case(matched))
            && seen.split_whitespace().count() == matched.split_whitespace().count()
}
