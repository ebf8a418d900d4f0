//! What every fault suite does: load whose acknowledgements are remembered, a witness who keeps every checkpoint that was
//! published, and the invariants that must hold afterwards, whatever was done to the server.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event::ContentId;
use journal::FrameKeys;
use prost::Message as _;

use crate::support::{Answer, Server, all_rows, chat_spans, http, watchkeeper};

/// How often the witness looks at the published checkpoint.
const WITNESS_LOOKS: Duration = Duration::from_millis(2);

/// Most spans in one export: small, so that there are many group commits.
const BATCH_MAX: u64 = 8;

/// The configuration of servers under fault: they seal often, so that a short life holds many seals.
pub(crate) const CONFIG: &str = "[seal]\ninterval_ms = 25\n";

/// A number from the environment: a count that long runs raise, or a seed.
pub(crate) fn setting(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// The seed of this run, to be said in every failure.
pub(crate) fn seed() -> u64 {
    setting("WATCHKEEPER_FAULT_SEED", 1)
}

/// Random numbers that a seed gives again (SplitMix64).
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A place in something of that length.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }
}

/// What the outside has seen of one data directory: answers and checkpoints.
pub(crate) struct Trail {
    session: String,
    next: AtomicU64,
    acknowledged: Mutex<BTreeSet<u64>>,
    checkpoints: Mutex<Vec<Vec<u8>>>,
    broken: Mutex<Option<String>>,
}

/// What a data directory holds of a trail.
pub(crate) struct Found {
    pub(crate) records: u64,
    pub(crate) sealed: u64,
    pub(crate) notes: Vec<String>,
    /// How often each span stands in the journal.
    numbers: BTreeMap<u64, u64>,
}

impl Trail {
    pub(crate) fn new(session: &str) -> Self {
        Self {
            session: session.to_owned(),
            next: AtomicU64::new(0),
            acknowledged: Mutex::default(),
            checkpoints: Mutex::default(),
            broken: Mutex::default(),
        }
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.lock().unwrap().len() as u64
    }

    pub(crate) fn checkpoints(&self) -> u64 {
        self.checkpoints.lock().unwrap().len() as u64
    }

    /// Sends one batch, and remembers it when it was acknowledged.
    pub(crate) fn send(&self, server: &Server, spans: u64) -> Answer {
        let first = self.next.fetch_add(spans, Ordering::Relaxed);
        let body = chat_spans(&self.session, first, spans).encode_to_vec();
        let answer = http(&server.otlp_http, "POST", "/v1/traces", &[("content-type", "application/x-protobuf")], &body);
        if answer.status == 200 {
            self.acknowledged.lock().unwrap().extend(first..first + spans);
        }
        answer
    }

    /// Looks at the published checkpoint, as a witness does.
    pub(crate) fn witness(&self, data: &Path) {
        // It may not be there yet, or not any more.
        let Ok(note) = std::fs::read(data.join("ledger/checkpoint")) else { return };
        let mut checkpoints = self.checkpoints.lock().unwrap();
        if checkpoints.last() != Some(&note) {
            checkpoints.push(note);
        }
    }

    /// Sends load from several threads, and looks at the checkpoints, while `fault` runs.
    pub(crate) fn under_load(&self, server: &Server, fault: impl FnOnce()) {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for sender in 0..3 {
                let done = &done;
                scope.spawn(move || {
                    let mut rng = Rng::new(sender);
                    let mut stopped = false;
                    while !done.load(Ordering::Relaxed) {
                        let answer = self.send(server, 1 + rng.below(BATCH_MAX));
                        match answer.status {
                            200 if stopped => self.break_off("the journal had stopped, and acknowledged again"),
                            200 => {}
                            status => {
                                stopped |= has_stopped(&answer);
                                // A server that is gone or refuses: no need to hurry.
                                std::thread::sleep(Duration::from_millis(if status == 0 { 1 } else { 5 }));
                            }
                        }
                    }
                });
            }
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    self.witness(&server.data);
                    std::thread::sleep(WITNESS_LOOKS);
                }
            });
            fault();
            done.store(true, Ordering::Relaxed);
        });
    }

    /// Remembers that something was seen that must not be.
    pub(crate) fn break_off(&self, what: &str) {
        self.broken.lock().unwrap().get_or_insert_with(|| what.to_owned());
    }

    /// Checks a directory that no server has open: it is intact by its files alone, goes on from every checkpoint that was
    /// seen, and holds each acknowledged span, once.
    pub(crate) fn check(&self, data: &Path) -> Result<Found, String> {
        if let Some(broken) = &*self.broken.lock().unwrap() {
            return Err(broken.clone());
        }
        let seen = || format!("{} spans were acknowledged and {} checkpoints seen", self.acknowledged(), self.checkpoints());
        let keys = frame_keys(data)?;
        let report = ledger::verify(data, &*keys).map_err(|error| format!("verify: {error}; {}", seen()))?;
        if let Some(fault) = report.fault {
            return Err(format!("verify accuses a directory that nobody has touched: {fault}"));
        }
        let numbers = self.numbers(data)?;
        let acknowledged = self.acknowledged.lock().unwrap().clone();
        let lost: Vec<_> = acknowledged.iter().filter(|number| !numbers.contains_key(number)).collect();
        let doubled: Vec<_> = numbers.iter().filter(|(_, times)| **times > 1).collect();
        if !lost.is_empty() || !doubled.is_empty() {
            let (lost_first, lost) = (lost.first(), lost.len());
            return Err(format!(
                "of {} acknowledged spans {lost} are lost (the first: {lost_first:?}); twice there: {doubled:?}",
                acknowledged.len()
            ));
        }
        let dir = server::DataDir::existing(data).map_err(|error| error.to_string())?;
        server::pin::check(&dir).map_err(|error| format!("pin: {error}"))?;
        for note in &*self.checkpoints.lock().unwrap() {
            if !server::pin::holds(&dir, note).map_err(|error| error.to_string())? {
                return Err(format!("a checkpoint that was seen is gone: {}", String::from_utf8_lossy(note)));
            }
        }
        Ok(Found { records: report.records, sealed: report.sealed, notes: report.notes, numbers })
    }

    /// Checks a directory after a server has been started on it and ended well: as [`Trail::check`], and everything is sealed,
    /// nothing is left over, and the store has each span that the journal has, once.
    pub(crate) fn check_settled(&self, data: &Path) -> Result<Found, String> {
        let found = self.check(data)?;
        if found.sealed != found.records || !found.notes.is_empty() {
            return Err(format!(
                "{} of {} records are sealed after a clean stop; {:?}",
                found.sealed, found.records, found.notes
            ));
        }
        let indexed = self.indexed(data);
        if indexed != found.numbers {
            return Err(format!("the store has {} spans and the journal {}", indexed.len(), found.numbers.len()));
        }
        self.check_by_binary(data)?;
        Ok(found)
    }

    /// As [`Trail::check_settled`], for a server that had time to archive a file: the journal alone is not the record then, and what
    /// was acknowledged is looked for in the store, which is filled from the record.
    pub(crate) fn check_settled_or_archived(&self, data: &Path) -> Result<(), String> {
        let journal = journal::check(data, Some(&*frame_keys(data)?), |_| {}).map_err(|fault| fault.to_string())?;
        if journal.first == journal::Seq(0) {
            return self.check_settled(data).map(drop);
        }
        let indexed = self.indexed(data);
        let acknowledged = self.acknowledged.lock().unwrap().clone();
        if acknowledged.iter().any(|number| indexed.get(number) != Some(&1)) {
            return Err(format!("of {} acknowledged spans the store has {indexed:?}", acknowledged.len()));
        }
        self.check_by_binary(data)
    }

    /// How often each span stands in the store.
    fn indexed(&self, data: &Path) -> BTreeMap<u64, u64> {
        let sql = format!(
            "SELECT substr(prompt, 10, instr(prompt, ' of ') - 10) AS number FROM prompts WHERE session_id = '{}' ORDER BY event_id",
            self.session
        );
        let mut indexed: BTreeMap<u64, u64> = BTreeMap::new();
        for row in all_rows(&sql, data) {
            *indexed.entry(row["number"].as_str().unwrap().trim().parse().unwrap()).or_default() += 1;
        }
        indexed
    }

    /// The binary says the same as the library, with the newest checkpoint that was seen.
    fn check_by_binary(&self, data: &Path) -> Result<(), String> {
        let mut verify = watchkeeper();
        verify.arg("verify").arg(data);
        let kept = data.with_extension("checkpoint");
        if let Some(note) = self.checkpoints.lock().unwrap().last() {
            std::fs::write(&kept, note).unwrap();
            verify.arg("--checkpoint").arg(&kept);
        }
        let output = verify.output().unwrap();
        if !output.status.success() {
            return Err(format!(
                "verify: {}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        Ok(())
    }

    /// How often each span stands in the journal.
    fn numbers(&self, data: &Path) -> Result<BTreeMap<u64, u64>, String> {
        let of_session = format!(" of {}: ", self.session);
        let mut known: HashMap<ContentId, u64> = HashMap::new();
        let mut numbers: BTreeMap<u64, u64> = BTreeMap::new();
        let mut unreadable = None;
        let keys = frame_keys(data)?;
        journal::check(data, Some(&*keys), |record| {
            for content in &record.contents {
                let number = content.text.as_str().strip_prefix("question ").and_then(|rest| rest.split_once(&of_session));
                if let Some(number) = number.and_then(|(number, _)| number.parse().ok()) {
                    known.insert(content.id, number);
                }
            }
            match record.event() {
                Ok(event) => {
                    for number in event.pieces.iter().filter_map(|piece| known.get(&piece.content.id)) {
                        *numbers.entry(*number).or_default() += 1;
                    }
                }
                Err(error) => unreadable = Some(format!("record {}: {error}", record.seq.0)),
            }
        })
        .map_err(|fault| format!("journal: {fault}"))?;
        unreadable.map_or(Ok(numbers), Err)
    }
}

/// The keys of the journal's files, as `verify` opens them.
pub(crate) fn frame_keys(data: &Path) -> Result<Arc<dyn FrameKeys>, String> {
    let root = server::RootKeyPlace::new(Some(&crate::support::root_key())).map_err(|error| error.to_string())?;
    let keyring = server::read_keyring(&server::DataDir::unchecked(data), &root);
    keyring.map(server::frame_keys).map_err(|error| format!("keys of the journal: {error}"))
}

/// Whether an answer says that nothing will be recorded any more.
pub(crate) fn has_stopped(answer: &Answer) -> bool {
    String::from_utf8_lossy(&answer.body).contains("the journal has stopped")
}
