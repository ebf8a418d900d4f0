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
    /// The test that shows it.
    pub(super) proof: Proof,
}

/// A test of the binary that asks for a field.
#[derive(Clone, Copy)]
pub(super) struct Proof {
    /// Its file below `crates/watchkeeper/tests/it`.
    pub(super) file: &'static str,
    /// Its name.
    pub(super) test: &'static str,
    /// The client that brings the field there.
    pub(super) client: &'static str,
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
    /// The egress proxy.
    Egress,
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
    const ALL: [Self; 9] =
        [Self::Gateway, Self::Otlp, Self::Mcp, Self::Egress, Self::Hook, Self::Api, Self::Import, Self::Inspection, Self::Own];

    const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Otlp => "OTLP",
            Self::Mcp => "MCP",
            Self::Egress => "egress",
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
            Self::Egress => "what goes out through the [egress proxy](../guides/egress.md)",
            Self::Hook => "what [coding agents](../guides/coding-agents.md) tell their hooks",
            Self::Api => "[`POST /v1/events`](api.md): an application tells it itself, under these names",
            Self::Import => "files that `watchkeeper import` reads",
            Self::Inspection => "found by [inspection](inspection.md) in what any of the others brings",
            Self::Own => "what Watchkeeper itself does, or derives from what the others bring",
        }
    }
}

use Source::{Api, Egress, Gateway, Hook, Import, Inspection, Mcp, Otlp, Own};

const fn field(name: &'static str, column: (&'static str, &'static str), sources: &'static [Source], proof: Proof) -> Field {
    Field { name, column, sources, proof }
}

const fn proof(file: &'static str, test: &'static str, client: &'static str) -> Proof {
    Proof { file, test, client }
}

/// A chat in one piece and as a stream.
const OPENAI: Proof = proof("clients.rs", "openai_sdk_through_the_gateway", "`openai` (Python)");
/// What only some calls bring: a refusal by policy, a cache, probabilities, other system prompts.
const SOME_CALLS: Proof = proof("fields.rs", "an_sdk_fills_what_only_some_calls_bring", "`openai` (Python)");
/// A conversation with a tool.
const OTEL: Proof = proof("clients.rs", "otel_genai_instrumentation", "`opentelemetry-instrumentation-genai-openai`");
/// The same on two days.
const TREND: Proof = proof(
    "fields.rs",
    "an_instrumentation_brings_the_trend_of_a_user",
    "`opentelemetry-instrumentation-genai-openai`, its clock set back by a day",
);
/// An agent that looks something up, calls a tool and asks a database.
const PICTURE: Proof = proof(
    "otlp.rs",
    "langgraph_agent_with_retrieval_tool_and_database",
    "LangGraph under OpenInference, SQLite under OpenTelemetry",
);
/// Retrievals.
const LLAMAINDEX: Proof = proof("otlp.rs", "llamaindex_retrieval", "LlamaIndex under OpenInference");
const CHROMA: Proof = proof("otlp.rs", "chroma_query", "Chroma under OpenLLMetry");
/// An agent with a tool.
const AGENT: Proof = proof("otlp.rs", "openai_agents_with_a_tool", "OpenAI Agents SDK under OpenInference");
/// An agent that hands over to another, which installs something.
const HAND_OVER: Proof = proof("otlp.rs", "openai_agents_that_hand_over_and_install", "OpenAI Agents SDK under OpenInference");
/// A server of MCP.
const EVERYTHING: Proof = proof(
    "mcp.rs",
    "the_python_sdk_and_server_everything_over_stdio",
    "`mcp` (Python) and `@modelcontextprotocol/server-everything`",
);
/// A server of MCP, and a policy.
const FILES: Proof = proof(
    "mcp.rs",
    "the_python_sdk_and_server_filesystem_over_stdio",
    "`mcp` (Python) and `@modelcontextprotocol/server-filesystem`",
);
/// Calls to the outside.
const EGRESS: Proof = proof(
    "egress.rs",
    "calls_of_real_clients_are_recorded_once_with_destination_status_and_bytes",
    "`requests`, `httpx2`, `websockets` (Python), curl",
);
/// What a program tells itself.
const CRATE: Proof = proof("fields.rs", "the_client_crate_tells_what_a_program_does", "`watchkeeper-client` (Rust)");
/// Other programs' administration, and our own.
const ADMINISTRATION: Proof =
    proof("sessions.rs", "administration_is_told_with_who_from_where_and_what_it_was", "the console's own API");
/// A sign-in at the console behind a proxy.
const SIGN_IN: Proof =
    proof("sessions.rs", "a_session_is_told_with_its_sign_in_and_where_it_came_from", "a sign-in at the console");

/// Every category, field by field.
pub(super) const CATEGORIES: &[Category] = &[
    Category {
        id: "A1",
        name: "prompts",
        fields: &[
            field("user prompt", ("prompts", "prompt"), &[Gateway, Otlp, Api, Import], OPENAI),
            field("session id", ("prompts", "session_id"), &[Gateway, Otlp, Api, Import], OTEL),
            field("user identity", ("prompts", "user_id"), &[Gateway, Otlp, Api, Import], OTEL),
            field("risk score", ("prompts", "risk_score"), &[Inspection], SOME_CALLS),
            field("classification", ("prompts", "classification"), &[Inspection], SOME_CALLS),
            field("safety filter outcome", ("prompts", "safety_filter_outcome"), &[Gateway, Otlp, Api, Inspection], SOME_CALLS),
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
                SOME_CALLS,
            ),
            field("blocked or not", ("guardrail_decisions", "blocked"), &[Gateway, Otlp, Mcp, Hook, Api], FILES),
            field("confidence", ("guardrail_decisions", "confidence"), &[Gateway, Otlp, Api, Inspection], SOME_CALLS),
            field(
                "moderation decision",
                ("guardrail_decisions", "moderation_decision"),
                &[Gateway, Otlp, Hook, Api, Inspection],
                SOME_CALLS,
            ),
            field("risk categories", ("guardrail_decisions", "risk_categories"), &[Gateway, Otlp, Api, Inspection], SOME_CALLS),
            field("prompts that never reached the model", ("guardrail_decisions", "reached_model"), &[Gateway], SOME_CALLS),
        ],
    },
    Category {
        id: "A3",
        name: "retrievals (RAG)",
        fields: &[
            field("user id", ("retrievals", "user_id"), &[Otlp, Api], LLAMAINDEX),
            field("document id", ("retrievals", "document_id"), &[Otlp, Api], LLAMAINDEX),
            field("retrieval source", ("retrievals", "retrieval_source"), &[Otlp, Api], PICTURE),
            field("similarity score", ("retrievals", "similarity_score"), &[Otlp, Api], CHROMA),
            field("query context", ("retrievals", "query"), &[Otlp, Api], PICTURE),
            field("access decision", ("retrievals", "access_decision"), &[Otlp, Api, Own], PICTURE),
        ],
    },
    Category {
        id: "A4",
        name: "agent actions",
        fields: &[
            field("tool invoked", ("agent_actions", "tool"), &[Gateway, Otlp, Mcp, Hook, Api, Import], AGENT),
            field("parameters", ("agent_actions", "parameters"), &[Gateway, Otlp, Mcp, Hook, Api, Import], AGENT),
            field("user context", ("agent_actions", "user_id"), &[Gateway, Otlp, Mcp, Hook, Api], AGENT),
            field("execution result", ("agent_actions", "result"), &[Gateway, Otlp, Mcp, Hook, Api, Import], AGENT),
            field("approval status", ("agent_actions", "approval_status"), &[Otlp, Mcp, Hook, Api], FILES),
            field("time", ("agent_actions", "time"), &[Gateway, Otlp, Mcp, Hook, Api, Import], PICTURE),
        ],
    },
    Category {
        id: "A5",
        name: "agent steps",
        fields: &[
            field("plans", ("agent_steps", "output"), &[Otlp, Api], CRATE),
            field("decisions", ("agent_steps", "output"), &[Otlp, Api], PICTURE),
            field("delegations", ("agent_steps", "delegation"), &[Otlp, Api], HAND_OVER),
            field("hand-offs between agents", ("agent_steps", "step"), &[Otlp, Api], HAND_OVER),
            field("intermediate steps", ("agent_steps", "name"), &[Otlp, Hook, Mcp, Api], PICTURE),
        ],
    },
    Category {
        id: "A6",
        name: "installation commands",
        fields: &[
            field("package manager", ("installations", "package_manager"), &[Gateway, Otlp, Mcp, Hook, Api, Import], HAND_OVER),
            field("package", ("installations", "package"), &[Gateway, Otlp, Mcp, Hook, Api, Import], HAND_OVER),
            field("version", ("installations", "version"), &[Gateway, Otlp, Mcp, Hook, Api, Import], HAND_OVER),
            field("source", ("installations", "package_source"), &[Gateway, Otlp, Mcp, Hook, Api, Import], HAND_OVER),
            field("the command itself", ("installations", "command"), &[Gateway, Otlp, Mcp, Hook, Api, Import], HAND_OVER),
            field("whichever tool ran it", ("installations", "tool"), &[Gateway, Otlp, Mcp, Hook, Api, Import], HAND_OVER),
        ],
    },
    Category {
        id: "A7",
        name: "agent identity",
        fields: &[
            field("which agent", ("agents", "agent"), &[Gateway, Otlp, Mcp, Hook, Api], HAND_OVER),
            field("version", ("agents", "agent_version"), &[Otlp, Hook, Api], CRATE),
            field("on whose behalf", ("agents", "on_behalf_of"), &[Gateway, Otlp, Mcp, Hook, Api], HAND_OVER),
            field("how it proved it", ("agents", "proof"), &[Gateway, Otlp, Mcp, Hook, Api], HAND_OVER),
            field("delegation chain", ("agents", "delegation_chain"), &[Otlp, Api], HAND_OVER),
        ],
    },
    Category {
        id: "A8",
        name: "data access",
        fields: &[
            field("which store", ("data_access", "store"), &[Otlp, Mcp, Api], PICTURE),
            field("which object", ("data_access", "object"), &[Otlp, Mcp, Api, Own], PICTURE),
            field("read or write", ("data_access", "access"), &[Otlp, Mcp, Api, Own], PICTURE),
            field("rows", ("data_access", "rows"), &[Otlp, Api], CRATE),
            field("bytes", ("data_access", "bytes"), &[Otlp, Mcp, Api], EVERYTHING),
            field("by whom", ("data_access", "user_id"), &[Otlp, Mcp, Api, Own], PICTURE),
        ],
    },
    Category {
        id: "A9",
        name: "system prompts",
        fields: &[
            field("changes", ("system_prompt_changes", "change"), &[Gateway, Otlp, Mcp, Api, Import], SOME_CALLS),
            field("version history", ("system_prompts", "version"), &[Gateway, Otlp, Mcp, Api, Import], SOME_CALLS),
            field("administrative modifications", ("system_prompt_events", "after"), &[Hook, Api], CRATE),
            field("access requests", ("system_prompt_events", "action"), &[Mcp, Api], EVERYTHING),
        ],
    },
    Category {
        id: "A10",
        name: "token use",
        fields: &[
            field("input tokens", ("token_usage", "input_tokens"), &[Gateway, Otlp, Api], OPENAI),
            field("output tokens", ("token_usage", "output_tokens"), &[Gateway, Otlp, Api], OPENAI),
            field("cached tokens", ("token_usage", "cached_tokens"), &[Gateway, Otlp, Api], SOME_CALLS),
            field("session totals", ("token_usage_by_session", "total_tokens"), &[Gateway, Otlp, Api], SOME_CALLS),
            field("trend per user", ("token_usage_by_user_day", "change_tokens"), &[Gateway, Otlp, Api], TREND),
        ],
    },
    Category {
        id: "A11",
        name: "outbound calls",
        fields: &[
            field("URL", ("external_calls", "url"), &[Egress, Gateway, Otlp, Api], EGRESS),
            field("destination", ("external_calls", "destination"), &[Egress, Gateway, Otlp, Api], EGRESS),
            field("authentication method", ("external_calls", "auth_method"), &[Egress, Gateway, Api], OPENAI),
            field("status code", ("external_calls", "status_code"), &[Egress, Gateway, Otlp, Api], EGRESS),
            field("bytes out", ("external_calls", "bytes_out"), &[Egress, Gateway, Otlp, Api], EGRESS),
            field("bytes in", ("external_calls", "bytes_in"), &[Egress, Gateway, Otlp, Api], EGRESS),
        ],
    },
    Category {
        id: "A12",
        name: "model responses",
        fields: &[
            field("response", ("responses", "response"), &[Gateway, Otlp, Mcp, Api, Import], OPENAI),
            field("confidence", ("responses", "confidence"), &[Gateway, Api], SOME_CALLS),
            field("safety classification", ("responses", "safety_classification"), &[Inspection], SOME_CALLS),
            field("response category", ("responses", "response_category"), &[Gateway, Otlp, Mcp, Api, Import], SOME_CALLS),
        ],
    },
    Category {
        id: "A13",
        name: "administration",
        fields: &[
            field("user creation", ("admin_events", "action"), &[Api], CRATE),
            field("permission change", ("admin_events", "object"), &[Hook, Api], CRATE),
            field("API key creation", ("admin_events", "after"), &[Own, Api], ADMINISTRATION),
            field("model deployment", ("admin_events", "name"), &[Api], CRATE),
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
            field("user agent", ("user_sessions", "user_agent"), &[Own, Gateway, Otlp, Api], SOME_CALLS),
        ],
    },
];

/// The reference of the categories, as `docs/reference/categories.md` has it.
#[must_use]
pub fn categories() -> String {
    let mut text = String::from(
        "# Log categories\n\n\
         <!-- Made from `crates/store/src/views/categories.rs`; a test keeps it true. To write it: `cargo xtask docs`. -->\n\n\
         Every field of the log categories A1 to A14: the [view and column](views.md) that show it, what fills it, and a test that shows \
         that it does: through the whole program, from the client that is named. The tests are in `crates/watchkeeper/tests/it`; \
         [clients](clients.md) has the clients' versions. A column that no source has filled is NULL.\n\n\
         | source | what |\n| --- | --- |\n",
    );
    for source in Source::ALL {
        let _ = writeln!(text, "| {} | {} |", source.name(), source.about());
    }
    for Category { id, name, fields } in CATEGORIES {
        let head = "| field | column | filled by | shown with | by the test |\n| --- | --- | --- | --- | --- |";
        let _ = write!(text, "\n## {id}: {name}\n\n{head}\n");
        for Field { name, column: (view, column), sources, proof: Proof { file, test, client } } in *fields {
            let sources: Vec<&str> = sources.iter().map(|source| source.name()).collect();
            let module = file.trim_end_matches(".rs");
            let _ = writeln!(text, "| {name} | `{view}.{column}` | {} | {client} | `{module}::{test}` |", sources.join(", "));
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
        ("A5", &["plans", "decisions", "delegations", "hand-offs between agents", "intermediate steps"]),
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

    /// Where the tests of the binary are.
    const TESTS: &str = "crates/watchkeeper/tests/it";

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

    /// A function: name, whether it is a test, and text.
    type Function<'a> = (&'a str, bool, &'a str);

    /// The functions of a file of tests.
    fn functions(text: &str) -> Vec<Function<'_>> {
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(at) = text[from..].find("fn ").map(|at| from + at) {
            from = at + 3;
            let begin = text[..at].rfind('\n').map_or(0, |end| end + 1);
            let (before, name) = (&text[begin..at], &text[from..]);
            let name = &name[..name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(0)];
            if name.is_empty() || !["", "pub(crate) ", "async "].contains(&before) {
                continue;
            }
            // Where it is formatted, a function of a file ends with a brace at the beginning of a line.
            let Some(end) = text[from..].find("\n}").map(|end| from + end) else { continue };
            let attributes = text[..begin].trim_end();
            let attributes = attributes.rfind("\n\n").map_or(attributes, |end| &attributes[end..]);
            found.push((name, attributes.contains("#[test]") || attributes.contains("#[tokio::test"), &text[at..end]));
        }
        found
    }

    /// A test of that name is there, is one, and reads the view and the column: itself, or in what it calls.
    #[test]
    fn every_proof_is_a_test_that_asks_for_the_column() {
        let mut texts = Vec::new();
        for entry in std::fs::read_dir(root().join(TESTS)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                texts.push((path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap()));
            }
        }
        let all: Vec<(&str, Vec<Function<'_>>)> = texts.iter().map(|(file, text)| (file.as_str(), functions(text))).collect();
        // What a test calls: of its own file, or of the files that tests share.
        let find = |file: &str, name: &str| {
            let in_file = |file: &str| {
                let functions = &all.iter().find(|(found, _)| *found == file)?.1;
                functions.iter().find(|(found, _, _)| *found == name).copied()
            };
            [file, "clients.rs", "gateway.rs"].into_iter().find_map(in_file)
        };
        for Category { id, fields, .. } in CATEGORIES {
            for Field { name, column: (view, column), proof: Proof { file, test, .. }, .. } in *fields {
                let (_, is_test, _) = find(file, test).unwrap_or_else(|| panic!("{id} {name}: {file} has no function {test}"));
                assert!(is_test, "{id} {name}: {test} is no test");
                let (mut reached, mut texts) = (vec![*test], String::new());
                let mut at = 0;
                while let Some(function) = reached.get(at).copied() {
                    at += 1;
                    let Some((_, _, text)) = find(file, function) else { continue };
                    texts.push_str(text);
                    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '(');
                    for called in words.filter_map(|word| word.split_once('(')).map(|(called, _)| called) {
                        if !called.is_empty() && !reached.contains(&called) && find(file, called).is_some() {
                            reached.push(called);
                        }
                    }
                }
                let has = |wanted: &str| texts.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == wanted);
                assert!(has(view) && has(column), "{id} {name}: {file}::{test} does not ask for {view}.{column}");
            }
        }
    }
}
