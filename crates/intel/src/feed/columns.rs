//! Tables in CSV as abuse.ch writes them: a line for each row, the header perhaps in a comment.

/// The fields of a line: in quotes or not, with space before them or not.
pub(super) fn fields(line: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut rest = line.trim_end_matches(['\r', '\n']);
    loop {
        let trimmed = rest.trim_start_matches([' ', '\t']);
        if let Some(quoted) = trimmed.strip_prefix('"') {
            let (field, after) = unquoted(quoted);
            fields.push(field);
            match after.split_once(',') {
                Some((_, next)) => rest = next,
                None => return fields,
            }
        } else {
            match rest.split_once(',') {
                Some((field, next)) => {
                    fields.push(field.trim().to_owned());
                    rest = next;
                }
                None => {
                    fields.push(rest.trim().to_owned());
                    return fields;
                }
            }
        }
    }
}

/// What stands before the closing quote, and what behind it. Two quotes stand for one.
fn unquoted(text: &str) -> (String, &str) {
    let mut field = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('"') {
        field.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return (field, rest),
        }
    }
    field.push_str(rest);
    (field, "")
}

/// The names of the columns: the last comment before the first row, or that row.
pub(super) fn header(text: &str) -> Option<Vec<String>> {
    let names =
        |line: &str| fields(line.trim_start_matches('#').trim()).into_iter().map(|name| name.to_lowercase()).collect::<Vec<_>>();
    let mut last = None;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if !line.trim_start().starts_with('#') {
            let own = names(line);
            return Some(if own.iter().any(|name| super::abuse_ch::is_value_column(name)) { own } else { last? });
        }
        if line.contains(',') {
            last = Some(names(line));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_with_and_without_quotes() {
        for (line, expected) in [
            ("a,b,c", vec!["a", "b", "c"]),
            (r#""a", "b,c", "d""e""#, vec!["a", "b,c", "d\"e"]),
            (r#"a,"",c,"#, vec!["a", "", "c", ""]),
            (r#""never closed"#, vec!["never closed"]),
            ("", vec![""]),
        ] {
            assert_eq!(fields(line), expected, "{line}");
        }
    }
}
