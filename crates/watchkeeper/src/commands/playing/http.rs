//! One request, whose answer must be a success.

use anyhow::ensure;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(in crate::commands) async fn post(url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> anyhow::Result<Bytes> {
    let mut request = http::Request::post(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request.body(Full::new(body.into()))?).await?;
    let status = response.status();
    let body =
        Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|error| anyhow::anyhow!("{error}"))?;
    let body = body.to_bytes();
    ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body).chars().take(300).collect::<String>());
    Ok(body)
}
