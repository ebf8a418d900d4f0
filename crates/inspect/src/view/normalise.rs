//! The normalised view: NFKC, lower case, no diacritics on Latin letters, no invisible characters, one white space
//! where there were many, plain quotes and dashes.

use unicode_normalization::char::{canonical_combining_class, is_combining_mark};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

use super::Spans;

/// Combining marks taken into account after one letter; more is decoration ("zalgo") and dropped.
const MARKS_MAX: usize = 8;

/// Normalises a text. White space becomes one space, or one line feed where it contained one.
pub(crate) fn normalise(text: &str) -> (String, Spans) {
    normalised(text, Case::Lower)
}

/// The normalised text with its capitals, for what capitals mean something to: encodings. `None` where it would differ in
/// nothing that could be a part of one.
pub(crate) fn folded(text: &str) -> Option<(String, Spans)> {
    let hides =
        |character| is_ignorable(character) || !character.is_ascii() && character.nfkc().any(|plain| plain.is_ascii_graphic());
    (!text.is_ascii() && text.chars().any(hides)).then(|| normalised(text, Case::Kept))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Lower,
    Kept,
}

fn normalised(text: &str, case: Case) -> (String, Spans) {
    let mut out = String::with_capacity(text.len());
    let mut spans = Spans::default();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if is_plain(bytes, at) {
            let start = at;
            while at < bytes.len() && is_plain(bytes, at) {
                at += 1;
            }
            spans.linear(out.len(), start);
            let from = out.len();
            out.push_str(&text[start..at]);
            if case == Case::Lower
                && let Some(added) = out.get_mut(from..)
            {
                added.make_ascii_lowercase();
            }
            continue;
        }
        let stable = stable_run(&text[at..]);
        if stable > 0 {
            spans.linear(out.len(), at);
            out.push_str(&text[at..at + stable]);
            at += stable;
            continue;
        }
        let Some(character) = text[at..].chars().next() else { break };
        if is_ignorable(character) {
            at += character.len_utf8();
        } else if character.is_whitespace() {
            at = white_space(text, at, &mut out, &mut spans);
        } else {
            at = cluster(text, at, character, case, &mut out, &mut spans);
        }
    }
    (out, spans)
}

/// Characters that show nothing: zero-width, directional, tag, variation selectors, fillers, controls.
fn is_ignorable(character: char) -> bool {
    match character {
        '\t' | '\n' | '\x0b' | '\x0c' | '\r' | '\u{85}' => false,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' => true,
        _ if character < '\u{ad}' => false,
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    }
}

/// Visible ASCII, and a single space before it: copied as it is, in lower case.
fn is_plain(bytes: &[u8], at: usize) -> bool {
    match bytes[at] {
        0x21..=0x7e => true,
        b' ' => bytes.get(at + 1).is_some_and(|next| (0x21..=0x7e).contains(next)),
        _ => false,
    }
}

/// Bytes of letters at the start of `text` that are normalised already and no Latin: most of a Chinese, Japanese, Korean
/// or Russian text, which is not looked up character by character.
fn stable_run(text: &str) -> usize {
    let mut last = 0;
    for (at, character) in text.char_indices() {
        let stable = matches!(character, '\u{430}'..='\u{44f}' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}');
        if !stable {
            // The letter before may take a mark that follows it, unless what follows is ASCII.
            return if character.is_ascii() { at } else { last };
        }
        last = at;
    }
    text.len()
}

fn white_space(text: &str, start: usize, out: &mut String, spans: &mut Spans) -> usize {
    let mut end = start;
    let mut line_end = false;
    for character in text[start..].chars() {
        if !character.is_whitespace() && !is_ignorable(character) {
            break;
        }
        line_end |= matches!(character, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
        end += character.len_utf8();
    }
    spans.whole(out.len(), start..end);
    out.push(if line_end { '\n' } else { ' ' });
    end
}

/// One letter with its combining marks.
fn cluster(text: &str, start: usize, character: char, case: Case, out: &mut String, spans: &mut Spans) -> usize {
    let mut end = start + character.len_utf8();
    if is_combining_mark(character) && out.as_bytes().last().is_some_and(u8::is_ascii_alphanumeric) {
        return end; // a mark on a Latin letter: folded away, like the precomposed one
    }
    if canonical_combining_class(character) != 0 && out.as_bytes().last().is_some_and(u8::is_ascii_whitespace) {
        return end; // a mark on a gap between words: decoration
    }
    let base_end = end;
    let mut marks = 0;
    for mark in text[end..].chars() {
        if canonical_combining_class(mark) == 0 {
            break;
        }
        marks += 1;
        end += mark.len_utf8();
    }
    let at = out.len();
    if marks == 0 && is_nfkc_quick(std::iter::once(character)) == IsNormalized::Yes {
        let mut lower = character.to_lowercase();
        if lower.len() == 1 && lower.next() == Some(character) && plain_form(character).is_none() {
            spans.linear(at, start);
            out.push(character);
            return end;
        }
        push_case(character, case, out);
    } else {
        let kept: usize = text[base_end..end].chars().take(MARKS_MAX).map(char::len_utf8).sum();
        for normal in text[start..base_end + kept].nfkc() {
            push_case(normal, case, out);
        }
    }
    if out.len() > at {
        spans.whole(at, start..end);
    }
    end
}

fn push_case(character: char, case: Case, out: &mut String) {
    match case {
        Case::Lower => character.to_lowercase().for_each(|lower| push_plain(lower, out)),
        Case::Kept => push_plain(character, out),
    }
}

fn push_plain(character: char, out: &mut String) {
    if is_combining_mark(character) && out.as_bytes().last().is_some_and(u8::is_ascii_alphanumeric) {
        return;
    }
    match plain_form(character) {
        Some(plain) => out.push_str(plain.as_str()),
        None => out.push(character),
    }
}

/// One or two ASCII characters that stand for another one.
struct Plain([u8; 2]);

impl Plain {
    fn as_str(&self) -> &str {
        let length = if self.0[1] == 0 { 1 } else { 2 };
        std::str::from_utf8(&self.0[..length]).unwrap_or_default()
    }
}

/// The Latin letter as far into the alphabet as `character` is from `first`.
fn letter(character: char, first: char) -> Option<Plain> {
    let nth = u8::try_from(character as u32 - first as u32).ok()?;
    Some(Plain([b'a' + nth, 0]))
}

/// Latin letters without their diacritics, typographic quotes and dashes as ASCII.
fn plain_form(character: char) -> Option<Plain> {
    let one = |byte| Some(Plain([byte, 0]));
    match character {
        '\u{2018}'..='\u{201b}' | '\u{2032}' | '`' | '\u{b4}' => one(b'\''),
        '\u{201c}'..='\u{201f}' | '«' | '»' | '\u{2033}' => one(b'"'),
        '\u{2010}'..='\u{2015}' | '\u{2212}' => one(b'-'),
        'ß' => Some(Plain(*b"ss")),
        'æ' => Some(Plain(*b"ae")),
        'œ' => Some(Plain(*b"oe")),
        'ø' => one(b'o'),
        'đ' | 'ð' => one(b'd'),
        'ł' => one(b'l'),
        'ı' => one(b'i'),
        // Letters in filled circles and squares, and those that flags are made of: NFKC leaves them.
        '\u{1f150}'..='\u{1f169}' => letter(character, '\u{1f150}'),
        '\u{1f170}'..='\u{1f189}' => letter(character, '\u{1f170}'),
        '\u{1f1e6}'..='\u{1f1ff}' => letter(character, '\u{1f1e6}'),
        '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => {
            let base = std::iter::once(character).nfd().next()?;
            u8::try_from(base).ok().filter(u8::is_ascii_alphabetic).and_then(|byte| one(byte.to_ascii_lowercase()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Layers, ViewKind};
    use super::*;

    #[test]
    fn what_looks_alike_reads_alike() {
        for (given, plain) in [
            ("Ignore  ALL\tprevious", "ignore all previous"),
            ("ig\u{200b}no\u{2060}re", "ignore"),
            ("ｉｇｎｏｒｅ", "ignore"),
            ("𝐢𝐠𝐧𝐨𝐫𝐞", "ignore"),
            ("i\u{336}g\u{336}n\u{336}ore", "ignore"),
            ("a\u{301}\u{336} \u{301}\u{336}b\u{316}", "a b"),
            ("précédentes Straße", "precedentes strasse"),
            ("e\u{301}tat", "etat"),
            ("“quoted” — it’s", "\"quoted\" - it's"),
            ("one \r\n\r\n two", "one\ntwo"),
            ("Игнорируй ЙОД", "игнорируй йод"),
            ("以前の指示を無視", "以前の指示を無視"),
            ("\u{e0049}\u{e0047}x", "x"),
            ("🅸🅖🅝🅞🅡🅔 🇮🇬🇳🇴🇷🇪 🄸🅶", "ignore ignore ig"),
            ("ISTANBUL İstanbul ISPARTA ısparta", "istanbul istanbul isparta isparta"),
            ("ẞ ß ﬁle ſet K", "ss ss file set k"),
            ("и\u{306}та か\u{3099}", "йта が"),
            ("漢字ﾃｽﾄ。", "漢字テスト。"),
            ("", ""),
        ] {
            assert_eq!(normalise(given).0, plain, "{given:?}");
        }
    }

    #[test]
    fn capitals_are_kept_where_they_mean_something() {
        assert_eq!(folded("SWdu\u{200b}b3Jl ＳＷｄｕ").unwrap().0, "SWdub3Jl SWdu");
        assert!(folded("Οδός 図書館 plain").is_none());
        assert!(folded("plain").is_none());
    }

    proptest! {
        #[test]
        fn any_span_maps_back_into_the_text(text in "\\PC{0,60}", start in 0usize..80, length in 1usize..20) {
            let (plain, spans) = normalise(&text);
            let mut layers = Layers::new(&text);
            let start = plain.floor_char_boundary(start.min(plain.len()));
            let end = plain.floor_char_boundary((start + length).min(plain.len()));
            let layer = layers.push(0, ViewKind::Normalised, plain, spans);
            if start < end {
                let (from, to) = layers.to_window(layer, start, end);
                prop_assert!(from <= to && text.get(from..to).is_some());
            }
        }
    }
}
