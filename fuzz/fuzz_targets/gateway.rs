//! The gateway's decoders: requests and responses of both providers, and streams cut at any byte.
#![no_main]

use std::ops::ControlFlow;

use capture::gateway::{anthropic, openai, sse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = openai::decode_request(bytes);
    let _ = openai::decode_response(bytes);
    let _ = anthropic::decode_request(bytes);
    let _ = anthropic::decode_response(bytes);
    // The first byte says how long the pieces of the stream are.
    let Some((size, stream)) = bytes.split_first() else { return };
    let (mut of_openai, mut of_anthropic) = (openai::StreamDecoder::default(), anthropic::StreamDecoder::default());
    let mut parser = sse::Parser::new();
    for chunk in stream.chunks(usize::from(*size).max(1)) {
        let pushed = parser.push(chunk, |event| {
            of_openai.event(event.data);
            of_anthropic.event(event.data);
            ControlFlow::Continue(())
        });
        if pushed.is_err() {
            break;
        }
    }
    let _ = of_openai.take();
    let _ = of_anthropic.take();
});
