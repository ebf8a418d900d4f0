//! Rules of others as signatures: ATR (`agent-threat-rules`) and NOVA. What could not be taken is told, rule by rule.
//!
//! Knows no I/O: texts of files in, signature files and a report out. A rule is taken as far as a single text can tell: regexes and
//! literals over fields that are texts here. What is taken is tried before it is handed out: on the rule's own examples, on the innocent
//! examples of all other rules, and on innocent texts that the caller brings. Only what is right and quiet is enabled.

#![forbid(unsafe_code)]

pub mod atr;
mod foreign_regex;
pub mod nova;
mod sample;
mod trial;

use std::collections::BTreeMap;

use event::Channel;
use inspect::format::{SignatureFile, SignatureRule};
use inspect::{Inspector, LoadError};
use serde::Serialize;

/// Most rules of an import: an inspector takes so many signatures.
pub const RULES_MAX: usize = 5_000;
/// Most signatures of a file that is written, so that people can read it.
const FILE_SIGNATURES_MAX: usize = 100;
/// How often what does not load is taken out of what is written.
const PROOFS_MAX: usize = 8;

/// The form of foreign rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Agent Threat Rules: YAML, a rule a file.
    Atr,
    /// NOVA: text in the manner of YARA, several rules a file.
    Nova,
}

/// An innocent text, to see which rules are quiet.
#[derive(Debug, Clone)]
pub struct Benign {
    /// Where it enters.
    pub channel: Channel,
    /// The text.
    pub text: String,
    /// What kind of text it is, for the report.
    pub kind: String,
}

/// What came of an import.
#[derive(Debug)]
pub struct Import {
    /// Signature files by name, those that are not enabled among them.
    pub files: BTreeMap<String, SignatureFile>,
    /// What became of each rule, in the order of files.
    pub rules: Vec<Outcome>,
    /// How many innocent texts set something off. What did is not enabled.
    pub benign: Vec<Noise>,
}

/// What became of a rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Its id or name, as it was.
    pub rule: String,
    /// The file it stood in.
    pub file: String,
    /// What it is now.
    pub standing: Standing,
    /// Why it is not enabled or not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What of it was dropped, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// Patterns that were taken.
    pub patterns: usize,
    /// Of its examples that must match, how many do.
    pub positives: Share,
    /// Of its examples that must not match, how many do not.
    pub negatives: Share,
    /// Of its tests of evasion, how many are found.
    pub evasions: Share,
    /// Innocent examples of other rules that it is found in.
    pub cross_noise: usize,
    /// Innocent texts of the caller that it is found in.
    pub benign_noise: usize,
}

/// So many of so many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// So many.
    pub count: usize,
    /// Of so many.
    pub of: usize,
}

/// What an imported rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// A signature that is used.
    Enabled,
    /// A signature that is written and not used.
    Disabled,
    /// Nothing: it cannot be a signature.
    Dropped,
}

/// How many innocent texts of a kind some rule is found in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Noise {
    /// The kind.
    pub kind: String,
    /// Texts of it.
    pub texts: usize,
    /// Those in which a rule was found.
    pub found: usize,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// There is nothing to import.
    #[error("no rule among {files} files; {form} rules are {endings} files")]
    Nothing {
        /// How many files were looked at.
        files: usize,
        /// The form that was asked for.
        form: &'static str,
        /// What its files end with.
        endings: &'static str,
    },
    /// There are more rules than an inspector takes.
    #[error("there are more than {RULES_MAX} rules; import them in parts")]
    TooMany,
    /// What was made of the rules does not load: a fault of the importer.
    #[error("what was made of the rules does not load, which is a fault of this program: {0}")]
    Signatures(#[from] LoadError),
    /// What was made of the rules cannot be written: a fault of the importer.
    #[error("what was made of the rules cannot be written, which is a fault of this program: {0}")]
    Write(String),
}

/// A rule on its way: what was made of it, and the texts to try it on.
#[derive(Debug)]
struct Draft {
    outcome: Outcome,
    /// The name of the file it goes to, without its number and ending.
    group: String,
    /// What was made of it; nothing if it was dropped.
    signature: Option<SignatureRule>,
    /// Why it is not to be enabled, whatever its examples say.
    held_back: Option<String>,
    positives: Vec<Case>,
    negatives: Vec<Case>,
    evasions: Vec<Case>,
}

/// An example: texts of which the rule is found in one, or in none.
#[derive(Debug, Clone, PartialEq)]
struct Case(Vec<CaseText>);

#[derive(Debug, Clone, PartialEq)]
struct CaseText {
    /// Where it can enter; all of the rule's channels where that is not said.
    channels: Vec<Channel>,
    text: String,
}

/// Reads rules (name and text of files), makes signatures of them and tries these.
///
/// # Errors
/// Where there is nothing to import or too much. What is wrong with a rule is told in its [`Outcome`].
pub fn import(form: Form, files: &[(String, String)], benign: &[Benign]) -> Result<Import, ImportError> {
    let mut drafts: Vec<Draft> = match form {
        Form::Atr => files.iter().map(|(name, text)| atr::draft(name, text)).collect(),
        Form::Nova => files.iter().flat_map(|(name, text)| nova::drafts(name, text)).collect(),
    };
    if drafts.len() > RULES_MAX {
        return Err(ImportError::TooMany);
    }
    if drafts.is_empty() {
        let (form, endings) = match form {
            Form::Atr => ("ATR", "*.yaml"),
            Form::Nova => ("NOVA", "*.nov"),
        };
        return Err(ImportError::Nothing { files: files.len(), form, endings });
    }
    drop_repeated(&mut drafts);
    let noise = trial::run(&mut drafts, benign)?;
    let files = prove(&mut drafts)?;
    let mut rules = Vec::with_capacity(drafts.len());
    rules.extend(drafts.into_iter().map(|draft| draft.outcome));
    Ok(Import { files, rules, benign: noise })
}

/// The signature files by name, and that they load when they are read back, each with its examples: what does not is not enabled, and
/// what then does not either is dropped.
fn prove(drafts: &mut [Draft]) -> Result<BTreeMap<String, SignatureFile>, ImportError> {
    let mut fault = None;
    for _ in 0..PROOFS_MAX {
        let files = files_of(drafts);
        let sources: Vec<(String, String)> = files.iter().map(written).collect::<Result<_, _>>()?;
        let problems = Inspector::check(&sources);
        if problems.is_empty() {
            return Ok(files);
        }
        for problem in problems {
            let LoadError::Rule { rule, .. } = &problem else { return Err(problem.into()) };
            let Some(draft) = drafts.iter_mut().find(|draft| draft.signature.as_ref().is_some_and(|of| of.id == *rule)) else {
                return Err(problem.into());
            };
            draft.disable(format!("it does not load: {problem}"));
            fault = Some(problem);
        }
    }
    Err(fault.map_or_else(|| ImportError::Write("it never settles".to_owned()), ImportError::from))
}

fn files_of(drafts: &[Draft]) -> BTreeMap<String, SignatureFile> {
    let mut groups: BTreeMap<&str, Vec<SignatureRule>> = BTreeMap::new();
    for draft in drafts {
        groups.entry(&draft.group).or_default().extend(draft.signature.clone());
    }
    let mut files = BTreeMap::new();
    for (group, signatures) in groups {
        for (number, part) in (1..).zip(signatures.chunks(FILE_SIGNATURES_MAX)) {
            files.insert(
                format!("{group}-{number}.yaml"),
                SignatureFile { signatures: part.to_vec(), ..SignatureFile::default() },
            );
        }
    }
    files
}

fn written((name, file): (&String, &SignatureFile)) -> Result<(String, String), ImportError> {
    Ok((name.clone(), file.to_yaml().map_err(ImportError::Write)?))
}

impl Import {
    /// The signature files as YAML, each with its name.
    ///
    /// # Errors
    /// Where they cannot be written, which is a fault of this crate.
    pub fn to_yaml(&self) -> Result<Vec<(String, String)>, ImportError> {
        self.files.iter().map(written).collect()
    }

    /// How many rules have become what.
    #[must_use]
    pub fn count(&self, standing: Standing) -> usize {
        self.rules.iter().filter(|rule| rule.standing == standing).count()
    }
}

impl Draft {
    fn new(rule: &str, file: &str) -> Self {
        Self {
            outcome: Outcome {
                rule: rule.to_owned(),
                file: file.to_owned(),
                standing: Standing::Dropped,
                reason: None,
                dropped: Vec::new(),
                patterns: 0,
                positives: Share::default(),
                negatives: Share::default(),
                evasions: Share::default(),
                cross_noise: 0,
                benign_noise: 0,
            },
            group: String::new(),
            signature: None,
            held_back: None,
            positives: Vec::new(),
            negatives: Vec::new(),
            evasions: Vec::new(),
        }
    }

    fn drop_because(mut self, reason: impl Into<String>) -> Self {
        self.reject(reason);
        self
    }

    /// Not enabled; dropped, where it was that already.
    fn disable(&mut self, reason: String) {
        match &mut self.signature {
            Some(signature) if signature.enabled => {
                signature.enabled = false;
                signature.disabled_because = Some(reason.clone());
                self.outcome.standing = Standing::Disabled;
                self.outcome.reason = Some(reason);
            }
            _ => self.reject(reason),
        }
    }

    fn reject(&mut self, reason: impl Into<String>) {
        self.signature = None;
        self.outcome.standing = Standing::Dropped;
        self.outcome.patterns = 0;
        self.outcome.reason = Some(reason.into());
    }
}

/// Of rules of one id the first is taken.
fn drop_repeated(drafts: &mut [Draft]) {
    let mut ids = std::collections::BTreeSet::new();
    for draft in drafts {
        if let Some(signature) = &draft.signature
            && !ids.insert(signature.id.clone())
        {
            draft.reject("another rule has its id");
        }
    }
}

/// A foreign name as part of the id of a signature: `[a-z0-9_.-]+`.
fn id_of(name: &str) -> String {
    let allowed = |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || matches!(one, '_' | '-');
    name.to_ascii_lowercase().chars().map(|one| if allowed(one) { one } else { '-' }).collect()
}

/// Scores by channel.
fn scores(channels: &[Channel], score: f32) -> BTreeMap<String, f32> {
    channels.iter().map(|channel| (channel.as_str().to_owned(), score)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = r#"
id: ATR-2026-09999
title: Opens the vault
status: stable
severity: high
references:
  mitre_atlas: ["AML.T0051 - LLM Prompt Injection"]
tags: {category: prompt-injection, confidence: high}
detection:
  condition: any
  conditions:
    - {field: user_input, operator: regex, value: '(?i)open\s+the\s+vault'}
    - {field: tool_response, operator: regex, value: 'vault(?!s)'}
    - {field: tool_description, operator: contains, value: 'Vault Door'}
    - {field: tool_name, operator: regex, value: 'vault'}
test_cases:
  true_positives:
    - {input: 'Please OPEN the vault', expected: triggered}
    - {tool_description: 'the vault door is yours', expected: triggered}
  true_negatives:
    - {input: 'a closed vault', expected: not_triggered}
evasion_tests:
  - {input: 'o p e n vault', expected: not_triggered}
"#;

    fn files(texts: &[String]) -> Vec<(String, String)> {
        texts.iter().enumerate().map(|(number, text)| (format!("{number}.yaml"), text.clone())).collect()
    }

    fn atr(texts: &[String], benign: &[Benign]) -> Import {
        import(Form::Atr, &files(texts), benign).unwrap()
    }

    #[test]
    fn a_rule_of_atr_becomes_a_signature_with_its_examples() {
        let import = atr(&[RULE.to_owned()], &[]);
        let rule = &import.rules[0];
        assert_eq!((rule.standing, rule.patterns), (Standing::Enabled, 2), "{rule:?}");
        assert_eq!((rule.positives, rule.negatives), (Share { count: 2, of: 2 }, Share { count: 1, of: 1 }));
        assert_eq!(rule.evasions, Share { count: 0, of: 1 });
        assert!(rule.dropped[0].contains("look-ahead") && rule.dropped[1].contains("tool_name"), "{rule:?}");
        let signature = &import.files["atr-prompt-injection-1.yaml"].signatures[0];
        assert_eq!((signature.id.as_str(), signature.technique.as_str()), ("atr.2026-09999", "AML.T0051"));
        assert!((signature.channels["user"] - 0.75).abs() < 0.001 && signature.channels.contains_key("system"), "{signature:?}");
        let inspector = Inspector::from_sources(&import.to_yaml().unwrap()).unwrap();
        assert_eq!(inspector.matching("VAULT DOOR", Channel::System).len(), 1);
        assert!(inspector.matching("VAULT DOOR", Channel::User).is_empty(), "that pattern reads descriptions of tools");
        assert_eq!(inspector.matching("open\u{200b} the vault", Channel::User).len(), 1, "normalised, too");
    }

    #[test]
    fn what_is_wrong_or_noisy_is_written_and_not_enabled() {
        let other = RULE.replace("09999", "09998").replace("open\\s+the\\s+vault", "vault");
        let import = atr(&[RULE.to_owned(), other], &[]);
        assert_eq!(import.rules[0].standing, Standing::Enabled, "{:?}", import.rules[0]);
        let noisy = &import.rules[1];
        assert_eq!((noisy.standing, noisy.cross_noise), (Standing::Disabled, 1), "{noisy:?}");
        assert!(noisy.reason.as_ref().unwrap().contains("must not match"), "{noisy:?}");

        let missed = RULE.replace("Please OPEN", "Please close");
        let import = atr(&[missed], &[]);
        assert_eq!(import.rules[0].standing, Standing::Disabled);
        assert!(import.rules[0].reason.as_ref().unwrap().contains("1 of 2"), "{:?}", import.rules[0]);

        let innocent = Benign { channel: Channel::User, text: "How do I open the vault?".to_owned(), kind: "banking".to_owned() };
        let import = atr(&[RULE.to_owned()], &[innocent]);
        assert_eq!((import.rules[0].standing, import.rules[0].benign_noise), (Standing::Disabled, 1));
        assert_eq!(import.benign, [Noise { kind: "banking".to_owned(), texts: 1, found: 1 }]);
        assert!(Inspector::from_sources(&import.to_yaml().unwrap()).is_ok());
    }

    #[test]
    fn what_cannot_be_taken_is_dropped_and_says_why() {
        for (from, to, told) in [
            ("status: stable", "status: deprecated", "withdrawn"),
            ("id: ATR-2026-09999", "no: id", "no id"),
            ("condition: any", "condition: most", "\"most\""),
            ("condition: any", "condition: all", "one cannot be taken"),
            ("Opens the vault", "''", "title"),
            ("detection:", "other:", "no detection"),
            ("id: ATR", "\tid: [", "YAML"),
        ] {
            let import = atr(&[RULE.replace(from, to)], &[]);
            let rule = &import.rules[0];
            assert_eq!((rule.standing, import.files.len()), (Standing::Dropped, 0), "{to}: {rule:?}");
            assert!(rule.reason.as_ref().unwrap().contains(told), "{to}: {rule:?}");
        }
        let twice = atr(&[RULE.to_owned(), RULE.to_owned()], &[]);
        assert!(twice.rules[1].reason.as_ref().unwrap().contains("id"), "{:?}", twice.rules);
        assert!(matches!(import(Form::Nova, &files(&["nothing".to_owned()]), &[]), Err(ImportError::Nothing { .. })));
    }
}
