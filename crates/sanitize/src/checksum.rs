//! Check digits and checksums of identifiers. All take ASCII; what is not of the right form has no valid checksum.

use aws_lc_rs::digest::{SHA256, digest};
use sha3::{Digest, Keccak256};

/// The value of an ASCII digit.
pub(crate) fn value(digit: u8) -> u32 {
    u32::from(digit.wrapping_sub(b'0'))
}

/// The value of a digit, or of a letter from A = 10.
fn value36(byte: u8) -> u32 {
    if byte.is_ascii_digit() { value(byte) } else { u32::from(byte.to_ascii_uppercase().wrapping_sub(b'A')) + 10 }
}

/// Whether one digit is all there is.
pub(crate) fn is_uniform(digits: &[u8]) -> bool {
    digits.windows(2).all(|pair| pair[0] == pair[1])
}

/// The number that the digits are.
pub(crate) fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |sum: u64, digit| sum.wrapping_mul(10).wrapping_add(u64::from(value(*digit))))
}

/// The check digit of ISO/IEC 7812-1 annex B.
pub(crate) fn luhn(digits: &[u8]) -> bool {
    let doubled = |(i, digit): (usize, &u8)| {
        let digit = value(*digit) << (i % 2);
        digit / 10 + digit % 10
    };
    !is_uniform(digits) && digits.iter().rev().enumerate().map(doubled).sum::<u32>().is_multiple_of(10)
}

/// The digits times their weights.
pub(crate) fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| value(*digit) * weight).sum()
}

/// A check digit of EAN-13 and its kin: weights one and three in turn, from the left.
pub(crate) fn ean13(digits: &[u8]) -> bool {
    digits.len() == 13 && weighted(digits, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_multiple_of(10)
}

/// The check digit of J. Verhoeff's dihedral scheme.
pub(crate) fn verhoeff(digits: &[u8]) -> bool {
    const PRODUCT: [[u8; 10]; 10] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
        [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
        [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
        [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
        [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
        [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
        [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
        [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ];
    const TURN: [usize; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let check = digits.iter().rev().enumerate().fold(0_usize, |check, (place, digit)| {
        let turned = (0..place % 8).fold(value(*digit) as usize % 10, |digit, _| TURN[digit]);
        usize::from(PRODUCT[check][turned])
    });
    check == 0
}

/// ISO 7064 MOD 11-2 over digits, the last of which may be `X` for ten.
pub(crate) fn mod_11_2(digits: &[u8]) -> bool {
    let Some((last, head)) = digits.split_last() else { return false };
    let rest = head.iter().fold(0, |rest, digit| (rest + value(*digit)) * 2 % 11);
    let check = if last.eq_ignore_ascii_case(&b'X') { 10 } else { value(*last) };
    (12 - rest) % 11 == check
}

/// ISO 7064 MOD 11,10.
pub(crate) fn mod_11_10(digits: &[u8]) -> bool {
    let Some((last, head)) = digits.split_last() else { return false };
    let product = head.iter().fold(10, |product, digit| {
        let sum = (product + value(*digit)) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (11 - product) % 10 == value(*last)
}

/// The number modulo 97, letters read as 10 to 35 (ISO 7064 MOD 97-10 has 1 here).
pub(crate) fn remainder_97(text: impl Iterator<Item = u8>) -> u32 {
    text.fold(0, |rest, byte| {
        let value = value36(byte);
        (rest * if value > 9 { 100 } else { 10 } + value) % 97
    })
}

/// The bytes that Base58 stands for, in Bitcoin's alphabet.
pub(crate) fn base58(text: &[u8]) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut bytes: Vec<u8> = Vec::with_capacity(text.len());
    for letter in text {
        let mut carry = ALPHABET.iter().position(|one| one == letter)?;
        for byte in &mut bytes {
            carry += usize::from(*byte) * 58;
            *byte = u8::try_from(carry & 0xFF).ok()?;
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push(u8::try_from(carry & 0xFF).ok()?);
            carry >>= 8;
        }
    }
    bytes.extend(text.iter().take_while(|letter| **letter == b'1').map(|_| 0));
    bytes.reverse();
    Some(bytes)
}

/// Base58 with four bytes of double SHA-256 at its end, as Bitcoin writes addresses and keys. Returns the payload.
pub(crate) fn base58_check(text: &[u8]) -> Option<Vec<u8>> {
    const CHECK_BYTES: usize = 4;
    let mut bytes = base58(text)?;
    let split = bytes.len().checked_sub(CHECK_BYTES)?;
    let once = digest(&SHA256, bytes.get(..split)?);
    let twice = digest(&SHA256, once.as_ref());
    (twice.as_ref().get(..CHECK_BYTES)? == bytes.get(split..)?).then_some(())?;
    bytes.truncate(split);
    Some(bytes)
}

/// The checksum that the case of the letters of an Ethereum address is (ERC-55): a capital where the hash of the small letters has a
/// half-byte of eight or more.
pub(crate) fn erc55(hex: &[u8]) -> bool {
    let hash = Keccak256::digest(hex.to_ascii_lowercase());
    let half = |at: usize| hash.get(at / 2).map_or(0, |byte| if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 });
    hex.iter().enumerate().all(|(at, letter)| letter.is_ascii_digit() || letter.is_ascii_uppercase() == (half(at) >= 8))
}

/// The checksum of bech32 (BIP 173) and of bech32m (BIP 350), over lower-case text.
pub(crate) fn bech32(text: &[u8]) -> bool {
    const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    const BECH32: u32 = 1;
    const BECH32M: u32 = 0x2bc8_30a3;
    let Some(mark) = text.iter().rposition(|byte| *byte == b'1') else { return false };
    let step = |check: u32, value: u32| {
        let top = check >> 25;
        (0..5).fold((check & 0x1ff_ffff) << 5 ^ value, |check, i| check ^ if top >> i & 1 == 1 { GENERATOR[i] } else { 0 })
    };
    let mut check = text[..mark].iter().fold(1, |check, byte| step(check, u32::from(byte >> 5)));
    check = step(check, 0);
    check = text[..mark].iter().fold(check, |check, byte| step(check, u32::from(byte & 31)));
    for byte in &text[mark + 1..] {
        let Some(value) = ALPHABET.iter().position(|one| one == byte) else { return false };
        check = step(check, u32::try_from(value).unwrap_or(0));
    }
    mark > 0 && (check == BECH32 || check == BECH32M)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers_hold_and_their_neighbours_do_not() {
        type Check = fn(&[u8]) -> bool;
        let known: &[(Check, &str)] = &[
            (luhn, "79927398713"),
            (luhn, "4111111111111111"),
            (ean13, "4006381333931"),
            (verhoeff, "2363"),
            (verhoeff, "123451"),
            (mod_11_2, "11010519491231002X"),
            (mod_11_2, "07940"),
            (mod_11_10, "07945"),
            (mod_11_10, "86095742719"),
        ];
        for (check, text) in known {
            assert!(check(text.as_bytes()), "{text}");
            let mut other = text.as_bytes().to_vec();
            other[1] = if other[1] == b'9' { b'1' } else { other[1] + 1 };
            assert!(!check(&other), "{text}");
        }
    }

    #[test]
    fn iban_has_remainder_one() {
        assert_eq!(remainder_97(b"WEST12345698765432GB82".iter().copied()), 1);
    }

    #[test]
    fn the_case_of_an_address_of_ethereum_is_its_checksum() {
        // the examples of the standard
        for address in ["5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "fB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"] {
            assert!(erc55(address.as_bytes()));
            assert!(!erc55(address.to_lowercase().as_bytes()));
            assert!(!erc55(address.replace('9', "8").as_bytes()));
        }
    }

    #[test]
    fn addresses_of_bitcoin_hold_and_their_neighbours_do_not() {
        assert_eq!(base58_check(b"1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa").map(|payload| payload.len()), Some(21));
        assert_eq!(base58_check(b"1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb"), None);
        assert_eq!(base58_check(b"0OIl"), None);
        assert!(bech32(b"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"));
        assert!(bech32(b"bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"));
        assert!(!bech32(b"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5"));
    }
}
