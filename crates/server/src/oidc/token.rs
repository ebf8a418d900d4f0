//! Whether an ID token is one: OpenID Connect Core, 3.1.3.7.

use event::Timestamp;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};

/// How far two clocks may be apart, in seconds.
const SKEW_S: u64 = 60;

/// How old a token may be that was given for a code just now, in seconds.
const AGE_S_MAX: u64 = 600;

/// What is believed. Whoever knows the client's secret, as this console does, could make HS* tokens, and anybody those of `none`.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Most keys of a provider that are looked at.
const KEYS_MAX: usize = 100;

/// What a token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
}

/// Why a token is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    /// No key of the provider fits it: they may have been exchanged.
    #[error("no key of the provider fits the ID token")]
    NoKey,
    /// It is not good.
    #[error("the ID token {0}")]
    Bad(String),
}

fn bad(what: impl Into<String>) -> TokenError {
    TokenError::Bad(what.into())
}

/// The provider's keys.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Jwk>);

impl Keys {
    /// Reads a JWK set (RFC 7517). Keys of kinds that are unknown here are left out, as the standard says.
    pub(super) fn read(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json).map_err(|error| format!("its keys are no JWK set: {error}"))?;
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let signs = |key: &Jwk| !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
        Ok(Self(keys.filter(signs).take(KEYS_MAX).collect()))
    }

    /// Those that may have signed a token with this header.
    fn fitting<'k>(&'k self, header: &'k Header) -> impl Iterator<Item = DecodingKey> + 'k {
        let fits = move |key: &&Jwk| {
            let has_id = header.kid.is_none() || header.kid == key.common.key_id;
            let of_algorithm = key
                .common
                .key_algorithm
                .is_none_or(|own| own.to_string().parse::<Algorithm>().is_ok_and(|own| own == header.alg));
            has_id && of_algorithm
        };
        let keys = self.0.iter().filter(fits).filter_map(|key| DecodingKey::from_jwk(key).ok());
        keys.filter(|key| key.family() == header.alg.family())
    }
}

/// The claims that every token is judged by.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    #[serde(default)]
    azp: Option<String>,
    iat: f64,
    #[serde(default)]
    nonce: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// The claims of a token that is good.
pub(super) fn verify(token: &str, keys: &Keys, expected: &Expected<'_>) -> Result<Map<String, Value>, TokenError> {
    verify_at(token, keys, expected, Timestamp::now().unix_ns() / 1_000_000_000)
}

fn verify_at(token: &str, keys: &Keys, expected: &Expected<'_>, now_s: u64) -> Result<Map<String, Value>, TokenError> {
    let header = decode_header(token).map_err(|_| bad("is signed in no way that is known here"))?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(bad("is not signed with a key of the provider's own (RS, PS, ES, EdDSA)"));
    }
    // What must be understood is not.
    if header.crit.is_some() {
        return Err(bad("has critical headers that are not known here"));
    }
    let mut validation = Validation::new(header.alg);
    validation.leeway = SKEW_S;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[expected.issuer]);
    validation.set_audience(&[expected.client_id]);
    let mut outcome = TokenError::NoKey;
    let mut claims = None;
    for key in keys.fitting(&header) {
        match decode::<Map<String, Value>>(token, &key, &validation) {
            Ok(found) => {
                claims = Some(found.claims);
                break;
            }
            Err(error) => outcome = bad(format!("is not good: {error}")),
        }
    }
    let claims = claims.ok_or(outcome)?;
    let own: Claims =
        serde_json::from_value(Value::Object(claims.clone())).map_err(|error| bad(format!("lacks something: {error}")))?;
    if own.iss != expected.issuer {
        return Err(bad("is of another issuer"));
    }
    let audience = own.aud.all();
    let is_for_us = audience.iter().any(|one| one == expected.client_id);
    if !is_for_us || own.azp.as_deref().is_some_and(|azp| azp != expected.client_id) || (audience.len() > 1 && own.azp.is_none())
    {
        return Err(bad("is for somebody else (aud, azp)"));
    }
    // The numbers of years to come are whole in a double.
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^52")]
    let (earliest, latest) = ((now_s.saturating_sub(AGE_S_MAX + SKEW_S)) as f64, (now_s.saturating_add(SKEW_S)) as f64);
    if !(earliest..=latest).contains(&own.iat) {
        return Err(bad("was not issued just now (iat); look at the clocks of both sides"));
    }
    if own.nonce.as_deref() != Some(expected.nonce) {
        return Err(bad("was given for another sign-in (nonce)"));
    }
    Ok(claims)
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
