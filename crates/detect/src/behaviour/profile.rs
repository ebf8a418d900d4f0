//! What is remembered of one entity.

use serde::{Deserialize, Serialize};

use super::entity::{COUNTED, Counted, EntityKind, USED, Used};
use super::facts::{Facts, Item};
use super::hours::{self, Hours};
use super::insight::{Insight, Name};
use super::known::Known;
use super::mix::Mix;
use super::peers::Peers;
use super::rate::{Period, Rate};
use super::silence::{Heard, Silence};
use super::streams::Streams;
use super::volume::Volume;
use super::words::Words;
use crate::stats::{Cusum, Distinct};

/// Active days before which an entity only learns: a working week.
pub(crate) const LEARN_DAYS: u16 = 5;
/// Active days before times of day are judged.
const HOURS_DAYS_MIN: u16 = 8;
/// Days known before times of day are judged: two weekends.
const HOURS_AGE_MIN: u32 = 14;
/// Active days for each other thing of what is fixed, below which a new one is usual.
const FIXED_DAYS: usize = 3;
/// Hours for which a statement is not made again of the same entity.
const QUIET_HOURS: u32 = 12;
/// The least deviation of a daily volume (in ln) that is believed.
const RAMP_DEVIATION_MIN: f32 = 0.25;
/// The least daily calls, and tokens, that a ramp is told of.
const RAMP_LEAST: [f32; 2] = [40.0, 200_000.0];
/// By how much a ramp must have grown, as a factor.
const RAMP_FACTOR_MIN: f32 = 1.8;

/// One entity.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Profile {
    pub(crate) kind: EntityKind,
    pub(crate) id: Box<str>,
    /// The application of an agent.
    pub(crate) application: Box<str>,
    pub(crate) scope: u64,
    /// The first hour, the current hour, and the day of activity.
    since: u32,
    hour: u32,
    day: u32,
    active_days: u16,
    rates: [Rate; COUNTED.len()],
    /// Today's calls and tokens.
    today: [f32; 2],
    ramps: [Cusum; 2],
    known: [Known; USED.len()],
    hours: Option<Box<Hours>>,
    words: Option<Box<Words>>,
    mix: Option<Box<Mix>>,
    streams: Option<Box<Streams>>,
    pub(crate) volume: Option<Box<Volume>>,
    pub(crate) silence: Silence,
    documents: Option<Box<Distinct>>,
    /// The client and the place that were seen last.
    client: u32,
    place: u32,
    spoken: Vec<(Name, u32)>,
}

/// Where an entity is seen: the hour since 1970, and its peers.
pub(crate) struct Moment<'a> {
    pub(crate) hour: u32,
    pub(crate) peers: &'a mut Peers,
}

impl Moment<'_> {
    fn day(&self) -> u32 {
        self.hour / 24
    }
}

impl Profile {
    pub(crate) fn new(kind: EntityKind, id: &str, application: &str, scope: u64, hour: u32) -> Self {
        Self {
            kind,
            id: id.into(),
            application: application.into(),
            scope,
            since: hour,
            hour,
            day: 0,
            active_days: 0,
            rates: Default::default(),
            today: [0.0; 2],
            ramps: Default::default(),
            known: Default::default(),
            hours: matches!(kind, EntityKind::User | EntityKind::Agent | EntityKind::Application)
                .then(|| Box::new(Hours::new(hour))),
            words: None,
            mix: None,
            streams: None,
            volume: (kind == EntityKind::Application).then(Box::default),
            silence: Silence::default(),
            documents: None,
            client: 0,
            place: 0,
            spoken: Vec::new(),
        }
    }

    /// Active days, by which what is established is told from what came today.
    pub(crate) fn active_days(&self) -> u16 {
        self.active_days
    }

    /// An hour is over. What it means when the entity was not heard of in it, and how many weeks that rests on.
    pub(crate) fn pass(&mut self, hour: u32) -> Option<(Heard, u32)> {
        let habit = self.hours.as_deref_mut()?;
        habit.pass(hour);
        Some((self.silence.pass(self.kind, habit, hour, self.hour >= hour), habit.weeks()))
    }

    /// Looks at an event of the entity, and learns from it. `words` are those of the prompt that are of a subject.
    pub(crate) fn observe(&mut self, facts: &Facts, words: &[u32], mut moment: Moment<'_>, out: &mut Vec<Insight>) {
        let from = out.len();
        // A key is used by applications with hours of their own.
        moment.hour = moment.hour.max(self.hour);
        self.turn_to(&mut moment, out);
        let learns = self.active_days <= LEARN_DAYS;
        for (index, used) in USED.into_iter().enumerate() {
            if let Some(name) = used.insight(self.kind) {
                items(facts, used, self.kind).iter().for_each(|item| self.use_item(index, name, item, learns, &mut moment, out));
            }
        }
        if self.kind == EntityKind::User {
            self.look_at_hour(&mut moment, out);
            self.look_at_words(words, &mut moment, out);
        }
        if self.kind == EntityKind::Agent {
            for tool in &facts.tools {
                if let Some(unlike) = self.mix.get_or_insert_default().add(tool) {
                    out.push(Insight::new(Name::AgentToolMix, unlike.observed, unlike.expected, unlike.days, 0.0));
                }
            }
        }
        self.count(facts, learns, &mut moment, out);
        if let Some(streams) = Streams::of(self.kind, facts) {
            self.streams.get_or_insert_default().observe(&streams, moment.hour, out);
        }
        if let Some(volume) = &mut self.volume {
            volume.add(moment.hour, f64::from(u8::from(facts.asks)), facts.tokens, out);
        }
        self.silence = Silence::default();
        self.quieten(from, moment.hour, out);
    }

    /// Lets hours and days end.
    fn turn_to(&mut self, moment: &mut Moment<'_>, out: &mut Vec<Insight>) {
        let day = moment.day();
        if moment.hour != self.hour {
            for (index, rate) in self.rates.iter_mut().enumerate() {
                if COUNTED[index].insight(self.kind).is_some() {
                    rate.close(Period::Hour, &mut moment.peers.rates[index]);
                }
            }
            self.documents = None;
            self.hour = moment.hour;
        }
        if day != self.day {
            if self.day > 0 {
                self.end_day(moment, out);
            }
            self.day = day;
            self.active_days = self.active_days.saturating_add(1);
        }
    }

    fn end_day(&mut self, moment: &mut Moment<'_>, out: &mut Vec<Insight>) {
        if let Some(name) = self.kind.ramp() {
            for (which, ramp) in self.ramps.iter_mut().enumerate() {
                let value = (1.0 + self.today[which]).ln();
                let (level, days) = ramp.level();
                let above = if days >= LEARN_DAYS { value - level } else { 0.0 };
                let all = moment.peers.trend(which, self.day, above).max(0.0);
                if let Some(told) = ramp.add(value - all, RAMP_DEVIATION_MIN) {
                    let (now, before) = (told.observed.exp(), told.expected.exp());
                    if now >= RAMP_LEAST[which] && now >= before * RAMP_FACTOR_MIN {
                        let what = if which == 0 { "calls" } else { "tokens" };
                        let insight =
                            Insight::new(name, f64::from(now), f64::from(before), u32::from(told.support), f64::from(all.exp()));
                        out.push(insight.of(what));
                    }
                }
            }
        }
        self.today = [0.0; 2];
        if let Some(words) = &mut self.words {
            words.close(&mut moment.peers.words);
        }
        if let Some(mix) = &mut self.mix {
            mix.close();
        }
    }

    fn use_item(&mut self, index: usize, name: Name, item: &Item, learns: bool, moment: &mut Moment<'_>, out: &mut Vec<Insight>) {
        let noted = self.known[index].note(item, moment.day(), learns);
        let of_peers = moment.peers.note_item(index, item.hash, noted.is_first);
        // Told on the first day; on the days after it is not news, nor is it known.
        if noted.is_new && noted.days == 1 {
            let others = f64::from(of_peers.saturating_sub(1));
            let is_usual = USED[index].is_fixed() && noted.others * FIXED_DAYS > usize::from(self.active_days);
            // What has nothing to be compared with is not unusual: the first place of somebody who had none.
            if noted.known > 0 && !is_usual {
                let known = u32::try_from(noted.known).unwrap_or(u32::MAX);
                out.push(
                    Insight::new(name, f64::from(noted.days), f64::from(known), u32::from(self.active_days), others)
                        .of(&item.name),
                );
            }
        }
    }

    fn look_at_hour(&mut self, moment: &mut Moment<'_>, out: &mut Vec<Insight>) {
        let Some(habit) = &mut self.hours else { return };
        let may_speak = self.active_days > HOURS_DAYS_MIN && moment.hour.saturating_sub(self.since) >= HOURS_AGE_MIN * 24;
        habit.pass(moment.hour);
        let (share, support) = habit.share(moment.hour);
        let is_unusual = support >= hours::SUPPORT_MIN && share < hours::UNUSUAL;
        if may_speak && is_unusual && !habit.is_accepted(moment.hour / 24) {
            let is_usual_otherwise = habit.share_otherwise(moment.hour) >= hours::UNUSUAL;
            let name = if is_usual_otherwise { Name::UserOffDay } else { Name::UserOffHours };
            out.push(Insight::new(name, share, hours::UNUSUAL, support, moment.peers.busy(moment.hour)));
            return;
        }
        habit.learn(moment.hour);
        moment.peers.note_hour(moment.hour);
    }

    fn look_at_words(&mut self, words: &[u32], moment: &mut Moment<'_>, out: &mut Vec<Insight>) {
        if words.is_empty() {
            return;
        }
        if let Some(strange) = self.words.get_or_insert_default().add(words, &mut moment.peers.words) {
            out.push(Insight::new(Name::UserSubjectShift, strange.observed, strange.expected, strange.days, strange.peers));
        }
    }

    fn count(&mut self, facts: &Facts, learns: bool, moment: &mut Moment<'_>, out: &mut Vec<Insight>) {
        if matches!(self.kind, EntityKind::Agent | EntityKind::Application)
            && let Some(habit) = &mut self.hours
        {
            habit.learn(moment.hour);
        }
        let calls = f64::from(u8::from(facts.asks || (facts.runs_tool && self.kind == EntityKind::Agent)));
        self.today[0] += calls as f32;
        self.today[1] += facts.tokens as f32;
        for (index, counted) in COUNTED.into_iter().enumerate() {
            let Some(name) = counted.insight(self.kind) else { continue };
            let add = match counted {
                Counted::Calls => calls,
                Counted::Tokens => facts.tokens,
                Counted::Errors => f64::from(u8::from(facts.failed)),
                Counted::Refusals => f64::from(u8::from(facts.refused)),
                Counted::Documents => self.new_documents(&facts.documents),
                Counted::Switches => f64::from(u8::from(self.switches(facts))),
            };
            if add == 0.0 {
                continue;
            }
            self.rates[index].add(add);
            if let Some(beyond) =
                self.rates[index].check(Period::Hour, counted.least(), learns, &moment.peers.rates[index], moment.hour / 24)
            {
                out.push(Insight::new(name, beyond.observed, beyond.expected, beyond.support, beyond.peers));
            }
        }
    }

    /// By how many the different documents of the hour have grown.
    fn new_documents(&mut self, documents: &[u64]) -> f64 {
        if documents.is_empty() {
            return 0.0;
        }
        if self.documents.is_none() {
            self.documents = Distinct::new().map(Box::new);
        }
        let Some(distinct) = &mut self.documents else { return 0.0 };
        let before = distinct.count();
        documents.iter().for_each(|document| distinct.add(*document));
        (distinct.count() - before).max(0.0)
    }

    /// Whether the account has changed hands, as it looks: another place, or where places are not known another client.
    fn switches(&mut self, facts: &Facts) -> bool {
        let place = changed(&mut self.place, facts.place.as_ref().map(|place| place.hash));
        let client = changed(&mut self.client, facts.client);
        place || client
    }

    /// Leaves out what has been said of the entity lately.
    fn quieten(&mut self, from: usize, hour: u32, out: &mut Vec<Insight>) {
        self.spoken.retain(|(_, said)| hour.saturating_sub(*said) < QUIET_HOURS);
        let mut index = from;
        while index < out.len() {
            let name = out[index].name;
            if self.spoken.iter().any(|(said, _)| *said == name) {
                out.remove(index);
            } else {
                self.spoken.push((name, hour));
                index += 1;
            }
        }
    }
}

/// Whether something is now other than it was, where it was known.
fn changed(last: &mut u32, now: Option<u32>) -> bool {
    let Some(now) = now else { return false };
    let before = std::mem::replace(last, now);
    before != 0 && before != now
}

fn items(facts: &Facts, used: Used, kind: EntityKind) -> &[Item] {
    match used {
        Used::Tools => &facts.tools,
        Used::Models => facts.model_item.as_slice(),
        Used::Places => facts.place.as_slice(),
        Used::Subjects => facts.subject.as_slice(),
        Used::Applications => facts.application_item.as_slice(),
        Used::Routes => facts.route_item.as_slice(),
        Used::Versions => facts.version_item.as_slice(),
        // Agents of one application have different ones.
        Used::SystemPrompts if kind == EntityKind::Application && facts.agent.is_some() => &[],
        Used::SystemPrompts => facts.system_prompt.as_slice(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::facts::Entity;

    /// What is said of an entity whose system prompt of each day is the one of that number, and on which days.
    fn said(kind: EntityKind, has_agent: bool, prompts: &[u32]) -> Vec<(usize, Name)> {
        let mut profile = Profile::new(kind, "one", "app", 1, 24);
        let (mut peers, mut out, mut told) = (Peers::default(), Vec::new(), Vec::new());
        let entity = Entity { key: 1, id: "one".to_owned() };
        for (day, prompt) in prompts.iter().enumerate() {
            let facts = Facts {
                agent: has_agent.then(|| entity.clone()),
                system_prompt: Some(Item { hash: *prompt, name: String::new() }),
                ..Facts::default()
            };
            let hour = u32::try_from(day + 1).unwrap() * 24;
            profile.observe(&facts, &[], Moment { hour, peers: &mut peers }, &mut out);
            told.extend(out.drain(..).map(|insight| (day, insight.name)));
        }
        told
    }

    #[test]
    fn another_system_prompt_is_told_of_who_seldom_gets_one() {
        let changed = [[7; 10].as_slice(), &[8; 4]].concat();
        let name = Name::AgentNewSystemPrompt;
        assert_eq!(said(EntityKind::Agent, true, &changed), [(10, name)]);
        assert_eq!(said(EntityKind::Application, false, &changed), [(10, Name::ApplicationNewSystemPrompt)]);
        assert_eq!(said(EntityKind::Application, true, &changed), [], "agents have their own");
        // One that has the date in it, or the user.
        let ever_new: Vec<u32> = (0..40).collect();
        assert_eq!(said(EntityKind::Agent, true, &ever_new), []);
        // Back and forth is told once.
        let back = [[7; 10].as_slice(), &[8], &[7; 5], &[8; 3], &[7; 5]].concat();
        assert_eq!(said(EntityKind::Agent, true, &back), [(10, name)]);
    }
}
