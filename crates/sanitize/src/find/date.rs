//! Dates as people write them.

/// Names of months, without their ends, in lower case. Longer ones before those that they begin with.
#[rustfmt::skip]
const MONTHS: [&[&str]; 12] = [
    &["january", "jan", "januar", "janvier", "janv", "enero", "ene", "gennaio", "gen", "janeiro", "januari", "stycznia", "января", "ocak"],
    &["february", "feb", "februar", "février", "fevrier", "févr", "febrero", "febbraio", "fevereiro", "fev", "februari", "lutego", "февраля", "şubat"],
    &["march", "mar", "märz", "maerz", "mrz", "mars", "marzo", "março", "maart", "mrt", "marca", "марта", "mart"],
    &["april", "apr", "avril", "avr", "abril", "abr", "aprile", "kwietnia", "апреля", "nisan"],
    &["may", "mai", "mayo", "maggio", "mag", "maio", "mei", "maj", "maja", "мая", "mayıs"],
    &["june", "jun", "juni", "juin", "junio", "giugno", "giu", "junho", "czerwca", "июня", "haziran"],
    &["july", "jul", "juli", "juillet", "juil", "julio", "luglio", "lug", "julho", "lipca", "июля", "temmuz"],
    &["august", "aug", "août", "aout", "agosto", "ago", "augustus", "augusti", "sierpnia", "августа", "ağustos"],
    &["september", "sept", "sep", "septembre", "septiembre", "settembre", "set", "setembro", "września", "сентября", "eylül"],
    &["october", "oct", "oktober", "okt", "octobre", "octubre", "ottobre", "ott", "outubro", "out", "października", "октября", "ekim"],
    &["november", "nov", "novembre", "noviembre", "novembro", "listopada", "ноября", "kasım"],
    &["december", "dec", "dezember", "dez", "décembre", "decembre", "déc", "diciembre", "dic", "dicembre", "dezembro", "desember", "grudnia", "декабря", "aralık"],
];

/// Longest name of a month, in bytes.
const MONTH_BYTES_MAX: usize = 24;

/// The date that begins at `from`. Returns where it ends, and the date as `YYYY-MM-DD` where its parts are plain.
pub(super) fn at(text: &str, from: usize) -> Option<(usize, String)> {
    let bytes = text.as_bytes();
    if bytes.get(from)?.is_ascii_digit() {
        return numeric(text, from).or_else(|| day_first(text, from)).or_else(|| compact(bytes, from));
    }
    month_first(text, from)
}

/// `12/03/1980`, `1980-03-12`, `12.03.80`, `1980年3月12日`.
fn numeric(text: &str, from: usize) -> Option<(usize, String)> {
    let bytes = text.as_bytes();
    let (first, first_end) = digits(bytes, from, 4)?;
    let (between, second_start) = separator(text, first_end)?;
    let (second, second_end) = digits(bytes, second_start, 2)?;
    let (again, third_start) = separator(text, second_end)?;
    let (third, third_end) = digits(bytes, third_start, 4)?;
    let cjk = between == '年';
    if cjk != (again == '月') || (!cjk && between != again) {
        return None;
    }
    let mut end = third_end;
    if cjk && text.get(end..)?.starts_with('日') {
        end += '日'.len_utf8();
    }
    let (year, month, day) = if first_end - from == 4 {
        (first, second, third)
    } else if matches!(third_end - third_start, 2 | 4) {
        // the day first or the month: what both may be is not decided
        if second > 12 { (third, first, second) } else { (third, second, first) }
    } else {
        return None;
    };
    let plausible = (1..=12).contains(&month) && (1..=31).contains(&day) && is_year(year) && !goes_on(bytes, end);
    plausible.then(|| (end, format!("{year:04}-{month:02}-{day:02}")))
}

/// `12 March 1980`, `12. März 1980`, `12 de marzo de 1980`, `12th of March, 1980`, `12-Mar-1980`, `1er mars 1980`.
fn day_first(text: &str, from: usize) -> Option<(usize, String)> {
    let bytes = text.as_bytes();
    let (day, mut at) = digits(bytes, from, 2)?;
    for ordinal in ["st", "nd", "rd", "th", "er", "º", "."] {
        if text.get(at..)?.starts_with(ordinal) {
            at += ordinal.len();
            break;
        }
    }
    at = skip(text, at, &[" de ", " of ", " del ", " d'", " ", "-", "/"])?;
    let (month, at) = month(text, at)?;
    let at = skip(text, at, &[", ", ". ", " de ", " del ", " ", "-", "/", "."])?;
    let (year, end) = digits(bytes, at, 4)?;
    let plausible = (1..=31).contains(&day) && end - at != 3 && end - at > 1 && is_year(year) && !goes_on(bytes, end);
    plausible.then(|| (end, format!("{year:04}-{month:02}-{day:02}")))
}

/// `March 12, 1980`, `Mar. 12th 1980`.
fn month_first(text: &str, from: usize) -> Option<(usize, String)> {
    let bytes = text.as_bytes();
    let (month, at) = month(text, from)?;
    let at = skip(text, at, &[". ", " ", "-", "/"])?;
    let (day, mut at) = digits(bytes, at, 2)?;
    for ordinal in ["st", "nd", "rd", "th"] {
        if text.get(at..)?.starts_with(ordinal) {
            at += ordinal.len();
            break;
        }
    }
    let at = skip(text, at, &[", ", ",", " ", "-", "/"])?;
    let (year, end) = digits(bytes, at, 4)?;
    let plausible = (1..=31).contains(&day) && end - at == 4 && is_year(year) && !goes_on(bytes, end);
    plausible.then(|| (end, format!("{year:04}-{month:02}-{day:02}")))
}

/// `19800312`.
fn compact(bytes: &[u8], from: usize) -> Option<(usize, String)> {
    let (whole, end) = digits(bytes, from, 8)?;
    let (year, month, day) = (whole / 10_000, whole / 100 % 100, whole % 100);
    let plausible =
        end - from == 8 && is_year(year) && (1..=12).contains(&month) && (1..=31).contains(&day) && !goes_on(bytes, end);
    plausible.then(|| (end, format!("{year:04}-{month:02}-{day:02}")))
}

/// A year of somebody who may live, or its last two digits.
fn is_year(year: u32) -> bool {
    year < 100 || (1880..=2099).contains(&year)
}

/// At most `most` digits, and the number that they are.
fn digits(bytes: &[u8], from: usize, most: usize) -> Option<(u32, usize)> {
    let len = bytes.get(from..)?.iter().take(most + 1).take_while(|b| b.is_ascii_digit()).count();
    if !(1..=most).contains(&len) {
        return None;
    }
    let number = bytes[from..from + len].iter().fold(0, |sum, digit| sum * 10 + crate::checksum::value(*digit));
    Some((number, from + len))
}

fn separator(text: &str, at: usize) -> Option<(char, usize)> {
    let mut rest = text.get(at..)?.chars();
    let first = rest.next()?;
    let spaced = matches!(first, '.' | '/' | '-') && rest.next() == Some(' ');
    matches!(first, '/' | '-' | '.' | ' ' | '年' | '月').then(|| (first, at + first.len_utf8() + usize::from(spaced)))
}

fn skip(text: &str, at: usize, between: &[&str]) -> Option<usize> {
    let rest = text.get(at..)?;
    between.iter().find(|between| rest.starts_with(**between)).map(|between| at + between.len())
}

fn month(text: &str, at: usize) -> Option<(u32, usize)> {
    let rest = text.get(at..)?;
    let len = rest.char_indices().find(|(i, c)| !c.is_alphabetic() || *i > MONTH_BYTES_MAX).map_or(rest.len(), |(i, _)| i);
    let word = rest.get(..len)?.to_lowercase();
    let month = MONTHS.iter().position(|names| names.contains(&word.as_str()))?;
    Some((u32::try_from(month).ok()? + 1, at + len))
}

/// Whether more of a number follows, so that it is no date.
fn goes_on(bytes: &[u8], end: usize) -> bool {
    let more = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    bytes.get(end).is_some_and(|b| matches!(b, b'-' | b'/' | b'.')) && bytes.get(end + 1).is_some_and(u8::is_ascii_digit)
        || (more(end) && !(bytes[end] == b'T' && bytes.get(end + 1).is_some_and(u8::is_ascii_digit)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_of_many_forms() {
        for (text, end) in [
            ("12/03/1980", "1980-03-12"),
            ("03/25/1980, and", "1980-03-25"),
            ("1980-03-12.", "1980-03-12"),
            ("1980-03-12T00:00:00Z", "1980-03-12"),
            ("12.03.80 ", "0080-03-12"),
            ("12 March 1980", "1980-03-12"),
            ("12th of March, 1980", "1980-03-12"),
            ("12. März 1980", "1980-03-12"),
            ("12 de marzo de 1980", "1980-03-12"),
            ("1er mars 1980", "1980-03-01"),
            ("12-Mar-1980", "1980-03-12"),
            ("March 12, 1980", "1980-03-12"),
            ("Mar 12th 1980", "1980-03-12"),
            ("1980年3月12日", "1980-03-12"),
            ("19800312", "1980-03-12"),
        ] {
            assert_eq!(super::at(text, 0).map(|found| found.1).as_deref(), Some(end), "{text}");
        }
        for text in ["12/03", "1.2.3.4", "45/13/1980", "12 monkeys 1980", "1980-03", "12/03/19801", "May 1980"] {
            assert_eq!(super::at(text, 0), None, "{text}");
        }
    }
}
