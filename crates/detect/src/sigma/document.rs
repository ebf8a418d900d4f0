//! The documents of rule files, as the engine's parser reads them.

use std::collections::{HashMap, HashSet};

use rsigma_eval::compile_rule;
use rsigma_parser::lint::{LintRule, LintWarning, Severity as LintSeverity, lint_yaml_str};
use rsigma_parser::{CorrelationRule, FilterRule, FilterRuleTarget, Level, SigmaCollection, SigmaRule, parse_sigma_yaml};
use serde_json::Value as Json;

use super::{bounds, correlation, filter};
use crate::detection::Severity;
use crate::rules::{EXTENSION, Extension, RuleKind};

/// Most errors of one text that are told.
const ERRORS_MAX: usize = 8;
/// Longest error, in bytes: the parser shows what it does not understand, however long that is.
const ERROR_BYTES_MAX: usize = 600;

/// Longest document that is looked through for more faults than the first.
const LINTED_BYTES_MAX: usize = 64 * 1024;

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
    pub(crate) title: String,
    pub(crate) status: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) author: Option<String>,
    pub(crate) level: Option<Severity>,
    pub(crate) falsepositives: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) product: Option<String>,
    pub(crate) category: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) extension: Option<Json>,
}

/// Parses the documents of one YAML text. What is wrong with a document does not hide the others; of a text that goes beyond the bounds
/// nothing is taken.
pub(crate) fn parse(yaml: &str) -> (Vec<Parsed>, Vec<String>) {
    if let Some(error) = bounds::error_of(yaml) {
        return (Vec::new(), vec![error]);
    }
    let (parsed, mut errors) = parse_bounded(yaml);
    if parsed.is_empty() && !errors.is_empty() {
        let more = more_errors(yaml, &errors);
        errors.extend(more);
    }
    let count = errors.len();
    let mut errors: Vec<String> = errors.into_iter().take(ERRORS_MAX).map(cut).collect();
    if count > errors.len() {
        errors.push(format!("document: {} more errors", count - errors.len()));
    }
    (parsed, errors)
}

/// What else is wrong with a document that is no rule: the parser stops at the first fault.
fn more_errors(yaml: &str, known: &[String]) -> Vec<String> {
    if yaml.len() > LINTED_BYTES_MAX {
        return Vec::new();
    }
    let known = known.join("\n").to_lowercase();
    let lint = lint_yaml_str(yaml).into_iter().filter(|found| found.severity == LintSeverity::Error);
    let is_new = |found: &LintWarning| {
        let field = found.path.rsplit('/').next().unwrap_or_default().to_lowercase();
        // The text as a whole is what the parser speaks of.
        !matches!(found.rule, LintRule::YamlParseError | LintRule::NotAMapping) && (field.is_empty() || !known.contains(&field))
    };
    // Of a field that stands on top the message gives the name.
    let told = |found: LintWarning| match found.path.trim_start_matches('/') {
        path if path.contains('/') => format!("{path}: {}", found.message),
        _ => found.message,
    };
    let mut more: Vec<String> = lint.filter(is_new).map(told).collect();
    let whole: Option<Json> = yaml_serde::from_str(yaml).ok();
    let block = whole.as_ref().and_then(|whole| whole.get(EXTENSION));
    more.extend(Extension::parse(block).err().map(|error| format!("{EXTENSION}: {error}")));
    more
}

fn cut(mut error: String) -> String {
    error.truncate(error.floor_char_boundary(ERROR_BYTES_MAX));
    error
}

fn parse_bounded(yaml: &str) -> (Vec<Parsed>, Vec<String>) {
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
    match document {
        Parsed::Rule(rule) => compile_rule(rule).err().map(|error| error.to_string()),
        // What it says of other rules is known when they are: `correlation_error`.
        Parsed::Correlation(_) => None,
        Parsed::Filter(filter) => filter::error_of(filter),
    }
}

/// Why a correlation cannot be used in a set; `resolve` gives the id of a rule by its id or name.
pub(crate) fn correlation_error(document: &Parsed, resolve: impl Fn(&str) -> Option<String>) -> Option<String> {
    match document {
        Parsed::Correlation(rule) => correlation::error_of(rule, resolve),
        _ => None,
    }
}

impl Parsed {
    pub(crate) fn kind(&self) -> RuleKind {
        match self {
            Self::Rule(_) => RuleKind::Rule,
            Self::Correlation(_) => RuleKind::Correlation,
            Self::Filter(_) => RuleKind::Filter,
        }
    }

    pub(crate) fn id(&self) -> Option<&str> {
        match self {
            Self::Rule(rule) => rule.id.as_deref(),
            Self::Correlation(rule) => rule.id.as_deref(),
            Self::Filter(filter) => filter.id.as_deref(),
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Rule(rule) => rule.name.as_deref(),
            Self::Correlation(rule) => rule.name.as_deref(),
            Self::Filter(filter) => filter.name.as_deref(),
        }
    }

    pub(crate) fn title(&self) -> &str {
        match self {
            Self::Rule(rule) => &rule.title,
            Self::Correlation(rule) => &rule.title,
            Self::Filter(filter) => &filter.title,
        }
    }

    pub(crate) fn header(&self) -> Header {
        let extension =
            |attributes: &HashMap<String, _>| attributes.get("watchkeeper").and_then(|value| serde_json::to_value(value).ok());
        match self {
            Self::Rule(rule) => Header {
                id: rule.id.clone(),
                title: rule.title.clone(),
                status: rule.status.and_then(|status| word(&status)),
                description: rule.description.clone(),
                author: rule.author.clone(),
                level: rule.level.map(severity),
                falsepositives: rule.falsepositives.clone(),
                tags: rule.tags.clone(),
                product: rule.logsource.product.clone(),
                category: rule.logsource.category.clone(),
                service: rule.logsource.service.clone(),
                extension: extension(&rule.custom_attributes),
            },
            Self::Correlation(rule) => Header {
                id: rule.id.clone(),
                title: rule.title.clone(),
                status: rule.status.and_then(|status| word(&status)),
                description: rule.description.clone(),
                author: rule.author.clone(),
                level: rule.level.map(severity),
                falsepositives: rule.falsepositives.clone(),
                tags: rule.tags.clone(),
                product: None,
                category: None,
                service: None,
                extension: extension(&rule.custom_attributes),
            },
            Self::Filter(filter) => Header { id: filter.id.clone(), title: filter.title.clone(), ..Header::default() },
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

    pub(super) fn generates(&self) -> bool {
        matches!(self, Self::Correlation(rule) if rule.generate)
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
