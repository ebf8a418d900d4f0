//! What the words before a value say that it is.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, Input, MatchKind, StartKind};

use super::{CONTEXT_BYTES, Hint, is_escape, scope};
use crate::SensitiveType as Kind;

/// What words speak of besides the types; topics that stand behind all types.
#[derive(Debug, Clone, Copy)]
pub(super) enum Topic {
    /// A number is something else: nobody's.
    Nobodys,
    /// A payment card, also where the word is too weak to outdo the name of another number.
    Card,
    /// A telephone number that comes: more than `call`, which in this field is a function's.
    Telephone,
    /// A version or a section: four numbers with dots between them are no address.
    Version,
    Vehicle,
    /// Amazon's cloud.
    Amazon,
    /// Crypto currencies, of which Solana's addresses have no checksum.
    Wallet,
}

const TYPES: usize = Kind::ALL.len();
const NOBODYS: usize = TYPES + Topic::Nobodys as usize;
const TOPICS: usize = TYPES + Topic::Wallet as usize + 1;
/// What a key says is nearer than any word of the text.
const KEY_NEARNESS: u8 = 200;
/// Words so short are words by themselves, and not the beginning of others (`pan`, and `panel`), unless a star says so.
const WHOLE_WORD_BYTES_MAX: usize = 5;

/// Numbers of persons, for words that do not say of which country.
const PERSONAL: &[Kind] = &[
    Kind::CnResidentId,
    Kind::FrNir,
    Kind::NoFodselsnummer,
    Kind::BrCpf,
    Kind::TrTckn,
    Kind::BeNationalNumber,
    Kind::ZaId,
    Kind::RoCnp,
    Kind::ThTnin,
    Kind::KrRrn,
    Kind::PlPesel,
    Kind::SePersonnummer,
    Kind::BgEgn,
    Kind::InAadhaar,
    Kind::JpMyNumber,
    Kind::CzBirthNumber,
    Kind::IlId,
    Kind::TwNationalId,
    Kind::HkId,
    Kind::IePps,
    Kind::NationalId,
];

/// Tax numbers, for words that do not say of which country.
const TAX: &[Kind] = &[
    Kind::DeTaxId,
    Kind::EsNif,
    Kind::PtNif,
    Kind::PlNip,
    Kind::RuInn,
    Kind::UaRnokpp,
    Kind::UkUtr,
    Kind::AuTfn,
    Kind::NzIrd,
    Kind::BrCpf,
    Kind::BrCnpj,
    Kind::ArCuit,
    Kind::ClRut,
    Kind::MxRfc,
    Kind::UsItin,
    Kind::UsEin,
    Kind::EuVat,
    Kind::NationalId,
];

/// Words in lower case, and what they announce.
#[rustfmt::skip]
const WORDS: &[(&[Kind], &[&str])] = &[
    (&[Kind::UsSsn], &["ssn", "social security", "social-security", "social_security", "socialsecurity", "social sec", "soc sec"]),
    (&[Kind::UsItin], &["itin", "individual taxpayer", "taxpayer id", "taxpayer_id"]),
    (&[Kind::UsEin], &["ein", "fein", "employer identification", "employer id", "employer_id", "federal tax id", "federal tax"]),
    (&[Kind::UsNpi], &["npi", "national provider", "provider id", "provider_npi", "provider number"]),
    (&[Kind::UsMbi], &["mbi", "medicare"]),
    (&[Kind::MedicalLicense], &["dea", "prescriber", "dea_number", "medical license", "medical licence", "practitioner"]),
    (&[Kind::AbaRouting], &["aba", "routing", "rtn", "transit number"]),
    (&[Kind::UkNhs], &["nhs", "national health"]),
    (&[Kind::UkNino], &["nino", "national insurance", "national_insurance", "ni number", "ni no", "ni_number"]),
    (&[Kind::UkUtr], &["utr", "unique taxpayer", "taxpayer reference", "unique taxpayer reference", "self assessment", "self-assessment"]),
    (&[Kind::CaSin], &["sin", "social insurance", "social_insurance", "nas", "assurance sociale"]),
    (&[Kind::DeTaxId], &["steuer-id", "steuerid", "steuer_id", "steueridentifikation", "steuernummer", "steuerliche identifikation", "identifikationsnummer",
        "idnr", "id-nr", "tin", "tax id", "tax_id", "taxid", "tax-id", "steuer-identifikation", "steuer-idnr"]),
    (&[Kind::DeSocialSecurity], &["sozialversicherung", "rentenversicherung", "versicherungsnummer", "rvnr", "svnr", "sv-nummer", "german social insurance", "german pension"]),
    (&[Kind::DeIdCard], &["personalausweis", "ausweis", "reisepass", "pass-nr", "passnummer"]),
    (&[Kind::FrNir], &["nir", "insee", "securite sociale", "sécurité sociale", "secu", "sécu", "numero de secu", "carte vitale"]),
    (&[Kind::FrSiret], &["siret", "siren", "rcs"]),
    (&[Kind::ItFiscalCode], &["codice fiscale", "codice_fiscale", "codicefiscale", "c.f.", "cod. fisc"]),
    (&[Kind::EsNif], &["dni", "nif", "cif", "documento nacional", "número de identificación fiscal"]),
    (&[Kind::EsNie], &["nie", "extranjero"]),
    (&[Kind::PtNif], &["nif", "contribuinte", "nipc", "número fiscal", "numero fiscal"]),
    (&[Kind::NlBsn], &["bsn", "burgerservice", "sofi", "sofinummer", "citizen service"]),
    (&[Kind::BeNationalNumber], &["rijksregister", "registre national", "numéro national", "numero national", "insz", "niss", "national register", "nationaal nummer", "belgian national"]),
    (&[Kind::PlPesel], &["pesel"]),
    (&[Kind::PlNip], &["nip", "numer identyfikacji podatkowej"]),
    (&[Kind::SePersonnummer], &["personnummer", "personnr", "person nr", "pers.nr", "persnr", "samordningsnummer", "organisationsnummer", "pnr"]),
    (&[Kind::DkCpr], &["cpr", "cpr-nummer", "personnummer", "cprnummer"]),
    (&[Kind::NoFodselsnummer], &["fødselsnummer", "fodselsnummer", "personnummer", "fnr", "fødselsnr", "fodselsnr", "d-nummer"]),
    (&[Kind::FiPersonalIdentityCode], &["hetu", "henkilötunnus", "henkilotunnus", "personbeteckning"]),
    (&[Kind::ChAhv], &["ahv", "avs", "oasi", "sozialversicherungsnummer"]),
    (&[Kind::AtSvnr], &["svnr", "sozialversicherung", "sv-nummer", "sv-nr", "svnummer", "e-card", "versicherungsnummer"]),
    (&[Kind::IePps], &["pps", "ppsn", "personal public service"]),
    (&[Kind::CzBirthNumber], &["rodné", "rodne", "rodného", "rč", "r.č.", "birth number"]),
    (&[Kind::RoCnp], &["cnp", "cod numeric personal", "codul numeric"]),
    (&[Kind::BgEgn], &["egn", "егн"]),
    (&[Kind::TrTckn], &["tckn", "tc kimlik", "t.c. kimlik", "kimlik", "tc no"]),
    (&[Kind::RuInn], &["inn", "инн"]),
    (&[Kind::RuSnils], &["snils", "снилс"]),
    (&[Kind::UaRnokpp], &["rnokpp", "рнокпп", "ідентифікаційний", "індивідуальний податковий", "іпн", "ipn"]),
    (&[Kind::EuVat], &["vat", "ust-id", "ust id", "ustid", "ust-idnr", "umsatzsteuer", "tva", "iva", "btw", "partita iva", "p. iva", "p.iva", "moms", "alv", "uid", "mwst", "mva",
        "vat_number", "vatin", "vat_id", "adószám", "dič", "dph", "nif-iva"]),
    (&[Kind::InAadhaar], &["aadhaar", "aadhar", "adhaar", "uidai", "uid", "आधार"]),
    (&[Kind::InPan], &["pan", "permanent account", "income tax"]),
    (&[Kind::InGstin], &["gst", "gstin"]),
    (&[Kind::CnResidentId], &["身份证", "身分证", "居民身份", "公民身份", "resident id", "shenfenzheng", "sfz"]),
    (&[Kind::TwNationalId], &["身分證", "身份證", "taiwan id", "taiwan"]),
    (&[Kind::HkId], &["hkid", "hong kong id", "香港身份證"]),
    (&[Kind::JpMyNumber], &["my number", "mynumber", "my_number", "マイナンバー", "kojin bango", "個人番号", "individual number"]),
    (&[Kind::KrRrn], &["주민등록번호", "주민번호", "rrn", "resident registration", "외국인등록"]),
    (&[Kind::SgNricFin], &["nric", "fin"]),
    (&[Kind::ThTnin], &["เลขประจำตัว", "บัตรประชาชน", "thai id", "thai national"]),
    (&[Kind::AuTfn], &["tfn", "tax file"]),
    (&[Kind::AuAbn], &["abn", "australian business", "business number"]),
    (&[Kind::AuAcn], &["acn", "australian company", "company number"]),
    (&[Kind::AuMedicare], &["medicare", "medicare card"]),
    (&[Kind::NzIrd], &["ird", "inland revenue"]),
    (&[Kind::BrCpf], &["cpf", "cadastro de pessoas", "cadastro de pessoa"]),
    (&[Kind::BrCnpj], &["cnpj", "cadastro nacional"]),
    (&[Kind::MxCurp], &["curp"]),
    (&[Kind::MxRfc], &["rfc", "registro federal"]),
    (&[Kind::ArCuit], &["cuit", "cuil", "clave única", "clave unica"]),
    (&[Kind::ClRut], &["rut", "run", "rol único", "rol unico"]),
    (&[Kind::ZaId], &["south african id", "rsa id", "sa id", "id number", "id no", "identity number", "id_number"]),
    (&[Kind::IlId], &["israeli id number", "teudat zehut", "teudat", "תעודת זהות", "ת.ז", "israeli id", "id number", "tz number"]),
    (&[Kind::Imei], &["imei"]),
    (&[Kind::NationalId], &["jmbg", "emšo", "emso", "oib", "isikukood", "asmens kodas", "personas kods", "amka", "αμκα", "kennitala", "nik", "ktp", "mykad",
        "nric", "cnic", "emirates id", "iqama", "cédula", "cedula", "dni", "curp", "adóazonosító", "adoazonosito", "taj", "taj-szám", "cui", "bvn", "nin",
        "identity card", "id card", "documento de identidad", "afm", "αφμ"]),
    (PERSONAL, &["national number", "national id", "national_id", "nationalid", "national identity", "national identification", "identity number", "identity no", "personal number",
        "personal id", "personal_id", "personal identification", "citizen id", "citizen number", "government id", "id number", "id_number"]),
    (TAX, &["tax id", "tax_id", "taxid", "tax-id", "tax number", "tax no", "tax_number", "tax identification", "taxpayer", "tin"]),
    (&[Kind::CreditCard], &["card", "credit", "debit", "visa", "mastercard", "amex"]),
    (&[Kind::Phone], &["phone", "tel", "telefon", "téléphone", "teléfono", "telefone", "mobile", "mobil", "móvil", "cell", "fax", "whatsapp", "sms", "call", "dial",
        "handy", "hotline", "电话", "電話", "手机", "전화", "телефон"]),
    (&[Kind::BankAccount], &["account", "acct", "a/c", "konto", "compte", "cuenta", "conto"]),
    (&[Kind::GpsCoordinates], &["gps", "lat", "latitude", "coordinate", "lon", "lng", "longitude", "location", "geo", "position", "koordinat", "coordonn", "coordenad"]),
    (&[Kind::IpAddress], &["ip", "host", "server"]),
];

#[rustfmt::skip]
const NOBODYS_WORDS: &[&str] = &[
    "order", "invoice", "ticket", "tracking", "isbn", "issn", "ean", "gtin", "sku", "upc", "timestamp", "version", "build", "commit", "request", "serial",
    "product", "article", "item", "case", "uuid", "hash", "price", "amount", "total", "population", "revenue", "distance", "epoch", "unix", "bytes", "size",
    "offset", "line", "port", "pid", "seed", "trace", "span", "message id", "transaction", "batch", "reference",
];

#[rustfmt::skip]
const TOPIC_WORDS: &[(Topic, &[&str])] = &[
    (Topic::Nobodys, NOBODYS_WORDS),
    (Topic::Card, &["card*", "credit", "debit*", "visa*", "master", "amex*", "american express", "maestro", "pan", "cc", "payment", "discover", "unionpay",
        "diners", "jcb", "karte*", "kreditkarte", "carte*", "cartão", "tarjeta", "carta*", "карт", "信用卡", "卡号", "カード", "카드"]),
    (Topic::Telephone, &["phone*", "telephone", "tel", "tlf", "телефон", "тел.", "电话", "電話", "手机", "전화", "telefon", "telef*", "teléf", "télé", "tél", "mobile",
        "mobil*", "móvil", "cell:", "cell ", "cellphone", "my cell", "fax", "whatsapp", "sms*", "text me", "call me", "call us", "call him", "call her", "reach me",
        "reach us", "ring me", "dial*", "handy*", "hotline", "landline", "msisdn", "caller", "contact number", "contact no"]),
    (Topic::Version, &["version", "ver.", "release", "section", "chapter", "build*", "firmware", "upgrade", "rfc*", "oid*", "§"]),
    (Topic::Vehicle, &["vin*", "vehicle", "chassis", "fahrgestell", "fin*", "telaio", "châssis", "bastidor"]),
    (Topic::Wallet, &["solana", "sol", "wallet", "phantom", "spl", "pubkey", "public key", "token account", "crypto", "deposit address", "payout address"]),
    (Topic::Amazon, &["aws*", "secret_access", "secretaccess", "secret access"]),
];

/// What the words near a place announce, and how near each is.
#[derive(Clone, Copy)]
pub(super) struct Near {
    last: [u8; TOPICS],
}

struct Lexicon {
    searcher: AhoCorasick,
    words: Vec<Word>,
}

struct Word {
    topics: Vec<usize>,
    /// Whether it counts as the beginning of a longer word.
    begins: bool,
}

/// `None` would need a set of words that the searcher refuses, which a test excludes.
static LEXICON: LazyLock<Option<Lexicon>> = LazyLock::new(|| {
    let mut spelled: Vec<String> = Vec::new();
    let mut words: Vec<Word> = Vec::new();
    let of_types = WORDS.iter().flat_map(|(kinds, words)| {
        let kinds: Vec<usize> = kinds.iter().map(|kind| *kind as usize).collect();
        words.iter().map(move |word| (*word, kinds.clone()))
    });
    let of_topics = TOPIC_WORDS.iter().flat_map(|(topic, words)| words.iter().map(|word| (*word, vec![TYPES + *topic as usize])));
    for (word, kinds) in of_types.chain(of_topics) {
        let (word, begins) = word.strip_suffix('*').map_or((word, false), |word| (word, true));
        let begins = begins || word.len() > WHOLE_WORD_BYTES_MAX || !word.is_ascii();
        // the searcher folds the case of ASCII alone
        let mut spellings = vec![word.to_owned()];
        // `R.U.T.`: an abbreviation
        if (3..=4).contains(&word.len())
            && word.bytes().all(|byte| byte.is_ascii_lowercase())
            && kinds.iter().all(|topic| *topic < TYPES)
        {
            spellings.push(word.chars().map(String::from).collect::<Vec<_>>().join("."));
        }
        // `tax_file_number`, `tax-file-number`, `taxFileNumber`
        if word.contains(' ') {
            spellings.extend([word.replace(' ', "_"), word.replace(' ', "-")]);
            spellings.extend(Some(word.replace(' ', "")).filter(|joined| joined.len() > WHOLE_WORD_BYTES_MAX));
        }
        if !word.is_ascii() {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
            spellings.extend([word.to_uppercase(), first + letters.as_str()]);
            spellings.sort_unstable();
            spellings.dedup();
        }
        for spelling in spellings {
            // the same word may begin longer ones for one topic, and be a word by itself for another
            let same = (0..words.len()).find(|at| spelled[*at] == spelling && words[*at].begins == begins);
            if let Some(word) = same.and_then(|at| words.get_mut(at)) {
                word.topics.extend(&kinds);
            } else {
                spelled.push(spelling);
                words.push(Word { topics: kinds.clone(), begins });
            }
        }
    }
    let searcher = AhoCorasick::builder()
        .match_kind(MatchKind::Standard)
        .start_kind(StartKind::Unanchored)
        .ascii_case_insensitive(true)
        .kind(Some(aho_corasick::AhoCorasickKind::DFA))
        .build(&spelled)
        .ok()?;
    Some(Lexicon { searcher, words })
});

impl Near {
    /// What the words shortly before `at` announce, and those of the hint.
    pub(super) fn before(bytes: &[u8], at: usize, hint: Hint<'_>) -> Self {
        let mut near = Self { last: [0; TOPICS] };
        let from = at.saturating_sub(CONTEXT_BYTES);
        // between numbers there are no words
        if bytes[from..at].iter().any(|b| b.is_ascii_alphabetic() || *b >= 0x80) {
            near.read(bytes, scope::start(bytes, from, at), at, 1);
        }
        if let Some(key) = hint.key {
            let key = &key.as_bytes()[..key.len().min(CONTEXT_BYTES)];
            near.read(key, 0, key.len(), KEY_NEARNESS);
        }
        near
    }

    fn read(&mut self, bytes: &[u8], from: usize, to: usize, nearness: u8) {
        let Some(lexicon) = LEXICON.as_ref() else { return };
        for hit in lexicon.searcher.find_overlapping_iter(Input::new(bytes).range(from..to)) {
            let word = &lexicon.words[hit.pattern().as_usize()];
            if !is_word(bytes, (hit.start(), hit.end()), (from, to), word.begins) {
                continue;
            }
            // the later a word ends, the nearer it is
            let near = nearness.saturating_add(u8::try_from(CONTEXT_BYTES.saturating_sub(to - hit.end())).unwrap_or(u8::MAX));
            for topic in &word.topics {
                self.last[*topic] = self.last[*topic].max(near);
            }
        }
    }

    /// How near a word is that announces the type; 0 where none does.
    pub(super) fn of(&self, kind: Kind) -> u8 {
        self.last[kind as usize]
    }

    /// Whether the words speak of it.
    pub(super) fn speaks_of(&self, topic: Topic) -> bool {
        self.last[TYPES + topic as usize] > 0
    }

    /// How near the nearest word is that says something else of a number.
    pub(super) fn other(&self) -> u8 {
        let rivals = [Kind::Phone as usize, Kind::CreditCard as usize, Kind::UsSsn as usize, NOBODYS];
        rivals.into_iter().map(|topic| self.last[topic]).max().unwrap_or(0)
    }
}

/// Whether a name says what its value is.
pub(super) fn names(key: &str) -> bool {
    let near = Near::before(b"", 0, Hint { key: Some(key) });
    near.last[..TYPES].iter().any(|nearness| *nearness > 0) || near.speaks_of(Topic::Card) || near.speaks_of(Topic::Telephone)
}

/// Whether one of an operator's words (lower case) stands shortly before `at`, or in the hint. A word counts where it begins;
/// `card` is in `cards` and not in `discard`.
pub(crate) fn stands_before(bytes: &[u8], at: usize, hint: Hint<'_>, words: &[&str]) -> bool {
    let mut window = [0_u8; CONTEXT_BYTES];
    let before = &bytes[at.saturating_sub(CONTEXT_BYTES)..at];
    let lower = &mut window[..before.len()];
    lower.copy_from_slice(before);
    lower.make_ascii_lowercase();
    if holds_word(lower, before, words) {
        return true;
    }
    hint.key.is_some_and(|key| {
        let key = key.as_bytes();
        // a word ends at the end of a key
        let mut lower = [b' '; CONTEXT_BYTES + 1];
        let len = key.len().min(CONTEXT_BYTES);
        lower[..len].copy_from_slice(&key[..len]);
        lower.make_ascii_lowercase();
        holds_word(&lower[..=len], &key[..len], words)
    })
}

fn holds_word(lower: &[u8], text: &[u8], words: &[&str]) -> bool {
    (0..lower.len()).any(|from| {
        let begins = from == 0
            || !lower[from - 1].is_ascii_alphabetic()
            || is_escape(lower, from - 1)
            || (text.get(from).is_some() && is_camel(text, from));
        let first = lower[from];
        begins
            && (first.is_ascii_alphabetic() || first >= 0x80)
            && words.iter().any(|word| word.as_bytes()[0] == first && lower[from..].starts_with(word.as_bytes()))
    })
}

/// A capital after small letters: camel case, but no iPhone.
fn is_camel(bytes: &[u8], at: usize) -> bool {
    at > 1 && bytes[at].is_ascii_uppercase() && bytes[at - 1].is_ascii_lowercase() && bytes[at - 2].is_ascii_lowercase()
}

/// Whether a hit begins a word, and is one where it must be. What stands outside of the range that is read is not seen.
fn is_word(bytes: &[u8], (start, end): (usize, usize), (from, to): (usize, usize), begins_longer: bool) -> bool {
    let at = |i: usize| bytes.get(i).copied().filter(|_| i < to);
    let before = start.checked_sub(1).filter(|before| *before >= from).and_then(at);
    let begins = match before {
        Some(b) if b.is_ascii_alphabetic() => {
            // the letter of an escape is none
            is_escape(bytes, start - 1) || is_camel(bytes, start)
        }
        // in the middle of a letter beyond ASCII, unless the scripts are those that do without spaces
        Some(b) if b >= 0x80 && bytes[start].is_ascii_alphabetic() => (0xE0..).contains(&lead(bytes, start)),
        _ => true,
    };
    let whole = match (at(end - 1), at(end)) {
        (Some(last), Some(after)) if last.is_ascii_alphanumeric() => {
            !after.is_ascii_alphabetic()
                || (after.is_ascii_uppercase() && last.is_ascii_lowercase())
                || (after == b's' && !at(end + 1).is_some_and(|b| b.is_ascii_alphabetic()))
        }
        _ => true,
    };
    begins && (begins_longer || whole)
}

/// The first byte of the character that ends before `at`.
fn lead(bytes: &[u8], at: usize) -> u8 {
    bytes[at.saturating_sub(4)..at].iter().rev().copied().find(|b| *b & 0xC0 != 0x80).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(text: &str) -> Near {
        Near::before(text.as_bytes(), text.len(), Hint::default())
    }

    #[test]
    fn words_count_where_they_are_words() {
        assert!(near("my CPF: ").of(Kind::BrCpf) > 0);
        assert!(near("the inner ").of(Kind::RuInn) == 0);
        assert!(near("panNumber=").of(Kind::InPan) > 0);
        assert!(near("a panel of ").of(Kind::InPan) == 0);
        assert!(near("Numéro de sécurité sociale : ").of(Kind::FrNir) > 0);
        assert!(near("我的身份证号码是").of(Kind::CnResidentId) > 0);
        let both = near("phone or else NHS number ");
        assert!(both.of(Kind::UkNhs) > both.other());
        assert!(near("NHS number, order ").of(Kind::UkNhs) < near("NHS number, order ").other());
    }

    #[test]
    fn a_key_is_nearer_than_a_word() {
        let hint = Hint { key: Some("nhs_number") };
        let near = Near::before(b"order ", 6, hint);
        assert!(near.of(Kind::UkNhs) > near.other());
    }
}
