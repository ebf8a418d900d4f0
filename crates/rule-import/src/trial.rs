//! Trying what was made of rules: each on its own examples, on the innocent examples of all others, and on innocent texts. What is wrong or
//! noisy is written and not enabled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use event::{Channel, RuleId};
use inspect::Inspector;
use inspect::format::{SignatureExample, SignatureExamples, SignatureFile, SignatureRule};

use crate::{Benign, Case, Draft, ImportError, Noise, Share, Standing};

/// Patterns without atoms that are taken, so that two imports and the built-in signatures together stay within what an inspector takes.
const WITHOUT_ATOMS_MAX: usize = inspect::WITHOUT_ATOMS_MAX / 3;
/// Examples of each kind that are written with a signature. They are tried at each load.
const EXAMPLES_MAX: usize = 6;
/// Threads that try, where there are as many cores.
const THREADS_MAX: usize = 8;
/// The order in which channels are tried: the likeliest first.
const CHANNELS: [Channel; 5] = [Channel::User, Channel::Tool, Channel::Document, Channel::Assistant, Channel::System];

/// What the examples of a rule showed.
#[derive(Default)]
struct Shown {
    positives: Share,
    negatives: Share,
    evasions: Share,
    examples: SignatureExamples,
    /// Rules that were found in innocent examples of this one, each once an example.
    noisy: Vec<RuleId>,
}

/// Tries the drafts, settles their standing and writes their examples. Tells how many of the innocent texts set something off.
pub(crate) fn run(drafts: &mut [Draft], benign: &[Benign]) -> Result<Vec<Noise>, ImportError> {
    hold_to_form(drafts);
    let together = SignatureFile {
        signatures: drafts.iter().filter_map(|draft| draft.signature.clone()).map(untried).collect(),
        ..SignatureFile::default()
    };
    let yaml = together.to_yaml().map_err(ImportError::Write)?;
    let inspector = Inspector::from_checked_sources(&[("import".to_owned(), yaml)])?;
    let shown = in_parallel(drafts.len(), |number| shown(&inspector, &drafts[number]));
    let heard = in_parallel(benign.len(), |number| {
        let one = &benign[number];
        inspector.matching(&one.text, one.channel).into_iter().cloned().collect::<Vec<RuleId>>()
    });
    let mut cross: BTreeMap<&str, usize> = BTreeMap::new();
    for rule in shown.iter().flat_map(|shown| &shown.noisy) {
        *cross.entry(rule.as_str()).or_default() += 1;
    }
    let mut noise: BTreeMap<&str, usize> = BTreeMap::new();
    for rule in heard.iter().flatten() {
        *noise.entry(rule.as_str()).or_default() += 1;
    }
    for (draft, shown) in drafts.iter_mut().zip(&shown) {
        let Some(id) = draft.signature.as_ref().map(|signature| signature.id.clone()) else { continue };
        let of = |map: &BTreeMap<&str, usize>| map.get(id.as_str()).copied().unwrap_or_default();
        settle(draft, shown, of(&cross), of(&noise));
    }
    Ok(by_kind(benign, &heard))
}

/// Drops what is not of the form that signatures have, and patterns that every text would have to be asked for beyond a few.
fn hold_to_form(drafts: &mut [Draft]) {
    let mut without_atoms = 0;
    for draft in drafts {
        let Some(signature) = &mut draft.signature else { continue };
        let mut number = 0;
        let dropped = &mut draft.outcome.dropped;
        let before = signature.patterns.len();
        signature.patterns.retain(|pattern| {
            number += 1;
            let stays = inspect::has_atoms(pattern) || without_atoms < WITHOUT_ATOMS_MAX;
            if !stays {
                dropped.push(format!(
                    "pattern {number}: it has no literal of 3 letters, and {WITHOUT_ATOMS_MAX} such patterns are taken"
                ));
            } else if !inspect::has_atoms(pattern) {
                without_atoms += 1;
            }
            stays
        });
        let left = signature.patterns.len();
        draft.outcome.patterns = left;
        let fault = if left == 0 {
            Some("none of its patterns can be taken".to_owned())
        } else if left < before && signature.condition.is_some() {
            Some("its condition needs a pattern that cannot be taken".to_owned())
        } else {
            inspect::check_rule(signature).err().map(|error| error.to_string())
        };
        if let Some(fault) = fault {
            draft.reject(fault);
        }
    }
}

/// A signature that loads though it has no examples yet.
fn untried(rule: SignatureRule) -> SignatureRule {
    let none = || vec![SignatureExample { channel: Channel::User.as_str().to_owned(), text: String::new() }];
    SignatureRule { enabled: true, examples: SignatureExamples { positive: none(), negative: none() }, ..rule }
}

fn shown(inspector: &Inspector, draft: &Draft) -> Shown {
    let Some(rule) = &draft.signature else { return Shown::default() };
    let mut shown = Shown::default();
    for (cases, share) in [(&draft.positives, &mut shown.positives), (&draft.evasions, &mut shown.evasions)] {
        for case in cases {
            share.of += 1;
            share.count += usize::from(found(inspector, rule, case).is_some());
        }
    }
    let example =
        |(channel, text): (Channel, &str)| SignatureExample { channel: channel.as_str().to_owned(), text: text.to_owned() };
    let positives = draft.positives.iter().filter_map(|case| found(inspector, rule, case));
    shown.examples.positive = positives.take(EXAMPLES_MAX).map(example).collect();
    for case in &draft.negatives {
        shown.negatives.of += 1;
        let mut others = BTreeSet::new();
        let mut is_quiet = true;
        for (nth, (channel, text)) in tries(rule, case).into_iter().enumerate() {
            for id in inspector.matching(text, channel) {
                if id.as_str() == rule.id {
                    is_quiet = false;
                } else if nth == 0 {
                    others.insert(id.clone());
                }
            }
        }
        shown.negatives.count += usize::from(is_quiet);
        if is_quiet && shown.examples.negative.len() < EXAMPLES_MAX {
            shown.examples.negative.extend(tries(rule, case).into_iter().next().map(example));
        }
        shown.noisy.extend(others);
    }
    shown
}

/// Where a rule is found in a case.
fn found<'c>(inspector: &Inspector, rule: &SignatureRule, case: &'c Case) -> Option<(Channel, &'c str)> {
    let is_found = |&(channel, text): &(Channel, &str)| inspector.matching(text, channel).iter().any(|id| id.as_str() == rule.id);
    tries(rule, case).into_iter().find(is_found)
}

/// The texts of a case, each with the channels in which the rule has to be tried on it. Where none of its patterns is bound to channels,
/// one is as good as all.
fn tries<'c>(rule: &SignatureRule, case: &'c Case) -> Vec<(Channel, &'c str)> {
    let one_will_do = rule.patterns.iter().all(|pattern| pattern.channels.is_empty());
    let mut tries = Vec::new();
    for text in &case.0 {
        let applies = |channel: &Channel| {
            rule.channels.contains_key(channel.as_str()) && (text.channels.is_empty() || text.channels.contains(channel))
        };
        let channels = CHANNELS.into_iter().filter(applies).take(if one_will_do { 1 } else { CHANNELS.len() });
        tries.extend(channels.map(|channel| (channel, text.text.as_str())));
    }
    tries
}

fn settle(draft: &mut Draft, shown: &Shown, cross_noise: usize, benign_noise: usize) {
    let Some(signature) = &mut draft.signature else { return };
    let (positives, negatives) = (shown.positives, shown.negatives);
    let mut faults: Vec<String> = draft.held_back.iter().cloned().collect();
    let mut fault = |applies: bool, text: String| faults.extend(applies.then_some(text));
    fault(positives.of == 0, "it brings no example that must match".to_owned());
    let missed = positives.of - positives.count;
    fault(missed > 0, format!("{missed} of {} examples that must match do not", positives.of));
    fault(negatives.of == 0, "it brings no example that must not match".to_owned());
    let wrong = negatives.of - negatives.count;
    fault(wrong > 0, format!("{wrong} of {} examples that must not match do", negatives.of));
    fault(cross_noise > 0, format!("it is found in {cross_noise} innocent examples of other rules"));
    fault(benign_noise > 0, format!("it is found in {benign_noise} innocent texts"));
    signature.examples = shown.examples.clone();
    signature.enabled = faults.is_empty();
    signature.disabled_because = (!faults.is_empty()).then(|| faults.join("; "));
    let outcome = &mut draft.outcome;
    outcome.standing = if signature.enabled { Standing::Enabled } else { Standing::Disabled };
    outcome.reason.clone_from(&signature.disabled_because);
    (outcome.positives, outcome.negatives, outcome.evasions) = (positives, negatives, shown.evasions);
    (outcome.cross_noise, outcome.benign_noise) = (cross_noise, benign_noise);
}

fn by_kind(benign: &[Benign], heard: &[Vec<RuleId>]) -> Vec<Noise> {
    let mut kinds: BTreeMap<&str, Noise> = BTreeMap::new();
    for (one, heard) in benign.iter().zip(heard) {
        let new = || Noise { kind: one.kind.clone(), texts: 0, found: 0 };
        let noise = kinds.entry(&one.kind).or_insert_with(new);
        noise.texts += 1;
        noise.found += usize::from(!heard.is_empty());
    }
    kinds.into_values().collect()
}

/// The results of `work` for each number, in order, made by as many threads as there are cores.
fn in_parallel<T: Send + Default>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<T>> = Mutex::new((0..count).map(|_| T::default()).collect());
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let result = work(number);
                    if let Some(place) = results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_mut(number) {
                        *place = result;
                    }
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
