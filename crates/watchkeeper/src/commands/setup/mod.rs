//! `watchkeeper setup [CLIENT]`: the lines by which a client reports here; with `--write`, into the client's own settings.

mod json;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use server::Listeners;

use self::json::Node;
use super::run;
use crate::cli::SetupOptions;
use crate::output::{complain, say};

/// Longest settings file that is read.
const SETTINGS_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Seconds that an agent waits for the hook: far more than it takes, so that a busy machine does not lose one.
const HOOK_TIMEOUT_S: u64 = 15;

/// How an agent's settings name its hooks.
struct Settings {
    client: &'static str,
    about: &'static str,
    /// Below the home directory.
    file: &'static str,
    /// Names another directory in the place of the first part of `file`.
    home_variable: Option<&'static str>,
    events: &'static [&'static str],
    shape: Shape,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `{"hooks": {EVENT: [{"hooks": [{"type": "command", "command", "timeout"}]}]}}`, seconds.
    Groups,
    /// The same, milliseconds.
    GroupsMs,
    /// `{"version": 1, "hooks": {EVENT: [{"command"}]}}`.
    Flat,
}

/// Every event that tells something which the record wants; not those that come with each line of text.
const AGENTS: [Settings; 4] = [
    Settings {
        client: "claude-code",
        about: "Claude Code: hooks for sessions, prompts, tools, permissions, subagents and settings",
        file: ".claude/settings.json",
        home_variable: Some("CLAUDE_CONFIG_DIR"),
        events: &[
            "SessionStart",
            "SessionEnd",
            "UserPromptSubmit",
            "PreToolUse",
            "PostToolUse",
            "PostToolUseFailure",
            "PermissionRequest",
            "PermissionDenied",
            "Stop",
            "StopFailure",
            "SubagentStart",
            "SubagentStop",
            "Notification",
            "PreCompact",
            "ConfigChange",
            "InstructionsLoaded",
            "Elicitation",
            "ElicitationResult",
        ],
        shape: Shape::Groups,
    },
    Settings {
        client: "codex",
        about: "Codex: hooks; Codex asks you to trust them (/hooks)",
        file: ".codex/hooks.json",
        home_variable: Some("CODEX_HOME"),
        events: &[
            "SessionStart",
            "UserPromptSubmit",
            "PreToolUse",
            "PermissionRequest",
            "PostToolUse",
            "PreCompact",
            "PostCompact",
            "SubagentStart",
            "SubagentStop",
            "Stop",
        ],
        shape: Shape::Groups,
    },
    Settings {
        client: "gemini",
        about: "Gemini CLI: hooks for sessions, prompts and tools",
        file: ".gemini/settings.json",
        home_variable: None,
        events: &[
            "SessionStart",
            "SessionEnd",
            "BeforeAgent",
            "AfterAgent",
            "BeforeTool",
            "AfterTool",
            "Notification",
            "PreCompress",
        ],
        shape: Shape::GroupsMs,
    },
    Settings {
        client: "cursor",
        about: "Cursor: hooks for prompts, commands, MCP, files and answers",
        file: ".cursor/hooks.json",
        home_variable: None,
        events: &[
            "beforeSubmitPrompt",
            "beforeShellExecution",
            "afterShellExecution",
            "beforeMCPExecution",
            "afterMCPExecution",
            "beforeReadFile",
            "afterFileEdit",
            "afterAgentResponse",
            "stop",
        ],
        shape: Shape::Flat,
    },
];

pub(super) fn setup(options: &SetupOptions) -> anyhow::Result<ExitCode> {
    let listeners = run::listeners(options.dir.as_deref(), None, None)?;
    let Some(client) = options.client.as_deref() else {
        say("watchkeeper setup CLIENT prints what a client needs; with --write it is put into the client's own settings.\n")?;
        for agent in &AGENTS {
            say(&format!("  {:<12} {}", agent.client, agent.about))?;
        }
        for (name, about, _) in &snippets(&listeners) {
            say(&format!("  {name:<12} {about}"))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    if let Some(agent) = AGENTS.iter().find(|agent| agent.client == client) {
        return agent.setup(options);
    }
    if client == "proxy" && listeners.egress.is_none() {
        bail!("the egress proxy is off, or no server runs there: set egress.enabled = true, and start the server");
    }
    let Some((_, _, lines)) = snippets(&listeners).into_iter().find(|(name, ..)| *name == client) else {
        bail!("there is no client {client:?}; `watchkeeper setup` lists those that there are");
    };
    if options.write {
        bail!("{client} has no settings file; its lines go where the program is started");
    }
    say(lines.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Clients that are told in their environment or their code.
fn snippets(to: &Listeners) -> Vec<(&'static str, &'static str, String)> {
    let exports = |names: &[&str]| {
        let all = run::variables(to, None, false);
        names.iter().filter_map(|name| Some(format!("export {name}={}\n", run::quoted(all.get(name)?)))).collect::<String>()
    };
    let proxies = to.egress.as_deref().map(|egress| run::proxies(egress, None, None)).unwrap_or_default();
    let proxies = proxies.iter().map(|(name, value)| format!("export {name}={}\n", run::quoted(value))).collect::<String>();
    let mut snippets = vec![
        ("openai", "OpenAI's SDKs, through the gateway", exports(&["OPENAI_BASE_URL"])),
        ("anthropic", "Anthropic's SDKs, through the gateway", exports(&["ANTHROPIC_BASE_URL"])),
        ("gemini-sdk", "Google's SDKs, through the gateway", exports(&["GOOGLE_GEMINI_BASE_URL"])),
        (
            "opentelemetry",
            "anything with an OpenTelemetry SDK",
            exports(&[
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "OTEL_EXPORTER_OTLP_PROTOCOL",
                "OTEL_TRACES_EXPORTER",
                "OTEL_LOGS_EXPORTER",
                "OTEL_SEMCONV_STABILITY_OPT_IN",
                "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
            ]),
        ),
        (
            "claude-code-telemetry",
            "Claude Code's own telemetry, in the place of its hooks",
            exports(&[
                "CLAUDE_CODE_ENABLE_TELEMETRY",
                "OTEL_LOGS_EXPORTER",
                "OTEL_EXPORTER_OTLP_PROTOCOL",
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "OTEL_LOG_USER_PROMPTS",
                "OTEL_LOG_TOOL_DETAILS",
            ]),
        ),
        (
            "gemini-telemetry",
            "Gemini CLI's own telemetry, in the place of its hooks",
            exports(&[
                "GEMINI_TELEMETRY_ENABLED",
                "GEMINI_TELEMETRY_TARGET",
                "GEMINI_TELEMETRY_OTLP_ENDPOINT",
                "GEMINI_TELEMETRY_OTLP_PROTOCOL",
                "GEMINI_TELEMETRY_LOG_PROMPTS",
            ]),
        ),
        (
            "codex-telemetry",
            "Codex's own telemetry, in the place of its hooks: for ~/.codex/config.toml",
            format!(
                "[otel]\nlog_user_prompt = true\nexporter = {{ otlp-http = {{ endpoint = \"{}/v1/logs\", protocol = \"binary\" }} }}\n",
                to.otlp_http
            ),
        ),
    ];
    if !proxies.is_empty() {
        snippets.push(("proxy", "every other call of a program, through the egress proxy", proxies));
    }
    snippets
}

impl Settings {
    fn setup(&self, options: &SetupOptions) -> anyhow::Result<ExitCode> {
        let path = match &options.file {
            Some(file) => file.clone(),
            None => self.path()?,
        };
        let program = std::env::current_exe().context("where this program lies")?;
        let mut command = format!("{} hook {}", run::quoted(&program.to_string_lossy()), self.client);
        if let Some(dir) = &options.dir {
            let dir = std::path::absolute(dir)?;
            command += &format!(" --data {}", run::quoted(&dir.to_string_lossy()));
        }
        let before = read(&path)?;
        let mut node: Node = match before.as_deref().map(str::trim) {
            None | Some("") => Node::Object(Vec::new()),
            Some(text) => serde_json::from_str(text).with_context(|| {
                format!("{} is not JSON that can be changed without loss (comments?); add the lines by hand", path.display())
            })?,
        };
        self.merge(&mut node, &command)
            .with_context(|| format!("{} has another shape than its client documents", path.display()))?;
        let after = node.pretty();
        let shown = before.unwrap_or_default();
        if serde_json::from_str::<Node>(&shown).is_ok_and(|old| old == node) {
            say(&format!("{} has it already", path.display()))?;
            return Ok(ExitCode::SUCCESS);
        }
        let diff = similar::TextDiff::from_lines(shown.as_str(), after.as_str());
        let name = path.display().to_string();
        say(diff.unified_diff().context_radius(2).header(&name, &name).to_string().trim_end())?;
        if !options.write {
            say("\nNothing was changed. --write puts it there, and keeps a copy of what was.")?;
            return Ok(ExitCode::SUCCESS);
        }
        let dir = options.dir.clone().or_else(client::default_data_dir);
        if dir.as_ref().is_none_or(|dir| !dir.exists()) && std::env::var_os("WATCHKEEPER_URL").is_none() {
            let dir = dir.map_or_else(String::new, |dir| format!(" {}", dir.display()));
            complain(&format!(
                "there is no record at{dir} yet: until a server runs there (or --data names another), the hook records nothing"
            ));
        }
        let kept = replace(&path, &after)?;
        match kept {
            Some(copy) => say(&format!("\nWritten. What was there is in {}", copy.display()))?,
            None => say("\nWritten.")?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn path(&self) -> anyhow::Result<PathBuf> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let name = Path::new(self.file).file_name().unwrap_or_default();
        if let Some(dir) = self.home_variable.and_then(variable) {
            return Ok(dir.join(name));
        }
        Ok(variable("HOME").context("HOME is not set; name the file with --file")?.join(self.file))
    }

    /// Adds the hook to each event that has none of ours.
    fn merge(&self, settings: &mut Node, command: &str) -> Option<()> {
        if self.shape == Shape::Flat {
            settings.entry("version", Node::number(1))?;
        }
        let hooks = settings.entry("hooks", Node::Object(Vec::new()))?;
        for event in self.events {
            let Node::List(groups) = hooks.entry(event, Node::List(Vec::new()))? else { return None };
            let own = match self.shape {
                Shape::Flat => Node::object([("command", Node::text(command))]),
                Shape::Groups | Shape::GroupsMs => {
                    let timeout = if self.shape == Shape::GroupsMs { HOOK_TIMEOUT_S * 1000 } else { HOOK_TIMEOUT_S };
                    let hook =
                        [("type", Node::text("command")), ("command", Node::text(command)), ("timeout", Node::number(timeout))];
                    Node::object([("hooks", Node::List(vec![Node::object(hook)]))])
                }
            };
            // One of an earlier setup, perhaps with another path or directory, is replaced.
            let mark = format!("watchkeeper hook {}", self.client);
            match groups.iter_mut().find(|group| is_ours(group, &mark)) {
                Some(group) => *group = own,
                None => groups.push(own),
            }
        }
        Some(())
    }
}

/// Whether an entry holds nothing but a hook of ours.
fn is_ours(group: &Node, mark: &str) -> bool {
    let commands = commands(group);
    // The program's path may be quoted.
    commands.len() == 1 && commands.iter().all(|command| command.replace(['\'', '"', '\\'], "").contains(mark))
}

fn commands(node: &Node) -> Vec<String> {
    match node {
        Node::Plain(_) => Vec::new(),
        Node::List(items) => items.iter().flat_map(commands).collect(),
        Node::Object(entries) => entries
            .iter()
            .flat_map(|(key, value)| match value {
                Node::Plain(text) if key == "command" => vec![text.clone()],
                other => commands(other),
            })
            .collect(),
    }
}

fn read(path: &Path) -> anyhow::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let mut text = String::new();
    file.take(SETTINGS_BYTES_MAX + 1).read_to_string(&mut text).with_context(|| path.display().to_string())?;
    if text.len() as u64 > SETTINGS_BYTES_MAX {
        bail!("{} is longer than {SETTINGS_BYTES_MAX} bytes; add the lines by hand", path.display());
    }
    Ok(Some(text))
}

/// Puts a text in a file's place, with the file's own permissions. Gives where the former one is kept.
fn replace(path: &Path, text: &str) -> anyhow::Result<Option<PathBuf>> {
    // Settings are often a link into somebody's own repository: the link stays.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = path.parent().context("the file has no directory")?;
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mode = fs::metadata(path).map_or(0o600, |metadata| metadata.permissions().mode() & 0o777);
    let copy = match path.exists() {
        true => {
            let free = (0..1_000)
                .map(|n| dir.join(format!("{name}.before-watchkeeper{}", if n == 0 { String::new() } else { format!(".{n}") })));
            let free =
                free.into_iter().find(|copy| !copy.exists()).context("there are too many copies of the settings; remove some")?;
            fs::copy(path, &free).with_context(|| free.display().to_string())?;
            Some(free)
        }
        false => None,
    };
    let new = dir.join(format!(".{name}.watchkeeper"));
    let mut file = File::options().create(true).truncate(true).write(true).mode(mode).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path).with_context(|| path.display().to_string())?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_are_added_beside_those_of_others_and_once() {
        for agent in &AGENTS {
            let mut settings: Node =
                serde_json::from_str(r#"{"theme":"dark","hooks":{"Stop":[{"hooks":[{"type":"command","command":"mine"}]}]}}"#)
                    .unwrap();
            agent.merge(&mut settings, &format!("/opt/watchkeeper hook {}", agent.client)).unwrap();
            let once = settings.clone();
            agent.merge(&mut settings, &format!("/opt/watchkeeper hook {}", agent.client)).unwrap();
            assert_eq!(settings, once, "{}", agent.client);
            // Another path takes the place of the first.
            agent.merge(&mut settings, &format!("'/new place/watchkeeper' hook {} --data /d", agent.client)).unwrap();
            let text = settings.pretty();
            assert!(text.contains("\"mine\"") && text.contains("\"theme\": \"dark\"") && !text.contains("/opt/"), "{text}");
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            for event in agent.events {
                let expected = if *event == "Stop" { 2 } else { 1 };
                assert_eq!(value["hooks"][event].as_array().unwrap().len(), expected, "{} {event}", agent.client);
            }
        }
        assert!(AGENTS[0].merge(&mut serde_json::from_str(r#"{"hooks":[]}"#).unwrap(), "x").is_none());
    }

    #[test]
    fn what_was_there_is_kept_and_permissions_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/settings.json");
        assert_eq!(replace(&path, "1").unwrap(), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let copy = replace(&path, "2").unwrap().unwrap();
        assert_eq!((fs::read_to_string(&copy).unwrap(), fs::read_to_string(&path).unwrap()), ("1".to_owned(), "2".to_owned()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_ne!(replace(&path, "3").unwrap().unwrap(), copy);
    }
}
