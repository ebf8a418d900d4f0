//! The engine on its way along the record: what live detection and a replay share, so that they see the same.

use std::time::{Duration, Instant};

use detect::behaviour::Behaviour;
use detect::{Detection, Engine, Explanation, RuleSet, Skipped};
use event::{ContentId, ContentRef, Event, Key, Kind, RuleId, attr};
use journal::{Record, Seq};
use lru::LruCache;
use sanitize::Clean;

use crate::lifecycle::cold::Step;
use crate::lifecycle::spine::Spine;
use crate::node::internal;
use crate::room::Failure;

/// Records after which the detector begins anew, warmed up with the records before: what it knows at any record depends on the
/// journal alone and not on when the program was started, so that a replay gives the same detections (invariant I3).
///
/// Tests have short ones, to get from one to the next.
pub(super) const DETECT_EPOCH_RECORDS: u64 = if cfg!(test) { 1 << 7 } else { 1 << 17 };

/// Records before an epoch that the detector reads, without speaking, to know the sessions that are open.
const DETECT_WARM_UP_RECORDS: u64 = DETECT_EPOCH_RECORDS / 8;

/// Bytes of contents that the detector keeps at hand: more than a segment of the journal (64 MiB) holds, and a segment brings every
/// content that its events refer to.
const DETECT_CONTENT_BYTES_MAX: usize = 128 * 1024 * 1024;

/// What a content takes beside its text: its id, its place in the list and in the table, and what the allocator rounds up. Of short texts
/// that is more than they are.
const CONTENT_OVERHEAD: usize = 200;

/// Records from which behaviour is learnt anew where what was known of it is lost: some minutes of reading. Less than a large record has,
/// so that detection goes on within the hour; more than a small one has in a quarter.
const BEHAVIOUR_RECORDS_MAX: u64 = 1 << 25;

/// How often events that came too late, and measures that no call has, are told of at the most: where a clock was ahead once, or a source
/// is mistaken, every event is such.
const LATE_TOLD_EVERY: Duration = Duration::from_secs(10);

/// An engine, and where it is.
pub(crate) struct Watching {
    rules: RuleSet,
    engine: Engine,
    epoch: Epoch,
    /// Contents by id, the most recently met; see [`DETECT_CONTENT_BYTES_MAX`].
    contents: LruCache<ContentId, Clean>,
    content_bytes: usize,
    unreadable: u64,
    /// What has been told of what the engine left out.
    told: Skipped,
    /// When late events, and implausible measures, were told of.
    late_told: Option<Instant>,
    /// What is known of behaviour at the beginning of the epoch, until the engine is there.
    behaviour: Option<Behaviour>,
    /// The rule that is to be explained at a record.
    explain: Option<(String, Seq)>,
    explained: Vec<Explanation>,
}

impl Watching {
    pub(crate) fn new(rules: RuleSet) -> Result<Self, Failure> {
        let mut engine = Engine::new(rules.again()?);
        engine.exchange_behaviour(None);
        Ok(Self {
            rules,
            engine,
            epoch: Epoch::of(Seq(0)),
            contents: LruCache::unbounded(),
            content_bytes: 0,
            unreadable: 0,
            told: Skipped::default(),
            late_told: None,
            behaviour: None,
            explain: None,
            explained: Vec::new(),
        })
    }

    /// Gets ready for the record `at`: the state there is that of its epoch, so it is built the way it was built when the epoch began.
    /// `known` is what is known of behaviour, and from which record on it is to be learnt. `false` when it is time to stop.
    pub(crate) fn begin(
        &mut self,
        spine: &Spine,
        at: Seq,
        known: Option<(Seq, Behaviour)>,
        stopping: &dyn Fn() -> bool,
    ) -> Result<bool, Failure> {
        self.epoch = Epoch::of(at);
        self.learn_behaviour(spine, self.epoch.begin, known, stopping)
    }

    /// The record with which reading begins: those before its epoch warm it up.
    pub(crate) fn start(&self) -> Seq {
        self.epoch.warm_up
    }

    /// Has a rule explained at a record.
    pub(crate) fn explain_at(&mut self, rule: &str, seq: Seq) {
        self.explain = Some((rule.to_owned(), seq));
    }

    /// What was explained.
    pub(crate) fn explained(self) -> Vec<Explanation> {
        self.explained
    }

    /// The rules of the detections of the last record that a spent alert budget kept from being told.
    pub(crate) fn suppressed(&self) -> &[RuleId] {
        self.engine.suppressed()
    }

    /// Takes the next record and says what it shows: nothing of those that only warm up. Where an epoch begins, `ended` gets its beginning
    /// and what is known of behaviour there.
    pub(crate) fn take(
        &mut self,
        spine: &Spine,
        record: &Record,
        ended: &mut dyn FnMut(Seq, &Behaviour) -> Result<(), Failure>,
    ) -> Result<Vec<Detection>, Failure> {
        if record.seq.0 >= self.epoch.end {
            self.epoch = Epoch::of(record.seq);
            self.behaviour = self.engine.exchange_behaviour(None);
            if let Some(behaviour) = &self.behaviour {
                ended(Seq(self.epoch.begin), behaviour)?;
            }
            self.warm_up(spine)?;
        }
        if record.seq.0 >= self.epoch.begin
            && let Some(behaviour) = self.behaviour.take()
        {
            (self.told.late, self.told.implausible) = (behaviour.late(), behaviour.implausible());
            self.engine.exchange_behaviour(Some(behaviour));
        }
        let found = self.observe(record);
        Ok(if record.seq.0 >= self.epoch.begin { found } else { Vec::new() })
    }

    /// What the rules were not shown since the last time, because an event went beyond their bounds: told in a gap.
    pub(crate) fn left_out(&mut self) -> Option<Event<String>> {
        let mut now = self.engine.skipped();
        if now.late > self.told.late || now.implausible > self.told.implausible {
            if self.late_told.is_some_and(|at| at.elapsed() < LATE_TOLD_EVERY) {
                (now.late, now.implausible) = (self.told.late, self.told.implausible);
            } else {
                self.late_told = Some(Instant::now());
            }
        }
        let counts = [
            (Key::of("watchkeeper.gap.calls"), now.calls, self.told.calls),
            (Key::of("watchkeeper.gap.bytes"), now.bytes, self.told.bytes),
            (Key::of("watchkeeper.gap.values"), now.values, self.told.values),
            (Key::of("watchkeeper.gap.flow_bytes"), now.flow_bytes, self.told.flow_bytes),
            (Key::of("watchkeeper.gap.flow_forgotten"), now.flow_forgotten, self.told.flow_forgotten),
            (Key::of("watchkeeper.gap.turn_values"), now.turn_values, self.told.turn_values),
            (Key::of("watchkeeper.gap.evidence_bytes"), now.unsearched, self.told.unsearched),
            (Key::of("watchkeeper.gap.detections"), now.detections, self.told.detections),
            (Key::of("watchkeeper.gap.late"), now.late, self.told.late),
            (Key::of("watchkeeper.gap.implausible"), now.implausible, self.told.implausible),
            (Key::of("watchkeeper.gap.correlation_groups"), now.correlation_groups, self.told.correlation_groups),
            (Key::of("watchkeeper.gap.correlation_events"), now.correlation_events, self.told.correlation_events),
        ];
        self.told = now;
        let mut gap = internal(Kind::Gap, "detection.bounds");
        gap.set(attr::GAP_REASON, "detection_bounds");
        let mut any = false;
        for (key, now, told) in counts {
            if now > told {
                any = true;
                gap.set(key, i64::try_from(now - told).unwrap_or(i64::MAX));
            }
        }
        any.then_some(gap)
    }

    /// Learns what was known of behaviour when an epoch began: from the state that was stored, and the records since. `false` when it is
    /// time to stop.
    fn learn_behaviour(
        &mut self,
        spine: &Spine,
        begin: u64,
        known: Option<(Seq, Behaviour)>,
        stopping: &dyn Fn() -> bool,
    ) -> Result<bool, Failure> {
        let (mut at, mut behaviour) = match known {
            Some((at, behaviour)) if at.0 <= begin => (at, behaviour),
            // An earlier run knew more than the cursor says that it saw: it is of another journal, or was put here.
            _ => (Seq(begin.saturating_sub(BEHAVIOUR_RECORDS_MAX)), Behaviour::new()),
        };
        if at.0 >= begin {
            self.behaviour = Some(behaviour);
            return Ok(true);
        }
        tracing::info!(from = at.0, to = begin, "reading the record anew to learn behaviour");
        let mut reader = spine.reader_with_contents(at)?;
        while at.0 < begin {
            if stopping() {
                return Ok(false);
            }
            match reader.next()? {
                Some(Step::Record(record)) => {
                    self.take_contents(&record);
                    if record.seq >= at && record.seq.0 < begin {
                        at = Seq(record.seq.0 + 1);
                        if let Ok(event) = record.event() {
                            behaviour.observe(&event, &mut |reference| self.contents.get(&reference.id).cloned());
                        }
                    } else if record.seq.0 >= begin {
                        break;
                    }
                }
                Some(Step::Skip(to)) => at = at.max(to),
                None => break,
            }
        }
        self.behaviour = Some(behaviour);
        Ok(true)
    }

    /// Begins anew with what comes before an epoch.
    fn warm_up(&mut self, spine: &Spine) -> Result<(), Failure> {
        let before = std::mem::replace(&mut self.engine, Engine::new(self.rules.again()?));
        self.engine.exchange_behaviour(None);
        let mut reader = spine.reader_with_contents(self.epoch.warm_up)?;
        while let Some(step) = reader.next()? {
            match step {
                Step::Record(record) if record.seq.0 < self.epoch.begin => drop(self.observe(&record)),
                Step::Skip(to) if to.0 < self.epoch.begin => {}
                _ => break,
            }
        }
        self.engine.take_budgets(before);
        // What these records went beyond was told when they came.
        self.told = self.engine.skipped();
        Ok(())
    }

    /// What the record shows; nothing for records before the warm-up, which only bring contents.
    fn observe(&mut self, record: &Record) -> Vec<Detection> {
        self.take_contents(record);
        if record.seq < self.epoch.warm_up {
            return Vec::new();
        }
        match record.event() {
            Ok(event) => {
                let mut contents = |reference: &ContentRef| self.contents.get(&reference.id).cloned();
                if let Some((rule, at)) = &self.explain
                    && *at == record.seq
                    && let Some((found, told)) = self.engine.observe_explaining(record.seq, &event, &mut contents, rule)
                {
                    self.explained = told;
                    return found;
                }
                self.engine.observe(record.seq, &event, &mut contents)
            }
            Err(error) => {
                // The store makes a gap of it; the others go on.
                self.unreadable += 1;
                tracing::error!(seq = record.seq.0, %error, unreadable = self.unreadable, "rules do not see this record");
                Vec::new()
            }
        }
    }

    /// Keeps the contents that a record brings.
    fn take_contents(&mut self, record: &Record) {
        for content in &record.contents {
            self.content_bytes += content.text.len() + CONTENT_OVERHEAD;
            if let Some((_, old)) = self.contents.push(content.id, content.text.clone()) {
                self.content_bytes -= old.len() + CONTENT_OVERHEAD;
            }
        }
        while self.content_bytes > DETECT_CONTENT_BYTES_MAX {
            let Some((_, old)) = self.contents.pop_lru() else { break };
            self.content_bytes -= old.len() + CONTENT_OVERHEAD;
        }
    }
}

/// A stretch of the journal that the detector sees with one state.
struct Epoch {
    warm_up: Seq,
    begin: u64,
    end: u64,
}

impl Epoch {
    fn of(seq: Seq) -> Self {
        let begin = seq.0 - seq.0 % DETECT_EPOCH_RECORDS;
        Self { warm_up: Seq(begin.saturating_sub(DETECT_WARM_UP_RECORDS)), begin, end: begin + DETECT_EPOCH_RECORDS }
    }
}
