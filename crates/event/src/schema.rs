//! The published JSON Schema of a recorded event.

use crate::event::RecordedEvent;

/// The JSON Schema (draft 2020-12) of an event as it is recorded and as `watchkeeper tail --format json` prints it.
/// Published as `docs/reference/event.schema.json`; `cargo xtask docs` writes it, a test keeps it true.
#[must_use]
pub fn recorded_event_schema() -> serde_json::Value {
    schemars::schema_for!(RecordedEvent<String>).to_value()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_published_schema_is_this_one() {
        let published = include_str!("../../../docs/reference/event.schema.json");
        let published: serde_json::Value = serde_json::from_str(published).unwrap();
        assert_eq!(published, super::recorded_event_schema(), "run `cargo xtask docs`");
    }
}
