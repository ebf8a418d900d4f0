//! Europe, Turkey and Israel.

use super::{Code, Needs, Number, code_of, is_day, is_day_month_year, is_full_date, is_year_month_day, number_of};
use crate::SensitiveType as Kind;
use crate::checksum::{ean13, is_uniform, luhn, mod_11_10, number, value, weighted};

pub(super) const NUMBERS: &[Number] = &[
    number_of(
        Kind::FrNir,
        15,
        nir,
        &[
            (&[15], b""),
            (&[1, 2, 2, 2, 3, 3, 2], b"      "),
            (&[1, 2, 2, 2, 3, 3, 2], b"------"),
            (&[1, 2, 2, 2, 3, 3, 2], b"......"),
            (&[13, 2], b" "),
        ],
    ),
    number_of(Kind::NoFodselsnummer, 11, fodselsnummer, &[(&[11], b""), (&[6, 5], b" "), (&[6, 5], b"-")]),
    number_of(Kind::ChAhv, 13, ahv, &[(&[13], b""), (&[3, 4, 4, 2], b"..."), (&[3, 4, 4, 2], b"   "), (&[3, 4, 4, 2], b"---")]),
    number_of(
        Kind::BeNationalNumber,
        11,
        belgian,
        &[(&[2, 2, 2, 3, 2], b"..-."), (&[2, 2, 2, 3, 2], b"..--"), (&[6, 3, 2], b"--"), (&[6, 3, 2], b"-.")],
    ),
    number_of(Kind::DeTaxId, 11, steuer_id, &[(&[2, 3, 3, 3], b"   ")]),
    number_of(Kind::PlPesel, 11, pesel, &[]),
    number_of(Kind::TrTckn, 11, tckn, &[]),
    number_of(Kind::RuSnils, 11, snils, &[(&[3, 3, 3, 2], b"-- "), (&[3, 3, 3, 2], b"---")]),
    number_of(Kind::RoCnp, 13, cnp, &[]),
    number_of(Kind::SePersonnummer, 10, personnummer, &[(&[6, 4], b"-")]),
    number_of(
        Kind::SePersonnummer,
        12,
        |digits| is_full_date(digits) && personnummer(&digits[2..]),
        &[(&[8, 4], b"-"), (&[12], b"")],
    ),
    number_of(Kind::AtSvnr, 10, svnr, &[(&[4, 6], b" "), (&[4, 6], b"-"), (&[4, 2, 2, 2], b"   ")]),
    number_of(Kind::CzBirthNumber, 10, birth_number, &[(&[6, 4], b"/")]),
    number_of(Kind::CzBirthNumber, 9, czech_date, &[(&[6, 3], b"/")]),
    number_of(Kind::DkCpr, 10, is_day_month_year, &[]),
    number_of(Kind::BgEgn, 10, egn, &[]),
    number_of(Kind::PlNip, 10, nip, &[(&[3, 3, 2, 2], b"---"), (&[3, 2, 2, 3], b"---")]),
    number_of(Kind::UkNhs, 10, nhs, &[]),
    number_of(Kind::UkUtr, 10, utr, &[]),
    number_of(Kind::UaRnokpp, 10, rnokpp, &[]),
    number_of(Kind::RuInn, 10, |digits| inn(digits, &[2, 4, 10, 3, 5, 9, 4, 6, 8]), &[]),
    number_of(
        Kind::RuInn,
        12,
        |digits| inn(&digits[..11], &[7, 2, 4, 10, 3, 5, 9, 4, 6, 8]) && inn(digits, &[3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8]),
        &[],
    ),
    number_of(Kind::NlBsn, 9, bsn, &[]),
    number_of(Kind::NlBsn, 8, |digits| bsn(&[b"0", digits].concat()), &[]),
    number_of(Kind::PtNif, 9, portuguese, &[]),
    number_of(Kind::IlId, 9, luhn, &[]),
    number_of(Kind::FrSiret, 14, |digits| luhn(digits) || digits.starts_with(b"356000000"), &[(&[3, 3, 3, 5], b"   ")]),
    number_of(Kind::FrSiret, 9, luhn, &[]),
    // Italian VAT number, German, and the other ways of writing them without their country
    number_of(Kind::EuVat, 11, luhn, &[]),
    number_of(Kind::EuVat, 9, |digits| !is_uniform(digits), &[]),
    number_of(Kind::EuVat, 10, |digits| !is_uniform(digits), &[]),
    // Croatia (OIB), the Baltic states, Greece (AMKA), the states that were Yugoslavia, Iceland, Latvia
    number_of(
        Kind::NationalId,
        11,
        |digits| mod_11_10(digits) || baltic(digits) || (is_day_month_year(digits) && (luhn(digits) || digits.len() == 11)),
        &[],
    ),
    number_of(Kind::NationalId, 13, jmbg, &[]),
    number_of(Kind::NationalId, 10, |digits| is_day_month_year(digits) || digits.starts_with(b"8"), &[]),
    number_of(Kind::NationalId, 9, |digits| !is_uniform(digits), &[]),
    number_of(Kind::NationalId, 8, |digits| !is_uniform(digits), &[]),
];

pub(super) const CODES: &[Code] = &[
    code_of(Kind::ItFiscalCode, b"AAAAAA9XAXXAXXXA", fiscal_code, Needs::Capitals),
    code_of(Kind::ItFiscalCode, b"AAA?AAA?9XAXX?AXXXA", fiscal_code, Needs::Capitals),
    code_of(Kind::EsNif, b"99999999?A", dni, Needs::Capitals),
    code_of(Kind::EsNif, b"99?999?999?A", dni, Needs::Capitals),
    code_of(Kind::EsNie, b"A?9999999?A", nie, Needs::Nothing),
    code_of(Kind::EsNif, b"A?9999999X", cif, Needs::Word),
    code_of(Kind::UkNino, b"AA?99?99?99?A", nino, Needs::Nothing),
    code_of(Kind::IePps, b"9999999?A", pps, Needs::Word),
    code_of(Kind::IePps, b"9999999?AA", pps, Needs::Capitals),
    code_of(Kind::DeSocialSecurity, b"99?999999?A?99?9", german_pension, Needs::Capitals),
    code_of(Kind::DeSocialSecurity, b"99?99?99?99?A?999", german_pension, Needs::Capitals),
    code_of(Kind::DriverLicense, b"AAAAA?999999?AAXAA", british_driver, Needs::Capitals),
    code_of(Kind::FiPersonalIdentityCode, b"999999A999X", hetu, Needs::Capitals),
];

/// The Finnish code whose date begins at `start`, where the century is a sign: `131052-308T`. Returns where it ends.
pub(in crate::find) fn hetu_at(bytes: &[u8], start: usize) -> Option<(usize, String)> {
    const BYTES: usize = 11;
    let code = bytes.get(start..start + BYTES)?;
    let normal: Vec<u8> = code.to_ascii_uppercase();
    let signed = matches!(code[6], b'-' | b'+') && code[..6].iter().chain(&code[7..10]).all(u8::is_ascii_digit);
    let fits = signed && hetu(&normal) && crate::find::ends(bytes, start + BYTES);
    fits.then(|| (start + BYTES, String::from_utf8_lossy(&normal).into_owned()))
}

/// France: sex, year, month, place, and 97 minus the rest modulo 97.
fn nir(digits: &[u8]) -> bool {
    let month = number(&digits[3..5]);
    let plausible = matches!(digits[0], b'1'..=b'4' | b'7' | b'8') && (matches!(month, 1..=12 | 20..=42) || month >= 50);
    plausible && 97 - number(&digits[..13]) % 97 == number(&digits[13..])
}

/// Norway: two digits modulo 11 after a date; D-numbers add 40 to the day, H-numbers to the month.
fn fodselsnummer(digits: &[u8]) -> bool {
    let day = number(&digits[..2]);
    let month = number(&digits[2..4]);
    is_day(if month > 40 { month - 40 } else { month }, if day > 40 { day - 40 } else { day })
        && weighted(digits, &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]).is_multiple_of(11)
        && weighted(digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
}

fn ahv(digits: &[u8]) -> bool {
    digits.starts_with(b"756") && ean13(digits)
}

/// Belgium: 97 minus the rest modulo 97, with a 2 before the number for those born from 2000 on.
fn belgian(digits: &[u8]) -> bool {
    let (head, check) = (number(&digits[..9]), number(&digits[9..]));
    let month = number(&digits[2..4]) % 20;
    month <= 12 && number(&digits[4..6]) <= 31 && (97 - head % 97 == check || 97 - (2_000_000_000 + head) % 97 == check)
}

/// Germany: no zero first, one digit twice or three times among the first ten, ISO 7064 MOD 11,10.
fn steuer_id(digits: &[u8]) -> bool {
    let mut counts = [0_u8; 10];
    for digit in &digits[..10] {
        counts[value(*digit) as usize % 10] += 1;
    }
    let repeated = counts.iter().filter(|count| **count > 1).count();
    digits[0] != b'0' && !digits.ends_with(b"000") && repeated == 1 && counts.iter().all(|count| *count <= 3) && mod_11_10(digits)
}

/// Poland: the century is in the month.
fn pesel(digits: &[u8]) -> bool {
    is_day(number(&digits[2..4]) % 20, number(&digits[4..6]))
        && weighted(digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]).is_multiple_of(10)
}

/// Turkey: two check digits.
fn tckn(digits: &[u8]) -> bool {
    let odd = weighted(digits, &[1, 0, 1, 0, 1, 0, 1, 0, 1]);
    let even = weighted(digits, &[0, 1, 0, 1, 0, 1, 0, 1]);
    let sum = weighted(&digits[..10], &[1; 10]);
    digits[0] != b'0' && (odd * 7 + 100 - even) % 10 == value(digits[9]) && sum % 10 == value(digits[10])
}

/// Russia: modulo 101.
fn snils(digits: &[u8]) -> bool {
    let rest = weighted(digits, &[9, 8, 7, 6, 5, 4, 3, 2, 1]) % 101 % 100;
    !is_uniform(&digits[..9]) && u64::from(rest) == number(&digits[9..])
}

/// Romania: sex and century, date, county, modulo 11.
fn cnp(digits: &[u8]) -> bool {
    let rest = weighted(digits, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11;
    digits[0] != b'0' && is_year_month_day(&digits[1..]) && if rest == 10 { 1 } else { rest } == value(digits[12])
}

/// Sweden: a date, whose day is 60 more in coordination numbers, and Luhn. Numbers of organisations have a month of 20 or more.
fn personnummer(digits: &[u8]) -> bool {
    let day = number(&digits[4..6]);
    let dated = is_day(number(&digits[2..4]), if day > 60 { day - 60 } else { day });
    dated && luhn(digits)
}

/// Austria: the check digit stands fourth, before the date of birth.
fn svnr(digits: &[u8]) -> bool {
    let rest = weighted(digits, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]) % 11;
    is_day_month_year(&digits[4..]) && digits[0] != b'0' && rest == value(digits[3])
}

/// Czechia and Slovakia: women's months are 50 more, and 20 more where numbers ran out.
fn czech_date(digits: &[u8]) -> bool {
    let month = number(&digits[2..4]) % 50;
    is_day(if month > 20 { month - 20 } else { month }, number(&digits[4..6]))
}

fn birth_number(digits: &[u8]) -> bool {
    czech_date(digits) && (number(digits).is_multiple_of(11) || (number(&digits[..9]) % 11 == 10 && digits[9] == b'0'))
}

/// Bulgaria: months are 20 or 40 more in other centuries.
fn egn(digits: &[u8]) -> bool {
    let rest = weighted(digits, &[2, 4, 8, 5, 10, 9, 7, 3, 6]) % 11 % 10;
    is_day(number(&digits[2..4]) % 20, number(&digits[4..6])) && rest == value(digits[9])
}

pub(super) fn nip(digits: &[u8]) -> bool {
    !is_uniform(digits) && weighted(digits, &[6, 5, 7, 2, 3, 4, 5, 6, 7]) % 11 == value(digits[9])
}

/// England, Wales, Isle of Man: 11 minus the rest modulo 11.
fn nhs(digits: &[u8]) -> bool {
    !is_uniform(digits) && weighted(digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
}

/// Britain: the check digit stands first.
fn utr(digits: &[u8]) -> bool {
    const CHECK: &[u8; 11] = b"21987654321";
    let rest = weighted(&digits[1..], &[6, 7, 8, 9, 10, 5, 4, 3, 2]) % 11;
    !is_uniform(digits) && CHECK[rest as usize] == digits[0]
}

/// Ukraine.
fn rnokpp(digits: &[u8]) -> bool {
    // the first weight is minus one, which is ten modulo eleven
    !is_uniform(digits) && weighted(digits, &[10, 5, 7, 9, 4, 6, 10, 5, 7]) % 11 % 10 == value(digits[9])
}

/// Russia: modulo 11 and then modulo 10.
fn inn(digits: &[u8], weights: &[u32]) -> bool {
    !is_uniform(digits) && digits.last().is_some_and(|last| weighted(digits, weights) % 11 % 10 == value(*last))
}

/// Netherlands: the eleven-proof, its last weight minus one.
pub(super) fn bsn(digits: &[u8]) -> bool {
    !is_uniform(digits) && weighted(digits, &[9, 8, 7, 6, 5, 4, 3, 2, 10]).is_multiple_of(11)
}

pub(super) fn portuguese(digits: &[u8]) -> bool {
    let rest = weighted(digits, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    !is_uniform(digits) && digits[0] != b'0' && value(digits[8]) == if rest < 2 { 0 } else { 11 - rest }
}

/// Estonia and Lithuania: century, date, and a second row of weights where the first leaves ten.
fn baltic(digits: &[u8]) -> bool {
    let first = weighted(digits, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11;
    let second = weighted(digits, &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11;
    let check = if first < 10 { first } else { second % 10 };
    matches!(digits[0], b'1'..=b'6') && is_year_month_day(&digits[1..]) && check == value(digits[10])
}

/// The states that were Yugoslavia, with Slovenia's EMŠO.
fn jmbg(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    let check = if sum < 2 { 0 } else { 11 - sum };
    is_day_month_year(digits) && check == value(digits[12])
}

/// Italy: values by place, modulo 26.
fn fiscal_code(code: &[u8]) -> bool {
    const ODD: [u32; 36] = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25,
        24, 23,
    ];
    let index = |byte: u8| if byte.is_ascii_digit() { value(byte) } else { u32::from(byte - b'A') + 10 };
    // letters that stand for digits where two persons would have the same code
    let is_digit = |byte: u8| byte.is_ascii_digit() || b"LMNPQRSTUV".contains(&byte);
    let sum: u32 = code[..15]
        .iter()
        .enumerate()
        .map(|(i, byte)| {
            let value = index(*byte);
            if i % 2 == 0 {
                ODD[value as usize % 36]
            } else if byte.is_ascii_digit() {
                value
            } else {
                value - 10
            }
        })
        .sum();
    [6, 7, 9, 10, 12, 13, 14].iter().all(|at| is_digit(code[*at]))
        && b"ABCDEHLMPRST".contains(&code[8])
        && sum % 26 == u32::from(code[15] - b'A')
}

const DNI_LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";

fn dni(code: &[u8]) -> bool {
    let rest = number(&code[..8]) % 23;
    !is_uniform(&code[..8]) && usize::try_from(rest).is_ok_and(|rest| DNI_LETTERS[rest] == code[8])
}

fn nie(code: &[u8]) -> bool {
    let Some(first) = b"XYZ".iter().position(|letter| *letter == code[0]) else { return false };
    let rest = (first as u64 * 10_000_000 + number(&code[1..8])) % 23;
    usize::try_from(rest).is_ok_and(|rest| DNI_LETTERS[rest] == code[8])
}

/// Spain, companies: Luhn over the digits, as a digit or a letter.
pub(super) fn cif(code: &[u8]) -> bool {
    let doubled: u32 = code[1..8].iter().step_by(2).map(|digit| value(*digit) * 2).map(|twice| twice / 10 + twice % 10).sum();
    let check = (10 - (doubled + weighted(&code[1..8], &[0, 1, 0, 1, 0, 1, 0])) % 10) % 10;
    b"ABCDEFGHJNPQRSUVW".contains(&code[0])
        && (u32::from(code[8].wrapping_sub(b'0')) == check || b"JABCDEFGHI"[check as usize] == code[8])
}

/// Britain: letters that are given (HMRC NIM39110).
fn nino(code: &[u8]) -> bool {
    const NOT_GIVEN: [&[u8]; 7] = [b"BG", b"GB", b"KN", b"NK", b"NT", b"TN", b"ZZ"];
    !b"DFIQUV".contains(&code[0])
        && !b"DFIOQUV".contains(&code[1])
        && !NOT_GIVEN.contains(&&code[..2])
        && (b'A'..=b'D').contains(&code[8])
        && !is_uniform(&code[2..8])
}

/// Ireland: modulo 23, the second letter counts nine times.
fn pps(code: &[u8]) -> bool {
    let second = code.get(8).map_or(0, |letter| if *letter == b'W' { 0 } else { u32::from(letter - b'A') + 1 });
    let sum = weighted(&code[..7], &[8, 7, 6, 5, 4, 3, 2]) + second * 9;
    (b'A'..=b'I').contains(&code.get(8).copied().unwrap_or(b'A')) | (code.get(8) == Some(&b'W'))
        && b"WABCDEFGHIJKLMNOPQRSTUV"[(sum % 23) as usize] == code[7]
}

/// Germany: area, date of birth, first letter of the name as two digits, serial, check digit over the digit sums.
fn german_pension(code: &[u8]) -> bool {
    const WEIGHTS: [u32; 12] = [2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1];
    let letter = u32::from(code[8] - b'A') + 1;
    let mut digits: Vec<u32> = code[..8].iter().map(|digit| value(*digit)).collect();
    digits.extend([letter / 10, letter % 10, value(code[9]), value(code[10])]);
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(digit, weight)| digit * weight).map(|sum| sum / 10 + sum % 10).sum();
    is_day_month_year(&code[2..8]) && sum % 10 == value(code[11])
}

/// Britain: five letters of the surname, a date whose month is 50 more for women, initials.
fn british_driver(code: &[u8]) -> bool {
    let month = number(&code[6..8]);
    is_day(if month > 50 { month - 50 } else { month }, number(&code[8..10])) && !is_uniform(&code[..5])
}

/// Finland: the rest of date and serial modulo 31 as a letter.
fn hetu(code: &[u8]) -> bool {
    const LETTERS: &[u8; 31] = b"0123456789ABCDEFHJKLMNPRSTUVWXY";
    let rest = (number(&code[..6]) * 1000 + number(&code[7..10])) % 31;
    is_day_month_year(code)
        && b"+-ABCDEFYXWVU".contains(&code[6])
        && usize::try_from(rest).is_ok_and(|rest| LETTERS[rest] == code[10])
}
