//! About what a rule takes once it is compiled: a short text can ask for a lot (`windash` writes five texts for each dash, a repetition in a
//! pattern its states).

use regex::RegexBuilder;
use rsigma_parser::{ConditionExpr, CorrelationRule, Detection, DetectionItem, Modifier, SigmaString, SigmaValue, StringPart};

use super::Parsed;

/// Most memory of one rule, in bytes. The largest of SigmaHQ takes less than one.
const RULE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 8 * 1024;
/// What a compiled pattern may take, in bytes: the first step that is enough counts, and beyond the last it is refused.
const PATTERN_STEPS: [usize; 4] = [16 * 1024, 128 * 1024, 1024 * 1024, 4 * 1024 * 1024];
/// Most texts that `windash` makes of the values of one field.
const WINDASH_MAX: usize = 16 * 1024;
/// Most rules that a filter names.
const FILTER_RULES_MAX: usize = 4_096;
/// Most fields that a correlation groups by, and most aliases.
const GROUP_BY_MAX: usize = 16;
/// Most rules that an alias names.
const CORRELATED_MAX: usize = 256;
/// Longest name of a field that groups, in bytes.
const FIELD_BYTES_MAX: usize = 1024;
/// What a name takes beside its text where it is kept.
const NAME_BYTES: usize = 64;
/// How many characters stand for a dash with `windash`.
const DASHES: usize = 5;
/// What any rule takes, and any filter in each rule that it is for: small ones were measured.
const DOCUMENT_BYTES: usize = 2 * 1024;
/// What any value takes beside its text.
const VALUE_BYTES: usize = 128;
/// What a text takes for each of its bytes: itself, in small letters, and in an automaton of all texts of its field.
const BYTES_OF_BYTE: usize = 8;
/// What a text with a wildcard in it takes, which becomes a pattern; and what it takes for each of its bytes.
const WILDCARD_BYTES: usize = 4 * 1024;
/// See [`WILDCARD_BYTES`].
const WILDCARD_BYTES_OF_BYTE: usize = 512;

/// About how many bytes a document takes, or why that is too much.
pub(crate) fn weight(document: &Parsed) -> Result<usize, String> {
    let detections = match document {
        Parsed::Rule(rule) => &rule.detection.named,
        Parsed::Filter(filter) => {
            if document.references().is_some_and(|all| all.len() > FILTER_RULES_MAX) {
                return Err(format!("filter.rules: more than {FILTER_RULES_MAX}; write several filters, or `any`"));
            }
            &filter.detection.named
        }
        Parsed::Correlation(rule) => return of_correlation(rule),
    };
    let mut sum = DOCUMENT_BYTES;
    if let Parsed::Rule(rule) = document {
        // A filter has each pattern that means all selections written out.
        let selectors: usize = rule.detection.conditions.iter().map(selectors).sum();
        add(&mut sum, selectors.saturating_mul(rule.detection.named.len()).saturating_mul(NAME_BYTES))?;
    }
    for detection in detections.values() {
        of_detection(detection, &mut sum)?;
    }
    Ok(sum)
}

/// Each field that groups is kept for each of the rules.
fn of_correlation(rule: &CorrelationRule) -> Result<usize, String> {
    if rule.group_by.len() > GROUP_BY_MAX {
        return Err(format!("correlation.group-by: more than {GROUP_BY_MAX} fields"));
    }
    let mapped: usize = rule.aliases.iter().map(|alias| alias.mapping.len()).sum();
    if rule.aliases.len() > GROUP_BY_MAX || mapped > GROUP_BY_MAX * CORRELATED_MAX {
        return Err(format!("correlation.aliases: more than {GROUP_BY_MAX}, or of more than {CORRELATED_MAX} rules each"));
    }
    let fields = rule.group_by.iter().chain(rule.aliases.iter().flat_map(|alias| alias.mapping.values()));
    let longest = fields.map(String::len).max().unwrap_or(0);
    if longest > FIELD_BYTES_MAX {
        return Err(format!("correlation.group-by, or aliases: a field has more than {FIELD_BYTES_MAX} bytes"));
    }
    let names: usize = rule.rules.iter().map(|name| name.len() + VALUE_BYTES).sum();
    Ok(DOCUMENT_BYTES + names + (longest + NAME_BYTES) * rule.group_by.len() * rule.rules.len())
}

/// How many patterns of selections a condition has.
fn selectors(condition: &ConditionExpr) -> usize {
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => parts.iter().map(selectors).sum(),
        ConditionExpr::Not(part) => selectors(part),
        ConditionExpr::Selector { .. } => 1,
        ConditionExpr::Identifier(_) => 0,
    }
}

fn of_detection(detection: &Detection, sum: &mut usize) -> Result<(), String> {
    match detection {
        Detection::AllOf(items) => items.iter().try_for_each(|item| of_item(item, sum)),
        Detection::AnyOf(parts) | Detection::And(parts) => parts.iter().try_for_each(|part| of_detection(part, sum)),
        Detection::Keywords(values) => values.iter().try_for_each(|value| add(sum, of_text(value, 1))),
        Detection::ArrayMatch { body, .. } => of_detection(body, sum),
        Detection::Conditional { named, .. } => named.values().try_for_each(|part| of_detection(part, sum)),
    }
}

fn of_item(item: &DetectionItem, sum: &mut usize) -> Result<(), String> {
    let has = |modifier| item.field.has_modifier(modifier);
    let field = || item.field.name.as_deref().unwrap_or("keywords");
    let mut variants: usize = 0;
    for value in &item.values {
        let SigmaValue::String(text) = value else {
            add(sum, VALUE_BYTES)?;
            continue;
        };
        if has(Modifier::Re) {
            add(sum, of_pattern(&text.original, &item.field.modifiers).map_err(|why| format!("detection: {}: {why}", field()))?)?;
            continue;
        }
        let mut times = 1;
        if has(Modifier::WindAsh) {
            let dashes = text.original.matches('-').count();
            times = u32::try_from(dashes).ok().and_then(|dashes| DASHES.checked_pow(dashes)).unwrap_or(usize::MAX);
            variants = variants.saturating_add(times);
            if variants > WINDASH_MAX {
                let why = format!(
                    "windash makes more than {WINDASH_MAX} texts of its values; write fewer dashes or the texts themselves"
                );
                return Err(format!("detection: {}: {why}", field()));
            }
        }
        // Up to three encodings, each a third longer, of texts that may be twice as wide.
        let encoded = if has(Modifier::Base64Offset) || has(Modifier::Base64) { 8 } else { 1 };
        add(sum, of_text(value, times.saturating_mul(encoded)))?;
    }
    Ok(())
}

fn add(sum: &mut usize, bytes: usize) -> Result<(), String> {
    *sum = sum.saturating_add(bytes);
    if *sum > RULE_BYTES_MAX {
        return Err(format!(
            "detection: the rule takes more than {RULE_BYTES_MAX} bytes of memory; take values or patterns out of it"
        ));
    }
    Ok(())
}

fn of_text(value: &SigmaValue, times: usize) -> usize {
    let SigmaValue::String(text) = value else { return VALUE_BYTES };
    let length = text.original.len();
    let once = match has_wildcard_inside(text) {
        true => WILDCARD_BYTES + length * WILDCARD_BYTES_OF_BYTE,
        false => VALUE_BYTES + length * BYTES_OF_BYTE,
    };
    once.saturating_mul(times)
}

/// Whether more than the ends of a text are open.
fn has_wildcard_inside(text: &SigmaString) -> bool {
    let is_wildcard = |part: &&StringPart| matches!(part, StringPart::Special(_));
    text.parts.iter().filter(is_wildcard).count() > 2 || text.parts.iter().skip(1).rev().skip(1).any(|part| is_wildcard(&part))
}

fn of_pattern(pattern: &str, modifiers: &[Modifier]) -> Result<usize, String> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("a pattern has more than {PATTERN_BYTES_MAX} bytes"));
    }
    let has = |modifier| modifiers.contains(&modifier);
    for bytes in PATTERN_STEPS {
        let mut builder = RegexBuilder::new(pattern);
        builder.case_insensitive(has(Modifier::IgnoreCase)).multi_line(has(Modifier::Multiline));
        builder.dot_matches_new_line(has(Modifier::DotAll)).size_limit(bytes);
        match builder.build() {
            Ok(_) => return Ok(bytes),
            Err(regex::Error::CompiledTooBig(_)) => {}
            // The engine says what is wrong with it.
            Err(_) => return Ok(0),
        }
    }
    let bytes_max = PATTERN_STEPS[PATTERN_STEPS.len() - 1];
    Err(format!("a pattern takes more than {bytes_max} bytes compiled; repeat less in it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sigma::parse;

    #[test]
    fn what_is_written_out_counts_as_that() {
        let list = |count: usize, name: &str| (0..count).map(|at| format!("{name}{at}")).collect::<Vec<_>>().join(", ");
        let correlation = |rules: usize, fields: String| {
            format!(
                "title: C\ncorrelation:\n  type: event_count\n  rules: [{}]\n  group-by: [{fields}]\n  timespan: 1h\n  condition: {{gte: 2}}\n",
                list(rules, "r")
            )
        };
        let rule = |selections: usize, selectors: usize| {
            let named: String = (0..selections).map(|at| format!("  s{at}: {{a: x}}\n")).collect();
            format!("title: T\ndetection:\n{named}  condition: {}\n", vec!["1 of *"; selectors].join(" or "))
        };
        for (yaml, named) in [
            (correlation(3, list(3, "f")), None),
            (correlation(256, list(17, "f")), Some("group-by")),
            (correlation(3, "f".repeat(2_000)), Some("bytes")),
            (rule(20, 3), None),
            (rule(3_000, 300), Some("memory")),
        ] {
            let (parsed, errors) = parse(&yaml);
            assert_eq!(errors, Vec::<String>::new());
            match (weight(&parsed[0]), named) {
                (Ok(_), None) => {}
                (Err(error), Some(named)) => assert!(error.contains(named), "{error}"),
                (found, expected) => panic!("{yaml:.60}: {found:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn what_asks_for_too_much_is_named_and_usual_rules_are_light() {
        let list = |count: usize, item: &str| (0..count).map(|_| item).collect::<Vec<_>>().join(",");
        for (selection, expected) in [
            ("{a: x}".to_owned(), Ok(3_000)),
            ("{a|re: '(?i)ignore\\s+(all\\s+)?previous'}".to_owned(), Ok(200_000)),
            (format!("{{a|contains: [{}]}}", list(1_000, "kernel32.dll")), Ok(1_000_000)),
            ("{a|windash|contains: ['-a -b -c']}".to_owned(), Ok(100_000)),
            ("{a|windash: ['--------']}".to_owned(), Err("windash")),
            (format!("{{a|windash: [{}]}}", list(200, "'---'")), Err("windash")),
            (format!("{{a|re: '{}'}}", "a".repeat(10_000)), Err("pattern has more")),
            ("{a|re: '\\pL{50}{50}{50}'}".to_owned(), Err("compiled")),
            (format!("{{a|re: [{}]}}", list(400, "'\\w{40}'")), Err("memory")),
            (format!("{{a: [{}]}}", list(20_000, "'a?b'")), Err("memory")),
            (format!("[{}]", list(20_000, "'a*b'")), Err("memory")),
            (format!("{{a: '{}'}}", "x*".repeat(40_000)), Err("memory")),
            // Not a pattern: the engine says so.
            ("{a|re: '('}".to_owned(), Ok(3_000)),
        ] {
            let yaml = format!("title: T\ndetection:\n  s: {selection}\n  condition: s\n");
            let (parsed, errors) = parse(&yaml);
            assert_eq!(errors, Vec::<String>::new(), "{selection:.80}");
            match (weight(&parsed[0]), expected) {
                (Ok(bytes), Ok(most)) => assert!((DOCUMENT_BYTES..=most).contains(&bytes), "{selection:.80}: {bytes}"),
                (Err(error), Err(named)) => assert!(error.contains(named), "{selection:.80}: {error}"),
                (found, expected) => panic!("{selection:.80}: {found:?}, expected {expected:?}"),
            }
        }
    }
}
