//! What a million principals take: as many users, each with a prompt that rules and correlations count, and what detection holds then.
//!
//! `PRINCIPALS=100000 cargo bench -p watchkeeper-detect --bench principals` for another number.

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use std::time::Instant;

use event::{
    ContentId, ContentRef, Direction, Event, Key, Kind, Part, Piece, PieceMeta, Principal, Role, Source, SourcePath, SubjectId,
    Timestamp,
};
use journal::Seq;
use sanitize::Clean;
use watchkeeper_detect::{Engine, RuleError, RuleSet};

/// Resident memory of this process in MiB, as Linux tells it.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn main() -> Result<(), RuleError> {
    let principals: u64 = std::env::var("PRINCIPALS").ok().and_then(|number| number.parse().ok()).unwrap_or(1_000_000);
    let mut engine = Engine::new(RuleSet::builtin()?);
    println!("{:>10} {:>10} {:>12} {:>12} {:>10}", "principals", "events/s", "groups", "windows MiB", "RSS MiB");
    let mut began = Instant::now();
    let step = (principals / 10).max(1);
    for number in 0..principals {
        let mut event = Event::new(Kind::ModelCall, Clean::literal("chat"), Source::new(SourcePath::Api, Key::of("bench")));
        event.identity.user = Some(Principal::asserted(Clean::recorded(&format!("user-{number}"))));
        event.identity.application = Some(Principal::asserted(Clean::literal("desk")));
        event.session = Some(Clean::recorded(&format!("session-{number}")));
        // A million within the hour: no window is over before they are through.
        event.time = Timestamp::from_unix_ns(1_764_547_200_000_000_000 + number * 3_000_000);
        event.observed = event.time;
        let mut id = [7; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        let (Some(id), Some(subject)) = (ContentId::from_slice(&id), SubjectId::from_bytes([1; 16])) else { continue };
        let content = ContentRef { id, subject, bytes: 40 };
        event.pieces.push(Piece {
            meta: PieceMeta::new(Direction::Input, Role::User, Part::Text),
            content,
            findings: Vec::new(),
        });
        engine
            .observe(Seq(number), &event, &mut |_| Some(Clean::recorded(&format!("What did we sell in March, says {number}?"))));
        if (number + 1) % step == 0 {
            let (bytes, groups) = engine.correlation_state();
            let rate = step as f64 / began.elapsed().as_secs_f64();
            println!("{:>10} {rate:>10.0} {groups:>12} {:>12} {:>10}", number + 1, bytes / 1024 / 1024, resident_mib());
            began = Instant::now();
        }
    }
    println!("{:?}", engine.skipped());
    Ok(())
}
