//! What a scenario is: the shape of `content/drills/*.yaml`.

use std::collections::BTreeMap;

use event::TechniqueId;
use event::taxonomy::CaseStudy;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::calendar::Days;

/// An attack, or why it cannot be seen, and its innocent twin.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name: a-z, 0-9 and `-`. Of another wording it is that of the scenario, a dot, and its own.
    pub id: String,
    /// The name of the scenario that it words.
    pub of: String,
    /// Which wording of the scenario it is.
    pub wording: Wording,
    /// What it is a drill of.
    pub subject: Subject,
    /// What happens in it.
    pub title: String,
    /// The way of its conversations into the record.
    pub via: Via,
    /// Why telemetry of a running AI system cannot see it. It has no steps then.
    pub not_observable: Option<String>,
    /// Steps of the case study that no step plays, with where they happen.
    pub unseen: BTreeMap<Unseen, Vec<u8>>,
    /// What the attacker does.
    pub attack: Vec<Step>,
    /// The same shape with innocent content, which must set off nothing.
    pub twin: Vec<Step>,
}

impl Scenario {
    /// Whether it needs to tell of past weeks before it begins.
    #[must_use]
    pub fn needs_history(&self) -> bool {
        self.attack.iter().chain(&self.twin).any(|step| match &step.action {
            Action::Prompts(prompts) => prompts.at.is_some(),
            Action::Events(planned) => planned.iter().any(|planned| planned.at.is_some()),
            _ => false,
        })
    }

    /// The place of the first step of which something must be told, from 0.
    #[must_use]
    pub fn first_observable(&self) -> Option<usize> {
        self.attack.iter().position(|step| !step.expect.is_empty())
    }

    /// What a step of the attack is called: its number in the procedure of the case study, as ATLAS counts, the lowest where it plays
    /// several. Where there is no procedure it is its place, from 1.
    #[must_use]
    pub fn step_number(&self, place: usize) -> usize {
        let of_procedure = self.attack.get(place).and_then(|step| step.atlas.iter().min());
        of_procedure.map_or(place + 1, |number| usize::from(*number))
    }

    /// The steps of the case study's procedure that are played, in their order in the attack, and how many the procedure has.
    #[must_use]
    pub fn steps_played(&self) -> Option<(Vec<u8>, usize)> {
        let Subject::CaseStudy(study) = self.subject else { return None };
        Some((self.attack.iter().flat_map(|step| step.atlas.iter().copied()).collect(), study.steps.len()))
    }
}

/// Which wording of a scenario it is. Rules have been seen to work on the first; the others tell what that is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wording {
    /// The one that the scenario was written with.
    First,
    /// Frozen before it was first played.
    HeldOut,
    /// Frozen with those, and first played when rules had been mended for what was missed in them.
    Reserve,
}

impl Wording {
    /// Every wording.
    pub const ALL: [Self; 3] = [Self::First, Self::HeldOut, Self::Reserve];

    /// The name that output uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::HeldOut => "held-out",
            Self::Reserve => "reserve",
        }
    }
}

/// What a scenario is a drill of.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A technique of mitigation AML.M0024.
    Technique(TechniqueId),
    /// A case study.
    CaseStudy(&'static CaseStudy),
    /// Behaviour that is unlike what is usual: no technique by itself.
    Behaviour,
}

impl Subject {
    /// Its id in ATLAS; of behaviour `behaviour`.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Technique(technique) => technique.as_str(),
            Self::CaseStudy(study) => &study.id,
            Self::Behaviour => "behaviour",
        }
    }
}

/// A way of conversations into the record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// GenAI spans over OTLP/gRPC.
    OtlpGrpc,
    /// GenAI spans over OTLP/HTTP.
    #[default]
    OtlpHttp,
    /// Calls through the gateway.
    Gateway,
    /// Streamed calls through the gateway.
    GatewayStream,
    /// The events API.
    Events,
    /// The MCP proxy.
    Mcp,
    /// The hook of a coding agent.
    Hook,
}

impl Via {
    /// The name that the data uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "otlp-grpc",
            Self::OtlpHttp => "otlp-http",
            Self::Gateway => "gateway",
            Self::GatewayStream => "gateway-stream",
            Self::Events => "events",
            Self::Mcp => "mcp",
            Self::Hook => "hook",
        }
    }

    /// Whether calls of models go through the gateway, so that a tool's result is only seen with the call after it.
    #[must_use]
    pub const fn is_gateway(self) -> bool {
        matches!(self, Self::Gateway | Self::GatewayStream)
    }
}

/// Where a step of a case study happens that no step of the scenario plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unseen {
    /// On the attacker's side, before anything reaches the system.
    Preparation,
    /// On a copy, or on a model of the attacker's own.
    Offline,
    /// In a repository, registry or package, before the system runs.
    SupplyChain,
    /// In the data or the weights of a model, before it serves.
    Training,
    /// In front of a camera.
    Physical,
    /// In a picture or a video: the call is recorded, what is false in the picture is not.
    Media,
    /// On a machine, beside the AI system.
    Host,
    /// Inside of a service that is called, behind what is recorded.
    Service,
    /// In calls that are recorded and look like everybody's.
    Ordinary,
    /// Elsewhere, later: the harm that follows.
    Consequence,
}

impl Unseen {
    /// Every class.
    pub const ALL: [Self; 10] = [
        Self::Preparation,
        Self::Offline,
        Self::SupplyChain,
        Self::Training,
        Self::Physical,
        Self::Media,
        Self::Host,
        Self::Service,
        Self::Ordinary,
        Self::Consequence,
    ];

    /// The name that the data uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preparation => "preparation",
            Self::Offline => "offline",
            Self::SupplyChain => "supply_chain",
            Self::Training => "training",
            Self::Physical => "physical",
            Self::Media => "media",
            Self::Host => "host",
            Self::Service => "service",
            Self::Ordinary => "ordinary",
            Self::Consequence => "consequence",
        }
    }

    /// Where that is.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Preparation => "on the attacker's side, before anything reaches the system",
            Self::Offline => "on a copy, or on a model of the attacker's own",
            Self::SupplyChain => "in a repository, registry or package, before the system runs",
            Self::Training => "in the data or the weights of a model, before it serves",
            Self::Physical => "in front of a camera",
            Self::Media => "in a picture or a video: the call is recorded, what is false in the picture is not",
            Self::Host => "on a machine, beside the AI system: telemetry of the machine sees it",
            Self::Service => "inside of a service that is called, behind what is recorded",
            Self::Ordinary => "in calls that are recorded and look like everybody's",
            Self::Consequence => "elsewhere, later: the harm that follows",
        }
    }
}

/// One thing that is sent, and what must be told of it.
#[derive(Debug, Clone)]
pub struct Step {
    /// The steps of the case study's procedure that it plays, from 1.
    pub atlas: Vec<u8>,
    /// Something must be told that is evidence of one of these techniques, or of one below them. Empty: nothing must be told yet.
    pub expect: Vec<TechniqueId>,
    /// Ids of rules: only what they tell counts. Empty: what any rule tells, of the techniques. Of behaviour a technique alone would let
    /// pass what has nothing to do with the step.
    pub rules: Vec<String>,
    /// Why what is expected is evidence of what is played, where it is another technique.
    pub because: Option<String>,
    /// The conversation, where it is not the first.
    pub session: Option<String>,
    /// What is sent.
    pub action: Action,
}

/// What is sent.
#[derive(Debug, Clone)]
pub enum Action {
    /// A call of a model, which repeats the conversation.
    Chat(Chat),
    /// A tool has run. Through the gateway its result is seen with the next call.
    Result {
        /// The tool that was called last under this name.
        tool: String,
        /// What it returned.
        content: String,
    },
    /// Documents were looked up.
    Retrieve {
        /// What was asked.
        query: String,
        /// What came back.
        documents: Vec<String>,
    },
    /// A tool was called over MCP.
    Mcp(McpCall),
    /// An MCP server told its tools, each as in `tools/list`.
    McpTools(Vec<Value>),
    /// A coding agent called its hook.
    Hook(Hook),
    /// A program asked something of the world, through the egress proxy.
    Egress(Request),
    /// One account, or several, asked many things.
    Prompts(Prompts),
    /// Events of the events API.
    Events(Vec<Planned>),
}

/// A call of a model.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chat {
    /// New instructions of the operator.
    pub system: Option<String>,
    /// What the user says.
    pub user: Option<String>,
    /// What the model says.
    pub answer: Option<String>,
    /// The tools that it calls.
    pub calls: Vec<ToolUse>,
}

/// A tool that the model calls.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolUse {
    /// Its name.
    pub tool: String,
    /// What it is called with.
    pub arguments: Value,
}

/// A tool that is called over MCP.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct McpCall {
    /// Its name.
    pub tool: String,
    /// What it is called with.
    pub arguments: Value,
    /// What it returns.
    pub result: String,
}

/// What a coding agent tells its hook, without the session.
pub type Hook = Map<String, Value>;

/// A request to the world.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Where to; `{{STAND_IN}}` is the drill's own server.
    pub url: String,
}

/// Many prompts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompts {
    /// How many; of `days` each day.
    pub count: u32,
    /// Milliseconds from one to the next.
    pub every_ms: u64,
    /// What is asked: `{word}` is another word each time, `{n}` the number.
    pub text: String,
    /// What is answered.
    #[serde(default = "any_answer")]
    pub answer: String,
    /// Whether each prompt is the one before with three more words.
    #[serde(default)]
    pub chain: bool,
    /// Mean log-probability of the answers' tokens, where they are asked for.
    #[serde(default)]
    pub logprob: Option<f64>,
    /// When the first one is asked; without it the last one is asked now.
    #[serde(default)]
    pub at: Option<Days>,
    /// Accounts that take turns.
    #[serde(default = "one")]
    pub users: u32,
}

/// Events that are sent once or again and again.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// When the first one is, on each of these days; without it the last one is now.
    #[serde(default)]
    pub at: Option<Days>,
    /// Whether Saturdays and Sundays are left out.
    #[serde(default)]
    pub workdays: bool,
    /// How many; each day, where there are days.
    #[serde(default = "one")]
    pub count: u32,
    /// Milliseconds from one to the next.
    #[serde(default = "second")]
    pub every_ms: u64,
    /// The event as the events API takes it. `time`, `application`, `user.id`, `agent` and `session.id` are added where they are missing;
    /// one that is null is left out.
    pub event: Map<String, Value>,
}

fn any_answer() -> String {
    "{word} {word}".to_owned()
}

const fn one() -> u32 {
    1
}

const fn second() -> u64 {
    1_000
}
