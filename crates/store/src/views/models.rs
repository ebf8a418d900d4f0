//! Calls of models: prompts, responses, tokens, system prompts.

use super::{Column, MODEL, OUTCOME, View, WHEN, WHERE, WHO, column};

pub(super) const PROMPTS: View = View {
    name: "prompts",
    requirement: "A1",
    about: "One row for each call of a model whose newest input has text of the user. Of a gateway call it is the request.",
    columns: &[
        WHEN,
        WHERE,
        WHO,
        &[column("user_name", "e.user_name", "the user's name, where the source gives one")],
        MODEL,
        &[
            column(
                "prompt",
                "(SELECT texts_of(c.data ORDER BY p.ord) FROM {p}.pieces p JOIN {p}.contents c ON c.id = p.content \
                  WHERE p.seq = e.seq AND p.direction = 0 AND p.role = 1 AND p.part = 0 AND p.history = 0)",
                "the new text of the user, sanitised; several parts have a line break between them",
            ),
            column("risk_score", "e.prompt_score", "highest score of the findings in the prompt, 0 to 1"),
            column(
                "classification",
                "coalesce(e.prompt_risk, 'not_inspected')",
                "risk category of the highest finding in the prompt, `none`, or `not_inspected`",
            ),
            column(
                "safety_filter_outcome",
                "coalesce((SELECT coalesce(g.attributes ->> '$.\"gen_ai.guardrail.action.type\"', \
                  g.attributes ->> '$.\"gen_ai.guardrail.verdict.type\"') FROM {p}.events g WHERE g.kind = 'guardrail' \
                  AND e.call_id IS NOT NULL AND g.call_id = e.call_id ORDER BY g.seq LIMIT 1), \
                  e.attributes ->> '$.\"gen_ai.guardrail.action.type\"', \
                  CASE WHEN e.prompt_score IS NULL THEN NULL WHEN e.prompt_score >= 0.8 THEN 'deny' \
                  WHEN e.prompt_score >= 0.4 THEN 'warn' ELSE 'allow' END, 'not_inspected')",
                "what the guardrail of the call did (`allow`, `block`, `modify`, `escalate`), or else what inspection advises \
                 (`allow`, `warn`, `deny`), or `not_inspected`",
            ),
            column("call_risk_score", "e.score", "highest score of all pieces of the event, tool results and documents included"),
            column("risks", "e.risks", "every risk category found in the event"),
            column("credential", "e.credential", "credential that was presented (a keyed hash)"),
            column("client_address", "e.client_address", "network address of the client"),
            column("user_agent", "e.user_agent", "user agent of the client"),
            column(
                "source",
                "e.source_path",
                "the way in: `otlp_grpc`, `otlp_http`, `gateway`, `api`, `mcp`, `egress`, `hook`, `import`",
            ),
        ],
    ],
    from: "{p}.events e WHERE e.has_prompt = 1",
    merge: None,
};

pub(super) const RESPONSES: View = View {
    name: "responses",
    requirement: "A12",
    about: "One row for each call of a model that is over, with or without output. Of a gateway call it is the response.",
    columns: &[
        WHEN,
        WHERE,
        WHO,
        MODEL,
        &[
            column(
                "response",
                "(SELECT texts_of(c.data ORDER BY p.ord) FROM {p}.pieces p JOIN {p}.contents c ON c.id = p.content \
                  WHERE p.seq = e.seq AND p.direction = 1 AND p.part = 0)",
                "the text of the output, sanitised",
            ),
            column(
                "reasoning",
                "(SELECT texts_of(c.data ORDER BY p.ord) FROM {p}.pieces p JOIN {p}.contents c ON c.id = p.content \
                  WHERE p.seq = e.seq AND p.direction = 1 AND p.part = 1)",
                "the reasoning that the model gave out",
            ),
            column(
                "tool_calls",
                "(SELECT count(*) FROM {p}.pieces p WHERE p.seq = e.seq AND p.direction = 1 AND p.part = 2)",
                "how many tool calls the output asks for (see `agent_actions`)",
            ),
            column("finish_reasons", "e.finish_reasons", "why the model stopped"),
            column(
                "confidence",
                "CASE WHEN e.logprob_mean <= 0 THEN exp(e.logprob_mean) END",
                "geometric mean of the tokens' probabilities, 0 to 1, where the model gives log-probabilities",
            ),
            column("logprob_mean", "e.logprob_mean", "mean of the tokens' log-probabilities (natural logarithm)"),
            column("risk_score", "e.response_score", "highest score of the findings in the output, 0 to 1"),
            column(
                "safety_classification",
                "coalesce(e.response_risk, 'not_inspected')",
                "risk category of the highest finding in the output, `none`, or `not_inspected`",
            ),
            column(
                "response_category",
                "e.output",
                "`text`, `tool_call`, `reasoning`, `refusal` (the provider says so, or the text does), `error`, `empty`, or `not_captured` \
                 (the source reports the call without its content)",
            ),
            column(
                "response_kinds",
                "e.attributes ->> '$.\"watchkeeper.response.category\"'",
                "what the text of the output is, JSON list: `refusal`, `code`, `structured_data`, `financial`, `credentials`, \
                 `personal_data`, `markup_exfiltration`, `prose`",
            ),
            column(
                "financial_rows",
                "e.attributes ->> '$.\"watchkeeper.response.financial_rows\"'",
                "rows with amounts of money, account or card numbers in the output, where there are three or more",
            ),
            column("response_id", "e.attributes ->> '$.\"gen_ai.response.id\"'", "the provider's id of the response"),
            column(
                "time_to_first_chunk_s",
                "e.attributes ->> '$.\"gen_ai.response.time_to_first_chunk\"'",
                "seconds to the first chunk of a stream",
            ),
            column("stream_end", "e.attributes ->> '$.\"watchkeeper.stream.end\"'", "how a stream through the gateway ended"),
        ],
        TOKENS,
        OUTCOME,
    ],
    from: "{p}.events e WHERE e.output IS NOT NULL",
    merge: None,
};

const TOKENS: &[Column] = &[
    column("input_tokens", "e.input_tokens", "tokens read"),
    column("output_tokens", "e.output_tokens", "tokens written"),
    column(
        "cached_tokens",
        "e.cached_tokens",
        "tokens read from the provider's cache (part of `input_tokens` with most providers)",
    ),
    column("total_tokens", "coalesce(e.input_tokens, 0) + coalesce(e.output_tokens, 0)", "input and output together"),
];

pub(super) const TOKEN_USAGE: View = View {
    name: "token_usage",
    requirement: "A10",
    about: "One row for each call of a model that reports tokens.",
    columns: &[
        WHEN,
        WHERE,
        WHO,
        MODEL,
        TOKENS,
        &[
            column("cache_creation_tokens", "e.cache_creation_tokens", "tokens written to the provider's cache"),
            column("reasoning_tokens", "e.reasoning_tokens", "tokens spent on reasoning (part of `output_tokens`)"),
            column("credential", "e.credential", "credential that was presented (a keyed hash)"),
        ],
        OUTCOME,
    ],
    from: "{p}.events e WHERE e.kind = 'model_call' AND e.phase <> 'request' \
           AND coalesce(e.input_tokens, e.output_tokens, e.cached_tokens) IS NOT NULL",
    merge: None,
};

pub(super) const TOKEN_USAGE_BY_SESSION: View = View {
    name: "token_usage_by_session",
    requirement: "A10",
    about: "Totals of `token_usage` for each session.",
    columns: &[&[
        column("session_id", "e.session_id", "session or conversation"),
        column("user_id", "e.user_id", "end user"),
        column("application", "e.application", "application or service"),
        column("first_time", "e.time_ns", "first call"),
        column("last_time", "e.time_ns", "last call"),
        column("calls", "1", "calls of models"),
        column("input_tokens", "e.input_tokens", "tokens read"),
        column("output_tokens", "e.output_tokens", "tokens written"),
        column("cached_tokens", "e.cached_tokens", "tokens read from the provider's cache"),
        column("total_tokens", "coalesce(e.input_tokens, 0) + coalesce(e.output_tokens, 0)", "input and output together"),
    ]],
    from: "{p}.events e WHERE e.kind = 'model_call' AND e.phase <> 'request' AND e.session_id IS NOT NULL \
           AND coalesce(e.input_tokens, e.output_tokens, e.cached_tokens) IS NOT NULL",
    merge: Some(
        "SELECT session_id, max(user_id) AS user_id, max(application) AS application, iso_time(min(first_time)) AS first_time, \
         iso_time(max(last_time)) AS last_time, sum(calls) AS calls, sum(input_tokens) AS input_tokens, \
         sum(output_tokens) AS output_tokens, sum(cached_tokens) AS cached_tokens, sum(total_tokens) AS total_tokens \
         FROM {rows} GROUP BY session_id",
    ),
};

pub(super) const TOKEN_USAGE_BY_USER_DAY: View = View {
    name: "token_usage_by_user_day",
    requirement: "A10",
    about: "Totals of `token_usage` for each user and day: the trend.",
    columns: &[&[
        column("day", "substr(e.time, 1, 10)", "day (UTC)"),
        column("user_id", "e.user_id", "end user"),
        column("calls", "1", "calls of models"),
        column("sessions", "e.session_id", "sessions"),
        column("input_tokens", "e.input_tokens", "tokens read"),
        column("output_tokens", "e.output_tokens", "tokens written"),
        column("cached_tokens", "e.cached_tokens", "tokens read from the provider's cache"),
        column("total_tokens", "coalesce(e.input_tokens, 0) + coalesce(e.output_tokens, 0)", "input and output together"),
        column("change_tokens", "NULL", "`total_tokens` less those of the user's day before that has any; NULL on the first one"),
    ]],
    from: "{p}.events e WHERE e.kind = 'model_call' AND e.phase <> 'request' \
           AND coalesce(e.input_tokens, e.output_tokens, e.cached_tokens) IS NOT NULL",
    merge: Some(
        "SELECT day, user_id, sum(calls) AS calls, count(DISTINCT sessions) AS sessions, sum(input_tokens) AS input_tokens, \
         sum(output_tokens) AS output_tokens, sum(cached_tokens) AS cached_tokens, sum(total_tokens) AS total_tokens, \
         sum(total_tokens) - lag(sum(total_tokens)) OVER (PARTITION BY user_id ORDER BY day) AS change_tokens \
         FROM {rows} GROUP BY day, user_id",
    ),
};

/// Time in which the answer came: of calls that did not fail.
const ANSWERED_MS: &str = "CASE WHEN e.status <> 'error' AND e.error_type IS NULL THEN e.duration_ns / 1e6 END";

pub(super) const MODEL_PERFORMANCE: View = View {
    name: "model_performance",
    requirement: "C10",
    about: "How each model serves, by hour and route: one row for each hour, application, provider, endpoint and model. Quantiles are those of the \
            calls of the hour themselves (the least value that so many do not exceed), of calls that did not fail.",
    columns: &[&[
        column("hour", "substr(e.time, 1, 13) || ':00:00Z'", "the hour (UTC) in which the calls began"),
        column("application", "e.application", "application or service"),
        column("provider", "e.provider", "provider of the model"),
        column("endpoint", "e.server_address", "host that was called, where the source tells it"),
        column("model", "coalesce(e.response_model, e.request_model)", "model that answered, or else the one asked for"),
        column("calls", "1", "calls that are over"),
        column("errors", "CASE WHEN e.status = 'error' OR e.error_type IS NOT NULL THEN 1 ELSE 0 END", "calls that failed"),
        column(
            "refusals",
            "CASE WHEN e.output = 'refusal' THEN 1 ELSE 0 END",
            "calls that were refused (the provider says so, or the text does)",
        ),
        column("error_share", "NULL", "`errors` of `calls`, 0 to 1"),
        column("refusal_share", "NULL", "`refusals` of `calls`, 0 to 1"),
        column("latency_p50_ms", ANSWERED_MS, "half of the calls took no longer, in milliseconds"),
        column("latency_p95_ms", "NULL", "95 of 100 calls took no longer, in milliseconds"),
        column(
            "first_chunk_p50_ms",
            "1000.0 * (e.attributes ->> '$.\"gen_ai.response.time_to_first_chunk\"')",
            "of streams: the median time to the first chunk, in milliseconds",
        ),
        column("input_tokens", "e.input_tokens", "tokens read"),
        column("output_tokens", "e.output_tokens", "tokens written"),
        column("output_tokens_mean", "NULL", "tokens of an answer, where they are told"),
        column(
            "cut_off",
            "CASE WHEN e.finish_reasons LIKE '%length%' OR e.finish_reasons LIKE '%max_tokens%' THEN 1 ELSE 0 END",
            "answers that were cut off at the most tokens",
        ),
        column(
            "json_answers",
            "CASE WHEN e.attributes ->> '$.\"watchkeeper.response.category\"' LIKE '%structured_data%' THEN 1 ELSE 0 END",
            "answers with structured data",
        ),
        column(
            "cost",
            "e.attributes ->> '$.\"gen_ai.usage.cost\"'",
            "what the calls cost, where the source tells it, in its currency",
        ),
    ]],
    from: "{p}.events e WHERE e.kind = 'model_call' AND e.phase <> 'request'",
    // The quantiles by the rank within the hour's calls that did not fail.
    merge: Some(
        "SELECT hour, application, provider, endpoint, model, sum(calls) AS calls, sum(errors) AS errors, sum(refusals) AS refusals, \
         round(1.0 * sum(errors) / sum(calls), 4) AS error_share, round(1.0 * sum(refusals) / sum(calls), 4) AS refusal_share, \
         min(CASE WHEN rank_ms >= 0.5 * count_ms THEN latency_p50_ms END) AS latency_p50_ms, \
         min(CASE WHEN rank_ms >= 0.95 * count_ms THEN latency_p50_ms END) AS latency_p95_ms, \
         min(CASE WHEN rank_first >= 0.5 * count_first THEN first_chunk_p50_ms END) AS first_chunk_p50_ms, \
         sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, round(avg(output_tokens), 1) AS output_tokens_mean, \
         sum(cut_off) AS cut_off, sum(json_answers) AS json_answers, sum(cost) AS cost FROM (SELECT *, \
         CASE WHEN latency_p50_ms IS NOT NULL THEN row_number() OVER (PARTITION BY hour, application, provider, endpoint, model, \
         latency_p50_ms IS NULL ORDER BY latency_p50_ms) END AS rank_ms, \
         count(latency_p50_ms) OVER (PARTITION BY hour, application, provider, endpoint, model) AS count_ms, \
         CASE WHEN first_chunk_p50_ms IS NOT NULL THEN row_number() OVER (PARTITION BY hour, application, provider, endpoint, model, \
         first_chunk_p50_ms IS NULL ORDER BY first_chunk_p50_ms) END AS rank_first, \
         count(first_chunk_p50_ms) OVER (PARTITION BY hour, application, provider, endpoint, model) AS count_first \
         FROM {rows}) GROUP BY hour, application, provider, endpoint, model",
    ),
};

pub(super) const METRICS: View = View {
    name: "metrics",
    requirement: "A10",
    about: "One row for each data point of a metric that a dialect knows: tokens, cost, calls, durations, as an instrumentation sums \
            them. They tell of the same calls as `token_usage`, and are all there is of agents that report nothing else. The row \
            `metrics.unmapped` counts the points of metrics that no dialect knows.",
    columns: &[
        WHEN,
        WHO,
        MODEL,
        &[
            column("session_id", "e.session_id", "session or conversation"),
            column("name", "e.name", "the metric: `gen_ai.client.token.usage`, `claude_code.cost.usage` ..."),
            column("value", "e.attributes ->> '$.\"watchkeeper.metric.value\"'", "its value; of a histogram the sum"),
            column("unit", "e.attributes ->> '$.\"watchkeeper.metric.unit\"'", "unit, as the source writes it"),
            column("count", "e.attributes ->> '$.\"watchkeeper.metric.count\"'", "measurements in a histogram or summary"),
            column(
                "type",
                "e.attributes ->> '$.\"watchkeeper.metric.type\"'",
                "`counter`, `up_down_counter`, `gauge`, `histogram` or `summary`",
            ),
            column(
                "temporality",
                "e.attributes ->> '$.\"watchkeeper.metric.temporality\"'",
                "`delta` (since the report before; to be summed) or `cumulative` (since `since`; the newest counts)",
            ),
            column(
                "since",
                "iso_time(CAST(e.attributes ->> '$.\"watchkeeper.metric.start_ns\"' AS INTEGER))",
                "when counting began",
            ),
            column(
                "token_type",
                "e.attributes ->> '$.\"gen_ai.token.type\"'",
                "which tokens: `input`, `output`, `cacheRead` ..., in the source's words",
            ),
            column("tool", "e.tool_name", "the tool, where the metric is of one"),
            column(
                "unmapped",
                "e.attributes ->> '$.\"watchkeeper.unmapped.count\"'",
                "attributes that no dialect knows; of `metrics.unmapped` the points",
            ),
            column("attributes", "e.attributes", "everything that is known of it (JSON)"),
        ],
    ],
    from: "{p}.events e WHERE e.kind = 'metric'",
    merge: None,
};

pub(super) const SYSTEM_PROMPTS: View = View {
    name: "system_prompts",
    requirement: "A9",
    about: "Version history: one row for each distinct system prompt of an application and agent.",
    columns: &[&[
        column("application", "s.application", "application or service; empty when the source names none"),
        column("agent", "s.agent", "agent; empty when the source names none"),
        column(
            "version",
            "0",
            "1 for the first system prompt that was seen of the application and agent, 2 for the next, and so on",
        ),
        column("system_prompt", "text_of(c.data)", "the text, sanitised"),
        column("content_id", "lower(hex(c.content_id))", "id of the text: equal when the text is equal"),
        column("content_id_before", "NULL", "id of the version before; NULL for the first one"),
        column("first_seen", "s.first_ns", "first use"),
        column("last_seen", "s.last_ns", "last use"),
        column("uses", "s.uses", "calls that used it"),
        column("first_event_id", "s.event_id", "event that brought it first"),
        column("session_id", "s.session_id", "session that brought it first"),
        column("user_id", "s.user_id", "on whose behalf that call was made"),
        column("credential", "s.credential", "with which credential"),
        column("model", "s.model", "for which model"),
        column("risk_score", "s.score", "highest score of findings in it, 0 to 1"),
    ]],
    from: "{p}.prompts_seen s JOIN {p}.contents c ON c.id = s.content",
    // SQLite takes the bare columns of a group from the row that has the minimum.
    merge: Some(
        "SELECT application, agent, row_number() OVER (PARTITION BY application, agent ORDER BY first_ns, content_id) AS version, \
         system_prompt, content_id, lag(content_id) OVER (PARTITION BY application, agent ORDER BY first_ns, content_id) \
         AS content_id_before, iso_time(first_ns) AS first_seen, iso_time(last_ns) AS last_seen, uses, first_event_id, \
         session_id, user_id, credential, model, risk_score FROM (SELECT application, agent, system_prompt, content_id, \
         min(first_seen) AS first_ns, max_last AS last_ns, total AS uses, first_event_id, session_id, user_id, credential, model, \
         worst AS risk_score FROM (SELECT *, max(last_seen) OVER same AS max_last, sum(uses) OVER same AS total, \
         max(risk_score) OVER same AS worst FROM {rows} WINDOW same AS (PARTITION BY application, agent, content_id)) \
         GROUP BY application, agent, content_id)",
    ),
};

pub(super) const SYSTEM_PROMPT_CHANGES: View = View {
    name: "system_prompt_changes",
    requirement: "A9",
    about: "One row for each call with which an application's agent began to use another system prompt than with its call before, in the \
            order of the journal: also where it went back to an older one, which is no new version. Nobody has to report a change for it \
            to stand here.",
    columns: &[
        WHEN,
        WHERE,
        &[
            column("application", "r.application", "application or service; empty when the source names none"),
            column("agent", "r.agent", "agent; empty when the source names none"),
            column("user_id", "e.user_id", "on whose behalf the call was made"),
            column("credential", "e.credential", "credential that was presented (a keyed hash)"),
            column("client_address", "e.client_address", "network address of the client"),
            column("agent_version", "e.agent_version", "the agent's version"),
            column("application_version", "e.application_version", "the application's version"),
            column("change", "NULL", "`first`, `new` (never seen of this agent), or `back` (to one that was seen before)"),
            column(
                "system_prompt",
                "(SELECT texts_of(c.data ORDER BY p.ord) FROM {p}.pieces p JOIN {p}.contents c ON c.id = p.content \
                  WHERE p.seq = e.seq AND p.direction = 0 AND p.role = 0 AND p.part IN (0, 9))",
                "the text from then on, sanitised",
            ),
            column("system_prompt_before", "NULL", "the text until then; NULL for the first one"),
            column("event_id_before", "NULL", "event that brought the text until then"),
            column("prompt", "r.digest", "a number that is the same where the text is"),
        ],
    ],
    from: "{p}.prompt_runs r JOIN {p}.events e ON e.seq = r.seq",
    // The first run of a partition goes on with the last one of the partition before, unless it differs.
    merge: Some(
        "SELECT time, time_ns, event_id, seq, trace_id, span_id, session_id, turn, call_id, application, agent, user_id, credential, \
         client_address, agent_version, application_version, CASE WHEN prompt_before IS NULL THEN 'first' WHEN nth = 1 THEN 'new' \
         ELSE 'back' END AS change, system_prompt, text_before AS system_prompt_before, id_before AS event_id_before, prompt \
         FROM (SELECT *, lag(prompt) OVER runs AS prompt_before, lag(system_prompt) OVER runs AS text_before, \
         lag(event_id) OVER runs AS id_before, row_number() OVER (PARTITION BY application, agent, prompt ORDER BY seq) AS nth \
         FROM {rows} WINDOW runs AS (PARTITION BY application, agent ORDER BY seq)) WHERE prompt_before IS NOT prompt",
    ),
};

pub(super) const SYSTEM_PROMPT_EVENTS: View = View {
    name: "system_prompt_events",
    requirement: "A9",
    about: "One row for each change of, or request for, a system prompt that was reported as such.",
    columns: &[
        WHEN,
        WHERE,
        WHO,
        &[
            column(
                "action",
                "coalesce(e.attributes ->> '$.\"event.action\"', e.name)",
                "what was done: `read` (a request for access), `update`, `create` ...",
            ),
            column("outcome", "e.attributes ->> '$.\"event.outcome\"'", "`success`, `failure` or `unknown`"),
            column("object", "e.attributes ->> '$.\"watchkeeper.admin.object\"'", "which prompt"),
            column(
                "system_prompt",
                "(SELECT texts_of(c.data ORDER BY p.ord) FROM {p}.pieces p JOIN {p}.contents c ON c.id = p.content \
                  WHERE p.seq = e.seq)",
                "the text, sanitised",
            ),
            column("credential", "e.credential", "credential that was presented (a keyed hash)"),
            column("client_address", "e.client_address", "network address of the client"),
            column("before", "e.attributes ->> '$.\"watchkeeper.admin.before\"'", "what it was, where the source tells"),
            column("after", "e.attributes ->> '$.\"watchkeeper.admin.after\"'", "what it is since then, where the source tells"),
        ],
        OUTCOME,
    ],
    from: "{p}.events e WHERE e.kind = 'system_prompt'",
    merge: None,
};
