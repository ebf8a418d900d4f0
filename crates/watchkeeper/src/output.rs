//! Printing: tables for people, JSON and CSV for programs.

use std::io::{self, BufWriter, IsTerminal as _, Write};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};
use store::{Cell, Table};

use crate::cli::FormatName;

/// Widest cell of a table for people, in characters. The other formats cut nothing.
const CELL_CHARS_MAX: usize = 100;

/// Standard output, buffered.
pub(crate) fn stdout() -> BufWriter<io::StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

/// Prints a line.
pub(crate) fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

/// Prints an error.
pub(crate) fn complain(message: &str) {
    // When standard error is gone there is nobody left to tell.
    drop(writeln!(io::stderr().lock(), "watchkeeper: {}", printable(message)));
}

/// A bar on standard error that tells how far something is; nothing where that is no terminal.
pub(crate) fn progress(unit: &str, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    match ProgressStyle::with_template(&format!("{{bar:40}} {{human_pos}}/{{human_len}} {unit} {{eta}}")) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Prints a table.
pub(crate) fn table(table: &Table, format: FormatName) -> anyhow::Result<()> {
    let mut out = stdout();
    match format {
        FormatName::Table if table.rows.is_empty() => writeln!(out, "0 rows of {}", table.columns.join(", "))?,
        FormatName::Table => {
            let mut builder = tabled::builder::Builder::default();
            builder.push_record(table.columns.iter().map(|name| printable(name)));
            for row in &table.rows {
                builder.push_record(row.iter().map(|cell| shorten(&printable(&text(cell)))));
            }
            let mut shown = builder.build();
            shown.with(tabled::settings::Style::sharp());
            writeln!(out, "{shown}")?;
            if table.truncated {
                writeln!(out, "(cut at a limit: ask for less, or use LIMIT and OFFSET)")?;
            }
        }
        FormatName::Json => {
            let rows: Vec<Map<String, Value>> = table.rows.iter().map(|row| object(&table.columns, row)).collect();
            serde_json::to_writer_pretty(&mut out, &rows)?;
            writeln!(out)?;
        }
        FormatName::Csv => {
            // What goes to a program goes as it is; what goes to a terminal must not drive it.
            let terminal = io::stdout().is_terminal();
            let shown = |cell: &Cell| if terminal { printable(&text(cell)) } else { text(cell) };
            write_csv(&mut out, table.columns.iter().map(String::as_str))?;
            for row in &table.rows {
                let cells: Vec<String> = row.iter().map(shown).collect();
                write_csv(&mut out, cells.iter().map(String::as_str))?;
            }
        }
    }
    if table.truncated && format != FormatName::Table {
        complain("the result was cut at a limit: ask for less, or use LIMIT and OFFSET");
    }
    out.flush()?;
    Ok(())
}

fn object(columns: &[String], row: &[Cell]) -> Map<String, Value> {
    columns.iter().cloned().zip(row.iter().map(|cell| serde_json::to_value(cell).unwrap_or(Value::Null))).collect()
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Int(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(text) => text.clone(),
    }
}

fn write_csv<'a>(out: &mut impl Write, cells: impl Iterator<Item = &'a str>) -> io::Result<()> {
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        if cell.contains(['"', ',', '\n', '\r']) {
            write!(out, "\"{}\"", cell.replace('"', "\"\""))?;
        } else {
            out.write_all(cell.as_bytes())?;
        }
    }
    out.write_all(b"\r\n")
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= CELL_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect()
}

/// The text with everything made visible that would move the cursor, colour the terminal, or turn or hide characters:
/// what is shown was written by strangers.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' => shown.push('⏎'),
            '\t' => shown.push(' '),
            char if char.is_control() || is_invisible(char) => shown.push_str(&format!("⟨U+{:04X}⟩", u32::from(char))),
            char => shown.push(char),
        }
    }
    shown
}

fn is_invisible(char: char) -> bool {
    matches!(u32::from(char), 0xad | 0x61c | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe007f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_drive_the_terminal_is_shown_instead() {
        assert_eq!(printable("a\u{1b}[31mred\nb\u{202e}c"), "a⟨U+001B⟩[31mred⏎b⟨U+202E⟩c");
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let mut out = Vec::new();
        write_csv(&mut out, ["a", "b,c", "d\"e"].into_iter()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a,\"b,c\",\"d\"\"e\"\r\n");
    }
}
