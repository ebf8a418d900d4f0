//! Stands in for a model: one answer, whole or as a stream, after a delay; a stream at once, or event by event.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::calls::wall_clock_ns;

const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"stand-in","choices":[{"index":0,"message":{"role":"assistant","content":"The ship may lie at pier seven for two nights; the tide lets it in at six, and pilot Meyer is free to bring it."},"finish_reason":"stop","logprobs":null}],"usage":{"prompt_tokens":61,"completion_tokens":31,"total_tokens":92}}"#;

/// How often a stream that comes event by event says its sentence: more than what the gateway's window holds.
const REPEATS: usize = 3;

/// `every`: a stream comes event by event, one in that time, each with the time at which it was sent (`id`, nanoseconds).
pub(crate) async fn run(port: u16, delay: Duration, every: Option<Duration>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let stream_body = Bytes::from(events(1).concat());
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
                    let (kind, body) = match (streamed, every) {
                        (true, Some(every)) => ("text/event-stream", Paced::new(every).boxed()),
                        (true, None) => ("text/event-stream", Full::new(stream_body).boxed()),
                        (false, _) => ("application/json", Full::new(Bytes::from_static(ANSWER.as_bytes())).boxed()),
                    };
                    Ok::<_, Infallible>(Response::builder().header("content-type", kind).body(body).unwrap_or_default())
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

/// A stream that comes event by event.
struct Paced {
    left: std::vec::IntoIter<String>,
    due: Pin<Box<Sleep>>,
    every: Duration,
}

impl Paced {
    fn new(every: Duration) -> Self {
        Self { left: events(REPEATS).into_iter(), due: Box::pin(sleep_until(Instant::now())), every }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.due.as_mut().poll(context));
        let Some(event) = self.left.next() else { return Poll::Ready(None) };
        let next = self.due.deadline() + self.every;
        self.due.as_mut().reset(next);
        let sent = format!("id: {}\n{event}", wall_clock_ns());
        Poll::Ready(Some(Ok(Frame::data(sent.into()))))
    }
}

/// The events of a stream that says its sentence so often.
fn events(repeats: usize) -> Vec<String> {
    let chunk = |delta: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"stand-in\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let sentence =
        "The ship may lie at pier seven for two nights ; the tide lets it in at six , and pilot Meyer is free to bring it .";
    let mut events = vec![chunk(r#"{"role":"assistant","content":""}"#, "null")];
    for word in sentence.split(' ').cycle().take(repeats * sentence.split(' ').count()) {
        events.push(chunk(&format!("{{\"content\":\"{word} \"}}"), "null"));
    }
    // In one piece with its end, as providers send it.
    events.push(chunk("{}", "\"stop\"") + "data: [DONE]\n\n");
    events
}
