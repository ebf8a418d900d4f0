//! Client: reports events to a Watchkeeper server over `POST /v1/events`.
//!
//! A [`Client`] holds events in a bounded queue and sends them in batches from a thread of its own. A batch that the server does
//! not take (it is away, busy, or its disk is full) is sent again, with the same ids, so that nothing is recorded twice. What
//! cannot be delivered in time is counted, and the server is told of it as a gap as soon as it answers again. Nothing is ever
//! written to a disk here: raw text rests nowhere before it is sanitised.
//!
//! ```no_run
//! use watchkeeper_client::{Client, Config, Event, Scope};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // WATCHKEEPER_URL, WATCHKEEPER_API_KEY and WATCHKEEPER_CA, or the server that runs on this machine.
//! let client = Client::new(Config::find()?)?;
//! let scope = Scope::default().session("s-1").user("u-17").agent("ops");
//!
//! // Waits until it is on disk.
//! let receipt = client.record(scope.tool_call("delete_file", &serde_json::json!({"path": "/tmp/x"}))).await?;
//! println!("{}", receipt.position);
//!
//! // Does not wait.
//! client.submit(Event::of(event::Kind::Session).session("s-1").attribute("event.action", "login"))?;
//! client.flush(std::time::Duration::from_secs(5)).await?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod client;
mod config;
mod event_input;
#[cfg(feature = "tower")]
mod layer;
mod losses;
mod observe;
mod queue;
mod transport;
mod worker;

pub use client::{Client, Receipt, RecordError, Scored};
pub use config::{Config, ConfigError, default_data_dir};
pub use event_input::{Event, Message, Party, Source, Tool};
#[cfg(feature = "tower")]
pub use layer::{Describe, RecordLayer, RecordService, Recorded};
pub use losses::{Loss, Losses};
pub use observe::Scope;
