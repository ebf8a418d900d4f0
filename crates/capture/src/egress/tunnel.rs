//! A tunnel: bytes both ways as they come, counted. Of a TLS handshake the name is read that the client asks for.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::call::{Bytes, end};

/// Bytes that are held of one direction: what one read brings.
const BUFFER_BYTES: usize = 16 * 1024;

/// Most bytes of a ClientHello that are held until its name is known. With post-quantum keys they have about 2 KiB.
const HELLO_BYTES_MAX: usize = 32 * 1024;

/// The first byte of TLS: a record of the handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// How long nothing may pass of a tunnel of which one side has said that it sends no more: it may be gone.
const HALF_CLOSED_IDLE: Duration = Duration::from_secs(60);

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    /// As the record calls it.
    pub(super) end: &'static str,
    /// Whether that is a failure of the call.
    pub(super) is_error: bool,
}

/// What is done about the name that a TLS client asks for: whether the tunnel goes on.
pub(super) type OnName<'a> = &'a mut (dyn FnMut(&str) -> bool + Send);

/// Passes bytes on until both sides are done, one breaks off, nothing comes for `idle`, or `stop` becomes true.
pub(super) async fn relay<C, U>(
    client: C,
    upstream: U,
    bytes: &Bytes,
    idle: Duration,
    on_name: OnName<'_>,
    mut stop: watch::Receiver<bool>,
) -> Ended
where
    C: AsyncRead + AsyncWrite + Send,
    U: AsyncRead + AsyncWrite + Send,
{
    let (client_reads, client_writes) = tokio::io::split(client);
    let (upstream_reads, upstream_writes) = tokio::io::split(upstream);
    let clock = Clock::new(idle);
    let outward = async {
        let (mut from, mut to) = (client_reads, upstream_writes);
        match hello(&mut from, &mut to, &bytes.sent, &clock, on_name).await {
            Ok(Some(())) => pump(from, to, &bytes.sent, &clock).await,
            Ok(None) => Ok(Pumped::Refused),
            Err(fault) => Err(fault),
        }
    };
    let inward = pump(upstream_reads, client_writes, &bytes.received, &clock);
    let (mut outward, mut inward) = (std::pin::pin!(outward), std::pin::pin!(inward));
    let stopped = async { drop(stop.wait_for(|&stop| stop).await) };
    let both = async {
        tokio::select! {
            done = &mut outward => {
                let first = ended(done, end::CLIENT_CLOSED, Side::Client);
                // The client may still be listening.
                if matches!(done, Ok(Pumped::Over)) && let Some(Err(fault)) = clock.linger(inward).await {
                    return broken(fault, Side::Upstream).unless_writing(fault, first);
                }
                first
            }
            done = &mut inward => {
                let first = ended(done, end::UPSTREAM_CLOSED, Side::Upstream);
                if matches!(done, Ok(Pumped::Over)) {
                    clock.linger(outward).await;
                }
                first
            }
        }
    };
    tokio::select! {
        ended = both => ended,
        () = stopped => Ended { end: end::STOPPED, is_error: false },
    }
}

/// How one direction ended, where it did not break off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pumped {
    Over,
    Refused,
}

/// What broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Read,
    Write,
    Idle,
}

/// Whose bytes a direction passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Upstream,
}

fn ended(done: Result<Pumped, Fault>, over: &'static str, side: Side) -> Ended {
    match done {
        Ok(Pumped::Over) => Ended { end: over, is_error: false },
        Ok(Pumped::Refused) => Ended { end: end::BLOCKED, is_error: true },
        Err(fault) => broken(fault, side),
    }
}

fn broken(fault: Fault, side: Side) -> Ended {
    let end = match (fault, side) {
        (Fault::Idle, _) => return Ended { end: end::IDLE, is_error: false },
        (Fault::Read, Side::Client) | (Fault::Write, Side::Upstream) => end::CLIENT_DISCONNECT,
        (Fault::Read, Side::Upstream) | (Fault::Write, Side::Client) => end::UPSTREAM_ERROR,
    };
    Ended { end, is_error: true }
}

impl Ended {
    /// Whoever has closed reads no more, most of the time: that the rest could not be written to it is no fault of the call.
    fn unless_writing(self, fault: Fault, first: Self) -> Self {
        if fault == Fault::Read { self } else { first }
    }
}

/// When something passed last, in either direction.
struct Clock {
    start: Instant,
    last_ms: AtomicU64,
    idle: Duration,
}

impl Clock {
    fn new(idle: Duration) -> Self {
        Self { start: Instant::now(), last_ms: AtomicU64::new(0), idle }
    }

    fn tick(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.fetch_max(now, Ordering::Relaxed);
    }

    /// Reads; fails when for the whole of `idle` neither this direction nor the other had anything.
    async fn read(&self, from: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> Result<usize, Fault> {
        loop {
            let last = self.start + Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            match tokio::time::timeout_at(last + self.idle, from.read(buffer)).await {
                Ok(Ok(count)) => {
                    self.tick();
                    return Ok(count);
                }
                // TLS that is closed without saying so, as many do.
                Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Ok(Err(_)) => return Err(Fault::Read),
                Err(_) if self.is_idle() => return Err(Fault::Idle),
                Err(_) => {}
            }
        }
    }

    fn is_idle(&self) -> bool {
        let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(last) >= self.idle
    }

    /// Waits for the rest of a direction for as long as something passes.
    async fn linger<T>(&self, mut rest: impl Future<Output = T> + Unpin) -> Option<T> {
        loop {
            let last = self.last_ms.load(Ordering::Relaxed);
            match timeout(HALF_CLOSED_IDLE.min(self.idle), &mut rest).await {
                Ok(done) => return Some(done),
                Err(_) if self.last_ms.load(Ordering::Relaxed) == last => return None,
                Err(_) => {}
            }
        }
    }

    async fn write(&self, to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), Fault> {
        let writing = async {
            to.write_all(bytes).await?;
            to.flush().await
        };
        match timeout(self.idle, writing).await {
            Ok(Ok(())) => {
                self.tick();
                Ok(())
            }
            Ok(Err(_)) => Err(Fault::Write),
            Err(_) => Err(Fault::Idle),
        }
    }
}

/// Passes one direction on to its end, and tells the other side of that.
async fn pump<R, W>(mut from: ReadHalf<R>, mut to: WriteHalf<W>, count: &AtomicU64, clock: &Clock) -> Result<Pumped, Fault>
where
    R: AsyncRead,
    W: AsyncWrite,
{
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = clock.read(&mut from, &mut buffer).await?;
        if read == 0 {
            drop(to.shutdown().await);
            return Ok(Pumped::Over);
        }
        clock.write(&mut to, &buffer[..read]).await?;
        count.fetch_add(read as u64, Ordering::Relaxed);
    }
}

/// Passes on what a client says first. When that is a TLS handshake it is held until the name in it is known. `None`: it must not
/// go on.
async fn hello<R, W>(
    from: &mut ReadHalf<R>,
    to: &mut WriteHalf<W>,
    count: &AtomicU64,
    clock: &Clock,
    on_name: OnName<'_>,
) -> Result<Option<()>, Fault>
where
    R: AsyncRead,
    W: AsyncWrite,
{
    let mut hello = Hello::default();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut held = Vec::new();
    loop {
        let read = clock.read(from, &mut buffer).await?;
        held.extend_from_slice(&buffer[..read]);
        match hello.push(&buffer[..read]) {
            Named::Unknown if read > 0 && held.len() < HELLO_BYTES_MAX => continue,
            Named::As(name) if !on_name(&name) => return Ok(None),
            _ => {}
        }
        clock.write(to, &held).await?;
        count.fetch_add(held.len() as u64, Ordering::Relaxed);
        return Ok(Some(()));
    }
}

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    /// More bytes are needed.
    Unknown,
    /// There is none, or none that can be read.
    Not,
    As(String),
}

/// Reads the name in a ClientHello, by the TLS library's own parser.
#[derive(Default)]
struct Hello {
    acceptor: Option<Acceptor>,
}

impl Hello {
    fn push(&mut self, mut bytes: &[u8]) -> Named {
        if self.acceptor.is_none() && bytes.first() != Some(&TLS_HANDSHAKE) {
            return Named::Not;
        }
        let acceptor = self.acceptor.get_or_insert_default();
        while !bytes.is_empty() {
            if !matches!(acceptor.read_tls(&mut bytes), Ok(1..)) {
                return Named::Not;
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let name = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                    return name.map_or(Named::Not, Named::As);
                }
                Err(_) => return Named::Not,
            }
        }
        Named::Unknown
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn client_hello(name: &str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
        let name = name.to_owned().try_into().unwrap();
        let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).unwrap();
        hello
    }

    #[test]
    fn the_name_is_read_however_the_hello_is_cut() {
        let bytes = client_hello("API.example.com");
        for cut in [1, 5, 6, 43, bytes.len() - 1] {
            let mut hello = Hello::default();
            assert_eq!(hello.push(&bytes[..cut]), Named::Unknown, "{cut}");
            assert_eq!(hello.push(&bytes[cut..]), Named::As("api.example.com".to_owned()), "{cut}");
        }
        assert_eq!(Hello::default().push(&client_hello("192.0.2.1")), Named::Not);
        assert_eq!(Hello::default().push(b"SSH-2.0-x\r\n"), Named::Not);
        assert_eq!(Hello::default().push(b""), Named::Not);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..600), at in 0..300_usize) {
            let mut hello = Hello::default();
            let mut first = vec![TLS_HANDSHAKE];
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

    /// A tunnel between two ends that the test holds.
    fn stage(
        idle: Duration,
        allow: bool,
    ) -> (DuplexStream, DuplexStream, Bytes, watch::Sender<bool>, tokio::task::JoinHandle<Ended>) {
        let (client, near) = duplex(4 * 1024);
        let (far, upstream) = duplex(4 * 1024);
        let bytes = Bytes::default();
        let (stop, stopped) = watch::channel(false);
        let counted = bytes.clone();
        let task = tokio::spawn(async move { relay(near, far, &counted, idle, &mut |_| allow, stopped).await });
        (client, upstream, bytes, stop, task)
    }

    async fn end_of(task: tokio::task::JoinHandle<Ended>) -> Ended {
        timeout(SOON, task).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn bytes_pass_both_ways_and_are_counted() {
        let (mut client, mut upstream, bytes, _stop, task) = stage(SOON, true);
        // The server speaks first.
        upstream.write_all(b"220 ready\r\n").await.unwrap();
        let mut banner = [0; 11];
        client.read_exact(&mut banner).await.unwrap();
        let large = vec![7; 100_000];
        let sending = large.clone();
        let writer = tokio::spawn(async move {
            client.write_all(&sending).await.unwrap();
            client.shutdown().await.unwrap();
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.unwrap();
            rest
        });
        let mut seen = Vec::new();
        upstream.read_to_end(&mut seen).await.unwrap();
        assert_eq!(seen, large);
        // The client has closed its side, and still gets the answer.
        upstream.write_all(b"done").await.unwrap();
        drop(upstream);
        assert_eq!(writer.await.unwrap(), b"done");
        assert_eq!(end_of(task).await, Ended { end: end::CLIENT_CLOSED, is_error: false });
        assert_eq!((bytes.sent.load(Ordering::Relaxed), bytes.received.load(Ordering::Relaxed)), (100_000, 15));
    }

    #[tokio::test]
    async fn a_refused_name_reaches_nobody() {
        let (mut client, mut upstream, bytes, _stop, task) = stage(SOON, false);
        client.write_all(&client_hello("bad.example.com")).await.unwrap();
        assert_eq!(end_of(task).await.end, end::BLOCKED);
        let mut seen = Vec::new();
        upstream.read_to_end(&mut seen).await.unwrap();
        assert!(seen.is_empty());
        assert_eq!(bytes.sent.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_client_that_is_gone_ends_the_connection_upstream() {
        let (client, mut upstream, _bytes, _stop, task) = stage(SOON, true);
        drop(client);
        let mut seen = Vec::new();
        upstream.read_to_end(&mut seen).await.unwrap();
        drop(upstream);
        assert_eq!(end_of(task).await.end, end::CLIENT_CLOSED);
    }

    #[tokio::test]
    async fn silence_and_a_stop_end_it() {
        let (_client, _upstream, _bytes, _stop, task) = stage(Duration::from_millis(20), true);
        assert_eq!(end_of(task).await.end, end::IDLE);
        let (_client, _upstream, _bytes, stop, task) = stage(SOON, true);
        stop.send_replace(true);
        assert_eq!(end_of(task).await.end, end::STOPPED);
    }
}
