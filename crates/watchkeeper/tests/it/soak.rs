//! Hours of mixed load on the gateway of the real binary: streams and whole answers, masked and redacted ones, everything that
//! `gateway_faults` knows. Memory stays where it is, no connection is left over, and the record has every call once as what it was.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::faults::{Rng, setting};
use crate::gateway_faults::{
    Client, MEETINGS, Meeting, Met, Stage, UPSTREAM_IDLE_SECONDS, check_recorded, hides_secret, models, recorded,
};
use crate::support::{SOON, Server, chat_spans, export, verify};

/// Seconds of load in the ordinary suite. `WATCHKEEPER_SOAK_MINUTES` sets a longer time (`cargo xtask soak`).
const SECONDS: u64 = 3;

/// Clients at once.
const CLIENTS: u64 = 24;

/// How often each client begins a call: all of them together 60 times a second, of which two cores have time for other work.
const PACE: Duration = Duration::from_millis(400);

/// Of ten calls, how many are as calls should be; the others meet a fault.
const GOOD_OF_TEN: u64 = 7;

/// The first meetings are calls as they should be.
const GOOD_MEETINGS: usize = 3;

/// Spans that are recorded before memory is watched, so that what is kept in memory up to a bound (the store's pages, texts and
/// conversations that were seen) is there: as many as fill these.
const FILLING_SPANS: u64 = 100_000;

/// Spans in one export of them, which is a conversation: more conversations than the detector keeps (16,384).
const FILLING_BATCH: u64 = 6;

/// How long the consumers may take with them on a busy machine.
const FILLING_TIME: Duration = Duration::from_secs(1_800);

/// How often memory and connections are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How often a line is printed.
const LINE: Duration = Duration::from_secs(60);

/// Files that may be open at the end and were not at the begin: a day that begins is two more of the store, and each has a log.
const FILES_SPARE: usize = 6;

/// Shorter runs are not judged by their memory: quarters of them have too few looks.
const JUDGED_MIN: Duration = Duration::from_secs(8 * 60);

/// What the last quarter's median may have of the second quarter's. A leak of 1 KiB a call shows after half an hour; what the
/// allocator keeps for later comes and goes by less.
const GROWTH_MAX: f64 = 1.10;

/// What was seen at one moment.
#[derive(Debug, Clone, Copy)]
struct Look {
    resident_kib: u64,
    sockets: usize,
    files: usize,
}

#[test]
fn memory_and_connections_stay_where_they_are() {
    let minutes = setting("WATCHKEEPER_SOAK_MINUTES", 0);
    let time = if minutes == 0 { Duration::from_secs(SECONDS) } else { Duration::from_secs(minutes * 60) };
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::new();
    let server = Server::start_with(&dir.path().join("data"), &stage.config(UPSTREAM_IDLE_SECONDS));
    // Before the first call: a connection that is on its way to being closed would count as one that may stay.
    let base = look(&server).sockets;
    if minutes > 0 {
        fill(&server);
    }
    let warm = stage.call(&server.gateway, &MEETINGS[0], "plain");
    warm.check_seen(false).unwrap();
    server.settle();
    drop(recorded(&server));
    let begin = look(&server);
    println!("begin: {begin:?}");

    let (all, looks) = under_load(&stage, &server, time);

    drop(stage);
    let until = Instant::now() + SOON;
    while look(&server).sockets > base {
        assert!(Instant::now() < until, "{:?}: {base} sockets were open before", look(&server));
        std::thread::sleep(Duration::from_millis(50));
    }
    server.settle();
    let end = look(&server);
    println!("end:   {end:?}");
    assert!(end.files <= begin.files + FILES_SPARE, "files are left open");
    let record = recorded(&server);
    let wrong: Vec<_> = all.iter().filter_map(|met| check_recorded(met, &record).err()).collect();
    assert!(
        wrong.is_empty(),
        "{} of {} calls are not recorded as what they were; the first: {}",
        wrong.len(),
        all.len(),
        wrong[0]
    );
    let acknowledged = all.iter().filter(|met| met.answered.is_some()).count();
    let (calls, outcomes) = (record.len(), record.values().map(|found| found.outcomes.len()).sum::<usize>());
    let data = server.data.clone();
    server.stop();
    let (code, said) = verify(&data);
    assert_eq!(code, 0, "{said}");
    println!(
        "{} calls in {:.1} min, {acknowledged} of them answered with a receipt; recorded: {calls} calls with {outcomes} outcomes, each \
         as what it was; verify: intact",
        all.len(),
        time.as_secs_f64() / 60.0
    );
    let resident: Vec<u64> = looks.iter().map(|look| look.resident_kib).collect();
    if time < JUDGED_MIN {
        println!("memory is not judged by so short a time; {} looks", looks.len());
        return;
    }
    let growth = growth(&resident).unwrap();
    println!(
        "resident: {} MiB at the begin, {} MiB at the end, at most {} MiB; the last quarter's median is {growth:.3} of the second's",
        begin.resident_kib / 1024,
        end.resident_kib / 1024,
        resident.iter().max().unwrap_or(&0) / 1024
    );
    assert!(growth <= GROWTH_MAX, "memory is not flat: {growth:.3} is more than {GROWTH_MAX}");
}

/// Every client calls at its pace until the time is over; what was met, and what was seen of the server meanwhile.
fn under_load(stage: &Stage, server: &Server, time: Duration) -> (Vec<Met>, Vec<Look>) {
    let (all, looks, over) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()), AtomicBool::new(false));
    let (made, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (all, made, failed) = (&all, &made, &failed);
                scope.spawn(move || {
                    let mut rng = Rng::new(client);
                    while began.elapsed() < time && !failed.load(Ordering::Relaxed) {
                        let due = Instant::now() + PACE;
                        let (meeting, model) = draw(&mut rng);
                        let mut met: Met = stage.call(&server.gateway, meeting, model);
                        if let Err(why) = met.check_seen(hides_secret(meeting, model)) {
                            failed.store(true, Ordering::Relaxed);
                            panic!("{model}: {why}");
                        }
                        // What was seen has been checked; that there was an answer is all that is kept of it.
                        if let Some(answered) = &mut met.answered {
                            (answered.head, answered.body) = (String::new(), Vec::new());
                        }
                        all.lock().unwrap().push(met);
                        made.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut next_line = Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                let seen = look(server);
                looks.lock().unwrap().push(seen);
                if began.elapsed() >= next_line {
                    next_line += LINE;
                    println!(
                        "{:5.1} min, {} calls: {seen:?}",
                        began.elapsed().as_secs_f64() / 60.0,
                        made.load(Ordering::Relaxed)
                    );
                }
                std::thread::sleep(LOOK);
            }
        });
        let ended: Vec<_> = clients.into_iter().map(|client| client.join().is_ok()).collect();
        over.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(|&well| well), "a client saw what it must not see");
    });
    (all.into_inner().unwrap(), looks.into_inner().unwrap())
}

/// What the next call meets, and the model that it asks for.
fn draw(rng: &mut Rng) -> (&'static Meeting, &'static str) {
    let meeting = if rng.below(10) < GOOD_OF_TEN {
        &MEETINGS[rng.index(GOOD_MEETINGS)]
    } else {
        &MEETINGS[GOOD_MEETINGS + rng.index(MEETINGS.len() - GOOD_MEETINGS)]
    };
    // One that never reads makes the stand-in write as fast as it can: now and then is enough.
    if meeting.client == Client::NeverReads && rng.below(10) > 0 {
        return (&MEETINGS[0], "plain");
    }
    let models = models(meeting);
    (meeting, models[rng.index(models.len())])
}

/// Records so much that caches are full.
fn fill(server: &Server) {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let first = next.fetch_add(FILLING_BATCH, Ordering::Relaxed);
                    if first >= FILLING_SPANS {
                        return;
                    }
                    assert!(export(&server.otlp_http, &chat_spans(&format!("fill-{first}"), first, FILLING_BATCH)));
                }
            });
        }
    });
    server.settle_within(FILLING_TIME);
    println!("{FILLING_SPANS} spans recorded and indexed in {:.0} s", began.elapsed().as_secs_f64());
}

fn look(server: &Server) -> Look {
    let (sockets, files) = server.open_files();
    Look { resident_kib: server.resident_kib(), sockets, files }
}

/// The median of the last quarter as a part of the second quarter's: the first is for what fills up, and a median passes over peaks.
fn growth(resident: &[u64]) -> Option<f64> {
    let quarter = resident.len() / 4;
    let median = |from: usize| {
        let mut part = resident.get(from..from + quarter)?.to_vec();
        part.sort_unstable();
        part.get(quarter / 2).copied()
    };
    #[allow(clippy::cast_precision_loss)]
    Some(median(resident.len() - quarter)? as f64 / median(quarter)? as f64)
}

#[test]
fn a_leak_is_told_from_what_comes_and_goes() {
    const LOOKS: u64 = 1_800;
    let of = |kib: &dyn Fn(u64) -> u64| growth(&(0..LOOKS).map(kib).collect::<Vec<_>>()).unwrap();
    let fills_up_and_peaks = of(&|at| 300_000 + at.min(300) * 500 + if at % 50 == 0 { 200_000 } else { 0 });
    assert!(fills_up_and_peaks <= GROWTH_MAX, "{fills_up_and_peaks}");
    let comes_and_goes = of(&|at| 400_000 + at % 660 * 60);
    assert!(comes_and_goes <= GROWTH_MAX, "{comes_and_goes}");
    // 1 KiB for each of 60 calls a second, at a look in two seconds.
    let leaks = of(&|at| 400_000 + at * 120);
    assert!(leaks > GROWTH_MAX, "{leaks}");
    assert!(growth(&[1, 2, 3]).is_none());
}
