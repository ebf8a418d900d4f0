//! Answers that are made once for everybody who asks within a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// An answer is kept at least so many times as long as it took: whoever asks all the time takes no more than a tenth of it.
const TIMES: u32 = 9;

/// No answer is kept for longer, however long it took.
const AGE_MAX: Duration = Duration::from_mins(1);

/// An answer, for as long as it is good.
pub(super) struct Kept<T> {
    made: Mutex<Option<Made<T>>>,
    /// How often what was kept has been forgotten.
    forgotten: AtomicU64,
}

struct Made<T> {
    until: Instant,
    /// What `forgotten` was before it was made.
    since: u64,
    answer: Arc<T>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { made: Mutex::default(), forgotten: AtomicU64::default() }
    }
}

impl<T> Kept<T> {
    /// The answer, made by `make` where the one before is older than `age_max`. Whoever asks meanwhile gets the one that is being made. What
    /// fails is not kept. Everybody waits for `make`: it takes room among all readers, and nobody's share of them.
    pub(super) async fn get<E>(&self, age_max: Duration, make: impl Future<Output = Result<T, E>>) -> Result<Arc<T>, E> {
        let mut kept = self.made.lock().await;
        let since = self.forgotten.load(Ordering::Acquire);
        if let Some(made) = kept.as_ref().filter(|made| made.since == since && Instant::now() < made.until) {
            return Ok(made.answer.clone());
        }
        // What is not good any more takes no memory while another one is made, nor where that fails.
        *kept = None;
        let began = Instant::now();
        let answer = Arc::new(make.await?);
        let until = Instant::now() + good_for(age_max, began.elapsed());
        *kept = Some(Made { until, since, answer: answer.clone() });
        Ok(answer)
    }

    /// Forgets what is kept, and what is being made: somebody whom it may name was erased.
    pub(super) fn forget(&self) {
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        // Where it is locked another one is being made, and takes its place.
        if let Ok(mut kept) = self.made.try_lock() {
            *kept = None;
        }
    }
}

/// How long an answer is good that took so long.
fn good_for(age_max: Duration, took: Duration) -> Duration {
    age_max.max(took.saturating_mul(TIMES).min(AGE_MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

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

    /// Also one that was begun before, and holds who was erased meanwhile.
    #[tokio::test]
    async fn what_is_forgotten_is_told_to_nobody_again() {
        let kept = Kept::default();
        let hour = Duration::from_secs(3_600);
        let of = async |answer: &'static str| *kept.get(hour, async { Ok::<_, ()>(answer) }).await.unwrap();
        assert_eq!((of("ann").await, of("nobody").await), ("ann", "ann"));
        kept.forget();
        assert_eq!(of("bob").await, "bob");
        kept.forget();
        let begun = kept.get(hour, async {
            kept.forget();
            Ok::<_, ()>("carol")
        });
        assert_eq!(*begun.await.unwrap(), "carol");
        assert_eq!((of("nobody").await, of("anybody").await), ("nobody", "nobody"));
    }

    #[test]
    fn what_takes_long_is_kept_for_longer() {
        let second = Duration::from_secs(1);
        assert_eq!((good_for(second, Duration::from_millis(1)), good_for(second, second)), (second, 9 * second));
        assert_eq!(good_for(second, 60 * second), AGE_MAX);
    }
}
