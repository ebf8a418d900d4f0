//! The hold window, with the real sanitiser behind it.

use proptest::prelude::*;

use super::super::tests::warden::Warden;
use super::*;

fn mask(answers: Action) -> Mask {
    let policy = Policy { id: "p".to_owned(), answers, ..Policy::default() };
    Mask::new(Warden::guard(), Arc::new(policy), Frame::ServerSent, &["choices[].delta.content", "delta"])
}

fn chunk(text: &str) -> String {
    serde_json::json!({"id": "c", "choices": [{"index": 0, "delta": {"content": text}}]}).to_string()
}

fn send(mask: &mut Mask, data: &str) -> Vec<Bytes> {
    mask.push(Bytes::from(format!("data: {data}\n\n")), b"", data.as_bytes());
    mask.ready()
}

/// The text of the events that came out.
fn text(events: &[Bytes]) -> String {
    let mut text = String::new();
    for event in events {
        let data = std::str::from_utf8(event).unwrap().trim().strip_prefix("data: ").unwrap();
        let Ok(value) = serde_json::from_str::<serde_json::Value>(data) else { continue };
        text.push_str(value["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
    }
    text
}

#[test]
fn a_value_that_is_split_over_events_is_masked_wherever_it_is_cut() {
    let whole = "Please write to ann.lee@example.com about the invoice, and not to anybody else.";
    for cut in 1..whole.len() {
        let mut mask = mask(Action::Redact);
        let mut out = send(&mut mask, &chunk(&whole[..cut]));
        out.extend(send(&mut mask, &chunk(&whole[cut..])));
        out.extend(mask.finish());
        let text = text(&out);
        assert!(!text.contains("ann.lee") && text.contains("<EMAIL:") && text.ends_with("anybody else."), "{cut}: {text}");
        assert_eq!(mask.coverage(), (whole.len() as u64, 0));
        assert_eq!(mask.ruling().action, Action::Redact);
    }
}

#[test]
fn what_is_clean_goes_byte_for_byte_and_is_held_within_bounds() {
    let mut mask = mask(Action::Redact);
    let words = "The quick brown fox jumps over the lazy dog. ".repeat(40);
    let (mut sent, mut out, mut most) = (Vec::new(), Vec::new(), 0);
    for piece in words.as_bytes().chunks(7) {
        let data = chunk(std::str::from_utf8(piece).unwrap());
        sent.extend_from_slice(format!("data: {data}\n\n").as_bytes());
        out.extend(send(&mut mask, &data));
        most = most.max(sent.len() - out.iter().map(Bytes::len).sum::<usize>());
    }
    assert!(!out.is_empty(), "nothing went before the end");
    // The overlap and the last word, in events of seven bytes of text each.
    assert!(most < (OVERLAP_BYTES + 32) / 7 * chunk("1234567").len() + 1_000, "{most}");
    let done = send(&mut mask, "[DONE]");
    assert!(done.is_empty(), "the end passed what was held");
    sent.extend_from_slice(b"data: [DONE]\n\n");
    out.extend(mask.finish());
    assert_eq!(out.concat(), sent);
    assert_eq!(mask.coverage(), (words.len() as u64, 0));
    assert_eq!(mask.ruling().action, Action::Observe);
}

#[test]
fn a_text_that_is_repeated_whole_is_masked_there_too() {
    let mut mask = mask(Action::Redact);
    let done = r#"{"type":"response.completed","response":{"output":[{"content":[{"text":"write to ann.lee@example.com"}]}],"created_at":1700000000}}"#;
    mask.push(Bytes::from(format!("event: response.completed\ndata: {done}\n\n")), b"response.completed", done.as_bytes());
    let out = mask.finish().concat();
    let out = String::from_utf8(out).unwrap();
    assert!(
        out.starts_with("event: response.completed\ndata: {\"type\":")
            && !out.contains("ann.lee")
            && out.contains("\"created_at\":1700000000"),
        "{out}"
    );
}

#[test]
fn texts_of_two_places_are_not_joined() {
    let mut mask = mask(Action::Redact);
    let of = |place: u32, delta: &str| serde_json::json!({"type": "t.delta", "output_index": place, "delta": delta}).to_string();
    let mut out = Vec::new();
    for (place, delta) in [(0, "ann@exa"), (1, "no "), (0, "mple.com is it")] {
        out.extend(send(&mut mask, &of(place, delta)));
    }
    out.extend(mask.finish());
    let all = String::from_utf8(out.concat()).unwrap();
    assert!(all.contains("<EMAIL:") && !all.contains("ann@exa") && all.contains("\"no \""), "{all}");
}

#[test]
fn what_must_not_go_stops_the_answer() {
    let mut mask = mask(Action::Block);
    let mut out = send(&mut mask, &chunk("Write to ann.lee@"));
    out.extend(send(&mut mask, &chunk(&format!("example.com {}", "and so on ".repeat(60)))));
    out.extend(mask.finish());
    assert!(mask.is_blocked() && !String::from_utf8_lossy(&out.concat()).contains("ann.lee"));
    assert!(mask.ruling().reason().contains("EMAIL"), "{}", mask.ruling().reason());
}

#[test]
fn what_waits_too_long_behind_a_text_is_not_let_out_half_seen() {
    let of = |place: u32, delta: &str| serde_json::json!({"type": "t.delta", "output_index": place, "delta": delta}).to_string();
    for on_guard_failure in [OnGuardFailure::Closed, OnGuardFailure::Open] {
        let policy = Policy { answers: Action::Redact, on_guard_failure, ..Policy::default() };
        let mut mask = Mask::new(Warden::guard(), Arc::new(policy), Frame::ServerSent, &["delta"]);
        let mut out = send(&mut mask, &of(0, "ann.lee@"));
        let words = "word ".repeat(50_000);
        for _ in 0..=QUEUE_BYTES_MAX / words.len() {
            out.extend(send(&mut mask, &of(1, &words)));
        }
        let seen = String::from_utf8(out.concat()).unwrap();
        let is_open = on_guard_failure == OnGuardFailure::Open;
        assert_eq!((mask.is_blocked(), seen.contains("ann.lee")), (!is_open, is_open));
        if is_open {
            assert!(mask.coverage().1 >= "ann.lee@".len() as u64, "{:?}", mask.coverage());
        } else {
            assert!(mask.ruling().reason().starts_with("guardrail_incomplete"), "{}", mask.ruling().reason());
        }
    }
}

#[test]
fn what_spells_a_text_out_and_parts_of_lists_are_masked_too() {
    let mut mask = Mask::new(
        Warden::guard(),
        Arc::new(Policy { answers: Action::Redact, ..Policy::default() }),
        Frame::ServerSent,
        &["choices[].delta.content", "choices[].delta.content[].text"],
    );
    let of = |text: &str| {
        serde_json::json!({"choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": text}]},
            "logprobs": {"content": [{"token": text, "top_logprobs": []}]}}]})
        .to_string()
    };
    let mut out = send(&mut mask, &of("to ann.lee@exa"));
    out.extend(send(&mut mask, &of("mple.com today")));
    out.extend(mask.finish());
    let seen = String::from_utf8(out.concat()).unwrap();
    assert!(
        seen.contains("<EMAIL:")
            && !seen.contains("ann.lee@")
            && !seen.contains("\"mple.com")
            && seen.contains("\"logprobs\":null"),
        "{seen}"
    );
}

#[test]
fn a_binary_message_is_written_anew_with_right_checks() {
    let policy = Policy { answers: Action::Redact, ..Policy::default() };
    let mut mask = Mask::new(Warden::guard(), Arc::new(policy), Frame::Amazon, &["delta.text"]);
    let data = r#"{"contentBlockIndex":0,"delta":{"text":"to ann.lee@example.com"}}"#;
    mask.push(event_stream::write("event", "contentBlockDelta", data.as_bytes()).into(), b"contentBlockDelta", data.as_bytes());
    let out = mask.finish().concat();
    let mut seen = Vec::new();
    event_stream::Parser::default()
        .push(&out, |event| {
            seen.push((event.name.to_vec(), String::from_utf8_lossy(event.data).into_owned()));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].0 == b"contentBlockDelta" && seen[0].1.contains("<EMAIL:") && !seen[0].1.contains("ann.lee"), "{seen:?}");
}

proptest! {
    /// However an answer is cut into events: no planted value comes out, and everything else does, in its order.
    #[test]
    fn no_cut_lets_a_value_through(cuts in proptest::collection::vec(1_usize..40, 1..60), before in "[a-z ]{0,300}", after in "[a-z ]{0,300}") {
        let secret = concat!("sk-", "ant-api03-", "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGhIjKlMn-AbCdEfAA");
        let whole = format!("{before} {secret} {after}");
        let mut mask = mask(Action::Redact);
        let (mut out, mut from) = (Vec::new(), 0);
        for cut in cuts.iter().cycle() {
            if from >= whole.len() { break; }
            let to = (from + cut).min(whole.len());
            out.extend(send(&mut mask, &chunk(&whole[from..to])));
            from = to;
        }
        out.extend(mask.finish());
        let text = text(&out);
        prop_assert!(!text.contains("AbCdEfGhIjKl"), "{}", text);
        prop_assert!(text.starts_with(before.as_str()) && text.ends_with(after.as_str()), "{}", text);
        prop_assert_eq!(mask.coverage(), (whole.len() as u64, 0));
    }
}

/// Values of several words and of one, whose parts must not go before they are whole.
const VALUES: [&str; 19] = [
    "ann.lee@example.com",
    "ann at example dot com",
    "Ann.Lee [at] mail [dot] example [dot] com",
    "ann (at) example.com",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "5 5 0 0 0 0 5 5 5 5 5 5 5 5 5 9",
    "378282 246310005",
    "DE89 3704 0044 0532 0130 00",
    "GB29 NWBK 6016 1331 9268 19",
    "+49 (0)30 1234 5678",
    "(415) 555-2671",
    "415 555 2671 ext. 123",
    "ssn 078 05 1120",
    "password: \"correct horse battery 9 staple\"",
    "password is hunter2!x",
    "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIODVq\nzzzz\n-----END EC PRIVATE KEY-----",
    "V3JpdGUgdG8gdGhlIGhhcmJvdXIgbWFzdGVyIG5vdywgYW5uLmxlZUBleGFtcGxl\nLmNvbSBvciB0byBub2JvZHk=",
    "аnn аt еxample dоt cоm",
];

/// What stands around them.
const WORDS: [&str; 24] = [
    "the",
    "at",
    "a",
    "dot",
    "in",
    "2024",
    "3.5",
    "12:30",
    "call",
    "card",
    "phone:",
    "iban",
    "\"quoted",
    "words\"",
    "(maybe)",
    "-",
    "**bold**",
    "AB",
    "is",
    "well-known",
    "1",
    "x9",
    "=",
    "\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// What comes out of a stream is what would come out of the whole text, wherever it is cut.
    #[test]
    fn a_stream_is_masked_as_its_whole_text_is(
        parts in proptest::collection::vec((0_usize..WORDS.len() + 6, any::<proptest::sample::Index>()), 1..14),
        cuts in proptest::collection::vec(1_usize..9, 1..20),
    ) {
        let text_of = |(word, value): &(usize, proptest::sample::Index)| {
            WORDS.get(*word).copied().unwrap_or(VALUES[value.index(VALUES.len())])
        };
        let whole = parts.iter().map(text_of).collect::<Vec<_>>().join(" ");
        prop_assume!(whole.len() < CONTEXT_BYTES);
        let mut mask = mask(Action::Redact);
        let (mut out, mut from) = (Vec::new(), 0);
        for cut in cuts.iter().cycle() {
            if from >= whole.len() { break; }
            let to = whole.ceil_char_boundary((from + cut).min(whole.len()));
            out.extend(send(&mut mask, &chunk(&whole[from..to])));
            from = to;
        }
        out.extend(mask.finish());
        let expected = edited(&whole, &Warden::guard().text_edits(&whole));
        prop_assert_eq!(text(&out), expected, "{:?}", whole);
    }
}
