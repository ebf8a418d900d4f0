//! Connections to destinations. A name is resolved once, and what was judged is what is connected to: a name that leads elsewhere
//! a moment later (DNS rebinding) changes nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};

use http::StatusCode;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::Shared;
use super::answer::Failure;
use super::policy::{PROTECTED, Ruling};
use super::target::Target;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// A connection to a destination.
pub(super) struct Opened {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
}

impl Shared {
    /// Judges the name, resolves it, judges what it leads to, and connects. The ruling is there whether it succeeds or not. `share`:
    /// whose places are taken.
    pub(super) async fn open(&self, target: &Target, share: Option<&str>) -> (Option<Ruling>, Result<Opened, Failure>) {
        let named = self.config.policy.judge_name(&target.host);
        if let Some(ruling) = named.as_ref().filter(|ruling| ruling.is_blocked) {
            let failure = Failure::denied(kind_of(ruling), &ruling.reason);
            return (named, Err(failure));
        }
        let resolved = match self.resolve(target, share).await {
            Ok(resolved) => resolved,
            Err(failure) => return (named, Err(failure)),
        };
        let judged = self.config.policy.judge(&target.host, &resolved, self.config.is_local);
        if let Some(ruling) = judged.ruling.as_ref().filter(|ruling| ruling.is_blocked) {
            let failure = Failure::denied(kind_of(ruling), &ruling.reason);
            return (judged.ruling, Err(failure));
        }
        match self.connect(&judged.addresses, target).await {
            Ok(opened) if self.is_own(&opened, target) => {
                let reason = format!("{} is a listener of this server", opened.peer);
                let ruling = Ruling { policy: PROTECTED, reason, is_blocked: true };
                let failure = Failure::denied(kind_of(&ruling), &ruling.reason);
                (Some(ruling), Err(failure))
            }
            connected => (judged.ruling, connected),
        }
    }

    async fn resolve(&self, target: &Target, share: Option<&str>) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(ip) = target.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, target.port)]);
        }
        let place = (target.host.clone(), target.port);
        let looking = async {
            // The system's resolver holds a thread for each question, until it has the answer: however long anybody waits for it.
            let turn = self.lookups.take(share).await.ok_or_else(|| io::Error::other("the proxy has ended"))?;
            let looking = tokio::spawn(async move {
                let found = lookup_host(place).await.map(|found| found.take(ADDRESSES_MAX).collect::<Vec<_>>());
                drop(turn);
                found
            });
            looking.await.map_err(io::Error::other)?
        };
        match timeout(self.config.limits.resolve, looking).await {
            Ok(Ok(found)) if !found.is_empty() => Ok(found),
            Ok(found) => {
                let cause = found.err().map_or_else(|| "no address".to_owned(), |error| error.to_string());
                Err(Failure::new(StatusCode::BAD_GATEWAY, "dns_error", format!("{} does not resolve: {cause}", target.host)))
            }
            Err(_) => Err(Failure::new(StatusCode::GATEWAY_TIMEOUT, "dns_timeout", format!("no answer for {}", target.host))),
        }
    }

    /// Tries one address after the other, all within the time for one connection.
    async fn connect(&self, addresses: &[SocketAddr], target: &Target) -> Result<Opened, Failure> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let trying = async {
            for address in addresses {
                match TcpStream::connect(address).await {
                    Ok(stream) => {
                        drop(stream.set_nodelay(true));
                        return Some(Opened { stream, peer: *address });
                    }
                    Err(error) => last = error,
                }
            }
            None
        };
        let connected = timeout(self.config.limits.connect, trying).await;
        match connected {
            Ok(Some(opened)) => Ok(opened),
            Ok(None) => Err(Failure::unreachable(&last, &target.authority(0))),
            Err(_) => Err(Failure::unreachable(&io::ErrorKind::TimedOut.into(), &target.authority(0))),
        }
    }

    /// Whether a connection leads to a listener of this server: it would be asked in its own name, or in a circle.
    fn is_own(&self, opened: &Opened, target: &Target) -> bool {
        let peer = opened.peer.ip().to_canonical();
        // A connection to an address of this machine comes from that address.
        let is_here = peer.is_loopback() || opened.stream.local_addr().is_ok_and(|own| own.ip().to_canonical() == peer);
        let listeners = self.listeners.get().into_iter().flatten();
        let mut own = listeners.filter(|own| own.port() == opened.peer.port());
        own.any(|own| own.ip().to_canonical() == peer || (own.ip().is_unspecified() && is_here))
            && !self.config.policy.allow_protected.iter().any(|pattern| pattern.fits(&target.host, peer))
    }
}

/// The error of a refusal in RFC 9209.
pub(super) fn kind_of(ruling: &Ruling) -> &'static str {
    if ruling.policy == PROTECTED { "destination_ip_prohibited" } else { "http_request_denied" }
}
