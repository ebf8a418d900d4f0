//! The engine on its way along the record: what live detection and a replay share, so that they see the same.

use detect::behaviour::Behaviour;
use detect::{Carried, Detection, Engine, Explanation, InForce, RuleSet, Uncompiled};
use event::{ContentId, ContentRef, Event, RuleId};
use journal::{Record, Seq};
use lru::LruCache;
use sanitize::Clean;

use super::left_out::LeftOut;
use crate::lifecycle::cold::Step;
use crate::lifecycle::spine::Spine;
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

/// Epochs from which what engines hand on (what was spent of budgets, windows of correlations) is learnt anew where it is lost, or is not
/// known because a replay begins in the middle: a minute of reading. So much alone depends on more than the journal.
const CARRIED_EPOCHS_MAX: u64 = 4;

/// An engine, and where it is.
pub(crate) struct Watching {
    /// Of which each epoch's engine is made.
    rules: Uncompiled,
    engine: Engine,
    epoch: Epoch,
    /// Contents by id, the most recently met; see [`DETECT_CONTENT_BYTES_MAX`].
    contents: LruCache<ContentId, Clean>,
    content_bytes: usize,
    unreadable: u64,
    left_out: LeftOut,
    /// The record that it gets ready for; `None` when it is there.
    silent_to: Option<Seq>,
    /// The record from which on is counted what is left out; `None` when it is.
    counts_from: Option<Seq>,
    /// The record behind the last one that was taken.
    next: Seq,
    /// From which records on the rules are in force, as far as they came later than the epoch that is read.
    in_force: Option<InForce>,
    /// What is known at the beginning of the epoch, until the engine is there.
    known: Option<AtBegin>,
    /// The rule that is to be explained at a record.
    explain: Option<(String, Seq)>,
    explained: Vec<Explanation>,
}

/// What is known where an epoch begins.
struct AtBegin {
    behaviour: Behaviour,
    /// None where it is lost, and where nothing came before.
    carried: Option<Carried>,
}

/// What was stored, each with the place in the journal up to which it knows the record.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) behaviour: Option<(Seq, Behaviour)>,
    pub(crate) carried: Option<(Seq, Carried)>,
}

/// What is known where an epoch ends: to be stored.
pub(crate) struct Ended<'a> {
    pub(crate) behaviour: &'a Behaviour,
    pub(crate) carried: &'a Carried,
}

impl Watching {
    pub(crate) fn new(rules: RuleSet) -> Self {
        let kept = rules.uncompiled();
        let mut engine = Engine::new(rules);
        engine.exchange_behaviour(None);
        Self {
            rules: kept,
            engine,
            epoch: Epoch::of(Seq(0)),
            contents: LruCache::unbounded(),
            content_bytes: 0,
            unreadable: 0,
            left_out: LeftOut::default(),
            silent_to: None,
            counts_from: None,
            next: Seq(0),
            in_force: None,
            known: None,
            explain: None,
            explained: Vec::new(),
        }
    }

    /// Gets ready for the record `at`: the state there is that of its epoch, so it is built the way it was built when the epoch began.
    /// `known` is what was stored; what was stored of an earlier epoch is gone on with from there, and what was not at all is built from
    /// some epochs before. `false` when it is time to stop.
    pub(crate) fn begin(
        &mut self,
        spine: &Spine,
        at: Seq,
        known: Option<Known>,
        stopping: &dyn Fn() -> bool,
    ) -> Result<bool, Failure> {
        let begin = Epoch::of(at).begin;
        let Known { behaviour, carried } = known.unwrap_or_default();
        // An earlier run that knew more than the cursor says that it saw knew it of another journal, or it was put here.
        let behaviour = behaviour.filter(|(place, _)| place.0 <= begin);
        // Detection rests on behaviour, so what is carried is built where behaviour is known.
        let learnt = behaviour.as_ref().map_or(0, |(place, _)| place.0.next_multiple_of(DETECT_EPOCH_RECORDS));
        let carried = carried.filter(|(place, _)| place.0 == Epoch::of(*place).begin && (learnt..=begin).contains(&place.0));
        let start = match &carried {
            Some((place, _)) => place.0,
            None => begin.saturating_sub(CARRIED_EPOCHS_MAX * DETECT_EPOCH_RECORDS).max(learnt).min(begin),
        };
        if start < begin {
            tracing::info!(from = start, to = begin, "reading the record anew to learn what detection counts");
        }
        self.epoch = Epoch::of(Seq(start));
        (self.silent_to, self.counts_from) = (Some(at), Some(at));
        let Some(behaviour) = self.learn_behaviour(spine, start, behaviour, stopping)? else { return Ok(false) };
        self.known = Some(AtBegin { behaviour, carried: carried.map(|(_, carried)| carried) });
        Ok(true)
    }

    /// Goes on counting what is left out where that was told last, which may be before the record that it got ready for.
    pub(crate) fn count_from(&mut self, told: Seq) {
        self.counts_from = Some(told);
        self.left_out.miss(self.epoch.begin.saturating_sub(told.0));
    }

    /// Notes from which records on the rules are in force: what a rule would have found before spends nothing and silences nothing.
    pub(crate) fn put_in_force(&mut self, in_force: InForce) {
        self.engine.put_in_force(&in_force);
        self.in_force = Some(in_force);
    }

    /// The record up to which is counted what is left out; none while what is read was told of before.
    pub(crate) fn counted_to(&self) -> Option<Seq> {
        self.counts_from.is_none().then_some(self.next)
    }

    /// The record with which reading begins: those before the first epoch warm it up.
    pub(crate) fn start(&self) -> Seq {
        self.epoch.warm_up
    }

    /// Whether it has not come to the record yet that it got ready for.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent_to.is_some()
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
    /// and what is known there.
    pub(crate) fn take(
        &mut self,
        spine: &Spine,
        record: &Record,
        ended: &mut dyn FnMut(Seq, &Ended<'_>) -> Result<(), Failure>,
    ) -> Result<Vec<Detection>, Failure> {
        if record.seq.0 >= self.epoch.end {
            self.epoch = Epoch::of(record.seq);
            self.take_left_out();
            let mut before = std::mem::replace(&mut self.engine, Engine::new(self.rules.compile()?));
            self.in_force.iter().for_each(|in_force| self.engine.put_in_force(in_force));
            // Where it is not there the epoch had no record, and what was known at its beginning is known now.
            if let Some(behaviour) = before.exchange_behaviour(None) {
                let carried = before.into_carried();
                ended(Seq(self.epoch.begin), &Ended { behaviour: &behaviour, carried: &carried })?;
                self.known = Some(AtBegin { behaviour, carried: Some(carried) });
            }
            self.warm_up(spine)?;
        }
        if record.seq.0 >= self.epoch.begin
            && let Some(AtBegin { behaviour, carried }) = self.known.take()
        {
            self.engine.exchange_behaviour(Some(behaviour));
            // What the records before went beyond was told when they came; what finds no room now was not.
            self.left_out.begin(self.engine.skipped());
            self.engine.carry(carried);
            self.left_out.take(self.engine.skipped());
        }
        if self.counts_from.is_some_and(|from| record.seq >= from) {
            self.counts_from = None;
            self.left_out.begin(self.engine.skipped());
        }
        if self.silent_to.is_some_and(|to| record.seq >= to) {
            (self.silent_to, self.in_force) = (None, None);
        }
        self.next = Seq(record.seq.0 + 1);
        let found = self.observe(record);
        Ok(if record.seq.0 >= self.epoch.begin { found } else { Vec::new() })
    }

    /// What the rules were not shown since the last time, because an event went beyond their bounds: told in a gap, when it is time or
    /// `at_once`. It is told when [`told_left_out`](Self::told_left_out) says so.
    pub(crate) fn left_out(&mut self, at_once: bool) -> Option<Event<String>> {
        self.take_left_out();
        self.left_out.gap(at_once)
    }

    /// What was left out is recorded.
    pub(crate) fn told_left_out(&mut self) {
        self.left_out.told();
    }

    fn take_left_out(&mut self) {
        if self.counts_from.is_none() {
            self.left_out.take(self.engine.skipped());
        }
    }

    /// Learns what was known of behaviour when an epoch began: from the state that was stored, and the records since. `None` when it is
    /// time to stop.
    fn learn_behaviour(
        &mut self,
        spine: &Spine,
        begin: u64,
        known: Option<(Seq, Behaviour)>,
        stopping: &dyn Fn() -> bool,
    ) -> Result<Option<Behaviour>, Failure> {
        let (mut at, mut behaviour) =
            known.unwrap_or_else(|| (Seq(begin.saturating_sub(BEHAVIOUR_RECORDS_MAX)), Behaviour::new()));
        if at.0 >= begin {
            return Ok(Some(behaviour));
        }
        tracing::info!(from = at.0, to = begin, "reading the record anew to learn behaviour");
        let mut reader = spine.reader_with_contents(at)?;
        while at.0 < begin {
            if stopping() {
                return Ok(None);
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
        Ok(Some(behaviour))
    }

    /// Shows a new engine what comes before an epoch.
    fn warm_up(&mut self, spine: &Spine) -> Result<(), Failure> {
        self.engine.exchange_behaviour(None);
        let mut reader = spine.reader_with_contents(self.epoch.warm_up)?;
        while let Some(step) = reader.next()? {
            match step {
                Step::Record(record) if record.seq.0 < self.epoch.begin => drop(self.observe(&record)),
                Step::Skip(to) if to.0 < self.epoch.begin => {}
                _ => break,
            }
        }
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
