//! What somebody can do who has the data directory and not the root key. Each test is named after what must hold.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use server::{DataDir, RootKeyPlace};

use crate::crash::faketime;
use crate::support::{SOON, Server, Starting, attribute, chat_spans, export, http, json, root_key, rows, verify, watchkeeper};

/// A directory with a record, as a server leaves it.
fn recorded(data: &Path, first: u64) {
    let server = Server::start(data);
    assert!(export(&server.otlp_http, &chat_spans("s", first, 25)));
    server.settle();
    server.stop();
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// How a command ends that must not hang, and what it says.
fn ends(command: &mut Command) -> (i32, String) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut child = Guard(Some(child));
    let until = Instant::now() + SOON;
    while child.0.as_mut().unwrap().try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "{command:?} hangs");
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.0.take().unwrap().wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

struct Guard(Option<Child>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

#[test]
fn a_record_that_is_rolled_back_without_the_root_key_is_found_and_not_continued() {
    let dir = tempfile::tempdir().unwrap();
    let (data, older) = (dir.path().join("data"), dir.path().join("older"));
    recorded(&data, 0);
    copy(&data, &older);
    recorded(&data, 25);
    assert_eq!(verify(&data).0, 0);
    // All that is no key, and the copies of the pins beside the keys.
    for part in ["journal", "ledger", "store", "state", "archive"] {
        drop(fs::remove_dir_all(data.join(part)));
        if older.join(part).exists() {
            copy(&older.join(part), &data.join(part));
        }
    }
    for pin in ["log.checkpoint", "archive.pin"] {
        drop(fs::remove_file(data.join("keys").join(pin)));
    }
    let (code, text) = verify(&data);
    assert!(code == 1 && text.contains("TAMPERED"), "{code}: {text}");
    let (code, text) = ends(watchkeeper().args(["serve", "--any-port", "--data"]).arg(&data));
    assert!(code == 2 && text.contains("rolled back"), "{code}: {text}");
    // The copy of the pin alone is no reason to believe an older record, either.
    copy(&older.join("keys/log.checkpoint"), &data.join("keys/log.checkpoint"));
    assert_eq!(verify(&data).0, 1);
}

#[test]
fn a_pin_that_cannot_be_read_is_no_reason_to_call_a_record_intact() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    recorded(&data, 0);
    let pin = data.join("keys/log.checkpoint");
    fs::remove_file(&pin).unwrap();
    assert_eq!(verify(&data).0, 0, "the copy is a copy");
    fs::create_dir(&pin).unwrap();
    for public in [None, Some("--public")] {
        let (code, text) = ends(watchkeeper().arg("verify").arg(&data).args(public));
        assert!(code == 2 && !text.contains("intact:"), "{code}: {text}");
    }
}

#[test]
fn nobody_without_the_root_key_moves_detection_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    recorded(&data, 0);
    let path = data.join("state/detect.cursor");
    let own = fs::read_to_string(&path).unwrap();
    fs::write(&path, own.replacen(" 00000000", " 00000009", 1)).unwrap();
    let (code, text) = ends(watchkeeper().args(["serve", "--any-port", "--data"]).arg(&data));
    assert!(code == 2 && text.contains("detect.cursor"), "{code}: {text}");
    // Its own, further than the record goes: that is told, and detection begins anew.
    let keyring =
        server::read_keyring(&DataDir::existing(&data).unwrap(), &RootKeyPlace::new(Some(&root_key())).unwrap()).unwrap();
    let tags = keyring.authenticator("detect.cursor").unwrap();
    let tag: journal::CursorTag = Arc::new(move |bytes| tags.tag(bytes));
    fs::remove_file(&path).unwrap();
    journal::Cursor::open(&path, tag).unwrap().set(journal::Seq(1_000_000)).unwrap();
    let server = Server::start(&data);
    server.settle();
    let gaps = server.query("SELECT reason FROM gaps WHERE name = 'detection.rewound'");
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    server.stop();
    assert_eq!(verify(&data).0, 0);
}

#[test]
fn an_api_key_that_somebody_writes_beside_the_keyring_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    server.stop();
    // As earlier builds kept them: SHA-256 of "wk_forged".
    let forged = r#"[{"id":"key_1","name":"x","role":"admin","created_unix_s":0,"sha256":"093a654d1f7958e4bde7ec25481bc1b843989a4d36c173bdaffe9854ca9ddc10"}]"#;
    fs::write(data.join("keys/api-keys.json"), forged).unwrap();
    let server = Server::start(&data);
    let answer = http(&server.console, "GET", "/api/keys", &[("authorization", "Bearer wk_forged")], b"");
    assert_eq!(answer.status, 401);
    let keys = json(&["keys", "list", "--format", "json"], &data);
    assert!(keys.as_array().unwrap().iter().all(|key| key["id"] != "key_1"), "{keys}");
    server.stop();
}

#[test]
fn nobody_speaks_for_watchkeeper_itself_by_any_way_in() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    let key = server.key.clone().unwrap();
    let headers = [("content-type", "application/json"), ("x-watchkeeper-key", &*key)];
    let event = br#"{"kind":"admin","name":"hold.release","application":"app"}"#;
    assert_eq!(http(&server.console, "POST", "/v1/events", &headers, event).status, 400);
    let mut spans = chat_spans("s", 0, 1);
    let resource = &mut spans.resource_spans[0];
    resource.resource.as_mut().unwrap().attributes = vec![attribute("service.name", "watchkeeper")];
    "hold.release".clone_into(&mut resource.scope_spans[0].spans[0].name);
    assert!(export(&server.otlp_http, &spans));
    server.settle();
    let rows = server.query("SELECT name FROM events WHERE session_id = 's'");
    assert_eq!(rows.iter().map(|row| row["name"].as_str().unwrap()).collect::<Vec<_>>(), ["reported.hold.release"]);
    server.stop();
}

/// A server in the place of the true one: it passes the challenge on to it, where there is one, and answers everything else itself.
struct Impostor {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Impostor {
    fn start(genuine: Option<(String, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let heard = asked.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut head = String::new();
                let mut lines = BufReader::new(stream.try_clone().unwrap());
                while lines.read_line(&mut head).is_ok_and(|read| read > 2) {}
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let body = match &genuine {
                    Some((console, token)) if path.starts_with("/api/proof") => {
                        let bearer = format!("Bearer {token}");
                        http(console, "GET", &path, &[("authorization", &bearer)], b"").body
                    }
                    _ => br#"{"columns":["n"],"rows":[[4711]],"truncated":false}"#.to_vec(),
                };
                heard.lock().unwrap().push(path);
                let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
                drop(stream.write_all(&[head.as_bytes(), &body].concat()));
            }
        });
        Self { address, asked }
    }

    /// Has local commands sent to it.
    fn announce(&self, data: &Path) {
        let run = serde_json::json!({ "pid": 1, "console": self.address, "token": "wkrun_forged" });
        fs::write(data.join("run/api.json"), run.to_string()).unwrap();
    }
}

#[test]
fn local_commands_believe_nobody_who_does_not_prove_to_be_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    recorded(&data, 0);
    let count = |root: &Path| {
        let mut query = watchkeeper();
        query.args(["query", "SELECT count(*) AS n FROM prompts", "--format", "csv", "--data"]).arg(&data);
        ends(query.env("WATCHKEEPER_ROOT_KEY", root))
    };
    // Nobody else is there: the files are asked.
    let impostor = Impostor::start(None);
    impostor.announce(&data);
    let (code, text) = count(&root_key());
    assert!(code == 0 && text.contains("\n25") && text.contains("not the server of this record"), "{code}: {text}");
    // Beside the server, whose answer it passes on.
    fs::remove_file(data.join("run/api.json")).unwrap();
    let server = Server::start(&data);
    let own = fs::read(data.join("run/api.json")).unwrap();
    let token = serde_json::from_slice::<serde_json::Value>(&own).unwrap()["token"].as_str().unwrap().to_owned();
    let relay = Impostor::start(Some((server.console.clone(), token)));
    relay.announce(&data);
    let (code, text) = count(&root_key());
    assert!(code == 2 && text.contains("not the server of this record") && !text.contains("4711"), "{code}: {text}");
    for asked in [impostor, relay].iter().map(|it| it.asked.lock().unwrap().clone()) {
        assert!(asked.len() == 1 && asked[0].starts_with("/api/proof"), "{asked:?}");
    }
    // The server itself: believed with the root key, and with nothing else.
    fs::write(data.join("run/api.json"), own).unwrap();
    let (code, text) = count(&root_key());
    assert!(code == 0 && text.contains("\n25") && !text.contains("not the server"), "{code}: {text}");
    let (code, text) = count(&dir.path().join("none.key"));
    assert!(code == 2 && text.contains("root key"), "{code}: {text}");
    // It proves itself to local commands alone.
    let (challenge, bearer) = ("0".repeat(64), format!("Bearer {}", server_key(&data)));
    let path = format!("/api/proof?challenge={challenge}");
    assert_eq!(http(&server.console, "GET", &path, &[], b"").status, 401);
    assert_eq!(http(&server.console, "GET", &path, &[("authorization", &bearer)], b"").status, 403);
    server.stop();
}

/// An administrator's key.
fn server_key(data: &Path) -> String {
    let (code, text) = ends(watchkeeper().args(["keys", "create", "--role", "admin", "x", "--data"]).arg(data));
    assert_eq!(code, 0, "{text}");
    text.split_whitespace().find(|word| word.starts_with("wk_")).unwrap().to_owned()
}

/// Puts something else than a file at the first path; a link leads to the second.
type Put = fn(&Path, &Path);

#[test]
fn files_that_are_pipes_links_or_endless_are_neither_waited_for_nor_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (data, aside) = (dir.path().join("data"), dir.path().join("aside"));
    recorded(&data, 0);
    let kinds: [(&str, Put); 3] = [
        ("pipe", |at, _| assert!(Command::new("mkfifo").arg(at).status().unwrap().success())),
        ("link", |at, aside| std::os::unix::fs::symlink(aside, at).unwrap()),
        ("endless", |at, _| std::os::unix::fs::symlink("/dev/zero", at).unwrap()),
    ];
    let files =
        ["ledger/checkpoint", "ledger/checkpoints", "ledger/vkey", "keys/log.checkpoint", "keys/archive.pin", "archive/manifest"];
    for file in files.into_iter().map(|file| data.join(file)) {
        let was = file.exists();
        if was {
            fs::rename(&file, &aside).unwrap();
        }
        for (kind, put) in kinds {
            if kind == "link" && !was {
                continue;
            }
            drop(fs::create_dir(file.parent().unwrap()));
            put(&file, &aside);
            for public in [None, Some("--public")] {
                let (code, text) = ends(watchkeeper().arg("verify").arg(&data).args(public));
                assert!((1..=2).contains(&code) && !text.contains("intact:"), "{kind} {}: {code}: {text}", file.display());
            }
            fs::remove_file(&file).unwrap();
        }
        if was {
            fs::rename(&aside, &file).unwrap();
        }
    }
    drop(fs::remove_dir(data.join("archive")));
    assert_eq!(verify(&data).0, 0);
    for part in ["journal", "ledger"] {
        fs::rename(data.join(part), &aside).unwrap();
        std::os::unix::fs::symlink(&aside, data.join(part)).unwrap();
        let (code, text) = verify(&data);
        assert!(code == 1 && text.contains(part), "{code}: {text}");
        fs::remove_file(data.join(part)).unwrap();
        fs::rename(&aside, data.join(part)).unwrap();
    }
    assert_eq!(verify(&data).0, 0);
}

#[test]
fn a_day_of_the_store_that_somebody_removes_comes_back_and_is_told() {
    const NAME: &str = "pins::a_day_of_the_store_that_somebody_removes_comes_back_and_is_told";
    let Some(library) = faketime() else { return crate::volume::skip(NAME, "libfaketime is not there (package faketime)") };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for (day, offset) in ["-2d", "-1d", "+0d"].into_iter().enumerate() {
        let preload = format!("LD_PRELOAD={}", library.display());
        let under = ["env", &preload, "FAKETIME_DONT_FAKE_MONOTONIC=1", &format!("FAKETIME={offset}")].map(str::to_owned);
        let server = Starting::spawn(&data, "", &under).ready().unwrap_or_else(|why| panic!("{why}"));
        assert!(export(&server.otlp_http, &chat_spans("s", day as u64 * 10, 10)));
        server.settle();
        server.stop();
    }
    let days = || {
        let days = fs::read_dir(data.join("store")).unwrap().map(|entry| entry.unwrap().path());
        let mut days: Vec<PathBuf> = days.filter(|path| path.extension().is_some_and(|extension| extension == "db")).collect();
        days.sort();
        days
    };
    let remove = |day: &Path| {
        ["db", "db-wal", "db-shm", "keyid"].iter().for_each(|suffix| drop(fs::remove_file(day.with_extension(suffix))));
    };
    let there = days();
    assert!(there.len() >= 3, "{there:?}");
    let prompts = || rows("SELECT count(*) AS n FROM prompts", &data)[0]["n"].clone();
    let told = || rows("SELECT object FROM admin_events WHERE action = 'restore' ORDER BY seq", &data).len();
    assert_eq!((prompts(), told()), (30.into(), 0));
    // While nobody looks; and under a server that runs.
    remove(&there[1]);
    let server = Server::start(&data);
    server.settle();
    assert_eq!((prompts(), told(), days().starts_with(&there)), (30.into(), 1, true));
    remove(&there[0]);
    let until = Instant::now() + SOON;
    while told() < 2 {
        assert!(Instant::now() < until, "the day does not come back");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(prompts(), 30);
    server.stop();
    assert_eq!(verify(&data).0, 0);
}

#[test]
fn no_command_waits_for_a_pipe_or_reads_an_endless_file_in_the_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (data, aside) = (dir.path().join("data"), dir.path().join("aside"));
    recorded(&data, 0);
    let day = fs::read_dir(data.join("store")).unwrap().map(|entry| entry.unwrap().path());
    let day = day.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "db")).unwrap();
    let keyring = fs::read_dir(data.join("keys")).unwrap().map(|entry| entry.unwrap().path());
    let keyring = keyring.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "db")).unwrap();
    fs::create_dir_all(data.join("archive")).unwrap();
    // What is derived, or is there only now and then, is in nobody's way; nothing is believed of the rest.
    let named = |name: &str| data.join(name);
    let files = [
        (named("format"), 2),
        (named("keys/tenant.key"), 2),
        (keyring, 2),
        (named("archive/place.json"), 2),
        (named("state/detect.cursor"), 2),
        (named("run/api.json"), 0),
        (day.with_extension("keyid"), 0),
        (day, 0),
    ];
    for (file, expected) in files {
        for (kind, target) in [("pipe", None), ("endless", Some("/dev/zero"))] {
            let was = file.exists();
            if was {
                fs::rename(&file, &aside).unwrap();
            }
            match target {
                None => assert!(Command::new("mkfifo").arg(&file).status().unwrap().success()),
                Some(target) => std::os::unix::fs::symlink(target, &file).unwrap(),
            }
            let count = ["query", "SELECT count(*) AS n FROM prompts", "--format", "csv", "--data"];
            let (code, text) = ends(watchkeeper().args(count).arg(&data));
            assert_eq!(code, expected, "{kind} {}: {text}", file.display());
            assert!(code != 0 || text.contains("\n25"), "{kind} {}: {text}", file.display());
            if file.symlink_metadata().is_ok_and(|metadata| !metadata.is_file()) {
                fs::remove_file(&file).unwrap();
            }
            if was && !file.exists() {
                fs::rename(&aside, &file).unwrap();
            }
        }
    }
    drop(fs::remove_dir(data.join("archive")));
    assert_eq!(verify(&data).0, 0);
}
