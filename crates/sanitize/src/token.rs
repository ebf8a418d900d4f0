//! Keyed tokens: what stands in the place of a sensitive value.

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::hmac;

use crate::{SensitiveType, TypeName};

/// The key under which tokens are made, and the label that names it in each of them. One per tenant and year: equal
/// values are joinable within a tenant's year, and nowhere else.
///
/// # Format
///
/// ```text
/// <EMAIL:v26:ID26 CHECK6 @example.com>    (without the spaces)
/// <PHONE:v26:ID26 CHECK6 :+44>
/// <SECRET:OPENAI_KEY:v26:ID26 CHECK6>
/// ```
///
/// `ID26` is 128 bits of HMAC-SHA256 over the normalised value, in base32; equal values have equal ids, and a secret
/// has the same id whatever type it was taken for. `CHECK6` is 30 bits of HMAC-SHA256 over the rest of the token. It
/// proves that this key made it: text that merely looks like a token is scanned like any other, so that an imitation
/// cannot carry a secret past the sanitiser, and what comes after it still counts.
pub struct TokenKey {
    key: hmac::Key,
    label: Box<str>,
}

/// A sensitive value in the form that is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) kind: TypeName,
    /// Normalised, so that spellings of the same value agree.
    pub(crate) normal: String,
    /// What may be told of it: mail domain, country code, brand.
    pub(crate) feature: String,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As a token of its value.
    Token,
    /// As what may be shown of it. What is hashed is that alone, so that nothing ties it to the token of the value.
    Mask,
    /// Not at all.
    Dropped,
}

/// How what stands for a dropped value ends.
pub(crate) const DROPPED_END: &str = ":dropped>";
/// What a label ends with where the value is masked.
const MASKED: &str = "-m";
/// Last characters of a value that a mask shows, and of how many at the least: no more than half of it.
const SHOWN_CHARS: usize = 4;
/// See [`SHOWN_CHARS`].
const SHOWN_OF_CHARS_MIN: usize = 8;
/// Longest value of which a mask shows the end: longer ones are no numbers.
const SHOWN_OF_CHARS_MAX: usize = 40;
/// Longest name of a type.
const NAME_BYTES_MAX: usize = 32;
/// 128 bits in base32.
const ID_CHARS: usize = 26;
/// 30 bits in base32: a blind forger succeeds once in a thousand million tries, and gains 26 characters.
const CHECK_CHARS: usize = 6;
/// 80 bits in base32: the network of an IP address.
const NETWORK_CHARS: usize = 16;
/// Longest label; longer ones are cut. A record has room for 16 bytes, with the mark of a mask.
const LABEL_BYTES_MAX: usize = 14;
/// Longest feature that is put into a token.
const FEATURE_BYTES_MAX: usize = 64;
/// Longest token: `<SECRET:` + type + label + id + check + feature.
const TOKEN_BYTES_MAX: usize = 176;

impl TokenKey {
    /// A key. The label (`v26`) is public; characters other than letters, digits, `.` and `-` are left out of it.
    #[must_use]
    pub fn new(bytes: [u8; 32], label: &str) -> Self {
        let label: String =
            label.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')).take(LABEL_BYTES_MAX).collect();
        let label = if label.is_empty() { "v0".to_owned() } else { label };
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &bytes), label: label.into() }
    }

    /// The label.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Appends what stands for the value.
    pub(crate) fn mint(&self, value: &Value, form: Form, out: &mut String) {
        let kind = &value.kind;
        let start = out.len();
        out.push('<');
        if kind.is_secret() && *kind != SensitiveType::Credential {
            out.push_str("SECRET:");
        }
        out.push_str(kind.as_str());
        if form == Form::Dropped || *kind == SensitiveType::Cvv {
            out.push_str(DROPPED_END);
            return;
        }
        out.push(':');
        out.push_str(&self.label);
        let mut feature = self.feature(value);
        let class = if kind.is_secret() { "SECRET" } else { kind.as_str() };
        let id = if form == Form::Mask {
            out.push_str(MASKED);
            if let Some(shown) = shown(value) {
                feature = match feature.get(1..) {
                    Some(class) if !class.is_empty() => format!(":{class}-{shown}"),
                    _ => format!(":{shown}"),
                };
            }
            self.mac("mask", class, feature.as_bytes())
        } else {
            self.mac("value", class, value.normal.as_bytes())
        };
        out.push(':');
        base32(&id, ID_CHARS, out);
        let body = out.len();
        out.push_str(&feature);
        out.push('>');
        let check = self.check(&out[start..body], &out[body..]);
        out.insert_str(body, &check);
    }

    /// What may be told of the value, with its mark; empty when it is nothing.
    fn feature(&self, value: &Value) -> String {
        let mut feature = String::new();
        if value.kind == SensitiveType::IpAddress {
            self.network(&value.normal, &mut feature);
        } else if is_feature(value.feature.as_bytes()) {
            feature.push(if value.kind == SensitiveType::Email { '@' } else { ':' });
            feature.push_str(&value.feature);
        } else if has_length_class(&value.kind) {
            feature.push(':');
            feature.push_str(length_class(value.normal.len()));
        }
        feature
    }

    /// The length of the token that `text` begins with, if this key made one, or of what stands for a dropped value of a built-in
    /// type. The type of a token may be unknown: one that a configuration named once.
    pub(crate) fn token_len(&self, text: &[u8]) -> Option<usize> {
        let window = text.get(..text.len().min(TOKEN_BYTES_MAX))?;
        if window.first() != Some(&b'<') || !window.get(1)?.is_ascii_uppercase() {
            return None;
        }
        let end = memchr::memchr(b'>', window)?;
        let inner = std::str::from_utf8(window.get(1..end)?).ok()?;
        let (named, secret) = inner.strip_prefix("SECRET:").map_or((inner, false), |rest| (rest, true));
        let (name, rest) = named.split_once(':')?;
        let kind = SensitiveType::from_name(name);
        if secret != kind.is_some_and(|kind| kind.is_secret() && kind != SensitiveType::Credential) || !is_name(name) {
            return None;
        }
        if rest == "dropped" {
            return kind.map(|_| end + 1);
        }
        let rest = rest.strip_prefix(&*self.label)?;
        let rest = rest.strip_prefix(MASKED).unwrap_or(rest).strip_prefix(':')?;
        let (hashed, feature) = rest.split_at_checked(ID_CHARS + CHECK_CHARS)?;
        let feature_fits = match feature.as_bytes() {
            [] => true,
            [b'@', domain @ ..] => kind == Some(SensitiveType::Email) && is_feature(domain),
            [b':', feature @ ..] => is_feature(feature),
            _ => false,
        };
        if !feature_fits || !hashed.bytes().all(|b| BASE32.contains(&b)) {
            return None;
        }
        let text = std::str::from_utf8(window.get(..=end)?).ok()?;
        let body = 1 + (inner.len() - rest.len()) + ID_CHARS;
        let tail = body + CHECK_CHARS;
        (self.check(text.get(..body)?, text.get(tail..)?) == text[body..tail]).then_some(end + 1)
    }

    /// The network that an address is in, as a token of its own: equal networks, equal tokens.
    fn network(&self, address: &str, out: &mut String) {
        let (network, class) = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(v4)) => {
                let private = v4.is_private() || v4.is_link_local();
                (v4.octets()[..3].to_vec(), if private { "v4-private" } else { "v4" })
            }
            Ok(IpAddr::V6(v6)) => {
                let private = v6.is_unique_local() || v6.is_unicast_link_local();
                (v6.octets()[..6].to_vec(), if private { "v6-private" } else { "v6" })
            }
            Err(_) => return,
        };
        out.push(':');
        out.push_str(class);
        out.push('-');
        base32(&self.mac("network", "", &network), NETWORK_CHARS, out);
    }

    fn check(&self, before: &str, after: &str) -> String {
        let mut check = String::with_capacity(CHECK_CHARS);
        base32(&self.mac("check", before, after.as_bytes()), CHECK_CHARS, &mut check);
        check
    }

    /// HMAC-SHA256 with the purpose and the class told apart from the data by a byte that neither contains.
    fn mac(&self, purpose: &str, class: &str, data: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(purpose.as_bytes());
        context.update(&[0]);
        context.update(class.as_bytes());
        context.update(&[0]);
        context.update(data);
        let mut tag = [0; 32];
        for (to, from) in tag.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        tag
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("label", &self.label).finish_non_exhaustive()
    }
}

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

fn base32(bytes: &[u8], chars: usize, out: &mut String) {
    let (mut bits, mut count) = (0_u32, 0_u32);
    let mut rest = bytes.iter();
    for _ in 0..chars {
        if count < 5 {
            bits = (bits << 8) | u32::from(rest.next().copied().unwrap_or(0));
            count += 8;
        }
        count -= 5;
        out.push(char::from(BASE32[(bits >> count) as usize & 31]));
        bits &= (1 << count) - 1;
    }
}

fn is_feature(text: &[u8]) -> bool {
    (1..=FEATURE_BYTES_MAX).contains(&text.len())
        && text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+' | b'_'))
}

fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// Keys and tokens tell how long they are: that says much of what they open and nothing of what they are. Of a password it would
/// help whoever tries to guess it.
fn has_length_class(kind: &TypeName) -> bool {
    let is_password = [SensitiveType::Password, SensitiveType::UrlPassword, SensitiveType::Authorization];
    kind.is_secret() && *kind != SensitiveType::Credential && !is_password.iter().any(|one| kind == one)
}

fn length_class(bytes: usize) -> &'static str {
    match bytes {
        0..=16 => "to16",
        17..=32 => "to32",
        33..=64 => "to64",
        65..=128 => "to128",
        _ => "over128",
    }
}

/// The end of a value that a mask shows: of numbers that people know by it, and of the operator's types.
fn shown(value: &Value) -> Option<&str> {
    let is_known_by_it = match &value.kind {
        TypeName::Builtin(kind) => {
            matches!(kind, SensitiveType::CreditCard | SensitiveType::Iban | SensitiveType::UsSsn | SensitiveType::Phone)
        }
        TypeName::Custom(_) => true,
    };
    let normal = value.normal.strip_prefix('+').unwrap_or(&value.normal);
    let fits =
        (SHOWN_OF_CHARS_MIN..=SHOWN_OF_CHARS_MAX).contains(&normal.len()) && normal.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_known_by_it && fits { normal.get(normal.len() - SHOWN_CHARS..) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mint(key: &TokenKey, kind: SensitiveType, normal: &str, feature: &str) -> String {
        let mut out = String::new();
        key.mint(&Value { kind: kind.into(), normal: normal.to_owned(), feature: feature.to_owned() }, Form::Token, &mut out);
        out
    }

    #[test]
    fn what_is_minted_is_recognised_by_its_key_and_by_no_other() {
        let key = TokenKey::new([1; 32], "v26");
        let other = TokenKey::new([2; 32], "v26");
        for kind in SensitiveType::ALL {
            for feature in ["", "example.com", "+44"] {
                let token = mint(&key, *kind, "198.51.100.7", feature);
                assert_eq!(key.token_len(format!("{token} tail").as_bytes()), Some(token.len()), "{token}");
                if *kind != SensitiveType::Cvv {
                    assert_eq!(other.token_len(token.as_bytes()), None);
                    assert!(!token.contains("198.51"), "{token}");
                }
            }
        }
    }

    #[test]
    fn a_changed_token_is_not_one() {
        let key = TokenKey::new([1; 32], "v26");
        let token = mint(&key, SensitiveType::Email, "ann@example.com", "example.com");
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            assert_eq!(key.token_len(&bytes), None, "changed at {at}");
            assert_eq!(key.token_len(&token.as_bytes()[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn equal_values_are_joinable_whatever_they_were_taken_for() {
        let key = TokenKey::new([1; 32], "v26");
        let id = |token: &str| {
            let from = token.rfind("v26:").unwrap() + 4;
            token[from..from + ID_CHARS].to_owned()
        };
        let a = mint(&key, SensitiveType::OpenaiKey, "k", "");
        let b = mint(&key, SensitiveType::Credential, "k", "");
        let c = mint(&key, SensitiveType::Phone, "k", "");
        assert_eq!(id(&a), id(&b));
        assert_ne!(id(&a), id(&c));
    }

    #[test]
    fn a_mask_shows_the_end_of_a_number_and_is_tied_to_no_token() {
        let key = TokenKey::new([1; 32], "v26");
        let mask = |kind: TypeName, normal: &str, feature: &str| {
            let mut out = String::new();
            key.mint(&Value { kind, normal: normal.to_owned(), feature: feature.to_owned() }, Form::Mask, &mut out);
            assert_eq!(key.token_len(out.as_bytes()), Some(out.len()), "{out}");
            out
        };
        let builtin = TypeName::Builtin;
        let card = mask(builtin(SensitiveType::CreditCard), "4111111111111234", "visa");
        assert!(card.starts_with("<CREDIT_CARD:v26-m:") && card.ends_with(":visa-1234>"), "{card}");
        assert_eq!(
            card,
            mask(builtin(SensitiveType::CreditCard), "4999999999991234", "visa"),
            "equal masks are all that is told"
        );
        assert!(mask(builtin(SensitiveType::Phone), "+442079460958", "+44").ends_with(":+44-0958>"));
        assert!(mask(builtin(SensitiveType::Email), "ann@example.com", "example.com").ends_with("@example.com>"));
        assert!(mask(builtin(SensitiveType::ApiKey), "abcdefgh12345678", "").ends_with(":to16>"));
        assert!(!mask(builtin(SensitiveType::Password), "hunter2hunter2", "").contains("ter2"));
        let short = mask(TypeName::Custom("BADGE".into()), "E123456", "");
        assert!(!short.contains("3456"), "at most half of a value: {short}");
        assert!(mask(TypeName::Custom("BADGE".into()), "E1234567", "").ends_with(":4567>"));
    }

    #[test]
    fn addresses_of_one_network_share_its_token() {
        let key = TokenKey::new([1; 32], "v26");
        let network = |ip: &str| mint(&key, SensitiveType::IpAddress, ip, "").rsplit_once(':').unwrap().1.to_owned();
        assert_eq!(network("203.0.113.4"), network("203.0.113.250"));
        assert_ne!(network("203.0.113.4"), network("203.0.114.4"));
        assert!(network("10.0.0.8").starts_with("v4-private-"));
        assert!(network("2001:db8::1").starts_with("v6-"));
    }
}
