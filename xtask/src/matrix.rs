//! Every real client, live, and what each left in the record: `cargo xtask matrix`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::clients::{self, FRAMEWORKS, FRAMEWORKS_FOLDER, SMALL, pinned};
use crate::{root, say};

/// The page that the command writes.
const PAGE: &str = "docs/reference/clients.md";

/// A client and a way in.
struct Row {
    /// Its package.
    client: &'static str,
    /// The environment that pins it.
    environment: &'static str,
    language: &'static str,
    way: &'static str,
    /// Tests of `crates/watchkeeper/tests/it`.
    tests: &'static [&'static str],
}

const fn row(
    client: &'static str,
    environment: &'static str,
    language: &'static str,
    way: &'static str,
    tests: &'static [&'static str],
) -> Row {
    Row { client, environment, language, way, tests }
}

const OTHER_APIS: &str = "gateway::the_sdks_of_openai_anthropic_google_and_aws_use_every_api";
const JAVASCRIPT: &str = "gateway::the_javascript_sdks_through_the_gateway";
const FILES_STDIO: &str = "mcp::the_python_sdk_and_server_filesystem_over_stdio";
const FILES_HTTP: &str = "matrix::the_python_sdk_and_server_filesystem_over_http";
const EVERYTHING_STDIO: &str = "mcp::the_python_sdk_and_server_everything_over_stdio";
const EVERYTHING_HTTP: &str = "mcp::the_python_sdk_and_server_everything_over_http";
const AGENT: &str = "otlp::langgraph_agent_with_a_tool";
const PICTURE: &str = "otlp::langgraph_agent_with_retrieval_tool_and_database";
const JOINED: &str = "otlp::content_of_log_records_is_joined_to_the_calls_and_recorded_once";

/// Every client.
const ROWS: &[Row] = &[
    row(
        "openai",
        "gateway",
        "Python",
        "gateway",
        &["clients::openai_sdk_through_the_gateway", "fields::an_sdk_fills_what_only_some_calls_bring", OTHER_APIS],
    ),
    row("anthropic", "gateway", "Python", "gateway", &["clients::anthropic_sdk_through_the_gateway", OTHER_APIS]),
    row("google-genai", "gateway", "Python", "gateway", &[OTHER_APIS]),
    row("boto3", "gateway", "Python", "gateway", &[OTHER_APIS]),
    row("litellm", "frameworks/litellm", "Python", "gateway", &["matrix::litellm_through_the_gateway"]),
    row("langchain", "frameworks/langgraph", "Python", "gateway", &["matrix::langchain_and_langgraph_through_the_gateway"]),
    row("langgraph", "frameworks/langgraph", "Python", "gateway", &["matrix::langchain_and_langgraph_through_the_gateway"]),
    row("llama-index-core", "frameworks/llamaindex", "Python", "gateway", &["matrix::llamaindex_through_the_gateway"]),
    row("openai-agents", "frameworks/openai_agents", "Python", "gateway", &["matrix::openai_agents_through_the_gateway"]),
    row("openai", "gateway-js", "JavaScript", "gateway", &[JAVASCRIPT]),
    row("@anthropic-ai/sdk", "gateway-js", "JavaScript", "gateway", &[JAVASCRIPT]),
    row("ai", "gateway-js", "JavaScript", "gateway", &[JAVASCRIPT]),
    row("opentelemetry-instrumentation-openai-v2", "otel-v2", "Python", "OTLP", &["clients::otel_v2_instrumentation", JOINED]),
    row(
        "opentelemetry-instrumentation-genai-openai",
        "otel-genai",
        "Python",
        "OTLP",
        &["clients::otel_genai_instrumentation", "fields::an_instrumentation_brings_the_trend_of_a_user"],
    ),
    row("openinference-instrumentation-openai", "openinference", "Python", "OTLP", &["clients::openinference_instrumentation"]),
    row("opentelemetry-instrumentation-openai", "openllmetry", "Python", "OTLP", &["clients::openllmetry_instrumentation"]),
    row(
        "openlit",
        "frameworks/openlit",
        "Python",
        "OTLP",
        &["otlp::openlit_spans_logs_and_metrics", "otlp::chroma_under_openlit"],
    ),
    row("litellm", "frameworks/litellm", "Python", "OTLP", &["otlp::litellm_with_its_own_callback"]),
    row("openinference-instrumentation-langchain", "frameworks/langgraph", "Python", "OTLP", &[AGENT, PICTURE]),
    row("langgraph", "frameworks/langgraph", "Python", "OTLP", &[AGENT, PICTURE]),
    row("opentelemetry-instrumentation-sqlite3", "frameworks/langgraph", "Python", "OTLP", &[PICTURE]),
    row("llama-index-core", "frameworks/llamaindex", "Python", "OTLP", &["otlp::llamaindex_retrieval"]),
    row(
        "openai-agents",
        "frameworks/openai_agents",
        "Python",
        "OTLP",
        &["otlp::openai_agents_with_a_tool", "otlp::openai_agents_that_hand_over_and_install"],
    ),
    row("chromadb", "frameworks/chroma", "Python", "OTLP", &["otlp::chroma_query", "otlp::chroma_under_openlit"]),
    row("ai", "frameworks/vercel_ai", "JavaScript", "OTLP", &["otlp::vercel_ai_sdk_with_a_tool"]),
    row(
        "mcp",
        "mcp",
        "Python",
        "MCP proxy, stdio",
        &[EVERYTHING_STDIO, FILES_STDIO, "mcp::the_newest_protocol_without_a_handshake"],
    ),
    row("mcp", "mcp", "Python", "MCP proxy, HTTP", &[EVERYTHING_HTTP, FILES_HTTP]),
    row("@modelcontextprotocol/server-everything", "mcp", "JavaScript", "MCP proxy, stdio", &[EVERYTHING_STDIO]),
    row(
        "@modelcontextprotocol/server-everything",
        "mcp",
        "JavaScript",
        "MCP proxy, HTTP",
        &[EVERYTHING_HTTP, "mcp::a_stdio_client_and_a_server_that_speaks_http"],
    ),
    row(
        "@modelcontextprotocol/server-filesystem",
        "mcp",
        "JavaScript",
        "MCP proxy, stdio",
        &[FILES_STDIO, "mcp::a_policy_stops_what_it_names_and_nothing_else"],
    ),
    row("@modelcontextprotocol/server-filesystem", "frameworks/mcp_bridge", "JavaScript", "MCP proxy, HTTP", &[FILES_HTTP]),
];

/// What a test asked of the record and compared.
#[derive(Default)]
struct Asked {
    views: BTreeSet<String>,
    columns: BTreeSet<String>,
}

/// Makes every environment, runs every client, prints the table, and writes the page where all went well.
pub(crate) fn matrix() -> anyhow::Result<()> {
    clients::make(SMALL)?;
    clients::make(FRAMEWORKS)?;
    let root = root()?;
    let told = root.join("target/matrix");
    if told.exists() {
        std::fs::remove_dir_all(&told)?;
    }
    std::fs::create_dir_all(&told)?;
    let verdicts = run_tests(&root, &told)?;

    let mut lines = vec![["client", "version", "way in", "verdict", "rows of"].map(str::to_owned).to_vec()];
    let mut failed = Vec::new();
    let mut page = String::new();
    for row in ROWS {
        let version = pinned(row.environment, row.client)?;
        let passed = row.tests.iter().all(|test| verdicts.get(*test).is_some_and(|verdict| verdict == "ok"));
        let asked = asked(&told, row.tests)?;
        let join = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let verdict = if passed { "passed" } else { "FAILED" };
        lines.push([row.client, &version, row.way, verdict, &join(&asked.views)].map(str::to_owned).to_vec());
        if !passed {
            let tests = row.tests.iter().filter(|test| verdicts.get(**test).is_none_or(|verdict| verdict != "ok"));
            failed.extend(tests.copied());
        }
        page += &page_row(row, &version, &asked);
    }
    print(&lines);
    if !failed.is_empty() {
        bail!("failed, or did not run: {failed:?}");
    }
    std::fs::write(root.join(PAGE), format!("{}{page}", page_head()))?;
    say(&format!("every client passed; written: {PAGE}"));
    Ok(())
}

/// Runs the tests of all rows at once and gives what became of each.
fn run_tests(root: &Path, told: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let tests: BTreeSet<&str> = ROWS.iter().flat_map(|row| row.tests).copied().collect();
    let mut command = Command::new("cargo");
    command.args(["test", "--workspace", "--test", "it", "--", "--include-ignored", "--exact"]).args(&tests).current_dir(root);
    command.env("WATCHKEEPER_EMITTERS", root.join("target/clients").join(FRAMEWORKS_FOLDER)).env("WATCHKEEPER_ASKED", told);
    let mut child = command.stdout(Stdio::piped()).spawn().context("cargo does not start")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let mut verdicts = BTreeMap::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        say(&line);
        if let Some((test, verdict)) = line.strip_prefix("test ").and_then(|line| line.split_once(" ... ")) {
            verdicts.insert(test.to_owned(), verdict.to_owned());
        }
    }
    // What failed is in the table.
    child.wait()?;
    Ok(verdicts)
}

/// What tests have written of themselves (`crates/watchkeeper/tests/it/asked.rs`).
fn asked(told: &Path, tests: &[&str]) -> anyhow::Result<Asked> {
    let mut asked = Asked::default();
    for test in tests {
        let Ok(text) = std::fs::read_to_string(told.join(format!("{}.json", test.replace("::", "-")))) else { continue };
        let value: Value = serde_json::from_str(&text)?;
        let list = |key: &str| value[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let (views, columns): (Vec<String>, Vec<String>) = (list("views"), list("columns"));
        asked.views.extend(views);
        asked.columns.extend(columns);
    }
    Ok(asked)
}

fn print(lines: &[Vec<String>]) {
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or_default()).collect();
    for line in lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        say(cells.join("  ").trim_end());
    }
}

fn page_head() -> String {
    String::from(
        "# Clients\n\n\
         <!-- `cargo xtask matrix` writes this page when every client has passed. A client whose rows are empty has not been in such a run yet. A \
         test compares clients and versions with what is pinned. -->\n\n\
         The real clients that are run against Watchkeeper, at the versions that are pinned below `tests/clients`. The models behind them are \
         stand-ins; everything else is real. `cargo xtask matrix` makes their environments, runs each, and fails when one leaves other rows than \
         it must. Under \"rows\" are the [views](views.md) that its tests read, and under \"columns\" what they compare there, as the tests \
         noted themselves while they ran.\n\n\
         Claude Code, Codex and Gemini CLI are not among them: they need an account. What they are known to send is in the tests of the \
         [hooks](../guides/coding-agents.md) and [dialects](dialects.md).\n\n\
         | client | version | language | way in | rows | columns | tests |\n| --- | --- | --- | --- | --- | --- | --- |\n",
    )
}

fn page_row(row: &Row, version: &str, asked: &Asked) -> String {
    let code = |names: &BTreeSet<String>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let tests: Vec<String> = row.tests.iter().map(|test| format!("`{test}`")).collect();
    let mut line = String::new();
    let _ = writeln!(
        line,
        "{}{} | {} | {} |",
        page_row_head(row, version),
        code(&asked.views),
        code(&asked.columns),
        tests.join(", ")
    );
    line
}

/// What of a row is known without running anything.
fn page_row_head(row: &Row, version: &str) -> String {
    format!("| `{}` | {version} | {} | {} | ", row.client, row.language, row.way)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "what a test relies on and does not find ends the test")]

    use super::*;

    #[test]
    fn the_page_has_every_client_at_the_version_that_is_pinned() {
        let page = std::fs::read_to_string(root().unwrap().join(PAGE)).unwrap();
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(rows.len(), ROWS.len(), "{PAGE} is stale; run `cargo xtask matrix`");
        assert!(page.starts_with(&page_head()), "{PAGE} is stale; run `cargo xtask matrix`");
        for (row, line) in ROWS.iter().zip(rows) {
            let head = page_row_head(row, &pinned(row.environment, row.client).unwrap());
            assert!(line.starts_with(&head), "{PAGE} is stale; run `cargo xtask matrix`: {line}");
            for test in row.tests {
                assert!(line.contains(&format!("`{test}`")), "{PAGE} is stale; run `cargo xtask matrix`: {test}");
            }
        }
    }

    #[test]
    fn every_test_of_the_matrix_is_there() {
        for test in ROWS.iter().flat_map(|row| row.tests) {
            let (module, name) = test.split_once("::").unwrap();
            let path = root().unwrap().join(format!("crates/watchkeeper/tests/it/{module}.rs"));
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(text.contains(&format!("\nfn {name}() {{")), "{module}.rs has no test {name}");
        }
    }
}
