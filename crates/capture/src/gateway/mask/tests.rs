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
fn a_text_that_is_over_does_not_hold_the_next() {
    let policy = Policy { answers: Action::Redact, ..Policy::default() };
    let mut mask = Mask::new(Warden::guard(), Arc::new(policy), Frame::ServerSent, &["delta.text", "delta.thinking"]);
    let of = |index: u32, key: &str, text: &str| {
        serde_json::json!({"type": "content_block_delta", "index": index, "delta": {"type": format!("{key}_delta"), key: text}})
            .to_string()
    };
    let mut out = send(&mut mask, &of(0, "thinking", "Ask ann at example"));
    out.extend(send(&mut mask, &of(0, "thinking", " dot com")));
    assert!(out.is_empty());
    out.extend(send(&mut mask, r#"{"type":"content_block_stop","index":0}"#));
    assert_eq!(out.len(), 3, "{out:?}");
    out.extend(send(&mut mask, &of(1, "text", "Well, ")));
    out.extend(send(&mut mask, &of(1, "text", "here ")));
    assert_eq!(out.len(), 4, "{out:?}");
    let seen = String::from_utf8(out.concat()).unwrap();
    assert!(seen.contains("<EMAIL:") && !seen.contains("example dot"), "{seen}");
}

#[test]
fn an_answer_does_not_wait_for_thoughts_that_ended_without_a_word() {
    let policy = Policy { answers: Action::Redact, ..Policy::default() };
    let deltas = &["choices[].delta.content", "choices[].delta.reasoning_content"];
    let mut mask = Mask::new(Warden::guard(), Arc::new(policy), Frame::ServerSent, deltas);
    let of = |name: &str, text: &str| serde_json::json!({"choices": [{"index": 0, "delta": {name: text}}]}).to_string();
    let mut out = send(&mut mask, &of("reasoning_content", "they want it in one word"));
    for _ in 0..40 {
        out.extend(send(&mut mask, &of("content", "so it is, ")));
    }
    let seen = String::from_utf8(out.concat()).unwrap();
    assert!(seen.contains("one word") && seen.matches("so it is, ").count() > 35, "{seen}");
}

#[test]
fn two_answers_that_come_in_turns_are_masked_each() {
    let mut mask = mask(Action::Redact);
    let of = |index: u32, text: &str| serde_json::json!({"choices": [{"index": index, "delta": {"content": text}}]}).to_string();
    let (first, second) =
        ("Please write to ann.lee@example.com today, and so on.", "It was 4111 1111 1111 1111 as far as they know.");
    let mut out = Vec::new();
    for at in 0..first.len().max(second.len()) {
        for (index, whole) in [(0, first), (1, second)] {
            out.extend(send(&mut mask, &of(index, whole.get(at..=at).unwrap_or_default())));
        }
    }
    out.extend(mask.finish());
    let text = text(&out);
    assert!(text.contains("<EMAIL:") && text.contains("<CREDIT_CARD:"), "{text}");
    assert!(!text.contains("lee@") && !text.contains("1111"), "{text}");
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
const VALUES: &[&str] = &[
    "ann.lee@example.com",
    "ann at example dot com",
    "Ann.Lee [at] mail [dot] example [dot] com",
    "ann (at) example.com",
    "ann  [at]  example (dot) co (dot) uk",
    "ANN AT EXAMPLE DOT COM",
    "ann[at] example.com",
    "ann [at]example[dot]com",
    "7 at 3com dot com",
    "ann at well-known dot co dot uk",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "4111 - 1111 - 1111 - 1111",
    "4111 1111-1111 1111",
    "5 5 0 0 0 0 5 5 5 5 5 5 5 5 5 9",
    "378282 246310005",
    "DE89 3704 0044 0532 0130 00",
    "de89-3704.0044 0532 0130 00",
    "GB29 NWBK 6016 1331 9268 19",
    "gb29 nwbk 6016 1331 9268 19",
    "+49 (0)30 1234 5678",
    "+ 49 30 1234 5678",
    "(+49) 170 1234567",
    "0049 151 23456789",
    "(415) 555-2671",
    "415 555 2671 ext. 123",
    "415 555 2671 x12",
    "415-555-2671 extension 12",
    "030 / 1234 567",
    "01 23 45 67 89",
    "98765 43210",
    "ssn 078 05 1120",
    "password: \"correct horse battery 9 staple\"",
    "password: **\"correct horse battery 9\"**",
    "password:\" correct horse battery 9\"",
    "{\"password\":\" correct horse battery\"}",
    "password := 'correct horse battery 9'",
    "password => `correct horse battery 9`",
    "**password:** \"correct horse battery\"",
    "\\\"password\\\": \\\"correct horse battery\\\"",
    "password is \"correct horse battery 9\"",
    "password was 'correct horse 9'",
    "passphrase is now \"correct horse 9\"",
    "--password \"correct horse 9\"",
    "--password hunter2!x",
    "password is hunter2!x",
    "secret = \"abcdefg1\nhijklmn2\"",
    "Authorization: Bearer AbCdEfGh123456789",
    "AKIAIOSFODNNEXAMPLE wJalrXUtnFEMIbK7MDENGbPxRfiCYEXAMPLEKEYx",
    "cvv is 123",
    "203.0.113.9",
    "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIODVq\nzzzz\n-----END EC PRIVATE KEY-----",
    "V3JpdGUgdG8gdGhlIGhhcmJvdXIgbWFzdGVyIG5vdywgYW5uLmxlZUBleGFtcGxl\nLmNvbSBvciB0byBub2JvZHk=",
    "аnn аt еxample dоt cоm",
    "Mr. Ann Smith",
    "my name is Ann van der Berg",
    "Name: Ann Smith",
    "Full name: Jürgen Müller",
    "Dear Ann",
    "born on 12 March 1980",
    "DOB: 12. März 1980",
    "12 Main Street, Springfield, IL 62704",
    "10 Downing Street, London SW1A 2AA",
    "12 rue de la Paix, 75002 Paris",
    "Musterstraße 12, 10115 Berlin",
    "Lange Straße 12, 10115 Berlin",
    "Calle Mayor 12, 28013 Madrid",
    "Address: 221B Baker Street, London NW1 6XE",
    "NHS number 943 476 5919",
    "AB 12 34 56 C",
    "RSS MRA 85T10 A562S",
    "65 180539 W 001",
    "12.345.678 Z",
    "DE 136 695 976",
    "BE 0123.456.749",
    "1 85 05 78 006 084 36",
    "529.982.247-25",
    "passport number X1234567",
    "license plate AB 123 CD",
    "account number: 1234 5678 90",
    "diagnosis: diabetes (E11.9)",
    "exp 12 / 26",
    "51.5074, -0.1278",
    "Cookie: sid=abc123def456ghi7; theme=dark",
    "login ann password s3cr3tpw",
];

/// What stands around them.
const WORDS: &[&str] = &[
    ".",
    ",",
    ";",
    "!",
    "?",
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
    "'",
    "\"",
    "`code",
    "code`",
    "«mot»",
    "~",
    "|",
    ">",
    "€5",
    "١٢",
    "ext",
    "to",
    "password",
    "password:",
    "AT",
    "att",
    "atlas",
    "dotted",
    "**\"",
    "ａｔ",
    "ｗｏｒｄｓ",
    "é",
    "über",
    "00",
    "+",
    "(",
    ")",
    "[at]",
    "1,000",
    "example.com",
];

/// What a letter or a space of a text may be written as: by letter, what it is written as.
const SPELLINGS: &[(char, &str)] = &[
    (' ', "\u{a0}"),
    (' ', "  "),
    (' ', "\n"),
    (' ', "%20"),
    (' ', "&#32;"),
    (' ', "\u{3000}"),
    (' ', " \u{200b}"),
    (' ', "\u{200b} "),
    (' ', "\t"),
    ('a', "ａ"),
    ('a', "%61"),
    ('a', "&#97;"),
    ('a', "\\u0061"),
    ('a', "a\u{ad}"),
    ('a', "\u{200b}a"),
    ('a', "𝐚"),
    ('t', "ｔ"),
    ('t', "&#116;"),
    ('t', "t\u{200b}"),
    ('d', "d\u{ad}"),
    ('o', "%6f"),
    ('o', "o\u{200b}"),
    ('x', "&#120;"),
    ('x', "x\u{200b}"),
    ('s', "&#115;"),
    ('i', "ｉ"),
    ('i', "i\u{ad}"),
    ('1', "１"),
    ('1', "&#49;"),
    ('1', "1\u{200b}"),
    ('5', "٥"),
    ('-', "–"),
    ('.', "&#46;"),
    ('.', "%2e"),
    ('"', "&#34;"),
    ('"', "＂"),
    ('"', "\\\""),
    ('"', "'"),
    ('"', "`"),
    (':', "："),
    (':', "="),
    (':', ":\u{200b}"),
    ('"', "\u{200b}\""),
    ('(', "（"),
    ('[', "&#91;"),
    ('\u{2b}', "＋"),
];

/// The text with some of its letters spelled otherwise.
fn respelled(text: &str, spellings: &[(usize, proptest::sample::Index)]) -> String {
    let mut text = text.to_owned();
    for (spelling, place) in spellings {
        let Some((letter, written)) = SPELLINGS.get(*spelling) else { continue };
        let places: Vec<usize> = text.match_indices(*letter).map(|(at, _)| at).collect();
        if !places.is_empty() {
            let at = places[place.index(places.len())];
            text.replace_range(at..at + letter.len_utf8(), written);
        }
    }
    text
}

/// What comes out of a stream that is cut so.
fn streamed(whole: &str, cuts: &[usize]) -> String {
    let mut mask = mask(Action::Redact);
    let (mut out, mut from) = (Vec::new(), 0);
    for cut in cuts.iter().cycle() {
        if from >= whole.len() {
            break;
        }
        let to = whole.ceil_char_boundary((from + cut).min(whole.len()));
        out.extend(send(&mut mask, &chunk(&whole[from..to])));
        from = to;
    }
    out.extend(mask.finish());
    text(&out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// What comes out of a stream is what would come out of the whole text, wherever it is cut.
    #[test]
    fn a_stream_is_masked_as_its_whole_text_is(
        parts in proptest::collection::vec((0_usize..WORDS.len() + WORDS.len() / 3, any::<proptest::sample::Index>()), 1..10),
        cuts in proptest::collection::vec(1_usize..9, 1..20),
        spellings in proptest::collection::vec((0_usize..SPELLINGS.len() * 3, any::<proptest::sample::Index>()), 0..5),
    ) {
        let text_of = |(word, value): &(usize, proptest::sample::Index)| {
            WORDS.get(*word).copied().unwrap_or(VALUES[value.index(VALUES.len())])
        };
        let whole = respelled(&parts.iter().map(text_of).collect::<Vec<_>>().join(" "), &spellings);
        prop_assume!(whole.len() < CONTEXT_BYTES);
        let edits = Warden::guard().text_edits(&whole);
        // Longer phrases than the window in quotes are known to go in parts.
        prop_assume!(!edits.iter().any(|edit| edit.end - edit.start > OVERLAP_BYTES && whole[edit.start..edit.end].contains(' ')));
        let expected = edited(&whole, &edits);
        prop_assert_eq!(streamed(&whole, &cuts), expected, "{:?}", whole);
    }
}
