//! What agents do, who they are, and the sessions of their users.

use super::{OUTCOME, View, WHEN, WHERE, WHO, column};

pub(super) const AGENT_ACTIONS: View = View {
    name: "agent_actions",
    requirement: "A4",
    about: "One row for each tool call, put together from the model's output that asks for it, the span, log record or hook that \
            tells that it ran, and the later input that brings its result back. Reports that contradict each other (another tool, \
            other arguments, a second outcome under one id) have rows of their own.",
    columns: &[&[
        column("time", "a.time", "when it was asked for, or else when it ran"),
        column("time_ns", "a.time_ns", "the same, in nanoseconds since 1970"),
        column("event_id", "a.event_id", "event that told of it first"),
        column("seq", "a.seq", "that event's place in the journal"),
        column("trace_id", "a.trace_id", "W3C trace"),
        column("session_id", "a.session_id", "session or conversation"),
        column("user_id", "a.user_id", "end user on whose behalf"),
        column("application", "a.application", "application or service"),
        column("agent", "a.agent", "agent that acted"),
        column("agent_version", "a.agent_version", "its version"),
        column("model", "a.model", "model that asked for it"),
        column("tool", "a.tool", "tool that was invoked"),
        column("tool_type", "a.tool_type", "`function`, `extension`, `datastore`, `mcp` ..."),
        column("call_id", "a.call_id", "id that ties the call to its result"),
        column(
            "parameters",
            "(SELECT text_of(c.data) FROM {p}.contents c WHERE c.id = a.arguments)",
            "arguments, as JSON text where the source gives JSON",
        ),
        column("arguments", "(SELECT text_of(c.data) FROM {p}.contents c WHERE c.id = a.arguments)", "the same as `parameters`"),
        column("result", "(SELECT text_of(c.data) FROM {p}.contents c WHERE c.id = a.result)", "what the tool returned"),
        column("status", "a.status", "`requested` (no outcome seen), `ok`, `error`, or `denied` (approval was refused)"),
        column(
            "error",
            "a.error",
            "why it failed; `conflicting result` in the row of a result that contradicts the one its call has",
        ),
        column("approval_status", "a.approval_status", "whether its use was approved: `approved`, `denied`, `auto` ..."),
        column("approval_source", "a.approval_source", "who or what decided: `config`, `hook`, `user` ..."),
        column("duration_ms", "a.duration_ns / 1e6", "how long the tool took, in milliseconds"),
        column("result_event_id", "a.result_event_id", "event that told the outcome"),
        column("result_time", "iso_time(a.result_time_ns)", "when that event began"),
        column(
            "result_joined_by",
            "a.joined_by",
            "how sure result and call belong together: `event` (reported together), `session`, `trace` or `application` (same call id \
             there; the last is the weakest)",
        ),
        column("seen_in_output", "(a.origins & 1) <> 0", "1 when the model's output asks for it"),
        column("seen_running", "(a.origins & 2) <> 0", "1 when a span, log record or hook tells of it"),
        column("seen_result", "(a.origins & 4) <> 0", "1 when a later input of the model brings its result"),
        column("risk_score", "a.risk_score", "highest score of the findings in the call, 0 to 1"),
        column("risk", "a.risk", "risk category of the highest finding in the arguments"),
    ]],
    from: "{p}.actions a",
    merge: None,
};

pub(super) const AGENT_STEPS: View = View {
    name: "agent_steps",
    requirement: "A5",
    about: "One row for each plan, decision, delegation, hand-off or step of a workflow.",
    columns: &[
        WHEN,
        WHERE,
        &[column("parent_span_id", "e.parent_span_id", "span that caused it")],
        WHO,
        &[
            column("agent_version", "e.agent_version", "the agent's version"),
            column("delegation", "e.delegation", "agents that it acts for, nearest first (JSON list)"),
            column(
                "step",
                "coalesce(e.operation, e.name)",
                "what kind of step: `plan`, `invoke_agent`, `invoke_workflow`, a hand-off ...",
            ),
            column("name", "e.name", "name of the operation"),
            column(
                "input",
                "(SELECT texts_of(c.data ORDER BY p.ord) FROM {p}.pieces p JOIN {p}.contents c ON c.id = p.content \
                  WHERE p.seq = e.seq AND p.direction = 0 AND p.history = 0)",
                "what it was given",
            ),
            column(
                "output",
                "(SELECT texts_of(c.data ORDER BY p.ord) FROM {p}.pieces p JOIN {p}.contents c ON c.id = p.content \
                  WHERE p.seq = e.seq AND p.direction = 1)",
                "the plan, decision or answer that came of it",
            ),
            column("risk_score", "e.score", "highest score of its findings, 0 to 1"),
        ],
        OUTCOME,
    ],
    from: "{p}.events e WHERE e.kind = 'agent_step'",
    merge: None,
};

pub(super) const AGENTS: View = View {
    name: "agents",
    requirement: "A7",
    about: "One row for each agent as it appeared: version, on whose behalf, with which proof, for which other agents.",
    columns: &[&[
        column("agent_id", "i.agent_id", "the agent's id"),
        column("agent", "i.agent", "its name, or else its id"),
        column("agent_version", "nullif(i.agent_version, '')", "its version"),
        column(
            "proof",
            "i.proof",
            "how the identity was proved: `asserted` (by nobody but the source), `api_key`, `mtls`, `oidc`, `upstream`, `local`",
        ),
        column("application", "nullif(i.application, '')", "application in which it runs"),
        column("on_behalf_of", "nullif(i.user_id, '')", "end user for whom it acts"),
        column("user_id", "nullif(i.user_id, '')", "the same as `on_behalf_of`"),
        column("credential", "nullif(i.credential, '')", "credential that it presented (a keyed hash)"),
        column("delegation_chain", "nullif(i.delegation, '')", "agents that it acts for, nearest first, with ` > ` between them"),
        column("first_seen", "i.first_ns", "first event"),
        column("last_seen", "i.last_ns", "last event"),
        column("events", "i.events", "number of events"),
    ]],
    from: "{p}.identities i",
    merge: Some(
        "SELECT agent_id, agent, agent_version, proof, application, on_behalf_of, user_id, credential, delegation_chain, \
         iso_time(min(first_seen)) AS first_seen, iso_time(max(last_seen)) AS last_seen, sum(events) AS events FROM {rows} \
         GROUP BY agent_id, agent, agent_version, proof, application, on_behalf_of, user_id, credential, delegation_chain",
    ),
};

pub(super) const USER_SESSIONS: View = View {
    name: "user_sessions",
    requirement: "A14",
    about: "One row for each session: of sign-ins that were reported, and of conversations that other events name. Address, place, user \
            agent and way of authentication are those of the sign-in, or else of the first event that tells an address; \
            `session_clients` has every one.",
    columns: &[&[
        column("session_id", "s.session_id", "session or conversation; `event:` and an id for a sign-in without one"),
        column("user_id", "s.user_id", "end user"),
        column("user_proof", "s.user_proof", "how the user was proved (see `agents.proof`)"),
        column("application", "s.application", "application or service"),
        column("agent", "s.agent", "first agent that acted in it"),
        column("login_time", "s.login_ns", "sign-in where one was reported, or else the first event"),
        column("login_reported", "s.login_ns IS NOT NULL", "1 when a sign-in was reported"),
        column("logout_time", "s.logout_ns", "sign-out, where one was reported"),
        column("first_seen", "s.first_ns", "first event"),
        column("last_seen", "s.last_ns", "last event"),
        column("ip_address", "s.client", "network address of the client (sanitised where the policy says so)"),
        column("geolocation", "NULL", "place: city, region, country; as the source tells it, or looked up (`[geoip]`)"),
        column("country", "NULL", "country (ISO 3166-1 alpha-2)"),
        column("city", "NULL", "city"),
        column("as_number", "NULL", "number of the autonomous system of the address"),
        column("as_organization", "NULL", "who runs it"),
        column("user_agent", "NULL", "user agent of the client"),
        column("auth_method", "NULL", "how it was authenticated: `api_key`, `bearer`, `password` ..."),
        column("events", "s.events", "number of events"),
        column("model_calls", "s.model_calls", "calls of models that are over"),
        column("total_tokens", "s.tokens", "input and output tokens"),
        column("risk_score", "s.score", "highest score of its events, 0 to 1"),
    ]],
    from: "{p}.sessions s",
    // The least text is that of the sign-in, or of the first event that tells most: see the table.
    merge: Some(
        "SELECT session_id, user_id, user_proof, application, agent, login_time, login_reported, logout_time, first_seen, last_seen, \
         client ->> 2 AS ip_address, client ->> 4 AS geolocation, client ->> 5 AS country, client ->> 6 AS city, \
         client ->> 7 AS as_number, client ->> 8 AS as_organization, client ->> 3 AS user_agent, client ->> 9 AS auth_method, \
         events, model_calls, total_tokens, risk_score FROM (SELECT session_id, max(user_id) AS user_id, max(user_proof) AS user_proof, \
         max(application) AS application, max(agent) AS agent, iso_time(coalesce(min(login_time), min(first_seen))) AS login_time, \
         max(login_reported) AS login_reported, iso_time(max(logout_time)) AS logout_time, iso_time(min(first_seen)) AS first_seen, \
         iso_time(max(last_seen)) AS last_seen, min(ip_address) AS client, sum(events) AS events, sum(model_calls) AS model_calls, \
         sum(total_tokens) AS total_tokens, max(risk_score) AS risk_score FROM {rows} GROUP BY session_id)",
    ),
};

pub(super) const SESSION_CLIENTS: View = View {
    name: "session_clients",
    requirement: "A14",
    about: "One row for each address, user agent and place that a session was seen from. More than one address of a session is worth a \
            look: a person moved, or a session was taken over.",
    columns: &[&[
        column("session_id", "e.session_id", "session or conversation"),
        column("user_id", "e.user_id", "end user"),
        column("application", "e.application", "application or service"),
        column("ip_address", "e.client_address", "network address of the client (sanitised where the policy says so)"),
        column("user_agent", "e.user_agent", "user agent of the client"),
        column("country", "e.attributes ->> '$.\"geo.country.iso_code\"'", "country (ISO 3166-1 alpha-2)"),
        column("region", "e.attributes ->> '$.\"geo.region.iso_code\"'", "region (ISO 3166-2)"),
        column("city", "e.attributes ->> '$.\"geo.locality.name\"'", "city"),
        column("as_number", "e.attributes ->> '$.\"as.number\"'", "number of the autonomous system of the address"),
        column("as_organization", "e.attributes ->> '$.\"as.organization.name\"'", "who runs it"),
        column(
            "geo_database",
            "e.attributes ->> '$.\"watchkeeper.geo.database\"'",
            "database in which the place was looked up, with its day; NULL where the source told the place",
        ),
        column(
            "auth_method",
            "e.attributes ->> '$.\"watchkeeper.auth.method\"'",
            "how it was authenticated: `api_key`, `bearer`, `password` ...",
        ),
        column("first_seen", "e.time_ns", "first event"),
        column("last_seen", "e.time_ns", "last event"),
        column("events", "1", "number of events"),
    ]],
    from: "{p}.events e WHERE e.session_id IS NOT NULL AND e.client_address IS NOT NULL AND e.kind <> 'detection'",
    merge: Some(
        "SELECT session_id, user_id, application, ip_address, user_agent, country, region, city, as_number, as_organization, \
         geo_database, auth_method, iso_time(min(first_seen)) AS first_seen, iso_time(max(last_seen)) AS last_seen, \
         sum(events) AS events FROM {rows} GROUP BY session_id, user_id, application, ip_address, user_agent, country, region, city, \
         as_number, as_organization, geo_database, auth_method",
    ),
};
