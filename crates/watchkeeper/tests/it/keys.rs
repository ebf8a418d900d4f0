//! Encryption at rest, and the root key's place.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use crate::support::{Server, chat_spans, export, rows, run, verify, watchkeeper};

/// Parts of the data directory that hold nothing readable. The ledger tells of nobody; the others are encrypted.
const SEALED: [&str; 5] = ["journal", "store", "ledger", "state", "keys"];

fn with_root(arguments: &[&str], data: &Path, root: &Path) -> Output {
    watchkeeper().args(arguments).arg("--data").arg(data).arg("--root-key").arg(root).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Every place below a directory where one of the needles stands.
fn finds(dir: &Path, needles: &[&[u8]], found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            finds(&path, needles, found);
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        for needle in needles.iter().filter(|needle| memchr::memmem::find(&bytes, needle).is_some()) {
            found.push(format!("{}: {}", path.display(), String::from_utf8_lossy(needle)));
        }
    }
}

#[test]
fn nothing_that_was_said_and_no_secret_is_readable_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    assert!(export(&server.otlp_http, &chat_spans("session-of-ada", 0, 25)));
    server.settle();
    // Beside a running server as well, with its write-ahead logs.
    let needles: [&[u8]; 9] = [
        b"harbour master",
        b"session-of-ada",
        b"user-1",
        b"gpt-4o",
        b"PRIVATE+KEY",
        b"token key",
        b"subject namer",
        b"SQLite format 3",
        b"WATCHKEEPER-ROOT-KEY",
    ];
    let mut found = Vec::new();
    let look = |found: &mut Vec<String>| {
        for part in SEALED {
            finds(&data.join(part), &needles, found);
        }
    };
    look(&mut found);
    let prompt = rows("SELECT prompt, user_id, session_id, model FROM prompts ORDER BY seq LIMIT 1", &data)[0].to_string();
    for said in ["harbour master", "session-of-ada", "gpt-4o"] {
        assert!(prompt.contains(said), "the test would prove nothing: {prompt}");
    }
    server.stop();
    look(&mut found);
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(verify(&data).0, 0);
}

#[test]
fn the_first_start_makes_the_usual_root_key_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (data, traces) = (dir.path().join("data"), dir.path().join("traces.jsonl"));
    fs::write(&traces, "{\"id\":\"1\",\"user\":\"ada\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}\n").unwrap();
    let usual = |arguments: &[&str]| {
        let mut command = watchkeeper();
        command.env_remove("WATCHKEEPER_ROOT_KEY").env_remove("XDG_CONFIG_HOME").env("HOME", dir.path());
        command.args(arguments).arg("--data").arg(&data).output().unwrap()
    };
    let imported = usual(&["import", traces.to_str().unwrap()]);
    assert!(imported.status.success(), "{}", stderr(&imported));
    let root = dir.path().join(".config/watchkeeper/root.key");
    let said = String::from_utf8_lossy(&imported.stdout).into_owned() + &stderr(&imported);
    assert!(said.contains(root.to_str().unwrap()) && said.contains("copy"), "{said}");
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(root.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    let again = usual(&["query", "SELECT count(*) FROM prompts"]);
    assert!(again.status.success() && !stderr(&again).contains("made the root key"), "{}", stderr(&again));

    fs::set_permissions(&root, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = usual(&["query", "SELECT 1"]);
    assert!(refused.status.code() == Some(2) && stderr(&refused).contains("chmod 600"), "{}", stderr(&refused));
    fs::remove_file(&root).unwrap();
    assert!(stderr(&usual(&["query", "SELECT 1"])).contains("root key"));
    assert!(!root.exists(), "a lost root key is not replaced");
    // What needs no key goes on without one: the ledger, the journal's files.
    let without_key = || {
        let mut command = watchkeeper();
        command.env_remove("WATCHKEEPER_ROOT_KEY").env_remove("XDG_CONFIG_HOME").env("HOME", dir.path());
        let output = command.args(["verify", "--public"]).arg(&data).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = without_key();
    assert!(code == Some(0) && said.contains("intact"), "{said}");
    let journal = data.join("journal/00000000000000000000.wkj");
    let mut bytes = fs::read(&journal).unwrap();
    bytes[4096 + 60] ^= 1;
    fs::write(&journal, bytes).unwrap();
    let (code, said) = without_key();
    assert!(code == Some(1) && said.contains("TAMPERED: journal/"), "{said}");
}

#[test]
fn a_root_key_in_the_data_directory_and_a_wrong_one_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let inside = with_root(&["serve", "--any-port"], &data, &data.join("keys/root.key"));
    assert_eq!(inside.status.code(), Some(2));
    assert!(stderr(&inside).contains("--root-key"), "{}", stderr(&inside));
    assert!(!data.join("keys/root.key").exists());
    Server::start(&data).stop();
    let other = dir.path().join("other.key");
    keys::create_root_key(&other).unwrap();
    let wrong = with_root(&["query", "SELECT 1"], &data, &other);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("is wrapped by the root key"), "{}", stderr(&wrong));
}

#[test]
fn the_tenant_key_rotates_under_a_running_server_and_the_root_key_behind_a_stopped_one() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    assert!(export(&server.otlp_http, &chat_spans("rotation", 0, 5)));
    server.settle();
    let keyring = |generation: u32| data.join(format!("keys/keyring-{generation}.db"));
    let before = fs::read(data.join("keys/tenant.key")).unwrap();
    assert!(run(&["keys", "rotate"], &data).status.success());
    assert_ne!(fs::read(data.join("keys/tenant.key")).unwrap(), before);
    assert!(keyring(2).exists() && !keyring(1).exists());
    // It goes on recording, and its readers go on reading; that it happened is recorded.
    assert!(export(&server.otlp_http, &chat_spans("rotation", 5, 5)));
    server.settle();
    assert_eq!(server.query("SELECT count(*) AS n FROM prompts WHERE session_id = 'rotation'")[0]["n"], 10);
    assert_eq!(server.query("SELECT count(*) AS n FROM events WHERE name = 'tenant_key.rotate'")[0]["n"], 1);
    let age = dir.path().join("age.key");
    let (_, identity) = keys::AgeRootKey::generate();
    fs::write(&age, format!("# made by a test\n{}\n", *identity)).unwrap();
    fs::set_permissions(&age, fs::Permissions::from_mode(0o600)).unwrap();
    let replace = ["keys", "rotate", "--new-root-key", age.to_str().unwrap()];
    assert_eq!(run(&replace, &data).status.code(), Some(2), "the server knows the old key");
    server.stop();
    let replaced = run(&replace, &data);
    assert!(replaced.status.success(), "{}", stderr(&replaced));
    assert!(keyring(3).exists() && !keyring(2).exists());
    let query = ["query", "SELECT count(*) FROM prompts", "--format", "csv"];
    assert_eq!(run(&query, &data).status.code(), Some(2), "the old root key opens nothing");
    let read = with_root(&query, &data, &age);
    assert!(read.status.success() && String::from_utf8_lossy(&read.stdout).contains("10"), "{}", stderr(&read));
}
