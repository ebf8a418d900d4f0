//! How local commands find the running server: its address and a token that lives as long as it runs.

use std::fs;
use std::io;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::data_dir::DataDir;
use crate::secrets;

/// Written by `serve` when it is ready, removed when it ends, readable by the owner of the data directory only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// The process.
    pub pid: u32,
    /// Where the API listens in plain text, on loopback.
    pub console: SocketAddr,
    /// Lets the holder act as the local administrator.
    pub token: String,
}

impl RunFile {
    const NAME: &'static str = "api.json";

    /// Reads the file of a server that is (or was) running.
    pub fn read(data: &DataDir) -> Option<Self> {
        serde_json::from_slice(&fs::read(data.run(Self::NAME)).ok()?).ok()
    }

    pub(crate) fn write(&self, data: &DataDir) -> io::Result<()> {
        secrets::write_atomic(&data.run(Self::NAME), &serde_json::to_vec(self)?, 0o600)
    }

    pub(crate) fn remove(data: &DataDir) {
        // Already gone is as good as removed.
        drop(fs::remove_file(data.run(Self::NAME)));
    }
}
