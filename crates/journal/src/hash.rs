//! SHA-256 (FIPS 180-4) and HMAC-SHA-256 (RFC 2104) for the many short inputs that commitments are made of.
//!
//! A key's two states are computed once, and nothing is allocated. The block function is that of `sha2`; the tests
//! compare with `aws-lc-rs`.

use sha2::block_api::compress256;

mod lanes;
mod many;

pub use many::Many;

const BLOCK: usize = 64;

/// FIPS 180-4, section 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// SHA-256 of what it is given bit by bit.
#[derive(Clone)]
pub struct Sha256 {
    state: [u32; 8],
    block: [u8; BLOCK],
    /// Bytes so far, those that wait in `block` among them.
    length: u64,
}

impl Default for Sha256 {
    fn default() -> Self {
        Self { state: INITIAL, block: [0; BLOCK], length: 0 }
    }
}

impl Sha256 {
    /// The hash of one input.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Self::default();
        parts.iter().for_each(|part| hash.update(part));
        hash.finish()
    }

    /// Takes more of the input.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let waiting = self.waiting();
        self.length += bytes.len() as u64;
        if waiting > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(BLOCK - waiting));
            self.block[waiting..waiting + head.len()].copy_from_slice(head);
            if waiting + head.len() < BLOCK {
                return;
            }
            compress256(&mut self.state, &[self.block]);
            bytes = rest;
        }
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        if !blocks.is_empty() {
            compress256(&mut self.state, blocks);
        }
        self.block[..rest.len()].copy_from_slice(rest);
    }

    /// The hash.
    #[must_use]
    pub fn finish(mut self) -> [u8; 32] {
        let waiting = self.waiting();
        self.block[waiting] = 0x80;
        self.block[waiting + 1..].fill(0);
        if waiting + 1 > BLOCK - 8 {
            compress256(&mut self.state, &[self.block]);
            self.block = [0; BLOCK];
        }
        self.block[BLOCK - 8..].copy_from_slice(&(self.length * 8).to_be_bytes());
        compress256(&mut self.state, &[self.block]);
        bytes_of(&self.state)
    }

    fn waiting(&self) -> usize {
        // The remainder is below 64.
        (self.length % BLOCK as u64) as usize
    }
}

/// A key of HMAC-SHA-256.
#[derive(Clone)]
pub struct Mac {
    inner: [u32; 8],
    outer: [u32; 8],
}

impl Mac {
    /// A key of at most 64 bytes; a longer one does not compile.
    #[must_use]
    pub fn new<const N: usize>(key: &[u8; N]) -> Self {
        const { assert!(N <= BLOCK, "longer keys would have to be hashed first") };
        let padded = |pad: u8| {
            let mut block = [pad; BLOCK];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = INITIAL;
            compress256(&mut state, &[block]);
            state
        };
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    /// The tag of one message.
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Sha256 { state: self.inner, block: [0; BLOCK], length: BLOCK as u64 };
        parts.iter().for_each(|part| hash.update(part));
        let inner = hash.finish();
        let mut hash = Sha256 { state: self.outer, block: [0; BLOCK], length: BLOCK as u64 };
        hash.update(&inner);
        hash.finish()
    }
}

impl std::fmt::Debug for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mac").finish_non_exhaustive()
    }
}

fn bytes_of(state: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, word) in bytes.chunks_exact_mut(4).zip(state) {
        to.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{digest, hmac};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_length_around_the_blocks_hashes_as_elsewhere() {
        let bytes: Vec<u8> = (0..=255).cycle().take(300).collect();
        for length in 0..bytes.len() {
            let expected = digest::digest(&digest::SHA256, &bytes[..length]);
            assert_eq!(Sha256::of(&[&bytes[..length]]), expected.as_ref(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn parts_and_keys_make_no_difference(parts in proptest::collection::vec(any::<Vec<u8>>(), 0..6),
                                             short in any::<[u8; 16]>(), long in any::<[u8; 32]>()) {
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let all = parts.concat();
            let expected = digest::digest(&digest::SHA256, &all);
            prop_assert_eq!(&Sha256::of(&slices)[..], expected.as_ref());
            let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &short), &all);
            prop_assert_eq!(&Mac::new(&short).tag(&slices)[..], expected.as_ref());
            let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &long), &all);
            prop_assert_eq!(&Mac::new(&long).tag(&slices)[..], expected.as_ref());
        }
    }
}
