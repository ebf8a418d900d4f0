//! Text to tokens.

use base64::Engine as _;

use super::{Literal, PATTERN_BYTES_MAX, PatternError, TOKENS_MAX, micros};

/// A token, and where it begins in code points.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A name or a keyword: keywords are names where a name is asked for and nothing else could stand.
    Word(String),
    Literal(Literal),
    /// `[ ] ( ) , : . *` and the operators of comparison.
    Sign(&'static str),
}

/// Longest first.
const SIGNS: [&str; 16] = ["==", "!=", "<>", "<=", ">=", "=", "<", ">", "[", "]", "(", ")", ",", ":", ".", "*"];

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, PatternError> {
    if text.len() > PATTERN_BYTES_MAX {
        return Err(PatternError { at: 0, what: format!("is longer than {PATTERN_BYTES_MAX} bytes") });
    }
    let mut lexer = Lexer { rest: text, at: 0 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next()? {
        if tokens.len() == TOKENS_MAX {
            return Err(PatternError { at: token.at, what: format!("has more than {TOKENS_MAX} parts") });
        }
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'a> {
    rest: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Result<Option<Token>, PatternError> {
        self.skip_space()?;
        let at = self.at;
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let prefix = self.rest.get(..2);
        let kind = match (first, prefix) {
            ('\'', _) => Kind::Literal(Literal::Text(self.quoted()?)),
            (_, Some("t'" | "b'" | "h'")) => {
                self.take(1);
                let text = self.quoted()?;
                Kind::Literal(typed(first, &text).ok_or_else(|| PatternError { at, what: untyped(first).to_owned() })?)
            }
            _ if first.is_ascii_alphabetic() || first == '_' => {
                let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
                match self.take(end) {
                    "true" => Kind::Literal(Literal::Bool(true)),
                    "false" => Kind::Literal(Literal::Bool(false)),
                    word => Kind::Word(word.to_owned()),
                }
            }
            _ if first.is_ascii_digit() || matches!(first, '+' | '-') || self.is_fraction() => self.number()?,
            _ => match SIGNS.iter().find(|sign| self.rest.starts_with(**sign)) {
                Some(sign) => {
                    self.take(sign.len());
                    Kind::Sign(sign)
                }
                None => return Err(PatternError { at, what: format!("{first:?} means nothing here") }),
            },
        };
        Ok(Some(Token { at, kind }))
    }

    /// A full stop and a digit: `.5`.
    fn is_fraction(&self) -> bool {
        self.rest.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        self.at += taken.chars().count();
        taken
    }

    /// White space and comments.
    fn skip_space(&mut self) -> Result<(), PatternError> {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.take(blank);
            if self.rest.starts_with("//") {
                self.take(self.rest.find(['\n', '\r']).unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                let end = self.rest.find("*/");
                let end = end.ok_or_else(|| PatternError { at: self.at, what: "a comment has no end".to_owned() })?;
                self.take(end + 2);
            } else {
                return Ok(());
            }
        }
    }

    /// A text in single quotes; `\'` and `\\` stand for themselves.
    fn quoted(&mut self) -> Result<String, PatternError> {
        let at = self.at;
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((index, c)) = chars.next() {
            match c {
                '\'' => {
                    self.take(index + 1);
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, escaped @ ('\'' | '\\'))) => text.push(escaped),
                    _ => {
                        return Err(PatternError {
                            at,
                            what: "a backslash stands before something else than ' or \\".to_owned(),
                        });
                    }
                },
                c => text.push(c),
            }
        }
        Err(PatternError { at, what: "a text has no end".to_owned() })
    }

    fn number(&mut self) -> Result<Kind, PatternError> {
        let at = self.at;
        let sign = usize::from(self.rest.starts_with(['+', '-']));
        let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let whole = digits(&self.rest[sign..]);
        let after = &self.rest[sign + whole..];
        let fraction = after.strip_prefix('.').map_or(0, digits);
        let wrong = || PatternError { at, what: "is no number".to_owned() };
        if fraction > 0 {
            let text = self.take(sign + whole + 1 + fraction);
            let number: f64 = text.trim_start_matches('+').parse().map_err(|_| wrong())?;
            return Ok(Kind::Literal(Literal::Float(number)));
        }
        let text = self.take(sign + whole);
        // 007 is no number in the grammar.
        if whole == 0 || (whole > 1 && text[sign..].starts_with('0')) {
            return Err(wrong());
        }
        Ok(Kind::Literal(Literal::Int(text.trim_start_matches('+').parse().map_err(|_| wrong())?)))
    }
}

fn typed(prefix: char, text: &str) -> Option<Literal> {
    match prefix {
        't' => micros(text).map(Literal::Time),
        'b' => base64::engine::general_purpose::STANDARD.decode(text).ok().map(Literal::Bytes),
        _ => event::hex::decode(text).map(Literal::Bytes),
    }
}

fn untyped(prefix: char) -> &'static str {
    match prefix {
        't' => "is no time; write t'2026-01-31T12:00:00Z'",
        'b' => "is no base64",
        _ => "is no hexadecimal text",
    }
}
