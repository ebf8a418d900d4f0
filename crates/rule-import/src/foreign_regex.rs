//! Regexes of JavaScript and Python in the dialect of signatures (`docs/reference/signatures.md`).
//!
//! What has no equal that runs in linear time (look-around, back-references) is refused with its name. ECMAScript is read as annex B of
//! ECMA-262 has it, without the `u` flag: `\e` is an `e`, a brace that opens no quantifier is a brace.

/// Whose regex it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    JavaScript,
    Python,
}

/// Longest regex that is taken, in bytes.
const REGEX_BYTES_MAX: usize = 16 * 1024;

/// The regex in the dialect of signatures.
pub(crate) fn translate(regex: &str, flavour: Flavour) -> Result<String, String> {
    if regex.len() > REGEX_BYTES_MAX {
        return Err(format!("a regex of over {REGEX_BYTES_MAX} bytes"));
    }
    let characters: Vec<char> = strip_flags(regex).chars().collect();
    let mut reader = Reader { characters: &characters, at: 0, out: String::with_capacity(regex.len() + 16), flavour };
    while let Some(character) = reader.next() {
        reader.outside(character)?;
    }
    let mut out = reader.out;
    // The dialect trims what stands around a pattern.
    if out.starts_with(' ') {
        out.replace_range(..1, "[ \\n]");
    }
    if out.ends_with(' ') {
        out.replace_range(out.len() - 1.., "[ \\n]");
    }
    Ok(out)
}

/// Without the flags at its head: what is imported matches in any case, and ATR's own engine takes the other flags off, too.
fn strip_flags(regex: &str) -> &str {
    let Some((flags, rest)) = regex.strip_prefix("(?").and_then(|rest| rest.split_once(')')) else { return regex };
    if !flags.is_empty() && flags.bytes().all(|flag| b"imsux".contains(&flag)) { rest } else { regex }
}

struct Reader<'r> {
    characters: &'r [char],
    at: usize,
    out: String,
    flavour: Flavour,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let character = self.characters.get(self.at).copied();
        self.at += usize::from(character.is_some());
        character
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    fn starts_with(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(ahead, character)| self.peek(ahead) == Some(character))
    }

    fn outside(&mut self, character: char) -> Result<(), String> {
        match character {
            '\\' => return self.escape(false),
            '[' => return self.class(),
            '(' => {
                for (head, name) in [("?=", "look-ahead"), ("?!", "look-ahead"), ("?<=", "look-behind"), ("?<!", "look-behind")] {
                    if self.starts_with(head) {
                        return Err(name.to_owned());
                    }
                }
                for (head, name) in [("?P=", "back-reference"), ("?(", "condition in the regex"), ("?>", "atomic group")] {
                    if self.starts_with(head) {
                        return Err(name.to_owned());
                    }
                }
                self.out.push('(');
            }
            '^' => self.out.push_str("\\A"),
            '$' => self.out.push_str("\\z"),
            '{' if !self.opens_quantifier() => self.out.push_str("\\{"),
            '{' => {
                self.out.push('{');
                while let Some(character) = self.next() {
                    self.out.push(character);
                    if character == '}' {
                        break;
                    }
                }
            }
            '}' => self.out.push_str("\\}"),
            ']' => self.out.push_str("\\]"),
            // White space that the dialect takes for nothing else but itself.
            '\n' => self.out.push_str("\\n"),
            '\r' => self.out.push_str("\\r"),
            '\t' => self.out.push_str("\\t"),
            other => self.out.push(other),
        }
        Ok(())
    }

    /// Whether what follows a brace makes it a quantifier: `3}`, `3,}`, `3,5}`; not as the first thing there is.
    fn opens_quantifier(&self) -> bool {
        let rest: String = self.characters[self.at..].iter().take(16).take_while(|one| **one != '}').collect();
        let closed = self.characters[self.at..].iter().take(16).any(|one| *one == '}');
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_range = match rest.split_once(',') {
            Some((from, to)) => number(from) && (to.is_empty() || number(to)),
            None => number(&rest),
        };
        closed && is_range && !self.out.is_empty() && !self.out.ends_with(['(', '|'])
    }

    /// An escape, in a class or outside.
    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let Some(character) = self.next() else { return Err("a regex that ends with a backslash".to_owned()) };
        match character {
            'b' if in_class => self.out.push_str("\\x08"),
            'B' if in_class => self.out.push('B'),
            'b' | 'B' | 'd' | 'D' | 's' | 'S' | 'w' | 'W' | 'n' | 'r' | 't' | 'f' | 'v' => {
                self.out.push('\\');
                self.out.push(character);
            }
            'A' if self.flavour == Flavour::Python => self.out.push_str("\\A"),
            'Z' | 'z' if self.flavour == Flavour::Python => self.out.push_str("\\z"),
            'p' | 'P' if self.peek(0) == Some('{') => {
                self.out.push('\\');
                self.out.push(character);
                while let Some(character) = self.next() {
                    self.out.push(character);
                    if character == '}' {
                        break;
                    }
                }
            }
            'x' => self.code_point(2, 'x'),
            'u' if self.peek(0) == Some('{') => self.braced_code_point(),
            'u' => self.utf16(),
            'U' if self.flavour == Flavour::Python => self.code_point(8, 'U'),
            'c' => match self.next() {
                Some(letter) if letter.is_ascii_alphabetic() => self.push_code(u32::from(letter) % 32),
                other => self.out.extend("\\\\c".chars().chain(other)),
            },
            'k' if self.peek(0) == Some('<') => return Err("back-reference".to_owned()),
            '0' if !self.peek(0).is_some_and(|next| next.is_ascii_digit()) => self.push_code(0),
            '1'..='9' if !in_class => return Err("back-reference".to_owned()),
            letter if letter.is_ascii_alphanumeric() => self.out.push(letter),
            '<' | '>' => self.out.push(character),
            punctuation if punctuation.is_ascii_punctuation() => {
                self.out.push('\\');
                self.out.push(punctuation);
            }
            ' ' => self.out.push_str(if in_class { " " } else { "[ \\n]" }),
            other => self.out.push(other),
        }
        Ok(())
    }

    /// A code point of so many hexadecimal digits; without them the letter itself.
    fn code_point(&mut self, digits: usize, letter: char) {
        match self.hex(digits) {
            Some(code) => {
                self.at += digits;
                self.push_code(code);
            }
            None => self.out.push(letter),
        }
    }

    fn braced_code_point(&mut self) {
        let digits = self.characters[self.at + 1..].iter().take(6).take_while(|one| one.is_ascii_hexdigit()).count();
        let code: String = self.characters[self.at + 1..self.at + 1 + digits].iter().collect();
        match u32::from_str_radix(&code, 16) {
            Ok(code) if self.peek(1 + digits) == Some('}') => {
                self.at += digits + 2;
                self.push_code(code);
            }
            _ => self.out.push('u'),
        }
    }

    /// A code unit of UTF-16, or two that belong together.
    fn utf16(&mut self) {
        let Some(high) = self.hex(4) else {
            self.out.push('u');
            return;
        };
        self.at += 4;
        if (0xd800..0xdc00).contains(&high) && self.starts_with("\\u") {
            self.at += 2;
            if let Some(low) = self.hex(4).filter(|low| (0xdc00..0xe000).contains(low)) {
                self.at += 4;
                self.push_code(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00));
                return;
            }
            self.at -= 2;
        }
        self.push_code(high);
    }

    fn hex(&self, digits: usize) -> Option<u32> {
        let text: String = self.characters.get(self.at..self.at + digits)?.iter().collect();
        text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(&text, 16).ok()).flatten()
    }

    /// A lone surrogate stays what it is, and is refused when the regex is read: no text has one.
    fn push_code(&mut self, code: u32) {
        self.out.push_str(&format!("\\u{{{code:X}}}"));
    }

    fn class(&mut self) -> Result<(), String> {
        // What stands for any character.
        for any in ["\\s\\S]", "\\S\\s]", "\\d\\D]", "\\D\\d]", "\\w\\W]", "\\W\\w]", "^]"] {
            if self.starts_with(any) && (any != "^]" || self.flavour == Flavour::JavaScript) {
                self.at += any.len();
                self.out.push_str("(?s:.)");
                return Ok(());
            }
        }
        self.out.push('[');
        if self.peek(0) == Some('^') {
            self.at += 1;
            self.out.push('^');
        }
        let mut is_first = true;
        while let Some(character) = self.next() {
            match character {
                ']' if is_first && self.flavour == Flavour::Python => self.out.push_str("\\]"),
                ']' => {
                    self.out.push(']');
                    return Ok(());
                }
                '\\' => self.escape(true)?,
                '[' | '&' | '~' => {
                    self.out.push('\\');
                    self.out.push(character);
                }
                '-' if is_first || self.peek(0) == Some(']') || self.peek(0) == Some('-') => self.out.push_str("\\-"),
                other => self.out.push(other),
            }
            is_first = false;
        }
        Err("a class that is not closed".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn javascript(regex: &str) -> Result<String, String> {
        translate(regex, Flavour::JavaScript)
    }

    #[test]
    fn javascript_becomes_the_dialect() {
        for (given, made) in [
            (r"(?i)ignore\s+all", r"ignore\s+all"),
            (r"(?i:ignore)", r"(?i:ignore)"),
            (r"^a\/b$", r"\Aa\/b\z"),
            (r"\u0041\uD83D\uDE00\x41\u{1F600}", r"\u{41}\u{1F600}\u{41}\u{1F600}"),
            (r"[\s\S]{0,9}[^]x", r"(?s:.){0,9}(?s:.)x"),
            (r"[[&~a-]", r"[\[\&\~a\-]"),
            (r"{{a}} x{2,3}", r"\{\{a\}\} x{2,3}"),
            (r"\{\{x\}\}", r"\{\{x\}\}"),
            (r"\e\M\<b\>", r"eM<b>"),
            (r"[\b]\0\cA", "[\\x08]\\u{0}\\u{1}"),
            (r" a ", r"[ \n]a[ \n]"),
            (r"(?<name>a)\p{L}", r"(?<name>a)\p{L}"),
        ] {
            assert_eq!(javascript(given).as_deref(), Ok(made), "{given}");
        }
        assert_eq!(translate(r"[]a]\Z", Flavour::Python).as_deref(), Ok(r"[\]a]\z"));
    }

    #[test]
    fn what_is_not_linear_is_refused_by_name() {
        for (given, name) in [
            ("a(?=b)", "look-ahead"),
            ("a(?!b)", "look-ahead"),
            ("(?<=a)b", "look-behind"),
            ("(?<!a)b", "look-behind"),
            (r"(a)\1", "back-reference"),
            (r"(?<n>a)\k<n>", "back-reference"),
            ("[a", "not closed"),
            ("a\\", "backslash"),
        ] {
            assert!(javascript(given).unwrap_err().contains(name), "{given}");
        }
    }

    proptest::proptest! {
        /// Whatever comes in, nothing panics, and what is made of plain words and classes is a regex.
        #[test]
        fn any_text_is_translated_or_refused(text in "\\PC{0,40}", flavour in 0..2) {
            let flavour = if flavour == 0 { Flavour::JavaScript } else { Flavour::Python };
            let _ = translate(&text, flavour);
        }

        #[test]
        fn escapes_of_any_kind_end(text in "[\\\\uxcpk0-9a-fA-F{}\\[\\]^$-]{0,30}") {
            let _ = translate(&text, Flavour::JavaScript);
        }
    }
}
