//! Time stamps by others: RFC 3161 requests, and offline verification of the answers (RFC 5652, RFC 5816) down to trusted roots.

mod der;
mod stamp;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, aws_lc_rs as algorithms};

use self::der::{INTEGER, NULL, OCTET_STRING, OID, SEQUENCE, write, write_unsigned};
use self::stamp::{CertificateId, Digest, Stamp, is_for_time_stamps_alone};
use crate::tree::{Hash, sha256};

/// Longest answer: a token with its certificates.
pub const TIMESTAMP_BYTES_MAX: usize = 64 * 1024;

/// Most certificates that an answer brings.
const CERTIFICATES_MAX: usize = 16;

/// Most roots that a verifier trusts.
const ROOTS_MAX: usize = 1024;

/// 1.3.6.1.5.5.7.3.8, id-kp-timeStamping.
const TIME_STAMPING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];

/// 2.16.840.1.101.3.4.2.1, SHA-256.
const SHA_256_OID: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];

/// What an authority is asked: put a time on this hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampRequest {
    imprint: Hash,
    nonce: u64,
}

/// What a verified time stamp says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamped {
    /// When the authority saw the note, in seconds since 1970.
    pub time: u64,
    /// The subject of its certificate, as the hex of SHA-256 over the certificate: it names exactly one.
    pub certificate: String,
}

/// The authorities that a verifier trusts.
#[derive(Debug, Clone, Default)]
pub struct TsaRoots(Vec<TrustAnchor<'static>>);

/// Why an answer is no time stamp of the note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// The roots.
    #[error("roots of time-stamping authorities: {0}")]
    Roots(String),
    /// The library gave no random number.
    #[error("time stamp: the system gives no random numbers")]
    Random,
    /// The authority refused.
    #[error("time stamp: the authority refused it (status {0}, RFC 3161 section 2.4.2)")]
    Refused(u64),
    /// The form.
    #[error("time stamp: {0}")]
    Form(&'static str),
    /// It is of something else.
    #[error("time stamp is of another text than this checkpoint")]
    Imprint,
    /// It answers another request.
    #[error("time stamp answers another request: the nonce differs")]
    Nonce,
    /// The signature, by the certificate that it brings.
    #[error("time stamp: its signature does not verify")]
    Signature,
    /// The chain.
    #[error("time stamp is not signed by a trusted authority: {0}")]
    Untrusted(String),
}

impl TimestampError {
    /// Whether nothing is wrong with the time stamp: it is not of an authority whose root was given.
    #[must_use]
    pub fn is_unmet(&self) -> bool {
        matches!(self, Self::Untrusted(_))
    }
}

impl TimestampRequest {
    /// A request for the time of a text, such as a checkpoint.
    pub fn new(text: &[u8]) -> Result<Self, TimestampError> {
        let mut nonce = [0; 8];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| TimestampError::Random)?;
        Ok(Self { imprint: sha256(text), nonce: u64::from_be_bytes(nonce) })
    }

    /// The body of the HTTP request, of the type `application/timestamp-query`. The certificate is asked for, so that the answer
    /// stands alone.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let algorithm = write(SEQUENCE, &[write(OID, SHA_256_OID), write(NULL, &[])].concat());
        let imprint = write(SEQUENCE, &[algorithm, write(OCTET_STRING, &self.imprint)].concat());
        let certificate = write(der::BOOLEAN, &[0xff]);
        write(SEQUENCE, &[write(INTEGER, &[1]), imprint, write_unsigned(self.nonce), certificate].concat())
    }

    /// Reads the answer to this request: granted, over the same hash, with the same nonce. Who signed it is for
    /// [`verify_timestamp`].
    pub fn check(&self, answer: &[u8]) -> Result<(), TimestampError> {
        let stamp = Stamp::parse(answer)?;
        if stamp.imprint != self.imprint {
            return Err(TimestampError::Imprint);
        }
        let nonce = write_unsigned(self.nonce);
        if stamp.nonce.is_some_and(|answered| answered == &nonce[2..]) { Ok(()) } else { Err(TimestampError::Nonce) }
    }
}

impl TsaRoots {
    /// Reads certificates in PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TimestampError> {
        let mut roots = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| TimestampError::Roots(error.to_string()))?;
            let anchor = webpki::anchor_from_trusted_cert(&certificate);
            roots.push(anchor.map_err(|error| TimestampError::Roots(error.to_string()))?.to_owned());
            if roots.len() > ROOTS_MAX {
                return Err(TimestampError::Roots(format!("there are more than {ROOTS_MAX}")));
            }
        }
        if roots.is_empty() { Err(TimestampError::Roots("there is no certificate in PEM".to_owned())) } else { Ok(Self(roots)) }
    }
}

/// The time that an answer states for the text, in seconds since 1970; who says so is not verified.
pub fn claimed_time(answer: &[u8], text: &[u8]) -> Result<u64, TimestampError> {
    let stamp = Stamp::parse(answer)?;
    if stamp.imprint == sha256(text) { Ok(stamp.time) } else { Err(TimestampError::Imprint) }
}

/// Verifies offline that an authority under one of the roots put a time on the text: status, imprint, content type and digest of
/// what it signed, its signature by the certificate that the signed attributes name, that this certificate is for time stamps
/// alone, and its chain at the time stated.
pub fn verify_timestamp(answer: &[u8], text: &[u8], roots: &TsaRoots) -> Result<Timestamped, TimestampError> {
    let stamp = Stamp::parse(answer)?;
    if stamp.imprint != sha256(text) {
        return Err(TimestampError::Imprint);
    }
    if stamp.digest.of(stamp.content) != stamp.message_digest {
        return Err(TimestampError::Form("the signed attributes have the digest of another content"));
    }
    if stamp.certificates.len() > CERTIFICATES_MAX {
        return Err(TimestampError::Form("it has more than 16 certificates"));
    }
    let named = |certificate: &&[u8]| match &stamp.certificate {
        CertificateId::V1(hash) => digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate).as_ref() == *hash,
        CertificateId::V2(digest, hash) => digest.of(certificate) == *hash,
    };
    let signer = stamp.certificates.iter().copied().find(named);
    let signer = signer.ok_or(TimestampError::Form("the certificate that its attributes name is not in it"))?;
    if !is_for_time_stamps_alone(signer, TIME_STAMPING) {
        return Err(TimestampError::Untrusted("its certificate is not for time stamps alone (RFC 3161, section 2.3)".to_owned()));
    }
    let untrusted = |error: webpki::Error| TimestampError::Untrusted(error.to_string());
    let der = CertificateDer::from(signer);
    let certificate = EndEntityCert::try_from(&der).map_err(untrusted)?;
    let good = algorithms_of(stamp.digest)
        .iter()
        .any(|algorithm| certificate.verify_signature(*algorithm, &stamp.signed_attributes, stamp.signature).is_ok());
    if !good {
        return Err(TimestampError::Signature);
    }
    let intermediates: Vec<CertificateDer<'_>> = stamp.certificates.iter().map(|other| CertificateDer::from(*other)).collect();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(stamp.time));
    let all = webpki::ALL_VERIFICATION_ALGS;
    certificate.verify_for_usage(all, &roots.0, &intermediates, time, TimeStampingIfAny, None, None).map_err(untrusted)?;
    let name = event::hex::encode(&sha256(signer));
    Ok(Timestamped { time: stamp.time, certificate: name })
}

type Algorithms = &'static [&'static dyn SignatureVerificationAlgorithm];

static WITH_SHA_256: Algorithms = &[
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P384_SHA256,
];

static WITH_SHA_384: Algorithms = &[
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA384,
];

static WITH_SHA_512: Algorithms = &[
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
    algorithms::ECDSA_P256_SHA512,
    algorithms::ECDSA_P384_SHA512,
    algorithms::ECDSA_P521_SHA512,
    algorithms::ED25519,
];

/// Each of these fits one kind of key; the others refuse it.
fn algorithms_of(digest: Digest) -> Algorithms {
    match digest {
        Digest::Sha256 => WITH_SHA_256,
        Digest::Sha384 => WITH_SHA_384,
        Digest::Sha512 => WITH_SHA_512,
    }
}

/// An authority above the signer that names purposes must name this one; the signer itself is checked more strictly before.
struct TimeStampingIfAny;

impl ExtendedKeyUsageValidator for TimeStampingIfAny {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        webpki::KeyUsage::required_if_present(TIME_STAMPING).validate(purposes)
    }
}

#[cfg(test)]
#[path = "timestamp_tests.rs"]
mod tests;
