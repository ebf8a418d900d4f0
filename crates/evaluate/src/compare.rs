//! Whether a model answers as it did: what its answers are worth, and whether they are those of the same model.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error_class::{ErrorClass, why};
use crate::permute::{Likenesses, Pair, holm, least_change, means, strangeness};
use crate::run::{Baseline, Run, Trial};

/// Least change of the mean score that is told, however sure: half a point of a hundred is nobody's concern.
const SCORE_CHANGE_MIN: f64 = 0.005;
/// By how much less like those before answers must be: batches and hardware make small differences at temperature 0, too.
const LIKENESS_DROP_MIN: f64 = 0.05;
/// Share of items whose prompts have another number of tokens from which on something reads them otherwise, and the fewest such items.
const TOKENS_SHARE_MIN: f64 = 0.5;
const TOKENS_ITEMS_MIN: usize = 3;
/// Share of items without a score above which a run says nothing.
const FAILED_SHARE_MAX: f64 = 0.2;
/// Most trials of an item, of one side, that are looked at for likeness: the work grows with their square.
const TRIALS_MAX: usize = 16;

/// How a comparison is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// The probability of calling a model changed that has not, all scores together; and again, all answers together.
    pub alpha: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { alpha: 0.01 }
    }
}

/// What a comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing that can be seen with this set.
    NoChange,
    /// Answers are worth more or less than they were.
    Drift,
    /// Something else answers than before.
    TamperingOrSwap,
}

impl Verdict {
    /// The name that JSON, events and rules use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoChange => "no_change",
            Self::Drift => "drift",
            Self::TamperingOrSwap => "tampering_or_swap",
        }
    }
}

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The mean score, of all items or of a category.
    Score,
    /// The model that says it answered.
    ModelName,
    /// What the provider names as standing behind it.
    SystemFingerprint,
    /// How many tokens the same prompts have: another tokenizer, or another text before them.
    InputTokens,
    /// The answers: less like those before than these are like each other.
    Answers,
}

impl Change {
    /// The name that JSON, events and rules use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::ModelName => "model_name",
            Self::SystemFingerprint => "system_fingerprint",
            Self::InputTokens => "input_tokens",
            Self::Answers => "answers",
        }
    }
}

/// A run beside a baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What follows; empty where nothing has changed.
    pub verdicts: BTreeSet<Verdict>,
    /// What has changed.
    pub changes: BTreeSet<Change>,
    /// The score over all items; none where no item has one on both sides that can be compared.
    pub score: Option<ScoreChange>,
    /// The scores by category, where the set has any.
    pub categories: Vec<CategoryChange>,
    /// Least drop of the score that this comparison would see in four of five cases; none where it would see none.
    pub least_change: Option<f64>,
    /// Mean likeness of answers to one prompt, of one side and of both sides, 0 to 1; none where no prompt was asked twice.
    pub likeness: Option<Compared>,
    /// Share of items with the very same answer on both sides, and of items whose prompts have another number of tokens.
    pub same_answers: Option<f64>,
    /// See [`same_answers`](Self::same_answers).
    pub other_input_tokens: Option<f64>,
    /// Models that answered before, and now.
    pub models: [BTreeSet<String>; 2],
    /// Fingerprints before, and now.
    pub fingerprints: [BTreeSet<String>; 2],
    /// Items of both sides, and items of one side alone (changed, added or taken out).
    pub items: usize,
    /// See [`items`](Self::items).
    pub items_apart: usize,
    /// What limits what can be said.
    pub notes: Vec<String>,
}

/// A score before and now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreChange {
    /// Mean over items, before.
    pub before: f64,
    /// Mean over items, now.
    pub after: f64,
    /// Items.
    pub items: usize,
    /// The probability of such a change where there is none, as the test has it.
    pub p: f64,
    /// The same for all scores that are tested together (Holm).
    pub p_corrected: f64,
    /// Whether it has changed.
    pub has_changed: bool,
}

/// The score of a category.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CategoryChange {
    /// Which.
    pub category: String,
    /// Its score.
    #[serde(flatten)]
    pub score: ScoreChange,
}

/// How like answers are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Of one side.
    pub within: f64,
    /// Of both sides.
    pub between: f64,
    /// The probability of such a difference where there is none.
    pub p: f64,
}

/// What stands before the reason in what is said of a run without scores.
pub(crate) const FIRST_REASON: &str = "; the first reason: ";

/// Why two runs cannot be compared.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotComparable {
    /// They have no item in common.
    #[error("the run and the baseline have no item in common; record a baseline of this set")]
    NoItems,
    /// They have items in common, and nothing of them that both sides know.
    #[error(
        "nothing of the {items} items that the run and the baseline have in common can be compared: {judged} have scores of another judge than \
         before, and what answered, tokens and likeness are not known on both sides; judge as before, or accept a baseline of this judge"
    )]
    NothingInCommon {
        /// Items of both sides.
        items: usize,
        /// Items of these that were judged by another model than before.
        judged: usize,
    },
    /// They were asked in other ways.
    #[error("the baseline was asked otherwise (API, temperature, tokens, parameters); record a new one, or ask as it was asked")]
    Parameters,
    /// Too much has no score.
    #[error("{failed} of {items} items have no score{FIRST_REASON}{}", why(*reason))]
    Failed {
        /// Items without a score.
        failed: usize,
        /// All items.
        items: usize,
        /// Why the first of them has none, in words of ours; none where it has no class.
        reason: Option<ErrorClass>,
    },
}

impl Comparison {
    /// Whether something has changed.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        !self.changes.is_empty()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            return write!(f, "no change");
        }
        let words: Vec<&str> = self.verdicts.iter().map(|verdict| verdict.as_str()).collect();
        let changes: Vec<&str> = self.changes.iter().map(|change| change.as_str()).collect();
        write!(f, "{}: {}", words.join(", "), changes.join(", "))
    }
}

/// An item on both sides.
struct Both<'a> {
    category: Option<&'a str>,
    before: Vec<&'a Trial>,
    after: Vec<&'a Trial>,
}

/// Holds a run against a baseline.
///
/// Scores are compared item by item (see [`ScoreChange::p`]), over all items and by category, corrected after Holm. Whether something else
/// answers is a question of its own: names, tokens of the same prompts, and the likeness of answers. It is answered also where no score can
/// be compared.
///
/// # Errors
/// When they cannot be compared.
pub fn compare(run: &Run, baseline: &Baseline, options: &Options) -> Result<Comparison, NotComparable> {
    check_answered(run)?;
    if baseline.runs().iter().any(|one| one.parameters != run.parameters) {
        return Err(NotComparable::Parameters);
    }
    let (both, apart) = pair(run, baseline);
    if both.is_empty() {
        return Err(NotComparable::NoItems);
    }
    let mut notes = Vec::new();
    let judged_otherwise =
        both.iter().filter(|item| judges(&item.before).is_disjoint(&judges(&item.after)) && is_judged(item)).count();
    if judged_otherwise > 0 {
        notes.push(format!("{judged_otherwise} items were judged by another model than before, and their scores are left out"));
    }
    let scored: Vec<&Both<'_>> =
        both.iter().filter(|item| !is_judged(item) || !judges(&item.before).is_disjoint(&judges(&item.after))).collect();
    let (score, categories) =
        scores(&scored, options).map_or((None, Vec::new()), |(score, categories)| (Some(score), categories));
    let least = score.as_ref().and_then(|score| least_change(score.items, noise(&scored), options.alpha));
    match &score {
        None => notes.push(
            "no score can be compared, so whether answers are worth as much as before is not known; accept a new baseline"
                .to_owned(),
        ),
        Some(score) if !score.has_changed && least.is_none_or(|least| least > 0.1) => {
            let seen = least.map_or_else(
                || "no change at all".to_owned(),
                |least| format!("a drop of {:.0} points of 100 and more", least * 100.0),
            );
            notes.push(format!("with {} items this set shows {seen}; more items show smaller changes", score.items));
        }
        Some(_) => {}
    }
    let mut changes = BTreeSet::new();
    if score.iter().chain(categories.iter().map(|one| &one.score)).any(|score| score.has_changed) {
        changes.insert(Change::Score);
    }
    let names = |of: &dyn Fn(&Trial) -> Option<&String>| -> [BTreeSet<String>; 2] {
        let all = |side: &dyn Fn(&Both<'_>) -> Vec<Option<String>>| both.iter().flat_map(side).flatten().collect();
        [
            all(&|item| item.before.iter().map(|trial| of(trial).cloned()).collect()),
            all(&|item| item.after.iter().map(|trial| of(trial).cloned()).collect()),
        ]
    };
    let differ = |[before, after]: &[BTreeSet<String>; 2]| !before.is_empty() && !after.is_empty() && before.is_disjoint(after);
    let models = names(&|trial| trial.model.as_ref());
    let fingerprints = names(&|trial| trial.fingerprint.as_ref());
    if after_has_strangers(&models) {
        changes.insert(Change::ModelName);
    }
    if differ(&fingerprints) {
        changes.insert(Change::SystemFingerprint);
    }
    let other_input_tokens = other_tokens(&both);
    if other_input_tokens.is_some_and(|(share, items)| share >= TOKENS_SHARE_MIN && items >= TOKENS_ITEMS_MIN) {
        changes.insert(Change::InputTokens);
    }
    let likeness = likeness(&both);
    let are_known = |[before, after]: &[BTreeSet<String>; 2]| !before.is_empty() && !after.is_empty();
    let is_known = are_known(&models) || are_known(&fingerprints) || other_input_tokens.is_some() || likeness.is_some();
    if score.is_none() && !is_known {
        return Err(NotComparable::NothingInCommon { items: both.len(), judged: judged_otherwise });
    }
    match &likeness {
        None => {
            notes.push("whether answers are those of the same model needs each prompt asked twice or more (--repeat)".to_owned())
        }
        Some(like) => {
            if like.p <= options.alpha && like.within - like.between >= LIKENESS_DROP_MIN {
                changes.insert(Change::Answers);
            }
        }
    }
    let mut verdicts = BTreeSet::new();
    if changes.contains(&Change::Score) {
        verdicts.insert(Verdict::Drift);
    }
    if changes.iter().any(|change| *change != Change::Score) {
        verdicts.insert(Verdict::TamperingOrSwap);
    }
    if verdicts.is_empty() {
        verdicts.insert(Verdict::NoChange);
    }
    Ok(Comparison {
        verdicts,
        changes,
        score,
        categories,
        least_change: least,
        likeness,
        same_answers: same_answers(&both),
        other_input_tokens: other_input_tokens.map(|(share, _)| share),
        models,
        fingerprints,
        items: both.len(),
        items_apart: apart,
        notes,
    })
}

/// Whether a run says something by itself.
pub(crate) fn check_answered(run: &Run) -> Result<(), NotComparable> {
    let failed: Vec<_> = run.items.iter().filter(|item| item.score().is_none()).collect();
    if failed.len() as f64 <= run.items.len() as f64 * FAILED_SHARE_MAX {
        return Ok(());
    }
    let first = failed.iter().flat_map(|item| &item.trials).find(|trial| trial.error.is_some());
    let reason = first.map_or(Some(ErrorClass::NOT_ASKED), |trial| trial.error_class);
    Err(NotComparable::Failed { failed: failed.len(), items: run.items.len(), reason })
}

/// Items of both sides, by id and digest, and how many there are of one side alone.
fn pair<'a>(run: &'a Run, baseline: &'a Baseline) -> (Vec<Both<'a>>, usize) {
    let mut before: BTreeMap<(&str, &str), Vec<&Trial>> = BTreeMap::new();
    for item in baseline.runs().iter().flat_map(|run| &run.items) {
        before.entry((&item.id, &item.digest)).or_default().extend(&item.trials);
    }
    let known = before.len();
    let both: Vec<Both<'_>> = run
        .items
        .iter()
        .filter_map(|item| {
            let before = before.remove(&(item.id.as_str(), item.digest.as_str()))?;
            Some(Both { category: item.category.as_deref(), before, after: item.trials.iter().collect() })
        })
        .collect();
    let apart = (known - both.len()) + (run.items.len() - both.len());
    (both, apart)
}

fn judges<'a>(trials: &[&'a Trial]) -> BTreeSet<&'a str> {
    trials.iter().filter_map(|trial| trial.judge.as_deref()).collect()
}

fn is_judged(item: &Both<'_>) -> bool {
    item.before.iter().chain(&item.after).any(|trial| trial.judge.is_some())
}

fn values(trials: &[&Trial]) -> Vec<f64> {
    trials.iter().filter_map(|trial| trial.score).collect()
}

fn scores(items: &[&Both<'_>], options: &Options) -> Option<(ScoreChange, Vec<CategoryChange>)> {
    let mut by_category: BTreeMap<&str, Vec<Pair>> = BTreeMap::new();
    let mut all = Vec::new();
    for item in items {
        let pair = Pair { before: values(&item.before), after: values(&item.after) };
        if pair.before.is_empty() || pair.after.is_empty() {
            continue;
        }
        if let Some(category) = item.category {
            by_category.entry(category).or_default().push(pair.clone());
        }
        all.push(pair);
    }
    let tested: Vec<(Option<&str>, &Vec<Pair>)> =
        std::iter::once((None, &all)).chain(by_category.iter().map(|(category, pairs)| (Some(*category), pairs))).collect();
    let outcomes: Vec<_> = tested.iter().map(|(_, pairs)| means(pairs)).collect::<Option<_>>()?;
    let corrected = holm(&outcomes.iter().map(|outcome| outcome.p).collect::<Vec<_>>());
    let mut changes = tested.into_iter().zip(outcomes).zip(corrected).map(|(((category, pairs), outcome), p_corrected)| {
        let side = |of: &dyn Fn(&Pair) -> &Vec<f64>| {
            let mean = |values: &Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
            pairs.iter().map(|pair| mean(of(pair))).sum::<f64>() / pairs.len() as f64
        };
        let score = ScoreChange {
            before: side(&|pair| &pair.before),
            after: side(&|pair| &pair.after),
            items: pairs.len(),
            p: outcome.p,
            p_corrected,
            has_changed: p_corrected <= options.alpha && outcome.change.abs() >= SCORE_CHANGE_MIN,
        };
        (category, score)
    });
    let (_, overall) = changes.next()?;
    let categories =
        changes.filter_map(|(category, score)| Some(CategoryChange { category: category?.to_owned(), score })).collect();
    Some((overall, categories))
}

/// How often an item comes out otherwise from one answer to the next of the same side: what is noise.
fn noise(items: &[&Both<'_>]) -> f64 {
    let (mut differing, mut all) = (0.0, 0.0);
    for side in items.iter().flat_map(|item| [&item.before, &item.after]) {
        let scores = values(side);
        for (index, one) in scores.iter().enumerate() {
            for other in scores.iter().skip(index + 1) {
                differing += (one - other).abs();
                all += 1.0;
            }
        }
    }
    if all == 0.0 { 0.0 } else { differing / all }
}

/// Whether somebody answers now who never did: a part of the calls may be led elsewhere.
fn after_has_strangers([before, after]: &[BTreeSet<String>; 2]) -> bool {
    !before.is_empty() && after.difference(before).next().is_some()
}

/// The share of items whose prompts have another number of tokens than they ever had, and how many these are.
fn other_tokens(both: &[Both<'_>]) -> Option<(f64, usize)> {
    let tokens = |trials: &[&Trial]| trials.iter().filter_map(|trial| trial.input_tokens).collect::<BTreeSet<u64>>();
    let known = both.iter().map(|item| (tokens(&item.before), tokens(&item.after)));
    let known: Vec<_> = known.filter(|(before, after)| !before.is_empty() && !after.is_empty()).collect();
    let other = known.iter().filter(|(before, after)| before.is_disjoint(after)).count();
    (!known.is_empty()).then(|| (other as f64 / known.len() as f64, other))
}

fn same_answers(both: &[Both<'_>]) -> Option<f64> {
    let sketches = |trials: &[&Trial]| trials.iter().filter_map(|trial| trial.sketch.clone()).collect::<Vec<_>>();
    let known = both.iter().map(|item| (sketches(&item.before), sketches(&item.after)));
    let known: Vec<_> = known.filter(|(before, after)| !before.is_empty() && !after.is_empty()).collect();
    let same =
        known.iter().filter(|(before, after)| after.iter().any(|one| before.iter().any(|other| one.is_same(other)))).count();
    (!known.is_empty()).then(|| same as f64 / known.len() as f64)
}

fn likeness(both: &[Both<'_>]) -> Option<Compared> {
    let items: Vec<Likenesses> = both
        .iter()
        .map(|item| {
            let sketches = |trials: &[&Trial]| -> Vec<_> {
                trials.iter().filter_map(|trial| trial.sketch.as_ref()).take(TRIALS_MAX).cloned().collect()
            };
            let (before, after) = (sketches(&item.before), sketches(&item.after));
            let all: Vec<_> = before.iter().chain(&after).collect();
            let matrix = all.iter().map(|one| all.iter().map(|other| one.likeness(other)).collect()).collect();
            Likenesses { before: before.len(), matrix }
        })
        .collect();
    strangeness(&items).map(|found| Compared { within: found.within, between: found.between, p: found.p })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, Api, Parameters, Set};

    /// A made-up model: what it says to a sum, by the number of the item and of the repeat.
    struct Model<'a> {
        name: &'a str,
        fingerprint: &'a str,
        extra_tokens: u64,
        says: &'a dyn Fn(usize, usize) -> String,
    }

    fn set(items: usize) -> Set {
        let rows = (0..items).map(|index| {
            let category = if index % 2 == 0 { "even" } else { "odd" };
            format!(r#"{{"id":"i{index}","prompt":"{index}+1?","grader":{{"type":"contains","value":"{}"}},"category":"{category}"}}"#, index + 1)
        });
        Set::read("sums", &rows.collect::<Vec<_>>().join("\n")).unwrap()
    }

    fn run(set: &Set, repeat: usize, model: &Model<'_>) -> Run {
        let parameters = Parameters { model: "m".to_owned(), temperature: Some(0.0), max_tokens: 9, more: Default::default() };
        let mut run = Run::of(set, Api::OpenaiChat, "h", &parameters, 1);
        for (index, (item, asked)) in run.items.iter_mut().zip(&set.items).enumerate() {
            item.trials = (0..repeat)
                .map(|nth| {
                    let text = (model.says)(index, nth);
                    let answer = Answer {
                        model: Some(model.name.to_owned()),
                        fingerprint: Some(model.fingerprint.to_owned()),
                        input_tokens: Some(10 + model.extra_tokens),
                        text,
                        ..Answer::default()
                    };
                    Trial::of(&answer, asked.grader.grade(&answer.text, false), None, 5)
                })
                .collect();
        }
        run
    }

    fn judged(set: &Set, repeat: usize, model: &Model<'_>, judge: &str) -> Run {
        let mut run = run(set, repeat, model);
        run.items.iter_mut().flat_map(|item| &mut item.trials).for_each(|trial| trial.judge = Some(judge.to_owned()));
        run
    }

    fn steady(index: usize, nth: usize) -> String {
        let tail = if (index * 7 + nth * 3).is_multiple_of(5) { " As you can check by counting." } else { "" };
        format!("The sum of {index} and one is {}.{tail}", index + 1)
    }

    const SAME: Model<'_> = Model { name: "m-1", fingerprint: "fp", extra_tokens: 0, says: &steady };

    fn changes(after: &Model<'_>, repeat: usize, items: usize) -> Vec<&'static str> {
        let set = set(items);
        let baseline = Baseline::new(run(&set, repeat, &SAME)).unwrap();
        let compared = compare(&run(&set, repeat, after), &baseline, &Options::default()).unwrap();
        compared.changes.iter().map(|change| change.as_str()).collect()
    }

    #[test]
    fn what_changed_is_told_apart() {
        let wrong =
            |index: usize, nth: usize| if index.is_multiple_of(3) { "I do not know.".to_owned() } else { steady(index, nth) };
        let reworded = |index: usize, _: usize| format!("{}! That is what you get when you add them up, my friend.", index + 1);
        for (model, expected) in [
            (SAME, vec![]),
            (Model { name: "m-2", ..SAME }, vec!["model_name"]),
            (Model { fingerprint: "other", ..SAME }, vec!["system_fingerprint"]),
            (Model { extra_tokens: 40, ..SAME }, vec!["input_tokens"]),
            (Model { says: &reworded, ..SAME }, vec!["answers"]),
            (Model { says: &wrong, ..SAME }, vec!["score", "answers"]),
        ] {
            assert_eq!(changes(&model, 3, 60), expected);
        }
        // Asked once, nobody can tell varied answers from strange ones; scores can be told.
        assert_eq!(changes(&Model { says: &reworded, ..SAME }, 1, 60), Vec::<&str>::new());
        assert_eq!(changes(&Model { says: &wrong, ..SAME }, 1, 60), ["score"]);
    }

    #[test]
    fn answers_that_vary_by_themselves_are_no_change() {
        let set = set(40);
        let says = |salt: usize| {
            move |index: usize, nth: usize| {
                steady(index * 31 + nth * 17 + salt, nth + salt).replace("sum", ["sum", "total"][(index + nth + salt) % 2])
                    + &format!(" So {}.", index + 1)
            }
        };
        let (a, b) = (says(1), says(8));
        let baseline = Baseline::new(run(&set, 3, &Model { says: &a, ..SAME })).unwrap();
        let compared = compare(&run(&set, 3, &Model { says: &b, ..SAME }), &baseline, &Options::default()).unwrap();
        assert!(compared.likeness.unwrap().within < 0.9, "{compared:?}");
        assert!(!compared.has_changed(), "{compared}");
    }

    #[test]
    fn a_category_can_change_alone() {
        let set = set(80);
        let wrong = |index: usize, nth: usize| {
            if index.is_multiple_of(2) && index.is_multiple_of(4) { "I do not know.".to_owned() } else { steady(index, nth) }
        };
        let baseline = Baseline::new(run(&set, 2, &SAME)).unwrap();
        let compared = compare(&run(&set, 2, &Model { says: &wrong, ..SAME }), &baseline, &Options::default()).unwrap();
        let told: Vec<(&str, bool)> =
            compared.categories.iter().map(|one| (one.category.as_str(), one.score.has_changed)).collect();
        assert_eq!(told, [("even", true), ("odd", false)]);
        assert!(compared.verdicts.contains(&Verdict::Drift));
    }

    #[test]
    fn a_small_set_says_what_it_cannot_see() {
        let set = set(6);
        let baseline = Baseline::new(run(&set, 2, &SAME)).unwrap();
        let compared = compare(&run(&set, 2, &SAME), &baseline, &Options::default()).unwrap();
        assert_eq!(compared.least_change, None);
        assert!(compared.notes.iter().any(|note| note.contains("no change at all")), "{:?}", compared.notes);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let (one, other) = (set(10), Set::read("o", r#"{"id":"x","prompt":"y","grader":{"type":"exact","value":"z"}}"#).unwrap());
        let baseline = Baseline::new(run(&one, 1, &SAME)).unwrap();
        assert_eq!(compare(&run(&other, 1, &SAME), &baseline, &Options::default()), Err(NotComparable::NoItems));
        let otherwise = Run { parameters: "other".to_owned(), ..run(&one, 1, &SAME) };
        assert_eq!(compare(&otherwise, &baseline, &Options::default()), Err(NotComparable::Parameters));
        let mut failed = run(&one, 1, &SAME);
        failed
            .items
            .iter_mut()
            .take(3)
            .for_each(|item| item.trials = vec![Trial::failed(crate::ErrorClass::status(401), "401".to_owned())]);
        let error = compare(&failed, &baseline, &Options::default()).unwrap_err().to_string();
        assert!(error.contains("3 of 10") && error.contains("401"), "{error}");
        // Judged by another, and nothing is known of who answered: that they have no item in common would be false.
        let judged = |judge: &str| {
            let mut run = judged(&one, 1, &SAME, judge);
            for trial in run.items.iter_mut().flat_map(|item| &mut item.trials) {
                (trial.model, trial.fingerprint, trial.input_tokens) = (None, None, None);
            }
            run
        };
        let refused = compare(&judged("b"), &Baseline::new(judged("a")).unwrap(), &Options::default());
        assert_eq!(refused, Err(NotComparable::NothingInCommon { items: 10, judged: 10 }));
    }

    #[test]
    fn scores_of_another_judge_are_left_out() {
        let set = set(20);
        let baseline = Baseline::new(judged(&set, 2, &SAME, "a")).unwrap();
        let compared =
            |model: &Model<'_>, judge: &str| compare(&judged(&set, 2, model, judge), &baseline, &Options::default()).unwrap();
        let same = compared(&SAME, "a");
        assert!(same.score.is_some() && same.notes.iter().all(|note| !note.contains("judge")), "{same:?}");
        let by_another = compared(&SAME, "b");
        assert_eq!((by_another.score.clone(), by_another.least_change, by_another.has_changed()), (None, None, false));
        assert!(by_another.notes.iter().any(|note| note.contains("no score can be compared")), "{:?}", by_another.notes);
        assert!(
            by_another.notes.iter().any(|note| note.contains("20 items were judged by another model")),
            "{:?}",
            by_another.notes
        );
    }

    #[test]
    fn another_judge_hides_no_other_model() {
        let set = set(60);
        let reworded = |index: usize, _: usize| format!("{}! That is what you get when you add them up, my friend.", index + 1);
        let baseline = Baseline::new(judged(&set, 3, &SAME, "a")).unwrap();
        for (model, change) in [
            (Model { name: "m-2", ..SAME }, Change::ModelName),
            (Model { fingerprint: "other", ..SAME }, Change::SystemFingerprint),
            (Model { extra_tokens: 40, ..SAME }, Change::InputTokens),
            (Model { says: &reworded, ..SAME }, Change::Answers),
        ] {
            let compared = compare(&judged(&set, 3, &model, "b"), &baseline, &Options::default()).unwrap();
            assert_eq!(compared.changes, BTreeSet::from([change]));
            assert_eq!(compared.verdicts, BTreeSet::from([Verdict::TamperingOrSwap]));
            let json = serde_json::to_string(&compared).unwrap();
            assert_eq!(serde_json::from_str::<Comparison>(&json).unwrap(), compared);
        }
    }
}
