//! Sends a recorded session the way that its application would have.

use server::Addresses;

use super::super::playing::{Actor, Spans, StandIn, call_gateway, export_grpc, export_http};
use super::sessions::{Session, Via};

pub(super) async fn replay(session: &Session, addresses: &Addresses, stand_in: &StandIn) -> anyhow::Result<()> {
    let actor = Actor {
        session: session.id.clone(),
        user: session.user.clone(),
        application: session.application.clone(),
        agent: session.agent.clone(),
        model: session.model.clone(),
    };
    match session.via {
        Via::OtlpGrpc => export_grpc(addresses.otlp_grpc, spans(session, &actor).request()).await,
        Via::OtlpHttp => export_http(addresses.otlp_http, &spans(session, &actor).request()).await,
        Via::Gateway | Via::GatewayStream => {
            for at in session.answers() {
                let turn = format!("{}/{at}", session.id);
                stand_in.answer(&turn, &session.model, &session.messages[at]);
                let streams = session.via == Via::GatewayStream;
                call_gateway(addresses.gateway, &actor, &session.messages[..at], &turn, streams).await?;
            }
            Ok(())
        }
    }
}

/// The session as GenAI spans: `invoke_agent` over `chat` and `execute_tool`.
fn spans<'a>(session: &Session, actor: &'a Actor) -> Spans<'a> {
    let mut spans = Spans::new(actor);
    let root = Some(spans.agent());
    for at in session.answers() {
        let answer = &session.messages[at];
        spans.chat(root, &session.messages[..at], answer);
        for call in answer["tool_calls"].as_array().into_iter().flatten() {
            let result = session.messages[at..].iter().find(|message| message["tool_call_id"] == call["id"]);
            spans.tool(root, call, result);
        }
    }
    spans
}
