//! Names as operators write them down: of tools, models, routes, people.

/// Whether a name fits a pattern: the name itself, or its beginning and `*`. The case of ASCII letters does not matter: a list that
/// forbids must not be evaded by it.
pub fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start)),
        None => name.eq_ignore_ascii_case(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_at_the_end() {
        for (pattern, name, expected) in [
            ("rm", "rm", true),
            ("rm", "RM", true),
            ("rm", "rmdir", false),
            ("write_*", "write_file", true),
            ("write_*", "write", false),
            ("*", "", true),
            ("*_file", "write_file", false),
            ("\u{e9}*", "e", false),
            ("ab*", "a\u{e9}", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
