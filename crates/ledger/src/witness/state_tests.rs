use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::proof::consistency;
use crate::tree::{Hash, leaf_hash, root_of};
use crate::witness::{Answer, read_answer};

const ORIGIN: &str = "example.com/log";

struct Log {
    keys: Vec<SigningKey>,
    leaves: Vec<Hash>,
}

impl Log {
    fn new(fork_at: u64) -> Self {
        let key = |algorithm| SigningKey::from_seed(algorithm, ORIGIN, Zeroizing::new([4; 32])).unwrap();
        let leaf = |index: u64| leaf_hash(&[index.to_be_bytes(), u64::from(index >= fork_at).to_be_bytes()].concat());
        Self { keys: vec![key(Algorithm::Ed25519), key(Algorithm::MlDsa44)], leaves: (0..40).map(leaf).collect() }
    }

    fn verifiers(&self) -> Vec<VerifierKey> {
        self.keys.iter().map(|key| key.verifier().clone()).collect()
    }

    fn request(&self, old: u64, size: u64) -> AddCheckpoint {
        let root = root_of(self.leaves[..usize::try_from(size).unwrap()].iter().copied());
        let text = Checkpoint { origin: ORIGIN.to_owned(), size, root }.text();
        let signatures = self.keys.iter().map(|key| key.sign(&text, 0).unwrap()).collect();
        let proof = consistency(&self.leaves.as_slice(), old, size).unwrap_or_default();
        AddCheckpoint { old, proof, checkpoint: SignedNote::new(text, signatures).unwrap() }
    }
}

fn open(dir: &TempDir, log: &Log) -> Witness {
    Witness::open(dir.path(), Some("witness.example/1"), log.verifiers()).unwrap()
}

fn ask(witness: &Witness, request: &AddCheckpoint) -> Answer {
    let reply = witness.add_checkpoint(request.encode().as_bytes(), 1_700_000_000);
    let keys: Vec<VerifierKey> = witness.verifiers().cloned().collect();
    read_answer(reply.status, reply.body.as_bytes(), &request.checkpoint, &keys)
}

fn cosigned(answer: &Answer) -> bool {
    matches!(answer, Answer::Cosigned(by) if by.len() == 2)
}

#[test]
fn a_growing_log_is_countersigned_and_a_fork_is_not_also_after_a_restart() {
    let (log, fork, dir) = (Log::new(99), Log::new(20), tempfile::tempdir().unwrap());
    let witness = open(&dir, &log);
    assert_eq!(witness.checkpoint(&hash_of(ORIGIN)).status, 404);
    for (old, size) in [(0, 7), (7, 7), (7, 8), (8, 30)] {
        assert!(cosigned(&ask(&witness, &log.request(old, size))), "{old} {size}");
        let served = witness.checkpoint(&hash_of(ORIGIN));
        let note = SignedNote::parse(served.body.as_bytes()).unwrap();
        assert_eq!((served.status, note.signatures().len()), (200, 4));
        for key in log.verifiers().iter().chain(witness.verifiers()) {
            note.verify(key).unwrap();
        }
    }
    drop(witness);
    let witness = open(&dir, &log);
    // The same size with another root, and a longer tree of another history, with the best proofs that there are.
    assert_eq!(ask(&witness, &fork.request(30, 30)), Answer::Inconsistent);
    assert_eq!(ask(&witness, &fork.request(30, 35)), Answer::Inconsistent);
    assert_eq!(ask(&witness, &log.request(20, 35)), Answer::Conflict(30));
    assert_eq!(ask(&witness, &fork.request(0, 20)), Answer::Conflict(30));
    assert!(cosigned(&ask(&witness, &log.request(30, 40))));
}

#[test]
fn each_wrong_request_gets_the_answer_of_the_specification() {
    let (log, dir) = (Log::new(99), tempfile::tempdir().unwrap());
    let witness = open(&dir, &log);
    let status = |request: &AddCheckpoint| witness.add_checkpoint(request.encode().as_bytes(), 1).status;
    assert_eq!(witness.add_checkpoint(b"nonsense", 1).status, 400);
    assert_eq!(ask(&witness, &log.request(3, 5)), Answer::Conflict(0));
    assert_eq!(status(&AddCheckpoint { proof: vec![[0; 32]], ..log.request(0, 5) }), 422, "a proof from nothing");
    assert_eq!(status(&log.request(0, 5)), 200);
    assert_eq!(status(&AddCheckpoint { old: 6, ..log.request(5, 5) }), 400, "the old size is larger");
    let mut wrong = log.request(5, 9);
    wrong.proof[0][0] ^= 1;
    assert_eq!(status(&wrong), 422);
    assert_eq!(status(&AddCheckpoint { proof: Vec::new(), ..log.request(5, 9) }), 422);
    // Another origin, no signature, a wrong signature beside a good one.
    let other = Checkpoint { origin: "other".to_owned(), size: 9, root: [0; 32] }.text();
    let by_log = log.keys[0].sign(&other, 0).unwrap();
    let of_other = AddCheckpoint { checkpoint: SignedNote::new(other, vec![by_log]).unwrap(), ..log.request(5, 9) };
    assert_eq!(status(&of_other), 404);
    let text = log.request(5, 9).checkpoint.text().to_owned();
    let stranger = SigningKey::generate(Algorithm::Ed25519, ORIGIN).unwrap().sign(&text, 0).unwrap();
    let unsigned = SignedNote::new(text.clone(), vec![stranger.clone()]).unwrap();
    assert_eq!(status(&AddCheckpoint { checkpoint: unsigned, ..log.request(5, 9) }), 403);
    let mut bad = log.keys[0].sign(&text, 0).unwrap();
    bad.signature[3] ^= 1;
    let beside = log.request(5, 9).checkpoint.with([bad]).unwrap();
    assert_eq!(status(&AddCheckpoint { checkpoint: beside, ..log.request(5, 9) }), 403);
    // Unknown signatures are passed over, and not kept.
    let more = log.request(5, 9).checkpoint.with([stranger]).unwrap();
    assert_eq!(status(&AddCheckpoint { checkpoint: more, ..log.request(5, 9) }), 200);
    assert_eq!(SignedNote::parse(witness.checkpoint(&hash_of(ORIGIN)).body.as_bytes()).unwrap().signatures().len(), 4);
}

#[test]
fn an_empty_tree_has_the_root_of_nothing() {
    let (log, dir) = (Log::new(99), tempfile::tempdir().unwrap());
    let witness = open(&dir, &log);
    let text = Checkpoint { origin: ORIGIN.to_owned(), size: 0, root: [1; 32] }.text();
    let note = SignedNote::new(text.clone(), vec![log.keys[0].sign(&text, 0).unwrap()]).unwrap();
    assert_eq!(ask(&witness, &AddCheckpoint { old: 0, proof: Vec::new(), checkpoint: note }), Answer::Inconsistent);
    assert!(cosigned(&ask(&witness, &log.request(0, 0))));
    assert!(cosigned(&ask(&witness, &log.request(0, 3))));
}

#[test]
fn of_two_requests_at_once_for_forks_one_is_countersigned() {
    let dir = tempfile::tempdir().unwrap();
    let (log, fork) = (Log::new(99), Log::new(10));
    let witness = Arc::new(open(&dir, &log));
    assert!(cosigned(&ask(&witness, &log.request(0, 10))));
    let requests: Vec<AddCheckpoint> = (11..31).flat_map(|size| [log.request(10, size), fork.request(10, size)]).collect();
    let threads: Vec<_> = requests
        .into_iter()
        .map(|request| {
            let witness = witness.clone();
            std::thread::spawn(move || cosigned(&ask(&witness, &request)))
        })
        .collect();
    assert_eq!(threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>(), 1);
}

#[test]
fn a_state_is_opened_once_and_only_whole() {
    let (log, dir) = (Log::new(99), tempfile::tempdir().unwrap());
    assert!(matches!(Witness::open(dir.path(), None, log.verifiers()), Err(WitnessError::NoName)));
    let witness = open(&dir, &log);
    let keys: Vec<VerifierKey> = witness.verifiers().cloned().collect();
    assert!(matches!(Witness::open(dir.path(), None, log.verifiers()), Err(WitnessError::InUse(_))));
    assert!(cosigned(&ask(&witness, &log.request(0, 4))));
    drop(witness);
    let path = dir.path().join(hash_of(ORIGIN));
    let good = std::fs::read(&path).unwrap();
    for index in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[index] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let opened = Witness::open(dir.path(), None, log.verifiers());
        // The log's own signature is not verified again: the keys that are trusted may have changed since.
        let of_log = opened.as_ref().is_ok_and(|witness| {
            let note = SignedNote::parse(witness.checkpoint(&hash_of(ORIGIN)).body.as_bytes()).unwrap();
            note.text().as_bytes() == &good[..note.text().len()]
        });
        assert!(of_log || matches!(opened, Err(WitnessError::Damaged { .. })), "byte {index}");
    }
    std::fs::write(&path, good).unwrap();
    let again = Witness::open(dir.path(), Some("other name"), log.verifiers()).unwrap();
    assert_eq!(again.verifiers().cloned().collect::<Vec<_>>(), keys);
}
