//! Canonical attribute keys: OpenTelemetry's names first, then ECS's, then our own (`watchkeeper.*`).
//!
//! Named once here so that a column, a rule field and a dialect table cannot drift apart.

use crate::Key;

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Key = Key::of($text);)*

        /// Every key that this module names.
        pub const ALL: &[Key] = &[$($name),*];
    };
}

keys! {
    /// What the operation is: `chat`, `execute_tool`, `invoke_agent`, `retrieval` ...
    GEN_AI_OPERATION_NAME = "gen_ai.operation.name";
    /// Who provides the model: `openai`, `anthropic` ...
    GEN_AI_PROVIDER_NAME = "gen_ai.provider.name";
    /// The model that was asked for.
    GEN_AI_REQUEST_MODEL = "gen_ai.request.model";
    /// The model that answered.
    GEN_AI_RESPONSE_MODEL = "gen_ai.response.model";
    /// The provider's id of the response.
    GEN_AI_RESPONSE_ID = "gen_ai.response.id";
    /// Why the model stopped (list).
    GEN_AI_RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons";
    /// Seconds to the first chunk of a stream.
    GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk";
    /// Whether the response was asked for as a stream.
    GEN_AI_REQUEST_STREAM = "gen_ai.request.stream";
    /// Sampling temperature.
    GEN_AI_REQUEST_TEMPERATURE = "gen_ai.request.temperature";
    /// Most tokens that were asked for.
    GEN_AI_REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens";
    /// Tokens read.
    GEN_AI_USAGE_INPUT_TOKENS = "gen_ai.usage.input_tokens";
    /// Tokens written.
    GEN_AI_USAGE_OUTPUT_TOKENS = "gen_ai.usage.output_tokens";
    /// Tokens read from the provider's cache.
    GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.cache_read.input_tokens";
    /// Tokens written to the provider's cache.
    GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS = "gen_ai.usage.cache_creation.input_tokens";
    /// Tokens spent on reasoning.
    GEN_AI_USAGE_REASONING_OUTPUT_TOKENS = "gen_ai.usage.reasoning.output_tokens";
    /// The tool's name.
    GEN_AI_TOOL_NAME = "gen_ai.tool.name";
    /// The id that ties a tool's call to its result.
    GEN_AI_TOOL_CALL_ID = "gen_ai.tool.call.id";
    /// `function`, `extension`, `datastore`, `mcp` ...
    GEN_AI_TOOL_TYPE = "gen_ai.tool.type";
    /// The store or knowledge base that was asked.
    GEN_AI_DATA_SOURCE_ID = "gen_ai.data_source.id";
    /// MCP method.
    MCP_METHOD_NAME = "mcp.method.name";
    /// MCP session.
    MCP_SESSION_ID = "mcp.session.id";
    /// MCP resource.
    MCP_RESOURCE_URI = "mcp.resource.uri";
    /// The MCP server's name, where the source tells it.
    MCP_SERVER_NAME = "mcp.server.name";
    /// The MCP server's version, as it says.
    MCP_SERVER_VERSION = "mcp.server.version";
    /// Version of MCP that the two sides speak.
    MCP_PROTOCOL_VERSION = "mcp.protocol.version";
    /// Id of a JSON-RPC request, as text.
    JSONRPC_REQUEST_ID = "jsonrpc.request.id";
    /// Code of an RPC error, as text.
    RPC_RESPONSE_STATUS_CODE = "rpc.response.status_code";
    /// `pipe` (stdio) or `tcp`.
    NETWORK_TRANSPORT = "network.transport";
    /// Name of a prompt template.
    GEN_AI_PROMPT_NAME = "gen_ai.prompt.name";
    /// MCP: under which name the proxy knows the server. The server's own name is `mcp.server.name`.
    MCP_PROXY_SERVER = "watchkeeper.mcp.server";
    /// MCP: who sent the request or notification, `client` or `server`.
    MCP_SENDER = "watchkeeper.mcp.sender";
    /// MCP: what is wrong with a message: `malformed`, `ambiguous`, `too_large`, `id_reused`, `unmatched_response` ...
    MCP_ANOMALY = "watchkeeper.mcp.anomaly";
    /// MCP: what became of a tool's definition: `first_seen`, `added`, `changed`, `removed`.
    MCP_TOOL_CHANGE = "watchkeeper.mcp.tool.change";
    /// MCP: SHA-256 of the tool's definition (RFC 8785, sanitised).
    MCP_TOOL_HASH = "watchkeeper.mcp.tool.hash";
    /// MCP: the same of the definition that was pinned before.
    MCP_TOOL_HASH_BEFORE = "watchkeeper.mcp.tool.hash_before";
    /// MCP: where the definition differs from the one before, as JSON pointers (list).
    MCP_TOOL_PATHS = "watchkeeper.mcp.tool.paths";
    /// MCP: messages that were counted and have no event of their own, by method (map).
    MCP_COUNTED = "watchkeeper.mcp.counted";
    /// How many events of this source could not be recorded before this one.
    EVENTS_UNRECORDED = "watchkeeper.events.unrecorded";
    /// Why it failed.
    ERROR_TYPE = "error.type";
    /// Host of the other side.
    SERVER_ADDRESS = "server.address";
    /// Port of the other side.
    SERVER_PORT = "server.port";
    /// Address that was connected to, where `server.address` is a name.
    NETWORK_PEER_ADDRESS = "network.peer.address";
    /// Port of that address.
    NETWORK_PEER_PORT = "network.peer.port";
    /// The name that a TLS client asked for (SNI).
    TLS_CLIENT_SERVER_NAME = "tls.client.server_name";
    /// Bytes from the client to the server, whatever they hold (ECS).
    SOURCE_BYTES = "source.bytes";
    /// Bytes from the server to the client, whatever they hold (ECS).
    DESTINATION_BYTES = "destination.bytes";
    /// The whole URL, credentials removed.
    URL_FULL = "url.full";
    /// HTTP method.
    HTTP_REQUEST_METHOD = "http.request.method";
    /// HTTP status.
    HTTP_RESPONSE_STATUS_CODE = "http.response.status_code";
    /// Bytes sent.
    HTTP_REQUEST_BODY_SIZE = "http.request.body.size";
    /// Bytes received.
    HTTP_RESPONSE_BODY_SIZE = "http.response.body.size";
    /// Database system.
    DB_SYSTEM_NAME = "db.system.name";
    /// Database or collection.
    DB_NAMESPACE = "db.namespace";
    /// Table or index.
    DB_COLLECTION_NAME = "db.collection.name";
    /// Operation on the database.
    DB_OPERATION_NAME = "db.operation.name";
    /// Rows that came back.
    DB_RESPONSE_RETURNED_ROWS = "db.response.returned_rows";
    /// Which of the `db.*` attributes were read out of the query's text, because the source did not tell them (list).
    DB_DERIVED = "watchkeeper.db.derived";
    /// Country of the client (ISO 3166-1 alpha-2).
    GEO_COUNTRY_ISO_CODE = "geo.country.iso_code";
    /// Region of the client (ISO 3166-2).
    GEO_REGION_ISO_CODE = "geo.region.iso_code";
    /// City of the client.
    GEO_LOCALITY_NAME = "geo.locality.name";
    /// Number of the autonomous system that the client's address belongs to (ECS: as.number).
    AS_NUMBER = "as.number";
    /// Who runs that autonomous system (ECS: as.organization.name).
    AS_ORGANIZATION_NAME = "as.organization.name";
    /// Which database the place of the client was looked up in, with the day it was made; absent where the source told the place.
    GEO_DATABASE = "watchkeeper.geo.database";
    /// Digest of the policy by which the event was sanitised; absent where it is the default.
    SANITIZER_POLICY = "watchkeeper.sanitizer.policy";
    /// Values of the event, sealed for two officers, under the keys of its subjects.
    RECOVERY_SEALED = "watchkeeper.recovery.sealed";
    /// How many values were to be sealed and could not be.
    RECOVERY_LEFT_OUT = "watchkeeper.recovery.left_out";
    /// What threat intelligence says of the event: indicators that its values match (list of maps).
    INTEL_HITS = "watchkeeper.intel.hits";
    /// Digest of the set of indicators that said it.
    INTEL_SET = "watchkeeper.intel.set";
    /// How many more indicators match than are listed.
    INTEL_LEFT_OUT = "watchkeeper.intel.left_out";
    /// What kind of action it was (ECS): `read`, `write`, `create`, `delete`, `login` ...
    EVENT_ACTION = "event.action";
    /// How it ended (ECS): `success`, `failure`, `unknown`.
    EVENT_OUTCOME = "event.outcome";
    /// Package name (ECS).
    PACKAGE_NAME = "package.name";
    /// Package version (ECS).
    PACKAGE_VERSION = "package.version";
    /// Package manager (ECS: package.type).
    PACKAGE_TYPE = "package.type";
    /// Where the package comes from (ECS).
    PACKAGE_REFERENCE = "package.reference";
    /// A guardrail's verdict.
    GEN_AI_GUARDRAIL_VERDICT_TYPE = "gen_ai.guardrail.verdict.type";
    /// What was done on the verdict.
    GEN_AI_GUARDRAIL_ACTION_TYPE = "gen_ai.guardrail.action.type";
    /// The policy that a guardrail applied.
    GEN_AI_GUARDRAIL_SECURITY_POLICY_ID = "gen_ai.guardrail.security.policy.id";
    /// The risk that a guardrail saw.
    GEN_AI_GUARDRAIL_SECURITY_RISK_CATEGORY = "gen_ai.guardrail.security.risk.category";
    /// How sure it was, 0 to 1.
    GEN_AI_GUARDRAIL_SECURITY_RISK_SCORE = "gen_ai.guardrail.security.risk.score";
    /// The guardrail's name.
    GEN_AI_GUARDRAIL_COMPONENT_NAME = "gen_ai.guardrail.component.name";
    /// The event that this one was derived from.
    CAUSE_EVENT_ID = "watchkeeper.cause.event_id";
    /// Ties the request and the response of one gateway call.
    CALL_ID = "watchkeeper.call.id";
    /// Whether a tool's use was approved, and how: `approved`, `denied`, `auto` ...
    APPROVAL_STATUS = "watchkeeper.approval.status";
    /// Who or what approved it: `config`, `hook`, `user` ...
    APPROVAL_SOURCE = "watchkeeper.approval.source";
    /// How the request was authenticated upstream: `bearer`, `api_key`, `none` ... Never the credential.
    AUTH_METHOD = "watchkeeper.auth.method";
    /// The average of the tokens' log-probabilities, where the model gives them.
    LOGPROB_MEAN = "watchkeeper.response.logprob.mean";
    /// What the text of the output is, found by inspection (list): `refusal`, `code`, `structured_data`, `financial`, `credentials`,
    /// `personal_data`, `markup_exfiltration`, `prose`.
    RESPONSE_CATEGORY = "watchkeeper.response.category";
    /// Rows of the output with amounts of money, account or card numbers, where there are three or more.
    RESPONSE_FINANCIAL_ROWS = "watchkeeper.response.financial_rows";
    /// How many attributes no dialect knew.
    UNMAPPED_COUNT = "watchkeeper.unmapped.count";
    /// How many per-chunk span events were dropped.
    CHUNK_EVENTS_DROPPED = "watchkeeper.chunk_events.dropped";
    /// How many bytes of content were cut at a limit.
    CONTENT_BYTES_CUT = "watchkeeper.content.bytes_cut";
    /// How many pieces or attributes were dropped at a limit.
    ITEMS_DROPPED = "watchkeeper.items.dropped";
    /// How many contents were not kept because another attribute of the same event carries the same.
    DUPLICATES_DROPPED = "watchkeeper.duplicates.dropped";
    /// Why a record is missing (gap events).
    GAP_REASON = "watchkeeper.gap.reason";
    /// How many are missing (gap events).
    GAP_COUNT = "watchkeeper.gap.count";
    /// What the gateway added to the call, in microseconds.
    GATEWAY_OVERHEAD_US = "watchkeeper.gateway.overhead_us";
    /// How a stream ended: `complete`, `client_disconnect`, `upstream_error`, `malformed`, `blocked`; a tunnel of the egress
    /// proxy also `client_closed`, `upstream_closed`, `idle`, `proxy_stopped`.
    STREAM_END = "watchkeeper.stream.end";
    /// Why a guardrail decided as it did: risk, rule and score, in words.
    GUARD_REASON = "watchkeeper.guard.reason";
    /// How long the decision took, in microseconds.
    GUARD_LATENCY_US = "watchkeeper.guard.latency_us";
    /// What the policy says of a call that cannot be judged: `open` or `closed`.
    GUARD_ON_FAILURE = "watchkeeper.guard.on_failure";
    /// Values that were replaced before a text went on.
    GUARD_REDACTIONS = "watchkeeper.guard.redactions";
    /// What the policy says of a call that cannot be recorded: `open` or `closed`.
    RECORD_ON_FAILURE = "watchkeeper.record.on_failure";
    /// Bytes of text of an answer that were scanned before they were handed out.
    ANSWER_SCANNED_BYTES = "watchkeeper.answer.scanned_bytes";
    /// Bytes of text of an answer that were handed out without having been scanned.
    ANSWER_UNSCANNED_BYTES = "watchkeeper.answer.unscanned_bytes";
    /// The virtual key that a call came with.
    GATEWAY_KEY = "watchkeeper.gateway.key";
    /// How the egress proxy saw a call: `http` (plain text), `tunnel` (bytes of a CONNECT), `intercepted` (TLS that it ended
    /// itself).
    EGRESS_MODE = "watchkeeper.egress.mode";
    /// The API key with which a caller of the egress proxy showed who it is (its id).
    EGRESS_KEY = "watchkeeper.egress.key";
    /// Evaluation: what is measured; of Watchkeeper's own the name of the evaluation.
    GEN_AI_EVALUATION_NAME = "gen_ai.evaluation.name";
    /// Evaluation: the score; of Watchkeeper's own 0 to 1.
    GEN_AI_EVALUATION_SCORE_VALUE = "gen_ai.evaluation.score.value";
    /// Evaluation: the score in a word; of Watchkeeper's own `pass`, `fail` or `error`.
    GEN_AI_EVALUATION_SCORE_LABEL = "gen_ai.evaluation.score.label";
    /// Evaluation: ties the results of one run.
    EVALUATION_RUN = "watchkeeper.evaluation.run";
    /// Evaluation: the benchmark set.
    EVALUATION_SET = "watchkeeper.evaluation.set";
    /// Evaluation: SHA-256 of the set, hexadecimal.
    EVALUATION_SET_DIGEST = "watchkeeper.evaluation.set_digest";
    /// Evaluation: the item of the set.
    EVALUATION_ITEM = "watchkeeper.evaluation.item";
    /// Evaluation: the item's category.
    EVALUATION_CATEGORY = "watchkeeper.evaluation.category";
    /// Evaluation: `not_compared`, `no_change`, `changed` or `failed`.
    EVALUATION_OUTCOME = "watchkeeper.evaluation.outcome";
    /// Evaluation: what follows (list): `no_change`, `drift`, `tampering_or_swap`.
    EVALUATION_VERDICT = "watchkeeper.evaluation.verdict";
    /// Evaluation: what has changed (list): `score`, `model_name`, `system_fingerprint`, `input_tokens`, `answers`.
    EVALUATION_CHANGES = "watchkeeper.evaluation.changes";
    /// Evaluation: the categories whose score has changed (list).
    EVALUATION_CHANGED_CATEGORIES = "watchkeeper.evaluation.changed_categories";
    /// Evaluation: items with a score.
    EVALUATION_ITEMS = "watchkeeper.evaluation.items";
    /// Evaluation: items without one.
    EVALUATION_FAILED = "watchkeeper.evaluation.failed";
    /// Evaluation: the score of the baseline, 0 to 1.
    EVALUATION_SCORE_BEFORE = "watchkeeper.evaluation.score_before";
    /// Evaluation: the probability of such a change of the score where there is none, corrected for all that is tested.
    EVALUATION_P = "watchkeeper.evaluation.p";
    /// Evaluation: the least drop of the score that the set shows in four of five cases.
    EVALUATION_LEAST_CHANGE = "watchkeeper.evaluation.least_change";
    /// Evaluation: SHA-256 of the baseline, hexadecimal.
    EVALUATION_BASELINE = "watchkeeper.evaluation.baseline";
    /// Evaluation: how the file of the baseline was found: `accepted`, `first`, or `missing`, `changed`, `lost`.
    EVALUATION_BASELINE_STATE = "watchkeeper.evaluation.baseline_state";
    /// Evaluation: the comparison as JSON text: tests, likeness of answers, names before and now, notes.
    EVALUATION_COMPARISON = "watchkeeper.evaluation.comparison";
    /// Evaluation: why it failed.
    EVALUATION_PROBLEM = "watchkeeper.evaluation.problem";
    /// Detection: the rule.
    DETECTION_RULE = "watchkeeper.detection.rule";
    /// Detection: its title.
    DETECTION_TITLE = "watchkeeper.detection.title";
    /// Detection: the ATLAS technique; of several, the first.
    DETECTION_TECHNIQUE = "watchkeeper.detection.technique";
    /// Detection: every ATLAS technique that it is evidence of (list).
    DETECTION_TECHNIQUES = "watchkeeper.detection.techniques";
    /// Detection: entries of the OWASP Top 10 lists for LLM and for agentic applications (list).
    DETECTION_OWASP = "watchkeeper.detection.owasp";
    /// Detection: items of NIST AI RMF and AI 600-1 (list).
    DETECTION_NIST = "watchkeeper.detection.nist";
    /// Detection: the runbook that says what to do.
    DETECTION_RUNBOOK = "watchkeeper.detection.runbook";
    /// Detection: `informational`, `low`, `medium`, `high`, `critical`.
    DETECTION_SEVERITY = "watchkeeper.detection.severity";
    /// Detection: how sure, 0 to 1.
    DETECTION_CONFIDENCE = "watchkeeper.detection.confidence";
    /// Detection: `seen`, `acted_on` or `reached`, for injections.
    DETECTION_GRADE = "watchkeeper.detection.grade";
    /// Detection: ids of the events that it rests on (list).
    DETECTION_EVENTS = "watchkeeper.detection.events";
    /// Detection: the values that show it (map or text).
    DETECTION_EVIDENCE = "watchkeeper.detection.evidence";
    /// Detection: digest of the rule's text, so that it can be replayed with the same version.
    DETECTION_RULE_DIGEST = "watchkeeper.detection.rule_digest";
    /// Metric: its value; of a histogram the sum.
    METRIC_VALUE = "watchkeeper.metric.value";
    /// Metric: how many measurements a histogram or summary holds.
    METRIC_COUNT = "watchkeeper.metric.count";
    /// Metric: the smallest measurement of a histogram, where it says so.
    METRIC_MIN = "watchkeeper.metric.min";
    /// Metric: the largest measurement of a histogram, where it says so.
    METRIC_MAX = "watchkeeper.metric.max";
    /// Metric: its unit, in UCUM as the source writes it (`{token}`, `s`, `USD`).
    METRIC_UNIT = "watchkeeper.metric.unit";
    /// Metric: `counter`, `up_down_counter`, `gauge`, `histogram` or `summary`.
    METRIC_TYPE = "watchkeeper.metric.type";
    /// Metric: `delta` (since the last report) or `cumulative` (since `watchkeeper.metric.start_ns`).
    METRIC_TEMPORALITY = "watchkeeper.metric.temporality";
    /// Metric: when counting began, in nanoseconds since 1970.
    METRIC_START_NS = "watchkeeper.metric.start_ns";
    /// The kind of token that a metric counts: `input`, `output`, `cache_read`, `cache_creation` ...
    GEN_AI_TOKEN_TYPE = "gen_ai.token.type";
    /// Span: how many log records have brought content to it.
    JOINED_RECORDS = "watchkeeper.joined.records";
    /// Log record: the event of the span that its content was joined to, or, where it has content itself, that it completes.
    JOINED_TO = "watchkeeper.joined.to";
    /// Log record whose content belongs to a span: why it stands on its own (`span_not_seen`, `span_recorded_before`, `no_room`).
    JOIN_MISSED = "watchkeeper.join.missed";
    /// Administration: what was changed.
    ADMIN_OBJECT = "watchkeeper.admin.object";
    /// Administration: what the object was before, as text or JSON; absent where there was nothing.
    ADMIN_BEFORE = "watchkeeper.admin.before";
    /// Administration: what the object is since then, as text or JSON; absent where there is nothing any more.
    ADMIN_AFTER = "watchkeeper.admin.after";
}

/// Whether a finish reason says that the model or its provider refused to answer.
#[must_use]
pub fn is_refusal_reason(reason: &str) -> bool {
    ["refusal", "content_filter", "SAFETY"].iter().any(|word| reason.contains(word))
}
