//! Keyed tokens: what stands in the place of a sensitive value.

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::hmac;

use crate::SensitiveType;

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
    pub(crate) kind: SensitiveType,
    /// Normalised, so that spellings of the same value agree.
    pub(crate) normal: String,
    /// What may be told of it: mail domain, country code, brand.
    pub(crate) feature: String,
}

/// What stands for a dropped card verification value.
const DROPPED: &str = "<CVV:dropped>";
/// 128 bits in base32.
const ID_CHARS: usize = 26;
/// 30 bits in base32: a blind forger succeeds once in a thousand million tries, and gains 26 characters.
const CHECK_CHARS: usize = 6;
/// 80 bits in base32: the network of an IP address.
const NETWORK_CHARS: usize = 16;
/// Longest label; longer ones are cut.
const LABEL_BYTES_MAX: usize = 16;
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
    pub(crate) fn mint(&self, value: &Value, out: &mut String) {
        if value.kind == SensitiveType::Cvv {
            out.push_str(DROPPED);
            return;
        }
        let class = if value.kind.is_secret() { "SECRET" } else { value.kind.as_str() };
        let id = self.mac("value", class, value.normal.as_bytes());
        let start = out.len();
        out.push('<');
        if value.kind.is_secret() && value.kind != SensitiveType::Credential {
            out.push_str("SECRET:");
        }
        out.push_str(value.kind.as_str());
        out.push(':');
        out.push_str(&self.label);
        out.push(':');
        base32(&id, ID_CHARS, out);
        let body = out.len();
        if value.kind == SensitiveType::IpAddress {
            self.network(&value.normal, out);
        } else if is_feature(value.feature.as_bytes()) {
            out.push(if value.kind == SensitiveType::Email { '@' } else { ':' });
            out.push_str(&value.feature);
        }
        out.push('>');
        let check = self.check(&out[start..body], &out[body..]);
        out.insert_str(body, &check);
    }

    /// The length of the token that `text` begins with, if this key made one.
    pub(crate) fn token_len(&self, text: &[u8]) -> Option<usize> {
        if text.starts_with(DROPPED.as_bytes()) {
            return Some(DROPPED.len());
        }
        let window = text.get(..text.len().min(TOKEN_BYTES_MAX))?;
        if window.first() != Some(&b'<') || !window.get(1)?.is_ascii_uppercase() {
            return None;
        }
        let end = memchr::memchr(b'>', window)?;
        let inner = std::str::from_utf8(window.get(1..end)?).ok()?;
        let (named, secret) = inner.strip_prefix("SECRET:").map_or((inner, false), |rest| (rest, true));
        let (kind, rest) = named.split_once(':')?;
        let kind = SensitiveType::from_name(kind)?;
        if secret != (kind.is_secret() && kind != SensitiveType::Credential) {
            return None;
        }
        let rest = rest.strip_prefix(&*self.label)?.strip_prefix(':')?;
        let (hashed, feature) = rest.split_at_checked(ID_CHARS + CHECK_CHARS)?;
        let feature_fits = match feature.as_bytes() {
            [] => true,
            [b'@', domain @ ..] => kind == SensitiveType::Email && is_feature(domain),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mint(key: &TokenKey, kind: SensitiveType, normal: &str, feature: &str) -> String {
        let mut out = String::new();
        key.mint(&Value { kind, normal: normal.to_owned(), feature: feature.to_owned() }, &mut out);
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
    fn addresses_of_one_network_share_its_token() {
        let key = TokenKey::new([1; 32], "v26");
        let network = |ip: &str| mint(&key, SensitiveType::IpAddress, ip, "").rsplit_once(':').unwrap().1.to_owned();
        assert_eq!(network("203.0.113.4"), network("203.0.113.250"));
        assert_ne!(network("203.0.113.4"), network("203.0.114.4"));
        assert!(network("10.0.0.8").starts_with("v4-private-"));
        assert!(network("2001:db8::1").starts_with("v6-"));
    }
}
