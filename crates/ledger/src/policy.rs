//! Trust policies: C2SP tlog-policy, the file that says which logs and witnesses count and how many of them are needed.

use std::collections::HashMap;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::note::{NoteError, SignedNote};
use crate::vkey::{Algorithm, VerifierKey};

/// Longest policy file: a few hundred lines with keys of ML-DSA-44.
pub(crate) const POLICY_BYTES_MAX: usize = 1024 * 1024;

/// Most logs, witnesses and groups together. The specification asks for 32 of each at least.
const DEFINITIONS_MAX: usize = 1024;

/// A quorum named `none`: no witness is needed.
const NO_QUORUM: &[u8] = b"none";

/// Who must have signed a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Party>,
    witnesses: Vec<Party>,
    groups: Vec<Group>,
    quorum: Option<Member>,
}

/// A log or a witness of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// Its name inside the policy file, lossily where it is not UTF-8; for a log its origin.
    pub label: String,
    /// Its key.
    pub key: VerifierKey,
    /// Where it can be reached; for a witness its submission prefix.
    pub url: Option<String>,
}

/// At least `threshold` of the members.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    threshold: usize,
    members: Vec<Member>,
}

/// Places in the lists of witnesses and groups; a group's members come before it, so there are no circles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// A checkpoint that a policy accepts, and who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witnessed {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// The logs of the policy that signed it: keys of the checkpoint's origin.
    pub logs: Vec<VerifierKey>,
    /// The witnesses of the policy that cosigned it, with the time that each states, in seconds since 1970.
    pub witnesses: Vec<(VerifierKey, u64)>,
}

/// Why a policy cannot be read, or does not accept a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A line of the policy file.
    #[error("policy line {line}: {what}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what must stand there.
        what: String,
    },
    /// The file as a whole.
    #[error("policy: {0}")]
    File(&'static str),
    /// The checkpoint is no note, or a known key's signature does not verify.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text of the note is no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Signed by no log of the policy.
    #[error(
        "checkpoint of {0} is not signed by a log of the policy with that origin; add its key as a `log` line if you trust it"
    )]
    UnknownLog(String),
    /// Not enough cosignatures.
    #[error("checkpoint is cosigned by {got} known witnesses ({names}), and the quorum of the policy is not reached")]
    Quorum {
        /// How many.
        got: usize,
        /// Which.
        names: String,
    },
}

impl PolicyError {
    /// Whether nothing is wrong with the note: it does not have what the policy asks for.
    #[must_use]
    pub fn is_unmet(&self) -> bool {
        matches!(self, Self::UnknownLog(_) | Self::Quorum { .. })
    }
}

impl Policy {
    /// Reads a policy file.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::File("is longer than 1 MiB"));
        }
        let lines =
            bytes.strip_suffix(b"\n").ok_or(PolicyError::File("does not end with a newline, so it may have been cut off"))?;
        let mut reader = Reader::default();
        for (index, line) in lines.split(|byte| *byte == b'\n').enumerate() {
            reader.line(line).map_err(|what| PolicyError::Line { line: index + 1, what })?;
        }
        let quorum = reader.quorum.ok_or(PolicyError::File("has no quorum line; `quorum none` asks for no witness"))?;
        Ok(Self { logs: reader.logs, witnesses: reader.witnesses, groups: reader.groups, quorum })
    }

    /// The policy that takes one log by any of these keys and needs no witness.
    #[must_use]
    pub fn of_log(keys: impl IntoIterator<Item = VerifierKey>) -> Self {
        let party = |key: VerifierKey| Party { label: key.name().to_owned(), key, url: None };
        Self { logs: keys.into_iter().map(party).collect(), witnesses: Vec::new(), groups: Vec::new(), quorum: None }
    }

    /// The logs.
    #[must_use]
    pub fn logs(&self) -> &[Party] {
        &self.logs
    }

    /// The witnesses.
    #[must_use]
    pub fn witnesses(&self) -> &[Party] {
        &self.witnesses
    }

    /// Whether any cosignature is needed at all.
    #[must_use]
    pub fn needs_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// Accepts a checkpoint that a log of the policy signed under its own origin, and enough of the witnesses cosigned. A wrong
    /// signature by any key of the policy refuses it, also where others would be enough; unknown keys are passed over.
    pub fn check(&self, note: &SignedNote) -> Result<Witnessed, PolicyError> {
        let checkpoint = Checkpoint::parse_extended(note.text())?;
        let signed = |parties: &[Party]| -> Result<Vec<VerifierKey>, NoteError> {
            let keys: Vec<VerifierKey> = parties.iter().map(|party| party.key.clone()).collect();
            Ok(note.signers(&keys)?.into_iter().filter_map(|index| keys.get(index).cloned()).collect())
        };
        let mut logs = signed(&self.logs)?;
        logs.retain(|key| key.name() == checkpoint.origin);
        if logs.is_empty() {
            return Err(PolicyError::UnknownLog(checkpoint.origin));
        }
        self.quorum_of(note, checkpoint, logs)
    }

    /// Accepts a checkpoint whose log was verified in another way, if enough witnesses cosigned it.
    pub fn check_witnesses(&self, note: &SignedNote) -> Result<Witnessed, PolicyError> {
        self.quorum_of(note, Checkpoint::parse_extended(note.text())?, Vec::new())
    }

    fn quorum_of(&self, note: &SignedNote, checkpoint: Checkpoint, logs: Vec<VerifierKey>) -> Result<Witnessed, PolicyError> {
        let keys: Vec<VerifierKey> = self.witnesses.iter().map(|party| party.key.clone()).collect();
        let signers = note.signers(&keys)?;
        let mut cosigned = vec![false; keys.len()];
        let mut witnesses = Vec::new();
        for index in signers {
            let Some(key) = keys.get(index) else { continue };
            cosigned[index] = true;
            // Of several signatures by one key the latest time counts.
            let times = note.signatures().iter().filter(|by| by.is_by(key)).filter_map(|by| key.time_of(&by.signature));
            witnesses.push((key.clone(), times.max().unwrap_or(0)));
        }
        if self.quorum.is_none_or(|quorum| self.holds(quorum, &cosigned)) {
            return Ok(Witnessed { checkpoint, logs, witnesses });
        }
        let names: Vec<&str> = witnesses.iter().map(|(key, _)| key.name()).collect();
        Err(PolicyError::Quorum { got: names.len(), names: names.join(", ") })
    }

    fn holds(&self, quorum: Member, cosigned: &[bool]) -> bool {
        // Groups refer backwards only, so one pass in their order settles all of them, however deep they lie in each other.
        let mut groups: Vec<bool> = Vec::with_capacity(self.groups.len());
        let is_in = |member: &Member, groups: &[bool]| match *member {
            Member::Witness(index) => cosigned.get(index) == Some(&true),
            Member::Group(index) => groups.get(index) == Some(&true),
        };
        for group in &self.groups {
            let count = group.members.iter().filter(|member| is_in(member, &groups)).count();
            groups.push(count >= group.threshold);
        }
        is_in(&quorum, &groups)
    }
}

impl std::str::FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        Self::parse(text.as_bytes())
    }
}

#[derive(Default)]
struct Reader {
    logs: Vec<Party>,
    witnesses: Vec<Party>,
    groups: Vec<Group>,
    /// Witnesses and groups share one name space; the flag is set once a name is a member of a group.
    names: HashMap<Vec<u8>, (Member, bool)>,
    quorum: Option<Option<Member>>,
}

impl Reader {
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        if line.iter().any(|byte| !matches!(byte, b'\t' | 0x20..=0x7e | 0x80..=0xff)) {
            return Err("has a control character; only tab and newline may stand in a policy".to_owned());
        }
        let words: Vec<&[u8]> = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty()).collect();
        let Some((keyword, words)) = words.split_first() else { return Ok(()) };
        if keyword.starts_with(b"#") {
            return Ok(());
        }
        if self.logs.len() + self.witnesses.len() + self.groups.len() >= DEFINITIONS_MAX {
            return Err(format!("is beyond the {DEFINITIONS_MAX} logs, witnesses and groups that a policy may have"));
        }
        match (*keyword, words) {
            (b"log", [key, url @ ..]) if url.len() <= 1 => {
                let key = read_key(key, &[Algorithm::Ed25519, Algorithm::MlDsa44], &self.logs)?;
                self.logs.push(Party { label: key.name().to_owned(), key, url: url.first().map(|url| lossy(url)) });
                Ok(())
            }
            (b"witness", [name, key, url @ ..]) if url.len() <= 1 => {
                let key = read_key(key, &[Algorithm::Ed25519Cosignature, Algorithm::MlDsa44], &self.witnesses)?;
                self.define(name, Member::Witness(self.witnesses.len()))?;
                self.witnesses.push(Party { label: lossy(name), key, url: url.first().map(|url| lossy(url)) });
                Ok(())
            }
            (b"group", [name, threshold, members @ ..]) => {
                let threshold = match *threshold {
                    b"any" => 1,
                    b"all" => members.len(),
                    number => decimal(number).ok_or("needs `all`, `any` or a number in decimal behind the group's name")?,
                };
                if !(1..=members.len()).contains(&threshold) {
                    return Err(format!("needs a threshold from 1 to the {} members that it lists", members.len()));
                }
                let members = members.iter().map(|member| self.member(member)).collect::<Result<Vec<_>, _>>()?;
                self.define(name, Member::Group(self.groups.len()))?;
                self.groups.push(Group { threshold, members });
                Ok(())
            }
            (b"quorum", [name]) => {
                if self.quorum.is_some() {
                    return Err("is a second quorum; a policy has one".to_owned());
                }
                self.quorum = Some(if *name == NO_QUORUM { None } else { Some(self.find(name)?) });
                Ok(())
            }
            (b"log" | b"witness" | b"group" | b"quorum", _) => {
                Err("has too few words or too many; the forms are `log VKEY [URL]`, \
                 `witness NAME VKEY [URL]`, `group NAME all|any|K NAME...`, `quorum NAME|none`"
                    .to_owned())
            }
            (other, _) => Err(format!("begins with {:?}; it must be log, witness, group or quorum", lossy(other))),
        }
    }

    fn define(&mut self, name: &[u8], member: Member) -> Result<(), String> {
        if name == NO_QUORUM {
            return Err("defines `none`, which means that no witness is needed".to_owned());
        }
        match self.names.insert(name.to_vec(), (member, false)) {
            None => Ok(()),
            Some(_) => Err(format!("defines {:?} a second time", lossy(name))),
        }
    }

    fn find(&self, name: &[u8]) -> Result<Member, String> {
        let found = self.names.get(name).map(|(member, _)| *member);
        found.ok_or_else(|| format!("refers to {:?}, which no line before defines", lossy(name)))
    }

    fn member(&mut self, name: &[u8]) -> Result<Member, String> {
        let member = self.find(name)?;
        let is_second = self.names.get_mut(name).is_some_and(|(_, used)| std::mem::replace(used, true));
        if is_second {
            Err(format!("makes {:?} a member a second time, so that it would count twice", lossy(name)))
        } else {
            Ok(member)
        }
    }
}

fn read_key(text: &[u8], algorithms: &[Algorithm], known: &[Party]) -> Result<VerifierKey, String> {
    let text = std::str::from_utf8(text).map_err(|_| "has a key that is not UTF-8".to_owned())?;
    let key: VerifierKey = text.parse().map_err(|error| format!("has a key that is none: {error}"))?;
    if !algorithms.contains(&key.algorithm()) {
        let types: Vec<_> = algorithms.iter().map(|algorithm| format!("0x{:02x}", algorithm.signature_type())).collect();
        let what = format!("has a key of signature type 0x{:02x}", key.algorithm().signature_type());
        return Err(format!("{what}; here it must be {}", types.join(" or ")));
    }
    if known.iter().any(|party| party.key.is_confused_with(&key)) {
        return Err("has a public key that stands in a line before, or one with the same name and id".to_owned());
    }
    Ok(key)
}

fn decimal(digits: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(digits).ok()?;
    text.parse().ok().filter(|number: &usize| number.to_string() == text)
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
