//! Retention: which class a record belongs to, and how long each class is kept.
//!
//! Classes are data (`content/retention/classes.toml`, and the operator's own in the configuration). A record's class is
//! chosen when it is archived: the first rule that matches it, else the default.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use event::{Kind, RecordedEvent, SourcePath, Timestamp};
use serde::{Deserialize, Serialize};

/// The classes that come with the program.
const PRESETS: &str = include_str!("../../../../content/retention/classes.toml");

/// The class of records when nothing is configured: a year and its audit.
const DEFAULT_CLASS: &str = "soc2";

/// The class of what the program says of erasures, holds and retention: it outlives every record that it speaks of.
pub(crate) const OWN_CLASS: &str = "record";

/// What the names of such events begin with.
const OWN_NAMES: [&str; 3] = ["erasure.", "hold.", "retention."];

/// Seconds of a day.
const DAY_S: u64 = 86_400;

/// A retention class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Its name, by which segments are kept apart: lower-case letters, digits and hyphens.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub title: String,
    /// The law, standard or need that it rests on.
    #[serde(default)]
    pub basis: String,
    /// Days before which nothing is dropped.
    #[serde(default)]
    pub min_days: u32,
    /// Days after which records are dropped; without it they are kept.
    #[serde(default)]
    pub max_days: Option<u32>,
    /// Days after which records leave the hot store.
    pub hot_days: u32,
    /// Whether a person's data may be erased before `min_days`.
    #[serde(default)]
    pub erasure: Erasure,
}

/// What a class says to a request for erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ErasureRule)]
pub enum Erasure {
    /// It is carried out at once.
    #[default]
    OnRequest,
    /// It is refused until `min_days` have passed: a law asks for the record (GDPR article 17(3)(b)).
    AfterMinimum,
}

/// Gives records of a kind or an application a class of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Only events of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Only events of this application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// The class that they get.
    pub class: String,
}

/// `[retention]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The class of records that no rule names.
    pub default: String,
    /// Rules, the first that matches decides.
    pub rule: Vec<Rule>,
    /// Classes of the operator's own; one with the name of a preset takes its place.
    pub class: Vec<Class>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { default: DEFAULT_CLASS.to_owned(), rule: Vec::new(), class: Vec::new() }
    }
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetentionError {
    /// A class is named that does not exist.
    #[error(
        "retention.{field}: there is no class {class:?}; known are {known}; a class of your own goes into [[retention.class]]"
    )]
    UnknownClass {
        /// Which field.
        field: String,
        /// The name.
        class: String,
        /// Those there are.
        known: String,
    },
    /// A class cannot be.
    #[error("retention.class {class:?}: {what}")]
    Class {
        /// Its name.
        class: String,
        /// What is wrong, and what to write instead.
        what: &'static str,
    },
}

/// Which class a record belongs to, and what the classes say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    classes: BTreeMap<String, Class>,
    rules: Vec<Rule>,
    default: String,
}

impl Policy {
    /// The policy of the settings, with the presets below them.
    pub fn new(settings: &Settings) -> Result<Self, RetentionError> {
        let mut classes: BTreeMap<String, Class> = presets().iter().map(|class| (class.name.clone(), class.clone())).collect();
        for class in &settings.class {
            check(class)?;
            classes.insert(class.name.clone(), class.clone());
        }
        let known = || classes.keys().cloned().collect::<Vec<_>>().join(", ");
        let named = std::iter::once(("default".to_owned(), &settings.default))
            .chain(settings.rule.iter().enumerate().map(|(n, rule)| (format!("rule[{n}].class"), &rule.class)));
        for (field, class) in named {
            if !classes.contains_key(class) {
                return Err(RetentionError::UnknownClass { field, class: class.clone(), known: known() });
            }
        }
        Ok(Self { classes, rules: settings.rule.clone(), default: settings.default.clone() })
    }

    /// The class of an event.
    #[must_use]
    pub fn class_of<T: AsRef<str>>(&self, event: &RecordedEvent<T>) -> &str {
        let is_own = event.source.path == SourcePath::Internal && event.kind == Kind::Admin;
        if is_own && OWN_NAMES.iter().any(|begin| event.name.as_ref().starts_with(begin)) {
            return OWN_CLASS;
        }
        let application = event.identity.application.as_ref().map(|application| application.id.as_ref());
        let rule = self.rules.iter().find(|rule| {
            rule.kind.is_none_or(|kind| kind == event.kind)
                && rule.application.as_deref().is_none_or(|wanted| Some(wanted) == application)
        });
        rule.map_or(&self.default, |rule| &rule.class)
    }

    /// The class of records of which the event is not known any more.
    #[must_use]
    pub fn default_class(&self) -> &str {
        &self.default
    }

    /// A class by its name.
    #[must_use]
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.classes.get(name)
    }

    /// Every class, by name.
    pub fn classes(&self) -> impl Iterator<Item = &Class> {
        self.classes.values()
    }

    /// When records that lie in a segment are to be dropped; none where their class has no end. A class that says less by now does not
    /// shorten the least days that were promised when they were sealed, and the program's own class has no end.
    pub(crate) fn end_of(&self, segment: &archive::Segment) -> Option<Timestamp> {
        let class = self.class(segment.class.as_str()).filter(|class| class.name != OWN_CLASS)?;
        let promised = segment.keeps.map_or(0, |keeps| days_ns(keeps.min_days));
        // A segment was sealed after the last of its records had been received.
        let promised = Timestamp::from_unix_ns(segment.sealed_at.unix_ns().saturating_add(promised));
        Some(class.end_of(segment.sealed_at)?.max(promised))
    }

    /// Everything that it says, a line for each class and rule, so that two policies can be compared.
    pub(crate) fn lines(&self) -> BTreeSet<String> {
        let json = |value: serde_json::Result<String>| value.unwrap_or_default();
        let classes = self.classes.values().map(|class| format!("class {}", json(serde_json::to_string(class))));
        let rules = self.rules.iter().enumerate();
        let rules = rules.map(|(number, rule)| format!("rule {number} {}", json(serde_json::to_string(rule))));
        classes.chain(rules).chain([format!("default {}", self.default)]).collect()
    }

    /// The days after which nothing of any class in use stays in the hot store.
    #[must_use]
    pub fn hot_days(&self) -> u32 {
        let used = std::iter::once(&self.default).chain(self.rules.iter().map(|rule| &rule.class));
        used.filter_map(|name| self.classes.get(name)).map(|class| class.hot_days).max().unwrap_or(u32::MAX)
    }
}

/// Days in nanoseconds.
pub(crate) fn days_ns(days: u32) -> u64 {
    u64::from(days) * DAY_S * 1_000_000_000
}

impl Class {
    /// Until when objects that are written at `now` are to be locked, on storage that can.
    #[must_use]
    pub fn locked_until(&self, now: Timestamp) -> Option<Timestamp> {
        let least = days_ns(self.min_days);
        (least > 0).then(|| Timestamp::from_unix_ns(now.unix_ns().saturating_add(least)))
    }

    /// When records that were received until `last` are to be dropped.
    #[must_use]
    pub fn end_of(&self, last: Timestamp) -> Option<Timestamp> {
        Some(Timestamp::from_unix_ns(last.unix_ns().saturating_add(days_ns(self.max_days?.max(self.min_days)))))
    }

    /// What it says, to be sealed with its records.
    #[must_use]
    pub fn keeps(&self) -> archive::Keeps {
        let by_law = self.erasure == Erasure::AfterMinimum;
        archive::Keeps { min_days: self.min_days, max_days: self.max_days, by_law }
    }
}

/// The classes that come with the program.
pub fn presets() -> &'static [Class] {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        class: Vec<Class>,
    }
    static CLASSES: LazyLock<Vec<Class>> =
        LazyLock::new(|| toml::from_str::<File>(PRESETS).map(|file| file.class).unwrap_or_default());
    &CLASSES
}

fn check(class: &Class) -> Result<(), RetentionError> {
    let wrong = |what| Err(RetentionError::Class { class: class.name.chars().take(64).collect(), what });
    let named = !class.name.is_empty()
        && class.name.len() <= 64
        && class.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !named {
        return wrong("name must be 1 to 64 lower-case letters, digits and hyphens");
    }
    if class.name == OWN_CLASS {
        return wrong("is the program's own, for what it says of erasures, holds and retention; choose another name");
    }
    if class.max_days.is_some_and(|max| max < class.min_days) {
        return wrong("max_days must not be below min_days");
    }
    if class.max_days.is_some_and(|max| max < class.hot_days) {
        return wrong("max_days must not be below hot_days");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use event::{Event, Key, Principal, Source, SourcePath};

    use super::*;

    fn event(kind: Kind, application: &str) -> RecordedEvent<String> {
        let mut event = Event::new(kind, "x", Source::new(SourcePath::Api, Key::of("api")));
        event.identity.application = Some(Principal::asserted(application.to_owned()));
        event
    }

    #[test]
    fn presets_load_and_are_sound() {
        assert!(presets().len() >= 8);
        for class in presets().iter().filter(|class| class.name != OWN_CLASS) {
            check(class).unwrap();
        }
        assert!(presets().iter().any(|class| class.name == OWN_CLASS && class.max_days.is_none()));
        Policy::new(&Settings::default()).unwrap();
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rule = |kind, application: Option<&str>, class: &str| Rule {
            kind,
            application: application.map(str::to_owned),
            class: class.to_owned(),
        };
        let policy = Policy::new(&Settings {
            rule: vec![
                rule(Some(Kind::Admin), None, "sec"),
                rule(None, Some("clinic"), "hipaa"),
                rule(Some(Kind::ToolCall), Some("bank"), "pci"),
            ],
            ..Settings::default()
        })
        .unwrap();
        assert_eq!(policy.class_of(&event(Kind::Admin, "clinic")), "sec");
        assert_eq!(policy.class_of(&event(Kind::ToolCall, "clinic")), "hipaa");
        assert_eq!(policy.class_of(&event(Kind::ToolCall, "bank")), "pci");
        assert_eq!(policy.class_of(&event(Kind::ModelCall, "bank")), "soc2");
    }

    #[test]
    fn an_unknown_class_is_named_with_its_field() {
        let settings = Settings { default: "forever".to_owned(), ..Settings::default() };
        let error = Policy::new(&settings).unwrap_err().to_string();
        assert!(error.contains("retention.default") && error.contains("hipaa"), "{error}");
    }

    #[test]
    fn a_minimum_stands_against_dropping_and_where_the_law_asks_against_erasure() {
        let class = |name: &str| presets().iter().find(|class| class.name == name).unwrap();
        let day = |days: u32| Timestamp::from_unix_ns(days_ns(days));
        assert_eq!(class("soc2").end_of(day(1)), Some(day(401)));
        assert_eq!(class("hipaa").end_of(day(1)), None);
        assert!(!class("soc2").keeps().by_law && class("hipaa").keeps().by_law);
    }
}
