//! What kind of answer a text is: several may hold at once.
//!
//! Read from the form of the text, in any language but for refusals, which are told by the words with which models refuse.

mod refusal;

use event::{Finding, Risk};

pub use refusal::is_refusal;

/// Longest text that is read, in bytes: an answer shows what it is in its beginning.
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// Fewest lines that make a table or a piece of code.
const LINES_MIN: usize = 3;
/// Fewest columns of a table.
const COLUMNS_MIN: usize = 2;
/// Words beside code and tables from which an answer is prose, too.
const PROSE_WORDS_MIN: usize = 12;
/// Most separators of a line that are counted.
const SEPARATORS_MAX: usize = 256;

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Category {
    /// The model says that it will not do what it was asked.
    Refusal,
    /// Source code.
    Code,
    /// Rows and columns, or JSON.
    StructuredData,
    /// Rows with amounts of money, account or card numbers.
    Financial,
    /// Credentials.
    Credentials,
    /// Values that tell of persons.
    PersonalData,
    /// Markup that carries data out when it is rendered.
    MarkupExfiltration,
    /// Sentences.
    Prose,
}

impl Category {
    /// The name that JSON, SQL and rules use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refusal => "refusal",
            Self::Code => "code",
            Self::StructuredData => "structured_data",
            Self::Financial => "financial",
            Self::Credentials => "credentials",
            Self::PersonalData => "personal_data",
            Self::MarkupExfiltration => "markup_exfiltration",
            Self::Prose => "prose",
        }
    }
}

/// How many sensitive values of each sort the sanitiser replaced in a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sensitive {
    /// What opens a door.
    pub secrets: u32,
    /// Numbers of accounts and cards.
    pub financial: u32,
    /// What tells of a person otherwise.
    pub personal: u32,
}

/// What an answer was found to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Its categories, in order, each once.
    pub categories: Vec<Category>,
    /// Rows with amounts of money, account or card numbers.
    pub financial_rows: u32,
}

/// Says what an answer is. `text` is clean; `sensitive` is what was replaced in it, `findings` what inspection found in it.
#[must_use]
pub fn classify(text: &str, sensitive: Sensitive, findings: &[Finding]) -> Output {
    let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    let mut lines = Lines::default();
    lines.read(text);
    let is_json = is_json(text);
    let mut categories = Vec::new();
    let mut tell = |category: Category, holds: bool| {
        if holds {
            categories.push(category);
        }
    };
    let has = |risk: Risk| findings.iter().any(|finding| finding.risk == risk);
    // Account numbers in a sentence are financial; amounts alone are only where they stand in rows.
    let financial_rows = lines.financial_rows.max(if is_json { amounts_in_json(text) } else { 0 });
    tell(Category::Refusal, is_refusal(text));
    tell(Category::Code, lines.code_lines >= LINES_MIN);
    tell(Category::StructuredData, is_json || lines.table_rows >= LINES_MIN);
    tell(Category::Financial, sensitive.financial > 0 || financial_rows as usize >= LINES_MIN);
    tell(Category::Credentials, sensitive.secrets > 0 || has(Risk::CredentialExposure));
    tell(Category::PersonalData, sensitive.personal > 0);
    tell(Category::MarkupExfiltration, has(Risk::DataExfiltration));
    tell(Category::Prose, !is_json && lines.prose_words >= PROSE_WORDS_MIN);
    Output { categories, financial_rows: if financial_rows as usize >= LINES_MIN { financial_rows } else { 0 } }
}

/// What the lines of a text are.
#[derive(Default)]
struct Lines {
    code_lines: usize,
    table_rows: usize,
    financial_rows: u32,
    prose_words: usize,
    /// Lines in a row with the same columns: the separator, how many, and what they hold.
    run: Run,
}

#[derive(Default)]
struct Run {
    separator: u8,
    columns: usize,
    rows: usize,
    financial: u32,
    words: usize,
    code: usize,
}

impl Lines {
    fn read(&mut self, text: &str) {
        let mut fenced = false;
        for line in text.lines() {
            let trimmed = line.trim();
            if trimmed.starts_with("```") || trimmed.starts_with("~~~") {
                self.close();
                fenced = !fenced;
                continue;
            }
            if trimmed.is_empty() {
                continue;
            }
            let columns = columns(trimmed);
            let words = words(trimmed);
            let code = usize::from(is_code(line, trimmed));
            let same = columns.is_some_and(|(separator, columns)| separator == self.run.separator && columns == self.run.columns);
            if !same {
                self.close();
                if let Some((separator, columns)) = columns {
                    self.run = Run { separator, columns, ..Run::default() };
                }
            }
            if columns.is_some() {
                // The line under a table's head is no row.
                if trimmed.bytes().any(|byte| byte.is_ascii_alphanumeric()) || !trimmed.is_ascii() {
                    self.run.rows += 1;
                    self.run.financial += u32::from(is_financial(trimmed));
                    self.run.words += words;
                    self.run.code += code;
                }
            } else if fenced || code > 0 {
                self.code_lines += 1;
            } else {
                self.prose_words += words;
            }
        }
        self.close();
    }

    /// Ends a run: what is too short for a table was code or sentences with a comma.
    fn close(&mut self) {
        let run = std::mem::take(&mut self.run);
        let is_table = run.rows >= LINES_MIN && (run.separator != b',' || run.columns > COLUMNS_MIN || run.words <= 8 * run.rows);
        if is_table && run.code * 2 <= run.rows {
            self.table_rows += run.rows;
            self.financial_rows = self.financial_rows.saturating_add(run.financial);
        } else {
            self.code_lines += run.code;
            if run.code == 0 {
                self.prose_words += run.words;
            }
        }
    }
}

/// The separator of a line that has columns, and how many columns it has.
fn columns(line: &str) -> Option<(u8, usize)> {
    let bytes = line.as_bytes();
    [b'\t', b'|', b';', b','].into_iter().find_map(|separator| {
        let count = memchr::memchr_iter(separator, bytes).take(SEPARATORS_MAX).count();
        (count + 1 >= COLUMNS_MIN && (separator != b';' || !line.ends_with(';'))).then_some((separator, count + 1))
    })
}

fn words(line: &str) -> usize {
    line.split_whitespace().filter(|word| word.chars().any(char::is_alphabetic)).count()
}

/// Whether a line reads like code in one of the usual languages: how it begins, how it ends, what stands in it.
fn is_code(line: &str, trimmed: &str) -> bool {
    const BEGINS: [&str; 26] = [
        "def ",
        "class ",
        "import ",
        "from ",
        "#include",
        "#define",
        "fn ",
        "pub ",
        "let ",
        "const ",
        "var ",
        "function ",
        "public ",
        "private ",
        "return ",
        "if (",
        "for (",
        "while (",
        "package ",
        "using ",
        "SELECT ",
        "INSERT ",
        "UPDATE ",
        "CREATE ",
        "func ",
        "elif ",
    ];
    const ENDS: [&str; 10] = ["{", "}", "};", ");", "):", "],", "},", "=>", "->", ";"];
    const WITHIN: [&str; 10] = ["=> {", "() ", "();", " == ", " != ", " := ", "->", "::", " && ", "</"];
    let count = |list: &[&str], fits: &dyn Fn(&str) -> bool| list.iter().any(|one| fits(one));
    let begins = count(&BEGINS, &|one| trimmed.starts_with(one));
    let ends = count(&ENDS, &|one| trimmed.ends_with(one));
    let within = count(&WITHIN, &|one| trimmed.contains(one));
    let indented = line.starts_with("    ") || line.starts_with('\t');
    let assigns = trimmed.split_once(" = ").is_some_and(|(name, _)| !name.is_empty() && !name.contains(' '));
    u8::from(begins) + u8::from(ends) + u8::from(within) + u8::from(indented) + 2 * u8::from(assigns) >= 2
        || matches!(trimmed, "}" | "};" | ")" | ");" | "end" | "},")
}

/// Whether a row holds an amount of money, or the number of an account or card: as it stands, or the token in its place.
fn is_financial(row: &str) -> bool {
    const TOKENS: [&str; 3] = ["<IBAN:", "<CREDIT_CARD:", "<BANK_ACCOUNT:"];
    TOKENS.iter().any(|token| row.contains(token)) || cells(row).any(is_amount)
}

fn cells(row: &str) -> impl Iterator<Item = &str> {
    row.split(['\t', '|', ';', '"', ' ', ',']).chain(row.split(['\t', '|', ';', '"'])).map(str::trim)
}

/// `1,234.50`, `1.234,50`, `€12`, `12 EUR`, `-$3.10`.
fn is_amount(cell: &str) -> bool {
    const CODES: [&str; 16] =
        ["USD", "EUR", "GBP", "CHF", "JPY", "CNY", "INR", "BRL", "CAD", "AUD", "SEK", "NOK", "DKK", "PLN", "ZAR", "MXN"];
    let signs = ['$', '€', '£', '¥', '₹', '₽', '₩'];
    let coded = |text: &str| CODES.iter().any(|code| text.starts_with(code) || text.ends_with(code));
    let has_currency = cell.contains(signs) || coded(cell);
    if !has_currency && cell.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        return false;
    }
    let number = cell.trim_matches(|character: char| signs.contains(&character) || character.is_ascii_alphabetic());
    let number = number.trim().trim_start_matches(['-', '+', '(']).trim_end_matches(')').trim_matches(signs);
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    let separators = ['.', ',', ' ', '\''];
    let only = number.bytes().all(|byte| byte.is_ascii_digit() || separators.contains(&char::from(byte)));
    // Two digits behind the last separator are cents. Those before it stand in threes; in dates and versions they do not.
    let cents = number.rsplit_once(['.', ',']).is_some_and(|(whole, cents)| {
        let mut groups = whole.split(separators);
        let first = groups.next().is_some_and(|first| !first.is_empty());
        cents.len() == 2 && first && groups.all(|group| group.len() == 3)
    });
    digits > 0 && only && digits <= 15 && (has_currency || cents && digits >= 3)
}

/// Whether a text is one JSON value with more than one entry, by how it begins and ends.
fn is_json(text: &str) -> bool {
    let text = text.trim().trim_start_matches("```json").trim_matches('`').trim();
    let closed = (text.starts_with('{') && text.ends_with('}')) || (text.starts_with('[') && text.ends_with(']'));
    closed
        && memchr::memchr_iter(b':', text.as_bytes()).take(2).count() + memchr::memchr_iter(b',', text.as_bytes()).take(2).count()
            >= 2
}

/// Values of a JSON text that are amounts, as far as they can be told by their form.
fn amounts_in_json(text: &str) -> u32 {
    const TOKENS: [&str; 3] = ["<IBAN:", "<CREDIT_CARD:", "<BANK_ACCOUNT:"];
    let values = text.split([',', '{', '}', '[', ']', '\n']).filter_map(|pair| pair.rsplit_once(':').map(|(_, value)| value));
    let amounts = values.filter(|value| is_amount(value.trim().trim_matches('"'))).count();
    let tokens: usize = TOKENS.iter().map(|token| text.matches(token).count()).sum();
    u32::try_from(amounts.max(tokens)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, sensitive: Sensitive) -> Vec<&'static str> {
        classify(text, sensitive, &[]).categories.into_iter().map(Category::as_str).collect()
    }

    const NONE: Sensitive = Sensitive { secrets: 0, financial: 0, personal: 0 };

    #[test]
    fn answers_are_told_apart_by_their_form() {
        let rust = "Here you go:\n\n```rust\nfn main() {\n    println!(\"hi\");\n}\n```\n";
        let python = "import os\n\ndef walk(path):\n    for name in os.listdir(path):\n        print(name)\n    return None\n";
        let table = "| name | amount | date |\n|---|---|---|\n| Rent | 1,200.00 | 1 May |\n| Power | 84.10 | 2 May |\n| Water | 21.95 | 3 May |";
        let csv = "account,amount,currency\n<IBAN:v26:a>,120.00,EUR\n<IBAN:v26:b>,7.25,EUR\n<IBAN:v26:c>,99.10,EUR";
        let json = r#"[{"who":"a","total":12.50},{"who":"b","total":17.20},{"who":"c","total":3.99}]"#;
        let cities = "city;country;people\nOslo;Norway;709000\nTurin;Italy;841000\nLyon;France;522000";
        let prose = "The harbour was quiet that morning, and the master of the port wrote down, as he did each day, what the wind had brought.";
        for (text, expected) in [
            (rust, vec!["code"]),
            (python, vec!["code"]),
            (table, vec!["structured_data", "financial"]),
            (csv, vec!["structured_data", "financial"]),
            (json, vec!["structured_data", "financial"]),
            (cities, vec!["structured_data"]),
            (prose, vec!["prose"]),
            ("The total is $12.50.", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(names(text, NONE), expected, "{text}");
        }
        assert_eq!(classify(csv, NONE, &[]).financial_rows, 3);
        assert_eq!(classify(cities, NONE, &[]).financial_rows, 0);
        let of = |secrets, financial, personal| names("See here.", Sensitive { secrets, financial, personal });
        assert_eq!((of(1, 0, 0), of(0, 1, 0), of(0, 0, 1)), (vec!["credentials"], vec!["financial"], vec!["personal_data"]));
    }

    #[test]
    fn amounts_are_told_from_other_numbers() {
        for yes in ["1,234.50", "1.234,50", "€12", "12 EUR", "-$3.10", "USD 1 000", "(84.10)"] {
            assert!(is_amount(yes), "{yes}");
        }
        for no in ["", "12", "1.5", "2026-11-22", "v1.20.30x", "10.0.0.1", "eur", "709000", "3.14159"] {
            assert!(!is_amount(no), "{no}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_classified(text in "[ -~\n\té|,;$€]{0,400}") {
            let output = classify(&text, NONE, &[]);
            proptest::prop_assert!(output.categories.is_sorted());
        }
    }
}
