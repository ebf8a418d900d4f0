//! Who is at the other end of a connection on this machine, as Linux's table of sockets says (`proc_net_tcp`): the user of the process
//! that made the socket. Where there is no such table nobody is known.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Most bytes of the table that are read: a hundred thousand sockets.
const TABLE_BYTES_MAX: u64 = 16 << 20;

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) peer: SocketAddr,
    pub(crate) own: SocketAddr,
}

impl Ends {
    /// The user id of the peer's process.
    pub(crate) fn peer_uid(&self) -> Option<u32> {
        let table = if self.peer.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
        let lines = BufReader::new(File::open(table).ok()?.take(TABLE_BYTES_MAX)).lines();
        lines.map_while(Result::ok).find_map(|line| self.uid_in(&line))
    }

    /// The user id in a line of the table, if that tells of the peer's socket.
    fn uid_in(&self, line: &str) -> Option<u32> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, remote) = (address(fields.next()?)?, address(fields.next()?)?);
        // Behind them: state, queues, timer, retransmissions, user id.
        let is_it = local == self.peer && remote == self.own;
        is_it.then(|| fields.nth(4)?.parse().ok())?
    }
}

/// `0100007F:1F90` is 127.0.0.1:8080: words of four bytes in the machine's order, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words: Vec<[u8; 4]> = (0..ip.len())
        .step_by(8)
        .map(|at| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes()))
        .collect::<Option<_>>()?;
    let ip: IpAddr = match words.as_slice() {
        [word] => Ipv4Addr::from(*word).into(),
        [a, b, c, d] => Ipv6Addr::from(<[u8; 16]>::try_from([*a, *b, *c, *d].concat()).ok()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_user_of_a_connection_on_this_machine_is_known() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(any) else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, peer) = listener.accept().unwrap();
            let ends = Ends { peer, own: accepted.local_addr().unwrap() };
            assert_eq!(ends.peer_uid(), Some(nix::unistd::geteuid().as_raw()), "{any}");
            drop(client);
            let elsewhere = Ends { peer: "127.0.0.1:1".parse().unwrap(), ..ends };
            assert_eq!(elsewhere.peer_uid(), None);
        }
    }

    #[test]
    fn a_line_that_is_none_says_nothing() {
        let ends = Ends { peer: "127.0.0.1:8080".parse().unwrap(), own: "127.0.0.1:1".parse().unwrap() };
        let line = "0: 0100007F:1F90 0100007F:0001 01 00000000:00000000 00:00000000 00000000  1000        0 123";
        if cfg!(target_endian = "little") {
            assert_eq!(ends.uid_in(line), Some(1000));
        }
        for line in ["", "sl local_address", "0: zz:1F90 1:1", "0: 0100007F:1F90", "0: é0000000:1 0100007F:0001 01"] {
            assert_eq!(ends.uid_in(line), None, "{line}");
        }
    }
}
