//! Streams through the gateway of the real binary: many at once, each whole, masked ones too; and small pieces that nothing holds back.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::faults::setting;
use crate::support::{SOON, Server, Starting, all_rows};
use crate::syscalls::{can_trace, strace};
use crate::volume::has_program;
use crate::wire::{Answered, Call, Next, StandIn, chat, delta, last_events};

/// Streams at once in the ordinary suite. `WATCHKEEPER_STREAMS` sets another number (`cargo xtask streams`).
const STREAMS: u64 = 60;

/// Files that the server may have open as it is started: fewer than [`STREAMS`] need, as 1,024 (where most systems start programs) are
/// fewer than 500 need. It must raise that by itself.
const OPEN_FILES: u64 = 128;

/// How long all streams together may take to begin on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// What each stream holds, in two pieces: somebody's address, and a key.
const SECRETS: [&str; 2] = ["ann.lee@example.com", "AKIA5T7Q2M9XWVNB3KLP"];

/// Pieces of the stream of the Nagle test, and how long each is: far below a segment.
const SMALL_PIECES: usize = 20;

/// Opens when everybody has come.
#[derive(Default)]
struct Gate {
    came: Mutex<u64>,
    all: Condvar,
}

impl Gate {
    /// Comes, and waits for the others; `false` when they did not come in time.
    fn pass(&self, wanted: u64) -> bool {
        let mut came = self.came.lock().unwrap();
        *came += 1;
        self.all.notify_all();
        let (_came, waited) = self.all.wait_timeout_while(came, PATIENCE, |came| *came < wanted).unwrap();
        !waited.timed_out()
    }

    fn came(&self) -> u64 {
        *self.came.lock().unwrap()
    }
}

/// What stream `number` says, in pieces. Both secrets are cut in two, each stream at another place; letters of more than one byte and
/// such as JSON escapes are in it.
fn pieces(number: u64) -> Vec<String> {
    let cut = |secret: &str| {
        let at = 1 + usize::try_from(number).unwrap() % (secret.len() - 1);
        [secret[..at].to_owned(), secret[at..].to_owned()]
    };
    let [mail, mail_rest] = cut(SECRETS[0]);
    let [key, key_rest] = cut(SECRETS[1]);
    vec![
        format!("begun {number}: Grüße aus dem Hafen,\n\"Pier sieben\" → 船は夜に着く. "),
        format!("Write to {mail}"),
        format!("{mail_rest} or use "),
        key,
        format!("{key_rest} for the crane. "),
        "The tide lets a ship in at six and out at four, and the pilot is free in between. "
            .repeat(usize::try_from(number % 5).unwrap()),
        String::new(),
        "And".to_owned(),
        " done\t".to_owned(),
        format!("with {number}."),
    ]
}

/// Every second stream is masked.
fn is_masked(number: u64) -> bool {
    number.is_multiple_of(2)
}

#[test]
fn many_streams_are_held_at_once_and_each_is_whole() {
    let streams = setting("WATCHKEEPER_STREAMS", STREAMS);
    // Upstream and client of each: nobody goes on before all streams have begun on both sides.
    let gate = Arc::new(Gate::default());
    let of_upstream = gate.clone();
    let upstream = StandIn::start(move |asked| {
        let body: Value = serde_json::from_slice(&asked.body()?).unwrap_or_default();
        let number = body["messages"][0]["content"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
        let pieces = pieces(number);
        asked.begin_stream()?;
        asked.chunk(&delta(&pieces[0]))?;
        if !of_upstream.pass(2 * streams) {
            return Ok(Next::Close);
        }
        for piece in &pieces[1..] {
            asked.chunk(&delta(piece))?;
        }
        asked.chunk(&last_events())?;
        asked.end_stream()?;
        Ok(Next::Request)
    });
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "[upstream]\nopenai = \"{}\"\n[[gateway.policy]]\nid = \"masked\"\nmodels = [\"masked\"]\nanswers = \"redact\"\nbudget_ms = 10000\n",
        upstream.base
    );
    let few_files = ["prlimit".to_owned(), format!("--nofile={OPEN_FILES}:")];
    let under = if has_program("prlimit") { &few_files[..] } else { &[] };
    let server = Starting::spawn(&dir.path().join("data"), &config, under).ready().unwrap();
    let answers: Vec<Answered> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..streams)
            .map(|number| {
                let (gateway, gate) = (&server.gateway, &gate);
                scope.spawn(move || stream(gateway, gate, number, 2 * streams))
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(gate.came(), 2 * streams, "upstream and client of every stream were there at once");
    server.settle();
    let record = record(&server);
    for (number, answered) in (0..streams).zip(&answers) {
        check(number, answered, &record[&format!("stream-{number}")]);
    }
    println!("{streams} streams were held at once, half of them masked; each was whole at its client and in the record");
    server.stop();
}

/// One stream, at its client.
fn stream(gateway: &str, gate: &Gate, number: u64, wanted: u64) -> Answered {
    let session = format!("stream-{number}");
    let model = if is_masked(number) { "masked" } else { "plain" };
    let headers = [("x-watchkeeper-session", session.as_str())];
    let body = chat(model, &number.to_string(), true);
    let mut call = Call::post(gateway, "/v1/chat/completions", &headers, &body).unwrap();
    // The window holds the first text of a masked stream; its head has come.
    let first = if is_masked(number) { "\r\n\r\n".to_owned() } else { format!("begun {number}: ") };
    assert!(call.until(&first), "stream {number} does not begin: {:?}", call.finish());
    assert!(gate.pass(wanted), "only {} of {wanted} were there at once", gate.came());
    call.finish()
}

/// What the record says of each stream.
fn record(server: &Server) -> HashMap<String, Value> {
    let of = |name: &str| format!("attributes ->> '$.\"{name}\"'");
    let sql = format!(
        "SELECT events.session_id AS session, response, {} AS stream_end, {} AS scanned, {} AS unscanned FROM events \
         JOIN responses USING (event_id) WHERE events.session_id LIKE 'stream-%' ORDER BY events.seq",
        of("watchkeeper.stream.end"),
        of("watchkeeper.answer.scanned_bytes"),
        of("watchkeeper.answer.unscanned_bytes")
    );
    let rows = all_rows(&sql, &server.data);
    let count = rows.len();
    let of_session: HashMap<_, _> = rows.into_iter().map(|row| (row["session"].as_str().unwrap().to_owned(), row)).collect();
    assert_eq!(of_session.len(), count, "each stream is recorded once");
    of_session
}

/// That a stream came whole to its client and to the record, and that no secret passed where that is so.
fn check(number: u64, answered: &Answered, row: &Value) {
    let sent = pieces(number).concat();
    assert!(answered.status == 200 && answered.is_whole && answered.text().ends_with("data: [DONE]\n\n"), "{answered:?}");
    let (said, recorded) = (answered.said(), row["response"].as_str().unwrap());
    assert_eq!(row["stream_end"], "complete", "{row}");
    // What is recorded has tokens in the place of both secrets, and is whole around them.
    let around: Vec<&str> = sent.split(SECRETS[0]).flat_map(|part| part.split(SECRETS[1])).collect();
    assert!(around.len() == 3 && is_around(recorded, &around), "{number}: {recorded}");
    if !is_masked(number) {
        assert_eq!(said, sent);
        return;
    }
    assert_eq!(said, recorded, "{number}: the client is shown what is recorded");
    let text = answered.text();
    for half in SECRETS {
        assert!(!text.contains(half), "{number}: {text}");
    }
    let figure = |name: &str| row[name].to_string().trim_matches('"').parse::<usize>().ok();
    assert_eq!((figure("scanned"), figure("unscanned")), (Some(sent.len()), Some(0)), "{number}: {row}");
}

/// Whether a text is these parts, with a placeholder between each two.
fn is_around(text: &str, parts: &[&str]) -> bool {
    let mut rest = text;
    for (at, part) in parts.iter().enumerate() {
        let Some(found) = rest.find(part) else { return false };
        let between = &rest[..found];
        let is_placeholder = between.starts_with('<') && between.ends_with('>') && between.len() < 96;
        if (at == 0) != between.is_empty() || (at > 0 && !is_placeholder) {
            return false;
        }
        rest = &rest[found + part.len()..];
    }
    rest.is_empty()
}

/// Nagle's algorithm holds a small piece back until the one before it was acknowledged, which a client delays by 40 ms. Not a byte is
/// written to a connection, on either side of the gateway, on which it has not been turned off; and nothing waits for the next piece: the
/// upstream says a piece only when the client has the one before.
#[test]
fn small_pieces_are_not_held_back() {
    if !can_trace("streams::small_pieces_are_not_held_back") {
        return;
    }
    let seen = Arc::new(Gate::default());
    let of_upstream = seen.clone();
    let upstream = StandIn::start(move |asked| {
        asked.body()?;
        asked.begin_stream()?;
        for number in 0..SMALL_PIECES {
            asked.chunk(&delta(&format!("<{number}>")))?;
            // The client has seen so many by then.
            let came = seen_in_time(&of_upstream, number as u64 + 1);
            assert!(came, "piece {number} was held back");
        }
        asked.chunk(&last_events())?;
        asked.end_stream()?;
        Ok(Next::Request)
    });
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let calls = "trace=accept4,socket,connect,setsockopt,write,writev,sendto,sendmsg,close";
    let under = strace(&["-o", trace.to_str().unwrap(), "-e", calls]);
    let config = format!("[upstream]\nopenai = \"{}\"\n", upstream.base);
    let server = Starting::spawn(&dir.path().join("data"), &config, &under).ready().unwrap();
    let mut call = Call::post(&server.gateway, "/v1/chat/completions", &[], &chat("plain", "go", true)).unwrap();
    for number in 0..SMALL_PIECES {
        assert!(call.until(&format!("<{number}>")), "piece {number} does not come: {:?}", call.finish());
        *seen.came.lock().unwrap() += 1;
        seen.all.notify_all();
    }
    let answered = call.finish();
    assert!(answered.is_whole, "{answered:?}");
    let ports = [&server.gateway, &upstream.base].map(|base| base.rsplit(':').next().unwrap().to_owned());
    server.end(SOON);
    let traced = std::fs::read_to_string(trace).unwrap();
    let written = writes_without_nagle(&traced, &ports).unwrap_or_else(|why| panic!("{why}"));
    assert!(written[0] >= SMALL_PIECES, "each piece was written by itself to the client: {written:?}");
    assert!(written[1] >= 1, "the request went upstream: {written:?}");
    println!("{SMALL_PIECES} pieces, one by one; TCP_NODELAY before all of {written:?} writes to the client and upstream");
}

/// Waits until the client has seen so many pieces.
fn seen_in_time(seen: &Gate, wanted: u64) -> bool {
    let came = seen.came.lock().unwrap();
    let (_came, waited) = seen.all.wait_timeout_while(came, SOON, |came| *came < wanted).unwrap();
    !waited.timed_out()
}

/// How often was written to connections that were accepted (from clients) and that were made (to `ports[1]`), by what strace saw; an error
/// names the first write to one on which Nagle's algorithm was still on.
fn writes_without_nagle(traced: &str, ports: &[String; 2]) -> Result<[usize; 2], String> {
    let mut accepted: HashSet<u64> = HashSet::new();
    let mut made: HashSet<u64> = HashSet::new();
    let mut is_off: HashSet<u64> = HashSet::new();
    let mut written = [0, 0];
    for line in whole_lines(traced) {
        let Some((call, rest)) = line.split_once('(') else { continue };
        let first = rest.split([',', ')']).next().and_then(|first| first.trim().parse::<u64>().ok());
        let result = rest.rsplit_once("= ").and_then(|(_, result)| result.split(' ').next()?.parse::<u64>().ok());
        match (call, first, result) {
            ("accept4", _, Some(connection)) => {
                is_off.remove(&connection);
                made.remove(&connection);
                accepted.insert(connection);
            }
            ("socket", _, Some(connection)) => {
                is_off.remove(&connection);
                accepted.remove(&connection);
                made.remove(&connection);
            }
            ("connect", Some(connection), _) if rest.contains(&format!("htons({})", ports[1])) => {
                made.insert(connection);
            }
            ("setsockopt", Some(connection), _) if rest.contains("TCP_NODELAY, [1]") => {
                is_off.insert(connection);
            }
            ("close", Some(connection), _) => {
                accepted.remove(&connection);
                made.remove(&connection);
            }
            ("write" | "writev" | "sendto" | "sendmsg", Some(connection), _) => {
                let side = match (accepted.contains(&connection), made.contains(&connection)) {
                    (true, _) => 0,
                    (_, true) => 1,
                    _ => continue,
                };
                if !is_off.contains(&connection) {
                    return Err(format!("Nagle's algorithm is still on when this is written: {line}"));
                }
                written[side] += 1;
            }
            _ => {}
        }
    }
    Ok(written)
}

/// The calls of a trace, each as one line without its thread: one that another thread interrupted is put together again, where it ended.
fn whole_lines(traced: &str) -> Vec<String> {
    let mut begun: HashMap<&str, &str> = HashMap::new();
    let mut lines = Vec::new();
    for line in traced.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if let Some(call) = call.strip_suffix("<unfinished ...>") {
            begun.insert(thread, call);
        } else if let Some((_, rest)) = call.split_once(" resumed>") {
            lines.push(format!("{}{rest}", begun.remove(thread).unwrap_or_default()));
        } else {
            lines.push(call.to_owned());
        }
    }
    lines
}

#[test]
fn a_write_before_the_option_is_found() {
    let ports = ["1".to_owned(), "9".to_owned()];
    let good = "7 accept4(5, {sa_port=htons(3)}, [16], 0) = 12\n7 setsockopt(12, SOL_TCP, TCP_NODELAY, [1], 4) = 0\n\
                8 sendto(12, \"a\", 1, 0, NULL, 0 <unfinished ...>\n7 socket(AF_INET, SOCK_STREAM, 0) = 13\n8 <... sendto resumed>) = 1\n\
                7 setsockopt(13, SOL_TCP, TCP_NODELAY, [1], 4) = 0\n7 connect(13, {sin_port=htons(9)}, 16) = -1 EINPROGRESS (x)\n\
                7 writev(13, [{}], 1) = 5\n7 write(4, \"x\", 1) = 1\n";
    assert_eq!(writes_without_nagle(good, &ports), Ok([1, 1]));
    for option in ["setsockopt(12", "setsockopt(13"] {
        let bad: String = good.lines().filter(|line| !line.contains(option)).map(|line| format!("{line}\n")).collect();
        assert!(writes_without_nagle(&bad, &ports).unwrap_err().contains("still on"));
    }
    // A number that is used again is another connection.
    let again = format!("{good}7 close(12) = 0\n7 accept4(5, {{}}, [16], 0) = 12\n7 sendto(12, \"a\", 1, 0, NULL, 0) = 1\n");
    assert!(writes_without_nagle(&again, &ports).is_err());
}
