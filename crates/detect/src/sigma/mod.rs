//! The only module that knows the Sigma engine (`rsigma`): parsing, compiling, matching, correlating.
//!
//! Where Sigma's text leaves it open: keywords match as case-insensitive substrings of every text of the event; a field
//! with many values matches when any of them does; correlation windows slide; a rule that a correlation refers to does
//! not speak for itself unless the correlation says `generate: true`.

pub(crate) mod evidence;
pub(crate) mod flatten;
pub(crate) mod runner;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use rsigma_eval::{
    CorrelationConfig, CorrelationEngine, CorrelationEventMode, EvalError, Event, EventValue, JsonEvent, MatchDetailLevel,
    ResultBody, TimestampFallback, compile_rule,
};
use rsigma_parser::{
    CorrelationRule, FilterRule, FilterRuleTarget, Level, LogSource, SigmaCollection, SigmaRule, parse_sigma_yaml,
};
use serde_json::Value as Json;

use crate::detection::{Evidence, Severity};
use crate::fields::PRODUCT;
use crate::rules::RuleKind;

/// Most groups of all correlations together. Above it the stalest are dropped.
const CORRELATION_GROUPS_MAX: usize = 100_000;
/// Most entries of one group's window; older ones are dropped, which can only count too few.
const CORRELATION_GROUP_ENTRIES_MAX: usize = 10_000;
/// Most events that a correlation names as its evidence.
const CORRELATION_EVENTS_MAX: usize = 32;

/// A document of a rule file.
#[derive(Debug, Clone)]
pub(crate) enum Parsed {
    Rule(Box<SigmaRule>),
    Correlation(Box<CorrelationRule>),
    Filter(Box<FilterRule>),
}

/// What every document has, whatever it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Header {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) title: String,
    pub(crate) status: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) author: Option<String>,
    pub(crate) level: Option<Severity>,
    pub(crate) falsepositives: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) product: Option<String>,
    pub(crate) category: Option<String>,
    pub(crate) extension: Option<Json>,
}

/// Parses the documents of one YAML text. What is wrong with a document does not hide the others.
pub(crate) fn parse(yaml: &str) -> (Vec<Parsed>, Vec<String>) {
    match parse_sigma_yaml(yaml) {
        Err(error) => (Vec::new(), vec![error.to_string()]),
        Ok(SigmaCollection { rules, correlations, filters, errors }) => {
            let rules = rules.into_iter().map(|rule| Parsed::Rule(Box::new(rule)));
            let correlations = correlations.into_iter().map(|rule| Parsed::Correlation(Box::new(rule)));
            let filters = filters.into_iter().map(|rule| Parsed::Filter(Box::new(rule)));
            (rules.chain(correlations).chain(filters).collect(), errors)
        }
    }
}

/// Why a document cannot be used, before it is put together with others.
pub(crate) fn compile_error(document: &Parsed) -> Option<String> {
    let error = match document {
        Parsed::Rule(rule) => compile_rule(rule).err(),
        Parsed::Correlation(rule) => rsigma_eval::correlation::compile_correlation(rule).err(),
        Parsed::Filter(filter) => rsigma_eval::Engine::new().apply_filter(filter).err(),
    };
    error.map(|error| error.to_string())
}

impl Parsed {
    pub(crate) fn kind(&self) -> RuleKind {
        match self {
            Self::Rule(_) => RuleKind::Rule,
            Self::Correlation(_) => RuleKind::Correlation,
            Self::Filter(_) => RuleKind::Filter,
        }
    }

    pub(crate) fn header(&self) -> Header {
        let extension =
            |attributes: &HashMap<String, _>| attributes.get("watchkeeper").and_then(|value| serde_json::to_value(value).ok());
        match self {
            Self::Rule(rule) => Header {
                id: rule.id.clone(),
                name: rule.name.clone(),
                title: rule.title.clone(),
                status: rule.status.and_then(|status| word(&status)),
                description: rule.description.clone(),
                author: rule.author.clone(),
                level: rule.level.map(severity),
                falsepositives: rule.falsepositives.clone(),
                tags: rule.tags.clone(),
                product: rule.logsource.product.clone(),
                category: rule.logsource.category.clone(),
                extension: extension(&rule.custom_attributes),
            },
            Self::Correlation(rule) => Header {
                id: rule.id.clone(),
                name: rule.name.clone(),
                title: rule.title.clone(),
                status: rule.status.and_then(|status| word(&status)),
                description: rule.description.clone(),
                author: rule.author.clone(),
                level: rule.level.map(severity),
                falsepositives: rule.falsepositives.clone(),
                tags: rule.tags.clone(),
                product: None,
                category: None,
                extension: extension(&rule.custom_attributes),
            },
            Self::Filter(filter) => {
                Header { id: filter.id.clone(), name: filter.name.clone(), title: filter.title.clone(), ..Header::default() }
            }
        }
    }

    /// Gives the document the id that the set knows it by, and takes out what would let one rule set the engine up for
    /// all others (`rsigma.*` attributes).
    pub(crate) fn adopt(&mut self, id: &str) {
        match self {
            Self::Rule(rule) => {
                rule.id = Some(id.to_owned());
                rule.custom_attributes.clear();
            }
            Self::Correlation(rule) => {
                rule.id = Some(id.to_owned());
                rule.custom_attributes.clear();
            }
            Self::Filter(filter) => filter.id = Some(id.to_owned()),
        }
    }

    /// The rules that a correlation or a filter speaks of, by id or name; `None` when it speaks of any.
    pub(crate) fn references(&self) -> Option<&[String]> {
        match self {
            Self::Rule(_) => Some(&[]),
            Self::Correlation(rule) => Some(&rule.rules),
            Self::Filter(filter) => match &filter.rules {
                FilterRuleTarget::Any => None,
                FilterRuleTarget::Specific(rules) => Some(rules),
            },
        }
    }

    /// Turns names of rules into their ids: the engine's filters know ids only.
    pub(crate) fn resolve(&mut self, id_of: impl Fn(&str) -> Option<String>) {
        if let Self::Filter(filter) = self
            && let FilterRuleTarget::Specific(rules) = &mut filter.rules
        {
            for rule in rules {
                if let Some(id) = id_of(rule) {
                    *rule = id;
                }
            }
        }
    }

    /// Names of the fields that a rule looks at.
    pub(crate) fn fields(&self) -> Vec<String> {
        let mut names = Vec::new();
        match self {
            Self::Rule(rule) => rule.detection.named.values().for_each(|detection| collect_fields(detection, &mut names)),
            Self::Filter(filter) => filter.detection.named.values().for_each(|detection| collect_fields(detection, &mut names)),
            Self::Correlation(rule) => {
                let aliases: HashSet<&str> = rule.aliases.iter().map(|alias| alias.alias.as_str()).collect();
                names.extend(rule.group_by.iter().filter(|field| !aliases.contains(field.as_str())).cloned());
            }
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The window of a correlation in seconds; 0 for anything else.
    pub(crate) fn timespan_s(&self) -> u64 {
        match self {
            Self::Correlation(rule) => rule.timespan.seconds,
            _ => 0,
        }
    }

    fn generates(&self) -> bool {
        matches!(self, Self::Correlation(rule) if rule.generate)
    }
}

/// Rules, compiled, with the windows of their correlations.
pub(crate) struct Sigma {
    engine: CorrelationEngine,
    index: HashMap<String, usize>,
    silent: HashSet<usize>,
    /// The correlations that count by group.
    grouped: HashSet<usize>,
    needles: evidence::Needles,
}

/// A rule that fired.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    /// Its place in the list that was compiled.
    pub(crate) rule: usize,
    /// What [`Sigma::evidence`] shows: not every hit is told of.
    result: rsigma_eval::EvaluationResult,
    /// The names (see [`Sigma::correlate`]) of the events that a correlation counted.
    pub(crate) events: Vec<String>,
    /// The group of a correlation, as text.
    pub(crate) group: String,
}

impl Sigma {
    /// No rules.
    pub(crate) fn empty() -> Self {
        Self {
            engine: CorrelationEngine::new(CorrelationConfig::default()),
            index: HashMap::new(),
            silent: HashSet::new(),
            grouped: HashSet::new(),
            needles: evidence::Needles::default(),
        }
    }

    /// Compiles documents whose ids are unique and set.
    pub(crate) fn compile<'a>(documents: impl Iterator<Item = &'a Parsed> + Clone) -> Result<Self, String> {
        let mut collection = SigmaCollection::new();
        let mut index = HashMap::new();
        let mut names: HashMap<String, usize> = HashMap::new();
        let mut needles = evidence::Needles::default();
        let mut grouped = HashSet::new();
        for (position, document) in documents.clone().enumerate() {
            let header = document.header();
            index.extend(header.id.clone().map(|id| (id, position)));
            names.extend(header.id.into_iter().chain(header.name).map(|name| (name, position)));
            match document {
                Parsed::Rule(rule) => {
                    needles.add(rule.id.as_deref().unwrap_or_default(), rule);
                    collection.rules.push(rule.as_ref().clone());
                }
                Parsed::Correlation(rule) => {
                    grouped.extend((!rule.group_by.is_empty()).then_some(position));
                    collection.correlations.push(rule.as_ref().clone());
                }
                Parsed::Filter(filter) => collection.filters.push(filter.as_ref().clone()),
            }
        }
        let mut engine = CorrelationEngine::new(CorrelationConfig {
            timestamp_fields: Vec::new(),
            timestamp_fallback: TimestampFallback::Skip,
            max_state_entries: CORRELATION_GROUPS_MAX,
            max_group_entries: Some(CORRELATION_GROUP_ENTRIES_MAX),
            correlation_event_mode: CorrelationEventMode::Refs,
            max_correlation_events: CORRELATION_EVENTS_MAX,
            ..CorrelationConfig::default()
        });
        engine.set_match_detail(MatchDetailLevel::Full);
        engine.add_collection(&collection).map_err(|error: EvalError| error.to_string())?;
        let referred = |generate: bool| -> HashSet<usize> {
            let correlations = documents.clone().filter(|one| one.kind() == RuleKind::Correlation && one.generates() == generate);
            correlations.flat_map(|one| one.references().unwrap_or(&[])).filter_map(|name| names.get(name).copied()).collect()
        };
        let silent = referred(false).difference(&referred(true)).copied().collect();
        Ok(Self { engine, index, silent, grouped, needles })
    }

    /// The rules that match, in their order; with `category`, only those of our log source.
    pub(crate) fn matches(&self, event: &Json, category: Option<&str>) -> Matches {
        let event = FlatEvent::new(event, "");
        let mut results = match category {
            None => self.engine.evaluate(&event),
            Some(category) => {
                let source = LogSource {
                    category: Some(category.to_owned()),
                    product: Some(PRODUCT.to_owned()),
                    service: None,
                    definition: None,
                    custom: HashMap::new(),
                };
                self.engine.engine().evaluate_pruned(&event, &source)
            }
        };
        // The engine promises no order, and two runs must give the same.
        results.sort_by_key(|result| self.position(result));
        Matches(results)
    }

    /// The place of each rule that matched.
    pub(crate) fn positions(&self, matches: &Matches) -> Vec<usize> {
        matches.0.iter().map(|result| self.position(result)).collect()
    }

    /// Whether the rule speaks for itself, and not only through a correlation.
    pub(crate) fn speaks(&self, position: usize) -> bool {
        !self.silent.contains(&position)
    }

    /// Takes out the rules for which `keep` says so.
    pub(crate) fn retain(&self, matches: &mut Matches, mut keep: impl FnMut(usize) -> bool) {
        matches.0.retain(|result| keep(self.position(result)));
    }

    /// Feeds matches to the correlations at `time_s` and returns everything that speaks. `id` is the name by which a
    /// correlation speaks of the event later.
    pub(crate) fn correlate(&mut self, event: &Json, id: &str, matches: Matches, time_s: i64) -> Vec<Hit> {
        let Matches(results) = matches;
        let results = if self.engine.correlation_rule_count() == 0 || results.is_empty() {
            results
        } else {
            self.engine.process_with_detections(&FlatEvent::new(event, id), results, time_s)
        };
        let mut hits: Vec<Hit> = results.into_iter().filter_map(|result| self.hit(result)).collect();
        hits.sort_by_key(|hit| hit.rule);
        hits
    }

    fn position(&self, result: &rsigma_eval::EvaluationResult) -> usize {
        result.header.rule_id.as_ref().and_then(|id| self.index.get(id)).copied().unwrap_or(usize::MAX)
    }

    /// What shows a hit, as far as the event's searches allow.
    pub(crate) fn evidence(&self, hit: &Hit, search: &mut evidence::Search) -> Vec<Evidence> {
        let id = hit.result.header.rule_id.as_deref().unwrap_or_default();
        match &hit.result.body {
            ResultBody::Detection(body) => evidence::of_matches(id, &body.matched_fields, &self.needles, search),
            ResultBody::Correlation(body) => evidence::of_correlation(body),
        }
    }

    fn hit(&self, result: rsigma_eval::EvaluationResult) -> Option<Hit> {
        let rule = self.position(&result);
        if rule == usize::MAX || self.silent.contains(&rule) {
            return None;
        }
        let (events, group) = match &result.body {
            ResultBody::Detection(_) => (Vec::new(), String::new()),
            // Events that say nothing of what is grouped by have nothing in common: strangers are not one user.
            ResultBody::Correlation(body) if self.grouped.contains(&rule) && body.group_key.is_empty() => return None,
            ResultBody::Correlation(body) => {
                (body.event_refs.iter().flatten().filter_map(|event| event.id.clone()).collect(), format!("{:?}", body.group_key))
            }
        };
        Some(Hit { rule, result, events, group })
    }
}

/// Rules that matched an event, before correlation.
pub(crate) struct Matches(Vec<rsigma_eval::EvaluationResult>);

/// A JSON event with the id by which correlations refer to it. Only the id is kept, never the event.
struct FlatEvent<'a> {
    json: JsonEvent<'a>,
    id: &'a str,
}

impl<'a> FlatEvent<'a> {
    fn new(json: &'a Json, id: &'a str) -> Self {
        Self { json: JsonEvent::borrow(json), id }
    }
}

impl Event for FlatEvent<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        self.json.get_field(path)
    }

    fn any_string_value(&self, pred: &dyn Fn(&str) -> bool) -> bool {
        self.json.any_string_value(pred)
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        self.json.all_string_values()
    }

    fn visit_string_values(&self, visit: &mut dyn FnMut(&str)) {
        self.json.visit_string_values(visit);
    }

    fn to_json(&self) -> Json {
        serde_json::json!({ "id": self.id })
    }

    fn field_keys(&self) -> Vec<Cow<'_, str>> {
        self.json.field_keys()
    }

    fn top_level_keys(&self) -> Option<Vec<Cow<'_, str>>> {
        self.json.top_level_keys()
    }

    fn visit_top_level_keys(&self, visit: &mut dyn FnMut(&str)) -> bool {
        self.json.visit_top_level_keys(visit)
    }
}

fn collect_fields(detection: &rsigma_parser::Detection, names: &mut Vec<String>) {
    use rsigma_parser::Detection;
    match detection {
        Detection::AllOf(items) => names.extend(items.iter().filter_map(|item| item.field.name.clone())),
        Detection::AnyOf(parts) | Detection::And(parts) => parts.iter().for_each(|part| collect_fields(part, names)),
        _ => {}
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::Informational => Severity::Informational,
        Level::Low => Severity::Low,
        Level::Medium => Severity::Medium,
        Level::High => Severity::High,
        Level::Critical => Severity::Critical,
    }
}

fn word(value: &impl serde::Serialize) -> Option<String> {
    match serde_json::to_value(value) {
        Ok(Json::String(word)) => Some(word),
        _ => None,
    }
}
