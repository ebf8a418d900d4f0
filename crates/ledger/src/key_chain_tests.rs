use super::*;

const ORIGIN: &str = "example.com/log";

/// A log that was rotated twice: at size 10 with an overlap to 14, and at 20 with none.
fn rotated() -> (LogKey, KeyChain, String) {
    let mut key = LogKey::generate(ORIGIN).unwrap();
    let mut chain = KeyChain::begin(key.verifiers()).unwrap();
    let mut file = String::new();
    for (from, last) in [(11, 14), (21, 20)] {
        key.add_generation().unwrap();
        file += &chain.rotate(&key, from, last).unwrap();
    }
    (key, chain, file)
}

fn first(chain: &KeyChain) -> String {
    chain.generations()[0].keys.iter().map(|key| format!("{key}\n")).collect()
}

fn first_key(chain: &KeyChain) -> &VerifierKey {
    &chain.generations()[0].keys[0]
}

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint { origin: ORIGIN.to_owned(), size, root: [8; 32] }
}

fn parse(first: &str, file: &str) -> Result<KeyChain, KeyChainError> {
    KeyChain::parse(first.as_bytes(), Some(file.as_bytes()))
}

#[test]
fn the_file_gives_the_chain_back() {
    let (_, chain, file) = rotated();
    assert_eq!(parse(&first(&chain), &file).unwrap(), chain);
    assert_eq!(KeyChain::parse(first(&chain).as_bytes(), None).unwrap().generations().len(), 1);
    let signers = |size| chain.at(size).count();
    assert_eq!([0, 10, 11, 14, 15, 20, 21, 1000].map(signers), [2, 2, 4, 4, 2, 2, 2, 2]);
    assert_eq!(chain.at(15).collect::<Vec<_>>(), chain.generations()[1].keys.iter().collect::<Vec<_>>());
    assert!(chain.newest().iter().all(|key| chain.contains(key)));
    assert_eq!([0, 14, 15, 20, 21, 1000].map(|size| chain.since(size).count()), [6, 6, 4, 4, 2, 2]);
}

#[test]
fn a_checkpoint_is_signed_by_the_keys_of_its_size_and_by_no_other() {
    let (key, chain, _) = rotated();
    for size in [5, 11, 14, 15, 21] {
        let text = checkpoint(size).text();
        let note = key.sign_by(&text, chain.at(size)).unwrap().encode();
        assert_eq!(chain.open_published(note.as_bytes()), Ok(checkpoint(size)));
        let history = history_form(note.as_bytes()).unwrap();
        assert_eq!(chain.open_history(history.as_bytes()), Ok(checkpoint(size)));
        assert!(chain.open_history(note.as_bytes()).is_err() && chain.open_published(history.as_bytes()).is_err());
        let cosigned = format!("{note}\u{2014} witness AAAAAAAB\n");
        assert!(chain.open(cosigned.as_bytes()).is_ok());
        assert_eq!(chain.open_published(cosigned.as_bytes()), Err(CheckpointError::NotExact));
        // One of the keys left out, or one of another time beside them.
        let due: Vec<&VerifierKey> = chain.at(size).collect();
        for left_out in 0..due.len() {
            let signers = due.iter().enumerate().filter(|(index, _)| *index != left_out).map(|(_, key)| *key);
            let note = key.sign_by(&text, signers).unwrap().encode();
            assert!(matches!(chain.open(note.as_bytes()), Err(KeyChainError::Checkpoint(CheckpointError::Note(_)))), "{size}");
        }
        for other in chain.generations().iter().flat_map(|generation| &generation.keys).filter(|key| !due.contains(key)) {
            let note = key.sign_by(&text, chain.at(size).chain([other])).unwrap().encode();
            let found = chain.open(note.as_bytes());
            assert!(matches!(found, Err(KeyChainError::Checkpoint(CheckpointError::Retired { .. }))), "{size}: {found:?}");
        }
    }
    // The retired keys alone.
    let old = key.sign_by(&checkpoint(30).text(), chain.generations()[0].keys.iter()).unwrap().encode();
    let found = chain.open(old.as_bytes()).unwrap_err().to_string();
    assert!(found.contains(&format!("{:08x}", first_key(&chain).id())) && found.contains("30 records"), "{found}");
}

#[test]
fn a_rotation_that_the_old_keys_did_not_sign_is_refused() {
    let key = LogKey::generate(ORIGIN).unwrap();
    let chain = KeyChain::begin(key.verifiers()).unwrap();
    let mut mine = LogKey::generate(ORIGIN).unwrap();
    mine.add_generation().unwrap();
    let mut forged = KeyChain::begin(vec![mine.generation(0)[0].clone(), mine.generation(0)[1].clone()]).unwrap();
    let statement = forged.rotate(&mine, 11, 14).unwrap();
    let found = parse(&first(&chain), &statement).unwrap_err().to_string();
    assert!(found.contains("not signed by"), "{found}");
    // Signed by the old Ed25519 key alone, as somebody with a quantum computer could.
    let both = LogKey::generate(ORIGIN).unwrap();
    let (ed25519, ml_dsa) = (both.verifiers()[0].clone(), both.verifiers()[1].clone());
    let mut thief = LogKey::from_text(&both.to_text()).unwrap();
    thief.add_generation().unwrap();
    let mut chain = KeyChain::begin(both.verifiers()).unwrap();
    let good = chain.rotate(&thief, 11, 14).unwrap();
    let line = |key: &VerifierKey| {
        let id = key.id().to_be_bytes();
        good.lines().find(|line| line.starts_with('\u{2014}') && signature_id(line) == id).unwrap().to_owned() + "\n"
    };
    assert!(parse(&format!("{ed25519}\n{ml_dsa}\n"), &good).is_ok());
    for missing in [&ed25519, &ml_dsa] {
        let found = parse(&format!("{ed25519}\n{ml_dsa}\n"), &good.replace(&line(missing), "")).unwrap_err().to_string();
        assert!(found.contains("not signed by"), "{found}");
    }
}

fn signature_id(line: &str) -> [u8; 4] {
    use base64::Engine as _;
    let base64 = line.rsplit(' ').next().unwrap();
    base64::engine::general_purpose::STANDARD.decode(base64).unwrap()[..4].try_into().unwrap()
}

#[test]
fn every_change_of_the_file_is_found() {
    let (_, chain, file) = rotated();
    let first = first(&chain);
    for index in (0..file.len()).step_by(7).chain(0..200) {
        let mut bytes = file.clone().into_bytes();
        bytes[index] ^= 1;
        assert!(KeyChain::parse(first.as_bytes(), Some(&bytes)).is_err(), "byte {index}");
    }
    let statements: Vec<String> = file.split_inclusive("\n\n").collect::<Vec<_>>().chunks(3).map(<[_]>::concat).collect();
    assert_eq!(statements.len(), 2);
    for (what, changed) in [
        ("swapped", [statements[1].as_str(), &statements[0]].concat()),
        ("the first left out", statements[1].clone()),
        ("repeated", [statements[0].as_str(), &statements[0]].concat()),
        ("something behind", format!("{file}x")),
        ("an empty line behind", format!("{file}\n")),
        ("cut", file[..file.len() - 1].to_owned()),
    ] {
        assert!(parse(&first, &changed).is_err(), "{what}");
    }
    assert!(parse(&first, &statements[0]).is_ok(), "the end cut off shows in the checkpoints that follow");
}

#[test]
fn sizes_that_do_not_follow_are_refused() {
    let (mut key, mut chain, _) = rotated();
    key.add_generation().unwrap();
    for (from, last) in [(0, 0), (14, 20), (21, 25), (30, 28), (30, u64::MAX)] {
        assert!(matches!(chain.rotate(&key, from, last), Err(KeyChainError::Rotation { number: 3, .. })), "{from} {last}");
    }
    assert!(chain.rotate(&key, 22, 21).is_ok());
    // The same keys again.
    assert!(chain.rotate(&key, 40, 40).is_err());
}

#[test]
fn the_first_keys_must_be_a_pair_of_one_name() {
    let key = LogKey::generate(ORIGIN).unwrap();
    let other = LogKey::generate("example.com/other").unwrap();
    let (pair, others) = (key.verifiers(), other.verifiers());
    let text = |keys: &[&VerifierKey]| keys.iter().map(|key| format!("{key}\n")).collect::<String>();
    assert!(parse(&text(&[&pair[0]]), "").is_ok() && parse(&text(&[&pair[0], &pair[1]]), "").is_ok());
    for bad in [
        text(&[]),
        text(&[&pair[1]]),
        text(&[&pair[1], &pair[0]]),
        text(&[&pair[0], &pair[0]]),
        text(&[&pair[0], &others[1]]),
        text(&[&pair[0], &pair[1], &pair[1]]),
        text(&[&pair[0]]) + "\n",
        text(&[&pair[0]]).trim_end().to_owned(),
    ] {
        assert!(matches!(parse(&bad, ""), Err(KeyChainError::First(_))), "{bad}");
    }
}
