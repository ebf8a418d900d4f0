//! Postal addresses: a street with its number, and the place behind it.

use super::assignment::floor_boundary;
use super::{Match, begins, ends};
use crate::SensitiveType as Kind;

/// Most words of a street's name.
const WORDS_MAX: usize = 6;
/// Longest address.
const ADDRESS_BYTES_MAX: usize = 160;

/// How streets end in English.
#[rustfmt::skip]
const ENDINGS: &[&str] = &[
    "street", "st", "avenue", "ave", "road", "rd", "boulevard", "blvd", "lane", "ln", "drive", "dr", "court", "ct", "way", "place", "pl", "square", "sq", "terrace", "ter", "parkway", "pkwy", "highway",
    "hwy", "circle", "cir", "crescent", "close", "gardens", "grove", "mews", "trail", "row", "alley", "plaza", "quay", "hill",
];
/// Of these, those that are ordinary words or cut short: they need a place behind them.
const WEAK_ENDINGS: &[&str] = &[
    "st", "way", "place", "pl", "dr", "ct", "row", "close", "hill", "plaza", "square", "trail", "court", "ter", "sq", "cir",
    "circle",
];

/// How streets begin where the number stands before them: French.
const BEFORE_STREET: &[&str] = &[
    "rue",
    "avenue",
    "av.",
    "boulevard",
    "bd",
    "place",
    "allée",
    "allee",
    "chemin",
    "impasse",
    "quai",
    "cours",
    "route",
    "square",
    "passage",
    "faubourg",
];

/// Words after a street's number: `Apt 4B`.
const UNITS: &[&str] =
    &["apt", "apt.", "apartment", "suite", "ste", "ste.", "unit", "flat", "floor", "room", "#", "bldg", "building"];

/// States of the United States, provinces of Canada, states of Australia.
#[rustfmt::skip]
const STATES: &[&str] = &[
    "AL", "AK", "AZ", "AR", "CA", "CO", "CT", "DE", "FL", "GA", "HI", "ID", "IL", "IN", "IA", "KS", "KY", "LA", "ME", "MD", "MA", "MI", "MN", "MS", "MO", "MT", "NE", "NV", "NH", "NJ", "NM", "NY", "NC", "ND", "OH", "OK",
    "OR", "PA", "RI", "SC", "SD", "TN", "TX", "UT", "VT", "VA", "WA", "WV", "WI", "WY", "DC", "PR", "ON", "QC", "BC", "AB", "MB", "SK", "NS", "NB", "NL", "PE", "NSW", "VIC", "QLD", "TAS", "ACT", "NT",
];

/// How streets end where the number stands behind them, in lower case: German, Dutch, the Nordic languages.
#[rustfmt::skip]
const STREET_ENDS: &[&str] = &[
    "straße", "strasse", "str.", "gasse", "allee", "platz", "weg", "damm", "ufer", "ring", "chaussee", "steig", "markt",
    "straat", "laan", "plein", "gracht", "kade", "dijk", "gatan", "vägen", "gade", "vej", "gata", "veien", "katu", "tie",
];
/// How streets begin where the number stands behind them, in lower case: Spanish, Italian, Portuguese, Polish.
#[rustfmt::skip]
const STREET_BEGINS: &[&str] = &[
    "calle", "c/", "avenida", "avda.", "avda", "paseo", "plaza", "carrer", "via", "viale", "piazza", "corso", "largo", "rua", "av.", "travessa", "praça", "alameda", "ulica", "ul.", "carretera", "vicolo", "strada",
];

/// An address that begins with a number: `12 Main Street, Springfield, IL 62704`, `12 rue de la Paix, 75002 Paris`. Returns where it
/// ends.
pub(super) fn numbered(text: &str, start: usize, number_end: usize, found: &mut Vec<Match>) -> Option<usize> {
    let bytes = text.as_bytes();
    if number_end - start > 5 || !begins(bytes, start) || is_part(bytes, start) {
        return None;
    }
    let mut at = number_end + usize::from(bytes.get(number_end) == Some(&b','));
    at = spaces(bytes, at)?;
    // `12 bis rue`, `12B Main Street` begins with a letter and is left
    for more in ["bis ", "ter ", "quater "] {
        if text.get(at..)?.starts_with(more) {
            at += more.len();
        }
    }
    let first = word(text, at)?;
    let french = BEFORE_STREET.contains(&first.to_lowercase().as_str());
    if !french && !first.starts_with(|c: char| c.is_uppercase()) {
        return None;
    }
    let (street_end, weak) = if french { (street_name(text, at + first.len())?, false) } else { ended_street(text, at)? };
    let place_end = tail(text, street_end);
    if weak && place_end == street_end {
        return None;
    }
    // a French street without a place behind it is one where it has a name: `3 place de marché`
    push(text, start, place_end, found)
}

/// An address whose street is named before its number: `Hauptstraße 12, 10115 Berlin`, `Calle Mayor 12, 28013 Madrid`. `at` is within the
/// word that shows it. Returns where it ends.
pub(super) fn named(text: &str, at: usize, found: &mut Vec<Match>) -> Option<usize> {
    let bytes = text.as_bytes();
    let start = word_start(text, at);
    let first = word(text, start)?;
    let lower = first.to_lowercase();
    let (start, mut end) = if STREET_BEGINS.contains(&lower.as_str()) && first.starts_with(|c: char| c.is_uppercase()) {
        (start, street_name(text, start + first.len())?)
    } else if STREET_ENDS.iter().any(|end| lower.ends_with(end)) && first.starts_with(|c: char| c.is_uppercase()) {
        // `Unter Straße`, `Alte Hauptstraße`: a word with a capital before it that is alone with the ending
        (if STREET_ENDS.contains(&lower.as_str()) { word_before(text, start)? } else { start }, start + first.len())
    } else {
        return None;
    };
    // `, 12`, ` nº 12`, ` 12a`
    let rest = text.get(end..)?;
    let between =
        [", nº ", ", n.º ", ", n. ", ", n.", " nº ", " n. ", ", ", " "].iter().find(|between| rest.starts_with(**between))?;
    let number = end + between.len();
    let len = bytes.get(number..)?.iter().take(6).take_while(|b| b.is_ascii_digit()).count();
    if !(1..=4).contains(&len) {
        return None;
    }
    end = number + len;
    if bytes.get(end).is_some_and(u8::is_ascii_alphabetic) {
        end += 1;
    } else if bytes.get(end) == Some(&b'-') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end += 1 + bytes[end + 1..].iter().take(4).take_while(|b| b.is_ascii_digit()).count();
    }
    if !ends(bytes, end) || bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let end = tail(text, end);
    push(text, start, end, found)
}

/// The value of something that is named an address.
pub(super) fn labelled(text: &str, start: usize, end: usize, quoted: bool) -> Option<Match> {
    let all = text.get(start..end)?;
    let all = &all[..floor_boundary(all, ADDRESS_BYTES_MAX + 1)];
    let mut len = if quoted { all.len() } else { all.find(['\n', ';', '"', '|', '<', '\t']).unwrap_or(all.len()) };
    if !quoted {
        // the end of a sentence: a dot behind a long word or a number, and a space
        for (dot, _) in all.get(..len)?.match_indices(". ") {
            let before = all.get(..dot)?.rsplit([' ', ',']).next().unwrap_or_default();
            if before.len() > 4 || before.bytes().any(|b| b.is_ascii_digit()) {
                len = dot;
                break;
            }
        }
    }
    let address = all.get(..len)?.trim_end_matches([' ', '.', ',', '\r']);
    let letters = address.split([' ', ',', '\n']).filter(|word| word.chars().filter(|c| c.is_alphabetic()).count() > 1).count();
    let has_digit = address.bytes().any(|b| b.is_ascii_digit());
    let foreign = address.contains(['@', '=', '{', '}', '(', '\\', ':']) || address.contains("//");
    let wide = address.chars().filter(|c| u32::from(*c) >= 0x3000).count() >= 4;
    let begins_well = address.starts_with(|c: char| c.is_ascii_digit() || c.is_uppercase() || u32::from(c) >= 0x3000);
    (has_digit && (letters >= 2 || wide) && !foreign && begins_well && address.len() <= ADDRESS_BYTES_MAX)
        .then(|| Match::new(start, start + address.len(), Kind::PostalAddress, normal(address)))
}

/// Where the street's name ends that has an English ending within a few words, and whether the ending is weak.
fn ended_street(text: &str, from: usize) -> Option<(usize, bool)> {
    let mut at = from;
    let mut last = None;
    for count in 0..WORDS_MAX {
        let word = word(text, at)?;
        let bare = word.trim_end_matches('.');
        let lower = bare.to_lowercase();
        let is_capital = word.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit());
        if !is_capital && !["of", "the", "and", "de", "la"].contains(&lower.as_str()) {
            break;
        }
        if count > 0 && is_capital && ENDINGS.contains(&lower.as_str()) {
            // the dot of an abbreviation belongs to it, that of a sentence does not
            let dot = word.ends_with('.') && bare.len() <= 4 && lower != "road" && lower != "lane";
            last = Some((at + bare.len() + usize::from(dot), WEAK_ENDINGS.contains(&lower.as_str())));
        }
        at += word.len();
        if text.get(at..)?.starts_with(' ') && !word.ends_with(',') {
            at += 1;
        } else {
            break;
        }
    }
    // `12 Park Ave S`
    let (end, weak) = last?;
    let direction = ["NW", "NE", "SW", "SE", "N", "S", "E", "W"].iter().find(|direction| {
        text.get(end..).is_some_and(|rest| rest.strip_prefix(' ').is_some_and(|rest| rest.starts_with(**direction)))
            && ends(text.as_bytes(), end + 1 + direction.len())
    });
    Some((end + direction.map_or(0, |direction| direction.len() + 1), weak))
}

/// Where the name of a street ends: small words and words with capitals.
fn street_name(text: &str, from: usize) -> Option<usize> {
    const SMALL: &[&str] = &[
        "de", "du", "des", "la", "le", "les", "del", "della", "di", "da", "do", "dos", "das", "los", "las", "el", "et", "y", "e",
        "d'", "l'", "im", "am",
    ];
    let (mut at, mut end, mut named) = (from, from, false);
    for _ in 0..WORDS_MAX {
        if !text.get(at..)?.starts_with(' ') {
            break;
        }
        let word = word(text, at + 1)?.trim_end_matches(['.', ',']);
        let lower = word.to_lowercase();
        let is_small = SMALL.iter().any(|small| lower == *small || (small.ends_with('\'') && lower.starts_with(small)));
        let is_capital = word.starts_with(|c: char| c.is_uppercase());
        if word.is_empty() || !(is_small || is_capital) {
            break;
        }
        at += 1 + word.len();
        if is_capital || lower.contains(['\'', '’']) {
            named = true;
            end = at;
        }
    }
    named.then_some(end)
}

/// Takes in what stands behind a street: a unit, a place, a state, a code.
fn tail(text: &str, street_end: usize) -> usize {
    let mut end = street_end;
    if let Some(unit) = unit(text, end) {
        end = unit;
    }
    place(text, end).unwrap_or(end)
}

fn unit(text: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let at = from + [", ", " "].iter().find(|between| rest.starts_with(**between))?.len();
    let name = word(text, at)?;
    if let Some(number) = name.strip_prefix('#').filter(|number| !number.is_empty()) {
        return Some(at + 1 + number.trim_end_matches([',', '.']).len());
    }
    UNITS.contains(&name.to_lowercase().as_str()).then_some(())?;
    let number =
        word(text, at + name.len() + 1).filter(|_| text.get(at + name.len()..).is_some_and(|rest| rest.starts_with(' ')))?;
    let number = number.trim_end_matches([',', '.']);
    (number.len() <= 6 && number.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '#'))
        .then(|| at + name.len() + 1 + number.len())
}

/// `, Springfield, IL 62704`, `, London SW1A 1AA`, `, 10115 Berlin`: at least a code.
fn place(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let rest = text.get(from..)?;
    let between = [", ", ",\n", "\n", " - ", " – ", " "].iter().find(|between| rest.starts_with(**between))?;
    let mut at = from + between.len();
    // code and town
    let code = bytes.get(at..)?.iter().take(9).take_while(|b| b.is_ascii_digit()).count();
    if (4..=6).contains(&code) {
        let mut end = at + code;
        // `1234 AB`, `123 45`, `1000-100`
        if let Some(more) = bytes.get(end..end + 3).filter(|more| more[0] == b' ' && more[1..].iter().all(u8::is_ascii_uppercase))
        {
            end += if ends(bytes, end + more.len()) { more.len() } else { 0 };
        } else if bytes.get(end) == Some(&b'-') {
            end += 1 + bytes[end + 1..].iter().take(4).take_while(|b| b.is_ascii_digit()).count();
        }
        let town = text.get(end..)?.strip_prefix(' ').and_then(|_| town(text, end + 1));
        return town.or_else(|| ends(bytes, end).then_some(end));
    }
    // towns, one or two, then a state or a code
    for _ in 0..2 {
        if let Some(end) = state_and_code(text, at) {
            return Some(end);
        }
        let end = town(text, at)?;
        let rest = text.get(end..)?;
        if let Some(end) = rest.strip_prefix(' ').and_then(|_| british_code(bytes, end + 1)) {
            return Some(end);
        }
        if let Some(end) = rest.strip_prefix(' ').and_then(|_| state_and_code(text, end + 1)) {
            return Some(end);
        }
        let between = [", ", ",\n", "\n"].iter().find(|between| rest.starts_with(**between))?;
        at = end + between.len();
        if let Some(end) = british_code(bytes, at) {
            return Some(end);
        }
        let code = bytes.get(at..)?.iter().take(7).take_while(|b| b.is_ascii_digit()).count();
        if (4..=6).contains(&code) && ends(bytes, at + code) {
            return Some(at + code);
        }
    }
    None
}

/// `IL 62704-1234`, `NSW 2000`, `ON M5V 2T6`, or a state alone.
fn state_and_code(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let state = STATES
        .iter()
        .find(|state| text.get(at..).is_some_and(|rest| rest.starts_with(**state)) && ends(bytes, at + state.len()))?;
    let end = at + state.len();
    let gap = bytes.get(end..).map_or(0, |rest| rest.iter().take(2).take_while(|b| matches!(b, b' ' | b',')).count());
    let from = end + gap;
    let digits = bytes.get(from..).map_or(0, |rest| rest.iter().take(6).take_while(|b| b.is_ascii_digit()).count());
    if gap > 0 && matches!(digits, 4 | 5) {
        let mut code_end = from + digits;
        if bytes.get(code_end) == Some(&b'-')
            && bytes.get(code_end + 1..code_end + 5).is_some_and(|more| more.iter().all(u8::is_ascii_digit))
        {
            code_end += 5;
        }
        return ends(bytes, code_end).then_some(code_end);
    }
    let canadian = bytes.get(from..from + 7).filter(|code| {
        code[0].is_ascii_uppercase()
            && code[1].is_ascii_digit()
            && code[2].is_ascii_uppercase()
            && code[3] == b' '
            && code[4].is_ascii_digit()
    });
    Some(if gap > 0 && canadian.is_some() && ends(bytes, from + 7) { from + 7 } else { end })
}

/// `SW1A 1AA`.
fn british_code(bytes: &[u8], at: usize) -> Option<usize> {
    let outward = bytes.get(at..)?.iter().take(5).take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit()).count();
    let code = bytes.get(at..at + outward + 4)?;
    let fits = (2..=4).contains(&outward)
        && code[0].is_ascii_uppercase()
        && code[..outward].iter().any(u8::is_ascii_digit)
        && code[outward] == b' '
        && code[outward + 1].is_ascii_digit()
        && code[outward + 2..].iter().all(u8::is_ascii_uppercase);
    (fits && ends(bytes, at + outward + 4)).then_some(at + outward + 4)
}

/// Up to three words with capitals.
fn town(text: &str, from: usize) -> Option<usize> {
    let mut end = None;
    let mut at = from;
    for _ in 0..3 {
        let word = word(text, at)?.trim_end_matches(['.', ',', ';', ')', '"', '\'', '!', '?']);
        let is_state = STATES.contains(&word) && end.is_some();
        let fits = word.starts_with(|c: char| c.is_uppercase())
            && word.chars().all(|c| c.is_alphabetic() || matches!(c, '-' | '\'' | '’' | '/'));
        if !fits || is_state || word.chars().filter(|c| c.is_uppercase()).count() == word.chars().count() && end.is_some() {
            break;
        }
        at += word.len();
        end = Some(at);
        if !text.get(at..)?.starts_with(' ') {
            break;
        }
        at += 1;
    }
    end
}

/// Whether a number is a part of something: of a decimal, a date, a path.
fn is_part(bytes: &[u8], start: usize) -> bool {
    start.checked_sub(1).is_some_and(|before| matches!(bytes[before], b'.' | b'/' | b'-' | b'$' | b'%' | b':' | b'=' | b'#'))
}

fn spaces(bytes: &[u8], at: usize) -> Option<usize> {
    let len = bytes.get(at..)?.iter().take(2).take_while(|b| **b == b' ').count();
    (len == 1).then_some(at + len)
}

/// The word that begins at `at`, up to white space; of bounded length.
fn word(text: &str, at: usize) -> Option<&str> {
    const BYTES_MAX: usize = 40;
    let rest = text.get(at..)?;
    let len = rest
        .char_indices()
        .take(BYTES_MAX)
        .find(|(_, c)| c.is_whitespace() || matches!(c, '"' | '<'))
        .map_or_else(|| rest.char_indices().nth(BYTES_MAX).map_or(rest.len(), |(i, _)| i), |(i, _)| i);
    let word = rest.get(..len)?;
    let word = word.find(',').and_then(|comma| word.get(..comma)).unwrap_or(word);
    (!word.is_empty()).then_some(word)
}

/// Where the word begins that `at` is within.
fn word_start(text: &str, at: usize) -> usize {
    const BYTES_MAX: usize = 40;
    let mut start = at;
    for c in text.get(..at).unwrap_or_default().chars().rev().take(BYTES_MAX) {
        if !(c.is_alphabetic() || matches!(c, '-' | '\'')) {
            break;
        }
        start -= c.len_utf8();
    }
    start
}

/// Where the word before the one at `start` begins, if it has a capital.
fn word_before(text: &str, start: usize) -> Option<usize> {
    let end = start.checked_sub(1).filter(|space| text.as_bytes()[*space] == b' ')?;
    let before = word_start(text, end);
    text.get(before..end)?.starts_with(|c: char| c.is_uppercase()).then_some(before)
}

fn push(text: &str, start: usize, end: usize, found: &mut Vec<Match>) -> Option<usize> {
    found.push(Match::new(start, end, Kind::PostalAddress, normal(text.get(start..end)?)));
    Some(end)
}

/// Letters and digits alone, in lower case, so that line ends and commas do not count.
fn normal(address: &str) -> String {
    address.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
