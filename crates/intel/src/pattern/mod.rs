//! The pattern language of STIX 2.1 (part 9 of the standard): read, judged over observations, and taken apart into values that can be
//! looked up.

mod atoms;
mod eval;
mod lex;
mod parse;

use regex::Regex;

pub use self::atoms::{Atom, Atoms};
pub use self::eval::{EvalError, Observation, ObservationError};

/// Longest pattern that is read, in bytes. The longest of public feeds list some hundreds of hashes.
pub const PATTERN_BYTES_MAX: usize = 64 * 1024;

/// Deepest nesting of brackets.
const DEPTH_MAX: usize = 64;

/// Most tokens of a pattern: what a pattern of the longest length can sensibly hold.
const TOKENS_MAX: usize = 16 * 1024;

/// A pattern that was read.
#[derive(Debug, Clone)]
pub struct Pattern {
    root: Observed,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("STIX pattern, character {at}: {what}")]
pub struct PatternError {
    /// Where, in Unicode code points from 0.
    pub at: usize,
    /// What is wrong.
    pub what: String,
}

/// An observation expression.
#[derive(Debug, Clone)]
enum Observed {
    /// `[ ... ]`
    One(Compared),
    And(Box<Observed>, Box<Observed>),
    Or(Box<Observed>, Box<Observed>),
    FollowedBy(Box<Observed>, Box<Observed>),
    /// `START t'...' STOP t'...'`, in microseconds since 1970.
    Between(Box<Observed>, i64, i64),
    /// `WITHIN ... SECONDS`, in microseconds.
    Within(Box<Observed>, i64),
    /// `REPEATS ... TIMES`
    Repeats(Box<Observed>, usize),
}

/// A comparison expression.
#[derive(Debug, Clone)]
enum Compared {
    And(Box<Compared>, Box<Compared>),
    Or(Box<Compared>, Box<Compared>),
    Test(Test),
}

/// One comparison.
#[derive(Debug, Clone)]
struct Test {
    path: Path,
    is_negated: bool,
    operator: Operator,
}

#[derive(Debug, Clone)]
enum Operator {
    Equal(Literal),
    Unequal(Literal),
    Greater(Literal),
    Less(Literal),
    GreaterOrEqual(Literal),
    LessOrEqual(Literal),
    In(Vec<Literal>),
    Like(String),
    Matches(Regex),
    IsSubset(String),
    IsSuperset(String),
    Exists,
}

/// An object path: `file:hashes.'SHA-256'`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Path {
    object: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    /// `[3]`; a negative index is of no element.
    Index(Option<usize>),
    /// `[*]`
    Any,
}

#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Int(i64),
    Float(f64),
    Text(String),
    Bool(bool),
    Bytes(Vec<u8>),
    /// Microseconds since 1970.
    Time(i64),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`], with the place. A regular expression that needs look-around or a reference back is refused, because it
    /// cannot be matched in linear time.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        parse::parse(text)
    }
}

/// A time stamp of STIX, in microseconds since 1970: digits beyond are cut off.
fn micros(text: &str) -> Option<i64> {
    let is_one = text.ends_with('Z') && text.as_bytes().get(10) == Some(&b'T');
    let time: jiff::Timestamp = is_one.then(|| text.parse().ok()).flatten()?;
    Some(time.as_microsecond())
}
