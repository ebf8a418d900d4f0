//! What came of a set, and the runs that others are compared with.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::api::{Answer, Parameters};
use crate::error_class::ErrorClass;
use crate::grade::Grade;
use crate::set::{Item, Set};
use crate::sketch::Sketch;
use crate::{Api, sha256_hex};

/// The form of a baseline's file.
const FORMAT: &str = "watchkeeper.evaluation.baseline/1";
/// Most runs of a baseline: a week of one a day.
const RUNS_MAX: usize = 8;
/// Largest file of a baseline, in bytes: 8 runs of 10,000 items with three sketches of 2 KB would be more; such a set is cut in parts.
pub(crate) const BASELINE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What is said of an answer that the time of the run was too short for.
const NOT_IN_TIME: &str = "not answered in the time of the run";

/// What came of a set that was asked once through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The set.
    pub set: String,
    /// Its digest.
    pub set_digest: String,
    /// What was spoken.
    pub api: Api,
    /// The host that was asked.
    pub host: String,
    /// The model that was asked for.
    pub model: String,
    /// SHA-256 of how it was asked (parameters, but for the model's name), hexadecimal.
    pub parameters: String,
    /// When it began, in nanoseconds since 1970.
    pub started_ns: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Answers that are missing, because the time that the run was given was over: it is no baseline then, and says little.
    #[serde(default, skip_serializing_if = "is_none")]
    pub missing: u64,
    /// Its items, in the order of the set.
    pub items: Vec<ItemRun>,
}

/// What came of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemRun {
    /// Its id.
    pub id: String,
    /// Its digest.
    pub digest: String,
    /// Its category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Each time it was asked.
    pub trials: Vec<Trial>,
}

/// What came of asking once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What the answer is worth, 0 to 1; none where there was no answer, or nobody graded it.
    pub score: Option<f64>,
    /// Whether it passes.
    pub passed: bool,
    /// Whether the model refused.
    pub is_refused: bool,
    /// The answer, as far as it is kept.
    pub sketch: Option<Sketch>,
    /// How long it was, in bytes.
    pub answer_bytes: usize,
    /// The model that answered.
    pub model: Option<String>,
    /// The provider's name for what stands behind it.
    pub fingerprint: Option<String>,
    /// The provider's id of the answer.
    pub response_id: Option<String>,
    /// Tokens read.
    pub input_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
    /// How long the answer took, in milliseconds, without retries.
    pub latency_ms: u64,
    /// The model that judged, where one did.
    pub judge: Option<String>,
    /// Why there is no score, with what the endpoint said of it.
    pub error: Option<String>,
    /// The same in words of ours; none in what older versions wrote.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::error_class::known")]
    pub error_class: Option<ErrorClass>,
}

/// Sums of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Items with a score.
    pub items: usize,
    /// Items without one.
    pub failed: usize,
    /// Mean of the items' scores.
    pub score: Option<f64>,
    /// Share of answers that pass.
    pub pass_rate: Option<f64>,
    /// Share of answers that refuse.
    pub refusal_rate: Option<f64>,
    /// Half of the answers took no longer, in milliseconds.
    pub latency_p50_ms: Option<u64>,
    /// 95 of 100 answers took no longer, in milliseconds.
    pub latency_p95_ms: Option<u64>,
    /// Tokens read, all answers together.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Models that answered.
    pub models: BTreeSet<String>,
    /// What the provider named as standing behind them.
    pub fingerprints: BTreeSet<String>,
}

impl Trial {
    /// An answer with its grade; `judge` is who gave it, where somebody else did.
    #[must_use]
    pub fn of(answer: &Answer, grade: Option<Grade>, judge: Option<String>, latency_ms: u64) -> Self {
        Self {
            score: grade.map(|grade| grade.score),
            passed: grade.is_some_and(|grade| grade.passed),
            is_refused: answer.is_refused || inspect::is_refusal(&answer.text),
            sketch: Some(Sketch::of(&answer.text)),
            answer_bytes: answer.text.len(),
            model: answer.model.clone(),
            fingerprint: answer.fingerprint.clone(),
            response_id: answer.id.clone(),
            input_tokens: answer.input_tokens,
            output_tokens: answer.output_tokens,
            finish_reason: answer.finish_reason.clone(),
            latency_ms,
            judge,
            error: None,
            error_class: None,
        }
    }

    /// No answer.
    #[must_use]
    pub fn failed(class: ErrorClass, error: String) -> Self {
        Self { error: Some(error), error_class: Some(class), ..Self::default() }
    }
}

impl Run {
    /// An empty run of a set; [`items`](Self::items) are to be filled.
    #[must_use]
    pub fn of(set: &Set, api: Api, host: &str, parameters: &Parameters, started_ns: u64) -> Self {
        let how = Parameters { model: String::new(), ..parameters.clone() };
        let how = serde_json::to_string(&how).unwrap_or_default();
        let items = set.items.iter().map(ItemRun::of).collect();
        Self {
            set: set.name.clone(),
            set_digest: set.digest.clone(),
            api,
            host: host.to_owned(),
            model: parameters.model.clone(),
            parameters: sha256_hex(&[api.as_str().as_bytes(), how.as_bytes()]),
            started_ns,
            duration_ms: 0,
            missing: 0,
            items,
        }
    }

    /// The time that the run was given is over: each item should have been asked `repeat` times, and what is missing of that is noted.
    pub fn close(&mut self, repeat: usize) {
        for item in &mut self.items {
            let missing = repeat.saturating_sub(item.trials.len());
            item.trials.extend((0..missing).map(|_| Trial::failed(ErrorClass::NOT_ASKED, NOT_IN_TIME.to_owned())));
            self.missing = self.missing.saturating_add(missing as u64);
        }
    }

    /// Sums.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let scored: Vec<f64> = self.items.iter().filter_map(ItemRun::score).collect();
        let trials = || self.items.iter().flat_map(|item| &item.trials);
        let answered = trials().filter(|trial| trial.sketch.is_some());
        let mut latencies: Vec<u64> = answered.map(|trial| trial.latency_ms).collect();
        latencies.sort_unstable();
        let quantile = |q: usize| latencies.get((latencies.len() * q / 100).min(latencies.len().saturating_sub(1))).copied();
        let share = |of: &dyn Fn(&Trial) -> bool, all: &dyn Fn(&Trial) -> bool| {
            let (count, all) =
                trials().filter(|trial| all(trial)).fold((0_u32, 0_u32), |(count, n), one| (count + u32::from(of(one)), n + 1));
            (all > 0).then(|| f64::from(count) / f64::from(all))
        };
        let names = |of: &dyn Fn(&Trial) -> Option<&String>| trials().filter_map(|trial| of(trial).cloned()).collect();
        let sum = |of: &dyn Fn(&Trial) -> Option<u64>| trials().filter_map(of).fold(0, u64::saturating_add);
        Summary {
            items: scored.len(),
            failed: self.items.len() - scored.len(),
            score: (!scored.is_empty()).then(|| scored.iter().sum::<f64>() / scored.len() as f64),
            pass_rate: share(&|trial| trial.passed, &|trial| trial.score.is_some()),
            refusal_rate: share(&|trial| trial.is_refused, &|trial| trial.sketch.is_some()),
            latency_p50_ms: quantile(50),
            latency_p95_ms: quantile(95),
            input_tokens: sum(&|trial| trial.input_tokens),
            output_tokens: sum(&|trial| trial.output_tokens),
            models: names(&|trial| trial.model.as_ref()),
            fingerprints: names(&|trial| trial.fingerprint.as_ref()),
        }
    }
}

impl ItemRun {
    fn of(item: &Item) -> Self {
        Self { id: item.id.clone(), digest: item.digest.clone(), category: item.category.clone(), trials: Vec::new() }
    }

    /// Mean of the scores that there are.
    #[must_use]
    pub fn score(&self) -> Option<f64> {
        let scores: Vec<f64> = self.trials.iter().filter_map(|trial| trial.score).collect();
        (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
    }
}

/// Runs that others are compared with: of one set and one way of asking.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    format: String,
    runs: Vec<Run>,
}

/// Why a baseline cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// It is not one.
    #[error("this is no baseline of an evaluation: {0}; `watchkeeper eval model --record FILE` writes one")]
    Form(String),
    /// A run cannot be added.
    #[error("the baseline is of another {what}; record a new one")]
    Other {
        /// What differs.
        what: &'static str,
    },
    /// A run was not asked to its end.
    #[error("the run was not asked to its end: {0} answers are missing; give it longer (deadline), or ask less")]
    Incomplete(u64),
    /// There are enough runs.
    #[error("the baseline has {RUNS_MAX} runs, which is enough; record a new one")]
    Full,
}

impl Baseline {
    /// A baseline of one run.
    ///
    /// # Errors
    /// When the run was not asked to its end.
    pub fn new(run: Run) -> Result<Self, BaselineError> {
        check_whole(&run)?;
        Ok(Self { format: FORMAT.to_owned(), runs: vec![run] })
    }

    /// Reads one.
    ///
    /// # Errors
    /// When it is not one, or has no run.
    pub fn from_json(json: &[u8]) -> Result<Self, BaselineError> {
        if json.len() > BASELINE_BYTES_MAX {
            return Err(BaselineError::Form(format!("it has more than {BASELINE_BYTES_MAX} bytes")));
        }
        let read: Self = serde_json::from_slice(json).map_err(|error| BaselineError::Form(error.to_string()))?;
        if read.format != FORMAT {
            return Err(BaselineError::Form(format!("its format is {:.60?}, and not {FORMAT}", read.format)));
        }
        if read.runs.is_empty() || read.runs.len() > RUNS_MAX {
            return Err(BaselineError::Form(format!("it has {} runs", read.runs.len())));
        }
        read.runs.iter().try_for_each(check_whole)?;
        Ok(read)
    }

    /// As a file has it.
    ///
    /// # Errors
    /// Never, with the types that it is made of.
    pub fn to_json(&self) -> Result<Vec<u8>, BaselineError> {
        serde_json::to_vec(self).map_err(|error| BaselineError::Form(error.to_string()))
    }

    /// SHA-256 of what [`to_json`](Self::to_json) writes, hexadecimal: which baseline this was.
    ///
    /// # Errors
    /// As `to_json`.
    pub fn digest(&self) -> Result<String, BaselineError> {
        Ok(sha256_hex(&[&self.to_json()?]))
    }

    /// Adds a run, so that what differs from one run to the next by itself is known better.
    ///
    /// # Errors
    /// When it is of another set, asked otherwise or not to its end, or there are runs enough.
    pub fn add(&mut self, run: Run) -> Result<(), BaselineError> {
        check_whole(&run)?;
        let Some(first) = self.runs.first() else { return Err(BaselineError::Form("it has no run".to_owned())) };
        let differs = [
            ("set", first.set_digest != run.set_digest),
            ("model", first.model != run.model),
            ("way of asking (API, temperature, tokens, parameters)", first.parameters != run.parameters),
        ];
        if let Some((what, _)) = differs.into_iter().find(|(_, differs)| *differs) {
            return Err(BaselineError::Other { what });
        }
        if self.runs.len() == RUNS_MAX {
            return Err(BaselineError::Full);
        }
        self.runs.push(run);
        Ok(())
    }

    /// Its runs.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }
}

fn check_whole(run: &Run) -> Result<(), BaselineError> {
    if run.missing == 0 { Ok(()) } else { Err(BaselineError::Incomplete(run.missing)) }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
fn is_none(missing: &u64) -> bool {
    *missing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(answers: &[&str]) -> Run {
        let set = Set::read("s", r#"{"id":"a","prompt":"2+2?","grader":{"type":"exact","value":"4"}}"#).unwrap();
        let parameters = Parameters { model: "m".to_owned(), temperature: Some(0.0), max_tokens: 9, more: Default::default() };
        let mut run = Run::of(&set, Api::OpenaiChat, "h", &parameters, 1);
        let grader = &set.items[0].grader;
        run.items[0].trials = answers
            .iter()
            .enumerate()
            .map(|(index, text)| {
                let answer = Answer {
                    text: (*text).to_owned(),
                    model: Some("m-1".to_owned()),
                    input_tokens: Some(7),
                    ..Answer::default()
                };
                Trial::of(&answer, grader.grade(text, false), None, 10 * (index as u64 + 1))
            })
            .collect();
        run
    }

    #[test]
    fn sums_are_of_what_there_is() {
        let mut one = run(&["4", "5", "I'm sorry, but I can't help with that."]);
        one.items[0].trials.push(Trial::failed(ErrorClass::TIMEOUT, "timeout".to_owned()));
        let sums = one.summary();
        assert_eq!((sums.items, sums.failed, sums.latency_p50_ms, sums.latency_p95_ms), (1, 0, Some(20), Some(30)));
        assert!((sums.score.unwrap() - 1.0 / 3.0).abs() < 1e-12 && (sums.refusal_rate.unwrap() - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!((sums.input_tokens, sums.models.len()), (21, 1));
        assert_eq!(run(&[]).summary().score, None);
    }

    #[test]
    fn a_baseline_is_read_back_and_takes_runs_of_its_kind_alone() {
        let mut baseline = Baseline::new(run(&["4"])).unwrap();
        baseline.add(run(&["5"])).unwrap();
        let again = Baseline::from_json(&baseline.to_json().unwrap()).unwrap();
        assert_eq!(again, baseline);
        assert!(!String::from_utf8(baseline.to_json().unwrap()).unwrap().contains("2+2"), "a baseline holds no texts");
        let other = Run { model: "n".to_owned(), ..run(&["4"]) };
        assert!(matches!(baseline.add(other), Err(BaselineError::Other { what: "model" })));
        for _ in 2..RUNS_MAX {
            baseline.add(run(&["4"])).unwrap();
        }
        assert!(matches!(baseline.add(run(&["4"])), Err(BaselineError::Full)));
        for broken in ["", "{}", r#"{"format":"x","runs":[]}"#, r#"{"format":"watchkeeper.evaluation.baseline/1","runs":[]}"#] {
            assert!(Baseline::from_json(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_baseline_is_read_back_whatever_it_was_answered() {
        let mut asked = run(&["4"]);
        let classes = [ErrorClass::status(999), ErrorClass::status(600).of_judge(), ErrorClass::NO_SCORE];
        asked.items[0].trials.extend(classes.map(|class| Trial::failed(class, "said".to_owned())));
        let json = Baseline::new(asked.clone()).unwrap().to_json().unwrap();
        assert_eq!(Baseline::from_json(&json).unwrap().runs(), [asked.clone()]);
        // One that a later version knows is none here.
        let later = String::from_utf8(json).unwrap().replace("judge_no_score", "judge_asleep");
        asked.items[0].trials[3].error_class = None;
        assert_eq!(Baseline::from_json(later.as_bytes()).unwrap().runs(), [asked]);
    }

    #[test]
    fn a_run_that_was_not_asked_to_its_end_is_no_baseline() {
        let mut late = run(&["4"]);
        late.close(1);
        assert_eq!((late.missing, late.items[0].trials.len()), (0, 1));
        late.close(3);
        assert_eq!((late.missing, late.items[0].trials.len(), late.items[0].score()), (2, 3, Some(1.0)));
        assert!(matches!(Baseline::new(late.clone()), Err(BaselineError::Incomplete(2))));
        let mut whole = Baseline::new(run(&["4"])).unwrap();
        assert!(matches!(whole.add(late.clone()), Err(BaselineError::Incomplete(2))));
        // Nor does a file that somebody made of one pass.
        whole.runs.push(late);
        assert!(matches!(Baseline::from_json(&whole.to_json().unwrap()), Err(BaselineError::Incomplete(2))));
    }
}
