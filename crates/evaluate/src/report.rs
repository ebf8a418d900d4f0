//! What is told of a run: to people, to programs, and to the record.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::compare::{Change, Comparison, FIRST_REASON, NotComparable, Options, Verdict, compare};
use crate::error_class::{ErrorClass, why};
use crate::run::{Baseline, BaselineError, Run, Summary};

/// A run, without its sketches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// What the evaluation is called.
    pub name: String,
    /// The set.
    pub set: String,
    /// Its digest.
    pub set_digest: String,
    /// The interface that was spoken.
    pub api: String,
    /// The host that was asked.
    pub host: String,
    /// The model that was asked for.
    pub model: String,
    /// When it began, in nanoseconds since 1970.
    pub started_ns: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Sums.
    pub summary: Summary,
    /// What came of the comparison.
    pub outcome: Outcome,
    /// The comparison, where there was one.
    pub comparison: Option<Comparison>,
    /// Why there was none, although there was a baseline; why the run says nothing by itself; or what is missing of it.
    pub problem: Option<String>,
    /// Digest of the baseline.
    pub baseline: Option<String>,
    /// Its items.
    pub items: Vec<ItemReport>,
}

/// What came of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// There was nothing to compare with.
    NotCompared,
    /// Nothing has changed that can be seen.
    NoChange,
    /// Something has.
    Changed,
    /// The time that it was given was over before every answer had come, and what came shows no change.
    Incomplete,
    /// It could not be run, or not be compared.
    Failed,
}

/// What came of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemReport {
    /// Its id.
    pub id: String,
    /// Its category.
    pub category: Option<String>,
    /// Mean of its scores, 0 to 1; none where there is none.
    pub score: Option<f64>,
    /// Answers that passed, and answers that have a score.
    pub passed: u32,
    /// See [`passed`](Self::passed).
    pub scored: u32,
    /// The model that answered first, as it calls itself.
    pub model: Option<String>,
    /// The provider's id of the first answer.
    pub response_id: Option<String>,
    /// Mean time of an answer, in milliseconds.
    pub latency_ms: Option<u64>,
    /// Why a score is missing, with what the endpoint said of it.
    pub error: Option<String>,
    /// The same in words of ours; none in what older versions wrote.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::error_class::known")]
    pub error_class: Option<ErrorClass>,
}

impl Outcome {
    /// The name that JSON and events use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotCompared => "not_compared",
            Self::NoChange => "no_change",
            Self::Changed => "changed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }
}

impl Report {
    /// Compares a run, where there is something to compare it with.
    ///
    /// # Errors
    /// When the baseline cannot be digested, which does not happen.
    pub fn of(name: &str, run: &Run, baseline: Option<&Baseline>, options: &Options) -> Result<Self, BaselineError> {
        let compared = baseline.map(|baseline| compare(run, baseline, options));
        let (outcome, comparison, problem) = match compared {
            None => match failed(run) {
                None => (Outcome::NotCompared, None, None),
                Some(problem) => (Outcome::Failed, None, Some(problem)),
            },
            Some(Ok(comparison)) if comparison.has_changed() => (Outcome::Changed, Some(comparison), None),
            Some(Ok(comparison)) => (Outcome::NoChange, Some(comparison), None),
            Some(Err(error)) => (Outcome::Failed, None, Some(error.to_string())),
        };
        // What was seen to change has changed, however much is missing. Nothing else can be said of half a run.
        let (outcome, comparison, problem) = match (outcome, missing(run)) {
            (outcome, None) => (outcome, comparison, problem),
            (Outcome::Changed, missing) => (Outcome::Changed, comparison, missing),
            (_, missing) => (Outcome::Incomplete, None, missing),
        };
        Ok(Self {
            name: name.to_owned(),
            set: run.set.clone(),
            set_digest: run.set_digest.clone(),
            api: run.api.as_str().to_owned(),
            host: run.host.clone(),
            model: run.model.clone(),
            started_ns: run.started_ns,
            duration_ms: run.duration_ms,
            summary: run.summary(),
            outcome,
            comparison,
            problem,
            baseline: baseline.map(Baseline::digest).transpose()?,
            items: run.items.iter().map(ItemReport::of).collect(),
        })
    }

    /// What stands in the way of a comparison, in words of ours. Older versions quoted an endpoint there, whose words are a stranger's: what
    /// follows the mark of a reason is never taken over, but said anew of the item's class.
    #[must_use]
    pub fn problem_in_our_words(&self) -> Option<String> {
        let problem = self.problem.as_deref()?;
        let Some((ours, _)) = problem.split_once(FIRST_REASON) else { return Some(problem.to_owned()) };
        let first = self.items.iter().find(|item| item.score.is_none() && item.error.is_some());
        let reason = first.map_or(Some(ErrorClass::NOT_ASKED), |item| item.error_class);
        Some(format!("{ours}{FIRST_REASON}{}", why(reason)))
    }

    /// The report in words.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let sums = &self.summary;
        let percent = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0));
        let list = |names: &std::collections::BTreeSet<String>| {
            if names.is_empty() { "not told".to_owned() } else { names.iter().cloned().collect::<Vec<_>>().join(", ") }
        };
        let _ = writeln!(text, "{} of {} at {} ({})", self.set, self.model, self.host, self.api);
        let _ = writeln!(
            text,
            "items {}, without a score {}; score {}, answers that pass {}, refusals {}; answers take {} ms (95 %: {} ms); tokens {} in, {} out; model that \
             answered: {}",
            sums.items + sums.failed,
            sums.failed,
            percent(sums.score),
            percent(sums.pass_rate),
            percent(sums.refusal_rate),
            sums.latency_p50_ms.map_or_else(|| "-".to_owned(), |ms| ms.to_string()),
            sums.latency_p95_ms.map_or_else(|| "-".to_owned(), |ms| ms.to_string()),
            sums.input_tokens,
            sums.output_tokens,
            list(&sums.models),
        );
        for item in self.items.iter().filter(|item| item.error.is_some()).take(5) {
            // What the endpoint said is a stranger's text: the report for programs has it, sanitised.
            let _ = writeln!(text, "  {}: {}", item.id, why(item.error_class));
        }
        if let Some(compared) = &self.comparison {
            let marked = |has_changed: bool| if has_changed { "  CHANGED" } else { "" };
            let mark = |change: Change| marked(compared.changes.contains(&change));
            let mut row = |name: &str, score: &crate::ScoreChange| {
                let _ = writeln!(
                    text,
                    "  {name}: {:.1} % -> {:.1} % ({} items, p {}, corrected p {}){}",
                    score.before * 100.0,
                    score.after * 100.0,
                    score.items,
                    probability(score.p),
                    probability(score.p_corrected),
                    marked(score.has_changed),
                );
            };
            compared.score.iter().for_each(|score| row("score", score));
            compared.categories.iter().for_each(|one| row(&format!("category {}", one.category), &one.score));
            if let Some(like) = compared.likeness {
                let _ = writeln!(
                    text,
                    "  likeness of answers to one prompt: {:.2} on one side, {:.2} on both (p {}){}",
                    like.within,
                    like.between,
                    probability(like.p),
                    mark(Change::Answers),
                );
            }
            let pair =
                |what: Change, name: &str, [before, after]: &[std::collections::BTreeSet<String>; 2], text: &mut String| {
                    if before != after {
                        let _ = writeln!(text, "  {name}: {} -> {}{}", list(before), list(after), mark(what));
                    }
                };
            pair(Change::ModelName, "model that answers", &compared.models, &mut text);
            pair(Change::SystemFingerprint, "system fingerprint", &compared.fingerprints, &mut text);
            if compared.other_input_tokens.is_some_and(|share| share > 0.0) {
                let share = percent(compared.other_input_tokens);
                let _ = writeln!(text, "  prompts with another number of tokens: {share}{}", mark(Change::InputTokens));
            }
            if compared.items_apart > 0 {
                let _ = writeln!(text, "  items of one side alone, which are not compared: {}", compared.items_apart);
            }
            for note in &compared.notes {
                let _ = writeln!(text, "  note: {note}");
            }
        }
        let verdict = match (&self.comparison, &self.problem_in_our_words()) {
            (Some(compared), Some(problem)) => format!("{}; {problem}", words(compared)),
            (None, Some(problem)) => format!("{}: {problem}", self.outcome.as_str()),
            (Some(compared), None) => words(compared),
            (None, None) => "not compared: no baseline was named".to_owned(),
        };
        let _ = writeln!(text, "{verdict}");
        text
    }
}

/// Why a run says nothing by itself: hardly an item has a score.
fn failed(run: &Run) -> Option<String> {
    match crate::compare::check_answered(run) {
        Err(NotComparable::Failed { failed, items, reason }) => Some(NotComparable::Failed { failed, items, reason }.to_string()),
        _ => None,
    }
}

/// What is missing of a run whose time was over.
fn missing(run: &Run) -> Option<String> {
    let all: usize = run.items.iter().map(|item| item.trials.len()).sum();
    (run.missing > 0).then(|| {
        format!(
            "the time of the run was over with {} of {all} answers missing: the endpoint is slow or stalls; see to it, or give the run \
             longer (deadline)",
            run.missing
        )
    })
}

fn words(compared: &Comparison) -> String {
    let changes: Vec<&str> = compared.changes.iter().map(|change| change.as_str()).collect();
    let said: Vec<&str> = compared
        .verdicts
        .iter()
        .map(|verdict| match verdict {
            Verdict::NoChange => "no change",
            Verdict::Drift => "drift",
            Verdict::TamperingOrSwap => "model tampering or swap",
        })
        .collect();
    if changes.is_empty() { said.join(", ") } else { format!("{}: {}", said.join(", "), changes.join(", ")) }
}

fn probability(p: f64) -> String {
    if p < 0.0001 { "< 0.0001".to_owned() } else { format!("= {p:.4}") }
}

impl ItemReport {
    fn of(item: &crate::ItemRun) -> Self {
        let answered: Vec<_> = item.trials.iter().filter(|trial| trial.sketch.is_some()).collect();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let failed = item.trials.iter().find(|trial| trial.error.is_some());
        let total: u64 = answered.iter().map(|trial| trial.latency_ms).sum();
        Self {
            id: item.id.clone(),
            category: item.category.clone(),
            score: item.score(),
            passed: count(item.trials.iter().filter(|trial| trial.passed).count()),
            scored: count(item.trials.iter().filter(|trial| trial.score.is_some()).count()),
            model: answered.iter().find_map(|trial| trial.model.clone()),
            response_id: answered.iter().find_map(|trial| trial.response_id.clone()),
            latency_ms: (!answered.is_empty()).then(|| total / answered.len() as u64),
            error: failed.and_then(|trial| trial.error.clone()),
            error_class: failed.and_then(|trial| trial.error_class),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, Api, Parameters, Set, Trial};

    #[test]
    fn a_report_tells_what_came_of_a_run_and_is_read_back() {
        let set = Set::read("s", r#"{"id":"a","prompt":"2+2?","grader":{"type":"exact","value":"4"}}"#).unwrap();
        let parameters = Parameters { model: "m".to_owned(), temperature: None, max_tokens: 9, more: Default::default() };
        let mut run = Run::of(&set, Api::OpenaiChat, "h", &parameters, 1);
        let unasked = Report::of("n", &run, None, &Options::default()).unwrap();
        assert_eq!((unasked.outcome, unasked.problem.is_some()), (Outcome::Failed, true));
        let answer = Answer { text: "4".to_owned(), model: Some("m-1".to_owned()), ..Answer::default() };
        run.items[0].trials = vec![Trial::of(&answer, set.items[0].grader.grade("4", false), None, 5)];
        let alone = Report::of("n", &run, None, &Options::default()).unwrap();
        assert_eq!((alone.outcome, alone.items[0].passed), (Outcome::NotCompared, 1));
        let mut other = run.clone();
        other.items[0].trials[0].model = Some("m-2".to_owned());
        let report = Report::of("n", &other, Some(&Baseline::new(run).unwrap()), &Options::default()).unwrap();
        assert_eq!(report.outcome, Outcome::Changed);
        assert!(
            report.text().contains("m-1 -> m-2  CHANGED") && report.text().contains("model tampering or swap: model_name"),
            "{}",
            report.text()
        );
        let again: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(again, report);
    }

    #[test]
    fn each_change_of_the_verdict_is_marked_where_its_figure_stands() {
        let rows: String = (0..30)
            .map(|n| format!("{{\"id\":\"{n}\",\"prompt\":\"p{n}\",\"grader\":{{\"type\":\"contains\",\"value\":\"4\"}}}}\n"))
            .collect();
        let set = Set::read("s", &rows).unwrap();
        let parameters = Parameters { model: "m".to_owned(), temperature: None, max_tokens: 9, more: Default::default() };
        let asked = |words: &str| {
            let mut run = Run::of(&set, Api::OpenaiChat, "h", &parameters, 1);
            for (item, of_set) in run.items.iter_mut().zip(&set.items) {
                let answer = |number: u32| Answer { text: format!("{words} 4 {number}"), ..Answer::default() };
                let trial = |number| Trial::of(&answer(number), of_set.grader.grade(&answer(number).text, false), None, 5);
                item.trials = vec![trial(1), trial(2)];
            }
            run
        };
        let baseline = Baseline::new(asked("the sum that you asked for is clearly")).unwrap();
        let report = Report::of("n", &asked("it must have been about"), Some(&baseline), &Options::default()).unwrap();
        let text = report.text();
        assert!(text.contains("swap: answers"), "{text}");
        let likeness = text.lines().find(|line| line.contains("likeness")).unwrap();
        assert!(likeness.ends_with("(p < 0.0001)  CHANGED") && !text.contains("= <"), "{text}");
        assert!(!text.lines().any(|line| line.contains("  score:") && line.contains("CHANGED")), "{text}");
    }

    #[test]
    fn what_an_endpoint_said_is_in_no_problem_of_a_run() {
        let rows = r#"{"id":"a","prompt":"2+2?","grader":{"type":"exact","value":"4"}}
{"id":"b","prompt":"2+3?","grader":{"type":"exact","value":"5"}}"#;
        let set = Set::read("s", rows).unwrap();
        let parameters = Parameters { model: "m".to_owned(), temperature: None, max_tokens: 9, more: Default::default() };
        // One is the beginning of the other, in either order.
        let (short, long) = ("401 Unauthorized", "401 Unauthorized: visit evil.example; the first reason: evil.example");
        for said in [[short, long], [long, short]] {
            let mut run = Run::of(&set, Api::OpenaiChat, "h", &parameters, 1);
            for (item, said) in run.items.iter_mut().zip(said) {
                item.trials = vec![Trial::failed(ErrorClass::status(401), said.to_owned())];
            }
            let mut report = Report::of("n", &run, None, &Options::default()).unwrap();
            let ours = "2 of 2 items have no score; the first reason: the key is refused (HTTP 401)";
            assert_eq!((report.problem.as_deref(), report.problem_in_our_words().as_deref()), (Some(ours), Some(ours)));
            // As older versions said it.
            report.problem = Some(format!("2 of 2 items have no score; the first reason: {}", said[0]));
            assert_eq!(report.problem_in_our_words().as_deref(), Some(ours));
            assert!(!report.text().contains("evil.example"), "{}", report.text());
        }
    }

    #[test]
    fn half_a_run_says_what_it_shows_and_no_more() {
        let set = Set::read("s", r#"{"id":"a","prompt":"2+2?","grader":{"type":"exact","value":"4"}}"#).unwrap();
        let parameters = Parameters { model: "m".to_owned(), temperature: None, max_tokens: 9, more: Default::default() };
        let asked = |model: &str, repeat: usize| {
            let mut run = Run::of(&set, Api::OpenaiChat, "h", &parameters, 1);
            let answer = Answer { text: "4".to_owned(), model: Some(model.to_owned()), ..Answer::default() };
            run.items[0].trials = vec![Trial::of(&answer, set.items[0].grader.grade("4", false), None, 5)];
            run.close(repeat);
            run
        };
        let baseline = Baseline::new(asked("m-1", 1)).unwrap();
        for (run, baseline, outcome, said) in [
            (asked("m-1", 1), Some(&baseline), Outcome::NoChange, "no change"),
            (asked("m-1", 3), Some(&baseline), Outcome::Incomplete, "incomplete: the time of the run was over with 2 of 3"),
            (asked("m-1", 3), None, Outcome::Incomplete, "incomplete: the time of the run was over"),
            (asked("m-2", 3), Some(&baseline), Outcome::Changed, "model tampering or swap: model_name; the time of the run"),
        ] {
            let report = Report::of("n", &run, baseline, &Options::default()).unwrap();
            assert_eq!(
                (report.outcome, report.comparison.is_some()),
                (outcome, matches!(outcome, Outcome::NoChange | Outcome::Changed))
            );
            assert!(report.text().contains(said), "{}", report.text());
        }
    }
}
