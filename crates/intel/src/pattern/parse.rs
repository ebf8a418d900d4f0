//! Tokens to a pattern, as the grammar of the standard has it: `AND` before `OR` before `FOLLOWEDBY`, all of them from the left.

use regex::RegexBuilder;
use unicode_normalization::UnicodeNormalization as _;

use super::lex::{Kind, Token, tokens};
use super::{Compared, DEPTH_MAX, Literal, Observed, Operator, Path, Pattern, PatternError, Step, Test};

/// Largest regular expression, compiled: those of feeds have some kilobytes.
const REGEX_BYTES_MAX: usize = 1024 * 1024;

/// Most repetitions; more can be counted by a correlation rule.
const REPEATS_MAX: i64 = 100;

/// Longest window of `WITHIN` in seconds: a century.
const WITHIN_S_MAX: f64 = 3.2e9;

pub(super) fn parse(text: &str) -> Result<Pattern, PatternError> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, next: 0, depth: 0, end: text.chars().count() };
    let root = parser.followed()?;
    match parser.peek() {
        None => Ok(Pattern { root }),
        Some(_) => Err(parser.wrong("has something behind its end")),
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    next: usize,
    depth: usize,
    end: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.next).map(|token| &token.kind)
    }

    fn wrong(&self, what: &str) -> PatternError {
        let at = self.tokens.get(self.next).map_or(self.end, |token| token.at);
        PatternError { at, what: what.to_owned() }
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Kind::Sign(one)) if *one == sign)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Kind::Word(one)) if one == word)
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is_it = self.is_sign(sign);
        self.next += usize::from(is_it);
        is_it
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_it = self.is_word(word);
        self.next += usize::from(is_it);
        is_it
    }

    fn expect_sign(&mut self, sign: &str) -> Result<(), PatternError> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.wrong(&format!("needs {sign:?} here"))) }
    }

    fn expect_word(&mut self, word: &str) -> Result<(), PatternError> {
        if self.take_word(word) { Ok(()) } else { Err(self.wrong(&format!("needs {word} here"))) }
    }

    /// Goes one level deeper, as far as that is allowed.
    fn deeper<T>(&mut self, within: impl FnOnce(&mut Self) -> Result<T, PatternError>) -> Result<T, PatternError> {
        if self.depth == DEPTH_MAX {
            return Err(self.wrong(&format!("is nested more than {DEPTH_MAX} deep")));
        }
        self.depth += 1;
        let result = within(self);
        self.depth -= 1;
        result
    }

    fn followed(&mut self) -> Result<Observed, PatternError> {
        let mut left = self.either()?;
        while self.take_word("FOLLOWEDBY") {
            left = Observed::FollowedBy(Box::new(left), Box::new(self.either()?));
        }
        Ok(left)
    }

    fn either(&mut self) -> Result<Observed, PatternError> {
        let mut left = self.both()?;
        while self.take_word("OR") {
            left = Observed::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Observed, PatternError> {
        let mut left = self.qualified()?;
        while self.take_word("AND") {
            left = Observed::And(Box::new(left), Box::new(self.qualified()?));
        }
        Ok(left)
    }

    fn qualified(&mut self) -> Result<Observed, PatternError> {
        let mut observed = if self.take_sign("[") {
            let compared = self.any_of()?;
            self.expect_sign("]")?;
            Observed::One(compared)
        } else if self.take_sign("(") {
            let observed = self.deeper(Self::followed)?;
            self.expect_sign(")")?;
            observed
        } else {
            return Err(self.wrong("needs an observation in square brackets here"));
        };
        // Each qualifier wraps what stands before it; there are few.
        for _ in 0..DEPTH_MAX {
            observed = if self.take_word("START") {
                let start = self.time()?;
                self.expect_word("STOP")?;
                Observed::Between(Box::new(observed), start, self.time()?)
            } else if self.take_word("WITHIN") {
                let seconds = match self.literal()? {
                    Literal::Int(seconds) if seconds > 0 => i64_to_f64(seconds),
                    Literal::Float(seconds) if seconds > 0.0 => seconds,
                    _ => return Err(self.wrong("needs a positive number of seconds before this")),
                };
                if seconds > WITHIN_S_MAX {
                    return Err(self.wrong("has a window of more than a century"));
                }
                self.expect_word("SECONDS")?;
                // Bounded by a century, so it fits.
                #[expect(clippy::cast_possible_truncation, reason = "at most 3.2e15")]
                let micros = (seconds * 1e6).round() as i64;
                Observed::Within(Box::new(observed), micros)
            } else if self.take_word("REPEATS") {
                let times = match self.literal()? {
                    Literal::Int(times @ 1..=REPEATS_MAX) => usize::try_from(times).unwrap_or(1),
                    _ => return Err(self.wrong(&format!("needs 1 to {REPEATS_MAX} repetitions before this"))),
                };
                self.expect_word("TIMES")?;
                Observed::Repeats(Box::new(observed), times)
            } else {
                return Ok(observed);
            };
        }
        Err(self.wrong("has too many qualifiers"))
    }

    fn time(&mut self) -> Result<i64, PatternError> {
        match self.literal()? {
            Literal::Time(time) => Ok(time),
            _ => Err(self.wrong("needs a time before this, as in t'2026-01-31T12:00:00Z'")),
        }
    }

    fn literal(&mut self) -> Result<Literal, PatternError> {
        let literal = match self.peek() {
            Some(Kind::Literal(literal)) => literal.clone(),
            _ => return Err(self.wrong("needs a value here")),
        };
        self.next += 1;
        Ok(literal)
    }

    fn text(&mut self) -> Result<String, PatternError> {
        match self.literal()? {
            Literal::Text(text) => Ok(text),
            _ => {
                self.next -= 1;
                Err(self.wrong("needs a text in single quotes here"))
            }
        }
    }

    fn any_of(&mut self) -> Result<Compared, PatternError> {
        let mut left = self.all_of()?;
        while self.take_word("OR") {
            left = Compared::Or(Box::new(left), Box::new(self.all_of()?));
        }
        Ok(left)
    }

    fn all_of(&mut self) -> Result<Compared, PatternError> {
        let mut left = self.test()?;
        while self.take_word("AND") {
            left = Compared::And(Box::new(left), Box::new(self.test()?));
        }
        Ok(left)
    }

    fn test(&mut self) -> Result<Compared, PatternError> {
        if self.take_sign("(") {
            let within = self.deeper(Self::any_of)?;
            self.expect_sign(")")?;
            return Ok(within);
        }
        let is_type_next =
            |parser: &Self| matches!(parser.tokens.get(parser.next + 1), Some(Token { kind: Kind::Sign(":"), .. }));
        if !is_type_next(self) {
            let is_negated = self.take_word("NOT");
            if self.take_word("EXISTS") {
                return Ok(Compared::Test(Test { path: self.path()?, is_negated, operator: Operator::Exists }));
            }
            return Err(self.wrong("needs a comparison here, as in url:value = 'https://a.example/'"));
        }
        let path = self.path()?;
        let is_negated = self.take_word("NOT");
        let operator = self.operator()?;
        Ok(Compared::Test(Test { path, is_negated, operator }))
    }

    fn operator(&mut self) -> Result<Operator, PatternError> {
        let at = self.next;
        self.next += 1;
        let ordered = |parser: &mut Self, make: fn(Literal) -> Operator| match parser.literal()? {
            Literal::Bool(_) => Err(parser.wrong("compares the order of true and false before this")),
            literal => Ok(make(literal)),
        };
        match self.tokens.get(at).map(|token| &token.kind) {
            Some(Kind::Sign("=" | "==")) => Ok(Operator::Equal(self.literal()?)),
            Some(Kind::Sign("!=" | "<>")) => Ok(Operator::Unequal(self.literal()?)),
            Some(Kind::Sign(">")) => ordered(self, Operator::Greater),
            Some(Kind::Sign("<")) => ordered(self, Operator::Less),
            Some(Kind::Sign(">=")) => ordered(self, Operator::GreaterOrEqual),
            Some(Kind::Sign("<=")) => ordered(self, Operator::LessOrEqual),
            Some(Kind::Word(word)) => match word.as_str() {
                "IN" => self.set(),
                "LIKE" => Ok(Operator::Like(self.text()?.nfc().collect())),
                "MATCHES" => self.regex(),
                "ISSUBSET" => Ok(Operator::IsSubset(self.text()?)),
                "ISSUPERSET" => Ok(Operator::IsSuperset(self.text()?)),
                _ => Err(self.wrong("needs an operator before this")),
            },
            _ => {
                self.next = at;
                Err(self.wrong("needs an operator here"))
            }
        }
    }

    fn set(&mut self) -> Result<Operator, PatternError> {
        self.expect_sign("(")?;
        let mut values = Vec::new();
        if self.take_sign(")") {
            return Ok(Operator::In(values));
        }
        loop {
            values.push(self.literal()?);
            if !self.take_sign(",") {
                break;
            }
        }
        self.expect_sign(")")?;
        let is_number = |value: &Literal| matches!(value, Literal::Int(_) | Literal::Float(_));
        let is_like = |value: &Literal| std::mem::discriminant(value) == std::mem::discriminant(&values[0]);
        if values.iter().all(is_number) || values.iter().all(is_like) {
            Ok(Operator::In(values))
        } else {
            Err(self.wrong("has values of several types in the set before this"))
        }
    }

    fn regex(&mut self) -> Result<Operator, PatternError> {
        let source: String = self.text()?.nfc().collect();
        let built = RegexBuilder::new(&source).size_limit(REGEX_BYTES_MAX).build();
        built.map(Operator::Matches).map_err(|error| {
            self.next -= 1;
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default();
            self.wrong(&format!("has a regular expression that cannot be matched in linear time: {reason}"))
        })
    }

    fn path(&mut self) -> Result<Path, PatternError> {
        let object = match self.peek() {
            Some(Kind::Word(word)) => word.clone(),
            _ => return Err(self.wrong("needs the type of an object here")),
        };
        self.next += 1;
        self.expect_sign(":")?;
        let mut steps = vec![self.key()?];
        loop {
            if self.take_sign(".") {
                steps.push(self.key()?);
            } else if self.take_sign("[") {
                steps.push(if self.take_sign("*") {
                    Step::Any
                } else {
                    match self.literal()? {
                        Literal::Int(index) => Step::Index(usize::try_from(index).ok()),
                        _ => return Err(self.wrong("needs an index before this")),
                    }
                });
                self.expect_sign("]")?;
            } else {
                return Ok(Path { object, steps });
            }
        }
    }

    fn key(&mut self) -> Result<Step, PatternError> {
        let key = match self.peek() {
            Some(Kind::Word(word)) if !word.contains('-') => word.clone(),
            Some(Kind::Literal(Literal::Text(text))) => text.clone(),
            _ => return Err(self.wrong("needs the name of a property here; one with a hyphen stands in quotes")),
        };
        self.next += 1;
        Ok(Step::Key(key))
    }
}

#[expect(clippy::cast_precision_loss, reason = "what is lost of seconds beyond 2^53 is beyond the bound")]
fn i64_to_f64(number: i64) -> f64 {
    number as f64
}
