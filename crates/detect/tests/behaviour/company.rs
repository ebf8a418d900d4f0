//! A company that uses AI, made up from a seed: people with shifts, time zones, holidays, travels and on-call weeks, agents with
//! tools, a nightly batch job, models that are exchanged, and growth.

use event::{
    Client, ContentId, ContentRef, Direction, Event, EventId, Key, Kind, Part, Piece, PieceMeta, Principal, RecordedEvent, Role,
    Source, SourcePath, Status, SubjectId, Timestamp, Value, attr,
};
use sanitize::Clean;

use crate::serving::Served;

/// Monday, 2026-01-05, in days since 1970.
pub(crate) const FIRST_DAY: u32 = 20_458;
/// Seconds of a day.
pub(crate) const DAY_S: i64 = 86_400;
const COUNTRIES: [(&str, i64); 6] = [("DE", 1), ("FR", 1), ("US", -5), ("IN", 5), ("JP", 9), ("BR", -3)];
const ABROAD: [&str; 8] = ["ES", "IT", "GB", "CA", "SG", "AU", "PL", "MX"];
const TOOLS: usize = 9;

/// Numbers that a seed gives (SplitMix64).
#[derive(Clone)]
pub(crate) struct Chance(u64);

impl Chance {
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

    /// From 0 up to 1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.share() * bound as f64) as usize
    }

    pub(crate) fn is(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.share()).ln()).sqrt() * (std::f64::consts::TAU * self.share()).cos()
    }

    /// A count with that mean (Poisson; normal where it is large).
    pub(crate) fn count(&mut self, mean: f64) -> u32 {
        if mean > 50.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as u32;
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.share(), 0);
        while product > limit {
            product *= self.share();
            count += 1;
        }
        count
    }

    /// A place in a list of which the first are far more frequent.
    pub(crate) fn early(&mut self, bound: usize) -> usize {
        ((bound as f64).powf(self.share()) as usize - 1).min(bound - 1)
    }
}

/// A call, a tool's run or a look-up, before it is an event.
#[derive(Clone, Default)]
pub(crate) struct Happening {
    pub(crate) time_s: i64,
    pub(crate) application: String,
    pub(crate) user: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) tool: Option<String>,
    pub(crate) country: Option<&'static str>,
    pub(crate) client: Option<String>,
    pub(crate) prompt: Option<String>,
    pub(crate) tokens: (u32, u32),
    pub(crate) latency_ms: f64,
    pub(crate) failed: bool,
    pub(crate) refused: bool,
    pub(crate) scored: bool,
    pub(crate) source: Option<String>,
    pub(crate) documents: Vec<String>,
    /// Of a call of a model: how it was served.
    pub(crate) served: Option<Served>,
    /// The case that it is part of; `None` for what is ordinary.
    pub(crate) case: Option<usize>,
}

impl Happening {
    /// The event, its number giving its id and that of its content.
    pub(crate) fn event(&self, number: u64) -> (RecordedEvent<Clean>, Option<Clean>) {
        let text = |text: &str| Clean::recorded(text);
        let principal = |id: &String| Principal::asserted(text(id));
        let kind = match (&self.tool, &self.source) {
            (Some(_), _) => Kind::ToolCall,
            (None, Some(_)) => Kind::Retrieval,
            _ => Kind::ModelCall,
        };
        let mut event: RecordedEvent<Clean> =
            Event::new(kind, Clean::literal("op"), Source::new(SourcePath::Api, Key::of("simulated")));
        event.time = Timestamp::from_unix_ns(u64::try_from(self.time_s).unwrap() * 1_000_000_000 + number % 1_000_000);
        event.observed = event.time;
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        event.id = EventId::derived(event.time, &bytes);
        event.identity.application = Some(principal(&self.application));
        event.identity.user = self.user.as_ref().map(principal);
        event.identity.agent = self.agent.as_ref().map(principal);
        event.identity.credential = self.key.as_ref().map(principal);
        event.identity.client = self.client.as_ref().map(|client| Client { address: Some(text(client)), user_agent: None });
        event.duration_ns = Some((self.latency_ms * 1e6) as u64);
        event.status = if self.failed { Status::Error } else { Status::Ok };
        let mut set = |key: Key, value: &str| event.attributes.insert(key, Value::Text(text(value)));
        if let Some(model) = &self.model {
            set(attr::GEN_AI_REQUEST_MODEL, model);
        }
        if let Some(tool) = &self.tool {
            set(attr::GEN_AI_TOOL_NAME, tool);
        }
        if let Some(country) = self.country {
            set(attr::GEO_COUNTRY_ISO_CODE, country);
        }
        if let Some(source) = &self.source {
            set(attr::GEN_AI_DATA_SOURCE_ID, source);
        }
        let mut categories = Vec::new();
        if self.refused {
            categories.push("refusal");
        }
        if let Some(served) = &self.served {
            set(attr::GEN_AI_PROVIDER_NAME, "openai");
            set(attr::SERVER_ADDRESS, served.endpoint);
            set(attr::GEN_AI_RESPONSE_MODEL, &served.version);
            if let Some(ms) = served.first_chunk_ms {
                event.attributes.insert(attr::GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, Value::Double(ms / 1e3));
            }
            if let Some(cost) = served.cost {
                event.attributes.insert(Key::of("gen_ai.usage.cost"), Value::Double(cost));
            }
            let reasons = vec![Value::Text(text(served.finish))];
            event.attributes.insert(attr::GEN_AI_RESPONSE_FINISH_REASONS, Value::List(reasons));
            match served.is_structured {
                Some(true) => categories.push("structured_data"),
                Some(false) => categories.push("prose"),
                None => {}
            }
        }
        if !categories.is_empty() {
            let categories = categories.into_iter().map(|category| Value::Text(text(category))).collect();
            event.attributes.insert(attr::RESPONSE_CATEGORY, Value::List(categories));
        }
        if kind == Kind::ModelCall {
            event.set(attr::GEN_AI_USAGE_INPUT_TOKENS, i64::from(self.tokens.0));
            event.set(attr::GEN_AI_USAGE_OUTPUT_TOKENS, i64::from(self.tokens.1));
        }
        if self.scored {
            event.set(attr::LOGPROB_MEAN, Value::Double(-0.3));
        }
        let content = |salt: u8| {
            let mut id = bytes;
            id[31] = salt;
            ContentRef { id: ContentId::from_bytes(id).unwrap(), subject: SubjectId::from_bytes([1; 16]).unwrap(), bytes: 0 }
        };
        if self.prompt.is_some() {
            let meta = PieceMeta::new(Direction::Input, Role::User, Part::Text);
            event.pieces.push(Piece { meta, content: content(1), findings: Vec::new() });
        }
        if let Some(served) = &self.served {
            // Nameless, so that which tools are used is told by the tools' own events alone.
            let part = if served.calls_tools { Part::ToolCall } else { Part::Text };
            let meta = PieceMeta::new(Direction::Output, Role::Assistant, part);
            event.pieces.push(Piece { meta, content: content(250), findings: Vec::new() });
        }
        for (index, document) in self.documents.iter().enumerate() {
            let mut meta = PieceMeta::new(Direction::Output, Role::Document, Part::Document);
            meta.name = Some(text(document));
            event.pieces.push(Piece { meta, content: content(2 + (index % 200) as u8), findings: Vec::new() });
        }
        (event, self.prompt.as_deref().map(text))
    }
}

/// A person.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) application: usize,
    pub(crate) country: usize,
    /// Calls of an ordinary working day.
    pub(crate) rate: f64,
    /// When work begins, in hours local time, and for how long.
    begins: f64,
    length: f64,
    weekends: bool,
    on_call: bool,
    joins: u32,
    pub(crate) subjects: [usize; 3],
    tokens: f64,
    vacation: (u32, u32),
    travels: Vec<(u32, u32, &'static str)>,
}

/// An agent: always there, or in working hours.
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) application: usize,
    rate: f64,
    by_night: bool,
    pub(crate) tools: Vec<String>,
}

/// The company.
pub(crate) struct Company {
    chance: Chance,
    pub(crate) people: Vec<Person>,
    pub(crate) agents: Vec<Agent>,
    holidays: Vec<(usize, u32)>,
    pub(crate) days: u32,
    migration: u32,
}

pub(crate) const APPLICATIONS: [&str; 3] = ["assistant", "code", "support"];

impl Company {
    pub(crate) fn new(seed: u64, people: usize, days: u32) -> Self {
        let mut chance = Chance::new(seed);
        let people = (0..people).map(|index| Person::new(index, &mut chance, days)).collect();
        let agents = (0..8)
            .map(|index| Agent {
                id: format!("agent-{index}"),
                application: 2 - index % 2,
                rate: 12.0 * (1.0 + 3.0 * chance.share()),
                by_night: index % 2 == 0,
                tools: (0..TOOLS).map(|tool| format!("tool-{}", tool * 3 + index)).collect(),
            })
            .collect();
        let holidays = (0..days / 20).map(|_| (chance.below(COUNTRIES.len()), chance.below(days as usize) as u32)).collect();
        Self { chance, people, agents, holidays, days, migration: days * 2 / 3 }
    }

    /// What happens on a day, in no order.
    pub(crate) fn day(&mut self, day: u32) -> Vec<Happening> {
        let mut out = Vec::new();
        let growth = 1.003_f64.powi(day as i32);
        let people = std::mem::take(&mut self.people);
        for person in &people {
            self.work(person, day, growth, &mut out);
        }
        self.people = people;
        let agents = std::mem::take(&mut self.agents);
        for agent in &agents {
            self.serve(agent, day, growth, &mut out);
        }
        self.agents = agents;
        self.batch(day, growth, &mut out);
        out
    }

    fn is_free(&self, country: usize, day: u32) -> bool {
        day % 7 >= 5 || self.holidays.contains(&(country, day))
    }

    fn work(&mut self, person: &Person, day: u32, growth: f64, out: &mut Vec<Happening>) {
        let on_vacation = (person.vacation.0..person.vacation.1).contains(&day);
        if day < person.joins || on_vacation {
            return;
        }
        let is_free = self.is_free(person.country, day) && !(person.weekends && day % 7 == 5);
        let (_, zone) = COUNTRIES[person.country];
        let midnight = i64::from(FIRST_DAY + day) * DAY_S - zone * 3_600;
        // Some free days have a look at something, and some nights a page when on call.
        let calls =
            if is_free { if self.chance.is(0.02) { 3.0 } else { 0.0 } } else { person.rate * growth * self.chance.share() * 2.0 };
        let begins = person.begins + self.chance.normal() * 0.5;
        for _ in 0..self.chance.count(calls) {
            let hour = begins + person.length * self.chance.share();
            let call = self.call(person, day, midnight + (hour * 3_600.0) as i64);
            out.push(call);
        }
        // A rush: an hour with three times the ordinary.
        if !is_free && self.chance.is(0.03) {
            let at = begins + person.length * self.chance.share();
            for _ in 0..self.chance.count(person.rate / person.length * 3.0) {
                let hour = at + self.chance.share();
                let call = self.call(person, day, midnight + (hour * 3_600.0) as i64);
                out.push(call);
            }
        }
        if person.on_call && (day / 7).is_multiple_of(4) && self.chance.is(0.3) {
            let at = 24.0 * self.chance.share();
            for _ in 0..1 + self.chance.count(4.0) {
                let hour = at + self.chance.share();
                let call = self.call(person, day, midnight + (hour * 3_600.0) as i64);
                out.push(call);
            }
        }
    }

    /// An ordinary call of a person.
    pub(crate) fn call(&mut self, person: &Person, day: u32, time_s: i64) -> Happening {
        let abroad = person.travels.iter().find(|(from, to, _)| (*from..*to).contains(&day));
        let country = abroad.map_or(COUNTRIES[person.country].0, |travel| travel.2);
        let phone = self.chance.is(0.05);
        let subject = person.subjects[self.chance.early(3)];
        let mut call = Happening {
            time_s,
            application: APPLICATIONS[person.application].to_owned(),
            user: Some(person.id.clone()),
            model: Some(self.model(person.application, day)),
            country: Some(country),
            client: Some(format!("{}-{}", person.id, if phone { "phone" } else { "laptop" })),
            tokens: (
                (person.tokens * (self.chance.normal() * 0.8).exp()) as u32,
                (300.0 * (self.chance.normal() * 0.7).exp()) as u32,
            ),
            latency_ms: 900.0 * (self.chance.normal() * 0.4).exp(),
            failed: self.chance.is(0.01),
            refused: self.chance.is(0.01),
            ..Happening::default()
        };
        let words = 6 + self.chance.early(60);
        call.prompt = Some(self.words(subject, words));
        if self.chance.is(0.15) {
            call.model = None;
            call.prompt = None;
            call.tokens = (0, 0);
            call.refused = false;
            call.source = Some(format!("base-{}", subject % 7));
            call.documents = (0..2 + self.chance.below(4)).map(|_| format!("d{}-{}", subject, self.chance.early(400))).collect();
        }
        call
    }

    fn model(&mut self, application: usize, day: u32) -> String {
        let moved = day >= self.migration + 3 || (day >= self.migration && self.chance.is(0.4));
        let version = if moved { 2 } else { 1 };
        if application == 1 && self.chance.is(0.2) { format!("large-{version}") } else { format!("model-{version}") }
    }

    /// A text on a subject: common words, and words of the subject, some of them much more frequent.
    pub(crate) fn words(&mut self, subject: usize, count: usize) -> String {
        let words: Vec<String> = (0..count)
            .map(|_| {
                let common = self.chance.is(0.55);
                let word = if common { self.chance.early(300) } else { 1_000 + subject * 400 + self.chance.early(400) };
                word_of(word as u64)
            })
            .collect();
        words.join(" ")
    }

    fn serve(&mut self, agent: &Agent, day: u32, growth: f64, out: &mut Vec<Happening>) {
        let midnight = i64::from(FIRST_DAY + day) * DAY_S;
        for hour in 0..24 {
            let busy = (8..18).contains(&hour) && day % 7 < 5;
            let rate = match (busy, agent.by_night) {
                (true, _) => agent.rate,
                (false, true) => agent.rate / 4.0,
                (false, false) => 0.0,
            };
            for _ in 0..self.chance.count(rate * growth) {
                let time_s = midnight + hour * 3_600 + self.chance.below(3_600) as i64;
                let call = self.step(agent, day, time_s);
                out.push(call);
            }
        }
    }

    /// A step of an agent: a call of its model, or of one of its tools.
    pub(crate) fn step(&mut self, agent: &Agent, day: u32, time_s: i64) -> Happening {
        let tool = self.chance.is(0.5).then(|| agent.tools[self.chance.early(agent.tools.len() - 1)].clone());
        let is_model = tool.is_none();
        Happening {
            time_s,
            application: APPLICATIONS[agent.application].to_owned(),
            agent: Some(agent.id.clone()),
            key: Some(format!("key-{}", agent.id)),
            country: Some("IE"),
            model: is_model.then(|| self.model(agent.application, day)),
            tool,
            tokens: if is_model {
                (2_000 + self.chance.below(3_000) as u32, 150 + self.chance.below(300) as u32)
            } else {
                (0, 0)
            },
            latency_ms: if is_model { 1_200.0 } else { 150.0 } * (self.chance.normal() * 0.4).exp(),
            failed: self.chance.is(0.02),
            refused: is_model && self.chance.is(0.005),
            prompt: is_model.then(|| {
                let text = self.words(900 + agent.application, 20);
                format!("You are given a ticket of a customer. Decide what is to be done next: {text}")
            }),
            ..Happening::default()
        }
    }

    /// A job that sums up documents every night, with a template of its own: no extraction.
    fn batch(&mut self, day: u32, growth: f64, out: &mut Vec<Happening>) {
        let midnight = i64::from(FIRST_DAY + day) * DAY_S;
        for index in 0..self.chance.count(150.0 * growth) {
            let text = self.words(950 + index as usize % 20, 40);
            out.push(Happening {
                time_s: midnight + 2 * 3_600 + i64::from(index) * 20,
                application: "nightly".to_owned(),
                key: Some("key-nightly".to_owned()),
                country: Some("IE"),
                model: Some(self.model(0, day)),
                tokens: (3_000, 200),
                latency_ms: 1_500.0 * (self.chance.normal() * 0.3).exp(),
                prompt: Some(format!("Sum up the following document in three sentences. {text}")),
                ..Happening::default()
            });
        }
    }

    pub(crate) fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }
}

impl Person {
    fn new(index: usize, chance: &mut Chance, days: u32) -> Self {
        let vacation = chance.below(days as usize) as u32;
        let night = chance.is(0.05);
        let travels = (0..days / 40)
            .filter(|_| chance.share() < 0.15)
            .map(|_| 0)
            .collect::<Vec<u32>>()
            .into_iter()
            .map(|_| {
                let from = chance.below(days as usize) as u32;
                (from, from + 2 + chance.below(5) as u32, ABROAD[chance.below(ABROAD.len())])
            })
            .collect();
        let application = chance.below(2);
        Self {
            id: format!("user-{index}"),
            application,
            country: chance.early(COUNTRIES.len()),
            rate: 14.0 * (chance.normal() * 0.7).exp(),
            begins: if night { 21.0 } else { 8.5 + chance.normal() },
            length: 8.0,
            weekends: chance.is(0.05),
            on_call: application == 1 && chance.is(0.15),
            joins: if chance.is(0.8) { 0 } else { chance.below(days as usize / 2) as u32 },
            subjects: [chance.below(40), chance.below(40), chance.below(40)],
            tokens: if application == 1 { 6_000.0 } else { 900.0 },
            vacation: (vacation, vacation + 7 * chance.below(3) as u32),
            travels,
        }
    }

    /// Whether the person is at work, at home, and known for long, all of these days: so that a case stands out, or does not, by itself.
    pub(crate) fn is_there(&self, from: u32, to: u32) -> bool {
        let apart = |(begin, end): (u32, u32)| end <= from || to <= begin;
        self.joins == 0 && apart(self.vacation) && self.travels.iter().all(|(begin, end, _)| apart((*begin, *end)))
    }

    /// Local midnight of a day.
    pub(crate) fn midnight(&self, day: u32) -> i64 {
        i64::from(FIRST_DAY + day) * DAY_S - COUNTRIES[self.country].1 * 3_600
    }

    /// A time of the day's work.
    pub(crate) fn at_work(&self, day: u32) -> i64 {
        self.midnight(day) + ((self.begins + 2.0) * 3_600.0) as i64
    }

    /// A time in the middle of the time that is not worked.
    pub(crate) fn at_rest(&self, day: u32) -> i64 {
        self.midnight(day) + ((self.begins + self.length + 8.0) * 3_600.0) as i64
    }
}

/// A word that looks like one, from a number.
pub(crate) fn word_of(number: u64) -> String {
    const SYLLABLES: [&str; 16] =
        ["ba", "den", "ko", "lis", "mar", "ne", "pol", "qui", "ra", "sen", "tor", "ul", "vi", "wex", "yo", "zan"];
    let mut rest = Chance::new(number).next();
    (0..3 + number % 2)
        .map(|_| {
            let syllable = SYLLABLES[(rest % 16) as usize];
            rest >>= 4;
            syllable
        })
        .collect()
}
