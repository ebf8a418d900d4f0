//! The MCP proxy: messages of both sides in any order. Without a policy every byte goes on; with one nothing that is not read does.
#![no_main]

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use capture::mcp::{
    Compared, Limits, Listing, Mode, OnDrift, Onward, Pins, Policy, Proxy, ServerInfo, Transport, Who, listing, remote,
};
use capture::{RawEvent, Receipt, RecordError, Recorder};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

struct Sink;

impl Recorder for Sink {
    fn record(&self, events: Vec<RawEvent>) -> Pin<Box<dyn Future<Output = Result<Vec<Receipt>, RecordError>> + Send + '_>> {
        let receipts = events.iter().map(|event| Receipt { event_id: event.id, position: 0, duplicate: false }).collect();
        Box::pin(ready(Ok(receipts)))
    }
}

impl Pins for Sink {
    fn compare(&self, listing: Listing, _: OnDrift) -> Pin<Box<dyn Future<Output = Result<Compared, RecordError>> + Send + '_>> {
        drop(listing.first_seen(&[]));
        Box::pin(ready(Ok(Compared::default())))
    }
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().enable_all().build().unwrap());

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let is_enforced = first & 1 == 1;
    let server = ServerInfo {
        name: "fuzzed".to_owned(),
        transport: Transport::Pipe,
        identity: "fuzzed".to_owned(),
        place: "fuzzed".to_owned(),
        address: None,
    };
    let mut policy = Policy { adds_trace: first & 2 == 2, ..Policy::default() };
    if is_enforced {
        policy.deny = vec!["rm*".to_owned()];
        policy.mode = Mode::Block;
    }
    let (adds_trace, sink) = (policy.adds_trace, Arc::new(Sink));
    let conversation = Proxy::new(server, policy, Limits::default(), sink.clone(), sink).conversation(Who::default());
    RUNTIME.block_on(async {
        for line in rest.split(|byte| *byte == b'\n') {
            let Some((side, message)) = line.split_first() else { continue };
            let message = bytes::Bytes::copy_from_slice(message);
            let passage = if side & 1 == 0 {
                conversation.client_message(message.clone()).await
            } else {
                conversation.server_message(message.clone()).await
            };
            match passage.onward {
                Onward::Message(onward) => assert!(adds_trace || onward == message),
                Onward::Nothing | Onward::Instead(_) => assert!(is_enforced, "only a policy holds anything back"),
            }
        }
        conversation.end("over").await;
    });
    if let Ok(text) = std::str::from_utf8(rest) {
        let once = listing::canonical(text);
        assert_eq!(listing::canonical(&once), once);
        drop(listing::difference(text, &once));
    }
    drop(remote::decode(rest));
});
