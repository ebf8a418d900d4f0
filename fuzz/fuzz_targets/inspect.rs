//! Inspection: no text panics in any channel or with any system prompt, spans lie within it, and it has one report.
#![no_main]

use std::sync::LazyLock;

use event::Channel;
use inspect::Inspector;
use libfuzzer_sys::fuzz_target;

static INSPECTOR: LazyLock<Inspector> = LazyLock::new(|| Inspector::builtin().unwrap());

fuzz_target!(|input: &str| {
    // The system prompt, where there is one, stands before the text.
    let (context, text) = input.split_once("\0").map_or((None, input), |(context, text)| (Some(context), text));
    let channels = [Channel::User, Channel::Assistant, Channel::Tool, Channel::Document, Channel::System];
    let channel = channels[text.len() % channels.len()];
    let report = INSPECTOR.inspect(text, channel, context);
    let length = u32::try_from(text.chars().count()).unwrap();
    for finding in &report.findings {
        assert!(finding.start < finding.end && finding.end <= length, "{finding:?} of {length}");
        assert!((0.0..=1.0).contains(&finding.score), "{finding:?}");
    }
    assert_eq!(report.scanned_bytes + report.unscanned_bytes, text.len() as u64);
    assert_eq!(report, INSPECTOR.inspect(text, channel, context));
});
