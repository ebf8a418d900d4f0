//! Inclusion and consistency proofs: RFC 6962, sections 2.1.1 and 2.1.2; verified as RFC 9162, section 2.1, says.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::public::read_tile;
use crate::tile::{TILE_HEIGHT, TILE_WIDTH, TileId, TileKind};
use crate::tree::{CompactRange, EMPTY_ROOT, Hash, node_hash, root_of};

/// Most tiles that a reader keeps: a proof needs at most 16.
const CACHED_TILES_MAX: usize = 64;

/// Where the roots of perfect subtrees come from.
pub trait Nodes {
    /// Why a node cannot be had.
    type Error;

    /// The root of the leaves from `index * 2^height` to `(index + 1) * 2^height`.
    fn node(&self, height: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// Why a proof could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProveError<E> {
    /// There is no such leaf or tree.
    #[error("no proof from {from} to {size}: the first must be smaller than the second (or not greater, for trees)")]
    Range {
        /// The leaf or the smaller tree.
        from: u64,
        /// The tree.
        size: u64,
    },
    /// A node cannot be had.
    #[error(transparent)]
    Nodes(#[from] E),
}

/// A proof does not prove what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// There is no such leaf or tree.
    #[error("the leaf or tree that the proof is for is not inside the tree")]
    Range,
    /// It has too many hashes or too few.
    #[error("the proof has {got} hashes and should have another number")]
    Length {
        /// How many there are.
        got: usize,
    },
    /// It leads to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// The hashes that prove that leaf `index` is in the tree of `size` leaves.
pub fn inclusion<N: Nodes>(nodes: &N, index: u64, size: u64) -> Result<Vec<Hash>, ProveError<N::Error>> {
    if index >= size {
        return Err(ProveError::Range { from: index, size });
    }
    let mut proof = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            proof.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            proof.push(range_root(nodes, start, middle)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The hashes that prove that the tree of `old` leaves is the beginning of the tree of `size` leaves.
pub fn consistency<N: Nodes>(nodes: &N, old: u64, size: u64) -> Result<Vec<Hash>, ProveError<N::Error>> {
    if old > size {
        return Err(ProveError::Range { from: old, size });
    }
    if old == 0 || old == size {
        return Ok(Vec::new());
    }
    let mut proof = Vec::new();
    let (mut start, mut end) = (0, size);
    while end > old {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            proof.push(range_root(nodes, start, middle)?);
            start = middle;
        }
    }
    // Where the old tree is a perfect subtree from the first leaf on, its root is known to who verifies.
    if start > 0 {
        proof.push(range_root(nodes, start, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Verifies that the leaf of that hash is the one at `index` of the tree of `size` leaves that has that root.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Range);
    }
    let wrong_length = ProofError::Length { got: proof.len() };
    let (mut at, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(wrong_length);
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(wrong_length);
    }
    if hash == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Verifies that the tree of `old` leaves and root `old_root` is the beginning of the tree of `size` leaves and `root`.
pub fn verify_consistency(old: u64, old_root: &Hash, size: u64, root: &Hash, proof: &[Hash]) -> Result<(), ProofError> {
    if old > size {
        return Err(ProofError::Range);
    }
    let wrong_length = ProofError::Length { got: proof.len() };
    let check = |is_right: bool| if is_right { Ok(()) } else { Err(ProofError::Root) };
    if old == 0 || old == size {
        let is_right = if old == 0 { *old_root == EMPTY_ROOT && (size > 0 || *root == EMPTY_ROOT) } else { old_root == root };
        return if proof.is_empty() { check(is_right) } else { Err(wrong_length) };
    }
    let mut siblings = proof.iter();
    let (mut at, mut last) = (old - 1, size - 1);
    let shift = at.trailing_ones();
    at >>= shift;
    last >>= shift;
    let first = if old.is_power_of_two() { old_root } else { siblings.next().ok_or(wrong_length)? };
    let (mut old_hash, mut hash) = (*first, *first);
    for sibling in siblings {
        if last == 0 {
            return Err(wrong_length);
        }
        if at & 1 == 1 || at == last {
            old_hash = node_hash(sibling, &old_hash);
            hash = node_hash(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(wrong_length);
    }
    check(old_hash == *old_root && hash == *root)
}

/// The largest power of two below `count`, which is 2 at least.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

/// The root over the leaves from `start` to `end`, where `start` is a multiple of a power of two not below their number.
fn range_root<N: Nodes>(nodes: &N, start: u64, end: u64) -> Result<Hash, N::Error> {
    let size = end - start;
    let mut roots = Vec::new();
    let mut at = start;
    for height in (0..u64::BITS).rev() {
        if size >> height & 1 == 1 {
            roots.push(nodes.node(height, at >> height)?);
            at += 1 << height;
        }
    }
    // There is one root for each bit of `size`, by the loop above.
    Ok(CompactRange::from_parts(size, roots).map_or(EMPTY_ROOT, |range| range.root()))
}

/// A tree whose leaf hashes are all in memory.
impl Nodes for &[Hash] {
    type Error = std::convert::Infallible;

    fn node(&self, height: u32, index: u64) -> Result<Hash, Self::Error> {
        let leaves = usize::try_from(index << height).ok().and_then(|start| self.get(start..)).unwrap_or_default();
        Ok(root_of(leaves.iter().take(1 << height).copied()))
    }
}

/// The nodes of a log from the tiles on disk, as they stand when there is a checkpoint of `size` leaves or more.
#[derive(Debug)]
pub struct TileReader {
    ledger: PathBuf,
    size: u64,
    cache: RefCell<HashMap<TileId, Vec<u8>>>,
}

impl TileReader {
    /// A reader of `data_dir/ledger` for the tree of that size: of its newest checkpoint, or of one before it.
    #[must_use]
    pub fn new(data_dir: &Path, size: u64) -> Self {
        Self { ledger: data_dir.join("ledger"), size, cache: RefCell::default() }
    }

    /// The bytes of a tile (or of a part of it that the tree does not need whole).
    fn hashes(&self, tile: TileId, first: usize, count: usize) -> io::Result<Vec<Hash>> {
        let mut cache = self.cache.borrow_mut();
        if !cache.contains_key(&tile) {
            let bytes = read_tile(&self.ledger, tile)?
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{tile} is missing or has a wrong length")))?;
            if cache.len() >= CACHED_TILES_MAX {
                cache.clear();
            }
            cache.insert(tile, bytes);
        }
        let hashes = cache.get(&tile).and_then(|bytes| bytes.as_chunks().0.get(first..first + count));
        hashes.map(<[Hash]>::to_vec).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "node is outside the tree"))
    }
}

impl Nodes for TileReader {
    type Error = io::Error;

    fn node(&self, height: u32, index: u64) -> io::Result<Hash> {
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "node is outside the tree");
        let level = height / TILE_HEIGHT;
        let within = height % TILE_HEIGHT;
        let first = index.checked_shl(within).ok_or_else(outside)?;
        let items = self.size.checked_shr(level * TILE_HEIGHT).unwrap_or(0);
        let kind = TileKind::Hashes(u8::try_from(level).map_err(|_| outside())?);
        let index = first / u64::from(TILE_WIDTH);
        let width = (items.saturating_sub(index * u64::from(TILE_WIDTH))).min(u64::from(TILE_WIDTH));
        let width = u16::try_from(width).ok().filter(|width| *width > 0).ok_or_else(outside)?;
        let first = usize::try_from(first % u64::from(TILE_WIDTH)).map_err(|_| outside())?;
        Ok(root_of(self.hashes(TileId { kind, index, width }, first, 1 << within)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::{leaves, mth};

    const SIZE_MAX: u64 = 130;

    fn prefix(leaves: &[Hash], size: u64) -> &[Hash] {
        &leaves[..usize::try_from(size).unwrap()]
    }

    /// Each proof with one hash changed, one more and one less.
    fn mutants(proof: &[Hash]) -> Vec<Vec<Hash>> {
        let mut mutants: Vec<Vec<Hash>> = (0..proof.len())
            .map(|index| {
                let mut mutant = proof.to_vec();
                mutant[index][index % 32] ^= 1;
                mutant
            })
            .collect();
        mutants.push([proof, &[[0; 32]]].concat());
        mutants.push([&[[0; 32]], proof].concat());
        if let Some((_, less)) = proof.split_last() {
            mutants.push(less.to_vec());
            mutants.push(proof[1..].to_vec());
        }
        mutants
    }

    #[test]
    fn every_leaf_of_every_tree_is_proved_and_no_mutant_passes() {
        let leaves = leaves(SIZE_MAX);
        for size in 1..=SIZE_MAX {
            let root = mth(prefix(&leaves, size));
            for index in 0..size {
                let leaf = &leaves[usize::try_from(index).unwrap()];
                let proof = inclusion(&leaves.as_slice(), index, size).unwrap();
                verify_inclusion(leaf, index, size, &proof, &root).unwrap();
                for mutant in mutants(&proof) {
                    assert!(verify_inclusion(leaf, index, size, &mutant, &root).is_err(), "{index} of {size}");
                }
                for (index, size) in [(index + 1, size), (index, index), (index ^ 1, size)] {
                    assert!(verify_inclusion(leaf, index, size, &proof, &root).is_err(), "{index} of {size}");
                }
                assert!(verify_inclusion(leaf, index, size, &proof, leaf).is_err() || size == 1);
            }
        }
    }

    #[test]
    fn every_tree_is_proved_to_grow_into_every_other_and_no_mutant_passes() {
        let leaves = leaves(SIZE_MAX);
        let roots: Vec<Hash> = (0..=SIZE_MAX).map(|size| mth(prefix(&leaves, size))).collect();
        for (size, root) in (0..).zip(&roots) {
            for (old, old_root) in (0..=size).zip(&roots) {
                let proof = consistency(&leaves.as_slice(), old, size).unwrap();
                verify_consistency(old, old_root, size, root, &proof).unwrap();
                for mutant in mutants(&proof) {
                    assert!(verify_consistency(old, old_root, size, root, &mutant).is_err(), "{old} to {size}");
                }
                if old > 0 && old < size {
                    assert!(verify_consistency(old, root, size, root, &proof).is_err(), "{old} to {size}");
                    assert!(verify_consistency(old, old_root, size, old_root, &proof).is_err(), "{old} to {size}");
                    assert!(verify_consistency(size, root, old, old_root, &proof).is_err(), "{old} to {size}");
                }
            }
        }
    }

    #[test]
    fn there_is_no_proof_of_what_is_not_there() {
        let leaves = leaves(4);
        assert!(matches!(inclusion(&leaves.as_slice(), 4, 4), Err(ProveError::Range { .. })));
        assert!(matches!(consistency(&leaves.as_slice(), 5, 4), Err(ProveError::Range { .. })));
        assert_eq!(verify_inclusion(&leaves[0], 0, 0, &[], &leaves[0]), Err(ProofError::Range));
        assert_eq!(verify_inclusion(&leaves[0], u64::MAX - 1, u64::MAX, &[], &leaves[0]), Err(ProofError::Length { got: 0 }));
    }
}
