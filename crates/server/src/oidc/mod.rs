//! Signing in by OpenID Connect: the authorization code flow with PKCE, `state` and `nonce` (OpenID Connect Core; RFC 7636; RFC 9207). What
//! the provider says of itself is asked when somebody signs in, and never before: a provider that is down keeps no server from starting
//! and nobody from signing in with a key.

mod claims;
mod fetch;
mod token;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::{Mutex, Semaphore};

use self::fetch::{Fetch, Shown};
use self::token::{Expected, Keys, TokenError};
use crate::access::Role;
use crate::asker::Person;
use crate::config::{OidcConfig, read_safe};

/// How long what the provider says of itself is believed.
const KNOWN_FOR: Duration = Duration::from_secs(3_600);

/// How long it is not asked again after it has failed: whoever waited is told the same at once.
const FAILED_FOR: Duration = Duration::from_secs(3);

/// Sign-ins that the provider is asked about at once.
const EXCHANGES_MAX: usize = 32;

/// Longest code that is passed on.
pub(crate) const CODE_BYTES_MAX: usize = 8 * 1024;

/// What stands for itself in a form or a query (RFC 3986).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why nobody is signed in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OidcError {
    /// The person or the provider says no.
    #[error("the provider refused: {0}")]
    Denied(String),
    /// It is not the sign-in that this browser has begun.
    #[error("it is not a sign-in that this browser began: {0}")]
    State(&'static str),
    /// The provider does not answer, or not as it should.
    #[error("{0}")]
    Provider(String),
    /// None of the person's values gives a role.
    #[error("{0}")]
    Role(&'static str),
    /// It took too long.
    #[error("it took too long: {0}")]
    Expired(&'static str),
}

impl OidcError {
    /// The word that the console and the record have for it.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::State(_) => "state",
            Self::Provider(_) => "provider",
            Self::Role(_) => "role",
            Self::Expired(_) => "expired",
        }
    }
}

/// What a provider says of itself (OpenID Connect Discovery, 3).
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// The same, judged.
struct Known {
    authorization_endpoint: String,
    token_endpoint: Uri,
    jwks_uri: Uri,
    userinfo_endpoint: Option<Uri>,
    /// Whether the secret goes into the form and not into a header.
    posts_secret: bool,
    /// Whether it names itself with each answer (RFC 9207).
    names_itself: bool,
}

/// What is known of the provider now.
#[derive(Default)]
struct Standing {
    known: Option<(Arc<Known>, Instant)>,
    keys: Option<(Arc<Keys>, Instant)>,
    failed: Option<(String, Instant)>,
}

/// The provider.
pub(crate) struct Provider {
    config: OidcConfig,
    fetch: Fetch,
    standing: Mutex<Standing>,
    exchanges: Semaphore,
}

/// What ties an answer of the provider to a question.
pub(crate) struct Asked<'a> {
    /// Is in the ID token again.
    pub(crate) nonce: &'a str,
    /// What the challenge was made of (PKCE).
    pub(crate) verifier: &'a str,
}

/// Somebody for whom the provider vouches, with the role that they have here.
pub(crate) struct Vouched {
    pub(crate) person: Person,
    pub(crate) role: Option<Role>,
}

/// A token endpoint's answer (RFC 6749, 5).
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    id_token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

impl Provider {
    /// # Errors
    /// What of the configuration cannot be used.
    pub(crate) fn new(config: OidcConfig) -> Result<Self, String> {
        // A secret that cannot be read is told at the start, and not to the first who signs in.
        config.secret().map_err(|error| error.to_string())?;
        let fetch = Fetch::new(&config)?;
        Ok(Self { config, fetch, standing: Mutex::default(), exchanges: Semaphore::new(EXCHANGES_MAX) })
    }

    /// What the button calls it.
    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }

    /// Whether browsers come to the console by https.
    pub(crate) fn is_https(&self) -> bool {
        self.config.redirect_url.starts_with("https:")
    }

    /// Where a browser is sent to sign in.
    pub(crate) async fn authorization_url(&self, state: &str, asked: &Asked<'_>) -> Result<String, OidcError> {
        use base64::Engine as _;
        let known = self.known().await.map_err(OidcError::Provider)?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, asked.verifier.as_bytes());
        let challenge = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
        let scopes = self.config.scopes.join(" ");
        let query = form(&[
            ("response_type", "code"),
            ("client_id", &self.config.client_id),
            ("redirect_uri", &self.config.redirect_url),
            ("scope", &scopes),
            ("state", state),
            ("nonce", asked.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let endpoint = &known.authorization_endpoint;
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        Ok(format!("{endpoint}{joint}{query}"))
    }

    /// Whether an answer names the provider that was asked: one provider's code must not be taken to another (RFC 9207).
    pub(crate) async fn check_named(&self, named: Option<&str>) -> Result<(), OidcError> {
        match named {
            Some(named) if named != self.config.issuer => Err(OidcError::Provider("another provider answered (iss)".to_owned())),
            Some(_) => Ok(()),
            None if self.known().await.map_err(OidcError::Provider)?.names_itself => {
                Err(OidcError::Provider("the answer does not name the provider (iss), which it says it does".to_owned()))
            }
            None => Ok(()),
        }
    }

    /// Takes a code to the provider and judges what it gives for it.
    pub(crate) async fn exchange(&self, code: &str, asked: &Asked<'_>) -> Result<Vouched, OidcError> {
        let busy = || OidcError::Provider("too many people sign in at once; try again in a moment".to_owned());
        let _permit = self.exchanges.try_acquire().map_err(|_| busy())?;
        let known = self.known().await.map_err(OidcError::Provider)?;
        let answer = self.redeem(&known, code, asked.verifier).await?;
        let id_token = answer.id_token.ok_or_else(|| OidcError::Provider("the provider gave no ID token".to_owned()))?;
        let claims = self.judge(&known, &id_token, asked.nonce).await?;
        let person = claims::person(&self.config.issuer, &claims);
        let person = person.ok_or_else(|| OidcError::Provider("the ID token names nobody (sub)".to_owned()))?;
        let role = |claims: &Map<String, Value>| {
            claims::giving(claims, &self.config.claim).map(|values| self.config.roles.role_of(&values))
        };
        if let Some(role) = role(&claims) {
            return Ok(Vouched { person, role });
        }
        // Some providers keep ID tokens small, and say the rest where it is asked for with the access token.
        let Some((endpoint, token)) = known.userinfo_endpoint.as_ref().zip(answer.access_token.as_deref()) else {
            return Ok(Vouched { person, role: None });
        };
        let told = self.fetch.get(endpoint, Shown::Bearer(token)).await.map_err(OidcError::Provider)?;
        let told: Map<String, Value> = read(&told, "userinfo").map_err(OidcError::Provider)?;
        if told.get("sub").and_then(Value::as_str) != Some(person.subject.as_str()) {
            return Err(OidcError::Provider("userinfo is of somebody else (sub)".to_owned()));
        }
        let role = role(&told).flatten();
        let more = claims::person(&self.config.issuer, &told);
        let (name, email) = more.map(|more| (more.name, more.email)).unwrap_or_default();
        Ok(Vouched { person: Person { name: person.name.or(name), email: person.email.or(email), ..person }, role })
    }

    /// Exchanges a code for tokens.
    async fn redeem(&self, known: &Known, code: &str, verifier: &str) -> Result<Answer, OidcError> {
        let secret = self.config.secret().map_err(|error| OidcError::Provider(error.to_string()))?;
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.config.redirect_url.as_str()),
            ("code_verifier", verifier),
        ];
        let shown = match secret.as_deref() {
            Some(secret) if !known.posts_secret => Shown::Basic(encoded(&self.config.client_id), encoded(secret)),
            secret => {
                fields.push(("client_id", &self.config.client_id));
                fields.extend(secret.map(|secret| ("client_secret", secret)));
                Shown::Nothing
            }
        };
        let (status, body) = self.fetch.post(&known.token_endpoint, shown, form(&fields)).await.map_err(OidcError::Provider)?;
        let answer: Option<Answer> = serde_json::from_slice(&body).ok();
        match answer {
            Some(answer) if status == StatusCode::OK => Ok(answer),
            Some(Answer { error: Some(error), .. }) if error == "invalid_grant" => {
                Err(OidcError::Expired("the provider no longer takes the code"))
            }
            Some(Answer { error: Some(error), .. }) => {
                Err(OidcError::Provider(format!("the token endpoint answers {}", word(&error))))
            }
            _ => Err(OidcError::Provider(format!("the token endpoint answers {status}"))),
        }
    }

    /// Judges an ID token. Where no key fits, the provider has new ones: they are asked for once.
    async fn judge(&self, known: &Known, id_token: &str, nonce: &str) -> Result<Map<String, Value>, OidcError> {
        let expected = Expected { issuer: &self.config.issuer, client_id: &self.config.client_id, nonce };
        let (keys, are_new) = self.keys(known, None).await.map_err(OidcError::Provider)?;
        let judged = match token::verify(id_token, &keys, &expected) {
            Err(TokenError::NoKey) if !are_new => {
                let (keys, _) = self.keys(known, Some(&keys)).await.map_err(OidcError::Provider)?;
                token::verify(id_token, &keys, &expected)
            }
            judged => judged,
        };
        judged.map_err(|error| OidcError::Provider(error.to_string()))
    }

    /// The provider's keys, other ones than `old`, and whether they were just asked for.
    async fn keys(&self, known: &Known, old: Option<&Arc<Keys>>) -> Result<(Arc<Keys>, bool), String> {
        let mut standing = self.standing.lock().await;
        if let Some((keys, since)) = &standing.keys
            && since.elapsed() < KNOWN_FOR
            && old.is_none_or(|old| !Arc::ptr_eq(old, keys))
        {
            return Ok((keys.clone(), false));
        }
        let keys = Arc::new(Keys::read(&self.fetch.get(&known.jwks_uri, Shown::Nothing).await?)?);
        standing.keys = Some((keys.clone(), Instant::now()));
        Ok((keys, true))
    }

    /// What the provider says of itself.
    async fn known(&self) -> Result<Arc<Known>, String> {
        let mut standing = self.standing.lock().await;
        if let Some((known, since)) = &standing.known
            && since.elapsed() < KNOWN_FOR
        {
            return Ok(known.clone());
        }
        if let Some((why, since)) = &standing.failed
            && since.elapsed() < FAILED_FOR
        {
            return Err(why.clone());
        }
        let found = self.discover().await;
        match found {
            Ok(known) => {
                let known = Arc::new(known);
                standing.known = Some((known.clone(), Instant::now()));
                standing.failed = None;
                Ok(known)
            }
            Err(why) => {
                tracing::warn!(issuer = %self.config.issuer, %why, "the OpenID provider cannot be used");
                standing.failed = Some((why.clone(), Instant::now()));
                Err(why)
            }
        }
    }

    async fn discover(&self) -> Result<Known, String> {
        let issuer = &self.config.issuer;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let url = self.fetch.read(&url).map_err(|what| format!("oidc.issuer {what}"))?;
        let document: Document = read(&self.fetch.get(&url, Shown::Nothing).await?, "the provider's configuration")?;
        if document.issuer != *issuer {
            return Err(format!(
                "the provider calls itself {:.200}: oidc.issuer must be that, letter by letter",
                document.issuer
            ));
        }
        let asked = |field: &str, url: &str| self.fetch.read(url).map_err(|what| format!("the provider's {field} {what}"));
        let shown = read_safe(&document.authorization_endpoint);
        shown.map_err(|what| format!("the provider's authorization_endpoint {what}"))?;
        if document.authorization_endpoint.contains('#') {
            return Err("the provider's authorization_endpoint has a fragment".to_owned());
        }
        let methods = document.token_endpoint_auth_methods_supported;
        let knows = |method: &str| methods.as_ref().is_none_or(|methods| methods.iter().any(|known| known == method));
        Ok(Known {
            token_endpoint: asked("token_endpoint", &document.token_endpoint)?,
            jwks_uri: asked("jwks_uri", &document.jwks_uri)?,
            userinfo_endpoint: document.userinfo_endpoint.map(|url| asked("userinfo_endpoint", &url)).transpose()?,
            authorization_endpoint: document.authorization_endpoint,
            posts_secret: !knows("client_secret_basic") && knows("client_secret_post"),
            names_itself: document.authorization_response_iss_parameter_supported,
        })
    }
}

fn read<T: serde::de::DeserializeOwned>(json: &Bytes, what: &str) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| format!("{what} cannot be read: {error}"))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// Fields as forms and queries have them.
fn form(fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    fields.join("&")
}

/// An error's name as the standards write them; of anything else only that it is none.
pub(crate) fn word(error: &str) -> &str {
    let is_word =
        (1..=64).contains(&error.len()) && error.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if is_word { error } else { "an error without a name" }
}
