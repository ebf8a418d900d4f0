//! Rows that somebody makes to keep the sanitiser busy: each takes time in proportion to its length.

use std::time::{Duration, Instant};

use watchkeeper_sanitize::{Sanitizer, TokenKey};

/// Long enough that a row which takes quadratic time takes minutes.
const ROW_BYTES: usize = 1 << 19;
/// Of a build with little optimisation on a busy machine; the slowest row takes two or three.
const ROW_MAX: Duration = Duration::from_secs(20);

#[test]
fn rows_take_linear_time() {
    let sanitizer = Sanitizer::new(TokenKey::new([7; 32], "v26"));
    for (row, tail) in [
        ("AKIA", ""),
        (":5432:", ""),
        ("cookie=", ""),
        ("Cookie: ", ""),
        ("token=", ""),
        ("token=", "0"),
        ("token=", "."),
        ("password:", "中"),
        ("12345678", "token="),
        ("a@b.co ", ""),
        ("Q1ZDOiAxMTQ=", ""),
    ] {
        let mut text = row.repeat(ROW_BYTES / 2 / row.len());
        text.push_str(&if tail.is_empty() { text.clone() } else { tail.repeat(ROW_BYTES / 2 / tail.len()) });
        let started = Instant::now();
        let cleaned = sanitizer.text(&text);
        assert!(started.elapsed() < ROW_MAX, "{row} {tail}: {:?}", started.elapsed());
        assert!(!cleaned.text.is_empty());
    }
}
