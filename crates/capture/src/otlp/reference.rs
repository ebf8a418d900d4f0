//! The reference of the dialects, written from the tables themselves.

use std::fmt::Write as _;

use super::dialect::Dialects;

/// Markdown: for each dialect how it is recognised and where its keys go.
pub(super) fn write(dialects: &Dialects) -> String {
    let mut out = String::from(
        "# Dialects\n\nHow each instrumentation's names become canonical ones. Written from `content/dialects/*.toml` by \
         `cargo run -p watchkeeper-capture --example otlp_dump -- --dialects`; a test keeps it true.\n\n\
         A dialect is chosen by scope name, then by `service.name`, then by attribute keys or event names. What it does not \
         know is kept under `unmapped` and counted in `watchkeeper.unmapped.count`.\n",
    );
    for dialect in dialects.iter() {
        let table = &dialect.table;
        // Writing to a string cannot fail.
        let _ = write!(out, "\n## {}\n\n{}\n", dialect.name, table.about.trim());
        for (what, names) in [
            ("Scopes that begin with", &table.scopes),
            ("Services", &table.services),
            ("Keys that begin with", &table.keys),
            ("Events that begin with", &table.events),
            ("Span events whose attributes are read as the span's", &table.inline_span_events),
            ("Span events that are events of their own", &table.own_span_events),
            ("Span events that are the items of a list", &table.listed_span_events),
            ("Span events that are dropped and counted", &table.drop_span_events),
            ("Metrics that begin with", &table.metrics),
        ] {
            if !names.is_empty() {
                let _ = writeln!(out, "\n{what}: {}.", list(names));
            }
        }
        if !table.kinds.is_empty() {
            out.push_str("\n| when | kind | phase |\n|---|---|---|\n");
            for rule in &table.kinds {
                let mut when = Vec::new();
                if let Some(key) = &rule.key {
                    let values =
                        if rule.values.is_empty() { "is there".to_owned() } else { format!("is {}", list(&rule.values)) };
                    when.push(format!("`{key}` {values}"));
                }
                for (what, names) in [("event", &rule.events), ("span name", &rule.names), ("span kind", &rule.span_kinds)] {
                    if !names.is_empty() {
                        when.push(format!("{what} {}", list(names)));
                    }
                }
                let phase = format!("{:?}", rule.phase).to_lowercase();
                let _ = writeln!(out, "| {} | {} | {phase} |", when.join(" and "), rule.kind.as_str());
            }
        }
        if !table.contents.is_empty() {
            out.push_str("\n| content in | shape | direction, role, part | for |\n|---|---|---|---|\n");
            for rule in &table.contents {
                let kinds: Vec<&str> =
                    rule.kinds.iter().map(|kind| kind.as_str()).chain(rule.events.iter().map(String::as_str)).collect();
                let fallback = if rule.fallback { " (where nothing else tells)" } else { "" };
                let star = if rule.shape.is_indexed() { ".N.*" } else { "" };
                let _ = writeln!(
                    out,
                    "| `{}{star}`{fallback} | {} | {}, {}, {} | {} |",
                    rule.key,
                    snake(rule.shape),
                    snake(rule.direction),
                    snake(rule.role),
                    snake(rule.part),
                    kinds.join(", ")
                );
            }
        }
        if !table.identity.is_empty() {
            out.push_str("\n| field | keys, the first that is there |\n|---|---|\n");
            for (slot, keys) in &table.identity {
                let _ = writeln!(out, "| {} | {} |", snake(slot), list(keys));
            }
        }
        if !table.attributes.is_empty() {
            out.push_str("\n| key | canonical key |\n|---|---|\n");
            for (from, to) in &table.attributes {
                let _ = writeln!(out, "| `{from}` | `{to}` |");
            }
        }
    }
    out
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn snake(value: impl std::fmt::Debug) -> String {
    let mut out = String::new();
    for character in format!("{value:?}").chars() {
        if character.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(character.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::Dialects;

    #[test]
    fn the_published_reference_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/dialects.md");
        let reference = Dialects::shipped().reference();
        if std::env::var_os("WATCHKEEPER_WRITE_DOCS").is_some() {
            std::fs::write(path, &reference).unwrap();
        }
        assert!(std::fs::read_to_string(path).unwrap() == reference, "run `cargo xtask docs`");
    }
}
