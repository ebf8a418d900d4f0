//! A server that speaks S3, for tests: moto, with signatures checked. Tests of other crates take this file in, too.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// moto, a server that speaks S3, with signatures checked.
pub(crate) struct Moto {
    process: Child,
    pub(crate) endpoint: String,
    pub(crate) key: String,
    pub(crate) secret: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn environment(program: &str) -> PathBuf {
    let path = root().join("target/clients/archive/bin").join(program);
    assert!(path.exists(), "{} is missing: run `cargo xtask setup`", path.display());
    path
}

impl Moto {
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(environment("python"))
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            // A user, a policy and a key are made; from then on every request must be signed by a key that it knows.
            .env("INITIAL_NO_AUTH_ACTION_COUNT", "3")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server =
            Self { process, endpoint: format!("http://127.0.0.1:{port}"), key: String::new(), secret: String::new() };
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_mins(1), "moto does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        let user = server.run(&["user"]);
        (server.key, server.secret) = (user["key"].as_str().unwrap().to_owned(), user["secret"].as_str().unwrap().to_owned());
        server
    }

    fn run(&self, arguments: &[&str]) -> serde_json::Value {
        let script = root().join("tests/clients/archive/s3.py");
        let done = Command::new(environment("python")).arg(script).arg(&self.endpoint).args(arguments).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }

    /// As the operator, with AWS's own library.
    pub(crate) fn boto(&self, command: &str, arguments: &[&str]) -> serde_json::Value {
        self.run(&[&[command, &self.key, &self.secret], arguments].concat())
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
