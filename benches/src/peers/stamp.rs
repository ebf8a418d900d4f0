//! Times in texts: words of letters that the stand-in writes into what it says, and that pass through gateways. So the load knows how
//! long each word was under way, and how much of a call's time was the stand-in's own, whatever a gateway does to the framing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Letters of a number: microseconds up to 58 hours.
const LETTERS: usize = 8;

/// Numbers begin anew here.
const BEYOND: u64 = 26_u64.pow(LETTERS as u32);

/// What a stamp begins with when it says at what time it was sent.
pub(super) const SENT: &str = "zs";

/// What a stamp begins with when it says how long the stand-in had held the call until then.
pub(super) const HELD: &str = "zh";

/// The time of this machine, in microseconds of a clock that begins anew every 58 hours.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    micros(since) % BEYOND
}

/// How long ago a time of [`now`] was.
pub(super) fn since(sent: u64) -> Duration {
    let ago = (now() + BEYOND - sent) % BEYOND;
    // A clock that was set back a little says that it is still to come.
    Duration::from_micros(if ago > BEYOND / 2 { 0 } else { ago })
}

/// A stamp as a word.
pub(super) fn word(kind: &str, micros: u64) -> String {
    let mut word = kind.to_owned();
    let mut rest = micros % BEYOND;
    for _ in 0..LETTERS {
        word.push(char::from(b'a' + u8::try_from(rest % 26).unwrap_or_default()));
        rest /= 26;
    }
    word
}

/// The first stamp of a kind in a text, in microseconds, and where the text goes on behind it.
pub(super) fn find(kind: &str, text: &str) -> Option<(u64, usize)> {
    text.match_indices(kind).find_map(|(at, _)| {
        let end = at + kind.len() + LETTERS;
        let letters = text.get(at + kind.len()..end)?;
        let digits = letters.bytes().rev().map(|letter| letter.is_ascii_lowercase().then(|| u64::from(letter - b'a')));
        let micros = digits.into_iter().try_fold(0, |sum, digit| digit.map(|digit| sum * 26 + digit))?;
        Some((micros, end))
    })
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_in_a_text() {
        for micros in [0, 1, 25, 26, 20_417, BEYOND - 1] {
            let text = format!("the pilot zs is free {} and comes {}.", word(SENT, micros), word(HELD, 7));
            let (found, end) = find(SENT, &text).expect("the stamp is there");
            assert_eq!((found, &text[end..end + 4]), (micros, " and"));
            assert_eq!(find(HELD, &text).map(|(micros, _)| micros), Some(7));
        }
        assert_eq!(find(SENT, "zsabc"), None);
        assert_eq!(find(SENT, "zsABCDEFGH zé"), None);
    }

    #[test]
    fn time_passes() {
        assert!(since(now()) < Duration::from_secs(60));
        assert_eq!(since(now() + 1_000_000), Duration::ZERO);
    }
}
