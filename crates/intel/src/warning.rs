//! Warning lists: values that are no sign of anything, whoever warns of them.
//!
//! Feeds hold the address of a public resolver, or a site that everybody uses, because malware asked it, too. Lists in the format of MISP
//! (`misp-warninglists`) say which values those are.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;
use regex::{RegexSet, RegexSetBuilder};
use serde::Deserialize;

use crate::indicator::Kind;

/// Most entries of all lists together: all of MISP's lists have 2.6 million, most of them of top sites.
const ENTRIES_MAX: usize = 8_000_000;
/// Most entries that are compared one by one (substrings, regular expressions): MISP's have some dozens.
const SCANNED_MAX: usize = 2_000;
/// Largest regular expressions of all lists, compiled.
const REGEX_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Networks that are nobody's on the Internet, and resolvers that everybody asks.
const BUILTIN_NETS: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
    "1.0.0.1/32",
    "1.1.1.1/32",
    "8.8.4.4/32",
    "8.8.8.8/32",
    "9.9.9.9/32",
    "149.112.112.112/32",
    "208.67.220.220/32",
    "208.67.222.222/32",
    "2606:4700:4700::1001/128",
    "2606:4700:4700::1111/128",
    "2001:4860:4860::8844/128",
    "2001:4860:4860::8888/128",
    "2620:fe::fe/128",
];

/// Hashes of nothing: MD5, SHA-1 and SHA-256 of the empty file.
const BUILTIN_HASHES: &[&str] = &[
    "d41d8cd98f00b204e9800998ecf8427e",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
];

/// Values that are no sign of anything.
#[derive(Debug, Default)]
pub struct WarningLists {
    exact: HashSet<(Kind, Box<str>)>,
    hosts: HashSet<Box<str>>,
    nets: HashSet<IpNet>,
    /// Lengths of the prefixes that occur, of IPv4 and of IPv6.
    lengths: [Vec<u8>; 2],
    substrings: Vec<(Vec<Kind>, String)>,
    regexes: Vec<(Vec<Kind>, RegexSet)>,
    entries: usize,
    digest: [u8; 32],
}

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WarningError {
    /// It is no JSON of that form.
    #[error("no warning list: {0}; a file of misp-warninglists is needed, with \"type\" and \"list\"")]
    Format(#[from] serde_json::Error),
    /// Its type is none that is known.
    #[error("type {0:?} is none of string, substring, hostname, cidr, regex")]
    Type(String),
    /// It is too much.
    #[error("the warning lists have more than {0} {1}")]
    TooMuch(usize, &'static str),
    /// A regular expression.
    #[error("a regular expression of the list: {0}")]
    Regex(String),
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    matching_attributes: Vec<String>,
    list: Vec<String>,
}

impl WarningLists {
    /// The lists that are part of the program: networks that are nobody's on the Internet, public resolvers, hashes of nothing.
    #[must_use]
    pub fn builtin() -> Self {
        let mut lists = Self::default();
        for net in BUILTIN_NETS {
            lists.put_net(net);
        }
        lists.exact.extend(BUILTIN_HASHES.iter().map(|hash| (Kind::Hash, Box::from(*hash))));
        lists.entries = lists.exact.len() + lists.nets.len();
        lists
    }

    /// Entries of all lists.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Adds a list in the format of MISP.
    ///
    /// # Errors
    /// [`WarningError`]; nothing is added then.
    pub fn add_misp(&mut self, json: &[u8]) -> Result<(), WarningError> {
        let file: File = serde_json::from_slice(json)?;
        if self.entries + file.list.len() > ENTRIES_MAX {
            return Err(WarningError::TooMuch(ENTRIES_MAX, "entries"));
        }
        let kinds = kinds_of(&file.matching_attributes);
        let is_scanned = matches!(file.kind.as_str(), "substring" | "regex");
        let scanned = self.substrings.len() + self.regexes.iter().map(|(_, set)| set.len()).sum::<usize>();
        if is_scanned && scanned + file.list.len() > SCANNED_MAX {
            return Err(WarningError::TooMuch(SCANNED_MAX, "substrings and regular expressions"));
        }
        let count = file.list.len();
        match file.kind.as_str() {
            "string" => {
                for entry in &file.list {
                    for kind in &kinds {
                        if let Some(value) = crate::normalize(*kind, entry) {
                            self.exact.insert((*kind, value.into()));
                        }
                    }
                }
            }
            "hostname" => {
                let names = file.list.iter().filter_map(|entry| crate::normal::domain(entry.trim_start_matches('.')));
                self.hosts.extend(names.map(String::into_boxed_str));
            }
            "cidr" => file.list.iter().for_each(|entry| self.put_net(entry)),
            "substring" => {
                self.substrings.extend(file.list.iter().map(|entry| (kinds.clone(), entry.to_lowercase())));
            }
            "regex" => {
                let patterns = file.list.iter().map(|entry| without_slashes(entry));
                let set = RegexSetBuilder::new(patterns).size_limit(REGEX_BYTES_MAX).build();
                self.regexes.push((kinds, set.map_err(|error| WarningError::Regex(error.to_string()))?));
            }
            other => return Err(WarningError::Type(other.to_owned())),
        }
        self.entries += count;
        let both = [self.digest.as_slice(), json].concat();
        self.digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &both).as_ref());
        Ok(())
    }

    /// Names the lists that were added.
    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    fn put_net(&mut self, text: &str) {
        let net = text.trim().parse::<IpNet>().ok().or_else(|| text.trim().parse::<IpAddr>().ok().map(IpNet::from));
        if let Some(net) = net.map(|net| net.trunc()) {
            let lengths = &mut self.lengths[usize::from(net.addr().is_ipv6())];
            if !lengths.contains(&net.prefix_len()) {
                lengths.push(net.prefix_len());
            }
            self.nets.insert(net);
        }
    }

    /// Whether a value in its normal form is one that is no sign of anything. A network is where it lies within one of a list.
    #[must_use]
    pub fn covers(&self, kind: Kind, value: &str) -> bool {
        let host = match kind {
            Kind::Url => value.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', ':']).next()),
            Kind::Email => value.rsplit_once('@').map(|(_, host)| host),
            Kind::Domain => Some(value),
            _ => None,
        };
        // A site that everybody uses may hold a page that is evil: only its own name is no sign.
        let is_page =
            kind == Kind::Url && !value.ends_with("://") && value.splitn(4, '/').nth(3).is_some_and(|path| !path.is_empty());
        self.exact.contains(&(kind, Box::from(value)))
            || (!is_page && kind != Kind::Email && host.is_some_and(|host| self.covers_host(host)))
            || (kind == Kind::Ip && self.covers_net(value))
            || self.substrings.iter().any(|(kinds, part)| kinds.contains(&kind) && value.contains(part.as_str()))
            || self.regexes.iter().any(|(kinds, set)| kinds.contains(&kind) && set.is_match(value))
    }

    fn covers_host(&self, host: &str) -> bool {
        let mut rest = Some(host);
        while let Some(name) = rest {
            if self.hosts.contains(name) {
                return true;
            }
            rest = name.split_once('.').map(|(_, rest)| rest);
        }
        false
    }

    fn covers_net(&self, value: &str) -> bool {
        let net = value.parse::<IpNet>().ok().or_else(|| value.parse::<IpAddr>().ok().map(IpNet::from));
        let Some(net) = net else { return false };
        let lengths = &self.lengths[usize::from(net.addr().is_ipv6())];
        lengths
            .iter()
            .filter(|length| **length <= net.prefix_len())
            .any(|length| IpNet::new(net.addr(), *length).is_ok_and(|outer| self.nets.contains(&outer.trunc())))
    }
}

/// The kinds that a list is about, by the types of MISP's attributes; all where it does not say.
fn kinds_of(attributes: &[String]) -> Vec<Kind> {
    if attributes.is_empty() {
        return Kind::ALL.to_vec();
    }
    let mut kinds: Vec<Kind> = attributes.iter().flat_map(|name| crate::feed::kinds_of_misp(name)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// MISP writes regular expressions as `/.../i`.
fn without_slashes(entry: &str) -> String {
    match entry.strip_prefix('/').and_then(|rest| rest.rsplit_once('/')) {
        Some((pattern, flags)) if flags.bytes().all(|b| b.is_ascii_lowercase()) => {
            if flags.contains('i') {
                format!("(?i){pattern}")
            } else {
                pattern.to_owned()
            }
        }
        _ => entry.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_values_are_covered_and_others_are_not() {
        let mut lists = WarningLists::builtin();
        for json in [
            r#"{"name":"sites","type":"hostname","list":["popular.example"],"matching_attributes":["domain","hostname","url"]}"#,
            r#"{"name":"exact","type":"string","list":["Exact.example"],"matching_attributes":["domain"]}"#,
            r#"{"name":"nets","type":"cidr","list":["45.0.0.0/16","2001:db8::/32"]}"#,
            r#"{"name":"parts","type":"substring","list":["windowsupdate"],"matching_attributes":["url"]}"#,
            r#"{"name":"regex","type":"regex","list":["/^https?:.{2}cdn[0-9]+[.]/i"],"matching_attributes":["url"]}"#,
        ] {
            lists.add_misp(json.as_bytes()).unwrap();
        }
        for (kind, value, covered) in [
            (Kind::Ip, "10.2.3.4", true),
            (Kind::Ip, "8.8.8.8", true),
            (Kind::Ip, "8.8.8.0/24", false),
            (Kind::Ip, "45.0.7.0/24", true),
            (Kind::Ip, "45.1.7.1", false),
            (Kind::Ip, "2001:db8::7", true),
            (Kind::Domain, "www.popular.example", true),
            (Kind::Domain, "unpopular.example", false),
            (Kind::Domain, "exact.example", true),
            (Kind::Domain, "sub.exact.example", false),
            (Kind::Url, "http://popular.example/", true),
            (Kind::Url, "http://popular.example/evil.exe", false),
            (Kind::Url, "http://x.example/windowsupdate", true),
            (Kind::Url, "http://cdn7.example/", true),
            (Kind::Email, "eve@popular.example", false),
            (Kind::Hash, "d41d8cd98f00b204e9800998ecf8427e", true),
        ] {
            assert_eq!(lists.covers(kind, value), covered, "{kind} {value}");
        }
    }

    #[test]
    fn what_is_no_list_is_told() {
        let mut lists = WarningLists::default();
        for json in ["", "[]", r#"{"type":"odd","list":[]}"#, r#"{"type":"regex","list":["("]}"#] {
            assert!(lists.add_misp(json.as_bytes()).is_err(), "{json}");
        }
        assert!(lists.is_empty());
    }
}
