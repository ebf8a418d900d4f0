//! The second verifier, which is in Python and was written from the pages in `docs/reference`, over the same cases as the first:
//! both must say the same of each. And others' tools over a bundle. `cargo xtask setup` makes their environment.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use common::Log;
use event::{ContentRef, Event, Key, Kind, Source, SourcePath, Timestamp};
use journal::{Append, DerivedKeys, FrameKeys, Journal, Options, Seq};
use ledger::{Disclosure, Erasures, Ledger, LogKey, Selection, StoredRecord, Verdict};
use sanitize::Clean;
use serde_json::{Value, json};
use watchkeeper_evidence::{Bag, Overall, Trust, verify_bag};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn python() -> PathBuf {
    let python = root().join("target/clients/verifier/bin/python");
    assert!(python.exists(), "{} is missing: run `cargo xtask setup`", python.display());
    python
}

/// The second verifier, running.
struct Second {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Second {
    fn start() -> Self {
        let mut command = Command::new(python());
        command.arg(root().join("tests/verifier/wkverify.py")).arg("batch").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    fn ask(&mut self, case: &Value) -> (String, Value) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{case}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{case}: {error}: {answer}"))
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Numbers that are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }
}

fn word(overall: Overall) -> &'static str {
    match overall {
        Overall::Intact => "intact",
        Overall::Incomplete => "incomplete",
        Overall::NotProved => "not proved",
        Overall::Tampered => "tampered",
    }
}

#[test]
fn both_verifiers_say_the_same_of_bundles() {
    let mut second = Second::start();
    let mut dice = Dice(1);
    let mut log = Log::new(40);
    log.stamp(&[40]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bag.tar.gz");
    let trust = Trust { key: Some(log.key.verifier()), ..Trust::default() };
    let mut agree = |bag: &Bag, what: &str| {
        bag.write_tar_gz(&path, "bag").unwrap();
        let ours = verify_bag(bag, &trust);
        let (theirs, fault) = second.ask(&json!(["bundle", path, trust.key.as_ref().unwrap().to_string()]));
        assert_eq!(word(ours.overall), theirs, "{what}: {:?}, {fault}", ours.fault);
        std::fs::remove_file(&path).unwrap();
        ours.overall
    };
    assert_eq!(agree(&log.export(1, Selection::all()), "not witnessed"), Overall::Intact);
    log.cosign();
    let bags: Vec<Bag> = (0..common::SESSIONS).map(|session| log.export(session, Selection::all())).collect();
    for bag in &bags {
        assert_eq!(agree(bag, "whole"), Overall::Intact);
    }
    let without = log.exporting(2, &log.session(2), Selection::all(), &[], |export| export.bag().unwrap().0);
    assert_eq!(agree(&without, "without its tombstone"), Overall::Incomplete);
    let in_part = Log { not_searched: 1, ..log };
    assert_eq!(agree(&in_part.export(1, Selection::all()), "of the newest records alone"), Overall::Incomplete);
    log = Log { not_searched: 0, ..in_part };
    let some = Selection { field: &|path, _| path != "/identity", ..Selection::all() };
    assert_eq!(agree(&log.export(1, some), "in part"), Overall::Intact);

    let (note, policy) = log.cosigned.clone().unwrap();
    for (what, policy, expected) in [
        ("more than there are", policy.replace("quorum some", "quorum two"), Overall::Tampered),
        ("none", policy.replace("quorum some", "quorum none"), Overall::Intact),
        ("no quorum", policy.replace("quorum some\n", ""), Overall::Tampered),
        ("a group of one", policy.replace("group some any", "group some 1"), Overall::Intact),
        ("all", policy.replace("group some any", "group some all"), Overall::Tampered),
        ("a member twice", policy.replace("2 w1 w3", "2 w1 w1"), Overall::Tampered),
        ("unknown member", policy.replace("2 w1 w3", "2 w1 w4"), Overall::Tampered),
        ("threshold", policy.replace("2 w1 w3", "3 w1 w3"), Overall::Tampered),
        ("word", format!("{policy}and more\n"), Overall::Tampered),
        ("not ended", policy.trim_end().to_owned(), Overall::Tampered),
    ] {
        let changed = Log { cosigned: Some((note.clone(), policy)), ..log };
        assert_eq!(agree(&changed.export(1, Selection::all()), what), expected, "{what}");
        log = changed;
    }
    log.cosigned = Some((note.replacen("w1.example ", "w7.example ", 1), policy.clone()));
    assert_eq!(agree(&log.export(1, Selection::all()), "a witness less"), Overall::Intact);
    log.cosigned = Some((note.replacen("w2.example ", "w7.example ", 1), policy));
    assert_eq!(agree(&log.export(1, Selection::all()), "the other less"), Overall::Tampered);

    let mut tampered = 0;
    for round in 0..200 {
        let mut bag = bags[1 + dice.below(2)].clone();
        let names: Vec<String> = bag.files().map(|(name, _)| name.to_owned()).collect();
        let name = names[dice.below(names.len())].clone();
        let mut bytes = bag.remove(&name).unwrap();
        let at = dice.below(bytes.len());
        match round % 5 {
            0 => {}
            1 => bytes.truncate(at),
            2 => bytes.insert(at, b'0' + u8::try_from(dice.below(10)).unwrap()),
            3 => bytes.clone_from(&bags[5].get(&name).unwrap_or(b"{}").to_vec()),
            _ => bytes[at] ^= 1 << dice.below(7),
        }
        if round % 5 > 0 {
            bag.put(&name, bytes).unwrap();
        }
        if dice.below(3) > 0 {
            bag.close().unwrap();
        }
        tampered += u32::from(agree(&bag, &format!("round {round}: {name} at {at}")) == Overall::Tampered);
    }
    assert!(tampered > 150, "the changes change something: {tampered}");
}

#[test]
fn both_verifiers_say_the_same_of_each_part_of_a_disclosure() {
    let mut second = Second::start();
    let mut dice = Dice(2);
    let log = Log::new(20);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shown.json");
    let log_id = LogKey::verifier(&log.key).log_id();
    let hex: String = log_id.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut outcomes = [0; 3];
    for round in 0..300 {
        let record = &log.stored[dice.below(log.stored.len())];
        let withheld = dice.below(14);
        let show = Selection {
            field: &|path, _| path.len() % 14 != withheld,
            content: &|id, _| usize::from(id.as_bytes()[0]) % 7 != withheld,
            token: &|token| token.len() % 3 != withheld % 3 || withheld > 6,
        };
        let shown = Disclosure::of(record, log_id, &show).unwrap();
        let mut value: Value = serde_json::from_slice(&shown.to_json().unwrap()).unwrap();
        for _ in 0..round % 3 {
            change(&mut value, &mut dice);
        }
        let text = serde_json::to_vec(&value).unwrap();
        std::fs::write(&path, &text).unwrap();
        let (theirs, parts) = second.ask(&json!(["disclosure", path, hex]));
        let case = || format!("round {round}: {}", String::from_utf8_lossy(&text));
        match Disclosure::parse(&text).map(|shown| shown.verify(log_id, &Erasures::default())) {
            Ok(Ok(verified)) => {
                let mut ours: Vec<String> = verified.fields.iter().map(name).collect();
                for content in &verified.contents {
                    ours.push(name(&content.verdict));
                    ours.extend(content.spans.iter().map(name));
                }
                let Value::Array(parts) = parts else { panic!("{parts}: {}", case()) };
                let theirs: Vec<&str> = parts.iter().map(|part| part[1].as_str().unwrap()).collect();
                assert_eq!(ours, theirs, "{}", case());
                outcomes[usize::from(ours.iter().any(|verdict| verdict == "tampered"))] += 1;
            }
            Ok(Err(_)) | Err(_) => {
                assert!(theirs == "tampered" && parts.is_string(), "refused by us, {parts}: {}", case());
                outcomes[2] += 1;
            }
        }
    }
    assert!(outcomes.iter().all(|count| *count > 20), "each outcome comes: {outcomes:?}");
}

fn name(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Erased { tombstone } => format!("erased:{tombstone}"),
        Verdict::Disclosed => "disclosed".to_owned(),
        Verdict::Withheld => "withheld".to_owned(),
        Verdict::Tampered => "tampered".to_owned(),
        Verdict::Unknown => "unknown".to_owned(),
    }
}

/// Changes one thing somewhere in the JSON.
fn change(value: &mut Value, dice: &mut Dice) {
    match value {
        Value::Object(members) if dice.below(12) > 0 => {
            let keys: Vec<String> = members.keys().cloned().collect();
            if keys.is_empty() {
                return;
            }
            let key = &keys[dice.below(keys.len())];
            change(members.get_mut(key).unwrap(), dice);
        }
        Value::Object(members) => match members.keys().nth(dice.below(members.len().max(1))).cloned() {
            Some(key) if dice.below(2) == 0 => {
                members.remove(&key);
            }
            _ => {
                members.insert("more".to_owned(), json!(1));
            }
        },
        Value::Array(items) if !items.is_empty() && dice.below(4) > 0 => {
            let at = dice.below(items.len());
            change(&mut items[at], dice);
        }
        Value::Array(items) if items.is_empty() => items.push(json!("field/1")),
        Value::Array(items) => {
            let at = dice.below(items.len());
            match dice.below(3) {
                0 => drop(items.remove(at)),
                1 => items.insert(at, items[at].clone()),
                _ => items.swap(0, at),
            }
        }
        Value::String(text) => {
            let at = dice.below(text.len().max(1));
            match (text.is_char_boundary(at) && text.is_char_boundary(at + 1), dice.below(3)) {
                (true, 0) if at < text.len() => text.replace_range(at..=at, "0"),
                (true, 1) if at < text.len() => text.replace_range(at..=at, ""),
                _ => text.push('a'),
            }
        }
        Value::Number(number) => {
            let number = number.as_u64().unwrap_or(0);
            *value = if dice.below(4) == 0 { json!(number.to_string()) } else { json!(number + 1) };
        }
        other => *other = json!(null),
    }
}

#[test]
fn both_verifiers_say_the_same_of_a_ledgers_directory() {
    let mut second = Second::start();
    let mut dice = Dice(3);
    let (dir, keys) = (tempfile::tempdir().unwrap(), Arc::new(DerivedKeys::new(&[7; 32])));
    let frame_keys: Arc<dyn FrameKeys> = keys.clone();
    let (journal, _) = Journal::open(dir.path(), Options::default(), frame_keys).unwrap();
    let text = LogKey::generate("test.example/log").unwrap().to_text();
    let mut ledger = Ledger::open(dir.path(), LogKey::from_text(&text).unwrap()).unwrap();
    let log_id = LogKey::from_text(&text).unwrap().verifier().log_id();
    let mut reader = journal.reader(Seq(0)).unwrap();
    let mut export = Vec::new();
    for size in [3_u64, 256, 300, 521] {
        let batch = (ledger.size()..size).map(|seq| {
            let source = Source::new(SourcePath::Api, Key::of("watchkeeper"));
            let mut event: Event<Clean, ContentRef> = Event::new(Kind::ToolCall, Clean::literal("run"), source);
            event.time = Timestamp::from_unix_ns(seq);
            Append::of(&event, Vec::new()).unwrap()
        });
        journal.append(batch.collect()).unwrap().wait().unwrap();
        while let Some(record) = reader.next().unwrap() {
            ledger.append(&record).unwrap();
            let shown = Disclosure::of(&StoredRecord::whole(record), log_id, &Selection::all()).unwrap();
            export.extend(shown.to_json().unwrap());
            export.push(b'\n');
        }
        ledger.seal(Timestamp::now()).unwrap().unwrap();
    }
    journal.close().unwrap();
    let records = dir.path().join("records.jsonl");
    std::fs::write(&records, &export).unwrap();
    let mut agree = |what: &str| {
        let ours = ledger::verify(dir.path(), &*keys).unwrap().fault;
        for records in [json!(records), json!(null)] {
            let (theirs, fault) = second.ask(&json!(["ledger", dir.path(), records]));
            assert_eq!(if ours.is_none() { "intact" } else { "tampered" }, theirs, "{what}: {ours:?}, {fault}");
        }
        ours.is_none()
    };
    assert!(agree("whole"));
    let files = files(&dir.path().join("ledger"));
    assert!(files.len() > 8);
    for round in 0..90 {
        let file = &files[round % files.len()];
        let good = std::fs::read(file).unwrap();
        let mut bytes = good.clone();
        let at = dice.below(bytes.len());
        match round / files.len() % 3 {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes.truncate(at),
            _ => bytes.insert(at, bytes[at]),
        }
        std::fs::write(file, &bytes).unwrap();
        agree(&format!("round {round}: {} at {at}", file.display()));
        if round < files.len() {
            std::fs::remove_file(file).unwrap();
            agree(&format!("{} removed", file.display()));
        }
        std::fs::write(file, &good).unwrap();
    }
    for name in ["more", "tile/9/000", "tile/0/7", "tile/0/000.p/0", "tile/0/005", "tile/entries/003.p/1", "checkpoint.tmp"] {
        let file = dir.path().join("ledger").join(name);
        let parent_was_there = file.parent().unwrap().exists();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, b"more").unwrap();
        assert_eq!(agree(&format!("{name} added")), name == "checkpoint.tmp");
        std::fs::remove_file(&file).unwrap();
        if !parent_was_there {
            std::fs::remove_dir(file.parent().unwrap()).unwrap();
        }
    }
    assert!(agree("whole again"));
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        files.extend(if path.is_dir() { self::files(&path) } else { vec![path] });
    }
    files.sort();
    files
}

#[test]
fn bagit_and_securesystemslib_take_a_bundle_and_not_a_changed_one() {
    let mut log = Log::new(20);
    log.stamp(&[20, 22]);
    log.cosign();
    let dir = tempfile::tempdir().unwrap();
    let peers = |bag: &Bag, name: &str| {
        let path = dir.path().join(name);
        bag.write_dir(&path).unwrap();
        let output = Command::new(python()).arg(root().join("tests/verifier/peers.py")).arg(path).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let bag = log.export(1, Selection::all());
    let (taken, complaint) = peers(&bag, "good");
    assert!(taken, "{complaint}");
    let mut changed = bag.clone();
    let mut page = changed.remove("data/index.html").unwrap();
    page[100] ^= 1;
    changed.put("data/index.html", page).unwrap();
    let (taken, complaint) = peers(&changed, "changed");
    assert!(!taken && complaint.contains("index.html"), "{complaint}");
    let mut forged = bag.clone();
    forged.remove("data/statement.dsse.json").unwrap();
    let envelope = String::from_utf8(bag.get("data/statement.dsse.json").unwrap().to_vec()).unwrap();
    forged.put("data/statement.dsse.json", envelope.replacen("\"payload\":\"ey", "\"payload\":\"eZ", 1).into_bytes()).unwrap();
    forged.close().unwrap();
    let (taken, complaint) = peers(&forged, "forged");
    assert!(!taken && complaint.contains("Verification"), "{complaint}");
}
