//! The block function of SHA-256 (FIPS 180-4, section 6.2.2) for sixteen inputs at once: each word of a vector belongs to another
//! input, so that one instruction does the same step of all. Inputs do not depend on each other, which one long input does at
//! every step.

use fearless_simd::prelude::*;
use fearless_simd::{Simd, u32x16};

use super::{BLOCK, INITIAL};

/// How many inputs there are at once: as many 32-bit words as a vector of 512 bits has.
pub(super) const LANES: usize = 16;

/// FIPS 180-4, section 4.2.2.
const K: [[u32; 16]; 4] = [
    [
        0x428a_2f98,
        0x7137_4491,
        0xb5c0_fbcf,
        0xe9b5_dba5,
        0x3956_c25b,
        0x59f1_11f1,
        0x923f_82a4,
        0xab1c_5ed5,
        0xd807_aa98,
        0x1283_5b01,
        0x2431_85be,
        0x550c_7dc3,
        0x72be_5d74,
        0x80de_b1fe,
        0x9bdc_06a7,
        0xc19b_f174,
    ],
    [
        0xe49b_69c1,
        0xefbe_4786,
        0x0fc1_9dc6,
        0x240c_a1cc,
        0x2de9_2c6f,
        0x4a74_84aa,
        0x5cb0_a9dc,
        0x76f9_88da,
        0x983e_5152,
        0xa831_c66d,
        0xb003_27c8,
        0xbf59_7fc7,
        0xc6e0_0bf3,
        0xd5a7_9147,
        0x06ca_6351,
        0x1429_2967,
    ],
    [
        0x27b7_0a85,
        0x2e1b_2138,
        0x4d2c_6dfc,
        0x5338_0d13,
        0x650a_7354,
        0x766a_0abb,
        0x81c2_c92e,
        0x9272_2c85,
        0xa2bf_e8a1,
        0xa81a_664b,
        0xc24b_8b70,
        0xc76c_51a3,
        0xd192_e819,
        0xd699_0624,
        0xf40e_3585,
        0x106a_a070,
    ],
    [
        0x19a4_c116,
        0x1e37_6c08,
        0x2748_774c,
        0x34b0_bcb5,
        0x391c_0cb3,
        0x4ed8_aa4a,
        0x5b9c_ca4f,
        0x682e_6ff3,
        0x748f_82ee,
        0x78a5_636f,
        0x84c8_7814,
        0x8cc7_0208,
        0x90be_fffa,
        0xa450_6ceb,
        0xbef9_a3f7,
        0xc671_78f2,
    ],
];

macro_rules! round {
    ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $word:expr, $k:expr) => {
        let t = $h + sum($e, 6, 11, 25) + (($e & $f) ^ (!$e & $g)) + $word + $k;
        $d += t;
        $h = t + sum($a, 2, 13, 22) + (($a & $b) ^ ($a & $c) ^ ($b & $c));
    };
}

/// Continues each state over the blocks of its input. All inputs have as many blocks as the first one.
#[inline(always)]
pub(super) fn compress<S: Simd>(simd: S, states: &mut [[u32; 8]; LANES], inputs: &[&[[u8; BLOCK]]; LANES]) {
    let mut rows = [u32x16::splat(simd, 0); LANES];
    for (row, state) in rows.iter_mut().zip(states.iter()) {
        let mut words = [0; LANES];
        words[..8].copy_from_slice(state);
        *row = words.simd_into(simd);
    }
    let rows = transposed(rows);
    let mut state = [rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6], rows[7]];
    for at in 0..inputs[0].len() {
        let mut rows = [u32x16::splat(simd, 0); LANES];
        for (row, blocks) in rows.iter_mut().zip(inputs) {
            let mut words = [0; LANES];
            for (word, bytes) in words.iter_mut().zip(blocks[at].as_chunks::<4>().0) {
                *word = u32::from_be_bytes(*bytes);
            }
            *row = words.simd_into(simd);
        }
        block(simd, &mut state, transposed(rows));
    }
    let mut rows = [u32x16::splat(simd, 0); LANES];
    rows[..8].copy_from_slice(&state);
    for (row, state) in transposed(rows).iter().zip(states) {
        state.copy_from_slice(&row.as_slice()[..8]);
    }
}

#[inline(always)]
fn block<S: Simd>(simd: S, state: &mut [u32x16<S>; 8], mut words: [u32x16<S>; 16]) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (part, k) in K.iter().enumerate() {
        if part > 0 {
            macro_rules! schedule {
                ($($at:literal)*) => {$(
                    let (before, last) = (words[($at + 1) % 16], words[($at + 14) % 16]);
                    let mixed = (turned(before, 7) ^ turned(before, 18) ^ (before >> 3))
                        + (turned(last, 17) ^ turned(last, 19) ^ (last >> 10));
                    words[$at] += words[($at + 9) % 16] + mixed;
                )*};
            }
            schedule!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        }
        macro_rules! eight {
            ($($at:literal)*) => {$(
                round!(a b c d e f g h, words[$at], u32x16::splat(simd, k[$at]));
                round!(h a b c d e f g, words[$at + 1], u32x16::splat(simd, k[$at + 1]));
                round!(g h a b c d e f, words[$at + 2], u32x16::splat(simd, k[$at + 2]));
                round!(f g h a b c d e, words[$at + 3], u32x16::splat(simd, k[$at + 3]));
                round!(e f g h a b c d, words[$at + 4], u32x16::splat(simd, k[$at + 4]));
                round!(d e f g h a b c, words[$at + 5], u32x16::splat(simd, k[$at + 5]));
                round!(c d e f g h a b, words[$at + 6], u32x16::splat(simd, k[$at + 6]));
                round!(b c d e f g h a, words[$at + 7], u32x16::splat(simd, k[$at + 7]));
            )*};
        }
        eight!(0 8);
    }
    for (word, more) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word += more;
    }
}

#[inline(always)]
fn sum<S: Simd>(word: u32x16<S>, first: u32, second: u32, third: u32) -> u32x16<S> {
    turned(word, first) ^ turned(word, second) ^ turned(word, third)
}

/// Each word rotated to the right.
#[inline(always)]
fn turned<S: Simd>(word: u32x16<S>, by: u32) -> u32x16<S> {
    (word >> by) | (word << (32 - by))
}

/// Rows to columns: four times, each row is zipped with the one eight rows below it.
#[inline(always)]
fn transposed<S: Simd>(mut rows: [u32x16<S>; LANES]) -> [u32x16<S>; LANES] {
    for _ in 0..4 {
        let before = rows;
        for at in 0..LANES / 2 {
            rows[2 * at] = before[at].zip_low(before[at + LANES / 2]);
            rows[2 * at + 1] = before[at].zip_high(before[at + LANES / 2]);
        }
    }
    rows
}

/// The states of sixteen inputs that begin.
pub(super) const BEGIN: [[u32; 8]; LANES] = [INITIAL; LANES];
