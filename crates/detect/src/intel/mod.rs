//! What threat intelligence said of an event, as fields that rules read and as evidence.
//!
//! The look-up itself is done where events come in, on what they held before they were sanitised, and stands in the event with the
//! digest of the indicators that said it. So a replay sees what was known then, whatever is known now. Here it is decided what of
//! it is new: a conversation that is sent again with every call does not tell of its links again.

use event::{ContentId, ContentRef, Piece, RecordedEvent, Value, attr};
use sanitize::Clean;
use serde_json::Value as Json;

use crate::detection::{Evidence, KnownIndicator};

/// Most hits of an event that are read; as many as are recorded.
const HITS_MAX: usize = 32;

/// What every field of it begins with.
pub(crate) const PREFIX: &str = "watchkeeper.intel.";

/// An indicator that a value of the event matches.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    /// The piece that holds the value; of the event itself where there is none.
    pub(crate) piece: Option<usize>,
    /// The content of that piece.
    pub(crate) content: Option<ContentId>,
    place: String,
    kind: String,
    value: String,
    seen: Option<String>,
    indicator: KnownIndicator,
    label: Option<String>,
}

/// The hits of an event that stand beside its pieces, or in pieces that are new.
pub(crate) fn hits(event: &RecordedEvent<Clean>, new: &[(&Piece<Clean, ContentRef>, Clean)]) -> Vec<Hit> {
    let Some(Value::List(all)) = event.attribute(attr::INTEL_HITS.as_str()) else { return Vec::new() };
    let set = event.attribute(attr::INTEL_SET.as_str()).and_then(|set| set.as_text()).map(|set| set.to_string());
    let is_new = |hit: &Hit| {
        hit.piece
            .is_none_or(|index| event.pieces.get(index).is_some_and(|piece| new.iter().any(|(one, _)| std::ptr::eq(*one, piece))))
    };
    let found = all.iter().take(HITS_MAX).filter_map(|entry| read(entry, set.as_ref())).filter(is_new);
    let placed = found.map(|hit| {
        let content = hit.piece.and_then(|index| event.pieces.get(index)).map(|piece| piece.content.id);
        Hit { content, ..hit }
    });
    placed.collect()
}

fn read(entry: &Value<Clean>, set: Option<&String>) -> Option<Hit> {
    let Value::Map(entries) = entry else { return None };
    let of = |name: &str| entries.iter().find(|(key, _)| key.as_str() == name).map(|(_, value)| value);
    let text = |name: &str| of(name).and_then(Value::as_text).map(|text| text.to_string());
    let number = |name: &str| match of(name) {
        Some(Value::Int(number)) => Some(*number),
        _ => None,
    };
    Some(Hit {
        piece: number("piece").and_then(|piece| usize::try_from(piece).ok()),
        content: None,
        place: text("place")?,
        kind: text("kind")?,
        value: text("value")?,
        seen: text("seen"),
        label: text("label"),
        indicator: KnownIndicator {
            id: text("id")?,
            source: text("source")?,
            tlp: text("tlp")?,
            confidence: number("confidence").and_then(|one| u8::try_from(one).ok()).unwrap_or(0),
            set: set.cloned(),
        },
    })
}

impl Hit {
    /// The fields of a document that tell of it, each with a value.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (String, Json)> + '_ {
        let lists = [
            ("kind", self.kind.as_str()),
            ("place", &self.place),
            ("value", &self.value),
            ("id", &self.indicator.id),
            ("source", &self.indicator.source),
            ("tlp", &self.indicator.tlp),
        ];
        let lists = lists.into_iter().chain(self.label.iter().map(|label| ("label", label.as_str())));
        let lists = lists.map(|(name, value)| (format!("{PREFIX}{name}"), Json::from(value)));
        let confidence = Json::from(self.indicator.confidence);
        let places = [format!("{PREFIX}confidence"), format!("{PREFIX}confidence.{}", self.place)];
        let kinds = std::iter::once((format!("{PREFIX}{}", self.place), Json::from(self.kind.as_str())));
        lists.chain(kinds).chain(places.into_iter().map(move |name| (name, confidence.clone())))
    }

    /// The evidence of a detection that rests on it.
    pub(crate) fn evidence(&self, event: &RecordedEvent<Clean>) -> Evidence {
        let piece = self.piece.and_then(|index| event.pieces.get(index));
        Evidence {
            what: "indicator".to_owned(),
            field: Some(format!("{PREFIX}{}", self.place)),
            value: Some(self.seen.clone().unwrap_or_else(|| self.value.clone())),
            pattern: Some(format!("{} {}", self.kind, self.value)),
            content: piece.map(|piece| piece.content.id),
            channel: piece.map(|piece| piece.meta.channel()),
            indicator: Some(self.indicator.clone()),
            ..Evidence::default()
        }
    }
}
