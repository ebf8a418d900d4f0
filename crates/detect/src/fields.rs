//! The fields that rules see: an event, flattened to Sigma's names. This list is the reference (`docs/reference/rules.md`
//! is generated from it).

use event::attr;

use crate::behaviour::Name;

/// The product of our log source.
pub const PRODUCT: &str = "ai";

/// The categories of our log source, and the kinds of event in each.
pub const CATEGORIES: &[(&str, &str)] = &[
    ("llm", "`model_call`, `system_prompt`, `evaluation`: what models were asked and answered"),
    ("tool", "`tool_call`, `installation`, `data_access`, `external_call`, and every tool call that a `model_call` holds"),
    ("retrieval", "`retrieval`: look-ups in vector stores and knowledge bases"),
    ("agent", "`agent_step`: plans, delegations, hand-offs"),
    ("guardrail", "`guardrail`: decisions of guardrails, moderation, approval"),
    ("auth", "`session`, `admin`: sign-in, permissions, keys, configuration"),
    ("gap", "`gap`: what should have been recorded and was not"),
    ("metric", "`metric`: what an instrumentation measured in sum"),
];

/// The services of our log source: the ways by which events come in.
pub const SERVICES: &[(&str, &str)] = &[
    ("otlp_grpc", "OpenTelemetry over gRPC"),
    ("otlp_http", "OpenTelemetry over HTTP"),
    ("gateway", "the LLM gateway"),
    ("mcp", "the MCP proxy"),
    ("egress", "the egress proxy"),
    ("hook", "hooks of coding agents"),
    ("api", "`POST /v1/events`, and the client crate"),
    ("import", "`watchkeeper import`"),
    ("internal", "Watchkeeper itself: what it says of its own administration, and of silence"),
];

/// A field that rules can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name. A name that ends in `.*` stands for every name that begins so.
    pub name: &'static str,
    /// `text`, `number`, `flag`, or one of them followed by `list`. A list matches when any of its values does.
    pub kind: &'static str,
    /// What it is.
    pub meaning: &'static str,
    /// A value that it may have; of a name that stands for several, one of them with its value.
    pub example: &'static str,
}

/// Every field but the canonical attributes ([`event::attr::ALL`]), which keep their own names.
pub const FIELDS: &[Field] = &[
    field("@timestamp", "text", "when it began: nanoseconds since 1970 as text", "1764547200000000000"),
    field("event.id", "text", "the event", "0190163d-8694-739b-aea5-966c26f8ad90"),
    field("event.kind", "text", "what happened: `model_call`, `tool_call`, `retrieval` ...", "tool_call"),
    field("event.name", "text", "the operation's name (a span's name, a log's event name)", "execute_tool search"),
    field("event.phase", "text", "`complete`, `request` or `response`", "response"),
    field("event.status", "text", "`unset`, `ok` or `error`", "ok"),
    field("event.duration_ms", "number", "how long it took, in milliseconds", "1830"),
    field("trace.id", "text", "the W3C trace", "0af7651916cd43dd8448eb211c80319c"),
    field("session.id", "text", "the conversation", "s-17"),
    field("user.id", "text", "the end user", "user-4711"),
    field("user.name", "text", "the end user's name", "[NAME:3f9c]"),
    field("service.name", "text", "the application", "help-desk"),
    field("service.version", "text", "its version", "2.4.1"),
    field("gen_ai.agent.id", "text", "the agent", "robin"),
    field("gen_ai.agent.name", "text", "its name, or its id where it has none", "Robin"),
    field("gen_ai.agent.version", "text", "its version", "7"),
    field("watchkeeper.delegation", "text list", "the agents that it acts for, nearest first", "planner"),
    field("watchkeeper.credential.id", "text", "the credential that was presented (a keyed hash)", "c41d9a"),
    field("client.address", "text", "where the request came from", "[IP:8a21]"),
    field("user_agent.original", "text", "with which client", "openai-python/1.60"),
    field(
        "watchkeeper.source.path",
        "text",
        "the way in: `otlp_grpc`, `otlp_http`, `gateway`, `api`, `mcp`, `egress`, `hook`, `import`, `internal`",
        "otlp_http",
    ),
    field("watchkeeper.source.dialect", "text", "the dialect that it was read with", "otel_genai"),
    field(
        "unmapped.*",
        "any",
        "what the source said and no dialect knows, under the source's own name",
        "unmapped.permission_mode: plan",
    ),
    field("watchkeeper.text.user", "text list", "new text of the user", "What did we sell in March?"),
    field(
        "watchkeeper.text.assistant",
        "text list",
        "new text of the model, said now or sent back to it as history",
        "I will look that up.",
    ),
    field("watchkeeper.text.output", "text list", "new text that the model answered with", "In March we sold 412."),
    field("watchkeeper.text.reasoning", "text list", "new reasoning of the model", "The user wants a number."),
    field("watchkeeper.text.tool", "text list", "new text of tool results", "{\"rows\": 412}"),
    field("watchkeeper.text.document", "text list", "new text of retrieved documents", "Sales report, March"),
    field(
        "watchkeeper.text.system",
        "text list",
        "new text of the operator: system and developer instructions",
        "You are the help desk.",
    ),
    field("watchkeeper.text.definition", "text list", "new definitions of tools, as JSON text", "{\"name\": \"search\"}"),
    field("watchkeeper.text.query", "text list", "new queries of retrievals and data stores", "sales march"),
    field("watchkeeper.text.command", "text list", "new command lines", "pip install requests"),
    field("watchkeeper.text.body", "text list", "new text of any other kind (log bodies)", "retrying after 429"),
    field("watchkeeper.text.media", "text list", "new references to images, audio, files", "image/png"),
    field("gen_ai.tool.call.arguments", "text list", "the arguments of the tool call, as JSON text", "{\"query\": \"march\"}"),
    field("gen_ai.tool.call.result", "text list", "what the tool returned", "412 rows"),
    field("watchkeeper.tool.failed", "flag list", "whether the tool reported that it failed", "true"),
    field("watchkeeper.retrieval.score", "number list", "similarity of the documents that came back", "0.82"),
    field("watchkeeper.document.name", "text list", "names of the documents that came back", "sales-march.pdf"),
    field(
        "watchkeeper.conversation.id",
        "text",
        "the conversation as detection joins it, also where the source names no session",
        "5be1c0a2d3f49e77",
    ),
    field(
        "watchkeeper.leak.prompt",
        "text list",
        "how much of the conversation's system prompt new output or arguments give away: `part`, `retold` (in nearly the same \
         words), `whole` (half of it, 180 letters in a row, or any run under a disguise)",
        "whole",
    ),
    field("watchkeeper.leak.prompt.chars", "number list", "letters and digits of the longest run that is repeated", "412"),
    field("watchkeeper.leak.prompt.share", "number list", "share of the prompt that is repeated or retold, 0 to 1", "0.7"),
    field(
        "watchkeeper.leak.prompt.view",
        "text list",
        "the disguise under which it was found: `base64`, `rot13`, `reversed` ...",
        "base64",
    ),
    field(
        "watchkeeper.returned.secret",
        "text list",
        "where a secret came from that new output or arguments give out: `system`, `tool`, `document`; one entry for each",
        "tool",
    ),
    field("watchkeeper.returned.personal", "text list", "the same for personal values", "system"),
    field(
        "watchkeeper.canary",
        "text list",
        "labels of the canaries in new output, arguments, the user's text, or where a call goes",
        "hr-handbook",
    ),
    field(
        "watchkeeper.intel.kind",
        "text list",
        "kinds of the indicators of threat intelligence that values of the event match: `domain`, `url`, `ip`, `email`, `hash`, \
         `user_agent`, `command`, `package`, `mcp_server`, `prompt`, `near_prompt`; of texts those that are new",
        "domain",
    ),
    field(
        "watchkeeper.intel.place",
        "text list",
        "where the values stand: `client`, `destination`, `arguments`, `package`, `mcp_server`, `user`, `answer`, `tool`, `document`, \
         `definition`, `system`",
        "destination",
    ),
    field("watchkeeper.intel.value", "text list", "the indicators' values", "evil.example"),
    field("watchkeeper.intel.id", "text list", "their ids, as STIX writes them", "indicator--8e2e2d2b-…"),
    field("watchkeeper.intel.source", "text list", "the feeds that have them", "isac"),
    field(
        "watchkeeper.intel.tlp",
        "text list",
        "with whom they may be shared: `CLEAR`, `GREEN`, `AMBER`, `AMBER+STRICT`, `RED`",
        "AMBER",
    ),
    field("watchkeeper.intel.label", "text list", "what they are of: malware, campaigns, names", "stealer"),
    field("watchkeeper.intel.confidence", "number list", "how sure the feeds are, 0 to 100", "80"),
    field(
        "watchkeeper.intel.confidence.*",
        "number list",
        "the same of the values at one place, as in `.confidence.destination`",
        "watchkeeper.intel.confidence.destination: 80",
    ),
    field(
        "watchkeeper.intel.*",
        "text list",
        "kinds of the indicators at one place, as in `watchkeeper.intel.destination`",
        "watchkeeper.intel.destination: domain",
    ),
    field(
        "watchkeeper.flow.grade",
        "text list",
        "how far an injection got by this call, result, document or answer: `seen`, `acted_on`, `reached`",
        "reached",
    ),
    field(
        "watchkeeper.flow.destination",
        "text list",
        "where the tool call goes: hosts, e-mail addresses, accounts, repositories, telephones, names in arguments that say to whom",
        "evil.example",
    ),
    field(
        "watchkeeper.flow.destination.kind",
        "text list",
        "what these are, in the same order: `host`, `email`, `account`, `repository`, `ip`, `phone`, `wallet`, `name`, `other`",
        "host",
    ),
    field(
        "watchkeeper.flow.destination.foreign",
        "text list",
        "those that only tools and documents named, neither the user nor the operator",
        "evil.example",
    ),
    field(
        "watchkeeper.flow.destination.new",
        "text list",
        "those that the agent never used before; told of agents that were watched for 20 sessions and three days",
        "evil.example",
    ),
    field("watchkeeper.flow.destination.new_foreign", "text list", "those that are both", "evil.example"),
    field(
        "watchkeeper.flow.destination.new_share",
        "number",
        "share of the agent's last calls (some forty) that went to a new destination, 0 to 1; told where one is new",
        "0.4",
    ),
    field(
        "watchkeeper.flow.tool.unasked",
        "flag",
        "the tool call changes something, and what the user asked for is nothing of the kind",
        "true",
    ),
    field(
        "watchkeeper.turn.rephrased",
        "flag",
        "whether the user asks again, or attacks, within four turns of a refusal",
        "true",
    ),
    field("watchkeeper.conversation.rephrased", "number", "how often that has happened in the conversation", "3"),
    field(
        "watchkeeper.conversation.persona.turns",
        "number",
        "turns of the user with signs of a persona, once a later one frees the persona of rules",
        "2",
    ),
    field(
        "watchkeeper.conversation.persona.signs",
        "number",
        "different signs among them: role, fiction, freed of rules, held to it",
        "3",
    ),
    field(
        "watchkeeper.conversation.pressure",
        "number",
        "sum of the scores of the user's turns from the third scored turn on; each turn takes 15 % off what was before",
        "1.3",
    ),
    field(
        "watchkeeper.insight",
        "text list",
        "what behaviour says of the event: names of insights (`docs/reference/behaviour.md`)",
        "user_off_hours",
    ),
    field(
        "watchkeeper.insight.*",
        "flag, number or text",
        "`watchkeeper.insight.NAME` is true where behaviour says so; likewise `NAME.observed`, `.expected`, `.support`, `.peers` and, \
         where something is new, `.what`",
        "watchkeeper.insight.user_off_hours: true",
    ),
    field("watchkeeper.score", "number", "highest score of the findings in new text, 0 to 1; 0 when there is none", "0.93"),
    field(
        "watchkeeper.score.user",
        "number",
        "the same for text of the user; likewise `.assistant`, `.tool`, `.document`, `.system`",
        "0.93",
    ),
    field(
        "watchkeeper.score.*",
        "number",
        "highest score of the findings in new text of that channel",
        "watchkeeper.score.tool: 0.71",
    ),
    field("watchkeeper.verdict", "text", "what inspection advised for the whole event: `allow`, `warn`, `deny`", "deny"),
    field(
        "watchkeeper.finding.rule",
        "text list",
        "signatures and checks that found something in new text",
        "injection.override",
    ),
    field(
        "watchkeeper.finding.risk",
        "text list",
        "their risks: `prompt_injection`, `jailbreak`, `credential_exposure` ...",
        "prompt_injection",
    ),
    field("watchkeeper.finding.technique", "text list", "their ATLAS techniques", "AML.T0051.000"),
    field("watchkeeper.finding.channel", "text list", "the channels in which they were found", "user"),
    field("watchkeeper.finding.user", "text list", "risks found in new text of the user", "prompt_injection"),
    field("watchkeeper.finding.assistant", "text list", "risks found in new text of the model", "credential_exposure"),
    field("watchkeeper.finding.tool", "text list", "risks found in new tool results", "prompt_injection"),
    field("watchkeeper.finding.document", "text list", "risks found in new documents", "prompt_injection"),
    field("watchkeeper.finding.system", "text list", "risks found in new text of the operator", "encoded_payload"),
    field("watchkeeper.finding.input", "text list", "risks found in any new input", "jailbreak"),
    field("watchkeeper.finding.output", "text list", "risks found in any new output", "credential_exposure"),
    field("watchkeeper.finding.arguments", "text list", "risks found in new arguments of tool calls", "credential_exposure"),
    field(
        "watchkeeper.sanitized.input",
        "text list",
        "types of the values that the sanitiser replaced in new input, one entry for each value",
        "EMAIL",
    ),
    field("watchkeeper.sanitized.output", "text list", "the same for new output of the model", "CARD"),
    field("watchkeeper.sanitized.arguments", "text list", "the same for new arguments of tool calls", "AWS_KEY"),
    field(
        "watchkeeper.sanitized.output.count",
        "number",
        "how many values the sanitiser replaced in new output of the model",
        "2",
    ),
    field(
        "watchkeeper.sanitized.*",
        "number",
        "how many values of that type (`EMAIL`, `CARD` ...) the sanitiser replaced in the whole event",
        "watchkeeper.sanitized.EMAIL: 2",
    ),
];

const fn field(name: &'static str, kind: &'static str, meaning: &'static str, example: &'static str) -> Field {
    Field { name, kind, meaning, example }
}

/// Whether events can have the field.
#[must_use]
pub fn is_known(name: &str) -> bool {
    if let Some(insight) = name.strip_prefix("watchkeeper.insight.") {
        return is_of_insight(insight);
    }
    FIELDS.iter().any(|field| field.name == name || field.name.strip_suffix('*').is_some_and(|prefix| name.starts_with(prefix)))
        || attr::ALL.iter().any(|key| key.as_str() == name)
}

/// Whether that is a statement of behaviour, or what it rests on: a misspelt one would never match.
fn is_of_insight(field: &str) -> bool {
    let (name, part) = field.split_once('.').map_or((field, None), |(name, part)| (name, Some(part)));
    Name::ALL.iter().any(|known| known.as_str() == name)
        && part.is_none_or(|part| matches!(part, "observed" | "expected" | "support" | "peers" | "what"))
}

/// The tables of `docs/reference/rules.md`.
#[must_use]
pub fn reference() -> String {
    let mut out = format!(
        "The log source is `product: {PRODUCT}`, with a `category` for what happened and a `service` for the way by which it came. A rule that \
         leaves one out is asked about all.\n\n| category | events |\n| --- | --- |\n"
    );
    for (name, meaning) in CATEGORIES {
        out.push_str(&format!("| `{name}` | {meaning} |\n"));
    }
    out.push_str("\n| service | events that came by |\n| --- | --- |\n");
    for (name, meaning) in SERVICES {
        out.push_str(&format!("| `{name}` | {meaning} |\n"));
    }
    out.push_str("\n| field | values | what it is | for example |\n| --- | --- | --- | --- |\n");
    for field in FIELDS {
        out.push_str(&format!("| `{}` | {} | {} | `{}` |\n", field.name, field.kind, field.meaning, field.example));
    }
    out.push_str("\nCanonical attributes, under their own names: ");
    let names: Vec<String> = attr::ALL.iter().map(|key| format!("`{}`", key.as_str())).collect();
    out.push_str(&names.join(", "));
    out.push_str(".\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the tables anew when `WATCHKEEPER_WRITE_DOCS` is set.
    #[test]
    fn the_reference_page_has_these_fields() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/rules.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (begin, end) = ("<!-- fields: generated -->\n", "<!-- fields: end -->\n");
        let (head, rest) = page.split_once(begin).unwrap();
        let (table, tail) = rest.split_once(end).unwrap();
        if std::env::var_os("WATCHKEEPER_WRITE_DOCS").is_some() {
            std::fs::write(path, format!("{head}{begin}{}{end}{tail}", reference())).unwrap();
        } else {
            assert_eq!(table, reference(), "run `cargo xtask docs`");
        }
    }

    #[test]
    fn names_are_unique_and_known() {
        let mut names: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for (name, known) in [
            ("gen_ai.tool.name", true),
            ("unmapped.permission_mode", true),
            ("CommandLine", false),
            ("watchkeeper.insight.user_off_hours", true),
            ("watchkeeper.insight.user_new_place.what", true),
            ("watchkeeper.insight.user.off_hours", false),
        ] {
            assert_eq!(is_known(name), known, "{name}");
        }
    }
}
