//! Answers that are made once for everybody who asks within a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// An answer is kept at least so many times as long as it took: whoever asks all the time takes no more than a tenth of it.
const TIMES: u32 = 9;

/// An answer, for as long as it is good.
pub(super) struct Kept<T>(Mutex<Option<Made<T>>>);

struct Made<T> {
    until: Instant,
    answer: Arc<T>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Kept<T> {
    /// The answer, made by `make` where the one before is older than `age_max`. Whoever asks meanwhile gets the one that is being made. What
    /// fails is not kept.
    pub(super) async fn get<E>(&self, age_max: Duration, make: impl Future<Output = Result<T, E>>) -> Result<Arc<T>, E> {
        let mut kept = self.0.lock().await;
        if let Some(made) = kept.as_ref().filter(|made| Instant::now() < made.until) {
            return Ok(made.answer.clone());
        }
        let began = Instant::now();
        let answer = Arc::new(make.await?);
        let until = Instant::now() + good_for(age_max, began.elapsed());
        *kept = Some(Made { until, answer: answer.clone() });
        Ok(answer)
    }
}

/// How long an answer is good that took so long.
fn good_for(age_max: Duration, took: Duration) -> Duration {
    age_max.max(took.saturating_mul(TIMES))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn an_answer_is_made_once_for_all_who_ask_and_what_fails_is_not_kept() {
        let (kept, made) = (&Kept::default(), &AtomicU32::new(0));
        let ask = |age_max: Duration| {
            kept.get(age_max, async move {
                let made = made.fetch_add(1, Ordering::Relaxed) + 1;
                tokio::task::yield_now().await;
                if made == 1 { Err("no") } else { Ok(made) }
            })
        };
        let hour = Duration::from_secs(3_600);
        assert_eq!(ask(hour).await, Err("no"));
        let (one, other) = tokio::join!(ask(hour), ask(hour));
        assert_eq!((*one.unwrap(), *other.unwrap()), (2, 2));
        assert_eq!(*ask(Duration::ZERO).await.unwrap(), 2);
    }

    #[test]
    fn what_takes_long_is_kept_for_longer() {
        let second = Duration::from_secs(1);
        assert_eq!((good_for(second, Duration::from_millis(1)), good_for(second, second)), (second, 9 * second));
    }
}
