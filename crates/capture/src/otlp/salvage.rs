//! Saves the good spans of a request that has bad ones: a collector's batch holds the spans of many applications, and
//! one of them must not be able to make its neighbours' vanish.

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::wire::{self, Message, next_field};

/// Most that are left out of one request: a whole batch of a collector, eight times. A request with more is refused.
const LEFT_OUT_MAX: usize = 65_536;

/// What is left of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Salvaged {
    /// The request without what cannot be decoded.
    pub(super) bytes: Vec<u8>,
    /// The places in the request, from 0, of the spans, log records or metrics that were left out.
    pub(super) left_out: Vec<usize>,
}

/// Leaves out every span, log record or metric that cannot be decoded. `None` when that saves nothing: the request is broken
/// around them, or there is no bad one. `bytes_max` bounds what one of them may take decoded.
pub(super) fn salvage(bytes: &[u8], message: Message, bytes_max: usize) -> Option<Salvaged> {
    let mut salvage = Salvage { bytes_max, index: 0, left_out: Vec::new() };
    let bytes = salvage.without_bad(bytes, message)?;
    (!salvage.left_out.is_empty() && salvage.left_out.len() < salvage.index)
        .then_some(Salvaged { bytes, left_out: salvage.left_out })
}

struct Salvage {
    bytes_max: usize,
    /// The place of the next span, log record or metric.
    index: usize,
    left_out: Vec<usize>,
}

impl Salvage {
    fn without_bad(&mut self, mut bytes: &[u8], message: Message) -> Option<Vec<u8>> {
        let mut kept = Vec::with_capacity(bytes.len());
        while !bytes.is_empty() {
            let field = next_field(&mut bytes).ok()?;
            match field.message_of(message) {
                Some(child @ (Message::Span | Message::LogRecord | Message::Metric)) => {
                    if self.is_good(field.content, child) {
                        kept.extend_from_slice(field.whole);
                    } else if self.left_out.len() >= LEFT_OUT_MAX {
                        return None;
                    } else {
                        self.left_out.push(self.index);
                    }
                    self.index += 1;
                }
                // Three levels, whatever is sent: none of these is inside of one of its kind.
                Some(
                    child @ (Message::ResourceSpans
                    | Message::ResourceLogs
                    | Message::ResourceMetrics
                    | Message::ScopeSpans
                    | Message::ScopeLogs
                    | Message::ScopeMetrics),
                ) => {
                    let content = self.without_bad(field.content, child)?;
                    prost::encoding::encode_key(field.number, prost::encoding::WireType::LengthDelimited, &mut kept);
                    prost::encoding::encode_varint(content.len() as u64, &mut kept);
                    kept.extend_from_slice(&content);
                }
                _ => kept.extend_from_slice(field.whole),
            }
        }
        Some(kept)
    }

    fn is_good(&self, bytes: &[u8], message: Message) -> bool {
        // First what it would take in memory, then whether it decodes: one at a time, and thrown away.
        wire::check(bytes, message, self.bytes_max).is_ok()
            && match message {
                Message::LogRecord => LogRecord::decode(bytes).is_ok(),
                Message::Metric => Metric::decode(bytes).is_ok(),
                _ => Span::decode(bytes).is_ok(),
            }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

    use super::*;

    fn request(names: &[&str]) -> ExportTraceServiceRequest {
        let span = |name: &&str| Span { name: (*name).to_owned(), trace_id: vec![7; 16], ..Span::default() };
        let scope = |names: &[&str]| ScopeSpans {
            spans: names.iter().map(span).collect(),
            schema_url: "u".to_owned(),
            ..ScopeSpans::default()
        };
        let resource_spans = names
            .chunks(2)
            .map(|names| ResourceSpans { scope_spans: vec![scope(names), scope(&[])], ..ResourceSpans::default() });
        ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
    }

    /// Makes each `bad!` four bytes of which the first begins no UTF-8.
    fn spoil(mut bytes: Vec<u8>) -> Vec<u8> {
        while let Some(at) = bytes.windows(4).position(|window| window == b"bad!") {
            bytes[at] = 0xff;
        }
        bytes
    }

    #[test]
    fn a_bad_span_is_left_out_and_its_neighbours_stay() {
        for (names, left_out, good) in [
            (&["a", "bad!", "c"][..], vec![1], &["a", "c"][..]),
            (&["bad!", "b", "c", "d", "bad!"], vec![0, 4], &["b", "c", "d"]),
        ] {
            let salvaged = salvage(&spoil(request(names).encode_to_vec()), Message::Traces, 1 << 20).unwrap();
            assert_eq!(salvaged.left_out, left_out);
            let decoded = ExportTraceServiceRequest::decode(&*salvaged.bytes).unwrap();
            let spans = decoded.resource_spans.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans);
            assert_eq!(spans.map(|span| span.name.as_str()).collect::<Vec<_>>(), good);
            assert!(decoded.resource_spans.iter().all(|resource| resource.scope_spans[0].schema_url == "u"));
        }
    }

    #[test]
    fn nothing_is_saved_where_nothing_is_bad_or_good() {
        for names in [&["a", "b"][..], &[], &["bad!"]] {
            assert_eq!(salvage(&spoil(request(names).encode_to_vec()), Message::Traces, 1 << 20), None);
        }
        assert_eq!(salvage(b"\x0a\x7f", Message::Traces, 1 << 20), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_get_an_answer(bytes: Vec<u8>) {
            let _ = salvage(&bytes, Message::Traces, 1 << 20);
        }
    }
}
