//! Keys that were refused: whoever tries them is told of in the record, without a guesser being able to fill it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After how long an address begins anew.
const WINDOW: Duration = Duration::from_secs(60);

/// Addresses that are told apart within a window. The others count as one.
const ADDRESSES_MAX: usize = 4_096;

/// Stands for the addresses beyond [`ADDRESSES_MAX`].
const OTHERS: IpAddr = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);

/// How often each address was refused of late.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<IpAddr, (Instant, u64)>>);

impl Refusals {
    /// Counts a refusal. `Some` with the address and how many it were within the window, when that is to be recorded: of the first, the
    /// tenth, the hundredth and so on.
    pub(crate) fn note(&self, address: IpAddr, now: Instant) -> Option<(IpAddr, u64)> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= ADDRESSES_MAX {
            counts.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
        }
        let address = if counts.len() >= ADDRESSES_MAX && !counts.contains_key(&address) { OTHERS } else { address };
        let (since, count) = counts.entry(address).or_insert((now, 0));
        if now.duration_since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        let is_told = 10_u64.checked_pow(count.ilog10()) == Some(*count);
        is_told.then_some((address, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guesser_is_told_of_a_few_times_a_minute() {
        let (refusals, address, now) = (Refusals::default(), IpAddr::from([10, 0, 0, 1]), Instant::now());
        let told: Vec<u64> = (0..1_000).filter_map(|_| Some(refusals.note(address, now)?.1)).collect();
        assert_eq!(told, [1, 10, 100, 1_000]);
        assert_eq!(refusals.note(address, now + WINDOW), Some((address, 1)));
    }

    #[test]
    fn many_addresses_are_counted_as_one_behind_the_bound() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        let count = u32::try_from(ADDRESSES_MAX).unwrap() + 9;
        let told: Vec<_> = (1..=count).filter_map(|n| refusals.note(address(n), now)).collect();
        assert_eq!(told.len(), ADDRESSES_MAX + 1);
        assert_eq!(told.last(), Some(&(OTHERS, 1)));
        assert_eq!(refusals.note(address(1), now + WINDOW), Some((address(1), 1)));
    }
}
