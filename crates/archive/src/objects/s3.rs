//! Objects in an S3 bucket, with Object Lock where it is asked for.
//!
//! Requests are built and signed here and not by `object_store`'s own client, as that knows neither versions on reading
//! nor retention nor holds. Its signer, its HTTP client, its ways to credentials and its listing are used.

use std::fmt;
use std::future::Future;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use event::Timestamp;
use futures_util::StreamExt as _;
use http::{Method, StatusCode};
use object_store::ObjectStore as _;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsAuthorizer};
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::{Certificate, ClientOptions};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::network::{Answer, ERROR_BYTES_MAX, Failed, Network, execute, tried};
use super::{Digest, ObjectError, ObjectName, Objects, Protection, Put};

/// Longest time for one request: a gigabyte over a slow line.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(10);

/// What is escaped in a query: all but the unreserved characters (RFC 3986, section 2.3), as signatures have it.
const ESCAPED: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Largest file of credentials: AWS's own tools keep every profile in one.
const CREDENTIALS_BYTES_MAX: u64 = 64 * 1024;

/// What is asked of the bucket: of one of its objects, or of itself.
pub(super) struct Ask<'r> {
    method: Method,
    name: &'r dyn fmt::Display,
    query: Vec<(&'static str, Option<&'r str>)>,
    headers: &'r [(&'static str, String)],
    body: Bytes,
    /// Longest answer.
    bytes_max: u64,
}

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
    network: Network,
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
        let network = Network::open(&options).map_err(|what| wrong("endpoint", what))?;
        Ok(Self { config, base, store, network })
    }

    fn key(&self, name: &dyn fmt::Display) -> String {
        if self.config.prefix.is_empty() { name.to_string() } else { format!("{}/{name}", self.config.prefix) }
    }

    /// Sends a request for an object; again where the network or the server failed and not the request.
    pub(super) fn send(&self, ask: Ask<'_>) -> Result<Answer, ObjectError> {
        let name = ask.name;
        self.network.wait(name, self.request(self.url(name), ask)?)
    }

    /// Sends requests for objects at once; the answers are in their order.
    pub(super) fn send_all(&self, asks: Vec<Ask<'_>>) -> Result<Vec<Answer>, ObjectError> {
        let name = asks.first().map_or_else(String::new, |ask| ask.name.to_string());
        let requests = asks.into_iter().map(|ask| self.request(self.url(ask.name), ask)).collect::<Result<Vec<_>, _>>()?;
        self.network.wait(&name, futures_util::future::try_join_all(requests))
    }

    fn url(&self, name: &dyn fmt::Display) -> String {
        format!("{}/{}", self.base, self.key(name))
    }

    /// A request, ready to be sent, and to be tried again.
    fn request(
        &self,
        mut url: String,
        ask: Ask<'_>,
    ) -> Result<impl Future<Output = Result<Answer, String>> + Send + use<>, ObjectError> {
        let Ask { method, name, query, headers, body, bytes_max } = ask;
        for (index, (key, value)) in query.iter().enumerate() {
            url.push(if index == 0 { '?' } else { '&' });
            url.push_str(key);
            if let Some(value) = value {
                url.push('=');
                url.extend(percent_encoding::utf8_percent_encode(value, ESCAPED));
            }
        }
        let mut request = http::Request::builder().method(method).uri(url.as_str());
        for (header, value) in headers {
            request = request.header(*header, value);
        }
        let request = request
            .body(HttpRequestBody::from(body.clone()))
            .map_err(|error| ObjectError::Failed { name: name.to_string(), what: error.to_string() })?;
        let request: HttpRequest = request;
        let digest = Digest::of(&body).0;
        let (client, credentials, region) = (self.network.client(), self.store.credentials().clone(), self.config.region.clone());
        Ok(tried(move || {
            let (client, credentials, region, mut signed) =
                (client.clone(), credentials.clone(), region.clone(), request.clone());
            async move {
                let credential = credentials.get_credential().await.map_err(|error| Failed::of_us(error.to_string()))?;
                AwsAuthorizer::new(&credential, "s3", &region)
                    .try_authorize(&mut signed, Some(&digest))
                    .map_err(|error| Failed::of_us(error.to_string()))?;
                execute(&client, signed, bytes_max).await
            }
        }))
    }

    /// The names of the objects below a directory, which is empty for all, sorted; at most `names_max`.
    pub(super) fn list_below(&self, dir: &str, names_max: usize) -> Result<Vec<String>, ObjectError> {
        let store = self.store.clone();
        let prefix = self.config.prefix.clone();
        let dir = [prefix.as_str(), dir].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        self.network.wait(&self.config.bucket, async move {
            let under = object_store::path::Path::from(dir.as_str());
            let mut listed = store.list((!dir.is_empty()).then_some(&under));
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

    /// Asks for a part of the bucket's own configuration.
    fn bucket_says(&self, what: &'static str) -> Result<Answer, ObjectError> {
        let name = format!("bucket {}", self.config.bucket);
        self.network.wait(&name, self.request(self.base.clone(), Ask::new(Method::GET, &name).asking(what))?)
    }

    fn head(&self, name: &ObjectName, version: Option<&str>) -> Result<Option<Answer>, ObjectError> {
        let answer = self.send(Ask::new(Method::HEAD, name).version(version))?;
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
        let mut headers = vec![("if-none-match", "*".to_owned()), ("content-type", "application/octet-stream".to_owned())];
        headers.extend(checksum(bytes));
        let lock = lock_until.map(|until| self.lock_headers(name, until)).transpose()?.flatten();
        let is_locked = lock.is_some();
        headers.extend(lock.into_iter().flatten());
        let answer = self.send(Ask::new(Method::PUT, name).headers(&headers).body(bytes.clone()))?;
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
        let answer = self.send(Ask::new(Method::GET, name).version(version).up_to(bytes_max))?;
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
        let answer = self.send(Ask::new(Method::DELETE, name).version(version))?;
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
        self.list_below("", names_max)
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
        let mut headers = vec![("content-type", "application/xml".to_owned())];
        headers.extend(checksum(body.as_bytes()));
        let ask = Ask::new(Method::PUT, name).asking("legal-hold").version(version).headers(&headers).body(Bytes::from(body));
        let answer = self.send(ask)?;
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

impl<'r> Ask<'r> {
    /// A request without a body, whose answer is no longer than an error.
    pub(super) fn new(method: Method, name: &'r impl fmt::Display) -> Self {
        Self { method, name, query: Vec::new(), headers: &[], body: Bytes::new(), bytes_max: ERROR_BYTES_MAX as u64 }
    }

    /// For a part of what is there, such as its legal hold.
    fn asking(mut self, what: &'static str) -> Self {
        self.query.push((what, None));
        self
    }

    /// For one version of it.
    fn version(mut self, version: Option<&'r str>) -> Self {
        self.query.extend(version.map(|version| ("versionId", Some(version))));
        self
    }

    pub(super) fn headers(self, headers: &'r [(&'static str, String)]) -> Self {
        Self { headers, ..self }
    }

    pub(super) fn body(self, body: Bytes) -> Self {
        Self { body, ..self }
    }

    /// With an answer of at most so many bytes.
    pub(super) fn up_to(self, bytes_max: u64) -> Self {
        Self { bytes_max, ..self }
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

/// The headers by which the server sees that a body arrived as it was sent.
pub(super) fn checksum(body: &[u8]) -> [(&'static str, String); 2] {
    [("x-amz-checksum-sha256", STANDARD.encode(Digest::of(body).0)), ("x-amz-sdk-checksum-algorithm", "SHA256".to_owned())]
}

/// A point in time as S3 writes it, whole seconds, rounded up so that a lock never ends early.
fn rfc3339(time: Timestamp) -> Option<String> {
    let whole = time.unix_ns().checked_next_multiple_of(1_000_000_000)?;
    Some(Timestamp::from_unix_ns(whole).rfc3339())
}

#[cfg(test)]
#[path = "s3_tests.rs"]
mod tests;
