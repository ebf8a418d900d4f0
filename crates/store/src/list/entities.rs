//! Entities: users, agents, applications, tools and models, with the risk to which their detections add up. A detection counts from when it was
//! recorded: one whose source says that it happened last week is no smaller for that.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use event::risk::weight;
use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::PAGE_ROWS_MAX;
use super::cursor::offset;
use super::detections::{ALERT_BUDGET, RISK_THRESHOLD, severity};
use super::insights::insights;
use super::merge::Clock;
use super::risk::{Added, Hit, Names, risk, techniques};
use super::shorten::Shorten;
use crate::attached::{Attached, Reader};
use crate::error::QueryError;
use crate::text::iso;

/// What an entity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// An end user.
    User,
    /// An agent.
    Agent,
    /// An application or service.
    Application,
    /// A tool.
    Tool,
    /// A model.
    Model,
}

impl EntityKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::User, Self::Agent, Self::Application, Self::Tool, Self::Model];

    /// The name that JSON and the table use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
            Self::Application => "application",
            Self::Tool => "tool",
            Self::Model => "model",
        }
    }
}

/// An entity.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EntityRow {
    /// What it is.
    pub kind: EntityKind,
    /// Which.
    pub name: String,
    /// The risk as it is now: severity (1, 5, 15, 40, 80) times confidence, halved each day, at most 60 of one rule and 70 of one technique.
    pub risk: f64,
    /// MITRE ATLAS techniques behind it.
    pub techniques: Vec<String>,
    /// How many rules are behind it.
    pub rules: u64,
    /// Detections.
    pub detections: u64,
    /// Events.
    pub events: u64,
    /// Its first event in the hot store, by the source's clock (RFC 3339); none where only detections name it.
    pub first_seen: Option<String>,
    /// Its newest event, or detection, by the source's clock.
    pub last_seen: Option<String>,
    /// When its newest detection was recorded, by Watchkeeper's clock.
    pub last_detection: Option<String>,
}

/// The risk of an entity at a time.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EntityRisk {
    /// When, by Watchkeeper's clock (RFC 3339).
    pub time: String,
    /// The risk.
    pub risk: f64,
}

/// What behaviour said about an entity, in the evidence of a detection.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EntityInsight {
    /// The detection that rests on it.
    pub detection_id: String,
    /// When that was recorded, by Watchkeeper's clock (RFC 3339).
    pub time: String,
    /// Its rule.
    pub rule: Option<String>,
    /// The statement: `user_volume_spike` ... (see `docs/reference/behaviour.md`).
    pub insight: String,
    /// What was observed.
    pub observed: Option<f64>,
    /// What was expected.
    pub expected: Option<f64>,
    /// On how much that rests.
    pub support: Option<f64>,
    /// The same of the entity's peers.
    pub peers: Option<f64>,
    /// What is new: the tool, the place, the subject.
    pub what: Option<String>,
}

/// An entity with what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EntityDetail {
    /// The row.
    #[serde(flatten)]
    pub row: EntityRow,
    /// Its risk over time, at each detection and now.
    pub risk_over_time: Vec<EntityRisk>,
    /// What behaviour said about it, newest first.
    pub insights: Vec<EntityInsight>,
    /// Whether there are older detections than were looked at: then counts are too low.
    pub truncated: bool,
}

/// Points of the line that a detail draws.
const LINE_MAX: usize = 200;

/// Entities that a summary can hold. Those that are met first are in it: of whom something was detected last.
const ENTITIES_MAX: usize = 200_000;

/// Detections that are added up, each once for every entity that it names; the newest ones. What is older has halved away.
const HITS_MAX: usize = 1_000_000;

/// How long detections are added up, and then how long entities are gone through.
pub(super) const TIME_MAX: Duration = Duration::from_secs(2);

/// A page of entities.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EntityPage {
    /// The entities.
    pub rows: Vec<EntityRow>,
    /// The `cursor` of the next page; none behind the last one.
    pub next: Option<String>,
    /// Whether there are more entities, or older detections, than were looked at: then some are missing, and counts are too low.
    pub truncated: bool,
}

/// Every entity of the hot store, with its risk at a time.
#[derive(Debug, Default)]
pub struct Entities {
    /// Those with the highest risk first, then those heard of last.
    rows: Vec<EntityRow>,
    is_whole: bool,
}

impl Entities {
    /// A page of those that are asked for.
    ///
    /// # Errors
    /// A cursor that is none.
    pub fn page(
        &self,
        kind: Option<EntityKind>,
        q: Option<&str>,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<EntityPage, QueryError> {
        let from = offset(cursor)?;
        let lower = q.map(str::to_lowercase);
        let is_asked = |row: &&EntityRow| {
            kind.is_none_or(|kind| row.kind == kind) && lower.as_ref().is_none_or(|q| row.name.to_lowercase().contains(q))
        };
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        let mut rows: Vec<EntityRow> =
            self.rows.iter().filter(is_asked).skip(from).take(limit + 1).cloned().map(Shorten::shortened).collect();
        let next = (rows.len() > limit).then(|| format!("o{}", from + limit));
        rows.truncate(limit);
        Ok(EntityPage { rows, next, truncated: !self.is_whole })
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, kind: EntityKind, name: &str) -> Option<&EntityRow> {
        self.rows.iter().find(|row| row.kind == kind && row.name == name)
    }
}

/// What is counted of an entity.
#[derive(Default)]
struct Tally {
    detections: u64,
    first_ns: Option<i64>,
    last_ns: Option<i64>,
    last_detection_ns: Option<i64>,
    events: u64,
}

/// What adds up for entities: bounded in memory, and read within a time.
struct Tallies {
    names: Names,
    /// Which of `tallies` is whose.
    places: HashMap<(EntityKind, u32), u32>,
    tallies: Vec<Tally>,
    /// Detections, and which of `tallies` they are of.
    hits: Vec<(u32, Hit)>,
    is_whole: bool,
}

impl Reader {
    /// Every entity, with its risk at `now_ns`.
    ///
    /// # Errors
    /// What the store says.
    pub fn entities(&self, now_ns: i64) -> Result<Entities, QueryError> {
        self.with(|attached| {
            let mut all = Tallies::new();
            all.add_detections(attached, None)?;
            all.add_events(attached)?;
            let Tallies { names, places, tallies, mut hits, is_whole } = all;
            hits.sort_by_key(|(_, hit)| hit.time_ns);
            let mut sums: HashMap<(u32, u32, u32), Added> = HashMap::new();
            for (place, hit) in &hits {
                let sum = sums.entry((*place, hit.rule, hit.technique));
                sum.and_modify(|sum| sum.add(hit)).or_insert_with(|| Added::first(hit));
            }
            drop(hits);
            let mut sums: Vec<(u32, Added)> = sums.into_iter().map(|((place, ..), sum)| (place, sum)).collect();
            sums.sort_unstable_by_key(|(place, _)| *place);
            let mut rows: Vec<EntityRow> = Vec::with_capacity(places.len());
            for ((kind, name), place) in places {
                let Some(tally) = tallies.get(place as usize) else { continue };
                let first = sums.partition_point(|(of, _)| *of < place);
                let of: Vec<Added> = sums[first..].iter().take_while(|(of, _)| *of == place).map(|(_, sum)| *sum).collect();
                rows.push(tally.row(kind, names.name(name).to_owned(), &of, &names, now_ns));
            }
            rows.sort_by(|a, b| {
                b.risk
                    .total_cmp(&a.risk)
                    .then_with(|| b.last_seen.cmp(&a.last_seen))
                    .then_with(|| (a.kind, &a.name).cmp(&(b.kind, &b.name)))
            });
            Ok(Entities { rows, is_whole })
        })
    }

    /// What is known of one entity: its risk over time, and what behaviour said about it.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] where neither an event nor a detection names it.
    pub fn entity(&self, kind: EntityKind, name: &str, now_ns: i64) -> Result<EntityDetail, QueryError> {
        self.with(|attached| {
            let mut all = Tallies::new();
            all.add_detections(attached, Some((kind, name)))?;
            let Tallies { names, mut tallies, hits, is_whole, .. } = all;
            let mut tally = tallies.pop().unwrap_or_default();
            for schema in &attached.schemas {
                let sql = format!("SELECT first_ns, last_ns, events FROM {schema}.entities WHERE kind = ?1 AND name = ?2");
                let mut statement = attached.connection.prepare_cached(&sql)?;
                let mut rows = statement.query(params![kind.as_str(), name])?;
                while let Some(row) = rows.next()? {
                    tally.add_events(row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs());
                }
            }
            if tally.events == 0 && tally.last_detection_ns.is_none() {
                return Err(QueryError::NotFound(name.chars().take(80).collect()));
            }
            let mut hits: Vec<Hit> = hits.into_iter().map(|(_, hit)| hit).collect();
            hits.sort_by_key(|hit| hit.time_ns);
            let (risk_over_time, sums) = line(&hits, &names, now_ns);
            let (insights, looked_at_all) = insights(attached, kind, name)?;
            let row = tally.row(kind, name.to_owned(), &sums, &names, now_ns);
            Ok(EntityDetail { row, risk_over_time, insights, truncated: !(is_whole && looked_at_all) })
        })
    }
}

/// The column of `detections` that names entities of a kind.
pub(super) fn column(kind: EntityKind) -> &'static str {
    match kind {
        EntityKind::User => "user_id",
        EntityKind::Agent => "agent",
        EntityKind::Application => "application",
        EntityKind::Tool => "tool",
        EntityKind::Model => "model",
    }
}

impl Tallies {
    fn new() -> Self {
        let (names, places) = (Names::default(), HashMap::new());
        Self { names, places, tallies: Vec::new(), hits: Vec::new(), is_whole: true }
    }

    /// What is counted of an entity; none where there is no room for it.
    fn of(&mut self, kind: EntityKind, name: &str) -> Option<u32> {
        let place = self.names.id(name).and_then(|id| {
            if let Some(place) = self.places.get(&(kind, id)) {
                return Some(*place);
            }
            let place = u32::try_from(self.tallies.len()).ok().filter(|_| self.tallies.len() < ENTITIES_MAX)?;
            self.places.insert((kind, id), place);
            self.tallies.push(Tally::default());
            Some(place)
        });
        self.is_whole &= place.is_some();
        place
    }

    /// Adds every detection for each of the entities that it names; or those of one entity, for it. The newest come first.
    fn add_detections(&mut self, attached: &Attached, of: Option<(EntityKind, &str)>) -> Result<(), QueryError> {
        let mut clock = Clock::start(TIME_MAX);
        // Whose they are is a column and no condition: there is no index, and where nothing passes nobody would look at the clock.
        let is_asked = of.map_or_else(|| "?1 IS NULL".to_owned(), |(kind, _)| format!("d.{} IS ?1", column(kind)));
        for schema in &attached.schemas {
            let sql = format!(
                "SELECT {is_asked}, d.observed_ns, d.severity, d.confidence, d.rule, d.technique, d.user_id, d.agent, d.application, \
                 d.tool, d.model, d.time_ns FROM {schema}.detections d ORDER BY d.seq DESC"
            );
            let mut statement = attached.connection.prepare_cached(&sql)?;
            let mut rows = statement.query([of.map(|(_, name)| name)])?;
            while let Some(row) = rows.next()? {
                if clock.is_over() || self.hits.len() >= HITS_MAX {
                    self.is_whole = false;
                    return Ok(());
                }
                if row.get(0)? {
                    self.add_detection(row, of)?;
                }
            }
        }
        Ok(())
    }

    fn add_detection(&mut self, row: &Row<'_>, of: Option<(EntityKind, &str)>) -> Result<(), QueryError> {
        let rule = row.get_ref(4)?.as_str().unwrap_or_default();
        if rule == ALERT_BUDGET {
            return Ok(());
        }
        let (observed_ns, time_ns) = (row.get(1)?, row.get(11)?);
        let adds = weight(severity(row.get(2)?)) * row.get::<_, Option<f64>>(3)?.unwrap_or(0.5);
        let technique = row.get_ref(5)?.as_str().unwrap_or_default();
        let (Some(rule_id), Some(technique)) = (self.names.id(rule), self.names.id(technique)) else {
            self.is_whole = false;
            return Ok(());
        };
        for (column, kind) in EntityKind::ALL.into_iter().enumerate() {
            let Some(name) = row.get_ref(6 + column)?.as_str().ok().filter(|name| !name.is_empty()) else { continue };
            if of.is_some_and(|(of, _)| of != kind) {
                continue;
            }
            let Some(place) = self.of(kind, name) else { continue };
            let Some(tally) = self.tallies.get_mut(place as usize) else { continue };
            tally.last_detection_ns = tally.last_detection_ns.max(Some(observed_ns));
            tally.last_ns = tally.last_ns.max(Some(time_ns));
            if rule != RISK_THRESHOLD {
                tally.detections += 1;
                self.hits.push((place, Hit { time_ns: observed_ns, adds, rule: rule_id, technique }));
            }
        }
        Ok(())
    }

    /// Adds what is counted of entities' events.
    fn add_events(&mut self, attached: &Attached) -> Result<(), QueryError> {
        let mut clock = Clock::start(TIME_MAX);
        for schema in &attached.schemas {
            let sql = format!("SELECT kind, name, first_ns, last_ns, events FROM {schema}.entities");
            let mut statement = attached.connection.prepare_cached(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if clock.is_over() {
                    self.is_whole = false;
                    return Ok(());
                }
                let code = row.get_ref(0)?.as_str().unwrap_or_default();
                let Some(kind) = EntityKind::ALL.into_iter().find(|kind| kind.as_str() == code) else { continue };
                let Some(place) = self.of(kind, row.get_ref(1)?.as_str().unwrap_or_default()) else { continue };
                let Some(tally) = self.tallies.get_mut(place as usize) else { continue };
                tally.add_events(row.get(2)?, row.get(3)?, row.get::<_, i64>(4)?.unsigned_abs());
            }
        }
        Ok(())
    }
}

impl Tally {
    fn add_events(&mut self, first_ns: i64, last_ns: i64, events: u64) {
        self.first_ns = Some(self.first_ns.map_or(first_ns, |known| known.min(first_ns)));
        self.last_ns = self.last_ns.max(Some(last_ns));
        self.events += events;
    }

    fn row(&self, kind: EntityKind, name: String, sums: &[Added], names: &Names, now_ns: i64) -> EntityRow {
        let rules: BTreeSet<u32> = sums.iter().map(|sum| sum.rule).collect();
        EntityRow {
            kind,
            name,
            risk: risk(sums, names, now_ns),
            techniques: techniques(sums, names),
            rules: rules.len() as u64,
            detections: self.detections,
            events: self.events,
            first_seen: self.first_ns.map(iso),
            last_seen: self.last_ns.map(iso),
            last_detection: self.last_detection_ns.map(iso),
        }
    }
}

/// The risk after each detection, and now; and what has added up by then. Of many detections some are left out of the line, never the
/// last. `hits` are sorted by time.
fn line(hits: &[Hit], names: &Names, now_ns: i64) -> (Vec<EntityRisk>, Vec<Added>) {
    let step = hits.len().div_ceil(LINE_MAX).max(1);
    let mut places: HashMap<(u32, u32), usize> = HashMap::new();
    let mut sums: Vec<Added> = Vec::new();
    let mut line = Vec::new();
    for (nth, hit) in hits.iter().enumerate() {
        match places.get(&(hit.rule, hit.technique)).and_then(|place| sums.get_mut(*place)) {
            Some(sum) => sum.add(hit),
            None => {
                places.insert((hit.rule, hit.technique), sums.len());
                sums.push(Added::first(hit));
            }
        }
        if (hits.len() - 1 - nth).is_multiple_of(step) {
            line.push(EntityRisk { time: iso(hit.time_ns), risk: risk(&sums, names, hit.time_ns) });
        }
    }
    if hits.last().is_some_and(|last| last.time_ns < now_ns) {
        line.push(EntityRisk { time: iso(now_ns), risk: risk(&sums, names, now_ns) });
    }
    (line, sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_NS: f64 = 8.64e13;

    fn hit(names: &mut Names, days: f64, adds: f64, rule: &str, technique: &str) -> Hit {
        let (rule, technique) = (names.id(rule).unwrap(), names.id(technique).unwrap());
        Hit { time_ns: (days * DAY_NS) as i64, adds, rule, technique }
    }

    #[test]
    fn risk_adds_up_as_the_view_says() {
        for (hits, now, expected) in [
            (vec![], 1.0, 0.0),
            (vec![(0.0, 40.0, "a", "AML.T0051")], 0.0, 40.0),
            (vec![(0.0, 40.0, "a", "AML.T0051")], 1.0, 20.0),
            // At most 60 of a rule, and 70 of a technique, of which its parts are.
            (vec![(0.0, 80.0, "a", "AML.T0051")], 0.0, 60.0),
            (vec![(0.0, 50.0, "a", "AML.T0051.000"), (0.0, 50.0, "b", "AML.T0051.001")], 0.0, 70.0),
            (vec![(0.0, 50.0, "a", "AML.T0051"), (0.0, 50.0, "b", "AML.T0057")], 0.0, 100.0),
            // The older one is half as much at the newer one.
            (vec![(0.0, 40.0, "a", "AML.T0051"), (1.0, 40.0, "b", "AML.T0057")], 1.0, 60.0),
            // A rule is capped when it adds, and what it added decays from there.
            (vec![(0.0, 72.0, "a", "AML.T0051"), (0.0, 72.0, "a", "AML.T0051"), (1.0, 2.5, "a", "AML.T0051")], 1.0, 32.5),
        ] {
            let mut names = Names::default();
            let hits: Vec<Hit> = hits.into_iter().map(|(days, adds, rule, of)| hit(&mut names, days, adds, rule, of)).collect();
            let now = (now * DAY_NS) as i64;
            let (line, sums) = line(&hits, &names, now);
            let found = risk(&sums, &names, now);
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
            assert_eq!(line.last().map_or(0.0, |last| last.risk), found);
        }
    }

    #[test]
    fn a_line_ends_now_and_is_bounded() {
        let mut names = Names::default();
        let hits: Vec<Hit> =
            (0..1_000).map(|n| hit(&mut names, f64::from(n) / 100.0, 5.0, &format!("{}", n % 40), "AML.T0051")).collect();
        let (line, _) = line(&hits, &names, 20 * DAY_NS as i64);
        assert!(line.len() <= LINE_MAX + 1 && line.windows(2).all(|pair| pair[0].time < pair[1].time));
        assert_eq!(line.last().unwrap().time, iso(20 * DAY_NS as i64));
        assert_eq!(line[line.len() - 2].time, iso(hits[999].time_ns));
    }

    #[test]
    fn entities_beyond_what_can_be_held_are_told_of() {
        let mut all = Tallies::new();
        for n in 0..ENTITIES_MAX {
            assert!(all.of(EntityKind::User, &n.to_string()).is_some() && all.is_whole);
        }
        assert!(all.of(EntityKind::User, "0").is_some() && all.is_whole);
        assert!(all.of(EntityKind::User, "one more").is_none() && !all.is_whole);
        let mut names = Names::default();
        assert!(names.id(&"x".repeat(60 * 1024 * 1024)).is_some() && names.id(&"y".repeat(5 * 1024 * 1024)).is_none());
    }
}
