//! The notes, checkpoints, tile names and proofs against other implementations in Rust: `signed_note`, `tlog_tiles` and
//! `ct-merkle`. What one takes and the other refuses must be a difference that the record format documents.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::PathBuf;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof};
use proptest::prelude::*;
use sha2::Sha256;
use signed_note::{Note, StandardSigner, StandardVerifier, VerifierList};
use tlog_tiles::{Tile, TileHashReader, TileReader as _};
use watchkeeper_ledger::proof::{self, TileReader};
use watchkeeper_ledger::{
    Algorithm, Checkpoint, Hash, SignedNote, SigningKey, TileId, TileKind, VerifierKey, leaf_hash, root_of,
};

fn hashes(bytes: &[u8]) -> Vec<Hash> {
    bytes.chunks(32).map(|hash| hash.try_into().unwrap()).collect()
}

/// Every inclusion and consistency proof of every tree of up to 130 leaves, and for each a few that must fail in both.
#[test]
fn proofs_are_those_of_ct_merkle() {
    let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut leaves: Vec<Hash> = Vec::new();
    let mut roots = vec![tree.root()];
    let entry = |index: usize| index.to_be_bytes().to_vec();
    for size in 1..=130_usize {
        tree.push(entry(size - 1));
        leaves.push(leaf_hash(&entry(size - 1)));
        let root: Hash = tree.root().as_bytes().as_slice().try_into().unwrap();
        assert_eq!(root_of(leaves.iter().copied()), root);
        let nodes = leaves.as_slice();
        for (index, leaf) in leaves.iter().enumerate() {
            let theirs = tree.prove_inclusion(index);
            let ours = proof::inclusion(&nodes, index as u64, size as u64).unwrap();
            assert_eq!(ours, hashes(theirs.as_bytes()));
            proof::verify_inclusion(leaf, index as u64, size as u64, &ours, &root).unwrap();
            // A changed hash, a hash too many or too few, another index: refused by both.
            for broken in broken(&ours, size + index) {
                let bytes = InclusionProof::<Sha256>::try_from_bytes(broken.concat()).unwrap();
                assert!(tree.root().verify_inclusion(&entry(index), index as u64, &bytes).is_err());
                assert!(proof::verify_inclusion(leaf, index as u64, size as u64, &broken, &root).is_err());
            }
            let other = (index + 1) as u64;
            assert!(proof::verify_inclusion(leaf, other, size as u64, &ours, &root).is_err());
            assert!(tree.root().verify_inclusion(&entry(index), other, &theirs).is_err());
        }
        for old in 1..=size {
            let theirs = tree.prove_consistency(size - old);
            let ours = proof::consistency(&nodes, old as u64, size as u64).unwrap();
            assert_eq!(ours, hashes(theirs.as_bytes()), "{old} to {size}");
            let old_root = &root_of(leaves[..old].iter().copied());
            let check = |proof: &[Hash]| proof::verify_consistency(old as u64, old_root, size as u64, &root, proof);
            check(&ours).unwrap();
            if old < size {
                for broken in broken(&ours, size + old) {
                    let bytes = ConsistencyProof::<Sha256>::try_from_bytes(broken.concat()).unwrap();
                    assert!(tree.root().verify_consistency(roots.get(old).unwrap(), &bytes).is_err());
                    assert!(check(&broken).is_err(), "{old} to {size}");
                }
            }
        }
        roots.push(tree.root());
    }
}

fn broken(proof: &[Hash], salt: usize) -> Vec<Vec<Hash>> {
    let mut all = vec![[proof, &[[7; 32]]].concat()];
    if !proof.is_empty() {
        let mut changed = proof.to_vec();
        changed[salt % proof.len()][salt % 32] ^= 1;
        all.push(changed);
        all.push(proof[1..].to_vec());
        all.push(proof[..proof.len() - 1].to_vec());
    }
    all
}

struct Files(PathBuf);

impl tlog_tiles::TileReader for Files {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        // Its paths have the height in front, as Go's.
        let path = |tile: &Tile| self.0.join(tile.path().replacen("tile/8/", "tile/", 1));
        Ok(tiles.iter().map(|tile| std::fs::read(path(tile)).unwrap()).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

#[test]
fn a_ledger_on_disk_is_read_and_proved_by_tlog_tiles() {
    let dir = tempfile::tempdir().unwrap();
    let sizes = [1, 3, 256, 300, 515];
    let key = common::sealed(dir.path(), &sizes);
    let files = Files(dir.path().join("ledger"));
    assert_eq!(files.height(), 8);
    let note = Note::from_bytes(&std::fs::read(files.0.join("checkpoint")).unwrap()).unwrap();
    let known = VerifierList::new(vec![Box::new(StandardVerifier::new(&key.verifier().to_string()).unwrap())]);
    note.verify(&known).unwrap();
    let theirs = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    let ours = Checkpoint::parse(std::str::from_utf8(note.text()).unwrap()).unwrap();
    assert_eq!((theirs.origin(), theirs.size(), theirs.hash().0), (ours.origin.as_str(), ours.size, ours.root));
    let reader = TileHashReader::new(ours.size, tlog_tiles::Hash(ours.root), &files);
    let nodes = TileReader::new(dir.path(), ours.size);
    for index in (0..ours.size).step_by(17) {
        let theirs = tlog_tiles::prove_record(ours.size, index, &reader).unwrap();
        let path = proof::inclusion(&nodes, index, ours.size).unwrap();
        assert_eq!(path, theirs.iter().map(|hash| hash.0).collect::<Vec<_>>());
    }
    for old in sizes {
        let theirs = tlog_tiles::prove_tree(ours.size, old, &reader).unwrap();
        let path = proof::consistency(&nodes, old, ours.size).unwrap();
        assert_eq!(path, theirs.iter().map(|hash| hash.0).collect::<Vec<_>>());
    }
}

#[test]
fn notes_with_cosignatures_are_opened_by_signed_note_by_the_key_it_knows() {
    let text = "example.com/log\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let keys = [Algorithm::Ed25519, Algorithm::MlDsa44, Algorithm::Ed25519Cosignature]
        .map(|algorithm| SigningKey::generate(algorithm, "example.com/log").unwrap());
    let note = SignedNote::new(text.to_owned(), keys.iter().map(|key| key.sign(text, 9).unwrap()).collect()).unwrap();
    let theirs = Note::from_bytes(note.encode().as_bytes()).unwrap();
    assert_eq!(theirs.to_bytes(), note.encode().into_bytes());
    let known = VerifierList::new(vec![Box::new(StandardVerifier::new(&keys[0].verifier().to_string()).unwrap())]);
    let (good, unknown) = theirs.verify(&known).unwrap();
    assert_eq!((good.len(), unknown.len()), (1, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn notes_are_opened_as_signed_note_opens_them(note in common::broken_note(&fixed_key())) {
        let key = fixed_key();
        let known = VerifierList::new(vec![Box::new(StandardVerifier::new(&key.verifier().to_string()).unwrap())]);
        let theirs = Note::from_bytes(&note).is_ok_and(|note| note.verify(&known).is_ok());
        let ours = SignedNote::parse(&note).and_then(|note| note.verify(key.verifier())).is_ok();
        prop_assert!(ours == theirs || theirs && common::only_ours_refuses(&note), "ours {}, theirs {}", ours, theirs);
    }

    #[test]
    fn a_note_by_signed_note_is_ours_byte_for_byte(text in "([ -~\u{a1}-\u{2fff}]{0,30}\n){1,4}") {
        let key = fixed_key();
        let mut theirs = Note::new(text.as_bytes(), &[]).unwrap();
        theirs.add_sigs(&[&StandardSigner::new(&key.to_text()).unwrap()]).unwrap();
        let ours = SignedNote::new(text.clone(), vec![key.sign(&text, 0).unwrap()]).unwrap();
        prop_assert_eq!(ours.encode().into_bytes(), theirs.to_bytes());
    }

    #[test]
    fn verifier_keys_are_read_as_signed_note_reads_them(place in any::<prop::sample::Index>(), byte in "[ -~]", insert in any::<bool>()) {
        let mut text = fixed_key().verifier().to_string();
        let place = place.index(text.len());
        text.replace_range(place..place + usize::from(!insert), &byte);
        let ours = text.parse::<VerifierKey>();
        let theirs = StandardVerifier::new(&text);
        // A key id in capitals is the same number: there is one way to write it for us.
        let documented = ours.is_err() && text.split('+').nth(1).is_some_and(|id| id.contains(|c: char| c.is_ascii_uppercase()));
        prop_assert!(ours.is_ok() == theirs.is_ok() || documented, "{} ours {:?}", text, ours);
    }

    #[test]
    fn checkpoints_are_read_as_tlog_tiles_reads_them(
        origin in prop_oneof![Just("example.com/log".to_owned()), "[ -~\u{a0}-\u{2fff}]{0,12}"],
        size in prop_oneof![any::<u64>().prop_map(|size| size.to_string()), "[-+ 0-9]{0,3}", Just("18446744073709551616".to_owned())],
        root in prop_oneof![Just("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=".to_owned()), "[A-Za-z0-9+/]{42,44}=?"],
        more in prop_oneof![4 => Just(String::new()), 1 => "([a-z]{0,3}\n){1,3}", 1 => "[a-z]{1,3}"],
    ) {
        let text = format!("{origin}\n{size}\n{root}\n{more}");
        let theirs = tlog_tiles::Checkpoint::from_bytes(text.as_bytes());
        let ours = Checkpoint::parse_extended(&text);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?}", text);
        let strict = Checkpoint::parse(&text).is_ok();
        prop_assert_eq!(strict, theirs.is_ok_and(|theirs| theirs.extension().is_empty()));
    }

    #[test]
    fn tile_names_are_those_of_tlog_tiles(level in 0..8_u8, index in any::<u64>(), bits in 0..64_u32, width in 1..=256_u16) {
        let index = index >> bits;
        for kind in [TileKind::Hashes(level), TileKind::Entries] {
            let tile = TileId { kind, index, width };
            let is_data = kind == TileKind::Entries;
            let theirs = Tile::new(8, if is_data { 0 } else { level }, index, u32::from(width), is_data);
            let path = theirs.path().replacen("tile/8/", "tile/", 1).replacen("tile/data/", "tile/entries/", 1);
            prop_assert_eq!(tile.to_string(), path.clone());
            prop_assert_eq!(TileId::parse(&path), Some(tile));
        }
    }

    #[test]
    fn broken_tile_names_are_refused_as_tlog_tiles_refuses_them(
        level in "[0-5]?[0-9]", groups in proptest::collection::vec("x?[0-9]{2,4}", 1..4),
        // The peer panics at a width of 0 and above level 63.
        partial in proptest::option::of("[0-9]{0,2}[1-9]"),
    ) {
        let partial = partial.map(|width| format!(".p/{width}")).unwrap_or_default();
        let rest = format!("{level}/{}{partial}", groups.join("/"));
        let ours = TileId::parse(&format!("tile/{rest}"));
        let theirs = Tile::from_path(&format!("tile/8/{rest}")).ok();
        // Beyond level 7 no tree of fewer than 2^64 leaves has a tile.
        let theirs = theirs.filter(|tile| tile.level() < 8);
        prop_assert_eq!(ours.is_some(), theirs.is_some(), "{}", rest);
    }
}

fn fixed_key() -> SigningKey {
    let text = ["PRIVATE", "KEY", "PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"].join("+");
    SigningKey::from_text(&text).unwrap()
}
