//! Both sides of a gateway by hand, in HTTP/1.1 over plain sockets: a client that may leave at any byte, and an upstream that does what a
//! test says, byte by byte. The upstream stands in for a model where what matters is how it behaves and not what it says.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::SOON;

/// Longest head of a request that the stand-in reads, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// An upstream that does what `act` does.
pub(crate) struct StandIn {
    pub(crate) base: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    next: AtomicU64,
    answering: AtomicUsize,
    /// Connections that are open, so that whoever waits on one can be woken.
    open: Mutex<HashMap<u64, TcpStream>>,
}

/// A request that has come to the stand-in, and the connection that it came on.
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) socket: TcpStream,
    /// Bytes of the head that have not been taken from the socket.
    unread: usize,
}

/// Whether the connection goes on after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Request,
    Close,
}

impl StandIn {
    /// Starts it. `act` answers one request; an error of its socket closes the connection.
    pub(crate) fn start(act: impl Fn(&mut Asked) -> io::Result<Next> + Send + Sync + 'static) -> Self {
        let listener = listener().unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let (of_listener, act) = (shared.clone(), Arc::new(act));
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if of_listener.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(socket) = connection else { continue };
                let (shared, act) = (of_listener.clone(), act.clone());
                std::thread::spawn(move || shared.serve(socket, &*act));
            }
        });
        Self { base, shared }
    }

    /// Connections that are open now.
    pub(crate) fn connections(&self) -> usize {
        self.shared.open.lock().unwrap().len()
    }

    /// Requests that are being answered now.
    pub(crate) fn answering(&self) -> usize {
        self.shared.answering.load(Ordering::Relaxed)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for socket in self.shared.open.lock().unwrap().values() {
            drop(socket.shutdown(Shutdown::Both));
        }
        // Wakes the listener, which ends then.
        drop(TcpStream::connect(address(&self.base)));
    }
}

impl Shared {
    fn serve(&self, socket: TcpStream, act: &dyn Fn(&mut Asked) -> io::Result<Next>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        if let Ok(clone) = socket.try_clone() {
            self.open.lock().unwrap().insert(id, clone);
        }
        drop(socket.set_nodelay(true));
        let mut asked = Asked { head: String::new(), socket, unread: 0 };
        while !self.is_over.load(Ordering::Relaxed) && matches!(asked.next(), Ok(true)) {
            self.answering.fetch_add(1, Ordering::Relaxed);
            let next = act(&mut asked);
            self.answering.fetch_sub(1, Ordering::Relaxed);
            if !matches!(next, Ok(Next::Request)) {
                break;
            }
        }
        // Closed before it is forgotten: what is counted as open is never less than what is.
        drop(asked);
        self.open.lock().unwrap().remove(&id);
    }
}

impl Asked {
    /// Waits for the head of a request, without taking anything from the socket: a connection that is closed with unread bytes is reset.
    fn next(&mut self) -> io::Result<bool> {
        let mut buffer = vec![0; HEAD_BYTES_MAX];
        let mut came = 0;
        loop {
            let read = self.socket.peek(&mut buffer)?;
            if let Some(end) = buffer[..read].windows(4).position(|window| window == b"\r\n\r\n") {
                self.head = String::from_utf8_lossy(&buffer[..end]).into_owned();
                self.unread = end + 4;
                return Ok(true);
            }
            if read == 0 || read == HEAD_BYTES_MAX {
                return Ok(false);
            }
            if read == came {
                // The rest of the head is on its way: peeking does not wait for it.
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            came = read;
        }
    }

    /// A header of the request.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// Takes the request from the socket, and gives its body.
    pub(crate) fn body(&mut self) -> io::Result<Vec<u8>> {
        let length: usize = self.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut bytes = vec![0; self.unread + length];
        self.socket.read_exact(&mut bytes)?;
        Ok(bytes.split_off(self.unread))
    }

    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.socket.write_all(bytes.as_ref())
    }

    /// Begins an answer in chunks.
    pub(crate) fn begin_stream(&mut self) -> io::Result<()> {
        self.say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    }

    /// One chunk of an answer.
    pub(crate) fn chunk(&mut self, bytes: &str) -> io::Result<()> {
        self.say(format!("{:x}\r\n{bytes}\r\n", bytes.len()))
    }

    /// The end of an answer in chunks.
    pub(crate) fn end_stream(&mut self) -> io::Result<()> {
        self.say("0\r\n\r\n")
    }

    /// An answer in one piece.
    pub(crate) fn answer(&mut self, status: &str, body: &str) -> io::Result<()> {
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        self.say(head + body)
    }

    /// Says nothing more, until the other side is gone.
    pub(crate) fn wait_for_the_end(&mut self) -> io::Result<()> {
        let mut buffer = [0; 1_024];
        while self.socket.read(&mut buffer)? > 0 {}
        Ok(())
    }
}

/// A call that is under way, at its client.
pub(crate) struct Call {
    socket: TcpStream,
    seen: Vec<u8>,
}

/// What a client has seen of an answer when its connection ended.
#[derive(Debug)]
pub(crate) struct Answered {
    /// 0 when there was none.
    pub(crate) status: u16,
    pub(crate) head: String,
    /// Without the framing of chunks.
    pub(crate) body: Vec<u8>,
    /// Whether it came to the end that its framing says.
    pub(crate) is_whole: bool,
}

impl Call {
    /// Sends a request over a connection of its own.
    pub(crate) fn post(base: &str, path: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Self> {
        let mut call = Self::connect(base)?;
        call.say(&request("POST", path, headers, body.len()))?;
        call.say(body)?;
        Ok(call)
    }

    /// A connection on which nothing has been said yet.
    pub(crate) fn connect(base: &str) -> io::Result<Self> {
        let socket = TcpStream::connect(address(base))?;
        socket.set_read_timeout(Some(SOON))?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, seen: Vec::new() })
    }

    pub(crate) fn say(&mut self, text: &str) -> io::Result<()> {
        self.socket.write_all(text.as_bytes())
    }

    /// Reads until something has come; `false` when the answer is over before.
    pub(crate) fn until(&mut self, what: &str) -> bool {
        while !self.seen.windows(what.len()).any(|window| window == what.as_bytes()) {
            if !self.more() {
                return false;
            }
        }
        true
    }

    /// Reads to the end.
    pub(crate) fn finish(mut self) -> Answered {
        while self.more() {}
        let end = self.seen.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(self.seen.len());
        let head = String::from_utf8_lossy(&self.seen[..end]).into_owned();
        let raw = self.seen.get(end + 4..).unwrap_or_default();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let (body, is_whole) = if header(&head, "transfer-encoding").is_some() {
            dechunked(raw)
        } else {
            let length = header(&head, "content-length").and_then(|length| length.parse().ok());
            (raw.to_vec(), length == Some(raw.len()))
        };
        Answered { status, head, body, is_whole }
    }

    fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.socket.read(&mut buffer) {
            Ok(read) if read > 0 => {
                self.seen.extend_from_slice(&buffer[..read]);
                true
            }
            _ => false,
        }
    }
}

impl Answered {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub(crate) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The text that a stream of a chat completion has said.
    pub(crate) fn said(&self) -> String {
        let text = self.text();
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
        events.filter_map(|event| Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned())).collect()
    }
}

/// The head of a request over a connection of its own.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nhost: g\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n")
}

/// A request for a chat completion.
pub(crate) fn chat(model: &str, text: &str, stream: bool) -> String {
    json!({ "model": model, "stream": stream, "messages": [{ "role": "user", "content": text }] }).to_string()
}

/// An event of a chat completion's stream.
pub(crate) fn delta(text: &str) -> String {
    format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": { "content": text } }] }))
}

/// The last events of a chat completion's stream.
pub(crate) fn last_events() -> String {
    format!("data: {}\n\ndata: [DONE]\n\n", json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] }))
}

/// A chat completion in one piece.
pub(crate) fn completion(text: &str) -> String {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "stand-in",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12 },
    })
    .to_string()
}

/// A listener at which many can wait to be accepted: the standard library's takes 128.
fn listener() -> io::Result<TcpListener> {
    const BACKLOG: u32 = 4_096;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let listener = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        socket.listen(BACKLOG)?.into_std()
    })?;
    listener.set_nonblocking(false)?;
    Ok(listener)
}

fn address(base: &str) -> SocketAddr {
    base.trim_start_matches("http://").trim_end_matches('/').parse().unwrap()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A body without its framing, and whether its last chunk has come.
fn dechunked(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = raw.windows(2).position(|window| window == b"\r\n") else { return (body, false) };
        let length = std::str::from_utf8(&raw[..end]).ok().and_then(|length| usize::from_str_radix(length, 16).ok());
        match (length, &raw[end + 2..]) {
            (Some(0), rest) => return (body, rest == b"\r\n"),
            (Some(length), rest) if rest.len() >= length + 2 => {
                body.extend_from_slice(&rest[..length]);
                raw = &rest[length + 2..];
            }
            (length, rest) => {
                body.extend_from_slice(&rest[..rest.len().min(length.unwrap_or(0))]);
                return (body, false);
            }
        }
    }
}
