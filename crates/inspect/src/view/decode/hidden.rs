//! What characters say that nobody sees: Unicode tags, variation selectors, zero-width characters.

use super::{AMID_BYTES_MIN, Decoded, Decoder, Joined, Texts};
use crate::view::{Spans, ViewKind};

/// Shortest text in tag characters.
const TAGS_MIN: usize = 4;
/// Fewest zero-width bits: eight characters of ASCII.
const BITS_MIN: usize = 64;

/// The texts that are hidden in a text.
pub(super) fn hidden(text: &str, decoder: &mut Decoder) -> Vec<Decoded> {
    [tags(text, decoder), selectors(text, decoder), zero_width(text, decoder)].into_iter().flatten().collect()
}

/// The text that Unicode tag characters spell: ASCII, invisible to people.
fn tags(text: &str, decoder: &mut Decoder) -> Option<Decoded> {
    if !text.as_bytes().windows(2).any(|pair| pair == [0xf3, 0xa0]) {
        return None;
    }
    let mut out = String::new();
    let mut spans = Spans::default();
    for (at, character) in text.char_indices() {
        if let '\u{e0020}'..='\u{e007e}' = character
            && let Some(said) = char::from_u32(character as u32 - 0xe0000)
        {
            spans.whole(out.len(), at..at + character.len_utf8());
            out.push(said);
        }
    }
    (out.len() >= TAGS_MIN && decoder.takes(out.len(), 4 * out.len())).then_some((ViewKind::Tags, out, spans))
}

/// The bytes that variation selectors spell, the 256 of them in their order.
fn selectors(text: &str, decoder: &mut Decoder) -> Option<Decoded> {
    let byte = |character: char| match character {
        '\u{fe00}'..='\u{fe0f}' => u8::try_from(character as u32 - 0xfe00).ok(),
        '\u{e0100}'..='\u{e01ef}' => u8::try_from(character as u32 - 0xe0100 + 16).ok(),
        _ => None,
    };
    let mut joined = Joined::default();
    let mut open: Option<(usize, usize, Vec<u8>)> = None;
    for (at, character) in text.char_indices().chain([(text.len(), ' ')]) {
        match (byte(character), &mut open) {
            (Some(byte), Some((_, end, bytes))) => {
                bytes.push(byte);
                *end = at + character.len_utf8();
            }
            (Some(byte), None) => open = Some((at, at + character.len_utf8(), vec![byte])),
            (None, _) => {
                if let Some((start, end, bytes)) = open.take().filter(|(_, _, bytes)| bytes.len() >= TAGS_MIN)
                    && let Texts::Whole(said) = Texts::of(&bytes)
                {
                    joined.push(&said, start..end, decoder);
                }
            }
        }
    }
    joined.finish(ViewKind::VariationSelectors)
}

/// The bits that two sorts of zero-width characters spell, whichever of the two is the one.
fn zero_width(text: &str, decoder: &mut Decoder) -> Option<Decoded> {
    const SIGNS: [char; 5] = ['\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}'];
    let index = |character: char| SIGNS.iter().position(|&sign| sign == character);
    let mut counts = [0_usize; SIGNS.len()];
    text.chars().filter_map(index).for_each(|sign| counts[sign] += 1);
    // The two that are there most often are the bits; others part them.
    let mut order: [usize; SIGNS.len()] = std::array::from_fn(|sign| sign);
    order.sort_by_key(|&sign| std::cmp::Reverse(counts[sign]));
    if counts[order[0]] + counts[order[1]] < BITS_MIN {
        return None;
    }
    let (mut bits, mut start, mut end) = (Vec::new(), text.len(), 0);
    for (at, character) in text.char_indices() {
        if let Some(sign) = index(character)
            && (sign == order[0] || sign == order[1])
        {
            start = start.min(at);
            end = at + character.len_utf8();
            bits.push(sign == order[0]);
        }
    }
    for one in [true, false] {
        let bytes: Vec<u8> =
            bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |value, &bit| value << 1 | u8::from(bit == one))).collect();
        if let Texts::Whole(said) = Texts::of(&bytes)
            && said.len() >= AMID_BYTES_MIN / 2
        {
            let mut joined = Joined::default();
            joined.push(&said, start..end, decoder);
            return joined.finish(ViewKind::ZeroWidth);
        }
    }
    None
}
