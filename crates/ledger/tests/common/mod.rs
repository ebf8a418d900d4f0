//! What the comparisons with other implementations share.

use std::path::Path;

use journal::Record;
use proptest::prelude::*;
use watchkeeper_ledger::{Ledger, LogKey, SignedNote, SigningKey};

/// A ledger over made-up records, sealed at each of the sizes.
pub(crate) fn sealed(dir: &Path, sizes: &[u64]) -> LogKey {
    let key = LogKey::generate("test.example/log").unwrap();
    let text = key.to_text();
    let mut ledger = Ledger::open(dir, LogKey::from_text(&text).unwrap()).unwrap();
    for size in sizes {
        for seq in ledger.size()..*size {
            let record = Record {
                seq: journal::Seq(seq),
                event_json: format!("{{\"kind\":\"gap\",\"time\":{seq},\"observed\":{seq}}}").into_bytes(),
                commitment_key: [5; 32],
                blind: [6; 16],
                contents: Vec::new(),
            };
            ledger.append(&record).unwrap();
        }
        ledger.seal(event::Timestamp::now()).unwrap().unwrap();
    }
    key
}

/// Notes by the key and by strangers, most of them changed in one place.
pub(crate) fn broken_note(key: &SigningKey) -> impl Strategy<Value = Vec<u8>> + use<> {
    let key = SigningKey::from_text(&key.to_text()).unwrap();
    let line = prop_oneof![Just(String::new()), "[ -~]{1,20}", "\u{2014} [a-z+ ]{1,9} [A-Za-z0-9+/=]{0,12}"];
    let text = proptest::collection::vec(line, 1..5).prop_map(|lines| lines.join("\n") + "\n");
    let stranger = prop_oneof![
        1 => "\u{2014} [a-z.+\u{a0}\u{2028}]{0,6} [A-Za-z0-9+/]{8}\n",
        1 => "\u{2014} [a-z.]{1,6} [A-Za-z0-9+/=]{5,9}\n",
        2 => "\u{2014} [a-z.]{1,6} AAAAAA[A-Za-z0-9+/]{6}\n",
        2 => Just(String::new()),
    ];
    let piece = prop_oneof![
        Just("\n"),
        Just("\n\n"),
        Just(" "),
        Just("\u{2014} "),
        Just("="),
        Just("A"),
        Just("\r"),
        Just("\t"),
        Just("\u{85}"),
        Just("+")
    ];
    let change = prop_oneof![
        2 => Just(None),
        3 => (any::<prop::sample::Index>(), prop::option::of(any::<u8>()), prop::option::of(piece)).prop_map(Some),
    ];
    (text, stranger.clone(), stranger, 0..3_usize, change).prop_map(move |(text, before, behind, times, change)| {
        let own = key.sign(&text, 0).unwrap().line().repeat(times);
        let mut note = format!("{text}\n{before}{own}{behind}").into_bytes();
        if let Some((place, byte, piece)) = change {
            let place = place.index(note.len());
            if let Some(byte) = byte {
                note[place] = byte;
            }
            if let Some(piece) = piece {
                note.splice(place..place, piece.bytes());
            }
        }
        note
    })
}

/// The differences that the record format documents: base64 has one right form for us, and every signature line by a
/// known key must be good, not the first one alone.
pub(crate) fn only_ours_refuses(note: &[u8]) -> bool {
    let text = String::from_utf8_lossy(note);
    let lines = text.rsplit_once("\n\n").map_or("", |(_, lines)| lines);
    let loose = lines.lines().any(|line| {
        let base64 = line.rsplit(' ').next().unwrap_or_default();
        // Unused bits of the last character that are not zero.
        let strict = |text: &str| SignedNote::parse(format!("t\n\n\u{2014} a {text}\n").as_bytes()).is_ok();
        base64.len() >= 8 && base64.len() % 4 == 0 && !strict(base64)
    });
    let mut names: Vec<&str> = lines.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    names.sort_unstable();
    let repeated = names.windows(2).any(|pair| pair[0] == pair[1]);
    loose || repeated
}
