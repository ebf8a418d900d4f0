//! The hash tree of RFC 6962, section 2.1, with SHA-256.

use journal::hash::Sha256;

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The root of the tree without leaves: SHA-256 of nothing.
pub const EMPTY_ROOT: Hash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64,
    0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// `SHA-256(0x00 ‖ entry)`.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::of(&[&[0], entry])
}

/// `SHA-256(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::of(&[&[1], left, right])
}

/// The root over `leaves`, which are leaf hashes.
#[must_use]
pub fn root_of(leaves: impl IntoIterator<Item = Hash>) -> Hash {
    let mut range = CompactRange::default();
    for leaf in leaves {
        range.push(leaf, |_, _| ());
    }
    range.root()
}

pub(crate) fn sha256(input: &[u8]) -> Hash {
    Sha256::of(&[input])
}

/// A tree that only grows, kept as the roots of its perfect subtrees: at most 64 hashes, one for each bit of its size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactRange {
    size: u64,
    /// Largest (leftmost) first, one for each bit that is set in `size`.
    roots: Vec<Hash>,
}

impl CompactRange {
    /// From the roots of the perfect subtrees, largest first; `None` unless there is one for each bit set in `size`.
    #[must_use]
    pub fn from_parts(size: u64, roots: Vec<Hash>) -> Option<Self> {
        (roots.len() == size.count_ones() as usize).then_some(Self { size, roots })
    }

    /// How many leaves it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf. `complete` is told of each perfect subtree that the leaf completes: its height (0 for the leaf
    /// itself) and its root.
    pub fn push(&mut self, leaf: Hash, mut complete: impl FnMut(u32, &Hash)) {
        let mut root = leaf;
        complete(0, &root);
        for height in 0..self.size.trailing_ones() {
            let Some(left) = self.roots.pop() else { break };
            root = node_hash(&left, &root);
            complete(height + 1, &root);
        }
        self.roots.push(root);
        self.size += 1;
    }

    /// The root of the whole tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut smaller_first = self.roots.iter().rev();
        let Some(smallest) = smaller_first.next() else { return EMPTY_ROOT };
        smaller_first.fold(*smallest, |right, left| node_hash(left, &right))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The definition in RFC 6962, word for word, as the oracle.
    pub(crate) fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(&[]),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&mth(left), &mth(right))
            }
        }
    }

    pub(crate) fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|index| leaf_hash(&index.to_be_bytes())).collect()
    }

    fn hex(hash: &Hash) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The reference tree of the Certificate Transparency project (`transparency-dev/merkle`, `testonly`).
    #[test]
    fn roots_are_those_of_the_reference_tree() {
        let entries: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        for (size, root) in roots.iter().enumerate() {
            assert_eq!(hex(&root_of(entries[..size].iter().map(|entry| leaf_hash(entry)))), *root, "size {size}");
        }
    }

    #[test]
    fn the_compact_range_is_the_definition_at_every_size() {
        let leaves = leaves(300);
        let mut range = CompactRange::default();
        for size in 0..=leaves.len() {
            assert_eq!(range.root(), mth(&leaves[..size]), "size {size}");
            if let Some(leaf) = leaves.get(size) {
                range.push(*leaf, |_, _| ());
            }
        }
    }

    #[test]
    fn long_and_short_entries_hash_alike() {
        for length in [0, 1, 254, 255, 256, 257, 1000] {
            let entry = vec![7; length];
            let expected = sha256(&[&[0], entry.as_slice()].concat());
            assert_eq!(leaf_hash(&entry), expected, "{length}");
        }
    }

    #[test]
    fn every_completed_subtree_is_told_once_with_its_root() {
        let leaves = leaves(64);
        let mut range = CompactRange::default();
        let mut told = Vec::new();
        for leaf in &leaves {
            range.push(*leaf, |height, root| told.push((height, *root)));
        }
        for height in 0..=6 {
            let roots: Vec<Hash> = told.iter().filter(|(of, _)| *of == height).map(|(_, root)| *root).collect();
            let expected: Vec<Hash> = leaves.chunks(1 << height).map(mth).collect();
            assert_eq!(roots, expected, "height {height}");
        }
    }
}
