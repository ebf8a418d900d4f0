//! Values that are sealed beside the text from which they were taken. This crate knows no cipher: it is given one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Most bytes of values that are sealed together; what goes beyond is counted. A text that is full of them is a table, and is to
/// be looked for where it came from.
const BYTES_MAX: usize = 64 * 1024;

/// Seals values, so that whoever holds the result has nothing of them.
pub trait Sealer: Send + Sync + fmt::Debug {
    /// The values, sealed; `None` where that is not possible now.
    fn seal(&self, values: &[Recoverable<'_>]) -> Option<Arc<[u8]>>;
}

/// A value that is to be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recoverable<'v> {
    /// What stands for it in the clean text.
    pub token: &'v str,
    /// The value as it was written.
    pub value: &'v str,
}

/// What was sealed of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sealed {
    /// What the sealer gave.
    pub bytes: Option<Arc<[u8]>>,
    /// Values that are in it.
    pub values: u32,
    /// Values that are not in it: too many, or the sealer failed.
    pub left_out: u32,
}

/// Values that are gathered to be sealed together.
#[derive(Default)]
pub(crate) struct Gathered {
    values: BTreeMap<String, String>,
    bytes: usize,
    left_out: u32,
}

impl Gathered {
    pub(crate) fn add(&mut self, token: &str, value: &str) {
        if self.values.contains_key(token) {
            return;
        }
        if self.bytes + token.len() + value.len() > BYTES_MAX {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        self.bytes += token.len() + value.len();
        self.values.insert(token.to_owned(), value.to_owned());
    }

    pub(crate) fn seal(&self, sealer: Option<&dyn Sealer>) -> Sealed {
        if self.values.is_empty() {
            return Sealed { left_out: self.left_out, ..Sealed::default() };
        }
        let values: Vec<_> = self.values.iter().map(|(token, value)| Recoverable { token, value }).collect();
        let bytes = sealer.and_then(|sealer| sealer.seal(&values));
        let count = u32::try_from(values.len()).unwrap_or(u32::MAX);
        let (values, failed) = if bytes.is_some() { (count, 0) } else { (0, count) };
        Sealed { bytes, values, left_out: self.left_out.saturating_add(failed) }
    }
}
