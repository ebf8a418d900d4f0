//! `watchkeeper mcp`: the MCP proxy beside a server.

mod report;
mod wrap;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use capture::Raw;
use capture::gateway::OnRecordFailure;
use capture::mcp::bridge::Bridge;
use capture::mcp::http::{HttpProxy, Route};
use capture::mcp::stdio::Lines;
use capture::mcp::{Limits, Mode, OnDrift, Policy, Proxy, ServerInfo, Transport, Who};
use client::{Client, Config};
use event::Principal;
use http::HeaderMap;
use server::DataDir;
use store::{Cell, Table};
use tokio::sync::{mpsc, watch};

use self::report::Report;
use crate::cli::{FormatName, McpArgs};
use crate::local_api::LocalApi;
use crate::output::{complain, say};

/// How long an event may take to the server's disk before its message counts as unrecorded.
const RECORD_DEADLINE: Duration = Duration::from_secs(5);

/// How long what waits may take when the proxy ends.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(10);

/// Lines of the client that wait for their turn.
const LINES_WAITING_MAX: usize = 16;

/// Longest name that is made from a command line, in characters.
const NAME_CHARS_MAX: usize = 64;

pub(super) fn mcp(args: &McpArgs) -> anyhow::Result<ExitCode> {
    if args.pins || args.approve.is_some() {
        return pins(args);
    }
    let runtime = super::serve::runtime()?;
    // The variable of a directory gives way to that of an address, the option does not.
    let variable = std::env::var_os("WATCHKEEPER_DATA").map(PathBuf::from);
    let mut config = match &args.data.dir {
        Some(data) if Some(data) != variable.as_ref() => Config::local(data),
        _ => Config::find()?,
    };
    config.deadline = RECORD_DEADLINE;
    let client = Client::new(config)?;
    let report = Arc::new(Report::new(client.clone(), args.fail_open));
    let proxy = |server: ServerInfo| Proxy::new(server, policy(args), Limits::default(), report.clone(), report.clone());
    let code = match (&args.url, &args.listen, &args.command[..]) {
        (None, None, [_, ..]) => {
            let server = command_server(args);
            wrap::wrap(&runtime, &args.command, &proxy(server).conversation(who(args)))?
        }
        (Some(url), None, []) => {
            let (uri, server) = url_server(args, url)?;
            let conversation = proxy(server).conversation(who(args));
            let bridge = Bridge::new(uri, headers(args)?, conversation.clone(), Lines::new(std::io::stdout()))?;
            runtime.block_on(bridge.run(stdin_lines()));
            runtime.block_on(conversation.end("the client has closed"));
            ExitCode::SUCCESS
        }
        (Some(url), Some(listen), []) => {
            if !listen.ip().is_loopback() {
                bail!(
                    "--listen {listen} is not loopback, and what is listened to has no key; use [mcp.servers] of `watchkeeper serve` there"
                );
            }
            let (uri, server) = url_server(args, url)?;
            let path = args.name.clone().unwrap_or_else(|| "mcp".to_owned());
            let http = HttpProxy::new(vec![Route {
                name: path.clone(),
                proxy: proxy(server),
                url: uri,
                headers: headers(args)?,
                who: told(args),
            }])?;
            runtime.block_on(listen_at(*listen, &path, &http))?;
            ExitCode::SUCCESS
        }
        _ => bail!("name one server: a command behind `--`, or --url URL (with --listen ADDR to speak HTTP to the client)"),
    };
    if client.flush_blocking(FLUSH_TIME_MAX).is_err() || !client.losses().is_empty() {
        complain("not everything of this session was recorded; the server is told when it can be reached");
    }
    // A thread that still reads standard input must not keep the process.
    runtime.shutdown_background();
    Ok(code)
}

/// Speaks HTTP to the client until a signal comes.
async fn listen_at(address: std::net::SocketAddr, path: &str, http: &HttpProxy) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await.with_context(|| format!("--listen {address}"))?;
    let stop = super::serve::StopSignals::listen()?;
    say(&format!("MCP        http://{}/{path}", listener.local_addr()?))?;
    say("ready")?;
    let (stopping, mut stopped) = watch::channel(false);
    let router = server::refuse_browsers(http.router());
    let router =
        if address.ip().is_loopback() { server::refuse_strange_hosts(router, std::collections::HashSet::new()) } else { router };
    let serving = capture::gateway::serve(listener, router, async move { drop(stopped.wait_for(|stop| *stop).await) });
    let serving = tokio::spawn(serving);
    stop.wait().await;
    stopping.send_replace(true);
    // A stream of events may stay open for ever.
    let _ = tokio::time::timeout(FLUSH_TIME_MAX, serving).await;
    http.end().await;
    Ok(())
}

/// Shows the pinned tools, or approves definitions that wait.
fn pins(args: &McpArgs) -> anyhow::Result<ExitCode> {
    let data = args.data.path()?;
    let Some(api) = LocalApi::find(&DataDir::existing(&data)?, &args.data)? else {
        bail!("no server runs on {}; the pins are asked of the server", data.display());
    };
    if let Some(server) = &args.approve {
        let request = serde_json::json!({ "server": server, "hashes": args.hash });
        let approved: serde_json::Value = api.post("/api/mcp/approve", &request)?;
        let names: Vec<&str> = approved["approved"].as_array().into_iter().flatten().filter_map(|name| name.as_str()).collect();
        say(&format!("approved: {}", names.join(", ")))?;
        return Ok(ExitCode::SUCCESS);
    }
    let pinned: Vec<serde_json::Map<String, serde_json::Value>> = api.get("/api/mcp/tools")?;
    if args.format.format == FormatName::Json {
        say(&serde_json::to_string_pretty(&pinned)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let columns = ["id", "server", "tool", "hash", "waits_for_approval", "waiting_hash", "listed"].map(str::to_owned).to_vec();
    let cell = |value: Option<&serde_json::Value>| match value {
        None | Some(serde_json::Value::Null) => Cell::Null,
        Some(serde_json::Value::String(text)) => Cell::Text(text.clone()),
        Some(other) => Cell::Text(other.to_string()),
    };
    let rows = pinned.iter().map(|row| columns.iter().map(|column| cell(row.get(column))).collect()).collect();
    crate::output::table(&Table { columns, rows, truncated: false }, args.format.format)?;
    Ok(ExitCode::SUCCESS)
}

fn policy(args: &McpArgs) -> Policy {
    Policy {
        allow: args.allow.clone(),
        deny: args.deny.clone(),
        mode: if args.observe { Mode::Observe } else { Mode::Block },
        on_drift: if args.block_drift { OnDrift::Block } else { OnDrift::Record },
        hold_results: args.hold_results,
        on_record_failure: if args.fail_open { OnRecordFailure::FailOpen } else { OnRecordFailure::FailClosed },
        adds_trace: args.add_trace,
    }
}

/// On whose behalf, as the options tell.
fn told(args: &McpArgs) -> Who {
    let mut who = Who::default();
    let principal = |id: &Option<String>| id.as_deref().filter(|id| !id.is_empty()).map(Principal::asserted);
    who.identity.user = principal(&args.user);
    who.identity.application = principal(&args.application);
    who.identity.agent = principal(&args.agent);
    who.session = args.session.as_deref().filter(|id| !id.is_empty()).map(Raw::from);
    who
}

/// As [`told`], for a start that is one conversation.
fn who(args: &McpArgs) -> Who {
    let mut who = told(args);
    who.session.get_or_insert_with(|| Raw::from(format!("mcp-{}", event::EventId::random())));
    who
}

fn command_server(args: &McpArgs) -> ServerInfo {
    let place = args.command.join(" ");
    let name = args.name.clone().unwrap_or_else(|| name_of(&args.command));
    let identity = args.name.clone().unwrap_or_else(|| place.clone());
    ServerInfo { name, transport: Transport::Pipe, identity, place, address: None }
}

fn url_server(args: &McpArgs, url: &str) -> anyhow::Result<(http::Uri, ServerInfo)> {
    let (uri, mut server) = capture::mcp::http::upstream("", url).context("--url")?;
    server.name = args.name.clone().unwrap_or_else(|| server.address.as_ref().map_or_else(String::new, |(host, _)| host.clone()));
    server.identity = args.name.clone().unwrap_or_else(|| server.place.clone());
    Ok((uri, server))
}

/// A name for a command: the program, and for what starts others (npx, uvx, python ...) what it starts. Paths are left out: they
/// name people.
fn name_of(command: &[String]) -> String {
    let last = |text: &str| {
        let kept = if text.starts_with('@') { text } else { text.rsplit('/').next().unwrap_or(text) };
        kept.chars().take(NAME_CHARS_MAX).collect::<String>()
    };
    let mut words = command.iter();
    let program = words.next().map(|program| last(program)).unwrap_or_default();
    match words.find(|word| !word.starts_with('-')) {
        Some(first) => format!("{program} {}", last(first)),
        None => program,
    }
}

/// Headers whose values are in variables: a command line can be read by everybody on the machine.
fn headers(args: &McpArgs) -> anyhow::Result<HeaderMap> {
    let pairs = args
        .header_env
        .iter()
        .map(|pair| pair.split_once('=').with_context(|| format!("--header-env {pair:?} is not NAME=VARIABLE")));
    let pairs = pairs.collect::<anyhow::Result<Vec<_>>>()?;
    capture::mcp::http::headers_of(pairs, |variable| std::env::var(variable).ok()).context("--header-env")
}

/// The lines of standard input, read by a thread of their own.
fn stdin_lines() -> mpsc::Receiver<Bytes> {
    let (sender, lines) = mpsc::channel(LINES_WAITING_MAX);
    std::thread::spawn(move || {
        let mut from = BufReader::new(std::io::stdin());
        let bytes_max = Limits::default().message_bytes_max as u64;
        loop {
            let mut line = Vec::new();
            let mut bounded = std::io::Read::take(&mut from, bytes_max + 1);
            match bounded.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line.len() as u64 > bytes_max => {
                    complain("a message of the client is too large; the session ends");
                    return;
                }
                Ok(_) => {}
            }
            if !line.trim_ascii().is_empty() && sender.blocking_send(line.into()).is_err() {
                return;
            }
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_commands_name_no_people() {
        for (command, expected) in [
            (&["npx", "-y", "@modelcontextprotocol/server-everything"][..], "npx @modelcontextprotocol/server-everything"),
            (&["/home/jo/bin/files", "--root", "/home/jo/docs"], "files docs"),
            (&["python3", "/home/jo/server.py"], "python3 server.py"),
            (&["files"], "files"),
        ] {
            let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(name_of(&command), expected);
        }
    }
}
