//! The names that findings go by: MITRE ATLAS, OWASP Top 10 for LLM Applications 2025, OWASP Top 10 for Agentic
//! Applications 2026, NIST AI RMF 1.0 and NIST AI 600-1 (generative AI profile).
//!
//! ATLAS is read from `content/taxonomy/atlas.json` (version 5.6.0), the crosswalk to the other three from
//! `content/taxonomy/crosswalk.json`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The techniques that mitigation AML.M0024 (AI Telemetry Logging) names, in the order of their ids.
pub const TELEMETRY_LOGGING: [&str; 17] = [
    "AML.T0005.001",
    "AML.T0024",
    "AML.T0024.000",
    "AML.T0024.001",
    "AML.T0024.002",
    "AML.T0040",
    "AML.T0047",
    "AML.T0051",
    "AML.T0051.000",
    "AML.T0051.001",
    "AML.T0051.002",
    "AML.T0053",
    "AML.T0085",
    "AML.T0085.000",
    "AML.T0085.001",
    "AML.T0086",
    "AML.T0101",
];

/// The id of a technique of MITRE ATLAS 5.6, such as `AML.T0051.001`. Only ids that exist can be made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TechniqueId(u16);

/// There is no such technique.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a technique of MITRE ATLAS {version}", version = atlas().version)]
pub struct UnknownTechnique(String);

/// A technique of ATLAS.
#[derive(Debug, Deserialize)]
pub struct Technique {
    /// Its id.
    pub id: String,
    /// Its name; for a sub-technique the name of its parent comes first, as in `LLM Prompt Injection: Direct`.
    pub name: String,
    /// Ids of the tactics that it serves.
    pub tactics: Vec<String>,
}

/// A tactic of ATLAS.
#[derive(Debug, Deserialize)]
pub struct Tactic {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// MITRE ATLAS, as far as findings need it.
#[derive(Debug, Deserialize)]
pub struct Atlas {
    /// The release.
    pub version: String,
    /// The tactics in the order of the matrix.
    pub tactics: Vec<Tactic>,
    /// The techniques, sorted by id.
    pub techniques: Vec<Technique>,
    /// Ids of the techniques that mitigation AML.M0024 (AI Telemetry Logging) names.
    pub telemetry_logging: Vec<String>,
    /// The case studies, sorted by id.
    pub case_studies: Vec<CaseStudy>,
}

/// A case study of ATLAS: an incident or an exercise.
#[derive(Debug, Deserialize)]
pub struct CaseStudy {
    /// Its id, such as `AML.CS0021`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Ids of the techniques of its procedure, in order: the first is step 1.
    pub steps: Vec<String>,
}

/// What a technique is called in the other frameworks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Crosswalk {
    /// OWASP Top 10 for LLM Applications 2025 (`LLM01` ...).
    pub owasp_llm: Vec<String>,
    /// OWASP Top 10 for Agentic Applications 2026 (`ASI01` ...).
    pub owasp_agentic: Vec<String>,
    /// NIST AI RMF subcategories (`MEASURE 2.7` ...) and AI 600-1 risks (`GAI: Information Security` ...).
    pub nist: Vec<String>,
}

/// Names of the entries that a [`Crosswalk`] refers to, by id.
pub fn framework_entries() -> &'static BTreeMap<String, String> {
    &crosswalk_file().entries
}

/// The techniques and tactics of MITRE ATLAS.
pub fn atlas() -> &'static Atlas {
    static ATLAS: OnceLock<Atlas> = OnceLock::new();
    ATLAS.get_or_init(|| embedded(include_str!("../../../content/taxonomy/atlas.json")))
}

impl TechniqueId {
    /// The id as text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        &self.technique().id
    }

    /// The technique.
    #[must_use]
    pub fn technique(self) -> &'static Technique {
        &atlas().techniques[usize::from(self.0)]
    }

    /// What it is called in the other frameworks. A sub-technique without an entry of its own has its parent's.
    #[must_use]
    pub fn crosswalk(self) -> Crosswalk {
        let id = self.as_str();
        let parent = id.get(..9).unwrap_or(id);
        let techniques = &crosswalk_file().techniques;
        techniques.get(id).or_else(|| techniques.get(parent)).cloned().unwrap_or_default()
    }
}

impl FromStr for TechniqueId {
    type Err = UnknownTechnique;

    fn from_str(id: &str) -> Result<Self, UnknownTechnique> {
        atlas()
            .techniques
            .binary_search_by(|technique| technique.id.as_str().cmp(id))
            .ok()
            .and_then(|index| u16::try_from(index).ok())
            .map(Self)
            .ok_or_else(|| UnknownTechnique(id.chars().take(40).collect()))
    }
}

impl fmt::Display for TechniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TechniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for TechniqueId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TechniqueId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'_, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for TechniqueId {
    fn schema_name() -> Cow<'static, str> {
        "TechniqueId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": r"^AML\.T[0-9]{4}(\.[0-9]{3})?$" })
    }
}

#[derive(Debug, Deserialize)]
struct CrosswalkFile {
    entries: BTreeMap<String, String>,
    techniques: BTreeMap<String, Crosswalk>,
}

fn crosswalk_file() -> &'static CrosswalkFile {
    static CROSSWALK: OnceLock<CrosswalkFile> = OnceLock::new();
    CROSSWALK.get_or_init(|| embedded(include_str!("../../../content/taxonomy/crosswalk.json")))
}

/// Reads data that is part of the program; the tests below read all of it, so this cannot fail in the field.
#[allow(clippy::expect_used)]
fn embedded<T: serde::de::DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).expect("data that is built into the program is well-formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn techniques_are_sorted_and_found() {
        assert!(atlas().techniques.is_sorted_by(|a, b| a.id < b.id));
        assert_eq!(atlas().version, "5.6.0");
        let indirect: TechniqueId = "AML.T0051.001".parse().unwrap();
        assert_eq!(indirect.technique().name, "LLM Prompt Injection: Indirect");
        assert!("AML.T9999".parse::<TechniqueId>().is_err());
        assert!("".parse::<TechniqueId>().is_err());
    }

    #[test]
    fn the_crosswalk_names_only_what_exists() {
        for (id, crosswalk) in &crosswalk_file().techniques {
            id.parse::<TechniqueId>().unwrap();
            for entry in crosswalk.owasp_llm.iter().chain(&crosswalk.owasp_agentic).chain(&crosswalk.nist) {
                assert!(framework_entries().contains_key(entry), "{id}: {entry}");
            }
        }
    }

    #[test]
    fn the_17_techniques_of_aml_m0024_are_in_every_framework() {
        for id in TELEMETRY_LOGGING {
            let crosswalk = id.parse::<TechniqueId>().unwrap().crosswalk();
            assert!(!crosswalk.owasp_llm.is_empty() && !crosswalk.owasp_agentic.is_empty() && !crosswalk.nist.is_empty(), "{id}");
        }
    }
}
