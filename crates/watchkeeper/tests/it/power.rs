//! The power is cut under load, on ext4 and on XFS: what was acknowledged is there, once, and nothing that was signed is missing.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::faults::{CONFIG, Rng, Trail, seed, setting};
use crate::support::Starting;
use crate::volume::{Volume, with_mounts};

/// Cuts for each file system in the ordinary suite. `WATCHKEEPER_POWER_CYCLES` sets another number (`cargo xtask power`).
const CYCLES: u64 = 4;

/// Cuts after which a new data directory is begun, so that a check stays short.
const CYCLES_OF_A_DIRECTORY: u64 = 12;

/// Room for a few directories of one history each.
const VOLUME_MIB: u64 = 512;

/// Longest load before a cut.
const LOAD_MS_MAX: u64 = 400;

/// One of so many cuts comes while the server is starting.
const STARTING_ONE_IN: u64 = 5;

#[test]
fn nothing_acknowledged_is_lost_on_ext4() {
    with_mounts("power::nothing_acknowledged_is_lost_on_ext4", |dir| survives(dir, "ext4"));
}

#[test]
fn nothing_acknowledged_is_lost_on_xfs() {
    with_mounts("power::nothing_acknowledged_is_lost_on_xfs", |dir| survives(dir, "xfs"));
}

/// The suite can fail: with a library that turns every fsync into nothing it must find that acknowledged spans are gone.
#[test]
fn without_fsync_the_loss_is_found() {
    with_mounts("power::without_fsync_the_loss_is_found", |dir| {
        let under = ["eatmydata".to_owned()];
        for kind in ["ext4", "xfs"] {
            let dir = dir.join(format!("without-{kind}"));
            std::fs::create_dir(&dir).unwrap();
            let found = cycles(&dir, kind, CYCLES, &under);
            let why = found.expect_err("acknowledged spans cannot be there: nothing was made durable");
            let told = ["lost", "is gone", "verify"].iter().any(|what| why.contains(what));
            assert!(told, "{why}");
            println!("{kind} without fsync: {why}");
        }
    });
}

fn survives(dir: &Path, kind: &str) {
    let began = Instant::now();
    let count = setting("WATCHKEEPER_POWER_CYCLES", CYCLES);
    let said = cycles(dir, kind, count, &[]).unwrap_or_else(|why| panic!("seed {}: {why}", seed()));
    println!("power {kind}: {said}, {:.2} s a cycle", began.elapsed().as_secs_f64() / count as f64);
}

fn cycles(dir: &Path, kind: &str, count: u64, under: &[String]) -> Result<String, String> {
    let mut rng = Rng::new(seed() ^ kind.len() as u64);
    let volume = Volume::new(dir, kind, VOLUME_MIB);
    let data = volume.path().join("data");
    let config = dir.join("watchkeeper.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let log = dir.join("server.log");
    let (mut trail, mut acknowledged, mut checkpoints, mut starts) = (Trail::new("power"), 0, 0, 0);
    for cycle in 0..count {
        let in_cycle = |why: String| format!("{kind}, cycle {cycle}: {why}");
        let starting = Starting::spawn_with(&data, &config, &log, under);
        if rng.below(STARTING_ONE_IN) == 0 {
            starts += 1;
            std::thread::sleep(Duration::from_millis(rng.below(LOAD_MS_MAX)));
            volume.cut_power();
            starting.signal_kill();
            drop(starting);
        } else {
            let server = starting.ready().map_err(in_cycle)?;
            if !under.is_empty() {
                // What the start has made may stay: it is the acknowledged spans that are asked for.
                volume.sync();
            }
            trail.under_load(&server, || {
                std::thread::sleep(Duration::from_millis(20 + rng.below(LOAD_MS_MAX)));
                volume.cut_power();
                // Answers that come now were given before; what is acknowledged after the cut was not written, and is found below.
                std::thread::sleep(Duration::from_millis(rng.below(20)));
                server.signal_kill();
            });
        }
        volume.unmount();
        volume.mount();
        // A cut during the first start may leave less than a record.
        if trail.acknowledged() > 0 {
            trail.check(&data).map_err(in_cycle)?;
        }
        if (cycle + 1) % CYCLES_OF_A_DIRECTORY == 0 || cycle + 1 == count {
            // A clean start and stop finishes what is left: sealed, indexed, no left-overs.
            Starting::spawn_with(&data, &config, &log, under).ready().map_err(in_cycle)?.stop();
            trail.check_settled(&data).map_err(in_cycle)?;
            acknowledged += trail.acknowledged();
            checkpoints += trail.checkpoints();
            trail = Trail::new("power");
            std::fs::remove_dir_all(&data).unwrap();
            std::fs::write(&log, "").unwrap();
        }
    }
    if acknowledged < count || checkpoints < count / 2 {
        return Err(format!("the load hardly ran: {acknowledged} spans acknowledged, {checkpoints} checkpoints seen"));
    }
    Ok(format!(
        "{count} cuts ({starts} while it started), seed {}, {acknowledged} spans acknowledged and {checkpoints} checkpoints seen, all there once",
        seed()
    ))
}
