//! Stands in for a model: one answer, whole or as a stream, after a delay.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"stand-in","choices":[{"index":0,"message":{"role":"assistant","content":"The ship may lie at pier seven for two nights; the tide lets it in at six, and pilot Meyer is free to bring it."},"finish_reason":"stop","logprobs":null}],"usage":{"prompt_tokens":61,"completion_tokens":31,"total_tokens":92}}"#;

pub(crate) async fn run(port: u16, delay: Duration) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let stream_body = Bytes::from(stream());
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let stream_body = stream_body.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: http::Request<Incoming>| {
                let stream_body = stream_body.clone();
                async move {
                    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                    let streamed = body.windows(13).any(|window| window == b"\"stream\":true");
                    tokio::time::sleep(delay).await;
                    let (kind, body) = if streamed {
                        ("text/event-stream", stream_body)
                    } else {
                        ("application/json", Bytes::from_static(ANSWER.as_bytes()))
                    };
                    Ok::<_, Infallible>(
                        Response::builder().header("content-type", kind).body(Full::new(body)).unwrap_or_default(),
                    )
                }
            });
            drop(
                hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(socket), service)
                    .await,
            );
        });
    }
}

fn stream() -> String {
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"stand-in\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let mut events = chunk(r#"{"role":"assistant","content":""}"#, "null");
    for word in
        "The ship may lie at pier seven for two nights ; the tide lets it in at six , and pilot Meyer is free to bring it ."
            .split(' ')
    {
        events += &chunk(&format!("{{\"content\":\"{word} \"}}"), "null");
    }
    events + &chunk("{}", "\"stop\"") + "data: [DONE]\n\n"
}
