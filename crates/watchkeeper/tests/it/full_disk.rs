//! The disk is full: callers are told to come back, what is recorded can be read, nothing that was acknowledged is lost, and when
//! there is room again everything goes on by itself, with a gap that tells of what was turned away.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use event::Kind;

use crate::faults::{CONFIG, Trail, frame_keys, setting};
use crate::support::{Answer, SOON, Server, http};
use crate::volume::{Volume, with_mounts};

/// Rounds of filling and freeing. `WATCHKEEPER_FULL_DISK_ROUNDS` sets another number (`cargo xtask full-disk`).
const ROUNDS: u64 = 1;

/// Room for two segments of the journal and a little more.
const VOLUME_MIB: u64 = 200;

#[test]
fn a_disk_that_fills_under_load_stops_nothing_for_good() {
    let name = "full_disk::a_disk_that_fills_under_load_stops_nothing_for_good";
    with_mounts(name, |dir| {
        for kind in ["ext4", "xfs"] {
            // XFS refuses to be smaller than 300 MiB.
            let volume = Volume::new(dir, kind, if kind == "xfs" { 320 } else { VOLUME_MIB });
            let data = volume.path().join("data");
            let trail = Trail::new("full");
            let server = start(dir, &data);
            for round in 0..setting("WATCHKEEPER_FULL_DISK_ROUNDS", ROUNDS) {
                assert_eq!(trail.send(&server, 5).status, 200);
                // Who reads is known from before: the key of somebody new cannot be kept on a full disk.
                assert_eq!(server.query("SELECT count(*) AS n FROM prompts").len(), 1);
                let ballast = fill(&volume);
                // The journal has taken its room beforehand; the ledger and the store have not.
                trail.under_load(&server, || std::thread::sleep(Duration::from_millis(700)));
                assert!(
                    !server.query("SELECT count(*) AS n FROM prompts").is_empty(),
                    "{kind}, round {round}: queries are answered"
                );
                std::fs::remove_file(ballast).unwrap();
                recorded_again(&trail, &server);
                server.settle();
            }
            server.stop();
            trail.check_settled(&data).unwrap_or_else(|why| panic!("{kind}: {why}"));
            println!("full disk, {kind}: {} spans acknowledged, all there once", trail.acknowledged());
        }
    });
}

#[test]
fn without_room_for_the_journal_callers_are_told_to_come_back() {
    let name = "full_disk::without_room_for_the_journal_callers_are_told_to_come_back";
    with_mounts(name, |dir| {
        let volume = Volume::new(dir, "ext4", VOLUME_MIB);
        let data = volume.path().join("data");
        let trail = Trail::new("full");
        let server = start(dir, &data);
        assert_eq!(trail.send(&server, 5).status, 200);
        server.settle();
        server.stop();
        // Room for the small files of a start, none for a segment.
        let ballast = fill(&volume);
        let length = std::fs::metadata(&ballast).unwrap().len();
        File::options().write(true).open(&ballast).unwrap().set_len(length - (8 << 20)).unwrap();
        let server = start(dir, &data);
        let mut refused = 0;
        for _ in 0..5 {
            let answer = trail.send(&server, 3);
            assert!(is_retryable(&answer), "{}", answer.head);
            refused += 3;
        }
        let key = server.key.clone();
        assert!(key.is_none(), "the first start has shown it");
        assert_eq!(http(&server.console, "GET", "/", &[], b"").status, 200, "the page is served");
        let status = crate::support::json(&["status", "--format", "json"], &data);
        assert!(status.as_array().is_some_and(|rows| !rows.is_empty()), "the status is told");
        std::fs::remove_file(&ballast).unwrap();
        recorded_again(&trail, &server);
        server.settle();
        server.stop();
        trail.check_settled_or_archived(&data).unwrap();
        let mut told = 0;
        journal::check(&data, Some(&*frame_keys(&data).unwrap()), |record| {
            let event = record.event().unwrap();
            if event.kind == Kind::Gap && event.name.as_str() == "recorder.turned_away" {
                let json: serde_json::Value = serde_json::from_slice(&record.event_json).unwrap();
                told += json["attributes"][event::attr::GAP_COUNT.as_str()].as_u64().unwrap_or_else(|| panic!("{json}"));
            }
        })
        .unwrap();
        assert!(told >= refused, "{refused} spans were turned away, a gap tells of {told}");
        println!("{refused} spans turned away and told, {} acknowledged, all there once", trail.acknowledged());
    });
}

fn start(dir: &Path, data: &Path) -> Server {
    let config = dir.join("watchkeeper.toml");
    std::fs::write(&config, CONFIG).unwrap();
    crate::support::Starting::spawn_with(data, &config, &dir.join("server.log"), &[]).ready().unwrap()
}

/// Sends until it is recorded, as an exporter does.
fn recorded_again(trail: &Trail, server: &Server) {
    let until = Instant::now() + SOON;
    while trail.send(server, 5).status != 200 {
        assert!(Instant::now() < until, "there is room, and nothing is recorded");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Takes all the space that is left.
pub(crate) fn fill(volume: &Volume) -> PathBuf {
    let path = volume.path().join("ballast");
    let mut file = File::create(&path).unwrap();
    for piece in [1 << 20, 1 << 12, 1] {
        let bytes = vec![7; piece];
        while file.write_all(&bytes).and_then(|()| file.sync_data()).is_ok() {}
    }
    path
}

/// Whether an answer tells the caller to come back.
pub(crate) fn is_retryable(answer: &Answer) -> bool {
    [429, 503].contains(&answer.status) && answer.head.to_ascii_lowercase().contains("retry-after:")
}
