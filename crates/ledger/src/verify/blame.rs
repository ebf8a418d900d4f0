//! Whose fault it is when a tile and the journal disagree. Three things state the same leaf: the journal, the entry
//! bundle and the tile of leaf hashes. The one that the other two contradict is named, unless the two do not lead to the root
//! that is signed.

use super::Stop;
use super::snapshot::{Snapshot, place};
use crate::leaf::Leaf;
use crate::tile::{ENTRY_BYTES, TILE_WIDTH, TileBuilder, TileId, TileKind, entry};
use crate::tree::{Hash, leaf_hash, root_of};

/// What is wrong, when a tile should be `ours` and is `found`.
pub(super) fn tile(snapshot: &Snapshot, tile: TileId, ours: &[u8], found: &[u8]) -> Result<Stop, Stop> {
    if found.len() != ours.len() {
        let than = if found.len() > ours.len() { "more than" } else { "only" };
        let what = format!("has {than} {} bytes, and should have {}", found.len().min(ours.len()), ours.len());
        return Ok(Stop::fault(place(tile), what));
    }
    let byte = found.iter().zip(ours).take_while(|(found, ours)| found == ours).count();
    let item = byte / tile.kind.item_bytes();
    let at = format!("{} at byte {byte}", place(tile));
    let seq = tile.index * u64::from(TILE_WIDTH) + item as u64;
    let hash_of = |bundle: &[u8]| bundle.as_chunks::<ENTRY_BYTES>().0.get(item).and_then(entry).map(|leaf| leaf_hash(leaf));
    let beside = |kind| Ok(snapshot.load(TileId { kind, ..tile })?.unwrap_or_default());
    let (bundle, hashes, our_hash) = match tile.kind {
        TileKind::Entries => (found.to_vec(), beside(TileKind::Hashes(0))?, hash_of(ours)),
        TileKind::Hashes(0) => (beside(TileKind::Entries)?, found.to_vec(), hash_at(ours, item)),
        TileKind::Hashes(_) => return Ok(Stop::fault(at, "the hash is not the root of the tile below it")),
    };
    let (in_bundle, in_tile) = (hash_of(&bundle), hash_at(&hashes, item));
    if in_bundle == our_hash || in_tile == our_hash {
        let what = if tile.kind == TileKind::Entries { "the leaf" } else { "the leaf hash" };
        return Ok(Stop::fault(at, format!("{what} of record {seq} is not the one that the journal gives")));
    }
    if in_bundle == in_tile && !is_in_signed_tree(snapshot, tile.index, &hashes)? {
        return Ok(Stop::fault(
            at,
            format!("the leaf of record {seq} was changed here and in the tile beside it; neither is signed"),
        ));
    }
    if in_bundle == in_tile {
        let sealed = bundle.as_chunks::<ENTRY_BYTES>().0.get(item).and_then(entry).and_then(Leaf::decode);
        let what = sealed.map_or("what was sealed is no leaf", |sealed| difference(&sealed, seq));
        return Ok(Stop::record(seq, format!("is not the record that was sealed: {what}")));
    }
    Ok(Stop::fault(at, format!("journal, entry bundle and tile state three different leaves of record {seq}")))
}

/// Whether a tile of leaf hashes leads, by the tiles above it and at the right edge of the tree, to the root that the published
/// checkpoint signs: two files that were changed alike must not speak against the journal.
fn is_in_signed_tree(snapshot: &Snapshot, index: u64, hashes: &[u8]) -> Result<bool, Stop> {
    let Some((published, _)) = &snapshot.published else { return Ok(true) };
    let load = |tile| Ok(snapshot.load(tile)?.unwrap_or_default());
    let edge = TileBuilder::resume(published.size, load)?;
    if edge.is_none_or(|edge| edge.root() != published.root) {
        return Ok(false);
    }
    let (hashes, _) = hashes.as_chunks::<32>();
    if hashes.len() < usize::from(TILE_WIDTH) {
        return Ok(true);
    }
    let width = u64::from(TILE_WIDTH);
    let (kind, above) = (TileKind::Hashes(1), index / width);
    let partial = TileId::partials(published.size).find(|tile| tile.kind == kind && tile.index == above);
    let above = snapshot.load(partial.unwrap_or(TileId { kind, index: above, width: TILE_WIDTH }))?.unwrap_or_default();
    let item = usize::try_from(index % width).unwrap_or(usize::MAX);
    Ok(hash_at(&above, item) == Some(root_of(hashes.iter().copied())))
}

fn hash_at(hashes: &[u8], item: usize) -> Option<Hash> {
    hashes.as_chunks().0.get(item).copied()
}

fn difference(sealed: &Leaf, seq: u64) -> &'static str {
    if sealed.seq == seq { "its leaf differs from the sealed one" } else { "another record was sealed in its place" }
}
