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
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/event.schema.json");
        let schema = super::recorded_event_schema();
        if std::env::var_os("WATCHKEEPER_WRITE_DOCS").is_some() {
            std::fs::write(path, serde_json::to_string_pretty(&schema).unwrap() + "\n").unwrap();
        }
        let published: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(published, schema, "run `cargo xtask docs`");
    }
}
