//! Lists with one value in a line, and files of hosts.

use super::{Options, base};
use crate::indicator::{Kind, Reading};

pub(super) fn read(text: &str, options: &Options) -> Reading {
    let mut reading = Reading::default();
    let base = base(options);
    for line in text.lines() {
        let line = match options.kind {
            // A prompt or a command may hold whatever it likes.
            Some(Kind::Prompt | Kind::NearPrompt | Kind::Command | Kind::UserAgent) => line.trim(),
            _ => value_of(line),
        };
        if line.is_empty() || line.starts_with(['#', ';']) || line.starts_with("//") {
            continue;
        }
        match options.kind.or_else(|| kind_of(line)) {
            Some(kind) => reading.take(&base, kind, line),
            None => reading.problems.note("a line that is no value of a known kind", line),
        }
    }
    reading
}

/// The value of a line: without what is behind it, and without the address of a file of hosts before it.
fn value_of(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return line;
    }
    let line = line.split([';', '\t']).next().unwrap_or(line);
    let line = line.split(" #").next().unwrap_or(line).trim();
    match line.split_once(' ') {
        Some(("0.0.0.0" | "127.0.0.1" | "::1" | "::", name)) => name.trim(),
        _ => line,
    }
}

/// What a value is, by its form.
fn kind_of(value: &str) -> Option<Kind> {
    let by_form = [Kind::Url, Kind::Ip, Kind::Hash, Kind::Email, Kind::Domain];
    by_form.into_iter().find(|kind| crate::normalize(*kind, value).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_values_of_the_kind_that_they_look_like() {
        let text = "# comment\n; another\n\nevil.example\n45.9.148.0/24 ; SBL1\nhttp://a.example/#x\nEve@b.example # note\n\
            0.0.0.0 hosts.example\nnot a value\nd41d8cd98f00b204e9800998ecf8427e\r\n";
        let reading = read(text, &Options::default());
        let found: Vec<String> = reading.indicators.iter().map(|one| format!("{} {}", one.kind, one.value)).collect();
        let expected = [
            "domain evil.example",
            "ip 45.9.148.0/24",
            "url http://a.example/",
            "email eve@b.example",
            "domain hosts.example",
            "hash d41d8cd98f00b204e9800998ecf8427e",
        ];
        assert_eq!((found, reading.problems.count()), (expected.map(str::to_owned).to_vec(), 1));
        assert_ne!(reading.indicators[0].id, reading.indicators[1].id);
    }

    #[test]
    fn the_kind_can_be_said() {
        let options = Options { kind: Some(Kind::Prompt), ..Options::default() };
        let reading = read("one two three four five six seven # eight\ntoo short\n", &options);
        assert_eq!((reading.indicators.len(), reading.problems.count()), (1, 1));
    }
}
