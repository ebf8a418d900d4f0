//! What a rule of ours must have.

use std::fmt;
use std::path::PathBuf;

use super::{Rule, RuleError, RuleInfo, RuleKind};
use crate::builtin::runbook;
use crate::fields;

/// Longest title: it becomes the name of an alert.
const TITLE_CHARS_MAX: usize = 110;

/// What is wrong with a rule, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line where the rule begins, from 1.
    pub line: Option<usize>,
    /// The rule's title or id, as far as it is known.
    pub rule: String,
    /// The field that is wrong.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    /// Of rules that were not even read, for there are too many.
    pub(crate) fn of_set(error: &RuleError) -> Self {
        let file = match error {
            RuleError::Read { path, .. } | RuleError::TooMuch { path, .. } => path.clone(),
            _ => PathBuf::new(),
        };
        let (line, rule, field) = (None, String::new(), "document".to_owned());
        Self { file, line, rule, field, message: error.to_string(), remedy: "no rule is used".to_owned() }
    }

    pub(crate) fn on(rule: &RuleInfo, field: &str, message: impl Into<String>, remedy: &str) -> Self {
        Self {
            file: rule.file.clone(),
            line: Some(rule.line),
            rule: name_of(rule),
            field: field.to_owned(),
            message: message.into(),
            remedy: remedy.to_owned(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": rule {:?}, field {}: {}; {}", self.rule, self.field, self.message, self.remedy)
    }
}

/// How a rule is called in messages.
pub(crate) fn name_of(rule: &RuleInfo) -> String {
    if rule.title.is_empty() { rule.id.clone() } else { rule.title.clone() }
}

/// What a rule lacks to be proven: an example of each kind. Filters are proven by those of the rules that they are for.
pub(crate) fn unproven(rule: &Rule) -> Vec<Problem> {
    let examples = &rule.extension.examples;
    let mut problems = Vec::new();
    for (examples, kind) in [(&examples.positive, "positive"), (&examples.negative, "negative")] {
        let is_filled = !examples.is_empty() && examples.iter().all(|example| example.timeline().next().is_some());
        if rule.info.kind != RuleKind::Filter && !is_filled {
            let field = format!("watchkeeper.examples.{kind}");
            let message = format!("has no {kind} example, or one without an event");
            problems.push(Problem::on(&rule.info, &field, message, "write at least one event; `strict` loads no rule without"));
        }
    }
    problems
}

/// Whether the rule is for our log source, or says that it is held to our form.
pub(crate) fn is_ours(rule: &Rule) -> bool {
    let header = rule.parsed.header();
    header.product.as_deref() == Some(fields::PRODUCT)
        || rule.extension.runbook.is_some()
        || !rule.extension.techniques.is_empty()
}

/// The block that only our rules have.
pub(crate) const EXTENSION: &str = "watchkeeper";

/// The field that a parser's message speaks of.
pub(crate) fn field_of_error(error: &str) -> String {
    if error.starts_with(EXTENSION) {
        return EXTENSION.to_owned();
    }
    let known =
        ["condition", "detection", "logsource", "title", "correlation", "timespan", "modifier", "level", "status", "related"];
    let lower = error.to_lowercase();
    known.iter().find(|field| lower.contains(**field)).map_or_else(|| "document".to_owned(), |field| (*field).to_owned())
}

/// Everything that a rule of ours misses, but for its examples' outcome.
pub(crate) fn strict(rule: &Rule) -> Vec<Problem> {
    let info = &rule.info;
    let header = rule.parsed.header();
    let extension = &rule.extension;
    let mut problems = Vec::new();
    let mut require = |holds: bool, field: &str, message: &str, remedy: &str| {
        if !holds {
            problems.push(Problem::on(info, field, message, remedy));
        }
    };
    let title_chars = info.title.chars().count();
    require(is_uuid(&info.id), "id", "is not a UUID", "give the rule a random UUID and never change it");
    require((1..=TITLE_CHARS_MAX).contains(&title_chars), "title", "has no title, or a long one", "write at most 110 characters");
    if info.kind == RuleKind::Filter {
        return problems;
    }
    require(header.status.is_some(), "status", "is missing", "write experimental, test or stable");
    require(header.description.is_some(), "description", "is missing", "say what the rule sees and why it matters");
    require(header.author.is_some(), "author", "is missing", "say who keeps the rule");
    require(header.level.is_some(), "level", "is missing", "write informational, low, medium, high or critical");
    require(!info.falsepositives.is_empty(), "falsepositives", "is missing", "say when the rule fires and nothing is wrong");
    let techniques = &extension.techniques;
    require(!techniques.is_empty(), "watchkeeper.techniques", "is missing", "name at least one ATLAS technique");
    let tagged = techniques.iter().all(|technique| header.tags.contains(&format!("attack.atlas.{}", technique.to_lowercase())));
    require(tagged, "tags", "lacks a technique", "give each technique a tag, as in attack.atlas.aml.t0051.001");
    require(
        !info.owasp.is_empty(),
        "watchkeeper.owasp",
        "is missing",
        "name OWASP entries, or techniques that the crosswalk has",
    );
    require(!info.nist.is_empty(), "watchkeeper.nist", "is missing", "name NIST items, or techniques that the crosswalk has");
    let entries = event::taxonomy::framework_entries();
    let known = info.owasp.iter().chain(&info.nist).all(|entry| entries.contains_key(entry));
    require(
        known,
        "watchkeeper.owasp",
        "names an entry that does not exist",
        "use the entries of content/taxonomy/crosswalk.json",
    );
    match &info.runbook {
        None => require(false, "watchkeeper.runbook", "is missing", "name a file of content/runbooks without its ending"),
        Some(name) => require(runbook(name).is_some(), "watchkeeper.runbook", "is not there", "write content/runbooks/<name>.md"),
    }
    let in_range = extension.confidence.is_none_or(|confidence| (0.0..=1.0).contains(&confidence));
    require(in_range, "watchkeeper.confidence", "is not between 0 and 1", "write a number between 0 and 1");
    let lacking = unproven(rule);
    if info.kind == RuleKind::Rule {
        require(header.product.as_deref() == Some(fields::PRODUCT), "logsource.product", "is not ai", "write product: ai");
        // A rule without a category is for all of them.
        let known = header.category.is_none_or(|category| fields::CATEGORIES.iter().any(|(name, _)| *name == category));
        require(known, "logsource.category", "is not one of ours", "take a category of docs/reference/rules.md");
        let known = header.service.is_none_or(|service| fields::SERVICES.iter().any(|(name, _)| *name == service));
        require(known, "logsource.service", "is not one of ours", "take a service of docs/reference/rules.md");
    }
    let examples = extension.examples.positive.iter().chain(&extension.examples.negative);
    let shown = examples.flat_map(|example| example.event.iter().chain(&example.events));
    let shown = shown.filter_map(|event| event.as_object()).flat_map(|event| event.keys().cloned());
    let mut names: Vec<String> = rule.parsed.fields().into_iter().chain(shown).collect();
    names.sort_unstable();
    names.dedup();
    for name in names.into_iter().filter(|name| !fields::is_known(name)) {
        require(false, &name, "is a field that no event has", "take a field of docs/reference/rules.md");
    }
    problems.extend(lacking);
    problems
}

fn is_uuid(id: &str) -> bool {
    id.len() == 36
        && id.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
