//! Values that two officers open together, and neither of them alone.
//!
//! ```text
//! key (256 random bits) ── AES-256-GCM ──> the values
//!   for each pair of officers i, j:   share of i with j = random,   share of j with i = key XOR that
//!   the shares of an officer          ── age (X25519) ──> her recipient
//! ```
//!
//! A share by itself is a random number: whoever has all shares of one officer knows nothing of the key (one-time pad), and two
//! shares of one officer are of two pairs and do not fit. Whoever seals has recipients only, which are public.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::KeysError;
use crate::root::read_age_identity;
use crate::secret::Secret;

/// Fewest officers, and how many it takes.
const OFFICERS_MIN: usize = 2;
/// Most officers: an envelope has a share for each pair.
const OFFICERS_MAX: usize = 8;
/// What the cipher of an envelope is bound to: its form's version.
const FORM: &[u8] = b"wkseal/1";
/// Bytes of the nonce before a ciphertext (NIST SP 800-38D).
const NONCE_BYTES: usize = 12;
/// Bytes of a share.
const SHARE_BYTES: usize = 32;
/// Bytes of SHA-256 over the ciphertext that name an envelope.
const ID_BYTES: usize = 16;

/// Why something cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Too few officers, or too many.
    #[error("recipients: {OFFICERS_MIN} to {OFFICERS_MAX} are needed, each of another officer")]
    Officers,
    /// Not a recipient.
    #[error("recipients, {0:?}: this is no age recipient (age1..., as age-keygen prints it)")]
    Recipient(String),
    /// The identity is nobody's who could approve.
    #[error("the identity is of {0}, for whom nothing here is sealed; use the identity of one of: {1}")]
    NotAnOfficer(String, String),
    /// The identity file cannot be used.
    #[error(
        "the identity {path}: {what}; it must be an age identity as age-keygen writes it, in a file that is yours alone (chmod 600)"
    )]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// The system's random generator fails.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// What was sealed is damaged, or was changed.
    #[error("what is sealed for {0} does not open: it was changed, or is damaged")]
    Damaged(String),
    /// One officer twice.
    #[error("both shares are of {0}; the approval of another officer is needed")]
    SameOfficer(String),
    /// A share is missing.
    #[error("the share of {0} is not of this request: have it approved anew")]
    NoShare(String),
    /// The shares do not open it.
    #[error("the shares do not open it: one was changed, or is of another request")]
    Shares,
    /// The library.
    #[error("age: {0}")]
    Age(String),
}

/// Those of whom two can open what is sealed.
#[derive(Debug, Clone)]
pub struct Officers(Vec<age::x25519::Recipient>);

/// Something sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The shares of the key, for each officer.
    pub to: Vec<ForOfficer>,
    /// Nonce and ciphertext, base64.
    sealed: String,
}

/// The shares of one officer: an age file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForOfficer {
    /// Her recipient.
    pub officer: String,
    /// Binary age file, base64. In it: her share with each of the others, in their order in the envelope.
    shares: String,
}

/// The shares of one officer, opened: with whom, and the share in base64. Of no use without another officer's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shares(BTreeMap<String, String>);

/// An officer, with the private half of her key.
pub struct Officer {
    identity: age::x25519::Identity,
    name: String,
}

impl Officers {
    /// The officers with these recipients (`age1...`).
    ///
    /// # Errors
    /// [`RecoveryError::Officers`], [`RecoveryError::Recipient`].
    pub fn parse(recipients: &[String]) -> Result<Self, RecoveryError> {
        let parse = |text: &String| text.trim().parse().map_err(|_| RecoveryError::Recipient(text.clone()));
        let all: Vec<age::x25519::Recipient> = recipients.iter().map(parse).collect::<Result<_, _>>()?;
        let mut names: Vec<String> = all.iter().map(ToString::to_string).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() != all.len() || !(OFFICERS_MIN..=OFFICERS_MAX).contains(&all.len()) {
            return Err(RecoveryError::Officers);
        }
        Ok(Self(all))
    }

    /// Seals bytes.
    ///
    /// # Errors
    /// [`KeysError::Random`], and what the library says.
    pub fn seal(&self, bytes: &[u8]) -> Result<Envelope, RecoveryError> {
        let key = Secret::random()?;
        let count = self.0.len();
        let mut shares = vec![Zeroizing::new(Vec::with_capacity(SHARE_BYTES * count)); count];
        // In the order of `other`, so that each officer has hers in the order of the others.
        for first in 0..count {
            for other in 0..first {
                let one = Secret::random()?;
                let two = xor(key.expose(), one.expose());
                // `other` comes before `first`: it gets its share with `first` behind those with whom `first` comes later.
                shares[first].extend_from_slice(one.expose());
                shares[other].extend_from_slice(&two[..]);
            }
        }
        let to = self.0.iter().zip(&shares).map(|(recipient, shares)| {
            let file = age::encrypt(recipient, shares).map_err(|error| RecoveryError::Age(error.to_string()))?;
            Ok(ForOfficer { officer: recipient.to_string(), shares: STANDARD.encode(file) })
        });
        Ok(Envelope { to: to.collect::<Result<_, RecoveryError>>()?, sealed: STANDARD.encode(encrypt(&key, FORM, bytes)?) })
    }
}

impl Envelope {
    /// Names the envelope: the beginning of SHA-256 over its ciphertext.
    #[must_use]
    pub fn id(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.sealed.as_bytes());
        event::hex::encode(digest.as_ref().get(..ID_BYTES).unwrap_or_default())
    }

    /// Opens it with the shares of two officers.
    ///
    /// # Errors
    /// [`RecoveryError::SameOfficer`], [`RecoveryError::NoShare`], [`RecoveryError::Shares`].
    pub fn open(&self, one: (&str, &Shares), two: (&str, &Shares)) -> Result<Zeroizing<Vec<u8>>, RecoveryError> {
        if one.0 == two.0 {
            return Err(RecoveryError::SameOfficer(one.0.to_owned()));
        }
        let share = |of: (&str, &Shares), with: &str| {
            let share = of.1.0.get(with).and_then(|share| STANDARD.decode(share).ok()).map(Zeroizing::new);
            share.and_then(|share| Secret::from_slice(&share)).ok_or_else(|| RecoveryError::NoShare(of.0.to_owned()))
        };
        let key = Secret::new(*xor(share(one, two.0)?.expose(), share(two, one.0)?.expose()));
        let sealed = STANDARD.decode(&self.sealed).map_err(|_| RecoveryError::Shares)?;
        decrypt(&key, FORM, &sealed).ok_or(RecoveryError::Shares)
    }
}

impl Officer {
    /// Reads an age identity from its file.
    ///
    /// # Errors
    /// [`RecoveryError::Identity`], also where others can read it.
    pub fn read(path: &Path) -> Result<Self, RecoveryError> {
        let identity = read_age_identity(path).map_err(|error| {
            let what = match error {
                KeysError::NoRoot(_) => "there is no such file".to_owned(),
                KeysError::Permissions { mode, .. } => format!("others can read it (mode {mode:03o})"),
                KeysError::RootForm { reason, .. } => reason.to_owned(),
                other => other.to_string(),
            };
            RecoveryError::Identity { path: path.to_owned(), what }
        })?;
        Ok(Self::new(identity))
    }

    fn new(identity: age::x25519::Identity) -> Self {
        let name = identity.to_public().to_string();
        Self { identity, name }
    }

    /// Her recipient.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Opens her shares of an envelope.
    ///
    /// # Errors
    /// [`RecoveryError::NotAnOfficer`], [`RecoveryError::Damaged`].
    pub fn shares(&self, to: &[ForOfficer]) -> Result<Shares, RecoveryError> {
        let names = || to.iter().map(|one| one.officer.as_str());
        let Some(mine) = to.iter().find(|one| one.officer == self.name) else {
            return Err(RecoveryError::NotAnOfficer(self.name.clone(), names().collect::<Vec<_>>().join(", ")));
        };
        let damaged = || RecoveryError::Damaged(self.name.clone());
        let file = STANDARD.decode(&mine.shares).map_err(|_| damaged())?;
        let opened = Zeroizing::new(age::decrypt(&self.identity, &file).map_err(|_| damaged())?);
        if opened.len() != SHARE_BYTES * (to.len() - 1) {
            return Err(damaged());
        }
        let others = names().filter(|name| *name != self.name);
        let shares = others.zip(opened.chunks_exact(SHARE_BYTES));
        Ok(Shares(shares.map(|(name, share)| (name.to_owned(), STANDARD.encode(share))).collect()))
    }
}

/// Encrypts bytes under a key of their own or of somebody (AES-256-GCM, random nonce before the ciphertext).
///
/// # Errors
/// [`KeysError::Random`].
pub fn encrypt(key: &Secret, bound_to: &[u8], bytes: &[u8]) -> Result<Vec<u8>, KeysError> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key.expose()).map_err(|_| KeysError::Random)?;
    let mut text = bytes.to_vec();
    let nonce = key.seal_in_place_append_tag(Aad::from(bound_to), &mut text).map_err(|_| KeysError::Random)?;
    Ok([nonce.as_ref().as_slice(), &text].concat())
}

/// What [`encrypt`] gave, decrypted; `None` when it was changed, or is of another key or bound to something else.
#[must_use]
pub fn decrypt(key: &Secret, bound_to: &[u8], bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = bytes.split_first_chunk::<NONCE_BYTES>()?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, key.expose()).ok()?;
    let mut text = Zeroizing::new(text.to_vec());
    let len = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(bound_to), &mut text).ok()?.len();
    text.truncate(len);
    Some(text)
}

fn xor(a: &[u8; SHARE_BYTES], b: &[u8; SHARE_BYTES]) -> Zeroizing<[u8; SHARE_BYTES]> {
    let mut out = Zeroizing::new([0; SHARE_BYTES]);
    for (to, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *to = a ^ b;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn officers(count: usize) -> (Vec<Officer>, Officers) {
        let people: Vec<Officer> = (0..count).map(|_| Officer::new(age::x25519::Identity::generate())).collect();
        let names: Vec<String> = people.iter().map(|one| one.name.clone()).collect();
        (people, Officers::parse(&names).unwrap())
    }

    #[test]
    fn any_two_open_it_and_nobody_alone() {
        for count in [2, 3, 5] {
            let (people, officers) = officers(count);
            let envelope = officers.seal(b"ann@example.com").unwrap();
            let envelope: Envelope = serde_json::from_str(&serde_json::to_string(&envelope).unwrap()).unwrap();
            let shares: Vec<Shares> = people.iter().map(|one| one.shares(&envelope.to).unwrap()).collect();
            for (i, one) in people.iter().enumerate() {
                for (j, two) in people.iter().enumerate() {
                    let opened = envelope.open((&one.name, &shares[i]), (&two.name, &shares[j]));
                    if i == j {
                        assert!(matches!(opened, Err(RecoveryError::SameOfficer(_))));
                        // Under another's name, her own shares do not fit either.
                        let other = &people[(i + 1) % count].name;
                        assert!(envelope.open((&one.name, &shares[i]), (other, &shares[i])).is_err());
                    } else {
                        assert_eq!(&**opened.unwrap(), b"ann@example.com");
                    }
                }
            }
        }
    }

    #[test]
    fn shares_of_another_envelope_and_changes_are_refused() {
        let (people, officers) = officers(2);
        let (first, second) = (officers.seal(b"one").unwrap(), officers.seal(b"one").unwrap());
        assert_ne!(first.id(), second.id());
        let of = |envelope: &Envelope, who: usize| people[who].shares(&envelope.to).unwrap();
        let open = |envelope: &Envelope, a: &Shares, b: &Shares| envelope.open((&people[0].name, a), (&people[1].name, b));
        assert!(matches!(open(&first, &of(&second, 0), &of(&first, 1)), Err(RecoveryError::Shares)));
        assert!(matches!(open(&first, &of(&second, 0), &of(&second, 1)), Err(RecoveryError::Shares)));
        let mut sealed = STANDARD.decode(&first.sealed).unwrap();
        for at in 0..sealed.len() {
            sealed[at] ^= 1;
            let changed = Envelope { sealed: STANDARD.encode(&sealed), ..first.clone() };
            assert!(open(&changed, &of(&first, 0), &of(&first, 1)).is_err());
            sealed[at] ^= 1;
        }
        let stranger = Officer::new(age::x25519::Identity::generate());
        assert!(matches!(stranger.shares(&first.to), Err(RecoveryError::NotAnOfficer(..))));
        let mut taken = first.to.clone();
        taken[0].officer.clone_from(&stranger.name);
        assert!(matches!(stranger.shares(&taken), Err(RecoveryError::Damaged(_))));
    }

    #[test]
    fn officers_are_two_to_eight_different_people() {
        let name = || age::x25519::Identity::generate().to_public().to_string();
        let (a, b) = (name(), name());
        assert!(matches!(Officers::parse(std::slice::from_ref(&a)), Err(RecoveryError::Officers)));
        assert!(matches!(Officers::parse(&[a.clone(), a.clone()]), Err(RecoveryError::Officers)));
        assert!(matches!(Officers::parse(&(0..9).map(|_| name()).collect::<Vec<_>>()), Err(RecoveryError::Officers)));
        assert!(matches!(Officers::parse(&[a.clone(), "bo".to_owned()]), Err(RecoveryError::Recipient(_))));
        Officers::parse(&[a, b]).unwrap();
    }
}
