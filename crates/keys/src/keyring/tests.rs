use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;

use aws_lc_rs::hmac;
use proptest::prelude::*;

use super::*;
use crate::root::{AgeRootKey, FileRootKey};

fn root() -> Arc<dyn RootKey> {
    Arc::new(FileRootKey::new(&Secret::random().unwrap()).unwrap())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn contains(dir: &Path, needle: &[u8]) -> bool {
    fs::read_dir(dir).unwrap().any(|entry| {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

fn sign(subject: &Subject) -> Vec<u8> {
    hmac::sign(&subject.key, b"x").as_ref().to_vec()
}

#[test]
fn a_key_is_given_and_destroyed_for_its_own_purpose_alone() {
    let dir = tempfile::tempdir().unwrap();
    let keyring = Keyring::open(dir.path(), root()).unwrap();
    let (journal, key) = keyring.create(Purpose::Journal).unwrap();
    let (segment, _) = keyring.create(Purpose::Segment).unwrap();
    assert!(keyring.get(Purpose::Segment, journal).unwrap().is_none());
    let refused = keyring.destroy(Purpose::Segment, &[segment, journal]);
    assert!(matches!(refused, Err(KeysError::Purpose { id, purpose: "segment" }) if id == journal));
    assert_eq!(keyring.get(Purpose::Journal, journal).unwrap().unwrap().expose(), key.expose());
    assert!(keyring.get(Purpose::Segment, segment).unwrap().is_some(), "all of it or nothing");
    keyring.destroy(Purpose::Segment, &[segment]).unwrap();
    assert_eq!(keyring.state(journal).unwrap(), KeyState::Live);
}

#[test]
fn what_was_made_is_there_after_a_restart() {
    for root in [root(), Arc::new(AgeRootKey::generate().0) as Arc<dyn RootKey>] {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(dir.path(), root.clone()).unwrap();
        let (id, key) = keyring.create(Purpose::Journal).unwrap();
        let token = keyring.named_or_create::<32>("token key").unwrap();
        keyring.put_named("log key", b"text").unwrap();
        let subject = keyring.subject(&[7; 32]).unwrap();
        assert!(matches!(Keyring::open(dir.path(), root.clone()), Err(KeysError::Locked(_))));
        drop(keyring);
        let keyring = Keyring::open(dir.path(), root.clone()).unwrap();
        assert_eq!(keyring.get(Purpose::Journal, id).unwrap().unwrap().expose(), key.expose());
        assert_eq!((keyring.state(id).unwrap(), keyring.live(Purpose::Journal).unwrap()[0].0), (KeyState::Live, id));
        assert!(keyring.live(Purpose::Segment).unwrap().is_empty());
        assert_eq!(keyring.named_or_create::<32>("token key").unwrap(), token);
        assert!(matches!(keyring.named_or_create::<16>("token key"), Err(KeysError::Value { .. })));
        assert_eq!(**keyring.named("log key").unwrap().unwrap(), *b"text");
        assert!(keyring.named("other").unwrap().is_none());
        let again = keyring.subject(&[7; 32]).unwrap();
        assert_eq!((again.id, sign(&again)), (subject.id, sign(&subject)));
        assert_eq!(keyring.find_subject(&[7; 32]).unwrap(), Some(subject.id));
        assert_eq!(keyring.find_subject(&[8; 32]).unwrap(), None);
        let unknown = KeyId::from_bytes([9; 16]).unwrap();
        assert_eq!(keyring.state(unknown).unwrap(), KeyState::Unknown);
        assert!(keyring.get(Purpose::Journal, unknown).unwrap().is_none());
        keyring.destroy(Purpose::Journal, &[unknown]).unwrap();
        assert_eq!(keyring.root_id().unwrap(), root.id());
        // Nothing of it is readable in the files.
        for plain in [&key.expose()[..], &token[..], b"token key", b"data_keys", b"SQLite format 3", &[7; 32], &id.as_bytes()[..]]
        {
            assert!(!contains(dir.path(), plain), "{}", event::hex::encode(plain));
        }
        use std::os::unix::fs::PermissionsExt as _;
        for entry in fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert!(mode == 0o600 || entry.file_name() == LOCK_FILE, "{:?} {mode:o}", entry.path());
        }
    }
}

#[test]
fn another_root_key_and_missing_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("keys");
    let own = root();
    assert!(matches!(Keyring::open_existing(&at, own.clone()), Err(KeysError::NoKeyring(_))));
    drop(Keyring::open(&at, own.clone()).unwrap());
    for open in [Keyring::open, Keyring::open_existing] {
        assert!(matches!(open(&at, root()), Err(KeysError::WrongRoot { .. })));
    }
    fs::rename(at.join("keyring-1.db"), dir.path().join("aside")).unwrap();
    for open in [Keyring::open, Keyring::open_existing] {
        let error = open(&at, own.clone()).err().unwrap().to_string();
        assert!(error.contains("keyring-1.db") && error.contains("backup"), "{error}");
    }
    fs::rename(dir.path().join("aside"), at.join("keyring-1.db")).unwrap();
    fs::remove_file(at.join(TENANT_FILE)).unwrap();
    assert!(matches!(Keyring::open(&at, own), Err(KeysError::Missing { .. })), "a lost tenant key is not replaced by a new one");
}

#[test]
fn a_changed_tenant_key_never_opens_as_another() {
    let dir = tempfile::tempdir().unwrap();
    let own = root();
    let keyring = Keyring::open(dir.path(), own.clone()).unwrap();
    let (id, key) = keyring.create(Purpose::Store).unwrap();
    drop(keyring);
    let path = dir.path().join(TENANT_FILE);
    let bytes = fs::read(&path).unwrap();
    let mut refused = 0;
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1 << (place % 8);
        fs::write(&path, &changed).unwrap();
        match Keyring::open_existing(dir.path(), own.clone()) {
            Err(_) => refused += 1,
            Ok(keyring) => assert_eq!(keyring.get(Purpose::Store, id).unwrap().unwrap().expose(), key.expose(), "byte {place}"),
        }
    }
    assert!(refused >= bytes.len() - 2, "{refused} of {}", bytes.len());
    for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..cut]).unwrap();
        assert!(Keyring::open(dir.path(), own.clone()).is_err());
    }
}

#[test]
fn a_changed_keyring_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let own = root();
    let keyring = Keyring::open(dir.path(), own.clone()).unwrap();
    let (id, _) = keyring.create(Purpose::Store).unwrap();
    drop(keyring);
    let path = dir.path().join("keyring-1.db");
    let bytes = fs::read(&path).unwrap();
    for page in 0..bytes.len() / 4096 {
        let mut changed = bytes.clone();
        changed[page * 4096 + 1000] ^= 1;
        fs::write(&path, &changed).unwrap();
        let read = Keyring::open_existing(dir.path(), own.clone()).and_then(|keyring| {
            keyring.named("x")?;
            keyring.find_subject(&[1; 32])?;
            keyring.get(Purpose::Store, id)
        });
        assert!(read.is_err(), "page {page}");
    }
}

#[test]
fn a_destroyed_key_is_in_no_file_and_opens_with_nothing_that_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let (at, backup) = (dir.path().join("keys"), dir.path().join("backup"));
    let own = root();
    let keyring = Keyring::open(&at, own.clone()).unwrap();
    let (doomed, key) = keyring.create(Purpose::Segment).unwrap();
    let (kept, kept_key) = keyring.create(Purpose::Segment).unwrap();
    keyring.put_named("secret", b"a secret that is destroyed").unwrap();
    let subject = keyring.subject(&[1; 32]).unwrap();
    let other = keyring.subject(&[2; 32]).unwrap();
    copy(&at, &backup);
    let old_key = Tenant::read(&at).unwrap().unwrap().unwrap(&at, own.as_ref()).unwrap();

    keyring.destroy(Purpose::Segment, &[doomed]).unwrap();
    keyring.replace_named(&[("secret", b"another secret that is destroyed")], &["no such"]).unwrap();
    assert!(keyring.destroy_named("secret").unwrap());
    assert!(!keyring.destroy_named("secret").unwrap());
    assert_eq!(keyring.destroy_subject(&[1; 32]).unwrap(), Some(subject.id));
    assert_eq!(keyring.destroy_subject(&[1; 32]).unwrap(), None);

    assert!(keyring.get(Purpose::Segment, doomed).unwrap().is_none());
    assert!(matches!(keyring.state(doomed).unwrap(), KeyState::Destroyed { unix_s } if unix_s > 1_700_000_000));
    assert_eq!(keyring.get(Purpose::Segment, kept).unwrap().unwrap().expose(), kept_key.expose());
    assert!(keyring.named("secret").unwrap().is_none());
    let again = keyring.subject(&[1; 32]).unwrap();
    assert!(again.id != subject.id && sign(&again) != sign(&subject), "the same name is another subject now");
    assert_eq!(keyring.subject(&[2; 32]).unwrap().id, other.id);
    assert_eq!(generations(&at).unwrap().iter().map(|(generation, _)| *generation).max(), Some(5));
    assert!(generations(&at).unwrap().iter().all(|(generation, _)| *generation == 5));
    assert!(!contains(&at, key.expose()));

    // The copy opens with the tenant key of its own time: the test could find something.
    let old = |with: &Secret| {
        let connection = open_writer(&backup.join("keyring-1.db"), with)?;
        connection.query_row("SELECT key FROM data_keys WHERE id = ?1", [&doomed.as_bytes()[..]], |row| row.get::<_, Vec<u8>>(0))
    };
    assert_eq!(old(&old_key).unwrap(), key.expose());
    let left = Tenant::read(&at).unwrap().unwrap().unwrap(&at, own.as_ref()).unwrap();
    assert!(old(&left).is_err(), "what is left opens an older copy");
    // Nor does the keyring of now hold it anywhere, with all its pages deciphered.
    drop(keyring);
    let plain = dir.path().join("plain.db");
    fs::write(&plain, "").unwrap();
    let connection = open_writer(&file(&at, 5), &left).unwrap();
    connection.execute("ATTACH ?1 AS plain KEY ''", [plain.to_str().unwrap()]).unwrap();
    connection.query_row("SELECT sqlcipher_export('plain')", [], |_| Ok(())).unwrap();
    drop(connection);
    let bytes = fs::read(&plain).unwrap();
    let finds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    assert!(finds(kept_key.expose()) && finds(doomed.as_bytes()));
    assert!(!finds(key.expose()) && !finds(subject.id.as_bytes()) && !finds(b"secret that is destroyed"));
}

#[test]
fn a_replaced_root_key_opens_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (root(), Arc::new(AgeRootKey::generate().0) as Arc<dyn RootKey>);
    let keyring = Keyring::open(dir.path(), old.clone()).unwrap();
    let (id, key) = keyring.create(Purpose::Forensic).unwrap();
    keyring.replace_root(new.clone()).unwrap();
    assert_eq!(keyring.root_id().unwrap(), new.id());
    drop(keyring);
    assert!(matches!(Keyring::open(dir.path(), old), Err(KeysError::WrongRoot { .. })));
    assert_eq!(Keyring::open(dir.path(), new).unwrap().get(Purpose::Forensic, id).unwrap().unwrap().expose(), key.expose());
}

/// A process may end at any step: whatever lies in the directory then must open, with everything from before, and with the doomed
/// key either live or gone.
#[test]
fn a_change_may_end_at_any_step() {
    let own = root();
    let begun = |dir: &Path| {
        let keyring = Keyring::open(dir, own.clone()).unwrap();
        let (doomed, kept) = (keyring.create(Purpose::Journal).unwrap().0, keyring.create(Purpose::Journal).unwrap().0);
        let subject = keyring.subject(&[1; 32]).unwrap().id;
        (keyring, doomed, kept, subject)
    };
    // Snapshots at each step of one change.
    let dir = tempfile::tempdir().unwrap();
    let (keyring, doomed, kept, subject) = begun(&dir.path().join("keys"));
    let taken = Arc::new(AtomicUsize::new(0));
    let (from, to, count) = (dir.path().join("keys"), dir.path().to_owned(), taken.clone());
    keyring.db.lock().unwrap().on_step = Some(Box::new(move |_| {
        copy(&from, &to.join(format!("step-{}", count.fetch_add(1, Ordering::Relaxed))));
        Ok(())
    }));
    keyring.destroy(Purpose::Journal, &[doomed]).unwrap();
    drop(keyring);
    let steps = taken.load(Ordering::Relaxed);
    assert_eq!(steps, 8);
    let mut gone = Vec::new();
    for step in 0..steps {
        let at = dir.path().join(format!("step-{step}"));
        let reader = Keyring::open_existing(&at, own.clone()).unwrap();
        assert!(reader.get(Purpose::Journal, kept).unwrap().is_some());
        drop(reader);
        let keyring = Keyring::open(&at, own.clone()).unwrap();
        assert!(keyring.get(Purpose::Journal, kept).unwrap().is_some());
        assert_eq!(keyring.find_subject(&[1; 32]).unwrap(), Some(subject));
        gone.push(keyring.get(Purpose::Journal, doomed).unwrap().is_none());
        assert_eq!(generations(&at).unwrap().iter().filter(|(_, path)| path.extension().unwrap() == "db").count(), 1);
        // It can be finished.
        keyring.destroy(Purpose::Journal, &[doomed]).unwrap();
        assert!(
            keyring.get(Purpose::Journal, doomed).unwrap().is_none() && keyring.get(Purpose::Journal, kept).unwrap().is_some()
        );
    }
    assert_eq!(gone, [false, false, false, false, true, true, true, true]);

    // An error at each step: the keyring that saw it goes on, or says that it stands still, and a new start has everything.
    for failing in 0..steps {
        let dir = tempfile::tempdir().unwrap();
        let (keyring, doomed, kept, _) = begun(dir.path());
        let mut at = 0;
        keyring.db.lock().unwrap().on_step = Some(Box::new(move |name| {
            at += 1;
            if at - 1 == failing { Err(KeysError::Failed(name.to_owned())) } else { Ok(()) }
        }));
        let destroyed = keyring.destroy(Purpose::Journal, &[doomed]);
        assert_eq!(destroyed.is_ok(), failing > 4, "step {failing}");
        keyring.db.lock().unwrap().on_step = None;
        assert!(keyring.get(Purpose::Journal, kept).unwrap().is_some(), "reading goes on");
        let made = keyring.create(Purpose::Journal);
        assert_eq!(made.is_ok(), failing != 4, "step {failing}");
        drop(keyring);
        let keyring = Keyring::open(dir.path(), own.clone()).unwrap();
        if let Ok((id, key)) = made {
            assert_eq!(keyring.get(Purpose::Journal, id).unwrap().unwrap().expose(), key.expose(), "what was answered is there");
        }
        assert_eq!(keyring.get(Purpose::Journal, doomed).unwrap().is_none(), failing >= 4);
        assert!(keyring.get(Purpose::Journal, kept).unwrap().is_some());
    }
}

#[test]
fn a_first_start_that_was_interrupted_begins_again() {
    let dir = tempfile::tempdir().unwrap();
    let own = root();
    let key = Secret::random().unwrap();
    Tenant::wrap(&key, 1, true, own.as_ref()).unwrap().write(dir.path()).unwrap();
    assert!(matches!(Keyring::open_existing(dir.path(), own.clone()), Err(KeysError::NoKeyring(_))));
    fs::write(dir.path().join("keyring-1.db"), "half").unwrap();
    let keyring = Keyring::open(dir.path(), own.clone()).unwrap();
    keyring.create(Purpose::Journal).unwrap();
}

#[test]
fn a_reader_follows_the_writer_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let own = root();
    let writer = Keyring::open(dir.path(), own.clone()).unwrap();
    let reader = Keyring::open_existing(dir.path(), own.clone()).unwrap();
    let (first, key) = writer.create(Purpose::Journal).unwrap();
    assert_eq!(reader.get(Purpose::Journal, first).unwrap().unwrap().expose(), key.expose());
    let subject = writer.subject(&[1; 32]).unwrap();
    assert_eq!(reader.subject(&[1; 32]).unwrap().id, subject.id);
    writer.destroy(Purpose::Journal, &[first]).unwrap();
    writer.destroy_subject(&[1; 32]).unwrap();
    let (second, _) = writer.create(Purpose::Journal).unwrap();
    assert!(reader.get(Purpose::Journal, first).unwrap().is_none() && reader.get(Purpose::Journal, second).unwrap().is_some());
    assert!(matches!(reader.state(first).unwrap(), KeyState::Destroyed { .. }));
    assert_eq!(reader.find_subject(&[1; 32]).unwrap(), None);
    for refused in [
        reader.create(Purpose::Store).map(drop),
        reader.put_named("a", b"b"),
        reader.named_or_create::<32>("a").map(drop),
        reader.subject(&[2; 32]).map(drop),
        reader.destroy(Purpose::Journal, &[second]),
        reader.rotate_tenant(),
    ] {
        assert!(matches!(refused, Err(KeysError::ReadOnly(_))));
    }
}

/// Readers open and read while the writer changes the tenant key again and again.
#[test]
fn readers_do_not_stumble_over_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let own = root();
    let writer = Keyring::open(dir.path(), own.clone()).unwrap();
    let (id, key) = writer.create(Purpose::Store).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let steady = Keyring::open_existing(dir.path(), own.clone()).unwrap();
                while !done.load(Ordering::Relaxed) {
                    let reader = Keyring::open_existing(dir.path(), own.clone()).unwrap();
                    for reader in [&steady, &reader] {
                        assert_eq!(reader.get(Purpose::Store, id).unwrap().unwrap().expose(), key.expose());
                    }
                }
            });
        }
        for _ in 0..20 {
            writer.rotate_tenant().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// Where a file that was removed can be read no more, as on some network and sandbox file systems.
#[test]
fn a_reader_whose_file_went_asks_the_one_that_replaced_it() {
    let dir = tempfile::tempdir().unwrap();
    let own = root();
    let writer = Keyring::open(dir.path(), own.clone()).unwrap();
    let (id, key) = writer.create(Purpose::Store).unwrap();
    let reader = Keyring::open_existing(dir.path(), own.clone()).unwrap();
    let asked = std::cell::Cell::new(0);
    let lost = || KeysError::Database { path: dir.path().to_owned(), source: rusqlite::Error::InvalidQuery };
    let answer = reader.read(|db| {
        if asked.replace(asked.get() + 1) < 2 {
            writer.rotate_tenant().unwrap();
            return Err(lost());
        }
        db.ask(|connection| connection.query_row("SELECT key FROM data_keys", [], |row| row.get::<_, Vec<u8>>(0)))
    });
    assert_eq!((answer.unwrap(), asked.get()), (key.expose().to_vec(), 3));
    assert!(reader.get(Purpose::Store, id).unwrap().is_some());
    // Nothing was replaced: the error stands.
    asked.set(0);
    let failed: Result<(), _> = reader.read(|_| {
        asked.set(asked.get() + 1);
        Err(lost())
    });
    assert!(failed.is_err() && asked.get() == 1);
}

#[test]
fn a_copy_taken_while_it_is_written_has_what_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (at, copied) = (dir.path().join("keys"), dir.path().join("copy"));
    let own = root();
    let keyring = Keyring::open(&at, own.clone()).unwrap();
    let (id, key) = keyring.create(Purpose::Journal).unwrap();
    assert!(!keyring.is_unsynced());
    let subject = keyring.subject(&[3; 32]).unwrap();
    assert!(keyring.is_unsynced());
    keyring.sync().unwrap();
    assert!(!keyring.is_unsynced());
    copy(&at, &copied);
    let again = Keyring::open(&copied, own).unwrap();
    assert_eq!(again.get(Purpose::Journal, id).unwrap().unwrap().expose(), key.expose());
    assert_eq!(again.find_subject(&[3; 32]).unwrap(), Some(subject.id));
}

/// How long many new subjects take: `cargo test -p watchkeeper-keys --release many_subjects -- --nocapture`.
#[test]
fn many_subjects_are_made_by_many_threads_and_share_their_fsyncs() {
    const THREADS: u32 = 4;
    let each = std::env::var("WATCHKEEPER_SUBJECTS").ok().and_then(|each| each.parse().ok()).unwrap_or(2_500_u32);
    let dir = tempfile::tempdir().unwrap();
    let own = root();
    let keyring = Keyring::open(dir.path(), own.clone()).unwrap();
    let tag = |n: u32| {
        let mut tag = [0; 32];
        tag.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"namer"), &n.to_be_bytes()).as_ref());
        tag
    };
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let keyring = &keyring;
            scope.spawn(move || {
                for n in 0..each {
                    // Half of them are asked for by two threads at once.
                    keyring.subject(&tag((n + thread % 2 * each / 2) * 2 + thread / 2)).unwrap();
                }
                keyring.sync().unwrap();
            });
        }
    });
    let took = began.elapsed();
    let made = keyring.made.load(Ordering::Relaxed);
    println!("{made} subjects in {took:?}");
    assert!(!keyring.is_unsynced());
    let began = std::time::Instant::now();
    keyring.rotate_tenant().unwrap();
    println!("rotated in {:?}", began.elapsed());
    let before: Vec<SubjectId> = (0..200).map(|n| keyring.subject(&tag(n)).unwrap().id).collect();
    drop(keyring);
    let again = Keyring::open(dir.path(), own).unwrap();
    assert_eq!((0..200).map(|n| again.subject(&tag(n)).unwrap().id).collect::<Vec<_>>(), before);
}

#[derive(Debug, Clone)]
enum Op {
    Create(u8),
    Destroy(u8),
    Put(u8, Vec<u8>),
    DestroyNamed(u8),
    ReplaceNamed(u8, Vec<u8>, u8),
    Subject(u8),
    DestroySubject(u8),
    Rotate,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..4_u8).prop_map(Op::Create),
        2 => (0..8_u8).prop_map(Op::Destroy),
        2 => (0..3_u8, prop::collection::vec(any::<u8>(), 0..80)).prop_map(|(name, value)| Op::Put(name, value)),
        1 => (0..3_u8).prop_map(Op::DestroyNamed),
        1 => (0..3_u8, prop::collection::vec(any::<u8>(), 0..80), 0..3_u8)
            .prop_map(|(name, value, gone)| Op::ReplaceNamed(name, value, gone)),
        3 => (0..4_u8).prop_map(Op::Subject),
        1 => (0..4_u8).prop_map(Op::DestroySubject),
        1 => Just(Op::Rotate),
        1 => Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn it_does_what_a_map_would_do(ops in prop::collection::vec(op(), 1..25)) {
        let dir = tempfile::tempdir().unwrap();
        let own = root();
        let mut keyring = Keyring::open(dir.path(), own.clone()).unwrap();
        let mut keys: Vec<(KeyId, Purpose, Option<[u8; 32]>)> = Vec::new();
        let mut named: HashMap<String, Vec<u8>> = HashMap::new();
        let mut subjects: HashMap<u8, (SubjectId, Vec<u8>)> = HashMap::new();
        for op in ops {
            match op {
                Op::Create(purpose) => {
                    let purpose = [Purpose::Journal, Purpose::Segment, Purpose::Store, Purpose::Forensic][usize::from(purpose)];
                    let (id, key) = keyring.create(purpose).unwrap();
                    keys.push((id, purpose, Some(*key.expose())));
                }
                Op::Destroy(nth) => {
                    if let Some((id, purpose, key)) = keys.get_mut(usize::from(nth)) {
                        keyring.destroy(*purpose, &[*id]).unwrap();
                        *key = None;
                    }
                }
                Op::Put(name, value) => {
                    keyring.put_named(&name.to_string(), &value).unwrap();
                    named.insert(name.to_string(), value);
                }
                Op::DestroyNamed(name) => {
                    prop_assert_eq!(keyring.destroy_named(&name.to_string()).unwrap(), named.remove(&name.to_string()).is_some());
                }
                Op::ReplaceNamed(name, value, gone) => {
                    keyring.replace_named(&[(&name.to_string(), &value)], &[&gone.to_string()]).unwrap();
                    named.remove(&gone.to_string());
                    named.insert(name.to_string(), value);
                }
                Op::Subject(tag) => {
                    let subject = keyring.subject(&[tag; 32]).unwrap();
                    let known = subjects.entry(tag).or_insert_with(|| (subject.id, sign(&subject)));
                    prop_assert_eq!(&(subject.id, sign(&subject)), known);
                }
                Op::DestroySubject(tag) => {
                    let gone = subjects.remove(&tag).map(|(id, _)| id);
                    prop_assert_eq!(keyring.destroy_subject(&[tag; 32]).unwrap(), gone);
                }
                Op::Rotate => keyring.rotate_tenant().unwrap(),
                Op::Reopen => {
                    drop(keyring);
                    keyring = Keyring::open(dir.path(), own.clone()).unwrap();
                }
            }
            for (id, purpose, key) in &keys {
                prop_assert_eq!(keyring.get(*purpose, *id).unwrap().map(|key| *key.expose()), *key);
                prop_assert_eq!(keyring.state(*id).unwrap() == KeyState::Live, key.is_some());
            }
            for name in 0..3_u8 {
                let value = keyring.named(&name.to_string()).unwrap().map(|value| value.to_vec());
                prop_assert_eq!(value.as_ref(), named.get(&name.to_string()));
            }
            for tag in 0..4_u8 {
                prop_assert_eq!(keyring.find_subject(&[tag; 32]).unwrap(), subjects.get(&tag).map(|(id, _)| *id));
            }
        }
    }
}
