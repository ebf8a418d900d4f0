//! Steps as events of the events API.

use std::time::{SystemTime, UNIX_EPOCH};

use assure::drill::{Action, Calendar, DAY_S, Filler, Planned, Prompts, Side};
use serde_json::{Map, Value, json};

use super::super::playing::Actor;

/// What stands in every event that does not say otherwise.
pub(super) struct Frame<'a> {
    pub(super) actor: &'a Actor,
    pub(super) side: Side,
}

impl Frame<'_> {
    /// A step whose events are many.
    pub(super) fn planned(&self, action: &Action, filler: &mut Filler) -> Vec<Value> {
        let mut events = match action {
            Action::Prompts(prompts) => self.prompts(prompts, filler),
            Action::Events(planned) => planned.iter().flat_map(|planned| self.plan(planned, filler)).collect(),
            _ => Vec::new(),
        };
        // A sensor tells what happened in its order.
        events.sort_by_key(|event| event["time"].as_u64());
        events
    }

    fn plan(&self, planned: &Planned, filler: &mut Filler) -> Vec<Value> {
        let times = times_ns(planned.at.map(|days| (days, planned.workdays)), planned.count, planned.every_ms);
        let mut number = 0;
        let one = |time: u64| {
            let mut event = filler.object(&planned.event, number);
            number += 1;
            event.insert("time".to_owned(), time.into());
            if planned.at.is_none() {
                event.entry("session.id").or_insert_with(|| self.actor.session.clone().into());
            }
            self.framed(event)
        };
        times.into_iter().map(one).collect()
    }

    fn prompts(&self, prompts: &Prompts, filler: &mut Filler) -> Vec<Value> {
        let times = times_ns(prompts.at.map(|days| (days, false)), prompts.count, prompts.every_ms);
        let mut chain = prompts.text.clone();
        let mut events = Vec::new();
        for (number, time) in (0_u32..).zip(times) {
            let text = if prompts.chain {
                chain = filler.text(&format!("{chain} {{word}} {{word}} {{word}}"), number);
                chain.clone()
            } else {
                filler.text(&prompts.text, number)
            };
            let mut attributes = json!({ "gen_ai.operation.name": "chat", "gen_ai.request.model": self.actor.model });
            if let Some(logprob) = prompts.logprob {
                attributes["watchkeeper.response.logprob.mean"] = logprob.into();
            }
            let answer = filler.text(&prompts.answer, number);
            let mut event = json!({ "kind": "model_call", "time": time, "attributes": attributes, "agent": null,
                "session.id": format!("{}.{number}", self.actor.session),
                "messages": [{ "role": "user", "content": text }, { "role": "assistant", "content": answer }] });
            if prompts.users > 1 {
                event["user.id"] = format!("{}.{}", self.actor.user, number % prompts.users).into();
            }
            events.extend(event.as_object().map(|event| self.framed(event.clone())));
        }
        events
    }

    /// A call of the model, with the conversation before it, in the shape of OpenAI's chat completions.
    pub(super) fn chat(&self, before: &[Value], answer: &Value) -> Value {
        let messages = before.iter().flat_map(|message| plain(message, "input")).chain(plain(answer, "output"));
        self.now(json!({ "kind": "model_call", "messages": messages.collect::<Vec<_>>(),
            "attributes": { "gen_ai.operation.name": "chat", "gen_ai.request.model": self.actor.model } }))
    }

    /// A tool that has run.
    pub(super) fn tool(&self, call: &Value, result: &str, path: &str) -> Value {
        let function = &call["function"];
        self.now(json!({ "kind": "tool_call", "source": { "path": path },
            "tool": { "name": function["name"], "arguments": function["arguments"], "result": result, "call_id": call["id"] } }))
    }

    /// Documents that were looked up.
    pub(super) fn retrieval(&self, query: &str, documents: &[String]) -> Value {
        let documents = documents.iter().map(|document| json!({ "role": "document", "content": document }));
        let query = json!({ "role": "user", "part": "query", "content": query });
        self.now(json!({ "kind": "retrieval", "attributes": { "gen_ai.data_source.id": "knowledge-base" },
            "messages": std::iter::once(query).chain(documents).collect::<Vec<_>>() }))
    }

    /// Tools of an MCP server.
    pub(super) fn definitions(&self, tools: &[Value]) -> Value {
        let one = |tool: &Value| json!({ "role": "system", "part": "tool_definition", "content": tool.to_string() });
        self.now(json!({ "kind": "agent_step", "name": "tools/list", "source": { "path": "mcp" },
            "messages": tools.iter().map(one).collect::<Vec<_>>() }))
    }

    /// A request to the world.
    pub(super) fn external_call(&self, method: &str, url: &str) -> Value {
        let host = url.split("//").nth(1).unwrap_or(url).split(['/', ':']).next().unwrap_or_default();
        self.now(json!({ "kind": "external_call", "name": method, "agent": null,
            "attributes": { "server.address": host, "url.full": url, "http.request.method": method } }))
    }

    fn now(&self, mut event: Value) -> Value {
        event["session.id"] = self.actor.session.clone().into();
        match event {
            Value::Object(event) => self.framed(event),
            other => other,
        }
    }

    fn framed(&self, mut event: Map<String, Value>) -> Value {
        let known = [("application", &self.actor.application), ("user.id", &self.actor.user), ("agent", &self.actor.agent)];
        for (key, value) in known {
            event.entry(key).or_insert_with(|| value.clone().into());
        }
        event.retain(|_, value| !value.is_null());
        event.insert("watchkeeper.drill".to_owned(), self.side.as_str().into());
        Value::Object(event)
    }
}

/// A message in the shape of OpenAI's as messages of the events API.
fn plain(message: &Value, direction: &str) -> Vec<Value> {
    let mut out = Vec::new();
    let content = message["content"].as_str().unwrap_or_default();
    if !content.is_empty() {
        let mut one = json!({ "role": message["role"], "content": content, "direction": direction });
        if let Some(id) = message["tool_call_id"].as_str() {
            one["call_id"] = id.into();
        }
        out.push(one);
    }
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        let function = &call["function"];
        out.push(json!({ "role": "assistant", "part": "tool_call", "direction": direction, "name": function["name"],
            "call_id": call["id"], "content": function["arguments"] }));
    }
    out
}

/// When events are, in nanoseconds since 1970: on days, or so that the last one is now.
fn times_ns(days: Option<(assure::drill::Days, bool)>, count: u32, every_ms: u64) -> Vec<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let Some((days, workdays)) = days else {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        return (0..u64::from(count)).rev().map(|before| (now_ms - before * every_ms) * 1_000_000).collect();
    };
    let calendar = Calendar::of(now.as_secs());
    debug_assert!(u64::from(count) * every_ms <= DAY_S * 1_000);
    let of_day = |day| {
        let begin_ms = calendar.time_s(day, days.second) * 1_000;
        (0..u64::from(count)).map(move |number| (begin_ms + number * every_ms) * 1_000_000)
    };
    days.days(workdays).flat_map(of_day).collect()
}
