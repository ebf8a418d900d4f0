//! Which destinations may be reached: lists of hosts and networks, and addresses that nobody reaches through a proxy by accident.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

use super::target::normal_host;

/// Metadata services outside of the link-local networks: Alibaba Cloud, Oracle Cloud, Azure's wire server.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];

/// The metadata service of AWS on IPv6.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

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
            let protected = protected(ip, is_local).filter(|_| !exempt);
            let listed = || self.objection(host, ip).map(|reason| ("egress.hosts", reason));
            let objection = protected.map(|what| ("egress.protected", format!("{ip} is {what}"))).or_else(listed);
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

    /// Judges a name that a client asks for inside of a connection which was judged already (SNI).
    pub(super) fn judge_name(&self, host: &str) -> Option<Ruling> {
        let denied = self.deny.iter().find(|pattern| pattern.fits_name(host))?;
        Some(Ruling {
            policy: "egress.hosts",
            reason: format!("the TLS client asks for {host}, which {denied} in the list of denied hosts fits"),
            is_blocked: self.mode == Mode::Block,
        })
    }

    fn objection(&self, host: &str, ip: IpAddr) -> Option<String> {
        if let Some(denied) = self.deny.iter().find(|pattern| pattern.fits(host, ip)) {
            return Some(format!("{denied} is in the list of denied hosts"));
        }
        let is_allowed = self.allow.is_empty() || self.allow.iter().any(|pattern| pattern.fits(host, ip));
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

/// What an address is that is not reached by accident.
fn protected(ip: IpAddr, is_local: bool) -> Option<&'static str> {
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
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip == METADATA_V6),
    };
    (is_link_local || is_metadata).then_some("link-local or of a metadata service, which gives out credentials")
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
    fn metadata_services_are_refused_however_they_are_written_unless_they_are_exempt() {
        let cases = [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::169.254.169.254",
            "fd00:ec2::254",
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
        for fine in ["203.0.113.1", "10.0.0.1", "2001:db8::1", "127.0.0.1", "::1"] {
            assert_eq!(judge(&Policy::default(), "h", &[fine]).ruling, None, "{fine}");
        }
        // Callers from elsewhere do not reach this machine's own services through it.
        for loopback in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            let address = SocketAddr::new(loopback.parse().unwrap(), 80);
            assert!(Policy::default().judge("h", &[address], false).addresses.is_empty(), "{loopback}");
        }
    }
}
