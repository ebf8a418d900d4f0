//! Guardrails, retrievals, installations, data access, outbound calls, administration.

use super::{OUTCOME, View, WHEN, WHERE, WHO, column};

pub(super) const GUARDRAIL_DECISIONS: View = View {
    name: "guardrail_decisions",
    requirement: "A2",
    about: "One row for each decision of a guardrail, a moderation or an approval, and for each event of which Watchkeeper's own \
            inspection advises `warn` or `deny`.",
    columns: &[
        WHEN,
        WHERE,
        WHO,
        &[
            column(
                "source",
                "CASE e.kind WHEN 'guardrail' THEN 'guardrail' ELSE 'inspection' END",
                "`guardrail` (reported) or `inspection` (advice)",
            ),
            column(
                "guardrail",
                "CASE e.kind WHEN 'guardrail' THEN coalesce(e.attributes ->> '$.\"gen_ai.guardrail.component.name\"', e.name) \
                 ELSE 'watchkeeper.inspect' END",
                "which guardrail",
            ),
            column(
                "policy_violated",
                "coalesce(e.attributes ->> '$.\"gen_ai.guardrail.security.policy.id\"', (SELECT f.rule FROM {p}.findings f \
                  WHERE f.seq = e.seq ORDER BY f.score DESC, f.ord, f.n LIMIT 1))",
                "policy that was applied, or else the rule of the highest finding",
            ),
            column(
                "blocked",
                "coalesce(coalesce(e.attributes ->> '$.\"gen_ai.guardrail.action.type\"', \
                  e.attributes ->> '$.\"watchkeeper.approval.status\"') IN ('block', 'blocked', 'deny', 'denied', 'reject', 'rejected'), 0)",
                "1 when it was stopped",
            ),
            column(
                "action",
                "e.attributes ->> '$.\"gen_ai.guardrail.action.type\"'",
                "what was done: `allow`, `block`, `modify`, `escalate`",
            ),
            column(
                "moderation_decision",
                "coalesce(e.attributes ->> '$.\"gen_ai.guardrail.verdict.type\"', e.attributes ->> '$.\"watchkeeper.approval.status\"', e.verdict)",
                "the verdict: `allow`, `audit`, `deny`, `escalate`, `modify`, `warn`, or the approval's",
            ),
            column(
                "confidence",
                "coalesce(e.attributes ->> '$.\"gen_ai.guardrail.security.risk.score\"', e.score)",
                "how sure it was, 0 to 1",
            ),
            column(
                "risk_categories",
                "coalesce(e.attributes ->> '$.\"gen_ai.guardrail.security.risk.category\"', e.risks)",
                "the risks that it saw",
            ),
            column("tool", "e.tool_name", "tool that was decided on, if any"),
            column(
                "prompt",
                "(SELECT texts_of(c.data ORDER BY p.ord) FROM {p}.pieces p JOIN {p}.contents c ON c.id = p.content \
                  WHERE p.seq = e.seq AND p.history = 0 AND p.direction = 0 AND p.part <> 6 AND p.role <> 0)",
                "what was judged: also what never reached the model",
            ),
            column(
                "reached_model",
                "CASE WHEN e.call_id IS NULL THEN NULL ELSE EXISTS (SELECT 1 FROM {p}.events r WHERE r.call_id = e.call_id \
                  AND r.kind = 'model_call' AND r.phase <> 'request' AND r.output NOT IN ('error')) END",
                "1 when the model answered that call, 0 when not, NULL when the decision names no call",
            ),
        ],
        OUTCOME,
    ],
    from: "{p}.events e WHERE e.kind = 'guardrail' OR (e.verdict IN ('warn', 'deny') AND e.kind IN ('model_call', 'tool_call', 'retrieval'))",
    merge: None,
};

pub(super) const RETRIEVALS: View = View {
    name: "retrievals",
    requirement: "A3",
    about: "One row for each document that a retrieval brought; one row without a document for a retrieval that brought none.",
    columns: &[
        WHEN,
        WHERE,
        WHO,
        &[
            column(
                "retrieval_source",
                "coalesce(e.attributes ->> '$.\"gen_ai.data_source.id\"', e.attributes ->> '$.\"db.collection.name\"', \
                  e.attributes ->> '$.\"db.namespace\"', e.server_address, e.name)",
                "the store or knowledge base that was asked",
            ),
            column(
                "query",
                "(SELECT texts_of(c.data ORDER BY q.ord) FROM {p}.pieces q JOIN {p}.contents c ON c.id = q.content \
                  WHERE q.seq = e.seq AND q.direction = 0)",
                "query context: what was asked for",
            ),
            column("document_id", "d.name", "id of the document, as the source names it"),
            column("rank", "d.message", "its place in the result, from 0"),
            column("similarity_score", "d.score", "similarity, in the source's own measure"),
            column("document", "(SELECT text_of(c.data) FROM {p}.contents c WHERE c.id = d.content)", "its text, sanitised"),
            column(
                "content_id",
                "(SELECT lower(hex(c.content_id)) FROM {p}.contents c WHERE c.id = d.content)",
                "id of that text",
            ),
            column(
                "access_decision",
                "coalesce(e.attributes ->> '$.\"watchkeeper.approval.status\"', CASE e.attributes ->> '$.\"event.outcome\"' \
                  WHEN 'success' THEN 'allowed' WHEN 'failure' THEN 'denied' END, CASE WHEN e.http_status IN (401, 403) THEN 'denied' \
                  WHEN d.ord IS NOT NULL THEN 'allowed' END)",
                "`allowed` or `denied`, or what the source says; a document that was returned was allowed",
            ),
            column(
                "risk_score",
                "CASE WHEN e.score IS NULL THEN NULL ELSE coalesce((SELECT max(f.score) FROM {p}.findings f WHERE f.seq = e.seq \
                  AND f.ord = d.ord), 0.0) END",
                "highest score of the findings in the document, 0 to 1",
            ),
        ],
        OUTCOME,
    ],
    from: "{p}.events e LEFT JOIN {p}.pieces d ON d.seq = e.seq AND d.part = 4 AND d.direction = 1 WHERE e.kind = 'retrieval'",
    merge: None,
};

pub(super) const INSTALLATIONS: View = View {
    name: "installations",
    requirement: "A6",
    about: "One row for each installation of a package, plug-in, skill or MCP server, whichever tool ran it.",
    columns: &[
        WHEN,
        WHERE,
        WHO,
        &[
            column("package_manager", "e.attributes ->> '$.\"package.type\"'", "`pip`, `npm`, `cargo`, `apt` ..."),
            column("package", "e.attributes ->> '$.\"package.name\"'", "the package"),
            column("version", "e.attributes ->> '$.\"package.version\"'", "its version"),
            column("package_source", "e.attributes ->> '$.\"package.reference\"'", "where it comes from"),
            column(
                "command",
                "(SELECT texts_of(c.data ORDER BY p.ord) FROM {p}.pieces p JOIN {p}.contents c ON c.id = p.content \
                  WHERE p.seq = e.seq AND p.direction = 0 AND p.part IN (8, 2, 9))",
                "the command itself",
            ),
            column("tool", "e.tool_name", "tool that ran it"),
            column("risk_score", "e.score", "highest score of its findings, 0 to 1"),
        ],
        OUTCOME,
    ],
    from: "{p}.events e WHERE e.kind = 'installation'",
    merge: None,
};

/// A column of the event, or of its trace where all that is told there agrees: spans of databases tell neither user nor session, the
/// spans around them do. Only within one application, so that nobody can put a name to another's access.
macro_rules! of_trace {
    ($column:literal) => {
        concat!(
            "coalesce(e.",
            $column,
            ", (SELECT CASE WHEN count(DISTINCT t.",
            $column,
            ") = 1 THEN max(t.",
            $column,
            ") END FROM {p}.events t WHERE t.trace_id = e.trace_id AND t.application IS e.application))"
        )
    };
}

pub(super) const DATA_ACCESS: View = View {
    name: "data_access",
    requirement: "A8",
    about: "One row for each read or write of a data store, Watchkeeper's own contents included. User, session and agent are those of the \
            trace where the event itself names none, and all events of the same application in that trace name the same.",
    columns: &[
        WHEN,
        &[
            column("trace_id", "e.trace_id", "W3C trace"),
            column("span_id", "e.span_id", "span within the trace"),
            column("session_id", of_trace!("session_id"), "session or conversation"),
            column("turn", "e.turn", "turn of the conversation, where the source tells it"),
            column("call_id", "e.call_id", "joins the request and the response of one call"),
            column("user_id", of_trace!("user_id"), "end user"),
            column(
                "user_told_by",
                "CASE WHEN e.user_id IS NOT NULL THEN 'event' WHEN (SELECT count(DISTINCT t.user_id) FROM {p}.events t \
                  WHERE t.trace_id = e.trace_id AND t.application IS e.application) = 1 THEN 'trace' END",
                "who names the user: `event` (this one) or `trace` (the others around it)",
            ),
            column("application", "e.application", "application or service"),
            column("agent", of_trace!("agent"), "agent that acted"),
            column("store_system", "e.attributes ->> '$.\"db.system.name\"'", "database system"),
            column(
                "store",
                "coalesce(e.attributes ->> '$.\"db.namespace\"', e.attributes ->> '$.\"gen_ai.data_source.id\"', e.server_address, \
                  e.attributes ->> '$.\"db.system.name\"')",
                "which store; its system where the source names none",
            ),
            column(
                "object",
                "coalesce(e.attributes ->> '$.\"db.collection.name\"', e.attributes ->> '$.\"mcp.resource.uri\"', e.url)",
                "which table, index, file or resource; several with commas between them",
            ),
            column(
                "operation",
                "coalesce(e.attributes ->> '$.\"db.operation.name\"', e.attributes ->> '$.\"event.action\"', e.operation)",
                "the operation, in the source's words; several of one text with `; ` between them",
            ),
            column(
                "access",
                "CASE lower(coalesce(e.attributes ->> '$.\"event.action\"', e.attributes ->> '$.\"db.operation.name\"', '')) \
                  WHEN '' THEN NULL WHEN 'begin' THEN NULL WHEN 'commit' THEN NULL WHEN 'rollback' THEN NULL WHEN 'use' THEN NULL \
                  WHEN 'read' THEN 'read' WHEN 'select' THEN 'read' WHEN 'get' THEN 'read' WHEN 'find' THEN 'read' \
                  WHEN 'query' THEN 'read' WHEN 'search' THEN 'read' WHEN 'scan' THEN 'read' WHEN 'list' THEN 'read' \
                  WHEN 'show' THEN 'read' WHEN 'fetch' THEN 'read' WHEN 'count' THEN 'read' WHEN 'aggregate' THEN 'read' \
                  WHEN 'explain' THEN 'read' WHEN 'describe' THEN 'read' WHEN 'trace' THEN 'read' WHEN 'values' THEN 'read' WHEN 'peek' THEN 'read' \
                  ELSE 'write' END",
                "`read` or `write`; an operation that is not known to read counts as `write`; NULL for `begin`, `commit` and the like",
            ),
            column(
                "derived",
                "e.attributes ->> '$.\"watchkeeper.db.derived\"'",
                "what was read out of the query's text, because the source did not tell it (JSON list)",
            ),
            column("rows", "e.attributes ->> '$.\"db.response.returned_rows\"'", "rows that came back"),
            column(
                "bytes",
                "coalesce(e.attributes ->> '$.\"http.response.body.size\"', (SELECT sum(c.bytes) FROM {p}.pieces p JOIN {p}.contents c \
                  ON c.id = p.content WHERE p.seq = e.seq AND p.direction = 1))",
                "bytes that came back; those of the recorded text where the source does not tell",
            ),
            column(
                "query",
                "(SELECT texts_of(c.data ORDER BY p.ord) FROM {p}.pieces p JOIN {p}.contents c ON c.id = p.content \
                  WHERE p.seq = e.seq AND p.direction = 0)",
                "the query or command, sanitised",
            ),
            column(
                "reason",
                "e.attributes ->> '$.\"watchkeeper.read.reason\"'",
                "why contents of the record were read, where that was said",
            ),
            column("tool", "e.tool_name", "tool that did it"),
            column("credential", "e.credential", "credential that was presented (a keyed hash)"),
            column("client_address", "e.client_address", "network address of the client"),
            column("risk_score", "e.score", "highest score of its findings, 0 to 1"),
        ],
        OUTCOME,
    ],
    from: "{p}.events e WHERE e.kind = 'data_access'",
    merge: None,
};

pub(super) const EXTERNAL_CALLS: View = View {
    name: "external_calls",
    requirement: "A11",
    about: "One row for each call to somewhere outside, and for each other finished operation that names a URL (calls of models through \
            the gateway).",
    columns: &[
        WHEN,
        WHERE,
        WHO,
        &[
            column("kind", "e.kind", "kind of the event"),
            column("url", "e.url", "the URL, credentials removed"),
            column("destination", "e.server_address", "host"),
            column("port", "e.attributes ->> '$.\"server.port\"'", "port"),
            column("address", "e.attributes ->> '$.\"network.peer.address\"'", "address that was connected to"),
            column(
                "server_name",
                "e.attributes ->> '$.\"tls.client.server_name\"'",
                "name that a TLS client asked for in a tunnel (SNI)",
            ),
            column(
                "egress_mode",
                "e.attributes ->> '$.\"watchkeeper.egress.mode\"'",
                "how the egress proxy saw it: `http`, `tunnel`, `intercepted`",
            ),
            column("method", "e.attributes ->> '$.\"http.request.method\"'", "HTTP method"),
            column(
                "auth_method",
                "e.attributes ->> '$.\"watchkeeper.auth.method\"'",
                "how it was authenticated: `bearer`, `api_key`, `none` ...",
            ),
            column("status_code", "e.http_status", "HTTP status"),
            column(
                "bytes_out",
                "coalesce(e.attributes ->> '$.\"source.bytes\"', e.attributes ->> '$.\"http.request.body.size\"')",
                "bytes sent: of the body, through the egress proxy of the head, too, of a tunnel all",
            ),
            column(
                "bytes_in",
                "coalesce(e.attributes ->> '$.\"http.response.body.size\"', e.attributes ->> '$.\"destination.bytes\"')",
                "bytes received: of the body, of a tunnel all",
            ),
            column("ended_by", "e.attributes ->> '$.\"watchkeeper.stream.end\"'", "how a stream or tunnel ended"),
            column("tool", "e.tool_name", "tool that made it, if any"),
            column("credential", "e.credential", "credential of the caller (a keyed hash)"),
        ],
        OUTCOME,
    ],
    // A request counts as long as its outcome is not known.
    from: "{p}.events e WHERE (e.kind = 'external_call' OR e.url IS NOT NULL) AND (e.phase <> 'request' OR (e.kind = 'external_call' \
           AND NOT EXISTS (SELECT 1 FROM {p}.events o WHERE o.call_id = e.call_id AND o.phase = 'response')))",
    merge: None,
};

pub(super) const ADMIN_EVENTS: View = View {
    name: "admin_events",
    requirement: "A13",
    about: "One row for each act of administration: users, permissions, keys, deployments, configuration; Watchkeeper's own included.",
    columns: &[
        WHEN,
        WHERE,
        WHO,
        &[
            column("user_proof", "e.user_proof", "how the user was proved (see `agents.proof`)"),
            column(
                "action",
                "coalesce(e.attributes ->> '$.\"event.action\"', e.name)",
                "what was done: `create`, `delete`, `update` ...",
            ),
            column("name", "e.name", "name of the operation"),
            column("object", "e.attributes ->> '$.\"watchkeeper.admin.object\"'", "what was changed"),
            column(
                "before",
                "coalesce(e.attributes ->> '$.\"watchkeeper.admin.before\"', e.attributes ->> '$.\"watchkeeper.retention.old\"')",
                "what the object was, as text or JSON; NULL where there was nothing, or the source does not tell",
            ),
            column(
                "after",
                "coalesce(e.attributes ->> '$.\"watchkeeper.admin.after\"', e.attributes ->> '$.\"watchkeeper.retention.new\"')",
                "what it is since then",
            ),
            column(
                "reason",
                "coalesce(e.attributes ->> '$.\"watchkeeper.hold.reason\"', e.attributes ->> '$.\"watchkeeper.evidence.reason\"')",
                "why, where that was asked for",
            ),
            column(
                "operator",
                "e.attributes ->> '$.\"watchkeeper.operator.asserted\"'",
                "who the caller says they are; checked by nobody",
            ),
            column(
                "outcome",
                "coalesce(e.attributes ->> '$.\"event.outcome\"', CASE e.status WHEN 'ok' THEN 'success' WHEN 'error' THEN 'failure' END)",
                "`success`, `failure` or `unknown`",
            ),
            column(
                "detail",
                "(SELECT texts_of(c.data ORDER BY p.ord) FROM {p}.pieces p JOIN {p}.contents c ON c.id = p.content \
                  WHERE p.seq = e.seq)",
                "text that came with it",
            ),
            column("credential", "e.credential", "credential that was presented (a keyed hash)"),
            column("client_address", "e.client_address", "network address of the client"),
            column("user_agent", "e.user_agent", "user agent of the client"),
            column("attributes", "e.attributes", "everything that is known of it (JSON)"),
        ],
        OUTCOME,
    ],
    from: "{p}.events e WHERE e.kind = 'admin'",
    merge: None,
};
