//! The types beyond those of `accuracy.rs`: values that are found, and look-alikes that stay.

mod common;

use common::check;

/// Made by generators and judged valid by another implementation of the check digits: with a word before them, in the form of their
/// country, and bare, where most stay.
#[test]
fn national_numbers() {
    check(&[
        "my CPF: «BR_CPF:43518999133», thanks",
        "CPF: «BR_CPF:435.189.991-33».",
        "see «BR_CPF:805.983.246-82» there",
        "my CNPJ «BR_CNPJ:50071220844080», thanks",
        "CNPJ: «BR_CNPJ:50.071.220/8440-80».",
        "see «BR_CNPJ:21.467.070/2342-06» there",
        "my CUIT «AR_CUIT:30952872261», thanks",
        "CUIT: «AR_CUIT:30-95287226-1».",
        "see «AR_CUIT:20-19833450-3» there",
        "my RUT «CL_RUT:229056573», thanks",
        "RUT: «CL_RUT:22.905.657-3».",
        "see «CL_RUT:13.662.602-7» there",
        "my SIN: «CA_SIN:203191911», thanks",
        "SIN: «CA_SIN:203-191-911».",
        "see 373193903 there",
        "my ITIN «US_ITIN:972878473», thanks",
        "ITIN: «US_ITIN:972-87-8473».",
        "see «US_ITIN:956-81-9564» there",
        "my CURP «MX_CURP:ZOSZ791128HJCGGH31», thanks",
        "CURP: «MX_CURP:ZOSZ791128HJCGGH31».",
        "see «MX_CURP:PUPZ611115HDFGGG13» there",
        "my NIR «FR_NIR:166117594313702», thanks",
        "NIR: «FR_NIR:1 66 11 75 943 137 02».",
        "see «FR_NIR:1 93 04 75 606 980 74» there",
        "my Steuer-ID: «DE_TAX_ID:50652597385», thanks",
        "Steuer-ID: «DE_TAX_ID:50 652 597 385».",
        "see «DE_TAX_ID:79 152 786 342» there",
        "my PESEL «PL_PESEL:91101441063», thanks",
        "PESEL: «PL_PESEL:91101441063».",
        "see 68090860737 there",
        "my NIP «PL_NIP:5849958123», thanks",
        "NIP: «PL_NIP:584-995-81-23».",
        "see «PL_NIP:970-237-34-27» there",
        "my BSN «NL_BSN:386020620», thanks",
        "BSN: «NL_BSN:3860.20.620».",
        "see 742173124 there",
        "my rijksregisternummer «BE_NATIONAL_NUMBER:73041257940», thanks",
        "rijksregisternummer: «BE_NATIONAL_NUMBER:73.04.12-579.40».",
        "see «BE_NATIONAL_NUMBER:51.06.16-245.97» there",
        "my personnummer «SE_PERSONNUMMER:790709-4523», thanks",
        "personnummer: «SE_PERSONNUMMER:790709-4523».",
        "see «SE_PERSONNUMMER:741202-8503» there",
        "my hetu «FI_PERSONAL_IDENTITY_CODE:181056-263L», thanks",
        "hetu: «FI_PERSONAL_IDENTITY_CODE:181056-263L».",
        "see «FI_PERSONAL_IDENTITY_CODE:170146-442W» there",
        "my fødselsnummer «NO_FODSELSNUMMER:12098897338», thanks",
        "fødselsnummer: «NO_FODSELSNUMMER:120988 97338».",
        "see «NO_FODSELSNUMMER:090189 67313» there",
        "my AHV «CH_AHV:7568550099453», thanks",
        "AHV: «CH_AHV:756.8550.0994.53».",
        "see «CH_AHV:756.0989.5997.02» there",
        "my SVNR «AT_SVNR:9403100381», thanks",
        "SVNR: «AT_SVNR:9403100381».",
        "see 9638310340 there",
        "my PPS number «IE_PPS:4322078T», thanks",
        "PPS number: «IE_PPS:4322078T».",
        "see 5446340H there",
        "my rodné číslo «CZ_BIRTH_NUMBER:4301174856», thanks",
        "rodné číslo: «CZ_BIRTH_NUMBER:430117/4856».",
        "see «CZ_BIRTH_NUMBER:780524/5371» there",
        "my CNP «RO_CNP:1730718124254», thanks",
        "CNP: «RO_CNP:1730718124254».",
        "see 2631114129193 there",
        "my EGN «BG_EGN:4909023497», thanks",
        "EGN: «BG_EGN:4909023497».",
        "see 8209108641 there",
        "my TC kimlik no «TR_TCKN:79235380232», thanks",
        "TC kimlik no: «TR_TCKN:79235380232».",
        "see 63052854946 there",
        "my ИНН «RU_INN:0756227601», thanks",
        "ИНН: «RU_INN:0756227601».",
        "see 2939699404 there",
        "my РНОКПП «UA_RNOKPP:7012712795», thanks",
        "РНОКПП: «UA_RNOKPP:7012712795».",
        "see 7874218800 there",
        "my NHS number: «UK_NHS:0175384916», thanks",
        "NHS number: «UK_NHS:017 538 4916».",
        "see 9169428794 there",
        "my UTR «UK_UTR:3816092749», thanks",
        "UTR: «UK_UTR:3816092749».",
        "see 4123591411 there",
        "my NIF «PT_NIF:201058898», thanks",
        "NIF: «PT_NIF:201058898».",
        "see 253768560 there",
        "my Teudat Zehut «IL_ID:943952689», thanks",
        "Teudat Zehut: «IL_ID:94395268-9».",
        "see 186021192 there",
        "my SIRET «FR_SIRET:15428377419664», thanks",
        "SIRET: «FR_SIRET:154 283 774 19664».",
        "see «FR_SIRET:541 486 197 53553» there",
        "my codice fiscale «IT_FISCAL_CODE:FLCBBD94B12H501G», thanks",
        "codice fiscale: «IT_FISCAL_CODE:FLCBBD94B12H501G».",
        "see «IT_FISCAL_CODE:SFMRNG63S26H501P» there",
        "my DNI «ES_NIF:30748296X», thanks",
        "DNI: «ES_NIF:30748296X».",
        "see «ES_NIF:27642919R» there",
        "my NIE «ES_NIE:X8095466H», thanks",
        "NIE: «ES_NIE:X8095466H».",
        "see «ES_NIE:X4929271A» there",
        "my Aadhaar «IN_AADHAAR:638220857985», thanks",
        "Aadhaar: «IN_AADHAAR:6382 2085 7985».",
        "see «IN_AADHAAR:8163 1324 7593» there",
        "my PAN «IN_PAN:RDKPR1833C», thanks",
        "PAN: «IN_PAN:RDKPR1833C».",
        "see «IN_PAN:OLXPH4103P» there",
        "my GSTIN «IN_GSTIN:27ZUNPW2469M1ZW», thanks",
        "GSTIN: «IN_GSTIN:27ZUNPW2469M1ZW».",
        "see «IN_GSTIN:27IEUPO3660Q1Z8» there",
        "my 身份证号码 «CN_RESIDENT_ID:110101195210172776», thanks",
        "身份证号码: «CN_RESIDENT_ID:110101195210172776».",
        "see «CN_RESIDENT_ID:110101199301113278» there",
        "my 주민등록번호 «KR_RRN:790606-1688757», thanks",
        "주민등록번호: «KR_RRN:790606-1688757».",
        "see «KR_RRN:470530-2732871» there",
        "my เลขประจำตัว «TH_TNIN:3275845321622», thanks",
        "เลขประจำตัว: «TH_TNIN:3-2758-45321-62-2».",
        "see «TH_TNIN:6-2052-11669-50-6» there",
        "my ABN «AU_ABN:93813794709», thanks",
        "ABN: «AU_ABN:93 813 794 709».",
        "see «AU_ABN:77 184 789 747» there",
        "my TFN «AU_TFN:893693199», thanks",
        "TFN: «AU_TFN:893 693 199».",
        "see 968434382 there",
        "my ACN «AU_ACN:559323634», thanks",
        "ACN: «AU_ACN:559 323 634».",
        "see 621514949 there",
        "my IRD number «NZ_IRD:079341495», thanks",
        "IRD number: «NZ_IRD:079-341-495».",
        "see 020747927 there",
        "my SA ID number «ZA_ID:4510045856006», thanks",
        "SA ID number: «ZA_ID:451004 5856 00 6».",
        "see «ZA_ID:050111 0979 04 1» there",
        "my VAT «EU_VAT:DE107223731», thanks",
        "VAT: «EU_VAT:DE107223731».",
        "see «EU_VAT:DE127199351» there",
        "my TVA «EU_VAT:FR94690989389», thanks",
        "TVA: «EU_VAT:FR94690989389».",
        "see «EU_VAT:FR59236884912» there",
        "my UID «EU_VAT:ATU98203452», thanks",
        "UID: «EU_VAT:ATU98203452».",
        "see «EU_VAT:ATU02188202» there",
        "my VAT «EU_VAT:PL7181556264», thanks",
        "VAT: «EU_VAT:PL7181556264».",
        "see «EU_VAT:PL7757135225» there",
        "my BTW «EU_VAT:NL553974567B01», thanks",
        "BTW: «EU_VAT:NL553974567B01».",
        "see «EU_VAT:NL796155124B06» there",
        "my partita IVA «EU_VAT:IT05285170303», thanks",
        "partita IVA: «EU_VAT:IT05285170303».",
        "see «EU_VAT:IT02881110668» there",
        "my BTW «EU_VAT:BE0470993891», thanks",
        "BTW: «EU_VAT:BE0470993891».",
        "see «EU_VAT:BE0283723911» there",
        "my moms «EU_VAT:SE441576855701», thanks",
        "moms: «EU_VAT:SE441576855701».",
        "see «EU_VAT:SE392442121101» there",
        "my IMEI «IMEI:389267244601858», thanks",
        "IMEI: «IMEI:38-926724-460185-8».",
        "see «IMEI:39-772529-125872-4» there",
        "my routing number «ABA_ROUTING_NUMBER:121355087», thanks",
        "routing number: «ABA_ROUTING_NUMBER:121355087».",
        "see 029351549 there",
        "my My Number «JP_MY_NUMBER:337231492326», thanks",
        "My Number: «JP_MY_NUMBER:3372 3149 2326».",
        "see 307756161847 there",
    ]);
}

#[test]
fn national_codes_and_forms() {
    check(&[
        "NI number «UK_NINO:AB123456C», or «UK_NINO:AB 12 34 56 C»",
        "«US_MBI:1EG4-TE5-MK73» and «US_MBI:1EG4TE5MK73»",
        "NPI «US_NPI:1234567893», DEA «MEDICAL_LICENSE:AB1234563», EIN: «US_EIN:12-3456789»",
        "HKID «HK_ID:A123456(3)», NRIC «SG_NRIC_FIN:S1234567D»",
        "«DE_SOCIAL_SECURITY:65 180539 W 001» «DE_SOCIAL_SECURITY:65180539W001»",
        "«IT_FISCAL_CODE:RSS MRA 85T10 A562S»",
        "«ES_NIE:X-1234567-L», «ES_NIF:12.345.678-Z»",
        "СНИЛС «RU_SNILS:112-233-445 95»",
        "CPR-nummer «DK_CPR:131052-3080»",
        "medicare «AU_MEDICARE:2123 45670 1»",
        "身份證 «TW_NATIONAL_ID:A123456789»",
        "Emirates ID «NATIONAL_ID:784-1985-1234567-3»",
        "RFC «MX_RFC:VECJ880326XXX»",
        "2 «ES_NIF:12345678Z»",
        // not
        "12345678A 12345678z AB123456E A123456(4) S1234567A 131052-308A ABCDE1234F5",
        "AB1234563 1234567893 12-3456789 131052-3080",
    ]);
}

#[test]
fn persons() {
    check(&[
        "Name: «PERSON:Ann Smith», full name: «PERSON:Jürgen Müller»",
        "Patient «PERSON:John Smith» was seen by Dr. «PERSON:Emily Carter» on Monday.",
        "Mr. «PERSON:Smith» and Mrs «PERSON:Jones-Lee» met Prof. «PERSON:García López» in Madrid.",
        "My name is «PERSON:Ann Smith» and I live here. Dear «PERSON:Ann», thank you.",
        "Vorname: «PERSON:Anna», Nachname: «PERSON:Schmidt»",
        "姓名：«PERSON:王小明»",
        // not
        "Dear Sir, Dear customer, Dear Hiring Manager, Mr. President, Dr. no",
        "The name of the game is: Chess Master. Model: Claude Opus. Name: get_weather. name = \"foo\"",
        "filename: Ann Smith.txt, hostname: Web Server, username: ann",
        "the patient was told, Patient records are kept, full name required",
    ]);
}

#[test]
fn dates_of_birth() {
    check(&[
        "DOB: «DATE_OF_BIRTH:12/03/1980», dob=«DATE_OF_BIRTH:1980-03-12»",
        "I was born on «DATE_OF_BIRTH:12 March 1980» in Leeds; born in Leeds on «DATE_OF_BIRTH:March 12, 1980»",
        "Geburtsdatum: «DATE_OF_BIRTH:12. März 1980»; geboren am «DATE_OF_BIRTH:12.03.1980»",
        "né le «DATE_OF_BIRTH:12 mars 1980», fecha de nacimiento: «DATE_OF_BIRTH:3 de mayo de 1977»",
        "生年月日：«DATE_OF_BIRTH:1980年3月12日»",
        // not
        "released on 12 March 1980, due 2024-03-17, 12/03/1980; born in 1980; stubborn 12/03/1980",
    ]);
}

#[test]
fn postal_addresses() {
    check(&[
        "I live at «POSTAL_ADDRESS:123 Main Street, Springfield, IL 62704».",
        "«POSTAL_ADDRESS:1600 Pennsylvania Ave NW, Washington, DC 20500»",
        "at «POSTAL_ADDRESS:742 Evergreen Avenue, Apt 4B, Springfield, OR 97477-1234» now",
        "«POSTAL_ADDRESS:10 Downing Street, London SW1A 2AA»",
        "Address: «POSTAL_ADDRESS:221B Baker Street, London NW1 6XE». Please ring",
        "«POSTAL_ADDRESS:Musterstraße 12, 10115 Berlin» und «POSTAL_ADDRESS:Hauptstr. 5a, 80331 München»",
        "«POSTAL_ADDRESS:12 rue de la Paix, 75002 Paris»; «POSTAL_ADDRESS:Via Roma 12, 00184 Roma»",
        "«POSTAL_ADDRESS:Calle Mayor 12, 28013 Madrid»; «POSTAL_ADDRESS:Avda. de la Constitución, 5, 41004 Sevilla»",
        "«POSTAL_ADDRESS:Rua das Flores, 123, 4050-262 Porto»",
        // not
        "3 Large Boxes of Court Documents, 5 Star Hotel Drive Way, 2 Big Dogs on the street, 100 Main points",
        "address: 0x7fff, address = get_address(12), the address is wrong",
        "via HTTP 2, on my weg 12 mal, Platz 3",
    ]);
}

#[test]
fn documents_and_accounts_behind_words() {
    check(&[
        "passport number: «PASSPORT:X12345678», Passport No. «PASSPORT:512345678», my passport is «PASSPORT:AB1234567»",
        "Reisepass «DE_ID_CARD:C01X00T47», US passport «US_PASSPORT:512345678»",
        "driver's license «US_DRIVER_LICENSE:D123-4567-8901», «DRIVER_LICENSE:MORGA657054SM9IJ»",
        "license plate: «LICENSE_PLATE:ABC-1234», Kennzeichen «LICENSE_PLATE:B-MW 1234», immatriculation «LICENSE_PLATE:AB-123-CD»",
        "MRN: «MEDICAL_RECORD_NUMBER:12345678», medical record number «MEDICAL_RECORD_NUMBER:MR-445566», patient ID «MEDICAL_RECORD_NUMBER:00123456»",
        "member ID: «HEALTH_INSURANCE_ID:XYZ123456789», policy number: «HEALTH_INSURANCE_ID:POL-12345678»",
        "account number: «BANK_ACCOUNT:12345678», sort code «BANK_ACCOUNT:20-00-00», acct #«BANK_ACCOUNT:000123456789»",
        "SWIFT: «SWIFT_CODE:DEUTDEFF500», BIC «SWIFT_CODE:COBADEFFXXX», routing number «ABA_ROUTING_NUMBER:021000021»",
        "exp «CARD_EXPIRY:12/26», Expires: «CARD_EXPIRY:03/2027», valid thru «CARD_EXPIRY:01/28»",
        "diagnosis: type 2 diabetes («ICD10_CODE:E11.9»), ICD-10 code «ICD10_CODE:J45.901»",
        // not
        "passport control at gate 12, the account is closed, accountant 12345678, plates of steel, expert 12/26",
        "SWIFT code is required; a swift REACTION; exp(12/26)",
    ]);
}

#[test]
fn devices_and_places() {
    check(&[
        "«MAC_ADDRESS:00:1A:2B:3C:4D:5E» «MAC_ADDRESS:00-1A-2B-3C-4D-5E» «MAC_ADDRESS:001a.2b3c.4d5e»",
        "VIN «VIN:1HGCM82633A004352», «VIN:1M8GDM9AXKP042788»",
        "IMEI «IMEI:490154203237518», «IMEI:49-015420-323751-8»",
        "«GPS_COORDINATES:51.5074, -0.1278» is it; lat=«GPS_COORDINATES:51.5074» lon=«GPS_COORDINATES:-0.1278»",
        // not
        "00:00:00:00:00:00 ff:ff:ff:ff:ff:ff 01:02:03:04:05:06:07 20-11-22-10-15-00 12:34:56:78",
        "[0.1234, -0.5678, 0.9012] 1.2345, 2.3456, 3.4567 12.50, 13.75",
        "1HGCM82633A004353 490154203237519",
    ]);
}

#[test]
fn wallets() {
    check(&[
        "«CRYPTO:1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa» «CRYPTO:bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4»",
        "«CRYPTO:0x52908400098527886E0F7030069857D2E4169EE7»",
        // not
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
        "0xda39a3ee5e6b4b0d3255bfef95601890afd807090 0x1234",
    ]);
}

#[test]
fn credentials_in_files_and_headers() {
    check(&[
        "Cookie: session_id=«SESSION_COOKIE:abc123def456ghi7»; theme=dark",
        "Set-Cookie: sid=«SESSION_COOKIE:s3cr3tvalue9x»; Path=/; HttpOnly",
        "hash «PASSWORD_HASH:$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW» end",
        "machine api.example.com login ann password «PASSWORD:s3cr3tpw»",
        "db.example.com:5432:mydb:ann:«PASSWORD:s3cr3tpw»",
        "cookie: yes, Cookie: theme=dark; lang=en-GB, $2 and $6 each",
    ]);
}

#[test]
fn documents_as_they_are_printed() {
    check(&[
        "Reisepassnummer «DE_ID_CARD:HHF4KLKT5», Personalausweisnummer: «DE_ID_CARD:LMNP12345», German passport «PASSPORT:CHT97TTVY»",
        "swift «SWIFT_CODE:HSBCGBFP500», bic «SWIFT_CODE:COBAFRFL», card expires «CARD_EXPIRY:12/2029»",
        "zone «PASSPORT:P<ESPGARCIA<<ALICE<<<<<<<<<<<<<<<<<<<<<<<<<<\nC01X00T478ESP6408125F2702283<<<<<<<<<<<<<<04»",
        "nino «UK_NINO:ot 65 08 41 d», «IT_FISCAL_CODE:rssmra85t10a562s»",
        "Use Unique Taxpayer Reference «UK_UTR:2142816346», tax_file_number: «AU_TFN:290 520 972»",
        "a,«CREDIT_CARD:4113 1698 7358 8387»,yes, 17,«CREDIT_CARD:4111111111111111»,no, 1,234,567.89 and 0,4111111111111111",
        // not
        "passport ABSENTEES, P<Q, P<ESPGARCIA<<ALICE, swift JAVASCRIPT and 1 234 567,89",
    ]);
}

#[test]
fn secrets_without_a_sign_and_in_other_languages() {
    check(&[
        "The client secret «SECRET:3ea5d0b1c2f4968712ab34cd56ef7890» is on file, access token «SECRET:yXREX7Flk5RrsjXSyIR4Lqp0rRAIeU».",
        "şifre: «PASSWORD:Coffee751!», passwort: «PASSWORD:Coffee751!», 密码：«PASSWORD:fGV9rZvLqh!»。请核对",
        "const security_code = \"«CVV:503»\"; cookie = \"connect.sid=«SESSION_COOKIE:rvS8QCPJciSN5FV6h5oY1deA78»; Path=/\"",
        "the access token is refreshed, secret key management, access key rotation2 and client secret example",
    ]);
}

/// Built from parts, so that scanners of this repository stay quiet.
#[test]
fn keys_of_vendors() {
    const RUN: &str = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5kM7nP9rS1uV3xY5zA7cD9fG1iL3oR5tU7wX9aB1";
    let solid = |len: usize| RUN.chars().cycle().take(len).collect::<String>();
    let hex = |len: usize| "0123456789abcdef".chars().cycle().take(len).collect::<String>();
    for (kind, value) in [
        ("API_KEY", format!("hvs.{}", solid(90))),
        ("API_KEY", format!("{}.atlasv1.{}", solid(14), solid(67))),
        ("API_KEY", format!("ATATT3{}=AB12CD34", solid(180))),
        ("API_KEY", format!("dapi{}", hex(32))),
        ("API_KEY", format!("ntn_{}", solid(46))),
        ("API_KEY", format!("key-{}", hex(32))),
        ("API_KEY", format!("{}-us14", hex(32))),
        ("API_KEY", format!("EAA{}", solid(120))),
        ("API_KEY", format!("glsa_{}_{}", solid(32), hex(8))),
        ("API_KEY", format!("pul-{}", hex(40))),
        ("API_KEY", format!("dp.pt.{}", solid(43))),
        ("API_KEY", format!("PMAK-{}-{}", hex(24), hex(34))),
        ("API_KEY", format!("rubygems_{}", hex(48))),
        ("API_KEY", format!("oy2{}", solid(43))),
        ("API_KEY", format!("cio{}", solid(32))),
        ("API_KEY", format!("sbp_{}", hex(40))),
        ("API_KEY", format!("pscale_tkn_{}", solid(43))),
        ("API_KEY", format!("LTAI{}", solid(20))),
        ("API_KEY", format!("r8_{}", solid(37))),
        ("API_KEY", format!("pcsk_{}", solid(70))),
        ("API_KEY", format!("M{}.{}.{}", solid(24), solid(6), solid(38))),
        ("AZURE_KEY", format!("abc8Q~{}", solid(34))),
        ("GITLAB_TOKEN", format!("glcbt-{}", solid(24))),
        ("SLACK_TOKEN", format!("xoxc-{}", solid(60))),
    ] {
        for (before, after) in [("", ""), ("use ", " now"), ("key=\"", "\""), ("(", ")."), ("?k=", "&x=1")] {
            check(&[&format!("{before}«{kind}:{value}»{after}")]);
        }
    }
    check(&[
        "monkey-island key-value-store secret_santa_list_for_all EAAS cious fw_config dapi-client pul-request -us-east-1",
        &format!("{} {}", hex(40), hex(64)),
    ]);
}

/// What leaked once: found in made documents, of another seed than those that are measured.
#[test]
fn forms_that_leaked() {
    check(&[
        // entities with names, as HTML has them
        "<dd>«PASSPORT:P&lt;GBRSMITH&lt;&lt;ANN&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;\n1234567897GBR8001014F3001011&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;&lt;00»</dd>",
        // small letters, where a check letter tells them from hashes, measures and words
        "nie «ES_NIE:z2274280e» y curp «MX_CURP:guau600413htsybl87»",
        "at 12 30 45 a train, 12345678s and 1234567a",
        // a sentence ends between two numbers
        "reference 4874198362315052. «FI_PERSONAL_IDENTITY_CODE:080892-5868».",
        // the cell behind a number is no decimal
        "id,note\n17,«CH_AHV:756.2699.8990.42»,7-2003-9395-9,yes",
        // short runs of base64
        "cvc=«CVV:Q1ZDOiAxMTQ=» and a=Zm9vYmFy= b==",
        // a password behind its word alone
        "user: salasana «PASSWORD:Tiger1949!»\nassistant: ok",
        "user: my password coffee-summer-9 is what",
        "the password «PASSWORD:IrOc83chrjyCVg» is set; password policy 2024 and password reset-link-2 are not",
        "password: **«PASSWORD:hunter22»**, password: «PASSWORD:Summer184*»",
        // keys end in hyphens, hashes do not in the next cell
        "\"sk-svcacct-qDt23WbOLT8RjeVxprgwzC0Ds36WsPTutL8YcQsjfITjOremQPz6k-\""
            .replace("sk-", "«OPENAI_KEY:sk-")
            .replace("k-\"", "k-»\"")
            .as_str(),
        "a,«PASSWORD_HASH:$2b$12$xKnXkyZ7ohU5RQPHhgjhjzmZrRBUtyOwleM3wek5p6lUCCCoB.Jcv»,4041903263785,yes",
        "Use Cookie PHPSESSID=«SESSION_COOKIE:YC9CHF7lJfaZ7V8TWzAFxa8FqfGdKP2w»; Path=/",
        "Authorization Basic «AUTHORIZATION:bmdwZGptOndXdDBsN2JZZVljdA==».",
        "R.U.T. «CL_RUT:6627802-6»",
        "the patient pat said «API_KEY:patx12h1WThSrsLG8.49d1f8fc80744c50f299a91b8d708ddb1d7727fcc3d7b003c0fa584dee2f461b»",
    ]);
}

/// Words speak of the value whose name they are, and not of the one behind the next name.
#[test]
fn words_end_at_the_next_name() {
    check(&[
        "{\"phone\": \"«PHONE:2125550143»\", \"book\": \"1734111443\"}",
        "?tax_id=«NL_BSN:386020620»&sample=386020620".replace("tax_id", "bsn").as_str(),
        "PHONE=«PHONE:2125550143»\nEAN=4001169381722",
        "<api_key>{{ secret }}</api_key><where>src/hghfa.py:1413:45</where>",
        "card «CREDIT_CARD:4111 1111 1111 1111», item 4341 0698 4417 4372",
        "offset 0.0304030117452",
    ]);
}

#[test]
fn wallets_of_ethereum_and_solana() {
    check(&[
        "«CRYPTO:0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed» or «CRYPTO:5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed»",
        "commit 5aaeb6053f3e94c9b9a09f33669435e7ef1beaed and 5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
        "my solana wallet «CRYPTO:7EcDhSYGxXyscszYEp35KHN8vvw3svAuLKTzXwCFLtV», thanks",
        "object 7EcDhSYGxXyscszYEp35KHN8vvw3svAuLKTzXwCFLtV in the store",
    ]);
}

/// As code, shells, configurations and terminals write them.
#[test]
fn secrets_in_the_quotes_of_others() {
    check(&[
        r#"password = """«PASSWORD:hunter2hunter2»""" # here"#,
        r#"api_key = b"«SECRET:q8Zr4Wm1Xv7Ts2Lk9Pd3»", rb'x'"#,
        r#"f(password=f"«PASSWORD:hunter2hunter2»")"#,
        "password: |\n  «PASSWORD:hunter2hunter2»\nuser: ann",
        "api_key: >-\r\n    «SECRET:q8Zr4Wm1Xv7Ts2Lk9Pd3»\r\n",
        r#"{"b": "{\"b\": \"{\\\"password\\\": \\\"«PASSWORD:hunter2hunter2»\\\"}\"}"}"#,
        r#"\\\\\\\"password\\\\\\\": \\\\\\\"«PASSWORD:hunter2hunter2»\\\\\\\""#,
        r#"\"password\": \"«PASSWORD:hunter\\\"two\\\"22»\", \"user\": \"ann\""#,
        "curl -H 'Cookie: sessionid=«SESSION_COOKIE:q8Zr4Wm1Xv7Ts2Lk9Pd3»' https://shop.example/a=b",
        "curl -H 'Cookie: a=1; sessionid=«SESSION_COOKIE:q8Zr4Wm1Xv7Ts2Lk9Pd3»' -d x=y; ls",
        r#"{"password": ["«PASSWORD:hunter2hunter2»"], "tokens": ["a", "b"]}"#,
        // a sign, and nothing that opens
        "password: |\n",
        "password: \"\"\"",
        "the password: > see below",
    ]);
}

#[test]
fn secrets_beside_their_names() {
    check(&[
        "env:\n- name: DB_PASSWORD\n  value: «PASSWORD:hunter2hunter2»\n- name: HOST\n  value: db-17.internal\n",
        r#"[{"name": "DB_PASSWORD", "value": "«PASSWORD:hunter2hunter2»"}, {"name": "HOST", "value": "db-17x.internal"}]"#,
        r#"<add key="ApiKey" value="«SECRET:q8Zr4Wm1Xv7Ts2Lk9Pd3»" /><add key="Mode" value="q8Zr4Wm1Xv7Ts2Lk9Pd3" />"#,
        r#"{\"key\": \"api_key\", \"value\": \"«SECRET:q8Zr4Wm1Xv7Ts2Lk9Pd3»\"}"#,
        r#"{"name": "password", "value": "required"}"#,
        "the value: q8Zr4Wm1Xv7Ts2Lk9Pd3",
    ]);
}

#[test]
fn nothing_that_shows_nothing_parts_a_value() {
    for between in [
        "\0",
        "\u{7}",
        "\u{1b}[0m",
        "\u{1b}[38;5;196m",
        "\u{301}",
        "\u{336}",
        "\u{20e3}",
        "\u{3164}",
        "\u{17b4}",
        "\u{180b}",
        "\u{fff9}",
    ] {
        for value in ["ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8", "ann.smith@mail.example", "4111111111111111"] {
            let raw: String = value.chars().map(|c| format!("{c}{between}")).collect();
            let sanitizer = common::sanitizer();
            let cleaned = sanitizer.text(&format!("see {raw} there"));
            assert!(cleaned.replacements.len() == 1 && cleaned.text.len() < 90 + between.len(), "{between:?}: {}", cleaned.text);
            assert_eq!(sanitizer.text(&cleaned.text).text, cleaned.text);
        }
    }
}
