use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::*;

const EXPECTED: Expected<'_> = Expected { issuer: "https://p.example", client_id: "watchkeeper", nonce: "n-1" };

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> u64 {
    Timestamp::now().unix_ns() / 1_000_000_000
}

/// The claims of a good token, with others over them; what is null there is left out.
fn claims(over: Value) -> Value {
    let mut claims = json!({
        "iss": "https://p.example", "aud": "watchkeeper", "sub": "ann", "nonce": "n-1", "iat": now(), "exp": now() + 300,
    });
    let own = claims.as_object_mut().unwrap();
    own.extend(over.as_object().unwrap().clone());
    own.retain(|_, value| !value.is_null());
    claims
}

struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn jwk(&self, more: Value) -> Value {
        let point = self.0.public_key().as_ref();
        let mut key = json!({ "kty": "EC", "crv": "P-256", "x": base64(&point[1..33]), "y": base64(&point[33..]) });
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        key
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", base64(signature))
    }

    fn token(&self, over: Value) -> String {
        self.sign(&json!({ "alg": "ES256", "kid": "k1" }), &claims(over))
    }
}

fn keys(keys: &[Value]) -> Keys {
    Keys::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

#[test]
fn a_good_token_is_believed_and_every_claim_of_a_bad_one_is_looked_at() {
    let signer = Signer::new();
    let keys = keys(&[signer.jwk(json!({ "kid": "k1", "alg": "ES256", "use": "sig" }))]);
    let judge = |over: Value| verify(&signer.token(over), &keys, &EXPECTED);
    assert_eq!(judge(json!({})).unwrap()["sub"], "ann");
    for good in [
        json!({ "aud": ["watchkeeper"] }),
        json!({ "aud": ["watchkeeper", "other"], "azp": "watchkeeper" }),
        json!({ "azp": "watchkeeper" }),
        json!({ "exp": now() - 30 }),
        json!({ "iat": now() + 30 }),
        json!({ "nbf": now() + 30 }),
    ] {
        assert!(judge(good.clone()).is_ok(), "{good}: {:?}", judge(good.clone()));
    }
    for bad in [
        json!({ "iss": "https://q.example" }),
        json!({ "iss": ["https://p.example"] }),
        json!({ "iss": null }),
        json!({ "aud": "other" }),
        json!({ "aud": [] }),
        json!({ "aud": null }),
        json!({ "aud": ["watchkeeper", "other"] }),
        json!({ "aud": ["watchkeeper", "other"], "azp": "other" }),
        json!({ "azp": "other" }),
        json!({ "sub": null }),
        json!({ "exp": now() - 120 }),
        json!({ "exp": null }),
        json!({ "exp": "never" }),
        json!({ "iat": now() + 120 }),
        json!({ "iat": now() - 3_600 }),
        json!({ "iat": null }),
        json!({ "nbf": now() + 120 }),
        json!({ "nonce": "n-2" }),
        json!({ "nonce": null }),
    ] {
        assert!(matches!(judge(bad.clone()), Err(TokenError::Bad(_))), "{bad}: {:?}", judge(bad.clone()));
    }
}

#[test]
fn nothing_is_believed_that_no_key_of_the_provider_signed() {
    let (signer, other) = (Signer::new(), Signer::new());
    let own = keys(&[signer.jwk(json!({ "kid": "k1" }))]);
    let judge = |token: &str| verify(token, &own, &EXPECTED);
    assert!(judge(&signer.token(json!({}))).is_ok());
    assert!(matches!(judge(&other.token(json!({}))), Err(TokenError::Bad(_))));
    // Not even where it brings its own key.
    let brought = other.sign(&json!({ "alg": "ES256", "kid": "k1", "jwk": other.jwk(json!({})) }), &claims(json!({})));
    assert!(matches!(judge(&brought), Err(TokenError::Bad(_))));
    let unsigned =
        |alg: &str| format!("{}.{}.", base64(json!({ "alg": alg }).to_string()), base64(claims(json!({})).to_string()));
    for alg in ["none", "None", "", "HS256", "RSA-OAEP"] {
        assert!(matches!(judge(&unsigned(alg)), Err(TokenError::Bad(_))), "{alg}");
    }
    // A public key is no secret: HMAC under its bytes is nothing.
    let signed =
        format!("{}.{}", base64(json!({ "alg": "HS256", "kid": "k1" }).to_string()), base64(claims(json!({})).to_string()));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, signer.0.public_key().as_ref());
    let forged = format!("{signed}.{}", base64(aws_lc_rs::hmac::sign(&key, signed.as_bytes())));
    assert!(matches!(judge(&forged), Err(TokenError::Bad(_))));
    // Nor one with a key of the set that is a secret.
    let secret = json!({ "kty": "oct", "kid": "k1", "k": base64(signer.0.public_key().as_ref()) });
    assert!(matches!(verify(&forged, &keys(&[secret]), &EXPECTED), Err(TokenError::Bad(_))));
    let critical = signer.sign(&json!({ "alg": "ES256", "kid": "k1", "crit": ["x"], "x": 1 }), &claims(json!({})));
    assert!(matches!(judge(&critical), Err(TokenError::Bad(_))));
    let good = signer.token(json!({}));
    for cut in ["", ".", "..", "a.b.c", &good[..good.len() - 4], &format!("{good}.x"), &good.replace('.', "")] {
        assert!(judge(cut).is_err(), "{cut}");
    }
}

#[test]
fn a_key_is_found_by_its_id_and_a_new_one_is_missed() {
    let (old, new) = (Signer::new(), Signer::new());
    let token = |signer: &Signer, header: Value| signer.sign(&header, &claims(json!({})));
    let set = keys(&[
        json!({ "kty": "EC", "crv": "secp256k1", "kid": "k0", "x": "AA", "y": "AA" }),
        json!({ "kty": "new kind", "kid": "k2" }),
        json!(7),
        new.jwk(json!({ "kid": "k3", "use": "enc" })),
        old.jwk(json!({ "kid": "k1" })),
    ]);
    assert!(verify(&token(&old, json!({ "alg": "ES256", "kid": "k1" })), &set, &EXPECTED).is_ok());
    // Without an id every key is tried.
    assert!(verify(&token(&old, json!({ "alg": "ES256" })), &set, &EXPECTED).is_ok());
    // A key that is for encryption signs nothing; one that is not there may be new.
    for id in ["k3", "k4"] {
        assert_eq!(verify(&token(&new, json!({ "alg": "ES256", "kid": id })), &set, &EXPECTED).unwrap_err(), TokenError::NoKey);
    }
    let other_algorithm = keys(&[old.jwk(json!({ "kid": "k1", "alg": "ES384" }))]);
    assert_eq!(
        verify(&token(&old, json!({ "alg": "ES256", "kid": "k1" })), &other_algorithm, &EXPECTED).unwrap_err(),
        TokenError::NoKey
    );
    assert!(Keys::read(b"{}").is_err() && Keys::read(b"[]").is_err());
}

#[test]
fn keys_of_every_kind_verify() {
    let ed = Ed25519KeyPair::generate().unwrap();
    let ed_key = json!({ "kty": "OKP", "crv": "Ed25519", "x": base64(ed.public_key().as_ref()), "kid": "e" });
    let rsa = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let public = aws_lc_rs::rsa::PublicKeyComponents::<Vec<u8>>::from(rsa.public_key());
    let rsa_key = json!({ "kty": "RSA", "n": base64(public.n), "e": base64(public.e), "kid": "r" });
    let set = keys(&[ed_key, rsa_key]);
    let signed = |alg: &str, kid: &str| {
        let signed =
            format!("{}.{}", base64(json!({ "alg": alg, "kid": kid }).to_string()), base64(claims(json!({})).to_string()));
        let signature = match alg {
            "EdDSA" => ed.sign(signed.as_bytes()).as_ref().to_vec(),
            _ => {
                let mut signature = vec![0; rsa.public_modulus_len()];
                let padding: &'static dyn aws_lc_rs::signature::RsaEncoding =
                    if alg == "RS256" { &aws_lc_rs::signature::RSA_PKCS1_SHA256 } else { &aws_lc_rs::signature::RSA_PSS_SHA256 };
                rsa.sign(padding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
                signature
            }
        };
        format!("{signed}.{}", base64(signature))
    };
    for (alg, kid) in [("EdDSA", "e"), ("RS256", "r"), ("PS256", "r")] {
        assert!(verify(&signed(alg, kid), &set, &EXPECTED).is_ok(), "{alg}");
        let other = if kid == "e" { "r" } else { "e" };
        assert_eq!(
            verify(&signed(alg, other), &set, &EXPECTED).unwrap_err(),
            TokenError::NoKey,
            "{alg} with a key of another kind"
        );
    }
}
