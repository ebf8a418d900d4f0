//! Contents: texts that are stored once, under an id that stays provable when the tokens of one person are erased from
//! somebody else's text.
//!
//! ```text
//! salt          = HMAC(subject key, SHA-256(text))[..16]
//! template salt = HMAC(salt, "wkc/2 template")[..16]
//! span salt j   = HMAC(salt, "wkc/2 span" ‖ u32 j)
//! span j        = HMAC(span salt j, u32 offset in the template ‖ u32 len(token) ‖ token)
//! id            = SHA-256("wkc/2" ‖ template salt ‖ u32 n ‖ span 0 ‖ … ‖ span n-1 ‖ template)
//! ```
//!
//! The template is the text with `<TYPE:erased>` in the place of each token. `docs/reference/record-format.md` is the
//! specification.

use aws_lc_rs::hmac;
use event::{ContentId, ContentRef, SubjectId};
use sanitize::Clean;

use crate::hash::{Mac, Sha256};

const ID_DOMAIN: &[u8] = b"wkc/2";
const TEMPLATE_DOMAIN: &[u8] = b"wkc/2 template";
const SPAN_DOMAIN: &[u8] = b"wkc/2 span";

/// Longest token. With it, looking for tokens takes time in proportion to the text, whatever stands there.
pub const TOKEN_BYTES_MAX: usize = 176;
/// Longest name of a type in a token.
const TYPE_BYTES_MAX: usize = 32;
/// Longest label of a token's key.
const LABEL_BYTES_MAX: usize = 16;
/// 128 bits in base32: what equal values have in common.
const ID_CHARS: usize = 26;
/// 30 bits in base32 behind the id. They depend on the rest of the token.
const CHECK_CHARS: usize = 6;
/// Longest feature of a token, without its mark.
const FEATURE_BYTES_MAX: usize = 64;
/// What ends a placeholder in a template.
const ERASED: &str = ":erased>";

/// A content: a text that is stored once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentEntry {
    /// The commitment to the text (see the [module](self)).
    pub id: ContentId,
    /// `HMAC-SHA-256(subject key, SHA-256(text))`, its first 16 bytes.
    pub salt: [u8; 16],
    /// Whose key gave the salt.
    pub subject: SubjectId,
    /// The text.
    pub text: Clean,
}

/// A content taken apart, so that each of its tokens can be shown or left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentParts {
    /// Salts the template.
    pub template_salt: [u8; 16],
    /// The text with a placeholder for each token.
    pub template: String,
    /// The tokens, in the order of the text.
    pub spans: Vec<Span>,
}

/// One token of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Where its placeholder begins in the template, in bytes.
    pub offset: u32,
    /// The token.
    pub token: String,
    /// The salt of its commitment.
    pub salt: [u8; 32],
}

/// A token that stands in a text: whatever has its form, whoever made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'t> {
    /// Where it begins in the text, in bytes.
    pub start: usize,
    /// The token, `<` and `>` included.
    pub text: &'t str,
    type_end: usize,
    stem_end: usize,
}

impl ContentEntry {
    /// Commits to `text` under the key of `subject`.
    #[must_use]
    pub fn commit(subject: SubjectId, subject_key: &hmac::Key, text: Clean) -> Self {
        let tag = hmac::sign(subject_key, &Sha256::of(&[text.as_bytes()]));
        let mut salt = [0; 16];
        salt.copy_from_slice(&tag.as_ref()[..16]);
        Self::with_salt(subject, salt, text)
    }

    /// The content of a salt and text that are known already: the id follows from them, so a store need not keep it.
    #[must_use]
    pub fn with_salt(subject: SubjectId, salt: [u8; 16], text: Clean) -> Self {
        Self { id: id_of_text(&salt, &text), salt, subject, text }
    }

    /// Whether the id is that of the text.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        id_of_text(&self.salt, &self.text) == self.id
    }

    /// The reference by which events name it.
    #[must_use]
    pub fn reference(&self) -> ContentRef {
        ContentRef { id: self.id, subject: self.subject, bytes: crate::record::length(self.text.len()) }
    }

    /// Template and tokens, each with the salt that proves it without the others.
    #[must_use]
    pub fn parts(&self) -> ContentParts {
        let mac = Mac::new(&self.salt);
        let mut template = String::with_capacity(self.text.len());
        let mut spans = Vec::new();
        let mut copied = 0;
        for token in tokens(&self.text) {
            template.push_str(&self.text[copied..token.start]);
            spans.push(Span {
                offset: crate::record::length(template.len()),
                token: token.text.to_owned(),
                salt: span_salt(&mac, spans.len()),
            });
            token.placeholder().into_iter().for_each(|part| template.push_str(part));
            copied = token.start + token.text.len();
        }
        template.push_str(&self.text[copied..]);
        ContentParts { template_salt: template_salt(&mac), template, spans }
    }
}

impl Span {
    /// What the content's id holds of the token.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        span_commitment(&self.salt, self.offset, &self.token)
    }
}

impl<'t> Token<'t> {
    /// The token up to its check characters: the same for equal values, also where their features differ.
    #[must_use]
    pub fn stem(&self) -> &'t str {
        &self.text[..self.stem_end]
    }

    /// The id of the value: 128 bits in base32, the same wherever and as whatever the value was found.
    #[must_use]
    pub fn id(&self) -> &'t str {
        &self.text[self.stem_end - ID_CHARS..self.stem_end]
    }

    /// The first of its types: `EMAIL`, `SECRET` ...
    #[must_use]
    pub fn class(&self) -> &'t str {
        let types = &self.text[1..self.type_end];
        types.split_once(':').map_or(types, |(first, _)| first)
    }

    /// What stands for it in a template, in two parts.
    #[must_use]
    pub fn placeholder(&self) -> [&'t str; 2] {
        [&self.text[..self.type_end], ERASED]
    }

    /// Reads the token that `text` begins with. The parts between the colons cannot be taken for each other: the id is
    /// longer than any label.
    fn read(text: &'t str, start: usize) -> Option<Self> {
        let bytes = text.as_bytes();
        let window = bytes.get(start..bytes.len().min(start + TOKEN_BYTES_MAX))?;
        let end = memchr::memchr(b'>', window)?;
        let inner = window.get(1..end)?;
        let (first, mut rest) = split(inner)?;
        is_type(first).then_some(())?;
        let mut type_end = 1 + first.len();
        let (second, behind) = split(rest)?;
        let (third, _) = split(behind).unwrap_or((behind, &[]));
        if third.len() <= LABEL_BYTES_MAX {
            is_type(second).then_some(())?;
            type_end += 1 + second.len();
            rest = behind;
        }
        let (label, hashed) = split(rest)?;
        is_label(label).then_some(())?;
        let (hash, feature) = hashed.split_at_checked(ID_CHARS + CHECK_CHARS)?;
        let fits = hash.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')) && is_feature(feature);
        let stem_end = type_end + 2 + label.len() + ID_CHARS;
        fits.then(|| Some(Self { start, text: text.get(start..=start + end)?, type_end, stem_end }))?
    }
}

/// The tokens of a text, in order: `<` TYPE [`:` TYPE] `:` LABEL `:` 32 characters of base32 [FEATURE] `>`.
pub fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    // No token contains another `<`, so each of them can be looked at by itself.
    memchr::memchr_iter(b'<', text.as_bytes()).filter_map(|start| Token::read(text, start))
}

/// The template of a text by itself: what may be shown of it without any token.
#[must_use]
pub fn template(text: &str) -> String {
    let mut template = String::with_capacity(text.len());
    let mut copied = 0;
    for token in tokens(text) {
        template.push_str(&text[copied..token.start]);
        token.placeholder().into_iter().for_each(|part| template.push_str(part));
        copied = token.start + token.text.len();
    }
    template.push_str(&text[copied..]);
    template
}

/// The id of a content from what is known of it: the salt of its template, the commitments to its tokens, its template.
#[must_use]
pub fn content_id(template_salt: &[u8; 16], spans: &[[u8; 32]], template: &str) -> ContentId {
    let mut hash = Sha256::default();
    begin_id(&mut hash, template_salt, spans.len());
    spans.iter().for_each(|span| hash.update(span));
    hash.update(template.as_bytes());
    id_from(hash)
}

/// What a content's id holds of a token.
#[must_use]
pub fn span_commitment(salt: &[u8; 32], offset: u32, token: &str) -> [u8; 32] {
    Mac::new(salt).tag(&[&offset.to_be_bytes(), &crate::record::length(token.len()).to_be_bytes(), token.as_bytes()])
}

/// As [`content_id`] of the parts, without taking the text apart where it has no tokens.
fn id_of_text(salt: &[u8; 16], text: &str) -> ContentId {
    let mac = Mac::new(salt);
    let tokens: Vec<Token<'_>> = tokens(text).collect();
    let mut hash = Sha256::default();
    begin_id(&mut hash, &template_salt(&mac), tokens.len());
    // What templates are shorter (or longer) than the text up to the token.
    let (mut before, mut after) = (0_usize, 0_usize);
    for (index, token) in tokens.iter().enumerate() {
        let offset = crate::record::length(token.start - before + after);
        hash.update(&span_commitment(&span_salt(&mac, index), offset, token.text));
        before += token.text.len();
        after += token.type_end + ERASED.len();
    }
    let mut copied = 0;
    for token in &tokens {
        hash.update(&text.as_bytes()[copied..token.start]);
        token.placeholder().into_iter().for_each(|part| hash.update(part.as_bytes()));
        copied = token.start + token.text.len();
    }
    hash.update(&text.as_bytes()[copied..]);
    id_from(hash)
}

fn begin_id(hash: &mut Sha256, template_salt: &[u8; 16], spans: usize) {
    hash.update(ID_DOMAIN);
    hash.update(template_salt);
    hash.update(&crate::record::length(spans).to_be_bytes());
}

fn id_from(hash: Sha256) -> ContentId {
    let mut id = hash.finish();
    // A digest of all zeros cannot be met with; were it, one bit is set so that the id stays an id.
    ContentId::from_bytes(id).unwrap_or_else(|| {
        id[31] = 1;
        ContentId::from_bytes(id).unwrap_or_else(|| unreachable!("an id with a bit set is not zero"))
    })
}

fn template_salt(mac: &Mac) -> [u8; 16] {
    let mut salt = [0; 16];
    salt.copy_from_slice(&mac.tag(&[TEMPLATE_DOMAIN])[..16]);
    salt
}

fn span_salt(mac: &Mac, index: usize) -> [u8; 32] {
    mac.tag(&[SPAN_DOMAIN, &crate::record::length(index).to_be_bytes()])
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', bytes)?;
    Some((bytes.get(..colon)?, bytes.get(colon + 1..)?))
}

fn is_type(bytes: &[u8]) -> bool {
    bytes.len() <= TYPE_BYTES_MAX
        && bytes.first().is_some_and(u8::is_ascii_uppercase)
        && bytes.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
}

fn is_label(bytes: &[u8]) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

fn is_feature(bytes: &[u8]) -> bool {
    let Some((mark, feature)) = bytes.split_first() else { return true };
    matches!(mark, b'@' | b':')
        && (1..=FEATURE_BYTES_MAX).contains(&feature.len())
        && feature.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+' | b'_'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "abcdefghijklmnopqrstuvwxyz234567";

    fn content(text: &str) -> ContentEntry {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        ContentEntry::commit(SubjectId::from_bytes([1; 16]).unwrap(), &key, Clean::recorded(text))
    }

    #[test]
    fn equal_text_of_one_subject_has_one_id_and_of_two_subjects_two() {
        let other = hmac::Key::new(hmac::HMAC_SHA256, &[8; 32]);
        assert_eq!(content("hello"), content("hello"));
        assert_ne!(content("hello").id, ContentEntry::commit(content("hello").subject, &other, Clean::recorded("hello")).id);
    }

    #[test]
    fn a_changed_text_or_salt_is_noticed() {
        let token = format!("to <EMAIL:v26:{ID}@example.com>, or <PHONE:v26:{ID}:+44>");
        for text in ["hello", &token] {
            let entry = content(text);
            assert!(entry.is_intact());
            let mut bytes = text.as_bytes().to_vec();
            for at in 0..bytes.len() {
                bytes[at] ^= 1;
                let changed = Clean::recorded(std::str::from_utf8(&bytes).unwrap());
                assert!(!ContentEntry { text: changed, ..entry.clone() }.is_intact(), "byte {at}");
                bytes[at] ^= 1;
            }
            assert!(!ContentEntry { salt: [0; 16], ..entry }.is_intact());
        }
    }

    #[test]
    fn tokens_of_every_form_are_found_and_nothing_else() {
        let found = |text: &str| tokens(text).map(|token| token.text.to_owned()).collect::<Vec<_>>();
        for token in [
            format!("<EMAIL:v26:{ID}>"),
            format!("<EMAIL:v26:{ID}@example.com>"),
            format!("<PHONE:v26:{ID}:+44>"),
            format!("<SECRET:OPENAI_KEY:v26:{ID}>"),
            format!("<SECRET:SECRET:v26.a-Z:{ID}:x_y>"),
            format!("<IP_ADDRESS:v26:{ID}:v4-private-aaaabbbbccccdddd>"),
            format!("<A1:V26:{ID}>"),
        ] {
            assert_eq!(found(&format!("<<a {token}{token} > <")), [token.clone(), token.clone()]);
            for cut in 1..token.len() {
                assert_eq!(found(&token[..cut]), Vec::<String>::new(), "{}", &token[..cut]);
            }
        }
        for other in [
            "<CVV:dropped>".to_owned(),
            "<EMAIL:erased>".to_owned(),
            format!("<email:v26:{ID}>"),
            format!("<EMAIL::{ID}>"),
            format!("<EMAIL:v26:{}>", ID.to_uppercase()),
            format!("<EMAIL:v26:{ID}a>"),
            format!("<EMAIL:v26:{ID}@>"),
            format!("<EMAIL:v26:{ID}@a b>"),
            format!("<EMAIL:v26:{ID}:a:b>"),
            format!("<A:B:C:v26:{ID}>"),
            format!("<A:b:v26:{ID}>"),
            format!("<EMAIL:v26:{ID}@{}>", "a".repeat(65)),
            format!("<EMAIL:{}:{ID}>", "v".repeat(17)),
            format!("<{}:v26:{ID}>", "A".repeat(33)),
        ] {
            assert_eq!(found(&other), Vec::<String>::new(), "{other}");
        }
        let longest = format!("<{}:{}:{}:{ID}:{}>", "A".repeat(30), "B".repeat(28), "v".repeat(16), "a".repeat(64));
        assert_eq!(longest.len(), TOKEN_BYTES_MAX);
        assert_eq!(found(&longest).len(), 1);
        assert_eq!(found(&longest.replacen('A', "AA", 1)).len(), 0);
    }

    #[test]
    fn a_token_made_by_the_sanitiser_is_one_here() {
        let key = sanitize::TokenKey::new([3; 32], "v26");
        let sanitizer = sanitize::Sanitizer::new(key);
        let text = "mail ann@example.com, call +44 20 7946 0958, from 203.0.113.9, card 4111 1111 1111 1111, \
                    key sk-proj-abcdefghijklmnopqrstT3BlbkFJabcdefghijklmnopqrst";
        let cleaned = sanitizer.text(text);
        let replaced = cleaned.text.matches(":v26:").count();
        assert!(replaced >= 5, "{}", cleaned.text);
        assert_eq!(tokens(&cleaned.text).count(), replaced, "{}", cleaned.text);
    }

    #[test]
    fn equal_values_with_other_features_share_a_stem() {
        let text = format!("<PHONE:v26:{ID}:+44><PHONE:v26:{}zzzzzz>", &ID[..26]);
        let stems: Vec<&str> = tokens(&text).map(|token| token.stem()).collect();
        assert_eq!(stems[0], stems[1]);
        assert_eq!(stems[0], format!("<PHONE:v26:{}", &ID[..26]));
    }

    /// A golden id: a change of the format must be a change of its version.
    #[test]
    fn the_format_stands_still() {
        let entry = content(&format!("to <EMAIL:v26:{ID}@example.com>."));
        assert_eq!(entry.parts().template, "to <EMAIL:erased>.");
        assert_eq!(entry.id.to_string(), "607820026d62a210341113da4b2c295c81cbbad9080e96cb2c378547ee6b988a");
    }

    fn texts() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            "[a-z<>:é ]{0,12}",
            Just("<EMAIL:erased>".to_owned()),
            ("[A-Z]{1,6}", "[a-z2-7]{32}").prop_map(|(kind, id)| format!("<{kind}:v26:{id}>")),
            ("[A-Z]{1,6}", "[a-z2-7]{32}").prop_map(|(kind, id)| format!("<SECRET:{kind}:v26:{id}@a.b>")),
        ];
        proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn parts_have_the_id_of_the_whole_and_give_it_back(text in texts()) {
            let entry = content(&text);
            let parts = entry.parts();
            let commitments: Vec<[u8; 32]> = parts.spans.iter().map(Span::commitment).collect();
            prop_assert_eq!(content_id(&parts.template_salt, &commitments, &parts.template), entry.id);
            prop_assert_eq!(&parts.template, &template(&text));
            prop_assert_eq!(tokens(&parts.template).count(), 0);
            let mut whole = parts.template.clone();
            for span in parts.spans.iter().rev() {
                let at = span.offset as usize;
                let placeholder = template(&span.token);
                prop_assert!(whole[at..].starts_with(&placeholder));
                whole.replace_range(at..at + placeholder.len(), &span.token);
            }
            prop_assert_eq!(whole, text);
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            prop_assert!(content(&text).is_intact());
        }
    }
}
