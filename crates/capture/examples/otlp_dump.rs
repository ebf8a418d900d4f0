//! Shows what an emitter really sends: serves OTLP and prints each event as it was decoded.
//!
//! `cargo run -p watchkeeper-capture --example otlp_dump -- [GRPC_ADDRESS HTTP_ADDRESS]` serves (by default on
//! 127.0.0.1:14317 and :14318) and prints the first characters of each text; `--dialects` prints the reference of the
//! dialect tables and ends. For mock data on a developer's machine: it prints text that nobody has sanitised.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use event::Value;
use tokio::net::TcpListener;
use watchkeeper_capture::otlp::{Dialects, Limits, Receiver};
use watchkeeper_capture::{Raw, RawEvent, Receipt, RecordError, Recorder};

struct Printer;

impl Recorder for Printer {
    fn record(&self, events: Vec<RawEvent>) -> Pin<Box<dyn Future<Output = Result<Vec<Receipt>, RecordError>> + Send + '_>> {
        let receipts = events.iter().map(|event| Receipt { event_id: event.id, position: 0, duplicate: false }).collect();
        events.iter().for_each(print);
        Box::pin(async move { Ok(receipts) })
    }
}

fn print(event: &RawEvent) {
    println!(
        "\n{:?}/{:?} {} [{} via {:?}]",
        event.kind,
        event.phase,
        short(&event.name),
        event.source.dialect,
        event.source.path
    );
    println!(
        "  id {} status {:?} duration {:?} trace {:?}",
        event.id,
        event.status,
        event.duration_ns,
        event.trace.map(|trace| trace.trace_id)
    );
    println!(
        "  scope {:?} session {:?} turn {:?} user {:?} application {:?} agent {:?}",
        event.source.scope.as_ref().map(short),
        event.session.as_ref().map(short),
        event.turn.as_ref().map(short),
        event.identity.user.as_ref().map(|user| short(&user.id)),
        event.identity.application.as_ref().map(|application| short(&application.id)),
        event.identity.agent.as_ref().map(|agent| short(&agent.id)),
    );
    for (key, value) in &event.attributes {
        println!("  {key} = {}", show(value));
    }
    for (key, value) in &event.unmapped {
        println!("  ? {} = {}", short(key), show(value));
    }
    for piece in &event.pieces {
        let meta = &piece.meta;
        println!(
            "  {} {:?} {:?}/{:?} #{}{} name={:?} call={:?} failed={:?} score={:?}",
            short(&piece.content),
            meta.direction,
            meta.role,
            meta.part,
            meta.message,
            if meta.history { " history" } else { "" },
            meta.name.as_ref().map(short),
            meta.call_id.as_ref().map(short),
            meta.failed,
            meta.score
        );
    }
}

fn show(value: &Value<Raw>) -> String {
    match value {
        Value::Text(text) => short(text),
        Value::List(list) => format!("[{}]", list.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Map(map) => {
            format!(
                "{{{}}}",
                map.iter().map(|(key, value)| format!("{}: {}", short(key), show(value))).collect::<Vec<_>>().join(", ")
            )
        }
        other => format!("{other:?}"),
    }
}

fn short(text: &Raw) -> String {
    let all = text.expose();
    let cut: String = all.chars().take(100).collect();
    if cut.len() < all.len() { format!("{cut:?}…({} bytes)", all.len()) } else { format!("{cut:?}") }
}

#[tokio::main]
async fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == "--dialects") {
        print!("{}", Dialects::shipped().reference());
        return;
    }
    if arguments.len() != 2 {
        arguments = vec!["127.0.0.1:14317".to_owned(), "127.0.0.1:14318".to_owned()];
    }
    let recorder: Arc<dyn Recorder> = Arc::new(Printer);
    let grpc = TcpListener::bind(&arguments[0]).await.unwrap();
    let http = TcpListener::bind(&arguments[1]).await.unwrap();
    println!("gRPC on {}, HTTP on {}", grpc.local_addr().unwrap(), http.local_addr().unwrap());
    let receiver = Receiver::new(recorder, Limits::default());
    let grpc = axum::serve(grpc, receiver.grpc()).into_future();
    let http = axum::serve(http, receiver.http()).into_future();
    tokio::try_join!(grpc, http).unwrap();
}
