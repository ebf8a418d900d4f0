//! Words and marks of a normalised text, with what varies without meaning put away: addresses, numbers, our own tokens.

/// Longest word that is taken as it is, in bytes; longer ones are blobs.
const WORD_BYTES_MAX: usize = 24;

/// How far the end of an address or link is looked for from a word on, in bytes: what is longer is no address.
const ADDRESS_BYTES_MAX: usize = 128;

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
    Tokens { text, at: 0 }
}

pub(super) struct Tokens<'t> {
    text: &'t str,
    at: usize,
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\'')) {
            self.at += 1;
        }
        let start = self.at;
        let first = self.text.get(start..)?.chars().next()?;
        let (kind, end) = if first.is_ascii_digit() {
            self.number(start)
        } else if is_ideograph(first) {
            (Kind::Ideograph, start + first.len_utf8())
        } else if first.is_alphanumeric() {
            self.word(start)
        } else if first == '<' {
            self.sanitised(start).map_or_else(|| self.mark(start, first), |end| (Kind::Class(Class::Sanitised), end))
        } else {
            self.mark(start, first)
        };
        self.at = end;
        Some(Token { kind, start, end })
    }
}

impl Tokens<'_> {
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
        let letters = self.letters(start + digits);
        // Digits within a word make it a blob (an id, a hash), but for a short ending: 3rd, 10km, 5pm.
        if letters > start + digits + 3 { (Kind::Class(Class::Blob), letters) } else { (Kind::Class(Class::Number), letters) }
    }

    fn word(&self, start: usize) -> (Kind, usize) {
        let end = self.letters(start);
        let rest = &self.text[end..];
        let word = &self.text[start..end];
        if rest.starts_with("://") || (word == "www" && rest.starts_with('.')) {
            return (Kind::Class(Class::Url), self.until_space(end));
        }
        if rest.starts_with(['@', '.', '_', '-', '+'])
            && let run = self.until_space(end)
            && run - end < ADDRESS_BYTES_MAX
            && let Some(at) = self.text[end..run].find('@')
            && self.text[end + at..run].contains('.')
        {
            return (Kind::Class(Class::Email), run);
        }
        let digits = word.bytes().any(|byte| byte.is_ascii_digit());
        if word.len() > WORD_BYTES_MAX && word.is_ascii() || digits && word.len() > 8 {
            return (Kind::Class(Class::Blob), end);
        }
        (Kind::Word, end)
    }

    /// The end of the letters and digits from `start` on; an apostrophe between letters is one of them.
    fn letters(&self, start: usize) -> usize {
        let mut end = start;
        let mut characters = self.text[start..].char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            let inside = character == '\'' && characters.peek().is_some_and(|(_, next)| next.is_alphabetic());
            if !(inside || character.is_alphanumeric() && !is_ideograph(character)) {
                break;
            }
            end = start + at + character.len_utf8();
        }
        end
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
        let end = rest.iter().take(160).position(|byte| matches!(byte, b'>' | b' ' | b'\n'))?;
        let inner = &rest[..end];
        let is_token = rest[end] == b'>'
            && inner.first().is_some_and(u8::is_ascii_lowercase)
            && inner.iter().filter(|byte| **byte == b':').count() >= 1
            && !inner.contains(&b'/')
            && inner.iter().rev().take_while(|byte| **byte != b':').count() >= 7;
        is_token.then_some(start + 1 + end + 1)
    }

    fn mark(&self, start: usize, first: char) -> (Kind, usize) {
        let rest = &self.text[start..];
        (Kind::Mark, start + rest.find(|next| next != first).unwrap_or(rest.len()))
    }
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
    }
}
