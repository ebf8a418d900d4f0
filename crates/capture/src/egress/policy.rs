//! Which destinations may be reached: lists of hosts and networks, and addresses that nobody reaches through a proxy by accident.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

use super::target::normal_host;

/// Metadata services outside of the link-local networks: Alibaba Cloud, Oracle Cloud, Azure's wire server.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];

/// Metadata services on IPv6: of AWS, the agent that gives out credentials to pods (EKS), of Google Cloud, of Oracle Cloud, of Scaleway.
const METADATA_V6: [Ipv6Addr; 5] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

/// Which decision it was, as the record calls it: by the lists,
pub(super) const HOSTS: &str = "egress.hosts";
/// about a destination that is refused in every mode,
pub(super) const PROTECTED: &str = "egress.protected";
/// about a way around interception.
const INTERCEPT: &str = "egress.intercept";

/// Which destinations may be reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// What happens to a call that the lists do not allow.
    pub mode: Mode,
    /// What may be reached; everything when it is empty.
    pub allow: Vec<Pattern>,
    /// What may not be reached, whatever `allow` says.
    pub deny: Vec<Pattern>,
    /// Protected destinations (metadata services, this machine) that may be reached all the same.
    pub allow_protected: Vec<Pattern>,
}

/// What happens to a call that the lists do not allow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// It passes, and the record says that it would not have.
    #[default]
    Observe,
    /// It is refused.
    Block,
}

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This host: `api.example.com`.
    Host(String),
    /// Every host below: `*.example.com`, which `example.com` itself is not.
    Below(String),
    /// Every address of a network: `10.0.0.0/8`, `192.0.2.7`. Names are compared by what they resolve to.
    Net(IpNet),
}

/// An entry that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no host: write api.example.com (in Punycode where it is not ASCII), *.example.com for all below it, or 10.0.0.0/8"
)]
pub struct PatternError(String);

/// What the policy says of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged {
    /// Addresses that may be connected to, in the order in which they were given.
    pub(super) addresses: Vec<SocketAddr>,
    /// What the policy has against it.
    pub(super) ruling: Option<Ruling>,
}

/// A decision that is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ruling {
    pub(super) policy: &'static str,
    pub(super) reason: String,
    pub(super) is_blocked: bool,
}

impl Policy {
    /// Judges a destination by its name and by all that the name resolves to. `is_local` tells whether callers are of this
    /// machine alone: then what listens on loopback is theirs anyway.
    pub(super) fn judge(&self, host: &str, addresses: &[SocketAddr], is_local: bool) -> Judged {
        let mut judged = Judged { addresses: Vec::new(), ruling: None };
        for address in addresses {
            let ip = plain(address.ip());
            let exempt = self.allow_protected.iter().any(|pattern| pattern.fits(host, ip));
            let protected = protected(address.ip(), is_local).filter(|_| !exempt);
            let listed = || self.objection(host, Some(ip)).map(|reason| (HOSTS, reason));
            let objection = protected.map(|what| (PROTECTED, format!("{ip} is {what}"))).or_else(listed);
            let is_blocked = protected.is_some() || (objection.is_some() && self.mode == Mode::Block);
            if !is_blocked {
                judged.addresses.push(*address);
            }
            if judged.ruling.is_none() {
                judged.ruling = objection.map(|(policy, reason)| Ruling { policy, reason, is_blocked });
            }
        }
        // Where one address is left, the call goes there, and nothing was decided against it but in `observe`.
        if !judged.addresses.is_empty() {
            judged.ruling = judged.ruling.filter(|ruling| !ruling.is_blocked);
        }
        judged
    }

    /// Judges a name before anybody is asked for its address: the question alone carries the name out. Nothing is said where that
    /// depends on the address.
    pub(super) fn judge_name(&self, host: &str) -> Option<Ruling> {
        if host.parse::<IpAddr>().is_ok() {
            return None;
        }
        let reason = self.objection(host, None)?;
        Some(Ruling { policy: HOSTS, reason, is_blocked: self.mode == Mode::Block })
    }

    /// Judges a name that a client asks for inside of a connection (SNI) which leads elsewhere by its name.
    pub(super) fn judge_inside(&self, host: &str, ip: IpAddr) -> Option<Ruling> {
        let reason = self.objection(host, Some(plain(ip)))?;
        let reason = format!("the TLS client asks for {host}: {reason}");
        Some(Ruling { policy: HOSTS, reason, is_blocked: self.mode == Mode::Block })
    }

    /// What is said of a TLS client whose first message cannot be read: it may ask for anybody.
    pub(super) fn unreadable(&self) -> Ruling {
        let reason = "the TLS client's first message cannot be read, and with it whom it asks for".to_owned();
        Ruling { policy: HOSTS, reason, is_blocked: self.mode == Mode::Block }
    }

    /// What is said of a TLS client that asks for an intercepted host in a connection which is not intercepted.
    pub(super) fn not_intercepted(&self, host: &str) -> Ruling {
        let reason = format!("the TLS client asks for {host}, which is intercepted, in a tunnel to elsewhere");
        Ruling { policy: INTERCEPT, reason, is_blocked: self.mode == Mode::Block }
    }

    /// What the lists have against a destination; without an address, what they have against it whatever its address is.
    fn objection(&self, host: &str, ip: Option<IpAddr>) -> Option<String> {
        let fits = |pattern: &&Pattern| ip.map_or_else(|| pattern.fits_name(host), |ip| pattern.fits(host, ip));
        if let Some(denied) = self.deny.iter().find(fits) {
            return Some(format!("{denied} is in the list of denied hosts"));
        }
        let may_fit = |pattern: &Pattern| fits(&pattern) || (ip.is_none() && matches!(pattern, Pattern::Net(_)));
        let is_allowed = self.allow.is_empty() || self.allow.iter().any(may_fit);
        (!is_allowed).then(|| format!("{host} is not in the list of allowed hosts"))
    }
}

impl Pattern {
    /// Whether a destination fits, by its name or by one of its addresses.
    pub(super) fn fits(&self, host: &str, ip: IpAddr) -> bool {
        match self {
            Self::Net(net) => net.contains(&plain(ip)),
            _ => self.fits_name(host),
        }
    }

    /// Whether a name fits.
    pub(super) fn fits_name(&self, host: &str) -> bool {
        match self {
            Self::Host(name) => name == host,
            Self::Below(name) => host.strip_suffix(name.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            Self::Net(_) => false,
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let error = || PatternError(text.to_owned());
        let bare = text.trim().trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(Self::Net(plain(ip).into()));
        }
        if let Ok(net) = bare.parse::<IpNet>() {
            return Ok(Self::Net(net.trunc()));
        }
        let (name, is_below) = bare.strip_prefix("*.").map_or((bare, false), |name| (name, true));
        let name = normal_host(name).ok_or_else(error)?;
        Ok(if is_below { Self::Below(name) } else { Self::Host(name) })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Net(net) => write!(f, "{net}"),
        }
    }
}

/// What an address is, or may lead to, that is not reached by accident.
fn protected(ip: IpAddr, is_local: bool) -> Option<&'static str> {
    std::iter::once(plain(ip)).chain(behind_local_nat64(ip)).find_map(|ip| protected_as_is(ip, is_local))
}

fn protected_as_is(ip: IpAddr, is_local: bool) -> Option<&'static str> {
    if ip.is_unspecified() {
        return Some("no address of anybody");
    }
    if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Some("an address of many");
    }
    if ip.is_loopback() && !is_local {
        return Some("this machine itself");
    }
    let (is_link_local, is_metadata) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), METADATA_V4.contains(&ip)),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), METADATA_V6.contains(&ip)),
    };
    (is_link_local || is_metadata).then_some("link-local or of a metadata service, which gives out credentials")
}

/// Where an address in 64:ff9b:1::/48 may lead (RFC 8215). Where in it the IPv4 address lies is the operator's choice (RFC 6052,
/// section 2.2), so every place is looked at, but those that hold no address of anybody.
fn behind_local_nat64(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    const PLACES: [[usize; 4]; 4] = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]];
    let octets = match ip {
        IpAddr::V6(v6) if v6.segments()[..3] == [0x64, 0xff9b, 1] => Some(v6.octets()),
        _ => None,
    };
    let candidates = octets.into_iter().flat_map(|octets| PLACES.map(|place| place.map(|at| octets[at])));
    candidates.filter(|candidate| candidate[0] != 0).map(|[a, b, c, d]| IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
}

/// The address that an address leads to: IPv4 in IPv6 (RFC 4291), behind NAT64 (RFC 6052) and in 6to4 (RFC 3056).
fn plain(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip.to_canonical() else { return ip.to_canonical() };
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => of(high, low),
        // IPv4-compatible addresses, out of use; `::` and `::1` are not among them.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => of(high, low),
        _ => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn judge(policy: &Policy, host: &str, addresses: &[&str]) -> Judged {
        let addresses: Vec<SocketAddr> = addresses.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 443)).collect();
        policy.judge(host, &addresses, true)
    }

    #[test]
    fn entries_are_read_and_what_names_no_host_is_named() {
        for (text, shown) in [
            ("API.Example.com.", "api.example.com"),
            ("*.Example.com", "*.example.com"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("[2001:db8::1]", "2001:db8::1/128"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
        ] {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), shown);
        }
        for wrong in ["", "*", "*.", "a.*.com", "https://h", "h:443", "h/x", "bücher.example", "10.0.0.0/33", "a b"] {
            let error = wrong.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains("names no host"), "{error}");
        }
    }

    #[test]
    fn lists_are_compared_with_names_and_addresses() {
        let policy = Policy {
            mode: Mode::Block,
            allow: patterns(&["api.example.com", "*.good.example", "192.0.2.0/24"]),
            deny: patterns(&["bad.good.example", "192.0.2.66"]),
            ..Policy::default()
        };
        for (host, address, passes) in [
            ("api.example.com", "203.0.113.1", true),
            ("x.api.example.com", "203.0.113.1", false),
            ("a.good.example", "203.0.113.1", true),
            ("a.b.good.example", "203.0.113.1", true),
            ("good.example", "203.0.113.1", false),
            ("notgood.example", "203.0.113.1", false),
            ("bad.good.example", "203.0.113.1", false),
            ("else.example", "192.0.2.1", true),
            ("api.example.com", "192.0.2.66", false),
            ("else.example", "::ffff:192.0.2.1", true),
            ("api.example.com", "::ffff:192.0.2.66", false),
        ] {
            let judged = judge(&policy, host, &[address]);
            assert_eq!(!judged.addresses.is_empty(), passes, "{host} {address}");
            assert_eq!(judged.ruling.as_ref().map(|ruling| ruling.is_blocked), (!passes).then_some(true), "{host} {address}");
        }
        // Of a name with several addresses those are left that may be reached.
        let judged = judge(&policy, "api.example.com", &["192.0.2.66", "192.0.2.1"]);
        assert_eq!((judged.addresses.len(), judged.ruling), (1, None));
        let observing = Policy { mode: Mode::Observe, ..policy };
        let judged = judge(&observing, "else.example", &["203.0.113.1"]);
        assert_eq!((judged.addresses.len(), judged.ruling.map(|ruling| ruling.is_blocked)), (1, Some(false)));
    }

    #[test]
    fn a_name_is_judged_before_its_address_is_known_where_that_does_not_matter() {
        let blocking = |allow: &[&str], deny: &[&str]| Policy {
            mode: Mode::Block,
            allow: patterns(allow),
            deny: patterns(deny),
            ..Policy::default()
        };
        let blocks = |policy: &Policy, host: &str| policy.judge_name(host).is_some_and(|ruling| ruling.is_blocked);
        let names = blocking(&["*.good.example"], &["bad.good.example"]);
        for (host, expected) in
            [("a.good.example", false), ("bad.good.example", true), ("else.example", true), ("192.0.2.1", false)]
        {
            assert_eq!(blocks(&names, host), expected, "{host}");
        }
        // It may lead into the network.
        let with_network = blocking(&["*.good.example", "10.0.0.0/8"], &["bad.good.example", "192.0.2.0/24"]);
        assert!(!blocks(&with_network, "else.example") && blocks(&with_network, "bad.good.example"));
        let observing = Policy { mode: Mode::Observe, ..names };
        assert!(!observing.judge_name("else.example").unwrap().is_blocked);
    }

    #[test]
    fn metadata_services_are_refused_however_they_are_written_unless_they_are_exempt() {
        let cases = [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::169.254.169.254",
            "64:ff9b:1::a9fe:a9fe",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:a9:fe:a9fe::",
            "64:ff9b:1::a9:fea9:fe00:0",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "fd00:42::42",
            "fe80::1",
            "100.100.100.200",
            "168.63.129.16",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
        ];
        for address in cases {
            let judged = judge(&Policy::default(), "rebound.example", &[address]);
            assert!(judged.addresses.is_empty() && judged.ruling.unwrap().is_blocked, "{address}");
        }
        let judged = judge(&Policy::default(), "rebound.example", &["169.254.169.254", "203.0.113.1"]);
        assert_eq!(judged.addresses, ["203.0.113.1:443".parse().unwrap()]);
        let exempt = Policy { allow_protected: patterns(&["169.254.169.254"]), ..Policy::default() };
        assert_eq!(judge(&exempt, "169.254.169.254", &["169.254.169.254"]).ruling, None);
        for fine in ["203.0.113.1", "10.0.0.1", "2001:db8::1", "127.0.0.1", "::1", "64:ff9b:1::cb00:7101", "fd00:ec2::253"] {
            assert_eq!(judge(&Policy::default(), "h", &[fine]).ruling, None, "{fine}");
        }
        // Callers from elsewhere do not reach this machine's own services through it.
        for loopback in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            let address = SocketAddr::new(loopback.parse().unwrap(), 80);
            assert!(Policy::default().judge("h", &[address], false).addresses.is_empty(), "{loopback}");
        }
    }
}
