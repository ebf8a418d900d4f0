//! Plays a scenario and its twin, step by step: a step of both is sent, and the next one when everything that reads the record has
//! passed them.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use assure::drill::{Action, Chat, Filler, Hook, McpCall, Outcome, Request, Scenario, Side, Step, StepOutcome, Told, Via};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::playing::{Actor, Spans, call_gateway, export_grpc, export_http, post};
use super::events::Frame;
use super::target::{Listeners, Target};

/// The first conversation of a scenario.
const FIRST: &str = "1";

/// How long a request to the world may take: there may be nobody. What counts is recorded before anything is sent.
const WORLD_TIMEOUT: Duration = Duration::from_secs(3);

const SIDES: [Side; 2] = [Side::Attack, Side::Twin];

/// Plays a scenario with its twin.
pub(super) async fn play(target: &Target, scenario: &Scenario) -> anyhow::Result<Outcome> {
    let names: Vec<(Side, String)> = SIDES.iter().map(|side| (*side, name(&target.run, scenario, *side))).collect();
    let mut players = Vec::new();
    for side in SIDES {
        players.push(Player::new(target, scenario, side).await?);
    }
    let mut known = HashSet::new();
    let mut recorded = HashMap::new();
    let (mut steps, mut of_twin) = (Vec::new(), Vec::new());
    for (at, step) in scenario.attack.iter().enumerate() {
        let mut played = Vec::new();
        for (player, step) in players.iter_mut().zip([Some(step), scenario.twin.get(at)]) {
            if let Some(step) = step {
                player.play(step).await.with_context(|| format!("{}[{at}]", player.side.as_str()))?;
                // Through the gateway a tool's result comes with the next call.
                let comes_later = scenario.via.is_gateway() && matches!(step.action, Action::Result { .. });
                played.extend((!comes_later).then_some(player.side));
            }
        }
        target.pass().await?;
        // A twin that never came sets nothing off, and an attack that never came cannot be seen.
        let now = target.recorded(&names).await?;
        for side in played {
            let (before, now) = (recorded.get(&side).copied().unwrap_or(0), now.get(&side).copied().unwrap_or(0));
            ensure!(now > before, "{}[{at}]: nothing of it is in the record", side.as_str());
        }
        recorded = now;
        let mut of_attack: Vec<Told> = Vec::new();
        for row in target.told(&names).await? {
            if known.insert(row.told.detection.clone()) {
                if row.side == Side::Attack { of_attack.push(row.told) } else { of_twin.push(row.told) }
            }
        }
        steps.push(StepOutcome::of(at, step, of_attack));
    }
    Ok(Outcome::of(scenario, steps, of_twin))
}

/// Names of the MCP servers of a scenario.
pub(super) fn mcp_servers(scenario: &Scenario) -> Vec<String> {
    SIDES.iter().map(|side| mcp_server(scenario, *side)).collect()
}

fn mcp_server(scenario: &Scenario, side: Side) -> String {
    // The dot before a wording's name is none of a server's name.
    format!("{}-{}", scenario.id.replace('.', "-"), side.as_str())
}

/// What everything of one side of a scenario begins with: the application, and the sessions.
fn name(run: &str, scenario: &Scenario, side: Side) -> String {
    format!("drill.{run}.{}.{}", scenario.id, side.as_str())
}

/// One side of a scenario.
struct Player<'a> {
    target: &'a Target,
    scenario: &'a Scenario,
    side: Side,
    name: String,
    filler: Filler,
    /// By conversation: its messages in the shape of OpenAI's chat completions.
    conversations: HashMap<String, Vec<Value>>,
    calls: u32,
}

impl<'a> Player<'a> {
    async fn new(target: &'a Target, scenario: &'a Scenario, side: Side) -> anyhow::Result<Self> {
        let stand_in = target.listeners.as_ref().map_or_else(|| "http://127.0.0.1:9".to_owned(), |own| own.stand_in.base());
        let name = name(&target.run, scenario, side);
        let filler = Filler::new(stand_in);
        let player = Self { target, scenario, side, name, filler, conversations: HashMap::new(), calls: 0 };
        if let (Via::Mcp, Some(own)) = (scenario.via, &target.listeners) {
            player.introduce(own).await?;
        }
        Ok(player)
    }

    async fn play(&mut self, step: &Step) -> anyhow::Result<()> {
        let actor = self.actor(step.session.as_deref().unwrap_or(FIRST));
        let target = self.target;
        let frame = Frame { actor: &actor, side: self.side };
        match &step.action {
            Action::Chat(chat) => self.chat(&actor, chat).await,
            Action::Result { tool, content } => self.result(&actor, tool, content).await,
            Action::Retrieve { query, documents } => {
                let documents: Vec<String> = documents.iter().map(|document| self.filler.text(document, 0)).collect();
                let mut spans = Spans::new(&actor);
                spans.retrieval(query, &documents);
                match self.own() {
                    Some((own, Via::OtlpGrpc)) => export_grpc(own.addresses.otlp_grpc, spans.request()).await,
                    Some((own, Via::OtlpHttp)) => export_http(own.addresses.otlp_http, &spans.request()).await,
                    _ => target.record(&[frame.retrieval(query, &documents)]).await,
                }
            }
            Action::Mcp(call) => self.mcp(&actor, call).await,
            Action::McpTools(tools) => match &target.listeners {
                Some(own) => self.list_tools(own, &actor, tools).await,
                None => target.record(&[frame.definitions(tools)]).await,
            },
            Action::Hook(hook) => self.hook(&actor, hook).await,
            Action::Egress(request) => self.egress(&actor, request).await,
            action @ (Action::Prompts(_) | Action::Events(_)) => {
                let events = frame.planned(action, &mut self.filler);
                target.record(&events).await
            }
        }
    }

    fn actor(&self, session: &str) -> Actor {
        Actor {
            session: format!("{}.{session}", self.name),
            user: format!("user.{}", self.name),
            application: self.name.clone(),
            agent: format!("agent.{}", self.name),
            model: "gpt-4o".to_owned(),
        }
    }

    /// The listeners of our own server, and which of them conversations go through.
    fn own(&self) -> Option<(&'a Listeners, Via)> {
        self.target.listeners.as_ref().map(|own| (own, self.scenario.via))
    }

    async fn chat(&mut self, actor: &Actor, chat: &Chat) -> anyhow::Result<()> {
        let mut tool_calls = Vec::new();
        for call in &chat.calls {
            self.calls += 1;
            let arguments = self.filler.value(&call.arguments, 0).to_string();
            let id = format!("call-{}-{}", self.side.as_str(), self.calls);
            tool_calls.push(json!({ "id": id, "type": "function", "function": { "name": call.tool, "arguments": arguments } }));
        }
        let mut answer =
            json!({ "role": "assistant", "content": self.filler.text(chat.answer.as_deref().unwrap_or_default(), 0) });
        if !tool_calls.is_empty() {
            answer["tool_calls"] = tool_calls.into();
        }
        let said = [("system", &chat.system), ("user", &chat.user)];
        let said = said.into_iter().filter_map(|(role, text)| Some((role, text.as_deref()?)));
        let said: Vec<Value> = said.map(|(role, text)| json!({ "role": role, "content": self.filler.text(text, 0) })).collect();
        let conversation = self.conversations.entry(actor.session.clone()).or_default();
        conversation.extend(said);
        let before = conversation.clone();
        conversation.push(answer.clone());
        let mut spans = Spans::new(actor);
        match self.own() {
            Some((own, Via::OtlpGrpc)) => {
                spans.chat(None, &before, &answer);
                export_grpc(own.addresses.otlp_grpc, spans.request()).await
            }
            Some((own, Via::OtlpHttp)) => {
                spans.chat(None, &before, &answer);
                export_http(own.addresses.otlp_http, &spans.request()).await
            }
            Some((own, via @ (Via::Gateway | Via::GatewayStream))) => {
                let turn = format!("{}/{}", actor.session, before.len());
                own.stand_in.answer(&turn, &actor.model, &answer);
                call_gateway(own.addresses.gateway, actor, &before, &turn, via == Via::GatewayStream).await
            }
            _ => self.target.record(&[Frame { actor, side: self.side }.chat(&before, &answer)]).await,
        }
    }

    async fn result(&mut self, actor: &Actor, tool: &str, content: &str) -> anyhow::Result<()> {
        let content = self.filler.text(content, 0);
        let conversation = self.conversations.entry(actor.session.clone()).or_default();
        let call = last_call(conversation, tool).with_context(|| format!("nobody has called {tool}"))?;
        let message = json!({ "role": "tool", "tool_call_id": call["id"], "content": content });
        conversation.push(message.clone());
        let mut spans = Spans::new(actor);
        spans.tool(None, &call, Some(&message));
        match self.own() {
            Some((own, Via::OtlpGrpc)) => export_grpc(own.addresses.otlp_grpc, spans.request()).await,
            Some((own, Via::OtlpHttp)) => export_http(own.addresses.otlp_http, &spans.request()).await,
            // The next call brings it, whether a gateway shows that or, on a server that is not ours, the events API in its place.
            _ if self.scenario.via.is_gateway() => Ok(()),
            _ => self.target.record(&[Frame { actor, side: self.side }.tool(&call, &content, "api")]).await,
        }
    }

    /// Has the proxy see the server of the scenario before it begins: a server that is new is told by itself.
    async fn introduce(&self, own: &Listeners) -> anyhow::Result<()> {
        let actor = Actor { application: format!("drill.{}.setup", self.target.run), ..self.actor("setup") };
        let actor =
            Actor { session: format!("drill.{}.setup.{}", self.target.run, mcp_server(self.scenario, self.side)), ..actor };
        let help = json!({ "name": "help", "description": "Says what this server is for.", "inputSchema": { "type": "object" } });
        self.list_tools(own, &actor, &[help]).await
    }

    async fn list_tools(&self, own: &Listeners, actor: &Actor, tools: &[Value]) -> anyhow::Result<()> {
        own.stand_in.tools(&mcp_server(self.scenario, self.side), tools);
        let client = json!({ "name": "drill", "version": "1.0.0" });
        let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
        self.ask(own, actor, 1, "initialize", &hello).await?;
        self.ask(own, actor, 2, "tools/list", &json!({})).await
    }

    async fn mcp(&mut self, actor: &Actor, call: &McpCall) -> anyhow::Result<()> {
        self.calls += 1;
        let (arguments, result) = (self.filler.value(&call.arguments, 0), self.filler.text(&call.result, 0));
        let Some(own) = &self.target.listeners else {
            let id = format!("call-{}-{}", self.side.as_str(), self.calls);
            let call = json!({ "id": id, "function": { "name": call.tool, "arguments": arguments.to_string() } });
            return self.target.record(&[Frame { actor, side: self.side }.tool(&call, &result, "mcp")]).await;
        };
        own.stand_in.result(&mcp_server(self.scenario, self.side), &call.tool, &result);
        let params = json!({ "name": call.tool, "arguments": arguments });
        self.ask(own, actor, 10 + self.calls, "tools/call", &params).await
    }

    async fn ask(&self, own: &Listeners, actor: &Actor, id: u32, method: &str, params: &Value) -> anyhow::Result<()> {
        let proxy = own.addresses.mcp.context("the MCP proxy does not listen")?;
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("x-watchkeeper-session", actor.session.as_str()),
            ("x-watchkeeper-user", &actor.user),
            ("x-watchkeeper-application", &actor.application),
            ("x-watchkeeper-agent", &actor.agent),
        ];
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        post(&format!("http://{proxy}/{}", mcp_server(self.scenario, self.side)), &headers, body).await.map(drop)
    }

    /// Calls the hook as a coding agent does: a process of its own.
    async fn hook(&mut self, actor: &Actor, hook: &Hook) -> anyhow::Result<()> {
        let mut told = self.filler.object(hook, 0);
        told.insert("session_id".to_owned(), actor.session.clone().into());
        told.entry("cwd").or_insert_with(|| "/srv/project".into());
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["hook", "claude-code", "--patience-ms", "60000"]);
        command.env("WATCHKEEPER_URL", &self.target.url).env("WATCHKEEPER_API_KEY", &self.target.key);
        // What a hook remembers of sessions is not remembered of a drill's.
        command.env("USER", &actor.user).env_remove("HOME").env_remove("XDG_STATE_HOME").env_remove("WATCHKEEPER_DATA");
        let input = Value::Object(told).to_string();
        tokio::task::spawn_blocking(move || {
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input.as_bytes())?;
            }
            let output = child.wait_with_output()?;
            ensure!(output.status.success(), "the hook: {}", String::from_utf8_lossy(&output.stderr));
            Ok(())
        })
        .await?
    }

    /// Asks something of the world through the egress proxy. Whether anybody answers does not matter.
    async fn egress(&mut self, actor: &Actor, request: &Request) -> anyhow::Result<()> {
        let url = self.filler.text(&request.url, 0);
        let Some(own) = &self.target.listeners else {
            return self.target.record(&[Frame { actor, side: self.side }.external_call(&request.method, &url)]).await;
        };
        let proxy = own.addresses.egress.context("the egress proxy does not listen")?;
        let host = url.split("//").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
        let head = format!(
            "{} {url} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\nconnection: close\r\nx-watchkeeper-session: {}\r\n\
             x-watchkeeper-user: {}\r\nx-watchkeeper-application: {}\r\n\r\n",
            request.method, actor.session, actor.user, actor.application
        );
        let mut stream = TcpStream::connect(proxy).await?;
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        drop(tokio::time::timeout(WORLD_TIMEOUT, stream.read_to_end(&mut answer)).await);
        Ok(())
    }
}

/// The call of a tool that a conversation has last.
fn last_call(conversation: &[Value], tool: &str) -> Option<Value> {
    let mut calls = conversation.iter().rev().filter_map(|message| message["tool_calls"].as_array()).flatten();
    calls.find(|call| call["function"]["name"] == tool).cloned()
}
