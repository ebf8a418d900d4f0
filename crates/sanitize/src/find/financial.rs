//! Wallets of crypto currencies.

use super::context::{Near, Topic};
use super::{Hint, Match, begins, ends};
use crate::SensitiveType as Kind;
use crate::checksum::{base58, base58_check, bech32, erc55};

/// Longest address: Monero's with a payment id has 106 characters.
const WALLET_BYTES_MAX: usize = 110;
/// Most letters before the first digit: an address of Solana is random, and `cosmos1...` is shorter.
const LEADING_MAX: usize = 32;
/// Human-readable parts of addresses in bech32 (SLIP-173).
const READABLE: [&[u8]; 11] =
    [b"bc", b"tb", b"ltc", b"addr", b"stake", b"cosmos", b"osmo", b"nosmo", b"inj", b"celestia", b"bcrt"];

/// The address whose first digit is at `digit`. Returns where it ends.
pub(super) fn wallet(text: &str, digit: usize, hint: Hint<'_>, found: &mut Vec<Match>) -> Option<usize> {
    let bytes = text.as_bytes();
    let letters = bytes[..digit].iter().rev().take(LEADING_MAX + 1).take_while(|b| b.is_ascii_alphabetic()).count();
    let letters = letters - usize::from(letters > 0 && super::is_escape(bytes, digit - letters));
    let start = digit - letters;
    if !begins(bytes, start) {
        return None;
    }
    let len = bytes[start..].iter().take(WALLET_BYTES_MAX + 1).take_while(|b| b.is_ascii_alphanumeric()).count();
    let end = start + len;
    if !ends(bytes, end) {
        return None;
    }
    let run = &bytes[start..end];
    let mixed = || run.iter().any(u8::is_ascii_uppercase) && run.iter().any(u8::is_ascii_lowercase);
    let is_wallet = match run {
        [b'0', b'x' | b'X', hex @ ..] if len == 42 => hex.iter().all(u8::is_ascii_hexdigit) && hex.iter().any(|b| *b != hex[0]),
        // the same without its head, where its case is a checksum: a hash has none
        hex if len == 40 && hex.iter().all(u8::is_ascii_hexdigit) => mixed() && erc55(hex),
        // Bitcoin, Litecoin, Dogecoin, Tron
        [b'1' | b'3' | b'L' | b'M' | b'D' | b'T' | b'A', ..] if (26..=35).contains(&len) => {
            mixed() && base58_check(run).is_some_and(|payload| payload.len() == 21)
        }
        // Monero: no checksum that is quick, but a length that nothing else has
        [b'4' | b'8', ..] if matches!(len, 95 | 106) => mixed() && !run.iter().any(|b| matches!(b, b'0' | b'O' | b'I' | b'l')),
        // keys of Bitcoin, alone and of hierarchies, are of the kind of private keys
        [b'5' | b'K' | b'L', ..] if matches!(len, 51 | 52) && base58_check(run).is_some() => {
            push(text, start, end, Kind::PrivateKey, found);
            return Some(end);
        }
        _ => is_bech32(run) || is_solana(run) && Near::before(bytes, start, hint).speaks_of(Topic::Wallet),
    };
    is_wallet.then(|| push(text, start, end, Kind::Crypto, found))?;
    Some(end)
}

/// An address of Solana: a key of 32 bytes in Base58, without a checksum.
fn is_solana(run: &[u8]) -> bool {
    const KEY_BYTES: usize = 32;
    let is_mixed = || run.iter().any(u8::is_ascii_uppercase) && run.iter().any(u8::is_ascii_lowercase);
    (32..=44).contains(&run.len()) && is_mixed() && base58(run).is_some_and(|key| key.len() == KEY_BYTES)
}

fn is_bech32(run: &[u8]) -> bool {
    /// The shortest address in use has a program of twenty bytes: 32 letters, and a checksum of six.
    const BYTES_MIN: usize = 40;
    let lower = run.to_ascii_lowercase();
    let readable = READABLE.iter().any(|head| lower.strip_prefix(*head).is_some_and(|rest| rest.first() == Some(&b'1')));
    run.len() >= BYTES_MIN && readable && (lower == run || run.iter().all(|b| !b.is_ascii_lowercase())) && bech32(&lower)
}

fn push(text: &str, start: usize, end: usize, kind: Kind, found: &mut Vec<Match>) {
    if let Some(raw) = text.get(start..end) {
        // the case of hexadecimal and of bech32 says nothing of the address
        let folds = kind == Kind::Crypto && (raw.starts_with("0x") || raw.bytes().all(|b| !b.is_ascii_lowercase()));
        found.push(Match::new(start, end, kind, if folds { raw.to_ascii_lowercase() } else { raw.to_owned() }));
    }
}
