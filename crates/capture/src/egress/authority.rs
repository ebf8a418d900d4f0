//! The authority that vouches for intercepted hosts: made once, kept by whoever has the keyring, trusted by the programs whose
//! operator installs its certificate.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lru::LruCache;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

/// How long the authority's certificate is good for. Whoever stops trusting it sooner removes it.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How long a host's certificate is good for, and how old it may get before a new one is made.
const LEAF_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// See [`LEAF_LIFETIME`].
const LEAF_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Clocks differ: certificates are good from this long ago on.
const CLOCK_SKEW: Duration = Duration::from_secs(24 * 60 * 60);

/// Hosts whose certificates are kept. They are few: only hosts of the operator's list get one.
const LEAVES_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Longest common name (RFC 5280, appendix A: ub-common-name).
const COMMON_NAME_BYTES_MAX: usize = 64;

/// Characters of a line of PEM (RFC 7468).
const PEM_LINE_CHARS: usize = 64;

/// An authority for intercepted hosts.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    /// One key for all leaves; it lives as long as the process.
    leaf_key: KeyPair,
    leaves: Mutex<LruCache<String, Leaf>>,
}

/// An authority as it is kept: whoever reads `key` can vouch for every host.
#[derive(Clone)]
pub struct Kept {
    /// The private key, PKCS #8 in DER.
    pub key: Zeroizing<Vec<u8>>,
    /// The certificate in DER.
    pub certificate: Vec<u8>,
}

struct Leaf {
    config: Arc<ServerConfig>,
    made: Instant,
}

/// Why there is no authority, or no certificate of it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Certificates cannot be made.
    #[error("certificates for intercepted hosts: {0}")]
    Certificate(#[from] rcgen::Error),
    /// There are no random numbers.
    #[error("certificates for intercepted hosts: the system's random generator gives nothing")]
    Random,
    /// TLS does not take them.
    #[error("TLS for intercepted hosts: {0}")]
    Tls(#[from] rustls::Error),
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(..)")
    }
}

impl Kept {
    /// Makes an authority.
    ///
    /// # Errors
    /// [`AuthorityError::Certificate`] where the system gives no random numbers.
    pub fn generate() -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = authority_params(&key).self_signed(&key)?;
        Ok(Self { key: Zeroizing::new(key.serialize_der()), certificate: certificate.der().to_vec() })
    }

    /// The certificate in PEM (RFC 7468), for those who are to trust it.
    #[must_use]
    pub fn pem(&self) -> String {
        let text = STANDARD.encode(&self.certificate);
        let lines = text.as_bytes().chunks(PEM_LINE_CHARS).map(String::from_utf8_lossy);
        let body = lines.map(|line| format!("{line}\n")).collect::<String>();
        format!("-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")
    }
}

impl Authority {
    /// The authority that is kept.
    ///
    /// # Errors
    /// [`AuthorityError::Certificate`] when the key is none.
    pub fn open(kept: &Kept) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(&kept.key[..]), &PKCS_ECDSA_P256_SHA256)?;
        Ok(Self {
            certificate: CertificateDer::from(kept.certificate.clone()),
            issuer: Issuer::new(authority_params(&key), key),
            leaf_key: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
            leaves: Mutex::new(LruCache::new(LEAVES_MAX)),
        })
    }

    /// The certificate, in DER.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What a server shows in the place of a host.
    pub(super) fn server_config(&self, host: &str) -> Result<Arc<ServerConfig>, AuthorityError> {
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves.get(host).filter(|leaf| leaf.made.elapsed() < LEAF_AGE_MAX) {
            return Ok(leaf.config.clone());
        }
        let config = Arc::new(self.make(host)?);
        leaves.put(host.to_owned(), Leaf { config: config.clone(), made: Instant::now() });
        Ok(config)
    }

    fn make(&self, host: &str) -> Result<ServerConfig, AuthorityError> {
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        if host.len() <= COMMON_NAME_BYTES_MAX {
            params.distinguished_name.push(DnType::CommonName, host);
        }
        // All leaves have one key, by which the library would number them: an issuer never gives a number twice.
        let mut serial = [0; 16];
        aws_lc_rs::rand::fill(&mut serial).map_err(|_| AuthorityError::Random)?;
        // A positive number (RFC 5280, section 4.1.2.2).
        serial[0] &= 0x7f;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let now = SystemTime::now();
        params.not_before = (now - CLOCK_SKEW).into();
        params.not_after = (now + LEAF_LIFETIME).into();
        let certificate = params.signed_by(&self.leaf_key, &self.issuer)?;
        let key = PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key.into())?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// What the authority's certificate says; the same for the same key.
fn authority_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let id = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.public_key_raw());
    params.distinguished_name = rcgen::DistinguishedName::new();
    // So that two installations have two names.
    let name = format!("Watchkeeper egress CA {}", event::hex::encode(&id.as_ref()[..4]));
    params.distinguished_name.push(DnType::CommonName, name);
    // Whom it vouches for, and nobody further down.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + AUTHORITY_LIFETIME).into();
    params
}

#[cfg(test)]
mod tests {
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::{ServerName, UnixTime};

    use super::*;

    fn leaf(config: &ServerConfig, host: &str) -> CertificateDer<'static> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let seen = Arc::new(Mutex::new(None));
        let client = client.dangerous().with_custom_certificate_verifier(Arc::new(Seeing(seen.clone()))).with_no_client_auth();
        let name = host.to_owned().try_into().unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = rustls::ServerConnection::new(Arc::new(config.clone())).unwrap();
        for _ in 0..4 {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut &wire[..]).unwrap();
            server.process_new_packets().unwrap();
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut wire = &wire[..];
            while !wire.is_empty() {
                client.read_tls(&mut wire).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        seen.lock().unwrap().take().unwrap()
    }

    /// Remembers the certificate.
    #[derive(Debug)]
    struct Seeing(Arc<Mutex<Option<CertificateDer<'static>>>>);

    impl rustls::client::danger::ServerCertVerifier for Seeing {
        fn verify_server_cert(
            &self,
            leaf: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            *self.0.lock().unwrap() = Some(leaf.clone().into_owned());
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }

    #[test]
    fn hosts_are_vouched_for_by_the_kept_authority_and_by_no_other() {
        let kept = Kept::generate().unwrap();
        // As after a restart: the certificate is the kept one, and its leaves go on being good.
        let authority = Authority::open(&kept).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = |kept: &Kept| {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from(kept.certificate.clone())).unwrap();
            rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap()
        };
        for host in ["api.example.com", "192.0.2.1"] {
            let leaf = leaf(&authority.server_config(host).unwrap(), host);
            let check = |kept: &Kept, name: &str| {
                verifier(kept).verify_server_cert(&leaf, &[], &name.to_owned().try_into().unwrap(), &[], UnixTime::now())
            };
            check(&kept, host).unwrap();
            assert!(check(&kept, "other.example.com").is_err());
            assert!(check(&Kept::generate().unwrap(), host).is_err());
        }
        let again = authority.server_config("api.example.com").unwrap();
        assert!(Arc::ptr_eq(&again, &authority.server_config("api.example.com").unwrap()));
        assert!(kept.pem().lines().all(|line| line.len() <= PEM_LINE_CHARS) && kept.pem().ends_with("END CERTIFICATE-----\n"));
        assert_eq!(format!("{kept:?}"), "Kept(..)");
    }

    #[test]
    fn hosts_that_come_and_go_do_not_pile_up() {
        let authority = Authority::open(&Kept::generate().unwrap()).unwrap();
        for number in 0..LEAVES_MAX.get() + 8 {
            authority.server_config(&format!("h{number}.example.com")).unwrap();
        }
        assert_eq!(authority.leaves.lock().unwrap().len(), LEAVES_MAX.get());
    }
}
