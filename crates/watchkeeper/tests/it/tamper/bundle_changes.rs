//! What somebody does to an evidence bundle, and what they then write anew so that it fits together again.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evidence::PAYLOAD_TYPE;
use ledger::LogKey;
use serde_json::{Value, json};

use super::Change;
use super::bundle::{Bundles, bag_if_any, bag_of};
use super::files::{Files, any_of, blank_in, cut_in, delete_in, flip_in, lengthen_in, replace, swap, swap_in, touched};
use crate::faults::Rng;

const STATEMENT: &str = "data/statement.dsse.json";
const CHECKPOINT: &str = "data/checkpoint";
const MANIFESTS: [&str; 2] = ["manifest-sha256.txt", "tagmanifest-sha256.txt"];

/// What follows from all other files.
pub(super) fn is_made_anew(path: &str) -> bool {
    MANIFESTS.contains(&path) || path == STATEMENT
}

/// How verification names a file: those of one record stand for each other, and which keys are missing the checkpoint tells.
pub(super) fn name_of(path: &str) -> &str {
    if path == "data/keys" {
        return CHECKPOINT;
    }
    let is_record = ["data/records/", "data/custody/", "data/tombstones/"].iter().any(|below| path.starts_with(below));
    match path.find('.') {
        Some(end) if is_record => &path[..=end],
        _ => path,
    }
}

/// Whose hand goes over the bundle after a change.
#[derive(Clone, Copy, PartialEq)]
enum Hand {
    /// Nothing is written anew.
    Nobody,
    /// The digests are: anybody can do that.
    Anybody,
    /// The statement is signed by a key of no log of ours, under the name of our key.
    Stranger,
    /// The statement is signed by the log's key that was retired.
    Retired,
    /// The statement is signed by the log's key.
    Holder,
}

const WITHOUT_THE_KEY: [Hand; 4] = [Hand::Nobody, Hand::Anybody, Hand::Stranger, Hand::Retired];
const WITH_THE_KEY: [Hand; 5] = [Hand::Nobody, Hand::Anybody, Hand::Stranger, Hand::Retired, Hand::Holder];
const THE_KEY: [Hand; 1] = [Hand::Holder];
const DIGESTS: [Hand; 1] = [Hand::Anybody];

type Make = fn(&mut Rng, &Bundles, &mut Files) -> bool;

/// Every change, with the hands that may go over the bundle after it. Whoever holds the log's key can state what they like of who,
/// why and how many: what they cannot do is to have recorded something else.
const KINDS: [(&str, &[Hand], Make); 38] = [
    ("bit flipped", &WITHOUT_THE_KEY, |rng, _, files| flip_in(rng, files, |_| true)),
    ("file cut", &WITHOUT_THE_KEY, |rng, _, files| cut_in(rng, files, |_| true)),
    ("file made longer", &WITHOUT_THE_KEY, |rng, _, files| lengthen_in(rng, files, |_| true)),
    ("zeros over a part", &WITHOUT_THE_KEY, |rng, _, files| blank_in(rng, files, |_| true)),
    ("file deleted", &WITHOUT_THE_KEY, |rng, _, files| delete_in(rng, files, |_| true)),
    ("two files swapped", &WITHOUT_THE_KEY, |rng, _, files| swap_in(rng, files, |_| true)),
    ("foreign file", &WITHOUT_THE_KEY, foreign),
    ("file of an older bundle", &WITHOUT_THE_KEY, |rng, bundles, files| take(rng, &bundles.older, files)),
    ("file of a neighbour's bundle", &WITHOUT_THE_KEY, |rng, bundles, files| take(rng, &bundles.neighbour, files)),
    ("file of a fork's bundle", &WITHOUT_THE_KEY, |rng, bundles, files| take(rng, &bundles.fork, files)),
    ("file of another log's bundle", &WITHOUT_THE_KEY, |rng, bundles, files| take(rng, &bundles.other, files)),
    ("record left out", &WITHOUT_THE_KEY, |rng, _, files| leave_out(rng, files, "data/records/")),
    ("record of custody left out", &WITHOUT_THE_KEY, |rng, _, files| leave_out(rng, files, "data/custody/")),
    ("tombstone left out", &WITHOUT_THE_KEY, |rng, _, files| leave_out(rng, files, "data/tombstones/")),
    ("record of a neighbour's bundle added", &WITHOUT_THE_KEY, add_record),
    ("two records swapped", &WITH_THE_KEY, swap_records),
    ("record of the fork", &WITH_THE_KEY, record_of_the_fork),
    ("value of a field altered", &WITH_THE_KEY, |rng, _, files| {
        in_field(rng, files, |_, field| set(field, "value", "\"forged\""))
    }),
    ("path of a field altered", &WITH_THE_KEY, |rng, _, files| in_field(rng, files, |_, field| set(field, "path", "/forged"))),
    ("salt of a field altered", &WITH_THE_KEY, |rng, _, files| in_field(rng, files, |rng, field| alter(rng, &mut field["salt"]))),
    ("place of a field altered", &WITH_THE_KEY, |rng, _, files| {
        in_field(rng, files, |_, field| {
            let place = field["index"].as_u64().unwrap();
            field["index"] = (place + 1).into();
            true
        })
    }),
    ("two fields swapped", &WITH_THE_KEY, swap_fields),
    ("hash of a field altered", &WITH_THE_KEY, |rng, _, files| in_list(rng, files, "hashes", alter)),
    ("text altered", &WITH_THE_KEY, |rng, _, files| in_list(rng, files, "contents", |_, content| alter_text(content))),
    ("salt of a text altered", &WITH_THE_KEY, |rng, _, files| {
        in_list(rng, files, "contents", |rng, content| {
            let name = if content.get("salt").is_some() { "salt" } else { "template_salt" };
            alter(rng, &mut content[name])
        })
    }),
    ("commitments of two texts swapped", &WITH_THE_KEY, swap_commitments),
    ("leaf altered", &WITH_THE_KEY, alter_leaf),
    ("hashes of a proof altered, swapped or dropped", &WITH_THE_KEY, edit_proof),
    ("item of a tombstone for another leaf", &WITH_THE_KEY, |rng, _, files| {
        edit_member(rng, files, |item| {
            let leaf = item["item"]["leaf"].as_u64().unwrap();
            item["item"]["leaf"] = (leaf + 4).into();
        })
    }),
    ("item of a tombstone for something else", &WITH_THE_KEY, |rng, _, files| {
        edit_member(rng, files, |item| {
            item["item"]["path"] = "event".into();
        })
    }),
    ("items of two tombstones swapped", &WITH_THE_KEY, |rng, _, files| {
        swap_in(rng, files, |path| path.ends_with(".members.jsonl"))
    }),
    ("statement altered", &DIGESTS, alter_statement),
    ("statement written another way", &DIGESTS, respell_statement),
    ("bundle of a fork that no witness saw", &THE_KEY, |_, bundles, files| replace(files, &bundles.fork, |_| true)),
    ("bundle of another log", &[Hand::Nobody], |_, bundles, files| replace(files, &bundles.other, |_| true)),
    ("keys of another log", &WITH_THE_KEY, |_, bundles, files| {
        replace(files, &bundles.other, |path| path == "data/vkey" || path == "data/keys")
    }),
    ("checkpoint signed by the retired key", &WITH_THE_KEY, |_, bundles, files| {
        write_checkpoint(files, &bundles.retired_checkpoint)
    }),
    ("countersignature taken away, and the policy weakened", &WITH_THE_KEY, take_witness_away),
];

/// Every change of a bundle.
pub(super) fn changes(bundles: &Bundles) -> Vec<(&'static str, Change<'_>)> {
    let change = |(name, hands, make): (&'static str, &'static [Hand], Make)| -> (&'static str, Change<'_>) {
        let change = move |rng: &mut Rng, files: &mut Files| {
            if !make(rng, bundles, files) {
                return None;
            }
            bag_if_any(files)?;
            // What is made anew only then is not what was changed; what the change itself touched is.
            let mut named = touched(&bundles.now, files);
            let hand = hands[rng.index(hands.len())];
            write_anew(bundles, files, hand);
            // The signature of somebody else is a fault of the statement, too.
            named.extend(matches!(hand, Hand::Stranger | Hand::Retired).then(|| STATEMENT.to_owned()));
            Some(named)
        };
        (name, Box::new(change))
    };
    KINDS.into_iter().map(change).collect()
}

/// Writes anew what follows from the other files, as far as that hand can.
fn write_anew(bundles: &Bundles, files: &mut Files, hand: Hand) {
    if hand == Hand::Nobody {
        return;
    }
    let stranger;
    let key = match hand {
        Hand::Stranger => {
            stranger = LogKey::generate("example.com/specimen").unwrap();
            Some((&stranger, &bundles.keys.new))
        }
        Hand::Retired => Some((&bundles.keys.old, &bundles.keys.old)),
        Hand::Holder => Some((&bundles.keys.new, &bundles.keys.new)),
        Hand::Nobody | Hand::Anybody => None,
    };
    if let Some((key, name)) = key
        && let Some((_, mut statement)) = statement_of(files)
    {
        let subjects = files.iter().filter(|(path, _)| !is_made_anew(path));
        let subject = |(path, bytes): (&String, &Vec<u8>)| json!({ "digest": { "sha256": sha256(bytes) }, "name": path });
        statement["subject"] = subjects.map(subject).collect();
        let payload = format!("{statement}\n");
        let signed = key.sign(&format!("DSSEv1 {} {PAYLOAD_TYPE} {} {payload}", PAYLOAD_TYPE.len(), payload.len())).unwrap();
        let key_id = format!("{}+{:08x}", name.verifier().name(), name.verifier().id());
        let signature = STANDARD.encode(&signed.signatures()[0].signature);
        let envelope = json!({
            "payload": STANDARD.encode(&payload), "payloadType": PAYLOAD_TYPE,
            "signatures": [{ "keyid": key_id, "sig": signature }],
        });
        files.insert(STATEMENT.to_owned(), envelope.to_string().into_bytes());
    }
    let mut bag = bag_of(files);
    bag.close().unwrap();
    for name in MANIFESTS {
        files.insert(name.to_owned(), bag.get(name).unwrap().to_vec());
    }
}

fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The envelope and what is signed in it.
fn statement_of(files: &Files) -> Option<(Value, Value)> {
    let envelope: Value = serde_json::from_slice(files.get(STATEMENT)?).ok()?;
    let payload = STANDARD.decode(envelope.get("payload")?.as_str()?).ok()?;
    let statement = serde_json::from_slice(&payload).ok()?;
    Some((envelope, statement))
}

fn foreign(rng: &mut Rng, bundles: &Bundles, files: &mut Files) -> bool {
    const NAMES: [&str; 8] = [
        "notes.txt",
        "data/notes.txt",
        "data/records/7.json",
        "data/records/1.txt",
        "data/custody/1.leaf",
        "data/timestamps/1.tsr",
        "data/tombstones/39.members.jsonl",
        "data/records/x",
    ];
    let Some(source) = any_of(rng, &bundles.now, |_| true) else { return false };
    files.insert(NAMES[rng.index(NAMES.len())].to_owned(), bundles.now[&source].clone()).is_none()
}

/// A file of another bundle in its place.
fn take(rng: &mut Rng, from: &Files, files: &mut Files) -> bool {
    let Some(path) = any_of(rng, from, |_| true) else { return false };
    files.insert(path.clone(), from[&path].clone());
    true
}

/// What the files of one record begin with.
fn any_record(rng: &mut Rng, files: &Files, below: &str) -> Option<String> {
    any_of(rng, files, |path| path.starts_with(below) && path.ends_with(".json")).map(|path| path.replace(".json", "."))
}

fn leave_out(rng: &mut Rng, files: &mut Files, below: &str) -> bool {
    let Some(record) = any_record(rng, files, below) else { return false };
    files.retain(|path, _| !path.starts_with(&record));
    true
}

fn add_record(rng: &mut Rng, bundles: &Bundles, files: &mut Files) -> bool {
    let Some(record) = any_record(rng, &bundles.neighbour, "data/records/") else { return false };
    let theirs = bundles.neighbour.iter().filter(|(path, _)| path.starts_with(&record));
    files.extend(theirs.map(|(path, bytes)| (path.clone(), bytes.clone())));
    true
}

fn swap_records(rng: &mut Rng, _: &Bundles, files: &mut Files) -> bool {
    let (Some(a), Some(b)) = (any_record(rng, files, "data/"), any_record(rng, files, "data/")) else { return false };
    a != b && ["json", "leaf", "tlog-proof"].iter().all(|suffix| swap(files, &format!("{a}{suffix}"), &format!("{b}{suffix}")))
}

/// The same record of the other history, with its proof or with ours.
fn record_of_the_fork(rng: &mut Rng, bundles: &Bundles, files: &mut Files) -> bool {
    let Some(record) = any_record(rng, files, "data/records/") else { return false };
    let suffixes: &[&str] = if rng.below(2) == 0 { &["json", "leaf"] } else { &["json", "leaf", "tlog-proof"] };
    for suffix in suffixes {
        let path = format!("{record}{suffix}");
        files.insert(path.clone(), bundles.fork[&path].clone());
    }
    true
}

/// Changes the JSON of a record.
fn in_record(rng: &mut Rng, files: &mut Files, edit: impl FnOnce(&mut Rng, &mut Value) -> bool) -> bool {
    let is_record = |path: &str| path.ends_with(".json") && path != STATEMENT;
    let Some(path) = any_of(rng, files, is_record) else { return false };
    let mut record: Value = serde_json::from_slice(&files[&path]).unwrap();
    let edited = edit(rng, &mut record);
    files.insert(path, record.to_string().into_bytes());
    edited
}

/// Changes an item of one of a record's lists.
fn in_list(rng: &mut Rng, files: &mut Files, list: &str, edit: impl FnOnce(&mut Rng, &mut Value) -> bool) -> bool {
    in_record(rng, files, |rng, record| {
        let items = record[list].as_array_mut().unwrap();
        if items.is_empty() {
            return false;
        }
        let at = rng.index(items.len());
        edit(rng, &mut items[at])
    })
}

fn in_field(rng: &mut Rng, files: &mut Files, edit: impl FnOnce(&mut Rng, &mut Value) -> bool) -> bool {
    in_list(rng, files, "fields", edit)
}

fn set(of: &mut Value, name: &str, value: &str) -> bool {
    of[name] = value.into();
    true
}

/// Another hexadecimal digit somewhere.
fn alter(rng: &mut Rng, hex: &mut Value) -> bool {
    let mut text = hex.as_str().unwrap().as_bytes().to_vec();
    let at = rng.index(text.len());
    text[at] = if text[at] == b'0' { b'1' } else { b'0' };
    *hex = String::from_utf8(text).unwrap().into();
    true
}

fn swap_fields(rng: &mut Rng, _: &Bundles, files: &mut Files) -> bool {
    in_record(rng, files, |rng, record| {
        let fields = record["fields"].as_array_mut().unwrap();
        let (a, b) = (rng.index(fields.len()), rng.index(fields.len()));
        let places = [fields[a]["index"].clone(), fields[b]["index"].clone()];
        fields.swap(a, b);
        [fields[a]["index"], fields[b]["index"]] = places;
        a != b
    })
}

fn alter_text(content: &mut Value) -> bool {
    let name = if content.get("text").is_some() { "text" } else { "template" };
    let text = content[name].as_str().map(|text| text.replacen("say", "lie", 1));
    text.is_some_and(|text| {
        content[name] = text.into();
        true
    })
}

fn swap_commitments(rng: &mut Rng, _: &Bundles, files: &mut Files) -> bool {
    in_record(rng, files, |rng, record| {
        let contents = record["contents"].as_array_mut().unwrap();
        if contents.len() < 2 {
            return false;
        }
        let at = rng.index(contents.len() - 1);
        let ids = [contents[at]["id"].clone(), contents[at + 1]["id"].clone()];
        [contents[at + 1]["id"], contents[at]["id"]] = ids;
        true
    })
}

/// In both files that hold it.
fn alter_leaf(rng: &mut Rng, _: &Bundles, files: &mut Files) -> bool {
    let Some(record) = any_record(rng, files, "data/") else { return false };
    let Some(leaf) = files.get_mut(&format!("{record}leaf")) else { return false };
    let at = rng.index(leaf.len());
    leaf[at] ^= 1 << rng.below(8);
    let hex: String = leaf.iter().map(|byte| format!("{byte:02x}")).collect();
    let json = files.get_mut(&format!("{record}json")).unwrap();
    let mut shown: Value = serde_json::from_slice(json).unwrap();
    shown["leaf"] = hex.into();
    *json = shown.to_string().into_bytes();
    true
}

/// The lines of a proof between its head and the checkpoint.
fn edit_proof(rng: &mut Rng, _: &Bundles, files: &mut Files) -> bool {
    let Some(path) = any_of(rng, files, |path| path.ends_with(".tlog-proof")) else { return false };
    let text = String::from_utf8(files[&path].clone()).unwrap();
    let (head, checkpoint) = text.split_once("\n\n").unwrap();
    let mut lines: Vec<String> = head.lines().map(str::to_owned).collect();
    let first = lines.iter().position(|line| line.starts_with("index ")).unwrap();
    let (a, b) = (first + 1 + rng.index(lines.len() - first - 1), first + 1 + rng.index(lines.len() - first - 1));
    match rng.below(4) {
        0 => lines.swap(a, b),
        1 => drop(lines.remove(a)),
        2 => lines.insert(b, lines[a].clone()),
        _ => lines[first] = format!("index {}", rng.below(43)),
    }
    files.insert(path, format!("{}\n\n{checkpoint}", lines.join("\n")).into_bytes());
    true
}

fn edit_member(rng: &mut Rng, files: &mut Files, edit: impl FnOnce(&mut Value)) -> bool {
    let Some(path) = any_of(rng, files, |path| path.ends_with(".members.jsonl")) else { return false };
    let text = String::from_utf8(files[&path].clone()).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = rng.index(lines.len());
    let mut item: Value = serde_json::from_str(&lines[at]).unwrap();
    edit(&mut item);
    lines[at] = item.to_string();
    files.insert(path, format!("{}\n", lines.join("\n")).into_bytes());
    true
}

/// Other words under the same signature.
fn alter_statement(rng: &mut Rng, _: &Bundles, files: &mut Files) -> bool {
    let Some((mut envelope, mut statement)) = statement_of(files) else { return false };
    let about = &mut statement["predicate"];
    match rng.below(4) {
        0 => about["reason"] = "another".into(),
        1 => about["recordsSelected"] = 9.into(),
        2 => about["exportedBy"] = "somebody".into(),
        _ => statement["subject"].as_array_mut().unwrap().truncate(3),
    }
    envelope["payload"] = STANDARD.encode(format!("{statement}\n")).into();
    files.insert(STATEMENT.to_owned(), envelope.to_string().into_bytes());
    true
}

/// The same words under the same signature, in an envelope that nobody wrote.
fn respell_statement(rng: &mut Rng, _: &Bundles, files: &mut Files) -> bool {
    let Some((envelope, _)) = statement_of(files) else { return false };
    let text = match rng.below(4) {
        0 => serde_json::to_string_pretty(&envelope).unwrap(),
        1 => format!("{envelope}\n"),
        2 => envelope.to_string().replacen(':', ": ", 1),
        _ => envelope.to_string().replacen("vnd.in-toto", "vnd.in\\u002dtoto", 1),
    };
    files.insert(STATEMENT.to_owned(), text.into_bytes());
    true
}

/// A checkpoint in its own file and in every proof.
fn write_checkpoint(files: &mut Files, note: &[u8]) -> bool {
    let note = String::from_utf8(note.to_vec()).unwrap();
    for (path, bytes) in files.iter_mut().filter(|(path, _)| path.ends_with(".tlog-proof") || *path == CHECKPOINT) {
        let text = String::from_utf8(bytes.clone()).unwrap();
        *bytes = match text.split_once("\n\n") {
            Some((head, _)) if path != CHECKPOINT => format!("{head}\n\n{note}").into_bytes(),
            _ => note.clone().into_bytes(),
        };
    }
    true
}

fn take_witness_away(rng: &mut Rng, bundles: &Bundles, files: &mut Files) -> bool {
    let text = String::from_utf8(bundles.now[CHECKPOINT].clone()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("witness.example")).collect();
    if rng.below(2) == 0 {
        let policy = String::from_utf8(bundles.now["data/policy"].clone()).unwrap();
        files.insert("data/policy".to_owned(), policy.replace("quorum one", "quorum none").into_bytes());
    } else {
        files.remove("data/policy");
    }
    write_checkpoint(files, format!("{}\n", lines.join("\n")).as_bytes())
}
