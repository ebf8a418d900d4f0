//! Tiles: the tree cut into files of 256 hashes, as C2SP tlog-tiles names and fills them.

use std::fmt;

use crate::leaf::LEAF_BYTES;
use crate::tree::{CompactRange, Hash, leaf_hash, root_of};

/// How many hashes or entries a full tile has.
pub const TILE_WIDTH: u16 = 256;

/// The height of the subtree that one tile stands for.
pub(crate) const TILE_HEIGHT: u32 = 8;

/// Levels of tiles that a tree of fewer than 2^64 leaves can have.
pub(crate) const LEVELS: u8 = 8;

/// One file of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// What it holds.
    pub kind: TileKind,
    /// Its place among the tiles of its kind, from 0.
    pub index: u64,
    /// How many hashes or entries it holds: 256 when it is full, less when it is partial; never 0.
    pub width: u16,
}

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// The roots of perfect subtrees of 256^level leaves.
    Hashes(u8),
    /// The leaves themselves, each behind its length.
    Entries,
}

impl TileId {
    /// Whether it is full, and so never changes.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// How many bytes its file has.
    #[must_use]
    pub fn bytes(&self) -> usize {
        usize::from(self.width) * self.kind.item_bytes()
    }

    /// The name of an absolute or relative path, such as `tile/0/x001/234/067.p/8`.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(decimal(level).filter(|level| *level < u16::from(LEVELS))?.try_into().ok()?),
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, decimal(width).filter(|width| (1..TILE_WIDTH).contains(width))?),
            None => (rest, TILE_WIDTH),
        };
        let mut index = 0_u64;
        let mut parts = number.split('/').peekable();
        while let Some(part) = parts.next() {
            let digits = if parts.peek().is_some() { part.strip_prefix('x')? } else { part };
            if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        }
        let tile = Self { kind, index, width };
        (tile.to_string() == path).then_some(tile)
    }

    /// The partial tiles of a tree of that size, from the leaves upwards.
    pub(crate) fn partials(size: u64) -> impl Iterator<Item = Self> {
        let entries = (!size.is_multiple_of(256)).then(|| Self::at(TileKind::Entries, size - 1));
        entries.into_iter().chain((0..LEVELS).filter_map(move |level| {
            let items = size >> (TILE_HEIGHT * u32::from(level));
            (!items.is_multiple_of(256)).then(|| Self::at(TileKind::Hashes(level), items - 1))
        }))
    }

    /// The tile that ends with that item.
    pub(crate) fn at(kind: TileKind, item: u64) -> Self {
        let width = u16::try_from(item % 256).unwrap_or(0) + 1;
        Self { kind, index: item / 256, width }
    }
}

impl TileKind {
    /// How many bytes one item takes.
    pub(crate) fn item_bytes(self) -> usize {
        match self {
            Self::Hashes(_) => 32,
            Self::Entries => ENTRY_BYTES,
        }
    }

    /// How many items tiles of this kind have in a tree of that size.
    pub(crate) fn items(self, size: u64) -> u64 {
        match self {
            Self::Hashes(level) => size.checked_shr(TILE_HEIGHT * u32::from(level)).unwrap_or(0),
            Self::Entries => size,
        }
    }

    /// How many full tiles of this kind a tree of that size has.
    pub(crate) fn full(self, size: u64) -> u64 {
        self.items(size) / u64::from(TILE_WIDTH)
    }
}

/// A leaf behind its length.
pub(crate) const ENTRY_BYTES: usize = 2 + LEAF_BYTES;

/// The leaf in an entry of a bundle.
pub(crate) fn entry(entry: &[u8; ENTRY_BYTES]) -> Option<&[u8; LEAF_BYTES]> {
    entry.strip_prefix(&LEAF_LENGTH.to_be_bytes())?.try_into().ok()
}

fn decimal(text: &str) -> Option<u16> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    text.parse().ok().filter(|_| canonical)
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/")?;
        match self.kind {
            TileKind::Hashes(level) => write!(f, "{level}/")?,
            TileKind::Entries => f.write_str("entries/")?,
        }
        let mut divisor = 1;
        while self.index / divisor >= 1000 {
            divisor *= 1000;
        }
        while divisor > 1 {
            write!(f, "x{:03}/", self.index / divisor % 1000)?;
            divisor /= 1000;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// Builds the tiles while the tree grows. It holds one unfinished tile of each level, never more.
#[derive(Debug, Clone, Default)]
pub(crate) struct TileBuilder {
    range: CompactRange,
    /// The unfinished tile of each level.
    hashes: Vec<Vec<u8>>,
    /// The unfinished entry bundle.
    entries: Vec<u8>,
}

impl TileBuilder {
    /// Resumes from the partial tiles of a tree of that size; `None` when one has the wrong length. Whether they are
    /// the right ones, the root tells.
    pub(crate) fn resume<E>(size: u64, mut load: impl FnMut(TileId) -> Result<Vec<u8>, E>) -> Result<Option<Self>, E> {
        let mut builder = Self { hashes: vec![Vec::new(); usize::from(LEVELS)], ..Self::default() };
        for tile in TileId::partials(size) {
            let bytes = load(tile)?;
            if bytes.len() != tile.bytes() {
                return Ok(None);
            }
            match tile.kind {
                TileKind::Hashes(level) => builder.hashes[usize::from(level)] = bytes,
                TileKind::Entries => builder.entries = bytes,
            }
        }
        let mut roots = Vec::new();
        for tile in builder.hashes.iter().rev() {
            let mut rest = tile.as_slice();
            for bit in (0..TILE_HEIGHT).rev() {
                if (tile.len() / 32) >> bit & 1 == 1 {
                    let (subtree, after) = rest.split_at(32 << bit);
                    roots.push(root_of(subtree.as_chunks().0.iter().copied()));
                    rest = after;
                }
            }
        }
        let Some(range) = CompactRange::from_parts(size, roots) else { return Ok(None) };
        builder.range = range;
        Ok(Some(builder))
    }

    pub(crate) fn size(&self) -> u64 {
        self.range.size()
    }

    pub(crate) fn root(&self) -> Hash {
        self.range.root()
    }

    /// Adds a leaf. `grown` is told of each tile that it makes longer, with all the bytes that the tile then has.
    pub(crate) fn push(&mut self, leaf: &[u8; LEAF_BYTES], mut grown: impl FnMut(TileId, &[u8])) {
        let item = self.range.size();
        let hash = leaf_hash(leaf);
        self.entries.extend_from_slice(&LEAF_LENGTH.to_be_bytes());
        self.entries.extend_from_slice(leaf);
        let tile = TileId::at(TileKind::Entries, item);
        grown(tile, &self.entries);
        if tile.is_full() {
            self.entries.clear();
        }
        let levels = &mut self.hashes;
        self.range.push(hash, |height, root| {
            if !height.is_multiple_of(TILE_HEIGHT) {
                return;
            }
            let level = (height / TILE_HEIGHT) as usize;
            if levels.len() <= level {
                levels.resize(level + 1, Vec::new());
            }
            let bytes = &mut levels[level];
            bytes.extend_from_slice(root);
            let tile = TileId::at(TileKind::Hashes(u8::try_from(level).unwrap_or(u8::MAX)), item >> height);
            grown(tile, bytes);
            if tile.is_full() {
                bytes.clear();
            }
        });
    }

    /// The unfinished tiles.
    pub(crate) fn partials(&self) -> impl Iterator<Item = (TileId, &[u8])> {
        TileId::partials(self.size()).map(|tile| {
            let bytes = match tile.kind {
                TileKind::Hashes(level) => self.hashes.get(usize::from(level)).map_or(&[][..], Vec::as_slice),
                TileKind::Entries => &self.entries,
            };
            (tile, bytes)
        })
    }
}

/// What stands before each leaf in an entry bundle.
#[allow(clippy::cast_possible_truncation)]
pub(crate) const LEAF_LENGTH: u16 = LEAF_BYTES as u16;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::tree::tests::mth;

    #[test]
    fn names_are_those_of_the_specification() {
        let hashes = |level, index, width| TileId { kind: TileKind::Hashes(level), index, width };
        let cases = [
            (hashes(0, 0, 256), "tile/0/000"),
            (hashes(0, 1_234_067, 256), "tile/0/x001/x234/067"),
            (hashes(0, 1_234_067, 8), "tile/0/x001/x234/067.p/8"),
            (hashes(3, 1000, 255), "tile/3/x001/000.p/255"),
            (TileId { kind: TileKind::Entries, index: 999, width: 1 }, "tile/entries/999.p/1"),
        ];
        for (tile, name) in cases {
            assert_eq!(tile.to_string(), name);
            assert_eq!(TileId::parse(name), Some(tile));
        }
        for bad in [
            "tile/0/x000/001",
            "tile/0/1",
            "tile/00/001",
            "tile/8/001",
            "tile/0/001.p/0",
            "tile/0/001.p/256",
            "tile/0/001.p/08",
            "tile/0/+01",
            "tile/0/001/",
            "tile/0/001.p/",
            "tile/entries",
            "tile/data/001",
            "tile/0/001/002",
            "/tile/0/001",
            "",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(TileId::parse(bad), None, "{bad}");
        }
    }

    /// The example of the specification: 70,000 leaves.
    #[test]
    fn partial_tiles_are_those_of_the_specification() {
        let widths: Vec<_> = TileId::partials(70_000).map(|tile| (tile.to_string(), tile.width)).collect();
        let expected =
            [("tile/entries/273.p/112", 112), ("tile/0/273.p/112", 112), ("tile/1/001.p/17", 17), ("tile/2/000.p/1", 1)];
        assert_eq!(widths, expected.map(|(name, width)| (name.to_owned(), width)));
        assert_eq!(TileId::partials(256).map(|tile| tile.to_string()).collect::<Vec<_>>(), ["tile/1/000.p/1"]);
        assert_eq!(
            (TileKind::Hashes(0).full(70_000), TileKind::Hashes(1).full(70_000), TileKind::Hashes(2).full(70_000)),
            (273, 1, 0)
        );
    }

    #[test]
    fn tiles_hold_what_the_definition_says_and_a_builder_resumes_at_any_size() {
        let mut tiles = BTreeMap::new();
        let mut builder = TileBuilder::default();
        let mut hashes = Vec::new();
        let leaf = |index: u64| {
            let mut leaf = [0; LEAF_BYTES];
            leaf[..8].copy_from_slice(&index.to_be_bytes());
            leaf
        };
        for index in 0..70_000 {
            hashes.push(leaf_hash(&leaf(index)));
            let check = index % 9_973 == 0 || index == 65_535;
            builder.push(&leaf(index), |tile, bytes| {
                assert_eq!(bytes.len(), tile.bytes());
                if tile.is_full() || check {
                    tiles.insert(tile, bytes.to_vec());
                }
            });
            if check {
                let size = index + 1;
                for (tile, bytes) in builder.partials() {
                    tiles.insert(tile, bytes.to_vec());
                }
                assert_eq!(builder.root(), mth(&hashes), "size {size}");
                let resumed = TileBuilder::resume(size, |tile| Ok::<_, ()>(tiles[&tile].clone())).unwrap().unwrap();
                assert_eq!((resumed.size(), resumed.root()), (size, builder.root()));
            }
        }
        for (tile, bytes) in tiles {
            let TileKind::Hashes(level) = tile.kind else { continue };
            let span = 1_usize << (8 * usize::from(level));
            let first = usize::try_from(tile.index).unwrap() * 256 * span;
            let expected: Vec<u8> = hashes[first..].chunks(span).take(usize::from(tile.width)).flat_map(mth).collect();
            assert!(bytes == expected, "{tile}");
        }
    }

    proptest! {
        #[test]
        fn no_path_makes_the_parser_panic_and_what_it_takes_is_canonical(path in "tile/([0-9x./p]{0,20}|entries/[0-9x./p]{0,12})") {
            if let Some(tile) = TileId::parse(&path) {
                prop_assert_eq!(tile.to_string(), path);
            }
        }

        #[test]
        fn every_index_round_trips(index in any::<u64>(), level in 0..LEVELS, width in 1..=TILE_WIDTH) {
            let tile = TileId { kind: TileKind::Hashes(level), index, width };
            prop_assert_eq!(TileId::parse(&tile.to_string()), Some(tile));
        }
    }
}
