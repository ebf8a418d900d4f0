//! Words that are the beginning of no value may go before the window is over.
//!
//! A complete word has been scanned as it will ever be scanned, so a value without white space in it is found whole. What is left are values
//! of several words: numbers in groups (cards, IBANs, telephone numbers), addresses spelled for people (`ann at example dot com`), quoted
//! phrases behind a name, armoured keys, wrapped base64, postal addresses, codes in groups, and what words announce: names, dates, numbers of
//! documents. The guard says which words announce something; what stands shortly behind them waits. A word goes when it is no part of one whatever follows, or when what follows has
//! settled that; at the first word that may be one the text waits, and the window decides. A type of value that begins with plain words needs
//! a case here, and one in the test that cuts texts everywhere.

use super::super::guard::Guard;

/// Bytes behind an announcement in which a value may begin.
const REACH_BYTES: usize = 64;

/// Most words of an address that are looked at before its number goes.
const ADDRESS_WORDS_MAX: usize = 12;

/// Letters before the digits of a code, most: `CHE`, and four in the codes that have no digits in their first group.
const CODE_LETTERS_MAX: usize = 4;

/// Digits of a code with letters behind them, at the least: `12 34 56 C`.
const CODE_DIGITS_MIN: usize = 6;

/// What a street with its number before it begins with in French; English streets begin with a capital.
const FRENCH_STREETS: [&str; 19] = [
    "rue",
    "avenue",
    "av",
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
    "bis",
    "ter",
    "quater",
];

/// Small words in the names of streets.
const STREET_WORDS: [&str; 5] = ["of", "the", "and", "de", "la"];

/// What ends the name of a street in two words, the number behind it: `Lange Straße 12`.
const STREET_ENDS: [&str; 24] = [
    "Straße", "Strasse", "Str.", "Gasse", "Allee", "Platz", "Weg", "Damm", "Ufer", "Ring", "Chaussee", "Steig", "Markt",
    "Straat", "Laan", "Plein", "Gracht", "Kade", "Dijk", "Gatan", "Gade", "Vej", "Gata", "Katu",
];

/// Longest plain word, in bytes: a longer one may be a line of something encoded that goes on in the next.
const PLAIN_BYTES_MAX: usize = 24;

/// Letters that a word with letters beyond ASCII has at the least: shorter ones may be `at` and `dot` in look-alikes.
const FOREIGN_LETTERS_MIN: usize = 4;

/// Marks that stand alone: of sentences, lists and headings.
const MARKS: [&str; 14] = [".", ",", ";", "!", "?", "-", "*", "#", "##", "###", "####", "–", "—", "•"];

/// Words between a password's name and the password.
const BETWEEN: [&str; 7] = ["is", "now", "was", "to", "ist", "es", "est"];

/// Bytes before a quote in which the name of a password is looked for: `passphrase is now`.
const NAME_BYTES: usize = 40;

/// What a word may be a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Of nothing: letters, with marks at its ends.
    Plain,
    /// Of a number in groups.
    Digits,
    /// Of an address: what is before it is the name.
    At,
    /// Of anything.
    Other,
}

#[derive(Debug, Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    /// Where the white space behind it ends.
    end: usize,
    is_complete: bool,
    kind: Kind,
}

impl Word<'_> {
    /// Whether it is a mark that stands alone, and stays one.
    fn is_mark(&self) -> bool {
        self.is_complete && MARKS.contains(&self.text)
    }
}

/// Up to where the text may go. Everything before `from`, where a word begins, has gone.
pub(super) fn settled(text: &str, from: usize, guard: &dyn Guard) -> usize {
    let mut words = words(text, from);
    hold_announced(text, from, &mut words, guard);
    let (mut at, mut end) = (0, from);
    while let Some(word) = words.get(at).filter(|word| word.is_complete) {
        let mut next = at + 1;
        let is_settled = match word.kind {
            Kind::Other => false,
            Kind::Plain | Kind::At => !may_lead(word, words.get(next..).unwrap_or_default()),
            Kind::Digits => {
                while words.get(next).is_some_and(|word| word.is_complete && word.kind == Kind::Digits) {
                    next += 1;
                }
                let digits = words[at..next].iter().flat_map(|word| word.text.bytes()).filter(u8::is_ascii_digit).count();
                let is_code = |word: &Word<'_>| digits >= CODE_DIGITS_MIN && is_code_letters(word);
                words.get(next).is_some_and(|word| ends_number(word) && !is_code(word))
                    && !may_be_street(words.get(next..).unwrap_or_default())
            }
        };
        if !is_settled || !is_no_address(words.get(next..).unwrap_or_default()) {
            break;
        }
        end = words[next - 1].end;
        at = next;
    }
    end
}

/// Whether plain words are all that is held behind `from`.
pub(super) fn is_plain(text: &str, from: usize) -> bool {
    const HELD_BYTES_MAX: usize = 128;
    text.len() - from <= HELD_BYTES_MAX && words(text, from).iter().all(|word| word.kind == Kind::Plain)
}

/// Lets words wait that stand in the reach of an announcement.
fn hold_announced(text: &str, from: usize, words: &mut [Word<'_>], guard: &dyn Guard) {
    // the announcing words are read whole, and the name before a sign is longer than the reach
    let start = text.floor_char_boundary(from.saturating_sub(3 * REACH_BYTES));
    let announcements = guard.announcements(text.get(start..).unwrap_or_default());
    let mut begin = from;
    for word in words {
        let (at, end) = (begin - start, word.end - start);
        if announcements.iter().any(|announced| *announced <= end && announced + REACH_BYTES > at) {
            word.kind = Kind::Other;
        }
        begin = word.end;
    }
}

/// Whether a plain word may lead a value whose next words have not come: `AB 12 34 56 C`, `RSS MRA 85T10`, `Lange Straße 12`.
fn may_lead(word: &Word<'_>, following: &[Word<'_>]) -> bool {
    let Some(next) = following.first() else { return true };
    if word.is_mark() || next.is_mark() {
        return false;
    }
    // what is not spelled in plain letters may be read as them
    let may_end_street = |end: &&str| match next.text.is_ascii() && next.kind != Kind::Other {
        true if next.is_complete => next.text == *end,
        true => end.starts_with(next.text),
        false => !next.text.starts_with(|first: char| first.is_ascii()) || end.as_bytes().first() == next.text.as_bytes().first(),
    };
    let begins_street = word.text.starts_with(|first: char| first.is_uppercase()) && STREET_ENDS.iter().any(may_end_street);
    let is_number = |word: &Word<'_>| matches!(word.kind, Kind::Digits | Kind::Other);
    let begins_code = is_code_letters(word)
        && (is_number(next) || (is_code_letters(next) && (!next.is_complete || following.get(1).is_none_or(is_number))));
    begins_street || begins_code
}

/// Whether a word is letters of a code, or may be read as such: capitals, and few.
fn is_code_letters(word: &Word<'_>) -> bool {
    let (_, core, _) = core(word.text);
    let letters = core.chars().count();
    (1..=CODE_LETTERS_MAX).contains(&letters) && core.chars().all(|letter| !letter.is_ascii() || letter.is_ascii_uppercase())
}

/// Whether what follows a number may be the rest of an address that begins with it.
fn may_be_street(following: &[Word<'_>]) -> bool {
    let Some(first) = following.first() else { return true };
    if FRENCH_STREETS.iter().any(|street| may_be(first, street)) {
        return true;
    }
    for (count, word) in following.iter().enumerate() {
        let begins_small = word.text.starts_with(|first: char| first.is_ascii_lowercase());
        let is_small = STREET_WORDS.iter().any(|small| may_be(word, small));
        if count >= ADDRESS_WORDS_MAX || word.is_mark() || (begins_small && (count == 0 || !is_small)) {
            return false;
        }
        if !word.is_complete {
            return true;
        }
        // a town, a state and a code may stand behind a comma, but not behind one word
        if word.text.ends_with(',') {
            return count > 0;
        }
    }
    true
}

/// Whether what follows a word shows that it is no name in a spelled address: `[at]`, `at HOST dot`.
fn is_no_address(following: &[Word<'_>]) -> bool {
    let Some(next) = following.first() else { return false };
    let is_word = |word: &Word<'_>| word.text.starts_with(|first: char| first.is_ascii_alphanumeric());
    if !(is_word(next) || (next.is_complete && next.kind == Kind::Plain)) {
        return false;
    }
    if next.is_mark() || !may_be(next, "at") {
        return true;
    }
    // Another reading of what is in it may hold the host and the dot as well: `at%20example%20dot`.
    let [at, host, dot, ..] = following else { return false };
    at.kind != Kind::Other && host.kind == Kind::Plain && (dot.is_mark() || (is_word(dot) && !may_be(dot, "dot")))
}

/// Whether a word shows that the number before it is over: it is no extension (`x12`, `ext. 12`).
fn ends_number(word: &Word<'_>) -> bool {
    word.text.starts_with(|first: char| first.is_ascii_alphabetic() && first != 'x')
        && !word.text.starts_with("ext")
        && !may_be(word, "ext")
}

/// Whether a word is this one, or its beginning. After a mark it may go on as this one: `a&#116;`, and other readings.
fn may_be(word: &Word<'_>, what: &str) -> bool {
    let mark = word.text.find(|letter: char| !letter.is_ascii_alphanumeric());
    let head = &word.text[..mark.unwrap_or(word.text.len())];
    let is_begin = what.get(..head.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(head));
    is_begin && (head.len() == what.len() || mark.is_some() || !word.is_complete)
}

/// Whether a quote behind this text may begin a value: after a sign, or after `password is`.
fn tells(before: &str) -> bool {
    if before.ends_with(|last: char| !last.is_alphanumeric() && !matches!(last, '.' | ',' | ';' | '!' | '?')) {
        return true;
    }
    let near = &before.as_bytes()[before.len().saturating_sub(NAME_BYTES)..];
    // What is not spelled in plain letters may be read as them.
    let is_named = near.windows(3).any(|part| part.eq_ignore_ascii_case(b"ass"))
        || near.iter().any(|byte| !byte.is_ascii() || matches!(byte, b'%' | b'&' | b'\\'));
    is_named && before.split_ascii_whitespace().next_back().is_some_and(|last| BETWEEN.contains(&last))
}

fn words(text: &str, from: usize) -> Vec<Word<'_>> {
    let mut words: Vec<Word<'_>> = Vec::new();
    let mut start = from;
    let mut before = text.get(..from).unwrap_or_default().trim_end();
    for piece in text.get(from..).unwrap_or_default().split_inclusive(|letter: char| letter.is_ascii_whitespace()) {
        let word = piece.trim_end_matches(|letter: char| letter.is_ascii_whitespace());
        let word_end = start + word.len();
        start += piece.len();
        if let Some(last) = words.last_mut().filter(|_| word.is_empty()) {
            last.end = start;
        } else {
            words.push(Word { text: word, end: start, is_complete: word.len() < piece.len(), kind: kind(word, before) });
        }
        if !word.is_empty() {
            before = text.get(..word_end).unwrap_or_default();
        }
    }
    words
}

/// The marks before a word, the word without marks around it, and the marks behind it.
fn core(word: &str) -> (&str, &str, &str) {
    let rest = word.trim_start_matches(['(', '[', '*', '_', '#', '"', '“']);
    let core = rest.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '*', '_', '"', '”', '…']);
    (&word[..word.len() - rest.len()], core, &rest[core.len()..])
}

/// `before`: the text before it, without white space at its end.
fn kind(word: &str, before: &str) -> Kind {
    if word.is_empty() || MARKS.contains(&word) {
        return Kind::Plain;
    }
    let (opening, core, closing) = core(word);
    if core.is_empty() || word.len() > PLAIN_BYTES_MAX {
        return Kind::Other;
    }
    // A quoted phrase may be what a name before it stands for, and may begin with white space.
    let opens_value = closing.find(':').is_some_and(|sign| closing[sign..].contains('"'));
    if opens_value || (opening.contains(['"', '“']) && tells(before)) {
        return Kind::Other;
    }
    if core.eq_ignore_ascii_case("at") {
        return Kind::At;
    }
    if core.eq_ignore_ascii_case("dot") {
        return Kind::Other;
    }
    if core.starts_with(|first: char| first.is_ascii_digit()) {
        let is_number = core.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b',' | b':' | b'/' | b'-'));
        return if is_number && opening.is_empty() { Kind::Digits } else { Kind::Other };
    }
    let mut was_letter = false;
    for letter in core.chars() {
        let is_letter = letter.is_alphabetic();
        let is_inner_mark = was_letter && matches!(letter, '\'' | '’' | '-' | '.' | '/' | ',');
        if !is_letter && !is_inner_mark {
            return Kind::Other;
        }
        was_letter = is_letter;
    }
    let letters = core.chars().filter(|letter| letter.is_alphabetic()).count();
    if core.is_ascii() || letters >= FOREIGN_LETTERS_MIN { Kind::Plain } else { Kind::Other }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::warden::Warden;
    use super::*;

    /// What of a text may go.
    fn goes(text: &str) -> &str {
        &text[..settled(text, 0, &*Warden::guard())]
    }

    #[test]
    fn prose_goes_when_the_next_word_begins() {
        assert_eq!(goes("The"), "");
        assert_eq!(goes("The "), "");
        assert_eq!(goes("The h"), "The ");
        assert_eq!(goes("The a"), "");
        assert_eq!(goes("The an"), "The ");
        assert_eq!(goes("nights ; the tide , and"), "nights ; the tide , ");
        assert_eq!(goes("let it in at six , and"), "let it in at six , ");
        assert_eq!(
            goes("- **Well-known** (and loved), isn't it? In 2024, 3 of 5 said \"yes\"! \n\n The next"),
            "- **Well-known** (and loved), isn't it? In 2024, 3 of 5 said \"yes\"! \n\n The "
        );
        assert_eq!(goes("Wir prüfen déjà das Büro auf"), "Wir prüfen déjà das Büro ");
    }

    #[test]
    fn what_may_be_a_value_waits() {
        for (text, goes_until) in [
            ("my card is 4111 1111 11", "my card is "),
            ("dial 030 1234 567", "dial "),
            ("dial 030 1234 567 or", "dial 030 1234 567 "),
            ("dial 030 1234 567 exc", "dial 030 1234 567 "),
            ("dial 030 1234 567 x", "dial "),
            ("dial 030 1234 567 ex", "dial "),
            ("iban DE89 3704 is", "iban "),
            ("write to ann at example", "write to "),
            ("write to ann at example dot com", "write to "),
            ("write to ann [at] example", "write to "),
            ("look at the harbour is", "look at the harbour "),
            ("look at the d", ""),
            ("my password: \"correct horse battery", "my "),
            ("-----BEGIN RSA PRIVATE KEY", ""),
            ("to +49 170", ""),
            ("ann\u{a0}at example dot com", ""),
            ("ann аt example dot com", ""),
            ("ann at\u{a0}example dot com is", ""),
            ("ann at%20example%20dot com is gone", ""),
            ("ann a&#116; example dot com", ""),
            ("ann a\u{ad}t example dot com", ""),
            ("ann at example d%6ft com", ""),
            ("ann at example dot\u{200b} com", ""),
            ("dial 030 1234 567 e&#120;t. 12", "dial "),
            ("my password: **\"correct horse 9", "my "),
            ("my password:\" correct horse 9", "my "),
            ("{\"password\":\" correct horse 9", ""),
            ("my password:\": correct horse 9", "my "),
            ("call Mr. Ann Sm", "call "),
            ("she was born on 12 Mar", "she was "),
            ("it is 12 Main Str", "it is "),
            ("it is 12 men str", "it is 12 men "),
            ("it is 12 rue de", "it is "),
            ("in Lange Str", "in "),
            ("in Calle May", "in "),
            ("it is AB 12 34", "it is "),
            ("it is RSS MRA", "it is "),
            ("it is 65 180539 W 0", "it is "),
            ("my passport is AB 12", "my "),
            ("class notes: he is \"well now", "class notes: he "),
            ("my password is \"correct horse 9", "my password "),
            ("my ｐａｓｓｗｏｒｄ is now \"correct horse 9", "my ｐａｓｓｗｏｒｄ is "),
        ] {
            assert_eq!(goes(text), goes_until, "{text}");
        }
    }

    #[test]
    fn what_is_held_is_plain_when_its_words_are() {
        for (text, plain) in [
            ("and so I answer.", true),
            ("", true),
            ("they want ann.lee@", false),
            ("look at", false),
            ("it is 4111", false),
            ("key: \"my", false),
        ] {
            assert_eq!(is_plain(text, 0), plain, "{text}");
        }
        assert!(!is_plain("the key: \"my", "the key: ".len()));
    }

    #[test]
    fn a_quote_waits_with_the_word_before_it() {
        // The word before it may be the name of a password.
        assert_eq!(goes("they told us \"well now then"), "they told ");
        assert_eq!(goes("the secret = \"well now then"), "the ");
        let text = "the secret: \"well now then";
        assert_eq!(settled(text, "the secret: ".len(), &*Warden::guard()), "the secret: ".len());
    }
}
