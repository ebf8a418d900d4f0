//! OTLP in JSON: traces, logs and metrics, from bytes to events.
#![no_main]

use capture::otlp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = otlp::traces_from_json(bytes) {
        let _ = otlp::decode_traces(request, event::SourcePath::OtlpHttp);
    }
    if let Ok(request) = otlp::logs_from_json(bytes) {
        let _ = otlp::decode_logs(request, event::SourcePath::OtlpHttp);
    }
    if let Ok(request) = otlp::metrics_from_json(bytes) {
        let _ = otlp::decode_metrics(request, event::SourcePath::OtlpHttp);
    }
});
