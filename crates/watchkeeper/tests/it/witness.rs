//! Three witnesses as processes of their own: one goes down, one lies, and a fork finds no countersignature.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use ledger::{Algorithm, Checkpoint, SignedNote, SigningKey};

use crate::support::{SOON, Server, chat_spans, export, json, watchkeeper};

pub(crate) struct Witness {
    child: Child,
    pub(crate) url: String,
    /// The ML-DSA-44 key.
    pub(crate) vkey: String,
}

impl Witness {
    pub(crate) fn start(dir: &Path, number: usize, log: &Path) -> Self {
        Self::listen(dir, number, log, "127.0.0.1:0")
    }

    /// Starts a witness at an address that was its before.
    pub(crate) fn listen(dir: &Path, number: usize, log: &Path, listen: &str) -> Self {
        let mut child = watchkeeper()
            .args(["witness", "serve", "--listen", listen, "--name", &format!("witness.test/{number}"), "--state"])
            .arg(dir.join(format!("witness{number}")))
            .arg("--log")
            .arg(log)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let (mut url, mut vkey) = (String::new(), String::new());
        for line in lines.by_ref().take_while(|line| line != "ready") {
            match line.split_once("  ").map(|(name, value)| (name.trim(), value.trim())) {
                Some(("witness", value)) => url = value.to_owned(),
                Some(("vkey", value)) => vkey = value.to_owned(),
                _ => {}
            }
        }
        assert!(!url.is_empty() && vkey.len() > 1000, "{url} {vkey}");
        Self { child, url, vkey }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Answers every request as a witness that countersigned something else: a signature by the right name and key id, of another
/// checkpoint.
fn liar(key: SigningKey) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            drop(stream.read(&mut [0; 65536]));
            let text = Checkpoint { origin: "another log".to_owned(), size: 1, root: [1; 32] }.text();
            let body = key.sign(&text, 1_700_000_000).unwrap().line();
            drop(write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        }
    });
    url
}

/// Waits until the newest witnessed checkpoint covers so many records and carries so many signatures.
fn witnessed(data: &Path, records: u64, signatures: usize) -> SignedNote {
    let until = Instant::now() + SOON;
    loop {
        let note = ledger::witnessed_checkpoint(data).unwrap();
        let is_enough = |note: &SignedNote| {
            Checkpoint::parse(note.text()).unwrap().size >= records && note.signatures().len() >= 2 + signatures
        };
        if let Some(note) = note.clone().filter(is_enough) {
            return note;
        }
        assert!(
            Instant::now() < until,
            "not witnessed: {:?}",
            note.map(|note| (note.text().to_owned(), note.signatures().len()))
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn verify(data: &Path, policy: &Path) -> (i32, String) {
    let output = watchkeeper().arg("verify").arg(data).arg("--policy").arg(policy).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn sealed(data: &Path) -> u64 {
    Checkpoint::parse(ledger::published_checkpoint(data).unwrap().unwrap().text()).unwrap().size
}

fn copy(from: &Path, to: &Path) {
    assert!(std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

fn note_spans(server: &Server, from: u64, count: u64) {
    assert!(export(&server.otlp_http, &chat_spans("witnessed", from, count)));
    server.settle();
}

#[test]
fn a_quorum_witnesses_the_record_whoever_is_down_or_lies_and_no_fork_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    note_spans(&server, 0, 3);
    server.stop();
    let vkey = data.join("ledger/vkey");
    let mut witnesses: Vec<Witness> = (1..=3).map(|number| Witness::start(dir.path(), number, &vkey)).collect();
    let lying = SigningKey::generate(Algorithm::MlDsa44, "witness.test/liar").unwrap();
    let liar_url = liar(SigningKey::from_text(&lying.to_text()).unwrap());

    // Two of four; the fourth lies from the beginning.
    let mut policy = String::new();
    for (index, witness) in witnesses.iter().enumerate() {
        policy += &format!("witness w{} {} {}\n", index + 1, witness.vkey, witness.url);
    }
    policy += &format!("witness liar {}\ngroup all-of-them 2 w1 w2 w3 liar\nquorum all-of-them\n", lying.verifier());
    let policy_path: PathBuf = dir.path().join("policy");
    std::fs::write(&policy_path, &policy).unwrap();
    let config = format!(
        "[ledger]\npolicy = \"{}\"\n[[witness]]\nurl = \"{liar_url}\"\nvkey = \"{}\"\n",
        policy_path.display(),
        lying.verifier()
    );
    assert_eq!(verify(&data, &policy_path).0, 3, "nobody has witnessed yet");

    let server = Server::start_with(&data, &config);
    note_spans(&server, 3, 3);
    let note = witnessed(&data, sealed(&data), 3);
    assert!(note.signatures().iter().all(|by| by.name != "witness.test/liar"));
    let status = json(&["status", "--format", "json"], &data);
    let told = |what: &str| status.as_array().unwrap().iter().find(|row| row["what"] == what).map(|row| row["value"].clone());
    assert_eq!(told("watch.cosignatures"), Some((note.signatures().len() - 2).into()));
    assert_eq!(told("watch.witness_failures.1.who"), Some(format!("{liar_url}/add-checkpoint").into()));
    assert_eq!(told("watch.witness_failures.1.is_over"), Some("false".into()));
    server.stop();
    let (code, text) = verify(&data, &policy_path);
    assert!(code == 0 && text.contains("witness.test/1, witness.test/2, witness.test/3"), "{text}");
    let copied = dir.path().join("copy").join("data");
    std::fs::create_dir(copied.parent().unwrap()).unwrap();
    copy(&data, &copied);

    // One down, one lying: two of four are left, and enough.
    drop(witnesses.pop());
    let server = Server::start_with(&data, &config);
    note_spans(&server, 6, 3);
    let at_two = sealed(&data);
    witnessed(&data, at_two, 2);
    server.stop();
    let (code, text) = verify(&data, &policy_path);
    assert!(code == 0 && text.contains("intact"), "{text}");

    // The copy goes on as another history. The two witnesses have seen a larger tree than its first checkpoints, and when it
    // has outgrown them, one that does not go on from theirs.
    let fork = Server::start_with(&copied, &config);
    note_spans(&fork, 100, 40);
    let log = copied.parent().unwrap().join("server.log");
    let until = Instant::now() + SOON;
    while !std::fs::read_to_string(&log).unwrap().contains("the log has forked") {
        assert!(Instant::now() < until, "{}", std::fs::read_to_string(&log).unwrap());
        std::thread::sleep(Duration::from_millis(100));
    }
    fork.stop();
    let of_fork = Checkpoint::parse(ledger::witnessed_checkpoint(&copied).unwrap().unwrap().text()).unwrap();
    assert!(of_fork.size < at_two && sealed(&copied) > at_two, "{of_fork:?}");
    // What was witnessed of the original is no checkpoint of the copy.
    std::fs::copy(data.join("ledger/witnessed"), copied.join("ledger/witnessed")).unwrap();
    let (code, text) = verify(&copied, &policy_path);
    assert!(code == 1 && text.contains("ledger/witnessed"), "{text}");
}

#[test]
fn a_witness_listens_on_the_network_with_a_certificate_alone_and_keeps_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    let log = SigningKey::generate(Algorithm::Ed25519, "test.example/log").unwrap();
    let log = log.verifier().to_string();
    let refused = watchkeeper()
        .args(["witness", "serve", "--listen", "0.0.0.0:0", "--name", "w", "--log", &log, "--state"])
        .arg(dir.path().join("state"))
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not loopback"));
    let key_file = dir.path().join("log.vkey");
    std::fs::write(&key_file, format!("{log}\n")).unwrap();
    let first = Witness::start(dir.path(), 1, &key_file);
    let vkey = first.vkey.clone();
    drop(first);
    assert_eq!(Witness::start(dir.path(), 1, &key_file).vkey, vkey);
}
