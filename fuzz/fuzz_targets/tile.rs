//! Names of tiles, and leaves as entry bundles hold them: what is taken is written back byte for byte.
#![no_main]

use ledger::{Leaf, TileId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(path) = std::str::from_utf8(bytes)
        && let Some(tile) = TileId::parse(path)
    {
        assert_eq!(tile.to_string(), path);
        assert!(tile.bytes() <= 256 * 104);
    }
    let mut bundle = bytes;
    while let Some((length, rest)) = bundle.split_first_chunk::<2>() {
        let Some((leaf, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))) else { break };
        if let Some((leaf, decoded)) = leaf.try_into().ok().and_then(|leaf| Some((leaf, Leaf::decode(leaf)?))) {
            assert_eq!(decoded.encode(), *leaf);
        }
        bundle = rest;
    }
});
