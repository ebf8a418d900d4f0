//! A tunnel: bytes both ways as they come, counted as they are written. Of a TLS handshake the name is read that the client asks for.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::call::{Bytes, end};
use super::hello::{Hello, Named};

/// Bytes that are held of one direction: what one read brings.
const BUFFER_BYTES: usize = 16 * 1024;

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

/// What is done about what a TLS client asks for ([`Named::As`] or [`Named::Unreadable`]): whether the tunnel goes on.
pub(super) type OnHello<'a> = &'a mut (dyn FnMut(&Named) -> bool + Send);

/// Passes bytes on until both sides are done, one breaks off, nothing comes for `idle`, or `stop` becomes true.
pub(super) async fn relay<C, U>(
    client: C,
    upstream: U,
    bytes: &Bytes,
    idle: Duration,
    on_hello: OnHello<'_>,
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
        match hello(&mut from, &mut to, &bytes.sent, &clock, on_hello).await {
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

    /// Writes all of it. What has gone is counted even when the rest cannot go.
    async fn write(&self, to: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8], count: &AtomicU64) -> Result<(), Fault> {
        while !bytes.is_empty() {
            match timeout(self.idle, to.write(bytes)).await {
                Ok(Ok(written @ 1..)) => {
                    count.fetch_add(written as u64, Ordering::Relaxed);
                    bytes = &bytes[written..];
                    self.tick();
                }
                Ok(_) => return Err(Fault::Write),
                Err(_) => return Err(Fault::Idle),
            }
        }
        match timeout(self.idle, to.flush()).await {
            Ok(Ok(())) => Ok(()),
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
        clock.write(&mut to, &buffer[..read], count).await?;
    }
}

/// Passes on what a client says first. When that is a TLS handshake it is held until the name in it is known. `None`: it must not
/// go on.
async fn hello<R, W>(
    from: &mut ReadHalf<R>,
    to: &mut WriteHalf<W>,
    count: &AtomicU64,
    clock: &Clock,
    on_hello: OnHello<'_>,
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
            Named::Unknown => continue,
            Named::Not => {}
            named => {
                if !on_hello(&named) {
                    return Ok(None);
                }
            }
        }
        clock.write(to, &held, count).await?;
        return Ok(Some(()));
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::super::hello::tests::{client_hello, endless_hello};
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

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
    async fn what_is_refused_reaches_nobody() {
        let after_nothing = [&[22, 3, 1, 0, 0][..], &client_hello("bad.example.com")].concat();
        for first in [client_hello("bad.example.com"), after_nothing, endless_hello()] {
            let (mut client, mut upstream, bytes, _stop, task) = stage(SOON, false);
            // Of what is too long not all is read.
            let writing = tokio::spawn(async move {
                drop(client.write_all(&first).await);
                client
            });
            assert_eq!(end_of(task).await.end, end::BLOCKED);
            let mut seen = Vec::new();
            upstream.read_to_end(&mut seen).await.unwrap();
            assert!(seen.is_empty());
            assert_eq!(bytes.sent.load(Ordering::Relaxed), 0);
            drop(writing.await.unwrap());
        }
    }

    #[tokio::test]
    async fn what_has_gone_is_counted_though_the_rest_cannot_go() {
        let (mut client, mut upstream, bytes, _stop, task) = stage(SOON, true);
        let writing = tokio::spawn(async move { drop(client.write_all(&[7; 16 * 1024]).await) });
        // 4 KiB lie between the two, and room for 1,000 bytes more is made.
        let mut taken = vec![0; 1_000];
        upstream.read_exact(&mut taken).await.unwrap();
        let all = async {
            while bytes.sent.load(Ordering::Relaxed) < 4 * 1024 + 1_000 {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, all).await.unwrap();
        drop(upstream);
        end_of(task).await;
        writing.await.unwrap();
        assert_eq!(bytes.sent.load(Ordering::Relaxed), 4 * 1024 + 1_000);
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
