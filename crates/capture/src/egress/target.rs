//! Where a call goes: host and port, as the request names them.

use std::net::IpAddr;

use http::Uri;

/// Longest name of a host (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// Where a call goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// A name in lower case without a dot at its end, or an address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// Why a request names no destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TargetError {
    #[error("this is a forward proxy: name it in HTTP_PROXY and HTTPS_PROXY, and ask for http://HOST/PATH or CONNECT HOST:PORT")]
    NoProxyRequest,
    #[error("only http:// URLs are passed on as they are; ask for others with CONNECT HOST:PORT")]
    Scheme,
    #[error("the host of the request is none")]
    Host,
    #[error("CONNECT needs HOST:PORT with a port from 1 to 65535")]
    Port,
}

impl Target {
    /// The destination of a CONNECT: `HOST:PORT` (RFC 9110, section 9.3.6).
    pub(super) fn of_connect(uri: &Uri) -> Result<Self, TargetError> {
        let authority = uri.authority().ok_or(TargetError::Port)?;
        let port = authority.port_u16().filter(|port| *port != 0).ok_or(TargetError::Port)?;
        Self::new(authority.host(), port)
    }

    /// The destination of a request with a whole URL (RFC 9112, section 3.2.2).
    pub(super) fn of_url(uri: &Uri) -> Result<Self, TargetError> {
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(TargetError::NoProxyRequest);
        };
        if scheme != "http" {
            return Err(TargetError::Scheme);
        }
        // `h:` and `h:0` name no port that could be connected to.
        let has_port = authority.as_str().rsplit('@').next().unwrap_or_default().len() > authority.host().len();
        let port = if has_port { authority.port_u16().filter(|port| *port != 0) } else { Some(80) };
        Self::new(authority.host(), port.ok_or(TargetError::Port)?)
    }

    fn new(host: &str, port: u16) -> Result<Self, TargetError> {
        Ok(Self { host: normal_host(host).ok_or(TargetError::Host)?, port })
    }

    /// `HOST:PORT`, the port left out where it is the scheme's own.
    pub(super) fn authority(&self, default_port: u16) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == default_port { host } else { format!("{host}:{}", self.port) }
    }

    /// Whether a `Host` header or a URL inside of the connection names this destination, too. The port may be left out.
    pub(super) fn is_named_by(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<http::uri::Authority>() else { return false };
        normal_host(authority.host()).as_deref() == Some(self.host.as_str())
            && authority.port_u16().is_none_or(|port| port == self.port)
            && !authority.as_str().contains('@')
    }
}

/// A host in the form in which hosts are compared; `None` when it is none.
pub(super) fn normal_host(host: &str) -> Option<String> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Some(ip.to_string());
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = !name.is_empty() && name.len() <= HOST_BYTES_MAX && name.bytes().all(fits);
    (is_name && name.split('.').all(|label| !label.is_empty())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(target: Result<Target, TargetError>) -> Result<String, TargetError> {
        target.map(|target| format!("{} {}", target.host, target.port))
    }

    #[test]
    fn requests_name_their_destination() {
        let connect = |text: &str| shown(Target::of_connect(&text.parse().unwrap()));
        assert_eq!(connect("API.Example.com.:443").unwrap(), "api.example.com 443");
        assert_eq!(connect("[::1]:8443").unwrap(), "::1 8443");
        assert_eq!(connect("example.com"), Err(TargetError::Port));
        assert_eq!(connect("example.com:0"), Err(TargetError::Port));
        assert_eq!(connect("a..b:443"), Err(TargetError::Host));
        let url = |text: &str| shown(Target::of_url(&text.parse().unwrap()));
        assert_eq!(url("http://Example.com/x").unwrap(), "example.com 80");
        assert_eq!(url("http://u:p@example.com:8080/x").unwrap(), "example.com 8080");
        assert_eq!(url("https://example.com/"), Err(TargetError::Scheme));
        assert_eq!(url("/v1/x"), Err(TargetError::NoProxyRequest));
        assert_eq!(url("http://example.com:0/"), Err(TargetError::Port));
    }

    #[test]
    fn a_host_inside_of_a_connection_is_that_of_the_connection() {
        let target = Target { host: "api.example.com".to_owned(), port: 443 };
        for same in ["api.example.com", "API.example.com:443", "api.example.com."] {
            assert!(target.is_named_by(same), "{same}");
        }
        for other in ["", "example.com", "api.example.com:8443", "u@api.example.com", "api.example.com.evil", "a b"] {
            assert!(!target.is_named_by(other), "{other}");
        }
        assert_eq!((target.authority(443), target.authority(80)), ("api.example.com".into(), "api.example.com:443".into()));
        assert_eq!(Target { host: "::1".to_owned(), port: 80 }.authority(80), "[::1]");
    }
}
