//! Everything, as it is stored.

use super::{MODEL, OUTCOME, View, WHEN, WHERE, WHO, column};

pub(super) const EVENTS: View = View {
    name: "events",
    requirement: "",
    about: "One row for each event, of whatever kind.",
    columns: &[
        WHEN,
        &[
            column("observed", "iso_time(e.observed_ns)", "when Watchkeeper received it, by its own clock"),
            column("kind", "e.kind", "`model_call`, `guardrail`, `retrieval`, `tool_call`, `agent_step` ..."),
            column("phase", "e.phase", "`complete`, `request` or `response`"),
            column("name", "e.name", "name of the operation"),
        ],
        WHERE,
        &[column("parent_span_id", "e.parent_span_id", "span that caused it")],
        WHO,
        &[
            column("user_name", "e.user_name", "the user's name"),
            column("user_proof", "e.user_proof", "how the user was proved (see `agents.proof`)"),
            column("application_version", "e.application_version", "the application's version"),
            column("agent_id", "e.agent_id", "the agent's id"),
            column("agent_version", "e.agent_version", "its version"),
            column("agent_proof", "e.agent_proof", "how the agent was proved"),
            column("delegation", "e.delegation", "agents that it acts for, nearest first (JSON list)"),
            column("credential", "e.credential", "credential that was presented (a keyed hash)"),
            column("credential_proof", "e.credential_proof", "how the credential was proved"),
            column("client_address", "e.client_address", "network address of the client"),
            column("user_agent", "e.user_agent", "user agent of the client"),
            column(
                "source",
                "e.source_path",
                "the way in: `otlp_grpc`, `otlp_http`, `gateway`, `api`, `mcp`, `egress`, `hook`, `import`, `internal`",
            ),
            column("dialect", "e.dialect", "dialect that its attributes were read with"),
            column("scope", "e.scope", "instrumentation scope"),
            column("operation", "e.operation", "`chat`, `execute_tool`, `invoke_agent` ..."),
        ],
        MODEL,
        &[column("tool", "e.tool_name", "tool"), column("tool_call_id", "e.tool_call_id", "id of the tool call")],
        OUTCOME,
        &[
            column("finish_reasons", "e.finish_reasons", "why the model stopped"),
            column("input_tokens", "e.input_tokens", "tokens read"),
            column("output_tokens", "e.output_tokens", "tokens written"),
            column("cached_tokens", "e.cached_tokens", "tokens read from the provider's cache"),
            column("url", "e.url", "URL, credentials removed"),
            column("server_address", "e.server_address", "host of the other side"),
            column("http_status", "e.http_status", "HTTP status"),
            column("score", "e.score", "highest score of inspection, 0 to 1; NULL when nothing was inspected"),
            column("verdict", "e.verdict", "what inspection advises: `allow`, `warn` or `deny`"),
            column("risks", "e.risks", "every risk category that was found"),
            column("scanned_bytes", "e.scanned_bytes", "bytes of text that were inspected"),
            column("unscanned_bytes", "e.unscanned_bytes", "bytes of text that were not"),
            column(
                "attributes",
                "e.attributes",
                "attributes under canonical keys (JSON): `attributes ->> '$.\"gen_ai.response.id\"'`",
            ),
            column("unmapped", "e.unmapped", "what no dialect knows (JSON)"),
            column("sanitized", "e.sanitized", "how many values of each type were replaced (JSON)"),
        ],
    ],
    from: "{p}.events e",
    merge: None,
};

pub(super) const PIECES: View = View {
    name: "pieces",
    requirement: "",
    about: "One row for each piece of content of each event: what was said, by whom, and where it stood.",
    columns: &[
        WHEN,
        &[
            column("trace_id", "e.trace_id", "W3C trace"),
            column("session_id", "e.session_id", "session or conversation"),
            column("ord", "p.ord", "place in the event, from 0"),
            column("direction", "CASE p.direction WHEN 0 THEN 'input' ELSE 'output' END", "`input` or `output`"),
            column(
                "role",
                "CASE p.role WHEN 0 THEN 'system' WHEN 1 THEN 'user' WHEN 2 THEN 'assistant' WHEN 3 THEN 'tool' ELSE 'document' END",
                "`system`, `user`, `assistant`, `tool` or `document`",
            ),
            column(
                "part",
                "CASE p.part WHEN 0 THEN 'text' WHEN 1 THEN 'reasoning' WHEN 2 THEN 'tool_call' WHEN 3 THEN 'tool_result' \
                 WHEN 4 THEN 'document' WHEN 5 THEN 'query' WHEN 6 THEN 'tool_definition' WHEN 7 THEN 'media' WHEN 8 THEN 'command' \
                 WHEN 9 THEN 'body' ELSE 'other' END",
                "`text`, `reasoning`, `tool_call`, `tool_result`, `document`, `query`, `tool_definition`, `media`, `command`, `body`",
            ),
            column("message", "p.message", "place of the message in the conversation, from 0"),
            column("history", "p.history", "1 when an earlier call brought it already"),
            column("name", "p.name", "tool, document or participant"),
            column("tool_call_id", "p.call_id", "id that ties a tool's call to its result"),
            column("score", "p.score", "similarity of a retrieved document"),
            column("failed", "p.failed", "1 when the tool reported that it failed"),
            column("text", "text_of(c.data)", "the text, sanitised"),
            column("bytes", "c.bytes", "its length in bytes (UTF-8)"),
            column("content_id", "lower(hex(c.content_id))", "id of the text: equal when the text is equal"),
        ],
    ],
    from: "{p}.pieces p JOIN {p}.events e ON e.seq = p.seq LEFT JOIN {p}.contents c ON c.id = p.content",
    merge: None,
};

pub(super) const FINDINGS: View = View {
    name: "findings",
    requirement: "",
    about: "One row for each thing that inspection found, with the text that shows it.",
    columns: &[
        WHEN,
        &[
            column("trace_id", "e.trace_id", "W3C trace"),
            column("session_id", "e.session_id", "session or conversation"),
            column("ord", "f.ord", "piece of the event (see `pieces`)"),
            column("risk", "f.risk", "risk category"),
            column("technique", "f.technique", "MITRE ATLAS technique"),
            column("technique_name", "technique_name(f.technique)", "its name"),
            column("rule", "f.rule", "signature or check that matched"),
            column("score", "f.score", "how sure, 0 to 1"),
            column("start", "f.start", "first code point of the match"),
            column("end", "f.\"end\"", "one past its last code point"),
            column(
                "view",
                "f.view",
                "view in which it matched, when that is not the text as it stands: `normalised`, `base64` ...",
            ),
            column("history", "p.history", "1 when the piece repeats what an earlier call brought"),
            column(
                "evidence",
                "(SELECT text_part(c.data, f.start, max(f.\"end\" - f.start, 0)) FROM {p}.contents c WHERE c.id = p.content)",
                "the text that matched",
            ),
            column("owasp_llm", "owasp_llm(f.technique)", "OWASP Top 10 for LLM Applications 2025"),
            column("owasp_agentic", "owasp_agentic(f.technique)", "OWASP Top 10 for Agentic Applications 2026"),
            column("nist", "nist(f.technique)", "NIST AI RMF and AI 600-1"),
        ],
    ],
    from: "{p}.findings f JOIN {p}.events e ON e.seq = f.seq LEFT JOIN {p}.pieces p ON p.seq = f.seq AND p.ord = f.ord",
    merge: None,
};

pub(super) const CONTENTS: View = View {
    name: "contents",
    requirement: "",
    about: "One row for each text that a partition holds. A text that is used on several days stands in several.",
    columns: &[&[
        column("content_id", "lower(hex(c.content_id))", "id of the text"),
        column("subject", "lower(hex(c.subject))", "whose key protects it"),
        column("bytes", "c.bytes", "its length in bytes (UTF-8)"),
        column("text", "text_of(c.data)", "the text, sanitised"),
    ]],
    from: "{p}.contents c",
    merge: None,
};
