//! The server as a child process: its standard input and output through the proxy, its errors and its exit as they are.

use std::io::{self, BufReader, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ChildStdin, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use capture::mcp::Conversation;
use capture::mcp::stdio::{Lines, Sender, pump};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Read at once from either side.
const BUFFER_BYTES: usize = 64 * 1024;

/// The child's standard input, which can be closed while others hold it.
struct Closable(Option<ChildStdin>);

/// Runs the command and gives its exit code.
pub(super) fn wrap(runtime: &Runtime, command: &[String], conversation: &Arc<Conversation>) -> anyhow::Result<ExitCode> {
    let (program, arguments) = command.split_first().context("no command")?;
    // Before there is a child, so that none is left behind by a signal.
    let mut signals = runtime.block_on(async {
        Ok::<_, io::Error>([
            (signal(SignalKind::terminate())?, Signal::TERM),
            (signal(SignalKind::interrupt())?, Signal::INT),
            (signal(SignalKind::hangup())?, Signal::HUP),
        ])
    })?;
    // The key is the proxy's: with it a server could write its own record, and its own pins.
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .env_remove("WATCHKEEPER_URL")
        .env_remove("WATCHKEEPER_API_KEY")
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let input = Lines::new(Closable(child.stdin.take()));
    let output = child.stdout.take().context("the child has no standard output")?;
    let pid = Pid::from_child(&child);
    runtime.spawn(async move {
        let [(terminate, _), (interrupt, _), (hangup, _)] = &mut signals;
        loop {
            let signal = tokio::select! {
                _ = terminate.recv() => Signal::TERM,
                _ = interrupt.recv() => Signal::INT,
                _ = hangup.recv() => Signal::HUP,
            };
            if let Err(error) = kill_process(pid, signal) {
                tracing::debug!(%error, "the server has ended already");
            }
        }
    });
    let to_client = Lines::new(io::stdout());
    {
        let (runtime, conversation) = (runtime.handle().clone(), Arc::clone(conversation));
        let (input, to_client) = (input.clone(), to_client.clone());
        std::thread::spawn(move || {
            let from = BufReader::with_capacity(BUFFER_BYTES, io::stdin());
            let pumped = pump(&runtime, &conversation, Sender::Client, from, &input, &to_client);
            if let Err(error) = pumped {
                tracing::debug!(%error, "the client's side has ended");
            }
            // As the client closed its side, or as the server did.
            input.with(|input| input.0 = None);
        });
    }
    let from = BufReader::with_capacity(BUFFER_BYTES, output);
    if let Err(error) = pump(runtime.handle(), conversation, Sender::Server, from, &to_client, &input) {
        // The client does not read any more: the server learns it as it would without us.
        tracing::debug!(%error, "the server's side has ended");
    }
    input.with(|input| input.0 = None);
    let status = child.wait().context("cannot wait for the server")?;
    runtime.block_on(conversation.end(if status.success() { "the server has ended" } else { "the server has failed" }));
    Ok(code(status))
}

/// As shells have it: the code, or 128 and the signal.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

impl Write for Closable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), ChildStdin::flush)
    }
}
