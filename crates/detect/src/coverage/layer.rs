//! Coverage as a layer of the ATLAS Navigator, which is MITRE's ATT&CK Navigator with ATLAS in it.
//!
//! The form is version 4.3 of its layers, in the words of MITRE's own layers of ATLAS: domain `atlas-atlas`, and tactics by their names in
//! lower case with hyphens.

use event::taxonomy::atlas;
use serde_json::{Value as Json, json};

use super::{Coverage, State, TechniqueCoverage};

/// The versions of MITRE's own layers of ATLAS.
const LAYER_VERSION: &str = "4.3";
/// See [`LAYER_VERSION`].
const NAVIGATOR_VERSION: &str = "4.6.4";

/// The layer. The score is 100 for what is covered, 60 for what examples alone prove, 30 where the record lacks fields, 10 where
/// nothing proves the rules; techniques without a rule have none.
#[must_use]
pub fn navigator_layer(coverage: &Coverage) -> Json {
    let techniques: Vec<Json> = coverage.techniques.iter().flat_map(entries).collect();
    let legend: Vec<Json> = State::ALL
        .into_iter()
        .rev()
        .filter(|state| *state != State::None)
        .map(|state| json!({ "label": meaning(state), "color": color(state) }))
        .collect();
    let (what, how) = if coverage.is_of_record {
        ("ATLAS coverage of the record", "examples of rules were run, and the record was asked for the fields that they need")
    } else {
        ("ATLAS coverage of the rules", "examples of rules were run; no record was asked")
    };
    json!({
        "name": format!("Watchkeeper: {what}"),
        "versions": { "layer": LAYER_VERSION, "navigator": NAVIGATOR_VERSION },
        "domain": "atlas-atlas",
        "description": format!("Made by watchkeeper rules coverage: {how}."),
        "sorting": 0,
        "hideDisabled": false,
        "techniques": techniques,
        "gradient": { "colors": ["#ffffff", color(State::Covered)], "minValue": 0, "maxValue": 100 },
        "legendItems": legend,
        "metadata": [
            { "name": "atlas_data_version", "value": coverage.atlas },
            { "name": "watchkeeper_version", "value": env!("CARGO_PKG_VERSION") },
        ],
    })
}

/// A sub-technique stands once; a technique under each of its tactics, opened where something of it is covered.
fn entries(one: &TechniqueCoverage) -> Vec<Json> {
    if one.state == State::None && !one.is_of_telemetry_logging {
        return Vec::new();
    }
    let titles: Vec<&str> = one.rules.iter().map(|rule| rule.title.as_str()).collect();
    let comment =
        if titles.is_empty() { meaning(one.state).to_owned() } else { format!("{}: {}", meaning(one.state), titles.join("; ")) };
    let mut entry = json!({
        "techniqueID": one.technique.as_str(),
        "comment": comment,
        "enabled": true,
        "metadata": [
            { "name": "state", "value": one.state.as_str() },
            { "name": "rules", "value": one.rules.len().to_string() },
            { "name": "detections", "value": one.detections.to_string() },
            { "name": "AML.M0024", "value": if one.is_of_telemetry_logging { "yes" } else { "no" } },
        ],
    });
    if let Some(score) = score(one.state) {
        entry["score"] = Json::from(score);
        entry["color"] = Json::from(color(one.state));
    }
    if one.technique.as_str().matches('.').count() == 2 {
        return vec![entry];
    }
    let tactics =
        one.technique.technique().tactics.iter().filter_map(|id| atlas().tactics.iter().find(|tactic| tactic.id == *id));
    tactics
        .map(|tactic| {
            let mut placed = entry.clone();
            placed["tactic"] = Json::from(tactic.name.to_lowercase().replace(' ', "-"));
            placed["showSubtechniques"] = Json::from(true);
            placed
        })
        .collect()
}

const fn score(state: State) -> Option<u8> {
    match state {
        State::None => None,
        State::Unproven => Some(10),
        State::FieldsNotSeen => Some(30),
        State::ExamplesOnly => Some(60),
        State::Covered => Some(100),
    }
}

const fn color(state: State) -> &'static str {
    match state {
        State::None => "#ffffff",
        State::Unproven => "#e6e6e6",
        State::FieldsNotSeen => "#ffe0a3",
        State::ExamplesOnly => "#cfe8b4",
        State::Covered => "#7fc97f",
    }
}

const fn meaning(state: State) -> &'static str {
    match state {
        State::None => "no rule",
        State::Unproven => "rules that no example proves",
        State::FieldsNotSeen => "examples pass, the record lacks fields",
        State::ExamplesOnly => "examples pass, no record was asked",
        State::Covered => "examples pass, the record has the fields",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::RuleSet;

    /// The properties of layer format 4.3 (`layers/LAYERFORMATv4_3.md` of mitre-atlas/atlas-navigator; there is no JSON Schema of it):
    /// name, type, and whether it must be there.
    const LAYER: &[(&str, &str, bool)] = &[
        ("name", "string", true),
        ("versions", "object", false),
        ("domain", "string", true),
        ("description", "string", false),
        ("sorting", "number", false),
        ("hideDisabled", "boolean", false),
        ("techniques", "array", false),
        ("gradient", "object", false),
        ("legendItems", "array", false),
        ("metadata", "array", false),
    ];
    const TECHNIQUE: &[(&str, &str, bool)] = &[
        ("techniqueID", "string", true),
        ("tactic", "string", false),
        ("comment", "string", false),
        ("enabled", "boolean", false),
        ("score", "number", false),
        ("color", "string", false),
        ("metadata", "array", false),
        ("showSubtechniques", "boolean", false),
    ];
    const GRADIENT: &[(&str, &str, bool)] =
        &[("colors", "array", true), ("minValue", "number", true), ("maxValue", "number", true)];
    const LEGEND: &[(&str, &str, bool)] = &[("label", "string", true), ("color", "string", true)];
    const METADATA: &[(&str, &str, bool)] = &[("name", "string", true), ("value", "string", true)];
    const VERSIONS: &[(&str, &str, bool)] =
        &[("attack", "string", false), ("navigator", "string", true), ("layer", "string", true)];

    fn check(value: &Json, properties: &[(&str, &str, bool)]) {
        let object = value.as_object().unwrap();
        for (name, kind, must) in properties {
            assert!(object.contains_key(*name) || !must, "{name} is missing in {value}");
            let Some(found) = object.get(*name) else { continue };
            let is = match found {
                Json::String(_) => "string",
                Json::Number(_) => "number",
                Json::Bool(_) => "boolean",
                Json::Array(_) => "array",
                Json::Object(_) => "object",
                Json::Null => "null",
            };
            assert_eq!(is, *kind, "{name}");
        }
        for name in object.keys() {
            assert!(properties.iter().any(|(known, ..)| known == name), "{name} is no property of the format");
        }
    }

    #[test]
    fn the_layer_has_the_form_of_the_navigator() {
        let layer = navigator_layer(&Coverage::of(&RuleSet::builtin().unwrap(), None));
        check(&layer, LAYER);
        check(&layer["versions"], VERSIONS);
        check(&layer["gradient"], GRADIENT);
        let all = |value: &Json| value.as_array().unwrap().clone();
        all(&layer["legendItems"]).iter().for_each(|item| check(item, LEGEND));
        all(&layer["metadata"]).iter().for_each(|item| check(item, METADATA));
        let tactics: Vec<String> = atlas().tactics.iter().map(|tactic| tactic.name.to_lowercase().replace(' ', "-")).collect();
        for technique in all(&layer["techniques"]) {
            check(&technique, TECHNIQUE);
            all(&technique["metadata"]).iter().for_each(|item| check(item, METADATA));
            if let Some(tactic) = technique["tactic"].as_str() {
                assert!(tactics.iter().any(|known| known == tactic), "{tactic}");
            }
        }
        assert_eq!(layer["domain"], "atlas-atlas");
        assert!(all(&layer["techniques"]).len() > 17);
    }
}
