//! Characters that nobody sees: Unicode tags, variation selectors in rows, zero-width characters, direction overrides.

use super::{Check, Hit};

/// Tag characters it takes. Flags of regions (🏴󠁧󠁢󠁥󠁮󠁧󠁿) use them rightly, after a black flag.
const TAGS_MIN: usize = 3;
/// Variation selectors in a row it takes; emoji have one.
const SELECTORS_MIN: usize = 4;
/// Zero-width characters between Latin letters it takes; one or two come from copying.
const ZERO_WIDTH_INSIDE_MIN: usize = 3;
/// Zero-width characters in a row it takes.
const ZERO_WIDTH_RUN_MIN: usize = 8;

/// What is counted of one sort of invisible character.
#[derive(Default)]
struct Tally {
    count: usize,
    run: usize,
    run_max: usize,
    start: usize,
    end: usize,
}

impl Tally {
    fn add(&mut self, at: usize, end: usize) {
        if self.count == 0 {
            self.start = at;
        }
        self.count += 1;
        self.run += 1;
        self.run_max = self.run_max.max(self.run);
        self.end = end;
    }
}

/// Looks for invisible characters.
pub(crate) fn invisible(text: &str, hits: &mut Vec<Hit>) {
    if text.is_ascii() {
        return;
    }
    let (mut tags, mut selectors, mut zero_width, mut overrides) =
        (Tally::default(), Tally::default(), Tally::default(), Tally::default());
    let mut inside = 0_usize;
    let mut flag = false;
    let mut before = '\0';
    let mut rest = text;
    while !rest.is_empty() {
        // ASCII cannot be invisible here, and is most of most texts.
        let plain = rest.bytes().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
        if plain > 0 {
            before = char::from(rest.as_bytes()[plain - 1]);
            rest = &rest[plain..];
            (selectors.run, zero_width.run, flag) = (0, 0, false);
            continue;
        }
        let Some(character) = rest.chars().next() else { break };
        let at = text.len() - rest.len();
        let end = at + character.len_utf8();
        rest = &rest[character.len_utf8()..];
        match character {
            '\u{1f3f4}' => flag = true,
            '\u{e0001}'..='\u{e007f}' if !flag => tags.add(at, end),
            '\u{e0001}'..='\u{e007f}' => {}
            '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => selectors.add(at, end),
            '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}' => {
                zero_width.add(at, end);
                let after = rest.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
                inside += usize::from(before.is_ascii_alphabetic() && after);
            }
            '\u{202d}' | '\u{202e}' => overrides.add(at, end),
            _ => {}
        }
        let (selector, zero) =
            (matches!(character, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}'), is_zero_width(character));
        if !selector {
            selectors.run = 0;
        }
        if !zero {
            zero_width.run = 0;
        }
        flag &= matches!(character, '\u{1f3f4}' | '\u{e0000}'..='\u{e007f}');
        before = character;
    }
    let mut report = |check, tally: &Tally, found: bool| {
        if found {
            hits.push(Hit::new(check, tally.start, tally.end));
        }
    };
    report(Check::TAG_CHARACTERS, &tags, tags.count >= TAGS_MIN);
    report(Check::VARIATION_SELECTORS, &selectors, selectors.run_max >= SELECTORS_MIN);
    report(Check::ZERO_WIDTH, &zero_width, inside >= ZERO_WIDTH_INSIDE_MIN || zero_width.run_max >= ZERO_WIDTH_RUN_MIN);
    report(Check::BIDI_OVERRIDE, &overrides, overrides.count > 0);
}

const fn is_zero_width(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(text: &str) -> Vec<&'static str> {
        let mut hits = Vec::new();
        invisible(text, &mut hits);
        hits.iter().map(|hit| hit.check.id).collect()
    }

    #[test]
    fn invisible_characters_are_seen() {
        let tags: String = "hello".chars().filter_map(|c| char::from_u32(0xe0000 + c as u32)).collect();
        assert_eq!(checks(&format!("a{tags}")), ["structure.tag_characters"]);
        assert_eq!(checks("i\u{200b}g\u{200b}n\u{200b}ore"), ["structure.zero_width"]);
        assert_eq!(checks(&format!("x{}", "\u{200b}\u{200c}".repeat(4))), ["structure.zero_width"]);
        assert_eq!(checks("a\u{e0101}\u{e0102}\u{e0103}\u{e0104}"), ["structure.variation_selectors"]);
        assert_eq!(checks("user\u{202e}gpj.exe"), ["structure.bidi_override"]);
    }

    #[test]
    fn their_rightful_uses_are_not() {
        let england = "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}";
        for text in ["plain", england, "❤\u{fe0f} ✔\u{fe0f} 👨\u{200d}👩\u{200d}👧\u{200d}👦", "می\u{200c}خواهم", "\u{feff}start"]
        {
            assert_eq!(checks(text), [""; 0], "{text}");
        }
    }
}
