//! Which Sigma rules there are, and how much is told of each.

use std::fmt;
use std::path::PathBuf;

use detect::AlertBudget;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::error::ConfigError;

/// Which Sigma rules there are. `rules = "DIR"` is the same as one directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RulesConfig {
    /// Directories of Sigma rules, with those below them, or single files. A later one goes before an earlier one, and each before the
    /// rules that are part of the program, where they have rules of the same id.
    pub dirs: Vec<PathBuf>,
    /// Whether the rules that are part of the program are used.
    pub builtin: bool,
    /// Whether a rule of the directories is left out that has not an example on which it fires and one on which it does not.
    pub strict: bool,
    /// Ids of rules that are not used.
    pub disable: Vec<String>,
    /// How many detections of a rule are told of in an hour.
    pub alert_budget: AlertBudget,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self { dirs: Vec::new(), builtin: true, strict: false, disable: Vec::new(), alert_budget: AlertBudget::default() }
    }
}

impl RulesConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        // Of the first of each entity none is a budget, too.
        let AlertBudget { per_hour, per_entity_hour, per_entity_first: _ } = self.alert_budget;
        let budgets = [("rules.alert_budget.per_hour", per_hour), ("rules.alert_budget.per_entity_hour", per_entity_hour)];
        match budgets.into_iter().find(|(_, value)| *value == 0) {
            None => Ok(()),
            Some((field, _)) => Err(ConfigError::Number { field, value: 0, min: 1, max: u64::from(u32::MAX) }),
        }
    }
}

/// The table as written.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Table {
    dirs: Vec<PathBuf>,
    builtin: bool,
    strict: bool,
    disable: Vec<String>,
    alert_budget: AlertBudget,
}

impl Default for Table {
    fn default() -> Self {
        let RulesConfig { dirs, builtin, strict, disable, alert_budget } = RulesConfig::default();
        Self { dirs, builtin, strict, disable, alert_budget }
    }
}

impl<'de> Deserialize<'de> for RulesConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = RulesConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table [rules], or a directory as text")
            }

            fn visit_str<E>(self, dir: &str) -> Result<RulesConfig, E> {
                Ok(RulesConfig { dirs: vec![PathBuf::from(dir)], ..RulesConfig::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RulesConfig, A::Error> {
                let Table { dirs, builtin, strict, disable, alert_budget } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RulesConfig { dirs, builtin, strict, disable, alert_budget })
            }
        }
        deserializer.deserialize_any(Form)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn a_directory_and_a_table_are_read_and_mistakes_named() {
        let read = |text: &str| toml::from_str::<Config>(text).map(|config| config.rules);
        let dir = |dir: &str| vec![PathBuf::from(dir)];
        assert_eq!(read("rules = \"/r\"").unwrap(), RulesConfig { dirs: dir("/r"), ..RulesConfig::default() });
        let table = "[rules]\ndirs = [\"/r\"]\nstrict = true\ndisable = [\"x\"]\nalert_budget = { per_hour = 7 }";
        let expected = RulesConfig {
            dirs: dir("/r"),
            strict: true,
            disable: vec!["x".to_owned()],
            alert_budget: AlertBudget { per_hour: 7, ..AlertBudget::default() },
            ..RulesConfig::default()
        };
        assert_eq!(read(table).unwrap(), expected);
        for (text, names) in
            [("[rules]\ndir = []", "dir"), ("rules = 3", "[rules]"), ("[rules.alert_budget]\nper_day = 1", "per_day")]
        {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(names), "{error}");
        }
        let none = toml::from_str::<Config>("[rules.alert_budget]\nper_hour = 0").unwrap().check().unwrap_err().to_string();
        assert!(none.contains("rules.alert_budget.per_hour"), "{none}");
    }
}
