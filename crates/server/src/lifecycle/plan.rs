//! What an erasure takes: found in the archive before anything goes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use archive::Segment;
use event::{ContentId, EventId, Kind, RecordedEvent, Role, SourcePath, SubjectId, Timestamp, Value, attr};
use ledger::{Cut, ErasedItem, ErasedTokens, LeafError, Redaction, StoredBody, StoredContent, StoredRecord};
use sanitize::Clean;

use super::cold::Cold;
use super::erase::{EraseError, Stay};
use super::job::{Begun, Plan};
use super::protect::{Keeper, Protection};
use super::target::{Sessions, Target};
use crate::pipeline::Pipeline;

/// What somebody else wrote in the program's own records: what was asked for in a read.
const ASKED_FOR: &str = "/attributes/db.collection.name";

/// The same of what people decided about detections: whom a suppression is about, notes, searches. That it was decided, and by whom, stays.
const DECIDED: [&str; 2] = ["/attributes/watchkeeper.admin.before", "/attributes/watchkeeper.admin.after"];
/// The events that have it, by the beginning of their names.
const DECISIONS: [&str; 3] = ["detection.", "suppression.", "search."];

/// Fields in which a name can stand: whoever is said to act, free text, and attributes but for those below.
const NAMING: [&str; 8] = [
    "/identity/user",
    "/identity/client",
    "/identity/credential",
    "/identity/delegation",
    "/session",
    "/turn",
    "/attributes/",
    "/unmapped/",
];

/// What a detection rests on, in the words of those who wrote it.
const EVIDENCE: &str = "/attributes/watchkeeper.detection.evidence";

/// Attributes whose values are words of a vocabulary, or numbers: a name that is such a word does not name anybody there.
const VOCABULARY: [&str; 16] = [
    "/attributes/gen_ai.operation.",
    "/attributes/gen_ai.provider.",
    "/attributes/gen_ai.request.",
    "/attributes/gen_ai.response.",
    "/attributes/gen_ai.usage.",
    "/attributes/gen_ai.tool.",
    "/attributes/gen_ai.guardrail.",
    "/attributes/db.operation.",
    "/attributes/db.system.",
    "/attributes/event.",
    "/attributes/mcp.method.",
    "/attributes/mcp.server.",
    "/attributes/error.type",
    "/attributes/http.",
    "/attributes/package.",
    "/attributes/watchkeeper.",
];

/// Finds what goes.
pub(crate) struct Planner<'n> {
    /// The archive of evidence, and that of copies.
    pub(crate) archives: Vec<&'n Arc<Cold>>,
    pub(crate) protection: &'n Protection<'n>,
    pub(crate) pipeline: &'n Pipeline,
    pub(crate) target: &'n Target,
    /// The line before which records are the person's.
    pub(crate) line: u64,
    /// Whose keys went at it, or at one before it.
    pub(crate) begun: Option<&'n Begun>,
    /// Whether the line is drawn already: who has the person's name since then is somebody new.
    pub(crate) is_drawn: bool,
}

/// What is known of the record when everything has its owner.
struct Owners {
    sessions: Sessions,
    /// Texts of the person, or with their tokens, on which records of others rest.
    others: HashSet<ContentId>,
    /// Texts that stay, and why.
    kept: HashMap<ContentId, Keeper>,
    /// Texts of records before the line.
    before: HashSet<ContentId>,
    /// Records that name the person, or are theirs. Copies of a record count once.
    found: HashSet<u64>,
}

/// Takes out of records and texts what goes.
pub(crate) struct Knife<'a> {
    target: &'a Target,
    tokens: ErasedTokens,
    none: ErasedTokens,
    content: &'a dyn Fn(&ContentId, SubjectId) -> Cut,
}

impl Planner<'_> {
    /// The plan, and of how many records of others a name takes a field. The archive is read three times: who takes part in which
    /// session must be known before a record has an owner, and all owners before a text has one.
    pub(crate) fn plan(&self) -> Result<(Plan, u64), EraseError> {
        let segments = self.segments();
        let mut sessions = Sessions::default();
        for (cold, segment) in segments.iter().filter(|(_, segment)| segment.first < self.line) {
            let records = cold.segment(&segment.span())?;
            let before = records.iter().filter(|stored| stored.seq.0 < self.line);
            before.filter_map(event_of).for_each(|event| sessions.learn(&event));
        }
        let mut plan = Plan { line: self.line, sessions: sessions.of(self.target), ..Plan::default() };
        plan.subjects = self.subjects(&plan.sessions)?;
        let mut owners = self.owners(&segments, sessions, &mut plan)?;
        let (named, stays) = self.find(&segments, &mut owners, &mut plan)?;
        plan.found = owners.found.len() as u64;
        plan.kept = owners.kept.into_keys().collect();
        plan.stays = stays;
        Ok((plan, named))
    }

    /// Adds to a plan what was recorded since it was made: detections on what goes, and copies of it. Whether there was any.
    pub(crate) fn add_late(&self, plan: &mut Plan) -> Result<bool, EraseError> {
        let nothing = |_: &ContentId, _: SubjectId| Cut::Nothing;
        let target = self.target.clone().with_sessions(&plan.sessions);
        let knife = Knife::new(&target, &nothing);
        let mut added = false;
        for (cold, segment) in self.segments() {
            let place = (segment.first, segment.end, segment.class.as_str().to_owned());
            if plan.touched.range(segment.first..segment.end).next().is_some() {
                added |= plan.segments.insert(place.clone());
            }
            if segment.end <= self.line {
                continue;
            }
            for mut stored in cold.segment(&segment.span())? {
                let seq = stored.seq.0;
                let Some(event) = event_of(&stored).filter(|event| rests_on(event, &plan.ids)) else { continue };
                if plan.owned.contains(&seq) && plan.segments.contains(&place)
                    || self.protection.keeper(&segment, &event, &Sessions::default()).is_some()
                {
                    continue;
                }
                let gone = knife.cut(&mut stored, true).map_err(|source| EraseError::Leaf { seq, source })?;
                plan.take(seq, event.observed, gone);
                plan.owned.insert(seq);
                plan.segments.insert(place.clone());
                added = true;
            }
        }
        Ok(added)
    }

    fn segments(&self) -> Vec<(&Arc<Cold>, Segment)> {
        let of = |cold: &&'_ Arc<Cold>| cold.segments();
        self.archives.iter().flat_map(|cold| of(cold).into_iter().map(move |segment| (*cold, segment))).collect()
    }

    /// Whose texts go.
    fn subjects(&self, sessions: &BTreeSet<String>) -> Result<HashSet<SubjectId>, EraseError> {
        let Some(begun) = self.begun else { return Ok(self.pipeline.subjects_of(Some(self.target.user()), sessions)?) };
        let asked = match self.is_drawn {
            true => self.pipeline.subjects_of(None, &sessions.difference(&begun.sessions).cloned().collect())?,
            false => self.pipeline.subjects_of(Some(self.target.user()), sessions)?,
        };
        Ok(begun.subjects.union(&asked).copied().collect())
    }

    /// Gives every record and every text its owner.
    fn owners(&self, segments: &[(&Arc<Cold>, Segment)], sessions: Sessions, plan: &mut Plan) -> Result<Owners, EraseError> {
        let mut owners =
            Owners { sessions, others: HashSet::new(), kept: HashMap::new(), before: HashSet::new(), found: HashSet::new() };
        let tokens: ErasedTokens = self.target.tokens().collect();
        for (cold, segment) in segments {
            let (records, contents) = cold.whole(&segment.span())?;
            let of_person: HashSet<ContentId> = contents
                .iter()
                .filter(|content| {
                    content.subject().is_some_and(|subject| plan.subjects.contains(&subject))
                        || content.text().is_some_and(|text| tokens.any_in(&text))
                })
                .map(StoredContent::id)
                .collect();
            for (seq, event) in records.iter().filter_map(|stored| Some((stored.seq.0, event_of(stored)?))) {
                let texts = event.pieces.iter().map(|piece| piece.content.id);
                let of_person = texts.clone().filter(|id| of_person.contains(id));
                if seq >= self.line {
                    owners.others.extend(of_person);
                    continue;
                }
                owners.before.extend(texts);
                let owned = !is_audit(&event) && self.target.owns(&event, &owners.sessions);
                owners.found.extend(owned.then_some(seq));
                match self.protection.keeper(segment, &event, &owners.sessions) {
                    Some(keeper) => owners.kept.extend(of_person.map(|id| (id, keeper.clone()))),
                    None if owned => {
                        plan.owned.insert(seq);
                        plan.ids.insert(event.id);
                        let own = event.pieces.iter().filter(|piece| piece.meta.role != Role::System);
                        plan.texts.extend(own.map(|piece| piece.content.id));
                    }
                    None => owners.others.extend(of_person),
                }
            }
        }
        // A text that somebody else's record rests on stays with that; so does one of a record that stays.
        plan.texts.retain(|id| !owners.others.contains(id) && !owners.kept.contains_key(id));
        Ok(owners)
    }

    /// Has everything go in memory, and notes what went.
    fn find(
        &self,
        segments: &[(&Arc<Cold>, Segment)],
        owners: &mut Owners,
        plan: &mut Plan,
    ) -> Result<(u64, Vec<Stay>), EraseError> {
        let target = self.target.clone().with_sessions(&plan.sessions);
        let (texts, subjects) = (plan.texts.clone(), plan.subjects.clone());
        let Owners { sessions, others, kept, before, found } = owners;
        let content = |id: &ContentId, subject: SubjectId| match kept.contains_key(id) {
            true => Cut::Nothing,
            false => Cut::all_if(texts.contains(id) || subjects.contains(&subject) && !others.contains(id)),
        };
        let knife = Knife::new(&target, &content);
        let mut named: HashSet<u64> = HashSet::new();
        let mut stays: BTreeMap<Keeper, (HashSet<u64>, u64)> = BTreeMap::new();
        let mut went: HashMap<ContentId, Vec<ErasedItem>> = HashMap::new();
        let mut brought: HashSet<ContentId> = HashSet::new();
        for (cold, segment) in segments {
            let (records, contents) = cold.whole(&segment.span())?;
            let mut changes = false;
            let mut first_to_refer: HashMap<ContentId, (u64, Timestamp)> = HashMap::new();
            for mut stored in records {
                let seq = stored.seq.0;
                let event = event_of(&stored);
                if let Some(event) = &event {
                    for piece in &event.pieces {
                        first_to_refer.entry(piece.content.id).or_insert((seq, event.observed));
                    }
                }
                let rests = event.as_ref().is_some_and(|event| rests_on(event, &plan.ids));
                let owned = rests || plan.owned.contains(&seq);
                if seq >= self.line && !owned {
                    continue;
                }
                let keeper = event.as_ref().and_then(|event| self.protection.keeper(segment, event, sessions));
                if let (Some(keeper), Some(event)) = (&keeper, &event)
                    && !is_audit(event)
                    && (rests || self.target.owns(event, sessions))
                {
                    stays.entry(keeper.clone()).or_default().0.insert(seq);
                    continue;
                }
                let gone = knife.cut(&mut stored, owned).map_err(|source| EraseError::Leaf { seq, source })?;
                if gone.is_empty() {
                    continue;
                }
                found.insert(seq);
                if let Some(keeper) = keeper {
                    stays.entry(keeper).or_default().0.insert(seq);
                    continue;
                }
                changes = true;
                if owned {
                    plan.owned.insert(seq);
                }
                let is_program = event.as_ref().is_some_and(is_audit);
                if !owned && !is_program && gone.iter().any(|path| path.starts_with("field/")) {
                    named.insert(seq);
                }
                brought.extend(gone.iter().filter_map(|path| content_of(path)));
                plan.take(seq, observed_of(&stored), gone);
            }
            for mut content in contents {
                let id = content.id();
                // Texts behind the line are somebody new's.
                if segment.end > self.line && !before.contains(&id) {
                    continue;
                }
                let mut gone = Vec::new();
                content.redact(&knife.redaction(), &mut gone);
                if gone.is_empty() {
                    continue;
                }
                changes = true;
                if matches!(content, StoredContent::Gone { .. }) {
                    plan.texts.insert(id);
                }
                // The store's days hold copies of the texts to which their records refer.
                let (leaf, observed) = first_to_refer.get(&id).copied().unwrap_or((segment.first, Timestamp::default()));
                plan.begin_at(observed);
                went.entry(id).or_insert_with(|| gone.into_iter().map(|path| ErasedItem { leaf, path }).collect());
            }
            if changes {
                plan.segments.insert((segment.first, segment.end, segment.class.as_str().to_owned()));
            }
        }
        // Texts whose bringing record was dropped: they are told beside a record that refers to them.
        plan.items.extend(went.into_iter().filter(|(id, _)| !brought.contains(id)).flat_map(|(_, items)| items));
        for keeper in kept.values() {
            stays.entry(keeper.clone()).or_default().1 += 1;
        }
        Ok((
            named.len() as u64,
            stays.into_iter().map(|(keeper, (records, texts))| Stay { keeper, records: records.len() as u64, texts }).collect(),
        ))
    }
}

impl Plan {
    /// The texts of which something goes.
    pub(crate) fn listed(&self) -> HashSet<ContentId> {
        self.items.iter().filter_map(|item| content_of(&item.path)).chain(self.texts.iter().copied()).collect()
    }

    /// Notes what goes of a record.
    fn take(&mut self, seq: u64, observed: Timestamp, gone: Vec<String>) {
        self.begin_at(observed);
        self.touched.insert(seq);
        self.items.extend(gone.into_iter().map(|path| ErasedItem { leaf: seq, path }));
    }

    fn begin_at(&mut self, observed: Timestamp) {
        self.earliest = Some(self.earliest.map_or(observed, |earliest| earliest.min(observed)));
    }
}

impl<'a> Knife<'a> {
    pub(crate) fn new(target: &'a Target, content: &'a dyn Fn(&ContentId, SubjectId) -> Cut) -> Self {
        Self { target, tokens: target.tokens().collect(), none: ErasedTokens::none(), content }
    }

    /// Takes out of a record what goes, and says what that was.
    pub(crate) fn cut(&self, stored: &mut StoredRecord, owned: bool) -> Result<Vec<String>, LeafError> {
        if let Some(event) = event_of(stored).filter(is_audit) {
            let decides = event.kind == Kind::Admin && DECISIONS.iter().any(|name| event.name.as_str().starts_with(name));
            let asked = |path: &str, value: &[u8]| (path == ASKED_FOR || decides && DECIDED.contains(&path)) && self.names(value);
            return stored.redact(&Redaction { event: false, field: &asked, content: self.content, tokens: &self.none });
        }
        let named = |path: &str, value: &[u8]| can_name(path) && self.names(value);
        stored.redact(&Redaction { event: owned, field: &named, content: self.content, tokens: &self.tokens })
    }

    /// Takes out of a copy of a text what goes. Whether anything did.
    pub(crate) fn cut_content(&self, content: &mut StoredContent) -> bool {
        let mut gone = Vec::new();
        content.redact(&self.redaction(), &mut gone);
        !gone.is_empty()
    }

    fn redaction(&self) -> Redaction<'_> {
        Redaction { event: false, field: &|_, _| false, content: self.content, tokens: &self.tokens }
    }

    fn names(&self, value: &[u8]) -> bool {
        std::str::from_utf8(value).is_ok_and(|value| self.target.is_named_in(value))
    }
}

/// Whether the program tells of itself: who read, erased, held, administered. Nobody's erasure takes that away (GDPR article
/// 17(3)(b) and (e)).
pub(crate) fn is_audit(event: &RecordedEvent<Clean>) -> bool {
    event.source.path == SourcePath::Internal && matches!(event.kind, Kind::Admin | Kind::DataAccess | Kind::Gap)
}

/// Whether it is a detection on one of these events.
fn rests_on(event: &RecordedEvent<Clean>, ids: &HashSet<EventId>) -> bool {
    if event.kind != Kind::Detection || event.source.path != SourcePath::Internal {
        return false;
    }
    let Some(Value::List(events)) = event.attributes.get(&attr::DETECTION_EVENTS) else { return false };
    events.iter().any(|id| matches!(id, Value::Text(id) if id.as_str().parse().is_ok_and(|id| ids.contains(&id))))
}

/// Whether a person's name can stand in a field of this path.
fn can_name(path: &str) -> bool {
    let begins_with = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    path.starts_with(EVIDENCE) || begins_with(&NAMING) && !begins_with(&VOCABULARY)
}

/// The content of which an item tells.
pub(super) fn content_of(path: &str) -> Option<ContentId> {
    path.strip_prefix("content/")?.split('/').next()?.parse().ok()
}

fn event_of(stored: &StoredRecord) -> Option<RecordedEvent<Clean>> {
    stored.for_reading().and_then(|record| record.event().ok())
}

pub(super) fn observed_of(stored: &StoredRecord) -> Timestamp {
    match &stored.body {
        StoredBody::Redacted(record) => record.observed,
        StoredBody::Whole(record) => record.event().map(|event| event.observed).unwrap_or_default(),
    }
}
