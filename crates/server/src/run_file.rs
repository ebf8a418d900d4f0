//! How local commands find the running server, and how it proves to them that it is the one of this record: whoever can write the
//! data directory can write the file by which it is found, and answer in the server's place.

use std::fs;
use std::io;
use std::net::SocketAddr;

use keys::{Authenticator, Keyring, KeysError};
use serde::{Deserialize, Serialize};

use crate::data_dir::DataDir;
use crate::secrets;

/// Longest run file that is read: it has about 300 bytes.
const BYTES_MAX: u64 = 4 * 1024;

/// The use of the keyring's tags by which servers are known.
const USAGE: &str = "run/api.json";

/// Hexadecimal digits that a local command chooses at random, so that no answer serves twice.
const CHALLENGE_DIGITS: usize = 64;

/// Written by `serve` when it is ready, removed when it ends, readable by the owner of the data directory only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// The process.
    pub pid: u32,
    /// Where the API listens in plain text, on loopback.
    pub console: SocketAddr,
    /// Lets the holder act as the local administrator.
    pub token: String,
    /// Where programs report, for `watchkeeper run` and `setup`.
    #[serde(default)]
    pub listeners: Option<Listeners>,
}

/// Addresses that programs report to, as URLs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listeners {
    /// OTLP over gRPC.
    pub otlp_grpc: String,
    /// OTLP over HTTP.
    pub otlp_http: String,
    /// The LLM gateway.
    pub gateway: String,
    /// The egress proxy, where there is one.
    #[serde(default)]
    pub egress: Option<String>,
}

impl RunFile {
    const NAME: &'static str = "api.json";

    /// Reads the file of a server that is (or was) running.
    pub fn read(data: &DataDir) -> Option<Self> {
        serde_json::from_slice(&files::read_at_most(&data.run(Self::NAME), BYTES_MAX).ok()??).ok()
    }

    pub(crate) fn write(&self, data: &DataDir) -> io::Result<()> {
        files::write_atomic(&data.run(Self::NAME), &serde_json::to_vec(self)?, 0o600)
    }

    pub(crate) fn remove(data: &DataDir) {
        // Already gone is as good as removed.
        drop(fs::remove_file(data.run(Self::NAME)));
    }
}

/// By what the server of a record is known: a tag of its keyring over a challenge and the address at which it listens. The address is
/// in it so that nobody passes the challenge on to the server and its answer for their own.
#[derive(Debug, Clone)]
pub struct ServerProof(Authenticator);

impl ServerProof {
    /// That of a keyring.
    ///
    /// # Errors
    /// As [`Keyring::authenticator`].
    pub fn new(keyring: &Keyring) -> Result<Self, KeysError> {
        keyring.authenticator(USAGE).map(Self)
    }

    /// A challenge that nobody has answered before.
    ///
    /// # Errors
    /// What the system's random generator says.
    pub fn challenge() -> io::Result<String> {
        Ok(event::hex::encode(&secrets::random::<{ CHALLENGE_DIGITS / 2 }>()?))
    }

    /// What the server that listens at an address answers to a challenge, in hexadecimal digits; `None` when that is no challenge.
    #[must_use]
    pub fn answer(&self, address: SocketAddr, challenge: &str) -> Option<String> {
        let is_challenge = challenge.len() == CHALLENGE_DIGITS && challenge.bytes().all(|byte| byte.is_ascii_hexdigit());
        // No address has a line feed in it.
        is_challenge.then(|| event::hex::encode(&self.0.tag(format!("{address}\n{challenge}").as_bytes())))
    }

    /// Whether that is what the server of the record answers to the challenge when it is asked at the address.
    #[must_use]
    pub fn is_answer(&self, address: SocketAddr, challenge: &str, answer: &str) -> bool {
        self.answer(address, challenge).is_some_and(|expected| {
            aws_lc_rs::constant_time::verify_slices_are_equal(expected.as_bytes(), answer.as_bytes()).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root_key::{RootKeyPlace, open_keyring};

    fn proof(dir: &std::path::Path) -> ServerProof {
        let data = DataDir::create(&dir.join("data")).unwrap();
        let root = RootKeyPlace::new(Some(&dir.join("root.key"))).unwrap();
        ServerProof::new(&open_keyring(&data, &root).unwrap().0).unwrap()
    }

    #[test]
    fn an_answer_is_of_its_challenge_its_address_and_its_keyring() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (own, foreign) = (proof(dir.path()), proof(other.path()));
        let (here, there): (SocketAddr, SocketAddr) = ("127.0.0.1:4319".parse().unwrap(), "127.0.0.1:4320".parse().unwrap());
        let (asked, other) = (ServerProof::challenge().unwrap(), ServerProof::challenge().unwrap());
        let answer = own.answer(here, &asked).unwrap();
        assert!(own.is_answer(here, &asked, &answer));
        assert!(!own.is_answer(there, &asked, &answer) && !own.is_answer(here, &other, &answer));
        assert!(!foreign.is_answer(here, &asked, &answer) && !own.is_answer(here, &asked, ""));
        assert_eq!((own.answer(here, ""), own.answer(here, &asked[1..])), (None, None));
    }

    #[test]
    fn an_endless_run_file_names_no_server() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(&dir.path().join("data")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", data.run(RunFile::NAME)).unwrap();
        assert_eq!(RunFile::read(&data), None);
    }
}
