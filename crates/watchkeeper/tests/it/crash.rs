//! What was acknowledged is there after a SIGKILL, once; and whoever is not the one writer of a directory, or has a clock that
//! goes back, does no harm to it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::faults::{CONFIG, Rng, Trail, frame_keys, seed, setting};
use crate::support::{Server, Starting};
use crate::volume::skip;

/// Rounds in the ordinary suite. `WATCHKEEPER_CRASH_ROUNDS` sets another number (`cargo xtask crash`).
const ROUNDS: u64 = 3;

/// Rounds after which a new data directory is begun, so that a check stays short.
const ROUNDS_OF_A_DIRECTORY: u64 = 12;

/// Longest load before a kill.
const LOAD_MS_MAX: u64 = 1_000;

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_sigkill() {
    let rounds = setting("WATCHKEEPER_CRASH_ROUNDS", ROUNDS);
    let mut rng = Rng::new(seed());
    let began = Instant::now();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (mut trail, mut acknowledged) = (Trail::new("crash"), 0);
    for round in 0..rounds {
        let fail = |why: String| -> ! { panic!("seed {}, round {round}: {why}", seed()) };
        let server = Server::start_with(&data, CONFIG);
        trail.under_load(&server, || {
            std::thread::sleep(Duration::from_millis(20 + rng.below(LOAD_MS_MAX)));
            server.signal_kill();
        });
        drop(server);
        trail.check(&data).unwrap_or_else(|why| fail(why));
        if (round + 1) % ROUNDS_OF_A_DIRECTORY == 0 || round + 1 == rounds {
            Server::start_with(&data, CONFIG).stop();
            trail.check_settled(&data).unwrap_or_else(|why| fail(why));
            acknowledged += trail.acknowledged();
            trail = Trail::new("crash");
            std::fs::remove_dir_all(&data).unwrap();
        }
    }
    assert!(acknowledged >= rounds, "the load hardly ran: {acknowledged}");
    println!(
        "{rounds} kills, seed {}, {acknowledged} spans acknowledged, all there once, {:.2} s a round",
        seed(),
        began.elapsed().as_secs_f64() / rounds as f64
    );
}

#[test]
fn a_second_writer_is_refused_and_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let trail = Trail::new("writers");
    let server = Server::start_with(&data, CONFIG);
    trail.under_load(&server, || {
        for _ in 0..3 {
            let Err(why) = Starting::spawn(&data, CONFIG, &[]).ready() else { panic!("two servers write one record") };
            assert!(why.contains("exit status: 2"), "{why}");
        }
    });
    let log = std::fs::read_to_string(&server.log).unwrap();
    assert!(log.contains("has a writer already"), "{log}");
    assert_eq!(trail.send(&server, 3).status, 200, "the first one goes on");
    server.stop();
    trail.check_settled(&data).unwrap();
}

#[test]
fn a_clock_that_jumps_back_reorders_nothing() {
    const NAME: &str = "crash::a_clock_that_jumps_back_reorders_nothing";
    let Some(library) = faketime() else { return skip(NAME, "libfaketime is not there (package faketime)") };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let trail = Trail::new("clock");
    let mut order = Vec::new();
    // Forward by a year, back by two, and home again; the monotonic clock stays what it is.
    for offset in ["+365d", "-365d", "+0d"] {
        let preload = format!("LD_PRELOAD={}", library.display());
        let under = ["env", &preload, "FAKETIME_DONT_FAKE_MONOTONIC=1", &format!("FAKETIME={offset}")].map(str::to_owned);
        let server = Starting::spawn(&data, CONFIG, &under).ready().unwrap();
        for _ in 0..4 {
            assert_eq!(trail.send(&server, 2).status, 200);
        }
        server.stop();
        let found = trail.check(&data).unwrap();
        assert_eq!(found.sealed, found.records);
        let mut seen = Vec::new();
        journal::check(&data, Some(&*frame_keys(&data).unwrap()), |record| {
            let event = record.event().unwrap();
            seen.push((event.id, event.observed));
        })
        .unwrap();
        assert!(seen.starts_with(&order), "what was recorded before stays where it was");
        assert!(seen.len() > order.len());
        order = seen;
    }
    assert!(order.windows(2).any(|pair| pair[1].1 < pair[0].1), "the clock did not jump");
    trail.check_settled(&data).unwrap();
}

/// The library for programs with threads; its directory is named after the machine.
pub(crate) fn faketime() -> Option<PathBuf> {
    let libraries = std::fs::read_dir("/usr/lib").ok()?;
    libraries.filter_map(Result::ok).map(|dir| dir.path().join("faketime/libfaketimeMT.so.1")).find(|library| library.exists())
}
