//! What a rule needs of a record, so that it can ever fire.

use std::collections::BTreeSet;

use event::{Channel, Direction, Kind, Part, Role};

use super::Seen;
use crate::rules::{Example, Rule, RuleSet, examples};
use crate::sigma::flatten::{self, INSIGHT};

/// Fields that detection, inspection or a listener adds when there is something to say: each with what it is made of, all groups of
/// which must be there, of a group any one. The first prefix that fits holds; fields that none fits must have been seen themselves.
const MADE_OF: &[(&str, &[&[&str]])] = &[
    // Every event has these.
    ("@timestamp", &[]),
    ("event.", &[]),
    ("watchkeeper.source.", &[]),
    ("watchkeeper.conversation.id", &[]),
    // Behaviour.
    ("watchkeeper.insight.user_new_place", &[&["user.id"], &["geo.country.iso_code"]]),
    ("watchkeeper.insight.user_token_flood", &[&["user.id"], TOKENS]),
    ("watchkeeper.insight.user_breadth", &[&["user.id"], &["watchkeeper.text.document"]]),
    ("watchkeeper.insight.user_subject_shift", &[&["user.id"], &["watchkeeper.text.user"]]),
    ("watchkeeper.insight.user_new_subject", &[&["user.id"], SUBJECTS]),
    ("watchkeeper.insight.user_new_model", &[&["user.id"], MODELS]),
    ("watchkeeper.insight.user_", &[&["user.id"]]),
    ("watchkeeper.insight.agent_token_flood", &[&["gen_ai.agent.name"], TOKENS]),
    ("watchkeeper.insight.agent_new_tool", &[&["gen_ai.agent.name"], &["gen_ai.tool.name"]]),
    ("watchkeeper.insight.agent_new_system_prompt", &[&["gen_ai.agent.name"], &["watchkeeper.text.system"]]),
    ("watchkeeper.insight.agent_tool_mix", &[&["gen_ai.agent.name"], &["gen_ai.tool.name"]]),
    ("watchkeeper.insight.agent_new_subject", &[&["gen_ai.agent.name"], SUBJECTS]),
    ("watchkeeper.insight.agent_new_model", &[&["gen_ai.agent.name"], MODELS]),
    ("watchkeeper.insight.agent_", &[&["gen_ai.agent.name"]]),
    ("watchkeeper.insight.application_token_flood", &[&["service.name"], TOKENS]),
    ("watchkeeper.insight.application_template_sweep", &[&["service.name"], &["watchkeeper.text.user"]]),
    ("watchkeeper.insight.application_new_system_prompt", &[&["service.name"], &["watchkeeper.text.system"]]),
    ("watchkeeper.insight.application_new_model", &[&["service.name"], MODELS]),
    ("watchkeeper.insight.application_", &[&["service.name"]]),
    ("watchkeeper.insight.key_token_flood", &[KEYS, TOKENS]),
    ("watchkeeper.insight.key_new_place", &[KEYS, &["geo.country.iso_code"]]),
    ("watchkeeper.insight.key_new_application", &[KEYS, &["service.name"]]),
    ("watchkeeper.insight.key_new_model", &[KEYS, MODELS]),
    ("watchkeeper.insight.key_", &[KEYS]),
    ("watchkeeper.insight.tool_", &[&["gen_ai.tool.name"]]),
    ("watchkeeper.insight.model_first_chunk_shift", &[MODELS, &["gen_ai.response.time_to_first_chunk"]]),
    ("watchkeeper.insight.model_new_version", &[&["gen_ai.response.model"]]),
    ("watchkeeper.insight.model_new_route", &[MODELS, &["gen_ai.provider.name", "server.address"]]),
    ("watchkeeper.insight.model_input_shift", &[MODELS, TOKENS]),
    ("watchkeeper.insight.model_output_shift", &[MODELS, TOKENS]),
    ("watchkeeper.insight.model_", &[MODELS]),
    ("watchkeeper.insight.account_logprob_harvest", &[&["watchkeeper.response.logprob.mean"]]),
    ("watchkeeper.insight.account_", &[&["watchkeeper.text.user"]]),
    // The statements stand beside it, under names of their own.
    ("watchkeeper.insight", &[]),
    // Inspection.
    ("watchkeeper.score.user", &[&["watchkeeper.text.user"]]),
    ("watchkeeper.score.assistant", &[&["watchkeeper.text.output"]]),
    ("watchkeeper.score.tool", &[&["watchkeeper.text.tool"]]),
    ("watchkeeper.score.document", &[&["watchkeeper.text.document"]]),
    ("watchkeeper.score.system", &[&["watchkeeper.text.system"]]),
    ("watchkeeper.score", &[TEXTS]),
    ("watchkeeper.finding.user", &[&["watchkeeper.text.user"]]),
    ("watchkeeper.finding.assistant", &[&["watchkeeper.text.output"]]),
    ("watchkeeper.finding.tool", &[&["watchkeeper.text.tool"]]),
    ("watchkeeper.finding.document", &[&["watchkeeper.text.document"]]),
    ("watchkeeper.finding.system", &[&["watchkeeper.text.system"]]),
    ("watchkeeper.finding.output", &[&["watchkeeper.text.output"]]),
    ("watchkeeper.finding.arguments", &[ARGUMENTS]),
    ("watchkeeper.finding", &[TEXTS]),
    ("watchkeeper.sanitized.output", &[&["watchkeeper.text.output"]]),
    ("watchkeeper.sanitized.arguments", &[ARGUMENTS]),
    ("watchkeeper.sanitized", &[TEXTS]),
    ("watchkeeper.verdict", &[TEXTS]),
    // The conversation and the flow of content.
    ("watchkeeper.leak.prompt", &[&["watchkeeper.text.system"], &["watchkeeper.text.output", "gen_ai.tool.call.arguments"]]),
    ("watchkeeper.returned", &[&["watchkeeper.text.output", "gen_ai.tool.call.arguments"]]),
    ("watchkeeper.canary", &[TEXTS]),
    ("watchkeeper.turn", &[&["watchkeeper.text.user"], &["watchkeeper.text.output"]]),
    ("watchkeeper.conversation", &[&["watchkeeper.text.user"]]),
    ("watchkeeper.flow.destination", &[ARGUMENTS]),
    ("watchkeeper.flow.tool", &[ARGUMENTS, &["watchkeeper.text.user"]]),
    ("watchkeeper.flow", &[UNTRUSTED]),
    // Threat intelligence; that feeds are configured is for its own status to say.
    ("watchkeeper.intel.confidence.client", &[&["client.address"]]),
    ("watchkeeper.intel.confidence.destination", &[&["server.address", "url.full"]]),
    ("watchkeeper.intel.confidence.arguments", &[ARGUMENTS]),
    ("watchkeeper.intel.confidence.package", &[&["package.name", "package.reference"]]),
    ("watchkeeper.intel.confidence.mcp_server", &[&["mcp.method.name"]]),
    ("watchkeeper.intel.confidence.answer", &[&["watchkeeper.text.output"]]),
    ("watchkeeper.intel.confidence.tool", &[&["watchkeeper.text.tool"]]),
    ("watchkeeper.intel.confidence.document", &[&["watchkeeper.text.document"]]),
    ("watchkeeper.intel.confidence.definition", &[&["watchkeeper.text.definition"]]),
    ("watchkeeper.intel", &[TEXTS]),
    // What the listeners say of what passes.
    ("watchkeeper.mcp", &[&["mcp.method.name"]]),
    ("watchkeeper.response.logprob.mean", &[&["watchkeeper.response.logprob.mean"]]),
    ("watchkeeper.response", &[&["watchkeeper.text.output"]]),
    ("watchkeeper.evaluation.", &[&["watchkeeper.evaluation.outcome"]]),
    ("watchkeeper.tool.failed", &[&["watchkeeper.text.tool"]]),
];

const TOKENS: &[&str] = &["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"];
const MODELS: &[&str] = &["gen_ai.request.model", "gen_ai.response.model"];
const SUBJECTS: &[&str] = &["gen_ai.data_source.id", "db.collection.name", "db.namespace"];
const KEYS: &[&str] = &["watchkeeper.credential.id", "watchkeeper.gateway.key"];
const ARGUMENTS: &[&str] = &["gen_ai.tool.call.arguments"];
const UNTRUSTED: &[&str] = &["watchkeeper.text.tool", "watchkeeper.text.document"];
const TEXTS: &[&str] = &[
    "watchkeeper.text.user",
    "watchkeeper.text.output",
    "watchkeeper.text.tool",
    "watchkeeper.text.document",
    "watchkeeper.text.system",
    "watchkeeper.text.definition",
    "watchkeeper.text.query",
    "watchkeeper.text.command",
    "watchkeeper.text.body",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
];

/// Names of the fields that a piece of content gives: for whoever asks a store what there was.
#[must_use]
pub fn field_of_piece(direction: Direction, role: Role, part: Part) -> Vec<&'static str> {
    let mut fields = vec![flatten::text_field(part, Channel::from(role))];
    if part == Part::ToolResult {
        fields.push("watchkeeper.text.tool");
    }
    if direction == Direction::Output && part == Part::Text {
        fields.push("watchkeeper.text.output");
    }
    fields
}

/// The kinds of event that are of a category of our log source.
pub fn kinds_of(category: &str) -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(move |kind| flatten::category(*kind) == category)
}

/// What the record lacks, of the positive example of which least is lacking.
pub(super) fn missing(rule: &Rule, all: &[Rule], seen: &Seen) -> Vec<String> {
    let parts = examples::needed(rule, all);
    let looked_at: BTreeSet<String> = parts.iter().flat_map(|part| part.fields()).collect();
    let categories: BTreeSet<String> = parts.iter().filter_map(|part| part.header().category).collect();
    let mut lacking: Vec<String> = categories
        .into_iter()
        .filter(|category| !seen.categories.contains(category))
        .map(|category| format!("logsource.category: {category}"))
        .collect();
    let examples = rule.extension.examples.positive.iter().map(|example| {
        let mut lacking = BTreeSet::new();
        shown_fields(example, &looked_at).iter().for_each(|field| lack(field, seen, &mut lacking));
        lacking
    });
    lacking.extend(examples.min_by_key(BTreeSet::len).unwrap_or_default());
    lacking
}

/// The names of all fields that a record is asked for, for rules that are evidence of a technique: nobody who sends other names can crowd
/// them out of an answer.
#[must_use]
pub fn needed_fields(rules: &RuleSet) -> BTreeSet<String> {
    let all = rules.all();
    let mut needed = BTreeSet::new();
    for rule in all.iter().filter(|rule| !rule.info.techniques.is_empty()) {
        let looked_at: BTreeSet<String> = examples::needed(rule, all).iter().flat_map(|part| part.fields()).collect();
        for field in rule.extension.examples.positive.iter().flat_map(|example| shown_fields(example, &looked_at)) {
            made_of(&field, |groups| needed.extend(groups.iter().flat_map(|group| group.iter()).map(|&name| name.to_owned())));
        }
    }
    needed
}

/// The fields of an example that its rule looks at.
fn shown_fields(example: &Example, looked_at: &BTreeSet<String>) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    for event in example.event.iter().chain(&example.events).filter_map(|event| event.as_object()) {
        for (name, value) in event.iter().filter(|(name, _)| looked_at.contains(*name)) {
            if name == INSIGHT {
                let names = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                fields.extend(names.iter().filter_map(|name| name.as_str()).map(|name| format!("{INSIGHT}.{name}")));
            }
            fields.insert(name.clone());
        }
    }
    fields
}

/// What a field is made of: of each group any one.
fn made_of<R>(field: &str, then: impl FnOnce(&[&[&str]]) -> R) -> R {
    match MADE_OF.iter().find(|(prefix, _)| field.starts_with(prefix)) {
        Some((_, groups)) => then(groups),
        None => then(&[&[field]]),
    }
}

/// What is lacking of what a field is made of.
fn lack(field: &str, seen: &Seen, into: &mut BTreeSet<String>) {
    made_of(field, |groups| {
        for group in groups.iter().filter(|group| !group.iter().any(|name| seen.fields.contains(*name))) {
            let words = if group.len() > 3 { "any text".to_owned() } else { group.join(" or ") };
            into.insert(words);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::Name;
    use crate::fields;

    #[test]
    fn what_fields_are_made_of_exists_and_every_statement_of_behaviour_needs_something() {
        let known = |name: &str| fields::is_known(name);
        for (prefix, groups) in MADE_OF {
            groups.iter().flat_map(|group| group.iter()).for_each(|name| assert!(known(name), "{prefix}: {name}"));
        }
        for name in Name::ALL {
            let mut lacking = BTreeSet::new();
            lack(&format!("{INSIGHT}.{}", name.as_str()), &Seen::default(), &mut lacking);
            assert!(!lacking.is_empty(), "{}", name.as_str());
        }
    }

    #[test]
    fn an_empty_record_covers_no_rule_of_ours() {
        let rules = RuleSet::builtin().unwrap();
        let coverage = super::super::Coverage::of(&rules, Some(&Seen::default()));
        let covered =
            coverage.techniques.iter().flat_map(|one| &one.rules).filter(|rule| rule.state == super::super::State::Covered);
        assert_eq!(covered.map(|rule| rule.title.as_str()).collect::<Vec<_>>(), Vec::<&str>::new());
    }

    #[test]
    fn categories_have_the_kinds_that_rules_of_them_see() {
        assert!(kinds_of("tool").any(|kind| kind == Kind::Installation));
        assert!(kinds_of("llm").any(|kind| kind == Kind::ModelCall) && kinds_of("nothing").next().is_none());
        assert_eq!(
            field_of_piece(Direction::Output, Role::Assistant, Part::Text),
            ["watchkeeper.text.assistant", "watchkeeper.text.output"]
        );
        assert_eq!(
            field_of_piece(Direction::Input, Role::Tool, Part::ToolResult),
            ["gen_ai.tool.call.result", "watchkeeper.text.tool"]
        );
    }
}
