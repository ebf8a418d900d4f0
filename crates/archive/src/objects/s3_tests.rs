use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ledger::public::{PlaceError, PublicFiles as _, PublicPlace as _};

use super::*;
use crate::objects::PublicBucket;
use crate::objects::s3::tests::moto::Moto;

#[path = "moto.rs"]
mod moto;

impl Moto {
    fn config(&self, bucket: &str, lock: Option<LockMode>) -> S3Config {
        S3Config {
            bucket: bucket.to_owned(),
            region: "eu-central-1".to_owned(),
            endpoint: Some(self.endpoint.clone()),
            prefix: "tenant/one".to_owned(),
            lock,
            credentials: None,
            roots: None,
        }
    }

    fn open(&self, bucket: &str, lock: Option<LockMode>) -> S3Objects {
        S3Objects::with_access_key(self.config(bucket, lock), &self.key, &self.secret).unwrap()
    }
}

fn object(text: &str) -> (ObjectName, Bytes) {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    (ObjectName::Segment(Digest::of(&bytes)), bytes)
}

fn in_a_day() -> Timestamp {
    Timestamp::from_unix_ns(Timestamp::now().unix_ns() + 86_400_000_000_000)
}

/// One server for all: it takes seconds to start.
#[test]
fn objects_in_a_bucket() {
    let server = Moto::start();
    put_once_and_read_back(&server);
    locked_objects_stay(&server);
    holds_are_set_and_lifted(&server);
    a_delete_marker_or_a_forged_version_changes_nothing(&server);
    wrong_credentials_and_buckets_without_a_lock_are_told(&server);
    the_archive_lives_in_a_bucket(&server);
    of_two_who_put_a_public_file_the_second_is_told(&server);
}

fn of_two_who_put_a_public_file_the_second_is_told(server: &Moto) {
    server.boto("bucket", &["logs", "plain"]);
    let dir = tempfile::tempdir().unwrap();
    let credentials = dir.path().join("credentials");
    let text = format!("[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n", server.key, server.secret);
    files::write_new(&credentials, text.as_bytes(), 0o600).unwrap();
    let config = S3Config { credentials: Some(credentials), ..server.config("logs", None) };
    let place = PublicBucket::open(config.clone()).unwrap();
    let changed = Err(PlaceError::Changed("checkpoint".to_owned()));
    let now = || place.get("checkpoint", 10).unwrap();
    assert_eq!(place.exchange("checkpoint", Some(b"a"), b"b"), changed);
    place.exchange("checkpoint", None, b"a").unwrap();
    assert_eq!(
        (place.exchange("checkpoint", None, b"b"), place.exchange("checkpoint", Some(b"aa"), b"b")),
        (changed.clone(), changed)
    );
    place.exchange("checkpoint", Some(b"a"), b"b").unwrap();
    assert_eq!(now().as_deref(), Some(&b"b"[..]));

    // Somebody puts another one between the look and the put.
    for (before, name) in [(None, "keys"), (Some(&b"b"[..]), "checkpoint")] {
        let key = format!("tenant/one/{name}");
        let (endpoint, did) = before_the_first_put(server, &key);
        let raced = PublicBucket::open(S3Config { endpoint: Some(endpoint), ..config.clone() }).unwrap();
        assert_eq!(raced.exchange(name, before, b"ours"), Err(PlaceError::Changed(name.to_owned())));
        assert!(did.load(Ordering::SeqCst), "nobody came between");
        assert_eq!(place.get(name, 10).unwrap().as_deref(), Some(&b"theirs"[..]));
    }
}

/// A server in front of moto that, before it passes on the first request to put something, puts something there itself. Gives its
/// address, and whether it did.
fn before_the_first_put(server: &Moto, key: &str) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let moto = server.endpoint.trim_start_matches("http://").to_owned();
    let config = S3Config { prefix: String::new(), ..server.config("logs", None) };
    let other = S3Objects::with_access_key(config, &server.key, &server.secret).unwrap();
    let (key, did) = (key.to_owned(), Arc::new(AtomicBool::new(false)));
    let has_done = did.clone();
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut server = TcpStream::connect(&moto).unwrap();
            let mut request = request_of(&mut client);
            if request.starts_with(b"PUT ") && !has_done.swap(true, Ordering::SeqCst) {
                let put = Ask::new(Method::PUT, &key).body(Bytes::from_static(b"theirs"));
                assert!(other.send(put).unwrap().status.is_success());
            }
            // One request a connection, so that each passes here.
            let line = request.windows(2).position(|window| window == b"\r\n").unwrap();
            request.splice(line..line, *b"\r\nconnection: close");
            server.write_all(&request).unwrap();
            std::io::copy(&mut server, &mut client).unwrap();
        }
    });
    (address, did)
}

/// The bytes of one HTTP/1.1 request.
fn request_of(client: &mut TcpStream) -> Vec<u8> {
    let (mut request, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        let read = client.read(&mut bytes).unwrap();
        request.extend_from_slice(&bytes[..read]);
        let head = request.windows(4).position(|window| window == b"\r\n\r\n");
        let length = head.map(|head| {
            let head = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
            head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0)
        });
        if read == 0 || head.zip(length).is_some_and(|(head, length)| request.len() >= head + 4 + length) {
            return request;
        }
    }
}

fn put_once_and_read_back(server: &Moto) {
    server.boto("bucket", &["plain", "plain"]);
    let objects = server.open("plain", None);
    let (name, bytes) = object("one");
    assert_eq!(objects.get(&name, None, 10).unwrap(), None);
    assert_eq!(objects.put(&name, &bytes, None).unwrap(), Put { version: None });
    assert_eq!(objects.put(&name, &bytes, None).unwrap(), Put { version: None });
    assert!(matches!(objects.put(&name, &Bytes::from_static(b"two"), None), Err(ObjectError::Exists(_))));
    assert_eq!(objects.get(&name, None, 3).unwrap(), Some(bytes.clone()));
    assert!(matches!(objects.get(&name, None, 2), Err(ObjectError::TooLarge { .. })));
    assert_eq!(objects.list(10).unwrap(), [name.to_string()]);
    assert!(objects.list(0).is_err());
    // AWS's own library finds it, under the prefix.
    let key = format!("tenant/one/{name}");
    assert_eq!(server.boto("objects", &["plain"]), serde_json::json!([key]));
    assert_eq!(server.boto("get", &["plain", &key]), serde_json::json!("6f6e65"));
    assert!(objects.delete(&name, None).unwrap() && objects.delete(&name, None).unwrap());
    assert_eq!(objects.get(&name, None, 10).unwrap(), None);
    // From within another runtime, too.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let inner = server.open("plain", None);
        inner.put(&name, &bytes, None).unwrap();
    });
    let large = Bytes::from(vec![7; 9 * 1024 * 1024]);
    let name = ObjectName::Segment(Digest::of(&large));
    objects.put(&name, &large, None).unwrap();
    assert_eq!(objects.get(&name, None, large.len() as u64).unwrap(), Some(large));
}

fn locked_objects_stay(server: &Moto) {
    server.boto("bucket", &["worm", "locked"]);
    for (mode, shown) in [(LockMode::Compliance, "COMPLIANCE"), (LockMode::Governance, "GOVERNANCE")] {
        let objects = server.open("worm", Some(mode));
        let (name, bytes) = object(shown);
        let until = in_a_day();
        let version = objects.put(&name, &bytes, Some(until)).unwrap().version.unwrap();
        let protection = objects.protection(&name, Some(&version)).unwrap();
        assert!(protection.locked_until.unwrap() >= until && !protection.held);
        assert!(!objects.delete(&name, Some(&version)).unwrap());
        let key = format!("tenant/one/{name}");
        assert_eq!(server.boto("head", &["worm", &key, &version])["ObjectLockMode"], shown);
        assert_eq!(server.boto("delete-version", &["worm", &key, &version]), "AccessDenied");
        assert_eq!(objects.get(&name, Some(&version), 100).unwrap(), Some(bytes));
    }
}

fn holds_are_set_and_lifted(server: &Moto) {
    let objects = server.open("worm", Some(LockMode::Governance));
    let (name, bytes) = object("held");
    let version = objects.put(&name, &bytes, None).unwrap().version.unwrap();
    objects.hold(&name, Some(&version), true).unwrap();
    assert!(objects.protection(&name, Some(&version)).unwrap().held);
    assert!(!objects.delete(&name, Some(&version)).unwrap());
    assert_eq!(server.boto("delete-version", &["worm", &format!("tenant/one/{name}"), &version]), "AccessDenied");
    objects.hold(&name, Some(&version), false).unwrap();
    assert!(objects.delete(&name, Some(&version)).unwrap());
    assert_eq!(objects.get(&name, Some(&version), 100).unwrap(), None);
}

fn a_delete_marker_or_a_forged_version_changes_nothing(server: &Moto) {
    let objects = server.open("worm", Some(LockMode::Compliance));
    let (name, bytes) = object("evidence");
    let version = objects.put(&name, &bytes, Some(in_a_day())).unwrap().version.unwrap();
    let key = format!("tenant/one/{name}");
    assert_eq!(server.boto("forge", &["worm", &key]), true);
    assert_eq!(objects.get(&name, None, 100).unwrap(), Some(Bytes::from_static(b"forged")));
    assert_eq!(objects.get(&name, Some(&version), 100).unwrap(), Some(bytes.clone()));
    assert!(matches!(objects.put(&name, &bytes, Some(in_a_day())), Err(ObjectError::Exists(_))));
    assert_eq!(server.boto("hide", &["worm", &key]), true);
    assert_eq!(objects.get(&name, None, 100).unwrap(), None);
    assert_eq!(objects.get(&name, Some(&version), 100).unwrap(), Some(bytes));
    assert_eq!(objects.get(&name, Some("no-such-version"), 100).unwrap_or(None), None);
}

fn wrong_credentials_and_buckets_without_a_lock_are_told(server: &Moto) {
    let (name, bytes) = object("one");
    let stranger = S3Objects::with_access_key(server.config("worm", None), &server.key, "wrong").unwrap();
    let refused = stranger.put(&name, &bytes, None).unwrap_err().to_string();
    assert!(refused.contains("403") && refused.contains("Signature"), "{refused}");
    let unlocked = server.open("plain", Some(LockMode::Compliance));
    let (name, bytes) = object("cannot be locked");
    for (bucket, lacks) in [("plain", "versioning"), ("versioned", "Object Lock")] {
        if lacks != "versioning" {
            server.boto("bucket", &[bucket, "versioned"]);
        }
        let refused = server.open(bucket, Some(LockMode::Compliance)).check().unwrap_err().to_string();
        assert!(refused.contains(lacks) && refused.contains("write_once = false"), "{refused}");
        server.open(bucket, None).check().unwrap();
    }
    server.open("worm", Some(LockMode::Compliance)).check().unwrap();
    let refused = unlocked.put(&name, &bytes, Some(in_a_day()));
    assert!(matches!(refused, Err(ObjectError::NoLock { .. } | ObjectError::Failed { .. })), "{refused:?}");
    let nowhere = server.open("no-such-bucket", None).put(&name, &bytes, None).unwrap_err().to_string();
    assert!(nowhere.contains("NoSuchBucket"), "{nowhere}");
}

/// Sealed into a locked bucket, attacked, verified; erased, the locked bytes open with nothing.
fn the_archive_lives_in_a_bucket(server: &Moto) {
    use std::sync::Arc;

    use ledger::LogKey;

    use crate::archive::tests::{classed, records_of, span};
    use crate::segment::tests::conversation;
    use crate::{Archive, Kept, Purpose, Sealing, SegmentKeys as _};

    server.boto("bucket", &["archive", "locked"]);
    let dir = tempfile::tempdir().unwrap();
    let keys: Arc<crate::key::tests::MemoryKeys> = Arc::default();
    let log_key = Arc::new(LogKey::generate("test.example/log").unwrap());
    let log_id = log_key.verifier().log_id();
    let open = || {
        let objects = Arc::new(server.open("archive", Some(LockMode::Compliance)));
        Archive::open(dir.path(), Purpose::Evidence, objects, keys.clone(), log_key.clone(), &[], None).unwrap()
    };
    let records = conversation(0, 40);
    let until = in_a_day();
    let mut archive = open();
    let how =
        Sealing { contents: &|_| Ok(None), lock_until: &|_| Some(until), keeps: &|_| None, root: None, now: Timestamp::now() };
    let sealed = archive.seal(0, 40, classed(&records), &how).unwrap();
    assert!(sealed.iter().all(|segment| segment.events.version.is_some()));
    drop(archive);
    let mut archive = open();
    for segment in &sealed {
        let key = format!("tenant/one/{}", ObjectName::Segment(segment.events.digest));
        assert_eq!(server.boto("forge", &["archive", &key]), true);
        assert_eq!(server.boto("hide", &["archive", &key]), true);
        assert_eq!(server.boto("delete-version", &["archive", &key, segment.events.version.as_deref().unwrap()]), "AccessDenied");
    }
    assert_eq!(records_of(archive.view(), 0), records);
    let mut leaf_of = |seq: u64| Ok(records.get(seq as usize).map(|record| record.leaf(log_id).unwrap().encode()));
    let report = archive.view().verify(log_id, Some(&mut leaf_of)).unwrap();
    assert_eq!((report.compared, report.segments), (40, 2));
    let change = |kept: Kept<'_>| match kept {
        Kept::Record(record) if record.seq.0 == 0 => {
            let all = ledger::Redaction {
                event: true,
                field: &|_, _| true,
                content: &|_, _| ledger::Cut::All,
                tokens: &ledger::ErasedTokens::none(),
            };
            Ok(!record.redact(&all)?.is_empty())
        }
        _ => Ok(false),
    };
    let done = archive.rewrite(&span(0, 40, "pci"), "erasure", Timestamp::now(), change).unwrap().unwrap();
    assert_eq!(done.locked.len(), 2);
    assert!(keys.get(done.destroyed).unwrap().is_none());
    let report = archive.view().verify(log_id, Some(&mut leaf_of)).unwrap();
    // The events object of it was hidden by the attacker above and is not listed any more.
    assert_eq!((report.compared, report.left_over), (40, 1));
    // A locked object that lost its lock, as only who runs the storage could do, would be named: here the manifest claims more.
    assert_eq!(archive.sweep(Timestamp::now()).unwrap(), 0);
}

#[test]
fn configurations_that_cannot_be_are_refused() {
    let good = S3Config {
        bucket: "evidence".to_owned(),
        region: "eu-central-1".to_owned(),
        endpoint: None,
        prefix: String::new(),
        lock: None,
        credentials: None,
        roots: None,
    };
    let open = |config: S3Config| S3Objects::with_access_key(config, "id", "secret");
    assert_eq!(open(good.clone()).unwrap().base, "https://evidence.s3.eu-central-1.amazonaws.com");
    for (field, wrong) in [
        ("bucket", S3Config { bucket: "a/b".to_owned(), ..good.clone() }),
        ("bucket", S3Config { bucket: String::new(), ..good.clone() }),
        ("region", S3Config { region: "eu central".to_owned(), ..good.clone() }),
        ("prefix", S3Config { prefix: "/x".to_owned(), ..good.clone() }),
        ("prefix", S3Config { prefix: "a/../b".to_owned(), ..good.clone() }),
        ("endpoint", S3Config { endpoint: Some("http://minio.example:1".to_owned()), ..good.clone() }),
        ("endpoint", S3Config { endpoint: Some("http://127.0.0.1:1@minio.example".to_owned()), ..good.clone() }),
        ("endpoint", S3Config { endpoint: Some("http://127.0.0.1.minio.example".to_owned()), ..good.clone() }),
        ("endpoint", S3Config { endpoint: Some("ftp://127.0.0.1".to_owned()), ..good.clone() }),
        ("roots", S3Config { roots: Some("/no/such/file.pem".into()), ..good }),
    ] {
        match open(wrong) {
            Err(ObjectError::Config { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[test]
fn an_access_key_comes_from_a_file_that_is_the_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("credentials");
    let read = |text: &str, mode: u32| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        from_file(&path).map(|builder| builder.get_config_value(&object_store::aws::AmazonS3ConfigKey::AccessKeyId))
    };
    let key = "aws_access_key_id = AK\naws_secret_access_key=SK\n";
    let other = "aws_access_key_id = XX\naws_secret_access_key=XX\n";
    assert_eq!(read(key, 0o600).unwrap().as_deref(), Some("AK"));
    assert_eq!(read(&format!("# one\n[other]\n{other}[default]\n{key}[last]\n{other}"), 0o400).unwrap().as_deref(), Some("AK"));
    for (text, mode, says) in
        [(key, 0o640, "chmod 600"), ("[default]\n", 0o600, "[default]"), (&format!("[x]\n{key}"), 0o600, "aws_access")]
    {
        let error = read(text, mode).unwrap_err().to_string();
        assert!(error.contains("credentials") && error.contains(says), "{error}");
    }
}

#[test]
fn a_server_that_is_not_there_is_an_error_after_a_few_tries() {
    let config = S3Config {
        bucket: "b".to_owned(),
        region: "r".to_owned(),
        endpoint: Some("http://127.0.0.1:9".to_owned()),
        prefix: String::new(),
        lock: None,
        credentials: None,
        roots: None,
    };
    let objects = S3Objects::with_access_key(config, "id", "secret").unwrap();
    let (name, bytes) = object("x");
    let refused = objects.put(&name, &bytes, None).unwrap_err();
    assert!(matches!(&refused, ObjectError::Failed { name: named, .. } if *named == name.to_string()), "{refused}");
}
