use std::path::Path;
use std::process::Command;

use super::*;

const TEXT: &[u8] = b"example.com/log\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

/// An authority made with OpenSSL: a root, an intermediate, and certificates for and not for time stamps.
struct Authority {
    dir: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let authority = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::write(
            authority.path("tsa.cnf"),
            "[tsa]\ndefault_tsa=t\n[t]\nserial=serial\ndefault_policy=1.2.3.4\ndigests=sha256,sha512\n\
             signer_digest=sha256\nordering=no\ntsa_name=yes\ness_cert_id_chain=no\n\
             [ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n\
             [good]\nextendedKeyUsage=critical,timeStamping\n\
             [lax]\nextendedKeyUsage=timeStamping\n[two]\nextendedKeyUsage=critical,timeStamping,clientAuth\n",
        )
        .unwrap();
        std::fs::write(authority.path("serial"), "01\n").unwrap();
        authority.key("root", "ec -pkeyopt ec_paramgen_curve:P-256");
        authority.openssl("req -x509 -new -key root.key -subj /CN=root -days 30 -out root.pem -config /dev/null -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign");
        authority.certificate("middle", "ec -pkeyopt ec_paramgen_curve:P-384", "root", "ca");
        authority
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(self.dir.path()).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn key(&self, name: &str, kind: &str) {
        let kind = kind.replace("ec ", "EC ").replace("rsa ", "RSA ");
        self.openssl(&format!("genpkey -out {name}.key -algorithm {kind}"));
    }

    fn certificate(&self, name: &str, kind: &str, issuer: &str, section: &str) {
        self.key(name, kind);
        self.openssl(&format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr -config /dev/null"));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -days 30 -extfile tsa.cnf -extensions {section} -out {name}.pem"
        ));
    }

    fn stamp(&self, request: &TimestampRequest, signer: &str, more: &str) -> Vec<u8> {
        std::fs::write(self.path("q.tsq"), request.encode()).unwrap();
        self.openssl(&format!(
            "ts -reply -queryfile q.tsq -config tsa.cnf -signer {signer}.pem -inkey {signer}.key -chain middle.pem -out a.tsr{more}"
        ));
        std::fs::read(self.path("a.tsr")).unwrap()
    }

    fn roots(&self, name: &str) -> TsaRoots {
        TsaRoots::from_pem(&std::fs::read(self.path(&format!("{name}.pem"))).unwrap()).unwrap()
    }
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn stamps_by_openssl_verify_here_and_there_for_each_kind_of_key() {
    let authority = Authority::new();
    for (name, kind) in [
        ("p256", "ec -pkeyopt ec_paramgen_curve:P-256"),
        ("p384", "ec -pkeyopt ec_paramgen_curve:P-384"),
        ("rsa", "rsa -pkeyopt rsa_keygen_bits:2048"),
    ] {
        authority.certificate(name, kind, "middle", "good");
        for more in ["", " -sha512"] {
            let request = TimestampRequest::new(TEXT).unwrap();
            let answer = authority.stamp(&request, name, more);
            request.check(&answer).unwrap();
            let stamped = verify_timestamp(&answer, TEXT, &authority.roots("root")).unwrap();
            assert!(stamped.time.abs_diff(now()) < 600, "{stamped:?}");
            assert_eq!(claimed_time(&answer, TEXT), Ok(stamped.time));
            std::fs::write(authority.path("text"), TEXT).unwrap();
            authority.openssl("ts -verify -data text -in a.tsr -CAfile root.pem");
            authority.openssl("ts -verify -queryfile q.tsq -in a.tsr -CAfile root.pem");
        }
    }
    openssl_asks(&authority);
}

/// A request by OpenSSL without nonce is answered, too; it is not ours.
fn openssl_asks(authority: &Authority) {
    std::fs::write(authority.path("text"), TEXT).unwrap();
    authority.openssl("ts -query -data text -sha256 -no_nonce -cert -out q.tsq");
    authority.openssl("ts -reply -queryfile q.tsq -config tsa.cnf -signer p256.pem -inkey p256.key -chain middle.pem -out a.tsr");
    let answer = std::fs::read(authority.path("a.tsr")).unwrap();
    assert!(verify_timestamp(&answer, TEXT, &authority.roots("root")).is_ok());
    assert_eq!(TimestampRequest::new(TEXT).unwrap().check(&answer), Err(TimestampError::Nonce));
}

#[test]
fn another_text_nonce_root_purpose_or_bit_is_refused() {
    let authority = Authority::new();
    let ec = "ec -pkeyopt ec_paramgen_curve:P-256";
    authority.certificate("good", ec, "middle", "good");
    let roots = authority.roots("root");
    let request = TimestampRequest::new(TEXT).unwrap();
    let answer = authority.stamp(&request, "good", "");
    assert!(verify_timestamp(&answer, TEXT, &roots).is_ok());
    assert_eq!(verify_timestamp(&answer, b"other", &roots), Err(TimestampError::Imprint));
    assert_eq!(TimestampRequest::new(TEXT).unwrap().check(&answer), Err(TimestampError::Nonce));
    assert_eq!(TimestampRequest::new(b"other").unwrap().check(&answer), Err(TimestampError::Imprint));
    // Another root of the same name.
    let other = Authority::new();
    assert!(matches!(verify_timestamp(&answer, TEXT, &other.roots("root")), Err(TimestampError::Untrusted(_))));
    // Without the intermediate nothing leads to the root.
    std::fs::write(authority.path("none.pem"), std::fs::read(authority.path("good.pem")).unwrap()).unwrap();
    authority.openssl("ts -reply -queryfile q.tsq -config tsa.cnf -signer good.pem -inkey good.key -out b.tsr");
    let short = std::fs::read(authority.path("b.tsr")).unwrap();
    assert!(matches!(verify_timestamp(&short, TEXT, &roots), Err(TimestampError::Untrusted(_))));
    // Every bit counts but those of the status text and of what no rule speaks of: a change is refused or changes nothing.
    let good = verify_timestamp(&answer, TEXT, &roots).unwrap();
    let mut refused = 0;
    for index in 0..answer.len() {
        let mut changed = answer.clone();
        changed[index] ^= 1;
        match verify_timestamp(&changed, TEXT, &roots) {
            Ok(stamped) => assert_eq!(stamped, good, "byte {index}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused * 10 > answer.len() * 7, "{refused} of {}", answer.len());
    for length in 0..answer.len() {
        assert!(verify_timestamp(&answer[..length], TEXT, &roots).is_err());
    }
    assert!(verify_timestamp(&[answer.as_slice(), &[0]].concat(), TEXT, &roots).is_err());
}

#[test]
fn stamps_of_a_ledger_are_verified_and_demanded() {
    use crate::ledger::tests::{records, sealed};
    use crate::verify::{Trust, verify_memory_against};
    let authority = Authority::new();
    authority.certificate("good", "ec -pkeyopt ec_paramgen_curve:P-256", "middle", "good");
    let good = records(6);
    let dir = sealed(&good, &[2, 6]);
    let verify = |roots: Option<&str>| {
        let trust = Trust { tsa_roots: roots.map(|roots| authority.roots(roots)), ..Trust::default() };
        verify_memory_against(dir.path(), &good, &trust).unwrap()
    };
    let report = verify(Some("root"));
    assert!(report.fault.is_none() && report.unmet.len() == 1 && report.unmet[0].contains("no time stamp"), "{:?}", report.unmet);
    let note = crate::published_checkpoint(dir.path()).unwrap().unwrap();
    let kept = crate::history_form(note.encode().as_bytes()).unwrap();
    let answer = authority.stamp(&TimestampRequest::new(kept.as_bytes()).unwrap(), "good", "");
    crate::publish_timestamp(dir.path(), 6, &answer).unwrap();
    let report = verify(Some("root"));
    assert_eq!((report.fault, report.unmet.len(), report.timestamps, report.timestamped.unwrap().0), (None, 0, 1, 6));
    let report = verify(None);
    assert!(report.fault.is_none() && report.notes[0].contains("--tsa-roots"), "{:?}", report.notes);
    assert!(verify(Some("middle")).fault.is_none(), "an intermediate may be what is trusted");
    let other = Authority::new();
    let trust = Trust { tsa_roots: Some(other.roots("root")), ..Trust::default() };
    let report = verify_memory_against(dir.path(), &good, &trust).unwrap();
    assert!(report.fault.is_none() && report.timestamps == 0, "one of a stranger counts for nothing, and nobody changed it");
    assert!(report.unmet.iter().any(|unmet| unmet.contains("ledger/timestamps/6.tsr")), "{:?}", report.unmet);
    // The stamp of one checkpoint under the name of another, and of none.
    for (size, what) in [(2, "another text"), (3, "none of that size")] {
        crate::publish_timestamp(dir.path(), size, &answer).unwrap();
        let fault = verify(Some("root")).fault.unwrap();
        assert!(fault.what.contains(what) && fault.place.ends_with(&format!("{size}.tsr")), "{fault}");
        std::fs::remove_file(dir.path().join(format!("ledger/timestamps/{size}.tsr"))).unwrap();
    }
    std::fs::write(dir.path().join("ledger/timestamps/06.tsr"), answer).unwrap();
    assert!(verify(None).fault.unwrap().what.contains("unexpected"));
}

#[test]
fn refusals_and_nonsense_are_told_apart() {
    let refusal = write(SEQUENCE, &write(SEQUENCE, &write(INTEGER, &[2])));
    assert_eq!(claimed_time(&refusal, TEXT), Err(TimestampError::Refused(2)));
    assert!(matches!(
        claimed_time(&write(SEQUENCE, &write(SEQUENCE, &write(INTEGER, &[0]))), TEXT),
        Err(TimestampError::Form(_))
    ));
    assert!(matches!(claimed_time(b"", TEXT), Err(TimestampError::Form(_))));
    assert!(matches!(TsaRoots::from_pem(b"no certificate"), Err(TimestampError::Roots(_))));
    assert!(!is_for_time_stamps_alone(b"", TIME_STAMPING));
    assert!(Path::new("/usr/bin/openssl").exists(), "the tests above need OpenSSL's command (apt-get install openssl)");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::prelude::any::<Vec<u8>>()) {
        let _ = claimed_time(&bytes, TEXT);
        let _ = is_for_time_stamps_alone(&bytes, TIME_STAMPING);
    }
}
