//! Every line format of `watchkeeper import`, and events of `POST /v1/events`.
#![no_main]

use capture::import::{Format, LineContext, decode_line, sniff};
use event::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let context = LineContext { time: Timestamp::from_unix_ns(1), line: 0 };
    let _ = sniff(bytes);
    for format in [Format::AgentTraces, Format::ChatJsonl, Format::OtlpJson, Format::OtlpProto, Format::Events] {
        let _ = decode_line(format, bytes, context);
    }
});
