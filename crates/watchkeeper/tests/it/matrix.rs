//! Clients whose environments are too large for every run, against the gateway and the MCP proxy: `cargo xtask matrix` makes them and
//! runs these tests, and those of the other clients.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::clients::{assert_row, client_of, one};
use crate::gateway::{plain_rows, server_with, tool_rows};
use crate::mcp;
use crate::support::{SOON, Server};

/// A program that an environment of frameworks has.
fn environment(name: &str) -> PathBuf {
    let environments = std::env::var_os("WATCHKEEPER_EMITTERS").map(PathBuf::from);
    environments.unwrap_or_else(|| panic!("WATCHKEEPER_EMITTERS is not set: run `cargo xtask matrix`")).join(name)
}

/// Runs a framework against the gateway; the server has what it left.
fn through_the_gateway(name: &str, script: &str) -> (tempfile::TempDir, Server, Value) {
    let (dir, _upstream, server) = server_with("");
    let said = client_of(&environment(name).join("bin/python"), script, &[], &[("WATCHKEEPER_GATEWAY", &server.gateway)]);
    server.settle();
    (dir, server, said)
}

#[test]
#[ignore = "needs the environments of `cargo xtask matrix`"]
fn litellm_through_the_gateway() {
    let (_dir, server, said) = through_the_gateway("litellm", "gateway/litellm_sdk.py");
    plain_rows(&server, &said["plain"], 3);
    tool_rows(&server, &said["tools"], 2);
    server.stop();
}

#[test]
#[ignore = "needs the environments of `cargo xtask matrix`"]
fn langchain_and_langgraph_through_the_gateway() {
    let (_dir, server, said) = through_the_gateway("langgraph", "gateway/langgraph_agent.py");
    plain_rows(&server, &said["plain"], 2);
    tool_rows(&server, &said["tools"], 1);
    let agent =
        one(&server, "SELECT DISTINCT agent, on_behalf_of FROM agents WHERE agent IS NOT NULL AND on_behalf_of IS NOT NULL");
    assert_row(&agent, &json!({ "agent": "weather agent", "on_behalf_of": "user-7" }));
    server.stop();
}

#[test]
#[ignore = "needs the environments of `cargo xtask matrix`"]
fn llamaindex_through_the_gateway() {
    let (_dir, server, said) = through_the_gateway("llamaindex", "gateway/llamaindex_llm.py");
    plain_rows(&server, &said["plain"], 2);
    let rag = &said["rag"];
    let prompt = one(&server, "SELECT prompt FROM prompts WHERE session_id = 'llamaindex-rag'");
    let prompt = prompt["prompt"].as_str().unwrap();
    for part in ["question", "document"] {
        assert!(prompt.contains(rag[part].as_str().unwrap()), "{part} is not in {prompt}");
    }
    let response = one(&server, "SELECT response FROM responses WHERE session_id = 'llamaindex-rag'");
    assert_row(&response, &json!({ "response": rag["text"] }));
    server.stop();
}

#[test]
#[ignore = "needs the environments of `cargo xtask matrix`"]
fn openai_agents_through_the_gateway() {
    let (_dir, server, said) = through_the_gateway("openai_agents", "gateway/openai_agents_sdk.py");
    tool_rows(&server, &said["tools"], 2);
    for session in ["agents-responses", "agents-chat"] {
        let prompts = server.query(&format!("SELECT prompt, agent FROM prompts WHERE session_id = '{session}'"));
        assert_row(&prompts[0], &json!({ "prompt": "What is the weather in Paris?", "agent": "weather agent" }));
        let tokens = server.query(&format!("SELECT input_tokens, output_tokens FROM token_usage WHERE session_id = '{session}'"));
        assert_eq!(tokens.len(), 2, "{tokens:#?}");
    }
    server.stop();
}

/// A server of MCP over stdio, spoken to over HTTP by way of `supergateway`: `server-filesystem` itself speaks stdio only.
struct Bridged {
    child: Child,
    url: String,
}

impl Bridged {
    fn start(folder: &Path) -> Self {
        let port = mcp::free_port();
        let bin = environment("mcp_bridge").join("node_modules/.bin");
        let command = format!("{} {}", bin.join("mcp-server-filesystem").display(), folder.display());
        let child = Command::new(bin.join("supergateway"))
            .args(["--stdio", &command, "--outputTransport", "streamableHttp", "--stateful", "--port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        mcp::wait_for_port(port, SOON);
        Self { child, url: format!("http://127.0.0.1:{port}/mcp") }
    }
}

impl Drop for Bridged {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
#[ignore = "needs the environments of `cargo xtask matrix`"]
fn the_python_sdk_and_server_filesystem_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let folder = mcp::folder_with_a_note(dir.path());
    let bridged = Bridged::start(&folder);
    let config = format!("[mcp.servers.files]\nurl = \"{}\"\ndeny = [\"write_*\"]\nmode = \"block\"\n", bridged.url);
    let server = Server::start_with(&dir.path().join("data"), &config);
    let words = [folder.display().to_string(), "http".to_owned(), format!("{}/files", server.mcp)];
    let said = mcp::client("filesystem.py", &words);
    mcp::files_are_told(&server, &said, "tcp");
    server.stop();
}
