//! What endpoints say, before it is kept: in reports, in baselines, in the record. It is a stranger's text, and may well repeat the key that
//! it was sent.

use evaluate::Answer;
use sanitize::Sanitizer;

/// Longest message that is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 300;
/// How much of a message is looked at, in characters: what is replaced in it may be much longer than what takes its place.
const READ_CHARS_MAX: usize = 4_096;
/// What stands where the key was.
const KEY: &str = "<KEY>";
/// Shortest key, and shortest part of one, that is looked for: anything shorter stands in ordinary words.
const KEY_CHARS_MIN: usize = 8;

/// Takes out of foreign words what must not be kept.
pub(super) struct Foreign<'a> {
    sanitizer: &'a Sanitizer,
    key: Option<&'a str>,
}

impl<'a> Foreign<'a> {
    pub(super) fn new(sanitizer: &'a Sanitizer, key: Option<&'a str>) -> Self {
        Self { sanitizer, key: key.filter(|key| key.chars().count() >= KEY_CHARS_MIN) }
    }

    /// A message: without the key, sanitised, in one line, and bounded.
    pub(super) fn message(&self, said: &str) -> String {
        // First what is hidden: a key with such a character in it would be whole again without.
        let read: String = said.chars().take(READ_CHARS_MAX).filter(|letter| !is_hidden(*letter)).collect();
        let clean = self.sanitizer.text(&self.without_key(&read)).text;
        let mut message = String::new();
        for letter in clean.as_str().chars() {
            // Lines and tables become one line, and what is aligned by spaces takes no room.
            let letter = if letter.is_whitespace() { ' ' } else { letter };
            if letter != ' ' || !message.ends_with(' ') {
                message.push(letter);
            }
        }
        let message = message.trim();
        match message.char_indices().nth(MESSAGE_CHARS_MAX) {
            Some((end, _)) => format!("{}…", message[..end].trim_end()),
            None => message.to_owned(),
        }
    }

    /// An answer, whose names are kept beside its scores. They are compared with those of other runs, so nothing is replaced in them by what
    /// differs from run to run; the record has them sanitised.
    pub(super) fn answer(&self, mut answer: Answer) -> Answer {
        for name in [&mut answer.model, &mut answer.fingerprint, &mut answer.id, &mut answer.finish_reason] {
            *name = name.take().map(|name| self.name(&name)).filter(|name| !name.is_empty());
        }
        answer
    }

    fn name(&self, said: &str) -> String {
        let shown: String = said.chars().filter(|letter| !letter.is_control() && !is_hidden(*letter)).collect();
        self.without_key(&shown)
    }

    fn without_key(&self, said: &str) -> String {
        let Some(key) = self.key else { return said.to_owned() };
        said.replace(key, KEY)
    }
}

/// What turns, hides or moves text, and stands for nothing in it.
fn is_hidden(letter: char) -> bool {
    let is_mark = matches!(
        u32::from(letter),
        0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xfe00..=0xfe0f | 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe01ef
    );
    is_mark || (letter.is_control() && !letter.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "my-own-key-0123456789";

    fn sanitizer() -> Sanitizer {
        crate::ephemeral_sanitizer(&Default::default()).unwrap()
    }

    #[test]
    fn a_message_is_kept_without_keys_secrets_and_tricks() {
        let sanitizer = sanitizer();
        let foreign = Foreign::new(&sanitizer, Some(SECRET));
        for (said, kept) in [
            ("slow down", "slow down"),
            ("", ""),
            ("  one\nline\r\n\tand  no more ", "one line and no more"),
            ("Incorrect API key provided: my-own-key-0123456789.", "Incorrect API key provided: <KEY>."),
            ("key my-own-\u{200b}key-01234\u{ad}56789 is wrong", "key <KEY> is wrong"),
            ("a\u{202e}b\u{200b}c\u{1b}[31md", "abc[31md"),
        ] {
            assert_eq!(foreign.message(said), kept, "{said:?}");
        }
        for secret in ["ghp_0123456789abcdefghijABCDEFGHIJ456789", "ann@example.com", "4111 1111 1111 1111"] {
            let kept = foreign.message(&format!("account of {secret} is not paid"));
            assert!(!kept.contains(secret) && kept.starts_with("account of <"), "{kept}");
        }
        let long = foreign.message(&"ä ".repeat(1_000_000));
        assert_eq!(long.chars().count(), MESSAGE_CHARS_MAX);
        assert!(long.ends_with("ä…"));
    }

    #[test]
    fn names_of_an_answer_stay_the_same_from_run_to_run() {
        let answer = Answer {
            text: "my-own-key-0123456789".to_owned(),
            model: Some("model\u{202e}-1\n".to_owned()),
            fingerprint: Some("fp_44709d6fcb my-own-key-0123456789".to_owned()),
            id: Some("\u{200b}".to_owned()),
            ..Answer::default()
        };
        for _ in 0..2 {
            let sanitizer = sanitizer();
            let kept = Foreign::new(&sanitizer, Some(SECRET)).answer(answer.clone());
            assert_eq!((kept.model.as_deref(), kept.id), (Some("model-1"), None));
            assert_eq!(kept.fingerprint.as_deref(), Some("fp_44709d6fcb <KEY>"));
            assert_eq!(kept.text, answer.text, "what is graded is what was said");
        }
    }
}
