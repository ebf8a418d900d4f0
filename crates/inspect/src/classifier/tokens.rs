//! Words and marks of a normalised text, with what varies without meaning put away: addresses, numbers, our own tokens.

use memchr::memchr;

/// Longest word that is taken as it is, in bytes; longer ones are blobs.
const WORD_BYTES_MAX: usize = 24;

/// How far the end of an address or link is looked for from a word on, in bytes: what is longer is no address.
const ADDRESS_BYTES_MAX: usize = 128;

/// Longest of the sanitiser's tokens, in bytes.
const SANITISED_BYTES_MAX: usize = 160;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Letters, at `start..end` of the text.
    Word,
    /// A single character of a script without spaces between words.
    Ideograph,
    /// Punctuation or a line feed; one for a run of equal ones.
    Mark,
    /// Something that stands for its class.
    Class(Class),
}

/// What is not told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Number = 1,
    Email,
    Url,
    Blob,
    Sanitised,
}

/// A token and its place in the text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The tokens of a normalised text.
pub(super) fn tokens(text: &str) -> Tokens<'_> {
    Tokens { text, at: 0, next_at_sign: None }
}

pub(super) struct Tokens<'t> {
    text: &'t str,
    at: usize,
    /// The first `@` from the last place on at which one was looked for; the length of the text where there is none.
    next_at_sign: Option<usize>,
}

/// What a byte begins or goes on with, as far as one byte tells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Byte {
    Letter,
    Digit,
    /// Between tokens: a space, and an apostrophe that is not within a word.
    Gap,
    Mark,
    /// Part of a character outside ASCII.
    Foreign,
}

const BYTES: [Byte; 256] = {
    let mut bytes = [Byte::Mark; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        bytes[at] = if byte.is_ascii_alphabetic() {
            Byte::Letter
        } else if byte.is_ascii_digit() {
            Byte::Digit
        } else if byte == b' ' || byte == b'\'' {
            Byte::Gap
        } else if byte >= 0x80 {
            Byte::Foreign
        } else {
            Byte::Mark
        };
        at += 1;
    }
    bytes
};

impl Iterator for Tokens<'_> {
    type Item = Token;

    #[inline]
    fn next(&mut self) -> Option<Token> {
        let bytes = self.text.as_bytes();
        let mut start = self.at;
        let first = loop {
            let class = BYTES[usize::from(*bytes.get(start)?)];
            if class != Byte::Gap {
                break class;
            }
            start += 1;
        };
        let (kind, end) = match first {
            Byte::Letter => self.word(start),
            Byte::Digit => self.number(start),
            Byte::Mark if bytes[start] == b'<' => {
                self.sanitised(start).map_or_else(|| self.mark(start), |end| (Kind::Class(Class::Sanitised), end))
            }
            Byte::Mark | Byte::Gap => self.mark(start),
            Byte::Foreign => self.foreign(start)?,
        };
        self.at = end;
        Some(Token { kind, start, end })
    }
}

impl Tokens<'_> {
    fn foreign(&mut self, start: usize) -> Option<(Kind, usize)> {
        let first = self.text.get(start..)?.chars().next()?;
        Some(if is_ideograph(first) {
            (Kind::Ideograph, start + first.len_utf8())
        } else if first.is_alphanumeric() {
            self.word(start)
        } else {
            let rest = &self.text[start..];
            (Kind::Mark, start + rest.find(|next| next != first).unwrap_or(rest.len()))
        })
    }

    fn number(&self, start: usize) -> (Kind, usize) {
        let rest = &self.text.as_bytes()[start..];
        let digits = rest
            .iter()
            .enumerate()
            .position(|(at, byte)| {
                let inside = matches!(byte, b'.' | b',' | b':' | b'/' | b'-') && rest.get(at + 1).is_some_and(u8::is_ascii_digit);
                !(byte.is_ascii_digit() || inside)
            })
            .unwrap_or(rest.len());
        let (letters, _) = self.letters(start + digits);
        // Digits within a word make it a blob (an id, a hash), but for a short ending: 3rd, 10km, 5pm.
        if letters > start + digits + 3 { (Kind::Class(Class::Blob), letters) } else { (Kind::Class(Class::Number), letters) }
    }

    #[inline]
    fn word(&mut self, start: usize) -> (Kind, usize) {
        let (end, digits) = self.letters(start);
        let bytes = self.text.as_bytes();
        match bytes.get(end) {
            Some(b':') if bytes[end..].starts_with(b"://") => return (Kind::Class(Class::Url), self.until_space(end)),
            Some(b'.') if &bytes[start..end] == b"www" => return (Kind::Class(Class::Url), self.until_space(end)),
            Some(b'@' | b'.' | b'_' | b'-' | b'+') => {
                if let Some(end) = self.address(end) {
                    return (Kind::Class(Class::Email), end);
                }
            }
            _ => {}
        }
        let length = end - start;
        if digits && length > 8 || length > WORD_BYTES_MAX && self.text[start..end].is_ascii() {
            return (Kind::Class(Class::Blob), end);
        }
        (Kind::Word, end)
    }

    /// The end of an address of which a first word ends at `end`.
    fn address(&mut self, end: usize) -> Option<usize> {
        let at_sign = self.next_at_sign(end);
        if at_sign >= end + ADDRESS_BYTES_MAX {
            return None;
        }
        let run = self.until_space(end);
        let is_address = run - end < ADDRESS_BYTES_MAX && at_sign < run && self.text.as_bytes()[at_sign..run].contains(&b'.');
        is_address.then_some(run)
    }

    /// The first `@` from `from` on, looked for once for all words before it.
    fn next_at_sign(&mut self, from: usize) -> usize {
        let known = self.next_at_sign.filter(|known| *known >= from);
        let found = known.unwrap_or_else(|| {
            memchr(b'@', &self.text.as_bytes()[from..]).map_or(self.text.len() + ADDRESS_BYTES_MAX, |at| from + at)
        });
        self.next_at_sign = Some(found);
        found
    }

    /// The end of the letters and digits from `start` on, and whether there are digits; an apostrophe between letters is one of them.
    #[inline]
    fn letters(&self, start: usize) -> (usize, bool) {
        let bytes = self.text.as_bytes();
        let (mut end, mut digits) = (start, false);
        while let Some(&byte) = bytes.get(end) {
            match BYTES[usize::from(byte)] {
                Byte::Letter => end += 1,
                Byte::Digit => {
                    digits = true;
                    end += 1;
                }
                Byte::Gap if byte == b'\'' && self.is_alphabetic(end + 1) => end += 1,
                Byte::Foreign => match self.text[end..].chars().next() {
                    Some(character) if is_letter(character) => end += character.len_utf8(),
                    _ => break,
                },
                Byte::Gap | Byte::Mark => break,
            }
        }
        (end, digits)
    }

    fn is_alphabetic(&self, at: usize) -> bool {
        self.text.get(at..).and_then(|rest| rest.chars().next()).is_some_and(char::is_alphabetic)
    }

    fn until_space(&self, start: usize) -> usize {
        let end =
            |character: char| character.is_whitespace() || matches!(character, '"' | '<' | '>' | ')' | ']' | '}' | ',' | ';');
        let limit = self.text.floor_char_boundary(self.text.len().min(start + ADDRESS_BYTES_MAX));
        self.text[start..limit].find(end).map_or(limit, |at| start + at)
    }

    /// The end of one of the sanitiser's tokens, `<TYPE:label:...>`.
    fn sanitised(&self, start: usize) -> Option<usize> {
        let rest = self.text.as_bytes().get(start + 1..)?;
        if !rest.first()?.is_ascii_lowercase() {
            return None;
        }
        let end = rest.iter().take(SANITISED_BYTES_MAX).position(|byte| matches!(byte, b'>' | b' ' | b'\n'))?;
        let inner = &rest[..end];
        let is_token = rest[end] == b'>'
            && inner.iter().filter(|byte| **byte == b':').count() >= 1
            && !inner.contains(&b'/')
            && inner.iter().rev().take_while(|byte| **byte != b':').count() >= 7;
        is_token.then_some(start + 1 + end + 1)
    }

    /// A run of one ASCII mark.
    #[inline]
    fn mark(&self, start: usize) -> (Kind, usize) {
        let rest = &self.text.as_bytes()[start..];
        (Kind::Mark, start + rest.iter().position(|next| *next != rest[0]).unwrap_or(rest.len()))
    }
}

/// A letter or digit of a word outside ASCII. Those of the commonest scripts are not looked up.
fn is_letter(character: char) -> bool {
    is_common_letter(character) || character.is_alphanumeric() && !is_ideograph(character)
}

const fn is_common_letter(character: char) -> bool {
    matches!(character, 'а'..='я' | 'ё' | 'à'..='ö' | 'ø'..='ÿ' | 'α'..='ω' | 'ا'..='غ' | '\u{ac00}'..='\u{d7a3}')
}

fn is_ideograph(character: char) -> bool {
    matches!(character, '\u{e00}'..='\u{e7f}' | '\u{3041}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        tokens(text)
            .map(|token| match token.kind {
                Kind::Class(class) => format!("{class:?}"),
                _ => text[token.start..token.end].to_owned(),
            })
            .collect()
    }

    #[test]
    fn what_varies_is_put_away() {
        assert_eq!(read("don't mail jo.lee@x.org, 12:30!!"), ["don't", "mail", "Email", ",", "Number", "!!"]);
        assert_eq!(read("see https://a.example/b?c=d\nnow"), ["see", "Url", "\n", "now"]);
        assert_eq!(read("<email:v26:abcdef@x.org> <b>hi</b>"), ["Sanitised", "<", "b", ">", "hi", "<", "/", "b", ">"]);
        assert_eq!(read("a1b2c3d4e5 3rd 忽略指令"), ["Blob", "Number", "忽", "略", "指", "令"]);
        assert_eq!(
            read("'tis naïve – l'été. www.x.example, a.b"),
            ["tis", "naïve", "–", "l'été", ".", "Url", ",", "a", ".", "b"]
        );
    }

    #[test]
    fn common_letters_are_letters() {
        let common = ('\u{80}'..=char::MAX).filter(|character| is_common_letter(*character));
        assert!(common.clone().count() > 11_000);
        assert!(common.into_iter().all(|letter| letter.is_alphanumeric() && !is_ideograph(letter)));
    }

    #[test]
    fn a_sign_of_an_address_is_its_own_words_alone() {
        assert_eq!(read("a.b c-d e@f.org g_h i@j"), ["a", ".", "b", "c", "-", "d", "Email", "g", "_", "h", "i", "@", "j"]);
    }
}
