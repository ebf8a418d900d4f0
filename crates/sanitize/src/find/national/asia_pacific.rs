//! Asia, the Pacific and Africa.

use super::{Code, Needs, Number, code_of, is_full_date, is_year_month_day, number_of};
use crate::SensitiveType as Kind;
use crate::checksum::{is_uniform, luhn, mod_11_2, number, value, verhoeff, weighted};

pub(super) const NUMBERS: &[Number] = &[
    number_of(Kind::CnResidentId, 18, chinese, &[(&[18], b""), (&[6, 8, 4], b"  "), (&[6, 8, 4], b"--")]),
    number_of(Kind::ThTnin, 13, thai, &[(&[1, 4, 5, 2, 1], b"----"), (&[1, 4, 5, 2, 1], b"    ")]),
    number_of(Kind::ZaId, 13, south_african, &[(&[6, 4, 3], b"  "), (&[6, 4, 2, 1], b"   "), (&[6, 4, 1, 1, 1], b"    ")]),
    number_of(Kind::InAadhaar, 12, aadhaar, &[(&[4, 4, 4], b"  "), (&[4, 4, 4], b"--")]),
    number_of(Kind::JpMyNumber, 12, my_number, &[]),
    number_of(Kind::AuAbn, 11, abn, &[(&[2, 3, 3, 3], b"   ")]),
    number_of(Kind::AuMedicare, 10, medicare, &[(&[4, 5, 1], b"  "), (&[4, 5, 1], b"--")]),
    number_of(
        Kind::AuMedicare,
        11,
        |digits| medicare(&digits[..10]) && digits[10] != b'0',
        &[(&[4, 5, 1, 1], b"  /"), (&[4, 5, 1, 1], b"  -")],
    ),
    number_of(
        Kind::AuTfn,
        9,
        |digits| weighted(digits, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11) && !is_uniform(digits),
        &[],
    ),
    number_of(
        Kind::AuTfn,
        8,
        |digits| weighted(digits, &[10, 7, 8, 4, 6, 3, 5, 1]).is_multiple_of(11) && !is_uniform(digits),
        &[],
    ),
    number_of(Kind::AuAcn, 9, acn, &[]),
    number_of(Kind::NzIrd, 9, inland_revenue, &[]),
    number_of(Kind::NzIrd, 8, |digits| inland_revenue(&[b"0", digits].concat()), &[]),
    // United Arab Emirates
    number_of(
        Kind::NationalId,
        15,
        |digits| digits.starts_with(b"784") && luhn(digits),
        &[(&[15], b""), (&[3, 4, 7, 1], b"---")],
    ),
    // without a check digit, so after those that have one
    number_of(Kind::KrRrn, 13, korean, &[(&[6, 7], b"-")]),
    // Pakistan
    number_of(Kind::NationalId, 13, |digits| matches!(digits[0], b'1'..=b'8') && !is_uniform(digits), &[(&[5, 7, 1], b"--")]),
    // Malaysia
    number_of(Kind::NationalId, 12, is_year_month_day, &[(&[6, 2, 4], b"--")]),
    // Indonesia: place, date (40 more for women)
    number_of(
        Kind::NationalId,
        16,
        |digits| matches!(number(&digits[6..8]) % 40, 1..=31) && matches!(number(&digits[8..10]), 1..=12),
        &[],
    ),
    // Egypt: century, date
    number_of(Kind::NationalId, 14, |digits| matches!(digits[0], b'2' | b'3') && is_year_month_day(&digits[1..7]), &[]),
];

pub(super) const CODES: &[Code] = &[
    code_of(Kind::CnResidentId, b"99999999999999999A", |code| code[17] == b'X' && chinese(code), Needs::Capitals),
    code_of(Kind::CnResidentId, b"99999999999999999x", chinese, Needs::Word),
    code_of(Kind::SgNricFin, b"A9999999A", singaporean, Needs::Nothing),
    code_of(Kind::InPan, b"AAAAA9999A", |code| b"ABCFGHLJPT".contains(&code[3]), Needs::Capitals),
    code_of(Kind::InGstin, b"99AAAAA9999AXZX", gst, Needs::Capitals),
    code_of(Kind::TwNationalId, b"A999999999", taiwanese, Needs::Word),
    code_of(Kind::HkId, b"A?999999?X", |code| hong_kong(&code[..1], &code[1..]), Needs::Word),
    code_of(Kind::HkId, b"AA?999999?X", |code| hong_kong(&code[..2], &code[2..]), Needs::Word),
];

/// Hong Kong, its check digit in parentheses: `A123456(3)`. Returns where it ends.
pub(in crate::find) fn hong_kong_at(bytes: &[u8], digit: usize) -> Option<(usize, usize, String)> {
    const DIGITS: usize = 6;
    let tail = bytes.get(digit..digit + DIGITS + 3)?;
    let letters = bytes[..digit].iter().rev().take(3).take_while(|b| b.is_ascii_uppercase()).count();
    let start = digit - letters;
    let fits = (1..=2).contains(&letters)
        && crate::find::begins(bytes, start)
        && tail[DIGITS] == b'('
        && tail[DIGITS + 2] == b')'
        && tail[..DIGITS].iter().all(u8::is_ascii_digit);
    let number = [&tail[..DIGITS], &tail[DIGITS + 1..DIGITS + 2]].concat();
    (fits && hong_kong(&bytes[start..digit], &number)).then(|| {
        let normal = [&bytes[start..digit], &number].concat();
        (start, digit + DIGITS + 3, String::from_utf8_lossy(&normal).into_owned())
    })
}

/// China: place, date, serial, ISO 7064 MOD 11-2 (GB 11643).
fn chinese(digits: &[u8]) -> bool {
    matches!(number(&digits[..2]), 11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83 | 91)
        && is_full_date(&digits[6..14])
        && mod_11_2(digits)
}

fn thai(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
    digits[0] != b'0' && !is_uniform(digits) && (11 - sum % 11) % 10 == value(digits[12])
}

/// Korea: date, and sex with century. Numbers given since October 2020 have no check digit.
fn korean(digits: &[u8]) -> bool {
    is_year_month_day(digits) && (b'1'..=b'8').contains(&digits[6]) && !is_uniform(&digits[7..])
}

/// South Africa: date, serial, citizenship, Luhn.
fn south_african(digits: &[u8]) -> bool {
    is_year_month_day(digits) && matches!(digits[10], b'0'..=b'2') && luhn(digits)
}

fn aadhaar(digits: &[u8]) -> bool {
    digits[0] >= b'2' && !is_uniform(digits) && verhoeff(digits)
}

/// Japan: weights 6 to 2, then 7 to 2, from the left.
fn my_number(digits: &[u8]) -> bool {
    let rest = weighted(digits, &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    !is_uniform(digits) && value(digits[11]) == if rest <= 1 { 0 } else { 11 - rest }
}

/// Australia: one less in the first place, modulo 89.
fn abn(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
    // round numbers are written in the same groups
    digits[0] != b'0' && sum > 10 && (sum - 10).is_multiple_of(89) && !digits.ends_with(b"000")
}

fn medicare(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[1, 3, 7, 9, 1, 3, 7, 9]);
    (b'2'..=b'6').contains(&digits[0]) && sum % 10 == value(digits[8])
}

fn acn(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[8, 7, 6, 5, 4, 3, 2, 1]);
    !is_uniform(digits) && (10 - sum % 10) % 10 == value(digits[8])
}

/// New Zealand: a second row of weights where the first leaves ten.
fn inland_revenue(digits: &[u8]) -> bool {
    let check = |weights: &[u32]| (11 - weighted(digits, weights) % 11) % 11;
    let first = check(&[3, 2, 7, 6, 5, 4, 3, 2]);
    let check = if first < 10 { first } else { check(&[7, 4, 3, 2, 5, 2, 7, 6]) };
    (10_000_000..150_000_000).contains(&number(digits)) && check == value(digits[8])
}

/// Singapore: modulo 11, a letter by series.
fn singaporean(code: &[u8]) -> bool {
    let sum = weighted(&code[1..8], &[2, 7, 6, 5, 4, 3, 2]);
    let (offset, letters): (u32, &[u8; 11]) = match code[0] {
        b'S' => (0, b"JZIHGFEDCBA"),
        b'T' => (4, b"JZIHGFEDCBA"),
        b'F' => (0, b"XWUTRQPNMLK"),
        b'G' => (4, b"XWUTRQPNMLK"),
        b'M' => (3, b"XWUTRQPNJLK"),
        _ => return false,
    };
    let rest = (sum + offset) as usize % 11;
    // the new series counts its letters from the other end
    letters[if code[0] == b'M' { 10 - rest } else { rest }] == code[8] || (code[0] == b'M' && letters[rest] == code[8])
}

/// India: state, permanent account number, and Luhn over 36 characters.
fn gst(code: &[u8]) -> bool {
    const LETTERS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let sum: usize = code[..14]
        .iter()
        .enumerate()
        .filter_map(|(i, byte)| Some(LETTERS.iter().position(|letter| letter == byte)? * (1 + i % 2)))
        .map(|product| product / 36 + product % 36)
        .sum();
    matches!(number(&code[..2]), 1..=38 | 97 | 99) && LETTERS[(36 - sum % 36) % 36] == code[14]
}

/// Taiwan: the letter as two digits.
fn taiwanese(code: &[u8]) -> bool {
    const ORDER: &[u8; 26] = b"ABCDEFGHJKLMNPQRSTUVXYWZIO";
    let Some(letter) = ORDER.iter().position(|letter| *letter == code[0]) else { return false };
    let first = u32::try_from(letter).unwrap_or(0) + 10;
    let sum = first / 10 + first % 10 * 9 + weighted(&code[1..], &[8, 7, 6, 5, 4, 3, 2, 1, 1]);
    matches!(code[1], b'1' | b'2' | b'8' | b'9') && sum.is_multiple_of(10)
}

/// Hong Kong: one or two letters, six digits, a check digit of modulo 11 with A for ten.
fn hong_kong(letters: &[u8], number: &[u8]) -> bool {
    const SPACE: u32 = 36;
    let index = |letter: u8| u32::from(letter - b'A') + 10;
    let (first, second) = match letters {
        [only] => (SPACE, index(*only)),
        [first, second] => (index(*first), index(*second)),
        _ => return false,
    };
    let check = match number[6] {
        b'A' => 10,
        digit if digit.is_ascii_digit() => value(digit),
        _ => return false,
    };
    let sum = first * 9 + second * 8 + weighted(&number[..6], &[7, 6, 5, 4, 3, 2]) + check;
    sum.is_multiple_of(11)
}
