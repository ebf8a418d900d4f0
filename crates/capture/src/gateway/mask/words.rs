//! Words that are the beginning of no value may go before the window is over.
//!
//! A complete word has been scanned as it will ever be scanned, so a value without white space in it is found whole. What is left are values
//! of several words: numbers in groups (cards, IBANs, telephone numbers), addresses spelled for people (`ann at example dot com`), quoted
//! phrases behind a name, armoured keys, wrapped base64. A word goes when it is no part of one whatever follows, or when what follows has
//! settled that; at the first word that may be one the text waits, and the window decides. A type of value that begins with plain words needs
//! a case here, and one in the test that cuts texts everywhere.

/// Longest plain word, in bytes: a longer one may be a line of something encoded that goes on in the next.
const PLAIN_BYTES_MAX: usize = 24;

/// Letters that a word with letters beyond ASCII has at the least: shorter ones may be `at` and `dot` in look-alikes.
const FOREIGN_LETTERS_MIN: usize = 4;

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

/// Up to where the text may go. Everything before `from`, where a word begins, has gone.
pub(super) fn settled(text: &str, from: usize) -> usize {
    let words = words(text, from);
    let (mut at, mut end) = (0, from);
    while let Some(word) = words.get(at).filter(|word| word.is_complete) {
        let mut next = at + 1;
        let is_settled = match word.kind {
            Kind::Other => false,
            Kind::Plain | Kind::At => true,
            Kind::Digits => {
                while words.get(next).is_some_and(|word| word.is_complete && word.kind == Kind::Digits) {
                    next += 1;
                }
                words.get(next).is_some_and(ends_number)
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

/// Whether what follows a word shows that it is no name in a spelled address: `[at]`, `at HOST dot`.
fn is_no_address(following: &[Word<'_>]) -> bool {
    let Some(next) = following.first() else { return false };
    let is_word = |word: &Word<'_>| word.text.starts_with(|first: char| first.is_ascii_alphanumeric());
    if !(is_word(next) || (next.is_complete && next.kind == Kind::Plain)) {
        return false;
    }
    if !may_be(next, "at") {
        return true;
    }
    let [_, host, dot, ..] = following else { return false };
    host.kind == Kind::Plain && is_word(dot) && !may_be(dot, "dot")
}

/// Whether a word shows that the number before it is over: it is no extension (`x12`, `ext. 12`).
fn ends_number(word: &Word<'_>) -> bool {
    let is_letter = word.text.starts_with(|first: char| first.is_ascii_alphabetic());
    is_letter
        && !word.text.starts_with('x')
        && !word.text.starts_with("ext")
        && (word.is_complete || !"ext".starts_with(word.text))
}

/// Whether a word is this one, or its beginning.
fn may_be(word: &Word<'_>, what: &str) -> bool {
    let text = core(word.text).1;
    if word.is_complete {
        text.eq_ignore_ascii_case(what)
    } else {
        what.get(..text.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(text))
    }
}

fn words(text: &str, from: usize) -> Vec<Word<'_>> {
    let mut words: Vec<Word<'_>> = Vec::new();
    let mut before = text.get(..from).unwrap_or_default().trim_end().chars().next_back();
    let mut start = from;
    for piece in text.get(from..).unwrap_or_default().split_inclusive(|letter: char| letter.is_ascii_whitespace()) {
        let word = piece.trim_end_matches(|letter: char| letter.is_ascii_whitespace());
        start += piece.len();
        if let Some(last) = words.last_mut().filter(|_| word.is_empty()) {
            last.end = start;
        } else {
            words.push(Word { text: word, end: start, is_complete: word.len() < piece.len(), kind: kind(word, before) });
        }
        before = word.chars().next_back().or(before);
    }
    words
}

/// A word without the marks around it, and whether there were any before it.
fn core(word: &str) -> (bool, &str) {
    let rest = word.trim_start_matches(['(', '[', '*', '_', '#', '"', '“']);
    (rest.len() < word.len(), rest.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '*', '_', '"', '”', '…']))
}

/// `before`: the last letter or mark before it.
fn kind(word: &str, before: Option<char>) -> Kind {
    if matches!(word, "" | "-" | "*" | "#" | "##" | "###" | "####" | "–" | "—" | "•") {
        return Kind::Plain;
    }
    let (is_marked, core) = core(word);
    if core.is_empty() || word.len() > PLAIN_BYTES_MAX {
        return Kind::Other;
    }
    // A quoted phrase may be what a name before it stands for.
    let is_told = before.is_some_and(|before| !before.is_alphanumeric() && !matches!(before, '.' | ',' | ';' | '!' | '?'));
    if is_told && word.starts_with(['"', '“']) {
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
        return if is_number && !is_marked { Kind::Digits } else { Kind::Other };
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
    use super::*;

    /// What of a text may go.
    fn goes(text: &str) -> &str {
        &text[..settled(text, 0)]
    }

    #[test]
    fn prose_goes_when_the_next_word_begins() {
        assert_eq!(goes("The"), "");
        assert_eq!(goes("The "), "");
        assert_eq!(goes("The h"), "The ");
        assert_eq!(goes("The a"), "");
        assert_eq!(goes("The an"), "The ");
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
        ] {
            assert_eq!(goes(text), goes_until, "{text}");
        }
    }

    #[test]
    fn a_quote_waits_behind_a_sign_only() {
        assert_eq!(goes("he said \"well now then"), "he said \"well now ");
        assert_eq!(goes("the secret = \"well now then"), "the ");
        let text = "the secret: \"well now then";
        assert_eq!(settled(text, "the secret: ".len()), "the secret: ".len());
    }
}
