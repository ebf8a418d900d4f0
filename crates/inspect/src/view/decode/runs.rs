//! Encoded runs: base64, base32, hex, binary, character codes and Morse, taken out of the text.

use std::ops::Range;

use super::{Decoded, Decoder, Joined, Texts, is_wordy, pair_value, reads_as_text};
use crate::view::ViewKind;

/// Shortest run taken for base64 or base32: 24 characters of base64 say 18 bytes, three short words.
const RUN_MIN: usize = 24;
/// Shortest run of hex digits that is decoded (16 bytes).
const HEX_RUN_MIN: usize = 32;
/// Fewest groups of eight binary digits.
const BINARY_GROUPS_MIN: usize = 8;
/// Fewest separated hex pairs or character codes.
const CODES_MIN: usize = 12;
/// Shortest line of folded base64; MIME and PEM have 64 to 76 characters, people who hide something have fewer.
const FOLD_MIN: usize = 8;
/// Most characters of white space between the lines of a folded run.
const FOLD_GAP_MAX: usize = 8;
/// Lines from this length on are folded by a program, whose last line is shorter.
const LONG_LINE_MIN: usize = 60;
/// Longest padding: six of base32.
const PADDING_MAX: usize = 6;
/// Letters from which on the last line of a folded run is one.
const FOLD_TAIL_MIN: usize = 4;
/// Encoded characters that are turned to see whether a run was reversed or rotated before anything is decoded.
const PROBE_CHARACTERS: usize = 256;
/// Fewest letters of Morse.
const MORSE_LETTERS_MIN: usize = 12;

/// What the runs of a text say, by encoding.
pub(super) fn runs(text: &str, decoder: &mut Decoder) -> Vec<Decoded> {
    let mut runs = Runs {
        text,
        decoder,
        base64: Joined::default(),
        base32: Joined::default(),
        hex: Joined::default(),
        binary: Joined::default(),
        codes: Joined::default(),
    };
    runs.tokens();
    runs.series();
    let Runs { decoder, base64, base32, hex, binary, codes, .. } = runs;
    let morse = morse(text, decoder);
    let all = [
        (ViewKind::Base64, base64),
        (ViewKind::Base32, base32),
        (ViewKind::Hex, hex),
        (ViewKind::Binary, binary),
        (ViewKind::CharacterCodes, codes),
        (ViewKind::Morse, morse),
    ];
    all.into_iter().filter_map(|(kind, joined)| joined.finish(kind)).collect()
}

struct Runs<'t, 'd> {
    text: &'t str,
    decoder: &'d mut Decoder,
    base64: Joined,
    base32: Joined,
    hex: Joined,
    binary: Joined,
    codes: Joined,
}

/// A way to turn encoded letters.
type Turn = fn(&[u8]) -> Vec<u8>;

/// An encoded run: its characters, without the white space that folds it, and where they stand.
struct Run {
    letters: Vec<u8>,
    /// Where each line begins in `letters`, and in the text.
    lines: Vec<(usize, usize)>,
    /// Where the run ends in the text, with its padding.
    end: usize,
}

impl Run {
    /// The part of the text that letters stand in; to the end of the run where they are its last.
    fn place(&self, letters: Range<usize>) -> Range<usize> {
        let at = |letter: usize| {
            let line = self.lines.partition_point(|&(start, _)| start <= letter).saturating_sub(1);
            self.lines.get(line).map_or(0, |&(start, place)| place + letter - start)
        };
        let end = if letters.end >= self.letters.len() { self.end } else { at(letters.end.saturating_sub(1)) + 1 };
        at(letters.start)..end
    }
}

impl Runs<'_, '_> {
    /// Everything that is encoded without separators.
    fn tokens(&mut self) {
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if !is_token(bytes[at]) {
                at += 1;
                continue;
            }
            let start = at;
            at = token_end(bytes, start);
            let is_long = at - start >= RUN_MIN;
            if is_long || at - start >= FOLD_MIN && !is_word(&bytes[start..at]) && next_line(bytes, at, at - start).is_some() {
                let run = folded(bytes, start, at);
                if run.letters.len() >= RUN_MIN {
                    at = run.end;
                    self.run(&run);
                }
            }
        }
    }

    fn run(&mut self, run: &Run) {
        let letters = &run.letters;
        if self.binary(run) || self.hex(run) || self.base32(run) {
            return;
        }
        if !looks_like_base64(letters) {
            return;
        }
        let (skipped, texts) = best(4, |skip| base64(letters, skip));
        let is_whole = matches!(texts, Texts::Whole(_));
        let is_sure = matches!(&texts, Texts::Whole(text) if is_wordy(text) && text.contains(char::is_whitespace));
        // A text without words may be an accident of what was turned: both are read.
        let turned = !is_sure && self.turned(run);
        if is_whole || !turned && texts.bytes() > 0 {
            let bytes = base64(letters, skipped);
            let (first, after) = (|byte| skipped + byte * 4 / 3, |byte: usize| skipped + (byte * 4).div_ceil(3));
            self.keep(ViewKind::Base64, run, &bytes, texts, first, after);
        }
    }

    /// Base64 that was reversed or rotated after it was made. Tells whether it was.
    fn turned(&mut self, run: &Run) -> bool {
        let letters = &run.letters;
        let reversed: Turn = |letters| letters.iter().rev().copied().collect();
        let rotated: Turn = |letters| letters.iter().map(|&letter| rot13(letter)).collect();
        // Either end of the run is the start of what was turned.
        let last = &letters[letters.len().saturating_sub(PROBE_CHARACTERS)..];
        let first = &letters[..letters.len().min(PROBE_CHARACTERS)];
        for (turn, probe) in [(reversed, last), (rotated, first)] {
            let probe = turn(probe);
            let (skipped, texts) = best(4, |skip| base64(&probe, skip));
            if let Texts::Whole(_) = texts
                && let Texts::Whole(text) = Texts::of(&base64(&turn(letters), skipped))
            {
                let mut place = run.place(0..letters.len());
                let padding = self.text.as_bytes()[..place.start].iter().rev().take(2).take_while(|&&byte| byte == b'=').count();
                place.start -= padding; // of what was reversed
                self.base64.push(&text, place, self.decoder);
                return true;
            }
        }
        false
    }

    /// Runs of nothing but binary digits.
    fn binary(&mut self, run: &Run) -> bool {
        let letters = &run.letters;
        if letters.len() < 8 * BINARY_GROUPS_MIN || !letters.iter().all(|letter| matches!(letter, b'0' | b'1')) {
            return false;
        }
        if run.lines.get(1).is_some_and(|&(width, _)| width == 8) {
            return true; // groups of eight are a series
        }
        let bits = |skip: usize| -> Vec<u8> {
            letters[skip..].chunks_exact(8).map(|bits| bits.iter().fold(0, |value, bit| value << 1 | (bit - b'0'))).collect()
        };
        let (skipped, texts) = best(8, bits);
        let bytes = bits(skipped);
        self.keep(ViewKind::Binary, run, &bytes, texts, |byte| skipped + byte * 8, |byte| skipped + byte * 8);
        true
    }

    /// The long stretches of hex digits in a run. Tells whether there were any, and either text or most of the run.
    fn hex(&mut self, run: &Run) -> bool {
        let letters = &run.letters;
        let mut at = 0;
        let (mut found, mut covered) = (false, 0);
        while at < letters.len() {
            let length = letters[at..].iter().take_while(|letter| letter.is_ascii_hexdigit()).count();
            if length >= HEX_RUN_MIN {
                let digits = &letters[at..at + length];
                covered += length;
                let (skipped, texts) = best(2, |skip| hex(&digits[skip..]));
                if texts.bytes() > 0 {
                    found = true;
                    let from = at + skipped;
                    self.keep(
                        ViewKind::Hex,
                        run,
                        &hex(&digits[skipped..]),
                        texts,
                        |byte| from + byte * 2,
                        |byte| from + byte * 2,
                    );
                } else {
                    let turned: Vec<u8> = digits.iter().rev().copied().collect();
                    if let Texts::Whole(text) = Texts::of(&hex(&turned)) {
                        found = true;
                        self.hex.push(&text, run.place(at..at + length), self.decoder);
                    }
                }
            }
            at += length.max(1);
        }
        found || covered * 2 > letters.len()
    }

    fn base32(&mut self, run: &Run) -> bool {
        let letters = &run.letters;
        let is = |of: fn(&u8) -> bool| letters.iter().all(|letter| of(letter) || matches!(letter, b'2'..=b'7'));
        if !is(u8::is_ascii_uppercase) && !is(u8::is_ascii_lowercase) {
            return false;
        }
        let bytes = base32(letters);
        if let Texts::Whole(text) = Texts::of(&bytes) {
            self.base32.push(&text, run.place(0..letters.len()), self.decoder);
        }
        true
    }

    /// Keeps the texts of decoded bytes. `first` and `after` tell which letters a byte begins in and a span of bytes ends before.
    fn keep(
        &mut self,
        kind: ViewKind,
        run: &Run,
        bytes: &[u8],
        texts: Texts,
        first: impl Fn(usize) -> usize,
        after: impl Fn(usize) -> usize,
    ) {
        let joined = match kind {
            ViewKind::Hex => &mut self.hex,
            ViewKind::Binary => &mut self.binary,
            _ => &mut self.base64,
        };
        match texts {
            Texts::Whole(text) => {
                let end = after(bytes.len());
                let end = if end + 3 >= run.letters.len() { run.letters.len() } else { end };
                joined.push(&text, run.place(first(0)..end), self.decoder);
            }
            Texts::Amid(stretches) => {
                for stretch in stretches {
                    let place = run.place(first(stretch.start)..after(stretch.end).min(run.letters.len()));
                    joined.push(std::str::from_utf8(&bytes[stretch]).unwrap_or_default(), place, self.decoder);
                }
            }
        }
    }

    /// Bytes that stand apart, such as `69 67 6e`, `01101001 01100111` and `105, 103, 110`.
    fn series(&mut self) {
        let bytes = self.text.as_bytes();
        let mut series = [Series::new(CODES_MIN, hex_pair), Series::new(BINARY_GROUPS_MIN, octet), Series::new(CODES_MIN, code)];
        let mut joined = [&mut self.hex, &mut self.binary, &mut self.codes];
        let mut at = 0;
        while at < bytes.len() {
            if !bytes[at].is_ascii_alphanumeric() {
                at += 1;
                continue;
            }
            let start = at;
            while at < bytes.len() && bytes[at].is_ascii_alphanumeric() {
                at += 1;
            }
            // `%69`, `=69` and `\x69` are escapes, which are replaced where they stand.
            let is_escape = start > 0 && matches!(bytes[start - 1], b'%' | b'=' | b'\\');
            for (series, joined) in series.iter_mut().zip(&mut joined) {
                let said = if at - start <= 8 && !is_escape { (series.value)(&bytes[start..at]) } else { None };
                if said.is_none() || !series.goes_on(bytes, start) {
                    series.finish(joined, self.decoder);
                }
                if let Some(byte) = said {
                    series.push(byte, start, at);
                }
            }
        }
        for (series, joined) in series.iter_mut().zip(&mut joined) {
            series.finish(joined, self.decoder);
        }
    }
}

/// Bytes between the members of a series.
const SERIES_GAP_MAX: usize = 2;

struct Series {
    least: usize,
    /// What a member says.
    value: fn(&[u8]) -> Option<u8>,
    start: usize,
    end: usize,
    /// What stands between the first two members.
    first_gap: Option<Range<usize>>,
    bytes: Vec<u8>,
}

impl Series {
    fn new(least: usize, value: fn(&[u8]) -> Option<u8>) -> Self {
        Self { least, value, start: 0, end: 0, first_gap: None, bytes: Vec::new() }
    }

    /// Whether a member at `start` is parted from the last one as the first two are, or by white space.
    fn goes_on(&self, bytes: &[u8], start: usize) -> bool {
        let between = &bytes[self.end..start];
        let parted = between.len() <= SERIES_GAP_MAX && (self.first_gap.is_none() || between.iter().all(u8::is_ascii_whitespace));
        parted || self.first_gap.as_ref().is_some_and(|gap| bytes[gap.clone()] == *between)
    }

    fn push(&mut self, byte: u8, start: usize, end: usize) {
        if self.bytes.is_empty() {
            self.start = start;
        } else if self.first_gap.is_none() {
            self.first_gap = Some(self.end..start);
        }
        self.bytes.push(byte);
        self.end = end;
    }

    fn finish(&mut self, joined: &mut Joined, decoder: &mut Decoder) {
        if self.bytes.len() >= self.least
            && let Texts::Whole(text) = Texts::of(&self.bytes)
        {
            joined.push(&text, self.start..self.end, decoder);
        }
        self.bytes.clear();
        self.first_gap = None;
    }
}

fn hex_pair(token: &[u8]) -> Option<u8> {
    match token {
        [high, low] | [b'0', b'x' | b'X', high, low] | [b'x' | b'X', high, low] => pair_value(*high, *low),
        _ => None,
    }
}

fn octet(token: &[u8]) -> Option<u8> {
    let is_octet = token.len() == 8 && token.iter().all(|byte| matches!(byte, b'0' | b'1'));
    is_octet.then(|| token.iter().fold(0, |value, bit| value << 1 | (bit - b'0')))
}

fn code(token: &[u8]) -> Option<u8> {
    if token.len() > 3 || !token.iter().all(u8::is_ascii_digit) {
        return None;
    }
    u8::try_from(token.iter().fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'))).ok()
}

/// The token that begins at `start`: characters of the base64 alphabets.
fn token_end(bytes: &[u8], start: usize) -> usize {
    start + bytes[start..].iter().take_while(|&&byte| is_token(byte)).count()
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'_' | b'-')
}

/// Letters of one case, but for a capital at the start: what most long tokens are.
fn is_word(token: &[u8]) -> bool {
    token.iter().skip(1).all(u8::is_ascii_lowercase) || token.iter().all(u8::is_ascii_uppercase)
}

/// A token, and the lines that go on with it: as long as the first or, the last one, shorter.
fn folded(bytes: &[u8], start: usize, end: usize) -> Run {
    let width = end - start;
    let mut run = Run { letters: bytes[start..end].to_vec(), lines: vec![(0, start)], end };
    while let Some(line) = next_line(bytes, run.end, width) {
        // A short last line of long lines is one; of short ones only with what shows that it is no word of a sentence.
        let is_tail = line.len() < width;
        if is_tail && width < LONG_LINE_MIN && run.lines.len() == 1 && bytes.get(line.end) != Some(&b'=') {
            break;
        }
        run.lines.push((run.letters.len(), line.start));
        run.end = line.end;
        run.letters.extend_from_slice(&bytes[line]);
        if is_tail {
            break;
        }
    }
    run.end += bytes[run.end..].iter().take(PADDING_MAX).take_while(|&&byte| byte == b'=').count();
    run
}

/// The token after the white space at `end`, if it may go on with a run whose lines have `width` letters.
fn next_line(bytes: &[u8], end: usize, width: usize) -> Option<Range<usize>> {
    let gap = bytes[end..].iter().take(FOLD_GAP_MAX + 1).take_while(|byte| byte.is_ascii_whitespace()).count();
    let start = end + gap;
    let length = bytes[start..].iter().take(width + 1).take_while(|&&byte| is_token(byte)).count();
    let is_padded = length > 0 && bytes.get(start + length) == Some(&b'=');
    let fits = (1..=FOLD_GAP_MAX).contains(&gap) && length <= width && (length >= FOLD_TAIL_MIN || is_padded);
    // Words of one length do follow each other.
    let is_prose = width < RUN_MIN && length == width && is_word(&bytes[start..start + length]);
    (fits && !is_prose).then_some(start..start + length)
}

/// Words and paths use the same letters as base64, but not as mixed: of one case without digits, or with many separators.
fn looks_like_base64(token: &[u8]) -> bool {
    let count = |of: fn(&u8) -> bool| token.iter().filter(|byte| of(byte)).count();
    let (upper, lower) = (count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase));
    let separators = count(|byte| matches!(byte, b'/' | b'-' | b'_' | b'+'));
    // Text in capitals leaves hardly a small letter.
    upper > 0 && upper + separators < token.len() && lower + separators < token.len() && separators * 6 <= token.len()
}

/// The number of letters to leave out at the start, of those below `count`, with which most of a run is text.
fn best(count: usize, decode: impl Fn(usize) -> Vec<u8>) -> (usize, Texts) {
    let mut best = (0, Texts::of(&decode(0)));
    for skip in 1..count {
        if matches!(best.1, Texts::Whole(_)) {
            break;
        }
        let texts = Texts::of(&decode(skip));
        if texts.bytes() > best.1.bytes() {
            best = (skip, texts);
        }
    }
    best
}

fn hex(digits: &[u8]) -> Vec<u8> {
    digits.chunks_exact(2).filter_map(|pair| pair_value(pair[0], pair[1])).collect()
}

/// Base64 of either alphabet (RFC 4648, sections 4 and 5), without what a cut-off tail leaves of a byte.
fn base64(letters: &[u8], skip: usize) -> Vec<u8> {
    bytes_of(&letters[skip.min(letters.len())..], 6, |letter| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' | b'-' => 62,
        _ => 63,
    })
}

/// Base32 (RFC 4648, section 6) in either case.
fn base32(letters: &[u8]) -> Vec<u8> {
    bytes_of(letters, 5, |letter| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a',
        _ => letter.wrapping_sub(b'2') + 26,
    })
}

fn bytes_of(letters: &[u8], bits: u32, value: impl Fn(u8) -> u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(letters.len() * bits as usize / 8);
    let (mut held, mut width) = (0_u32, 0);
    for &letter in letters {
        held = held << bits | u32::from(value(letter));
        width += bits;
        if width >= 8 {
            width -= 8;
            bytes.push(u8::try_from(held >> width & 0xff).unwrap_or_default());
            held &= (1 << width) - 1;
        }
    }
    bytes
}

const fn rot13(letter: u8) -> u8 {
    match letter {
        b'a'..=b'm' | b'A'..=b'M' => letter + 13,
        b'n'..=b'z' | b'N'..=b'Z' => letter - 13,
        other => other,
    }
}

/// What Morse says: letters apart by a space, words by a slash, a line end or more spaces.
fn morse(text: &str, decoder: &mut Decoder) -> Joined {
    let bytes = text.as_bytes();
    let is_morse = |byte: u8| matches!(byte, b'.' | b'-' | b' ' | b'/' | b'\n' | b'|');
    let mut joined = Joined::default();
    let mut at = 0;
    while at < bytes.len() {
        if !matches!(bytes[at], b'.' | b'-') {
            at += 1;
            continue;
        }
        let start = at;
        let length = bytes[start..].iter().take_while(|&&byte| is_morse(byte)).count();
        at += length;
        if length < 2 * MORSE_LETTERS_MIN {
            continue;
        }
        let run = text[start..at].trim_end();
        let end = start + run.len();
        let mut said = String::new();
        let (mut letters, mut strange, mut long) = (0, 0, 0);
        for token in run.split([' ', '/', '|', '\n']) {
            if token.is_empty() {
                if !said.ends_with(' ') {
                    said.push(' ');
                }
            } else if let Some(letter) = morse_letter(token) {
                letters += 1;
                long += usize::from(token.len() > 1);
                said.push(letter);
            } else {
                strange += 1;
            }
        }
        if letters >= MORSE_LETTERS_MIN && strange * 10 <= letters && long * 2 > letters && reads_as_text(&said) {
            joined.push(&said, start..end, decoder);
        }
    }
    joined
}

/// International Morse code (ITU-R M.1677-1): letters and digits.
fn morse_letter(signs: &str) -> Option<char> {
    const LETTERS: [&str; 36] = [
        ".-", "-...", "-.-.", "-..", ".", "..-.", "--.", "....", "..", ".---", "-.-", ".-..", "--", "-.", "---", ".--.", "--.-",
        ".-.", "...", "-", "..-", "...-", ".--", "-..-", "-.--", "--..", "-----", ".----", "..---", "...--", "....-", ".....",
        "-....", "--...", "---..", "----.",
    ];
    let index = LETTERS.iter().position(|of| *of == signs)?;
    let index = u8::try_from(index).ok()?;
    Some(char::from(if index < 26 { b'a' + index } else { b'0' + index - 26 }))
}
