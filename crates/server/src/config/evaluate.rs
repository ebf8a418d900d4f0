//! Evaluations of models on schedule.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use ::evaluate::{Api, Parameters};
use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::gateway::read_secret;
use super::intel::is_feed_name;
use crate::evaluating::{Asking, Target};

/// Most evaluations.
const EVALUATIONS_MAX: usize = 64;
/// What runs more often than every minute measures load; after a month it is no watch.
const EVERY: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(31 * 86_400);
/// More answers to one item tell hardly more.
const REPEAT: std::ops::RangeInclusive<u64> = 1..=16;
const CONCURRENCY: std::ops::RangeInclusive<u64> = 1..=64;
/// A run that may take longer than a day is none that anybody waits for.
const DEADLINE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 100..=600_000;

/// An evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluateConfig {
    /// What it is called in the record: letters, digits, `-` and `_`.
    pub name: String,
    /// The benchmark set: JSONL.
    pub set: PathBuf,
    /// The whole address that is posted to.
    pub endpoint: String,
    /// What is spoken there.
    #[serde(default = "openai_chat")]
    pub api: Api,
    /// The model that is asked for.
    pub model: String,
    /// The key that is sent: `env:VARIABLE` or `file:/path`; none without it.
    #[serde(default)]
    pub api_key: Option<String>,
    /// The time from one run to the next: `30m`, `6h`, `1d`.
    pub every: String,
    /// The file of the baseline: that of `watchkeeper eval model --record`; where there is none, the first run is written there.
    pub baseline: PathBuf,
    /// How often each item is asked.
    #[serde(default = "three")]
    pub repeat: u32,
    /// Questions that are under way at once.
    #[serde(default = "four")]
    pub concurrency: u32,
    /// Most requests of a run.
    #[serde(default = "thousands")]
    pub max_calls: u64,
    /// Sampling temperature.
    #[serde(default)]
    pub temperature: f64,
    /// Most tokens of an answer.
    #[serde(default = "tokens")]
    pub max_tokens: u32,
    /// Further members of the request, as the provider names them.
    #[serde(default)]
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// Members of the request that are left out: `temperature` for a model that takes none.
    #[serde(default)]
    pub omit: Vec<String>,
    /// How long an answer may take, in milliseconds.
    #[serde(default = "a_minute")]
    pub timeout_ms: u64,
    /// How long a run may take: `90s`, `30m`, `1h`. What is not answered by then is missing, and the run is incomplete.
    #[serde(default = "an_hour")]
    pub deadline: String,
    /// The probability of calling a model changed that has not.
    #[serde(default = "one_percent")]
    pub alpha: f64,
    /// Who grades items with a judge.
    #[serde(default)]
    pub judge: Option<JudgeConfig>,
}

/// A model that grades.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeConfig {
    /// The whole address that is posted to.
    pub endpoint: String,
    /// What is spoken there.
    #[serde(default = "openai_chat")]
    pub api: Api,
    /// The model that is asked for.
    pub model: String,
    /// The key that is sent: `env:VARIABLE` or `file:/path`; none without it.
    #[serde(default)]
    pub api_key: Option<String>,
}

fn openai_chat() -> Api {
    Api::OpenaiChat
}

fn three() -> u32 {
    3
}

fn four() -> u32 {
    4
}

fn thousands() -> u64 {
    5_000
}

fn tokens() -> u32 {
    512
}

fn a_minute() -> u64 {
    60_000
}

fn an_hour() -> String {
    "1h".to_owned()
}

fn one_percent() -> f64 {
    0.01
}

/// Refuses what cannot work.
pub(super) fn check(all: &[EvaluateConfig]) -> Result<(), ConfigError> {
    let mut names = HashSet::new();
    for one in all {
        let wrong = |field, what: String| ConfigError::Evaluate { name: one.name.clone(), field, what };
        if all.len() > EVALUATIONS_MAX {
            return Err(wrong("name", format!("is one of more than {EVALUATIONS_MAX}; split them over several servers")));
        }
        if !is_feed_name(&one.name) || !names.insert(&one.name) {
            return Err(wrong("name", "must be 1 to 64 letters, digits, - and _, and stand once".to_owned()));
        }
        one.interval()?;
        one.deadline()?;
        for (field, value, bounds) in [
            ("repeat", u64::from(one.repeat), REPEAT),
            ("concurrency", u64::from(one.concurrency), CONCURRENCY),
            ("timeout_ms", one.timeout_ms, TIMEOUT_MS),
            ("max_tokens", u64::from(one.max_tokens), 1..=65_536),
            ("max_calls", one.max_calls, 1..=1_000_000),
        ] {
            if !bounds.contains(&value) {
                return Err(wrong(field, format!("= {value} is out of bounds: {} to {}", bounds.start(), bounds.end())));
            }
        }
        if !(1e-4..=0.2).contains(&one.alpha) {
            return Err(wrong("alpha", "must be 0.0001 to 0.2".to_owned()));
        }
        if !(0.0..=2.0).contains(&one.temperature) {
            return Err(wrong("temperature", "must be 0 to 2".to_owned()));
        }
        if one.model.is_empty() {
            return Err(wrong("model", "is empty: name the model that is asked for".to_owned()));
        }
        one.target()?;
        one.judge_target()?;
    }
    Ok(())
}

impl EvaluateConfig {
    /// The time from one run to the next.
    pub(crate) fn interval(&self) -> Result<Duration, ConfigError> {
        let wrong = |what: String| ConfigError::Evaluate { name: self.name.clone(), field: "every", what };
        let every = duration(&self.every).filter(|every| EVERY.contains(every));
        every.ok_or_else(|| wrong(format!("= {:?} is no time between 1m and 31d; write 30m, 6h or 1d", self.every)))
    }

    /// How long a run may take.
    pub(crate) fn deadline(&self) -> Result<Duration, ConfigError> {
        let wrong = |what: String| ConfigError::Evaluate { name: self.name.clone(), field: "deadline", what };
        let deadline = duration(&self.deadline).filter(|deadline| DEADLINE.contains(deadline));
        deadline.ok_or_else(|| wrong(format!("= {:?} is no time between 1s and 24h; write 90s, 30m or 1h", self.deadline)))
    }

    /// Who is asked.
    pub(crate) fn target(&self) -> Result<Target, ConfigError> {
        let mut more = self.parameters.clone();
        more.extend(self.omit.iter().map(|name| (name.clone(), serde_json::Value::Null)));
        let parameters =
            Parameters { model: self.model.clone(), temperature: Some(self.temperature), max_tokens: self.max_tokens, more };
        let key = self.key("api_key", self.api_key.as_deref())?;
        let target = Target::new(self.api, &self.endpoint, parameters, key.as_deref(), Duration::from_millis(self.timeout_ms));
        target.map_err(|error| ConfigError::Evaluate { name: self.name.clone(), field: "endpoint", what: error.to_string() })
    }

    /// Who judges.
    pub(crate) fn judge_target(&self) -> Result<Option<Target>, ConfigError> {
        let Some(judge) = &self.judge else { return Ok(None) };
        let more = serde_json::Map::new();
        let max_tokens = ::evaluate::judge::JUDGE_TOKENS_MAX;
        let parameters = Parameters { model: judge.model.clone(), temperature: Some(0.0), max_tokens, more };
        let key = self.key("judge.api_key", judge.api_key.as_deref())?;
        let target = Target::new(judge.api, &judge.endpoint, parameters, key.as_deref(), Duration::from_millis(self.timeout_ms));
        let wrong = |what: String| ConfigError::Evaluate { name: self.name.clone(), field: "judge.endpoint", what };
        target.map(Some).map_err(|error| wrong(error.to_string()))
    }

    /// How much is asked.
    pub(crate) fn asking(&self) -> Result<Asking, ConfigError> {
        let concurrency = usize::try_from(self.concurrency).unwrap_or(1);
        Ok(Asking { repeat: self.repeat, concurrency, calls_max: self.max_calls, deadline: self.deadline()? })
    }

    fn key(&self, field: &'static str, source: Option<&str>) -> Result<Option<String>, ConfigError> {
        let wrong = |what| ConfigError::Evaluate { name: self.name.clone(), field, what };
        let key = source.map(read_secret).transpose().map_err(wrong)?;
        Ok(key.map(|key| key.trim().to_owned()))
    }
}

/// A whole number of seconds, minutes, hours or days.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_named() {
        let read = |change: &str| -> Result<(), String> {
            let mut text = String::new();
            for (field, line) in [
                ("name", "name = \"one\""),
                ("set", "set = \"set.jsonl\""),
                ("endpoint", "endpoint = \"http://127.0.0.1:8000/v1/chat/completions\""),
                ("model", "model = \"m\""),
                ("every", "every = \"6h\""),
                ("baseline", "baseline = \"one.json\""),
            ] {
                if !change.starts_with(field) {
                    text += &format!("{line}\n");
                }
            }
            let config: EvaluateConfig = toml::from_str(&(text + change)).map_err(|error| error.to_string())?;
            check(&[config]).map_err(|error| error.to_string())
        };
        for fine in [
            "",
            "every = \"90s\"",
            "deadline = \"90s\"",
            "omit = [\"temperature\"]",
            "parameters = { seed = 7 }",
            "api = \"anthropic\"",
        ] {
            assert_eq!(read(fine), Ok(()), "{fine}");
        }
        for (wrong, named) in [
            ("every = \"6\"", "every"),
            ("every = \"5s\"", "every"),
            ("every = \"9999999999999d\"", "every"),
            ("deadline = \"2d\"", "deadline"),
            ("deadline = \"0s\"", "deadline"),
            ("deadline = \"1\"", "deadline"),
            ("name = \"a b\"", "name"),
            ("endpoint = \"http://models.example/v1\"", "in the clear"),
            ("repeat = 0", "repeat"),
            ("alpha = 0.5", "alpha"),
            ("temperature = 3.0", "temperature"),
            ("api_key = \"sk-literal\"", "does not belong in here"),
            ("api = \"telepathy\"", "telepathy"),
            ("[judge]\nendpoint = \"ftp://x\"\nmodel = \"j\"", "judge.endpoint"),
        ] {
            let problem = read(wrong).unwrap_err();
            assert!(problem.contains(named), "{wrong}: {problem}");
            assert!(!problem.contains("sk-literal"), "{problem}");
        }
    }
}
