//! Loading signatures: everything that can be wrong with one is told with file, rule, field and remedy.

use std::collections::{BTreeMap, BTreeSet};

use event::{Channel, Risk, RuleId, TechniqueId};
use serde::de::IntoDeserializer;

use super::atoms::derive;
use super::condition::Patterns;
use super::dialect::{expand, translate};
use super::lazy::in_a_line;
use super::{CHANNELS, Condition, LazyRegex, Pattern, Signature};
use crate::LoadError;
use crate::format::{PatternView, SignatureFile, SignaturePattern, SignatureRule};
use crate::view::normalise;

/// Most signatures of an inspector. What a text costs hardly depends on it; what they take in memory and at the start does.
const SIGNATURES_MAX: usize = 5_000;
/// Most patterns of one signature: a condition keeps a bit for each.
pub const PATTERNS_MAX: usize = Patterns::BITS as usize;
/// Most literals of a pattern.
const LITERALS_MAX: usize = 512;
/// Shortest atom of a first group: patterns are searched around its places, and shorter ones are everywhere.
const ATOM_BYTES_MIN: usize = 3;
/// Patterns of all signatures that have no atoms. They are asked of every text: a handful is as cheap as one, hundreds are not.
pub const WITHOUT_ATOMS_MAX: usize = 64;
/// Bytes around an atom that was written by hand in which its pattern is looked for. Patterns are sentences or less.
const NEAR_BYTES: usize = 400;
/// Longest match for whose sake only the neighbourhood of atoms is searched, and not all of the text.
const NEAR_BYTES_MAX: usize = 4_096;
/// Where the form is told of.
const SEE: &str = "see docs/reference/signatures.md";

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

impl ExampleCase {
    /// The name of the file that it is of.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }
}

/// What files of signatures hold.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) signatures: Vec<Signature>,
    pub(crate) examples: Vec<ExampleCase>,
    /// Signatures that are not enabled.
    pub(crate) disabled: usize,
}

/// Reads files of signatures. Regexes are not compiled and examples not tried yet.
pub(crate) fn compile(sources: &[(&str, &str)]) -> Result<Loaded, LoadError> {
    let mut files = Vec::with_capacity(sources.len());
    let (mut fragments, mut files_of_fragments) = (BTreeMap::new(), BTreeMap::new());
    for &(name, yaml) in sources {
        let mut file = SignatureFile::parse(yaml).map_err(|problem| LoadError::Syntax { file: name.to_owned(), problem })?;
        for fragment in file.fragments.keys() {
            if let Some(other) = files_of_fragments.insert(fragment.clone(), name) {
                let (file, other) = (name.to_owned(), other.to_owned());
                return Err(LoadError::Fragment { file, fragment: fragment.clone(), other });
            }
        }
        fragments.append(&mut file.fragments);
        files.push((name, file));
    }
    let mut loaded = Loaded::default();
    let mut ids = BTreeSet::new();
    let mut without_atoms = 0;
    for (name, file) in files {
        for rule in file.signatures {
            let at = Place { file: name, rule: rule.id.clone() };
            if !ids.insert(rule.id.clone()) {
                return Err(at.error("id", "another signature has it", "give each signature its own id"));
            }
            if ids.len() > SIGNATURES_MAX {
                return Err(at.error("id", format!("there are over {SIGNATURES_MAX} signatures"), "load fewer"));
            }
            let (enabled, examples) = (rule.enabled, at.examples(&rule)?);
            let signature = at.signature(rule, &fragments)?;
            if !enabled {
                loaded.disabled += 1;
                continue;
            }
            without_atoms += signature.patterns.iter().filter(|pattern| pattern.atoms.is_empty()).count();
            if without_atoms > WITHOUT_ATOMS_MAX {
                return Err(at.error(
                    "patterns.regex",
                    format!("it is the pattern without atoms that is one too many: there may be {WITHOUT_ATOMS_MAX}"),
                    "let the regex hold a word of 3 letters or more, or take a signature out",
                ));
            }
            loaded.examples.extend(examples);
            loaded.signatures.push(signature);
        }
    }
    Ok(loaded)
}

/// Whether a signature is of the form that it must have, but for fragments and its examples, which are not looked at. Its regexes are not
/// compiled.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_rule(rule: &SignatureRule) -> Result<(), LoadError> {
    Place { file: "-", rule: rule.id.clone() }.signature(rule.clone(), &BTreeMap::new()).map(drop)
}

/// Whether a pattern without fragments is of the form that it must have and compiles within the bounds.
///
/// # Errors
/// What is wrong with it.
pub fn check_pattern(pattern: &SignaturePattern) -> Result<(), String> {
    let pattern = lone_pattern(pattern)?;
    pattern.regexes().try_for_each(|regex| regex.compile().map(drop))
}

/// Whether a pattern without fragments has literals by which it can be passed over, as far as it is of the form that it must have.
#[must_use]
pub fn has_atoms(pattern: &SignaturePattern) -> bool {
    lone_pattern(pattern).is_ok_and(|pattern| !pattern.atoms.is_empty())
}

fn lone_pattern(pattern: &SignaturePattern) -> Result<Pattern, String> {
    let place = Place { file: "-", rule: String::new() };
    place.pattern(pattern.clone(), &BTreeMap::new()).map_err(|error| match error {
        LoadError::Rule { problem, .. } => problem,
        other => other.to_string(),
    })
}

/// Compiles every regex and tries every example; tells all that is wrong. `matches` tells whether a signature, by its number, is found
/// in a text of a channel.
pub(crate) fn check_examples<'s>(
    signatures: &'s [Signature],
    examples: &'s [ExampleCase],
    matches: impl Fn(usize, &str, Channel) -> bool + 's,
) -> impl Iterator<Item = LoadError> + 's {
    let numbers: BTreeMap<&str, usize> = signatures.iter().enumerate().map(|(number, of)| (of.id.as_str(), number)).collect();
    let files: BTreeMap<&str, &str> = examples.iter().map(|example| (example.rule.as_str(), example.file.as_str())).collect();
    let regexes = signatures.iter().filter_map(move |signature| {
        let at = Place { file: files.get(signature.id.as_str())?, rule: signature.id.as_str().to_owned() };
        signature.patterns.iter().find_map(|pattern| {
            [("patterns.regex", Some(&pattern.regex)), ("patterns.unless", pattern.unless.as_ref())].into_iter().find_map(
                |(field, regex)| {
                    let problem = regex.filter(|regex| regex.get().is_none())?.compile().err()?;
                    Some(at.error(field, problem, SEE))
                },
            )
        })
    });
    let failed = examples.iter().filter_map(move |example| {
        let number = *numbers.get(example.rule.as_str())?;
        if matches(number, &example.text, example.channel) == example.positive {
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

    fn signature(&self, rule: SignatureRule, fragments: &BTreeMap<String, String>) -> Result<Signature, LoadError> {
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
        let names = self.names(&rule.patterns)?;
        let condition = rule.condition.as_deref().map(|condition| {
            Condition::parse(condition, &names)
                .map_err(|problem| self.error("condition", problem, "name patterns that there are"))
        });
        let condition = condition.transpose()?.filter(|condition| !condition.is_any(names.len()));
        let patterns = rule.patterns.into_iter().map(|pattern| self.pattern(pattern, fragments)).collect::<Result<_, _>>()?;
        Ok(Signature {
            id: RuleId::new(&rule.id),
            family,
            risk,
            technique,
            technique_indirect,
            scores: self.scores(&rule.channels)?,
            mention: rule.mention,
            condition,
            patterns,
        })
    }

    fn risk(&self, name: &str) -> Result<Risk, LoadError> {
        let name: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
        <Risk as serde::Deserialize>::deserialize(name).map_err(|error| self.error("risk", error.to_string(), "use one of these"))
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
                return Err(self.error(
                    "channels",
                    format!("the score of {name} is {score}"),
                    "choose one above 0 and up to 1, or leave the channel out",
                ));
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

    /// What the condition calls the patterns.
    fn names(&self, patterns: &[SignaturePattern]) -> Result<Vec<String>, LoadError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let mut names = Vec::with_capacity(patterns.len());
        for (number, pattern) in (1..).zip(patterns) {
            let name = pattern.name.clone().unwrap_or_else(|| format!("p{number}"));
            let is_word = ["and", "or", "not", "of", "any", "all", "them"].contains(&name.as_str());
            if name.is_empty() || is_word || !name.bytes().all(allowed) {
                return Err(self.error("patterns.name", format!("{name:?} is no name"), "use letters, digits and _"));
            }
            if names.contains(&name) {
                return Err(self.error("patterns.name", format!("two patterns are called {name:?}"), "give each its own name"));
            }
            names.push(name);
        }
        Ok(names)
    }

    fn pattern(&self, pattern: SignaturePattern, fragments: &BTreeMap<String, String>) -> Result<Pattern, LoadError> {
        let view = pattern.view;
        if pattern.cased && view != PatternView::Raw {
            return Err(self.error("patterns.cased", "normalised text has no capitals", "use `view: raw`"));
        }
        let any_case = view != PatternView::Text && !pattern.cased;
        for atom in pattern.atoms.iter().flatten().chain(&pattern.literals) {
            if view != PatternView::Raw && normalise(atom).0 != *atom {
                let field = if pattern.literals.contains(atom) { "patterns.literals" } else { "patterns.atoms" };
                return Err(self.error(field, format!("{atom:?} is not normalised"), "write it in lower case, without accents"));
            }
        }
        let source = match (&pattern.regex, pattern.literals.as_slice()) {
            (Some(regex), []) => expand(regex, fragments).map_err(|problem| self.error("patterns.regex", problem, SEE))?,
            (None, literals) if !literals.is_empty() && literals.len() <= LITERALS_MAX => {
                if literals.iter().any(|literal| literal.trim().is_empty()) {
                    return Err(self.error("patterns.literals", "one is empty", "leave it out"));
                }
                literals.iter().map(|literal| regex_syntax::escape(literal)).collect::<Vec<_>>().join("|")
            }
            (None, literals) if !literals.is_empty() => {
                return Err(self.error("patterns.literals", format!("there are over {LITERALS_MAX}"), "split the pattern"));
            }
            _ => return Err(self.error("patterns", "a pattern has a regex or literals", "give one of both")),
        };
        let source = translate(&source, any_case);
        let (atoms, near) = self.atoms(pattern.atoms, &source)?;
        let unless = pattern.unless.as_deref().map(|unless| {
            let unless = expand(unless, fragments).map_err(|problem| self.error("patterns.unless", problem, SEE))?;
            Ok(LazyRegex::new(translate(&unless, any_case)))
        });
        Ok(Pattern {
            view,
            channels: self.pattern_channels(&pattern.channels)?,
            near,
            regex: LazyRegex::new(source),
            unless: unless.transpose()?,
            atoms,
        })
    }

    /// The atoms of a pattern, and how far around them it is looked for: as they are written, or read off the regex.
    fn atoms(&self, written: Vec<Vec<String>>, source: &str) -> Result<(Vec<Vec<String>>, Option<usize>), LoadError> {
        if written.is_empty() {
            let hir = regex_syntax::parse(source);
            let hir = hir.map_err(|error| self.error("patterns.regex", in_a_line(&error.to_string()), SEE))?;
            return Ok(derive(&hir, ATOM_BYTES_MIN).map_or_else(Default::default, |derived| {
                (derived.groups, derived.bytes_max.filter(|&bytes| bytes <= NEAR_BYTES_MAX))
            }));
        }
        if written.iter().any(Vec::is_empty) {
            return Err(self.error("patterns.atoms", "a group is empty", "list words of which the text must hold one"));
        }
        let shortest = |group: usize| if group == 0 { ATOM_BYTES_MIN } else { 1 };
        let short = written.iter().enumerate().find_map(|(group, atoms)| atoms.iter().find(|atom| atom.len() < shortest(group)));
        match short {
            Some(atom) => Err(self.error("patterns.atoms", format!("{atom:?} is too short"), "use a longer word")),
            None => Ok((written, Some(NEAR_BYTES))),
        }
    }

    fn pattern_channels(&self, names: &[String]) -> Result<[bool; 5], LoadError> {
        let channels =
            names.iter().map(|name| self.channel("patterns.channels", name)).collect::<Result<Vec<Channel>, LoadError>>()?;
        Ok(CHANNELS.map(|channel| channels.is_empty() || channels.contains(&channel)))
    }

    fn examples(&self, rule: &SignatureRule) -> Result<Vec<ExampleCase>, LoadError> {
        let mut cases = Vec::new();
        for (field, list, positive) in
            [("examples.positive", &rule.examples.positive, true), ("examples.negative", &rule.examples.negative, false)]
        {
            if list.is_empty() && rule.enabled {
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
