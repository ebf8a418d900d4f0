//! Names that stand beside the word `value`, and not before its sign: `{"name": "password", "value": "x"}`, `- name: password` with a line
//! `value: x` below it, `<add key="password" value="x"/>`.

/// Longest name.
const NAME_BYTES_MAX: usize = 64;
/// Signs, quotes, spaces and line ends between the name and the word `value`.
const GAP_BYTES_MAX: usize = 48;

/// Whether a name says that it is another name's value.
pub(crate) fn is_value(name: &[u8]) -> bool {
    name.trim_ascii().eq_ignore_ascii_case(b"value")
}

/// Whether a name says that its value is the name of another.
pub(crate) fn is_name(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 6] = [b"name", b"key", b"field", b"header", b"variable", b"property"];
    NAMES.iter().any(|one| name.trim_ascii().eq_ignore_ascii_case(one))
}

/// The name before the word `value` that begins at `at`.
pub(super) fn name(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let is_mark = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'\\');
    let run = |end: usize, max: usize, takes: &dyn Fn(&u8) -> bool| {
        end - bytes[..end].iter().rev().take(max).take_while(|b| takes(b)).count()
    };
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    // a new line, a comma or the next attribute
    let end = run(at, GAP_BYTES_MAX, &|b| is_mark(b) || *b == b',');
    let start = run(end, NAME_BYTES_MAX, &is_word);
    let sign = run(start, GAP_BYTES_MAX, &is_mark).checked_sub(1)?;
    if end == at || start == end || !matches!(bytes.get(sign), Some(b':' | b'=')) {
        return None;
    }
    let word_end = run(sign, GAP_BYTES_MAX, &is_mark);
    let word = run(word_end, NAME_BYTES_MAX, &is_word);
    // `- name:`
    let said = bytes.get(word..word_end)?;
    is_name(said.strip_prefix(b"-").unwrap_or(said)).then(|| &bytes[start..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_beside_the_word_value_is_its_name() {
        for text in [
            r#"{"name": "DB_PASSWORD", "#,
            r#"{\"name\": \"DB_PASSWORD\", \"#,
            "- name: DB_PASSWORD\n  ",
            "-key: DB_PASSWORD\n",
            r#"<add key="DB_PASSWORD" "#,
        ] {
            assert_eq!(name(text.as_bytes(), text.len()), Some(&b"DB_PASSWORD"[..]), "{text}");
        }
        for text in ["", "password ", "name DB_PASSWORD ", "rename: x, ", "name: a b, "] {
            assert_eq!(name(text.as_bytes(), text.len()), None, "{text}");
        }
    }
}
