//! A root key in AWS KMS: the service wraps and unwraps the tenant key, and never gives the root key away.
//!
//! A key is named as Tink does it, `aws-kms://` and the ARN of a symmetric key or of an alias; the region is the ARN's. The API is
//! `Encrypt` and `Decrypt` of AWS KMS (JSON 1.1, Signature Version 4). Each request carries an encryption context, which
//! CloudTrail shows and without which the wrapped key does not open: the keyring's id. Credentials come from where every AWS tool looks
//! for them: environment, web identity, container and instance metadata; `AWS_ENDPOINT_URL_KMS` names another endpoint.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Uri, header};
use keys::{KeysError, RootKey, Secret};
use object_store::aws::{AmazonS3Builder, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpRequest, HttpRequestBody};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::outbound::{Outbound, is_this_machine, read_url};

/// How the URI of a key begins.
const SCHEME: &str = "aws-kms://";

/// Variable with another endpoint, as AWS's own tools read it.
const ENDPOINT: &str = "AWS_ENDPOINT_URL_KMS";

/// What a wrapped key begins with: its form's version. Behind it is what KMS gave.
const WRAPPED_MAGIC: &[u8] = b"wkkms/1";

/// Name in the encryption context of the keyring that the key opens.
const CONTEXT: &str = "watchkeeper:keyring";

/// Longest ARN: those of KMS have at most 32 characters of region, 12 of account and 256 of alias.
const ARN_BYTES_MAX: usize = 512;

/// Longest part of an answer that an error quotes, in characters.
const SAID_CHARS_MAX: usize = 300;

/// Tries of a request that the network or the service failed, the first included: an outage of seconds need not stop a start.
const TRIES_MAX: u32 = 3;

/// The pause before the second try; it doubles with each.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// A key of AWS KMS, by its ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsKey {
    arn: String,
    region: String,
}

/// Why a key of KMS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KmsError {
    /// The URI.
    #[error(
        "{0:?} names no key of AWS KMS: write {SCHEME} and the ARN of a key or alias, such as \
         {SCHEME}arn:aws:kms:eu-central-1:111122223333:alias/watchkeeper"
    )]
    Uri(String),
    /// The endpoint.
    #[error("{ENDPOINT} = {url:?}: {what}")]
    Endpoint {
        /// As it is set.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// The credentials.
    #[error("credentials for AWS KMS: {0}")]
    Credentials(String),
}

/// The root key that KMS holds.
pub(crate) struct KmsRootKey {
    key: KmsKey,
    endpoint: Uri,
    credentials: AwsCredentialProvider,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Asked<'a> {
    key_id: &'a str,
    encryption_context: std::collections::BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext_blob: Option<&'a str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Refusal {
    #[serde(rename = "__type")]
    kind: String,
    #[serde(alias = "Message")]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Encrypted {
    ciphertext_blob: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypted<'a> {
    /// Within the answer, which is overwritten.
    #[serde(borrow)]
    plaintext: Cow<'a, str>,
}

/// What came of one try.
enum Tried {
    Done(Zeroizing<Vec<u8>>),
    Refused(String),
    /// It may go well the next time.
    Failed(String),
}

impl KmsKey {
    /// Reads a URI. `None` when it is of another scheme, such as the path of a file.
    pub(crate) fn parse(uri: &str) -> Option<Result<Self, KmsError>> {
        let arn = uri.strip_prefix(SCHEME)?;
        let wrong = || KmsError::Uri(uri.chars().take(ARN_BYTES_MAX).collect());
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let plain =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte));
        Some(match parts.as_slice() {
            &["arn", partition, "kms", region, account, key]
                if arn.len() <= ARN_BYTES_MAX
                    && [partition, region, account, key].into_iter().all(plain)
                    && ![partition, region].into_iter().any(|part| part.contains(['/', '_']))
                    && (key.starts_with("key/") || key.starts_with("alias/")) =>
            {
                Ok(Self { arn: arn.to_owned(), region: region.to_owned() })
            }
            _ => Err(wrong()),
        })
    }
}

impl fmt::Display for KmsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.arn)
    }
}

impl KmsRootKey {
    /// The key, asked with the credentials of this machine. Nothing is asked yet.
    pub(crate) fn new(key: KmsKey) -> Result<Self, KmsError> {
        let endpoint = match std::env::var(ENDPOINT).ok().filter(|url| !url.is_empty()) {
            Some(url) => read_endpoint(&url).map_err(|what| KmsError::Endpoint { url, what })?,
            None => {
                // China's partition has a domain of its own.
                let domain = if key.arn.starts_with("arn:aws-cn:") { "amazonaws.com.cn" } else { "amazonaws.com" };
                let url = format!("https://kms.{}.{domain}/", key.region);
                read_endpoint(&url).map_err(|what| KmsError::Endpoint { url, what })?
            }
        };
        // Its ways to credentials are wanted, and no bucket.
        let store = AmazonS3Builder::from_env().with_bucket_name("unused").with_region(&key.region).build();
        let credentials = store.map_err(|error| KmsError::Credentials(error.to_string()))?.credentials().clone();
        Ok(Self { key, endpoint, credentials })
    }

    /// Asks the service, on a thread of its own: callers may be within a runtime.
    fn ask(&self, action: &'static str, operation: &str, body: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, KeysError> {
        let failed = |reason: String| KeysError::Root { id: self.key.to_string(), action, reason };
        let asked = std::thread::scope(|scope| {
            let work = || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
                runtime.block_on(self.exchange(operation, body))
            };
            let thread = std::thread::Builder::new().name("kms".to_owned()).spawn_scoped(scope, work);
            let thread = thread.map_err(|error| error.to_string())?;
            thread
                .join()
                .unwrap_or_else(|_| Err("the request failed in a way that nobody expected; please report this".to_owned()))
        });
        asked.map_err(failed)
    }

    async fn exchange(&self, operation: &str, body: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, String> {
        let client = Outbound::new(std::iter::once(&self.endpoint))?;
        // One buffer for all tries, overwritten when the last of them is dropped.
        let body = Bytes::from_owner(body);
        let mut pause = RETRY_PAUSE;
        for tried in 1.. {
            match self.attempt(&client, operation, body.clone()).await {
                Tried::Done(answer) => return Ok(answer),
                Tried::Failed(what) if tried < TRIES_MAX => tracing::warn!(key = %self.key, what, "AWS KMS is asked again"),
                Tried::Refused(what) | Tried::Failed(what) => return Err(what),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err("no try was made".to_owned())
    }

    async fn attempt(&self, client: &Outbound, operation: &str, body: Bytes) -> Tried {
        let request = match self.signed(operation, body).await {
            Ok(request) => request,
            Err(what) => {
                return Tried::Failed(format!(
                    "this machine has no credentials for AWS ({what}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give it a role"
                ));
            }
        };
        match client.send(request).await {
            Ok((200, answer)) => Tried::Done(Zeroizing::new(answer.to_vec())),
            Ok((status, answer)) => refusal(status, &answer),
            Err(what) => Tried::Failed(format!(
                "{} does not answer ({what}): check the network, the region and {ENDPOINT}; nothing opens until it does",
                self.endpoint
            )),
        }
    }

    async fn signed(&self, operation: &str, body: Bytes) -> Result<Request<Bytes>, String> {
        let credential = self.credentials.get_credential().await.map_err(|error| error.to_string())?;
        let request = Request::post(&self.endpoint)
            .header(header::CONTENT_TYPE, "application/x-amz-json-1.1")
            .header("x-amz-target", format!("TrentService.{operation}"));
        let mut request: HttpRequest = request.body(HttpRequestBody::from(body.clone())).map_err(|error| error.to_string())?;
        let signer = AwsAuthorizer::new(&credential, "kms", &self.key.region);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body);
        signer.try_authorize(&mut request, Some(digest.as_ref())).map_err(|error| error.to_string())?;
        Ok(request.map(|_| body))
    }

    fn body(&self, keyring: &str, plaintext: Option<&str>, ciphertext_blob: Option<&str>) -> Result<Zeroizing<Vec<u8>>, String> {
        let context = [(CONTEXT, keyring)].into();
        let asked = Asked { key_id: &self.key.arn, encryption_context: context, plaintext, ciphertext_blob };
        // As long as it can become at once: a vector that grows leaves copies of a secret behind.
        let mut body = Zeroizing::new(Vec::with_capacity(ARN_BYTES_MAX + 16 * 1024));
        serde_json::to_writer(&mut *body, &asked).map_err(|error| error.to_string())?;
        Ok(body)
    }
}

impl RootKey for KmsRootKey {
    /// The URI, which is no secret.
    fn id(&self) -> String {
        self.key.to_string()
    }

    fn wrap(&self, key: &Secret, keyring: &str) -> Result<Vec<u8>, KeysError> {
        let failed = |reason: String| KeysError::Root { id: self.id(), action: "wrap", reason };
        let plaintext = Zeroizing::new(STANDARD.encode(key.expose()));
        let answer = self.ask("wrap", "Encrypt", self.body(keyring, Some(&plaintext), None).map_err(failed)?)?;
        let answer: Encrypted = serde_json::from_slice(&answer).map_err(|_| failed(not_understood()))?;
        let blob = STANDARD.decode(answer.ciphertext_blob).map_err(|_| failed(not_understood()))?;
        Ok([WRAPPED_MAGIC, &blob].concat())
    }

    fn unwrap(&self, wrapped: &[u8], keyring: &str) -> Result<Secret, KeysError> {
        let failed = |reason: String| KeysError::Root { id: self.id(), action: "unwrap", reason };
        let blob = wrapped.strip_prefix(WRAPPED_MAGIC).ok_or_else(|| failed(changed("it has another form")))?;
        let blob = STANDARD.encode(blob);
        let answer = self.ask("unwrap", "Decrypt", self.body(keyring, None, Some(&blob)).map_err(failed)?)?;
        let answer: Decrypted<'_> = serde_json::from_slice(&answer).map_err(|_| failed(not_understood()))?;
        let plaintext = STANDARD.decode(answer.plaintext.as_bytes()).map(Zeroizing::new).map_err(|_| failed(not_understood()))?;
        Secret::from_slice(&plaintext).ok_or_else(|| failed(changed("it has not 32 bytes")))
    }
}

/// An endpoint with TLS, or one on this machine.
fn read_endpoint(url: &str) -> Result<Uri, String> {
    let uri = read_url(url)?;
    if uri.scheme_str() == Some("https") || is_this_machine(&uri) {
        Ok(uri)
    } else {
        Err("must begin with https://: the tenant key would cross the network in the clear".to_owned())
    }
}

/// What an answer that is no success says, and what to do.
fn refusal(status: u16, answer: &[u8]) -> Tried {
    let refusal: Refusal = serde_json::from_slice(answer).unwrap_or_default();
    // `com.amazonaws.kms#DisabledException` or without what is before the `#`.
    let kind = refusal.kind.rsplit('#').next().unwrap_or_default();
    let quoted: String = refusal.message.chars().filter(|letter| !letter.is_control()).take(SAID_CHARS_MAX).collect();
    let said = |what: &str| {
        if quoted.is_empty() { format!("{what} (status {status})") } else { format!("{what} (it says: {quoted})") }
    };
    let denied =
        "AWS KMS denies it: the credentials of this machine must be valid and allow kms:Encrypt and kms:Decrypt on the key";
    Tried::Refused(match kind {
        "AccessDeniedException" | "UnrecognizedClientException" | "InvalidSignatureException" | "ExpiredTokenException" => {
            said(denied)
        }
        "DisabledException" => said("the key is disabled: enable it (aws kms enable-key) and start again"),
        "KMSInvalidStateException" => said(
            "the key cannot be used in its state, such as before its deletion: cancel that (aws kms cancel-key-deletion), enable it",
        ),
        "NotFoundException" => said("there is no such key in this region and account: check the ARN"),
        "InvalidKeyUsageException" => said("the key is not for encryption: name a symmetric key with the usage ENCRYPT_DECRYPT"),
        "InvalidCiphertextException" | "IncorrectKeyException" => changed(&said("AWS KMS does not open it")),
        "DependencyTimeoutException"
        | "KMSInternalException"
        | "KeyUnavailableException"
        | "ThrottlingException"
        | "LimitExceededException" => return Tried::Failed(said("AWS KMS cannot do it now: try again")),
        _ if status == 401 || status == 403 => said(denied),
        _ if status >= 500 || status == 429 => return Tried::Failed(said("AWS KMS cannot do it now: try again")),
        _ => said(&format!("AWS KMS refuses it with {kind:?}")),
    })
}

fn changed(why: &str) -> String {
    format!(
        "the wrapped key was changed, or wrapped by another key or for another keyring ({why}): bring back the directory `keys` from its \
         backup, or name the right key"
    )
}

fn not_understood() -> String {
    format!("the answer is not that of AWS KMS: check {ENDPOINT}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_by_its_arn_and_nothing_else() {
        let arn = "arn:aws:kms:eu-central-1:111122223333:";
        for key in
            ["key/1234abcd-12ab-34cd-56ef-1234567890ab", "key/mrk-1234abcd12ab34cd56ef1234567890ab", "alias/watch/keeper_1"]
        {
            let uri = format!("{SCHEME}{arn}{key}");
            let parsed = KmsKey::parse(&uri).unwrap().unwrap();
            assert_eq!((parsed.to_string(), parsed.region.as_str()), (uri, "eu-central-1"));
        }
        assert!(KmsKey::parse("/secure/root.key").is_none() && KmsKey::parse("aws-kms").is_none());
        let long = format!("{arn}key/{}", "a".repeat(ARN_BYTES_MAX));
        for wrong in [
            "",
            "alias/watchkeeper",
            "/arn:aws:kms:eu-central-1:111122223333:key/1",
            "arn:aws:s3:eu-central-1:111122223333:key/1",
            "arn:aws:kms::111122223333:key/1",
            "arn:aws:kms:eu/..:111122223333:key/1",
            "arn:aws:kms:evil.example:111122223333:key/1",
            "arn:aws:kms:eu-central-1:111122223333:grant/1",
            "arn:aws:kms:eu-central-1:111122223333:key/1?x=1",
            &long,
        ] {
            let error = KmsKey::parse(&format!("{SCHEME}{wrong}")).unwrap().unwrap_err().to_string();
            assert!(error.contains("arn:aws:kms:eu-central-1"), "{error}");
        }
    }

    #[test]
    fn an_endpoint_has_tls_or_is_on_this_machine() {
        for good in
            ["https://kms.eu-central-1.amazonaws.com/", "http://127.0.0.1:5000", "http://[::1]:5000", "http://localhost:1/x"]
        {
            assert!(read_endpoint(good).is_ok(), "{good}");
        }
        for bad in ["http://kms.example", "http://127.0.0.1.example", "kms.example", "ftp://127.0.0.1", ""] {
            assert!(read_endpoint(bad).is_err(), "{bad}");
        }
    }

    /// Answers in the form of the service's own documentation (AWS KMS API reference, "Common errors" and those of `Decrypt`).
    #[test]
    fn each_refusal_says_what_to_do() {
        let of = |status: u16, kind: &str| {
            let body = format!("{{\"__type\":\"{kind}\",\"message\":\"arn:aws:kms:x\\nis so\"}}");
            match refusal(status, body.as_bytes()) {
                Tried::Refused(what) => (true, what),
                Tried::Failed(what) => (false, what),
                Tried::Done(_) => panic!("{kind}"),
            }
        };
        for (status, kind, is_final, remedy) in [
            (400, "AccessDeniedException", true, "allow kms:Encrypt and kms:Decrypt"),
            (400, "com.amazonaws.kms#DisabledException", true, "aws kms enable-key"),
            (400, "DisabledException", true, "aws kms enable-key"),
            (400, "KMSInvalidStateException", true, "cancel-key-deletion"),
            (400, "NotFoundException", true, "check the ARN"),
            (400, "IncorrectKeyException", true, "name the right key"),
            (400, "InvalidCiphertextException", true, "backup"),
            (400, "ThrottlingException", false, "try again"),
            (500, "KMSInternalException", false, "try again"),
            (503, "", false, "try again"),
            (403, "", true, "credentials"),
            (400, "SomethingNew", true, "SomethingNew"),
        ] {
            let (told_final, what) = of(status, kind);
            assert!(told_final == is_final && what.contains(remedy) && !what.contains('\n'), "{kind}: {what}");
        }
        assert!(matches!(refusal(404, b"<html>"), Tried::Refused(_)));
        assert!(matches!(refusal(502, &[0xff; 70_000]), Tried::Failed(_)));
    }
}
