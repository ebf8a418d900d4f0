//! The notes, checkpoints, tiles and proofs against Go's `golang.org/x/mod/sumdb`, from which their specifications come.
//! Needs Debian's `golang-go` and `golang-golang-x-mod-dev`; `WATCHKEEPER_SKIP_GO=1` leaves it out, and says so.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod common;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use watchkeeper_ledger::proof::{self, TileReader};
use watchkeeper_ledger::{Algorithm, Hash, SignedNote, SigningKey};

/// Where Debian puts the sources of Go packages.
const GOPATH: &str = "/usr/share/gocode";

struct Go {
    dir: tempfile::TempDir,
}

impl Go {
    fn build() -> Option<Self> {
        if std::env::var_os("WATCHKEEPER_SKIP_GO").is_some_and(|skip| !skip.is_empty()) {
            eprintln!("SKIPPED: nothing was compared with Go's sumdb, because WATCHKEEPER_SKIP_GO is set");
            return None;
        }
        assert!(
            Path::new(GOPATH).join("src/golang.org/x/mod/sumdb/note").is_dir(),
            "apt-get install golang-go golang-golang-x-mod-dev, or set WATCHKEEPER_SKIP_GO=1 to leave this comparison out"
        );
        let dir = tempfile::tempdir().unwrap();
        let built = Command::new("go")
            .args(["build", "-o"])
            .arg(dir.path().join("peers"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/main.go"))
            .envs([("GOPATH", GOPATH), ("GO111MODULE", "off"), ("GOFLAGS", ""), ("GOTOOLCHAIN", "local")])
            .env("GOCACHE", dir.path().join("cache"))
            .status();
        assert!(built.unwrap().success(), "the Go program must build");
        Some(Self { dir })
    }

    fn run(&self, args: &[&str], input: &[Vec<u8>]) -> Vec<String> {
        let program: PathBuf = self.dir.path().join("peers");
        let mut child =
            Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines: String = input.iter().map(|line| STANDARD.encode(line) + "\n").collect();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

#[test]
fn go_and_we_agree_on_ledgers_notes_and_proofs() {
    let Some(go) = Go::build() else { return };
    ledger(&go);
    opened(&go);
    signed(&go);
}

/// Go verifies each checkpoint, entry and tile of a ledger, and its proofs are ours.
fn ledger(go: &Go) {
    let dir = tempfile::tempdir().unwrap();
    let sizes = [1, 2, 7, 255, 256, 257, 600];
    let key = common::sealed(dir.path(), &sizes);
    let ledger = dir.path().join("ledger");
    let vkey = key.verifier().to_string();
    let lines = go.run(&["ledger", ledger.to_str().unwrap(), &vkey], &[]);
    assert_eq!(lines.len(), 600 + sizes.len());
    let nodes = TileReader::new(dir.path(), 600);
    for line in lines {
        let mut words = line.split(' ').filter(|word| !word.is_empty());
        let (kind, number) = (words.next().unwrap(), words.next().unwrap().parse::<u64>().unwrap());
        let theirs: Vec<Hash> = words.map(|word| STANDARD.decode(word).unwrap().try_into().unwrap()).collect();
        let ours = match kind {
            "inclusion" => proof::inclusion(&nodes, number, 600).unwrap(),
            _ => proof::consistency(&nodes, number, 600).unwrap(),
        };
        assert_eq!(ours, theirs, "{kind} {number}");
    }
    // A changed tile is not the one that the checkpoint signs.
    let tile = ledger.join("tile/0/000");
    let mut bytes = std::fs::read(&tile).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&tile, bytes).unwrap();
    let changed = Command::new(go.dir.path().join("peers")).args(["ledger", ledger.to_str().unwrap(), &vkey]).output().unwrap();
    assert!(!changed.status.success());
}

/// Thousands of notes, good and broken: what one opens the other opens, but for what `common::only_ours_refuses` names.
fn opened(go: &Go) {
    let key = SigningKey::generate(Algorithm::Ed25519, "example.com/log").unwrap();
    let mut runner = TestRunner::deterministic();
    let strategy = common::broken_note(&key);
    let notes: Vec<Vec<u8>> = (0..3000).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    let theirs = go.run(&["open", &key.verifier().to_string()], &notes);
    assert_eq!(theirs.len(), notes.len());
    let mut good = 0;
    for (note, theirs) in notes.iter().zip(theirs) {
        let ours = SignedNote::parse(note).and_then(|note| note.verify(key.verifier())).is_ok();
        let documented = theirs == "true" && common::only_ours_refuses(note);
        assert!(ours.to_string() == theirs || documented, "ours {ours}, Go's {theirs}: {:?}", String::from_utf8_lossy(note));
        good += usize::from(ours);
    }
    assert!((300..2900).contains(&good), "{good} of 3000 good notes: both kinds must be there");
}

/// Notes that Go signed are ours, byte for byte.
fn signed(go: &Go) {
    let key = SigningKey::generate(Algorithm::Ed25519, "example.com/log").unwrap();
    let mut runner = TestRunner::deterministic();
    let text = proptest::collection::vec("[ -~\u{a1}-\u{2fff}]{0,40}", 1..6).prop_map(|lines| lines.join("\n") + "\n");
    let texts: Vec<Vec<u8>> = (0..200).map(|_| text.new_tree(&mut runner).unwrap().current().into_bytes()).collect();
    for (text, signed) in texts.iter().zip(go.run(&["sign", &key.to_text()], &texts)) {
        let signed = STANDARD.decode(signed).unwrap();
        let note = SignedNote::parse(&signed).unwrap();
        note.verify(key.verifier()).unwrap();
        let text = std::str::from_utf8(text).unwrap();
        let ours = SignedNote::new(text.to_owned(), vec![key.sign(text, 0).unwrap()]).unwrap();
        assert_eq!(ours.encode().into_bytes(), signed);
    }
}
