//! The proxies in front of the MCP servers of the configuration.

use std::sync::Arc;

use capture::mcp::http::{HeaderError, HttpError, HttpProxy, Route};
use capture::mcp::{Limits, Proxy, Who};

use crate::config::Config;
use crate::node::Node;
use crate::tool_pins::Comparer;

/// Longest name of a server, in characters.
const NAME_CHARS_MAX: usize = 64;

/// Why a proxy cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum McpError {
    /// A name cannot be a path.
    #[error(
        "mcp.servers.{0:?}: a name has 1 to {NAME_CHARS_MAX} characters of a-z, A-Z, 0-9, '_' and '-': it is the path of the server"
    )]
    Name(String),
    /// A URL cannot be used.
    #[error("mcp.servers.{name}.url: {source}")]
    Url {
        /// Which server.
        name: String,
        /// What is wrong.
        source: HttpError,
    },
    /// A header cannot be sent.
    #[error(
        "mcp.servers.{name}.header_env: {source}; give the name of a header and that of a variable of the server's environment"
    )]
    Header {
        /// Which server.
        name: String,
        /// What is wrong.
        source: HeaderError,
    },
    /// There is no client to be had.
    #[error("mcp: {0}")]
    Client(HttpError),
}

/// The proxies, when the configuration names servers.
pub(crate) fn proxies(node: &Arc<Node>, config: &Config) -> Result<Option<HttpProxy>, McpError> {
    if config.mcp.servers.is_empty() {
        return Ok(None);
    }
    let mut routes = Vec::new();
    for (name, server) in &config.mcp.servers {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(fits) {
            return Err(McpError::Name(name.clone()));
        }
        let (url, info) =
            capture::mcp::http::upstream(name, &server.url).map_err(|source| McpError::Url { name: name.clone(), source })?;
        let pins = Arc::new(Comparer(node.tool_pins().clone()));
        let proxy = Proxy::new(info, server.policy(), Limits::default(), node.recorder(), pins);
        let pairs = server.header_env.iter().map(|(header, variable)| (header.as_str(), variable.as_str()));
        let headers = capture::mcp::http::headers_of(pairs, |variable| std::env::var(variable).ok())
            .map_err(|source| McpError::Header { name: name.clone(), source })?;
        routes.push(Route { name: name.clone(), proxy, url, headers, who: Who::default() });
    }
    HttpProxy::new(routes).map(Some).map_err(McpError::Client)
}
