//! The log where anybody can read it: in a bucket, on a web server; and what a pruned one still proves.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ledger::Checkpoint;
use serde_json::Value;

use crate::clients::python;
use crate::cold::{credentials, proxy};
use crate::crash::faketime;
use crate::moto::Moto;
use crate::support::{
    SOON, Server, Starting, attribute, chat_spans, export, http, json, rows, run, verify, watchkeeper, wkverify,
};
use crate::timestamps::authority;
use crate::witness::Witness;

/// A row of the status.
fn status(data: &Path, what: &str) -> Value {
    let status = json(&["status", "--format", "json"], data);
    let row = status.as_array().unwrap().iter().find(|row| row["what"] == what).cloned();
    row.map_or(Value::Null, |row| row["value"].clone())
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < SOON, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until so many records are published.
fn published(data: &Path, least: u64) {
    until(&format!("{least} records are not published"), || {
        status(data, "watch.published.records").as_u64().is_some_and(|records| records >= least)
    });
}

fn sealed(data: &Path) -> u64 {
    Checkpoint::parse(ledger::published_checkpoint(data).unwrap().unwrap().text()).unwrap().size
}

/// The exit code and the output of `verify --public`.
fn public(arguments: &[&str]) -> (i32, String) {
    let output = watchkeeper().args(["verify", "--public"]).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

/// What the second verifier says of a log as it is published.
fn second(dir: &Path) -> (i32, String) {
    wkverify(&["public", dir.to_str().unwrap()])
}

fn record(server: &Server, first: u64, count: u64) {
    assert!(export(&server.otlp_http, &chat_spans("heron-azure-session", first, count)));
    server.settle();
}

/// Python's web server over a directory.
struct Site {
    child: Child,
    url: String,
}

impl Site {
    fn serve(dir: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(python("archive"))
            .args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string(), "--directory"])
            .arg(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let site = Self { child, url: format!("http://127.0.0.1:{port}") };
        until("no web server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        site
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Every file below a directory with its bytes.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { dirs.push(path) } else { all.push((path.clone(), fs::read(path).unwrap())) }
        }
    }
    all.sort();
    all
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

#[test]
fn a_log_in_a_bucket_outlives_an_outage_with_all_that_others_said_of_it() {
    let moto = Moto::start();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    moto.boto("bucket", &["logs", "plain"]);
    let (address, open) = proxy(&moto.endpoint);
    let server = Server::start(&data);
    record(&server, 0, 3);
    server.stop();
    let witness = Witness::start(dir.path(), 1, &data.join("ledger/vkey"));
    let policy = dir.path().join("policy");
    fs::write(&policy, format!("witness w {} {}\nquorum w\n", witness.vkey, witness.url)).unwrap();
    let tsa = authority(dir.path().join("tsa"));
    let roots = dir.path().join("tsa/root.pem");
    let config = format!(
        "[ledger]\npublish = \"s3://logs/one\"\npublish_seconds = 1\nheartbeat_seconds = 1\npolicy = \"{}\"\n\
         [timestamps]\nurl = \"{tsa}\"\nevery = 1\n[s3]\nendpoint = \"{address}\"\ncredentials = \"{}\"\n",
        policy.display(),
        credentials(&moto, dir.path()).display()
    );
    let server = Server::start_with(&data, &config);
    record(&server, 3, 300);
    published(&data, 300);

    // The bucket goes away: what is recorded is sealed, and the status says what is missing.
    open.store(false, Ordering::SeqCst);
    record(&server, 400, 300);
    until("the outage is not told", || status(&data, "watch.publish_failures.1.is_over") == "false");
    assert_eq!(status(&data, "watch.publish_failures.1.who"), "s3://logs/one");
    until("nothing waits", || status(&data, "watch.unpublished").as_u64().is_some_and(|records| records > 0));
    assert_eq!(run(&["status"], &data).status.code(), Some(0), "the recorder goes on");
    let told = "SELECT name FROM admin_events WHERE name = 'publication.unavailable'";
    until("the outage is not recorded", || rows(told, &data).len() == 1);
    open.store(true, Ordering::SeqCst);
    published(&data, 600);
    until("the outage is not over", || status(&data, "watch.publish_failures.1.is_over") == "true");
    let told = "SELECT seq FROM admin_events WHERE name = 'recorder.heartbeat'";
    until("no heartbeats", || rows(told, &data).len() >= 2);
    server.stop();

    // Whoever has the configuration's way to the bucket, the log's key, the witness and the authority's root has all they need.
    let config_path = dir.path().join("watchkeeper.toml");
    let vkey = data.join("ledger/vkey");
    let known =
        ["--config", config_path.to_str().unwrap(), "--key", vkey.to_str().unwrap(), "--policy", policy.to_str().unwrap()];
    let all = [["s3://logs/one"].as_slice(), &known, &["--tsa-roots", roots.to_str().unwrap(), "--json"]].concat();
    let (code, text) = public(&all);
    assert_eq!(code, 0, "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["sealed"].as_u64().unwrap(), sealed(&data), "the last checkpoint is published when the server stops");
    assert!(report["timestamps"].as_u64().unwrap() > 0 && report["heartbeats"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["witnesses"][0]["name"], "witness.test/1", "{report}");
    let here = watchkeeper().args(["verify"]).arg(&data).arg("--config").arg(&config_path).output().unwrap();
    let text = String::from_utf8_lossy(&here.stdout).into_owned();
    assert!(here.status.success() && text.contains("goes on from"), "{text}");

    // Nothing of it tells of anybody, and AWS's own library sees the same files.
    let objects: Vec<String> = serde_json::from_value(moto.boto("objects", &["logs"])).unwrap();
    for name in ["one/checkpoint", "one/vkey", "one/witnessed", "one/tile/0/000", "one/tile/entries/001", "one/timestamps/index"]
    {
        assert!(objects.contains(&name.to_owned()), "{name}: {objects:?}");
    }
    let partial = objects.iter().filter(|name| name.contains("tile/0/000.p/") || name.contains("entries/001.p/"));
    assert_eq!(partial.count(), 0, "partial tiles go when the full one is there");
    // What somebody puts in the place of a tile is named.
    assert_eq!(moto.boto("forge", &["logs", "one/tile/0/001"]), true);
    let (code, text) = public(&all);
    assert!(code == 1 && text.contains("tile/0/001"), "{code} {text}");
    drop(moto);
    assert_eq!(public(&all).0, 2, "a bucket that does not answer proves nothing either way");
}

/// Reads a log over HTTP, as anybody's program would.
struct Remote<'s> {
    base: &'s str,
    below: &'static str,
}

impl Remote<'_> {
    fn get(&self, name: &str) -> Vec<u8> {
        let answer = http(self.base, "GET", &format!("{}{name}", self.below), &[], &[]);
        assert_eq!(answer.status, 200, "{name}");
        answer.body
    }
}

impl tlog_tiles::TileReader for Remote<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        // Its paths have the height in front, as Go's.
        Ok(tiles.iter().map(|tile| self.get(&tile.path().replacen("tile/8/", "tile/", 1))).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

#[test]
fn a_log_on_a_web_server_shows_a_roll_back_and_a_fork_of_the_one_at_home() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let place = dir.path().join("www/log");
    let config = format!("[ledger]\npublish = \"{}\"\npublish_seconds = 1\nheartbeat_seconds = 3600\n", place.display());
    let server = Server::start_with(&data, &config);
    record(&server, 0, 300);
    published(&data, 300);
    server.stop();
    let kept = dir.path().join("kept");
    fs::copy(place.join("checkpoint"), &kept).unwrap();
    let copied = dir.path().join("copy/data");
    copy(&data, &copied);
    let server = Server::start_with(&data, &config);
    record(&server, 300, 300);
    published(&data, 600);
    server.stop();

    let site = Site::serve(place.parent().unwrap());
    let url = format!("{}/log", site.url);
    let (vkey, kept) = (data.join("ledger/vkey"), kept.to_str().unwrap());
    let (code, text) = public(&[&url, "--key", vkey.to_str().unwrap(), "--checkpoint", kept]);
    assert!(code == 0 && text.contains(&format!("{} of them sealed", sealed(&data))), "{code} {text}");
    let (code, text) = public(&[&url, data.to_str().unwrap()]);
    assert!(code == 0 && text.contains("0 more are sealed"), "{code} {text}");
    for (path, bytes) in files(&place) {
        for said in ["heron-azure", "user-1", "question", "gpt-4o"] {
            let found = bytes.windows(said.len()).any(|window| window == said.as_bytes());
            assert!(!found, "{} tells of {said}", path.display());
        }
    }
    // Another implementation reads it from there and proves with it.
    let remote = Remote { base: &site.url, below: "/log/" };
    let checkpoint = String::from_utf8(remote.get("checkpoint")).unwrap();
    let text = checkpoint.split_once("\n\n").unwrap().0;
    let theirs = tlog_tiles::Checkpoint::from_bytes(format!("{text}\n").as_bytes()).unwrap();
    let reader = tlog_tiles::TileHashReader::new(theirs.size(), *theirs.hash(), &remote);
    let bundle = remote.get("tile/entries/001");
    for at in [0_u16, 7, 255] {
        let entry = &bundle[usize::from(at) * 104 + 2..][..102];
        let index = 256 + u64::from(at);
        let proof = tlog_tiles::prove_record(theirs.size(), index, &reader).unwrap();
        tlog_tiles::check_record(&proof, theirs.size(), *theirs.hash(), index, tlog_tiles::record_hash(entry)).unwrap();
    }

    // The copy from before: rolled back, says everybody, and nothing is put over what is published.
    let before = files(&place);
    let (code, text) = public(&[&url, copied.to_str().unwrap()]);
    assert!(code == 1 && text.contains("ledger/checkpoint") && text.contains("rolled back"), "{code} {text}");
    let config_path = dir.path().join("watchkeeper.toml");
    let output = watchkeeper().arg("verify").arg(&copied).arg("--config").arg(&config_path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(1) && text.contains("rolled back"), "{text}");
    let failing = |what: &str| {
        let told = || status(&copied, "watch.publish_failures.1.what").as_str().unwrap_or_default().to_owned();
        until(&format!("{what} is not told: {}", told()), || told().contains(what));
    };
    let fork = Server::start_with(&copied, &config);
    failing("rolled back");
    let refused = "SELECT name FROM admin_events WHERE name = 'publication.refused'";
    until("it is not recorded", || !rows(refused, &copied).is_empty());
    // It goes on as another history, and outgrows the published one.
    record(&fork, 5_000, 400);
    failing("forked");
    fork.stop();
    assert_eq!(files(&place), before);
    let (code, text) = public(&[&url, copied.to_str().unwrap()]);
    assert!(code == 1 && text.contains("ledger/tile") && text.contains("forked"), "{code} {text}");
    // The log itself goes on where it was.
    let server = Server::start_with(&data, &config);
    record(&server, 600, 5);
    published(&data, sealed(&data));
    server.stop();
    assert_eq!(public(&[&url, "--checkpoint", kept]).0, 0);

    // Tampering with what is published is named; a stranger's key and missing witnesses are not proved.
    let tile = place.join("tile/entries/000");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[1000] ^= 1;
    fs::write(&tile, &bytes).unwrap();
    let (code, text) = public(&[&url]);
    assert!(code == 1 && text.contains("TAMPERED: tile/"), "{code} {text}");
    let (code, text) = second(&place);
    assert!(code == 1 && text.contains("leaf "), "{code} {text}");
    bytes[1000] ^= 1;
    fs::write(&tile, &bytes).unwrap();
    assert_eq!(second(&place), (0, "intact\n".to_owned()));
    fs::create_dir(dir.path().join("other")).unwrap();
    let stranger = Server::start(&dir.path().join("other/data"));
    let other = dir.path().join("other/data/ledger/vkey");
    let (code, text) = public(&[&url, "--key", other.to_str().unwrap()]);
    assert!(code == 3 && text.contains("NOT PROVED"), "{code} {text}");
    stranger.stop();
    let (code, text) = public(&[&format!("{}/nothing", site.url)]);
    assert!(code == 2 && text.contains("no log is published there"), "{code} {text}");
}

#[test]
fn entries_whose_retention_is_over_are_pruned_and_the_rest_is_proved() {
    const NAME: &str = "public::entries_whose_retention_is_over_are_pruned_and_the_rest_is_proved";
    let Some(library) = faketime() else { return crate::volume::skip(NAME, "libfaketime is not there (package faketime)") };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let place = dir.path().join("www");
    let config = format!(
        "[archive]\nafter_minutes = 0\n[ledger]\npublish = \"{}\"\npublish_seconds = 1\nheartbeat_seconds = 3600\n\
         [retention]\ndefault = \"brief\"\n[[retention.class]]\nname = \"brief\"\nhot_days = 1\nmax_days = 1\n\
         [[retention.rule]]\napplication = \"clinic\"\nclass = \"hipaa\"\n",
        place.display()
    );
    let under = ["env".to_owned(), format!("LD_PRELOAD={}", library.display()), "FAKETIME=-3d".to_owned()];
    let under = [under.as_slice(), &["FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned()]].concat();
    let server = Starting::spawn(&data, &config, &under).ready().unwrap_or_else(|why| panic!("{why}"));
    record(&server, 0, 300);
    // A class without an end keeps its records, and its leaves, and stands in nobody's way.
    let mut clinic = chat_spans("clinic-session", 10_000, 3);
    clinic.resource_spans[0].resource.as_mut().unwrap().attributes = vec![attribute("service.name", "clinic")];
    assert!(export(&server.otlp_http, &clinic));
    record(&server, 300, 297);
    published(&data, 600);
    // What tells of holds and of the policy is kept for good, and its leaves with it.
    assert!(run(&["hold", "place", "case-1", "--reason", "r", "--session", "nobody"], &data).status.success());
    assert!(run(&["hold", "release", "case-1"], &data).status.success());
    record(&server, 600, 700);
    let archived = |data: &Path| {
        let segments = json(&["retention", "show", "--segments", "--format", "json"], data);
        segments.as_array().unwrap().iter().map(|row| row["end"].as_u64().unwrap()).max().unwrap_or(0)
    };
    until("the past is not archived", || archived(&data) > 1_300);
    // Why nothing goes is said, by class and first record; and readers are told of nothing.
    let said = |output: &std::process::Output| {
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let refused = run(&["ledger", "prune", "--before", "1200"], &data);
    let why = said(&refused);
    assert!(refused.status.code() == Some(2) && why.contains("of class brief are kept until 20"), "{why}");
    let nothing = run(&["ledger", "prune"], &data);
    let why = said(&nothing);
    assert!(nothing.status.success() && why.contains("0 tiles and entry bundles went"), "{why}");
    assert!(why.contains("the minimum index is 0") && why.contains("of class brief are kept until 20"), "{why}");
    assert!(!data.join("ledger/minimum").exists());
    server.stop();

    let server = Server::start_with(&data, &config);
    record(&server, 1_300, 5);
    let swept = run(&["retention", "sweep"], &data);
    assert!(swept.status.success(), "{}", String::from_utf8_lossy(&swept.stderr));
    published(&data, sealed(&data));
    let tile = |name: &str| (data.join("ledger/tile").join(name).exists(), place.join("tile").join(name).exists());
    let would = json(&["ledger", "prune", "--dry-run", "--format", "json"], &data);
    assert!(would["files"].as_u64().unwrap() >= 4 && tile("entries/003") == (true, true), "{would}");
    let pruned = json(&["ledger", "prune", "--format", "json"], &data);
    assert_eq!((&pruned["files"], &pruned["minimum"]), (&would["files"], &would["minimum"]));
    assert!(pruned["minimum"].as_u64().unwrap() > 1_280 && pruned["kept"].as_u64().unwrap() >= 6, "{pruned}");
    let keeping = pruned["keeping"].as_array().unwrap();
    let of = |class: &str| keeping.iter().find(|row| row["class"] == class).map(|row| row["records"].as_u64().unwrap());
    assert!(of("hipaa") == Some(3) && of("record") >= Some(3) && of("brief").is_none(), "{pruned}");
    server.settle();
    assert_eq!(rows("SELECT name FROM admin_events WHERE name = 'retention.prune'", &data).len(), 1);
    published(&data, sealed(&data));
    until("the published entries do not go", || tile("entries/003") == (false, false));
    assert_eq!(tile("0/003"), (false, false));
    assert_eq!(tile("entries/000"), (true, true), "the leaf of the first start's policy is in the first bundle");
    assert_eq!(tile("entries/001"), (true, true), "the clinic's leaves are in the second bundle");
    assert_eq!(tile("entries/002"), (true, true), "the hold's leaf is in the third bundle");
    assert_eq!(status(&data, "watch.minimum_index"), pruned["minimum"]);

    // A record of after is still evidence, and one from below that is kept.
    let vkey = data.join("ledger/vkey");
    let query = "SELECT seq FROM admin_events WHERE name = 'retention.prune'";
    for (what, of, records) in [("--query", query, 1), ("--session", "clinic-session", 3)] {
        let bundle = dir.path().join(format!("case{what}.tar.gz"));
        let output = run(&["evidence", "export", what, of, "--reason", "r", "--out", bundle.to_str().unwrap()], &data);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let verified =
            watchkeeper().args(["evidence", "verify", "--json"]).arg(&bundle).arg("--key").arg(&vkey).output().unwrap();
        let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
        assert_eq!((&report["fault"], report["records"].as_array().unwrap().len()), (&Value::Null, records), "{report}");
        let key = fs::read_to_string(&vkey).unwrap();
        let (code, said) = wkverify(&["bundle", bundle.to_str().unwrap(), key.lines().next().unwrap()]);
        assert_eq!(Some(code), verified.status.code(), "{said}");
    }
    // Every record is disclosed, with what is left of it, and of what was pruned the stretch.
    let disclosed = |name: &str| {
        let path = dir.path().join(name);
        let output = run(&["evidence", "disclose", "--all", "--reason", "audit", "--out", path.to_str().unwrap()], &data);
        assert!(output.status.success(), "{}", said(&output));
        path
    };
    let through_server = disclosed("through-server.jsonl");
    server.stop();
    let alone = disclosed("records.jsonl");
    let text = fs::read_to_string(&alone).unwrap();
    assert!(text.starts_with(&fs::read_to_string(&through_server).unwrap()), "a record is disclosed in one way");
    assert_eq!(text.matches("{\"format\":\"wkpruned/1\",\"first\":768,\"end\":1024}\n").count(), 1);
    assert!(text.matches("{\"format\":\"wkpruned/1\"").count() == 2 && text.matches("{\"format\":\"wkleaf/1\"").count() > 500);
    let against = |records: &Path| wkverify(&["ledger", data.to_str().unwrap(), records.to_str().unwrap()]);
    assert_eq!(against(&alone), (0, "intact\n".to_owned()));
    let (code, said_of_part) = against(&through_server);
    assert!(code == 3 && said_of_part.contains("which are sealed"), "{said_of_part}");
    // Whoever calls pruned what is there, or leaves a record out, is found.
    for (from, to) in [
        ("{\"format\":\"wkpruned/1\",\"first\":768,\"end\":1024}\n", ""),
        ("\"first\":768,\"end\":1024}", "\"first\":768,\"end\":1025}"),
        ("clinic", "klinic"),
    ] {
        let changed = dir.path().join("changed.jsonl");
        assert!(text.contains(from), "{from}");
        fs::write(&changed, text.replacen(from, to, 1)).unwrap();
        assert_eq!(against(&changed).0, 1, "{from}");
    }
    let (code, text) = verify(&data);
    assert!(code == 0 && text.contains("the log was pruned"), "{code} {text}");
    let (code, text) = public(&[place.to_str().unwrap(), data.to_str().unwrap()]);
    assert!(code == 0 && text.contains("the log was pruned"), "{code} {text}");
    // It starts again, builds its store anew out of what there is, goes on, and stays whole.
    fs::remove_dir_all(data.join("store")).unwrap();
    let server = Server::start_with(&data, &config);
    record(&server, 2_000, 300);
    assert_eq!(rows("SELECT seq FROM events WHERE session_id = 'clinic-session'", &data).len(), 3);
    published(&data, sealed(&data));
    server.stop();
    assert_eq!(verify(&data).0, 0);
    assert_eq!(public(&[place.to_str().unwrap()]).0, 0);
    for dir in [&place, &data.join("ledger")] {
        assert_eq!(second(dir), (0, "intact\n".to_owned()));
    }
    // Whoever takes more than the note says is found.
    fs::remove_file(data.join("ledger/tile/entries/002")).unwrap();
    let (code, text) = verify(&data);
    assert!(code == 1 && text.contains("ledger/tile/entries/002"), "{code} {text}");
}
