//! The proxy in front of a server that gives the answer it is told to: a stand-in, because no real one is wrong on demand.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use super::super::tests::{Kept, proxy, text};
use super::super::{Listing, OnDrift, Policy, Who};
use super::{HttpProxy, Route};

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const TOOLS: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"hidden"}]}}"#;

/// A server that answers every request with `head` and `body`, and closes. Gives what it is asked, too.
async fn server(head: &str, body: &[u8]) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let answer = [format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n").as_bytes(), body].concat();
    let (asked, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answered(stream, answer.clone(), asked.clone()));
        }
    });
    (url, requests)
}

async fn answered(mut stream: TcpStream, answer: Vec<u8>, asked: mpsc::UnboundedSender<String>) {
    let mut request = Vec::new();
    loop {
        let mut chunk = [0; 4_096];
        let read = stream.read(&mut chunk).await.unwrap();
        if read == 0 {
            return;
        }
        request.extend_from_slice(&chunk[..read]);
        let told = String::from_utf8_lossy(&request).to_lowercase();
        let Some((head, body)) = told.split_once("\r\n\r\n") else { continue };
        let length = head.split_once("content-length: ").map_or(0, |(_, rest)| rest.split('\r').next().unwrap().parse().unwrap());
        if body.len() >= length {
            break;
        }
    }
    asked.send(String::from_utf8(request).unwrap()).unwrap();
    stream.write_all(&answer).await.unwrap();
    stream.shutdown().await.unwrap();
}

fn http_proxy(kept: &Arc<Kept>, url: &str, on_drift: OnDrift, headers: HeaderMap, who: Who) -> HttpProxy {
    let proxy = proxy(kept, Policy { on_drift, ..Policy::default() });
    HttpProxy::new(vec![Route { name: "files".to_owned(), proxy, url: url.parse().unwrap(), headers, who }]).unwrap()
}

async fn ask(proxy: &HttpProxy, request: Request<Body>) -> (StatusCode, String) {
    let answer = proxy.router().oneshot(request).await.unwrap();
    let status = answer.status();
    (status, String::from_utf8_lossy(&answer.into_body().collect().await.unwrap().to_bytes()).into_owned())
}

fn list() -> Request<Body> {
    Request::post("/files").header("content-type", "application/json").body(Body::from(LIST)).unwrap()
}

fn anomalies(kept: &Kept) -> Vec<String> {
    let events = kept.events.lock().unwrap();
    let found = events.iter().map(|event| text(event, &event::attr::MCP_ANOMALY));
    found.filter(|anomaly| !anomaly.is_empty()).collect()
}

#[tokio::test]
async fn what_is_not_read_does_not_pass_where_there_is_a_policy() {
    let cut = format!("data: {TOOLS}\n");
    for (head, body, status) in [
        ("200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip", TOOLS, 502),
        ("200 OK\r\ncontent-type: text/x; a=application/json", TOOLS, 502),
        ("200 OK\r\ncontent-type: text/x\r\ncontent-type: application/json", TOOLS, 502),
        ("200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: br", TOOLS, 502),
        ("401 Unauthorized\r\nwww-authenticate: Bearer\r\ncontent-type: text/plain", TOOLS, 401),
        ("200 OK\r\ncontent-type: text/event-stream", cut.as_str(), 200),
        ("200 OK\r\ncontent-type: application/json", r#"{"id":1,"result":{},"result":{"tools":[{"name":"hidden"}]}}"#, 502),
    ] {
        let (url, _requests) = server(head, body.as_bytes()).await;
        for on_drift in [OnDrift::Block, OnDrift::Record] {
            let kept = Arc::new(Kept::default());
            let proxy = http_proxy(&kept, &url, on_drift, HeaderMap::new(), Who::default());
            let (found, told) = ask(&proxy, list()).await;
            proxy.end().await;
            assert_eq!(told.contains("hidden"), on_drift == OnDrift::Record, "{head}: {told}");
            let passed = head[..3].parse::<u16>().unwrap();
            assert_eq!(found, if on_drift == OnDrift::Block { status } else { passed }, "{head}");
            assert!(kept.listings.lock().unwrap().is_empty());
            let expected = if head.ends_with("/json") && !head.contains("text/x") { "ambiguous" } else { "unread" };
            assert!(anomalies(&kept).iter().any(|found| found == expected), "{head}: {:?}", anomalies(&kept));
        }
    }
}

#[tokio::test]
async fn identity_is_no_encoding() {
    let (url, _requests) =
        server("200 OK\r\ncontent-type: application/json\r\ncontent-encoding: identity", TOOLS.as_bytes()).await;
    let kept = Arc::new(Kept::default());
    let proxy = http_proxy(&kept, &url, OnDrift::Block, HeaderMap::new(), Who::default());
    assert_eq!(ask(&proxy, list()).await, (StatusCode::OK, TOOLS.to_owned()));
    let tools = |listing: &Listing| listing.tools.iter().map(|tool| tool.name.clone()).collect::<Vec<_>>();
    assert_eq!(kept.listings.lock().unwrap().iter().flat_map(tools).collect::<Vec<_>>(), ["hidden"]);
}

#[tokio::test]
async fn only_the_server_begins_a_session() {
    for (head, is_kept) in [
        ("200 OK\r\ncontent-type: application/json", false),
        ("200 OK\r\ncontent-type: application/json\r\nmcp-session-id: issued", true),
        ("404 Not Found\r\ncontent-type: application/json\r\nmcp-session-id: issued", false),
    ] {
        let (url, _requests) = server(head, TOOLS.as_bytes()).await;
        let kept = Arc::new(Kept::default());
        let proxy = http_proxy(&kept, &url, OnDrift::Record, HeaderMap::new(), Who::default());
        for _ in 0..2 {
            let mut request = list();
            request.headers_mut().insert("mcp-session-id", "chosen".parse().unwrap());
            ask(&proxy, request).await;
        }
        let sessions: Vec<String> = proxy.shared.routes["files"].sessions().by_id.keys().cloned().collect();
        assert_eq!(sessions, if is_kept { vec!["issued".to_owned()] } else { Vec::new() }, "{head}");
        // It is in the record all the same.
        let first = kept.events.lock().unwrap()[0].clone();
        assert_eq!(text(&first, &event::attr::MCP_SESSION_ID), "chosen");
    }
}

#[tokio::test]
async fn requests_without_a_message_are_recorded_and_those_of_no_use_refused() {
    let (url, mut requests) = server("200 OK\r\ncontent-type: text/event-stream", b": nothing\n\n").await;
    let kept = Arc::new(Kept::default());
    let proxy = http_proxy(&kept, &url, OnDrift::Record, HeaderMap::new(), Who::default());
    for (method, status) in [("GET", 200), ("DELETE", 200), ("PUT", 405), ("MADE-UP", 405)] {
        let (found, _) = ask(&proxy, Request::builder().method(method).uri("/files").body(Body::empty()).unwrap()).await;
        assert_eq!(found, status, "{method}");
    }
    proxy.end().await;
    assert_eq!(kept.names(), ["http GET", "http DELETE", "http PUT", "http _OTHER"]);
    let mut sent = 0;
    while requests.try_recv().is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 2);
    // Without a record nothing is asked.
    *kept.fails.lock().unwrap() = true;
    let (status, _) = ask(&proxy, Request::get("/files").body(Body::empty()).unwrap()).await;
    assert_eq!((status, requests.try_recv().is_err()), (StatusCode::SERVICE_UNAVAILABLE, true));
}

#[tokio::test]
async fn the_operator_says_what_the_client_does_not() {
    let (url, mut requests) = server("200 OK\r\ncontent-type: application/json", TOOLS.as_bytes()).await;
    let kept = Arc::new(Kept::default());
    let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, "Bearer not-a-real-one".parse().unwrap())]);
    let mut who = Who::default();
    who.identity.user = Some(event::Principal::asserted("the operator's"));
    who.identity.agent = Some(event::Principal::asserted("planner"));
    let proxy = http_proxy(&kept, &url, OnDrift::Record, headers, who);
    let mut request = list();
    request.headers_mut().insert("authorization", "Bearer the-client's".parse().unwrap());
    request.headers_mut().insert("x-watchkeeper-user", "u1".parse().unwrap());
    ask(&proxy, request).await;
    let sent = requests.recv().await.unwrap();
    assert!(sent.contains("Bearer not-a-real-one") && !sent.contains("the-client's"), "{sent}");
    let identity = kept.events.lock().unwrap()[0].identity.clone();
    assert_eq!((identity.user.unwrap().id.expose(), identity.agent.unwrap().id.expose()), ("u1", "planner"));
}
