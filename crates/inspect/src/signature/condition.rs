//! Conditions: which patterns of a signature must match together.
//!
//! `any`, `all`, `2 of them`, `1 of shell*`, `any of (a, b)`, names, `and`, `or`, `not` and parentheses. A condition is judged over one
//! content and all views of it.

/// Deepest nesting of parentheses and `not`.
const DEPTH_MAX: usize = 32;
/// Longest condition, in bytes.
const CONDITION_BYTES_MAX: usize = 4 * 1024;

/// A set of patterns of one signature, a bit each.
pub(crate) type Patterns = u64;

/// A condition over the patterns of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// So many of these.
    Of(u32, Patterns),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

impl Condition {
    /// Any of the first `count` patterns.
    pub(crate) fn any_of_first(count: usize) -> Self {
        Self::Of(1, first(count))
    }

    /// Reads a condition over patterns with these names.
    pub(super) fn parse(text: &str, names: &[String]) -> Result<Self, String> {
        if text.len() > CONDITION_BYTES_MAX {
            return Err(format!("it is longer than {CONDITION_BYTES_MAX} bytes"));
        }
        let tokens = tokens(text)?;
        match tokens.as_slice() {
            [one] if *one == "any" => return Ok(Self::any_of_first(names.len())),
            [one] if *one == "all" => return Ok(Self::Of(first(names.len()).count_ones(), first(names.len()))),
            _ => {}
        }
        let mut parser = Parser { tokens: &tokens, at: 0, names };
        let condition = parser.any(0)?;
        match parser.peek() {
            None if condition.holds(0) => Err("it holds in every text, also where nothing matches".to_owned()),
            None => Ok(condition),
            Some(token) => Err(format!("{token:?} comes where `and`, `or` or the end should")),
        }
    }

    /// Whether it holds where these patterns matched.
    pub(crate) fn holds(&self, matched: Patterns) -> bool {
        match self {
            Self::Of(count, of) => (of & matched).count_ones() >= *count,
            Self::Not(condition) => !condition.holds(matched),
            Self::All(conditions) => conditions.iter().all(|condition| condition.holds(matched)),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(matched)),
        }
    }

    /// The patterns whose matches are evidence: those that are asked for, not those that must be absent.
    pub(crate) fn evidence(&self) -> Patterns {
        match self {
            Self::Of(_, of) => *of,
            Self::Not(condition) => condition.absent(),
            Self::All(conditions) | Self::Any(conditions) => conditions.iter().fold(0, |all, one| all | one.evidence()),
        }
    }

    fn absent(&self) -> Patterns {
        match self {
            Self::Of(..) => 0,
            Self::Not(condition) => condition.evidence(),
            Self::All(conditions) | Self::Any(conditions) => conditions.iter().fold(0, |all, one| all | one.absent()),
        }
    }

    /// Whether each match of any pattern fulfils it: then nothing has to be held back until all is seen.
    pub(crate) fn is_any(&self, count: usize) -> bool {
        *self == Self::any_of_first(count)
    }
}

fn first(count: usize) -> Patterns {
    (0..count.min(Patterns::BITS as usize)).fold(0, |set, bit| set | 1 << bit)
}

fn tokens(text: &str) -> Result<Vec<&str>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '(' | ')' | ',' => 1,
            _ => rest.find(|one: char| !(one.is_ascii_alphanumeric() || one == '_' || one == '*')).unwrap_or(rest.len()),
        };
        if length == 0 {
            return Err(format!("{first:?} is no part of a condition"));
        }
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

struct Parser<'p> {
    tokens: &'p [&'p str],
    at: usize,
    names: &'p [String],
}

impl<'p> Parser<'p> {
    fn peek(&self) -> Option<&'p str> {
        self.tokens.get(self.at).copied()
    }

    fn take(&mut self, token: &str) -> bool {
        let is_there = self.peek() == Some(token);
        self.at += usize::from(is_there);
        is_there
    }

    fn any(&mut self, depth: usize) -> Result<Condition, String> {
        let mut conditions = vec![self.all(depth)?];
        while self.take("or") {
            conditions.push(self.all(depth)?);
        }
        Ok(if conditions.len() == 1 { conditions.remove(0) } else { Condition::Any(conditions) })
    }

    fn all(&mut self, depth: usize) -> Result<Condition, String> {
        let mut conditions = vec![self.one(depth)?];
        while self.take("and") {
            conditions.push(self.one(depth)?);
        }
        Ok(if conditions.len() == 1 { conditions.remove(0) } else { Condition::All(conditions) })
    }

    fn one(&mut self, depth: usize) -> Result<Condition, String> {
        if depth > DEPTH_MAX {
            return Err(format!("it is nested deeper than {DEPTH_MAX}"));
        }
        if self.take("not") {
            return Ok(Condition::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.take("(") {
            let condition = self.any(depth + 1)?;
            return if self.take(")") { Ok(condition) } else { Err("a parenthesis is not closed".to_owned()) };
        }
        let Some(word) = self.peek() else { return Err("it ends where a pattern should be named".to_owned()) };
        self.at += 1;
        if !self.take("of") {
            return Ok(Condition::Of(1, self.named(word)?));
        }
        let of = self.group()?;
        let count = match word {
            "any" => 1,
            "all" => of.count_ones(),
            number => number.parse().map_err(|_| format!("{number:?} before `of` is neither any, all nor a number"))?,
        };
        match count {
            0 => Err("0 of something holds in every text".to_owned()),
            count if count > of.count_ones() => Err(format!("{count} of {} can never be", of.count_ones())),
            count => Ok(Condition::Of(count, of)),
        }
    }

    /// `them`, `prefix*`, a name, or several in parentheses.
    fn group(&mut self) -> Result<Patterns, String> {
        if !self.take("(") {
            let Some(word) = self.peek() else { return Err("it ends behind `of`".to_owned()) };
            self.at += 1;
            return self.named(word);
        }
        let mut of = 0;
        loop {
            let Some(word) = self.peek() else { return Err("a parenthesis is not closed".to_owned()) };
            self.at += 1;
            of |= self.named(word)?;
            if self.take(")") {
                return Ok(of);
            }
            if !self.take(",") {
                return Err("names of a group stand apart by commas".to_owned());
            }
        }
    }

    fn named(&self, word: &str) -> Result<Patterns, String> {
        let matches = |name: &String| match word.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => word == "them" || name == word,
        };
        let of = self.names.iter().enumerate().filter(|(_, name)| matches(name)).fold(0, |of, (bit, _)| of | 1 << bit);
        if of == 0 { Err(format!("no pattern is called {word:?}")) } else { Ok(of) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Condition, String> {
        Condition::parse(text, &["a", "b1", "b2", "c"].map(str::to_owned))
    }

    #[test]
    fn conditions_hold_where_they_should() {
        for (text, holds, not) in [
            ("any", &[0b0001, 0b1000][..], &[0][..]),
            ("all", &[0b1111], &[0b0111]),
            ("2 of them", &[0b0011, 0b1111], &[0b0100]),
            ("a and not c", &[0b0001, 0b0011], &[0b1001, 0]),
            ("a and (b1 or b2)", &[0b0011, 0b0101], &[0b0001, 0b0110]),
            ("1 of b*", &[0b0010, 0b0100], &[0b1001]),
            ("all of (a, c) or b1", &[0b1001, 0b0010], &[0b0001, 0b0100]),
            ("not not a", &[1], &[2]),
        ] {
            let condition = parse(text).unwrap();
            holds.iter().for_each(|&matched| assert!(condition.holds(matched), "{text} {matched:b}"));
            not.iter().for_each(|&matched| assert!(!condition.holds(matched), "{text} {matched:b}"));
        }
        assert_eq!(parse("a and not c").unwrap().evidence(), 0b0001);
        assert!(parse("any").unwrap().is_any(4) && !parse("2 of them").unwrap().is_any(4));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, told) in [
            ("", "ends"),
            ("a and", "ends"),
            ("a b1", "\"b1\""),
            ("d", "\"d\""),
            ("not a", "every text"),
            ("a or not c", "every text"),
            ("5 of them", "never"),
            ("0 of them", "every text"),
            ("x of them", "\"x\""),
            ("(a", "not closed"),
            ("a & b1", "'&'"),
            ("any of (a b1)", "commas"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
        assert!(parse(&"(".repeat(100)).unwrap_err().contains("deeper"));
        assert!(parse(&"not ".repeat(100)).unwrap_err().contains("deeper"));
    }
}
