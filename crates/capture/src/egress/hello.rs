//! The name in a TLS client's first message (RFC 8446, section 4.1.2), read by the TLS library's own parser.

use rustls::server::Acceptor;

/// Most bytes that are held until the name is known. With post-quantum keys a message has about 2 KiB.
const BYTES_MAX: usize = 32 * 1024;

/// The first byte of a TLS client: a record of the handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// The first bytes of all records of TLS (RFC 8446, section 5.1; RFC 6520). None but a handshake begins a connection.
const TLS_RECORDS: std::ops::RangeInclusive<u8> = 20..=24;

/// What the first bytes of a client tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// More bytes are needed.
    Unknown,
    /// It is not TLS, or names no server.
    Not,
    /// It begins as TLS does and cannot be read, has no end within 32 KiB, or ends before it is whole: whom it asks for is not known.
    Unreadable,
    /// The server's name, as the client writes it but in lower case.
    As(String),
}

/// Reads a client's first bytes as they come.
#[derive(Default)]
pub struct Hello {
    acceptor: Option<Acceptor>,
    held: usize,
}

impl Hello {
    /// Takes what came next; nothing stands for the end. After anything but [`Named::Unknown`] there is no more to learn.
    pub fn push(&mut self, mut bytes: &[u8]) -> Named {
        match (bytes.first(), &self.acceptor) {
            (None, Some(_)) => return Named::Unreadable,
            (Some(&HANDSHAKE), None) | (Some(_), Some(_)) => {}
            (Some(first), None) if TLS_RECORDS.contains(first) => return Named::Unreadable,
            (_, None) => return Named::Not,
        }
        self.held = self.held.saturating_add(bytes.len());
        let acceptor = self.acceptor.get_or_insert_default();
        while !bytes.is_empty() {
            if !matches!(acceptor.read_tls(&mut bytes), Ok(1..)) {
                return Named::Unreadable;
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let name = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                    return name.map_or(Named::Not, Named::As);
                }
                Err(_) => return Named::Unreadable,
            }
        }
        if self.held >= BYTES_MAX { Named::Unreadable } else { Named::Unknown }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    /// What a client says first to a server of that name.
    pub(in super::super) fn client_hello(name: &str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
        // The library leaves a dot at the end away, as it should (RFC 6066, section 3); others do not have to.
        let sent = name.strip_suffix('.').map_or_else(|| name.to_owned(), |bare| format!("{bare}0"));
        let mut connection = rustls::ClientConnection::new(Arc::new(config), sent.clone().try_into().unwrap()).unwrap();
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).unwrap();
        if sent != name {
            let at = hello.windows(sent.len()).position(|window| window == sent.as_bytes()).unwrap();
            hello[at..at + name.len()].copy_from_slice(name.as_bytes());
        }
        hello
    }

    /// A message whose end is beyond every bound, in records of 16,000 bytes.
    pub(in super::super) fn endless_hello() -> Vec<u8> {
        let message = [&[1, 0, 0xea, 0x60][..], &[0; 60_000]].concat();
        let records = message.chunks(16_000).map(|piece| {
            let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
            [&[22, 3, 1][..], &length, piece].concat()
        });
        records.collect::<Vec<_>>().concat()
    }

    #[test]
    fn the_name_is_read_however_the_hello_is_cut() {
        let bytes = client_hello("API.example.com");
        for cut in [1, 5, 6, 43, bytes.len() - 1] {
            let mut hello = Hello::default();
            assert_eq!(hello.push(&bytes[..cut]), Named::Unknown, "{cut}");
            assert_eq!(hello.push(&bytes[cut..]), Named::As("api.example.com".to_owned()), "{cut}");
        }
        assert_eq!(Hello::default().push(&client_hello("bad.example.com.")), Named::As("bad.example.com.".to_owned()));
        for none in [&client_hello("192.0.2.1")[..], b"SSH-2.0-x\r\n", b""] {
            assert_eq!(Hello::default().push(none), Named::Not);
        }
    }

    #[test]
    fn a_hello_that_cannot_be_read_is_none_that_names_nobody() {
        let hello = client_hello("bad.example.com");
        let after_nothing = [&[22, 3, 1, 0, 0][..], &hello].concat();
        let after_alert = [&[21, 3, 1, 0, 2, 1, 0][..], &hello].concat();
        for bytes in [after_nothing, after_alert, endless_hello()] {
            assert_eq!(Hello::default().push(&bytes), Named::Unreadable);
        }
        let mut cut = Hello::default();
        assert_eq!((cut.push(&hello[..50]), cut.push(b"")), (Named::Unknown, Named::Unreadable));
        let mut endless = Hello::default();
        let said: Vec<_> = endless_hello().chunks(1_000).map(|piece| endless.push(piece)).collect();
        assert!(said.iter().position(|said| *said == Named::Unreadable).unwrap() <= BYTES_MAX / 1_000);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..600), at in 0..300_usize) {
            let mut hello = Hello::default();
            let mut first = vec![22];
            first.extend(&bytes);
            let _ = hello.push(&first);
            // And a real one with bytes of it replaced.
            let mut real = client_hello("api.example.com");
            for (index, byte) in bytes.iter().take(8).enumerate() {
                let place = (at + index * 7) % real.len();
                real[place] = *byte;
            }
            let _ = Hello::default().push(&real);
        }
    }
}
