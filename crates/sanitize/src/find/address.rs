//! IP addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::context::{Near, Topic};
use super::number::{Group, is_in_path};
use super::{Hint, Match};
use crate::SensitiveType as Kind;

/// Longest spelling of an IPv6 address, with an IPv4 tail.
const V6_BYTES_MAX: usize = 45;

/// The IPv4 address that the four groups spell.
pub(super) fn v4(text: &str, groups: &[Group], hint: Hint<'_>, found: &mut Vec<Match>) -> bool {
    let bytes = text.as_bytes();
    let [a, b, c, d] = groups else { return false };
    let mut octets = [0_u8; 4];
    for (octet, group) in octets.iter_mut().zip([a, b, c, d]) {
        let digits = &text[group.start..group.end];
        match digits.parse() {
            Ok(number) if digits.len() == 1 || !digits.starts_with('0') => *octet = number,
            _ => return false,
        }
    }
    let (start, end) = (a.start, d.end);
    let address = Ipv4Addr::from(octets);
    if keep_v4(address) {
        return true;
    }
    let before = start.checked_sub(1).map(|i| bytes[i]);
    let before_that = start.checked_sub(2).map(|i| bytes[i]);
    let glued = match before {
        // `Chrome/120.0.0.0`, `name-1.2.3.4.tar.gz`, `pkg==1.2.3.4`, `^1.2.3.4`
        Some(b'/') => before_that.is_some_and(|b| b.is_ascii_alphanumeric()) && !is_in_path(bytes, start - 1),
        Some(b'-') => before_that.is_some_and(|b| b.is_ascii_alphanumeric()),
        // a fifth part; `host.203.0.113.9` is a name with an address behind it
        Some(b'.') => !before_that.is_some_and(|b| b.is_ascii_alphabetic()),
        Some(b'=') => matches!(before_that, Some(b'=' | b'>' | b'<' | b'~' | b'!')),
        Some(b'^' | b'~' | b'$') => true,
        _ => false,
    };
    // A five-part number, or one that goes on in letters.
    let goes_on = bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_alphanumeric);
    if glued || goes_on || bytes.get(end) == Some(&b'%') {
        return false;
    }
    // 1.2.3.4 in a sentence on versions; 203.0.113.9 is an address whatever the sentence is about
    let small = octets.iter().filter(|octet| **octet < 32).count() >= 3;
    if small && Near::before(bytes, start, hint).speaks_of(Topic::Version) {
        return false;
    }
    found.push(Match::new(start, end, Kind::IpAddress, address.to_string()));
    true
}

/// The IPv6 address around the colon at `at`. Returns the end of the run that was looked at.
pub(super) fn v6(text: &str, at: usize, found: &mut Vec<Match>) -> usize {
    let bytes = text.as_bytes();
    // the usual colon stands after a word and before a space or a quote
    match (at.checked_sub(1).map(|i| bytes[i]), bytes.get(at + 1)) {
        (_, Some(b':')) => {}
        (Some(before), Some(after)) if before.is_ascii_hexdigit() && after.is_ascii_hexdigit() => {}
        _ => return at + 1,
    }
    // The dots of an IPv4 tail come behind the colons, never before them.
    let is_part = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
    let back = bytes[..at].iter().rev().take(V6_BYTES_MAX).take_while(|b| b.is_ascii_hexdigit() || **b == b':').count();
    let ahead = bytes[at..].iter().take(V6_BYTES_MAX).take_while(|b| is_part(b)).count();
    let (start, mut end) = (at - back, at + ahead);
    if ahead == V6_BYTES_MAX || !super::begins(bytes, start) || !super::ends(bytes, end) {
        return end;
    }
    while end > start && matches!(bytes[end - 1], b'.') {
        end -= 1;
    }
    let run = &text[start..end];
    // a colon of the sentence may follow
    let (run, end) = match run.strip_suffix(':') {
        Some(cut) if !run.ends_with("::") => (cut, end - 1),
        _ => (run, end),
    };
    let Ok(address) = run.parse::<Ipv6Addr>() else { return at + ahead };
    if address.is_loopback() || address.is_unspecified() {
        return at + ahead;
    }
    if let Some(v4) = address.to_ipv4_mapped()
        && keep_v4(v4)
    {
        return at + ahead;
    }
    // `a::b` is a path in a program; an address of so few parts begins with the digits of an assigned range
    let parts = run.split(':').filter(|part| !part.is_empty()).count();
    let first = address.segments()[0];
    let assigned = first >> 12 == 2 || first >> 12 == 3 || first & 0xFE00 == 0xFC00 || first & 0xFFC0 == 0xFE80;
    let plausible = parts >= 4 || (assigned && run.bytes().any(|b| b.is_ascii_digit()));
    if plausible {
        found.push(Match::new(start, end, Kind::IpAddress, IpAddr::from(address).to_canonical().to_string()));
    }
    at + ahead
}

/// Addresses that are nobody's: loopback, unspecified, broadcast and netmasks, multicast, and the metadata service of
/// cloud providers, which an investigator must be able to see.
fn keep_v4(address: Ipv4Addr) -> bool {
    address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.octets()[0] == 255
        || address == Ipv4Addr::new(169, 254, 169, 254)
}
