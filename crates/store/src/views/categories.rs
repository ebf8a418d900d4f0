//! The log categories of the requirements, field by field: the column that shows it, what fills it, and the test that shows that it does.

use std::fmt::Write as _;

/// A category.
pub(super) struct Category {
    /// Its id: `A1` ...
    pub(super) id: &'static str,
    /// What it is about.
    pub(super) name: &'static str,
    /// What must be filled when a source has it.
    pub(super) fields: &'static [Field],
}

/// A field of a category.
pub(super) struct Field {
    /// Its name in the requirements.
    pub(super) name: &'static str,
    /// View and column.
    pub(super) column: (&'static str, &'static str),
    /// What fills it.
    pub(super) sources: &'static [Source],
    /// The test that shows it, as path and name.
    pub(super) proof: (&'static str, &'static str),
}

/// A way into the record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The LLM gateway.
    Gateway,
    /// Instrumentations, over OTLP.
    Otlp,
    /// The MCP proxy.
    Mcp,
    /// Hooks of coding agents.
    Hook,
    /// `POST /v1/events`, and the client crate.
    Api,
    /// Files that are imported.
    Import,
    /// Inspection of whatever comes in.
    Inspection,
    /// What Watchkeeper itself does, and who makes it.
    Own,
}

impl Source {
    const ALL: [Self; 8] =
        [Self::Gateway, Self::Otlp, Self::Mcp, Self::Hook, Self::Api, Self::Import, Self::Inspection, Self::Own];

    const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Otlp => "OTLP",
            Self::Mcp => "MCP",
            Self::Hook => "hooks",
            Self::Api => "API",
            Self::Import => "import",
            Self::Inspection => "inspection",
            Self::Own => "Watchkeeper",
        }
    }

    const fn about(self) -> &'static str {
        match self {
            Self::Gateway => "calls of models through the [LLM gateway](../guides/gateway.md)",
            Self::Otlp => "what instrumentations export; which of them tells what is in [dialects](dialects.md)",
            Self::Mcp => "traffic through the [MCP proxy](../guides/mcp.md)",
            Self::Hook => "what [coding agents](../guides/coding-agents.md) tell their hooks",
            Self::Api => "[`POST /v1/events`](api.md): an application tells it itself, under these names",
            Self::Import => "files that `watchkeeper import` reads",
            Self::Inspection => "found by [inspection](inspection.md) in what any of the others brings",
            Self::Own => "what Watchkeeper itself does, or derives from what the others bring",
        }
    }
}

use Source::{Api, Gateway, Hook, Import, Inspection, Mcp, Otlp, Own};

const fn field(
    name: &'static str,
    column: (&'static str, &'static str),
    sources: &'static [Source],
    proof: (&'static str, &'static str),
) -> Field {
    Field { name, column, sources, proof }
}

const CLIENTS: &str = "crates/watchkeeper/tests/it/clients.rs";
const OTLP: &str = "crates/watchkeeper/tests/it/otlp.rs";
const GATEWAY: &str = "crates/watchkeeper/tests/it/gateway.rs";
const AGENTS: &str = "crates/watchkeeper/tests/it/agents.rs";
const MCP: &str = "crates/watchkeeper/tests/it/mcp.rs";
const SESSIONS: &str = "crates/watchkeeper/tests/it/sessions.rs";
const VIEWS: &str = "crates/store/tests/store/views.rs";
const ACTIONS: &str = "crates/store/tests/store/actions.rs";

/// A call of a model that is judged, through the gateway.
const JUDGED: (&str, &str) = (SESSIONS, "a_prompt_that_is_judged_says_by_what_and_how_sure");
/// An agent that looks something up, calls a tool and asks a database.
const PICTURE: (&str, &str) = (OTLP, "langgraph_agent_with_retrieval_tool_and_database");
/// A coding agent that installs something.
const CODING: (&str, &str) = (AGENTS, "a_session_of_a_coding_agent_is_recorded_with_what_it_installs");
/// Other programs' administration, and our own.
const ADMINISTRATION: (&str, &str) = (SESSIONS, "administration_is_told_with_who_from_where_and_what_it_was");
/// A sign-in at the console behind a proxy.
const SIGN_IN: (&str, &str) = (SESSIONS, "a_session_is_told_with_its_sign_in_and_where_it_came_from");
/// Calls with other system prompts.
const PROMPTS: (&str, &str) = (SESSIONS, "a_system_prompt_that_changes_is_seen_without_being_reported");
/// Views over events that are made by hand.
const OTHERS: (&str, &str) = (VIEWS, "steps_installations_data_calls_and_administration");

/// Every category, field by field.
pub(super) const CATEGORIES: &[Category] = &[
    Category {
        id: "A1",
        name: "prompts",
        fields: &[
            field(
                "user prompt",
                ("prompts", "prompt"),
                &[Gateway, Otlp, Api, Import],
                (CLIENTS, "openai_sdk_through_the_gateway"),
            ),
            field(
                "session id",
                ("prompts", "session_id"),
                &[Gateway, Otlp, Api, Import],
                (CLIENTS, "otel_genai_instrumentation"),
            ),
            field(
                "user identity",
                ("prompts", "user_id"),
                &[Gateway, Otlp, Api, Import],
                (CLIENTS, "otel_genai_instrumentation"),
            ),
            field("risk score", ("prompts", "risk_score"), &[Inspection], JUDGED),
            field("classification", ("prompts", "classification"), &[Inspection], JUDGED),
            field("safety filter outcome", ("prompts", "safety_filter_outcome"), &[Gateway, Otlp, Api, Inspection], JUDGED),
        ],
    },
    Category {
        id: "A2",
        name: "guardrail decisions",
        fields: &[
            field(
                "policy violated",
                ("guardrail_decisions", "policy_violated"),
                &[Gateway, Otlp, Mcp, Api, Inspection],
                (GATEWAY, "policies_decide_before_a_call_goes_on_and_the_record_says_so"),
            ),
            field(
                "blocked or not",
                ("guardrail_decisions", "blocked"),
                &[Gateway, Otlp, Mcp, Hook, Api],
                (MCP, "a_policy_stops_what_it_names_and_nothing_else"),
            ),
            field("confidence", ("guardrail_decisions", "confidence"), &[Gateway, Otlp, Api, Inspection], JUDGED),
            field(
                "moderation decision",
                ("guardrail_decisions", "moderation_decision"),
                &[Gateway, Otlp, Hook, Api, Inspection],
                (AGENTS, "a_hook_refuses_by_policy_and_says_so_in_the_record"),
            ),
            field("risk categories", ("guardrail_decisions", "risk_categories"), &[Gateway, Otlp, Api, Inspection], JUDGED),
            field("prompts that never reached the model", ("guardrail_decisions", "reached_model"), &[Gateway], JUDGED),
        ],
    },
    Category {
        id: "A3",
        name: "retrievals (RAG)",
        fields: &[
            field("user id", ("retrievals", "user_id"), &[Otlp, Api], (OTLP, "llamaindex_retrieval")),
            field("document id", ("retrievals", "document_id"), &[Otlp, Api], (VIEWS, "retrievals")),
            field("retrieval source", ("retrievals", "retrieval_source"), &[Otlp, Api], PICTURE),
            field("similarity score", ("retrievals", "similarity_score"), &[Otlp, Api], (OTLP, "chroma_query")),
            field("query context", ("retrievals", "query"), &[Otlp, Api], PICTURE),
            field("access decision", ("retrievals", "access_decision"), &[Otlp, Api, Own], PICTURE),
        ],
    },
    Category {
        id: "A4",
        name: "agent actions",
        fields: &[
            field("tool invoked", ("agent_actions", "tool"), &[Gateway, Otlp, Mcp, Hook, Api, Import], CODING),
            field("parameters", ("agent_actions", "parameters"), &[Gateway, Otlp, Mcp, Hook, Api, Import], CODING),
            field("user context", ("agent_actions", "user_id"), &[Gateway, Otlp, Mcp, Hook, Api], CODING),
            field("execution result", ("agent_actions", "result"), &[Gateway, Otlp, Mcp, Hook, Api, Import], CODING),
            field(
                "approval status",
                ("agent_actions", "approval_status"),
                &[Otlp, Mcp, Hook, Api],
                (ACTIONS, "a_denied_call_says_so_and_a_lone_result_is_kept"),
            ),
            field("time", ("agent_actions", "time"), &[Gateway, Otlp, Mcp, Hook, Api, Import], PICTURE),
        ],
    },
    Category {
        id: "A5",
        name: "agent steps",
        fields: &[
            field("plans and decisions", ("agent_steps", "output"), &[Otlp, Api], OTHERS),
            field("delegations and hand-offs", ("agent_steps", "delegation"), &[Api], OTHERS),
            field("intermediate steps", ("agent_steps", "step"), &[Otlp, Hook, Mcp, Api], OTHERS),
        ],
    },
    Category {
        id: "A6",
        name: "installation commands",
        fields: &[
            field("package manager", ("installations", "package_manager"), &[Gateway, Otlp, Mcp, Hook, Api, Import], CODING),
            field("package", ("installations", "package"), &[Gateway, Otlp, Mcp, Hook, Api, Import], CODING),
            field("version", ("installations", "version"), &[Gateway, Otlp, Mcp, Hook, Api, Import], CODING),
            field("source", ("installations", "package_source"), &[Gateway, Otlp, Mcp, Hook, Api, Import], CODING),
            field("the command itself", ("installations", "command"), &[Gateway, Otlp, Mcp, Hook, Api, Import], CODING),
            field("whichever tool ran it", ("installations", "tool"), &[Gateway, Otlp, Mcp, Hook, Api, Import], CODING),
        ],
    },
    Category {
        id: "A7",
        name: "agent identity",
        fields: &[
            field("which agent", ("agents", "agent"), &[Gateway, Otlp, Mcp, Hook, Api], (OTLP, "vercel_ai_sdk_with_a_tool")),
            field("version", ("agents", "agent_version"), &[Otlp, Hook, Api], OTHERS),
            field("on whose behalf", ("agents", "on_behalf_of"), &[Gateway, Otlp, Mcp, Hook, Api], OTHERS),
            field("how it proved it", ("agents", "proof"), &[Gateway, Otlp, Mcp, Hook, Api], OTHERS),
            field("delegation chain", ("agents", "delegation_chain"), &[Api], OTHERS),
        ],
    },
    Category {
        id: "A8",
        name: "data access",
        fields: &[
            field("which store", ("data_access", "store"), &[Otlp, Mcp, Api], PICTURE),
            field("which object", ("data_access", "object"), &[Otlp, Mcp, Api, Own], PICTURE),
            field("read or write", ("data_access", "access"), &[Otlp, Mcp, Api, Own], PICTURE),
            field("rows", ("data_access", "rows"), &[Otlp, Api], OTHERS),
            field("bytes", ("data_access", "bytes"), &[Otlp, Mcp, Api], (VIEWS, "bytes_of_a_read_are_those_that_came_back")),
            field("by whom", ("data_access", "user_id"), &[Otlp, Mcp, Api, Own], PICTURE),
        ],
    },
    Category {
        id: "A9",
        name: "system prompts",
        fields: &[
            field("changes", ("system_prompt_changes", "change"), &[Gateway, Otlp, Mcp, Api, Import], PROMPTS),
            field("version history", ("system_prompts", "version"), &[Gateway, Otlp, Mcp, Api, Import], PROMPTS),
            field("administrative modifications", ("system_prompt_events", "after"), &[Hook, Api], PROMPTS),
            field("access requests", ("system_prompt_events", "action"), &[Mcp, Api], PROMPTS),
        ],
    },
    Category {
        id: "A10",
        name: "token use",
        fields: &[
            field(
                "input tokens",
                ("token_usage", "input_tokens"),
                &[Gateway, Otlp, Api],
                (CLIENTS, "openai_sdk_through_the_gateway"),
            ),
            field(
                "output tokens",
                ("token_usage", "output_tokens"),
                &[Gateway, Otlp, Api],
                (CLIENTS, "openai_sdk_through_the_gateway"),
            ),
            field("cached tokens", ("token_usage", "cached_tokens"), &[Gateway, Otlp, Api], (VIEWS, "tokens_and_their_totals")),
            field(
                "session totals",
                ("token_usage_by_session", "total_tokens"),
                &[Gateway, Otlp, Api],
                (VIEWS, "tokens_and_their_totals"),
            ),
            field(
                "trend per user",
                ("token_usage_by_user_day", "change_tokens"),
                &[Gateway, Otlp, Api],
                (VIEWS, "tokens_and_their_totals"),
            ),
        ],
    },
    Category {
        id: "A11",
        name: "outbound calls",
        fields: &[
            field("URL", ("external_calls", "url"), &[Gateway, Otlp, Api], OTHERS),
            field("destination", ("external_calls", "destination"), &[Gateway, Otlp, Api], OTHERS),
            field(
                "authentication method",
                ("external_calls", "auth_method"),
                &[Gateway, Api],
                (CLIENTS, "openai_sdk_through_the_gateway"),
            ),
            field(
                "status code",
                ("external_calls", "status_code"),
                &[Gateway, Otlp, Api],
                (CLIENTS, "openai_sdk_through_the_gateway"),
            ),
            field("bytes out", ("external_calls", "bytes_out"), &[Gateway, Otlp, Api], OTHERS),
            field("bytes in", ("external_calls", "bytes_in"), &[Gateway, Otlp, Api], OTHERS),
        ],
    },
    Category {
        id: "A12",
        name: "model responses",
        fields: &[
            field(
                "response",
                ("responses", "response"),
                &[Gateway, Otlp, Mcp, Api, Import],
                (CLIENTS, "openai_sdk_through_the_gateway"),
            ),
            field("confidence", ("responses", "confidence"), &[Gateway, Api], (VIEWS, "responses_and_their_categories")),
            field(
                "safety classification",
                ("responses", "safety_classification"),
                &[Inspection],
                (VIEWS, "responses_and_their_categories"),
            ),
            field(
                "response category",
                ("responses", "response_category"),
                &[Gateway, Otlp, Mcp, Api, Import],
                (VIEWS, "responses_and_their_categories"),
            ),
        ],
    },
    Category {
        id: "A13",
        name: "administration",
        fields: &[
            field("user creation", ("admin_events", "action"), &[Api], ADMINISTRATION),
            field("permission change", ("admin_events", "object"), &[Hook, Api], CODING),
            field("API key creation", ("admin_events", "after"), &[Own, Api], ADMINISTRATION),
            field("model deployment", ("admin_events", "name"), &[Api], ADMINISTRATION),
            field("configuration change", ("admin_events", "before"), &[Own, Hook, Api], ADMINISTRATION),
            field("the product's own administration", ("admin_events", "client_address"), &[Own], ADMINISTRATION),
        ],
    },
    Category {
        id: "A14",
        name: "user sessions",
        fields: &[
            field("login time", ("user_sessions", "login_time"), &[Own, Hook, Api], SIGN_IN),
            field("IP address", ("user_sessions", "ip_address"), &[Own, Gateway, Otlp, Api], SIGN_IN),
            field("geolocation", ("user_sessions", "geolocation"), &[Own, Gateway, Otlp, Api], SIGN_IN),
            field("user agent", ("user_sessions", "user_agent"), &[Own, Gateway, Otlp, Api], SIGN_IN),
        ],
    },
];

/// The reference of the categories, as `docs/reference/categories.md` has it.
#[must_use]
pub fn categories() -> String {
    let mut text = String::from(
        "# Log categories\n\n\
         <!-- Made from `crates/store/src/views/categories.rs`; a test keeps it true. To write it: `cargo xtask docs`. -->\n\n\
         Every field of the log categories A1 to A14: the [view and column](views.md) that show it, what fills it, and the test that \
         shows that it does. A column that no source has filled is NULL.\n\n\
         | source | what |\n| --- | --- |\n",
    );
    for source in Source::ALL {
        let _ = writeln!(text, "| {} | {} |", source.name(), source.about());
    }
    for Category { id, name, fields } in CATEGORIES {
        let _ = write!(text, "\n## {id}: {name}\n\n| field | column | filled by | shown by |\n| --- | --- | --- | --- |\n");
        for Field { name, column: (view, column), sources, proof: (path, test) } in *fields {
            let sources: Vec<&str> = sources.iter().map(|source| source.name()).collect();
            let _ = writeln!(text, "| {name} | `{view}.{column}` | {} | `{path}::{test}` |", sources.join(", "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What the requirements ask for, in their words.
    const REQUIRED: [(&str, &[&str]); 14] = [
        ("A1", &["user prompt", "session id", "user identity", "risk score", "classification", "safety filter outcome"]),
        (
            "A2",
            &[
                "policy violated",
                "blocked or not",
                "confidence",
                "moderation decision",
                "risk categories",
                "prompts that never reached the model",
            ],
        ),
        ("A3", &["user id", "document id", "retrieval source", "similarity score", "query context", "access decision"]),
        ("A4", &["tool invoked", "parameters", "user context", "execution result", "approval status", "time"]),
        ("A5", &["plans and decisions", "delegations and hand-offs", "intermediate steps"]),
        ("A6", &["package manager", "package", "version", "source", "the command itself", "whichever tool ran it"]),
        ("A7", &["which agent", "version", "on whose behalf", "how it proved it", "delegation chain"]),
        ("A8", &["which store", "which object", "read or write", "rows", "bytes", "by whom"]),
        ("A9", &["changes", "version history", "administrative modifications", "access requests"]),
        ("A10", &["input tokens", "output tokens", "cached tokens", "session totals", "trend per user"]),
        ("A11", &["URL", "destination", "authentication method", "status code", "bytes out", "bytes in"]),
        ("A12", &["response", "confidence", "safety classification", "response category"]),
        (
            "A13",
            &[
                "user creation",
                "permission change",
                "API key creation",
                "model deployment",
                "configuration change",
                "the product's own administration",
            ],
        ),
        ("A14", &["login time", "IP address", "geolocation", "user agent"]),
    ];

    fn root() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
    }

    #[test]
    fn the_published_categories_are_these() {
        let path = root().join("docs/reference/categories.md");
        if std::env::var_os("WATCHKEEPER_WRITE_DOCS").is_some() {
            std::fs::write(&path, categories()).unwrap();
        }
        let published = std::fs::read_to_string(path).unwrap_or_default();
        assert!(published == categories(), "docs/reference/categories.md is stale; run `cargo xtask docs`");
    }

    #[test]
    fn every_field_that_is_required_has_a_source() {
        assert_eq!(CATEGORIES.len(), REQUIRED.len());
        for (category, (id, required)) in CATEGORIES.iter().zip(REQUIRED) {
            let names: Vec<&str> = category.fields.iter().map(|field| field.name).collect();
            assert_eq!((category.id, names.as_slice()), (id, required));
            assert!(category.fields.iter().all(|field| !field.sources.is_empty()), "{id}");
        }
    }

    #[test]
    fn every_column_is_one_of_its_view_and_the_view_is_of_the_category() {
        for Category { id, fields, .. } in CATEGORIES {
            for Field { name, column: (view, column), .. } in *fields {
                let found = crate::VIEWS.iter().find(|found| found.name == *view);
                let found = found.unwrap_or_else(|| panic!("{id} {name}: there is no view {view}"));
                assert_eq!(found.requirement, *id, "{name}: {view}");
                assert!(found.columns().any(|found| found.name == *column), "{id} {name}: {view} has no column {column}");
            }
        }
    }

    /// A test of that name is there, is one, and the file in which it is asks for the column.
    #[test]
    fn every_proof_is_a_test_that_asks_for_the_column() {
        for Category { id, fields, .. } in CATEGORIES {
            for Field { name, column: (view, column), proof: (path, test), .. } in *fields {
                let text = std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
                let at = text.find(&format!("fn {test}()")).unwrap_or_else(|| panic!("{id} {name}: {path} has no test {test}"));
                let before = text[..at].trim_end().trim_end_matches("async").trim_end();
                assert!(before.ends_with("#[test]") || before.ends_with("#[tokio::test]"), "{id} {name}: {test} is no test");
                assert!(text.contains(column) && text.contains(view), "{id} {name}: {path} does not ask for {view}.{column}");
            }
        }
    }
}
