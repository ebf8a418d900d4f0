//! The gateway's decoders: requests and responses of every provider, streams cut at any byte, and events of realtime connections.
#![no_main]

use std::ops::ControlFlow;

use capture::gateway::api::StreamDecode;
use capture::gateway::bedrock::event_stream;
use capture::gateway::{anthropic, bedrock, gemini, openai, sse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for decode in [
        openai::decode_request,
        openai::responses::decode_request,
        anthropic::decode_request,
        gemini::decode_request,
        bedrock::decode_request,
    ] {
        let _ = decode(bytes);
    }
    for decode in [
        openai::decode_response,
        openai::responses::decode_response,
        anthropic::decode_response,
        gemini::decode_response,
        bedrock::decode_response,
    ] {
        let _ = decode(bytes);
    }
    // Both sides of a realtime connection, an event on each line.
    let mut talk = openai::realtime::Conversation::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(said) = openai::realtime::read_client(line) {
            let _ = talk.say(said);
        }
        let _ = talk.hear(line);
    }
    let _ = talk.rest();
    // The first byte says how long the pieces of the stream are.
    let Some((size, stream)) = bytes.split_first() else { return };
    let mut decoders: Vec<Box<dyn StreamDecode>> = vec![
        Box::<openai::StreamDecoder>::default(),
        Box::<openai::responses::StreamDecoder>::default(),
        Box::<anthropic::StreamDecoder>::default(),
        Box::<gemini::StreamDecoder>::default(),
        Box::<bedrock::StreamDecoder>::default(),
        Box::<bedrock::invoke::StreamDecoder>::default(),
    ];
    let mut read = |event: sse::Event<'_>| {
        for decoder in &mut decoders {
            decoder.event(event.name, event.data);
        }
        ControlFlow::Continue(())
    };
    let (mut parser, mut messages) = (sse::Parser::new(), event_stream::Parser::default());
    let (mut is_text, mut is_binary) = (true, true);
    for chunk in stream.chunks(usize::from(*size).max(1)) {
        is_text = is_text && parser.push(chunk, &mut read).is_ok();
        is_binary = is_binary && messages.push(chunk, &mut read).is_ok();
    }
    for mut decoder in decoders {
        let _ = decoder.take();
    }
});
