//! TLP markings by their fixed ids (STIX 2.1, section 7.2.1.4 for TLP 1.0; the OASIS extension for TLP 2.0).

use serde_json::{Value as Json, json};

use crate::indicator::Tlp;

/// The extension that defines TLP 2.0.
const EXTENSION: &str = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d";

/// TLP 2.0.
const MARKINGS: [(Tlp, &str, &str); 5] = [
    (Tlp::Clear, "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487", "clear"),
    (Tlp::Green, "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb", "green"),
    (Tlp::Amber, "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421", "amber"),
    (Tlp::AmberStrict, "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003", "amber+strict"),
    (Tlp::Red, "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1", "red"),
];

/// TLP 1.0.
const OLD: [(Tlp, &str); 4] = [
    (Tlp::Clear, "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9"),
    (Tlp::Green, "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"),
    (Tlp::Amber, "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"),
    (Tlp::Red, "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"),
];

/// The label that an id stands for in every bundle.
pub(super) fn of_id(id: &str) -> Option<Tlp> {
    let new = MARKINGS.iter().map(|(tlp, known, _)| (*tlp, *known));
    new.chain(OLD).find(|(_, known)| *known == id).map(|(tlp, _)| tlp)
}

/// The label that a marking of a bundle's own defines.
pub(super) fn of_definition(object: &Json) -> Option<Tlp> {
    let text = |value: Option<&Json>| value.and_then(Json::as_str).and_then(Tlp::of_label);
    let extended = object.get("extensions").and_then(|all| all.get(EXTENSION)).and_then(|one| one.get("tlp_2_0"));
    text(extended).or_else(|| text(object.get("definition").and_then(|one| one.get("tlp")))).or_else(|| text(object.get("name")))
}

pub(super) fn id(tlp: Tlp) -> &'static str {
    MARKINGS.iter().find(|(known, ..)| *known == tlp).map_or("", |(_, id, _)| id)
}

/// The definition, as OASIS publishes it.
pub(super) fn definition(tlp: Tlp) -> Json {
    let label = MARKINGS.iter().find(|(known, ..)| *known == tlp).map_or("", |(.., label)| label);
    json!({
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": id(tlp),
        "created": "2022-10-01T00:00:00.000Z",
        "name": format!("TLP:{}", tlp.as_str()),
        "extensions": { EXTENSION: { "extension_type": "property-extension", "tlp_2_0": label } },
    })
}
