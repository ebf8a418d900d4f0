//! Measures that are no measures: a source that sends them blinds nobody.

use event::{Event, Key, Kind, Principal, RecordedEvent, Source, SourcePath, Timestamp, Value, attr};
use sanitize::Clean;
use watchkeeper_detect::behaviour::Behaviour;

use crate::company::FIRST_DAY;

/// A call of a model with its measures; `factor` is by how much cost, time to the first chunk and length are above the usual ones.
fn call(number: u64, time_s: u64, factor: f64) -> RecordedEvent<Clean> {
    let mut event: RecordedEvent<Clean> =
        Event::new(Kind::ModelCall, Clean::literal("chat"), Source::new(SourcePath::Api, Key::of("hostile")));
    event.time = Timestamp::from_unix_ns(time_s * 1_000_000_000 + number);
    event.observed = event.time;
    event.identity.application = Some(Principal::asserted(Clean::literal("assistant")));
    event.attributes.insert(attr::GEN_AI_REQUEST_MODEL, Value::Text(Clean::literal("model-1")));
    let vary = 1.0 + (number * 37 % 100) as f64 / 250.0;
    for (key, value) in measures(vary * factor) {
        event.attributes.insert(key, Value::Double(value));
    }
    event
}

fn measures(scale: f64) -> [(Key, f64); 4] {
    [
        (Key::of("gen_ai.usage.cost"), 0.004 * scale),
        (attr::GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, 0.25 * scale),
        (attr::GEN_AI_USAGE_INPUT_TOKENS, 900.0 * scale),
        (attr::GEN_AI_USAGE_OUTPUT_TOKENS, 150.0 * scale),
    ]
}

#[test]
fn impossible_measures_hide_no_shift_and_are_counted() {
    const NONSENSE: [f64; 5] = [1e306, f64::INFINITY, f64::MAX, 1e15, -1.0];
    let mut behaviour = Behaviour::new();
    let (mut told, mut number, mut impossible) = (Vec::new(), 0, 0);
    for hour in 0..17 * 24_u64 {
        for minute in 0..40 {
            number += 1;
            let time_s = u64::from(FIRST_DAY) * 86_400 + hour * 3_600 + minute * 90;
            let mut event = call(number, time_s, if hour >= 14 * 24 { 3.0 } else { 1.0 });
            if number % 5 == 0 {
                impossible += 4;
                for (key, _) in measures(1.0) {
                    event.attributes.insert(key, Value::Double(NONSENSE[(number / 5) as usize % NONSENSE.len()]));
                }
            }
            told.extend(behaviour.observe(&event, &mut |_| None).into_iter().map(|insight| (hour, insight)));
        }
    }
    for name in ["model_cost_shift", "model_first_chunk_shift", "model_input_shift", "model_output_shift"] {
        let hours: Vec<u64> = told.iter().filter(|(_, one)| one.name.as_str() == name).map(|(hour, _)| *hour).collect();
        assert!(hours.len() == 1 && (14 * 24..15 * 24).contains(&hours[0]), "{name}: {hours:?}");
    }
    assert!(told.iter().all(|(_, one)| one.observed.is_finite() && one.expected.is_finite()), "{told:?}");
    assert_eq!(behaviour.implausible(), impossible);
}
