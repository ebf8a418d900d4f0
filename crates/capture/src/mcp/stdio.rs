//! The stdio transport: one message a line (MCP, transports). Two threads, one for each direction, that read, record and write.

use std::io::{self, BufRead, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::conversation::{Conversation, Onward, Passage};
use super::pieces::EVIDENCE_BYTES_MAX;

/// Who writes the lines that are pumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// A stream that both directions may write to: answers of the proxy itself stand between those of the other side, line by line.
#[derive(Debug)]
pub struct Lines<W>(Arc<Mutex<W>>);

impl<W> Clone for Lines<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W: Write> Lines<W> {
    /// Lines to a stream.
    pub fn new(stream: W) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    /// Does something with the stream itself.
    pub fn with(&self, act: impl FnOnce(&mut W)) {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Writes, and flushes.
    ///
    /// # Errors
    /// What the stream says.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Writes a message of the proxy itself.
    fn write_line(&self, message: &[u8]) -> io::Result<()> {
        let mut line = message.to_vec();
        line.push(b'\n');
        self.write(&line)
    }
}

/// Reads lines of one side until it ends, and passes them on. Answers of the proxy itself go to `back`.
///
/// # Errors
/// What the streams say; the other side's `BrokenPipe` means that it is gone.
pub fn pump<R: BufRead, W: Write, B: Write>(
    runtime: &Handle,
    conversation: &Arc<Conversation>,
    sender: Sender,
    mut from: R,
    onward: &Lines<W>,
    back: &Lines<B>,
) -> io::Result<()> {
    let bytes_max = conversation.limits().message_bytes_max;
    let mut line = Vec::new();
    loop {
        line.clear();
        let is_whole = read_line(&mut from, &mut line, bytes_max)?;
        if line.is_empty() {
            return Ok(());
        }
        if !is_whole {
            pass_unread(runtime, conversation, sender, &mut from, &line, onward, back)?;
            continue;
        }
        // Line ends are the transport's, and stay what they are; what is empty says nothing.
        if line.trim_ascii().is_empty() {
            onward.write(&line)?;
            continue;
        }
        let message = Bytes::copy_from_slice(&line);
        let passage = runtime.block_on(async {
            match sender {
                Sender::Client => conversation.client_message(message.clone()).await,
                Sender::Server => conversation.server_message(message.clone()).await,
            }
        });
        give(&passage, onward, back)?;
    }
}

/// Hands out what becomes of a message. What came has its line's end; what the proxy made has none.
fn give<W: Write, B: Write>(passage: &Passage, onward: &Lines<W>, back: &Lines<B>) -> io::Result<()> {
    match &passage.onward {
        Onward::Message(line) => onward.write(line)?,
        Onward::Instead(message) => onward.write_line(message)?,
        Onward::Nothing => {}
    }
    if let Some(answer) = &passage.back {
        back.write_line(answer)?;
    }
    Ok(())
}

/// Passes on a line that is too large to be read, or throws it away.
fn pass_unread<R: BufRead, W: Write, B: Write>(
    runtime: &Handle,
    conversation: &Arc<Conversation>,
    sender: Sender,
    from: &mut R,
    begun: &[u8],
    onward: &Lines<W>,
    back: &Lines<B>,
) -> io::Result<()> {
    let evidence = &begun[..begun.len().min(EVIDENCE_BYTES_MAX)];
    let ruled = runtime.block_on(async {
        match sender {
            Sender::Client => conversation.client_begins_too_large(evidence).await,
            Sender::Server => conversation.server_begins_too_large(evidence).await,
        }
    });
    // The line goes on in one piece: nobody else may write between its parts.
    let mut stream = match &ruled {
        Ok(()) => Some(onward.0.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(_) => None,
    };
    if let Some(stream) = &mut stream {
        stream.write_all(begun)?;
    }
    loop {
        let chunk = from.fill_buf()?;
        let end = chunk.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let length = end.unwrap_or(chunk.len());
        if let Some(stream) = &mut stream {
            stream.write_all(&chunk[..length])?;
        }
        from.consume(length);
        if end.is_some() || length == 0 {
            break;
        }
    }
    if let Some(stream) = &mut stream {
        stream.flush()?;
    }
    drop(stream);
    if let Err(Some(answer)) = ruled {
        back.write_line(&answer)?;
    }
    Ok(())
}

/// Reads a line with its end. False: it has not ended after `bytes_max`.
fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>, bytes_max: usize) -> io::Result<bool> {
    loop {
        let chunk = match from.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            chunk => chunk?,
        };
        let end = chunk.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let length = end.unwrap_or(chunk.len()).min(bytes_max - line.len());
        line.extend_from_slice(&chunk[..length]);
        let is_over = end == Some(length) || chunk.is_empty();
        from.consume(length);
        if is_over {
            return Ok(true);
        }
        if line.len() >= bytes_max {
            return Ok(false);
        }
    }
}
