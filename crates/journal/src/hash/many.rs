//! Many short inputs hashed together. Where the processor has vectors of 512 bits sixteen of them are hashed at once (see
//! [`lanes`](super::lanes)), elsewhere one after the other: the hashes are the same.

use sha2::block_api::compress256;

use super::lanes::{BEGIN, LANES, compress};
use super::{BLOCK, INITIAL, Mac, bytes_of};

/// Inputs of up to so many blocks are hashed together with others of their length. Of longer ones there are few alike.
const BLOCKS_TOGETHER: usize = 6;

/// With fewer inputs than this, hashing one after the other is faster than leaving lanes empty.
const LANES_LEAST: usize = 6;

/// SHA-256 and HMAC-SHA-256 of many inputs.
pub struct Many {
    #[cfg(target_arch = "x86_64")]
    vectors: Option<fearless_simd::Avx512>,
    blocks: Vec<[u8; BLOCK]>,
    jobs: Vec<Job>,
}

/// One input, padded: where its blocks lie.
struct Job {
    state: [u32; 8],
    first: usize,
    blocks: usize,
    /// HMAC: what the inner hash is hashed under.
    outer: Option<[u32; 8]>,
}

impl Default for Many {
    fn default() -> Self {
        Self {
            // Vectors that are not optimised are slower by far than no vectors.
            #[cfg(target_arch = "x86_64")]
            vectors: fearless_simd::Level::new().as_avx512().filter(|_| !cfg!(debug_assertions)),
            blocks: Vec::new(),
            jobs: Vec::new(),
        }
    }
}

impl Many {
    /// Takes an input whose SHA-256 is wanted.
    pub fn push(&mut self, parts: &[&[u8]]) {
        self.input(INITIAL, 0, parts, None);
    }

    /// Takes an input whose HMAC-SHA-256 under a key is wanted.
    pub fn push_tag(&mut self, key: &Mac, parts: &[&[u8]]) {
        self.input(key.inner, BLOCK, parts, Some(key.outer));
    }

    /// The hashes of all inputs that were taken, in their order.
    pub fn finish(&mut self) -> Vec<[u8; 32]> {
        let mut hashes: Vec<[u8; 32]> = self.run().iter().map(bytes_of).collect();
        let jobs = std::mem::take(&mut self.jobs);
        self.blocks.clear();
        let outer = jobs.iter().enumerate().filter_map(|(at, job)| Some((at, job.outer?)));
        let mut inner = Vec::new();
        for (at, state) in outer {
            self.input(state, BLOCK, &[&hashes[at]], None);
            inner.push(at);
        }
        for (at, state) in inner.into_iter().zip(self.run()) {
            hashes[at] = bytes_of(&state);
        }
        self.clear();
        hashes
    }

    /// The keys, ready for use.
    pub fn keys<const N: usize>(&mut self, keys: impl IntoIterator<Item = [u8; N]>) -> Vec<Mac> {
        const { assert!(N <= BLOCK, "longer keys would have to be hashed first") };
        self.clear();
        for key in keys {
            for pad in [0x36, 0x5c] {
                let mut block = [pad; BLOCK];
                block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
                self.jobs.push(Job { state: INITIAL, first: self.blocks.len(), blocks: 1, outer: None });
                self.blocks.push(block);
            }
        }
        let states = self.run();
        self.clear();
        states.as_chunks().0.iter().map(|[inner, outer]| Mac { inner: *inner, outer: *outer }).collect()
    }

    fn clear(&mut self) {
        self.blocks.clear();
        self.jobs.clear();
    }

    /// Writes an input into blocks of its own, padded as FIPS 180-4 has it. `before` bytes of it were hashed already.
    fn input(&mut self, state: [u32; 8], before: usize, parts: &[&[u8]], outer: Option<[u32; 8]>) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let (first, blocks) = (self.blocks.len(), (length + 9).div_ceil(BLOCK));
        self.blocks.resize(first + blocks, [0; BLOCK]);
        let bytes = self.blocks[first..].as_flattened_mut();
        let mut at = 0;
        for part in parts {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        bytes[at] = 0x80;
        let bits = (before + length) as u64 * 8;
        bytes[blocks * BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
        self.jobs.push(Job { state, first, blocks, outer });
    }

    /// The state of each input behind its last block.
    fn run(&self) -> Vec<[u32; 8]> {
        let mut states: Vec<[u32; 8]> = self.jobs.iter().map(|job| job.state).collect();
        let mut alike: [Vec<usize>; BLOCKS_TOGETHER] = Default::default();
        for (at, job) in self.jobs.iter().enumerate() {
            match alike.get_mut(job.blocks - 1) {
                Some(together) if self.has_vectors() => together.push(at),
                _ => self.one(at, &mut states[at]),
            }
        }
        for together in alike.iter().flat_map(|together| together.chunks(LANES)) {
            if together.len() < LANES_LEAST {
                together.iter().for_each(|at| self.one(*at, &mut states[*at]));
            } else {
                self.lanes(together, &mut states);
            }
        }
        states
    }

    fn one(&self, at: usize, state: &mut [u32; 8]) {
        compress256(state, self.blocks_of(at));
    }

    /// Hashes up to [`LANES`] inputs of one length. A lane without an input repeats the first.
    fn lanes(&self, together: &[usize], states: &mut [[u32; 8]]) {
        let mut lanes = BEGIN;
        let mut inputs = [self.blocks_of(together[0]); LANES];
        for ((lane, input), at) in lanes.iter_mut().zip(&mut inputs).zip(together) {
            (*lane, *input) = (states[*at], self.blocks_of(*at));
        }
        self.compress(&mut lanes, &inputs);
        together.iter().zip(lanes).for_each(|(at, state)| states[*at] = state);
    }

    fn blocks_of(&self, at: usize) -> &[[u8; BLOCK]] {
        let job = &self.jobs[at];
        &self.blocks[job.first..job.first + job.blocks]
    }

    #[cfg(target_arch = "x86_64")]
    fn has_vectors(&self) -> bool {
        self.vectors.is_some()
    }

    #[cfg(target_arch = "x86_64")]
    fn compress(&self, states: &mut [[u32; 8]; LANES], inputs: &[&[[u8; BLOCK]]; LANES]) {
        use fearless_simd::Simd as _;
        if let Some(vectors) = self.vectors {
            vectors.vectorize(
                #[inline(always)]
                || compress(vectors, states, inputs),
            );
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn has_vectors(&self) -> bool {
        false
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn compress(&self, states: &mut [[u32; 8]; LANES], inputs: &[&[[u8; BLOCK]]; LANES]) {
        compress(fearless_simd::Level::baseline(), states, inputs);
    }
}

impl std::fmt::Debug for Many {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Many").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Sha256;
    use super::*;

    /// All lanes, in whatever vectors this machine has, against the block function for one.
    #[test]
    fn sixteen_at_once_are_sixteen_one_after_the_other() {
        let blocks: Vec<[u8; BLOCK]> = (0..LANES as u8 * 3).map(|n| std::array::from_fn(|at| n ^ (at as u8) << 2)).collect();
        let inputs: [&[[u8; BLOCK]]; LANES] = std::array::from_fn(|lane| &blocks[3 * lane..3 * lane + 3]);
        let mut states = BEGIN;
        states[3] = [7; 8];
        let mut expected = states;
        expected.iter_mut().zip(inputs).for_each(|(state, blocks)| compress256(state, blocks));
        fearless_simd::dispatch!(fearless_simd::Level::new(), simd => compress(simd, &mut states, &inputs));
        assert_eq!(states, expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn hashes_and_tags_are_those_of_each_input_by_itself(
            inputs in proptest::collection::vec((any::<[u8; 32]>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..500)), 0..60),
        ) {
            let mut many = Many::default();
            #[cfg(target_arch = "x86_64")]
            {
                many.vectors = fearless_simd::Level::new().as_avx512();
            }
            let keys = many.keys(inputs.iter().map(|(key, ..)| *key));
            for ((_, is_tag, input), key) in inputs.iter().zip(&keys) {
                let (head, tail) = input.split_at(input.len() / 3);
                if *is_tag { many.push_tag(key, &[head, tail]) } else { many.push(&[head, tail]) }
            }
            let hashes = many.finish();
            prop_assert_eq!(hashes.len(), inputs.len());
            for ((key, is_tag, input), hash) in inputs.iter().zip(hashes) {
                let expected = if *is_tag { Mac::new(key).tag(&[input]) } else { Sha256::of(&[input]) };
                prop_assert_eq!(hash, expected);
            }
            prop_assert!(many.finish().is_empty());
        }
    }
}
