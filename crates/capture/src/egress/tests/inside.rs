//! What lies inside of a connection: the names of TLS, names before they are resolved, and intercepted connections.

use rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::super::hello::tests::{client_hello, endless_hello};
use super::*;

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

async fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A tunnel to `localhost`, and what comes out of it.
async fn tunnel(stage: &Stage, listener: &TcpListener, place: &str) -> (TcpStream, TcpStream) {
    let mut client = stage.send(&format!("CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n\r\n")).await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200"));
    (client, listener.accept().await.unwrap().0)
}

async fn next_decision(stage: &mut Stage) -> RawEvent {
    loop {
        let event = stage.next().await;
        if event.kind == Kind::Guardrail {
            return event;
        }
    }
}

#[tokio::test]
async fn a_tls_client_asks_for_nobody_whom_the_lists_do_not_allow() {
    let after_nothing = [&[22, 3, 1, 0, 0][..], &client_hello("bad.example.com")].concat();
    let passes = [client_hello("localhost"), client_hello("api.example.com"), b"SSH-2.0-x\r\n".to_vec()];
    let refused = [
        client_hello("bad.example.com"),
        client_hello("bad.example.com."),
        client_hello("BAD.example.com"),
        client_hello("else.example"),
        after_nothing,
        endless_hello(),
    ];
    let policy = |mode| Policy {
        mode,
        allow: patterns(&["localhost", "*.example.com"]),
        deny: patterns(&["bad.example.com"]),
        ..Policy::default()
    };
    for (mode, hellos, is_refused) in
        [(Mode::Block, &passes[..], false), (Mode::Block, &refused[..], true), (Mode::Observe, &refused[..], false)]
    {
        for hello in hellos {
            let mut stage = Stage::new(local(policy(mode))).await;
            let (listener, address) = listening().await;
            let (mut client, mut upstream) = tunnel(&stage, &listener, &format!("localhost:{}", address.port())).await;
            let writing = {
                let hello = hello.clone();
                tokio::spawn(async move {
                    drop(client.write_all(&hello).await);
                    drop(client.shutdown().await);
                    client
                })
            };
            let mut seen = Vec::new();
            tokio::time::timeout(PATIENCE, upstream.read_to_end(&mut seen)).await.unwrap().unwrap();
            let expected = if is_refused { &[][..] } else { hello };
            assert!(seen == expected, "{mode:?}: {} bytes of {}", seen.len(), hello.len());
            drop(upstream);
            if mode == Mode::Observe || is_refused {
                let decision = next_decision(&mut stage).await;
                let action = if is_refused { "block" } else { "allow" };
                assert_eq!(text(&decision, &attr::GEN_AI_GUARDRAIL_ACTION_TYPE), action);
            }
            drop(writing.await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_network_that_is_allowed_is_allowed_under_every_name() {
    let policy = Policy { mode: Mode::Block, allow: patterns(&["127.0.0.0/8"]), ..Policy::default() };
    let stage = Stage::new(local(policy)).await;
    let (listener, address) = listening().await;
    let (mut client, mut upstream) = tunnel(&stage, &listener, &address.to_string()).await;
    let hello = client_hello("any.example");
    client.write_all(&hello).await.unwrap();
    let mut seen = vec![0; hello.len()];
    upstream.read_exact(&mut seen).await.unwrap();
    assert!(seen == hello);
}

#[tokio::test]
async fn a_name_that_is_refused_is_not_looked_up() {
    let policy = Policy { mode: Mode::Block, deny: patterns(&["*.attacker.example"]), ..Policy::default() };
    for (policy, place) in [
        (policy.clone(), "secret.attacker.example"),
        (Policy { allow: patterns(&["good.example"]), ..policy }, "secret.elsewhere.example"),
    ] {
        let mut stage = Stage::new(local(policy)).await;
        // Whoever asked for an address now would get none.
        stage.egress.shared.lookups.close();
        for request in [
            format!("CONNECT {place}:443 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"),
            format!("GET http://{place}/ HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"),
        ] {
            let answer = stage.ask(&request).await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
            let decision = next_decision(&mut stage).await;
            assert_eq!(text(&decision, &attr::GEN_AI_GUARDRAIL_ACTION_TYPE), "block");
        }
        let allowed = stage.ask("GET http://good.example/ HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
        assert!(allowed.starts_with("HTTP/1.1 502"), "{allowed}");
    }
    // Where it would be refused, that is said, though it leads nowhere.
    let observing = Policy { deny: patterns(&["*.attacker.example"]), ..Policy::default() };
    let mut stage = Stage::new(local(observing)).await;
    stage.egress.shared.lookups.close();
    let answer = stage.ask("GET http://a.attacker.example/ HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert_eq!(text(&next_decision(&mut stage).await, &attr::GEN_AI_GUARDRAIL_ACTION_TYPE), "allow");
}

/// A proxy that intercepts `localhost`, a server of that name, and who vouches for whom.
struct Intercepted {
    stage: Stage,
    listener: TcpListener,
    address: SocketAddr,
    server: TlsAcceptor,
    /// Whom the proxy's clients trust.
    trusted: CertificateDer<'static>,
}

impl Intercepted {
    async fn new(mode: Mode) -> Self {
        let outside = Authority::open(&Kept::generate().unwrap()).unwrap();
        let authority = Authority::open(&Kept::generate().unwrap()).unwrap();
        let trusted = authority.certificate().clone();
        let roots = vec![outside.certificate().clone()];
        let intercept = Intercept { hosts: patterns(&["localhost"]), authority, roots };
        let config = local(Policy { mode, ..Policy::default() });
        let stage = Stage::gated(config, 1_000, 1_000, Some(intercept)).await;
        let (listener, address) = listening().await;
        let server = TlsAcceptor::from(outside.server_config("localhost").unwrap());
        Self { stage, listener, address, server, trusted }
    }

    /// A connection whose TLS ends in the proxy, and the one from there to the server.
    async fn open(&self) -> (TlsStream<TcpStream>, tokio_rustls::server::TlsStream<TcpStream>) {
        let place = format!("localhost:{}", self.address.port());
        let mut client = self.stage.send(&format!("CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n\r\n")).await;
        let serving = async {
            let stream = self.listener.accept().await.unwrap().0;
            self.server.accept(stream).await.unwrap()
        };
        let (answer, server) = tokio::join!(head(&mut client), serving);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.trusted.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        (TlsConnector::from(Arc::new(config)).connect(name, client).await.unwrap(), server)
    }
}

/// What the proxy answers to these bytes.
async fn answer(client: &mut TlsStream<TcpStream>, bytes: &str) -> String {
    client.write_all(bytes.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        match tokio::time::timeout(PATIENCE, client.read_u8()).await.unwrap() {
            Ok(byte) => seen.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test]
async fn a_connection_without_a_good_request_is_recorded_all_the_same() {
    for bytes in ["", "\u{0}\u{1}garbage\r\n\r\n"] {
        let mut intercepted = Intercepted::new(Mode::Observe).await;
        let (mut client, server) = intercepted.open().await;
        // It is on disk before the client gets its 200.
        let opened = intercepted.stage.events.try_recv().unwrap();
        assert_eq!((opened.phase, text(&opened, &attr::EGRESS_MODE)), (Phase::Request, "intercepted".to_owned()));
        assert_eq!(text(&opened, &attr::HTTP_REQUEST_METHOD), "CONNECT");
        if !bytes.is_empty() {
            assert!(answer(&mut client, bytes).await.starts_with("HTTP/1.1 400"));
        }
        drop((client, server));
        let ended = intercepted.stage.next().await;
        assert_eq!((ended.phase, text(&ended, &attr::CALL_ID)), (Phase::Response, text(&opened, &attr::CALL_ID)));
        assert_eq!(text(&ended, &attr::STREAM_END), "client_closed");
        let error = if bytes.is_empty() { "None" } else { "http_request_error" };
        assert_eq!(text(&ended, &attr::ERROR_TYPE), error);
    }
}

#[tokio::test]
async fn an_intercepted_server_sees_one_host_and_that_is_its_own() {
    let mut intercepted = Intercepted::new(Mode::Observe).await;
    let port = intercepted.address.port();
    for wrong in [
        format!("GET /two HTTP/1.1\r\nhost: localhost:{port}\r\nhost: evil.internal\r\n\r\n"),
        format!("CONNECT localhost:{port} HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n"),
        "GET /x HTTP/1.1\r\nhost: evil.internal\r\n\r\n".to_owned(),
    ] {
        let (mut client, mut server) = intercepted.open().await;
        let refused = answer(&mut client, &wrong).await;
        assert!(refused.starts_with("HTTP/1.1 4"), "{refused}");
        drop(client);
        let mut seen = Vec::new();
        drop(tokio::time::timeout(PATIENCE, server.read_to_end(&mut seen)).await.unwrap());
        assert_eq!(String::from_utf8_lossy(&seen), "", "{wrong}");
    }
    while intercepted.stage.events.try_recv().is_ok() {}
    let (mut client, mut server) = intercepted.open().await;
    client.write_all(b"GET /good HTTP/1.1\r\nhost: LOCALHOST.\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        asked.push(tokio::time::timeout(PATIENCE, server.read_u8()).await.unwrap().unwrap());
    }
    assert!(String::from_utf8_lossy(&asked).contains(&format!("host: localhost:{port}\r\n")));
    server.write_all(ANSWER.as_bytes()).await.unwrap();
    assert!(answer(&mut client, "").await.starts_with("HTTP/1.1 201"));
    loop {
        let event = intercepted.stage.next().await;
        if event.phase == Phase::Response && text(&event, &attr::HTTP_REQUEST_METHOD) == "GET" {
            assert_eq!(text(&event, &attr::SOURCE_BYTES), asked.len().to_string());
            break;
        }
    }
}

#[tokio::test]
async fn an_intercepted_host_is_not_reached_by_its_address_instead() {
    for (mode, passes) in [(Mode::Block, false), (Mode::Observe, true)] {
        let mut intercepted = Intercepted::new(mode).await;
        let place = intercepted.address.to_string();
        let (mut client, mut upstream) = tunnel(&intercepted.stage, &intercepted.listener, &place).await;
        let hello = client_hello("localhost");
        client.write_all(&hello).await.unwrap();
        client.shutdown().await.unwrap();
        let mut seen = Vec::new();
        tokio::time::timeout(PATIENCE, upstream.read_to_end(&mut seen)).await.unwrap().unwrap();
        assert_eq!(seen.len(), if passes { hello.len() } else { 0 });
        drop(upstream);
        let decision = next_decision(&mut intercepted.stage).await;
        assert_eq!(text(&decision, &attr::GEN_AI_GUARDRAIL_SECURITY_POLICY_ID), "egress.intercept");
        assert_eq!(text(&decision, &attr::GEN_AI_GUARDRAIL_ACTION_TYPE), if passes { "allow" } else { "block" });
    }
}
