//! Bodies over HTTP, within bounds of size and time, and of the memory that all of them take together.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};

use crate::budget::{Exhausted, Share};
use crate::outbound::root_cause;

/// Memory that bodies of a proxy may take together, in bytes: sixteen of the largest ones. What comes beyond is told to come back.
pub(super) const BODIES_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Longest silence of a server between two pieces of an answer, as long as before its head: tools work for minutes.
pub(super) const ANSWER_IDLE: Duration = Duration::from_secs(600);

/// Why a body is not whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("it is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
    #[error("it broke off: {0}")]
    Broken(String),
    #[error("nothing of it came for {} s", idle.as_secs())]
    Slow { idle: Duration },
    #[error("other bodies take all the memory that there is for them; try again")]
    Full,
}

impl BodyError {
    /// As the record has it.
    pub(super) fn error_type(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "response_too_large",
            Self::Broken(_) => "upstream_error",
            Self::Slow { .. } => "upstream_silent",
            Self::Full => "busy",
        }
    }
}

/// Reads a body to its end. `share` covers it as long as it is kept.
pub(super) async fn collect<B>(mut body: B, bytes_max: usize, idle: Duration, share: &mut Share) -> Result<Bytes, BodyError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + 'static,
{
    let mut collected = BytesMut::new();
    loop {
        let frame = match tokio::time::timeout(idle, body.frame()).await {
            Err(_) => return Err(BodyError::Slow { idle }),
            Ok(None) => return Ok(collected.freeze()),
            Ok(Some(Err(error))) => return Err(BodyError::Broken(root_cause(&error))),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > bytes_max.saturating_sub(collected.len()) {
            return Err(BodyError::TooLarge { bytes_max });
        }
        share.cover(collected.len() + data.len()).map_err(|Exhausted| BodyError::Full)?;
        collected.extend_from_slice(&data);
    }
}

/// A body that keeps its share until it is sent, or nobody reads it any more.
pub(super) struct Held {
    body: Full<Bytes>,
    _share: Share,
}

impl Held {
    pub(super) fn new(bytes: Bytes, share: Share) -> Self {
        Self { body: Full::new(bytes), _share: share }
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures_util::{StreamExt as _, stream};

    use super::*;
    use crate::budget::Budget;

    const SOON: Duration = Duration::from_secs(60);

    fn chunks(count: usize, bytes: usize) -> Body {
        Body::from_stream(stream::iter(vec![Ok::<_, Infallible>(Bytes::from(vec![b'a'; bytes])); count]))
    }

    #[tokio::test]
    async fn a_body_has_bounds_of_its_own_and_shares_one_with_others() {
        let budget = Budget::new(64 * 1024);
        let mut first = budget.share();
        assert_eq!(collect(chunks(5, 10_000), 50_000, SOON, &mut first).await.unwrap().len(), 50_000);
        let mut second = budget.share();
        let over = collect(chunks(5, 10_001), 50_000, SOON, &mut budget.share()).await;
        assert!(matches!(over, Err(BodyError::TooLarge { bytes_max: 50_000 } | BodyError::Full)));
        assert!(matches!(collect(chunks(5, 10_000), 50_000, SOON, &mut second).await, Err(BodyError::Full)));
        let held = Body::new(Held::new(Bytes::from_static(b"held"), first));
        drop(second);
        assert!(matches!(collect(chunks(5, 10_000), 50_000, SOON, &mut budget.share()).await, Err(BodyError::Full)));
        assert_eq!(collect(held, 10, SOON, &mut budget.share()).await.unwrap(), "held");
        assert!(collect(chunks(5, 10_000), 50_000, SOON, &mut budget.share()).await.is_ok());
        let large = collect(chunks(2, 10_000), 10_000, SOON, &mut budget.share()).await;
        assert!(matches!(large, Err(BodyError::TooLarge { .. })));
    }

    #[tokio::test]
    async fn a_body_that_stops_is_given_up() {
        const IDLE: Duration = Duration::from_millis(20);
        let begun = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"begun"))]).chain(stream::pending());
        let mut share = Budget::new(64 * 1024).share();
        let stopped = collect(Body::from_stream(begun), 100, IDLE, &mut share).await;
        assert!(matches!(stopped, Err(BodyError::Slow { idle: IDLE })));
    }
}
