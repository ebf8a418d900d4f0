//! Tool calls: which instruction one follows, where it goes, what it keeps, how it ends.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::detection::{Evidence, Grade, Severity, stored_evidence};
use crate::session::hash;
use crate::sigma::evidence::cut;
use crate::skipped::{count, head};

use super::destination::{self, Destination};
use super::state::{Conversation, Pending, Place, Source};
use super::verbs::Classes;
use super::{Flow, Step, follow, memory, principal, text, verbs};

/// Longest name of a tool, in bytes, of which verbs and objects are read. Providers allow 64.
pub(super) const TOOL_BYTES_MAX: usize = 256;
/// Most values, destinations and texts that the evidence of one call names, of each.
const SHOWN_MAX: usize = 8;

/// A tool call.
pub(super) struct Call<'a> {
    pub(super) tool: &'a str,
    pub(super) arguments: &'a str,
    pub(super) place: Place,
    pub(super) call_id: Option<&'a str>,
}

/// A call that follows an instruction, as far as its report goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Alarm {
    #[serde(with = "stored_evidence")]
    evidence: Vec<Evidence>,
    confidence: f32,
    side_effect: bool,
    part: String,
}

impl Flow {
    pub(super) fn observe_call(&mut self, conversation: &mut Conversation, step: &mut Step<'_>, call: &Call<'_>) {
        let values = follow::values(call.arguments);
        let does = verbs::classes(call.tool) | if values.writes { verbs::SEND } else { 0 };
        step.observed.unread += count(values.unread);
        let followed = follow::follows(conversation, call.tool, does, &values);
        let places = destination::destinations(call.arguments);
        let new = self.tell_places(conversation, step, does, &places, followed.is_none());
        if let Some(followed) = &followed {
            let source = &conversation.instructions[followed.index];
            let key = hash(&[
                b"acted_on",
                source.place.content.as_bytes(),
                call.tool.as_bytes(),
                followed.shared.first().map_or("", String::as_str).as_bytes(),
            ]);
            let confidence = followed.ground.confidence();
            let alarm = Alarm {
                evidence: evidence_of(conversation, call, followed, &places, &new),
                confidence,
                side_effect: verbs::has_side_effect(does),
                part: format!("{}/{}", call.place.content, call.call_id.unwrap_or_default()),
            };
            if conversation.report(key) {
                let severity = if confidence >= 0.6 { Severity::High } else { Severity::Medium };
                let title = "Agent follows an instruction from a tool or document";
                let verdict = (title, severity, confidence, Grade::ActedOn);
                step.detect(&self.of_calls, verdict, alarm.evidence.clone(), &alarm.part);
            }
            conversation.wait_for(Pending {
                call_id: call.call_id.map(|id| hash(&[id.as_bytes()])),
                tool: hash(&[call.tool.as_bytes()]),
                key: hash(&[b"reached", &key.to_le_bytes()]),
                alarm,
            });
        }
        self.keep(conversation, step, call, &values, followed.is_some());
    }

    /// Tells where a call goes. Returns which of the destinations are new to the agent.
    fn tell_places(
        &mut self,
        conversation: &Conversation,
        step: &mut Step<'_>,
        does: Classes,
        places: &[Destination],
        learn: bool,
    ) -> Vec<usize> {
        if does != 0 && verbs::has_side_effect(does) && conversation.asked != 0 && conversation.asked & does == 0 {
            step.tell("watchkeeper.flow.tool.unasked", true.into());
        }
        if places.is_empty() {
            return Vec::new();
        }
        let is_foreign: Vec<bool> = places.iter().map(|place| conversation.is_foreign(&place.value)).collect();
        for (place, is_foreign) in places.iter().zip(&is_foreign) {
            step.tell("watchkeeper.flow.destination", place.value.as_str().into());
            step.tell("watchkeeper.flow.destination.kind", place.kind.into());
            if *is_foreign {
                step.tell("watchkeeper.flow.destination.foreign", place.value.as_str().into());
            }
        }
        let event = step.event;
        let time_s = i64::try_from(event.time.min(event.observed).unix_ns() / 1_000_000_000).unwrap_or(i64::MAX);
        let agent = conversation.agent.or(principal(event, b"application", event.identity.application.as_ref()));
        let new = agent.and_then(|agent| self.agents.observe(agent, step.session, time_s, places, learn));
        let Some(new) = new else { return Vec::new() };
        for index in &new.indexes {
            step.tell("watchkeeper.flow.destination.new", places[*index].value.as_str().into());
            if is_foreign[*index] {
                step.tell("watchkeeper.flow.destination.new_foreign", places[*index].value.as_str().into());
            }
        }
        // Two digits are what a share says.
        step.tell("watchkeeper.flow.destination.new_share", ((new.share * 100.0).round() / 100.0).into());
        new.indexes
    }

    /// Remembers the instructions that a call keeps for other sessions.
    fn keep(
        &mut self,
        conversation: &mut Conversation,
        step: &mut Step<'_>,
        call: &Call<'_>,
        values: &follow::Values,
        is_told: bool,
    ) {
        let owners = conversation.owners();
        if conversation.instructions.is_empty() || !memory::keeps(call.tool) {
            return;
        }
        let prints: HashSet<u64> = memory::prints_of(call.arguments);
        let has_address = |source: &Source| {
            values.addresses.iter().any(|address| !conversation.is_trusted(address) && follow::has_address(source, address))
        };
        let kept: Vec<(bool, Source)> = conversation
            .instructions
            .iter()
            .filter(|source| source.verbs != 0 || !source.says.is_empty())
            .filter_map(|source| {
                let by_words = memory::carries(&prints, &source.text);
                (by_words || has_address(source)).then(|| (by_words, source.clone()))
            })
            .collect();
        let asked = conversation.asked & (verbs::WRITE | verbs::ADD) != 0;
        for (by_words, source) in kept {
            let mut path = source.evidence();
            path.push(Evidence {
                what: "kept".to_owned(),
                field: Some(call.tool.to_owned()),
                value: Some(cut(call.arguments, 200)),
                ..call.place.evidence()
            });
            // The first step and the last ones.
            if path.len() > memory::PATH_MAX {
                path.drain(1..=path.len() - memory::PATH_MAX);
            }
            let key = hash(&[b"kept", source.place.content.as_bytes(), call.place.content.as_bytes()]);
            if source.marked && by_words && !asked && !is_told && conversation.report(key) {
                let title = "Agent keeps an instruction of a tool or document where it will read it again";
                let part = call.place.content.to_string();
                step.detect(&self.of_memory, (title, Severity::High, 0.7, Grade::ActedOn), path.clone(), &part);
            }
            self.memory.keep(&owners, step.session, &Source { path, ..source });
        }
    }

    /// A call has come back.
    pub(super) fn finish(
        &self,
        conversation: &mut Conversation,
        step: &mut Step<'_>,
        tool: Option<&str>,
        call_id: Option<&str>,
        failed: bool,
    ) {
        let call_id = call_id.map(|id| hash(&[id.as_bytes()]));
        let tool = tool.map(|tool| hash(&[head(tool, TOOL_BYTES_MAX).as_bytes()]));
        let same = |pending: &Pending| match (pending.call_id, call_id) {
            (Some(own), Some(other)) => own == other,
            _ => tool.is_none_or(|tool| tool == pending.tool),
        };
        let Some(pending) = conversation.pending.iter().position(same).and_then(|index| conversation.pending.remove(index))
        else {
            return;
        };
        if failed || !conversation.report(pending.key) {
            return;
        }
        let Alarm { evidence, confidence, side_effect, part } = pending.alarm;
        let severity = if side_effect && confidence >= 0.6 { Severity::Critical } else { Severity::High };
        let title = "Agent followed an instruction from a tool or document, and it went through";
        step.detect(&self.of_calls, (title, severity, confidence, Grade::Reached), evidence, &part);
    }
}

/// What shows that a call follows an instruction: the way of the instruction, the call, what they share, where the call goes
/// and which untrusted texts it carries there. The graph of a detection is made of it (the view `flow_edges`).
fn evidence_of(
    conversation: &Conversation,
    call: &Call<'_>,
    followed: &follow::Followed,
    places: &[Destination],
    new: &[usize],
) -> Vec<Evidence> {
    let source = &conversation.instructions[followed.index];
    let of = |what: &str| Evidence { what: what.to_owned(), ..Evidence::default() };
    let mut evidence = source.evidence();
    evidence.push(Evidence {
        field: Some(call.tool.to_owned()),
        value: Some(cut(call.arguments, 400)),
        channel: None,
        what: "call".to_owned(),
        ..call.place.evidence()
    });
    evidence.push(Evidence { value: Some(followed.ground.as_str().to_owned()), ..of("ground") });
    evidence.extend(
        followed
            .shared
            .iter()
            .take(SHOWN_MAX)
            .map(|value| Evidence { value: Some(cut(as_written(value, call.arguments), 200)), ..of("shared_value") }),
    );
    evidence.extend(places.iter().enumerate().take(SHOWN_MAX).map(|(index, place)| Evidence {
        field: Some(place.kind.to_owned()),
        value: Some(cut(as_written(&place.value, call.arguments), 200)),
        pattern: new.contains(&index).then(|| "first seen".to_owned()),
        ..of("destination")
    }));
    let carried = conversation.texts.carried(call.arguments).into_iter();
    let carried = carried.filter(|(place, _)| place.content != source.place.content).take(SHOWN_MAX);
    evidence.extend(carried.map(|(place, range)| Evidence {
        what: "data".to_owned(),
        value: Some(cut(call.arguments.get(range).unwrap_or_default(), 200)),
        ..place.evidence()
    }));
    evidence
}

/// A value in the spelling that it has in the arguments: values are compared in normal form, and a token of the sanitiser is one
/// only as it was written.
fn as_written<'a>(value: &'a str, arguments: &'a str) -> &'a str {
    let address = text::addresses(arguments).find(|(normal, _)| normal == value).map(|(_, range)| range);
    let word = || arguments.to_ascii_lowercase().find(value).map(|start| start..start + value.len());
    address.or_else(word).and_then(|range| arguments.get(range)).unwrap_or(value)
}

/// Tools that have no way to say that they failed say so in words.
pub(super) fn says_error(text: &str) -> bool {
    const SIGNS: [&str; 9] =
        ["error", "exception", "traceback", "failed", "invalid", "permission denied", "unauthorized", "forbidden", "not found"];
    let head: String = text.trim_start_matches(['{', '"', '\'', ' ', '\n']).chars().take(24).collect::<String>().to_lowercase();
    SIGNS.iter().any(|sign| head.starts_with(sign))
}
