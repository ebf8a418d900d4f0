//! Stands in for a model: one answer, whole or as a stream, after a delay. What it says carries stamps (`stamp`).

use std::convert::Infallible;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, Sleep};

use super::stamp;

/// What a stream says, a word in each chunk, with a stamp behind it.
const WORDS: &[&str] = &[
    "The", "ship", "may", "lie", "at", "pier", "seven", "for", "two", "nights", "and", "the", "tide", "lets", "it", "in", "at",
    "six", "with", "pilot", "Meyer", "on", "board.",
];

/// How it answers.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct StandIn {
    /// Port on loopback
    port: u16,
    /// Milliseconds before the answer, or the first words of a stream
    #[arg(long, default_value_t = 20)]
    delay_ms: u64,
    /// Milliseconds between two chunks of a stream
    #[arg(long, default_value_t = 5)]
    chunk_ms: u64,
}

/// Answers until it is ended.
pub(crate) async fn stand_in(options: &StandIn) -> anyhow::Result<()> {
    let pace = Pace { delay: Duration::from_millis(options.delay_ms), chunk: Duration::from_millis(options.chunk_ms) };
    let listener = TcpListener::bind(("127.0.0.1", options.port)).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(move |request: http::Request<Incoming>| answer(request, pace));
            drop(
                hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(socket), service)
                    .await,
            );
        });
    }
}

#[derive(Debug, Clone, Copy)]
struct Pace {
    delay: Duration,
    chunk: Duration,
}

async fn answer(request: http::Request<Incoming>, pace: Pace) -> Result<Response<Either<Full<Bytes>, Words>>, Infallible> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let asked = Instant::now();
    let is_streamed = serde_json::from_slice::<Value>(&body).is_ok_and(|body| body["stream"] == true);
    let (kind, body) = if is_streamed {
        ("text/event-stream", Either::Right(Words::new(asked, pace)))
    } else {
        tokio::time::sleep(pace.delay).await;
        ("application/json", Either::Left(Full::new(whole(asked.elapsed()))))
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

fn whole(held: Duration) -> Bytes {
    let says = format!(
        "The ship may lie at pier seven for two nights; the tide lets it in at six, and pilot Meyer is free to bring it. {} {}",
        stamp::word(stamp::SENT, stamp::now()),
        stamp::word(stamp::HELD, stamp::micros(held))
    );
    let answer = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "stand-in",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": says }, "finish_reason": "stop", "logprobs": null }],
        "usage": { "prompt_tokens": 61, "completion_tokens": 31, "total_tokens": 92 },
    });
    answer.to_string().into()
}

/// A stream on its way: a chunk for each word.
struct Words {
    asked: Instant,
    pace: Pace,
    next: usize,
    timer: Pin<Box<Sleep>>,
}

impl Words {
    fn new(asked: Instant, pace: Pace) -> Self {
        Self { asked, pace, next: 0, timer: Box::pin(tokio::time::sleep_until(asked + pace.delay)) }
    }

    fn chunk(&self) -> Option<String> {
        let sent = || stamp::word(stamp::SENT, stamp::now());
        match self.next {
            0 => {
                let held = stamp::word(stamp::HELD, stamp::micros(self.asked.elapsed()));
                let role = event(&json!({ "role": "assistant", "content": "" }), &Value::Null);
                Some(role + &event(&json!({ "content": format!("{} {held} {} ", WORDS[0], sent()) }), &Value::Null))
            }
            last if last == WORDS.len() => Some(event(&json!({}), &json!("stop")) + "data: [DONE]\n\n"),
            nth => WORDS.get(nth).map(|word| event(&json!({ "content": format!("{word} {} ", sent()) }), &Value::Null)),
        }
    }
}

impl Body for Words {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.timer.as_mut().poll(context));
        let Some(chunk) = self.chunk() else { return Poll::Ready(None) };
        self.next += 1;
        let due = self.timer.deadline() + self.pace.chunk;
        self.timer.as_mut().reset(due);
        Poll::Ready(Some(Ok(Frame::data(chunk.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.next > WORDS.len()
    }
}

fn event(delta: &Value, finish: &Value) -> String {
    let chunk = json!({
        "id": "c", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "stand-in",
        "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }],
    });
    format!("data: {chunk}\n\n")
}
