//! What the words before a value say that it is.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, Input, MatchKind, StartKind};

use super::{CONTEXT_BYTES, Hint, is_escape};
use crate::SensitiveType as Kind;

/// Words that say that a number is something else: nobody's. As a topic they stand behind all types.
const NOBODYS: usize = Kind::ALL.len();
/// What a key says is nearer than any word of the text.
const KEY_NEARNESS: u8 = 200;
/// Words so short are words by themselves, and not the beginning of others (`pan`, and `panel`).
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
    (&[Kind::DeSocialSecurity], &["sozialversicherung", "rentenversicherung", "versicherungsnummer", "rvnr", "svnr", "sv-nummer"]),
    (&[Kind::DeIdCard], &["personalausweis", "ausweis", "reisepass", "pass-nr", "passnummer"]),
    (&[Kind::FrNir], &["nir", "insee", "securite sociale", "sécurité sociale", "secu", "sécu", "numero de secu", "carte vitale"]),
    (&[Kind::FrSiret], &["siret", "siren", "rcs"]),
    (&[Kind::ItFiscalCode], &["codice fiscale", "codice_fiscale", "codicefiscale", "c.f.", "cod. fisc"]),
    (&[Kind::EsNif], &["dni", "nif", "cif", "documento nacional", "número de identificación fiscal"]),
    (&[Kind::EsNie], &["nie", "extranjero"]),
    (&[Kind::PtNif], &["nif", "contribuinte", "nipc", "número fiscal", "numero fiscal"]),
    (&[Kind::NlBsn], &["bsn", "burgerservice", "sofi", "sofinummer", "citizen service"]),
    (&[Kind::BeNationalNumber], &["rijksregister", "registre national", "numéro national", "numero national", "insz", "niss", "national register", "nationaal nummer"]),
    (&[Kind::PlPesel], &["pesel"]),
    (&[Kind::PlNip], &["nip", "numer identyfikacji podatkowej"]),
    (&[Kind::SePersonnummer], &["personnummer", "personnr", "person nr", "samordningsnummer", "organisationsnummer", "pnr"]),
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
    (PERSONAL, &["national id", "national_id", "nationalid", "national identity", "national identification", "identity number", "identity no", "personal number",
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

/// What the words near a place announce, and how near each is.
#[derive(Clone, Copy)]
pub(super) struct Near {
    last: [u8; Kind::ALL.len() + 1],
}

struct Lexicon {
    searcher: AhoCorasick,
    topics: Vec<Vec<usize>>,
}

/// `None` would need a set of words that the searcher refuses, which a test excludes.
static LEXICON: LazyLock<Option<Lexicon>> = LazyLock::new(|| {
    let mut words: Vec<String> = Vec::new();
    let mut topics: Vec<Vec<usize>> = Vec::new();
    let of_types = WORDS.iter().flat_map(|(kinds, words)| {
        let kinds: Vec<usize> = kinds.iter().map(|kind| *kind as usize).collect();
        words.iter().map(move |word| (*word, kinds.clone()))
    });
    for (word, kinds) in of_types.chain(NOBODYS_WORDS.iter().map(|word| (*word, vec![NOBODYS]))) {
        // the searcher folds the case of ASCII alone
        let mut spellings = vec![word.to_owned()];
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
            if let Some(same) = words.iter().position(|other| *other == spelling) {
                topics[same].extend(&kinds);
            } else {
                words.push(spelling);
                topics.push(kinds.clone());
            }
        }
    }
    let searcher = AhoCorasick::builder()
        .match_kind(MatchKind::Standard)
        .start_kind(StartKind::Unanchored)
        .ascii_case_insensitive(true)
        .kind(Some(aho_corasick::AhoCorasickKind::DFA))
        .build(&words)
        .ok()?;
    Some(Lexicon { searcher, topics })
});

impl Near {
    /// What the words shortly before `at` announce, and those of the hint.
    pub(super) fn before(bytes: &[u8], at: usize, hint: Hint<'_>) -> Self {
        let mut near = Self { last: [0; Kind::ALL.len() + 1] };
        near.read(bytes, at.saturating_sub(CONTEXT_BYTES), at, 1);
        if let Some(key) = hint.key {
            let key = &key.as_bytes()[..key.len().min(CONTEXT_BYTES)];
            near.read(key, 0, key.len(), KEY_NEARNESS);
        }
        near
    }

    fn read(&mut self, bytes: &[u8], from: usize, to: usize, nearness: u8) {
        let Some(lexicon) = LEXICON.as_ref() else { return };
        for hit in lexicon.searcher.find_overlapping_iter(Input::new(bytes).range(from..to)) {
            if !is_word(bytes, hit.start(), hit.end()) {
                continue;
            }
            // the later a word ends, the nearer it is
            let near = nearness.saturating_add(u8::try_from(hit.end() - from).unwrap_or(u8::MAX));
            for topic in &lexicon.topics[hit.pattern().as_usize()] {
                self.last[*topic] = self.last[*topic].max(near);
            }
        }
    }

    /// How near a word is that announces the type; 0 where none does.
    pub(super) fn of(&self, kind: Kind) -> u8 {
        self.last[kind as usize]
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
    near.last[..NOBODYS].iter().any(|nearness| *nearness > 0)
}

/// Whether a hit begins a word, and is one where it is short.
fn is_word(bytes: &[u8], start: usize, end: usize) -> bool {
    let at = |i: usize| bytes.get(i).copied();
    let before = start.checked_sub(1).and_then(at);
    let begins = match before {
        Some(b) if b.is_ascii_alphabetic() => {
            // a capital after small letters (camel case), or the letter of an escape
            is_escape(bytes, start - 1)
                || (start > 1
                    && bytes[start].is_ascii_uppercase()
                    && b.is_ascii_lowercase()
                    && bytes[start - 2].is_ascii_lowercase())
        }
        // in the middle of a letter beyond ASCII, unless the scripts are those that do without spaces
        Some(b) if b >= 0x80 && bytes[start].is_ascii_alphabetic() => (0xE0..).contains(&lead(bytes, start)),
        _ => true,
    };
    let short = end - start <= WHOLE_WORD_BYTES_MAX && bytes[start..end].iter().all(u8::is_ascii);
    let whole = match (at(end - 1), at(end)) {
        (Some(last), Some(after)) if last.is_ascii_alphanumeric() => {
            !after.is_ascii_alphabetic()
                || (after.is_ascii_uppercase() && last.is_ascii_lowercase())
                || (after == b's' && !at(end + 1).is_some_and(|b| b.is_ascii_alphabetic()))
        }
        _ => true,
    };
    begins && (!short || whole)
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
