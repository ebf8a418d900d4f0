//! Objects in an S3 bucket, with Object Lock where it is asked for.
//!
//! Requests are built and signed here and not by `object_store`'s own client, as that knows neither versions on reading
//! nor retention nor holds. Its signer, its HTTP client, its ways to credentials and its listing are used.

use std::fmt;
use std::future::Future;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use event::Timestamp;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, StatusCode};
use object_store::ObjectStore as _;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsAuthorizer};
use object_store::client::{HttpClient, HttpConnector as _, HttpRequest, HttpRequestBody, ReqwestConnector};
use object_store::{Certificate, ClientOptions};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use super::{Digest, ObjectError, ObjectName, Objects, Protection, Put};

/// Tries of a request that the network or the server failed, the first included.
const TRIES_MAX: u32 = 4;

/// The pause before the second try; it doubles with each.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Longest time for one request: a gigabyte over a slow line.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(10);

/// What is escaped in a query: all but the unreserved characters (RFC 3986, section 2.3), as signatures have it.
const ESCAPED: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Largest file of credentials: AWS's own tools keep every profile in one.
const CREDENTIALS_BYTES_MAX: u64 = 64 * 1024;

/// Longest answer that tells of an error.
const ERROR_BYTES_MAX: usize = 4096;

/// A bucket, and what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Config {
    /// The bucket. With `lock`, it must have versioning and Object Lock.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// The server, for anything but AWS itself, such as `https://minio.example:9000`; buckets are then part of the path.
    pub endpoint: Option<String>,
    /// What stands before the names of objects, without a slash at either end.
    pub prefix: String,
    /// Lock objects until their retention ends.
    pub lock: Option<LockMode>,
    /// A file with the access key, as AWS's own tools have it (`~/.aws/credentials`, profile `default`). Without it, credentials come
    /// from the environment (`AWS_ACCESS_KEY_ID`, web identity) or the machine's own role.
    pub credentials: Option<PathBuf>,
    /// Certificates in PEM of authorities that may vouch for the endpoint, beside those of the system.
    pub roots: Option<PathBuf>,
}

/// The mode of Object Lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockMode {
    /// Nobody can shorten it, the account's owner included.
    #[default]
    Compliance,
    /// Who has a permission of its own can lift it.
    Governance,
}

/// An S3 bucket for objects.
pub struct S3Objects {
    config: S3Config,
    /// URL of the bucket, no slash behind it.
    base: String,
    store: AmazonS3,
    client: HttpClient,
    /// Calls come from any thread, those of other runtimes included; requests run here.
    runtime: Option<Runtime>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl S3Objects {
    /// Opens a bucket; asks nothing of it yet.
    pub fn open(config: S3Config) -> Result<Self, ObjectError> {
        let builder = match &config.credentials {
            Some(path) => from_file(path)?,
            None => AmazonS3Builder::from_env(),
        };
        Self::open_with(config, builder)
    }

    /// Opens a bucket with an access key.
    #[cfg(test)]
    pub(crate) fn with_access_key(config: S3Config, id: &str, secret: &str) -> Result<Self, ObjectError> {
        Self::open_with(config, AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(secret))
    }

    fn open_with(config: S3Config, builder: AmazonS3Builder) -> Result<Self, ObjectError> {
        let wrong = |field, what: String| ObjectError::Config { field, what };
        let plain =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte));
        if !plain(&config.bucket) || config.bucket.contains('/') {
            return Err(wrong("bucket", "must be a bucket's name".to_owned()));
        }
        if !plain(&config.region) {
            return Err(wrong("region", "must be a region such as eu-central-1".to_owned()));
        }
        let prefix = &config.prefix;
        if !prefix.is_empty() && (!plain(prefix) || prefix.starts_with('/') || prefix.ends_with('/') || prefix.contains("..")) {
            return Err(wrong("prefix", "may have letters, digits, '-', '.', '_' and '/' between".to_owned()));
        }
        let plain_text = config.endpoint.as_deref().is_some_and(is_loopback);
        let mut options = ClientOptions::new().with_allow_http(plain_text).with_timeout(REQUEST_TIMEOUT);
        if let Some(path) = &config.roots {
            let pem = std::fs::read(path).map_err(|error| wrong("roots", format!("{}: {error}", path.display())))?;
            for certificate in Certificate::from_pem_bundle(&pem).map_err(|error| wrong("roots", error.to_string()))? {
                options = options.with_root_certificate(certificate);
            }
        }
        let base = match config.endpoint.as_deref().map(|endpoint| endpoint.trim_end_matches('/')) {
            Some(endpoint) if endpoint.starts_with("https://") || plain_text => format!("{endpoint}/{}", config.bucket),
            Some(_) => {
                let what = "must begin with https://; plain text (http://) is for a server on this machine's own loopback";
                return Err(wrong("endpoint", what.to_owned()));
            }
            None => format!("https://{}.s3.{}.amazonaws.com", config.bucket, config.region),
        };
        // The same address for listing as for all else, whatever the environment says.
        let builder = builder.with_bucket_name(&config.bucket).with_region(&config.region).with_client_options(options.clone());
        let builder = match &config.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint.trim_end_matches('/')).with_virtual_hosted_style_request(false),
            None => builder.with_endpoint(&base).with_virtual_hosted_style_request(true),
        };
        let store = builder.build().map_err(|error| wrong("bucket", error.to_string()))?;
        let client = ReqwestConnector::default().connect(&options).map_err(|error| wrong("endpoint", error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("s3").enable_all().build();
        let runtime = runtime.map_err(|error| wrong("bucket", format!("no thread for requests: {error}")))?;
        Ok(Self { config, base, store, client, runtime: Some(runtime) })
    }

    fn key(&self, name: &ObjectName) -> String {
        if self.config.prefix.is_empty() { name.to_string() } else { format!("{}/{name}", self.config.prefix) }
    }

    /// Runs a request on the store's own thread and waits for it.
    fn wait<T: Send + 'static>(
        &self,
        name: &dyn fmt::Display,
        work: impl Future<Output = Result<T, String>> + Send + 'static,
    ) -> Result<T, ObjectError> {
        let failed = |what: String| ObjectError::Failed { name: name.to_string(), what };
        let runtime = self.runtime.as_ref().ok_or_else(|| failed("the store is being closed".to_owned()))?;
        let (sender, receiver) = mpsc::sync_channel(1);
        runtime.spawn(async move {
            let _ = sender.send(work.await);
        });
        receiver.recv().map_err(|_| failed("the request was given up".to_owned()))?.map_err(failed)
    }

    /// Sends a request; again where the network or the server failed and not the request.
    fn send(
        &self,
        method: Method,
        name: &ObjectName,
        query: &[(&str, Option<&str>)],
        headers: &[(&'static str, String)],
        body: Bytes,
        bytes_max: u64,
    ) -> Result<Answer, ObjectError> {
        self.send_to(format!("{}/{}", self.base, self.key(name)), method, name, query, headers, body, bytes_max)
    }

    #[expect(clippy::too_many_arguments, reason = "a request has that many parts")]
    fn send_to(
        &self,
        mut url: String,
        method: Method,
        name: &dyn fmt::Display,
        query: &[(&str, Option<&str>)],
        headers: &[(&'static str, String)],
        body: Bytes,
        bytes_max: u64,
    ) -> Result<Answer, ObjectError> {
        for (index, (key, value)) in query.iter().enumerate() {
            url.push(if index == 0 { '?' } else { '&' });
            url.push_str(key);
            if let Some(value) = value {
                url.push('=');
                url.extend(percent_encoding::utf8_percent_encode(value, ESCAPED));
            }
        }
        let mut request = http::Request::builder().method(method).uri(&url);
        for (header, value) in headers {
            request = request.header(*header, value);
        }
        let request = request
            .body(HttpRequestBody::from(body.clone()))
            .map_err(|error| ObjectError::Failed { name: name.to_string(), what: error.to_string() })?;
        let digest = Digest::of(&body).0;
        let (client, credentials, region) = (self.client.clone(), self.store.credentials().clone(), self.config.region.clone());
        self.wait(name, async move {
            let mut pause = RETRY_PAUSE;
            for tried in 1.. {
                let mut signed: HttpRequest = request.clone();
                let credential = credentials.get_credential().await.map_err(|error| error.to_string())?;
                AwsAuthorizer::new(&credential, "s3", &region)
                    .try_authorize(&mut signed, Some(&digest))
                    .map_err(|error| error.to_string())?;
                let answer = execute(&client, signed, bytes_max).await;
                let again = match &answer {
                    Ok(answer) => answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS,
                    Err(_) => true,
                };
                if !again || tried >= TRIES_MAX {
                    return answer;
                }
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            Err("no try was made".to_owned())
        })
    }

    /// Asks for a part of the bucket's own configuration.
    fn bucket_says(&self, what: &str) -> Result<Answer, ObjectError> {
        let name = format!("bucket {}", self.config.bucket);
        self.send_to(self.base.clone(), Method::GET, &name, &[(what, None)], &[], Bytes::new(), ERROR_BYTES_MAX as u64)
    }

    fn head(&self, name: &ObjectName, version: Option<&str>) -> Result<Option<Answer>, ObjectError> {
        let answer = self.send(Method::HEAD, name, &version_query(version), &[], Bytes::new(), ERROR_BYTES_MAX as u64)?;
        match answer.status {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(None),
            status if status.is_success() => Ok(Some(answer)),
            _ => Err(answer.refused(name)),
        }
    }

    fn lock_headers(&self, name: &ObjectName, until: Timestamp) -> Result<Option<[(&'static str, String); 2]>, ObjectError> {
        let Some(mode) = self.config.lock else { return Ok(None) };
        let until = rfc3339(until)
            .ok_or_else(|| ObjectError::NoLock { name: name.to_string(), what: "the time is beyond the calendar".to_owned() })?;
        Ok(Some([("x-amz-object-lock-mode", mode.as_str().to_owned()), ("x-amz-object-lock-retain-until-date", until)]))
    }
}

impl Objects for S3Objects {
    fn put(&self, name: &ObjectName, bytes: &Bytes, lock_until: Option<Timestamp>) -> Result<Put, ObjectError> {
        let mut headers = vec![
            ("if-none-match", "*".to_owned()),
            ("content-type", "application/octet-stream".to_owned()),
            ("x-amz-checksum-sha256", STANDARD.encode(Digest::of(bytes).0)),
            ("x-amz-sdk-checksum-algorithm", "SHA256".to_owned()),
        ];
        let lock = lock_until.map(|until| self.lock_headers(name, until)).transpose()?.flatten();
        let is_locked = lock.is_some();
        headers.extend(lock.into_iter().flatten());
        let answer = self.send(Method::PUT, name, &[], &headers, bytes.clone(), ERROR_BYTES_MAX as u64)?;
        let version = match answer.status {
            status if status.is_success() => answer.header("x-amz-version-id"),
            // Put before, by an earlier try of ours or by somebody else.
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => {
                let version = self.head(name, None)?.and_then(|head| head.header("x-amz-version-id"));
                if self.get(name, version.as_deref(), bytes.len() as u64)?.as_ref() != Some(bytes) {
                    return Err(ObjectError::Exists(name.to_string()));
                }
                version
            }
            _ => return Err(answer.refused(name)),
        };
        let version = version.filter(|version| version != "null");
        if is_locked {
            let protection = self.protection(name, version.as_deref())?;
            let wanted = lock_until.map(|until| until.unix_ns() / 1_000_000_000);
            if version.is_none() || protection.locked_until.map(|until| until.unix_ns() / 1_000_000_000) < wanted {
                let what = format!(
                    "the bucket reports {:?} of version {version:?}; it must have versioning and Object Lock enabled",
                    protection.locked_until
                );
                return Err(ObjectError::NoLock { name: name.to_string(), what });
            }
        }
        Ok(Put { version })
    }

    fn get(&self, name: &ObjectName, version: Option<&str>, bytes_max: u64) -> Result<Option<Bytes>, ObjectError> {
        let answer = self.send(Method::GET, name, &version_query(version), &[], Bytes::new(), bytes_max)?;
        match answer.status {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(None),
            // A version of that form was never given out here.
            StatusCode::BAD_REQUEST if version.is_some() => Ok(None),
            status if status.is_success() => {
                if answer.body.len() as u64 > bytes_max {
                    return Err(ObjectError::TooLarge { name: name.to_string(), bytes_max });
                }
                Ok(Some(answer.body))
            }
            _ => Err(answer.refused(name)),
        }
    }

    fn delete(&self, name: &ObjectName, version: Option<&str>) -> Result<bool, ObjectError> {
        let answer = self.send(Method::DELETE, name, &version_query(version), &[], Bytes::new(), ERROR_BYTES_MAX as u64)?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(true),
            status if status.is_success() => Ok(true),
            StatusCode::FORBIDDEN if self.config.lock.is_some() => {
                let protection = self.protection(name, version)?;
                let is_locked = protection.locked_until.is_some_and(|until| until > Timestamp::now());
                if is_locked || protection.held { Ok(false) } else { Err(answer.refused(name)) }
            }
            _ => Err(answer.refused(name)),
        }
    }

    fn list(&self, names_max: usize) -> Result<Vec<String>, ObjectError> {
        let store = self.store.clone();
        let prefix = self.config.prefix.clone();
        self.wait(&self.config.bucket.clone(), async move {
            let under = object_store::path::Path::from(prefix.as_str());
            let mut listed = store.list((!prefix.is_empty()).then_some(&under));
            let mut names = Vec::new();
            while let Some(object) = listed.next().await {
                let location = object.map_err(|error| error.to_string())?.location.to_string();
                let name = if prefix.is_empty() { Some(location.as_str()) } else { location.strip_prefix(&prefix) };
                names.push(name.unwrap_or(&location).trim_start_matches('/').to_owned());
                if names.len() > names_max {
                    return Err(format!("there are more than {names_max} objects"));
                }
            }
            names.sort_unstable();
            Ok(names)
        })
    }

    fn is_write_once(&self) -> bool {
        self.config.lock.is_some()
    }

    /// Versioning and Object Lock cannot be told from a put that succeeds: a bucket without them takes the headers of a lock
    /// or not, as its server likes.
    fn check(&self) -> Result<(), ObjectError> {
        if self.config.lock.is_none() {
            return Ok(());
        }
        let name = format!("bucket {}", self.config.bucket);
        let no = |what: &str| ObjectError::NoLock {
            name: name.clone(),
            what: format!("{what}; make it anew with Object Lock enabled, which brings versioning, or set write_once = false"),
        };
        let versioning = self.bucket_says("versioning")?;
        if !versioning.status.is_success() {
            return Err(versioning.refused(&name));
        }
        if !versioning.says("Status", "Enabled") {
            return Err(no("it has no versioning"));
        }
        let lock = self.bucket_says("object-lock")?;
        match lock.status {
            status if status.is_success() && lock.says("ObjectLockEnabled", "Enabled") => Ok(()),
            status if status.is_success() || status == StatusCode::NOT_FOUND => Err(no("it has no Object Lock")),
            _ => Err(lock.refused(&name)),
        }
    }

    fn protection(&self, name: &ObjectName, version: Option<&str>) -> Result<Protection, ObjectError> {
        let Some(head) = self.head(name, version)? else {
            return Err(ObjectError::Failed { name: name.to_string(), what: "is not there".to_owned() });
        };
        let until = head.header("x-amz-object-lock-retain-until-date").and_then(|date| date.parse::<jiff::Timestamp>().ok());
        Ok(Protection {
            locked_until: until.and_then(|until| u64::try_from(until.as_nanosecond()).ok()).map(Timestamp::from_unix_ns),
            held: head.header("x-amz-object-lock-legal-hold").as_deref() == Some("ON"),
        })
    }

    fn hold(&self, name: &ObjectName, version: Option<&str>, on: bool) -> Result<(), ObjectError> {
        // The manifest keeps the hold where the bucket cannot.
        if self.config.lock.is_none() {
            return Ok(());
        }
        let status = if on { "ON" } else { "OFF" };
        let body = format!("<LegalHold xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>{status}</Status></LegalHold>");
        let body = Bytes::from(body);
        let mut query = vec![("legal-hold", None)];
        query.extend(version_query(version));
        let headers = [
            ("content-type", "application/xml".to_owned()),
            ("x-amz-checksum-sha256", STANDARD.encode(Digest::of(&body).0)),
            ("x-amz-sdk-checksum-algorithm", "SHA256".to_owned()),
        ];
        let answer = self.send(Method::PUT, name, &query, &headers, body, ERROR_BYTES_MAX as u64)?;
        if !answer.status.is_success() {
            return Err(answer.refused(name));
        }
        if self.protection(name, version)?.held == on {
            Ok(())
        } else {
            Err(ObjectError::NoLock {
                name: name.to_string(),
                what: "the bucket took the hold and does not report it".to_owned(),
            })
        }
    }
}

impl Drop for S3Objects {
    fn drop(&mut self) {
        // A runtime that is dropped within another one panics.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for S3Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Objects").field("config", &self.config).finish_non_exhaustive()
    }
}

impl LockMode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Compliance => "COMPLIANCE",
            Self::Governance => "GOVERNANCE",
        }
    }
}

impl Answer {
    fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name)?.to_str().ok().map(str::to_owned)
    }

    /// Whether an element of the answer's XML has a value, in a document in which it can stand but once.
    fn says(&self, element: &str, value: &str) -> bool {
        String::from_utf8_lossy(&self.body).contains(&format!("<{element}>{value}</{element}>"))
    }

    fn refused(&self, name: &dyn fmt::Display) -> ObjectError {
        let body: String = String::from_utf8_lossy(&self.body).chars().filter(|c| !c.is_control()).take(400).collect();
        ObjectError::Failed { name: name.to_string(), what: format!("the server answered {} {body}", self.status) }
    }
}

/// Whether a URL leads to this machine itself, in plain text.
fn is_loopback(endpoint: &str) -> bool {
    let host = endpoint.strip_prefix("http://").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let Some(host) = host.filter(|host| !host.contains('@')) else { return false };
    let host =
        host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())).map_or(host, |(host, _)| host);
    match host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost",
    }
}

/// An access key out of a file such as `~/.aws/credentials`: the section `default`, or the lines before any section.
fn from_file(path: &Path) -> Result<AmazonS3Builder, ObjectError> {
    let wrong = |what: String| ObjectError::Config { field: "credentials", what: format!("{}: {what}", path.display()) };
    let metadata = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(wrong("can be read by others; make it your own with chmod 600".to_owned()));
    }
    if metadata.len() > CREDENTIALS_BYTES_MAX {
        return Err(wrong(format!("has more than {CREDENTIALS_BYTES_MAX} bytes")));
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?);
    let (mut id, mut secret, mut token) = (None, None, None);
    let mut is_default = true;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        if let Some(section) = line.strip_prefix('[') {
            is_default = section.trim_end_matches(']').trim() == "default";
        } else if let Some((key, value)) = line.split_once('=').filter(|_| is_default) {
            match key.trim() {
                "aws_access_key_id" => id = Some(value.trim()),
                "aws_secret_access_key" => secret = Some(value.trim()),
                "aws_session_token" => token = Some(value.trim()),
                _ => {}
            }
        }
    }
    let (Some(id), Some(secret)) = (id, secret) else {
        return Err(wrong("has no aws_access_key_id and aws_secret_access_key in [default]".to_owned()));
    };
    let builder = AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(secret);
    Ok(match token {
        Some(token) => builder.with_token(token),
        None => builder,
    })
}

fn version_query(version: Option<&str>) -> Vec<(&'static str, Option<&str>)> {
    version.map(|version| ("versionId", Some(version))).into_iter().collect()
}

/// One try. At most one byte more than `bytes_max` of the body is taken, so that the caller sees that there is more.
async fn execute(client: &HttpClient, request: HttpRequest, bytes_max: u64) -> Result<Answer, String> {
    let response = client.execute(request).await.map_err(|error| error.to_string())?;
    let (head, body) = response.into_parts();
    let bytes_max = if head.status.is_success() { bytes_max } else { ERROR_BYTES_MAX as u64 };
    let mut chunks = body.bytes_stream();
    let mut taken = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| error.to_string())?;
        let room = usize::try_from(bytes_max.saturating_add(1)).unwrap_or(usize::MAX).saturating_sub(taken.len());
        taken.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            break;
        }
    }
    Ok(Answer { status: head.status, headers: head.headers, body: taken.freeze() })
}

/// A point in time as S3 writes it, whole seconds, rounded up so that a lock never ends early.
fn rfc3339(time: Timestamp) -> Option<String> {
    let seconds = i64::try_from(time.unix_ns().div_ceil(1_000_000_000)).ok()?;
    Some(jiff::Timestamp::from_second(seconds).ok()?.to_string())
}

#[cfg(test)]
#[path = "s3_tests.rs"]
mod tests;
