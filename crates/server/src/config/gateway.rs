//! The part of the configuration that is the gateway's: policies, and virtual keys with what they stand for.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use capture::gateway::api::names;
use capture::gateway::keys::{Secret, VirtualKey};
use capture::gateway::policy::{Action, OnGuardFailure, Policy, fits};
use capture::gateway::{OnRecordFailure, Provider};
use serde::{Deserialize, Serialize};

/// Longest time that judging a request may take, in milliseconds: longer than that no caller waits for it.
const BUDGET_MS_MAX: u64 = 10_000;

/// Longest file of a provider's key: they are below 1 KiB.
const SECRET_BYTES_MAX: u64 = 16 * 1024;

/// The route of what passes unread.
const UNREAD: &str = "http";

/// What the gateway does beside recording.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// What becomes of a call by what is in it: the first that fits decides; without one it is only recorded.
    pub policy: Vec<PolicyConfig>,
    /// API keys that stand for keys of providers.
    pub key: Vec<VirtualKeyConfig>,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// Its name in records.
    pub id: String,
    /// The APIs that it is for; all of them without it.
    #[serde(default)]
    pub routes: Vec<String>,
    /// The models that it is for; all of them without it.
    #[serde(default)]
    pub models: Vec<String>,
    /// The principals of virtual keys that it is for; everybody without it.
    #[serde(default)]
    pub principals: Vec<String>,
    /// What is done about an attack in a request.
    #[serde(default)]
    pub attacks: ActionConfig,
    /// What is done about sensitive values in a request.
    #[serde(default)]
    pub sensitive: ActionConfig,
    /// What is done about an answer.
    #[serde(default)]
    pub answers: ActionConfig,
    /// The least score that counts as an attack.
    #[serde(default = "deny_score")]
    pub score_min: f32,
    /// How long judging may take, in milliseconds.
    #[serde(default = "budget")]
    pub budget_ms: u64,
    /// What becomes of a call that cannot be judged.
    #[serde(default)]
    pub on_guard_failure: OnFailure,
    /// What becomes of a call that cannot be recorded; as `upstream.fail_open` says without it.
    #[serde(default)]
    pub on_record_failure: Option<OnFailure>,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionConfig {
    /// It is recorded.
    #[default]
    Observe,
    /// It is judged first, and passes.
    Flag,
    /// Sensitive values are replaced.
    Redact,
    /// It does not pass.
    Block,
}

/// What becomes of a call when a part of the gateway fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It is refused.
    #[default]
    Closed,
    /// It passes.
    Open,
}

/// A virtual key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualKeyConfig {
    /// The id of an API key (`watchkeeper keys create --role sensor`).
    pub api_key: String,
    /// Who calls with it.
    pub principal: String,
    /// The provider's key by provider: `env:VARIABLE` or `file:/path`.
    pub provider_keys: BTreeMap<String, String>,
    /// The models that it may ask for; all of them without it.
    #[serde(default)]
    pub models: Vec<String>,
    /// The APIs that it may use; all that are read without it, but for what names an object by its id.
    #[serde(default)]
    pub routes: Vec<String>,
    /// Whether it may use paths that pass unread.
    #[serde(default)]
    pub unread: bool,
    /// Calls within a minute at the most.
    #[serde(default)]
    pub requests_per_minute: Option<u32>,
    /// Tokens within a day at the most.
    #[serde(default)]
    pub tokens_per_day: Option<u64>,
    /// Calls at once at the most.
    #[serde(default)]
    pub concurrent: Option<u32>,
}

fn deny_score() -> f32 {
    event::Verdict::DENY_SCORE_MIN
}

fn budget() -> u64 {
    250
}

/// Why the gateway cannot do as it is told.
#[derive(Debug, thiserror::Error)]
pub enum GatewayConfigError {
    /// A policy.
    #[error("gateway.policy {id:?}: {what}")]
    Policy {
        /// Which.
        id: String,
        /// What is wrong with it, and what to write.
        what: String,
    },
    /// A virtual key.
    #[error("gateway.key {api_key:?}: {what}")]
    Key {
        /// Which.
        api_key: String,
        /// What is wrong with it, and what to write.
        what: String,
    },
}

impl GatewayConfig {
    /// The policies, as the gateway takes them.
    pub fn policies(&self) -> Result<Vec<Policy>, GatewayConfigError> {
        for (at, policy) in self.policy.iter().enumerate() {
            let wrong = |what: String| Err(GatewayConfigError::Policy { id: policy.id.clone(), what });
            if self.policy[..at].iter().any(|other| other.id == policy.id) {
                return wrong("another policy has this id, by which records name it; give each its own".to_owned());
            }
            // One that fits nobody is a typo, and would leave everybody without a policy.
            for pattern in &policy.principals {
                if !self.key.iter().any(|key| fits(pattern, &key.principal)) {
                    return wrong(format!("principals: {pattern:?} fits no principal of a [[gateway.key]]; name one of these"));
                }
            }
        }
        self.policy.iter().map(PolicyConfig::policy).collect()
    }

    /// The virtual keys with their secrets, which are read here.
    pub fn virtual_keys(&self) -> Result<Vec<VirtualKey>, GatewayConfigError> {
        for (at, key) in self.key.iter().enumerate() {
            if self.key[..at].iter().any(|other| other.api_key == key.api_key) {
                let what = "another entry has this api_key; a key stands for one principal".to_owned();
                return Err(GatewayConfigError::Key { api_key: key.api_key.clone(), what });
            }
        }
        self.key.iter().map(VirtualKeyConfig::virtual_key).collect()
    }
}

/// What is wrong with patterns of names; `known` are all names that there are, where that is known.
fn wrong_pattern(field: &str, patterns: &[String], known: Option<&[&str]>) -> Option<String> {
    patterns.iter().find_map(|pattern| {
        let start = pattern.strip_suffix('*').unwrap_or(pattern);
        if pattern.trim() != pattern || pattern.is_empty() || start.contains('*') {
            return Some(format!(
                "{field}: {pattern:?} is no name and no beginning of one; write a name, or a beginning with * at its end"
            ));
        }
        let known = known.filter(|known| !known.iter().any(|name| fits(pattern, name)))?;
        Some(format!("{field}: {pattern:?} fits none of {}", known.join(", ")))
    })
}

impl PolicyConfig {
    fn policy(&self) -> Result<Policy, GatewayConfigError> {
        let wrong = |what: &str| Err(GatewayConfigError::Policy { id: self.id.clone(), what: what.to_owned() });
        if self.id.trim().is_empty() {
            return wrong("it needs an id, by which records name it");
        }
        if self.attacks == ActionConfig::Redact {
            return wrong("attacks = \"redact\": an attack cannot be taken out of a text; choose observe, flag or block");
        }
        let known: Vec<&str> = names().into_iter().chain([UNREAD]).collect();
        let patterns = [
            ("routes", &self.routes, Some(known.as_slice())),
            ("models", &self.models, None),
            ("principals", &self.principals, None),
        ];
        if let Some(what) = patterns.into_iter().find_map(|(field, patterns, known)| wrong_pattern(field, patterns, known)) {
            return wrong(&what);
        }
        if !(0.0..=1.0).contains(&self.score_min) {
            return wrong("score_min is out of bounds: choose 0 to 1");
        }
        if !(1..=BUDGET_MS_MAX).contains(&self.budget_ms) {
            return wrong("budget_ms is out of bounds: choose 1 to 10000 milliseconds");
        }
        Ok(Policy {
            id: self.id.clone(),
            routes: self.routes.clone(),
            models: self.models.clone(),
            principals: self.principals.clone(),
            attacks: self.attacks.into(),
            sensitive: self.sensitive.into(),
            answers: self.answers.into(),
            score_min: self.score_min,
            budget: Duration::from_millis(self.budget_ms),
            on_guard_failure: match self.on_guard_failure {
                OnFailure::Closed => OnGuardFailure::Closed,
                OnFailure::Open => OnGuardFailure::Open,
            },
            on_record_failure: self.on_record_failure.map(|failure| match failure {
                OnFailure::Closed => OnRecordFailure::FailClosed,
                OnFailure::Open => OnRecordFailure::FailOpen,
            }),
        })
    }
}

impl From<ActionConfig> for Action {
    fn from(action: ActionConfig) -> Self {
        match action {
            ActionConfig::Observe => Self::Observe,
            ActionConfig::Flag => Self::Flag,
            ActionConfig::Redact => Self::Redact,
            ActionConfig::Block => Self::Block,
        }
    }
}

impl VirtualKeyConfig {
    fn virtual_key(&self) -> Result<VirtualKey, GatewayConfigError> {
        let wrong = |what: String| GatewayConfigError::Key { api_key: self.api_key.clone(), what };
        if self.api_key.trim().is_empty() || self.principal.trim().is_empty() {
            return Err(wrong("api_key and principal must not be empty: the id of a key, and who calls with it".to_owned()));
        }
        let patterns = [("routes", &self.routes, Some(names())), ("models", &self.models, None)];
        if let Some(what) =
            patterns.into_iter().find_map(|(field, patterns, known)| wrong_pattern(field, patterns, known.as_deref()))
        {
            return Err(wrong(what));
        }
        if self.provider_keys.is_empty() {
            return Err(wrong("provider_keys names no provider, so that nothing could be called; name one".to_owned()));
        }
        let limits = [self.requests_per_minute.map(u64::from), self.tokens_per_day, self.concurrent.map(u64::from)];
        if limits.contains(&Some(0)) {
            return Err(wrong("a limit of 0 lets nothing pass; revoke the key instead, or leave the limit out".to_owned()));
        }
        let mut provider_keys = HashMap::new();
        for (name, source) in &self.provider_keys {
            let provider = Provider::ALL.into_iter().find(|provider| provider.field() == name).ok_or_else(|| {
                let names: Vec<_> = Provider::ALL.map(Provider::field).to_vec();
                wrong(format!("provider_keys.{name} is none of {}", names.join(", ")))
            })?;
            let secret = read_secret(source).map_err(|what| wrong(format!("provider_keys.{name}: {what}")))?;
            provider_keys.insert(provider, Secret::new(&secret));
        }
        Ok(VirtualKey {
            api_key: self.api_key.clone(),
            principal: self.principal.clone(),
            provider_keys,
            models: self.models.clone(),
            routes: self.routes.clone(),
            unread: self.unread,
            requests_per_minute: self.requests_per_minute,
            tokens_per_day: self.tokens_per_day,
            concurrent: self.concurrent,
        })
    }
}

/// Reads the secret that `source` names (`env:VARIABLE` or `file:/path`). The error says what is wrong with it, and not the secret.
pub(crate) fn read_secret(source: &str) -> Result<String, String> {
    let secret = if let Some(variable) = source.strip_prefix("env:") {
        std::env::var(variable).map_err(|_| format!("the variable {variable} is not set"))?
    } else if let Some(path) = source.strip_prefix("file:") {
        let path = PathBuf::from(path);
        if std::fs::metadata(&path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
            tracing::warn!(path = %path.display(), "a provider's key that others than its owner can read: chmod 600");
        }
        let read = files::read_named_at_most(&path, SECRET_BYTES_MAX)
            .and_then(|bytes| bytes.ok_or_else(files::not_there))
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8")));
        read.map_err(|error| format!("{}: {error}", path.display()))?
    } else {
        return Err("it must be env:VARIABLE or file:/path; a key does not belong in here".to_owned());
    };
    if secret.trim().is_empty() { Err("it is empty; write the key into it".to_owned()) } else { Ok(secret) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<GatewayConfig, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn policies_are_read_with_safe_defaults() {
        let config = read("[[policy]]\nid = \"p\"\nattacks = \"block\"\nanswers = \"redact\"").unwrap();
        let policy = config.policies().unwrap().remove(0);
        assert_eq!((policy.attacks, policy.sensitive, policy.answers), (Action::Block, Action::Observe, Action::Redact));
        assert_eq!((policy.on_guard_failure, policy.on_record_failure), (OnGuardFailure::Closed, None));
        for (text, named) in [
            ("[[policy]]\nid = \"\"", "id"),
            ("[[policy]]\nid = \"p\"\nattacks = \"redact\"", "attacks"),
            ("[[policy]]\nid = \"p\"\nscore_min = 1.5", "score_min"),
            ("[[policy]]\nid = \"p\"\nbudget_ms = 0", "budget_ms"),
        ] {
            let error = read(text).unwrap().policies().unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        assert!(read("[[policy]]\nid = \"p\"\nattack = \"block\"").is_err());
    }

    #[test]
    fn what_would_never_fit_is_named() {
        let key = "[[key]]\napi_key = \"key_1\"\nprincipal = \"support\"\nprovider_keys = { openai = \"env:PATH\" }\n";
        let policy = "[[policy]]\nid = \"p\"\n";
        let problem = |text: String| {
            let config = read(&text).unwrap();
            config.policies().err().or_else(|| config.virtual_keys().err()).map(|error| error.to_string())
        };
        for (more, named) in [
            ("routes = [\"openai.*\", \"http\"]\nmodels = [\"gpt-4o*\", \"*\"]\nprincipals = [\"sup*\"]", None),
            ("routes = [\"openai.chta\"]", Some("routes: \"openai.chta\" fits none of")),
            ("routes = [\"*.chat\"]", Some("routes: \"*.chat\" is no name")),
            ("models = [\"*mini\"]", Some("models: \"*mini\"")),
            ("models = [\"\"]", Some("models")),
            ("principals = [\"sales\"]", Some("principals: \"sales\" fits no principal")),
        ] {
            let problem = problem(format!("{policy}{more}\n{key}"));
            assert_eq!(problem.is_some(), named.is_some(), "{more}: {problem:?}");
            assert!(
                named.is_none_or(|named| problem.as_deref().is_some_and(|problem| problem.contains(named))),
                "{more}: {problem:?}"
            );
        }
        for (text, named) in [
            (format!("{key}routes = [\"openai.chat\"]\nunread = true\nconcurrent = 1"), None),
            (format!("{key}routes = [\"http\"]"), Some("routes")),
            (format!("{key}concurrent = 0"), Some("limit of 0")),
            (format!("{key}{key}"), Some("another entry")),
            (key.replace("support", " "), Some("principal")),
            (key.replace("openai = \"env:PATH\"", ""), Some("no provider")),
            (format!("{policy}{policy}"), Some("another policy")),
            (key.replace("env:PATH", "file:/dev/zero"), Some("provider_keys.openai: /dev/zero")),
        ] {
            let problem = problem(text.clone());
            assert_eq!(problem.is_some(), named.is_some(), "{text}: {problem:?}");
            assert!(
                named.is_none_or(|named| problem.as_deref().is_some_and(|problem| problem.contains(named))),
                "{text}: {problem:?}"
            );
        }
    }

    #[test]
    fn a_providers_key_comes_from_a_file_or_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "not-a-key\n").unwrap();
        let of = |source: &str, provider: &str| {
            let text =
                format!("[[key]]\napi_key = \"key_1\"\nprincipal = \"p\"\nprovider_keys = {{ {provider} = \"{source}\" }}");
            read(&text).unwrap().virtual_keys()
        };
        let key = of(&format!("file:{}", path.display()), "openai").unwrap().remove(0);
        assert_eq!(key.provider_keys[&Provider::OpenAi], Secret::new("not-a-key"));
        for (source, provider, named) in [
            ("sk-in-the-clear", "openai", "does not belong"),
            ("env:WK_NO_SUCH_VARIABLE", "openai", "not set"),
            ("file:/none", "nobody", "none of"),
        ] {
            let error = of(source, provider).unwrap_err().to_string();
            assert!(error.contains(named) && !error.contains("in-the-clear"), "{error}");
        }
    }
}
