//! What was acknowledged is there after a SIGKILL, once.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::{Server, all_rows, chat_spans, export, verify};

/// Spans in one export.
const BATCH: u64 = 25;

/// Rounds in the ordinary suite. `WATCHKEEPER_CRASH_ROUNDS=20` is the long run (`cargo xtask crash`).
const ROUNDS: u64 = 3;

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_sigkill() {
    let rounds = std::env::var("WATCHKEEPER_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let seed = std::env::var("WATCHKEEPER_CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1_u64);
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let acknowledged = Mutex::new(Vec::new());
    let next = AtomicU64::new(0);
    for round in 0..rounds {
        let server = Server::start(&data);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let first = next.fetch_add(BATCH, Ordering::Relaxed);
                        if export(&server.otlp_http, &chat_spans("crash", first, BATCH)) {
                            acknowledged.lock().unwrap().extend(first..first + BATCH);
                        }
                    }
                });
            }
            // A moment that differs in each round, from just after the start to well into the load.
            let wait = 150
                + (seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round.wrapping_mul(1_442_695_040_888_963_407))
                    >> 33)
                    % 1_500;
            std::thread::sleep(Duration::from_millis(wait));
            server.signal_kill();
            done.store(true, Ordering::Relaxed);
        });
        drop(server);
        let (code, text) = verify(&data);
        assert_eq!(code, 0, "round {round}: {text}");
    }
    // A clean start and stop index what is left.
    Server::start(&data).stop();
    let (code, text) = verify(&data);
    assert_eq!(code, 0, "{text}");
    let mut seen: HashMap<u64, u64> = HashMap::new();
    let sql = "SELECT substr(prompt, 10, instr(prompt, ' of ') - 10) AS number FROM prompts WHERE session_id = 'crash' ORDER BY event_id";
    for row in all_rows(sql, &data) {
        *seen.entry(row["number"].as_str().unwrap().trim().parse().unwrap()).or_default() += 1;
    }
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() as u64 >= rounds * BATCH, "the load hardly ran: {}", acknowledged.len());
    let lost = acknowledged.iter().filter(|number| !seen.contains_key(number)).count();
    let doubled = seen.values().filter(|&&times| times > 1).count();
    println!("{rounds} rounds, {} spans acknowledged, {lost} lost, {doubled} twice", acknowledged.len());
    assert_eq!((lost, doubled), (0, 0));
}
