//! Loading signatures: everything that can be wrong with one is told with file, rule, field and remedy.

use std::collections::{BTreeMap, BTreeSet};

use event::{Channel, Risk, RuleId, TechniqueId};
use serde::de::IntoDeserializer;

use super::dialect::{expand, translate};
use super::file::{File, PatternView, Rule, RulePattern};
use super::{CHANNELS, LazyRegex, Pattern, Reads, Signature};
use crate::LoadError;
use crate::view::normalise;

/// Most signatures of an inspector. Their patterns are tried one by one, so that the number has a price.
const SIGNATURES_MAX: usize = 5_000;
/// Most patterns of one signature.
const PATTERNS_MAX: usize = 32;
/// Shortest atom of a first group: patterns are searched around its places, and shorter ones are everywhere.
const ATOM_BYTES_MIN: usize = 3;

/// An example of a signature, still to be tried.
#[derive(Debug)]
pub(crate) struct ExampleCase {
    file: String,
    rule: RuleId,
    channel: Channel,
    text: String,
    positive: bool,
    number: usize,
}

/// Reads files of signatures. Regexes are not compiled and examples not tried yet.
pub(crate) fn compile(sources: &[(&str, &str)]) -> Result<(Vec<Signature>, Vec<ExampleCase>), LoadError> {
    let mut files = Vec::with_capacity(sources.len());
    let mut fragments = BTreeMap::new();
    for &(name, yaml) in sources {
        let mut file: File = yaml_serde::from_str(yaml)
            .map_err(|error| LoadError::Syntax { file: name.to_owned(), problem: error.to_string() })?;
        fragments.append(&mut file.fragments);
        files.push((name, file));
    }
    let mut signatures = Vec::new();
    let mut examples = Vec::new();
    let mut ids = BTreeSet::new();
    for (name, file) in files {
        for rule in file.signatures {
            let at = Place { file: name, rule: rule.id.clone() };
            if !ids.insert(rule.id.clone()) {
                return Err(at.error("id", "another signature has it", "give each signature its own id"));
            }
            if signatures.len() == SIGNATURES_MAX {
                return Err(at.error("id", format!("there are over {SIGNATURES_MAX} signatures"), "load fewer"));
            }
            examples.extend(at.examples(&rule)?);
            signatures.push(at.signature(rule, &fragments)?);
        }
    }
    Ok((signatures, examples))
}

/// Compiles every regex and tries every example; tells all that is wrong. `matches` tells whether a signature is found in
/// a text of a channel.
pub(crate) fn check_examples<'s>(
    signatures: &'s [Signature],
    examples: &'s [ExampleCase],
    matches: impl Fn(&RuleId, &str, Channel) -> bool + 's,
) -> impl Iterator<Item = LoadError> + 's {
    let regexes = examples.iter().filter(|example| example.positive && example.number == 1).filter_map(|example| {
        let at = Place { file: &example.file, rule: example.rule.as_str().to_owned() };
        let signature = signatures.iter().find(|signature| signature.id == example.rule)?;
        signature.patterns.iter().find_map(|pattern| {
            [("patterns.regex", Some(&pattern.regex)), ("patterns.unless", pattern.unless.as_ref())].into_iter().find_map(
                |(field, regex)| {
                    let problem = regex.filter(|regex| regex.get().is_none())?.compile().err()?;
                    Some(at.error(field, problem, "see the dialect in docs/reference/inspection.md"))
                },
            )
        })
    });
    let failed = examples.iter().filter_map(move |example| {
        if matches(&example.rule, &example.text, example.channel) == example.positive {
            return None;
        }
        let at = Place { file: &example.file, rule: example.rule.as_str().to_owned() };
        let (field, problem) = if example.positive {
            ("examples.positive", format!("example {} is not matched", example.number))
        } else {
            ("examples.negative", format!("example {} is matched", example.number))
        };
        Some(at.error(field, problem, "mend the pattern, its atoms or the example"))
    });
    regexes.chain(failed)
}

struct Place<'f> {
    file: &'f str,
    rule: String,
}

impl Place<'_> {
    fn error(&self, field: &'static str, problem: impl Into<String>, remedy: impl Into<String>) -> LoadError {
        LoadError::Rule {
            file: self.file.to_owned(),
            rule: self.rule.clone(),
            field,
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    fn signature(&self, rule: Rule, fragments: &BTreeMap<String, String>) -> Result<Signature, LoadError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.' | b'-');
        if rule.id.is_empty() || !rule.id.bytes().all(allowed) {
            return Err(self.error("id", "it must be of the form [a-z0-9_.-]+", "rename the signature"));
        }
        if rule.title.trim().is_empty() {
            return Err(self.error("title", "it is empty", "say in a line what the signature finds"));
        }
        if rule.patterns.is_empty() || rule.patterns.len() > PATTERNS_MAX {
            return Err(self.error("patterns", format!("there must be 1 to {PATTERNS_MAX}"), "add or split"));
        }
        if rule.false_positives.iter().any(|text| text.trim().is_empty()) {
            return Err(self.error("false_positives", "one is empty", "say which innocent texts match, or leave it out"));
        }
        let (risk, technique) = (self.risk(&rule.risk)?, self.technique("technique", &rule.technique)?);
        let technique_indirect =
            rule.technique_indirect.as_deref().map(|id| self.technique("technique_indirect", id)).transpose()?;
        if !(0.0..=1.0).contains(&rule.mention) {
            return Err(self.error("mention", "it must be between 0 and 1", "1 keeps the score in text about attacks"));
        }
        let family = rule.family.unwrap_or_else(|| rule.id.split('.').next().unwrap_or_default().to_owned());
        let patterns = rule.patterns.into_iter().map(|pattern| self.pattern(pattern, fragments)).collect::<Result<_, _>>()?;
        Ok(Signature {
            id: RuleId::new(&rule.id),
            family,
            risk,
            technique,
            technique_indirect,
            scores: self.scores(&rule.channels)?,
            mention: rule.mention,
            patterns,
        })
    }

    fn risk(&self, name: &str) -> Result<Risk, LoadError> {
        let name: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
        <Risk as serde::Deserialize>::deserialize(name)
            .map_err(|error| self.error("risk", error.to_string(), "use a risk of event::Risk"))
    }

    fn technique(&self, field: &'static str, id: &str) -> Result<TechniqueId, LoadError> {
        id.parse().map_err(|error| self.error(field, format!("{error}"), "use an id of content/taxonomy/atlas.json"))
    }

    fn channel(&self, field: &'static str, name: &str) -> Result<Channel, LoadError> {
        name.parse().map_err(|error| self.error(field, format!("{error}"), "rename the channel"))
    }

    fn scores(&self, channels: &BTreeMap<String, f32>) -> Result<[Option<f32>; 5], LoadError> {
        let mut scores = [None; 5];
        for (name, &score) in channels {
            let channel = self.channel("channels", name)?;
            if !(score > 0.0 && score <= 1.0) {
                return Err(self.error("channels", format!("the score of {name} is not in 0 to 1"), "leave the channel out"));
            }
            for (slot, of) in scores.iter_mut().zip(CHANNELS) {
                if of == channel {
                    *slot = Some(score);
                }
            }
        }
        if scores.iter().all(Option::is_none) {
            return Err(self.error("channels", "there are none", "give a score for at least one channel"));
        }
        Ok(scores)
    }

    fn pattern(&self, pattern: RulePattern, fragments: &BTreeMap<String, String>) -> Result<Pattern, LoadError> {
        let (reads, any_case) = match pattern.view {
            PatternView::Raw => (Reads::Raw, true),
            PatternView::Text => (Reads::Text, false),
        };
        if pattern.atoms.is_empty() || pattern.atoms.iter().any(Vec::is_empty) {
            return Err(self.error("patterns.atoms", "a pattern needs atoms", "list words of which the text must hold one"));
        }
        for (group, atom) in
            pattern.atoms.iter().enumerate().flat_map(|(group, atoms)| atoms.iter().map(move |atom| (group, atom)))
        {
            if atom.is_empty() || group == 0 && atom.len() < ATOM_BYTES_MIN {
                return Err(self.error("patterns.atoms", format!("{atom:?} is too short"), "use a longer word"));
            }
            if reads == Reads::Text && normalise(atom).0 != *atom {
                return Err(self.error(
                    "patterns.atoms",
                    format!("{atom:?} is not normalised"),
                    "write it in lower case, without accents",
                ));
            }
        }
        let regex = |field, source: &str| {
            expand(source, fragments)
                .map(|source| LazyRegex::new(translate(&source, any_case)))
                .map_err(|problem| self.error(field, problem, "see the dialect in docs/reference/inspection.md"))
        };
        Ok(Pattern {
            reads,
            regex: regex("patterns.regex", &pattern.regex)?,
            unless: pattern.unless.as_deref().map(|source| regex("patterns.unless", source)).transpose()?,
            atoms: pattern.atoms,
        })
    }

    fn examples(&self, rule: &Rule) -> Result<Vec<ExampleCase>, LoadError> {
        let mut cases = Vec::new();
        for (field, list, positive) in
            [("examples.positive", &rule.examples.positive, true), ("examples.negative", &rule.examples.negative, false)]
        {
            if list.is_empty() {
                return Err(self.error(field, "there are none", "add at least one"));
            }
            for (index, example) in list.iter().enumerate() {
                cases.push(ExampleCase {
                    file: self.file.to_owned(),
                    rule: RuleId::new(&rule.id),
                    channel: self.channel(field, &example.channel)?,
                    text: example.text.clone(),
                    positive,
                    number: index + 1,
                });
            }
        }
        Ok(cases)
    }
}
