//! A made-up day of agents at work: sessions of several turns, in which every call repeats the conversation so far.

use std::sync::Arc;

use event::{
    Direction, Event, EventId, Key, Kind, Part, Piece, PieceMeta, Principal, Role, Source, SourcePath, SpanId, Status, Timestamp,
    Trace, TraceId, Value, attr,
};

use super::words::{Random, Words, name};

/// How long a session takes: with the number of events it gives how many are open at once.
const SESSION_SECONDS: u64 = 300;

const DAY_SECONDS: u64 = 86_400;

/// Events of a session, on average.
const SESSION_EVENTS: u64 = 16;

/// Events of one user in a day.
const USER_EVENTS: usize = 400;

/// Documents of the knowledge base that retrievals give.
const DOCUMENTS: usize = 4_000;

/// An operator's instructions are this long, in bytes.
const INSTRUCTIONS: std::ops::Range<usize> = 1_200..3_200;

/// One session in so many says the words that searches look for.
const NEEDLE_SESSIONS: u64 = 2_000;

/// What one session in [`NEEDLE_SESSIONS`] says, and nobody else.
pub(super) const NEEDLE: &str = "quartz heliotrope ledger";

const APPLICATIONS: [&str; 6] = ["shop-assistant", "code-review", "it-helpdesk", "claims-desk", "research", "back-office"];

/// Provider, asked-for model, model that answers, host.
const MODELS: [[&str; 4]; 4] = [
    ["openai", "gpt-4o", "gpt-4o-2024-11-20", "api.openai.com"],
    ["anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "api.anthropic.com"],
    ["openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", "api.openai.com"],
    ["mistral_ai", "mistral-large", "mistral-large-2411", "api.mistral.ai"],
];

const TOOLS: [&str; 6] = ["orders_search", "read_file", "search_logs", "knowledge_search", "calendar_list", "run_query"];

/// What all sessions of a day share.
struct World {
    words: Words,
    agents: Vec<Agent>,
    users: Vec<String>,
    documents: Vec<String>,
}

struct Agent {
    application: &'static str,
    name: String,
    instructions: String,
    model: [&'static str; 4],
}

/// The events of a day, in order: the same for the same seed, number and begin.
pub(super) struct Day {
    world: Arc<World>,
    random: Random,
    open: Vec<Session>,
    begin_ns: u64,
    events: u64,
    made: u64,
    sessions: u64,
}

impl Day {
    /// A day of `events` events that begins at `begin`.
    pub(super) fn new(seed: u64, events: u64, begin: Timestamp) -> Self {
        let mut random = Random::new(seed);
        let words = Words::new();
        let agents = (0..2 * APPLICATIONS.len())
            .map(|nth| {
                let length = INSTRUCTIONS.start + random.below(INSTRUCTIONS.len());
                Agent {
                    application: APPLICATIONS[nth / 2],
                    name: format!("{}-{}", words.word(&mut random), ["planner", "worker"][nth % 2]),
                    instructions: words.prose(&mut random, length),
                    model: *random.pick(&MODELS),
                }
            })
            .collect();
        let users = usize::try_from(events).unwrap_or(usize::MAX) / USER_EVENTS;
        let users = (0..users.max(20)).map(|nth| format!("{}-{nth}", name(&mut random).to_lowercase().replace(' ', ".")));
        let users = users.collect();
        let documents = (0..DOCUMENTS)
            .map(|_| {
                let length = random.length(300, 3);
                words.prose(&mut random, length)
            })
            .collect();
        let at_once = events * SESSION_SECONDS / DAY_SECONDS / SESSION_EVENTS;
        let mut day = Self {
            world: Arc::new(World { words, agents, users, documents }),
            random,
            open: Vec::new(),
            begin_ns: begin.unix_ns(),
            events,
            made: 0,
            sessions: 0,
        };
        for _ in 0..at_once.max(4) {
            let session = day.session();
            day.open.push(session);
        }
        day
    }

    fn session(&mut self) -> Session {
        self.sessions += 1;
        Session::begin(self.world.clone(), self.random.next(), self.sessions)
    }
}

impl Iterator for Day {
    type Item = Event<String>;

    fn next(&mut self) -> Option<Event<String>> {
        if self.made == self.events {
            return None;
        }
        let nanoseconds = u128::from(DAY_SECONDS) * 1_000_000_000 * u128::from(self.made) / u128::from(self.events);
        let time = Timestamp::from_unix_ns(self.begin_ns + u64::try_from(nanoseconds).unwrap_or(0));
        self.made += 1;
        let place = self.random.below(self.open.len());
        let event = self.open[place].next(time);
        if self.open[place].turns == 0 {
            self.open[place] = self.session();
        }
        Some(event)
    }
}

/// What happens next in a session.
enum Step {
    Ask,
    Call,
    Tool,
    Done,
}

struct Session {
    world: Arc<World>,
    random: Random,
    agent: usize,
    user: String,
    id: String,
    turns: usize,
    rounds: usize,
    messages: u32,
    history: Vec<Piece<String>>,
    question: Piece<String>,
    trace: TraceId,
    root: Option<SpanId>,
    step: Step,
    needle: bool,
}

impl Session {
    fn begin(world: Arc<World>, seed: u64, number: u64) -> Self {
        let mut random = Random::new(seed ^ number.rotate_left(32));
        let agent = random.skewed(world.agents.len());
        let user = random.skewed(world.users.len());
        let id = random.id("conv_", 20);
        let instructions = piece(Direction::Input, Role::System, Part::Text, world.agents[agent].instructions.clone());
        let turns = 1 + random.below(3) + random.below(3);
        let needle = number % NEEDLE_SESSIONS == 1;
        Self {
            user: world.users[user].clone(),
            question: instructions.clone(),
            history: vec![instructions],
            trace: trace_id(&mut random),
            root: None,
            rounds: 0,
            messages: 1,
            step: Step::Ask,
            world,
            random,
            agent,
            id,
            turns,
            needle,
        }
    }

    fn next(&mut self, time: Timestamp) -> Event<String> {
        match self.step {
            Step::Ask => {
                self.ask();
                match self.random.below(10) {
                    0..2 => self.retrieval(time),
                    2 => self.guardrail(time),
                    _ => self.model_call(time),
                }
            }
            Step::Call => self.model_call(time),
            Step::Tool => self.tool_call(time),
            Step::Done => self.turn(time),
        }
    }

    /// The user says something: a turn begins, and a trace with it.
    fn ask(&mut self) {
        self.step = Step::Call;
        self.rounds = self.random.below(3) + self.random.below(2);
        self.trace = trace_id(&mut self.random);
        self.root = span_id(&mut self.random);
        let length = self.random.length(40, 4);
        let mut text = self.world.words.prose(&mut self.random, length);
        if self.random.once_in(12) {
            let address = name(&mut self.random).to_lowercase().replace(' ', ".");
            text.push_str(&format!(" You can reach me at {address}{}@example.org.", self.random.below(100)));
        }
        if std::mem::take(&mut self.needle) {
            text.push_str(&format!(" About the {NEEDLE}."));
        }
        self.question = self.say(piece(Direction::Input, Role::User, Part::Text, text));
        self.history.push(self.question.clone());
    }

    fn model_call(&mut self, time: Timestamp) -> Event<String> {
        let [provider, asked, answered, host] = self.world.agents[self.agent].model;
        let mut event = self.event(Kind::ModelCall, format!("chat {asked}"), time, (200, 5));
        event.pieces.clone_from(&self.history);
        let answer = if self.rounds > 0 {
            let tool = *self.random.pick(&TOOLS);
            let mut call = piece(Direction::Output, Role::Assistant, Part::ToolCall, self.arguments(tool));
            call.meta.name = Some(tool.to_owned());
            call.meta.call_id = Some(self.random.id("call_", 24));
            call
        } else {
            let length = self.random.length(80, 4);
            piece(Direction::Output, Role::Assistant, Part::Text, self.world.words.prose(&mut self.random, length))
        };
        let answer = self.say(answer);
        event.pieces.push(answer.clone());
        let bytes = |pieces: &[Piece<String>]| pieces.iter().map(|piece| piece.content.len()).sum::<usize>();
        event.set(attr::GEN_AI_OPERATION_NAME, "chat");
        event.set(attr::GEN_AI_PROVIDER_NAME, provider);
        event.set(attr::GEN_AI_REQUEST_MODEL, asked);
        event.set(attr::GEN_AI_RESPONSE_MODEL, answered);
        event.set(attr::GEN_AI_RESPONSE_ID, self.random.id("resp_", 28).as_str());
        let reason = if self.rounds > 0 { "tool_calls" } else { "stop" };
        event.set(attr::GEN_AI_RESPONSE_FINISH_REASONS, Value::List(vec![Value::Text(reason.to_owned())]));
        event.set(attr::GEN_AI_REQUEST_TEMPERATURE, Value::Double(0.2));
        event.set(attr::GEN_AI_REQUEST_MAX_TOKENS, 4_096);
        event.set(attr::GEN_AI_USAGE_INPUT_TOKENS, whole(bytes(&self.history) / 4));
        event.set(attr::GEN_AI_USAGE_OUTPUT_TOKENS, whole(answer.content.len() / 4 + 1));
        event.set(attr::SERVER_ADDRESS, host);
        event.set(attr::SERVER_PORT, 443);
        // What was said before this call is history for the next one.
        self.history.iter_mut().for_each(|piece| piece.meta.history = true);
        let mut said = answer;
        said.meta.direction = Direction::Input;
        said.meta.history = true;
        self.history.push(said);
        self.step = if self.rounds > 0 { Step::Tool } else { Step::Done };
        event
    }

    /// The tool that the newest message asks for runs.
    fn tool_call(&mut self, time: Timestamp) -> Event<String> {
        self.rounds -= 1;
        self.step = Step::Call;
        let mut arguments = self.history.last().cloned().unwrap_or_else(|| self.question.clone());
        arguments.meta.history = false;
        let tool = arguments.meta.name.clone().unwrap_or_default();
        let mut event = self.event(Kind::ToolCall, format!("execute_tool {tool}"), time, (5, 8));
        event.set(attr::GEN_AI_OPERATION_NAME, "execute_tool");
        event.set(attr::GEN_AI_TOOL_NAME, tool.as_str());
        event.set(attr::GEN_AI_TOOL_TYPE, "function");
        let call_id = arguments.meta.call_id.clone();
        event.set(attr::GEN_AI_TOOL_CALL_ID, call_id.as_deref().unwrap_or_default());
        let failed = self.random.once_in(40);
        let text = if failed {
            format!("{{\"error\":\"{} is not there\"}}", self.world.words.word(&mut self.random))
        } else {
            self.result(&tool)
        };
        let mut result = piece(Direction::Output, Role::Tool, Part::ToolResult, text);
        result.meta.name = Some(tool);
        result.meta.call_id = call_id;
        if failed {
            result.meta.failed = Some(true);
            event.status = Status::Error;
            event.set(attr::ERROR_TYPE, "tool_error");
        }
        let mut result = self.say(result);
        event.pieces = vec![arguments, result.clone()];
        result.meta.direction = Direction::Input;
        self.history.push(result);
        event
    }

    /// The turn ends: the span of the agent's invocation, with what it was asked and what it answers.
    fn turn(&mut self, time: Timestamp) -> Event<String> {
        let agent = self.world.agents[self.agent].name.clone();
        let mut event = self.event(Kind::AgentStep, format!("invoke_agent {agent}"), time, (400, 6));
        event.trace = Some(Trace { trace_id: self.trace, span_id: self.root, parent_span_id: None });
        event.set(attr::GEN_AI_OPERATION_NAME, "invoke_agent");
        let mut answer = self.history.last().cloned().unwrap_or_else(|| self.question.clone());
        answer.meta.direction = Direction::Output;
        answer.meta.history = false;
        event.pieces = vec![self.question.clone(), answer];
        self.turns -= 1;
        self.step = Step::Ask;
        event
    }

    fn retrieval(&mut self, time: Timestamp) -> Event<String> {
        let mut event = self.event(Kind::Retrieval, "retrieval handbook".to_owned(), time, (10, 5));
        event.set(attr::GEN_AI_OPERATION_NAME, "retrieval");
        event.set(attr::GEN_AI_DATA_SOURCE_ID, "handbook");
        let query = self.world.words.several(&mut self.random, 5, " ");
        event.pieces.push(piece(Direction::Input, Role::User, Part::Query, query));
        for nth in 0..3_u32 {
            let document = self.random.skewed(self.world.documents.len());
            let mut found = piece(Direction::Output, Role::Document, Part::Document, self.world.documents[document].clone());
            found.meta.message = nth;
            found.meta.name = Some(format!("handbook-{document}"));
            found.meta.score = Some(0.9 - f64::from(nth) / 10.0);
            event.pieces.push(found);
        }
        event
    }

    fn guardrail(&mut self, time: Timestamp) -> Event<String> {
        let mut event = self.event(Kind::Guardrail, "guardrail input".to_owned(), time, (5, 4));
        event.set(attr::GEN_AI_OPERATION_NAME, "apply_guardrail");
        event.set(attr::GEN_AI_GUARDRAIL_COMPONENT_NAME, "input-policy");
        event.set(attr::GEN_AI_GUARDRAIL_VERDICT_TYPE, "allow");
        event.pieces.push(self.question.clone());
        event
    }

    /// An event of this session; `took` is the shortest time in milliseconds and how often it may be doubled.
    fn event(&mut self, kind: Kind, name: String, time: Timestamp, took: (usize, usize)) -> Event<String> {
        let agent = &self.world.agents[self.agent];
        let mut source = Source::new(SourcePath::OtlpHttp, Key::of("otel"));
        source.scope = Some("opentelemetry.instrumentation.genai".to_owned());
        source.scope_version = Some("1.4.0".to_owned());
        let mut event = Event::new(kind, name, source);
        let mut digest = [0; 32];
        for part in digest.chunks_exact_mut(8) {
            part.copy_from_slice(&self.random.next().to_be_bytes());
        }
        event.id = EventId::derived(time, &digest);
        event.time = time;
        event.observed = time;
        let milliseconds = self.random.length(took.0, took.1) as u64;
        event.duration_ns = Some(milliseconds * 1_000_000 + self.random.next() % 1_000_000);
        event.trace = Some(Trace { trace_id: self.trace, span_id: span_id(&mut self.random), parent_span_id: self.root });
        event.session = Some(self.id.clone());
        event.status = Status::Ok;
        event.identity.user = Some(Principal::asserted(self.user.clone()));
        let mut application = Principal::asserted(agent.application.to_owned());
        application.version = Some("2.7.1".to_owned());
        event.identity.application = Some(application);
        event.identity.agent = Some(Principal::asserted(agent.name.clone()));
        event
    }

    /// Gives a piece its place in the conversation.
    fn say(&mut self, mut piece: Piece<String>) -> Piece<String> {
        piece.meta.message = self.messages;
        self.messages += 1;
        piece
    }

    fn arguments(&mut self, tool: &str) -> String {
        let (words, random) = (&self.world.words, &mut self.random);
        let arguments = match tool {
            "read_file" => serde_json::json!({
                "path": format!("src/{}.py", words.several(random, 3, "/")), "from_line": random.below(400), "lines": 80,
            }),
            "search_logs" => serde_json::json!({
                "service": words.word(random), "level": "ERROR", "contains": words.several(random, 2, " "), "minutes": random.below(240),
            }),
            "run_query" => serde_json::json!({
                "sql": format!("SELECT {} FROM {} WHERE {} > {} LIMIT 50", words.several(random, 4, ", "), words.word(random), words.word(random), random.below(9_999)),
            }),
            _ => serde_json::json!({ "query": words.several(random, 6, " "), "limit": 5 + random.below(20), "sort": "updated" }),
        };
        arguments.to_string()
    }

    fn result(&mut self, tool: &str) -> String {
        let (words, random) = (&self.world.words, &mut self.random);
        let bytes = random.length(150, 4);
        match tool {
            "read_file" => words.code(random, bytes),
            "search_logs" => words.log(random, bytes),
            "knowledge_search" | "calendar_list" => words.prose(random, bytes),
            _ => words.rows(random, bytes),
        }
    }
}

fn piece(direction: Direction, role: Role, part: Part, text: String) -> Piece<String> {
    Piece::new(PieceMeta::new(direction, role, part), text)
}

fn trace_id(random: &mut Random) -> TraceId {
    let bytes = (u128::from(random.next()) << 64 | u128::from(random.next())) | 1;
    TraceId::from_bytes(bytes.to_be_bytes()).unwrap_or_else(|| unreachable!("one bit is set"))
}

fn span_id(random: &mut Random) -> Option<SpanId> {
    SpanId::from_bytes((random.next() | 1).to_be_bytes())
}

fn whole(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(seed: u64) -> Vec<Event<String>> {
        Day::new(seed, 3_000, Timestamp::from_unix_ns(1_790_000_000_000_000_000)).collect()
    }

    #[test]
    fn a_day_is_the_same_for_the_same_seed() {
        assert!(day(1) == day(1));
        assert!(day(1) != day(2));
    }

    #[test]
    fn a_day_covers_its_hours_in_order_and_calls_repeat_their_conversation() {
        let events = day(1);
        assert_eq!(events.len(), 3_000);
        assert!(events.windows(2).all(|pair| pair[0].observed < pair[1].observed));
        assert!(events[2_999].observed.since(events[0].observed) > 86_000 * 1_000_000_000);
        let pieces = |history: bool| {
            let all = events.iter().flat_map(|event| &event.pieces).filter(|piece| piece.meta.history == history);
            all.map(|piece| piece.content.len()).sum::<usize>()
        };
        assert!(pieces(true) > pieces(false), "{} repeated, {} new", pieces(true), pieces(false));
        let results = events.iter().filter(|event| event.kind == Kind::ToolCall);
        assert!(results.count() > 500);
    }
}
