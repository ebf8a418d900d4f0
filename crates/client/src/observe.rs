//! Functions that record a call together with what came of it.

use std::future::Future;
use std::time::Instant;

use event::{Direction, Kind, Part, Role, Status, attr};
use serde::Serialize;

use crate::client::{Client, RecordError};
use crate::event_input::{Event, Message, Party, Source, Tool};

/// What the events of one conversation have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    session: Option<String>,
    user: Option<Party>,
    application: Option<Party>,
    agent: Option<Party>,
    source: Option<Source>,
}

impl Scope {
    /// The session or conversation.
    #[must_use]
    pub fn session(mut self, id: &str) -> Self {
        self.session = Some(id.to_owned());
        self
    }

    /// The end user on whose behalf.
    #[must_use]
    pub fn user(mut self, user: impl Into<Party>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The application or service.
    #[must_use]
    pub fn application(mut self, application: impl Into<Party>) -> Self {
        self.application = Some(application.into());
        self
    }

    /// The agent that acts.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<Party>) -> Self {
        self.agent = Some(agent.into());
        self
    }

    /// Where the sensor gets it from.
    #[must_use]
    pub fn source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// An event of the conversation.
    #[must_use]
    pub fn event(&self, kind: Kind) -> Event {
        let mut event = Event::of(kind).session(self.session.as_deref().unwrap_or_default());
        event = match &self.user {
            Some(user) => event.user(user.clone()),
            None => event,
        };
        event = match &self.application {
            Some(application) => event.application(application.clone()),
            None => event,
        };
        event = match &self.agent {
            Some(agent) => event.agent(agent.clone()),
            None => event,
        };
        match &self.source {
            Some(source) => event.source(source.clone()),
            None => event,
        }
    }

    /// A call of a model, with what it was given. `operation` is one of OpenTelemetry's: `chat`, `text_completion`, `embeddings` ...
    #[must_use]
    pub fn model_call(&self, operation: &str, model: &str, messages: impl IntoIterator<Item = Message>) -> Event {
        let event = self
            .event(Kind::ModelCall)
            .name(&format!("{operation} {model}"))
            .attribute(attr::GEN_AI_OPERATION_NAME.as_str(), operation)
            .attribute(attr::GEN_AI_REQUEST_MODEL.as_str(), model);
        messages.into_iter().fold(event, Event::message)
    }

    /// A call of a tool. Arguments that do not serialise are left out, and counted.
    #[must_use]
    pub fn tool_call(&self, name: &str, arguments: &impl Serialize) -> Event {
        let event = self.event(Kind::ToolCall).name(&format!("execute_tool {name}"));
        match serde_json::to_string(arguments) {
            Ok(arguments) => event.tool(Tool::new(name).arguments(&arguments)),
            Err(_) => event.tool(Tool::new(name)).cut(0, 1),
        }
    }

    /// A question to a vector store or knowledge base.
    #[must_use]
    pub fn retrieval(&self, store: &str, query: &str) -> Event {
        self.event(Kind::Retrieval)
            .name(&format!("retrieval {store}"))
            .attribute(attr::GEN_AI_OPERATION_NAME.as_str(), "retrieval")
            .attribute(attr::GEN_AI_DATA_SOURCE_ID.as_str(), store)
            .message(Message::new(Role::User, query).direction(Direction::Input).part(Part::Query))
    }
}

impl Event {
    /// What a model answered.
    #[must_use]
    pub fn answer(self, text: &str) -> Self {
        self.message(Message::new(Role::Assistant, text).direction(Direction::Output))
    }

    /// A document that a retrieval brought.
    #[must_use]
    pub fn document(self, name: &str, text: &str, score: Option<f64>) -> Self {
        let document = Message::new(Role::Document, text).direction(Direction::Output).part(Part::Document).name(name);
        self.message(match score {
            Some(score) => document.score(score),
            None => document,
        })
    }
}

impl Client {
    /// Runs a call and records it with how long it took and whether it failed. `told` adds what came of it. The call is never kept
    /// from happening, nor its result from coming back, by what the recorder does; use [`committed`](Self::committed) for that.
    pub async fn observed<T, E>(
        &self,
        event: Event,
        call: impl Future<Output = Result<T, E>>,
        told: impl FnOnce(Event, Result<&T, &E>) -> Event,
    ) -> Result<T, E> {
        let begun = Instant::now();
        let result = call.await;
        // What was lost is counted by the client.
        drop(self.submit(finished(event, begun, &result, told)));
        result
    }

    /// As [`observed`](Self::observed), and the result is given back only when the record of it is on the server's disk.
    ///
    /// # Errors
    /// When it is not; the result of the call is lost with it.
    pub async fn committed<T, E>(
        &self,
        event: Event,
        call: impl Future<Output = Result<T, E>>,
        told: impl FnOnce(Event, Result<&T, &E>) -> Event,
    ) -> Result<Result<T, E>, RecordError> {
        let begun = Instant::now();
        let result = call.await;
        self.record(finished(event, begun, &result, told)).await?;
        Ok(result)
    }
}

fn finished<T, E>(
    event: Event,
    begun: Instant,
    result: &Result<T, E>,
    told: impl FnOnce(Event, Result<&T, &E>) -> Event,
) -> Event {
    let status = if result.is_ok() { Status::Ok } else { Status::Error };
    told(event.duration(begun.elapsed()).status(status), result.as_ref())
}
