//! An answer that breaks off for the client as it did upstream.

use std::time::Duration;

/// How long what was handed out before has to leave. When a body fails, hyper drops what it has taken and not yet written; in one go with
/// the failure that is everything since the last wait. Who takes longer than this to read loses the end of an answer that is broken anyway.
const LEAVE_TIME: Duration = Duration::from_millis(50);

/// The connection to the client is cut, so that it sees a broken answer as broken.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off upstream, or its end could not be recorded")]
pub(crate) struct BrokenOff(());

impl BrokenOff {
    /// The failure of a body, once what came before it has left.
    pub(crate) async fn after_what_came() -> Self {
        tokio::time::sleep(LEAVE_TIME).await;
        Self(())
    }
}
