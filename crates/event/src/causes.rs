//! An error with its causes in one line.

use std::error::Error;

/// An error and, behind colons, what caused it: those of HTTP clients say little by themselves.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Told(&'static str, #[source] Option<Box<Told>>);

    #[test]
    fn every_cause_is_told_in_order() {
        let error = Told("no answer", Some(Box::new(Told("connection", Some(Box::new(Told("refused", None)))))));
        assert_eq!(with_causes(&error), "no answer: connection: refused");
        assert_eq!(with_causes(&Told("alone", None)), "alone");
    }
}
