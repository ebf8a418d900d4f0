//! VAT numbers with the letters of their country (Council Directive 2006/112/EC, article 215).

use super::europe::{bsn, cif, nip, portuguese};
use super::{Code, Needs, code_of};
use crate::SensitiveType as Kind;
use crate::checksum::{is_uniform, luhn, mod_11_10, number, value, weighted};

pub(super) const CODES: &[Code] = &[
    code_of(Kind::EuVat, b"at?u99999999", austrian, Needs::Capitals),
    code_of(Kind::EuVat, b"be?9999?999?999", |code| 97 - number(&code[2..10]) % 97 == number(&code[10..]), Needs::Capitals),
    code_of(Kind::EuVat, b"bg?999999999", any, Needs::Word),
    code_of(Kind::EuVat, b"bg?9999999999", any, Needs::Word),
    code_of(Kind::EuVat, b"che?999?999?999", swiss, Needs::Capitals),
    code_of(Kind::EuVat, b"cy?99999999A", any, Needs::Word),
    code_of(Kind::EuVat, b"cz?99999999", any, Needs::Word),
    code_of(Kind::EuVat, b"cz?999999999", any, Needs::Word),
    code_of(Kind::EuVat, b"cz?9999999999", any, Needs::Word),
    code_of(Kind::EuVat, b"de?999?999?999", |code| code[2] != b'0' && mod_11_10(&code[2..]), Needs::Capitals),
    code_of(Kind::EuVat, b"de?999999999", any, Needs::Word),
    code_of(Kind::EuVat, b"dk?99?99?99?99", danish, Needs::Capitals),
    code_of(Kind::EuVat, b"ee?999999999", any, Needs::Word),
    code_of(Kind::EuVat, b"el?999999999", any, Needs::Word),
    code_of(Kind::EuVat, b"es?A9999999X", |code| cif(&code[2..]), Needs::Capitals),
    code_of(Kind::EuVat, b"es?X9999999X", any, Needs::Word),
    code_of(Kind::EuVat, b"fi?99999999", finnish, Needs::Capitals),
    code_of(Kind::EuVat, b"fr?99?999?999?999", french, Needs::Capitals),
    code_of(Kind::EuVat, b"fr?XX?999999999", any, Needs::Word),
    code_of(Kind::EuVat, b"gb?999?9999?99", british, Needs::Capitals),
    code_of(Kind::EuVat, b"gb?999999999", any, Needs::Word),
    code_of(Kind::EuVat, b"hr?99999999999", |code| mod_11_10(&code[2..]), Needs::Capitals),
    code_of(Kind::EuVat, b"hu?99999999", any, Needs::Word),
    code_of(Kind::EuVat, b"ie?9X99999A", any, Needs::Word),
    code_of(Kind::EuVat, b"ie?9999999AA", any, Needs::Word),
    code_of(Kind::EuVat, b"it?99999999999", |code| luhn(&code[2..]), Needs::Capitals),
    code_of(Kind::EuVat, b"lt?999999999", any, Needs::Word),
    code_of(Kind::EuVat, b"lt?999999999999", any, Needs::Word),
    code_of(Kind::EuVat, b"lu?99999999", |code| number(&code[2..8]) % 89 == number(&code[8..]), Needs::Capitals),
    code_of(Kind::EuVat, b"lv?99999999999", any, Needs::Word),
    code_of(Kind::EuVat, b"mt?99999999", any, Needs::Word),
    code_of(Kind::EuVat, b"nl?999999999b99", |code| bsn(&code[2..11]), Needs::Capitals),
    code_of(Kind::EuVat, b"nl?999999999?b99", any, Needs::Word),
    code_of(Kind::EuVat, b"pl?999?999?99?99", |code| nip(&code[2..]), Needs::Capitals),
    code_of(Kind::EuVat, b"pt?999999999", |code| portuguese(&code[2..]), Needs::Capitals),
    code_of(Kind::EuVat, b"ro?99999999", any, Needs::Word),
    code_of(Kind::EuVat, b"ro?999999999", any, Needs::Word),
    code_of(Kind::EuVat, b"ro?9999999999", any, Needs::Word),
    code_of(Kind::EuVat, b"se?999999999901", |code| luhn(&code[2..12]), Needs::Capitals),
    code_of(Kind::EuVat, b"si?99999999", any, Needs::Word),
    code_of(Kind::EuVat, b"sk?9999999999", |code| number(&code[2..]).is_multiple_of(11), Needs::Capitals),
];

fn any(code: &[u8]) -> bool {
    !is_uniform(&code[2..])
}

fn austrian(code: &[u8]) -> bool {
    let digits = &code[3..];
    let doubled: u32 = [1, 3, 5].iter().map(|at| value(digits[*at]) * 2).map(|twice| twice / 10 + twice % 10).sum();
    let sum = doubled + weighted(digits, &[1, 0, 1, 0, 1, 0, 1]);
    (10 - (sum + 4) % 10) % 10 == value(digits[7])
}

fn swiss(code: &[u8]) -> bool {
    let rest = weighted(&code[3..], &[5, 4, 3, 2, 7, 6, 5, 4]) % 11;
    (11 - rest) % 11 == value(code[11])
}

fn danish(code: &[u8]) -> bool {
    any(code) && weighted(&code[2..], &[2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
}

fn finnish(code: &[u8]) -> bool {
    any(code) && weighted(&code[2..], &[7, 9, 10, 5, 8, 4, 2, 1]).is_multiple_of(11)
}

/// France: the key is twelve and three times the company's number, modulo 97.
fn french(code: &[u8]) -> bool {
    (12 + 3 * (number(&code[4..]) % 97)) % 97 == number(&code[2..4])
}

/// Britain: modulo 97, with 55 more in the numbers given since 2010.
fn british(code: &[u8]) -> bool {
    let sum = u64::from(weighted(&code[2..9], &[8, 7, 6, 5, 4, 3, 2])) + number(&code[9..]);
    any(code) && (sum.is_multiple_of(97) || (sum + 55).is_multiple_of(97))
}
