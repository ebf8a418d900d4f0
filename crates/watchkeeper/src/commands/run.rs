//! `watchkeeper run -- COMMAND`: starts a program with the environment that makes its SDKs and agents report here.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use server::{DataDir, Listeners, RunFile};

use crate::cli::RunOptions;
use crate::output::{complain, say};

/// Variables that send a program's traffic elsewhere: where the caller has set one, it is theirs.
const PLACES: [&str; 7] = [
    "OPENAI_BASE_URL",
    "OPENAI_API_BASE",
    "ANTHROPIC_BASE_URL",
    "GOOGLE_GEMINI_BASE_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "GEMINI_TELEMETRY_OTLP_ENDPOINT",
];

/// Variables that name a forward proxy. Programs read one case or the other, curl the lower one alone for `http://`.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

/// What a proxy is not asked for: this machine, where the listeners are that see more than it does.
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// See [`NO_PROXY`].
const LOCAL: &str = "localhost,127.0.0.1,::1";

pub(super) fn run(options: &RunOptions) -> anyhow::Result<ExitCode> {
    let listeners = listeners(options.dir.as_deref(), options.otlp.as_deref(), options.gateway.as_deref())?;
    let key = std::env::var("WATCHKEEPER_API_KEY").ok().filter(|key| !key.is_empty());
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let variables = variables(&listeners, key.as_deref(), options.no_content);
    let mut wanted: BTreeMap<_, _> = variables.into_iter().filter(|(name, _)| !is_set(name)).collect();
    let own_proxy = PROXIES.into_iter().find(|name| listeners.egress.is_some() && is_set(name));
    match (&listeners.egress, own_proxy) {
        (Some(egress), None) => wanted.extend(proxies(egress, key.as_deref(), std::env::var("NO_PROXY").ok().as_deref())),
        (Some(_), Some(name)) => complain(&format!("{name} is set and stays as it is: other calls are not seen here")),
        (None, _) => {}
    }
    if options.print {
        for (name, value) in &wanted {
            say(&format!("export {name}={}", quoted(value)))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    for name in PLACES.into_iter().filter(|name| is_set(name)) {
        complain(&format!("{name} is set and stays as it is: what goes there is not seen here"));
    }
    let Some((program, arguments)) = options.command.split_first() else {
        bail!("no command; give one behind --, as in `watchkeeper run -- python app.py`");
    };
    let mut command = Command::new(program);
    command.args(arguments).envs(&wanted);
    if !is_set("OTEL_SERVICE_NAME") {
        let name = Path::new(program).file_name().unwrap_or(program);
        command.env("OTEL_SERVICE_NAME", name);
    }
    if let Some(dir) = &options.dir {
        // The program may go elsewhere.
        command.env("WATCHKEEPER_DATA", std::path::absolute(dir)?);
    }
    // The program takes this one's place: signals, exit code and standard streams are its own.
    let error = command.exec();
    Err(error).with_context(|| program.to_string_lossy().into_owned())
}

/// Where programs report: as said, or as the running server of the data directory has it, or the usual places.
pub(super) fn listeners(dir: Option<&Path>, otlp: Option<&str>, gateway: Option<&str>) -> anyhow::Result<Listeners> {
    let usual = || Listeners {
        otlp_grpc: "http://127.0.0.1:4317".to_owned(),
        otlp_http: "http://127.0.0.1:4318".to_owned(),
        gateway: "http://127.0.0.1:4000".to_owned(),
        egress: None,
    };
    let dir = dir.map(Path::to_owned).or_else(client::default_data_dir);
    let running = dir.as_ref().and_then(|dir| RunFile::read(&DataDir::unchecked(dir))?.listeners);
    if running.is_none() && (otlp.is_none() || gateway.is_none()) {
        let dir = dir.map_or_else(String::new, |dir| format!(" on {}", dir.display()));
        complain(&format!(
            "no server runs{dir}: these are the usual addresses; start `watchkeeper serve`, or name it with --data"
        ));
    }
    let mut listeners = running.unwrap_or_else(usual);
    for (given, into) in [(otlp, &mut listeners.otlp_http), (gateway, &mut listeners.gateway)] {
        if let Some(url) = given {
            if !(url.starts_with("http://") || url.starts_with("https://")) {
                bail!("{url:?} must begin with https:// or http://");
            }
            url.trim_end_matches('/').clone_into(into);
        }
    }
    Ok(listeners)
}

/// The environment. Every name is one that its program documents.
pub(super) fn variables(to: &Listeners, key: Option<&str>, no_content: bool) -> BTreeMap<&'static str, String> {
    let mut variables: BTreeMap<&'static str, String> = [
        // OpenTelemetry SDKs.
        ("OTEL_EXPORTER_OTLP_ENDPOINT", to.otlp_http.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_LOGS_EXPORTER", "otlp"),
        ("OTEL_METRICS_EXPORTER", "otlp"),
        ("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental"),
        // SDKs of OpenAI and Anthropic, and what is built on them.
        ("ANTHROPIC_BASE_URL", to.gateway.as_str()),
        // SDKs of Google and Gemini CLI.
        ("GOOGLE_GEMINI_BASE_URL", to.gateway.as_str()),
        // Claude Code.
        ("CLAUDE_CODE_ENABLE_TELEMETRY", "1"),
        // Gemini CLI.
        ("GEMINI_TELEMETRY_ENABLED", "true"),
        ("GEMINI_TELEMETRY_TARGET", "local"),
        ("GEMINI_TELEMETRY_OTLP_ENDPOINT", to.otlp_http.as_str()),
        ("GEMINI_TELEMETRY_OTLP_PROTOCOL", "http"),
    ]
    .into_iter()
    .map(|(name, value)| (name, value.to_owned()))
    .collect();
    variables.insert("OPENAI_BASE_URL", format!("{}/v1", to.gateway));
    let content = if no_content { "0" } else { "1" };
    // Texts: most leave them out unless they are asked for.
    variables.insert(
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
        if no_content { "NO_CONTENT" } else { "SPAN_ONLY" }.to_owned(),
    );
    for name in ["OTEL_LOG_USER_PROMPTS", "OTEL_LOG_TOOL_DETAILS", "OTEL_LOG_TOOL_CONTENT"] {
        variables.insert(name, content.to_owned());
    }
    variables.insert("GEMINI_TELEMETRY_LOG_PROMPTS", (!no_content).to_string());
    if let Some(key) = key {
        variables.insert("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer%20{key}"));
        variables.insert("ANTHROPIC_CUSTOM_HEADERS", format!("x-watchkeeper-key: {key}"));
    }
    variables
}

/// The environment of the egress proxy. `not_through` is what the caller keeps from proxies already.
pub(super) fn proxies(egress: &str, key: Option<&str>, not_through: Option<&str>) -> BTreeMap<&'static str, String> {
    // As user and password: some programs send neither where one of them is missing.
    let url = match (egress.split_once("://"), key) {
        (Some((scheme, place)), Some(key)) => format!("{scheme}://key:{key}@{place}"),
        _ => egress.to_owned(),
    };
    let local = match not_through.filter(|others| !others.is_empty()) {
        Some(others) => format!("{others},{LOCAL}"),
        None => LOCAL.to_owned(),
    };
    let proxies = PROXIES.into_iter().map(|name| (name, url.clone()));
    proxies.chain(NO_PROXY.into_iter().map(|name| (name, local.clone()))).collect()
}

/// A value as a POSIX shell reads it.
pub(super) fn quoted(value: &str) -> String {
    let is_plain = |next: char| next.is_ascii_alphanumeric() || "-_./:%=+,@".contains(next);
    if !value.is_empty() && value.chars().all(is_plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_is_named_in_both_cases_and_keeps_away_from_this_machine() {
        let named = proxies("http://127.0.0.1:4020", Some("wk_a"), Some("intranet.example"));
        assert_eq!(named["https_proxy"], "http://key:wk_a@127.0.0.1:4020");
        assert_eq!(named["HTTP_PROXY"], named["https_proxy"]);
        assert_eq!(named["no_proxy"], "intranet.example,localhost,127.0.0.1,::1");
        assert_eq!(proxies("http://127.0.0.1:4020", None, None)["HTTPS_PROXY"], "http://127.0.0.1:4020");
    }
}
