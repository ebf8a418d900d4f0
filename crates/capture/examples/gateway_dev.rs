//! The gateway with a recorder in memory, for work on the gateway itself and for its clients' tests:
//!
//! ```text
//! cargo run -p watchkeeper-capture --example gateway_dev -- [LISTEN] [OPENAI_BASE] [ANTHROPIC_BASE]
//! ```
//! Prints its address, then one line for each event: kind, phase, session, user and pieces. Nothing is sanitised and
//! nothing is kept: never show it real traffic.

use std::future::Future;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use watchkeeper_capture::gateway::{self, Config, Upstreams};
use watchkeeper_capture::{RawEvent, Receipt, RecordError, Recorder};

#[derive(Default)]
struct Shown {
    next: AtomicU64,
    is_quiet: bool,
}

impl Recorder for Shown {
    fn record(&self, events: Vec<RawEvent>) -> Pin<Box<dyn Future<Output = Result<Vec<Receipt>, RecordError>> + Send + '_>> {
        Box::pin(async move {
            let receipt = |event: &RawEvent| Receipt {
                event_id: event.id,
                position: self.next.fetch_add(1, Ordering::Relaxed),
                duplicate: false,
            };
            if !self.is_quiet {
                events.iter().for_each(show);
            }
            Ok(events.iter().map(receipt).collect())
        })
    }
}

fn show(event: &RawEvent) {
    let mut line = format!(
        "{} {:?} {:?} session={:?} user={:?}",
        event.kind.as_str(),
        event.phase,
        event.status,
        event.session.as_ref().map(|session| session.expose()),
        event.identity.user.as_ref().map(|user| user.id.expose()),
    );
    for (key, value) in &event.attributes {
        let value = value.as_text().map_or_else(|| format!("{value:?}"), |text| text.expose().to_owned());
        line.push_str(&format!(" {key}={value}"));
    }
    for piece in &event.pieces {
        let (meta, text) = (&piece.meta, piece.content.expose());
        line.push_str(&format!(
            "\n    {:?} {:?} {:?} message={} history={} name={:?} call={:?}: {text}",
            meta.direction,
            meta.role,
            meta.part,
            meta.message,
            meta.history,
            meta.name.as_ref().map(|name| name.expose()),
            meta.call_id.as_ref().map(|id| id.expose()),
        ));
    }
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:4000".to_owned());
    let mut config = Config::default();
    if let Some(base) = arguments.next() {
        config.upstreams = Upstreams::all_at(&base);
    }
    if let Some(base) = arguments.next() {
        config.upstreams.anthropic = Some(base);
    }
    let recorder = Shown { is_quiet: std::env::var_os("QUIET").is_some(), ..Shown::default() };
    let router = gateway::router(Arc::new(recorder), config)?;
    let listener = tokio::net::TcpListener::bind(listen).await?;
    writeln!(std::io::stdout().lock(), "listening on http://{}", listener.local_addr()?)?;
    gateway::serve(listener, router, std::future::pending()).await?;
    Ok(())
}
