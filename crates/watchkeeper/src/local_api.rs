//! Talks to the server that runs on a data directory, if one does.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use server::{DataDir, RunFile, ServerProof};

use crate::cli::Data;
use crate::output::complain;

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 512 * 1024 * 1024;

/// How long the server may take to prove who it is.
const PROOF_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a call may take that reads or writes the archive: as long as the server itself waits for it.
const PATIENT_TIMEOUT: Duration = Duration::from_secs(3_600);

/// How long a call may take that the server ends by itself, after an hour.
const WATCHED_TIMEOUT: Duration = Duration::from_secs(3_700);

/// How often is looked how far it is.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// The API of the running server.
pub(crate) struct LocalApi {
    run: RunFile,
    operator: Option<String>,
    client: Client<HttpConnector, Full<Bytes>>,
    runtime: tokio::runtime::Runtime,
}

impl LocalApi {
    /// The server that runs on the directory. `None` when there is none. What answers must prove by the keyring that it is this
    /// record's server: whoever can write the directory can name one there that lies.
    pub(crate) fn find(dir: &DataDir, data: &Data) -> anyhow::Result<Option<Self>> {
        let Some(run) = RunFile::read(dir) else { return Ok(None) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let api = Self { run, operator: None, client, runtime };
        let challenge = ServerProof::challenge()?;
        let path = format!("/api/proof?challenge={challenge}");
        let answer = match api.send(http::Method::GET, &path, Bytes::new(), PROOF_TIMEOUT) {
            Ok(answer) => serde_json::from_slice::<String>(&answer).unwrap_or_default(),
            // A file that a killed server left behind leads nowhere.
            Err(error) if error.downcast_ref::<ClientError>().is_some_and(ClientError::is_connect) => return Ok(None),
            Err(_) => String::new(),
        };
        let keyring = data.root().and_then(|root| Ok(server::read_keyring(dir, &root)?));
        let keyring = keyring.with_context(|| {
            format!("without the root key nobody can tell whether {} is the server of this record", api.run.console)
        })?;
        if ServerProof::new(&keyring)?.is_answer(api.run.console, &challenge, &answer) {
            return Ok(Some(api));
        }
        complain(&format!(
            "{} is not the server of this record, whatever run/api.json says: it is not asked; find out who wrote that file, and remove it",
            api.run.console
        ));
        Ok(None)
    }

    /// With the name that whoever asks gives for themselves.
    pub(crate) fn with_operator(self, operator: Option<String>) -> Self {
        Self { operator, ..self }
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.call(http::Method::GET, path, Bytes::new())
    }

    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> anyhow::Result<T> {
        self.call(http::Method::POST, path, serde_json::to_vec(body)?.into())
    }

    /// As `post`, for what may take long.
    pub(crate) fn post_patiently<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> anyhow::Result<T> {
        let answer = self.send(http::Method::POST, path, serde_json::to_vec(body)?.into(), PATIENT_TIMEOUT)?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// As `post_patiently`, and asks for `watched` every so often meanwhile.
    pub(crate) fn post_watching<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
        watched: &str,
        told: &mut dyn FnMut(&serde_json::Value),
    ) -> anyhow::Result<T> {
        let body = serde_json::to_vec(body)?.into();
        let answer = self.runtime.block_on(async {
            let mut asked = std::pin::pin!(self.ask(http::Method::POST, path, body, WATCHED_TIMEOUT));
            loop {
                let look = async {
                    tokio::time::sleep(WATCH_EVERY).await;
                    self.ask(http::Method::GET, watched, Bytes::new(), CALL_TIMEOUT).await
                };
                tokio::select! {
                    answer = &mut asked => return answer,
                    // Somebody who cannot look waits all the same.
                    seen = look => told(&seen.ok().and_then(|seen| serde_json::from_slice(&seen).ok()).unwrap_or_default()),
                }
            }
        })?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// Posts and gets what is not JSON.
    pub(crate) fn post_for_bytes(&self, path: &str, body: &serde_json::Value) -> anyhow::Result<Bytes> {
        self.send(http::Method::POST, path, serde_json::to_vec(body)?.into(), PATIENT_TIMEOUT)
    }

    pub(crate) fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.call::<Option<()>>(http::Method::DELETE, path, Bytes::new()).map(drop)
    }

    fn call<T: DeserializeOwned>(&self, method: http::Method, path: &str, body: Bytes) -> anyhow::Result<T> {
        let answer = self.send(method, path, body, CALL_TIMEOUT)?;
        // An answer without a body says that it is done.
        Ok(serde_json::from_slice(if answer.is_empty() { b"null" } else { &answer })?)
    }

    fn send(&self, method: http::Method, path: &str, body: Bytes, timeout: Duration) -> anyhow::Result<Bytes> {
        self.runtime.block_on(self.ask(method, path, body, timeout))
    }

    async fn ask(&self, method: http::Method, path: &str, body: Bytes, timeout: Duration) -> anyhow::Result<Bytes> {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.run.console))
            .header("authorization", format!("Bearer {}", self.run.token));
        let request = match &self.operator {
            Some(operator) => request.header("x-watchkeeper-operator", http::HeaderValue::from_bytes(operator.as_bytes())?),
            None => request,
        };
        let request = request.body(Full::new(body))?;
        let response =
            tokio::time::timeout(timeout, self.client.request(request)).await.context("the server does not answer")??;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        if !status.is_success() {
            let error: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            bail!("{}", error["error"]["message"].as_str().unwrap_or(status.as_str()));
        }
        Ok(body)
    }
}
