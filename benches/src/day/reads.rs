//! Asks a running server as a person would, and takes the time. Every read of contents is recorded before it is answered.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use server::{DataDir, RunFile};

use super::Program;
use super::sessions::NEEDLE;
use super::words::{Random, Words};
use super::write::Written;

/// Questions of each kind.
const QUESTIONS: usize = 200;

/// How long the server may take to start.
const START: Duration = Duration::from_secs(600);

/// How long one question took, of many of its kind.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) what: &'static str,
    /// In order of size.
    pub(super) times: Vec<Duration>,
    /// Questions with an answer that holds something.
    pub(super) found: usize,
}

/// What the server did.
#[derive(Debug)]
pub(super) struct Reads {
    pub(super) start: Duration,
    pub(super) asked: Vec<Asked>,
}

/// Starts the server and asks it.
pub(super) fn read(program: &Program, data: &Path, written: &Written) -> anyhow::Result<Reads> {
    let (server, run, start) = Server::start(program.command(), data, &[])?;
    let api = Api {
        run,
        client: Client::builder(TokioExecutor::new()).build_http(),
        runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
    };
    let mut random = Random::new(11);
    let words = Words::new();
    let mut some = |of: &[String]| -> Vec<String> { (0..QUESTIONS.min(of.len())).map(|_| random.pick(of).clone()).collect() };
    let traces = some(&written.traces).iter().map(|id| format!("/api/trace/{id}")).collect();
    let sessions = some(&written.sessions).iter().map(|id| format!("/api/trace/{id}")).collect();
    let mut search = |make: &mut dyn FnMut(&mut Random) -> String| -> Vec<String> {
        (0..QUESTIONS).map(|_| format!("/api/search?q={}&limit=20", make(&mut random).replace(' ', "+"))).collect()
    };
    let one = search(&mut |random| words.word(random).to_owned());
    let two = search(&mut |random| words.several(random, 2, " "));
    let needle = search(&mut |_| NEEDLE.to_owned());
    let absent = search(&mut |random| format!("zzyzx{}", random.below(1_000_000)));
    let asked = [
        ("trace by id", traces),
        ("session by id", sessions),
        ("search, one word, as frequent as in the texts", one),
        ("search, two words", two),
        ("search, three rare words", needle),
        ("search, a word that is not there", absent),
    ];
    let asked = asked.into_iter().map(|(what, paths)| api.ask(what, &paths)).collect::<anyhow::Result<_>>()?;
    server.stop()?;
    Ok(Reads { start, asked })
}

struct Api {
    run: RunFile,
    client: Client<HttpConnector, Full<Bytes>>,
    runtime: tokio::runtime::Runtime,
}

impl Api {
    fn ask(&self, what: &'static str, paths: &[String]) -> anyhow::Result<Asked> {
        let mut times = Vec::with_capacity(paths.len());
        let mut found = 0;
        for path in paths {
            let began = Instant::now();
            let answer = self.runtime.block_on(self.get(path)).with_context(|| path.clone())?;
            times.push(began.elapsed());
            let answer: serde_json::Value = serde_json::from_slice(&answer)?;
            found += usize::from(answer.as_array().or_else(|| answer["events"].as_array()).is_some_and(|all| !all.is_empty()));
        }
        times.sort_unstable();
        Ok(Asked { what, times, found })
    }

    async fn get(&self, path: &str) -> anyhow::Result<Bytes> {
        let request = http::Request::get(format!("http://{}{path}", self.run.console))
            .header("authorization", format!("Bearer {}", self.run.token))
            .body(Full::new(Bytes::new()))?;
        let response = self.client.request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("{status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(body)
    }
}

/// Ends with the program that started it.
pub(super) struct Server(Child);

impl Server {
    /// Starts `watchkeeper serve` on a data directory; gives where it answers, too, and how long it took until then.
    pub(super) fn start(mut command: Command, data: &Path, options: &[&OsStr]) -> anyhow::Result<(Self, RunFile, Duration)> {
        let began = Instant::now();
        let child = command.args(["serve", "--any-port", "--data"]).arg(data).args(options).stdout(Stdio::null()).spawn();
        let mut server = Self(child.with_context(|| format!("{command:?}"))?);
        let dir = DataDir::existing(data)?;
        loop {
            if let Some(run) = RunFile::read(&dir).filter(|run| run.pid == server.0.id()) {
                return Ok((server, run, began.elapsed()));
            }
            if let Some(status) = server.0.try_wait()? {
                bail!("the server did not start: {status}");
            }
            if began.elapsed() > START {
                bail!("the server did not start within {START:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.0.wait()?;
        if !status.success() {
            bail!("the server ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already, when all went well.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
