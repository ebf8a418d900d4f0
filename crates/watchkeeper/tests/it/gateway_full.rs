//! The gateway before a record that takes nothing more: because the disk is full, or because it has failed. What was acknowledged is there,
//! nobody is told that a call was recorded when it was not, and with room again everything goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::faults::CONFIG;
use crate::full_disk::fill;
use crate::gateway_faults::{Recorded, recorded};
use crate::support::{SOON, Server, Starting, verify};
use crate::syscalls::{can_trace, strace};
use crate::volume::{Volume, with_mounts};
use crate::wire::{Answered, Call, Next, StandIn, chat, completion, delta, last_events};

/// Streams that are under way when the record stops.
const STREAMS: u64 = 6;

/// Which of the journal's syncs fails: after every stream has begun, and some calls have been answered.
const FAILING_SYNC: u64 = 40;

/// Calls until the record must have stopped: each takes two syncs.
const CALLS_MAX: u64 = 60;

/// XFS has blocks as large as pages. On a small ext4 volume they are smaller, and there SQLite's shared memory (`-shm`) cannot be written
/// when the disk is full, which ends the process with SIGBUS.
const FILE_SYSTEM: &str = "xfs";

/// The least that XFS takes, and a little more.
const VOLUME_MIB: u64 = 320;

/// How long calls go on while the disk is full.
const FULL_TIME: Duration = Duration::from_millis(700);

/// What is left on the full disk, in bytes: room for the small files of a start, none for a segment.
const LEFT_BYTES: u64 = 8 << 20;

/// An upstream whose streams end when they are let go.
fn upstream(is_let_go: &Arc<AtomicBool>) -> StandIn {
    let is_let_go = is_let_go.clone();
    StandIn::start(move |asked| {
        let body: Value = serde_json::from_slice(&asked.body()?).unwrap_or_default();
        if body["stream"] != true {
            return asked.answer("200 OK", &completion("Pier seven")).map(|()| Next::Request);
        }
        asked.begin_stream()?;
        asked.chunk(&delta("begun"))?;
        let until = Instant::now() + SOON;
        while !is_let_go.load(Ordering::Relaxed) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        asked.chunk(&delta(" and done"))?;
        asked.chunk(&last_events())?;
        asked.end_stream().map(|()| Next::Request)
    })
}

/// Numbered calls on one server after another.
struct Calls {
    next: AtomicU64,
}

impl Calls {
    fn begin(&self, server: &Server, stream: bool) -> (String, Call) {
        let session = format!("call-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let headers = [("x-watchkeeper-session", session.as_str())];
        let body = chat("stand-in", &format!("A berth for {session}"), stream);
        let call = Call::post(&server.gateway, "/v1/chat/completions", &headers, &body);
        (session, call.unwrap_or_else(|error| panic!("{error}: the server {}", server.state())))
    }

    fn whole(&self, server: &Server) -> (String, Answered) {
        let (session, call) = self.begin(server, false);
        (session, call.finish())
    }
}

/// A call that its client saw to the end, with a receipt.
struct Acknowledged {
    session: String,
    is_stream: bool,
}

fn is_acknowledged(answered: &Answered, is_stream: bool) -> bool {
    let is_receipted = answered.status == 200 && answered.is_whole && answered.header("x-watchkeeper-record") == Some("durable");
    is_receipted && (!is_stream || answered.text().contains("[DONE]"))
}

/// That every acknowledged call is in the record once, with an outcome that is no error.
fn check_acknowledged(server: &Server, acknowledged: &[Acknowledged]) {
    server.settle();
    let record = recorded(server);
    let good = |is_stream: bool| Recorded { requests: 1, outcomes: vec![(None, is_stream.then(|| "complete".to_owned()))] };
    let wrong: Vec<_> = acknowledged.iter().filter(|call| record.get(&call.session) != Some(&good(call.is_stream))).collect();
    let wrong: Vec<_> = wrong.iter().map(|call| (&call.session, record.get(&call.session))).collect();
    assert!(
        wrong.is_empty(),
        "of {} acknowledged calls these are not recorded once as what they were: {wrong:?}",
        acknowledged.len()
    );
}

#[test]
fn a_record_that_stops_refuses_calls_and_ends_streams_with_an_error() {
    if !can_trace("gateway_full::a_record_that_stops_refuses_calls_and_ends_streams_with_an_error") {
        return;
    }
    let is_let_go = Arc::new(AtomicBool::new(false));
    let upstream = upstream(&is_let_go);
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let config = format!("[upstream]\nopenai = \"{}\"\n{CONFIG}", upstream.base);
    Server::start_with(&data, &config).stop();
    let segment = data.join("journal/00000000000000000000.wkj");
    let inject = format!("inject=fdatasync:error=EIO:when={FAILING_SYNC}");
    let under = strace(&["-o", "/dev/null", "-P", segment.to_str().unwrap(), "-e", "trace=fdatasync", "-e", &inject]);
    let server = Starting::spawn(&data, &config, &under).ready().unwrap();
    let calls = Calls { next: AtomicU64::new(0) };
    let streams: Vec<_> = (0..STREAMS)
        .map(|_| {
            let (session, mut call) = calls.begin(&server, true);
            assert!(call.until("begun"), "{session} does not begin: {:?}", call.finish());
            (session, call)
        })
        .collect();
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    for _ in 0..CALLS_MAX {
        let (session, answered) = calls.whole(&server);
        if is_acknowledged(&answered, false) {
            assert_eq!(refused, 0, "it had stopped, and acknowledged {session}");
            acknowledged.push(Acknowledged { session, is_stream: false });
        } else {
            assert_eq!(answered.status, 503, "{answered:?}");
            assert!(answered.text().contains("recorder_stopped"), "{answered:?}");
            refused += 1;
        }
    }
    assert!(!acknowledged.is_empty() && refused > 0, "{} calls were acknowledged, {refused} refused", acknowledged.len());
    is_let_go.store(true, Ordering::Relaxed);
    let mut begun = Vec::new();
    for (session, call) in streams {
        let answered = call.finish();
        let text = answered.text();
        assert!(answered.is_whole && text.contains("and done") && text.contains("recorder_stopped"), "{answered:?}");
        assert!(!text.contains("[DONE]"), "the end was handed out, and is not recorded: {text}");
        begun.push(session);
    }
    server.end(SOON).unwrap();
    let server = Server::start_with(&data, &config);
    check_acknowledged(&server, &acknowledged);
    // What a client saw the beginning of was recorded by then.
    let record = recorded(&server);
    assert!(begun.iter().all(|session| record.get(session).is_some_and(|found| found.requests == 1)), "{record:?}");
    let (session, answered) = calls.whole(&server);
    assert!(is_acknowledged(&answered, false), "{answered:?}");
    check_acknowledged(&server, &[Acknowledged { session, is_stream: false }]);
    server.stop();
    let (code, said) = verify(&data);
    assert_eq!(code, 0, "{said}");
    println!(
        "{} calls acknowledged before the sync that failed, {refused} refused after it, {STREAMS} streams told",
        acknowledged.len()
    );
}

#[test]
fn a_full_disk_refuses_calls_until_there_is_room() {
    let name = "gateway_full::a_full_disk_refuses_calls_until_there_is_room";
    with_mounts(name, |dir| {
        let is_let_go = Arc::new(AtomicBool::new(true));
        let upstream = upstream(&is_let_go);
        let volume = Volume::new(dir, FILE_SYSTEM, VOLUME_MIB);
        let data = volume.path().join("data");
        let config = dir.join("watchkeeper.toml");
        std::fs::write(&config, format!("[upstream]\nopenai = \"{}\"\n{CONFIG}", upstream.base)).unwrap();
        let start = || Starting::spawn_with(&data, &config, &dir.join("server.log"), &[]).ready().unwrap();
        let calls = Calls { next: AtomicU64::new(0) };
        let server = start();
        let acknowledged = filled_under_load(&volume, &server, &calls);
        check_acknowledged(&server, &acknowledged);
        server.stop();
        no_room_for_the_journal(&volume, &start, &calls);
        let (code, said) = verify(&data);
        assert_eq!(code, 0, "{said}");
    });
}

/// The disk fills while calls are made: the journal has taken its room beforehand, the ledger and the store have not.
fn filled_under_load(volume: &Volume, server: &Server, calls: &Calls) -> Vec<Acknowledged> {
    let (_, answered) = calls.whole(server);
    assert!(is_acknowledged(&answered, false), "{answered:?}");
    // Who reads is known from before: the key of somebody new cannot be kept on a full disk.
    drop(recorded(server));
    let over = AtomicBool::new(false);
    let mut acknowledged = Vec::new();
    std::thread::scope(|scope| {
        let clients = [false, false, true].map(|is_stream| {
            let over = &over;
            scope.spawn(move || {
                let mut good = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let (session, call) = calls.begin(server, is_stream);
                    if is_acknowledged(&call.finish(), is_stream) {
                        good.push(Acknowledged { session, is_stream });
                    }
                }
                good
            })
        });
        let ballast = fill(volume);
        std::thread::sleep(FULL_TIME);
        std::fs::remove_file(ballast).unwrap();
        over.store(true, Ordering::Relaxed);
        for client in clients {
            acknowledged.extend(client.join().unwrap());
        }
    });
    assert!(acknowledged.iter().any(|call| call.is_stream) && acknowledged.iter().any(|call| !call.is_stream));
    println!("{} calls acknowledged while the disk filled up and was full", acknowledged.len());
    acknowledged
}

/// A start with room for its small files and none for the journal.
fn no_room_for_the_journal(volume: &Volume, start: &dyn Fn() -> Server, calls: &Calls) {
    let ballast = fill(volume);
    let length = std::fs::metadata(&ballast).unwrap().len();
    std::fs::File::options().write(true).open(&ballast).unwrap().set_len(length - LEFT_BYTES).unwrap();
    let server = start();
    for stream in [false, false, true] {
        let (_, call) = calls.begin(&server, stream);
        let answered = call.finish();
        assert_eq!(answered.status, 503, "{answered:?}");
        assert!(answered.header("retry-after").is_some() && answered.text().contains("recorder_busy"), "{answered:?}");
        assert_ne!(answered.header("x-watchkeeper-record"), Some("durable"), "{answered:?}");
    }
    std::fs::remove_file(&ballast).unwrap();
    let until = Instant::now() + SOON;
    let session = loop {
        let (session, answered) = calls.whole(&server);
        if is_acknowledged(&answered, false) {
            break session;
        }
        assert!(Instant::now() < until, "there is room, and nothing is recorded: {answered:?}");
        std::thread::sleep(Duration::from_millis(100));
    };
    check_acknowledged(&server, &[Acknowledged { session, is_stream: false }]);
    server.stop();
}
