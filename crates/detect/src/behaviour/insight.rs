//! What behaviour shows: named statements with what was observed, what was expected, and on what that rests.

use serde::{Deserialize, Serialize};

/// A statement about an entity, true on an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Insight {
    /// Which statement.
    pub name: Name,
    /// Whom it is about, where the event is of somebody else (silence shows on another's event); else empty.
    pub entity: String,
    /// The application of that entity, likewise.
    pub application: String,
    /// What was observed, in the unit that the reference page names.
    pub observed: f64,
    /// What was expected.
    pub expected: f64,
    /// On how much the expectation rests: hours, days, events, as the reference page says.
    pub support: u32,
    /// The same of the entity's peers; as the reference page says.
    pub peers: f64,
    /// What is new: the tool, the place, the subject. Empty for measures.
    pub what: String,
}

impl Insight {
    pub(crate) fn new(name: Name, observed: f64, expected: f64, support: u32, peers: f64) -> Self {
        let (entity, application, what) = (String::new(), String::new(), String::new());
        Self { name, entity, application, observed, expected, support, peers, what }
    }

    pub(crate) fn of(mut self, what: &str) -> Self {
        what.clone_into(&mut self.what);
        self
    }
}

macro_rules! names {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal, $observed:literal, $expected:literal, $support:literal, $peers:literal;)*) => {
        /// The statements.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Name {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Name {
            /// Every statement.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name that rules use, behind `watchkeeper.insight.`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What it says; then what `observed`, `expected`, `support` and `peers` are.
            #[must_use]
            pub const fn reference(self) -> [&'static str; 5] {
                match self { $(Self::$variant => [concat!($($doc),*), $observed, $expected, $support, $peers],)* }
            }
        }
    };
}

names! {
    /// The user is active at an hour at which they are not.
    UserOffHours = "user_off_hours", "share of the user's active hours that lie at this time of day, on this kind of day", "share that is still usual: 0.005", "the user's active hours", "the same share for the users of the application, times 48 (1: an average hour)";
    /// The user is active at an ordinary hour, but at a weekend, when they are not (or in the week, for those who work at weekends).
    UserOffDay = "user_off_day", "share of the user's active hours that lie at this time of day, on this kind of day", "share that is still usual: 0.005", "the user's active hours", "the same share for the users of the application, times 48 (1: an average hour)";
    /// The user comes from a country that they have not come from.
    UserNewPlace = "user_new_place", "days on which they came from there", "countries known of the user", "days on which the user was active", "other users of the application who came from there";
    /// The account is used from several places or clients in turns.
    UserShared = "user_shared", "changes between clients or countries within the hour", "the most that is usual for the user", "the user's active hours", "the most that is usual for users of the application";
    /// Far more calls of models in an hour than is usual for the user.
    UserVolumeSpike = "user_volume_spike", "calls within the hour", "the user's median of active hours", "the user's active hours", "the most that is usual for users of the application";
    /// Far more tokens in an hour than is usual for the user.
    UserTokenFlood = "user_token_flood", "tokens within the hour", "the user's median of active hours", "the user's active hours", "the most that is usual for users of the application";
    /// The user's daily calls or tokens creep up, each day a little, and not because everybody's do.
    UserVolumeRamp = "user_volume_ramp", "calls or tokens a day, since it began", "calls or tokens a day before", "active days", "by how much everybody's have grown, as a factor";
    /// Far more different documents in an hour than is usual for the user.
    UserBreadth = "user_breadth", "different documents within the hour", "the user's median of active hours", "the user's active hours", "the most that is usual for users of the application";
    /// The user is refused far more often than is usual for them.
    UserRefusals = "user_refusals", "refusals within the hour", "the user's median of active hours", "the user's active hours", "the most that is usual for users of the application";
    /// The user's calls fail far more often than is usual for them.
    UserErrors = "user_errors", "failures within the hour", "the user's median of active hours", "the user's active hours", "the most that is usual for users of the application";
    /// The user turns to a data source, a collection or a knowledge base that they have not used.
    UserNewSubject = "user_new_subject", "days on which they used it", "subjects known of the user", "days on which the user was active", "other users of the application who use it";
    /// What the user writes about has words that they do not use.
    UserSubjectShift = "user_subject_shift", "share of the day's different words that the user has not used", "share that is usual for the user", "days", "share of the day's words that other users of the application use";
    /// The user uses a model that they have not used.
    UserNewModel = "user_new_model", "days on which they used it", "models known of the user", "days on which the user was active", "other users of the application who use it";
    /// The agent uses a tool that it has not used.
    AgentNewTool = "agent_new_tool", "days on which it used it", "tools known of the agent", "days on which the agent was active", "other agents of the application that use it";
    /// The agent turns to a data source, a collection or a knowledge base that it has not used.
    AgentNewSubject = "agent_new_subject", "days on which it used it", "subjects known of the agent", "days on which the agent was active", "other agents of the application that use it";
    /// The agent uses a model that it has not used.
    AgentNewModel = "agent_new_model", "days on which it used it", "models known of the agent", "days on which the agent was active", "other agents of the application that use it";
    /// The agent is given a system prompt that it has not had, though it seldom gets another one.
    AgentNewSystemPrompt = "agent_new_system_prompt", "days on which it was given", "system prompts known of the agent", "days on which the agent was active", "other agents of the application that are given it";
    /// The agent uses its tools in other proportions than it did.
    AgentToolMix = "agent_tool_mix", "how far the day's proportions are from the usual ones (Jensen-Shannon divergence, 0 to 1)", "how far they usually are", "days", "0";
    /// Far more calls in an hour than is usual for the agent.
    AgentVolumeSpike = "agent_volume_spike", "calls of models and tools within the hour", "the agent's median of active hours", "the agent's active hours", "the most that is usual for agents of the application";
    /// Far more tokens in an hour than is usual for the agent.
    AgentTokenFlood = "agent_token_flood", "tokens within the hour", "the agent's median of active hours", "the agent's active hours", "the most that is usual for agents of the application";
    /// The agent's daily calls or tokens creep up.
    AgentVolumeRamp = "agent_volume_ramp", "calls or tokens a day, since it began", "calls or tokens a day before", "active days", "by how much all agents' have grown, as a factor";
    /// The agent's calls fail far more often than is usual for it.
    AgentErrors = "agent_errors", "failures within the hour", "the agent's median of active hours", "the agent's active hours", "the most that is usual for agents of the application";
    /// An agent that is always there is not: nothing has come from it for hours in which it is active.
    AgentSilent = "agent_silent", "hours since it was last heard of", "hours of these in which it is usually active", "weeks that this rests on", "share of the application's regular agents that are silent, too";
    /// An application that is always there is not.
    ApplicationSilent = "application_silent", "hours since it was last heard of", "hours of these in which it is usually active", "weeks that this rests on", "share of all regular applications that are silent, too";
    /// Far more calls than is usual for the application at this hour of the week.
    ApplicationVolumeSpike = "application_volume_spike", "calls within the hour", "calls expected in this hour of the week", "hours that the season rests on", "0";
    /// Far more tokens than is usual for the application at this hour of the week.
    ApplicationTokenFlood = "application_token_flood", "tokens within the hour", "tokens expected in this hour of the week", "hours that the season rests on", "0";
    /// Far fewer calls than is usual for the application at this hour of the week.
    ApplicationVolumeDrop = "application_volume_drop", "calls in the hour that ended", "calls expected in that hour of the week", "hours that the season rests on", "0";
    /// The application uses a model that it has not used.
    ApplicationNewModel = "application_new_model", "days on which it used it", "models known of the application", "days on which the application was active", "0";
    /// The application, where it names no agent, gives its model a system prompt that it has not given, though it seldom gives another one.
    ApplicationNewSystemPrompt = "application_new_system_prompt", "days on which it was given", "system prompts known of the application", "days on which the application was active", "0";
    /// One new template is filled in many ways by many accounts, each of which stays small.
    ApplicationTemplateSweep = "application_template_sweep", "different fillings of the template today", "accounts that fill it", "days for which the application is known", "fillings of the busiest account, at most";
    /// Far more calls in an hour than is usual for the key.
    KeyVolumeSpike = "key_volume_spike", "calls within the hour", "the key's median of active hours", "the key's active hours", "the most that is usual for keys";
    /// Far more tokens in an hour than is usual for the key.
    KeyTokenFlood = "key_token_flood", "tokens within the hour", "the key's median of active hours", "the key's active hours", "the most that is usual for keys";
    /// The key's daily calls or tokens creep up.
    KeyVolumeRamp = "key_volume_ramp", "calls or tokens a day, since it began", "calls or tokens a day before", "active days", "by how much all keys' have grown, as a factor";
    /// The key is used from a country from which it has not been used.
    KeyNewPlace = "key_new_place", "days on which it was used there", "countries known of the key", "days on which the key was used", "other keys that are used there";
    /// The key is used by an application that has not used it.
    KeyNewApplication = "key_new_application", "days on which it was used there", "applications known of the key", "days on which the key was used", "other keys that the application uses";
    /// The key is used for a model that it has not been used for.
    KeyNewModel = "key_new_model", "days on which it was used for it", "models known of the key", "days on which the key was used", "other keys that are used for it";
    /// The tool fails more often, or less, than it did.
    ToolErrorShift = "tool_error_shift", "share of calls that fail", "share before", "blocks of 32 to 256 calls", "0";
    /// The tool takes longer, or less long, than it did.
    ToolLatencyShift = "tool_latency_shift", "milliseconds (geometric mean)", "milliseconds before", "blocks of 32 to 256 calls", "0";
    /// The model takes longer, or less long, than it did.
    ModelLatencyShift = "model_latency_shift", "milliseconds (geometric mean)", "milliseconds before", "blocks of 32 to 256 calls", "0";
    /// Calls of the model fail more often, or less, than they did.
    ModelErrorShift = "model_error_shift", "share of calls that fail", "share before", "blocks of 32 to 256 calls", "0";
    /// The model refuses more often, or less, than it did.
    ModelRefusalShift = "model_refusal_shift", "share of calls that are refused", "share before", "blocks of 32 to 256 calls", "0";
    /// The model's answers are longer, or shorter, than they were.
    ModelOutputShift = "model_output_shift", "tokens of an answer (geometric mean)", "tokens before", "blocks of 32 to 256 calls", "0";
    /// The first words of the model's streams take longer, or less long, than they did.
    ModelFirstChunkShift = "model_first_chunk_shift", "milliseconds to the first chunk (geometric mean)", "milliseconds before", "blocks of 32 to 256 streams", "0";
    /// The slowest calls of the model are slower, or faster, than they were: the tail, where the mean may stand still.
    ModelTailShift = "model_tail_shift", "share of calls that take longer than 19 of 20 did", "share before", "blocks of 32 to 256 calls", "0";
    /// The model is given longer, or shorter, prompts than it was.
    ModelInputShift = "model_input_shift", "tokens of a prompt (geometric mean)", "tokens before", "blocks of 32 to 256 calls", "0";
    /// A call of the model costs more, or less, than it did.
    ModelCostShift = "model_cost_shift", "cost of 1,000 calls, in the source's currency (geometric mean)", "cost before", "blocks of 32 to 256 calls", "0";
    /// The model's answers are cut off at the most tokens more often, or less, than they were.
    ModelCutOffShift = "model_cut_off_shift", "share of answers that are cut off", "share before", "blocks of 32 to 256 answers", "0";
    /// The model answers with structured data (JSON, tables) more often, or less, than it did.
    ModelFormatShift = "model_format_shift", "share of answers with text that have structured data", "share before", "blocks of 32 to 256 answers", "0";
    /// The model calls tools more often, or less, than it did.
    ModelToolCallShift = "model_tool_call_shift", "share of answers that call tools", "share before", "blocks of 32 to 256 answers", "0";
    /// The model is reached at a provider or an endpoint at which it has not been reached.
    ModelNewRoute = "model_new_route", "days on which it was reached there", "routes known of the model", "days on which the model was used", "other models of the application that are reached there";
    /// Another model says that it answers than ever did under this name.
    ModelNewVersion = "model_new_version", "days on which it answered", "models known to answer under the name", "days on which the model was used", "other names of the application under which it answers";
    /// The account fills one template in ever new ways: answers for a data set are collected.
    AccountTemplateSweep = "account_template_sweep", "different fillings of one template today", "the most that is usual for the account or its peers", "days of the account and its peers", "share of the day's prompts that fill it";
    /// The account goes through a space of inputs: very many prompts, all different, in very many words.
    AccountCoverageSweep = "account_coverage_sweep", "different prompts today", "the most that is usual for the account or its peers", "days of the account and its peers", "different words in them";
    /// The account asks for one text again and again, each time altered a little, and reads scores: a membership probe.
    AccountMembershipProbe = "account_membership_probe", "near copies of one text today", "the most that is usual for the account or its peers", "days of the account and its peers", "those of them that were answered with log-probabilities";
    /// The account builds a text up, each prompt being the one before with a little more: an inversion, or a reconstruction.
    AccountInversionChain = "account_inversion_chain", "prompts of which each continues the one before", "the most that is usual for the account or its peers", "days of the account and its peers", "those of the day's prompts that were answered with log-probabilities";
    /// The account collects log-probabilities far beyond what is usual.
    AccountLogprobHarvest = "account_logprob_harvest", "answers with log-probabilities today", "the most that is usual for the account or its peers", "days of the account and its peers", "share of the day's answers that have them";
}

/// The table of `docs/reference/behaviour.md`.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(
        "| insight | what it says | observed | expected | support | peers |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for name in Name::ALL {
        let [says, observed, expected, support, peers] = name.reference();
        out.push_str(&format!("| `{}` | {} | {observed} | {expected} | {support} | {peers} |\n", name.as_str(), says.trim()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the table anew when `WATCHKEEPER_WRITE_DOCS` is set.
    #[test]
    fn the_reference_page_has_these_insights() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/behaviour.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (begin, end) = ("<!-- insights: generated -->\n", "<!-- insights: end -->\n");
        let (head, rest) = page.split_once(begin).unwrap();
        let (table, tail) = rest.split_once(end).unwrap();
        if std::env::var_os("WATCHKEEPER_WRITE_DOCS").is_some() {
            std::fs::write(path, format!("{head}{begin}{}{end}{tail}", reference())).unwrap();
        } else {
            assert_eq!(table, reference(), "run `cargo xtask docs`");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = Name::ALL.iter().map(|name| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Name::ALL.len());
    }
}
