//! The Americas.

use super::{Code, Needs, Number, code_of, is_year_month_day, number_of};
use crate::SensitiveType as Kind;
use crate::checksum::{is_uniform, luhn, number, value, weighted};

pub(super) const NUMBERS: &[Number] = &[
    number_of(Kind::BrCpf, 11, cpf, &[(&[3, 3, 3, 2], b"..-"), (&[3, 3, 3, 2], b"...")]),
    number_of(Kind::BrCnpj, 14, cnpj, &[(&[2, 3, 3, 4, 2], b"../-")]),
    number_of(Kind::ArCuit, 11, cuit, &[(&[2, 8, 1], b"--"), (&[2, 8, 1], b"  ")]),
    number_of(Kind::ClRut, 9, |digits| rut(&digits[..8], digits[8]), &[(&[2, 3, 3, 1], b"..-")]),
    number_of(Kind::ClRut, 8, |digits| rut(&digits[..7], digits[7]), &[(&[1, 3, 3, 1], b"..-")]),
    number_of(Kind::UsItin, 9, itin, &[(&[3, 2, 4], b"--"), (&[3, 2, 4], b"  ")]),
    number_of(Kind::UsNpi, 10, npi, &[]),
    number_of(Kind::CaSin, 9, sin, &[]),
    number_of(Kind::AbaRouting, 9, routing, &[]),
    number_of(Kind::UsEin, 9, ein, &[]),
    number_of(Kind::Imei, 15, luhn, &[(&[2, 6, 6, 1], b"---"), (&[2, 6, 6, 1], b"   ")]),
    number_of(Kind::Imei, 16, |digits| !is_uniform(digits), &[]),
];

pub(super) const CODES: &[Code] = &[
    code_of(Kind::UsMbi, b"9AX9?AX9?AA99", medicare, Needs::Capitals),
    code_of(Kind::MedicalLicense, b"AX9999999", drug_enforcement, Needs::Word),
    code_of(Kind::MedicalLicense, b"AA?9999999", drug_enforcement, Needs::Word),
    code_of(Kind::MxCurp, b"AAAA999999AAAAAAX9", curp, Needs::Nothing),
    code_of(Kind::MxRfc, b"AAAA?999999?XXX", |code| is_year_month_day(&code[4..10]), Needs::Capitals),
    code_of(Kind::MxRfc, b"AAA?999999?XXX", |code| is_year_month_day(&code[3..9]), Needs::Word),
    code_of(Kind::ClRut, b"99?999?999?A", |code| code[8] == b'K' && rut(&code[..8], b'K'), Needs::Capitals),
    code_of(Kind::ClRut, b"9?999?999?A", |code| code[7] == b'K' && rut(&code[..7], b'K'), Needs::Capitals),
];

/// Brazil, persons: two digits modulo 11.
fn cpf(digits: &[u8]) -> bool {
    let check = |len: u32| (weighted(digits, &(2..=len).rev().collect::<Vec<_>>()) * 10 % 11 % 10) as u8 + b'0';
    !is_uniform(digits) && check(10) == digits[9] && check(11) == digits[10]
}

/// Brazil, companies.
fn cnpj(digits: &[u8]) -> bool {
    let check = |weights: &[u32]| {
        let rest = weighted(digits, weights) % 11;
        if rest < 2 { 0 } else { 11 - rest }
    };
    !is_uniform(digits)
        && check(&[5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]) == value(digits[12])
        && check(&[6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]) == value(digits[13])
}

fn cuit(digits: &[u8]) -> bool {
    let rest = weighted(digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    let check = if rest == 0 { 0 } else { 11 - rest };
    matches!(number(&digits[..2]), 20 | 23 | 24 | 25 | 26 | 27 | 30 | 33 | 34) && check == value(digits[10])
}

/// Chile: modulo 11, ten as K.
fn rut(digits: &[u8], check: u8) -> bool {
    let sum: u32 =
        digits.iter().rev().zip([2, 3, 4, 5, 6, 7].into_iter().cycle()).map(|(digit, weight)| value(*digit) * weight).sum();
    let expected = match 11 - sum % 11 {
        11 => b'0',
        10 => b'K',
        other => b"0123456789"[other as usize % 10],
    };
    !is_uniform(digits) && check == expected
}

/// United States: a 9, and the groups that the IRS gives.
fn itin(digits: &[u8]) -> bool {
    digits[0] == b'9' && matches!(number(&digits[3..5]), 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

/// United States: Luhn over the number behind 80840.
fn npi(digits: &[u8]) -> bool {
    matches!(digits[0], b'1' | b'2') && luhn(&[b"80840", digits].concat())
}

fn sin(digits: &[u8]) -> bool {
    !matches!(digits[0], b'0' | b'8') && luhn(digits)
}

/// United States: a Federal Reserve district, and weights 3, 7, 1.
fn routing(digits: &[u8]) -> bool {
    matches!(number(&digits[..2]), 0..=12 | 21..=32 | 61..=72 | 80)
        && !is_uniform(digits)
        && weighted(digits, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
}

/// United States: prefixes that campuses of the IRS give.
fn ein(digits: &[u8]) -> bool {
    !matches!(number(&digits[..2]), 0 | 7..=9 | 17..=19 | 28 | 29 | 49 | 69 | 70 | 78 | 79 | 89 | 96 | 97) && !is_uniform(digits)
}

/// United States: letters without S, L, O, I, B and Z.
fn medicare(code: &[u8]) -> bool {
    code[0] != b'0' && code.iter().all(|byte| !b"SLOIBZ".contains(byte))
}

/// United States: sum of odd places and twice the even ones.
fn drug_enforcement(code: &[u8]) -> bool {
    let digits = &code[2..];
    let sum = weighted(digits, &[1, 2, 1, 2, 1, 2]);
    b"ABCDEFGHJKLMPRSTUX".contains(&code[0]) && sum % 10 == value(digits[6])
}

/// Mexico: date, sex, state, and a check digit over places from 18 down, Ñ counted between N and O.
fn curp(code: &[u8]) -> bool {
    let index = |byte: u8| match byte {
        b'0'..=b'9' => value(byte),
        b'A'..=b'N' => u32::from(byte - b'A') + 10,
        _ => u32::from(byte.wrapping_sub(b'A')) + 11,
    };
    let sum: u32 = code[..17].iter().zip((2..=18).rev()).map(|(byte, weight)| index(*byte) * weight).sum();
    is_year_month_day(&code[4..10]) && b"HMX".contains(&code[10]) && (10 - sum % 10) % 10 == value(code[17])
}
