//! What goes wrong in the company: each case has its days, somebody whom it is about, and what is to be said of it.

use crate::company::{Company, DAY_S, FIRST_DAY, Happening, Person};

/// A case that is put into the company's days.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Insights of which any is a find.
    pub(crate) finds: &'static [&'static str],
    /// The first day of it, and the first day behind it (and behind the time in which a find still counts).
    pub(crate) days: (u32, u32),
    /// Who it is about: a user, an agent, a key, an application, or an account made for it.
    pub(crate) who: String,
    kind: Kind,
    person: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    OffHours,
    NewPlace,
    VolumeSpike,
    SlowRamp,
    TokenFlood,
    Shared,
    Breadth,
    Template,
    Coverage,
    Membership,
    Inversion,
    Logprobs,
    AcrossAccounts,
    SilentAgent,
    ToolDrift,
    NewTool,
    KeyElsewhere,
    Refusals,
    ModelRefusals,
    ModelLatency,
    NewSubject,
    FirstChunk,
    Tail,
    Input,
    Cost,
    CutOff,
    Format,
    ToolCalls,
    Route,
    Version,
}

type Described = (Kind, &'static str, &'static [&'static str], u32);

const KINDS: &[Described] = &[
    (Kind::OffHours, "account used by night", &["user_off_hours"], 1),
    (Kind::NewPlace, "account used from a new country", &["user_new_place", "user_shared"], 1),
    (Kind::VolumeSpike, "tenfold calls for two hours", &["user_volume_spike"], 1),
    (Kind::SlowRamp, "calls grow by 6 % a day", &["user_volume_ramp", "user_volume_spike"], 45),
    (Kind::TokenFlood, "tokens flood a key", &["key_token_flood", "agent_token_flood"], 1),
    (Kind::Shared, "account used from two countries at once", &["user_shared", "user_new_place"], 1),
    (Kind::Breadth, "knowledge base copied", &["user_breadth"], 1),
    (Kind::Template, "extraction by one template", &["account_template_sweep"], 1),
    (Kind::Coverage, "replication: a space of inputs covered", &["account_coverage_sweep"], 1),
    (Kind::Membership, "membership probe", &["account_membership_probe"], 1),
    (Kind::Inversion, "inversion, prompt by prompt", &["account_inversion_chain"], 1),
    (Kind::Logprobs, "log-probabilities harvested", &["account_logprob_harvest"], 1),
    (Kind::AcrossAccounts, "extraction spread over 40 accounts", &["application_template_sweep"], 1),
    (Kind::SilentAgent, "agent silent", &["agent_silent"], 2),
    (Kind::ToolDrift, "agent's tools in other proportions", &["agent_tool_mix"], 3),
    (Kind::NewTool, "agent uses a new tool", &["agent_new_tool"], 1),
    (Kind::KeyElsewhere, "key used by another application", &["key_new_application", "key_new_place"], 1),
    (Kind::Refusals, "user tries what is refused", &["user_refusals"], 1),
    (Kind::ModelRefusals, "model begins to refuse", &["model_refusal_shift"], 4),
    (Kind::ModelLatency, "model takes twice as long", &["model_latency_shift"], 4),
    (Kind::NewSubject, "user asks about another subject", &["user_subject_shift", "user_new_subject"], 3),
    (Kind::FirstChunk, "first words take twice as long", &["model_first_chunk_shift"], 4),
    (Kind::Tail, "one call in eight takes eight times as long", &["model_tail_shift", "model_latency_shift"], 4),
    (Kind::Input, "a text stands before every prompt", &["model_input_shift"], 4),
    (Kind::Cost, "calls cost three times as much", &["model_cost_shift"], 4),
    (Kind::CutOff, "one answer in four is cut off", &["model_cut_off_shift"], 4),
    (Kind::Format, "all answers are structured data", &["model_format_shift"], 4),
    (Kind::ToolCalls, "model calls no tools any more", &["model_tool_call_shift"], 4),
    (Kind::Route, "one call in twenty goes to another endpoint", &["model_new_route"], 4),
    (Kind::Version, "another model answers one call in three", &["model_new_version"], 4),
];

/// As many rounds of every case as there is room for, from the day `first` on: each on somebody else, or later.
pub(crate) fn all(company: &mut Company, first: u32, rounds: u32) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let days = company.days;
    for round in 0..rounds {
        for (kind, name, finds, length) in KINDS {
            let room = days.saturating_sub(first + length + 4).max(1) as usize;
            let mut begin = first + company.chance().below(room) as u32;
            while begin % 7 >= 5 {
                begin += 1;
            }
            let span = (begin, begin + length + 2);
            let apart = |case: &Case| case.days.1 + 10 < span.0 || span.1 + 10 < case.days.0;
            let count = company.people.len();
            let from = company.chance().below(count);
            let free = (0..count).map(|index| (from + index) % count).find(|index| {
                let person = &company.people[*index];
                person.is_there(span.0.saturating_sub(20), span.1)
                    && person.rate > 5.0
                    && cases.iter().all(|case| case.person != *index || apart(case))
            });
            let Some(person) = free else { continue };
            // Whom a case of a model would be put on is nobody's concern, and stays free for another.
            let is_agents =
                matches!(kind, Kind::TokenFlood | Kind::SilentAgent | Kind::ToolDrift | Kind::NewTool | Kind::KeyElsewhere);
            let agents = company.agents.len();
            let agent = company.chance().below(agents);
            let who = match kind {
                _ if is_agents => company.agents[agent].id.clone(),
                Kind::ModelRefusals | Kind::ModelLatency => "agents".to_owned(),
                // Each changes a measure of its own, so they may lie on each other.
                _ if kind.is_of_model() => format!("models: {name}"),
                Kind::AcrossAccounts => format!("made-up-{round}"),
                _ => company.people[person].id.clone(),
            };
            // Two cases on one agent, or on the models, must not lie on each other.
            if cases.iter().any(|case| case.who == who && !apart(case)) {
                continue;
            }
            let person = if is_agents || kind.is_of_model() { usize::MAX } else { person };
            cases.push(Case { name, finds, days: span, who, kind: *kind, person });
        }
    }
    cases
}

/// Puts what the cases do on a day among what else happens.
pub(crate) fn inject(company: &mut Company, cases: &[Case], day: u32, out: &mut Vec<Happening>) {
    for (index, case) in cases.iter().enumerate() {
        let last = case.days.1 - 2;
        if !(case.days.0..last).contains(&day) {
            continue;
        }
        let from = out.len();
        let person = company.people.get(case.person).cloned();
        act(company, case, day, person.as_ref(), out);
        for happening in out.get_mut(from..).unwrap_or_default() {
            happening.case = Some(index);
        }
    }
}

/// What the cases do to how models serve on a day.
pub(crate) fn serve(cases: &[Case], day: u32, out: &mut [Happening]) {
    let midnight = i64::from(FIRST_DAY + day) * DAY_S;
    for case in cases.iter().filter(|case| (case.days.0..case.days.1 - 2).contains(&day)) {
        for happening in out.iter_mut().filter(|happening| happening.time_s >= midnight) {
            let Happening { served: Some(served), time_s, tokens, latency_ms, .. } = happening else { continue };
            let one_in = |count: i64| time_s.rem_euclid(count) == 0;
            match case.kind {
                Kind::FirstChunk => served.first_chunk_ms = served.first_chunk_ms.map(|ms| ms * 2.0),
                Kind::Tail if one_in(8) => *latency_ms *= 8.0,
                Kind::Input => {
                    let before = f64::from(tokens.0.max(1));
                    tokens.0 += 1_500;
                    served.cost = served.cost.map(|cost| cost * f64::from(tokens.0) / before);
                }
                Kind::Cost => served.cost = served.cost.map(|cost| cost * 3.0),
                Kind::CutOff if one_in(4) && served.finish == "stop" => served.finish = "length",
                Kind::Format => served.is_structured = served.is_structured.map(|_| true),
                Kind::ToolCalls if served.calls_tools => {
                    (served.calls_tools, served.finish, served.is_structured) = (false, "stop", Some(false));
                }
                Kind::Route if one_in(20) => served.endpoint = "198.51.100.7",
                Kind::Version if one_in(3) => served.version = "tuned-7b".to_owned(),
                _ => {}
            }
        }
    }
}

fn act(company: &mut Company, case: &Case, day: u32, person: Option<&Person>, out: &mut Vec<Happening>) {
    let calls = |company: &mut Company,
                 count: u32,
                 begin: i64,
                 every_s: i64,
                 out: &mut Vec<Happening>,
                 change: &mut dyn FnMut(&mut Company, u32, &mut Happening)| {
        let Some(person) = person else { return };
        for index in 0..count {
            let mut call = company.call(person, day, begin + i64::from(index) * every_s);
            // Cases are of calls of models.
            while call.prompt.is_none() {
                call = company.call(person, day, begin + i64::from(index) * every_s);
            }
            change(company, index, &mut call);
            out.push(call);
        }
    };
    let work = person.map_or(0, |person| person.at_work(day));
    let rest = person.map_or(0, |person| person.at_rest(day));
    let midnight = i64::from(FIRST_DAY + day) * DAY_S;
    match case.kind {
        Kind::OffHours => calls(company, 12, rest, 120, out, &mut |_, _, _| {}),
        Kind::NewPlace => calls(company, 6, work, 600, out, &mut |_, _, call| {
            (call.country, call.client) = (Some("NG"), Some("stranger".to_owned()));
        }),
        Kind::VolumeSpike => {
            let count = person.map_or(0.0, |person| (person.rate / 8.0 * 20.0).max(120.0)) as u32;
            calls(company, count, work, (7_200 / i64::from(count.max(1))).max(1), out, &mut |_, _, _| {});
        }
        Kind::SlowRamp => {
            let more = 1.06_f64.powi((day - case.days.0 + 1) as i32) - 1.0;
            let count = if day % 7 < 5 { person.map_or(0.0, |person| person.rate * more) as u32 } else { 0 };
            calls(company, count, work, 5 * 3_600 / i64::from(count.max(1)), out, &mut |_, _, _| {});
        }
        Kind::Shared => calls(company, 40, work, 180, out, &mut |_, index, call| {
            if index % 2 == 0 {
                (call.country, call.client) = (Some("VN"), Some("stranger".to_owned()));
            }
        }),
        Kind::Breadth => calls(company, 80, work, 30, out, &mut |_, index, call| {
            (call.prompt, call.model, call.tokens) = (None, None, (0, 0));
            call.source = Some("base-1".to_owned());
            call.documents = (0..6).map(|document| format!("copied-{index}-{document}")).collect();
        }),
        Kind::Template => calls(company, 500, work, 30, out, &mut |company, _, call| {
            let count = 4 + company.chance().below(20);
            call.prompt =
                Some(format!("Classify the tone of the message below as one word. {} Answer now:", company.words(60, count)));
        }),
        Kind::Coverage => calls(company, 1_500, work, 20, out, &mut |company, index, call| {
            call.prompt = Some(company.words(100 + index as usize % 300, 25));
        }),
        Kind::Membership => {
            let text: Vec<String> = company.words(70, 40).split(' ').map(str::to_owned).collect();
            calls(company, 60, work, 25, out, &mut |company, _, call| {
                let mut words = text.clone();
                let (at, other) = (company.chance().below(40), company.words(71, 1));
                words[at] = other;
                (call.prompt, call.scored) = (Some(words.join(" ")), true);
            });
        }
        Kind::Inversion => {
            let mut text = company.words(72, 8);
            calls(company, 40, work, 40, out, &mut |company, _, call| {
                text.push(' ');
                text.push_str(&company.words(72, 3));
                (call.prompt, call.scored) = (Some(text.clone()), true);
            });
        }
        Kind::Logprobs => calls(company, 300, work, 40, out, &mut |_, _, call| call.scored = true),
        Kind::Refusals => calls(company, 30, work, 100, out, &mut |_, index, call| call.refused = index % 4 != 0),
        Kind::NewSubject => calls(company, 25, work, 500, out, &mut |company, index, call| {
            call.prompt = Some(company.words(80, 30));
            if index % 5 == 0 {
                (call.prompt, call.model, call.source) = (None, None, Some("payroll".to_owned()));
            }
        }),
        Kind::AcrossAccounts => across(company, case, midnight, out),
        Kind::SilentAgent => out.retain(|happening| happening.agent.as_deref() != Some(&case.who)),
        _ => of_agent(company, case, day, midnight, out),
    }
}

/// Forty accounts fill one template, each a few times.
fn across(company: &mut Company, case: &Case, midnight: i64, out: &mut Vec<Happening>) {
    for index in 0..600 {
        let text = company.words(61, 6);
        out.push(Happening {
            time_s: midnight + 9 * 3_600 + index * 30,
            application: "assistant".to_owned(),
            user: Some(format!("{}-{}", case.who, index % 40)),
            model: Some("model-1".to_owned()),
            country: Some("DE"),
            tokens: (200, 20),
            latency_ms: 900.0,
            prompt: Some(format!("Translate the phrase into formal {} register: {text} and nothing else please", case.who)),
            ..Happening::default()
        });
    }
}

fn of_agent(company: &mut Company, case: &Case, day: u32, midnight: i64, out: &mut Vec<Happening>) {
    let agents = std::mem::take(&mut company.agents);
    let agent = agents.iter().find(|agent| agent.id == case.who);
    let mut steps = |count: i64, every_s: i64, change: &mut dyn FnMut(&mut Happening)| {
        let Some(agent) = agent else { return };
        for index in 0..count {
            let mut step = company.step(agent, day, midnight + 10 * 3_600 + index * every_s);
            change(&mut step);
            out.push(step);
        }
    };
    match case.kind {
        Kind::TokenFlood => steps(60, 20, &mut |step| {
            (step.tool, step.model, step.tokens) = (None, Some("model-1".to_owned()), (150_000, 4_000));
        }),
        Kind::NewTool => steps(3, 600, &mut |step| {
            (step.model, step.prompt, step.tool) = (None, None, Some("delete_account".to_owned()));
        }),
        Kind::ToolDrift => {
            if let Some(agent) = agent {
                let rare = &agent.tools[agent.tools.len() - 2];
                for happening in out.iter_mut().filter(|happening| happening.agent.as_deref() == Some(&agent.id)) {
                    if happening.tool.is_some() {
                        happening.tool = Some(rare.clone());
                        happening.case = Some(usize::MAX);
                    }
                }
            }
        }
        Kind::KeyElsewhere => steps(10, 300, &mut |step| {
            (step.application, step.agent, step.country) = ("shadow".to_owned(), Some("shadow".to_owned()), Some("RU"));
        }),
        Kind::ModelRefusals | Kind::ModelLatency => {
            for happening in out.iter_mut().filter(|happening| happening.model.is_some() && happening.time_s >= midnight) {
                if case.kind == Kind::ModelLatency {
                    happening.latency_ms *= 2.0;
                } else {
                    happening.refused |= happening.time_s % 5 == 0;
                }
            }
        }
        _ => {}
    }
    company.agents = agents;
}

impl Kind {
    fn is_of_model(self) -> bool {
        use Kind::{Cost, CutOff, FirstChunk, Format, Input, ModelLatency, ModelRefusals, Route, Tail, ToolCalls, Version};
        matches!(
            self,
            ModelRefusals | ModelLatency | FirstChunk | Tail | Input | Cost | CutOff | Format | ToolCalls | Route | Version
        )
    }
}

impl Case {
    /// Whether that is whom it is about.
    pub(crate) fn is_about(&self, who: &str) -> bool {
        let made_up = self.kind == Kind::AcrossAccounts && who.starts_with(&self.who);
        who == self.who || who.strip_prefix("key-") == Some(&self.who) || made_up
    }

    /// Whether that follows from what is wrong with a model: users of one that refuses are refused.
    pub(crate) fn leads_to(&self, insights: &[String]) -> bool {
        let follows: &[&str] = match self.kind {
            Kind::ModelRefusals => &["user_refusals"],
            // A longer prompt costs more, and its first words come later; what calls no tools answers in text.
            Kind::Input => &[
                "model_cost_shift",
                "model_first_chunk_shift",
                "user_token_flood",
                "agent_token_flood",
                "key_token_flood",
                "application_token_flood",
            ],
            Kind::ToolCalls => &["model_format_shift"],
            Kind::Tail => &["model_latency_shift"],
            _ => &[],
        };
        insights.iter().any(|insight| follows.contains(&insight.as_str()))
    }

    /// Whether the case is of a model, which is not one of the identities of a detection.
    pub(crate) fn is_of_model(&self) -> bool {
        self.kind.is_of_model()
    }
}
