//! Values whose form alone says little, behind words that say what they are: `passport number X1234567`, `Full name: ...`,
//! `{"date_of_birth": "1980-03-12"}`.
//!
//! The words are written once. In running text the sweep over literals finds them; as names before a sign, and as keys, they
//! are compared letter by letter, without what parts them.

use std::sync::LazyLock;

use super::secret_name::Tails;
use super::{Hint, Match, begins, date, ends, is_escape, person, place};
use crate::SensitiveType as Kind;

/// What words announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A person's name.
    Person,
    /// A name, of a person or of anything else.
    Name,
    BirthDate,
    Address,
    Expiry,
    Swift,
    Diagnosis,
    /// One of two coordinates.
    Degrees,
    /// Letters and digits.
    Id(Kind, Shape),
}

/// How a number looks, that has no checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Letters and digits, least and most.
    len: (usize, usize),
    /// Of these, digits at the least.
    digits_min: usize,
    /// Whether letters may be among them.
    letters: bool,
    /// Whether groups of letters may stand behind a space: `AB 123 CD`.
    loose: bool,
    /// Whether the words hold for a key or a label alone.
    label: bool,
}

const fn shape(least: usize, most: usize, digits_min: usize) -> Shape {
    Shape { len: (least, most), digits_min, letters: true, loose: false, label: false }
}

const PASSPORT: What = What::Id(Kind::Passport, shape(7, 10, 1));
const DRIVER: What = What::Id(Kind::DriverLicense, shape(6, 18, 4));
const PLATE: What = What::Id(Kind::LicensePlate, Shape { loose: true, ..shape(4, 9, 1) });
const PLATE_LABEL: What = What::Id(Kind::LicensePlate, Shape { loose: true, label: true, ..shape(5, 9, 2) });
const RECORD: What = What::Id(Kind::MedicalRecordNumber, shape(5, 14, 4));
const INSURANCE: What = What::Id(Kind::HealthInsuranceId, shape(6, 18, 4));
const ACCOUNT: What = What::Id(Kind::BankAccount, Shape { letters: false, ..shape(6, 20, 6) });
const IDENTITY_CARD: What = What::Id(Kind::DeIdCard, shape(9, 10, 0));
const US_PASSPORT: What = What::Id(Kind::UsPassport, shape(8, 9, 8));
const US_DRIVER: What = What::Id(Kind::UsDriverLicense, shape(6, 18, 4));
const IDENTITY: What = What::Id(Kind::NationalId, shape(6, 18, 1));

/// Words in lower case, a letter's case not counting in running text either; those in capitals are abbreviations and stay so.
#[rustfmt::skip]
const WORDS: &[(What, &[&str])] = &[
    (What::BirthDate, &["date of birth", "birth date", "birthdate", "birthday", "dob", "DOB", "D.O.B", "born", "geburtsdatum", "geburtstag", "geboren", "geb.", "date de naissance",
        "naissance", "né le", "née le", "fecha de nacimiento", "nacimiento", "nacido", "nacida", "data di nascita", "nascita", "nato il", "nata il", "data de nascimento", "nascimento",
        "nascido", "nascida", "geboortedatum", "fødselsdato", "födelsedatum", "fodselsdato", "fodelsedatum", "syntymäaika", "data urodzenia", "urodzony", "urodzona", "doğum tarihi",
        "дата рождения", "дата народження", "родился", "родилась", "出生日期", "出生", "生年月日", "생년월일"]),
    (PASSPORT, &["passport", "pasaporte", "passaporto", "passeport", "passaporte", "paspoort", "paszport", "паспорт", "护照号", "护照", "パスポート"]),
    (US_PASSPORT, &["US passport", "U.S. passport", "american passport"]),
    (IDENTITY_CARD, &["german ID card", "german id card", "german ID card number", "personalausweis", "ausweisnummer", "ausweis-nr", "reisepass", "reisepassnummer", "personalausweisnummer", "ausweisnr", "passnummer"]),
    (DRIVER, &["driving licence", "driving license", "driver licence", "driver's licence", "drivers licence", "führerschein", "fuehrerschein", "permis de conduire", "permiso de conducir",
        "licencia de conducir", "carnet de conducir", "patente di guida", "carteira de motorista", "carta de condução", "rijbewijs"]),
    (US_DRIVER, &["driver license", "driver's license", "driver’s license", "drivers license", "driver license number", "DL number", "DL#", "DL no", "dl number", "dl no"]),
    (PLATE, &["license plate", "licence plate", "number plate", "plate number", "plate no", "registration plate", "vehicle registration", "kennzeichen", "nummernschild",
        "plaque d'immatriculation", "immatriculation", "matrícula", "matricula", "targa", "kenteken", "placa", "car plate", "plates", "my plate", "his plate", "her plate"]),
    (RECORD, &["MRN", "mrn", "medical record", "medical record number", "patient id", "patient number", "patient no", "hospital number", "patient record", "chart number", "patientennummer",
        "patienten-id", "patienten-nr", "health record", "numéro de patient", "número de paciente", "historia clínica", "fallnummer"]),
    (INSURANCE, &["member id", "member number", "health insurance", "insurance id", "insurance number", "insurance policy", "health plan", "subscriber id", "medicaid id", "medicaid",
        "krankenversicherungsnummer", "krankenversichertennummer", "versichertennummer", "krankenkasse", "mutuelle", "policy id", "policy number", "policy no", "insurance card"]),
    (ACCOUNT, &["account number", "account no", "account #", "acct number", "acct no", "acct #", "acct", "bank account", "A/C no", "A/C", "kontonummer", "konto-nr", "numéro de compte",
        "número de cuenta", "numero de cuenta", "cuenta bancaria", "numero di conto", "número da conta", "conta corrente", "sort code", "BSB", "rekeningnummer", "checking account", "savings account",
        "beneficiary account", "bankkonto", "CLABE", "clabe", "account num"]),
    (What::Swift, &["SWIFT", "BIC", "swift", "bic", "swift code", "bic code", "swift bic", "bank identifier"]),
    (What::Expiry, &["exp", "expiry", "expiry date", "expiration", "expiration date", "expires", "exp date", "valid thru", "valid until", "good thru", "card expiry", "card expires", "card expiration", "card expiry date", "card expiration date", "gültig bis", "ablaufdatum",
        "vencimiento", "validità", "scadenza", "validade", "expire", "date d'expiration", "caducidad", "EXP", "card exp"]),
    (What::Diagnosis, &["diagnosis", "diagnoses", "diagnosed", "diagnosis code", "ICD-10", "ICD10", "ICD", "icd10", "icd-10", "icd", "icd code", "diagnose", "diagnostic", "diagnóstico", "diagnosi"]),
    (What::Person, &["my name is", "full name", "first name", "last name", "middle name", "maiden name", "given name", "family name", "surname", "patient name", "customer name", "client name",
        "contact name", "employee name", "member name", "account holder", "account holder name", "cardholder", "cardholder name", "card holder", "name on card", "beneficiary", "beneficiary name",
        "recipient name", "policyholder", "policy holder", "next of kin", "emergency contact", "contact person", "patient", "applicant", "insured", "holder name", "sender name", "signed by",
        "nombre completo", "nombre y apellidos", "apellidos", "apellido", "nom complet", "prénom", "prenom", "nom de famille", "nom et prénom", "vorname", "nachname", "familienname", "cognome",
        "nome completo", "nome e cognome", "sobrenome", "achternaam", "voornaam", "imię i nazwisko", "nazwisko", "förnamn", "efternamn", "me llamo", "mi nombre es", "je m'appelle", "mein name ist",
        "ich heiße", "mi chiamo", "meu nome é", "姓名", "氏名", "お名前", "이름", "성명", "фио", "ФИО", "имя", "фамилия", "attending physician", "physician name", "doctor name", "kontoinhaber", "karteninhaber",
        "titular", "titulaire", "intestatario", "fullname", "firstname", "lastname", "forename", "forenames", "shipping name", "billing name", "legal name", "real name", "spouse", "user name is"]),
    (What::Address, &["street address", "home address", "shipping address", "billing address", "mailing address", "postal address", "delivery address", "residential address", "street", "address line 1",
        "address line1", "anschrift", "adresse postale", "dirección", "direccion", "domicilio", "indirizzo", "endereço", "endereco", "wohnadresse", "lieferadresse", "rechnungsadresse", "adres", "address",
        "adresse", "住所", "地址", "адрес", "residence", "ship to", "bill to", "address 1", "address1", "current address", "permanent address"]),
    (IDENTITY, &["national id", "national id number", "identity card number", "id card number", "government id", "citizen id", "cédula", "cedula", "documento de identidad"]),
    // words that hold for a key or a label alone: in running text they are ordinary
    (What::Name, &["name", "nombre", "nom", "nome", "contact", "naam", "namn", "navn", "imię"]),
    (PLATE_LABEL, &["plate"]),
    (What::Degrees, &["latitude", "longitude", "lat", "lng", "lon", "geo lat", "geo lon"]),
];

/// Words of these are looked for before a sign and as keys, but not in running text.
const fn is_label_alone(what: What) -> bool {
    matches!(what, What::Name | What::Degrees | What::Address | What::Id(_, Shape { label: true, .. }))
}

/// Bytes between the words and the value.
const GAP_BYTES_MAX: usize = 40;
/// Bytes after the words in which a date or a diagnosis begins.
const AHEAD_BYTES_MAX: usize = 48;
/// Longest name of a value.
const NAME_BYTES_MAX: usize = 64;

/// Words that may stand between the announcing ones and the value.
#[rustfmt::skip]
const FILLERS: &[&str] = &[
    "number", "numbers", "no", "nr", "num", "nbr", "id", "is", "was", "my", "the", "of", "code", "ref", "s", "nummer", "numéro", "numero", "número", "n", "de", "la", "del", "di", "ist", "lautet",
    "est", "es", "value", "as", "reads", "card", "licence", "license", "plate", "registration", "record", "member", "date", "on", "a", "her", "his", "with", "for", "mrn", "identifier", "policy",
    "plan", "account", "und", "and", "swift", "bic", "номер", "号码", "番号", "num.", "to", "at",
];

/// The beginnings of words for the searcher: without their first letter, so that its case does not count, as they are written in
/// sentences, titles and headings.
pub(super) fn literals() -> Vec<(String, What, u8)> {
    let mut all: Vec<(String, What, u8)> = Vec::new();
    for (what, words) in WORDS.iter().filter(|(what, _)| !is_label_alone(*what)) {
        for word in *words {
            let abbreviates = word.bytes().any(|b| b.is_ascii_uppercase());
            let Some(first) = word.bytes().next() else { continue };
            let mut add = |literal: String, first: u8| {
                if literal.len() > 1 && !all.iter().any(|(other, ..)| *other == literal) {
                    all.push((literal, *what, first));
                }
            };
            if abbreviates || !first.is_ascii() {
                add((*word).to_owned(), 0);
                let mut letters = word.chars();
                let first = letters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
                add(first + letters.as_str(), 0);
            } else if word.len() > 3 {
                for spelling in [(*word).to_owned(), titled(word), word.to_uppercase()] {
                    add(spelling[1..].to_owned(), first);
                    for (id, written) in [(" id", " ID"), (" Id", " ID")] {
                        if spelling.ends_with(id) {
                            add(spelling[1..].replace(id, written), first);
                        }
                    }
                }
            } else {
                // too short to be told by what is left of it
                add((*word).to_owned(), 0);
                add(titled(word), 0);
            }
        }
    }
    all
}

fn titled(word: &str) -> String {
    let mut before = ' ';
    word.chars()
        .map(|c| {
            let titled = if before == ' ' { c.to_ascii_uppercase() } else { c };
            before = c;
            titled
        })
        .collect()
}

type Labels = Vec<(Vec<u8>, What)>;

/// The words without what parts them, by their last byte, the longer ones first.
static LABELS: LazyLock<Vec<Labels>> = LazyLock::new(|| {
    let mut labels: Vec<Labels> = (0..=u8::MAX).map(|_| Vec::new()).collect();
    for (what, words) in WORDS {
        for word in *words {
            let joined: Vec<u8> = word.to_lowercase().bytes().filter(|b| is_letter(*b)).collect();
            if let Some(last) = joined.last() {
                labels[usize::from(*last)].push((joined, *what));
            }
        }
    }
    for slot in &mut labels {
        slot.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
    }
    labels
});

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// What a name may end in besides the words, and says nothing of what it is.
const TAILS: [&[u8]; 7] = [b"number", b"num", b"no", b"nr", b"id", b"nbr", b"code"];

static LABEL_TAILS: LazyLock<Tails> =
    LazyLock::new(|| Tails::of(LABELS.iter().flatten().map(|(word, _)| word.as_slice()).chain(TAILS)));

/// Whether a name ends in the letters of one that announces something.
pub(super) fn may_be_label(name: &[u8]) -> bool {
    LABEL_TAILS.may_end(name)
}

/// What a name announces, by its last words.
pub(super) fn label(name: &[u8]) -> Option<What> {
    let name = &name[name.len().saturating_sub(NAME_BYTES_MAX)..];
    // `number`, `id` and the like at the end say nothing of what it is
    let mut joined = [0_u8; NAME_BYTES_MAX];
    let mut begins_word = [false; NAME_BYTES_MAX];
    let (mut len, mut before) = (0, b' ');
    for byte in name {
        if is_letter(*byte) {
            joined[len] = byte.to_ascii_lowercase();
            begins_word[len] = !is_letter(before) || (byte.is_ascii_uppercase() && before.is_ascii_lowercase());
            len += 1;
        }
        before = *byte;
    }
    let mut joined = &joined[..len];
    loop {
        let last = joined.last()?;
        let found =
            LABELS[usize::from(*last)].iter().find(|(word, _)| joined.ends_with(word) && begins_word[joined.len() - word.len()]);
        if let Some((_, what)) = found {
            return Some(*what);
        }
        let tail = TAILS.into_iter().find(|tail| joined.ends_with(tail) && begins_word[joined.len() - tail.len()])?;
        joined = &joined[..joined.len() - tail.len()];
    }
}

/// The whole text as the value of a key that names it.
pub(super) fn whole(text: &str, hint: Hint<'_>, found: &mut Vec<Match>) {
    let Some(what) = hint.key.and_then(|key| label(key.as_bytes())) else { return };
    let trimmed = text.trim();
    let start = text.len() - text.trim_start().len();
    let end = start + trimmed.len();
    if let Some(one) = value(text, start, end, what, Place::Quoted)
        && (one.end == end || matches!(what, What::BirthDate | What::Diagnosis))
    {
        found.push(one);
    }
}

/// The value in a range that a name before a sign announced. Without quotes it ends by its own form.
pub(super) fn assigned(text: &str, what: What, (start, end): (usize, usize), quoted: bool, found: &mut Vec<Match>) {
    let place = if quoted { Place::Quoted } else { Place::Labelled };
    if let Some(one) =
        value(text, start, end, what, place).filter(|one| !quoted || one.end == end || one.value.kind == Kind::DateOfBirth)
    {
        found.push(one);
    }
}

/// What words of running text announce, which end at `end`. Returns where it ends.
pub(super) fn prose(text: &str, start: usize, end: usize, what: What, first: u8, found: &mut Vec<Match>) -> Option<usize> {
    let bytes = text.as_bytes();
    let word = if first == 0 { start } else { start.checked_sub(1)? };
    if first != 0 && !bytes[word].eq_ignore_ascii_case(&first) || (bytes[word].is_ascii() && !begins_word(bytes, word)) {
        return None;
    }
    // `passports` is one; `accountant` is not
    let from = end + usize::from(bytes.get(end) == Some(&b's'));
    if bytes.get(from).is_some_and(u8::is_ascii_alphabetic) {
        return None;
    }
    let one = match what {
        What::BirthDate => ahead(text, from, |at| birth_date(text, at))?,
        What::Diagnosis => ahead(text, from, |at| diagnosis(text, at))?,
        What::Person => {
            let from = gap(text, from, &["is", "are", "name"]);
            value(text, from, bytes.len(), what, Place::Prose)?
        }
        // a function of a number
        What::Expiry if bytes.get(from) == Some(&b'(') => return None,
        _ => {
            let from = gap(text, from, FILLERS);
            value(text, from, bytes.len(), what, Place::Prose)?
        }
    };
    let end = one.end;
    found.push(one);
    Some(end)
}

/// A word begins here, also behind an underscore: `us_passport`.
fn begins_word(bytes: &[u8], at: usize) -> bool {
    at.checked_sub(1).is_none_or(|before| !bytes[before].is_ascii_alphabetic() || is_escape(bytes, before))
}

/// Where a value is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In quotes, or as the value of a key.
    Quoted,
    /// Behind a name and a sign.
    Labelled,
    /// Somewhere behind the words.
    Prose,
}

/// The value that begins at `start`, if it looks as announced.
fn value(text: &str, start: usize, end: usize, what: What, place: Place) -> Option<Match> {
    let bytes = text.as_bytes();
    match what {
        What::Person | What::Name => {
            let to = match (what, place) {
                (What::Person, Place::Quoted) => person::name(text, start, end, person::Care::Any),
                (What::Person, Place::Labelled) => person::name(text, start, end, person::Care::Capitals),
                (What::Person, Place::Prose) => person::name(text, start, end, person::Care::Two),
                (_, Place::Quoted) => person::name(text, start, end, person::Care::Known),
                (_, _) => person::name(text, start, end, person::Care::Two),
            }?;
            Some(Match::new(start, to, Kind::Person, person::normal(text.get(start..to)?)))
        }
        What::BirthDate => birth_date(text, start),
        What::Diagnosis => diagnosis(text, start).or_else(|| ahead(text, start, |at| diagnosis(text, at))),
        What::Address => place::labelled(text, start, end, place == Place::Quoted),
        What::Expiry => {
            let (to, normal) = expiry(bytes, start)?;
            Some(Match::new(start, to, Kind::CardExpiry, normal))
        }
        What::Swift => {
            let len = bytes[start..].iter().take(12).take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit()).count();
            let code = bytes.get(start..start + len)?;
            let fits = matches!(len, 8 | 11) && code[..6].iter().all(u8::is_ascii_uppercase) && ends(bytes, start + len);
            (fits && is_country(&code[4..6]))
                .then(|| Match::new(start, start + len, Kind::SwiftCode, String::from_utf8_lossy(code).into_owned()))
        }
        What::Degrees => {
            let sign = usize::from(bytes.get(start) == Some(&b'-'));
            let len = bytes.get(start + sign..end)?.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
            let to = start + sign + len;
            let degrees: f64 = text.get(start..to)?.parse().ok()?;
            let decimals = text.get(start..to)?.split_once('.').map_or(0, |(_, decimals)| decimals.len());
            (decimals >= 3 && degrees.abs() <= 180.0 && ends(bytes, to))
                .then(|| Match::new(start, to, Kind::GpsCoordinates, text[start..to].to_owned()))
        }
        What::Id(kind, shape) => {
            let (to, normal) = id(bytes, start, end, shape)?;
            let kind = if kind == Kind::DeIdCard && !german_card(normal.as_bytes()) { Kind::Passport } else { kind };
            Some(Match::new(start, to, kind, normal))
        }
    }
}

/// A country's two letters (ISO 3166-1), and Kosovo's.
fn is_country(letters: &[u8]) -> bool {
    const CODES: &[u8] = b"ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCXCY\
CZDEDJDKDMDODZECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIMINIOIQIRISITJEJMJOJPKEKGKHKIKMKNKPKRKWKYKZ\
LALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZNANCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURWSASBSCSD\
SESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZUAUGUMUSUYUZVAVCVEVGVIVNVUWFWSXKYEYTZAZMZW";
    CODES.chunks_exact(2).any(|code| code == letters)
}

/// Groups of letters and digits as the shape has them.
fn id(bytes: &[u8], start: usize, end: usize, shape: Shape) -> Option<(usize, String)> {
    /// Fewest digits of a number that may be written in any way.
    const DIGITS_MIN: usize = 5;
    /// Shapes that ask for fewer take those with less than [`DIGITS_MIN`] as printed only; a plate has its own.
    const DIGITS_MIN_PRINTED: usize = 2;
    let is_plate = shape.loose;
    let (mut at, mut to) = (start, start);
    let mut normal = String::new();
    let mut digits = 0;
    loop {
        let len = bytes.get(at..end)?.iter().take(shape.len.1 + 1).take_while(|b| b.is_ascii_alphanumeric()).count();
        let group = &bytes[at..at + len];
        let has_digit = group.iter().any(u8::is_ascii_digit);
        let upper = group.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let spaced = at > to && bytes[at - 1] == b' ';
        let fits = len > 0
            && normal.len() + len <= shape.len.1
            && (shape.letters || group.iter().all(u8::is_ascii_digit))
            && (has_digit
                || (upper && len <= 4 && (!spaced || shape.loose))
                || (upper && shape.digits_min == 0 && len == shape.len.0))
            && (!spaced || upper);
        if !fits {
            break;
        }
        normal.extend(group.iter().map(|b| char::from(b.to_ascii_uppercase())));
        digits += group.iter().filter(|b| b.is_ascii_digit()).count();
        to = at + len;
        if to >= end || !matches!(bytes[to], b'-' | b' ' | b'/' | b'.') {
            break;
        }
        at = to + 1;
    }
    // with so few digits it is the number of a card or of a passport as it is printed: capitals and digits in one
    let raw = bytes.get(start..to)?;
    let printed = || matches!(raw.len(), 9 | 10) && raw.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if !is_plate && shape.digits_min < DIGITS_MIN_PRINTED && digits < DIGITS_MIN && !printed() {
        return None;
    }
    // a group that did not fit and hangs on the last one makes it something else
    let alone = ends(bytes, to) && !matches!(bytes.get(to), Some(b'@' | b'%'));
    // a card of letters alone has none of those that make words
    let alone = alone && (digits > 0 || german_card(normal.as_bytes()));
    (alone && normal.len() >= shape.len.0 && digits >= shape.digits_min).then_some((to, normal))
}

/// German identity cards and passports: nine characters, and a check digit where it is written (ICAO 9303).
fn german_card(card: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_digit() || b"CFGHJKLMNPRTVWXYZ".contains(byte);
    card.len() < 9 || card.iter().take(9).all(fits)
}

/// The first place behind the words where something begins.
fn ahead(text: &str, from: usize, find: impl Fn(usize) -> Option<Match>) -> Option<Match> {
    let bytes = text.as_bytes();
    let to = bytes.len().min(from + AHEAD_BYTES_MAX);
    // another clause is about something else
    let to = bytes[from..to].iter().position(|b| *b == b';').map_or(to, |len| from + len);
    (from..to)
        .filter(|at| {
            let letter = bytes[*at];
            letter.is_ascii_alphanumeric() && (*at == 0 || !bytes[at - 1].is_ascii_alphanumeric() || is_escape(bytes, at - 1))
        })
        .find_map(find)
}

fn birth_date(text: &str, at: usize) -> Option<Match> {
    let (end, normal) = date::at(text, at)?;
    Some(Match::new(at, end, Kind::DateOfBirth, normal))
}

/// `E11.9`: a letter, two digits, a dot and up to four more.
fn diagnosis(text: &str, at: usize) -> Option<Match> {
    let bytes = text.as_bytes();
    let head = bytes.get(at..at + 3)?;
    let upper = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit();
    let more = if bytes.get(at + 3) == Some(&b'.') { bytes[at + 4..].iter().take(5).take_while(|b| upper(b)).count() } else { 0 };
    let end = if more == 0 { at + 3 } else { at + 4 + more };
    let fits = head[0].is_ascii_uppercase() && head[0] != b'U' && head[1].is_ascii_digit() && upper(&head[2]) && more <= 4;
    (fits && begins(bytes, at) && ends(bytes, end)).then(|| Match::new(at, end, Kind::Icd10Code, text[at..end].to_owned()))
}

/// `12/26`, `12/2026`, `12-26`.
fn expiry(bytes: &[u8], at: usize) -> Option<(usize, String)> {
    let digits = |from: usize| bytes.get(from..).map_or(0, |rest| rest.iter().take(5).take_while(|b| b.is_ascii_digit()).count());
    let month = digits(at);
    let mark = at + month;
    let spaces = bytes.get(mark..)?.iter().take(1).take_while(|b| **b == b' ').count();
    let sign = mark + spaces;
    let year_from = sign + 1 + bytes.get(sign + 1..)?.iter().take(1).take_while(|b| **b == b' ').count();
    let year = digits(year_from);
    let end = year_from + year;
    let number = crate::checksum::number(bytes.get(at..mark)?);
    let fits = (1..=2).contains(&month)
        && matches!(bytes.get(sign), Some(b'/' | b'-'))
        && (1..=12).contains(&number)
        && (year == 2 || (year == 4 && bytes.get(year_from..)?.starts_with(b"20")))
        && ends(bytes, end)
        && !matches!(bytes.get(end), Some(b'/' | b'-'));
    fits.then(|| (end, format!("{number:02}/{}", String::from_utf8_lossy(&bytes[end - 2..end]))))
}

/// Past signs and words that say nothing.
fn gap(text: &str, from: usize, fillers: &[&str]) -> usize {
    let bytes = text.as_bytes();
    let to = bytes.len().min(from + GAP_BYTES_MAX);
    let mut at = from;
    loop {
        while at < to
            && matches!(
                bytes[at],
                b' ' | b'\t'
                    | b':'
                    | b'='
                    | b'#'
                    | b'"'
                    | b'\''
                    | b'`'
                    | b'\\'
                    | b'('
                    | b')'
                    | b'['
                    | b']'
                    | b'*'
                    | b'_'
                    | b'-'
                    | b','
                    | b'>'
                    | b'.'
            )
        {
            at += 1;
        }
        for sign in ["：", "№", "º", "°", "’"] {
            if text.get(at..).is_some_and(|rest| rest.starts_with(sign)) {
                at += sign.len();
            }
        }
        let rest = text.get(at..).unwrap_or_default();
        let len = rest.char_indices().find(|(_, c)| !c.is_alphabetic()).map_or(rest.len(), |(i, _)| i);
        let next_is_digit = bytes.get(at + len).is_some_and(u8::is_ascii_digit);
        let is_filler = |word: &str| !word.is_empty() && word.len() <= 16 && fillers.contains(&word.to_lowercase().as_str());
        if at >= to || next_is_digit || !rest.get(..len).is_some_and(is_filler) {
            // signs are skipped before a word of the value, not before more signs
            return at;
        }
        at += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_by_their_last_words() {
        for (name, what) in [
            ("passport_number", PASSPORT),
            ("passportNo", PASSPORT),
            ("Date of Birth", What::BirthDate),
            ("dateOfBirth", What::BirthDate),
            ("first_name", What::Person),
            ("Prénom", What::Person),
            ("customer name", What::Person),
            ("name", What::Name),
        ] {
            assert_eq!(label(name.as_bytes()), Some(what), "{name}");
        }
        for name in ["filename", "hostname", "renamed", "number", "id", "unborn", ""] {
            assert_eq!(label(name.as_bytes()), None, "{name}");
        }
    }
}
